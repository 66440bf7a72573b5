//! What a window's file says, and whether it can be believed as a whole.

use std::path::Path;

use crate::error::{ErrorKind, Result};
use crate::format::window::{
    CAPACITY_MIN, CLOSED, ENTRY, ENTRY_WORDS, MAGIC, Parts, header, sum_entry, sum_header,
};
use crate::format::{VERSION, u64_at};
use crate::inspect::bytes::Bytes;
use crate::inspect::window::{Words, words};
use crate::options::{WINDOW_MAX, WINDOW_MIN};

/// Words of an entry.
pub(super) type Entry = [u64; ENTRY_WORDS];

/// Whose window is wanted, as far as it is known.
#[derive(Clone, Copy)]
pub(super) struct Wanted {
    pub(super) group: Option<u64>,
    pub(super) partition: u32,
    pub(super) limit: Option<u32>,
    /// No offset at or above this one was given out.
    pub(super) end: u64,
}

/// A window's file as it was read.
pub(super) struct Raw {
    pub(super) words: Words,
    /// The whole ring.
    pub(super) entries: Vec<Entry>,
    /// It is what was written: by its checksum after a clean close, else by all that must hold.
    pub(super) whole: bool,
    /// Nothing says that it is another group's or another partition's.
    pub(super) own: bool,
}

impl Raw {
    /// Reads a window; `None` if there is none, or none that was ever begun. `Raw::whole` is false
    /// where anything does not fit; then only what each entry says by itself is worth anything.
    pub(super) fn read(path: &Path, wanted: &Wanted) -> Result<Option<Self>> {
        let mut bytes = match Bytes::open(path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) if matches!(e.kind(), ErrorKind::Io | ErrorKind::PermissionDenied) => {
                return Ok(None);
            }
            Err(e) => return Err(e),
        };
        let Some(words) = words(&mut bytes)? else {
            return Ok(None);
        };
        let own = words[header::PARTITION] == u64::from(wanted.partition)
            && wanted.group.is_none_or(|id| words[header::GROUP] == id);
        let written = u32::try_from(words[header::LIMIT]).ok();
        let possible = |limit: &u32| (WINDOW_MIN..=WINDOW_MAX).contains(limit);
        let limits = wanted.limit.into_iter().chain(written.filter(possible));
        let mut best = None;
        for limit in limits {
            let Some(entries) = read_ring(&mut bytes, &words, limit)? else {
                continue;
            };
            let raw = Self {
                whole: is_whole(&words, &entries, wanted, limit),
                words,
                entries,
                own,
            };
            if raw.whole {
                return Ok(Some(raw));
            }
            best.get_or_insert(raw);
        }
        Ok(best)
    }

    /// Number of entries.
    pub(super) fn capacity(&self) -> u64 {
        self.entries.len() as u64
    }

    /// Entries that were in use for sure.
    pub(super) fn usable(&self) -> u64 {
        let written = self.words[header::USABLE];
        match written.is_power_of_two() && (CAPACITY_MIN..=self.capacity()).contains(&written) {
            true => written,
            false => self.capacity(),
        }
    }

    /// First offset that was never looked at, as far as the ring goes.
    pub(super) fn end(&self) -> u64 {
        let (floor, next) = (self.words[header::FLOOR], self.words[header::NEXT]);
        next.min(floor.saturating_add(self.capacity()))
    }
}

/// All entries there is room for; `None` if the file has no room for the fewest.
fn read_ring(bytes: &mut Bytes, words: &Words, limit: u32) -> Result<Option<Vec<Entry>>> {
    let parts = Parts::of(limit);
    let (most, room) = (
        parts.most as u64,
        bytes.len().saturating_sub(parts.entries as u64) / ENTRY as u64,
    );
    let written = words[header::CAPACITY];
    let possible = written.is_power_of_two() && (CAPACITY_MIN..=most).contains(&written);
    let capacity = match possible && written <= room {
        true => written,
        // The file is made longer in doublings.
        false => room.checked_ilog2().map_or(0, |log| 1 << log).min(most),
    };
    if capacity < CAPACITY_MIN {
        return Ok(None);
    }
    let mut entries = Vec::with_capacity(usize::try_from(capacity).unwrap_or(0));
    for number in 0..capacity {
        let at = parts.entries as u64 + number * ENTRY as u64;
        let Some(entry) = bytes.get(at, ENTRY as u64)? else {
            return Ok(None);
        };
        entries.push(std::array::from_fn(|word| u64_at(entry, word * 8)));
    }
    Ok(Some(entries))
}

fn is_whole(words: &Words, entries: &[Entry], wanted: &Wanted, limit: u32) -> bool {
    let (floor, next) = (words[header::FLOOR], words[header::NEXT]);
    let capacity = entries.len() as u64;
    if words[header::CAPACITY] != capacity || floor > next {
        return false;
    }
    if words[header::CLEAN] != CLOSED {
        // In use when everyone died: each entry is believed by itself, as when it is opened, and
        // its end may be that of a jump that was cut short.
        return words[header::MAGIC] == MAGIC
            && words[header::VERSION] == u64::from(VERSION)
            && words[header::LIMIT] == u64::from(limit)
            && next <= wanted.end;
    }
    if next - floor > capacity {
        return false;
    }
    let mut sum = sum_header(|word| words[word]);
    for offset in floor..next {
        let entry = &entries[(offset & (capacity - 1)) as usize];
        sum = sum_entry(sum, |word| entry[word]);
    }
    u64::from(sum) == words[header::CRC]
}
