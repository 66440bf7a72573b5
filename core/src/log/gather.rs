//! Waiting a moment before a sync for those who are about to send, so that it is for them as well.
//!
//! Those whom a sync was for send again soon after it. Without a wait the next sync begins before
//! they do, for those alone who came during the last one: two halves take turns at the disk, and
//! each waits for two syncs. How many there are is known from the last sync of this process: those
//! who slept when it was done, whether it was for them or they came while it went on. Where they do
//! not come the wait was for nothing; then the next ones are left out, more and more of them.
//!
//! Nothing of it is shared: whoever dies while it waits has the lock of who syncs, as in the sync.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::shm::WORTH_A_WAIT;

/// The most waits that are left out in turn.
const REST: u32 = 64;

/// What a process knows of the syncs of a partition that it made. Threads may share it.
#[derive(Default)]
pub(super) struct Gather {
    /// How many slept when the last one was done.
    count: AtomicU32,
    /// How long it took.
    took_ns: AtomicU64,
    /// After the next wait in vain so many are left out.
    rest: AtomicU32,
    /// So many more are left out now.
    left: AtomicU32,
}

impl Gather {
    /// By who is about to sync, and may wait for `most`: until as many sleep as did the last time.
    pub(super) fn wait(&self, most: Duration, asleep: impl Fn() -> u32) {
        let wanted = self.count.load(Relaxed);
        let took = Duration::from_nanos(self.took_ns.load(Relaxed));
        if took < WORTH_A_WAIT || asleep() >= wanted {
            return;
        }
        let left = self.left.load(Relaxed);
        if left > 0 {
            self.left.store(left - 1, Relaxed);
            return;
        }
        let (began, most) = (Instant::now(), took.min(most));
        loop {
            // Who is to send may want this processor.
            std::thread::yield_now();
            let waited = began.elapsed();
            if waited >= most {
                return self.was_in_vain(waited > most * 4);
            }
            if asleep() >= wanted {
                self.rest.store(0, Relaxed);
                return;
            }
        }
    }

    /// `long`: others had the processor, who do not send.
    fn was_in_vain(&self, long: bool) {
        let rest = match long {
            true => REST,
            false => self.rest.load(Relaxed),
        };
        self.left.store(rest, Relaxed);
        self.rest.store((rest * 2 + 1).min(REST), Relaxed);
    }

    /// After a sync that took so long, before those who sleep are woken: how many these are.
    pub(super) fn learn(&self, count: u32, took: Duration) {
        self.count.store(count, Relaxed);
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.took_ns.store(ns, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::path::Path;
    use std::sync::Arc;

    use super::super::Room;
    use super::super::tests::{draft, open};
    use super::{Duration, Gather, REST, Relaxed};
    use crate::storage::Twin;

    const LONG: Duration = Duration::from_secs(60);

    /// How often a wait looks that is told of one more at each look, up to so many.
    fn looks(gather: &Gather, longest: Duration, most: u32) -> u32 {
        let looks = Cell::new(0);
        gather.wait(longest, || {
            looks.set(looks.get() + 1);
            looks.get().min(most)
        });
        looks.get()
    }

    #[test]
    fn it_waits_for_as_many_as_there_were() {
        let gather = Gather::default();
        assert_eq!(looks(&gather, LONG, 1), 0, "nothing is known");
        gather.learn(8, Duration::from_micros(5));
        assert_eq!(looks(&gather, LONG, 8), 0, "such a short one is made again");
        gather.learn(1, LONG);
        assert_eq!(looks(&gather, LONG, 1), 1, "nobody else is to come");
        gather.learn(8, LONG);
        assert_eq!(looks(&gather, LONG, 8), 8);
        assert_eq!(looks(&gather, LONG, 8), 8);
    }

    #[test]
    fn it_waits_no_longer_than_it_may_nor_than_the_last_sync_took() {
        let (gather, began) = (Gather::default(), std::time::Instant::now());
        gather.learn(8, LONG);
        looks(&gather, Duration::from_millis(1), 3);
        let gather = Gather::default();
        gather.learn(8, Duration::from_millis(1));
        looks(&gather, LONG, 3);
        assert!(began.elapsed() < LONG / 2);
    }

    #[test]
    fn where_they_do_not_come_it_waits_more_and_more_seldom() {
        let gather = Gather::default();
        gather.learn(8, LONG);
        gather.wait(Duration::ZERO, || 3);
        assert!(gather.rest.load(Relaxed) > 0, "it was in vain");
        gather.was_in_vain(true);
        let left = || gather.left.load(Relaxed);
        assert_eq!(left(), REST);
        for still in (0..REST).rev() {
            gather.wait(LONG, || 3);
            assert_eq!(left(), still, "left out");
        }
        assert_eq!(looks(&gather, LONG, 8), 8, "they come again");
        gather.was_in_vain(false);
        assert_eq!(left(), 0);
        let lefts = [1, 3, 7, 15, 31, 63, 64, 64].map(|_| {
            gather.was_in_vain(false);
            left()
        });
        assert_eq!(lefts, [1, 3, 7, 15, 31, 63, 64, 64]);
    }

    #[test]
    fn who_sends_waits_for_others_and_who_only_wants_all_on_disk_does_not() {
        let partition = open(Arc::new(Twin::new()), Path::new("/p"));
        let waited = || partition.gather.rest.load(Relaxed) > 0;
        partition.gather.learn(1, LONG);
        partition.append(&[draft(b"one")]).expect("append");
        partition.ensure_durable(1, LONG).expect("sync");
        assert!(!waited());
        partition.gather.learn(1, LONG);
        let sent = partition.append_durably(&[draft(b"two")], Room::Ordinary, LONG);
        assert_eq!(sent.expect("sent"), 1);
        assert!(waited());
    }
}
