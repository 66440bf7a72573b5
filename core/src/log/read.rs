//! Reading: walking headers, fetching whole records, finding a place to start.

use std::ops::Range;
use std::sync::Arc;

use super::segment::{Found, Segment};
use super::{NONE, Partition};
use crate::error::{Error, ErrorKind, Result};
use crate::format::headers::Headers;
use crate::format::record::{self, END, HAS_KEY, HEADER, MESSAGE, RESERVED};
use crate::format::segment::RECORDS;
use crate::options::Start;

/// A place in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Base of the segment, or `u64::MAX`: find it by the offset.
    pub segment: u64,
    /// Position in the segment.
    pub position: u64,
    /// No record before this offset is wanted.
    pub offset: u64,
}

impl Cursor {
    /// The place of an offset, to be found when it is first read.
    #[must_use]
    pub fn at_offset(offset: u64) -> Self {
        Self {
            segment: NONE,
            position: 0,
            offset,
        }
    }
}

/// What stands at a cursor.
pub enum Step {
    /// A message; its checksum was not looked at.
    Record {
        /// Its offset.
        offset: u64,
        /// Its position in the segment.
        position: u64,
        /// The hash of its key, if it has one.
        key_hash: Option<u64>,
        /// Its timestamp.
        timestamp_ns: i64,
        /// Its length in bytes.
        length: u32,
        /// The place behind it.
        next: Cursor,
    },
    /// Nothing yet.
    End,
    /// The segment is not mapped: call [`Partition::resolve`] where waiting is allowed.
    NotMapped,
    /// Bytes that are no record: call [`Partition::skip_damage`] where waiting is allowed.
    Damaged,
}

/// A message as it stands in the log; keeps its segment mapped.
#[derive(Clone)]
pub struct Record {
    segment: Arc<Segment>,
    /// Its offset.
    pub offset: u64,
    /// Nanoseconds since the Unix epoch.
    pub timestamp_ns: i64,
    key: Option<Range<usize>>,
    headers: Range<usize>,
    payload: Range<usize>,
}

impl Record {
    #[inline]
    fn bytes(&self, range: &Range<usize>) -> &[u8] {
        self.segment
            .map()
            .bytes(range.start, range.len())
            .unwrap_or_default()
    }

    /// The key, if it has one.
    #[inline]
    pub fn key(&self) -> Option<&[u8]> {
        self.key.as_ref().map(|range| self.bytes(range))
    }

    /// The encoded headers block.
    pub fn headers_block(&self) -> &[u8] {
        self.bytes(&self.headers)
    }

    /// Names and values of the headers.
    pub fn headers(&self) -> Headers<'_> {
        Headers::new(self.headers_block())
    }

    /// Bytes of the whole record in the log.
    pub fn length(&self) -> u64 {
        let key = self.key.as_ref().map_or(0, Range::len);
        (HEADER + key + self.headers.len() + self.payload.len()) as u64
    }

    /// File and position of the payload.
    pub fn place(&self) -> (&std::path::Path, u64) {
        (self.segment.path(), self.payload.start as u64)
    }

    /// The payload.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        self.bytes(&self.payload)
    }
}

impl Partition {
    /// What stands at the cursor. Never waits and never maps, so it may be called under a lock.
    #[inline]
    pub fn step(&self, cursor: &mut Cursor) -> Step {
        loop {
            let Some(segment) = self.mapped(cursor.segment) else {
                return Step::NotMapped;
            };
            match step_in(&segment, cursor) {
                Some(Step::End) if self.is_closed(&segment) => {
                    if let Some(step) = look_again(&segment, cursor) {
                        return step;
                    }
                }
                Some(step) => return step,
                None => continue,
            }
        }
    }

    /// As `step` for many: calls `take` for each record until it says stop.
    pub fn scan(&self, cursor: &mut Cursor, mut take: impl FnMut(Cursor, Step) -> bool) {
        let mut held: Option<Arc<Segment>> = None;
        loop {
            let segment = match &held {
                Some(segment) if segment.base() == cursor.segment => segment,
                _ => {
                    let Some(mapped) = self.mapped(cursor.segment) else {
                        take(*cursor, Step::NotMapped);
                        return;
                    };
                    held.insert(mapped)
                }
            };
            let mut found = step_in(segment, cursor);
            if matches!(found, Some(Step::End)) && self.is_closed(segment) {
                found = look_again(segment, cursor);
            }
            match found {
                Some(step) => {
                    let next = if let Step::Record { next, .. } = &step {
                        Some(*next)
                    } else {
                        None
                    };
                    let more = take(*cursor, step);
                    match next {
                        Some(next) if more => *cursor = next,
                        _ => return,
                    }
                }
                None => continue,
            }
        }
    }

    /// Whether the log goes on in a later segment.
    #[inline]
    fn is_closed(&self, segment: &Segment) -> bool {
        let active = self.block.segment();
        active != NONE && segment.base() < active
    }

    /// Maps what the cursor needs, finding its segment and position if they are not known.
    /// False if there is nothing to map yet.
    pub fn resolve(&self, cursor: &mut Cursor) -> Result<bool> {
        if self.segment(cursor.segment)?.is_some() {
            return Ok(true);
        }
        let bases = self.bases()?;
        let found = bases
            .iter()
            .rposition(|base| *base <= cursor.offset)
            .unwrap_or(0);
        let Some(base) = bases.get(found).copied() else {
            return Ok(false);
        };
        let Some(segment) = self.segment(base)? else {
            return Ok(false);
        };
        cursor.segment = base;
        cursor.offset = cursor.offset.max(base);
        cursor.position = self.begin_in(&segment, |entry| entry.offset > cursor.offset);
        while let Found::Record(header, length) = segment.at(cursor.position) {
            if header.kind == END || header.offset >= cursor.offset {
                break;
            }
            cursor.position += record::padded(u64::from(length));
        }
        Ok(true)
    }

    /// Behind damage at the cursor: the next place where a whole record stands, and the error that
    /// names file and position (P3).
    pub fn skip_damage(&self, cursor: &Cursor) -> Result<(Cursor, Error)> {
        let Some(segment) = self.segment(cursor.segment)? else {
            let message = format!(
                "{}: the segment of offset {} is missing",
                self.folder.display(),
                cursor.segment
            );
            let next = Cursor::at_offset(cursor.offset.max(self.next_offset()));
            return Ok((next, Error::new(ErrorKind::Damaged, message)));
        };
        let error = segment.damage(
            cursor.position,
            "these bytes are not the record that was sent",
        );
        if let Some((position, header)) = segment.resync(cursor.position, cursor.offset) {
            let next = Cursor {
                position,
                offset: header.offset,
                ..*cursor
            };
            return Ok((next, error));
        }
        let later = self
            .bases()?
            .into_iter()
            .find(|base| *base > cursor.segment);
        let next = match later {
            Some(base) => Cursor {
                segment: base,
                position: RECORDS as u64,
                offset: base,
            },
            None => Cursor::at_offset(self.next_offset().max(cursor.offset)),
        };
        Ok((next, error))
    }

    /// The record with this offset, whole (its checksum is looked at here). `position` is where it
    /// was seen; anything that does not fit is damage.
    pub fn record(&self, offset: u64, position: u64) -> Result<Record> {
        let segment = match self.mapped_with(offset, position) {
            Some(segment) => segment,
            None => self.segment_of(offset)?,
        };
        let Found::Record(header, length) = segment.at(position) else {
            return Err(segment.damage(position, &format!("no record of offset {offset} here")));
        };
        if header.offset != offset || header.kind != MESSAGE || !segment.whole(position, length) {
            let what = format!("the record of offset {offset} is not what was sent");
            return Err(segment.damage(position, &what));
        }
        let body = position as usize + HEADER + usize::from(header.extension_len);
        let key = body..body + header.key_len as usize;
        let headers = key.end..key.end + header.headers_len as usize;
        let payload = headers.end..headers.end + header.payload_len as usize;
        let timestamp_ns = header.timestamp_ns;
        let key = (header.flags & HAS_KEY != 0).then_some(key);
        Ok(Record {
            segment,
            offset,
            timestamp_ns,
            key,
            headers,
            payload,
        })
    }

    /// The mapped segment that has the record of this offset at this position. The one that the
    /// offset falls into may not be mapped while an earlier and a later one are.
    #[inline]
    fn mapped_with(&self, offset: u64, position: u64) -> Option<Arc<Segment>> {
        let segments = self
            .segments
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let (_, segment) = segments.range(..=offset).next_back()?;
        match segment.at(position) {
            Found::Record(header, _) if header.offset == offset => Some(segment.clone()),
            _ => None,
        }
    }

    fn segment_of(&self, offset: u64) -> Result<Arc<Segment>> {
        let bases = self.bases()?;
        let base = bases
            .into_iter()
            .rfind(|base| *base <= offset)
            .unwrap_or(NONE);
        self.segment(base)?.ok_or_else(|| {
            let message = format!(
                "{}: no segment holds offset {offset}",
                self.folder.display()
            );
            Error::new(ErrorKind::Damaged, message)
        })
    }

    /// The place that `start` means now.
    pub fn seek(&self, start: Start) -> Result<Cursor> {
        match start {
            Start::Earliest => Ok(Cursor::at_offset(self.earliest_offset()?)),
            Start::Latest => Ok(Cursor::at_offset(self.next_offset())),
            Start::Offset(offset) => Ok(Cursor::at_offset(offset)),
            Start::Time(wanted) => self.seek_time(wanted),
        }
    }

    fn seek_time(&self, wanted: i64) -> Result<Cursor> {
        // Timestamps never fall within a partition, so the first record of each segment decides.
        let bases = self.bases()?;
        let (mut low, mut high) = (0, bases.len());
        while low < high {
            let middle = (low + high) / 2;
            let before = match self.segment(bases[middle])?.map(|s| s.at(RECORDS as u64)) {
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
        if let Some(segment) = self.segment(base)? {
            cursor.segment = base;
            cursor.position = self.begin_in(&segment, |entry| entry.timestamp_ns >= wanted);
        }
        while self.resolve(&mut cursor)? {
            match self.step(&mut cursor) {
                Step::Record { timestamp_ns, .. } if timestamp_ns >= wanted => return Ok(cursor),
                Step::Record { next, .. } => cursor = next,
                Step::NotMapped => continue,
                Step::Damaged => cursor = self.skip_damage(&cursor)?.0,
                Step::End => break,
            }
        }
        Ok(Cursor::at_offset(self.next_offset()))
    }
}

/// Nothing was seen at the cursor, and then the segment was closed: `None` if the END record is
/// seen now, or what was appended before it. A closed segment with nothing there is damaged (P3).
#[cold]
fn look_again(segment: &Segment, cursor: &Cursor) -> Option<Step> {
    matches!(segment.at(cursor.position), Found::Nothing).then_some(Step::Damaged)
}

/// One step within a segment; `None` when the cursor moved and the caller should look again.
#[inline]
fn step_in(segment: &Segment, cursor: &mut Cursor) -> Option<Step> {
    match segment.at(cursor.position) {
        Found::Nothing => Some(Step::End),
        Found::Bad => Some(Step::Damaged),
        Found::Record(header, length) if header.kind == MESSAGE => {
            if header.offset < cursor.offset {
                return Some(Step::Damaged);
            }
            let position = cursor.position + record::padded(u64::from(length));
            Some(Step::Record {
                offset: header.offset,
                position: cursor.position,
                key_hash: (header.flags & HAS_KEY != 0).then_some(header.key_hash),
                timestamp_ns: header.timestamp_ns,
                length,
                next: Cursor {
                    segment: cursor.segment,
                    position,
                    offset: header.offset + 1,
                },
            })
        }
        Found::Record(header, _) if header.kind == END => {
            if header.offset < cursor.offset || !segment.whole(cursor.position, HEADER as u32) {
                return Some(Step::Damaged);
            }
            *cursor = Cursor {
                segment: header.offset,
                position: RECORDS as u64,
                offset: header.offset,
            };
            None
        }
        // Being copied: nothing yet.
        Found::Record(header, _) if header.kind == RESERVED => Some(Step::End),
        Found::Record(_, length) => {
            cursor.position += record::padded(u64::from(length));
            None
        }
    }
}
