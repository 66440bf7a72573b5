//! The next segment: prepared ahead as a file named `next`, given its name at the roll.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::append::STEP;
use super::{Partition, Room, Segment};
use crate::error::Result;
use crate::format::checksum::crc32;
use crate::format::names;
use crate::format::record::{ALIGN, END, HEADER, Header, PADDING};
use crate::format::segment::{RECORDS, SIZE_MAX, SIZE_MIN, SegmentHeader};
use crate::format::sums::{self, Sums};
use crate::storage::{Access, File};

impl Partition {
    /// Makes room for `bytes`: seals the active segment and goes on in a new one.
    ///
    /// Everything slow happens under the slow lock alone. Its holder may die anywhere: a `next`
    /// left behind is used or replaced; the roll of a segment that got its name but was not made
    /// active is finished by whoever repairs (`pass_on`).
    pub(super) fn roll(&self, bytes: u64, room: Room) -> Result<()> {
        let _slow = self.hold_slow()?;
        if self.has_room(bytes)? {
            return Ok(());
        }
        self.go_on_in(self.next_file(bytes, room, SIZE_MAX)?)
    }

    /// With the slow lock held: seals the active segment and goes on in this file.
    pub(super) fn go_on_in(&self, (capacity, file): (u64, Arc<dyn File>)) -> Result<()> {
        let env = &*self.env;
        let path = self.folder.join(names::NEXT_SEGMENT);
        // Counted before the lock, where it has to be counted; under it, only what came since.
        if self.sums_of_next()?.is_none() {
            self.say_sums_again()?;
        }
        let mut held = self.lock()?;
        env.check_fence()?;
        let old = self.block.segment();
        if old == self.block.next_offset() {
            self.give_up_offset(old)?;
        }
        let base = self.block.next_offset();
        let header = SegmentHeader {
            salt: salt(base),
            base,
            topic: self.topic,
            partition: self.number,
            capacity,
            life: 0,
        };
        // Header before name, name before END, END before the block: each step can be told done.
        // The first length word is zeroed with it: a file whose earlier name a power loss took
        // holds records. What can fail for want of descriptors fails before there is a name.
        let mut bytes = vec![0; RECORDS + ALIGN];
        let encoded = header.encode();
        bytes[..encoded.len()].copy_from_slice(&encoded);
        let sums = self
            .sums_of_next()?
            .unwrap_or_else(|| Sums::beginning(base));
        bytes[sums::FIRST..sums::END].copy_from_slice(&sums.encode(header.salt));
        file.write_at(&bytes, 0)?;
        let named = self.folder.join(names::segment(base));
        let map = self.take_ahead(&*file)?;
        let segment = Segment::of(file, map, header, &named)?;
        let old = self.segment(old)?;
        env.storage.rename(&path, &named)?;
        self.forget(base);
        self.remember(&segment);
        if let Some(old) = old {
            let at = self.block.position();
            self.block.set_sealed(old.base(), at);
            mark(&old, at, END, base, self.block.last_timestamp())?;
        }
        self.block.set_segment(base, RECORDS as u64);
        let local = self.local.with(&mut held);
        (local.active, local.mark) = (Some(segment), STEP);
        drop(held);
        // The one after it, before it is needed.
        (env.nudge)();
        Ok(())
    }

    fn has_room(&self, bytes: u64) -> Result<bool> {
        // Repaired first. Under the slow lock nobody else rolls, so it stays the active one.
        drop(self.lock()?);
        let base = self.block.segment();
        let active = self.segment(base)?;
        let _held = self.lock()?;
        let end = self.block.position() + bytes + (HEADER + ALIGN) as u64;
        let same = base == self.block.segment();
        Ok(active.is_some_and(|segment| same && end <= segment.capacity()))
    }

    /// Nothing was appended to the active segment, and it is too small. Its file cannot be replaced
    /// under its name: others have it mapped and would append to a file that nobody finds. So one
    /// offset is passed over, and the next segment has a name of its own.
    fn give_up_offset(&self, active: u64) -> Result<()> {
        let Some(segment) = self.segment(active)? else {
            return Ok(());
        };
        let (at, last) = (self.block.position(), self.block.last_timestamp());
        let behind = usize::try_from(at)
            .unwrap_or(usize::MAX)
            .saturating_add(HEADER);
        // Before it is published: what an append that died left would be taken for a header.
        segment.map().store_u32(behind, 0, Ordering::Relaxed);
        mark(&segment, at, PADDING, active, last)?;
        // A death from here on: `repair` walks over the record.
        self.block
            .set_tail(active, active + 1, at + HEADER as u64, last);
        Ok(())
    }

    /// The prepared file if it is large enough, else a new one with real blocks (P5: a full disk is
    /// met here, before anything relies on the space). One that is made has `most` bytes at most,
    /// unless they are needed.
    pub(super) fn next_file(
        &self,
        bytes: u64,
        room: Room,
        most: u64,
    ) -> Result<(u64, Arc<dyn File>)> {
        let storage = &*self.env.storage;
        let path = self.folder.join(names::NEXT_SEGMENT);
        let least = (RECORDS as u64 + bytes + (HEADER + ALIGN) as u64).next_multiple_of(4096);
        if storage.exists(&path)? {
            let file = storage.open(&path, Access::ReadWrite, 0)?;
            let len = file.len()?;
            // One that was prepared for many messages is too large where few are to come.
            if len >= least && len >= SIZE_MIN && len <= most.max(least) {
                return Ok((len, file));
            }
            storage.unlink(&path)?;
        }
        if room == Room::Ordinary {
            (self.env.may_take_room)(storage)?;
        }
        let active = self
            .segment(self.block.segment())?
            .map_or(0, |s| s.capacity());
        let most = most.min(self.segment_max.load(Ordering::Relaxed));
        let most = most.clamp(SIZE_MIN, SIZE_MAX);
        let mut capacity = least.max(active.saturating_mul(2).clamp(SIZE_MIN, most));
        if room == Room::Ordinary && self.check_free(capacity).is_err() {
            // A small one may fit where a large one does not.
            capacity = least.max(SIZE_MIN);
            self.check_free(capacity)?;
        }
        let file = storage.open(&path, Access::CreateNew, self.env.mode)?;
        let allocated = match file.allocate(capacity) {
            // A disk that has no room for a large segment may have some for a small one.
            Err(_) if capacity > least.max(SIZE_MIN) => file.allocate(least.max(SIZE_MIN)),
            done => done,
        };
        if let Err(error) = allocated {
            storage.unlink(&path)?;
            return Err(error);
        }
        Ok((file.len()?, file))
    }
}

/// Publishes a record without a body: END, which closes the segment and names the next one, or
/// PADDING.
pub(super) fn mark(
    segment: &Segment,
    position: u64,
    kind: u8,
    offset: u64,
    timestamp_ns: i64,
) -> Result<()> {
    let header = Header {
        offset,
        timestamp_ns,
        kind,
        ..Header::default()
    };
    if kind == PADDING {
        segment.note_gap();
    }
    let bytes = header.encode(HEADER as u32, segment.salt(), crc32(b""));
    let (map, at) = (segment.map(), position as usize);
    let written = map
        .copy_in(at + 4, &bytes[4..])
        .and_then(|()| map.store_u32(at, HEADER as u32, Ordering::Release));
    written.ok_or_else(|| segment.damage(position, "no room here to close the segment"))
}

/// A number that no earlier life of the file had, as far as chance goes.
fn salt(base: u64) -> u32 {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.map_or(0, |since| since.as_nanos() as u64);
    let mut mixed = now ^ base.rotate_left(32) ^ u64::from(std::process::id()) << 20;
    mixed = (mixed ^ u64::from(count)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> 32) as u32 | 1
}
