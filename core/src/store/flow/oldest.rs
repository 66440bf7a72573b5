//! Making room by settling the oldest messages that are not settled, for every group (P14).
//!
//! One message at a time, so that none is dropped that need not be: the oldest of all partitions by
//! its timestamp. It is settled in one group after the other, under each one's lock: who dies in
//! between leaves it to groups that have it, and the next sender goes on.

use super::super::advance::Moved;
use super::super::group::GroupInner;
use super::super::topic::TopicInner;
use super::groups::Known;
use super::own::Own;
use super::room::Want;
use crate::error::Result;
use crate::group::Oldest;
use crate::log::{Partition, Place, Step};

/// The oldest message of a partition that can be dropped.
#[derive(Clone, Copy)]
struct Candidate {
    timestamp_ns: i64,
    partition: u32,
    offset: u64,
    bytes: u64,
}

/// Messages that are dropped before others who count get their turn: a limit that was lowered may
/// have to drop any number.
pub(super) const BITE: usize = 256;

/// What came of dropping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dropped {
    /// There is nothing that can be.
    Nothing,
    /// As much as there was to drop, or can be, or others settled some.
    Enough,
    /// A bite of it.
    Some,
}

impl TopicInner {
    /// Drops until so much is gone, or a bite of it, and nothing of what a commit is about to
    /// settle, sorted. With the lock of who counts held.
    pub(super) fn drop_oldest(
        &self,
        known: &mut Known,
        need: Want,
        own: &[Own],
    ) -> Result<Dropped> {
        let (mut messages, mut bytes, mut count) = (need.messages, need.bytes, 0);
        let mut oldest = Vec::with_capacity(self.partitions.len());
        for log in &self.partitions {
            oldest.push(self.oldest_in(known, log, own)?);
        }
        while messages > 0 || bytes > 0 {
            if count == BITE {
                return Ok(Dropped::Some);
            }
            let found = oldest
                .iter()
                .flatten()
                .min_by_key(|one| (one.timestamp_ns, one.partition));
            let Some(first) = found.copied() else {
                break;
            };
            let log = &self.partitions[first.partition as usize];
            let mut dropped = false;
            for (number, group) in known.groups.iter().enumerate() {
                let spared = is_own(own, &group.inner, log, first.offset);
                if !spared && drop_in(&group.inner, log, first.offset)? {
                    dropped = true;
                    known.open[first.partition as usize].note_dropped(number, first.offset);
                }
            }
            if !dropped {
                // Where who had it settled it meanwhile that is room, too: it is counted anew.
                let now = self.oldest_in(known, log, own)?;
                if now.is_none_or(|one| one.offset != first.offset) {
                    return Ok(Dropped::Enough);
                }
                break;
            }
            count += 1;
            messages = messages.saturating_sub(1);
            bytes = bytes.saturating_sub(first.bytes);
            oldest[first.partition as usize] = self.oldest_in(known, log, own)?;
        }
        Ok(match count {
            0 => Dropped::Nothing,
            _ => Dropped::Enough,
        })
    }

    fn oldest_in(&self, known: &Known, log: &Partition, own: &[Own]) -> Result<Option<Candidate>> {
        let mut oldest: Option<Candidate> = None;
        for group in &known.groups {
            let spared = |offset| is_own(own, &group.inner, log, offset);
            let found = match group
                .inner
                .with_window(log.number(), |window| window.oldest(&spared))?
            {
                Oldest::Open(offset, position) => Some(Candidate {
                    // One that cannot be read is as old as can be.
                    timestamp_ns: log
                        .record(offset, position)
                        .map_or(i64::MIN, |record| record.timestamp_ns),
                    partition: log.number(),
                    offset,
                    bytes: log.bytes_at(offset, position)?,
                }),
                Oldest::Fresh(mut cursor) => match log.look(&mut cursor)? {
                    Step::Record {
                        offset,
                        timestamp_ns,
                        position,
                        ..
                    } => Some(Candidate {
                        timestamp_ns,
                        partition: log.number(),
                        offset,
                        bytes: log.bytes_at(offset, position)?,
                    }),
                    _ => None,
                },
            };
            let earlier = |one: &Candidate| oldest.is_none_or(|known| one.offset < known.offset);
            oldest = found.filter(earlier).or(oldest);
        }
        Ok(oldest)
    }
}

fn is_own(own: &[Own], group: &GroupInner, log: &Partition, offset: u64) -> bool {
    let one = Own {
        group: group.uid,
        partition: log.number(),
        offset,
    };
    own.binary_search(&one).is_ok()
}

/// Settles a message in one group, if it has it unsettled.
fn drop_in(group: &GroupInner, log: &Partition, wanted: u64) -> Result<bool> {
    loop {
        let (mut grow, mut map, mut ready) = (false, None, 0);
        let dropped = group.with_window(log.number(), |window| {
            let full = window.is_full(window.cursor().offset);
            let done = if wanted < window.next() {
                window.drop_open(wanted)
            } else {
                let from = window.cursor();
                let mut cursor = from;
                match log.step(&mut cursor) {
                    Step::Record { offset, next, .. } if offset == wanted => {
                        let done = window.drop_fresh(offset, next);
                        grow = !done;
                        done
                    }
                    Step::NotMapped => {
                        map = Some(from);
                        false
                    }
                    _ => false,
                }
            };
            ready = group.may_come(window, log, full);
            done
        })?;
        if ready > 0 && dropped {
            group.wake(u32::try_from(ready).unwrap_or(u32::MAX));
        }
        let again = match map {
            Some(from) => {
                let mut found = from;
                let place = log.resolve(&mut found)?;
                place == Place::Mapped && group.go_on(log, from, found, false)? != Moved::NoRoom
            }
            None => grow && group.grow(log.number())?,
        };
        if !again {
            return Ok(dropped);
        }
    }
}
