//! Where a group stands, read without its locks: what the statistics go by.
//!
//! A look at the words is good when the lock was free before and after it and a second look found
//! the same. While others are at work that is tried for a while, and then once with the lock; where
//! somebody is inside for as long, as one that is stopped, the words are taken as they stand, in
//! the middle of what he does. One who died inside is another matter: then the window is repaired
//! first, as by any other call.

use std::sync::atomic::{Ordering, fence};
use std::time::Duration;

use super::group::GroupInner;
use super::in_force::NEVER;
use super::settings::Settings;
use crate::error::{ErrorKind, Result};
use crate::format::control::group_partition as at;
use crate::group::{Glance, Recalled, Seen};
use crate::log::{Counted, Cursor, Partition};
use crate::shm::OwnerLock;

/// How often a window is looked at that others change.
const TRIES: u32 = 200;
/// After so many, others are given the processor before each.
const SPINS: u32 = 50;
/// How long a lock is waited for whose holder died, or does not let anybody look without it.
const PATIENCE: Duration = Duration::from_millis(20);

/// What a partition's window says, and what is to come to it.
pub(super) struct Standing {
    pub(super) seen: Seen,
    recalled: Option<Recalled>,
}

/// What is not settled.
#[derive(Clone, Copy, Default)]
pub(super) struct Lag {
    pub(super) counted: Counted,
    /// The timestamp of the oldest.
    pub(super) oldest_ns: Option<i64>,
}

impl GroupInner {
    /// Where a partition's window stands now.
    pub(super) fn standing(&self, number: u32, settings: &Settings) -> Result<Standing> {
        if !self.is_rebuilt(number) || self.is_left_behind(number) {
            match self.with_policy_within(number, PATIENCE, |_, _| ()) {
                // Somebody lives and is at it: then it is as it stands.
                Err(error) if error.kind() == ErrorKind::Stuck => {}
                done => done?,
            }
        }
        let mut seen = match self.look_quietly(number) {
            Some(seen) => seen,
            None => self.look_with_lock(number)?,
        };
        let (target, recalled) = match self.is_lane() {
            true => (None, None),
            false => settings.target(number),
        };
        let steady = settings.version != NEVER;
        if let Some(target) = target.filter(|one| steady && seen.epoch < u64::from(one.epoch)) {
            seen = seen.sought(target.epoch, target.offset);
        }
        let recalled =
            recalled.filter(|one| u64::from(one.epoch) == seen.epoch && seen.next.offset < one.end);
        Ok(Standing { seen, recalled })
    }

    fn is_left_behind(&self, number: u32) -> bool {
        let env = &*self.topic.store.env;
        let lock = self.block.partitions[number as usize].word32(at::LOCK);
        OwnerLock::is_left_behind(lock, env.me, &*env.live)
    }

    /// What stands there while nobody is inside.
    fn look_quietly(&self, number: u32) -> Option<Seen> {
        let lock = self.block.partitions[number as usize].word32(at::LOCK);
        let glance = &self.glances[number as usize];
        for turn in 0..TRIES {
            let free = OwnerLock::is_free(lock);
            // The words are loaded with acquire, so none of them before the lock; the fence keeps
            // the lock's second look behind them.
            let seen = glance.seen();
            let again = glance.seen();
            fence(Ordering::SeqCst);
            if free && OwnerLock::is_free(lock) && seen == again {
                return Some(seen);
            }
            match turn < SPINS {
                true => std::hint::spin_loop(),
                false => std::thread::yield_now(),
            }
        }
        None
    }

    /// Between what two others do, or in the middle of what one does who is as long inside.
    fn look_with_lock(&self, number: u32) -> Result<Seen> {
        let glance = &self.glances[number as usize];
        match self.with_policy_within(number, PATIENCE, |_, _| glance.seen()) {
            Err(error) if error.kind() == ErrorKind::Stuck => Ok(glance.seen()),
            looked => looked,
        }
    }

    /// How much of a partition is not settled: by sums, whatever there is. Of what the window took
    /// in and holds partly settled, its entries are looked at; of a snapshot that is being
    /// restored, the messages up to its end.
    pub(super) fn lag(&self, log: &Partition, standing: &Standing) -> Result<Lag> {
        let Standing { seen, recalled } = standing;
        let glance = &self.glances[log.number() as usize];
        let mut lag = match seen.open() {
            0 => Lag::default(),
            open => taken_in(log, glance, seen, open)?,
        };
        if self.is_lane() {
            return Ok(lag);
        }
        let before = (seen.next.offset.checked_sub(1)).and_then(|last| glance.position_of(last));
        let mut from = (seen.next, before);
        if let Some(recalled) = recalled {
            let (again, first) = log.count_those(seen.next, recalled.end, |o| recalled.comes(o))?;
            lag.counted = lag.counted.plus(again);
            lag.oldest_ns = lag.oldest_ns.or(first);
            from = (Cursor::at_offset(recalled.end), None);
        }
        lag.counted = lag.counted.plus(log.behind(from.0, from.1)?);
        if lag.oldest_ns.is_none() {
            lag.oldest_ns = log.timestamp_behind(from.0, from.1)?;
        }
        Ok(lag)
    }

    /// How much of the window is in use, 0 to 1.
    pub(super) fn window_used(&self, seen: &Seen) -> f64 {
        let used = seen.next.offset.saturating_sub(seen.floor);
        (used as f64 / f64::from(self.limit.max(1))).min(1.0)
    }
}

/// What a window took in and is not settled. Where all of it is open, as a backlog that was fetched
/// and waits, it is what stands between two places of the log.
fn taken_in(log: &Partition, glance: &Glance, seen: &Seen, open: u64) -> Result<Lag> {
    let mut lag = Lag {
        counted: Counted {
            messages: open,
            bytes: 0,
        },
        oldest_ns: None,
    };
    if open == seen.next.offset - seen.floor
        && let Some(position) = glance.position_of(seen.floor)
        && let Some(from) = log.place_at(seen.floor, position)?
    {
        let before = glance.position_of(seen.next.offset.saturating_sub(1));
        let all = log.counted_between((from, None), (seen.next, before))?;
        if all.messages == open {
            lag.counted.bytes = all.bytes;
            lag.oldest_ns = log.timestamp_at(seen.floor, position)?;
            return Ok(lag);
        }
    }
    let (mut left, mut failed) = (open, None);
    glance.each_open(seen, |offset, position, length| {
        let mut add = || -> Result<()> {
            if lag.oldest_ns.is_none() {
                lag.oldest_ns = log.timestamp_at(offset, position)?;
            }
            lag.counted.bytes += match length {
                Some(bytes) => bytes,
                None => log.bytes_at(offset, position)?,
            };
            Ok(())
        };
        left = left.saturating_sub(1);
        match add() {
            Ok(()) => left > 0,
            Err(error) => {
                failed = Some(error);
                false
            }
        }
    });
    match failed {
        Some(error) => Err(error),
        None => Ok(lag),
    }
}
