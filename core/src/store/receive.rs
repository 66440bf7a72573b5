//! Taking messages for a receive call: what is ready again first, then what nobody has seen.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::advance::Moved;
use super::consumer::Consumer;
use super::delivery::{Delivery, Origin, ReadMessage};
use super::dying;
use super::fill::{Ask, Filled, Need, fill};
use super::group::GroupInner;
use super::receiving::{Gathered, Receiving, Wanted};
use super::sieve::{MOST, NONE};
use crate::error::{Error, ErrorKind, Result};
use crate::group::{Counter, Fate, Hand, Now, Taken};
use crate::log::{Cursor, Partition, Place, Record, Segment};

/// What a look into a partition is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass {
    /// To take what comes next.
    Any,
    /// To take in what nobody has seen, and to take nothing.
    Look,
    /// To take what is ready with this priority or a higher one.
    Ready(usize),
}

struct Looked {
    lease: Duration,
    /// When the leases began.
    wall_ns: i64,
    /// Those whose lease ran out for the last time.
    expired: Vec<(u64, u16)>,
    /// Whether that of one did that a transaction has marked.
    marked: bool,
    dying: bool,
    /// Whether more is out than this look took: also what the call, or its consumer, took before.
    others: bool,
    /// Where that is asked for, the highest priority of what is left ready.
    urgency: Option<usize>,
    /// In ms of the boot clock.
    now_ms: u64,
    /// The partition hands out one at a time.
    in_line: bool,
    epoch: u32,
    /// When the next lease or delay ends, as far as that may be waited for.
    next_due: Option<u64>,
}

/// So many are put together before they are looked at for damage: behind one that is damaged these
/// were in vain.
const TOGETHER: usize = 32;

/// As most batches go: how many of these are in the segment where it was last, say nothing of their
/// delivery, and are whole. Each is put together in its place, and looked at for damage after that.
fn put_together(
    segment: &Arc<Segment>,
    taken: &[Taken],
    delivery: &impl Fn(&Taken, Record, Option<Arc<Origin>>) -> Delivery,
    found: &mut Vec<Delivery>,
) -> usize {
    let plain = |one: &&Taken| segment.is_plain(one.offset, one.position);
    let whole = |(one, put): &(&Taken, &Delivery)| put.message.record.is_whole(one.offset);
    let begin = found.len();
    for some in taken.chunks(TOGETHER) {
        let (these, before) = (some.iter().take_while(plain).count(), found.len());
        found.extend(
            some[..these]
                .iter()
                .map(|one| delivery(one, Record::plain(segment.clone(), one.position), None)),
        );
        let count = some.iter().zip(&found[before..]).take_while(whole).count();
        found.truncate(before + count);
        if count < some.len() {
            break;
        }
    }
    found.len() - begin
}

impl Consumer {
    /// One round over the partitions; when the next lease or delay ends.
    pub(super) fn take(&self, receiving: &mut Receiving) -> Result<Option<u64>> {
        let (wanted, gathered) = (&receiving.wanted, &mut receiving.gathered);
        let mut due: Option<u64> = None;
        gathered.sifting = false;
        // What was redriven comes before what is fresh.
        let lane = self.group.lane().unwrap_or_else(|error| {
            self.keep_pending(error);
            None
        });
        if let Some(lane) = &lane.filter(|lane| !lane.is_idle(0)) {
            let letters = &lane.topic.partitions[0];
            match self.take_from(lane, letters, Pass::Any, (wanted, gathered)) {
                Ok(ends) => due = ends,
                Err(error) => self.keep_pending(error),
            }
            if gathered.is_full(wanted) {
                return Ok(due);
            }
        }
        let topic = &self.group.topic;
        let count = topic.partitions.len();
        let first = match count {
            1 => 0,
            _ => usize::from(self.turn.fetch_add(1, Ordering::Relaxed)) % count,
        };
        if count > 1 && topic.has_priorities() {
            let ends = self.take_by_urgency(first, wanted, gathered);
            return Ok([due, ends].into_iter().flatten().min());
        }
        for turn in 0..count {
            let partition = &topic.partitions[(first + turn) % count];
            match self.take_from(&self.group, partition, Pass::Any, (wanted, gathered)) {
                Ok(ends) => due = [due, ends].into_iter().flatten().min(),
                // Messages of other partitions are leased already, or are there to be: what is
                // wrong with one is told when they are out.
                Err(error) => self.keep_pending(error),
            }
            if gathered.is_full(wanted) {
                break;
            }
        }
        Ok(due)
    }

    /// When the next lease or delay of the partition ends.
    pub(super) fn take_from(
        &self,
        group: &Arc<GroupInner>,
        partition: &Partition,
        pass: Pass,
        (wanted, gathered): (&Wanted, &mut Gathered),
    ) -> Result<Option<u64>> {
        let number = partition.number();
        let (looks, least) = match pass {
            Pass::Any => (false, 0),
            Pass::Look => (true, 0),
            Pass::Ready(least) => (false, least),
        };
        let fresh = !group.is_lane() && !matches!(pass, Pass::Ready(_));
        let mut look_ahead = fresh && group.topic.has_priorities();
        let (mut sieve, mut sieves) = (group.sieves.kept(number), 0);
        loop {
            let clock = &group.topic.store.env.clock;
            let mut filled = Filled::default();
            let chunk = if looks { 0 } else { gathered.chunk(wanted) };
            let before = gathered.found.len();
            let looked = group.with_policy(number, |window, policy| {
                if !self.hands_out() {
                    // Closing returns the leases under this lock: later ones nobody would.
                    return None;
                }
                // Under the lock: who waited for it takes what fell due meanwhile, and is told when
                // the lease ends that begins now.
                let (boot_ns, wall_ns) = clock.moment();
                let now = Now::at((boot_ns, wall_ns));
                let lease = wanted
                    .lease
                    .unwrap_or(Duration::from_millis(policy.lease_ms));
                let ended = window.expire(policy, now);
                let expired = ended.dying;
                let ask = Ask {
                    wanted: chunk,
                    hand: Hand {
                        due_ms: now.boot_ms + lease.as_millis() as u64,
                        consumer: self.slot,
                        batch: wanted.batch,
                        begun: wanted.is_alone(),
                    },
                    now,
                    fresh,
                    look_ahead,
                    least,
                    sieve: sieve.as_deref().unwrap_or(&NONE),
                };
                fill(window, policy, partition, &ask, &mut filled);
                Some(Looked {
                    lease,
                    wall_ns,
                    expired,
                    marked: ended.marked,
                    dying: window.counter(Counter::Dying) > 0,
                    others: window.counter(Counter::Leased) > filled.taken.len() as u64
                        || window.counter(Counter::Committing) > 0,
                    urgency: (pass != Pass::Any && !policy.paused)
                        .then(|| window.most_urgent())
                        .flatten(),
                    now_ms: now.boot_ms,
                    in_line: policy.is_in_line(),
                    epoch: group.mark(window.epoch()),
                    // Who has all that it asked for does not wait for it.
                    next_due: (looks || filled.taken.len() < chunk)
                        .then(|| window.next_due())
                        .flatten(),
                })
            })?;
            let Some(looked) = looked else {
                return Ok(None);
            };
            gathered.lease = looked.lease;
            gathered.urgency = looked.urgency;
            gathered.now_ms = looked.now_ms;
            gathered.others |= looked.others;
            gathered.share = looked.in_line.then(|| self.share(looked.now_ms));
            let lease_ns = looked.lease.as_nanos() as i64;
            let deadline_ns = looked.wall_ns.saturating_add(lease_ns);
            let found = &mut gathered.found;
            let how = (looked.epoch, deadline_ns, wanted.is_alone());
            let late = self.deliver((group, partition), &mut filled, how, found);
            // Also of those before one that failed.
            self.fit(wanted, gathered, before);
            filled.again |= late?;
            if !looked.expired.is_empty() {
                group.remember_expired(number, &looked.expired);
            }
            if looked.marked {
                group.look_at_marks(number);
            }
            for offset in filled.dying {
                group.remember_late(number, offset);
            }
            if looked.dying {
                match dying::move_passing(group, number) {
                    // What waited behind them is ready now.
                    Ok(moved) => filled.again |= moved,
                    // What was handed out is not to be lost by it.
                    Err(error) => self.keep_pending(error),
                }
            }
            let more = match filled.need {
                Need::Nothing => false,
                Need::More => true,
                Need::Map(cursor) => self.map(partition, cursor)?,
                // What was found, and other partitions, do not wait for all that the filter leaves
                // out, nor does who asks until when he waits.
                Need::Sieve(_) if sieves >= MOST => {
                    gathered.sifting = true;
                    false
                }
                Need::Sieve(cursor) => {
                    sieves += 1;
                    let wanted = if look_ahead { usize::MAX } else { chunk.max(1) };
                    sieve = Some(group.sift_ahead(partition, cursor, wanted)?);
                    true
                }
                Need::Damage(cursor) => self.pass_damage(partition, cursor, cursor)?,
                Need::Room => match self.group.grow(number) {
                    // What was found can be settled, and then there is room (P5).
                    Err(error)
                        if error.kind() == ErrorKind::DiskFull
                            && (look_ahead || !gathered.found.is_empty()) =>
                    {
                        false
                    }
                    grown => grown?,
                },
            };
            // With a limit in bytes as many were taken as seemed to fit.
            let more = more
                || filled.again
                || (wanted.bytes.is_some() && filled.taken.len() == chunk && !looks);
            if gathered.is_full(wanted) || (!more && (looks || !look_ahead)) {
                return Ok(looked.next_due);
            }
            // Where it cannot look further ahead it takes what it has seen.
            look_ahead &= more;
        }
    }

    /// Outside the lock: the records, whole. Damage is settled, and raised later if there is
    /// anything good to return first. Whether any came too late, and was settled for that.
    fn deliver(
        &self,
        (group, partition): (&Arc<GroupInner>, &Partition),
        filled: &mut Filled,
        (epoch, deadline_ns, started): (u32, i64, bool),
        found: &mut Vec<Delivery>,
    ) -> Result<bool> {
        let mut late = false;
        let (topic, number) = (&group.topic, partition.number());
        let delivery = |one: &Taken, record: Record, origin: Option<Arc<Origin>>| Delivery {
            message: ReadMessage {
                record,
                topic_id: topic.uid,
                partition: number,
                origin,
            },
            group: group.clone(),
            attempt: one.attempt,
            epoch,
            started,
            deadline_ns,
            held: None,
        };
        let (mut taken, begin) = (&filled.taken[..], found.len());
        if found.capacity() == 0 {
            *found = Vec::with_capacity(taken.len());
        }
        while let Some((one, rest)) = taken.split_first() {
            let near = match found[begin..].last() {
                Some(last) => Some(last.message.record.segment().clone()),
                None => filled.segment.take(),
            };
            let mut origin = None;
            let mut record = match &near {
                Some(segment) if !rest.is_empty() && !group.is_lane() => {
                    let count = put_together(segment, taken, &delivery, found);
                    if count > 0 {
                        taken = &taken[count..];
                        continue;
                    }
                    partition.record_by_header(near, one.offset, one.position)
                }
                _ => partition.record_near(near, one.offset, one.position),
            };
            if group.is_lane() {
                record = record.and_then(|record| {
                    origin = Origin::of(group, &record)?;
                    Ok(record)
                });
            }
            let record = match record {
                Ok(record) => record,
                Err(error) => {
                    match self.pass_unreadable(group, (number, epoch, taken), error)? {
                        Some(gone) => late |= gone,
                        None => return Ok(late),
                    }
                    taken = rest;
                    continue;
                }
            };
            taken = rest;
            // Whoever redrives a message wants it handed out, as one that a lane hands out is.
            if !one.redriven && self.is_late(&record) {
                self.settle_late(group, number, one, epoch)?;
                late = true;
                continue;
            }
            found.push(delivery(one, record, origin));
        }
        Ok(late)
    }

    /// The first of these cannot be read: whether it is gone, or damaged and told of. `None` where
    /// none of them is to be tried now.
    #[cold]
    fn pass_unreadable(
        &self,
        group: &GroupInner,
        (number, epoch, these): (u32, u32, &[Taken]),
        error: Error,
    ) -> Result<Option<bool>> {
        let Some(one) = these.first() else {
            return Ok(None);
        };
        match error.kind() {
            ErrorKind::Damaged => {
                group.with_epoch(number, epoch, |window, _| {
                    window.settle_damaged(one.offset, one.attempt);
                })?;
                self.keep_pending(error);
                Ok(Some(false))
            }
            ErrorKind::Removed => {
                let now = Now::by(&*group.topic.store.env.clock);
                group.with_window(number, |window| {
                    window.end_taken(one.offset, Fate::Lost, now);
                })?;
                Ok(Some(true))
            }
            _ => {
                // It may be readable another time; nobody was handed it, nor those behind it.
                group.with_epoch(number, epoch, |window, _| {
                    for one in these {
                        window.take_back(one.offset, one.attempt);
                    }
                })?;
                self.keep_pending(error);
                Ok(None)
            }
        }
    }

    #[inline]
    fn is_late(&self, record: &Record) -> bool {
        let clock = &self.group.topic.store.env.clock;
        let limit = record.attributes().expires_at_ms;
        limit.is_some_and(|limit| limit <= clock.wall_ms() as i64)
    }

    #[cold]
    fn settle_late(
        &self,
        group: &GroupInner,
        partition: u32,
        one: &Taken,
        epoch: u32,
    ) -> Result<()> {
        let (now, mut dies) = (Now::by(&*group.topic.store.env.clock), false);
        group.with_epoch(partition, epoch, |window, policy| {
            window.settle_expired(policy, one.offset, one.attempt, now);
            dies = policy.expired_die;
        })?;
        if dies {
            group.remember_late(partition, one.offset);
        }
        Ok(())
    }

    /// Maps the segment that the window's cursor is in, or finds the cursor's place.
    fn map(&self, partition: &Partition, cursor: Cursor) -> Result<bool> {
        let mut resolved = cursor;
        match partition.resolve(&mut resolved)? {
            Place::Mapped => {}
            Place::Nothing => return Ok(false),
            Place::Broken => return self.pass_damage(partition, cursor, resolved),
        }
        let moved = self.group.go_on(partition, cursor, resolved, false)?;
        self.looks_again(partition, moved)
    }

    /// Goes on behind damage at the window's cursor, which was resolved to `at`.
    fn pass_damage(&self, partition: &Partition, cursor: Cursor, at: Cursor) -> Result<bool> {
        let (next, error) = partition.skip_damage(&at)?;
        if error.kind() == ErrorKind::Removed {
            let group = &self.group;
            let moved = group.go_on_behind_taken(partition, cursor, next.offset)?;
            return self.looks_again(partition, moved);
        }
        let moved = self.group.go_on(partition, cursor, next, true)?;
        if moved == Moved::Now {
            self.keep_pending(error);
        }
        self.looks_again(partition, moved)
    }

    /// Whether there is something to look at again: also where somebody else has moved on, and
    /// where there is room for the gap now.
    fn looks_again(&self, partition: &Partition, moved: Moved) -> Result<bool> {
        match moved {
            Moved::Now | Moved::ByAnother => Ok(true),
            Moved::NoRoom => self.group.grow(partition.number()),
        }
    }
}
