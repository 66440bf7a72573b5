//! The segment that somebody was in last, found again without a look into what is mapped.
//!
//! It keeps nothing mapped: a segment that retention took, or that nobody uses, is let go of as
//! ever, and is then asked for anew.

use std::sync::{Arc, Weak};

use super::cursor::Cursor;
use super::segment::Segment;
use super::{NONE, Partition};
use crate::format::segment::RECORDS;

/// A segment of a partition, for as long as somebody else has it mapped.
pub struct Near {
    segment: Weak<Segment>,
    base: u64,
    /// How many segments had been compacted: after the next one it may be an old file.
    compacted: u64,
}

impl Default for Near {
    fn default() -> Self {
        Self {
            segment: Weak::new(),
            base: NONE,
            compacted: 0,
        }
    }
}

impl Near {
    /// The segment that the cursor is in, if this is it. Not where the cursor enters it: then it
    /// may have to be mapped anew (`compacted.rs`). And only in the life that the cursor is of: an
    /// old file lives on while somebody holds a message of it, and found again and again it would
    /// keep who looks from the one that has its place (P9).
    #[inline]
    pub(super) fn find(&self, log: &Partition, cursor: &Cursor) -> Option<Arc<Segment>> {
        let same = self.base == cursor.segment
            && cursor.position != RECORDS as u64
            && self.compacted == log.compacted_count();
        let segment = same.then(|| self.segment.upgrade()).flatten()?;
        if segment.life() != cursor.life {
            return None;
        }
        segment.touch();
        Some(segment)
    }

    /// This one is found from here on. `compacted` as it was before it was asked for.
    pub(super) fn set(&mut self, segment: &Arc<Segment>, compacted: u64) {
        *self = Self {
            segment: Arc::downgrade(segment),
            base: segment.base(),
            compacted,
        };
    }
}
