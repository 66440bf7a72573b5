//! What a window says at one moment, to be written anew elsewhere: in a backup, where the messages
//! stand in the places they had, or in an import, where they stand in others.
//!
//! Nobody holds a lease in a copy. What is handed out is ready there, without a failure, since
//! nothing failed; an attempt that nobody was told of is taken back, as a receive does that does
//! not return what it gathered (P6). What a group that hands out at most once may have handed over
//! is settled (P7).

use super::entry::NOBODY;
use super::restore::Truth;
use super::window::{Counter, Window};
use crate::error::Result;
use crate::format::window::{
    CAPACITY_MIN, ENTRY_WORDS, Parts, entry as at, header, state, tag as tag_of,
};

/// Words of an entry.
type Entry = [u64; ENTRY_WORDS];

/// A window at one moment: all from the floor on and below the end that is not open is settled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Captured {
    /// Raised by each seek.
    pub epoch: u64,
    /// First offset that is not settled for good.
    pub floor: u64,
    /// First offset that was never looked at.
    pub next: u64,
    /// Offset of the dead-letter topic from which to look for moved messages.
    pub dead_from: u64,
    /// The start of the host whose boot clock the times are by, two words.
    pub boot: [u64; 2],
    /// The counters, in the order of `Counter`; those that follow from the entries are 0.
    pub counters: Vec<u64>,
    /// What is open, by rising offsets.
    pub open: Vec<(u64, Entry)>,
}

impl Window {
    /// With the lock held: what a copy is to say.
    #[must_use]
    pub fn capture(&self) -> Captured {
        let counter = |number: usize| self.head.get(header::COUNTERS + number);
        let mut found = Captured {
            epoch: self.head.get(header::EPOCH),
            floor: self.floor(),
            next: self.next(),
            dead_from: self.dead_from(),
            boot: [header::BOOT, header::BOOT + 1].map(|word| self.head.get(word)),
            counters: (0..Captured::COUNTERS).map(counter).collect(),
            open: Vec::new(),
        };
        for counter in Counter::DERIVED {
            found.counters[counter as usize] = 0;
        }
        for offset in self.floor()..self.end() {
            let (index, entries) = (self.index(offset), &self.entries);
            if !entries.is_of(index, offset) || entries.state(index) == state::FRESH {
                // Behind a jump that was cut short nothing is known: it is looked at anew (P6).
                found.next = offset;
                break;
            }
            if !entries.is_open(index) || self.is_given(index) {
                continue;
            }
            let first = index as usize * ENTRY_WORDS;
            let mut entry: Entry = std::array::from_fn(|word| entries.region.get(first + word));
            // What a transaction has marked is settled once that has happened, of which the journal
            // tells.
            if matches!(entries.state(index), state::LEASED | state::COMMITTING) {
                give_back(&mut entry, entries.batch(index) == 0);
            }
            found.open.push((offset, entry));
        }
        found.settle_front();
        found
    }
}

/// A lease that nobody has in the copy. `gathered`: its consumer was not told of it.
fn give_back(entry: &mut Entry, gathered: bool) {
    let attempts = entry[at::HAND_OUT] >> 1 & 0x7FFF_FFFF;
    let attempts = attempts.saturating_sub(u64::from(gathered));
    entry[at::HAND_OUT] = entry[at::HAND_OUT] >> 32 << 32 | attempts << 1;
    entry[at::LEASE] = u64::from(NOBODY);
    entry[at::FAILED] &= !0xFFFF;
    entry[at::STATE] = entry[at::STATE] & !0xFF | state::READY;
}

impl Captured {
    /// Number of counters.
    pub const COUNTERS: usize = header::BOOT - header::COUNTERS;

    /// A transaction settled this hand-out, as its epoch and attempt say.
    pub fn settle(&mut self, offset: u64, attempt: u32, epoch: u32) {
        let before = self.open.len();
        if self.epoch == u64::from(epoch) {
            let is_it =
                |entry: &Entry| (entry[at::HAND_OUT] >> 1 & 0x7FFF_FFFF) == u64::from(attempt);
            self.open
                .retain(|(known, entry)| *known != offset || !is_it(entry));
        }
        self.counters[Counter::Acked as usize] += (before - self.open.len()) as u64;
        self.settle_front();
    }

    /// Moves the floor over what is settled.
    pub fn settle_front(&mut self) {
        self.floor = self.open.first().map_or(self.next, |(offset, _)| *offset);
    }

    /// What a window of this limit is to be made of; `None` where it cannot hold so much.
    pub fn truth(&self, limit: u32) -> Result<Option<Truth>> {
        let span = self.next.saturating_sub(self.floor);
        let most = Parts::of(limit).most as u64;
        if span > most {
            return Ok(None);
        }
        let capacity = span.next_power_of_two().max(CAPACITY_MIN);
        let mut entries = vec![[0; ENTRY_WORDS]; usize::try_from(capacity).unwrap_or(usize::MAX)];
        let place = |offset: u64| (offset & (capacity - 1)) as usize;
        for offset in self.floor..self.next {
            entries[place(offset)] = settled(self.epoch, offset);
        }
        for (offset, entry) in &self.open {
            entries[place(*offset)] = *entry;
        }
        Ok(Some(Truth {
            epoch: self.epoch,
            floor: self.floor,
            next: self.next,
            dead_from: self.dead_from,
            boot: self.boot,
            counters: self.counters.clone(),
            usable: capacity,
            entries,
        }))
    }
}

/// The entry of a message that is settled.
fn settled(epoch: u64, offset: u64) -> Entry {
    let mut entry = [0; ENTRY_WORDS];
    let tag = tag_of(epoch, offset) << 32;
    entry[at::STATE] = tag | state::SETTLED;
    entry[at::HAND_OUT] = tag;
    entry
}
