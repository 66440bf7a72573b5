//! A segment's header page, and the records behind it also where that is damaged.

use std::path::Path;

use super::Wrong;
use super::bytes::Bytes;
use super::records::{Bounds, Records};
use crate::error::{ErrorKind, Result};
use crate::format::record::{self, ALIGN, CRC, HEADER, Header, LENGTH, MESSAGE};
use crate::format::segment::{COVERED, CRC as HEADER_CRC, RECORDS, SALT, SegmentHeader};
use crate::format::sums::{self, Sums};
use crate::format::u32_at;

/// Different salts that are kept in mind while the right one is looked for.
const CANDIDATES: usize = 4096;

/// A segment whose header page was looked at.
pub(super) struct Opened {
    /// The records, if the salt is known.
    pub(super) records: Option<Records>,
    pub(super) wrong: Vec<Wrong>,
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
    let page = head[sums::FIRST..sums::GAPS + 4].to_vec();
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
    if let Some(wrong) = sums_wrong(&page, header.salt) {
        return Ok(Err(wrong));
    }
    for (from, to) in [
        (HEADER_CRC + 4, sums::FIRST),
        (sums::END, sums::GAPS),
        (sums::GAPS + 4, RECORDS),
    ] {
        if let Some(place) = bytes.not_zero(from as u64, to as u64)? {
            let what = "a reserved byte of the header page is not zero";
            return Ok(Err((place, what.into())));
        }
    }
    Ok(Ok(header))
}

/// What is wrong with the sums that a header page says. Where it says none it may have said some.
fn sums_wrong(page: &[u8], salt: u32) -> Option<(u64, String)> {
    if Sums::are_kept(page) && Sums::decode(page, salt).is_none() {
        let what = "the checksum of its sums is wrong; they are for the statistics alone";
        return Some((sums::FIRST as u64, what.into()));
    }
    let gaps = u32_at(page, sums::GAPS - sums::FIRST);
    (gaps > 1).then(|| {
        let what = format!("it says {gaps} of whether it has gaps, expected 0 or 1");
        (sums::GAPS as u64, what)
    })
}

/// Header of a segment's file, if it is whole, and whether a record stands in it.
pub(super) fn peek(path: &Path) -> Result<(Option<SegmentHeader>, bool)> {
    let mut bytes = match Bytes::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok((None, false)),
        opened => opened?,
    };
    let head = bytes.get(0, COVERED as u64 + 4)?;
    let header = head.and_then(|head| SegmentHeader::decode(head).ok());
    let first = bytes.get(RECORDS as u64, 4)?.map(|word| u32_at(word, 0));
    Ok((header, first.is_some_and(|length| length != 0)))
}

/// Opens a segment that should begin with this offset.
pub(super) fn open(path: &Path, base: u64, bounds: Bounds) -> Result<Opened> {
    let mut bytes = Bytes::open(path)?;
    let found = header(&mut bytes)?;
    let head = bytes.get(0, COVERED as u64 + 4)?.map(<[u8]>::to_vec);
    let decoded = head.as_deref().map(SegmentHeader::decode);
    let (whole, mut wrong) = (decoded.and_then(std::result::Result::ok), Vec::new());
    if let Err(one) = found {
        wrong.push(one);
    }
    if let Some(header) = &whole
        && header.capacity < bytes.len()
    {
        let what = format!(
            "the file goes on here, its header says that it has {} bytes",
            header.capacity
        );
        wrong.push((header.capacity, what));
    }
    let salt = match (&whole, &head) {
        (Some(header), _) => Some(header.salt),
        (None, Some(head)) => find_salt(&mut bytes, u32_at(head, SALT))?,
        (None, None) => None,
    };
    let end = whole.map_or(u64::MAX, |header| header.capacity);
    let bounds = Bounds {
        end: bounds.end.min(end),
        ..bounds
    };
    let base = whole.map_or(base, |header| header.base);
    Ok(Opened {
        records: salt.map(|salt| Records::begin(bytes, salt, base, bounds)),
        wrong,
    })
}

/// The salt of a segment whose header is damaged: the one that stands there, if one record has its
/// checksum with it, else the one on which two records agree.
fn find_salt(bytes: &mut Bytes, written: u32) -> Result<Option<u32>> {
    let (mut at, mut seen) = (RECORDS as u64, Vec::new());
    while let Some(head) = bytes.get(at, HEADER as u64)? {
        let Some(copy) = head.first_chunk::<HEADER>().copied() else {
            break;
        };
        let (length, header) = (u32_at(&copy, LENGTH), Header::decode(&copy));
        let body = match header.kind == MESSAGE && header.plausible(length) {
            true => bytes.crc(at + HEADER as u64, header.body_len(), 0)?,
            false => None,
        };
        let Some(body) = body else {
            at += ALIGN as u64;
            continue;
        };
        if record::crc_of(&copy, written, body) == u32_at(&copy, CRC) {
            return Ok(Some(written));
        }
        let salt = record::salt_of(&copy, body);
        if seen.contains(&salt) {
            return Ok(Some(salt));
        }
        if seen.len() < CANDIDATES {
            seen.push(salt);
        }
        at += record::padded(u64::from(length));
    }
    Ok(None)
}
