//! What compaction means for who reads: mappings of files that were replaced, places in them, and
//! what is remembered of it.
//!
//! A compacted segment has the name, the base, the salt and the end of the one before, and another
//! life; its records stand elsewhere. Who has the old file mapped keeps its bytes. A place is of
//! one life: a cursor says of which (`read.rs`), and one of another life is looked up anew by its
//! offset. COMPACTED of the block counts what was put in place. Who enters a segment, or looks for
//! a place, compares it first, and maps anew where it was raised: so nobody comes upon the old file
//! of a segment by a cursor that others set in the new one.
//!
//! Groups are not there: a segment is put in its place only while each group's floor is behind it,
//! with the lock held that who moves a group back, or makes one, has to take.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use super::block::Block;
use super::cursor::Cursor;
use super::read::{Place, Step};
use super::record::Record;
use super::segment::{Found, Segment};
use super::{NONE, Partition};
use crate::error::{ErrorKind, Result};
use crate::format::compacted::Compacted;
use crate::format::names;
use crate::format::record::MESSAGE;
use crate::format::reserve::owner;
use crate::format::segment::RECORDS;
use crate::shm::Region;
use crate::storage::{Access, replace_file};

/// More than the file ever has.
const FILE_MAX: u64 = 4096;

impl Partition {
    /// Whether a segment was compacted since mappings were dropped for it.
    #[inline]
    fn has_compacted(&self) -> bool {
        self.block.compacted() != self.compacted_seen.load(Ordering::Acquire)
    }

    /// The mapped segment of a cursor. `None` also where that enters it, and it may have been
    /// compacted: then `resolve` maps it anew.
    #[inline]
    pub(super) fn mapped_at(&self, cursor: &Cursor) -> Option<Arc<Segment>> {
        if cursor.position == RECORDS as u64 && self.has_compacted() {
            return None;
        }
        self.mapped(cursor.segment)
    }

    /// How many segments were put in the place of others so far.
    pub(super) fn compacted_count(&self) -> u64 {
        self.block.compacted()
    }

    /// Drops what is mapped of closed segments if any was compacted since; whether it did. Who
    /// still reads one keeps it.
    pub(super) fn drop_compacted(&self) -> bool {
        if !self.has_compacted() {
            return false;
        }
        let (count, active) = (self.block.compacted(), self.block.segment());
        let mut known = self
            .segments
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let kept = match active {
            NONE => std::collections::BTreeMap::new(),
            active => known.split_off(&active),
        };
        let dropped = std::mem::replace(&mut *known, kept);
        // Before others find the mappings gone, and after they are: with the count nobody finds
        // an old one.
        self.compacted_seen.store(count, Ordering::Release);
        drop(known);
        // Unmapping takes long: not while others wait.
        drop(dropped);
        true
    }

    /// Tells all who have the partition open that a segment may have been compacted.
    pub(super) fn tell_compacted(&self) {
        self.block.count_compacted();
    }

    /// The same where only the partition's words are known.
    pub fn tell_compacted_in(words: &Region) {
        Block(words.clone()).count_compacted();
    }

    /// The record of an offset that does not stand where it was seen: the place was of another life
    /// of the segment. `None` where no segment there was compacted.
    #[cold]
    pub(super) fn record_moved(&self, offset: u64) -> Result<Option<Record>> {
        let segment = self.segment_of(offset)?;
        // What is mapped here may be the old file still, and the place one in the new.
        if segment.life() == 0 && self.block.compacted() == 0 {
            return Ok(None);
        }
        let mut cursor = Cursor::at_offset(offset);
        if self.resolve(&mut cursor)? != Place::Mapped {
            return Ok(None);
        }
        let found = match self.step(&mut cursor) {
            Step::Record {
                offset: at,
                position,
                ..
            } if at == offset => position,
            _ => return Ok(None),
        };
        let segment = self.segment_of(offset)?;
        match segment.at(found) {
            Found::Record(header, length)
                if (header.offset, header.kind) == (offset, MESSAGE)
                    && segment.whole(found, length) =>
            {
                Ok(Some(Record::new(segment, found, &header)))
            }
            _ => Ok(None),
        }
    }

    /// Up to where the partition is compacted, and what that took. Where the file is gone, damaged
    /// or another one's: nothing yet.
    pub fn compacted(&self) -> Result<Compacted> {
        let path = self.folder.join(names::COMPACTED);
        let file = match self.env.storage.open(&path, Access::Read, 0) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Compacted::default()),
            file => file?,
        };
        let mut bytes = vec![0; file.len()?.min(FILE_MAX) as usize];
        file.read_at(&mut bytes, 0)?;
        Ok(Compacted::decode(&bytes, owner(self.topic, self.number)).unwrap_or_default())
    }

    /// Remembers it. A death before leaves what was: segments are looked at once more, and what was
    /// taken from one of them may not be counted.
    pub(super) fn remember_compacted(&self, said: &Compacted) -> Result<()> {
        let text = said.encode(owner(self.topic, self.number));
        let path = self.folder.join(names::COMPACTED);
        replace_file(&*self.env.storage, &path, text.as_bytes(), self.env.mode)
    }
}
