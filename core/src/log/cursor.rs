//! Places in a log.

use super::NONE;
use crate::format::segment::RECORDS;

/// A place in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Base of the segment, or `u64::MAX`: find it by the offset.
    pub segment: u64,
    /// Position in the segment.
    pub position: u64,
    /// No record before this offset is wanted.
    pub offset: u64,
    /// How often the segment had been compacted when the position was seen. In another life of the
    /// segment it means nothing, unless it is where records begin.
    pub life: u32,
}

/// Bits of a cursor's word that are its position.
const PLACE_BITS: u32 = 40;
/// A segment is compacted no more often: the word stays below what offsets may be.
pub(super) const LIFE_MAX: u32 = (1 << 21) - 1;

impl Cursor {
    /// The place of an offset, to be found when it is first read.
    #[must_use]
    pub fn at_offset(offset: u64) -> Self {
        Self {
            segment: NONE,
            position: 0,
            offset,
            life: 0,
        }
    }

    /// Where a segment begins.
    pub(super) fn at_base(base: u64, offset: u64) -> Self {
        Self {
            segment: base,
            position: RECORDS as u64,
            offset,
            life: 0,
        }
    }

    /// Position and life as one word, for shared memory: never one without the other.
    #[must_use]
    #[inline]
    pub fn place(&self) -> u64 {
        let position = self.position.min((1 << PLACE_BITS) - 1);
        u64::from(self.life.min(LIFE_MAX)) << PLACE_BITS | position
    }

    /// The cursor with this word, which may be any (P18).
    #[must_use]
    #[inline]
    pub fn at_place(segment: u64, place: u64, offset: u64) -> Self {
        Self {
            segment,
            position: place & ((1 << PLACE_BITS) - 1),
            offset,
            life: ((place >> PLACE_BITS) as u32).min(LIFE_MAX),
        }
    }
}
