//! Sharing partitions where each hands out one message at a time: in a group that is ordered by
//! partition, a receive call takes no more of them than its share, however many it asks for. Else
//! one consumer that asks for many would have all partitions out at once, and the others none.
//!
//! The share is that of all partitions by the consumers that there are now, so it follows them as
//! they come and go, without anybody being told. It bounds a call and nothing else: who asks again
//! while nobody else does is handed what is left.

use std::sync::atomic::{AtomicU64, Ordering};

use super::consumer::Consumer;

/// For so long the number of consumers is believed, in ms: to count them takes a walk over the
/// table of all.
const BELIEVED_MS: u64 = 50;
const SHARE_BITS: u32 = 16;

/// A consumer's share, and until when it is believed, in ms of the boot clock: one word.
#[derive(Default)]
pub(super) struct Share(AtomicU64);

impl Consumer {
    /// How many partitions a call of this consumer takes from at most.
    pub(super) fn share(&self, now_ms: u64) -> usize {
        let known = self.share.0.load(Ordering::Relaxed);
        if now_ms < known >> SHARE_BITS {
            return (known & ((1 << SHARE_BITS) - 1)) as usize;
        }
        let topic = &self.group.topic;
        let consumers = topic.store.control.consumers_in(&self.group.block).max(1);
        let share = topic.partitions.len().div_ceil(consumers);
        let until = now_ms.saturating_add(BELIEVED_MS);
        let word = until << SHARE_BITS | share as u64;
        self.share.0.store(word, Ordering::Relaxed);
        share
    }
}
