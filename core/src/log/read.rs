//! Reading: walking headers, fetching whole records, finding a place to start.

use std::sync::Arc;

use super::cursor::Cursor;
use super::near::Near;
use super::record::Record;
use super::segment::{Found, Segment};
use super::{NONE, Partition};
use crate::error::{Error, ErrorKind, Result};
use crate::format::extension::Attributes;
use crate::format::names;
use crate::format::record::{self, END, HAS_KEY, HEADER, MESSAGE, RESERVED};
use crate::format::segment::RECORDS;

/// What stands at a cursor.
#[derive(Clone, Copy)]
pub enum Step {
    /// A message; its checksum was not looked at.
    Record {
        /// Its offset.
        offset: u64,
        /// Its position in the segment.
        position: u64,
        /// The hash of its key, if it has one.
        key_hash: Option<u64>,
        /// What it says of its delivery.
        attributes: Attributes,
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

/// What is found at the place that a cursor means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It is mapped: [`Partition::step`] tells what stands there.
    Mapped,
    /// Nothing to map yet.
    Nothing,
    /// The file of its segment is gone or damaged, or retention took it: [`Partition::skip_damage`]
    /// tells which, and goes on behind it.
    Broken,
}

impl Partition {
    /// What stands at the cursor. Never waits and never maps, so it may be called under a lock.
    #[inline]
    pub fn step(&self, cursor: &mut Cursor) -> Step {
        loop {
            let Some(segment) = self.mapped_at(cursor) else {
                return Step::NotMapped;
            };
            match step_in(&segment, cursor) {
                Some(Step::End) => {
                    if let Some(step) = self.look_again(&segment, cursor) {
                        return step;
                    }
                }
                Some(step) => return step,
                None => continue,
            }
        }
    }

    /// As `step`, where waiting is allowed: maps what is needed, and never says that it is not.
    pub fn look(&self, cursor: &mut Cursor) -> Result<Step> {
        loop {
            match self.resolve(cursor)? {
                Place::Nothing => return Ok(Step::End),
                Place::Broken => return Ok(Step::Damaged),
                Place::Mapped => match self.step(cursor) {
                    Step::NotMapped => {}
                    step => return Ok(step),
                },
            }
        }
    }

    /// As `step` for many: calls `take` for each record until it says stop. The segment that it was
    /// in last, for `record_near`.
    pub fn scan(
        &self,
        cursor: &mut Cursor,
        take: impl FnMut(Cursor, &Step) -> bool,
    ) -> Option<Arc<Segment>> {
        self.scan_near(&mut Near::default(), cursor, take)
    }

    /// As `scan`, by who remembers where it was last.
    #[inline]
    pub fn scan_near(
        &self,
        near: &mut Near,
        cursor: &mut Cursor,
        mut take: impl FnMut(Cursor, &Step) -> bool,
    ) -> Option<Arc<Segment>> {
        let mut held = near.find(self, cursor);
        loop {
            let segment = match &held {
                Some(segment) if segment.base() == cursor.segment => segment,
                _ => {
                    let compacted = self.compacted_count();
                    let Some(mapped) = self.mapped_at(cursor) else {
                        take(*cursor, &Step::NotMapped);
                        return held;
                    };
                    near.set(&mapped, compacted);
                    held.insert(mapped)
                }
            };
            let mut found = step_in(segment, cursor);
            if matches!(found, Some(Step::End)) {
                found = self.look_again(segment, cursor);
            }
            let Some(step) = found else {
                continue;
            };
            match (take(*cursor, &step), &step) {
                (true, Step::Record { next, .. }) => *cursor = *next,
                _ => return held,
            }
        }
    }

    /// Whether the log goes on in a later segment.
    #[inline]
    fn is_closed(&self, segment: &Segment) -> bool {
        let active = self.block.segment();
        active != NONE && segment.base() < active
    }

    /// Whether the block says that something was published at the cursor or behind it.
    #[inline]
    fn is_before_tail(&self, segment: &Segment, cursor: &Cursor) -> bool {
        // Its acquire pairs with the release that follows the position in `set_tail`.
        let next = self.block.next_offset();
        segment.base() == self.block.segment()
            && cursor.offset < next
            && cursor.position < self.block.position()
    }

    /// Nothing was seen at the cursor: what that means. `None` if something is seen now.
    ///
    /// A closed segment with nothing there is damaged (P3), and so is an active one before the tail
    /// that the block names: records are published before it is. And so is what says that it is
    /// being copied where the block knows of no copy: the block is told before the record is there,
    /// and of the end of the copying after the record says so.
    fn look_again(&self, segment: &Segment, cursor: &Cursor) -> Option<Step> {
        // Before the record: where both are of another segment meanwhile, this one has its END.
        let published = self.is_closed(segment) || self.is_before_tail(segment, cursor);
        match segment.at(cursor.position) {
            Found::Nothing if published => Some(Step::Damaged),
            Found::Nothing => Some(Step::End),
            Found::Record(header, _) if header.kind == RESERVED => {
                let named =
                    |(base, position, _)| (base, position) == (segment.base(), cursor.position);
                // A store that is only read has a block of its own, which knows of no copy.
                if !segment.map().is_writable() || self.block.large().is_some_and(named) {
                    Some(Step::End)
                } else {
                    is_reserved(segment, cursor.position).then_some(Step::Damaged)
                }
            }
            _ => None,
        }
    }

    /// Behind damage at the cursor: the next place where a whole record stands, and the error that
    /// names file and position (P3).
    /// Behind what retention took: the earliest that is kept, and an error of the kind
    /// [`ErrorKind::Removed`].
    pub fn skip_damage(&self, cursor: &Cursor) -> Result<(Cursor, Error)> {
        let mut cursor = *cursor;
        if let Some(skipped) = self.skip_taken(&cursor) {
            return Ok(skipped);
        }
        if cursor.segment == NONE {
            self.resolve(&mut cursor)?;
        }
        let cursor = &cursor;
        let segment = match self.segment(cursor.segment) {
            Ok(Some(segment)) => segment,
            Err(error) if error.kind() != ErrorKind::Damaged => return Err(error),
            broken => {
                // It may have gone since, and a store that is only read is told of it by the file.
                self.learn_taken()?;
                if let Some(skipped) = self.skip_taken(cursor) {
                    return Ok(skipped);
                }
                let missing = self.folder.join(names::segment(cursor.segment));
                let error = broken.err().unwrap_or_else(|| {
                    let message = format!(
                        "{} is missing; the records behind it are kept; `libqueue verify` lists \
                         all damage",
                        missing.display()
                    );
                    Error::new(ErrorKind::Damaged, message)
                });
                return Ok((self.next_segment(cursor)?, error));
            }
        };
        let error = segment.damage(
            cursor.position,
            "these bytes are not the record that was sent",
        );
        // Behind the tail nothing was published: only what a dead sender left can stand there.
        let active = segment.base() == self.block.segment();
        let end = if active {
            self.block.position()
        } else {
            segment.capacity()
        };
        let from = match cursor.life == segment.life() {
            true => cursor.position,
            // It was compacted since: found by the offset, from its beginning on.
            false => (RECORDS - record::ALIGN) as u64,
        };
        if let Some((position, header)) = segment.resync(from, cursor.offset, end) {
            let next = Cursor {
                position,
                offset: header.offset,
                life: segment.life(),
                ..*cursor
            };
            return Ok((next, error));
        }
        Ok((self.next_segment(cursor)?, error))
    }

    /// Where the next segment that is there begins; else the end of the log.
    fn next_segment(&self, cursor: &Cursor) -> Result<Cursor> {
        let later = |base: &u64| *base > cursor.segment;
        Ok(match self.bases()?.into_iter().find(later) {
            Some(base) => Cursor::at_base(base, base.max(cursor.offset)),
            // Not found by the offset again, which may end at the same damage.
            None => Cursor {
                segment: self.block.segment(),
                position: self.block.position(),
                offset: self.next_offset().max(cursor.offset),
                life: 0,
            },
        })
    }

    /// The record with this offset, whole (its checksum is looked at here). `position` is where it
    /// was seen; anything that does not fit is damage.
    pub fn record(&self, offset: u64, position: u64) -> Result<Record> {
        self.record_near(None, offset, position)
    }

    /// As `record`, quicker where the record is in this segment of the partition.
    #[inline]
    pub fn record_near(
        &self,
        mut near: Option<Arc<Segment>>,
        offset: u64,
        position: u64,
    ) -> Result<Record> {
        if let Some(segment) = near.take_if(|segment| segment.is_plain(offset, position)) {
            let record = Record::plain(segment, position);
            if record.is_whole(offset) {
                return Ok(record);
            }
        }
        self.record_by_header(near, offset, position)
    }

    /// As `record_near`, not quicker for what says nothing of its delivery.
    #[inline]
    pub fn record_by_header(
        &self,
        near: Option<Arc<Segment>>,
        offset: u64,
        position: u64,
    ) -> Result<Record> {
        let has = |segment: &Segment| match segment.at(position) {
            Found::Record(header, length) if header.offset == offset => Some((header, length)),
            _ => None,
        };
        let found = match near.and_then(|near| has(&near).map(|found| (near, found))) {
            Some((near, found)) => Some((near, found)),
            // The one that the offset falls into may not be mapped while an earlier and a later one
            // are.
            None => self
                .mapped_before(offset)
                .and_then(|segment| has(&segment).map(|found| (segment, found))),
        };
        let (segment, (header, length)) = match found {
            Some(found) => found,
            None => {
                let segment = self.segment_of(offset)?;
                let found = match segment.at(position) {
                    Found::Record(header, length) => Some((header, length)),
                    Found::Nothing | Found::Bad => None,
                };
                if found.is_none_or(|(header, _)| header.offset != offset)
                    && let Some(moved) = self.record_moved(offset)?
                {
                    return Ok(moved);
                }
                let Some(found) = found else {
                    let what = format!("no record of offset {offset} here");
                    return Err(segment.damage(position, &what));
                };
                (segment, found)
            }
        };
        if header.offset != offset
            || header.kind != MESSAGE
            || !segment.is_whole(position, &header, length)
        {
            let what = format!("the record of offset {offset} is not what was sent");
            return Err(segment.damage(position, &what));
        }
        Ok(Record::new(segment, position, &header))
    }

    /// The length of the record of this offset at this position; `None` where that is none.
    pub(super) fn record_header_at(&self, offset: u64, position: u64) -> Result<Option<u32>> {
        let length = |segment: &Segment| match segment.at(position) {
            Found::Record(header, length) if header.offset == offset => Some(length),
            _ => None,
        };
        if let Some(found) = self.mapped_before(offset).and_then(|one| length(&one)) {
            return Ok(Some(found));
        }
        match self.segment_of(offset) {
            Err(error) if error.kind() == ErrorKind::Damaged => Ok(None),
            segment => Ok(length(&*segment?)),
        }
    }

    /// The last mapped segment that does not begin behind this offset.
    #[inline]
    fn mapped_before(&self, offset: u64) -> Option<Arc<Segment>> {
        let segments = self
            .segments
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let (_, segment) = segments.range(..=offset).next_back()?;
        Some(segment.clone())
    }

    pub(super) fn segment_of(&self, offset: u64) -> Result<Arc<Segment>> {
        let bases = self.bases()?;
        let base = bases
            .into_iter()
            .rfind(|base| *base <= offset)
            .unwrap_or(NONE);
        if let Some(segment) = self.segment(base)? {
            return Ok(segment);
        }
        self.learn_taken()?;
        Err(self.removed_before(offset).unwrap_or_else(|| {
            let message = format!(
                "{}: no segment holds offset {offset}",
                self.folder.display()
            );
            Error::new(ErrorKind::Damaged, message)
        }))
    }
}

fn is_reserved(segment: &Segment, position: u64) -> bool {
    matches!(segment.at(position), Found::Record(header, _) if header.kind == RESERVED)
}

/// One step within a segment; `None` when the cursor moved and the caller should look again.
#[inline]
fn step_in(segment: &Segment, cursor: &mut Cursor) -> Option<Step> {
    if cursor.life != segment.life() {
        if cursor.position != RECORDS as u64 {
            // A place in another life of the segment: what stands there now may be anything.
            *cursor = Cursor::at_offset(cursor.offset);
            return Some(Step::NotMapped);
        }
        cursor.life = segment.life();
    }
    match segment.at(cursor.position) {
        Found::Nothing => Some(Step::End),
        Found::Bad => Some(Step::Damaged),
        Found::Record(header, length) if header.kind == MESSAGE => {
            let position = cursor.position + record::padded(u64::from(length));
            // Another offset than expected is a gap, or damage that would take the cursor with it.
            if header.offset != cursor.offset {
                if !segment.whole(cursor.position, length) {
                    return Some(Step::Damaged);
                }
                if header.offset < cursor.offset {
                    cursor.position = position;
                    return None;
                }
            }
            Some(Step::Record {
                offset: header.offset,
                position: cursor.position,
                key_hash: (header.flags & HAS_KEY != 0).then_some(header.key_hash),
                attributes: segment.attributes(cursor.position, &header),
                timestamp_ns: header.timestamp_ns,
                length,
                next: Cursor {
                    segment: cursor.segment,
                    position,
                    offset: header.offset + 1,
                    life: cursor.life,
                },
            })
        }
        Found::Record(header, _) if header.kind == END => {
            // What is looked for may be behind a segment that is gone, which is named here.
            let onwards = header.offset > segment.base();
            if !onwards || !segment.whole(cursor.position, HEADER as u32) {
                return Some(Step::Damaged);
            }
            *cursor = Cursor::at_base(header.offset, header.offset.max(cursor.offset));
            None
        }
        // Being copied: nothing yet.
        Found::Record(header, _) if header.kind == RESERVED => Some(Step::End),
        Found::Record(_, length) => {
            if !segment.whole(cursor.position, length) {
                return Some(Step::Damaged);
            }
            cursor.position += record::padded(u64::from(length));
            None
        }
    }
}
