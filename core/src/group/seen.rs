//! What a window says of itself, read without its lock, for the statistics.
//!
//! Words are read one by one. While nobody is inside they fit together; of one who is, some of what
//! he changes may be seen and some not (`store/group_look.rs` looks again). Bytes of a file that
//! anybody may have written: nothing is believed that would lead outside (P18).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::entry::Entries;
use super::glance::Glance;
use super::window::{Counter, Window};
use crate::format::record::OFFSET_MAX;
use crate::format::window::{CAPACITY_MIN, ENTRY, Parts, header, salt, state};
use crate::log::Cursor;
use crate::shm::{Mapping, Region};
use crate::storage::File;

/// Where a window stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// First offset that is not settled for good.
    pub floor: u64,
    /// Where the first message is that was never looked at.
    pub next: Cursor,
    /// Raised by each seek.
    pub epoch: u64,
    counters: [u64; Counter::COUNT],
}

/// The parts of a window that are read without its lock.
pub(super) struct Files {
    parts: Parts,
    map: Arc<Mapping>,
    file: Arc<dyn File>,
}

impl Seen {
    /// A count.
    #[must_use]
    pub fn counter(&self, counter: Counter) -> u64 {
        self.counters[counter as usize]
    }

    /// Messages that were taken in and are not settled.
    #[must_use]
    pub fn open(&self) -> u64 {
        let open = Counter::DERIVED.iter().map(|one| self.counter(*one));
        open.fold(0, u64::saturating_add)
    }

    /// As it is once somebody has it follow a seek to this offset: nothing of it is open.
    #[must_use]
    pub fn sought(mut self, epoch: u32, offset: u64) -> Self {
        for counter in Counter::DERIVED {
            self.counters[counter as usize] = 0;
        }
        (self.floor, self.epoch) = (offset, u64::from(epoch));
        self.next = Cursor::at_offset(offset);
        self
    }
}

impl Window {
    pub(super) fn files(&self) -> Files {
        Files {
            parts: self.parts,
            map: self.map.clone(),
            file: self.file.clone(),
        }
    }
}

impl Glance {
    /// The words as they stand.
    #[must_use]
    pub fn seen(&self) -> Seen {
        let word = |number: usize| self.head.load(number, Ordering::Acquire);
        let mut counters = [0; Counter::COUNT];
        for (number, count) in counters.iter_mut().enumerate() {
            *count = word(header::COUNTERS + number);
        }
        let next = word(header::NEXT).min(OFFSET_MAX);
        let segment = word(header::CURSOR_SEGMENT);
        Seen {
            floor: word(header::FLOOR).min(next),
            next: Cursor::at_place(segment, word(header::CURSOR_POSITION), next),
            epoch: word(header::EPOCH),
            counters,
        }
    }

    /// The entries, and how many there are room for, less 1.
    fn entries(&self) -> Option<(Entries, u64)> {
        let capacity = self.head.load(header::CAPACITY, Ordering::Acquire);
        let Files { parts, map, file } = &self.files;
        let most = parts.most as u64;
        if !capacity.is_power_of_two() || !(CAPACITY_MIN..=most).contains(&capacity) {
            return None;
        }
        let region = || Region::new(map, parts.entries, capacity as usize * ENTRY);
        let region = region().or_else(|| {
            // Another process doubled the ring.
            map.set_limit(usize::try_from(file.len().ok()?).ok()?);
            region()
        })?;
        let salt = salt(self.head.get(header::EPOCH));
        Some((Entries { region, salt }, capacity - 1))
    }

    /// The position of a message that was taken in, where its entry still stands, settled or not.
    #[must_use]
    pub fn position_of(&self, offset: u64) -> Option<u64> {
        let (entries, mask) = self.entries()?;
        let index = (offset & mask) as u32;
        let position = u64::from(entries.position(index));
        (entries.is_of(index, offset) && position > 0).then_some(position)
    }

    /// Calls `each` with what is taken in and not settled, dead letters aside: offset, position in
    /// its segment, and bytes in the log where the next entry tells where it ends. Looks at as many
    /// entries as there are between floor and end, until `each` says that it is enough.
    pub fn each_open(&self, seen: &Seen, mut each: impl FnMut(u64, u64, Option<u64>) -> bool) {
        let Some((entries, mask)) = self.entries() else {
            return;
        };
        let end = seen.next.offset.min(seen.floor.saturating_add(mask + 1));
        for offset in seen.floor..end {
            let index = (offset & mask) as u32;
            let open = entries.is_of(index, offset)
                && entries.is_open(index)
                && entries.state(index) != state::DEAD;
            if !open {
                continue;
            }
            let position = u64::from(entries.position(index));
            let behind = ((offset + 1) & mask) as u32;
            let known = offset + 1 < end && entries.is_of(behind, offset + 1);
            // One in the next segment, and one that does not exist, stands before it.
            let length = known
                .then(|| u64::from(entries.position(behind)))
                .and_then(|next| next.checked_sub(position))
                .filter(|length| *length > 0);
            if !each(offset, position, length) {
                return;
            }
        }
    }
}
