//! How often, and for how long, somebody slept for a lock or put something on disk: words that all
//! processes add to. Only who sleeps or syncs adds, so that nobody else pays for it. They begin
//! anew with each life of `control`.

use std::time::Duration;

use super::region::Region;

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// How often somebody slept for a lock.
    pub lock_waits: u64,
    /// For how long, all together.
    pub lock_wait_ns: u64,
    /// How often it was put on disk, those that failed included.
    pub syncs: u64,
    /// How long that took, all together.
    pub sync_ns: u64,
    /// And the longest.
    pub sync_longest_ns: u64,
}

impl Times {
    /// With those of another part.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            lock_waits: self.lock_waits.saturating_add(other.lock_waits),
            lock_wait_ns: self.lock_wait_ns.saturating_add(other.lock_wait_ns),
            syncs: self.syncs.saturating_add(other.syncs),
            sync_ns: self.sync_ns.saturating_add(other.sync_ns),
            sync_longest_ns: self.sync_longest_ns.max(other.sync_longest_ns),
        }
    }
}

fn ns(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl Region {
    /// What the five words from there on say.
    pub fn times(&self, at: usize) -> Times {
        let word = |number: usize| self.get(at + number);
        Times {
            lock_waits: word(0),
            lock_wait_ns: word(1),
            syncs: word(2),
            sync_ns: word(3),
            sync_longest_ns: word(4),
        }
    }

    /// Somebody slept for a lock.
    #[cold]
    pub fn count_wait(&self, at: usize, slept: Duration) {
        self.add(at, 1);
        self.add(at + 1, ns(slept));
    }

    /// It was put on disk.
    pub fn count_sync(&self, at: usize, took: Duration) {
        let took = ns(took);
        self.add(at + 2, 1);
        self.add(at + 3, took);
        let mut longest = self.get(at + 4);
        while longest < took {
            match self.cas(at + 4, longest, took) {
                Ok(_) => return,
                Err(found) => longest = found,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::map::Mapping;
    use super::*;

    #[test]
    fn p19_what_is_slept_and_synced_adds_up_in_words_that_all_share() {
        let memory = Arc::new(Mapping::anonymous(4096).expect("memory"));
        let region = Region::new(&memory, 64, 64).expect("inside");
        region.count_wait(2, Duration::from_nanos(5));
        region.count_wait(2, Duration::from_nanos(7));
        for took in [30, 50, 40] {
            region.count_sync(2, Duration::from_nanos(took));
        }
        let all = Times {
            lock_waits: 2,
            lock_wait_ns: 12,
            syncs: 3,
            sync_ns: 120,
            sync_longest_ns: 50,
        };
        assert_eq!(region.times(2), all);
        assert_eq!((region.get(1), region.get(7)), (0, 0), "nothing else");
        let sum = all.plus(all);
        assert_eq!((sum.syncs, sum.sync_longest_ns), (6, 50));
    }
}
