//! Recovery and repair: finding the end of the log.
//!
//! Three cases, told apart by the reserve file:
//! - closed cleanly: the mark is the end;
//! - all processes died, the host did not (same boot id): the page cache is whole, the end is where
//!   the walk from the mark ends, nothing is cut; a record that fails its checksum is damage (P3);
//! - power loss: the walk stops at the first record that is not whole, the rest is cut, and offsets
//!   go on past the limit, since lost ones may have been seen (P4).
//!
//! Each step can be repeated: a crash during recovery leaves a log that recovers the same way.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::roll::mark;
use super::segment::{Found, Segment};
use super::{Extent, NONE, Partition};
use crate::error::{Error, ErrorKind, Result};
use crate::format::names;
use crate::format::record::{self, END, HEADER, Header, MESSAGE, MORE, PADDING, RESERVED};
use crate::format::reserve::{Reserve, taken_by};
use crate::format::segment::RECORDS;
use crate::shm::Held;

/// Where a walk is.
#[derive(Clone, Copy)]
pub(super) struct Walk {
    pub(super) segment: u64,
    pub(super) position: u64,
    pub(super) offset: u64,
    pub(super) timestamp_ns: i64,
    /// No offset at or above this was handed out.
    pub(super) limit: u64,
    /// Where the batch began of which the walk has seen a part only.
    pub(super) batch: Option<(u64, u64)>,
    /// Whether the durable mark is in the segment in which the walk began.
    pub(super) marked: bool,
    /// Whether nobody else uses the store: then a batch that was being copied has no writer.
    pub(super) alone: bool,
}

impl Walk {
    /// Goes to the first record of a segment.
    fn enter(&mut self, base: u64) {
        (self.segment, self.position) = (base, RECORDS as u64);
        self.offset = self.offset.max(base);
    }
}

/// How a segment ended for a walk.
enum Ended {
    /// Where the walk is: nothing stands there, or nothing whole.
    Here,
    /// With an END record, where the walk is, that names the next segment.
    Closed(u64),
}

impl Partition {
    /// With the append lock held, by the first that uses the partition in this life of `control`.
    pub(super) fn recover(&self, _held: &mut Held<'_>) -> Result<()> {
        let reserve = self.read_reserve()?;
        if let Some(reserve) = reserve {
            // Before anything is listed: of what was taken any part may still be there.
            self.block.raise_first_kept(taken_by(&reserve));
        }
        let bases = self.bases()?;
        let lost = reserve.is_some_and(|r| !r.clean && r.boot != self.env.storage.boot_id());
        let mut walk = self.begin(reserve, &bases, lost)?;
        if !lost {
            // All processes died, one of them perhaps in the middle of publishing (P8).
            self.publish_rest()?;
        }
        let begun = (walk.segment, walk.position);
        self.walk(&mut walk, lost)?;
        if lost {
            self.cut(&mut walk, &bases)?;
            self.pad_unhappened(begun, (walk.segment, walk.position))?;
            self.pass_over(&mut walk, reserve.map_or(0, |r| r.limit))?;
        }
        self.say_sums_again()?;
        self.settle(&walk, reserve)
    }

    /// Where the log ends that a power loss left, changing nothing.
    pub(super) fn extent_after_loss(&self) -> Result<Extent> {
        let reserve = self.read_reserve()?;
        let lost = reserve.is_some_and(|r| !r.clean && r.boot != self.env.storage.boot_id());
        if !lost {
            return Ok(Extent::Whole);
        }
        let bases = self.bases()?;
        let mut walk = self.begin(reserve, &bases, true)?;
        self.walk(&mut walk, true)?;
        let (segment, position) = walk.batch.unwrap_or((walk.segment, walk.position));
        Ok(Extent::Until(segment, position))
    }

    fn begin(&self, reserve: Option<Reserve>, bases: &[u64], lost: bool) -> Result<Walk> {
        let timestamp_ns = reserve.map_or(0, |r| r.mark_timestamp);
        let limit = reserve.map_or(0, |r| r.limit);
        // Nothing was on disk for sure, and the segment in which the log began is not: what is
        // behind it would be no prefix of what was sent (P2).
        let headless = lost
            && reserve.is_some_and(|r| {
                let begun = |first: &u64| *first > r.mark_offset;
                r.mark_segment == NONE && bases.first().is_some_and(begun)
            });
        let bases = if headless { &[] } else { bases };
        Ok(match reserve {
            // What was on disk up to there is gone, so where the rest ends cannot be told: cutting
            // by the first record that is not whole would cut what was durable (P3).
            Some(r) if lost && r.mark_segment != NONE && !bases.contains(&r.mark_segment) => {
                return Err(self.mark_lost(r.mark_segment));
            }
            Some(r) if bases.contains(&r.mark_segment) => Walk {
                segment: r.mark_segment,
                position: r.mark_position,
                offset: r.mark_offset,
                timestamp_ns,
                limit,
                batch: None,
                marked: true,
                alone: true,
            },
            _ => {
                let segment = bases.first().copied().unwrap_or(NONE);
                let offset = if segment == NONE { 0 } else { segment };
                // One that raised the reserve and died before there was a segment: all offsets up
                // to where its life began are used (P4). Where there are segments their records
                // tell; walked from a later offset they would all be cut (P2).
                let empty = reserve.filter(|_| bases.is_empty()).map_or(0, |r| match r {
                    _ if r.clean => r.limit,
                    _ if r.mark_segment == NONE => r.mark_offset,
                    _ => 0,
                });
                let position = RECORDS as u64;
                Walk {
                    segment,
                    position,
                    offset: offset.max(empty),
                    timestamp_ns,
                    limit,
                    batch: None,
                    marked: false,
                    alone: true,
                }
            }
        })
    }

    #[cold]
    fn mark_lost(&self, base: u64) -> Error {
        let message = format!(
            "{} is missing, in which what was on disk ended before the power was lost; restore it \
             from a copy, or remove {} to go on with what can be read",
            self.folder.join(names::segment(base)).display(),
            self.folder.join(names::RESERVE).display()
        );
        Error::new(ErrorKind::Damaged, message)
    }

    /// Goes on until nothing stands, or, after a power loss, until something is not whole.
    fn walk(&self, walk: &mut Walk, lost: bool) -> Result<()> {
        let Some(mut segment) = self.begin_walk(walk, lost)? else {
            return Ok(());
        };
        loop {
            match self.walk_segment(&segment, walk, lost)? {
                Ended::Closed(next) => {
                    let opened = self.usable(next)?;
                    if lost && opened.is_none() {
                        // Its name or its header never reached the disk, so nothing in it was ever
                        // durable. The END record is cut: the segment before is the active one
                        // again, or readers would look for the next one for ever.
                        return Ok(());
                    }
                    walk.enter(next);
                    let opened = match opened {
                        Some(opened) => Some(opened),
                        None => self.pass_broken(walk)?,
                    };
                    match opened {
                        Some(opened) => segment = opened,
                        None => return Ok(()),
                    }
                }
                Ended::Here if lost || !self.pass_on(&segment, walk)? => return Ok(()),
                Ended::Here => match self.pass_broken(walk)? {
                    Some(opened) => segment = opened,
                    None => return Ok(()),
                },
            }
        }
    }

    /// The segment that a walk is in; a later one if it is gone or damaged, which readers tell of
    /// (P3). With none behind it the log goes on in a new segment, past all offsets that it may
    /// have held (P4).
    fn pass_broken(&self, walk: &mut Walk) -> Result<Option<Arc<Segment>>> {
        for base in self.bases()? {
            if base < walk.segment || walk.segment == NONE {
                continue;
            }
            if base > walk.segment {
                walk.enter(base);
            }
            if let Some(segment) = self.usable(base)? {
                return Ok(Some(segment));
            }
        }
        if walk.segment != NONE {
            walk.segment = NONE;
            walk.offset = walk.offset.max(walk.limit);
        }
        Ok(None)
    }

    /// The segment in which a walk begins. After a power loss one that has no mark may be damaged:
    /// nothing in it was ever durable; with a mark that is an error (P3). One that cannot be opened
    /// now for another reason is no damage, or all that is in it would be cut.
    pub(super) fn begin_walk(&self, walk: &mut Walk, lost: bool) -> Result<Option<Arc<Segment>>> {
        match self.segment(walk.segment) {
            Err(error) if error.kind() == ErrorKind::Damaged && lost && !walk.marked => Ok(None),
            opened if lost => opened,
            _ => self.pass_broken(walk),
        }
    }

    /// The records of a segment ended without an END record, and no power loss took it: whether
    /// there is a later segment, in which the walk goes on.
    ///
    /// Either a roller died after it had named the new segment and before it closed this one; its
    /// roll is finished. Or something before the END record, or it, is damaged; if the walk ended
    /// there, the offsets behind it would be used again (P4).
    fn pass_on(&self, segment: &Segment, walk: &mut Walk) -> Result<bool> {
        let later = |base: &u64| *base > walk.segment && *base >= walk.offset;
        let Some(next) = self.bases()?.into_iter().find(later) else {
            return Ok(false);
        };
        let nothing = matches!(segment.at(walk.position), Found::Nothing);
        if nothing && next == walk.offset {
            let last = walk.timestamp_ns;
            self.block.set_sealed(walk.segment, walk.position);
            if mark(segment, walk.position, END, next, last).is_err() {
                // A store that is only read is left as it is, and ends here.
                return Ok(false);
            }
        } else if nothing
            && let Some((at, _)) = segment.resync(walk.position, walk.offset, segment.capacity())
        {
            segment.note_gap();
            walk.position = at;
            return Ok(true);
        }
        walk.enter(next);
        Ok(true)
    }

    /// The end is known: everything before it is put on disk, so that the next recovery starts
    /// here, then the block is filled, then it counts as recovered.
    ///
    /// Whoever was there before may have died at a sync that failed, or an earlier recovery met
    /// one: the kernel then takes pages for written that are not, and a sync would prove nothing.
    /// So all pages behind the mark are written again first (P2, P5).
    fn settle(&self, walk: &Walk, reserve: Option<Reserve>) -> Result<()> {
        let clean = reserve.is_some_and(|r| r.clean);
        if !clean {
            let mark = reserve.filter(|r| r.mark_segment != NONE);
            let mark = mark.map_or((0, 0), |r| (r.mark_segment, r.mark_position));
            for base in self.bases()? {
                if base >= mark.0
                    && base <= walk.segment
                    && let Some(segment) = self.usable(base)?
                {
                    let from = if base == mark.0 { mark.1 } else { 0 };
                    let end = if base == walk.segment {
                        walk.position + HEADER as u64
                    } else {
                        segment.capacity()
                    };
                    segment.write_again(from, end);
                    segment.sync()?;
                }
            }
            self.env.storage.sync_dir(&self.folder)?;
        }
        let block = &self.block;
        block.set_segment(walk.segment, walk.position);
        block.set_tail(walk.segment, walk.offset, walk.position, walk.timestamp_ns);
        block.clear_large();
        block.set_synced(walk.segment, walk.position, walk.offset);
        block.set_limit(0);
        block.set_recovered();
        Ok(())
    }

    /// Offsets below this one are nobody's any more: where the log goes on its segment has a gap.
    fn pass_over(&self, walk: &mut Walk, offset: u64) -> Result<()> {
        if offset > walk.offset {
            if let Some(segment) = self.usable(walk.segment)? {
                segment.note_gap();
            }
            walk.offset = offset;
        }
        Ok(())
    }

    /// One that made a segment where there was none may have died after it was named: it is the
    /// active one, or the next roll would put another in its place.
    fn enter_first(&self, walk: &mut Walk) -> Result<()> {
        for base in self.bases()? {
            if base >= walk.offset && self.usable(base)?.is_some() {
                walk.enter(base);
                break;
            }
        }
        Ok(())
    }

    /// The last holder of the append lock died: the records it published are there, the block may
    /// not know. Only reads what is published and sets derived words, so it may die as well.
    pub(super) fn repair(&self) -> Result<()> {
        let segment = self.block.segment();
        let (known, position, offset, timestamp_ns) = self.block.tail();
        let mut walk = Walk {
            segment,
            position,
            offset,
            timestamp_ns,
            limit: self.block.limit(),
            batch: None,
            marked: true,
            alone: false,
        };
        if known != segment {
            // Nothing was appended to this segment yet that a tail speaks of.
            walk.position = RECORDS as u64;
            walk.offset = if segment == NONE { offset } else { segment };
        }
        if segment == NONE {
            self.enter_first(&mut walk)?;
        }
        // Before anything gets the offsets of what a dead one's transaction has appended (P4, P8).
        self.publish_rest()?;
        self.walk(&mut walk, false)?;
        self.pass_over(&mut walk, self.block.next_offset())?;
        if let Some(segment) = self.usable(walk.segment)? {
            // What the dead one may have left of an unpublished record.
            segment
                .map()
                .store_u32(walk.position as usize, 0, Ordering::Release);
        }
        self.block.set_segment(walk.segment, walk.position);
        self.block
            .set_tail(walk.segment, walk.offset, walk.position, walk.timestamp_ns);
        Ok(())
    }

    /// Walks one segment.
    fn walk_segment(&self, segment: &Segment, walk: &mut Walk, lost: bool) -> Result<Ended> {
        loop {
            let (header, length) = match segment.at(walk.position) {
                Found::Nothing => return Ok(Ended::Here),
                Found::Record(header, length) if stands(segment, walk, &header, length) => {
                    (header, length)
                }
                Found::Record(..) | Found::Bad if lost => return Ok(Ended::Here),
                _ => match segment.resync(walk.position, walk.offset, segment.capacity()) {
                    Some((position, _)) => {
                        segment.note_gap();
                        walk.position = position;
                        continue;
                    }
                    None => {
                        segment.note_gap();
                        // Damage up to the end: the next append goes into a new segment.
                        walk.position = segment.capacity() - HEADER as u64;
                        return Ok(Ended::Here);
                    }
                },
            };
            // What was being copied is not whole either, and all behind it would be behind a hole.
            if lost && (header.kind == RESERVED || !segment.whole(walk.position, length)) {
                return Ok(Ended::Here);
            }
            let jumps = header.kind == MESSAGE && header.offset != walk.offset;
            if header.kind == PADDING || jumps {
                // Made before a power loss that kept it may have taken that it was noted.
                segment.note_gap();
            }
            match header.kind {
                END => return Ok(Ended::Closed(header.offset)),
                MESSAGE => {
                    let started = walk.batch.unwrap_or((walk.segment, walk.position));
                    walk.batch = (header.flags & MORE != 0).then_some(started);
                    walk.offset = header.offset + 1;
                    walk.timestamp_ns = walk.timestamp_ns.max(header.timestamp_ns);
                }
                // Its writer is gone: what becomes of it is looked at again. A store that is only
                // read is left as it is.
                RESERVED if walk.alone && segment.map().is_writable() => {
                    // It may have rolled meanwhile: the next one says that all of it is messages.
                    self.forget_sums_behind(segment.base())?;
                    segment.end_reserved(walk.position, &header, length, u64::MAX);
                    continue;
                }
                RESERVED => {
                    walk.offset = segment.behind_reserved(walk.position, &header, length);
                    walk.timestamp_ns = walk.timestamp_ns.max(header.timestamp_ns);
                }
                _ => walk.offset = walk.offset.max(header.offset + 1),
            }
            walk.position += record::padded(u64::from(length));
        }
    }
}

/// Whether a record can be the next one of a walk. One with the expected offset is believed; a gap
/// must be whole, or a flipped bit of an offset would take all offsets behind it (P3).
fn stands(segment: &Segment, walk: &Walk, header: &Header, length: u32) -> bool {
    match header.kind {
        RESERVED => true,
        MESSAGE if header.offset == walk.offset => true,
        MESSAGE if header.offset < walk.offset => false,
        END if header.offset <= segment.base() || header.offset < walk.offset => false,
        _ => segment.whole(walk.position, length),
    }
}
