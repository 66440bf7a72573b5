//! What a partition's appends promise, which may change while it is open.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Partition;
use crate::error::Result;
use crate::format::control::partition::{PROMISED_INTERVAL, PROMISED_SYNC};
use crate::options::Durability;

/// A durability in one word: 0, 1, or 2 and the microseconds of the interval.
fn word_of(durability: Durability) -> u64 {
    match durability {
        Durability::Process => 0,
        Durability::Sync => 1,
        Durability::Interval(every) => u64::try_from(every.as_micros()).map_or(u64::MAX, |n| n + 2),
    }
}

impl Partition {
    /// What a power loss may cost once this process's appends have returned.
    #[inline]
    pub fn durability(&self) -> Durability {
        match self.durability.load(Ordering::Relaxed) {
            0 => Durability::Process,
            1 => Durability::Sync,
            micros => Durability::Interval(Duration::from_micros(micros - 2)),
        }
    }

    /// As `set_durability`, and keeps what was promised before: what was sent to be on disk after
    /// an interval is put there now, since nobody does so at that interval any more (P2). A death
    /// before the sync is that of a member, after which whoever cleans up syncs by PROMISED.
    pub fn change_durability(&self, durability: Durability) -> Result<()> {
        let before = self.durability();
        if before != durability && matches!(before, Durability::Interval(_)) {
            self.sync()?;
        }
        self.set_durability(durability);
        Ok(())
    }

    /// Changes that, for appends from here on.
    pub fn set_durability(&self, durability: Durability) {
        self.block.add_promised(match durability {
            Durability::Process => 0,
            Durability::Interval(_) => PROMISED_INTERVAL,
            Durability::Sync => PROMISED_SYNC,
        });
        let word = word_of(durability);
        if self.durability.swap(word, Ordering::Relaxed) != word {
            // Housekeeping syncs at another pace from here on.
            (self.env.nudge)();
        }
    }
}
