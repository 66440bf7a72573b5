//! The partition's block in `control`, word by word.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::NONE;
use crate::format::control::partition as at;
use crate::format::record::OFFSET_MAX;
use crate::format::segment::RECORDS;
use crate::shm::{Region, Times, Word};

const TAIL_WORDS: usize = 4;

#[inline]
fn clamp(word: u64) -> u64 {
    word.min(OFFSET_MAX)
}

/// A segment's base, or none.
#[inline]
fn clamp_base(word: u64) -> u64 {
    if word > OFFSET_MAX { NONE } else { word }
}

/// Typed access. Offsets and positions are clamped to what can be, since anybody may have changed
/// `control` (P18): a sum of two of them never overflows, and what does not fit together is met by
/// the checks of the mapping and of the records. Words that only the append lock's holder writes
/// are stored relaxed; those that others read without the lock are stored with release and loaded
/// with acquire.
pub(super) struct Block(pub(super) Region);

impl Block {
    #[inline]
    pub(super) fn lock(&self) -> &Word {
        self.0.word32(at::LOCK)
    }

    pub(super) fn deleted(&self) -> bool {
        self.0.load(at::DELETED, Ordering::Acquire) != 0
    }

    pub(super) fn sync_lock(&self) -> &Word {
        self.0.word32(at::SYNC_LOCK)
    }

    pub(super) fn slow_lock(&self) -> &Word {
        self.0.word32(at::SLOW_LOCK)
    }

    pub(super) fn sync_event(&self) -> &Word {
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
        clamp(self.0.load(at::NEXT_OFFSET, Ordering::Acquire))
    }

    #[inline]
    pub(super) fn segment(&self) -> u64 {
        clamp_base(self.0.load(at::SEGMENT, Ordering::Acquire))
    }

    #[inline]
    pub(super) fn position(&self) -> u64 {
        clamp(self.0.get(at::POSITION))
    }

    #[inline]
    pub(super) fn last_timestamp(&self) -> i64 {
        self.0.get(at::LAST_TIMESTAMP) as i64
    }

    /// After publishing. The tail that is not the whole one is overwritten and becomes it with one
    /// word, so that a death anywhere leaves one from which `repair` walks on.
    #[inline(always)]
    pub(super) fn set_tail(&self, segment: u64, next_offset: u64, position: u64, timestamp: i64) {
        let other = 1 - (self.0.get(at::TAIL) & 1) as usize;
        let first = at::TAILS + other * TAIL_WORDS;
        self.0.set(first, segment);
        self.0.set(first + 1, position);
        self.0.set(first + 2, next_offset);
        self.0.set(first + 3, timestamp as u64);
        self.0.store(at::TAIL, other as u64, Ordering::Release);
        self.0.set(at::POSITION, position);
        self.0.set(at::LAST_TIMESTAMP, timestamp as u64);
        self.0
            .store(at::NEXT_OFFSET, next_offset, Ordering::Release);
    }

    /// The last whole tail: segment, position, offset, timestamp.
    pub(super) fn tail(&self) -> (u64, u64, u64, i64) {
        let which = (self.0.load(at::TAIL, Ordering::Acquire) & 1) as usize;
        let first = at::TAILS + which * TAIL_WORDS;
        let word = |number| self.0.get(first + number);
        (
            clamp_base(word(0)),
            clamp(word(1)),
            clamp(word(2)),
            word(3) as i64,
        )
    }

    /// With the append lock held, and repaired: whether segment, position and offset are those of
    /// the last whole tail, or of a new segment behind it. Any one word that was changed by
    /// somebody else shows.
    #[inline]
    pub(super) fn fits_its_tail(&self, segment: u64, position: u64, offset: u64) -> bool {
        let (tail, at, next, _) = self.tail();
        let begun = if tail == segment { at } else { RECORDS as u64 };
        begun == position && next == offset
    }

    pub(super) fn large_lock(&self) -> &Word {
        self.0.word32(at::LARGE_LOCK)
    }

    /// The large batch that is being copied: segment, position, first offset.
    pub(super) fn large(&self) -> Option<(u64, u64, u64)> {
        let position = self.0.load(at::LARGE_POSITION, Ordering::Acquire);
        (position != 0).then(|| {
            (
                clamp_base(self.0.get(at::LARGE_SEGMENT)),
                clamp(position),
                clamp(self.0.get(at::LARGE_OFFSET)),
            )
        })
    }

    /// The position last: who sees it sees the rest.
    pub(super) fn set_large(&self, segment: u64, position: u64, offset: u64) {
        self.0.set(at::LARGE_SEGMENT, segment);
        self.0.set(at::LARGE_OFFSET, offset);
        self.0
            .store(at::LARGE_POSITION, position, Ordering::Release);
    }

    pub(super) fn clear_large(&self) {
        self.0.store(at::LARGE_POSITION, 0, Ordering::Release);
    }

    /// Position first: a walk that starts there in the old segment finds the END record and goes
    /// on. The segment with release: who sees it sees the END record of the one before.
    pub(super) fn set_segment(&self, base: u64, position: u64) {
        self.0.set(at::POSITION, position);
        self.0.store(at::SEGMENT, base, Ordering::Release);
    }

    /// The segment that was closed last and where its END record is, or is about to be.
    pub(super) fn sealed(&self) -> (u64, u64) {
        let segment = self.0.load(at::SEALED_SEGMENT, Ordering::Acquire);
        (clamp_base(segment), clamp(self.0.get(at::SEALED_POSITION)))
    }

    pub(super) fn set_sealed(&self, segment: u64, end: u64) {
        self.0.set(at::SEALED_POSITION, end);
        self.0.store(at::SEALED_SEGMENT, segment, Ordering::Release);
    }

    #[inline]
    pub(super) fn limit(&self) -> u64 {
        clamp(self.0.load(at::LIMIT, Ordering::Acquire))
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
        clamp(self.0.load(at::SYNCED, Ordering::Acquire))
    }

    /// Where what is on disk ends: segment, position, offset. Read without a lock: the count says
    /// whether the mark was overwritten meanwhile, which takes two more of them.
    pub(super) fn mark(&self) -> (u64, u64, u64) {
        loop {
            let count = self.0.load(at::MARK, Ordering::Acquire);
            let first = at::MARKS + (count & 1) as usize * TAIL_WORDS;
            let word = |number| self.0.load(first + number, Ordering::Acquire);
            let mark = (clamp_base(word(0)), clamp(word(1)), clamp(word(2)));
            if self.0.load(at::MARK, Ordering::Acquire) == count {
                return mark;
            }
        }
    }

    /// By the holder of the sync lock. The mark that is not the whole one is overwritten and
    /// becomes it with one word: a death anywhere leaves the other. SYNCED, by which waiters go,
    /// last.
    pub(super) fn set_synced(&self, segment: u64, position: u64, offset: u64) {
        let count = self.0.get(at::MARK).wrapping_add(1);
        let first = at::MARKS + (count & 1) as usize * TAIL_WORDS;
        self.0.store(first, segment, Ordering::Release);
        self.0.store(first + 1, position, Ordering::Release);
        self.0.store(first + 2, offset, Ordering::Release);
        self.0.store(at::MARK, count, Ordering::Release);
        self.0.store(at::SYNCED, offset, Ordering::Release);
    }

    /// As one that dies before its mark is whole.
    #[cfg(test)]
    pub(super) fn begin_mark_in_test(&self) {
        let first = at::MARKS + ((self.0.get(at::MARK) + 1) & 1) as usize * TAIL_WORDS;
        self.0.store(first, 1, Ordering::Release);
    }

    /// Offsets below were taken by retention.
    #[inline]
    pub(super) fn first_kept(&self) -> u64 {
        clamp(self.0.load(at::FIRST_KEPT, Ordering::Acquire))
    }

    pub(super) fn raise_first_kept(&self, offset: u64) {
        self.raise(at::FIRST_KEPT, offset);
    }

    /// How often a segment was compacted.
    #[inline]
    pub(super) fn compacted(&self) -> u64 {
        self.0.load(at::COMPACTED, Ordering::Acquire)
    }

    pub(super) fn count_compacted(&self) {
        self.0.add(at::COMPACTED, 1);
    }

    /// Below it no sealed segment is left.
    pub(super) fn removed(&self) -> u64 {
        self.0.load(at::REMOVED, Ordering::Acquire)
    }

    pub(super) fn raise_removed(&self, offset: u64) {
        self.raise(at::REMOVED, offset);
    }

    /// Never lowered, by whomever.
    fn raise(&self, word: usize, offset: u64) {
        let mut seen = self.0.load(word, Ordering::Acquire);
        while seen < offset {
            match self.0.cas(word, seen, offset) {
                Ok(_) => return,
                Err(found) => seen = found,
            }
        }
    }

    /// How often what was not on disk was taken back.
    pub(super) fn voids(&self) -> u64 {
        self.0.load(at::VOIDS, Ordering::Acquire)
    }

    pub(super) fn count_void(&self) {
        let next = self.voids().wrapping_add(1);
        self.0.store(at::VOIDS, next, Ordering::Release);
    }

    /// The durabilities that this partition was opened with in this life of `control`, by whomever.
    pub(super) fn promised(&self) -> u64 {
        self.0.load(at::PROMISED, Ordering::Acquire)
    }

    pub(super) fn add_promised(&self, bits: u64) {
        let mut seen = self.promised();
        while seen | bits != seen {
            match self.0.cas(at::PROMISED, seen, seen | bits) {
                Ok(_) => return,
                Err(found) => seen = found,
            }
        }
    }

    #[cold]
    pub(super) fn count_wait(&self, slept: Duration) {
        self.0.count_wait(at::TIMES, slept);
    }

    pub(super) fn count_sync(&self, took: Duration) {
        self.0.count_sync(at::TIMES, took);
    }

    pub(super) fn times(&self) -> Times {
        self.0.times(at::TIMES)
    }

    #[inline]
    pub(super) fn poisoned(&self) -> bool {
        self.0.load(at::POISONED, Ordering::Acquire) != 0
    }

    /// Whether pages that a failed sync left are still to be written anew.
    pub(super) fn needs_rewrite(&self) -> bool {
        self.0.load(at::POISONED, Ordering::Acquire) == at::REWRITE
    }

    pub(super) fn set_poisoned(&self, state: u64) {
        self.0.store(at::POISONED, state, Ordering::Release);
    }
}
