//! Walking the segments of a partition with every checksum looked at.

use std::path::Path;

use super::files;
use super::verify::Findings;
use crate::error::Result;
use crate::format::headers::Headers;
use crate::format::index;
use crate::format::names;
use crate::format::record::{self, END, HEADER, Header, MESSAGE};
use crate::format::reserve::Reserve;
use crate::format::segment::RECORDS;
use crate::log::{Found, Segment};
use crate::shm::boot_id;
use crate::storage::Storage;

/// Where the durable part ends, if what is behind it may be torn: after a power loss, and before
/// the store was opened again. A torn tail is no damage, recovery cuts it.
fn torn_from(reserve: Option<Reserve>) -> Option<(u64, u64)> {
    reserve
        .filter(|found| !found.clean && found.boot != boot_id())
        .map(|found| (found.mark_segment, found.mark_position))
}

/// Checks reserve, segments and indexes of a partition.
pub(super) fn check(
    folder: &Path,
    topic: u64,
    number: u32,
    found: &mut Findings<'_>,
) -> Result<()> {
    let storage = files::disk();
    let names = storage.list(folder)?;
    let bases: Vec<u64> = names
        .iter()
        .filter_map(|name| names::parse_segment(name))
        .collect();
    let path = folder.join(names::RESERVE);
    let reserve = files::reserve(&path)?;
    if reserve.is_none() && storage.exists(&path)? {
        found.damage(&path, 0, "neither of its two slots is whole".to_owned());
    }
    let mut next = 0;
    for (place, base) in bases.iter().enumerate() {
        let path = folder.join(names::segment(*base));
        let segment = match Segment::open(&storage, &path, topic, number, *base) {
            Ok(segment) => segment,
            Err(error) => {
                found.damage(&path, 0, error.message().to_owned());
                continue;
            }
        };
        if *base < next {
            let what = format!("it begins with offset {base}, the one before ended at {next}");
            found.damage(&path, 0, what);
        }
        let last = place + 1 == bases.len();
        let torn = torn_from(reserve);
        next = walk(&segment, &path, *base, torn, last, found);
        check_index(folder, &segment, found)?;
    }
    Ok(())
}

/// Walks one segment; the offset behind its last record.
fn walk(
    segment: &Segment,
    path: &Path,
    base: u64,
    torn: Option<(u64, u64)>,
    last: bool,
    found: &mut Findings<'_>,
) -> u64 {
    let (mut position, mut offset) = (RECORDS as u64, base);
    loop {
        let may_be_torn = torn.is_some_and(|(segment, from)| {
            segment == u64::MAX || base > segment || (base == segment && position >= from)
        });
        let wrong = match segment.at(position) {
            Found::Nothing if last || may_be_torn => break,
            Found::Nothing => {
                let what = "the records stop here without an END, and a later segment exists";
                found.damage(path, position, what.to_owned());
                break;
            }
            Found::Bad => "no record can have this length or these lengths of its parts",
            Found::Record(_, length) if !segment.whole(position, length) => {
                "the checksum of the record is wrong"
            }
            Found::Record(header, _) if header.offset < offset => "the offset does not rise",
            Found::Record(header, length) => {
                if header.kind == END {
                    found.advance(segment.capacity() - position);
                    return header.offset;
                }
                found.count(&header, length);
                if !well_formed(segment, position, &header) {
                    let what = "the headers are not as many as their count says";
                    found.damage(path, position, what.to_owned());
                }
                if header.kind == MESSAGE {
                    offset = header.offset + 1;
                }
                position += record::padded(u64::from(length));
                continue;
            }
        };
        if may_be_torn {
            break;
        }
        found.damage(path, position, wrong.to_owned());
        match segment.resync(position, offset) {
            Some((at, _)) => {
                found.advance(at - position);
                position = at;
            }
            None => break,
        }
    }
    found.advance(segment.capacity().saturating_sub(position));
    offset
}

/// Whether the headers block holds what its count says.
fn well_formed(segment: &Segment, position: u64, header: &Header) -> bool {
    let at = position as usize + HEADER + usize::from(header.extension_len);
    let block = at + header.key_len as usize;
    let Some(bytes) = segment.map().bytes(block, header.headers_len as usize) else {
        return false;
    };
    let said = bytes
        .first_chunk()
        .map_or(0, |count| u16::from_le_bytes(*count));
    Headers::new(bytes).count() == usize::from(said)
}

fn check_index(folder: &Path, segment: &Segment, found: &mut Findings<'_>) -> Result<()> {
    let path = folder.join(names::index(segment.base()));
    if !files::disk().exists(&path)? {
        return Ok(());
    }
    let bytes = files::head(&path, usize::MAX)?;
    if index::decode(&bytes, segment.salt()).is_none() {
        let what = "it is not the index of its segment; it is made again on its next use";
        found.damage(&path, 0, what.to_owned());
    }
    found.advance(bytes.len() as u64);
    Ok(())
}
