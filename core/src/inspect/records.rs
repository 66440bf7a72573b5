//! Walking a segment from its header to the end of its records, each with its checksum.

use std::path::Path;

use super::bytes::Bytes;
use crate::error::Result;
use crate::format::record::{
    self, ALIGN, CRC, END, HEADER, Header, LENGTH, MESSAGE, PADDING, RESERVED,
};
use crate::format::segment::{COVERED, CRC as HEADER_CRC, RECORDS, SegmentHeader};
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

/// A walk over the records of one segment.
pub(super) struct Records {
    pub(super) bytes: Bytes,
    salt: u32,
    position: u64,
    /// No record below it is expected any more.
    offset: u64,
    done: bool,
}

/// The header page, and what is wrong with it.
pub(super) fn header(
    bytes: &mut Bytes,
) -> Result<std::result::Result<SegmentHeader, (u64, String)>> {
    let Some(head) = bytes.get(0, RECORDS as u64)? else {
        let what = format!(
            "it has {} bytes, a segment's header page {RECORDS}",
            bytes.len()
        );
        return Ok(Err((bytes.len(), what)));
    };
    let decoded = SegmentHeader::decode(&head[..COVERED + 4]);
    let header = match decoded {
        Ok(header) => header,
        Err(what) => return Ok(Err((0, what))),
    };
    if header.capacity > bytes.len() {
        let what = format!(
            "the file ends here, its header says {} bytes",
            header.capacity
        );
        return Ok(Err((bytes.len(), what)));
    }
    let behind = (HEADER_CRC + 4) as u64;
    Ok(match bytes.not_zero(behind, RECORDS as u64)? {
        Some(place) => Err((
            place,
            "a reserved byte of the header page is not zero".into(),
        )),
        None => Ok(header),
    })
}

impl Records {
    /// From the first record on. Without a readable header the salt is not known, and nothing is.
    pub(super) fn begin(bytes: Bytes, header: &SegmentHeader) -> Self {
        Self {
            bytes,
            salt: header.salt,
            position: RECORDS as u64,
            offset: header.base,
            done: false,
        }
    }

    /// Opens a segment whose header is in order.
    pub(super) fn open(
        path: &Path,
    ) -> Result<std::result::Result<(SegmentHeader, Self), (u64, String)>> {
        let mut bytes = Bytes::open(path)?;
        Ok(header(&mut bytes)?.map(|header| (header, Self::begin(bytes, &header))))
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
        let Some(word) = self.bytes.get(position, 4)? else {
            return Ok(Found::Nothing);
        };
        let length = u32_at(word, LENGTH);
        if length == 0 {
            return Ok(Found::Nothing);
        }
        let Some(head) = self.bytes.get(position, HEADER_BYTES)? else {
            let what = format!("a record's header of {HEADER} bytes goes past the end of the file");
            return Ok(Found::Bad(what, None));
        };
        let mut copy = [0; HEADER];
        copy.copy_from_slice(head);
        let header = Header::decode(&copy);
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
        let (stored, found) = (u32_at(&copy, CRC), record::crc_of(&copy, self.salt, body));
        // Of what is being copied the writer may be putting the first message's header in its
        // place, or have died at it; recovery makes that message or padding of it.
        if stored != found && header.kind != RESERVED {
            let what = format!(
                "the record of offset {} has the checksum {found:#010x}, stored is {stored:#010x}",
                header.offset
            );
            return Ok(Found::Bad(what, Some(length)));
        }
        if header.offset < self.offset {
            let what = format!(
                "a record of offset {}, expected {} or more",
                header.offset, self.offset
            );
            return Ok(Found::Bad(what, Some(length)));
        }
        Ok(Found::Whole(header, length))
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
        let mut at = record::padded(position + 1);
        while at + HEADER_BYTES <= self.bytes.len() {
            if let Found::Whole(header, _) = self.at(at)?
                && header.kind != PADDING
            {
                return Ok(Some(at));
            }
            at += ALIGN as u64;
        }
        Ok(None)
    }
}
