//! Offsets ahead of their use (P4): no offset is handed out before it is on disk that it may be, so
//! that a power loss which takes the tail away never lets an offset be used twice.

use super::{NONE, Partition};
use crate::error::{Error, ErrorKind, Result};
use crate::format::names;
use crate::format::record::OFFSET_MAX;
use crate::format::reserve::{FILE, Reserve, SLOT, SLOTS, owner, taken_by};
use crate::storage::{Access, File};
use std::sync::Arc;

const STEP_MIN: u64 = 4096;
const STEP_MAX: u64 = 262_144;

impl Partition {
    /// Raises the limit so that `count` more offsets can be handed out, in growing steps.
    pub(super) fn raise_reserve(&self, count: u64) -> Result<()> {
        let _slow = self.hold_slow()?;
        if self.block.next_offset() + count <= self.block.limit() {
            return Ok(());
        }
        self.raise(count)
    }

    /// Raises it when half of the last step is used. Whether it did.
    pub(super) fn raise_ahead(&self) -> Result<bool> {
        let left = self.block.limit().saturating_sub(self.block.next_offset());
        if self.block.limit() == 0 || left >= self.block.step() / 2 {
            return Ok(false);
        }
        let Some(_slow) = self.try_hold_slow()? else {
            return Ok(false);
        };
        self.raise(0)?;
        Ok(true)
    }

    /// As `raise_reserve`, with the slow lock held.
    pub(super) fn raise(&self, count: u64) -> Result<()> {
        let step = self.block.step().saturating_mul(2);
        let step = step.clamp(STEP_MIN, STEP_MAX);
        let limit = self.block.limit().max(self.block.next_offset()) + step + count;
        if limit > OFFSET_MAX {
            return Err(self.no_such_offset(limit));
        }
        self.write_reserve(limit, false)?;
        // On disk first, then used.
        self.block.set_step(step);
        self.block.set_limit(limit);
        Ok(())
    }

    /// Nobody ever sent so much: the block in `control` was changed by somebody else. Nothing of it
    /// goes into a file.
    #[cold]
    fn no_such_offset(&self, offset: u64) -> Error {
        Error::new(
            ErrorKind::Damaged,
            format!(
                "{}: offset {offset} is beyond all offsets, so control is damaged; close the store \
                 in all processes, the next open lays control out anew",
                self.folder.display()
            ),
        )
    }

    /// Writes the older slot and syncs it: a crash leaves the other one. Of what retention is about
    /// to take it says nothing.
    pub(super) fn write_reserve(&self, limit: u64, clean: bool) -> Result<()> {
        self.write_slot(limit, clean, 0, None)
    }

    /// With a mark up to which all is known to be on disk, the transactions before it included.
    pub(super) fn write_reserve_at(&self, limit: u64, mark: (u64, u64, u64)) -> Result<()> {
        self.write_slot(limit, false, 0, Some(mark))
    }

    /// Says on disk that all below an offset, the base of a segment, was taken. What groups and
    /// ledgers and transactions say of it is on disk by now (P6, P8, P15).
    pub(super) fn take_in_reserve(&self, limit: u64, first: u64) -> Result<()> {
        self.write_slot(limit, false, first, None)
    }

    fn write_slot(
        &self,
        limit: u64,
        clean: bool,
        first: u64,
        mark: Option<(u64, u64, u64)>,
    ) -> Result<()> {
        let file = self.reserve_file()?;
        let (newest, slot) = self.newest(&*file)?;
        let wanted = mark.unwrap_or_else(|| self.block.mark());
        let keeps = match mark {
            // Asked after the mark was read: what is before it was published before.
            None => !self.transactions_on_disk(),
            // Nor where it begins in a later segment: the one before may be gone.
            Some(_) => newest.is_some_and(|known| known.mark_offset >= wanted.2),
        };
        let last = self.block.last_timestamp();
        let ((mark_segment, mark_position, mark_offset), mark_timestamp) = match newest {
            // A recovery looks at what is behind the mark, and takes back what a transaction sent
            // that has not happened (P8).
            Some(known) if keeps => (
                (known.mark_segment, known.mark_position, known.mark_offset),
                known.mark_timestamp,
            ),
            None if keeps => ((NONE, 0, 0), last),
            _ => (wanted, last),
        };
        // Never lowered, and never beyond the mark, whatever `control` says (P18).
        let taken = match mark_segment {
            NONE => 0,
            mark => first.min(mark),
        };
        let before = newest.as_ref().map_or(0, taken_by);
        let reserve = Reserve {
            generation: newest.map_or(0, |reserve| reserve.generation) + 1,
            limit,
            mark_segment,
            mark_position,
            mark_offset,
            mark_timestamp,
            clean,
            boot: self.env.storage.boot_id(),
            owner: owner(self.topic, self.number),
            first: taken.max(before),
        };
        file.write_at(&reserve.encode(), SLOTS[1 - slot])?;
        file.sync()
    }

    fn reserve_file(&self) -> Result<Arc<dyn File>> {
        let storage = &*self.env.storage;
        let path = self.folder.join(names::RESERVE);
        let file = storage.open(&path, Access::Create, self.env.mode)?;
        if file.len()? < FILE {
            file.allocate(FILE)?;
            file.sync()?;
        }
        if self.block.limit() == 0 {
            // The first in this life: who made the file may have died before its name was on disk,
            // and without it a power loss would not even be noticed (P4).
            storage.sync_dir(&self.folder)?;
        }
        Ok(file)
    }

    /// What the file says; `None` if there is no file or it never held a whole slot.
    pub(super) fn read_reserve(&self) -> Result<Option<Reserve>> {
        let path = self.folder.join(names::RESERVE);
        if !self.env.storage.exists(&path)? {
            return Ok(None);
        }
        let file = self.env.storage.open(&path, Access::Read, 0)?;
        if file.len()? < FILE {
            Ok(None)
        } else {
            Ok(self.newest(&*file)?.0)
        }
    }

    /// In a log without segments the base of the one that was there, with which all that was in it
    /// is missing (P3); `NONE` if there was none.
    pub(super) fn missing(&self) -> Result<u64> {
        Ok(self
            .read_reserve()?
            .map_or(NONE, |reserve| reserve.mark_segment))
    }

    /// The slot that counts, and which one it is. An error if it is of another partition: its limit
    /// and its mark say nothing of this log, and offsets would be used twice (P4).
    fn newest(&self, file: &dyn File) -> Result<(Option<Reserve>, usize)> {
        let (found, slot) = newest(file)?;
        if found.is_none_or(|reserve| reserve.is_of(self.topic, self.number)) {
            return Ok((found, slot));
        }
        let message = format!(
            "{} is the one of another partition; expected that of partition {}; put the right file \
             back, or copy the store with `libqueue recover`",
            self.folder.join(names::RESERVE).display(),
            self.number
        );
        Err(Error::new(ErrorKind::Damaged, message))
    }
}

fn newest(file: &dyn File) -> Result<(Option<Reserve>, usize)> {
    let mut found: [Option<Reserve>; 2] = [None, None];
    for (slot, at) in SLOTS.into_iter().enumerate() {
        let mut bytes = [0; SLOT];
        file.read_at(&mut bytes, at)?;
        found[slot] = Reserve::decode(&bytes);
    }
    let generation = |slot: usize| found[slot].map_or(0, |reserve| reserve.generation);
    let slot = usize::from(generation(1) > generation(0));
    Ok((found[slot], slot))
}
