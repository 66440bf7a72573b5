//! What a group's filter says of messages that nobody of the group has looked at.
//!
//! A message is judged by its whole record, whose checksum was looked at, before a window's lock is
//! taken; with the lock held nothing but the answer is asked for. What was judged stays true: the
//! record of an offset never changes, and of another filter the answers are not taken.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::fill::Need;
use super::group::GroupInner;
use super::inner::locked;
use super::settings::Settings;
use crate::error::Result;
use crate::group::{Policy, Window};
use crate::log::{Cursor, Partition, Record, Step};

/// So many messages are judged at a time at most.
const SOME: usize = 1024;
/// How often that is done before something else has its turn.
pub(super) const MOST: usize = 16;
/// Up to so many that the group takes are looked for ahead of who asks for one.
const AHEAD: usize = 64;
/// So many bytes of them, after which whoever waits for the group's other work gets its turn.
const BYTES: u64 = 8 << 20;

/// What the filter says of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The group takes it.
    Takes,
    /// It is settled without anybody having been handed it.
    Passes,
    /// It was not judged, or by another filter.
    Unknown,
}

/// Nothing was judged.
pub(super) static NONE: Sieve = Sieve {
    filter: 0,
    judged: Vec::new(),
};

/// Messages that were judged, one after the other.
#[derive(Default)]
pub(super) struct Sieve {
    /// The number of the filter.
    filter: u64,
    /// Rising offsets, and whether the group takes the message.
    judged: Vec<(u64, bool)>,
}

impl Sieve {
    /// What the filter that is in force says of the message at an offset.
    pub(super) fn verdict(&self, policy: &Policy, offset: u64) -> Verdict {
        if self.filter != policy.filter {
            return Verdict::Unknown;
        }
        match self.judged.binary_search_by_key(&offset, |one| one.0) {
            Ok(place) if self.judged[place].1 => Verdict::Takes,
            Ok(_) => Verdict::Passes,
            Err(_) => Verdict::Unknown,
        }
    }

    /// How many to look for behind this one, from an offset on: twice as many as before where just
    /// what was judged is gone through. Where others of the group took what was judged here in
    /// vain, as many as are asked for.
    fn ahead(&self, filter: u64, from: u64) -> usize {
        let goes_on = self.judged.last().is_some_and(|last| last.0 + 1 == from);
        if self.filter != filter || !goes_on {
            return 0;
        }
        let found = self.judged.iter().filter(|one| one.1).count();
        (found * 2).min(AHEAD)
    }
}

/// Of each of a group's partitions, what was judged last in this process: a receive that takes less
/// than that leaves the rest to the next ones, which then need not look before they take the lock.
#[derive(Default)]
pub(super) struct Sieves {
    /// Whether there are any, so that a group without a filter pays one load for asking.
    any: AtomicBool,
    kept: Mutex<Vec<Option<Arc<Sieve>>>>,
}

impl Sieves {
    #[inline]
    pub(super) fn kept(&self, partition: u32) -> Option<Arc<Sieve>> {
        let any = self.any.load(Ordering::Relaxed);
        any.then(|| locked(&self.kept).get(partition as usize)?.clone())
            .flatten()
    }

    fn keep(&self, partition: u32, sieve: Arc<Sieve>) {
        let (mut kept, place) = (locked(&self.kept), partition as usize);
        if kept.len() <= place {
            kept.resize(place + 1, None);
        }
        kept[place] = Some(sieve);
        self.any.store(true, Ordering::Relaxed);
    }
}

/// With the window's lock held: settles the messages that come next and that the group does not
/// take. Whether one that it takes, or damage, was met behind them; else what has to be done before
/// it can go on.
pub(super) fn pass_over(
    window: &mut Window,
    policy: &Policy,
    log: &Partition,
    sieve: &Sieve,
) -> (bool, Need) {
    let mut cursor = window.cursor();
    let (mut met, mut need) = (false, Need::Nothing);
    log.scan(&mut cursor, |at, step| {
        match *step {
            Step::Record { offset, next, .. } if window.was_settled(offset) => {
                if window.settle_gap(offset) && window.pass_settled(offset) {
                    window.set_cursor(next);
                    return true;
                }
                need = Need::Room;
            }
            Step::Record { offset, next, .. } => match sieve.verdict(policy, offset) {
                Verdict::Takes => met = true,
                Verdict::Passes if window.pass(offset) => {
                    window.set_cursor(next);
                    return true;
                }
                Verdict::Passes => need = Need::Room,
                Verdict::Unknown => need = Need::Sieve(at),
            },
            Step::End => {}
            Step::Damaged => met = true,
            Step::NotMapped if !window.settle_gap(at.offset) => need = Need::Room,
            Step::NotMapped => {
                window.set_cursor(at);
                need = Need::Map(at);
            }
        }
        false
    });
    (met, need)
}

impl GroupInner {
    /// As `sift`, also for the receive calls that come next.
    pub(super) fn sift_ahead(
        &self,
        log: &Partition,
        from: Cursor,
        wanted: usize,
    ) -> Result<Arc<Sieve>> {
        let (number, filter) = (log.number(), self.settings()?.filter);
        let before = self.sieves.kept(number);
        let ahead = before.map_or(0, |before| before.ahead(filter, from.offset));
        let sieve = Arc::new(self.sift(log, from, wanted.max(ahead))?);
        self.sieves.keep(number, sieve.clone());
        Ok(sieve)
    }

    /// Judges messages from a place of the log on, until so many are found that the group takes.
    /// What cannot be told is left unjudged: whoever asks for it under the lock meets the same.
    pub(super) fn sift(&self, log: &Partition, from: Cursor, wanted: usize) -> Result<Sieve> {
        let settings = self.settings()?;
        let mut sieve = Sieve {
            filter: settings.filter,
            judged: Vec::new(),
        };
        let (mut cursor, mut near, mut bytes, mut found) = (from, None, 0, 0);
        log.scan(&mut cursor, |_, step| {
            let Step::Record {
                offset,
                position,
                length,
                ..
            } = *step
            else {
                return false;
            };
            let takes = takes(&settings, log, &mut near, (offset, position));
            sieve.judged.push((offset, takes));
            (bytes, found) = (bytes + u64::from(length), found + usize::from(takes));
            sieve.judged.len() < SOME && bytes < BYTES && found < wanted
        });
        Ok(sieve)
    }
}

/// Whether the group takes the message. One that cannot be read as a whole it takes: whoever is
/// handed it is told why (P3).
fn takes(
    settings: &Settings,
    log: &Partition,
    near: &mut Option<Record>,
    (offset, position): (u64, u64),
) -> bool {
    let (Some(filter), Ok(record)) = (
        &settings.config.filter,
        log.record_near(
            near.as_ref().map(|last| last.segment().clone()),
            offset,
            position,
        ),
    ) else {
        return true;
    };
    let takes = filter.matches(record.key(), record.headers());
    *near = Some(record);
    takes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{GroupConfig, GroupOptions};

    #[test]
    fn a_sieve_knows_what_was_judged_and_nothing_by_another_filter() {
        let sieve = Sieve {
            filter: 7,
            judged: vec![(3, true), (4, false), (9, true)],
        };
        let mut policy = Policy::of(&GroupConfig::from_options(&GroupOptions::default()));
        policy.filter = 7;
        let told = [2, 3, 4, 5, 9, 10].map(|offset| sieve.verdict(&policy, offset));
        let (takes, passes, unknown) = (Verdict::Takes, Verdict::Passes, Verdict::Unknown);
        assert_eq!(told, [unknown, takes, passes, unknown, takes, unknown]);
        policy.filter = 8;
        assert_eq!(sieve.verdict(&policy, 4), unknown, "judged before a change");
    }

    #[test]
    fn more_is_looked_for_ahead_only_where_what_was_judged_is_gone_through() {
        let judged = |count| Sieve {
            filter: 7,
            judged: (0..count).map(|offset| (offset, offset % 2 == 0)).collect(),
        };
        let ahead = [4, 20, 400].map(|count| judged(count).ahead(7, count));
        assert_eq!(ahead, [4, 20, AHEAD]);
        assert_eq!(judged(4).ahead(7, 5), 0, "another consumer was quicker");
        assert_eq!((judged(4).ahead(8, 4), NONE.ahead(0, 0)), (0, 0));
    }
}
