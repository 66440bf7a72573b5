//! What limits of a topic need of the log: a gate in front of the append, and counting what stands
//! between two places.

use std::time::{Duration, Instant};

use super::append::{Outcome, total};
use super::cursor::Cursor;
use super::large::LARGE;
use super::read::{Place, Step};
use super::{Draft, NONE, Partition, Room};
use crate::error::{Error, ErrorKind, Result};
use crate::format::record;
use crate::shm::{Held, Times};

/// What is asked before records go into the log, and held until they are in it.
pub trait Gate {
    /// What is held.
    type Pass;
    /// Waits until they may go in.
    fn enter(&self) -> Result<Self::Pass>;
    /// As `enter`, of one who began at this time, and may have given up what he was given since.
    fn enter_since(&self, began: Instant) -> Result<Self::Pass>;
    /// They are in, or are not and are tried again.
    fn leave(&self, pass: Self::Pass, done: bool);
}

/// What stands between two places.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Messages, damaged ones included.
    pub messages: u64,
    /// Bytes of their records.
    pub bytes: u64,
}

impl Counted {
    /// The sum.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            messages: self.messages.wrapping_add(other.messages),
            bytes: self.bytes.wrapping_add(other.bytes),
        }
    }

    /// What was counted since; nothing where that cannot be.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        let least = |now: u64, then: u64| (now.wrapping_sub(then) as i64).max(0) as u64;
        Self {
            messages: least(self.messages, before.messages),
            bytes: least(self.bytes, before.bytes),
        }
    }
}

impl Draft<'_> {
    /// Bytes of all of them in the log.
    #[must_use]
    pub fn bytes_of(drafts: &[Draft<'_>]) -> u64 {
        total(drafts)
    }
}

impl Partition {
    /// As `append_in`, through a gate. Nothing slow happens while a pass is held.
    pub fn append_through(
        &self,
        drafts: &[Draft<'_>],
        room: Room,
        gate: &impl Gate,
    ) -> Result<u64> {
        if total(drafts) > LARGE {
            return self.append_large(drafts, room, gate);
        }
        loop {
            if !self.block.recovered() {
                drop(self.lock()?);
            }
            let pass = gate.enter()?;
            let held = self.lock();
            let outcome = held.and_then(|mut held| self.attempt_apart(&mut held, drafts));
            // An error leaves nothing in the log, and takes no room.
            gate.leave(pass, matches!(outcome, Ok(Outcome::Done(_))));
            match outcome? {
                Outcome::Done(first) => {
                    self.published(drafts.len() as u32);
                    return Ok(first);
                }
                other => self.make_way(&other, drafts, room)?,
            }
        }
    }

    /// As `attempt`, apart from those of topics without a limit, which pay nothing for this one.
    #[cold]
    #[inline(never)]
    fn attempt_apart(&self, held: &mut Held<'_>, drafts: &[Draft<'_>]) -> Result<Outcome> {
        self.attempt(held, drafts, total(drafts))
    }

    /// How often, and for how long, somebody slept for its locks or put it on disk.
    pub fn times(&self) -> Times {
        self.block.times()
    }

    /// Somebody slept for a lock of the topic that is none of a partition, as that of its limits.
    pub fn count_wait(&self, slept: Duration) {
        self.block.count_wait(slept);
    }

    /// What is left free on the file system when the log grows for ordinary messages.
    pub fn set_min_free(&self, bytes: u64) {
        let order = std::sync::atomic::Ordering::Relaxed;
        self.min_free.store(bytes, order);
    }

    /// Errors with [`ErrorKind::DiskFull`] where a file of this size would leave too little free.
    pub(super) fn check_free(&self, size: u64) -> Result<()> {
        let least = self.min_free.load(std::sync::atomic::Ordering::Relaxed);
        if least == 0 {
            return Ok(());
        }
        let free = self.env.storage.free_bytes(&self.folder)?;
        if free >= least.saturating_add(size) {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::DiskFull,
            format!(
                "{}: {free} bytes are free, and a segment of {size} bytes would leave less than \
                 min_free_bytes, {least}; make room, or lower min_free_bytes, then try again: \
                 nothing was stored",
                self.folder.display()
            ),
        ))
    }

    /// Where the next record goes; where a large batch is being copied, its place.
    pub fn end(&self) -> Result<Cursor> {
        let _held = self.lock()?;
        if let Some((segment, position, offset)) = self.block.large() {
            return Ok(Cursor {
                segment,
                position,
                offset,
                life: 0,
            });
        }
        Ok(Cursor {
            segment: self.block.segment(),
            position: self.block.position(),
            offset: self.block.next_offset(),
            life: 0,
        })
    }

    /// Another number whenever something is gone that stood in the log: what was taken back,
    /// removed or compacted.
    pub fn losses(&self) -> u64 {
        let of = |number: u64, odd: u64| number.wrapping_mul(odd).rotate_left(29);
        of(self.voids(), 0x9E37_79B9_7F4A_7C15)
            ^ of(self.block.first_kept(), 0xC2B2_AE3D_27D4_EB4F)
            ^ of(self.block.compacted(), 0x1656_67B1_9E37_79F9)
    }

    /// What was given room from this place on and cannot be read yet, at most.
    pub fn unread_behind(&self, at: Cursor) -> Counted {
        let here = at.segment == self.block.segment();
        Counted {
            messages: self.next_offset().saturating_sub(at.offset),
            bytes: match here {
                true => self.block.position().saturating_sub(at.position),
                false => 0,
            },
        }
    }

    /// Bytes of a record that was seen at this position; of one that is damaged those of a header.
    pub fn bytes_at(&self, offset: u64, position: u64) -> Result<u64> {
        match self.record_header_at(offset, position)? {
            Some(length) => Ok(record::padded(u64::from(length))),
            None => Ok(record::HEADER as u64),
        }
    }

    /// Counts messages from a place up to an offset, maps what it needs, and moves the place on.
    /// Nothing that is not published yet.
    pub fn count(&self, cursor: &mut Cursor, until: u64) -> Result<Counted> {
        let mut counted = Counted::default();
        while cursor.offset < until {
            match self.count_mapped(cursor, until, &mut counted, usize::MAX) {
                Step::NotMapped => match self.resolve(cursor)? {
                    Place::Mapped => {}
                    Place::Nothing => break,
                    Place::Broken => self.pass(cursor, &mut counted)?,
                },
                Step::Damaged => self.pass(cursor, &mut counted)?,
                Step::End | Step::Record { .. } => break,
            }
        }
        Ok(counted)
    }

    /// As `count` for at most so many, never waiting; why it stopped: [`Step::End`] when it is
    /// done.
    pub fn count_mapped(
        &self,
        cursor: &mut Cursor,
        until: u64,
        counted: &mut Counted,
        most: usize,
    ) -> Step {
        let (mut why, mut left) = (Step::End, most);
        if cursor.segment == NONE {
            // Where nothing was ever sent there is nothing to map.
            return match self.next_offset() > cursor.offset {
                true => Step::NotMapped,
                false => Step::End,
            };
        }
        self.scan(cursor, |_, step| match *step {
            Step::Record { offset, .. } if offset >= until => false,
            Step::Record { .. } if left == 0 => {
                why = *step;
                false
            }
            Step::Record { length, .. } => {
                left -= 1;
                counted.messages += 1;
                counted.bytes += record::padded(u64::from(length));
                true
            }
            other => {
                why = other;
                false
            }
        });
        why
    }

    fn pass(&self, cursor: &mut Cursor, counted: &mut Counted) -> Result<()> {
        let next = self.skip_damage(cursor)?.0;
        // Whoever comes to them settles them, each offset once.
        counted.messages += next.offset.saturating_sub(cursor.offset);
        *cursor = next;
        Ok(())
    }
}
