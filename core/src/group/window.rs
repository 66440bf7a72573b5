//! The window file: opening, growing, and where things are in it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::entry::Entries;
use super::keys::Keys;
use super::ready::Ready;
use super::recall::Recalled;
use super::tally::Tally;
use super::wheel::Wheel;
use crate::error::{Error, ErrorKind, Result};
use crate::format::VERSION;
use crate::format::record::OFFSET_MAX;
use crate::format::window::{
    CAPACITY_MIN, ENTRY, HEADER, MAGIC, Parts, WHEEL, header, salt, state,
};
use crate::log::{Cursor, Near};
use crate::shm::{Mapping, Region};
use crate::storage::{Access, File, Storage, kept_mapped};

/// What a window counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Counter {
    /// Handed out now.
    Leased,
    /// Waiting for their time after a failure.
    Delayed,
    /// Waiting for an earlier message of their key.
    Held,
    /// Ready to be handed out again.
    Ready,
    /// On their way to the dead letters.
    Dying,
    /// Hand-outs.
    Delivered,
    /// Messages that were acknowledged.
    Acked,
    /// Failures: nacks, expired leases, deaths.
    Failed,
    /// Hand-outs that were not a message's first.
    Redelivered,
    /// Leases that ran out.
    TimedOut,
    /// Messages that became dead letters.
    DeadLettered,
    /// Messages whose bytes were damaged.
    Damaged,
    /// Messages that were gone before the group had settled them; where it hands out at most once,
    /// also those of which nobody knows whether they were handed over.
    Lost,
    /// Waiting for the time with which they were sent.
    Scheduled,
    /// Messages that were too late to be handed out.
    Expired,
    /// Messages that the group's filter leaves out.
    Filtered,
    /// In a redrive lane: dead letters that were redriven.
    Redriven,
    /// In a redrive lane: dead letters that were purged.
    Purged,
    /// Dead letters that hold their keys.
    Holding,
    /// Messages that were settled for being the oldest of a topic that was full.
    Dropped,
    /// Handed out, and about to be settled by a transaction.
    Committing,
}

impl Counter {
    /// How many there are.
    pub const COUNT: usize = Self::Committing as usize + 1;

    /// Those that follow from the entries' states, and are counted anew where these are looked at.
    pub const DERIVED: [Self; 8] = [
        Self::Leased,
        Self::Delayed,
        Self::Held,
        Self::Ready,
        Self::Dying,
        Self::Scheduled,
        Self::Holding,
        Self::Committing,
    ];
}

/// One group's window over one partition, as this process has it mapped.
pub struct Window {
    pub(super) head: Region,
    pub(super) entries: Entries,
    pub(super) wheel: Wheel,
    pub(super) ready: Ready,
    pub(super) keys: Keys,
    pub(super) mask: u64,
    pub(super) parts: Parts,
    pub(super) tally: Tally,
    /// Whether the group hands out at most once.
    pub(super) once: bool,
    /// What the window is to be again, where a snapshot is being restored; see `recall.rs`.
    pub(super) recalled: Option<Recalled>,
    pub(super) map: Arc<Mapping>,
    pub(super) file: Arc<dyn File>,
    /// The segment of the log that its cursor was in last.
    pub near: Near,
}

impl Window {
    /// Opens the window file; `None` if it is not made yet.
    pub fn open(
        storage: &dyn Storage,
        path: &Path,
        (group, partition): (u64, u32),
        limit: u32,
    ) -> Result<Option<Self>> {
        let parts = Parts::of(limit);
        let file = match storage.open(path, Access::ReadWrite, 0) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let most = usize::try_from(parts.bytes(parts.most as u64)).unwrap_or(usize::MAX);
        let map = file.map(most, true)?;
        let none = || damaged(path, "it is shorter than its header says".into());
        let Some(head) = Region::new(&map, 0, header::WORDS * 8) else {
            return Ok(None);
        };
        if head.load(header::MAGIC, Ordering::Acquire) == 0 {
            return Ok(None);
        }
        check(&head, path, group, partition, limit)?;
        let capacity = capacity_of(&head, &parts, path)?;
        // Another process may have doubled it since the file was mapped: the length is at least
        // what the capacity, read before it, needs.
        map.set_limit(usize::try_from(file.len()?).unwrap_or(usize::MAX));
        let part = |at, len| Region::new(&map, at, len).ok_or_else(none);
        let entries = Entries {
            region: part(parts.entries, capacity as usize * ENTRY)?,
            salt: salt(head.get(header::EPOCH)),
        };
        let wheel = Wheel {
            region: part(HEADER, WHEEL)?,
        };
        let ready = Ready::new(head.clone(), &map, &parts).ok_or_else(none)?;
        let region = part(parts.bucket_at, parts.buckets * 8)?;
        let keys = Keys {
            region,
            buckets: parts.buckets,
        };
        let mask = capacity - 1;
        Ok(Some(Self {
            head,
            entries,
            wheel,
            ready,
            keys,
            mask,
            parts,
            tally: Tally::default(),
            once: false,
            recalled: None,
            file: kept_mapped(file, &map),
            map,
            near: Near::default(),
        }))
    }

    /// After taking the lock: follows what another process grew, or sought.
    #[inline]
    pub fn refresh(&mut self) -> Result<()> {
        self.entries.salt = salt(self.head.get(header::EPOCH));
        if self.head.get(header::CAPACITY) == self.mask + 1 {
            return Ok(());
        }
        self.follow()
    }

    #[cold]
    fn follow(&mut self) -> Result<()> {
        let path = self.file.path().to_owned();
        let capacity = capacity_of(&self.head, &self.parts, &path)?;
        let len = self.file.len()?;
        self.map
            .set_limit(usize::try_from(len).unwrap_or(usize::MAX));
        let region = Region::new(&self.map, self.parts.entries, capacity as usize * ENTRY);
        let short = || damaged(&path, format!("it has {len} bytes for {capacity} entries"));
        self.entries.region = region.ok_or_else(short)?;
        self.mask = capacity - 1;
        Ok(())
    }

    /// The index of an offset's entry.
    #[inline]
    pub(super) fn index(&self, offset: u64) -> u32 {
        (offset & self.mask) as u32
    }

    /// The offset that the entry at an index speaks of, as the one in the window.
    pub(super) fn offset_at(&self, index: u32) -> u64 {
        let floor = self.floor();
        floor + ((u64::from(index).wrapping_sub(floor)) & self.mask)
    }

    /// First offset that is not settled for good.
    #[inline]
    pub fn floor(&self) -> u64 {
        self.head.get(header::FLOOR)
    }

    /// First offset that was never looked at.
    #[inline]
    pub fn next(&self) -> u64 {
        self.head.get(header::NEXT)
    }

    /// As `next`, but no further than the ring goes: after a jump of an empty window that was cut
    /// short the two words may be further apart, and no entry speaks of what is between them.
    pub(super) fn end(&self) -> u64 {
        self.next().min(self.floor().saturating_add(self.mask + 1))
    }

    /// Where the first message that was never looked at is.
    #[inline]
    pub fn cursor(&self) -> Cursor {
        let segment = self.head.get(header::CURSOR_SEGMENT);
        Cursor::at_place(segment, self.head.get(header::CURSOR_POSITION), self.next())
    }

    /// Moves on to a place; offsets that are passed over must be settled first with `settle_gap`.
    #[inline]
    pub fn set_cursor(&self, cursor: Cursor) {
        self.head.set(header::CURSOR_SEGMENT, cursor.segment);
        self.head.set(header::CURSOR_POSITION, cursor.place());
        // Release: who reads this end without the lock sees what was counted before it was moved.
        self.head
            .store(header::NEXT, cursor.offset, Ordering::Release);
    }

    /// Raised by each seek.
    pub fn epoch(&self) -> u32 {
        self.head.get(header::EPOCH) as u32
    }

    /// A count.
    #[inline]
    pub fn counter(&self, counter: Counter) -> u64 {
        self.head.get(header::COUNTERS + counter as usize)
    }

    #[inline]
    pub(super) fn count(&self, counter: Counter, by: i64) {
        let word = header::COUNTERS + counter as usize;
        self.head
            .change(word, |count| count.wrapping_add_signed(by));
    }

    /// Whether a receive could hand something out without looking at the log.
    #[inline]
    pub fn has_ready(&self) -> bool {
        self.counter(Counter::Ready) > 0
    }

    /// A time in ms of the boot clock before which no lease or delay ends.
    pub fn next_due(&self) -> Option<u64> {
        self.wheel.next_due()
    }

    /// Positions of the unsettled messages, for the statistics. A dead letter is none.
    pub fn unsettled(&self) -> Vec<(u64, u64)> {
        (self.floor()..self.end())
            .map(|offset| (offset, self.index(offset)))
            .filter(|(offset, index)| {
                self.entries.is_of(*index, *offset)
                    && self.entries.is_open(*index)
                    && self.entries.state(*index) != state::DEAD
            })
            .map(|(offset, index)| (offset, u64::from(self.entries.position(index))))
            .collect()
    }

    /// The consumer works on this hand-out, which is one of the epoch.
    pub fn start(&self, offset: u64, attempt: u32) {
        self.entries.start(self.index(offset), offset, attempt);
    }

    /// Moves the floor over what is settled.
    #[inline]
    pub fn raise_floor(&self) {
        let (mut floor, next) = (self.floor(), self.next());
        let from = floor;
        while floor < next {
            if !self.entries.is_settled(self.index(floor), floor) {
                break;
            }
            floor += 1;
        }
        if floor != from {
            self.head.store(header::FLOOR, floor, Ordering::Release);
        }
    }

    /// The error of a panic over what stands in the file.
    #[cold]
    pub fn damage_by(&self, panic: &(dyn std::any::Any + Send)) -> Error {
        let text = panic.downcast_ref::<String>().map_or("", String::as_str);
        damaged(
            self.file.path(),
            format!("its entries do not fit together ({text})"),
        )
    }

    /// With the lock held, before the entries are walked: whether floor and end can be true (P18).
    /// An end that is beyond the ring is that of a jump that was cut short: who rebuilds ends the
    /// window where its entries do. After a clean close that is damage, as the checksum tells.
    pub fn check_span(&self) -> Result<()> {
        let (floor, next) = (self.floor(), self.next());
        if floor <= next && floor <= OFFSET_MAX {
            return Ok(());
        }
        let capacity = self.mask + 1;
        let what = format!("its floor is {floor}, its end {next}, its capacity {capacity}");
        Err(damaged(self.file.path(), what))
    }

    /// The start of the host in which the window was last rebuilt.
    pub fn boot(&self) -> [u8; 16] {
        let mut boot = [0; 16];
        boot[..8].copy_from_slice(&self.head.get(header::BOOT).to_le_bytes());
        boot[8..].copy_from_slice(&self.head.get(header::BOOT + 1).to_le_bytes());
        boot
    }

    /// Notes the start of the host.
    pub fn set_boot(&self, boot: [u8; 16]) {
        self.head.set(header::BOOT, crate::format::u64_at(&boot, 0));
        self.head
            .set(header::BOOT + 1, crate::format::u64_at(&boot, 8));
    }

    /// The dead-letter topic's offset below which no message of this window can be that is not
    /// settled here.
    pub fn dead_from(&self) -> u64 {
        self.head.get(header::DEAD_FROM)
    }

    /// Raised once the settled entries are on disk.
    pub fn set_dead_from(&self, offset: u64) {
        self.head.set(header::DEAD_FROM, offset);
    }

    pub(super) fn path(&self) -> &Path {
        self.file.path()
    }
}

fn capacity_of(head: &Region, parts: &Parts, path: &Path) -> Result<u64> {
    // Acquire: the file's length, read after it, is at least what it needs.
    let capacity = head.load(header::CAPACITY, Ordering::Acquire);
    if capacity.is_power_of_two() && capacity >= CAPACITY_MIN && capacity <= parts.most as u64 {
        return Ok(capacity);
    }
    let most = parts.most;
    let what = format!("its capacity is {capacity}, expected a power of two up to {most}");
    Err(damaged(path, what))
}

fn check(head: &Region, path: &Path, group: u64, partition: u32, limit: u32) -> Result<()> {
    let expected = [
        ("magic", header::MAGIC, MAGIC),
        ("version", header::VERSION, u64::from(VERSION)),
        ("group", header::GROUP, group),
        ("partition", header::PARTITION, u64::from(partition)),
        ("limit", header::LIMIT, u64::from(limit)),
    ];
    for (name, word, wanted) in expected {
        let found = head.get(word);
        if word == header::VERSION && found > wanted {
            let message = format!(
                "{} has format {found}, this build reads format {wanted}; use a version of \
                 libqueue that knows format {found}",
                path.display()
            );
            return Err(Error::new(ErrorKind::Incompatible, message));
        }
        if found != wanted {
            return Err(damaged(
                path,
                format!("its {name} is {found:#x}, expected {wanted:#x}"),
            ));
        }
    }
    Ok(())
}

pub(super) fn damaged(path: &Path, what: String) -> Error {
    let message = format!(
        "{}: {what}; the group's position cannot be read; `libqueue verify` lists what is damaged",
        path.display()
    );
    Error::new(ErrorKind::Damaged, message)
}
