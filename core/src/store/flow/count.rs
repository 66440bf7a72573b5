//! How much of a topic is not settled, and what may be sent for that.
//!
//! Counted is by sums: how many messages, and bytes, stand before the end of a partition, and
//! before the place where a group goes on. Both only go forward, so that each message is walked
//! over once for the partition and once for each group, and the sums stand in `control` for all
//! processes. Of what a group has taken in its window knows how much is not settled.
//!
//! With several groups it is the union of what each has not settled: at least that of the one with
//! most, at most the sum. Only where that does not decide are the entries looked at.
//!
//! Counting maps files and takes windows' locks, so it is done without the lock of those who send;
//! what was sent meanwhile is added under it, and that is little.

use std::sync::Arc;

use super::super::topic::TopicInner;
use super::groups::{FlowGroups, Known};
use super::oldest::Dropped;
use super::own::Own;
use super::pace;
use super::places::{Place, begin_at, count_place, end_at, load_place, store_place};
use super::room::{Limits, Want, Words};
use crate::error::Result;
use crate::format::control::{flow as at, group_partition};
use crate::log::{Counted, Cursor, Step};
use crate::options::OnFull;
use crate::shm::{OwnerLock, Region};

/// How often what was counted may be overtaken by others before the rest is taken as it stands.
const TRIES: usize = 20;
/// How often others are let go first after a part of what has to be dropped was.
const YIELDS: usize = 64;
/// Messages that are counted with the lock of those who send held.
const SOME: usize = 1024;

/// What came of counting.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Grant {
    /// There is room.
    Given,
    /// There is with what is lent, for as long as there is no news but these.
    Lent(Want, u64),
    /// There is not: so much is not settled, and so much would have to be less.
    Short(Counted, Want),
    /// There is, from this time on, in ns of the boot clock.
    Paced(u64),
}

/// What was counted without the lock of those who send.
struct Measured {
    used: Counted,
    /// The ends of the partitions up to which that goes.
    ends: Vec<Cursor>,
    /// The sum of what stands before them.
    sent: Counted,
}

impl TopicInner {
    /// Counts, and says in the topic's words what may be sent now, by who settles these besides, if
    /// it is a commit. By one at a time; the topic is
    /// over its limit for as long as there is more than that, takes nothing, and says so.
    pub(super) fn count_room(
        self: &Arc<Self>,
        groups: &FlowGroups,
        limits: &Limits,
        want: Want,
        own: &[Own],
    ) -> Result<Grant> {
        loop {
            if let Some(grant) = self.count_once(groups, limits, want, own)? {
                return Ok(grant);
            }
            // Who waits for the lock gets it, and not this one again before he is awake (P17).
            let taken = || {
                self.words()
                    .count_lock()
                    .is_none_or(|lock| !OwnerLock::is_free(lock))
            };
            for _ in 0..YIELDS {
                if taken() {
                    break;
                }
                std::thread::yield_now();
            }
            self.store.check_send()?;
        }
    }

    /// As `count_room`; `None` where more has to be dropped than is at once.
    fn count_once(
        self: &Arc<Self>,
        groups: &FlowGroups,
        limits: &Limits,
        want: Want,
        own: &[Own],
    ) -> Result<Option<Grant>> {
        let drops = limits.on_full == OnFull::DropOldest;
        let (env, words) = (&*self.store.env, self.words());
        let Some(lock) = words.count_lock() else {
            return Ok(Some(Grant::Given));
        };
        // A holder that dies leaves sums that are whole, or none (`store_place`).
        let (_held, _) = OwnerLock::hold(lock, env.me, &*env.live, env.lock_timeout)?;
        env.check_fence()?;
        let mut known = super::super::inner::locked(&groups.known);
        let mut kept = None;
        for turn in 0.. {
            let marks = (words.news(), Words::changed_of(&self.block.head));
            known.follow(self, marks.0)?;
            if self.known_limits() != *limits {
                // Another configuration is in force by now: the caller goes by that.
                return Ok(Some(Grant::Paced(0)));
            }
            let lent = match drops && !own.is_empty() {
                true => known.lent(self, own)?,
                false => Want::NOTHING,
            };
            let less = want.less(lent);
            let measured = self.measure(&mut known, limits, less)?;
            match self.grant(&measured, (limits, less), marks, turn >= TRIES)? {
                None => {}
                Some(Grant::Given) if less != want => return Ok(Some(Grant::Lent(lent, marks.0))),
                Some(Grant::Short(used, need)) if drops => {
                    match self.drop_oldest(&mut known, need, own)? {
                        Dropped::Nothing if kept == Some(used) => {
                            return Ok(Some(Grant::Short(used, need)));
                        }
                        // All that could be may have been settled since it was counted.
                        Dropped::Nothing => kept = Some(used),
                        Dropped::Enough => {}
                        Dropped::Some => return Ok(None),
                    }
                }
                Some(grant) => return Ok(Some(grant)),
            }
        }
        Ok(Some(Grant::Paced(0)))
    }

    /// The limits that are in force.
    pub(super) fn known_limits(&self) -> Limits {
        Limits::of(&self.known_config())
    }

    /// With the lock of those who send: adds what was sent since it was measured; `None` where that
    /// is much, or where it was measured for something else than what is in force now.
    fn grant(
        &self,
        measured: &Measured,
        (limits, want): (&Limits, Want),
        marks: (u64, u64),
        last: bool,
    ) -> Result<Option<Grant>> {
        let (env, words) = (&*self.store.env, self.words());
        let Some(lock) = words.lock() else {
            return Ok(Some(Grant::Given));
        };
        let _held = self.hold_flow(lock)?;
        env.check_fence()?;
        if marks != (words.news(), Words::changed_of(&self.block.head)) {
            return Ok(None);
        }
        let mut since = Counted::default();
        for (log, end) in self.partitions.iter().zip(&measured.ends) {
            let (mut cursor, copying) = (*end, log.is_copying());
            let stopped = log.count_mapped(&mut cursor, u64::MAX, &mut since, SOME);
            match stopped {
                Step::End if !copying => {}
                Step::End => since = since.plus(log.unread_behind(cursor)),
                _ if last => since = since.plus(log.unread_behind(cursor)),
                _ => return Ok(None),
            }
        }
        let used = measured.used.plus(since);
        let room = match limits.on_full {
            OnFull::Throttle => {
                let sent = measured.sent.plus(since);
                let now = env.clock.boot_ns();
                match pace::room(words, limits, (used, sent), want, now) {
                    Ok(room) => room,
                    // What room there is was given before: that is for whoever comes to it.
                    Err(until) => return Ok(Some(Grant::Paced(until))),
                }
            }
            _ => Counted {
                messages: limits.messages.saturating_sub(used.messages),
                bytes: limits.bytes.saturating_sub(used.bytes),
            },
        };
        words.set_room(used, room, marks);
        if want.messages <= room.messages && want.bytes <= room.bytes {
            return Ok(Some(Grant::Given));
        }
        let need = Want {
            messages: want.messages.saturating_sub(room.messages),
            bytes: want.bytes.saturating_sub(room.bytes),
        };
        let over = Want {
            messages: need.messages + used.messages.saturating_sub(limits.messages),
            bytes: need.bytes + used.bytes.saturating_sub(limits.bytes),
        };
        Ok(Some(Grant::Short(used, over)))
    }

    /// Which counts belong together: begun anew where an end was never counted, or where something
    /// is gone of what stood before it.
    fn era(&self) -> Result<u64> {
        let (words, era) = (self.words(), self.words().get(at::ERA));
        let good = |number: usize| {
            let losses = self.partitions[number].losses();
            let region = self.block.flow.as_ref()?;
            load_place(region, end_at(number), era, Some(losses))
        };
        if era != 0 && (0..self.partitions.len()).all(|number| good(number).is_some()) {
            return Ok(era);
        }
        let next = era.wrapping_add(1).max(1);
        for (number, log) in self.partitions.iter().enumerate() {
            let losses = log.losses();
            let place = Place {
                cursor: log.end()?,
                sum: Counted::default(),
            };
            if let Some(region) = &self.block.flow {
                store_place(region, end_at(number), next, &place, losses);
            }
        }
        words.set(at::ERA, next);
        Ok(next)
    }

    /// How much is not settled, exactly where it matters: where a bit less would let this be sent.
    fn measure(&self, known: &mut Known, limits: &Limits, want: Want) -> Result<Measured> {
        let era = self.era()?;
        known.set_era(era);
        let most = match limits.on_full {
            OnFull::Throttle => limits.part(limits.marks.0),
            _ => Counted {
                messages: limits.messages,
                bytes: limits.bytes,
            },
        };
        let bytes = limits.limits_bytes();
        let bytes_fit =
            |used: Counted| !bytes || used.bytes.saturating_add(want.bytes) <= most.bytes;
        let fits = |used: Counted| {
            used.messages.saturating_add(want.messages) <= most.messages && bytes_fit(used)
        };
        // What is dropped is no more than has to be.
        let drops = limits.on_full == OnFull::DropOldest;
        let decides = |(upper, lower): (Counted, Counted)| {
            upper != lower && !fits(upper) && (fits(lower) || drops)
        };
        let followed = bytes || known.groups.len() > 1;
        let (mut ends, mut sums) = self.look(known, era, followed.then_some(false))?;
        if followed && (!bytes_fit(sums.0) || decides(sums)) {
            (ends, sums) = self.look(known, era, Some(true))?;
        }
        let used = match decides(sums) {
            true => self.sum_of_union(known, &ends, era)?,
            false => sums.0,
        };
        let sent = Counted::default();
        Ok(Measured {
            used,
            sent: ends.iter().fold(sent, |sent, end| sent.plus(end.sum)),
            ends: ends.iter().map(|place| place.cursor).collect(),
        })
    }

    /// Reads the windows and then the ends, so that those end where these do, or before; what is
    /// not settled at most, and at least.
    fn look(
        &self,
        known: &mut Known,
        era: u64,
        exact: Option<bool>,
    ) -> Result<(Vec<Place>, (Counted, Counted))> {
        known.look(exact)?;
        let numbers = 0..self.partitions.len() as u32;
        let ends = numbers.map(|number| self.count_end(number, era));
        let ends = ends.collect::<Result<Vec<_>>>()?;
        let sums = self.sum_up(known, &ends, era)?;
        Ok((ends, sums))
    }

    /// The end of a partition, counted up to now.
    fn count_end(&self, number: u32, era: u64) -> Result<Place> {
        let log = &self.partitions[number as usize];
        // One that was copied by who died is padding from here on.
        log.tend_large()?;
        let losses = log.losses();
        let (Some(region), at) = (&self.block.flow, end_at(number as usize)) else {
            let cursor = log.end()?;
            let sum = Counted::default();
            return Ok(Place { cursor, sum });
        };
        let mut place = match load_place(region, at, era, None) {
            Some(place) => place,
            None => Place {
                cursor: log.end()?,
                sum: Counted::default(),
            },
        };
        place.sum = place.sum.plus(log.count(&mut place.cursor, u64::MAX)?);
        store_place(region, at, era, &place, losses);
        Ok(place)
    }

    /// At most, and at least so much. With several groups neither is exact.
    fn sum_up(&self, known: &Known, ends: &[Place], era: u64) -> Result<(Counted, Counted)> {
        let (mut upper, mut lower) = (Counted::default(), Counted::default());
        for (number, end) in ends.iter().enumerate() {
            let log = &self.partitions[number];
            let first = known.earliest.get(number).copied().unwrap_or(0);
            let from_first = |known_at: (&Region, usize)| {
                count_place(log, known_at, era, end, Cursor::at_offset(first))
            };
            if known.groups.is_empty() {
                if let Some(region) = &self.block.flow {
                    let begin = from_first((region, begin_at(number)))?;
                    let all = end.sum.since(begin.sum);
                    (upper, lower) = (upper.plus(all), lower.plus(all));
                }
                continue;
            }
            let (mut fresh, mut open, mut most) =
                (Counted::default(), Counted::default(), Counted::default());
            for (place, group) in known.groups.iter().enumerate() {
                let region = &group.inner.block.partitions[number];
                let known_at = (region, group_partition::COUNTED);
                let Some(read) = &group.read[number] else {
                    let all = end.sum.since(from_first(known_at)?.sum);
                    fresh = larger(fresh, all);
                    most = larger(most, all);
                    continue;
                };
                let next = match read.next.offset < first {
                    true => Cursor::at_offset(first),
                    false => read.next,
                };
                let behind = end
                    .sum
                    .since(count_place(log, known_at, era, end, next)?.sum);
                let taken_in = Counted {
                    messages: read.open,
                    bytes: known.open[number].bytes(place),
                };
                fresh = larger(fresh, behind);
                open = open.plus(taken_in);
                most = larger(most, behind.plus(taken_in));
            }
            upper = upper.plus(fresh.plus(open));
            lower = lower.plus(most);
        }
        Ok((upper, lower))
    }

    /// What any group has not settled, each message once: what some have not looked at yet, and the
    /// entries before that.
    fn sum_of_union(&self, known: &mut Known, ends: &[Place], era: u64) -> Result<Counted> {
        let mut all = Counted::default();
        for (number, end) in ends.iter().enumerate() {
            let log = &self.partitions[number];
            let first = known.earliest.get(number).copied().unwrap_or(0);
            let nexts = known.groups.iter().map(|group| match &group.read[number] {
                Some(read) => (read.next.offset.max(first), group),
                None => (first, group),
            });
            let Some((from, least)) = nexts.min_by_key(|(from, _)| *from) else {
                continue;
            };
            let region = &least.inner.block.partitions[number];
            let at = (region, group_partition::COUNTED);
            let place = count_place(log, at, era, end, Cursor::at_offset(from))?;
            all = all.plus(end.sum.since(place.sum));
            all = all.plus(known.open[number].sum_before(from));
        }
        Ok(all)
    }
}

fn larger(one: Counted, other: Counted) -> Counted {
    Counted {
        messages: one.messages.max(other.messages),
        bytes: one.bytes.max(other.bytes),
    }
}
