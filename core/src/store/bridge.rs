//! The bridge from futexes to descriptors: one thread of each opened store in a process, from the
//! first descriptor on until the store is closed. A child of a fork has none of its parent's and
//! starts its own with its first descriptor.
//!
//! It announces on the member's bell, looks at all that is watched, and sleeps on the bell until it
//! is rung, or until the earliest of what the groups said (`Look::again_ms`). It holds nothing of
//! the store while it sleeps.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::bell::Bell;
use super::inner::{StoreInner, locked};
use super::watch::Watch;
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::log::Env;
use crate::shm::EventCount;

/// A thread that looks at nothing sleeps for so long, in ms.
const LONGEST: u64 = 60_000;

/// The thread and what it is told.
pub(super) struct Bridge {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

struct Shared {
    bell: Bell,
    env: Arc<Env>,
    watches: Mutex<Vec<Weak<Watch>>>,
    stop: AtomicBool,
    /// Until when it means to sleep, in ms of the boot clock; the largest number while it looks.
    until: AtomicU64,
}

impl Bridge {
    pub(super) fn start(store: &StoreInner) -> Result<Self> {
        let shared = Arc::new(Shared {
            bell: store.control.bell(),
            env: store.env.clone(),
            watches: Mutex::default(),
            stop: AtomicBool::new(false),
            until: AtomicU64::new(u64::MAX),
        });
        let mine = shared.clone();
        let thread = thread::Builder::new()
            .name("libqueue-fd".to_owned())
            .spawn(move || mine.run())
            .map_err(|e| {
                let path = store.path.display();
                let message = format!("cannot start the thread for descriptors of {path}: {e}");
                Error::new(ErrorKind::TooMany, message)
            })?;
        Ok(Self { shared, thread })
    }

    /// Has a descriptor say what is there, from now on.
    pub(super) fn watch(&self, store: &StoreInner, watch: &Arc<Watch>) {
        store.control.set_watcher(&watch.group().block.head, true);
        locked(&self.shared.watches).push(Arc::downgrade(watch));
        watch.tend(None);
        self.shared.ring();
    }

    /// Leaves it as it is, from now on.
    pub(super) fn unwatch(&self, store: &StoreInner, gone: &Arc<Watch>) {
        let mut watches = locked(&self.shared.watches);
        watches.retain(|one| one.strong_count() > 0 && one.as_ptr() != Arc::as_ptr(gone));
        let head = &gone.group().block.head;
        let same = |one: &Weak<Watch>| {
            one.upgrade()
                .is_some_and(|one| one.group().block.at() == gone.group().block.at())
        };
        if !watches.iter().any(same) {
            store.control.set_watcher(head, false);
        }
    }

    /// Has it look again by this time, in ms of the boot clock.
    pub(super) fn hurry(&self, by_ms: u64) {
        if by_ms < self.shared.until.load(Ordering::SeqCst) {
            self.shared.ring();
        }
    }

    /// Ends the thread and waits for it, unless this is the thread.
    pub(super) fn stop(self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.shared.ring();
        if self.thread.thread().id() != thread::current().id() {
            let _ = self.thread.join();
        }
    }
}

impl Shared {
    fn ring(&self) {
        EventCount::notify(self.bell.word(), u32::MAX);
    }

    fn run(&self) {
        loop {
            // Who finds something to do sooner while it looks says so.
            self.until.store(u64::MAX, Ordering::SeqCst);
            let token = EventCount::prepare(self.bell.word());
            if self.stop.load(Ordering::SeqCst) {
                return;
            }
            let until = self.look();
            self.until.store(until, Ordering::SeqCst);
            let left = until.saturating_sub(self.now()).min(LONGEST);
            EventCount::wait(self.bell.word(), token, Duration::from_millis(left));
        }
    }

    fn now(&self) -> u64 {
        Clock::boot_ms(&*self.env.clock)
    }

    /// One look at all that is watched; when the next one is due.
    fn look(&self) -> u64 {
        let watches: Vec<Arc<Watch>> = {
            let mut watches = locked(&self.watches);
            watches.retain(|one| one.strong_count() > 0);
            watches.iter().filter_map(Weak::upgrade).collect()
        };
        let mut until = self.now() + LONGEST;
        for watch in watches {
            // The last handle of the store may be dropped with it.
            until = until.min(watch.beat().again_ms(self.now()));
        }
        until
    }
}
