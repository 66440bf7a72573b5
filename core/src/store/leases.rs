//! What a consumer has out, where somebody has to know: with a `max_lease` since when, with
//! `auto_extend` what to extend.
//!
//! The window's entry says until when a lease lasts, not since when; so the bound of a hand-out is
//! known to the consumer that made it, and no other may extend it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use super::consumer::Consumer;
use super::delivery::Delivery;
use super::group::GroupInner;
use super::housekeeping::{Pace, Tended};
use super::inner::locked;
use super::message::{MessageId, Receipt};
use crate::error::Result;
use crate::format::names;
use crate::group::Settled;

/// So many entries are kept before those are looked for that nobody asks for any more.
const PRUNE: usize = 1024;

/// What a delivery and its consumer both know of a hand-out.
pub(super) struct Held {
    started: AtomicBool,
    deadline_ns: AtomicI64,
    pub(super) of: Weak<Leases>,
}

struct Entry {
    attempt: u32,
    epoch: u32,
    /// Times are in ms of the boot clock.
    handed_ms: u64,
    due_ms: u64,
    lease_ms: u64,
    held: Weak<Held>,
}

/// The hand-outs of one consumer.
pub(super) struct Leases {
    group: Weak<GroupInner>,
    slot: u16,
    max_ms: Option<u64>,
    auto: bool,
    entries: Mutex<HashMap<MessageId, Entry>>,
    /// When housekeeping looks next, as far as it knows of.
    next_ms: AtomicU64,
    /// How many entries there may be before they are pruned.
    prune: AtomicU64,
}

impl Held {
    pub(super) fn deadline_ns(&self) -> i64 {
        self.deadline_ns.load(Ordering::Relaxed)
    }

    /// Work begins: from now on it is extended.
    pub(super) fn start(&self) {
        if !self.started.swap(true, Ordering::SeqCst)
            && let Some(leases) = self.of.upgrade().filter(|leases| leases.auto)
        {
            leases.hurry();
        }
    }
}

impl Leases {
    /// `None` where nobody has to know.
    pub(super) fn of(group: &Arc<GroupInner>, slot: u16, auto: bool) -> Option<Arc<Self>> {
        let max_lease = group.known_settings().config.max_lease;
        let max_ms = max_lease.map(|max| max.as_millis() as u64);
        if !auto && max_ms.is_none() {
            return None;
        }
        Some(Arc::new(Self {
            group: Arc::downgrade(group),
            slot,
            max_ms,
            auto,
            entries: Mutex::default(),
            next_ms: AtomicU64::new(0),
            prune: AtomicU64::new(PRUNE as u64),
        }))
    }

    /// For how long a message may be leased in total.
    pub(super) fn max(&self) -> Option<Duration> {
        self.max_ms.map(Duration::from_millis)
    }

    /// These are handed out now.
    pub(super) fn hand_out(self: &Arc<Self>, batch: &mut [Delivery], now: u64, lease: Duration) {
        let lease_ms = lease.as_millis() as u64;
        let mut entries = locked(&self.entries);
        for delivery in batch {
            let held = Arc::new(Held {
                started: AtomicBool::new(false),
                deadline_ns: AtomicI64::new(delivery.deadline_ns),
                of: Arc::downgrade(self),
            });
            let entry = Entry {
                attempt: delivery.attempt,
                epoch: delivery.epoch,
                handed_ms: now,
                due_ms: now + lease_ms,
                lease_ms,
                held: Arc::downgrade(&held),
            };
            entries.insert(delivery.place_id(), entry);
            delivery.held = Some(held);
        }
        if entries.len() as u64 > self.prune.load(Ordering::Relaxed) {
            let bound = |entry: &Entry| entry.handed_ms + self.max_ms.unwrap_or(0);
            entries.retain(|_, entry| entry.held.strong_count() > 0 || bound(entry) > now);
            let next = entries.len() * 2 + PRUNE;
            self.prune.store(next as u64, Ordering::Relaxed);
        }
    }

    /// These are settled, or somebody else's.
    pub(super) fn forget(&self, receipts: &[Receipt]) {
        let mut entries = locked(&self.entries);
        for receipt in receipts {
            let place = receipt.id;
            if entries
                .get(&place)
                .is_some_and(|e| e.attempt == receipt.attempt)
            {
                entries.remove(&place);
            }
        }
    }

    /// Until when a hand-out may be leased, in ms of the boot clock: `None` for ever. Of one that
    /// this consumer did not hand out nobody knows, so not beyond now.
    pub(super) fn bound(&self, receipt: &Receipt) -> Option<u64> {
        let max = self.max_ms?;
        let entries = locked(&self.entries);
        let entry = entries.get(&receipt.id);
        let known = entry.filter(|e| e.attempt == receipt.attempt && e.epoch == receipt.epoch);
        Some(known.map_or(0, |entry| entry.handed_ms + max))
    }

    /// A lease was extended by hand.
    pub(super) fn extended(&self, receipt: &Receipt, due_ms: u64, deadline_ns: i64) {
        self.note(receipt, due_ms, deadline_ns);
        if self.auto {
            self.hurry();
        }
    }

    fn note(&self, receipt: &Receipt, due_ms: u64, deadline_ns: i64) {
        let mut entries = locked(&self.entries);
        if let Some(entry) = entries.get_mut(&receipt.id)
            && entry.attempt == receipt.attempt
        {
            entry.due_ms = due_ms;
            if let Some(held) = entry.held.upgrade() {
                held.deadline_ns.store(deadline_ns, Ordering::Relaxed);
            }
        }
    }

    /// Has housekeeping look if something is due before its next look.
    fn hurry(&self) {
        let due = self.next_due();
        if due < self.next_ms.load(Ordering::SeqCst)
            && let Some(group) = self.group.upgrade()
        {
            group.topic.store.nudge();
        }
    }

    /// When the first extension is due, in ms of the boot clock.
    fn next_due(&self) -> u64 {
        let entries = locked(&self.entries);
        let due = entries.values().filter_map(|entry| self.due(entry));
        due.min().unwrap_or(u64::MAX)
    }

    /// When this one is to be extended: at half of its lease, while somebody works on it and more
    /// is allowed.
    fn due(&self, entry: &Entry) -> Option<u64> {
        let held = entry.held.upgrade()?;
        let bound = self.max_ms.map(|max| entry.handed_ms + max);
        let more = bound.is_none_or(|bound| bound > entry.due_ms);
        let wanted = held.started.load(Ordering::SeqCst) && more;
        wanted.then(|| entry.due_ms.saturating_sub(entry.lease_ms.div_ceil(2)))
    }

    /// Extends what is due. No window is locked while the entries are: who extends by hand asks for
    /// the bound with the window's lock held.
    fn extend_due(&self, group: &GroupInner) -> Result<()> {
        let clock = &group.topic.store.env.clock;
        let (now, wall_ns) = (clock.boot_ms(), clock.wall_ns());
        let due: Vec<(Receipt, u64)> = locked(&self.entries)
            .iter()
            .filter(|(_, entry)| self.due(entry).is_some_and(|due| due <= now))
            .map(|(id, entry)| {
                let bound = self.max_ms.map_or(u64::MAX, |max| entry.handed_ms + max);
                let id = *id;
                let (attempt, epoch) = (entry.attempt, entry.epoch);
                (
                    Receipt { id, attempt, epoch },
                    bound.min(now + entry.lease_ms),
                )
            })
            .collect();
        let (mut done, lane) = (Ok(()), group.lane()?);
        for (receipt, until) in due {
            let lane = lane
                .as_deref()
                .filter(|lane| lane.topic.uid == receipt.id.topic_id);
            let group = lane.unwrap_or(group);
            let extended = group.with_window(receipt.id.partition, |window| {
                if receipt.epoch != group.mark(window.epoch()) {
                    return Settled::Stale;
                }
                window.extend_own(receipt.id.offset, receipt.attempt, until, self.slot)
            });
            match extended {
                Ok(Settled::Done) => {
                    let left = until.saturating_sub(now) as i64 * 1_000_000;
                    self.note(&receipt, until, wall_ns.saturating_add(left));
                }
                Ok(_) => self.forget(&[receipt]),
                Err(error) => done = done.and(Err(error)),
            }
        }
        done
    }
}

impl Tended for Leases {
    fn tend(&self) -> Result<Pace> {
        let Some(group) = self.group.upgrade() else {
            return Ok(Pace::Idle);
        };
        // Who starts while this looks may have to wake it again.
        self.next_ms.store(u64::MAX, Ordering::SeqCst);
        let done = self.extend_due(&group);
        let (due, now) = (self.next_due(), group.topic.store.env.clock.boot_ms());
        if due == u64::MAX {
            return done.map(|()| Pace::Idle);
        }
        self.next_ms.store(due, Ordering::SeqCst);
        done.map(|()| Pace::Within(Duration::from_millis(due.saturating_sub(now).max(1))))
    }
}

impl Consumer {
    fn leases_key(&self) -> PathBuf {
        let group = names::group_folder(&self.group.topic.folder, &self.group.name);
        group.join(format!("consumer {}", self.slot))
    }

    /// Has housekeeping extend what the consumer works on.
    pub(super) fn begin_leases(&self) {
        if let Some(leases) = self.leases.as_ref().filter(|leases| leases.auto) {
            let store = &self.group.topic.store;
            store.tend(self.leases_key(), leases.clone());
        }
    }

    pub(super) fn end_leases(&self) {
        if self.leases.as_ref().is_some_and(|leases| leases.auto) {
            self.group.topic.store.untend(&self.leases_key());
        }
    }
}
