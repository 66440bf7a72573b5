//! Consumers: one worker of a group.

use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use super::Handle;
use super::drain::Settles;
use super::group::GroupInner;
use super::leases::Leases;
use super::share::Share;
use super::spin::Spin;
use super::topic::{Topic, unique_id};
use super::untold::Untold;
use super::watch::Watch;
use crate::error::{Error, ErrorKind, Result};
use crate::format::control::consumer::NAME_BYTES;
use crate::options::GroupOptions;

/// How a consumer is opened.
#[derive(Clone, Debug, Default)]
pub struct ConsumerOptions {
    /// The group's configuration; see [`GroupOptions`].
    pub group: GroupOptions,
    /// Shown in statistics and dead letters: 1 to 96 bytes without control characters. Default: the
    /// program's name and process id.
    pub name: Option<String>,
    /// How long what this consumer receives is handed out for. Default: the group's lease. An error
    /// where the group hands out at most once, as is `auto_extend`.
    pub lease: Option<Duration>,
    /// Extends the leases of started deliveries, each at half of its lease, for as long as the
    /// [`Delivery`](crate::Delivery) or a clone of it lives and is not settled, at most for the
    /// group's `max_lease` in total. The store's housekeeping thread of this process does it: a
    /// handler that hangs keeps its message until then, or for ever. Default: false.
    pub auto_extend: bool,
}

/// One worker of a group. Usable from several threads at once. Closing or dropping it hands its
/// leases back, uncounted.
pub struct Consumer {
    pub(super) group: Arc<GroupInner>,
    pub(super) slot: u16,
    pub(super) name: String,
    pub(super) batch: AtomicU16,
    pub(super) turn: AtomicU16,
    pub(super) spin: Spin,
    pub(super) untold: Untold,
    pub(super) closed: AtomicBool,
    pub(super) draining: AtomicBool,
    pub(super) settles: Settles,
    pub(super) lease: Option<Duration>,
    pub(super) leases: Option<Arc<Leases>>,
    /// Where partitions hand out one at a time.
    pub(super) share: Share,
    /// Since its descriptor was asked for.
    pub(super) watch: OnceLock<Arc<Watch>>,
    handle: Mutex<Option<Handle>>,
}

impl Topic {
    /// A consumer of the group, which is created where there is none.
    pub fn consumer(&self, group: &str, options: &ConsumerOptions) -> Result<Consumer> {
        let store = &self.inner.store;
        let name = options.name.clone().unwrap_or_else(default_name);
        check_name(&name)?;
        let inner = self.inner.open_group(group, &options.group)?;
        let lease = options.lease.map(|lease| inner.allowed_lease(lease));
        let lease = lease.transpose()?;
        if options.auto_extend {
            inner.check_has_leases("auto_extend")?;
        }
        let now = store.env.clock.boot_ms();
        let slot = (store.control).register_consumer(&inner.block, &name, now)?;
        let named = format!("consumer {name:?} of group {group:?}");
        let consumer = Consumer {
            leases: Leases::of(&inner, slot.0, options.auto_extend),
            lease,
            group: inner,
            slot: slot.0,
            name,
            // Drawn, so that a batch is not taken for one of who had the slot before.
            batch: AtomicU16::new(unique_id() as u16),
            turn: AtomicU16::new(slot.0),
            spin: Spin::default(),
            untold: Untold::default(),
            closed: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            settles: Settles::default(),
            share: Share::default(),
            watch: OnceLock::new(),
            handle: Mutex::new(Some(store.register_handle(named))),
        };
        consumer.begin_leases();
        Ok(consumer)
    }
}

/// The table of consumers has room for so many bytes, and a longer name would be cut silently.
fn check_name(name: &str) -> Result<()> {
    if (1..=NAME_BYTES).contains(&name.len()) && !name.contains(char::is_control) {
        return Ok(());
    }
    let message = format!(
        "consumer name {name:?} has {} bytes; expected 1 to {NAME_BYTES}, no control characters",
        name.len()
    );
    Err(Error::new(ErrorKind::InvalidName, message))
}

fn default_name() -> String {
    let program = std::env::args_os().next().unwrap_or_default();
    let program = std::path::Path::new(&program)
        .file_name()
        .unwrap_or_default();
    let mut name = program.to_string_lossy().replace(char::is_control, "_");
    let short = (0..=60).rev().find(|at| name.is_char_boundary(*at));
    name.truncate(short.unwrap_or(0));
    format!("{name}-{}", std::process::id())
}

impl Consumer {
    /// The group's name.
    #[must_use]
    pub fn group(&self) -> &str {
        &self.group.name
    }

    /// The consumer's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it was closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(super) fn check(&self) -> Result<()> {
        self.group.topic.store.check_open()?;
        if self.closed.load(Ordering::Acquire) {
            let message = format!("consumer {:?} was closed; open another one", self.name);
            return Err(Error::new(ErrorKind::Closed, message));
        }
        Ok(())
    }

    /// Hands all leases back, uncounted and at once. Receipts of this consumer may still be settled
    /// by another one until the messages are handed out again. Closing twice is fine. After an
    /// error the consumer is closed; leases that could not be handed back, as a rule since a
    /// process that is stopped holds their lock, come back as soon as they can: that is tried in
    /// the background, and by each further `close`.
    pub fn close(&self) -> Result<()> {
        let (store, slot) = (&self.group.topic.store, super::ConsumerSlot(self.slot));
        if self.closed.swap(true, Ordering::AcqRel) {
            return store.hand_back_again(slot);
        }
        // In the child of a fork both are the parent's.
        if store.check_open().is_ok() {
            self.unwatch();
            self.end_leases();
        }
        let own = store
            .control
            .own_consumer(slot, &self.group.block, &self.name);
        let done = self.group.hand_back(own);
        // Last: the store is not left before the leases are back.
        drop(super::inner::locked(&self.handle).take());
        done
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        // Nobody is left to tell; the leases come back when this process ends.
        let _ = self.close();
    }
}
