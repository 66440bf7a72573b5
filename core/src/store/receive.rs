//! Taking messages for a receive call: what is ready again first, then what nobody has seen.

use std::sync::atomic::Ordering;

use super::consumer::Consumer;
use super::delivery::{Delivery, ReadMessage};
use super::dying;
use super::inner::locked;
use super::receiving::{Ask, Gathered, Receiving};
use crate::error::{Error, ErrorKind, Result};
use crate::group::{Admit, Counter, Taken, Window};
use crate::log::{Cursor, Partition, Place, Step};

/// What has to be done outside the window's lock before more can be taken.
enum Need {
    Nothing,
    Map(Cursor),
    Damage(Cursor),
    Room,
}

/// What became of a window's move to a place.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Moved {
    Now,
    ByAnother,
    NoRoom,
}

struct Looked {
    need: Need,
    /// Those whose lease ran out for the last time.
    expired: Vec<(u64, u16)>,
    dying: bool,
    epoch: u32,
    next_due: Option<u64>,
}

impl Consumer {
    /// What went wrong beside messages that were returned; the next call would tell of it.
    pub(crate) fn pending(&self) -> Option<Error> {
        let taken = locked(&self.pending).take();
        if taken.is_some() && !self.is_closed() {
            self.force_readable(false);
        }
        taken
    }

    pub(super) fn keep_pending(&self, error: Error) {
        locked(&self.pending).get_or_insert(error);
        self.force_readable(true);
    }

    /// One round over the partitions; when the next lease or delay ends.
    pub(super) fn take(&self, receiving: &mut Receiving) -> Result<Option<u64>> {
        let (ask, gathered) = (&receiving.ask, &mut receiving.gathered);
        let topic = &self.group.topic;
        let count = topic.partitions.len();
        let first = usize::from(self.turn.fetch_add(1, Ordering::Relaxed)) % count;
        let mut due: Option<u64> = None;
        for turn in 0..count {
            let partition = &topic.partitions[(first + turn) % count];
            match self.take_from(partition, ask, gathered) {
                Ok(ends) => due = [due, ends].into_iter().flatten().min(),
                // Messages of other partitions are leased already, or are there to be: what is
                // wrong with one is told when they are out.
                Err(error) => self.keep_pending(error),
            }
            if gathered.is_full(ask) {
                break;
            }
        }
        Ok(due)
    }

    fn take_from(
        &self,
        partition: &Partition,
        ask: &Ask,
        gathered: &mut Gathered,
    ) -> Result<Option<u64>> {
        let (group, number) = (&self.group, partition.number());
        let (lease, batch) = (ask.lease, ask.batch);
        loop {
            let clock = &group.topic.store.env.clock;
            let wall_ns = clock.wall_ns();
            let mut taken = Vec::new();
            let before = gathered.found.len();
            let wanted = gathered.chunk(ask);
            let looked = group.with_window(number, |window| {
                if !self.hands_out() {
                    // Closing returns the leases under this lock: later ones nobody would.
                    return None;
                }
                let now = clock.boot_ms();
                let wall_ms = (wall_ns / 1_000_000).max(0) as u64;
                let expired = window.expire(&group.policy, now, wall_ms).dying;
                let lease = (now + lease.as_millis() as u64, self.slot, batch);
                let need = fill(window, &group.policy, partition, wanted, lease, &mut taken);
                Some(Looked {
                    need,
                    expired,
                    dying: window.counter(Counter::Dying) > 0,
                    epoch: group.mark(window.epoch()),
                    next_due: window.next_due(),
                })
            })?;
            let Some(looked) = looked else {
                return Ok(None);
            };
            let deadline_ns = wall_ns.saturating_add(lease.as_nanos() as i64);
            let found = &mut gathered.found;
            self.deliver(partition, &taken, looked.epoch, deadline_ns, found)?;
            self.fit(ask, gathered, before);
            group.remember_expired(number, &looked.expired);
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
                Need::Room => match self.grow(number) {
                    // What was found can be settled, and then there is room (P5).
                    Err(error)
                        if error.kind() == ErrorKind::DiskFull && !gathered.found.is_empty() =>
                    {
                        false
                    }
                    grown => grown?,
                },
            };
            // With a limit in bytes as many were taken as seemed to fit.
            let more = more || (ask.bytes.is_some() && taken.len() == wanted);
            if !more || gathered.is_full(ask) {
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
                        held: None,
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
        let moved = self.go_on(partition, cursor, resolved, false)?;
        self.looks_again(partition, moved)
    }

    /// Goes on behind damage at the window's cursor, which was resolved to `at`.
    fn pass_damage(&self, partition: &Partition, cursor: Cursor, at: Cursor) -> Result<bool> {
        let (next, error) = partition.skip_damage(&at)?;
        let moved = self.go_on(partition, cursor, next, true)?;
        if moved == Moved::Now {
            self.keep_pending(error);
        }
        self.looks_again(partition, moved)
    }

    /// Moves the window from one place to another; what is between them is settled.
    fn go_on(&self, log: &Partition, from: Cursor, to: Cursor, damaged: bool) -> Result<Moved> {
        self.group.with_window(log.number(), |window| {
            if window.cursor() != from {
                return Moved::ByAnother;
            }
            if to.offset != from.offset && !window.settle_gap(to.offset) {
                return Moved::NoRoom;
            }
            window.set_cursor(to);
            if damaged {
                window.count_damage();
            }
            Moved::Now
        })
    }

    /// Whether there is something to look at again: also where somebody else has moved on, and
    /// where there is room for the gap now.
    fn looks_again(&self, partition: &Partition, moved: Moved) -> Result<bool> {
        match moved {
            Moved::Now | Moved::ByAnother => Ok(true),
            Moved::NoRoom => self.grow(partition.number()),
        }
    }

    /// Room for more unsettled messages, if the group's limit allows.
    fn grow(&self, partition: u32) -> Result<bool> {
        let group = &*self.group;
        let Some(grower) = group.with_window(partition, |window| window.grower())? else {
            return Ok(false);
        };
        group.topic.store.with_ballast(|| grower.allocate())?;
        group.with_window(partition, |window| window.double(&grower))??;
        grower.sync()?;
        group.with_window(partition, |window| window.allow(&grower))?;
        Ok(true)
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
