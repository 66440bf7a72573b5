//! What can be made again from the rest: `control` and the sparse indexes. Damage to them costs
//! nothing but says that something writes where it should not.

use std::path::Path;

use super::bytes::Bytes;
use super::plan::{SegmentPlan, name_of};
use super::{Wrong, settled};
use crate::error::{Error, Result};
use crate::format::control::{BLOCKS, MAPPED, SIGNATURE, block, header};
use crate::format::record::{HEADER as RECORD, Header};
use crate::format::segment::{COVERED, SegmentHeader};
use crate::format::{index, names, u32_at, u64_at};
use crate::options::PARTITIONS_MAX;
use crate::shm::boot_id;

/// More than the index of the largest segment has.
const INDEX_MAX: u64 = 1 << 24;

/// What is wrong with a sparse index, other than that it may be an old one. Of one that belongs to
/// the segment as it is now each entry must name a record.
pub(super) fn look_at_index(path: &Path, segments: &[SegmentPlan]) -> Result<Vec<Wrong>> {
    let bytes = Bytes::open(path)?.head(INDEX_MAX)?;
    let salt = u32_at(&bytes, 8);
    let entries = index::decode(&bytes, salt).filter(|_| u32_at(&bytes, 20) == 0);
    let Some(entries) = entries else {
        let what = "it is not a whole index: magic, length or checksum is wrong; it may be \
                    removed, it is made anew when it is next needed";
        return Ok(vec![(0, what.into())]);
    };
    let base = names::parse_index(&name_of(path));
    let segment = segments.iter().find(|one| Some(one.base) == base);
    let Some(segment) = segment.filter(|one| one.header.is_some_and(|h| h.index_salt() == salt))
    else {
        return Ok(Vec::new());
    };
    let mut records = Bytes::open(&segment.listed.path)?;
    // It may have been compacted since it was listed.
    let head = records.get(0, (COVERED + 4) as u64)?;
    let header = head.and_then(|head| SegmentHeader::decode(head).ok());
    if header.is_none_or(|header| header.index_salt() != salt) {
        return Ok(Vec::new());
    }
    for (number, entry) in entries.iter().enumerate() {
        let head = records.get(entry.position, RECORD as u64)?;
        let found = head.and_then(<[u8]>::first_chunk).map(Header::decode);
        let there = found.is_some_and(|header| {
            (header.offset, header.timestamp_ns) == (entry.offset, entry.timestamp_ns)
        });
        if !there {
            let what = format!(
                "it says that offset {} is at byte {} of {}, which is not so",
                entry.offset,
                entry.position,
                segment.listed.path.display()
            );
            return Ok(vec![((index::HEADER + number * index::ENTRY) as u64, what)]);
        }
    }
    Ok(Vec::new())
}

/// The words of `control`'s header; `None` if the file is shorter.
pub(super) fn control_words(bytes: &mut Bytes) -> Result<Option<[u64; header::WORDS]>> {
    let head = bytes.get(0, header::WORDS as u64 * 8)?;
    Ok(head.map(|head| std::array::from_fn(|word| u64_at(head, word * 8))))
}

/// Whether `control` is laid out, and in this start of the host: else it is discarded unread.
pub(super) fn in_force(words: &[u64; header::WORDS]) -> bool {
    let boot = boot_id();
    words[header::LAID_OUT] != 0
        && words[header::BOOT] == u64_at(&boot, 0)
        && words[header::BOOT + 1] == u64_at(&boot, 8)
}

/// What is wrong with `control`.
pub(super) fn look_at_control(path: &Path) -> Result<Vec<Wrong>> {
    let (_, wrong) = settled(|| {
        let mut wrong = Vec::new();
        let mut bytes = Bytes::open(path)?;
        let words = match control_words(&mut bytes)? {
            Some(words) if in_force(&words) => words,
            _ => return Ok(((), wrong)),
        };
        let signature = words[header::SIGNATURE];
        if signature != SIGNATURE {
            let what = format!(
                "its signature is {signature:#018x}, this build's {SIGNATURE:#018x}; it is laid \
                 out anew once the store is closed in all processes"
            );
            return Ok(((), vec![(0, what)]));
        }
        // The end is read after the words, and blocks are never taken back.
        let end = words[header::ALLOCATED];
        if end < BLOCKS as u64 || end > MAPPED as u64 || end > Bytes::open(path)?.len() {
            let what = format!("{end} bytes are handed out, the file has {}", bytes.len());
            wrong.push((header::ALLOCATED as u64 * 8, what));
        }
        wrong.extend(look_at_blocks(&mut bytes, words[header::FIRST_BLOCK])?);
        Ok::<_, Error>(((), wrong))
    })?;
    Ok(wrong)
}

fn look_at_blocks(bytes: &mut Bytes, first: u64) -> Result<Option<Wrong>> {
    let (mut at, mut named_at) = (first, header::FIRST_BLOCK as u64 * 8);
    for _ in 0..MAPPED / (block::WORDS * 8) {
        if at == 0 {
            return Ok(None);
        }
        let Some(words) = block_words(bytes, at)? else {
            let what = format!("a block at {at} is named, outside of the file's blocks");
            return Ok(Some((named_at, what)));
        };
        let (kind, partitions) = (words[block::KIND], words[block::PARTITIONS]);
        if !(1..=3).contains(&kind) || partitions > u64::from(PARTITIONS_MAX) {
            let what = format!("a block of kind {kind} with {partitions} partitions");
            return Ok(Some((at, what)));
        }
        (at, named_at) = (words[block::NEXT], at);
    }
    Ok(Some((
        named_at,
        "the list of blocks goes in a circle".into(),
    )))
}

/// The words at the head of a block; `None` if it cannot be one.
pub(super) fn block_words(bytes: &mut Bytes, at: u64) -> Result<Option<[u64; block::WORDS]>> {
    if at < BLOCKS as u64 || !at.is_multiple_of(8) {
        return Ok(None);
    }
    let head = bytes.get(at, block::WORDS as u64 * 8)?;
    Ok(head.map(|head| std::array::from_fn(|word| u64_at(head, word * 8))))
}
