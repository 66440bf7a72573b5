//! How much stands in the log, without walking it.
//!
//! Each segment's header page says how many messages, and bytes, came before it. In a segment in
//! which each offset is a message, which is the rule, offsets and positions say the rest; where it
//! has gaps, as after a failed sync, a power loss, or the death of one who copied a large batch,
//! its records are walked, of this one segment. So what is behind a place costs two header pages,
//! however much it is.
//!
//! The sums are derived (`sums_said.rs`). What compaction took is not taken off them; where there
//! was any, each segment says for itself what is in it.
//!
//! No lock is waited for. What is appended meanwhile may be counted or not.

use std::sync::Arc;

use super::cursor::Cursor;
use super::flow::Counted;
use super::read::{Place, Step};
use super::segment::{Found, Segment};
use super::{NONE, Partition, locked};
use crate::error::Result;
use crate::format::record::{self, MESSAGE};
use crate::format::segment::RECORDS;
use crate::format::sums::Sums;

/// What was counted last of the active segment, where it has gaps.
#[derive(Clone, Copy)]
pub(super) struct Walked {
    base: u64,
    cursor: Cursor,
    counted: Counted,
    losses: u64,
}

impl Counted {
    pub(super) fn before(sums: &Sums) -> Self {
        Self {
            messages: sums.messages,
            bytes: sums.bytes,
        }
    }
}

impl Partition {
    /// Messages, and bytes of their records, that were sent since the sums began, those included
    /// that are gone since, but not what was taken back after a failed sync or a power loss.
    pub fn sent(&self) -> Result<Counted> {
        let (end, active) = loop {
            let end = self.readable_end();
            match self.usable(end.segment)? {
                Some(active) => break (end, active),
                // It went on elsewhere meanwhile, and retention took where it ended.
                None if self.readable_end().segment != end.segment => {}
                None => return Ok(Counted::default()),
            }
        };
        let before = active
            .sums()
            .map_or(Counted::default(), |sums| Counted::before(&sums));
        Ok(before.plus(self.counted_in(&active, &end)?))
    }

    /// Of those, how many went with the segments that retention removed.
    pub fn removed_by_retention(&self) -> Result<Counted> {
        let first = self.bases()?.first().copied().unwrap_or(NONE);
        let sums = self.usable(first)?.and_then(|segment| segment.sums());
        Ok(sums.map_or(Counted::default(), |sums| Counted::before(&sums)))
    }

    /// What can be read from a place on. `before` is where the message stands whose offset is the
    /// one before, if somebody knows: it tells where a place is of which only the offset is known.
    pub fn behind(&self, cursor: Cursor, before: Option<u64>) -> Result<Counted> {
        let end = self.readable_end();
        if cursor.offset >= end.offset {
            return Ok(Counted::default());
        }
        match self.located(cursor, before)? {
            Some((segment, cursor)) => self.between((&segment, cursor), end),
            None => self.walk_from(cursor, end.offset),
        }
    }

    /// What is between two places, each with what `behind` is told of it.
    pub fn counted_between(
        &self,
        from: (Cursor, Option<u64>),
        to: (Cursor, Option<u64>),
    ) -> Result<Counted> {
        if from.0.offset >= to.0.offset {
            return Ok(Counted::default());
        }
        match (self.located(from.0, from.1)?, self.located(to.0, to.1)?) {
            (Some((segment, from)), Some((_, to))) => self.between((&segment, from), to),
            _ => self.walk_from(from.0, to.0.offset),
        }
    }

    fn between(&self, (segment, from): (&Arc<Segment>, Cursor), to: Cursor) -> Result<Counted> {
        let Some(last) = self.usable(to.segment)? else {
            return self.walk_from(from, to.offset);
        };
        if segment.base() >= last.base() {
            return match segment.has_gaps() {
                true => self.walk_from(from, to.offset),
                false => Ok(dense(segment, &to).since(dense(segment, &from))),
            };
        }
        let inside = self.counted_in(&last, &to)?;
        if let (Some(first), Some(sums)) = (segment.sums(), last.sums())
            && first.first == sums.first
            && !self.was_compacted()?
        {
            let before = Counted::before(&first).plus(self.counted_in(segment, &from)?);
            return Ok(Counted::before(&sums).plus(inside).since(before));
        }
        self.between_by_each((segment, from), (&last, inside))
    }

    /// As `between`, a segment after the other: where any was compacted, or does not say its sums.
    fn between_by_each(
        &self,
        (segment, cursor): (&Arc<Segment>, Cursor),
        (active, last): (&Arc<Segment>, Counted),
    ) -> Result<Counted> {
        let mut bases = self.bases()?;
        bases.retain(|base| *base > segment.base() && *base <= active.base());
        let first = bases.first().copied().unwrap_or(active.base());
        let mut all = self.walk_from(cursor, first)?.plus(last);
        for pair in bases.windows(2) {
            all = all.plus(self.whole_of(pair[0], pair[1])?);
        }
        Ok(all)
    }

    /// What is in a closed segment, behind which the one with this base follows.
    fn whole_of(&self, base: u64, next: u64) -> Result<Counted> {
        let (Some(one), Some(other)) = (self.usable(base)?, self.usable(next)?) else {
            return self.walk_from(Cursor::at_base(base, base), next);
        };
        match (one.sums(), other.sums()) {
            (Some(sums), _) if one.life() > 0 => Ok(Counted {
                messages: sums.kept_messages,
                bytes: sums.kept_bytes,
            }),
            (Some(from), Some(to)) if one.life() == 0 && from.first == to.first => {
                Ok(Counted::before(&to).since(Counted::before(&from)))
            }
            _ => self.walk_from(Cursor::at_base(base, base), next),
        }
    }

    /// Messages from a place up to an offset that `counts` says are to be counted, and the
    /// timestamp of the first: walked one by one.
    pub fn count_those(
        &self,
        mut cursor: Cursor,
        until: u64,
        counts: impl Fn(u64) -> bool,
    ) -> Result<(Counted, Option<i64>)> {
        let (mut counted, mut first) = (Counted::default(), None);
        while cursor.offset < until {
            match self.look(&mut cursor)? {
                Step::Record { offset, .. } if offset >= until => break,
                Step::Record {
                    offset,
                    length,
                    timestamp_ns,
                    next,
                    ..
                } => {
                    if counts(offset) {
                        counted.messages += 1;
                        counted.bytes += record::padded(u64::from(length));
                        first.get_or_insert(timestamp_ns);
                    }
                    cursor = next;
                }
                Step::Damaged => cursor = self.skip_damage(&cursor)?.0,
                Step::End | Step::NotMapped => break,
            }
        }
        Ok((counted, first))
    }

    pub(super) fn walk_from(&self, mut cursor: Cursor, until: u64) -> Result<Counted> {
        self.count(&mut cursor, until)
    }

    /// The timestamp of the first message from a place on.
    pub fn timestamp_behind(&self, cursor: Cursor, before: Option<u64>) -> Result<Option<i64>> {
        if cursor.offset >= self.readable_end().offset {
            return Ok(None);
        }
        let mut at = match self.located(cursor, before)? {
            Some((_, found)) => found,
            None => cursor,
        };
        if matches!(self.look(&mut at)?, Step::Damaged) {
            at = self.skip_damage(&at)?.0;
        }
        Ok(match self.look(&mut at)? {
            Step::Record { timestamp_ns, .. } => Some(timestamp_ns),
            Step::End | Step::NotMapped | Step::Damaged => None,
        })
    }

    /// The timestamp that the header of a record says, which is looked at alone; `None` where the
    /// record of this offset is not there.
    pub fn timestamp_at(&self, offset: u64, position: u64) -> Result<Option<i64>> {
        let Some(segment) = self.segment_with(offset)? else {
            return Ok(None);
        };
        Ok(match segment.at(position) {
            Found::Record(header, _) if (header.offset, header.kind) == (offset, MESSAGE) => {
                Some(header.timestamp_ns)
            }
            _ => None,
        })
    }

    /// The place of an offset that is known to stand at this position, if it does.
    pub fn place_at(&self, offset: u64, position: u64) -> Result<Option<Cursor>> {
        let Some(segment) = self.segment_with(offset)? else {
            return Ok(None);
        };
        Ok(match segment.at(position) {
            Found::Record(header, _) if header.offset == offset => Some(Cursor {
                segment: segment.base(),
                position,
                offset,
                life: segment.life(),
            }),
            _ => None,
        })
    }

    /// Bytes of these segments' files, which follow one another.
    pub fn files_of(&self, bases: &[u64]) -> Result<u64> {
        let (Some(first), Some(last)) = (bases.first(), bases.last()) else {
            return Ok(0);
        };
        if bases.len() > 2
            && let (Some(one), Some(other)) = (self.usable(*first)?, self.usable(*last)?)
            && let (Some(from), Some(to)) = (one.sums(), other.sums())
            && from.first == to.first
            && !self.was_compacted()?
        {
            return Ok(to.files.saturating_sub(from.files) + other.capacity());
        }
        let mut bytes = 0;
        for base in bases {
            bytes += self.file_bytes(*base)?;
        }
        Ok(bytes)
    }

    /// Whether any closed segment may have been compacted, in this life or before.
    fn was_compacted(&self) -> Result<bool> {
        Ok(self.compacted_count() > 0 || self.compacted()?.messages > 0)
    }

    /// Where what can be read ends. Without the append lock: a tail is whole once two looks agree,
    /// since no two have the same offset.
    fn readable_end(&self) -> Cursor {
        if let Some((segment, position, offset)) = self.block.large() {
            return Cursor {
                segment,
                position,
                offset,
                life: 0,
            };
        }
        let mut seen = self.block.tail();
        loop {
            let now = self.block.tail();
            if now == seen {
                let (segment, position, offset, _) = now;
                return Cursor {
                    segment,
                    position,
                    offset,
                    life: 0,
                };
            }
            seen = now;
        }
    }

    /// The segment of a place, and the place in it.
    fn located(
        &self,
        cursor: Cursor,
        before: Option<u64>,
    ) -> Result<Option<(Arc<Segment>, Cursor)>> {
        self.drop_compacted();
        if cursor.segment != NONE
            && cursor.offset >= self.first_kept()
            && let Some(segment) = self.usable(cursor.segment)?
            && (cursor.life == segment.life() || cursor.position == RECORDS as u64)
        {
            return Ok(Some((segment, cursor)));
        }
        let bases = self.bases()?;
        let place = bases.iter().rposition(|base| *base <= cursor.offset);
        let Some(base) = bases.get(place.unwrap_or(0)).copied() else {
            return Ok(None);
        };
        let Some(segment) = self.usable(base)? else {
            return Ok(None);
        };
        let mut found = Cursor {
            segment: base,
            position: RECORDS as u64,
            offset: cursor.offset.max(base),
            life: segment.life(),
        };
        if found.offset == base {
            return Ok(Some((segment, found)));
        }
        if let Some(position) = before
            && let Found::Record(header, length) = segment.at(position)
            && header.kind == MESSAGE
            && header.offset + 1 == found.offset
        {
            found.position = position + record::padded(u64::from(length));
            return Ok(Some((segment, found)));
        }
        found.segment = NONE;
        Ok(match self.resolve(&mut found)? {
            Place::Mapped => self.usable(found.segment)?.map(|segment| (segment, found)),
            Place::Nothing | Place::Broken => None,
        })
    }

    /// The segment that an offset falls into.
    fn segment_with(&self, offset: u64) -> Result<Option<Arc<Segment>>> {
        let active = self.block.segment();
        if active != NONE && offset >= active {
            return self.usable(active);
        }
        let bases = self.bases()?;
        match bases.iter().rfind(|base| **base <= offset) {
            Some(base) => self.usable(*base),
            None => Ok(None),
        }
    }

    /// What is in a segment before a place of it.
    pub(super) fn counted_in(&self, segment: &Arc<Segment>, place: &Cursor) -> Result<Counted> {
        if !segment.has_gaps() {
            return Ok(dense(segment, place));
        }
        let (base, losses) = (segment.base(), self.losses());
        let known = *locked(&self.walked);
        let mut walked = known
            .filter(|known| (known.base, known.losses) == (base, losses))
            .filter(|known| known.cursor.offset <= place.offset)
            .unwrap_or(Walked {
                base,
                cursor: Cursor::at_base(base, base),
                counted: Counted::default(),
                losses,
            });
        let more = self.count(&mut walked.cursor, place.offset)?;
        walked.counted = walked.counted.plus(more);
        if walked.cursor.segment == base {
            *locked(&self.walked) = Some(walked);
        }
        Ok(walked.counted)
    }
}

/// What stands before a place of a segment without gaps.
fn dense(segment: &Segment, place: &Cursor) -> Counted {
    Counted {
        messages: place.offset.saturating_sub(segment.base()),
        bytes: place.position.saturating_sub(RECORDS as u64),
    }
}
