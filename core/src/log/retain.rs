//! Retention: which sealed segments could go, and removing them.
//!
//! Offsets below FIRST_KEPT of the block were taken, whatever is left of their segments: who reads
//! goes by it from the moment it is raised, and so does who lists segments, or syncs. Then it is
//! written into `reserve`, the ledger, by nobody else but who begins a pass of compaction, and only
//! then are files unlinked, the oldest first. A death, or a power loss, at any place leaves
//! segments that the ledger names, which nobody looks into and the next one removes, or that it
//! does not name, which are as they were. Nothing is truncated or overwritten: who has a segment
//! mapped keeps its bytes.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use super::block::Block;
use super::cursor::Cursor;
use super::segment::{Found, Segment};
use super::{NONE, Partition, Room};
use crate::error::{Error, ErrorKind, Result};
use crate::format::names;
use crate::format::record::{self, END, MESSAGE, PADDING};
use crate::format::reserve::taken_by;
use crate::format::segment::{RECORDS, SIZE_MIN};
use crate::shm::{OwnerLock, Region};
use crate::storage::Access;

/// A segment that nothing is appended to any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// Its first offset.
    pub base: u64,
    /// The first offset of the next segment.
    pub end: u64,
}

/// One look at a partition's words: whether there may be sealed segments, or messages in the active
/// one of which the last is as old as `before`.
pub fn may_have_sealed(words: &Region, before: Option<i64>) -> bool {
    let block = Block(words.clone());
    let active = block.segment();
    if !block.recovered() || active == NONE {
        return false;
    }
    let aged = before.is_some_and(|before| block.last_timestamp() <= before);
    block.removed() < active || (aged && block.next_offset() > active)
}

impl Partition {
    /// Offsets below this one were taken by retention.
    #[inline]
    pub fn first_kept(&self) -> u64 {
        self.block.first_kept()
    }

    /// The error of who asks for an offset that was taken.
    #[inline]
    pub fn removed_before(&self, offset: u64) -> Option<Error> {
        let first = self.first_kept();
        (offset < first).then(|| self.removed(offset, first))
    }

    #[cold]
    fn removed(&self, offset: u64, first: u64) -> Error {
        let message = format!(
            "{}: retention took the messages up to offset {}, and offset {offset} with them; the \
             earliest that may be kept is {first}",
            self.folder.display(),
            first - 1
        );
        Error::new(ErrorKind::Removed, message)
    }

    /// Where to go on behind what was taken at the cursor, and the error that tells of it.
    pub(super) fn skip_taken(&self, cursor: &Cursor) -> Option<(Cursor, Error)> {
        let error = self.removed_before(cursor.offset)?;
        Some((Cursor::at_offset(self.first_kept()), error))
    }

    /// Takes from the file what was taken of the log: a store that is only read has a block of its
    /// own, which nobody else raises.
    #[cold]
    pub(super) fn learn_taken(&self) -> Result<()> {
        if let Some(reserve) = self.read_reserve()? {
            self.block.raise_first_kept(taken_by(&reserve));
        }
        Ok(())
    }

    /// Drops what was mapped of what was taken: the disk gets the room back once the last one that
    /// looks at it is done.
    pub(super) fn forget_taken(&self) {
        let first = self.first_kept();
        let taken = |known: &BTreeMap<u64, Arc<Segment>>| {
            let oldest = known.first_key_value();
            oldest.is_some_and(|(base, _)| *base < first)
        };
        let known = self.segments.read().unwrap_or_else(PoisonError::into_inner);
        if !taken(&known) {
            return;
        }
        drop(known);
        let mut known = self
            .segments
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let kept = known.split_off(&first);
        let gone = std::mem::replace(&mut *known, kept);
        // Unmapping takes long: not while others wait.
        drop(known);
        drop(gone);
    }

    /// Segments that are made from here on have this many bytes at most, where that will do.
    pub fn set_segment_max(&self, bytes: u64) {
        self.segment_max.store(bytes, Ordering::Relaxed);
    }

    /// The segments that could go, the oldest first: not the active one, nor any that somebody may
    /// still be copying into. Those that were taken and are still there are among them.
    pub fn sealed(&self) -> Result<Vec<Sealed>> {
        let active = self.block.segment();
        if !self.block.recovered() || active == NONE {
            return Ok(Vec::new());
        }
        // After the active one: who copies there begins with its base.
        let copied = self.block.large().map_or(active, |(base, _, _)| base);
        let mut bases = self.all_bases()?;
        bases.retain(|base| *base <= active.min(copied));
        if copied == active && bases == [active] {
            // Until the next roll nobody need look.
            self.block.raise_removed(active);
        }
        let pairs = bases.windows(2);
        Ok(pairs
            .map(|pair| Sealed {
                base: pair[0],
                end: pair[1],
            })
            .collect())
    }

    /// Bytes of a segment's file; 0 where it is gone.
    pub fn file_bytes(&self, base: u64) -> Result<u64> {
        let path = self.folder.join(names::segment(base));
        match self.env.storage.open(&path, Access::Read, 0) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
            file => file?.len(),
        }
    }

    /// Bytes of the active segment's file.
    pub fn active_bytes(&self) -> Result<u64> {
        match self.block.segment() {
            NONE => Ok(0),
            active => self.file_bytes(active),
        }
    }

    /// The timestamp of the last record of a sealed segment, or of one soon after it where nothing
    /// in it can be read. They never fall within a partition.
    pub fn last_timestamp_of(&self, sealed: Sealed) -> Result<i64> {
        let segment = self.usable(sealed.base)?;
        if let Some(last) = segment.and_then(|segment| self.last_timestamp_in(&segment)) {
            return Ok(last);
        }
        match self.first_timestamp_of(sealed.end)? {
            Some(next) => Ok(next),
            None if sealed.end == self.block.segment() => Ok(self.block.last_timestamp()),
            None => Ok(i64::MAX),
        }
    }

    fn last_timestamp_in(&self, segment: &Segment) -> Option<i64> {
        let mut position = self.begin_in(segment, |_| false);
        while let Found::Record(header, length) = segment.at(position) {
            if header.kind == END {
                return Some(header.timestamp_ns);
            }
            position += record::padded(u64::from(length));
        }
        None
    }

    /// The timestamp of a segment's first record, if that is a message, or stands for some that
    /// compaction took.
    pub fn first_timestamp_of(&self, base: u64) -> Result<Option<i64>> {
        let Some(segment) = self.usable(base)? else {
            return Ok(None);
        };
        Ok(match segment.at(RECORDS as u64) {
            Found::Record(header, _)
                if header.kind == MESSAGE || (header.kind == PADDING && segment.life() > 0) =>
            {
                Some(header.timestamp_ns)
            }
            _ => None,
        })
    }

    /// Whether the last record of a sealed segment is as old as `before`. The first records of it
    /// and of the next one tell as a rule, so that it is walked through only after a pause.
    pub fn is_older(&self, sealed: Sealed, before: i64) -> Result<bool> {
        if self
            .first_timestamp_of(sealed.base)?
            .is_some_and(|first| first > before)
        {
            return Ok(false);
        }
        if self
            .first_timestamp_of(sealed.end)?
            .is_some_and(|next| next <= before)
        {
            return Ok(true);
        }
        Ok(self.last_timestamp_of(sealed)? <= before)
    }

    /// Seals the active segment if there is a message in it, and none that is younger than
    /// `before`: what is seldom sent goes in its time as well. The next segment is as small as any,
    /// and is not sealed before something is sent, so that this costs little (P19).
    pub fn seal_older(&self, before: i64) -> Result<bool> {
        let active = self.block.segment();
        let aged = || {
            active == self.block.segment()
                && self.block.last_timestamp() <= before
                && self.next_offset() > active
                && self.block.large().is_none()
                && !self.block.poisoned()
        };
        if !self.block.recovered() || active == NONE || !aged() {
            return Ok(false);
        }
        let env = &*self.env;
        let slow = self.block.slow_lock();
        let (live, slept) = (&*env.live, |time| self.block.count_wait(time));
        let (_slow, _) = OwnerLock::hold_told(slow, env.me, live, env.lock_timeout, &slept)?;
        // What is sent from here on may still get into the old one, and then keeps it.
        drop(self.lock()?);
        if !aged() {
            return Ok(false);
        }
        self.go_on_in(self.next_file(0, Room::Ordinary, SIZE_MIN)?)?;
        Ok(true)
    }

    /// Whether all below this offset, the base of a segment, is on disk, and a recovery begins
    /// there or later; it is put there first.
    pub fn mark_behind(&self, first: u64) -> Result<bool> {
        let is_behind = || !matches!(self.block.mark().0, base if base == NONE || base < first);
        if !is_behind() {
            self.sync()?;
        }
        Ok(is_behind())
    }

    /// Offsets below this one, the base of a segment, count as taken from here on, for all.
    pub fn take_below(&self, first: u64) {
        self.block.raise_first_kept(first);
    }

    /// Whether offsets count as taken that a new life would have again.
    pub(super) fn hides_what_may_come_back(&self) -> Result<bool> {
        let said = self.read_reserve()?;
        Ok(self.first_kept() > said.as_ref().map_or(0, taken_by))
    }

    /// Removes the segments below this offset, the base of one that stays, which `take_below` was
    /// told of, with their indexes; how many bytes they had. What any group says of the messages in
    /// them is to be on disk before. By one at a time.
    pub fn remove_below(&self, first: u64) -> Result<u64> {
        let mut bases = self.all_bases()?;
        if first > self.block.segment() || !bases.contains(&first) {
            return Ok(0);
        }
        bases.retain(|base| *base < first);
        if bases.is_empty() {
            return Ok(0);
        }
        // What a recovery would begin in does not go.
        if !self.mark_behind(first)? {
            return Ok(0);
        }
        let env = &*self.env;
        let slow = self.block.slow_lock();
        let (live, slept) = (&*env.live, |time| self.block.count_wait(time));
        let (held, _) = OwnerLock::hold_told(slow, env.me, live, env.lock_timeout, &slept)?;
        env.check_fence()?;
        if self.block.limit() == 0 {
            // The first in this life that writes it.
            self.raise(0)?;
        }
        self.take_in_reserve(self.block.limit(), first)?;
        let written = self.read_reserve()?;
        drop(held);
        if written
            .as_ref()
            .is_none_or(|ledger| taken_by(ledger) < first)
        {
            // It begins where it did for the sake of transactions that are not on disk yet (P8):
            // another time.
            return Ok(0);
        }
        let mut bytes = 0;
        for base in bases {
            env.check_fence()?;
            self.forget(base);
            bytes += self.file_bytes(base)?;
            self.unlink(&names::segment(base))?;
            self.unlink(&names::index(base))?;
        }
        // Of members that died while they wrote an index of what is gone; one that writes it now
        // finds its file gone, and leaves it. Who dies before this leaves them to the next time.
        for name in env.storage.list(&self.folder)? {
            if names::parse_unfinished_index(&name).is_some_and(|base| base < first) {
                self.unlink(&name)?;
            }
        }
        env.storage.sync_dir(&self.folder)?;
        Ok(bytes)
    }

    fn unlink(&self, name: &str) -> Result<()> {
        match self.env.storage.unlink(&self.folder.join(name)) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }
}
