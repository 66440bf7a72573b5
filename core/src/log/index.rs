//! The sparse index: where in a segment to begin looking.
//!
//! Of a sealed segment it is a file, made by whoever first looks for something in it; of the active
//! one it is kept in memory and grows with it. An entry is believed only if the record that it
//! names stands where it says.

use std::sync::PoisonError;

use super::Partition;
use super::segment::{Found, Segment};
use crate::error::Result;
use crate::format::index::{self, Entry, SPACING};
use crate::format::names;
use crate::format::record::{self, END, MESSAGE, RESERVED};
use crate::format::segment::RECORDS;
use crate::storage::{Access, replace_file};

/// The index of the segment that was last looked into.
#[derive(Default)]
pub(super) struct Known {
    base: u64,
    salt: u32,
    entries: Vec<Entry>,
}

impl Partition {
    /// The position of the last indexed record that is not `beyond` what is looked for; where the
    /// records begin if there is none.
    pub(super) fn begin_in(&self, segment: &Segment, beyond: impl Fn(&Entry) -> bool) -> u64 {
        let start = RECORDS as u64;
        let mut known = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        if known.base != segment.base() || known.salt != segment.index_salt() {
            *known = Known {
                base: segment.base(),
                salt: segment.index_salt(),
                entries: self.read_index(segment).unwrap_or_default(),
            };
        }
        let sealed = grow(segment, &mut known.entries);
        if let Some(count) = sealed
            && count > 0
        {
            // A cache: without it the next one walks again.
            let _ = self.write_index(segment, &known.entries);
        }
        let place = known.entries.partition_point(|entry| !beyond(entry));
        let Some(entry) = place.checked_sub(1).map(|place| known.entries[place]) else {
            return start;
        };
        match segment.at(entry.position) {
            Found::Record(header, _) if header.offset == entry.offset => entry.position,
            // A power loss took what the index spoke of.
            _ => {
                known.entries.clear();
                start
            }
        }
    }

    fn read_index(&self, segment: &Segment) -> Option<Vec<Entry>> {
        let path = self.folder.join(names::index(segment.base()));
        let storage = &*self.env.storage;
        let file = storage.open(&path, Access::Read, 0).ok()?;
        let most = (segment.capacity() / SPACING + 1) as usize * index::ENTRY + index::HEADER;
        let len = usize::try_from(file.len().ok()?).ok()?;
        let mut bytes = vec![0; len.min(most)];
        file.read_at(&mut bytes, 0).ok()?;
        index::decode(&bytes, segment.index_salt())
    }

    fn write_index(&self, segment: &Segment, entries: &[Entry]) -> Result<()> {
        let path = self.folder.join(names::index(segment.base()));
        let bytes = index::encode(segment.index_salt(), entries);
        replace_file(&*self.env.storage, &path, &bytes, self.env.mode)
    }
}

/// Walks on from the last entry. If the segment is sealed: how many entries were added.
fn grow(segment: &Segment, entries: &mut Vec<Entry>) -> Option<usize> {
    let before = entries.len();
    let last = entries.last().map(|entry| entry.position);
    let mut position = last.unwrap_or(RECORDS as u64);
    let mut due = last.map_or(RECORDS as u64 + SPACING, |last| last + SPACING);
    while let Found::Record(header, length) = segment.at(position) {
        if header.kind == END {
            return Some(entries.len() - before);
        }
        if header.kind == RESERVED {
            return None;
        }
        if header.kind == MESSAGE && position >= due {
            entries.push(Entry {
                offset: header.offset,
                timestamp_ns: header.timestamp_ns,
                position,
            });
            due = position + SPACING;
        }
        position += record::padded(u64::from(length));
    }
    None
}
