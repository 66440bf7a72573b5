//! Appending: one lock, one publish, for one record or a batch.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::large::LARGE;
use super::{Partition, Room, Segment};
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::{self, HAS_KEY, HEADER, Header, MESSAGE, MORE};
use crate::shm::{Held, Mapping};

/// After so many bytes housekeeping is asked to look at how fast they come (`ahead.rs`).
pub(super) const STEP: u64 = 2 << 20;

/// A message on its way into the log, its body's checksum taken already.
#[derive(Clone, Copy)]
pub struct Draft<'a> {
    /// The extension, empty without one.
    pub extension: &'a [u8],
    /// The key, if it has one.
    pub key: Option<&'a [u8]>,
    /// The encoded headers block, empty without headers.
    pub headers: &'a [u8],
    /// The payload.
    pub payload: &'a [u8],
    /// The caller's timestamp; the clock's where there is none.
    pub timestamp_ns: Option<i64>,
    /// `record::body_crc` of these.
    pub body_crc: u32,
    /// `murmur2::key_hash` of the key, 0 without one.
    pub key_hash: u64,
}

impl Draft<'_> {
    #[inline]
    fn header(&self) -> Header {
        Header {
            key_hash: self.key_hash,
            kind: MESSAGE,
            flags: if self.key.is_some() { HAS_KEY } else { 0 },
            extension_len: self.extension.len() as u16,
            key_len: self.key.map_or(0, <[u8]>::len) as u32,
            headers_len: self.headers.len() as u32,
            payload_len: self.payload.len() as u32,
            ..Header::default()
        }
    }

    /// Copies extension, key, headers and payload to a position.
    #[inline]
    pub(super) fn copy_body(&self, map: &Mapping, mut at: usize) -> Option<()> {
        let key = self.key.unwrap_or_default();
        if self.extension.len() + key.len() + self.headers.len() != 0 {
            for part in [self.extension, key, self.headers] {
                if !part.is_empty() {
                    map.copy_in(at, part)?;
                    at += part.len();
                }
            }
        }
        match self.payload {
            [] => Some(()),
            payload => map.copy_in(at, payload),
        }
    }

    /// Bytes in the log.
    #[inline]
    fn padded(&self) -> u64 {
        record::padded(self.header().len())
    }
}

/// Where records go, and the times they go by.
pub(super) struct Place {
    pub(super) position: u64,
    pub(super) first: u64,
    /// Timestamp of the record before.
    pub(super) last: i64,
    pub(super) now: i64,
}

impl Place {
    /// The last record's timestamp: they begin as the partition's and never fall.
    pub(super) fn last_timestamp(&self, drafts: &[Draft<'_>]) -> i64 {
        drafts.iter().fold(self.last, |last, draft| {
            last.max(draft.timestamp_ns.unwrap_or(self.now))
        })
    }
}

/// No gate.
pub(super) struct Open;

impl super::Gate for Open {
    type Pass = ();

    fn enter(&self) -> Result<()> {
        Ok(())
    }

    fn enter_since(&self, _: std::time::Instant) -> Result<()> {
        Ok(())
    }

    fn leave(&self, (): (), _: bool) {}
}

/// Why an append could not be done under the lock alone.
pub(super) enum Outcome {
    Done(u64),
    Room(u64),
    Offsets,
    Map(u64),
}

impl Partition {
    /// Appends all drafts or none; the offset of the first. Once it returns they survive `kill -9`
    /// (P1), since they are in the kernel's pages and published.
    #[inline]
    pub fn append(&self, drafts: &[Draft<'_>]) -> Result<u64> {
        self.append_in(drafts, Room::Ordinary)
    }

    /// As `append`, from whose room if it has to be made.
    #[inline]
    pub fn append_in(&self, drafts: &[Draft<'_>], room: Room) -> Result<u64> {
        let bytes = total(drafts);
        if bytes > LARGE {
            return self.append_large(drafts, room, &Open);
        }
        loop {
            let mut held = self.lock()?;
            let outcome = self.attempt(&mut held, drafts, bytes)?;
            drop(held);
            match outcome {
                Outcome::Done(first) => {
                    self.published(drafts.len() as u32);
                    return Ok(first);
                }
                other => self.make_way(&other, drafts, room)?,
            }
        }
    }

    /// As `append`, but `None` instead of waiting for a lock, the disk or a new segment.
    #[inline]
    pub fn try_append(&self, drafts: &[Draft<'_>]) -> Result<Option<u64>> {
        let bytes = total(drafts);
        if !self.block.recovered() || bytes > LARGE {
            return Ok(None);
        }
        let lock = self.block.lock();
        let Some(mut held) = crate::shm::OwnerLock::try_hold(lock, self.env.me) else {
            return Ok(None);
        };
        let outcome = self.attempt(&mut held, drafts, bytes)?;
        drop(held);
        match outcome {
            Outcome::Done(first) => {
                self.published(drafts.len() as u32);
                Ok(Some(first))
            }
            _ => Ok(None),
        }
    }

    /// As `append`, but `None` where `make_room` has to be called first, which may be slow: for who
    /// holds a lock of his own. What is large is copied without the append lock, as always; he
    /// waits for another one who copies only where he `waits`, or others might be quicker for ever.
    pub fn append_if_room(&self, drafts: &[Draft<'_>], waits: bool) -> Result<Option<u64>> {
        let bytes = total(drafts);
        if bytes > LARGE {
            return self.append_large_if_room(drafts, waits);
        }
        let mut held = self.lock()?;
        let outcome = self.attempt(&mut held, drafts, bytes)?;
        drop(held);
        let Outcome::Done(first) = outcome else {
            return Ok(None);
        };
        self.published(drafts.len() as u32);
        Ok(Some(first))
    }

    /// Makes room for these drafts without appending them: what can fail for want of space fails
    /// here, and who copies a large batch is waited for where these are one.
    pub fn make_room(&self, drafts: &[Draft<'_>]) -> Result<()> {
        self.env.check_fence()?;
        if total(drafts) > LARGE {
            self.wait_for_large()?;
        }
        drop(self.lock()?);
        if self.block.poisoned() {
            return Err(self.poisoned());
        }
        // First: what is in a segment that no reserve speaks of is not recovered.
        if self.block.next_offset() + drafts.len() as u64 > self.block.limit() {
            self.raise_reserve(drafts.len() as u64)?;
        }
        self.roll(total(drafts), Room::Ordinary)
    }

    /// Without the lock: tells of so many records, and housekeeping if a mark was passed.
    #[inline]
    pub(super) fn published(&self, count: u32) {
        (self.on_publish)(count);
        let passed = self.passed.load(Ordering::Relaxed);
        if passed != self.hurried.load(Ordering::Relaxed) {
            self.hurried.store(passed, Ordering::Relaxed);
            (self.env.hurry)(&self.me);
        }
    }

    #[cold]
    pub(super) fn make_way(
        &self,
        outcome: &Outcome,
        drafts: &[Draft<'_>],
        room: Room,
    ) -> Result<()> {
        match *outcome {
            Outcome::Done(_) => Ok(()),
            Outcome::Room(bytes) => self.roll(bytes, room),
            Outcome::Offsets => self.raise_reserve(drafts.len() as u64),
            Outcome::Map(base) => match self.segment(base)? {
                Some(_) => Ok(()),
                None => Err(Error::new(
                    ErrorKind::Damaged,
                    format!(
                        "{}: the segment of offset {base}, which messages go into, is missing; \
                         restore it, or close the store everywhere and open it again to recover",
                        self.folder.display()
                    ),
                )),
            },
        }
    }

    #[inline(always)]
    pub(super) fn attempt(
        &self,
        held: &mut Held<'_>,
        drafts: &[Draft<'_>],
        bytes: u64,
    ) -> Result<Outcome> {
        let (segment, place) = match self.place(held, drafts.len(), bytes)? {
            Ok(found) => found,
            Err(outcome) => return Ok(outcome),
        };
        let (first, position) = (place.first, place.position);
        let last = write(segment, &place, drafts)
            .ok_or_else(|| segment.damage(position, "the mapping ends here"))?;
        // A death from here on: the records are published, `repair` walks over them.
        let next = first + drafts.len() as u64;
        self.block
            .set_tail(segment.base(), next, position + bytes, last);
        Ok(Outcome::Done(first))
    }

    /// Where so many drafts of so many bytes go, if there is room for them now.
    #[inline(always)]
    pub(super) fn place<'a>(
        &'a self,
        held: &'a mut Held<'_>,
        drafts: usize,
        bytes: u64,
    ) -> Result<std::result::Result<(&'a Arc<Segment>, Place), Outcome>> {
        self.env.check_fence()?;
        let block = &self.block;
        if block.poisoned() {
            return Err(self.poisoned());
        }
        let first = block.next_offset();
        if first + drafts as u64 > block.limit() {
            return Ok(Err(Outcome::Offsets));
        }
        let local = self.local.with(held);
        let base = block.segment();
        if local.active.as_ref().is_none_or(|one| one.base() != base) {
            local.active = self.mapped(base);
            local.mark = block.position() + STEP;
        }
        let Some(segment) = &local.active else {
            let first = base == super::NONE;
            return Ok(Err(if first {
                Outcome::Room(bytes)
            } else {
                Outcome::Map(base)
            }));
        };
        let position = block.position();
        // Room for the records, the next length word, and the END record that closes the segment.
        // First: behind damage up to the end of a segment there is none, whatever stands there.
        if position + bytes + (HEADER + record::ALIGN) as u64 > segment.capacity() {
            return Ok(Err(Outcome::Room(bytes)));
        }
        if position > local.mark {
            local.mark = position + STEP;
            self.passed.fetch_add(1, Ordering::Relaxed);
        }
        if !block.fits_its_tail(base, position, first)
            || segment
                .map()
                .load_u32(position as usize, Ordering::Relaxed)
                .unwrap_or(0)
                != 0
        {
            return Err(self.changed());
        }
        let place = Place {
            position,
            first,
            last: block.last_timestamp(),
            now: self.env.clock.moment().1,
        };
        Ok(Ok((segment, place)))
    }

    /// Somebody wrote into `control`: what it says of the end of the log does not fit together, or
    /// a record stands there. Appending would overwrite what was sent, or use an offset again (P4).
    #[cold]
    pub(super) fn changed(&self) -> Error {
        Error::new(
            ErrorKind::Damaged,
            format!(
                "{}: what control says of the end of the log cannot be; nothing was written; close \
                 the store in all processes, the next open lays control out anew",
                self.folder.display()
            ),
        )
    }

    #[cold]
    pub(super) fn poisoned(&self) -> Error {
        Error::new(
            ErrorKind::Poisoned,
            format!(
                "{}: an earlier sync failed, so nothing more is taken until a sync succeeds; \
                 check the disk, then call sync()",
                self.folder.display()
            ),
        )
    }
}

#[inline]
pub(super) fn total(drafts: &[Draft<'_>]) -> u64 {
    drafts.iter().map(Draft::padded).sum()
}

/// Writes the records at a position and publishes them; the last timestamp, which begins as the
/// partition's and never falls.
///
/// The first length word is stored last: a death before leaves nothing, a death after leaves all
/// of them (P1; a batch is all or nothing).
#[inline(always)]
fn write(segment: &Segment, place: &Place, drafts: &[Draft<'_>]) -> Option<i64> {
    let (timestamp_ns, first) = write_unpublished(segment, place, drafts)?;
    let at = place.position as usize;
    // Release pairs with the acquire in `Segment::at`.
    segment.map().store_u32(at, first, Ordering::Release)?;
    Some(timestamp_ns)
}

/// Writes the records at a position, but for the first length word, which publishes all of them and
/// is returned behind the last timestamp. The word behind the last record is zeroed, or the rest of
/// an abandoned longer record would be taken for the next header.
#[inline(always)]
pub(super) fn write_unpublished(
    segment: &Segment,
    place: &Place,
    drafts: &[Draft<'_>],
) -> Option<(i64, u32)> {
    let map = segment.map();
    let (mut at, mut timestamp_ns) = (place.position as usize, place.last);
    let mut publish = 0;
    for (number, draft) in drafts.iter().enumerate() {
        timestamp_ns = timestamp_ns.max(draft.timestamp_ns.unwrap_or(place.now));
        let offset = place.first + number as u64;
        let header = record_header(draft, offset, timestamp_ns, number + 1 < drafts.len());
        let length = header.len() as u32;
        let bytes = header.encode(length, segment.salt(), draft.body_crc);
        if number == 0 {
            publish = length;
            map.copy_in(at + 4, &bytes[4..])?;
        } else {
            map.copy_in(at, &bytes)?;
        }
        draft.copy_body(map, at + HEADER)?;
        at += record::padded(u64::from(length)) as usize;
    }
    map.store_u32(at, 0, Ordering::Relaxed)?;
    Some((timestamp_ns, publish))
}

/// A draft's header in its place; `more` of its batch follow.
#[inline]
pub(super) fn record_header(
    draft: &Draft<'_>,
    offset: u64,
    timestamp_ns: i64,
    more: bool,
) -> Header {
    let mut header = draft.header();
    header.offset = offset;
    header.timestamp_ns = timestamp_ns;
    if more {
        header.flags |= MORE;
    }
    header
}
