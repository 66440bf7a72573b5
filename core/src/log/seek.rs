//! Finding places: of an offset, of a time, of a cursor that is not mapped.

use super::cursor::Cursor;
use super::read::{Place, Step};
use super::segment::Found;
use super::{NONE, Partition};
use crate::error::Result;
use crate::format::record::{self, END, RESERVED};
use crate::format::segment::RECORDS;
use crate::options::Start;

/// Tells of rising offsets whether the log has them; see [`Partition::presence`].
pub struct Presence<'a> {
    log: &'a Partition,
    /// Behind the last that was told of.
    cursor: Option<Cursor>,
    /// Up to this offset something is damaged.
    damaged: u64,
}

impl Presence<'_> {
    /// Whether there is a message of this offset at this position, or bytes that were one: reading
    /// it tells of the damage (P3).
    pub fn has(&mut self, offset: u64, position: u64) -> Result<bool> {
        let cursor = self.cursor.get_or_insert(Cursor::at_offset(offset));
        while offset >= self.damaged {
            match self.log.look(cursor)? {
                Step::Record {
                    offset: found,
                    next,
                    ..
                } if found < offset => *cursor = next,
                Step::Record {
                    offset: found,
                    position: at,
                    ..
                } => return Ok((found, at) == (offset, position)),
                Step::Damaged => {
                    *cursor = self.log.skip_damage(cursor)?.0;
                    self.damaged = cursor.offset;
                }
                Step::End | Step::NotMapped => return Ok(false),
            }
        }
        Ok(true)
    }
}

impl Partition {
    /// Walks the log to tell of rising offsets whether it has them. After a power loss whole
    /// records may stand behind the place where recovery cut: whoever knows where they are must not
    /// find them there (P2).
    pub fn presence(&self) -> Presence<'_> {
        Presence {
            log: self,
            cursor: None,
            damaged: 0,
        }
    }

    /// Maps what the cursor needs, finding its segment and position if they are not known.
    pub fn resolve(&self, cursor: &mut Cursor) -> Result<Place> {
        if cursor.offset < self.first_kept() {
            // Also where it is still mapped: what becomes of it is the same for all.
            return Ok(Place::Broken);
        }
        self.drop_compacted();
        if self.usable(cursor.segment)?.is_some() {
            return Ok(Place::Mapped);
        }
        // Behind a segment that is gone there may be nothing yet.
        let broken = if cursor.offset < self.next_offset() {
            Place::Broken
        } else {
            Place::Nothing
        };
        let bases = self.bases()?;
        let found = bases
            .iter()
            .rposition(|base| *base <= cursor.offset)
            .unwrap_or(0);
        let Some(base) = bases.get(found).copied() else {
            if broken == Place::Nothing {
                return Ok(Place::Nothing);
            }
            let missing = self.missing()?;
            let known = missing != NONE && missing <= cursor.offset;
            cursor.segment = missing;
            return Ok(if known { broken } else { Place::Nothing });
        };
        if base > cursor.offset {
            // A store that is only read is told by the file.
            self.learn_taken()?;
            if cursor.offset < self.first_kept() {
                return Ok(Place::Broken);
            }
        }
        if cursor.segment != NONE && base <= cursor.segment {
            return Ok(broken);
        }
        cursor.segment = base;
        let Some(segment) = self.usable(base)? else {
            return Ok(broken);
        };
        (cursor.offset, cursor.life) = (cursor.offset.max(base), segment.life());
        cursor.position = self.begin_in(&segment, |entry| entry.offset > cursor.offset);
        while let Found::Record(header, length) = segment.at(cursor.position) {
            if matches!(header.kind, END | RESERVED) || header.offset >= cursor.offset {
                break;
            }
            cursor.position += record::padded(u64::from(length));
        }
        Ok(Place::Mapped)
    }

    /// The place that `start` means now. [`crate::ErrorKind::Removed`] for an offset that retention
    /// took.
    pub fn seek(&self, start: Start) -> Result<Cursor> {
        match start {
            Start::Earliest => Ok(Cursor::at_offset(self.earliest_offset()?)),
            Start::Latest => Ok(Cursor::at_offset(self.next_offset())),
            Start::Offset(offset) => match self.removed_before(offset) {
                Some(error) => Err(error),
                None => Ok(Cursor::at_offset(offset)),
            },
            Start::Time(wanted) => self.seek_time(wanted),
        }
    }

    fn seek_time(&self, wanted: i64) -> Result<Cursor> {
        // Timestamps never fall within a partition, so the first record of each segment decides.
        let bases = self.bases()?;
        let (mut low, mut high) = (0, bases.len());
        while low < high {
            let middle = (low + high) / 2;
            let before = match self.usable(bases[middle])?.map(|s| s.at(RECORDS as u64)) {
                Some(Found::Record(header, _)) => header.timestamp_ns < wanted,
                _ => false,
            };
            if before {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let Some(base) = low.checked_sub(1).map(|place| bases[place]) else {
            return Ok(Cursor::at_offset(self.earliest_offset()?));
        };
        let mut cursor = Cursor::at_offset(base);
        if let Some(segment) = self.usable(base)? {
            (cursor.segment, cursor.life) = (base, segment.life());
            cursor.position = self.begin_in(&segment, |entry| entry.timestamp_ns >= wanted);
        }
        loop {
            match self.look(&mut cursor)? {
                Step::Record { timestamp_ns, .. } if timestamp_ns >= wanted => return Ok(cursor),
                Step::Record { next, .. } => cursor = next,
                Step::Damaged => cursor = self.skip_damage(&cursor)?.0,
                // Not where the log ends by now: what was sent since the look is as late as that.
                Step::End | Step::NotMapped => return Ok(Cursor::at_offset(cursor.offset)),
            }
        }
    }
}
