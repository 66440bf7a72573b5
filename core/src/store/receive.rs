//! Receiving: what is ready again first, then what nobody has seen, then waiting.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::advance::Moved;
use super::consumer::Consumer;
use super::delivery::{Delivery, ReadMessage};
use super::dying;
use crate::error::{Error, ErrorKind, Result};
use crate::format::control::block as words;
use crate::group::{Admit, Counter, Taken, Window};
use crate::log::{Cursor, Partition, Place, Step};
use crate::shm::EventCount;

/// The beat at which a sleeper looks for the dead and for what fell due.
const BEAT: Duration = Duration::from_millis(50);
/// How often a receive that finds nothing looks for the dead, in ms.
const PROBE_MS: u64 = 20;
const SPINS: u32 = 200;

/// What has to be done outside the window's lock before more can be taken.
enum Need {
    Nothing,
    Map(Cursor),
    Damage(Cursor),
    Room,
}

struct Looked {
    need: Need,
    lease: Duration,
    /// Those whose lease ran out for the last time.
    expired: Vec<(u64, u16)>,
    dying: bool,
    epoch: u32,
    next_due: Option<u64>,
}

impl Consumer {
    /// Up to `max` messages, waiting for the first at most `timeout` (`None`: for ever; zero: not
    /// at all). Empty after the timeout. Each is leased for the group's lease from now on. Damage
    /// is raised once, and settled (P3).
    pub fn receive(&self, max: usize, timeout: Option<Duration>) -> Result<Vec<Delivery>> {
        let mut found = Vec::new();
        if max == 0 {
            let message = "max is 0; expected at least 1";
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let store = &self.group.topic.store;
        loop {
            self.check()?;
            self.take(max, &mut found)?;
            if !found.is_empty() {
                return Ok(found);
            }
            if let Some(error) = self.pending() {
                return Err(error);
            }
            // Its own leases at once; housekeeping cleans up the rest: this group does not wait for
            // what that has to wait for (P10, P13).
            store.notice_dead(PROBE_MS, &self.group);
            let mut freed = false;
            for partition in &self.group.topic.partitions {
                freed |= partition.tend_large()?;
            }
            if freed {
                continue;
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Ok(found);
            }
            if self.spin() {
                continue;
            }
            let group_event = self.group.block.head.word32(words::EVENT);
            // The sleeper before the flag that says that there are any: who sees the flag sees it.
            let token = EventCount::prepare(group_event);
            EventCount::prepare(self.group.topic.block.head.word32(words::GROUPS_EVENT));
            let due = self.take(max, &mut found)?;
            if !found.is_empty() {
                return Ok(found);
            }
            let left = deadline.map_or(BEAT, |at| at.saturating_duration_since(Instant::now()));
            let due = due.map_or(BEAT, |at| {
                Duration::from_millis(at.saturating_sub(store.env.clock.boot_ms()).max(1))
            });
            EventCount::wait(group_event, token, BEAT.min(left).min(due));
        }
    }

    /// What went wrong beside messages that were returned; the next call would tell of it.
    pub(crate) fn pending(&self) -> Option<Error> {
        self.pending
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    pub(super) fn keep_pending(&self, error: Error) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        pending.get_or_insert(error);
    }

    /// Looks for a moment whether something is sent; whether it was.
    fn spin(&self) -> bool {
        let sent = || {
            let partitions = self.group.topic.partitions.iter();
            partitions
                .map(|p| p.next_offset())
                .fold(0, u64::wrapping_add)
        };
        let before = sent();
        for _ in 0..SPINS {
            std::hint::spin_loop();
            if sent() != before {
                return true;
            }
        }
        false
    }

    /// One round over the partitions; when the next lease or delay ends.
    fn take(&self, max: usize, found: &mut Vec<Delivery>) -> Result<Option<u64>> {
        let topic = &self.group.topic;
        let count = topic.partitions.len();
        let first = usize::from(self.turn.fetch_add(1, Ordering::Relaxed)) % count;
        let batch = self.batch.fetch_add(1, Ordering::Relaxed);
        let mut due: Option<u64> = None;
        for turn in 0..count {
            let partition = &topic.partitions[(first + turn) % count];
            match self.take_from(partition, batch, max, found) {
                Ok(ends) => due = [due, ends].into_iter().flatten().min(),
                // Messages of other partitions are leased already, or are there to be: what is
                // wrong with one is told when they are out.
                Err(error) => self.keep_pending(error),
            }
            if found.len() >= max {
                break;
            }
        }
        Ok(due)
    }

    fn take_from(
        &self,
        partition: &Partition,
        batch: u16,
        max: usize,
        found: &mut Vec<Delivery>,
    ) -> Result<Option<u64>> {
        let (group, number) = (&self.group, partition.number());
        loop {
            let clock = &group.topic.store.env.clock;
            let wall_ns = clock.wall_ns();
            let mut taken = Vec::new();
            let wanted = max - found.len();
            let looked = group.with_policy(number, |window, policy| {
                if self.is_closed() {
                    // Closing returns the leases under this lock: later ones nobody would.
                    return None;
                }
                let now = clock.boot_ms();
                let wall_ms = (wall_ns / 1_000_000).max(0) as u64;
                let expired = window.expire(policy, now, wall_ms).dying;
                let lease = (now + policy.lease_ms, self.slot, batch);
                let need = fill(window, policy, partition, wanted, lease, &mut taken);
                Some(Looked {
                    need,
                    lease: Duration::from_millis(policy.lease_ms),
                    expired,
                    dying: window.counter(Counter::Dying) > 0,
                    epoch: group.mark(window.epoch()),
                    next_due: window.next_due(),
                })
            })?;
            let Some(looked) = looked else {
                return Ok(None);
            };
            let deadline_ns = wall_ns.saturating_add(looked.lease.as_nanos() as i64);
            self.deliver(partition, &taken, looked.epoch, deadline_ns, found)?;
            group.remember_expired(number, looked.lease, &looked.expired);
            if looked.dying
                && let Err(error) = dying::move_dying(group, number, dying::GLANCE)
            {
                // What was handed out is not to be lost by it.
                self.keep_pending(error);
            }
            let more = match looked.need {
                Need::Nothing => false,
                Need::Map(cursor) => self.map(partition, cursor)?,
                Need::Damage(cursor) => self.pass_damage(partition, cursor, cursor)?,
                Need::Room => match self.group.grow(number) {
                    // What was found can be settled, and then there is room (P5).
                    Err(error) if error.kind() == ErrorKind::DiskFull && !found.is_empty() => false,
                    grown => grown?,
                },
            };
            if !more || found.len() >= max {
                return Ok(looked.next_due);
            }
        }
    }

    /// Outside the lock: the records, whole. Damage is settled, and raised later if there is
    /// anything good to return first.
    fn deliver(
        &self,
        partition: &Partition,
        taken: &[Taken],
        epoch: u32,
        deadline_ns: i64,
        found: &mut Vec<Delivery>,
    ) -> Result<()> {
        let (topic, number) = (&self.group.topic, partition.number());
        for (place, one) in taken.iter().enumerate() {
            let near = found.last().filter(|last| last.partition == number);
            let near = near.map(|last| &last.message.record);
            match partition.record_near(near, one.offset, one.position) {
                Ok(record) => {
                    let message = ReadMessage {
                        record,
                        topic_id: topic.uid,
                        partition: number,
                    };
                    let (group, attempt) = (self.group.clone(), one.attempt);
                    found.push(Delivery {
                        message,
                        group,
                        attempt,
                        epoch,
                        deadline_ns,
                    });
                }
                Err(error) if error.kind() == ErrorKind::Damaged => {
                    self.group.with_window(number, |window| {
                        window.settle_damaged(one.offset, one.attempt);
                    })?;
                    self.keep_pending(error);
                }
                Err(error) => {
                    // It may be readable another time; nobody was handed it, nor those behind it.
                    self.group.with_window(number, |window| {
                        for one in &taken[place..] {
                            window.release(one.offset, one.attempt);
                        }
                    })?;
                    self.keep_pending(error);
                    return Ok(());
                }
            }
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

/// Under the lock: ready ones first, lowest offset first, then fresh ones from the log.
fn fill(
    window: &mut Window,
    policy: &crate::group::Policy,
    partition: &Partition,
    wanted: usize,
    (due_ms, slot, batch): (u64, u16, u16),
    taken: &mut Vec<Taken>,
) -> Need {
    if policy.paused {
        return Need::Nothing;
    }
    while taken.len() < wanted {
        let Some(one) = window.take_ready(due_ms, slot, batch) else {
            break;
        };
        taken.push(one);
    }
    if taken.len() >= wanted {
        return Need::Nothing;
    }
    let mut cursor = window.cursor();
    if cursor.offset >= partition.next_offset() {
        return Need::Nothing;
    }
    let mut need = Need::Nothing;
    partition.scan(&mut cursor, |at, step| match step {
        Step::Record {
            offset,
            position,
            key_hash,
            next,
            ..
        } => {
            if offset > window.next() && !window.settle_gap(offset) {
                need = Need::Room;
                return false;
            }
            match window.admit(policy, offset, position, key_hash) {
                Admit::Full => {
                    need = Need::Room;
                    return false;
                }
                Admit::Held => window.set_cursor(next),
                Admit::Ready(index) => {
                    window.set_cursor(next);
                    taken.push(window.lease(index, due_ms, slot, batch));
                }
            }
            taken.len() < wanted
        }
        Step::End => false,
        // The end of a segment may be the end of a gap as well.
        Step::NotMapped | Step::Damaged if !window.settle_gap(at.offset) => {
            need = Need::Room;
            false
        }
        Step::NotMapped => {
            window.set_cursor(at);
            need = Need::Map(at);
            false
        }
        Step::Damaged => {
            window.set_cursor(at);
            need = Need::Damage(at);
            false
        }
    });
    need
}
