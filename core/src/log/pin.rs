//! The log of a partition at one moment, for who copies it: all segments that are there, mapped, up
//! to an end.
//!
//! A mapping keeps the bytes of a file whose name is gone, so retention, and whoever puts another
//! file in a segment's place, go on as ever. It costs no descriptor: of a store of any size all
//! segments can be held at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::record::Record;
use super::segment::{Found, Segment};
use super::{NONE, Partition};
use crate::error::{Error, ErrorKind, Result};
use crate::format::names;
use crate::format::record::{self, END, Header, MESSAGE, PADDING};
use crate::format::segment::RECORDS;
use crate::shm::Held;
use crate::storage::{Access, File};

/// How long a message may be half taken back for who looks at it.
const TAKING_BACK: Duration = Duration::from_secs(10);
const NAP: Duration = Duration::from_millis(1);

/// A segment that is held.
pub struct PinnedSegment {
    segment: Arc<Segment>,
    /// Device and inode.
    id: (u64, u64),
    /// Bytes of it that belong to the log.
    pub used: u64,
    /// Whether all of it is on disk and nobody ever writes into it again.
    pub sealed: bool,
}

/// A partition's log up to an end.
pub struct Pinned {
    /// By rising offsets.
    pub segments: Vec<PinnedSegment>,
    /// Base of the segment in which it ends; `u64::MAX` for none.
    pub segment: u64,
    /// The end's position in it.
    pub position: u64,
    /// The offset of the next record.
    pub end: u64,
    /// Timestamp of the last record.
    pub timestamp_ns: i64,
    /// Offsets below were taken by retention.
    pub first: u64,
    voids: u64,
    /// Base of the segment before which all was on disk.
    mark: u64,
}

impl Partition {
    /// The log as it is now. Under the lock of those who create, with which retention does not
    /// decide what goes: so all is there from `first` on. Waits for who copies a large batch, so
    /// that all before the end is published.
    pub fn pin(&self) -> Result<Pinned> {
        let large = self.hold_large()?;
        let mut pinned = self.end_with(large)?;
        self.pin_segments(&mut pinned)?;
        Ok(pinned)
    }

    /// As `pin`, without the segments, which are still to be held. `waits`: whether one who copies
    /// is waited for; if not, and one does, `None`.
    pub fn pin_end(&self, waits: bool) -> Result<Option<Pinned>> {
        let large = match waits {
            true => Some(self.hold_large()?),
            false => self.glance_large()?,
        };
        large.map(|large| self.end_with(large)).transpose()
    }

    /// With the lock of large batches, which is given back: nobody copies until the append lock is
    /// had, so what is copied later is behind the end.
    fn end_with(&self, large: Held<'_>) -> Result<Pinned> {
        let held = self.lock()?;
        drop(large);
        let block = &self.block;
        let (segment, position, end) = (block.segment(), block.position(), block.next_offset());
        if segment != NONE && !block.fits_its_tail(segment, position, end) {
            return Err(self.no_such_end());
        }
        let pinned = Pinned {
            segments: Vec::new(),
            segment,
            position,
            end,
            timestamp_ns: block.last_timestamp(),
            first: block.first_kept(),
            voids: block.voids(),
            mark: block.mark().0,
        };
        drop(held);
        Ok(pinned)
    }

    /// Maps all segments up to the end, with the lock of those who create held since that was
    /// taken. As slow as there are many.
    pub fn pin_segments(&self, pinned: &mut Pinned) -> Result<()> {
        let (last, mark) = (pinned.segment, pinned.mark);
        for base in self.bases()? {
            if last == NONE || base > last {
                continue;
            }
            let (found, id) = self.hold_segment(base)?;
            let active = base == last;
            pinned.segments.push(PinnedSegment {
                used: if active {
                    pinned.position
                } else {
                    found.capacity()
                },
                sealed: mark != NONE && base < mark && !active,
                segment: found,
                id,
            });
        }
        Ok(())
    }

    fn hold_segment(&self, base: u64) -> Result<(Arc<Segment>, (u64, u64))> {
        let path = self.folder.join(names::segment(base));
        let file = self.env.storage.open(&path, Access::Read, 0)?;
        let id = file.id()?;
        drop(file);
        let opened = Segment::pinned(&*self.env.storage, &path, self.topic, self.number, base)?;
        Ok((opened, id))
    }

    #[cold]
    fn no_such_end(&self) -> Error {
        let message = format!(
            "{}: control does not say where the log ends, so it is damaged; close the store in all \
             processes, the next open lays control out anew",
            self.folder.display()
        );
        Error::new(ErrorKind::Damaged, message)
    }

    /// As `voids`, once who takes back is done with it.
    pub fn settled_voids(&self) -> Result<u64> {
        // He has the lock until then.
        let _held = self.lock()?;
        Ok(self.block.voids())
    }

    /// Calls `each` with every message of a log that is held. Damage is an error (P3).
    pub fn each_pinned(
        &self,
        pinned: &Pinned,
        each: &mut dyn FnMut(&Record) -> Result<()>,
    ) -> Result<()> {
        let mut bases = pinned.segments.iter().map(|one| one.segment.base());
        bases.next();
        for one in &pinned.segments {
            let segment = &one.segment;
            let mut position = RECORDS as u64;
            while position < one.used {
                let (header, length) = self.whole_record(segment, position, pinned)?;
                match header.kind {
                    MESSAGE => each(&Record::new(segment.clone(), position, &header))?,
                    END => break,
                    PADDING => {}
                    _ => return Err(segment.damage(position, "no record stands here")),
                }
                position += record::padded(u64::from(length));
            }
            let next = bases.next();
            if segment.base() != pinned.segment && next != self.end_of(segment, position) {
                return Err(segment.damage(position, "the segment that follows is missing"));
            }
        }
        Ok(())
    }

    /// The base that the END record at a position names.
    fn end_of(&self, segment: &Segment, position: u64) -> Option<u64> {
        match segment.at(position) {
            Found::Record(header, _) if header.kind == END => Some(header.offset),
            _ => None,
        }
    }

    /// What stands at a position, with its checksum. What a failed sync takes back becomes padding
    /// while it is looked at.
    fn whole_record(
        &self,
        segment: &Segment,
        position: u64,
        pinned: &Pinned,
    ) -> Result<(Header, u32)> {
        let began = Instant::now();
        loop {
            match segment.at(position) {
                Found::Record(header, length) if segment.whole(position, length) => {
                    return Ok((header, length));
                }
                _ if self.block.voids() != pinned.voids && began.elapsed() < TAKING_BACK => {
                    std::thread::sleep(NAP);
                }
                _ => {
                    let what = "these bytes are not the record that was sent";
                    return Err(segment.damage(position, what));
                }
            }
        }
    }
}

impl Pinned {
    /// How often what was not on disk had been taken back, as [`Partition::voids`] says.
    pub fn voids(&self) -> u64 {
        self.voids
    }
}

impl PinnedSegment {
    /// Offset of its first record.
    pub fn base(&self) -> u64 {
        self.segment.base()
    }

    /// Bytes of its file.
    pub fn capacity(&self) -> u64 {
        self.segment.capacity()
    }

    /// The file, if it still has its name and is this one.
    pub fn file(&self, partition: &Partition) -> Option<Arc<dyn File>> {
        let path = partition.folder.join(names::segment(self.base()));
        let file = partition.env.storage.open(&path, Access::Read, 0).ok()?;
        (file.id().ok()? == self.id).then_some(file)
    }

    /// Bytes from one position to another.
    pub fn bytes(&self, at: u64, len: usize) -> Result<&[u8]> {
        let bytes = self.segment.map().bytes(at as usize, len);
        bytes.ok_or_else(|| self.segment.damage(at, "the mapping ends here"))
    }
}
