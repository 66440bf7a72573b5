//! The partition's block in `control`, word by word.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::format::control::partition as at;
use crate::shm::Region;

/// Typed access. Words that only the append lock's holder writes are stored relaxed; those that
/// others read without the lock are stored with release and loaded with acquire.
pub(super) struct Block(pub(super) Region);

impl Block {
    #[inline]
    pub(super) fn lock(&self) -> &AtomicU32 {
        self.0.word32(at::LOCK)
    }

    pub(super) fn sync_lock(&self) -> &AtomicU32 {
        self.0.word32(at::SYNC_LOCK)
    }

    pub(super) fn slow_lock(&self) -> &AtomicU32 {
        self.0.word32(at::SLOW_LOCK)
    }

    pub(super) fn sync_event(&self) -> &AtomicU32 {
        self.0.word32(at::SYNC_EVENT)
    }

    #[inline]
    pub(super) fn recovered(&self) -> bool {
        self.0.load(at::RECOVERED, Ordering::Acquire) != 0
    }

    pub(super) fn set_recovered(&self) {
        self.0.store(at::RECOVERED, 1, Ordering::Release);
    }

    #[inline]
    pub(super) fn next_offset(&self) -> u64 {
        self.0.load(at::NEXT_OFFSET, Ordering::Acquire)
    }

    #[inline]
    pub(super) fn segment(&self) -> u64 {
        self.0.load(at::SEGMENT, Ordering::Acquire)
    }

    #[inline]
    pub(super) fn position(&self) -> u64 {
        self.0.get(at::POSITION)
    }

    #[inline]
    pub(super) fn last_timestamp(&self) -> i64 {
        self.0.get(at::LAST_TIMESTAMP) as i64
    }

    /// After publishing; a death in between is repaired by walking from the old position.
    #[inline]
    pub(super) fn set_tail(&self, next_offset: u64, position: u64, timestamp: i64) {
        self.0.set(at::POSITION, position);
        self.0.set(at::LAST_TIMESTAMP, timestamp as u64);
        self.0
            .store(at::NEXT_OFFSET, next_offset, Ordering::Release);
    }

    /// Position first: a walk that starts there in the old segment finds the END record and goes
    /// on. The segment with release: who sees it sees the END record of the one before.
    pub(super) fn set_segment(&self, base: u64, position: u64) {
        self.0.set(at::POSITION, position);
        self.0.store(at::SEGMENT, base, Ordering::Release);
    }

    #[inline]
    pub(super) fn limit(&self) -> u64 {
        self.0.load(at::LIMIT, Ordering::Acquire)
    }

    pub(super) fn set_limit(&self, limit: u64) {
        self.0.store(at::LIMIT, limit, Ordering::Release);
    }

    pub(super) fn step(&self) -> u64 {
        self.0.get(at::STEP)
    }

    pub(super) fn set_step(&self, step: u64) {
        self.0.set(at::STEP, step);
    }

    #[inline]
    pub(super) fn synced(&self) -> u64 {
        self.0.load(at::SYNCED, Ordering::Acquire)
    }

    pub(super) fn mark(&self) -> (u64, u64) {
        (self.0.get(at::MARK_SEGMENT), self.0.get(at::MARK_POSITION))
    }

    /// The offset last: who sees it sees the rest.
    pub(super) fn set_synced(&self, segment: u64, position: u64, offset: u64) {
        self.0.set(at::MARK_SEGMENT, segment);
        self.0.set(at::MARK_POSITION, position);
        self.0.store(at::SYNCED, offset, Ordering::Release);
    }

    #[inline]
    pub(super) fn poisoned(&self) -> bool {
        self.0.load(at::POISONED, Ordering::Acquire) != 0
    }

    pub(super) fn set_poisoned(&self, poisoned: bool) {
        self.0
            .store(at::POISONED, u64::from(poisoned), Ordering::Release);
    }
}
