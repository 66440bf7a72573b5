//! Making a window's file.

use std::path::Path;
use std::sync::atomic::Ordering;

use super::window::{Window, damaged};
use crate::error::Result;
use crate::format::VERSION;
use crate::format::window::{CAPACITY_MIN, CLOSED, HEADER, MAGIC, Parts, header};
use crate::shm::Region;
use crate::storage::{Access, Storage};

/// Where a window stands, as its file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OnDisk {
    /// First offset that is not settled for good.
    pub floor: u64,
    /// First offset that was never looked at.
    pub next: u64,
    /// How often the group was sought that the window knows of.
    pub epoch: u32,
    /// Whether it was closed cleanly, and not used since.
    pub closed: bool,
}

impl Window {
    /// Makes the window file, to begin at `start`. By one process at a time: of two the second
    /// would take back what the first has handed out. One that dies leaves a file without the
    /// magic word, which is written last, and the next one makes it again.
    pub fn make(
        storage: &dyn Storage,
        path: &Path,
        mode: u32,
        (group, partition): (u64, u32),
        limit: u32,
        start: u64,
    ) -> Result<()> {
        let bytes = Parts::of(limit).bytes(CAPACITY_MIN);
        let file = storage.open(path, Access::Create, mode)?;
        file.allocate(bytes)?;
        let map = file.map(usize::try_from(bytes).unwrap_or(usize::MAX), true)?;
        let short = || damaged(path, "it is shorter than allocated".into());
        let head = Region::new(&map, 0, header::WORDS * 8).ok_or_else(short)?;
        if head.load(header::MAGIC, Ordering::Acquire) == MAGIC {
            return Ok(());
        }
        let words = [
            (header::VERSION, u64::from(VERSION)),
            (header::GROUP, group),
            (header::PARTITION, u64::from(partition)),
            (header::LIMIT, u64::from(limit)),
            (header::CAPACITY, CAPACITY_MIN),
            (header::USABLE, CAPACITY_MIN),
            (header::FLOOR, start),
            (header::NEXT, start),
            (header::CURSOR_SEGMENT, u64::MAX),
        ];
        words
            .iter()
            .for_each(|(word, value)| head.set(*word, *value));
        head.store(header::MAGIC, MAGIC, Ordering::Release);
        file.sync()
    }

    /// Where a window stands, as its file says, without mapping it; `None` if it is none yet, or of
    /// another group.
    pub fn on_disk(
        storage: &dyn Storage,
        path: &Path,
        (group, partition): (u64, u32),
    ) -> Result<Option<OnDisk>> {
        let mut bytes = [0; header::WORDS * 8];
        storage
            .open(path, Access::Read, 0)?
            .read_at(&mut bytes, 0)?;
        let word = |number: usize| crate::format::u64_at(&bytes, number * 8);
        let known = word(header::MAGIC) == MAGIC && word(header::VERSION) == u64::from(VERSION);
        let mine = (word(header::GROUP), word(header::PARTITION)) == (group, u64::from(partition));
        Ok((known && mine).then(|| OnDisk {
            floor: word(header::FLOOR),
            next: word(header::NEXT),
            epoch: word(header::EPOCH) as u32,
            closed: word(header::CLEAN) == CLOSED,
        }))
    }

    /// Whether anything was handed out, or passed over, through the window in this file.
    pub fn was_used(storage: &dyn Storage, path: &Path) -> Result<bool> {
        let map = storage
            .open(path, Access::ReadWrite, 0)?
            .map(HEADER, false)?;
        let Some(head) = Region::new(&map, 0, header::WORDS * 8) else {
            return Ok(false);
        };
        let counted = (header::COUNTERS..header::BOOT).any(|word| head.get(word) != 0);
        let moved = head.get(header::NEXT) != head.get(header::FLOOR);
        Ok(head.get(header::MAGIC) == MAGIC && (counted || moved))
    }
}
