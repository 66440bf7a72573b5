//! Writing a window anew from what was read of one.

use std::path::Path;

use super::window::Window;
use crate::error::Result;
use crate::format::window::{CAPACITY_MIN, ENTRY_WORDS, Parts, header};
use crate::storage::{Access, Storage};

/// What is truth in a window; all else is derived from it when the window is first used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Truth {
    /// Raised by each seek.
    pub epoch: u64,
    /// First offset that is not settled for good.
    pub floor: u64,
    /// First offset that was never looked at.
    pub next: u64,
    /// Offset of the dead-letter topic from which to look for moved messages.
    pub dead_from: u64,
    /// The start of the host in which the window was last rebuilt, two words.
    pub boot: [u64; 2],
    /// The counters, in the order of `Counter`.
    pub counters: Vec<u64>,
    /// Entries that were in use for sure: fewer than there are where the ring was doubled and not
    /// yet on disk; those may still stand in the places that they had before.
    pub usable: u64,
    /// As many entries as the window's capacity, that of offset `n` at `n mod capacity`. Where a
    /// record is stands in them as in the log that the window is for.
    pub entries: Vec<[u64; ENTRY_WORDS]>,
}

impl Truth {
    /// A window that begins at an offset.
    #[must_use]
    pub fn beginning_at(offset: u64) -> Self {
        Self {
            floor: offset,
            next: offset,
            usable: CAPACITY_MIN,
            entries: vec![[0; ENTRY_WORDS]; CAPACITY_MIN as usize],
            ..Self::default()
        }
    }
}

impl Window {
    /// Makes a window that holds this truth, where there is no file yet. It counts as one that
    /// nobody closed, so that whoever uses it first rebuilds it.
    pub fn restore(
        storage: &dyn Storage,
        path: &Path,
        mode: u32,
        (group, partition): (u64, u32),
        limit: u32,
        truth: &Truth,
    ) -> Result<()> {
        let capacity = truth.entries.len() as u64;
        let bytes = Parts::of(limit).bytes(capacity);
        storage.open(path, Access::Create, mode)?.allocate(bytes)?;
        Self::make(storage, path, mode, (group, partition), limit, truth.floor)?;
        let Some(mut window) = Self::open(storage, path, (group, partition), limit)? else {
            return Ok(());
        };
        window.head.set(header::CAPACITY, capacity);
        window.refresh()?;
        let words = [
            (header::USABLE, truth.usable),
            (header::EPOCH, truth.epoch),
            (header::NEXT, truth.next),
            (header::DEAD_FROM, truth.dead_from),
            (header::BOOT, truth.boot[0]),
            (header::BOOT + 1, truth.boot[1]),
        ];
        for (word, value) in words {
            window.head.set(word, value);
        }
        for (number, value) in truth.counters.iter().enumerate() {
            window.head.set(header::COUNTERS + number, *value);
        }
        for (number, entry) in truth.entries.iter().enumerate() {
            for (word, value) in entry.iter().enumerate() {
                window
                    .entries
                    .region
                    .set(number * ENTRY_WORDS + word, *value);
            }
        }
        window.syncer().sync()
    }
}
