//! One pass of compaction over a partition: of each key the last message is kept.
//!
//! First it learns which offset is the last of each key, from where the log is not compacted yet.
//! Then it goes through all segments, the oldest first: one of which something goes is written
//! anew, beside the old one, with the same records at the same offsets, PADDING for each run of
//! those that go, and the same END; it is synced, and takes the old one's name. The folder is
//! synced before the next one is put in its place: what a tombstone ends is gone on disk before the
//! tombstone is.
//!
//! A death or a power loss at any place leaves the old file or the new one, both whole, and at most
//! a file under a temporary name, which the next pass removes. What only a pass knows is lost with
//! it: the next one begins anew where `compacted` says.
//!
//! It goes in small steps, and holds nothing between them (P10, P17). Its caller holds what each
//! step needs, and sees to it that nobody else is at it.

use std::path::PathBuf;
use std::sync::Arc;

use super::compact_file::{Copied, Fate, Weighed, key_of, whole_at};
use super::cursor::LIFE_MAX;
use super::latest::Latest;
use super::segment::Segment;
use super::{NONE, Partition, Sealed};
use crate::error::{Error, ErrorKind, Result};
use crate::format::compacted::Compacted;
use crate::format::names;
use crate::format::record::{self, ALIGN, END, HEADER, Header, MESSAGE, PADDING};
use crate::format::segment::{RECORDS, SegmentHeader};
use crate::storage::Access;

/// Bytes of records that are looked at in one step.
const STEP: u64 = 256 << 10;
/// Files have whole pages.
const PAGE: u64 = 4096;

/// What a pass needs for its next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing: [`Pass::work`].
    Work,
    /// The lock of who makes and removes files: [`Pass::make`].
    Make,
    /// That lock, and that no group has anything to settle below this offset: [`Pass::put`].
    Put(u64),
    /// The lock of who makes and removes files: [`Pass::end`].
    End,
    /// It is done.
    Nothing,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    /// Learning keys in the segment with this number, from a position on.
    Learn(usize, u64),
    /// Looking how much of one goes.
    Weigh(usize, u64),
    Make(usize),
    Copy(usize, u64),
    Put(usize),
    End,
    Nothing,
}

/// A pass over a partition.
pub struct Pass {
    log: Arc<Partition>,
    segments: Vec<Sealed>,
    said: Compacted,
    /// Up to where the last offsets of keys are known.
    reach: u64,
    /// Tombstones that were sent at this time, or before, go.
    tombstones: i64,
    latest: Latest,
    at: At,
    /// Whether all segments so far could be read: else nothing that a tombstone ends may be gone.
    intact: bool,
    weighed: Weighed,
    copied: Option<Copied>,
}

impl Partition {
    /// Begins a pass over the segments that end at an offset or before: all groups settled what is
    /// in them, and on disk. Tombstones that were sent at a time, or before, go. Of so many keys
    /// the last offsets are known at once. `None` where there is nothing to look at.
    ///
    /// What a recovery would begin in stays as it is, and its mark in it: so everything up to there
    /// is put on disk, and the reserve says so, first.
    pub fn begin_pass(
        self: &Arc<Self>,
        bound: u64,
        tombstones: i64,
        keys: usize,
    ) -> Result<Option<Pass>> {
        if self.compactable(bound)?.is_empty() {
            return Ok(None);
        }
        let marked = || match self.block.mark().0 {
            NONE => 0,
            base => base,
        };
        if marked() < bound {
            self.sync()?;
        }
        let bound = bound.min(marked());
        let env = &*self.env;
        let held = self.hold_slow()?;
        env.check_fence()?;
        if self.block.limit() == 0 {
            // The first in this life that writes it.
            self.raise(0)?;
        }
        // What retention hides is not looked at, and is not to come back when its end is gone.
        let hidden = Some(self.first_kept()).filter(|first| *first <= bound);
        self.take_in_reserve(self.block.limit(), hidden.unwrap_or(0))?;
        // Where transactions are not on disk yet it begins where it did for their sake (P8).
        let begins = match self.read_reserve()? {
            Some(reserve) if reserve.mark_segment != NONE => reserve.mark_segment,
            _ => 0,
        };
        drop(held);
        let segments = self.compactable(bound.min(begins))?;
        let Some(last) = segments.last() else {
            return Ok(None);
        };
        let said = self.compacted()?;
        let dirty = segments.iter().position(|one| one.end > said.below);
        let reach = last.end;
        Ok(Some(Pass {
            log: self.clone(),
            said: Compacted {
                below: said.below.min(reach),
                ..said
            },
            reach,
            tombstones,
            latest: Latest::new(keys),
            at: match dirty {
                Some(first) => At::Learn(first, RECORDS as u64),
                None => At::Weigh(0, RECORDS as u64),
            },
            segments,
            intact: true,
            weighed: Weighed::default(),
            copied: None,
        }))
    }
}

impl Pass {
    /// What is needed for the next step.
    #[must_use]
    pub fn next(&self) -> Next {
        match self.at {
            At::Learn(..) | At::Weigh(..) | At::Copy(..) => Next::Work,
            At::Make(_) => Next::Make,
            At::Put(number) => Next::Put(self.segments[number].end),
            At::End => Next::End,
            At::Nothing => Next::Nothing,
        }
    }

    /// The partition.
    #[must_use]
    pub fn log(&self) -> &Arc<Partition> {
        &self.log
    }

    /// Whether there were more keys than it could know: another pass goes on.
    #[must_use]
    pub fn is_short(&self) -> bool {
        self.segments.last().is_some_and(|one| one.end > self.reach)
    }

    /// One step, with nothing held.
    pub fn work(&mut self) -> Result<()> {
        self.log.env.check_fence()?;
        match self.at {
            At::Learn(number, position) => self.learn(number, position),
            At::Weigh(number, position) => self.weigh(number, position),
            At::Copy(number, position) => self.copy(number, position),
            At::Make(_) | At::Put(_) | At::End | At::Nothing => Ok(()),
        }
    }

    /// The segment with this number, if it is there and can be read.
    fn segment(&self, number: usize) -> Result<Option<Arc<Segment>>> {
        let base = self.segments[number].base;
        // What an earlier pass put in its place, not what was mapped before.
        self.log.drop_compacted();
        match base < self.log.first_kept() {
            // Retention took it meanwhile.
            true => Ok(None),
            false => self.log.usable(base),
        }
    }

    fn learn(&mut self, number: usize, mut position: u64) -> Result<()> {
        let until = position + STEP;
        let next = match number + 1 < self.segments.len() {
            true => At::Learn(number + 1, RECORDS as u64),
            false => At::Weigh(0, RECORDS as u64),
        };
        let Some(segment) = self.segment(number)? else {
            self.at = next;
            return Ok(());
        };
        while position < until {
            let Some((header, length)) = whole_at(&segment, position) else {
                // What is behind damage ends nothing.
                self.at = next;
                return Ok(());
            };
            if header.kind == END {
                self.at = next;
                return Ok(());
            }
            if header.kind == MESSAGE
                && header.offset >= self.said.below
                && let Some(key) = key_of(&segment, position, &header)
                && !self.latest.learn(key, header.offset)
            {
                self.reach = header.offset;
                self.at = At::Weigh(0, RECORDS as u64);
                return Ok(());
            }
            position += record::padded(u64::from(length));
        }
        self.at = At::Learn(number, position);
        Ok(())
    }

    fn weigh(&mut self, number: usize, mut position: u64) -> Result<()> {
        let begun = position == RECORDS as u64;
        if number >= self.segments.len() || self.segments[number].base >= self.reach {
            self.at = At::End;
            return Ok(());
        }
        if begun {
            self.weighed = Weighed::default();
        }
        let next = At::Weigh(number + 1, RECORDS as u64);
        let segment = self.segment(number)?;
        let Some(segment) = segment.filter(|one| one.life() < LIFE_MAX) else {
            (self.at, self.intact) = (next, false);
            return Ok(());
        };
        let until = position + STEP;
        while position < until {
            let Some((header, length)) = whole_at(&segment, position) else {
                // It stays as it is, for whoever copies it out (P3).
                (self.at, self.intact) = (next, false);
                return Ok(());
            };
            if header.kind == END {
                self.at = match self.weighed.messages {
                    0 => next,
                    _ => At::Make(number),
                };
                return Ok(());
            }
            let (fate, bytes) = (
                self.fate(&segment, position, &header),
                record::padded(u64::from(length)),
            );
            self.weighed.add(fate, bytes);
            position += bytes;
        }
        self.at = At::Weigh(number, position);
        Ok(())
    }

    fn fate(&self, segment: &Segment, position: u64, header: &Header) -> Fate {
        if header.kind == PADDING {
            return Fate::Passed;
        }
        let Some(key) = key_of(segment, position, header) else {
            return Fate::Kept;
        };
        let ended = header.payload_len == 0
            && self.intact
            && header.offset < self.reach
            && header.timestamp_ns <= self.tombstones;
        match ended || self.latest.has_later(key, header.offset) {
            true => Fate::Goes,
            false => Fate::Kept,
        }
    }

    fn temporary(&self, number: usize) -> PathBuf {
        let name = names::rewritten(self.segments[number].base);
        self.log.folder.join(name)
    }

    /// Makes the file that a segment is written to, with all its room: a full disk is met here, and
    /// leaves what there is (P5). With the lock of who makes and removes files.
    pub fn make(&mut self) -> Result<()> {
        let At::Make(number) = self.at else {
            return Ok(());
        };
        let env = &*self.log.env;
        env.check_fence()?;
        self.log.remove_rewritten()?;
        let Some(segment) = self.segment(number)? else {
            self.at = At::Weigh(number + 1, RECORDS as u64);
            return Ok(());
        };
        let records = self.weighed.kept + (HEADER + ALIGN) as u64;
        let capacity = (RECORDS as u64 + records).next_multiple_of(PAGE);
        (env.may_take_room)(&*env.storage)?;
        self.log.check_free(capacity)?;
        let path = self.temporary(number);
        let file = env.storage.open(&path, Access::CreateNew, env.mode)?;
        if let Err(error) = file.allocate(capacity) {
            let _ = env.storage.unlink(&path);
            return Err(error);
        }
        let header = SegmentHeader {
            capacity,
            life: segment.life() + 1,
            ..segment.header()
        };
        self.copied = Some(Copied::new(file, header, segment.sums()));
        self.at = At::Copy(number, RECORDS as u64);
        Ok(())
    }

    fn copy(&mut self, number: usize, mut position: u64) -> Result<()> {
        let (segment, copied) = (self.segment(number)?, self.copied.take());
        let (Some(segment), Some(mut copied)) = (segment, copied) else {
            self.at = At::Weigh(number + 1, RECORDS as u64);
            return Ok(());
        };
        if segment.life() + 1 != copied.header.life {
            return Err(self.overtaken(number));
        }
        let until = position + STEP;
        while position < until {
            let Some((header, length)) = whole_at(&segment, position) else {
                // It was whole a moment ago.
                return Err(segment.damage(position, "these bytes changed while they were copied"));
            };
            let bytes = record::padded(u64::from(length));
            let fate = match header.kind {
                END => Fate::Kept,
                _ => self.fate(&segment, position, &header),
            };
            match fate {
                Fate::Kept => {
                    let whole = segment.map().bytes(position as usize, length as usize);
                    let (whole, bytes) = (whole.unwrap_or_default(), bytes as usize);
                    match header.kind {
                        MESSAGE => copied.keep_message(whole, bytes)?,
                        _ => copied.keep(whole, bytes)?,
                    }
                }
                Fate::Goes | Fate::Passed => {
                    let last = copied.run.map_or(header.timestamp_ns, |run| run.1);
                    copied.run = Some((header.offset, header.timestamp_ns.max(last)));
                }
            }
            position += bytes;
            if header.kind == END {
                copied.finish()?;
                self.copied = Some(copied);
                self.at = At::Put(number);
                return Ok(());
            }
        }
        self.copied = Some(copied);
        self.at = At::Copy(number, position);
        Ok(())
    }

    #[cold]
    fn overtaken(&self, number: usize) -> Error {
        let path = (self.log.folder).join(names::segment(self.segments[number].base));
        let message = format!(
            "{} was compacted by another process meanwhile, or retention is about to take what is \
             before it; this pass is given up",
            path.display()
        );
        Error::new(ErrorKind::Busy, message)
    }

    /// Puts the new file in the place of the old one, on disk before anything else is done. With
    /// the lock of who makes and removes files, and that of who creates, and no group that has
    /// anything to settle in it.
    pub fn put(&mut self) -> Result<()> {
        let At::Put(number) = self.at else {
            return Ok(());
        };
        let (log, env) = (&*self.log, &*self.log.env);
        env.check_fence()?;
        if log.hides_what_may_come_back()? {
            return Err(self.overtaken(number));
        }
        let base = self.segments[number].base;
        let path = log.folder.join(names::segment(base));
        let life = self.copied.take().map_or(0, |copied| copied.header.life);
        if base < log.first_kept() || !env.storage.exists(&path)? {
            env.storage.unlink(&self.temporary(number))?;
            self.at = At::Weigh(number + 1, RECORDS as u64);
            return Ok(());
        }
        let now = Segment::open(&*env.storage, &path, log.topic, log.number, base)?;
        if now.life() + 1 != life {
            return Err(self.overtaken(number));
        }
        env.storage.rename(&self.temporary(number), &path)?;
        // A death in between: who takes the lock of who creates over tells instead.
        log.tell_compacted();
        env.storage.sync_dir(&log.folder)?;
        self.said.messages = self.said.messages.saturating_add(self.weighed.messages);
        self.said.bytes = self.said.bytes.saturating_add(self.weighed.bytes);
        self.at = At::Weigh(number + 1, RECORDS as u64);
        Ok(())
    }

    /// Remembers what was taken so far, with the lock of who makes and removes files.
    pub fn count(&self) -> Result<()> {
        self.log.env.check_fence()?;
        self.log.remember_compacted(&self.said)
    }

    /// Remembers up to where there is nothing more to do, with the lock of who makes and removes
    /// files. All before it is on disk.
    pub fn end(&mut self) -> Result<()> {
        if self.at == At::End {
            self.log.env.check_fence()?;
            self.log.remove_rewritten()?;
            self.said.below = self.reach;
            self.log.remember_compacted(&self.said)?;
            self.at = At::Nothing;
        }
        Ok(())
    }

    /// Gives it up, with the lock of who makes and removes files: what was put in its place stays.
    pub fn give_up(&mut self) {
        self.copied = None;
        // What is left is the next one's to remove.
        let _ = self.log.remove_rewritten();
        self.at = At::Nothing;
    }
}
