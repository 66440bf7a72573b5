//! Walking a segment from its header to the end of its records, each with its checksum.

use super::bytes::Bytes;
use crate::error::Result;
use crate::format::record::{
    self, ALIGN, CRC, END, HEADER, Header, KIND, LENGTH, MESSAGE, OFFSET, PADDING, RESERVED,
};
use crate::format::segment::RECORDS;
use crate::format::u32_at;

const HEADER_BYTES: u64 = HEADER as u64;

/// What a walk comes by.
#[derive(Debug)]
pub(super) enum Item {
    /// A whole record.
    Record {
        position: u64,
        header: Header,
        length: u32,
    },
    /// Bytes that are not what was written; the walk goes on where the next whole record stands.
    Damaged { position: u64, what: String },
    /// Nothing is here yet: the end of the records, and of the walk.
    Nothing { position: u64 },
}

/// What stands at a position.
enum Found {
    Whole(Header, u32),
    Nothing,
    /// What is wrong, and the length if it may be right.
    Bad(String, Option<u32>),
}

/// What is known of a segment's records before they are looked at.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    /// Offset below which none is expected.
    pub(super) from: u64,
    /// No message has this offset or a higher one.
    pub(super) below: u64,
    /// Where records stand for sure: a length of 0 before it is damage.
    pub(super) filled_to: u64,
    /// Where records end for sure.
    pub(super) end: u64,
    /// Behind it nothing counts that was being copied when the power was lost.
    pub(super) whole_to: u64,
    /// Whole records count also behind a length of 0 that a power loss may have left.
    pub(super) beyond: bool,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            from: 0,
            below: u64::MAX,
            filled_to: 0,
            end: u64::MAX,
            whole_to: u64::MAX,
            beyond: false,
        }
    }
}

/// A walk over the records of one segment.
pub(super) struct Records {
    pub(super) bytes: Bytes,
    salt: u32,
    position: u64,
    /// No record below it is expected any more.
    offset: u64,
    bounds: Bounds,
    done: bool,
}

impl Records {
    /// From the first record on. Without the salt nothing can be told from what it is not.
    pub(super) fn begin(bytes: Bytes, salt: u32, base: u64, bounds: Bounds) -> Self {
        Self {
            bytes,
            salt,
            position: RECORDS as u64,
            offset: base.max(bounds.from),
            bounds,
            done: false,
        }
    }

    /// Where the walk is.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// The next item; `None` behind an END record, behind nothing, and behind damage without a
    /// whole record after it.
    pub(super) fn next(&mut self) -> Result<Option<Item>> {
        if self.done {
            return Ok(None);
        }
        let position = self.position;
        match self.look(position)? {
            Found::Whole(header, length) => {
                self.position += record::padded(u64::from(length));
                self.done = header.kind == END;
                let next = match header.kind {
                    END => header.offset,
                    RESERVED => self.behind_reserved(&header, length)?,
                    _ => header.offset.saturating_add(1),
                };
                self.offset = self.offset.max(next);
                Ok(Some(Item::Record {
                    position,
                    header,
                    length,
                }))
            }
            Found::Nothing => {
                if self.bounds.beyond
                    && let Some(place) = self.behind(position, None)?
                {
                    self.position = place;
                    let what = "nothing stands here, and whole records behind it".to_owned();
                    return Ok(Some(Item::Damaged { position, what }));
                }
                self.done = true;
                Ok(Some(Item::Nothing { position }))
            }
            Found::Bad(what, length) => {
                match self.behind(position, length)? {
                    Some(place) => self.position = place,
                    None => self.done = true,
                }
                Ok(Some(Item::Damaged { position, what }))
            }
        }
    }

    /// The offset behind a RESERVED record, which the walk is behind already. Its count may be half
    /// overwritten, so what stands behind it decides; else what can fit at most.
    fn behind_reserved(&mut self, header: &Header, length: u32) -> Result<u64> {
        let most = (u64::from(length) / HEADER_BYTES).min(u64::from(header.payload_len));
        let counted = header.offset.saturating_add(most.max(1));
        Ok(match self.look(self.position)? {
            Found::Whole(next, _) if next.kind == PADDING => counted.min(next.offset),
            Found::Whole(next, _) => next.offset,
            _ => counted,
        })
    }

    /// What stands at a position; looked at anew when it seems wrong, since a record that was being
    /// appended while its bytes were read is not damage.
    fn look(&mut self, position: u64) -> Result<Found> {
        let mut found = self.at(position)?;
        for _ in 1..super::LOOKS {
            if !matches!(found, Found::Bad(..)) {
                break;
            }
            self.bytes.forget();
            found = self.at(position)?;
        }
        Ok(found)
    }

    fn at(&mut self, position: u64) -> Result<Found> {
        let behind = position > self.bounds.end;
        let Some(word) = self.bytes.get(position, 4)?.filter(|_| !behind) else {
            return Ok(Found::Nothing);
        };
        let length = u32_at(word, LENGTH);
        if position == self.bounds.end && length != 0 {
            let what = format!("the records end here with a length of {length}, expected 0");
            return Ok(Found::Bad(what, None));
        }
        if length == 0 && position < self.bounds.filled_to {
            let what = "nothing stands here, and records do behind it";
            return Ok(Found::Bad(what.into(), None));
        }
        if length == 0 {
            return Ok(Found::Nothing);
        }
        let Some(head) = self.bytes.get(position, HEADER_BYTES)? else {
            let what = format!("a record's header of {HEADER} bytes goes past the end of the file");
            return Ok(Found::Bad(what, None));
        };
        let mut copy = [0; HEADER];
        copy.copy_from_slice(head);
        let mut header = Header::decode(&copy);
        if header.kind == RESERVED && position >= self.bounds.whole_to {
            let what = "a batch was being copied here when the power was lost";
            return Ok(Found::Bad(what.into(), None));
        }
        if header.kind == RESERVED {
            header = self.published(position, &copy, length)?.unwrap_or(header);
        }
        if !header.plausible(length) {
            let what = format!(
                "no record: length {length}, kind {}, lengths inside {} + {HEADER}",
                header.kind,
                header.body_len()
            );
            return Ok(Found::Bad(what, None));
        }
        let covered = if header.kind == MESSAGE {
            u64::from(length) - HEADER_BYTES
        } else {
            0
        };
        let body = self.bytes.crc(position + HEADER_BYTES, covered, 0)?;
        let inside = position
            .checked_add(u64::from(length))
            .is_some_and(|end| end <= self.bytes.len());
        let (Some(body), true) = (body, inside) else {
            let what = format!("a record of {length} bytes goes past the end of the file");
            return Ok(Found::Bad(what, None));
        };
        let (stored, mut found) = (u32_at(&copy, CRC), record::crc_of(&copy, self.salt, body));
        if header.kind != copy[KIND] {
            // It was published but for its kind, with this checksum.
            found = stored;
        }
        // Of what is being copied the writer may be putting the first message's header in its
        // place, or have died at it; recovery makes that message or padding of it.
        if stored != found && header.kind != RESERVED {
            let what = format!(
                "the record of offset {} has the checksum {found:#010x}, stored is {stored:#010x}",
                header.offset
            );
            return Ok(Found::Bad(what, Some(length)));
        }
        let late = header.kind == MESSAGE && header.offset >= self.bounds.below;
        if header.offset < self.offset || late {
            let most = match self.bounds.below {
                u64::MAX => "more".to_owned(),
                below => format!("more, below {below}"),
            };
            let what = format!(
                "a record of offset {}, expected {} or {most}",
                header.offset, self.offset
            );
            return Ok(Found::Bad(what, Some(length)));
        }
        Ok(Found::Whole(header, length))
    }

    /// The first message of a large batch whose writer died after all of it but the kind was there:
    /// then it counts, since what follows it does.
    fn published(
        &mut self,
        position: u64,
        copy: &[u8; HEADER],
        length: u32,
    ) -> Result<Option<Header>> {
        for first in Header::decode(copy).as_published(length) {
            let covered = u64::from(length).saturating_sub(HEADER_BYTES);
            if first.plausible(length)
                && let Some(body) = self.bytes.crc(position + HEADER_BYTES, covered, 0)?
                && first.encode(length, self.salt, body)[CRC..OFFSET] == copy[CRC..OFFSET]
            {
                return Ok(Some(first));
            }
        }
        Ok(None)
    }

    /// Where to go on behind damage: where the damaged record's own length leads, if a whole record
    /// or the end stands there, else at the next whole record that can be found.
    fn behind(&mut self, position: u64, length: Option<u32>) -> Result<Option<u64>> {
        if let Some(length) = length {
            let next = position + record::padded(u64::from(length));
            if !matches!(self.at(next)?, Found::Bad(..)) {
                return Ok(Some(next));
            }
        }
        // What was never published may stand whole behind the end of the records.
        let nothing = self
            .bytes
            .get(position, 4)?
            .map(|word| u32_at(word, LENGTH))
            == Some(0);
        let end = match nothing && !self.bounds.beyond {
            true => self.bounds.filled_to.min(self.bounds.end),
            false => self.bounds.end,
        };
        let mut at = record::padded(position + 1);
        while at + HEADER_BYTES <= self.bytes.len().min(end) {
            let empty = self.bytes.get(at, 4)?.map(|word| u32_at(word, LENGTH)) == Some(0);
            if !empty
                && let Found::Whole(header, _) = self.at(at)?
                && header.kind != PADDING
            {
                return Ok(Some(at));
            }
            at += ALIGN as u64;
        }
        Ok(None)
    }
}
