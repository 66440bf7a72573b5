//! Retention and compaction when a test says so.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::error::Result;
use crate::format::control::block::RETAIN_DUE;
use crate::store::compact::Turn;
use crate::store::inner::locked;
use crate::store::{StoreInner, Topic};

impl StoreInner {
    /// Retention of all topics now, whoever looked at them last; what went wrong.
    pub(crate) fn retain_now(self: &Arc<Self>) -> Result<()> {
        let mut done = Ok(());
        for block in self.control.opened_topics()? {
            block.head.store(RETAIN_DUE, 0, Ordering::Release);
            done = done.and(self.retain_topic(&block));
        }
        done
    }
}

impl StoreInner {
    /// Compaction of all topics now, in this thread, whoever looked at them last. Not beside this
    /// process's own thread: where a test's clock stands still two have the same turn.
    pub(crate) fn compact_now(self: &Arc<Self>) -> Result<()> {
        locked(&self.compacting).wait();
        for block in self.control.opened_topics()? {
            let known = self.topic_known(&block)?;
            let Some(known) = known.filter(|known| known.config.compaction) else {
                continue;
            };
            let clock = &*self.env.clock;
            if let Some(turn) = Turn::take(&block, clock, true) {
                let stop = Arc::default();
                self.compaction_of(&block, known, turn, stop)
                    .compact_topic()?;
            }
        }
        Ok(())
    }
}

impl Topic {
    /// Has what was sent up to here in segments that may be compacted, and compacts those that may.
    pub(crate) fn compact_all_now(&self) -> Result<()> {
        for partition in &self.inner.partitions {
            partition.seal_older(i64::MAX)?;
        }
        self.inner.store.compact_now()
    }

    /// Moves the mark of its dedup ids.
    pub(crate) fn move_dedup_mark_now(&self) {
        self.inner.tables.tend_now_in_test();
    }
}
