//! Handing out.

use super::cause::Cause;
use super::gather::GATHERED;
use super::policy::{Now, Policy};
use super::tally::Tallied;
use super::window::{Counter, Window};
use crate::format::window::{header, state};

/// To whom messages are handed out, and until when.
#[derive(Clone, Copy)]
pub struct Hand {
    /// When the leases end, in ms of the boot clock.
    pub due_ms: u64,
    /// The consumer's slot.
    pub consumer: u16,
    /// The number of its batch.
    pub batch: u16,
    /// Whether work on them begins with the hand-out.
    pub begun: bool,
}

/// A message that was handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Its offset.
    pub offset: u64,
    /// Its position in its segment.
    pub position: u64,
    /// The number of this hand-out, from 1.
    pub attempt: u32,
    /// Whether it held its key as a dead letter, and was redriven.
    pub redriven: bool,
}

/// A message on its way to the dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dying {
    /// Its offset.
    pub offset: u64,
    /// Its position in its segment.
    pub position: u64,
    /// How often it was handed out.
    pub attempts: u32,
    /// How many of those failed.
    pub failures: u32,
    /// When it first failed, in ms since the epoch.
    pub first_failed_ms: u64,
    /// Slot of the last consumer.
    pub consumer: u16,
    /// Since when it is dying, in ms of the boot clock.
    pub since_ms: u64,
    /// Why.
    pub cause: Cause,
    /// How often it was redriven, as far as fifteen.
    pub cycles: u32,
    /// Whether it holds its key where dead letters do.
    pub may_hold: bool,
}

/// What the passing of time, or a death, did to leases.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Returned {
    /// Messages that are not leased or delayed any more.
    pub count: u32,
    /// Those of them that failed for the last time: offset and slot of the last consumer.
    pub dying: Vec<(u64, u16)>,
    /// Whether the time of one is over that a transaction is about to settle, or left so.
    pub marked: bool,
}

impl Window {
    /// As `take_urgent`, whatever the priority.
    #[cfg(test)]
    pub fn take_ready(&self, due_ms: u64, consumer: u16, batch: u16) -> Option<Taken> {
        let hand = Hand {
            due_ms,
            consumer,
            batch,
            begun: false,
        };
        self.take_urgent(0, &hand)
    }

    /// The highest priority of the ready messages.
    pub fn most_urgent(&self) -> Option<usize> {
        self.has_ready().then(|| self.ready.top()).flatten()
    }

    /// Hands out the ready message with the highest priority, unless that is below the least; of
    /// those with the lowest offset.
    #[inline]
    pub fn take_urgent(&self, least: usize, hand: &Hand) -> Option<Taken> {
        if !self.has_ready() {
            return None;
        }
        let index = self.ready.take(self.index(self.floor()), least)?;
        self.count(Counter::Ready, -1);
        Some(self.hand_out(index, hand))
    }

    /// Hands out an admitted message.
    #[inline]
    pub fn hand_out(&self, index: u32, hand: &Hand) -> Taken {
        let one = self.lease(index, hand.due_ms, hand.consumer, hand.batch);
        if hand.begun {
            self.entries.mark_started(index);
        }
        one
    }

    /// Leases an admitted message. The attempt is counted before the state says so, and both
    /// before the caller learns of it (P6).
    #[inline]
    pub fn lease(&self, index: u32, due_ms: u64, consumer: u16, batch: u16) -> Taken {
        let attempt = self.entries.count_attempt(index);
        self.entries.set_lease(index, due_ms, consumer);
        self.entries.set_batch(index, batch);
        self.entries.set_state(index, state::LEASED);
        self.wheel.insert(&self.entries, index, due_ms);
        self.count(Counter::Leased, 1);
        if !self.once {
            self.count_hand_out(attempt, consumer);
        }
        let position = u64::from(self.entries.position(index));
        Taken {
            offset: self.offset_at(index),
            position,
            attempt,
            redriven: self.entries.cycles(index) > 0,
        }
    }

    #[inline]
    fn count_hand_out(&self, attempt: u32, consumer: u16) {
        self.count(Counter::Delivered, 1);
        self.tally.count(consumer, Tallied::Delivered);
        if attempt > 1 {
            self.count(Counter::Redelivered, 1);
        }
    }

    /// A hand-out that nobody was told of is not counted. Where the group hands out at most once it
    /// never was.
    pub(super) fn uncount_hand_out(&self, index: u32, attempt: u32) {
        if self.once {
            return;
        }
        if self.entries.state(index) == state::LEASED {
            self.tally.uncount_delivered(self.entries.consumer(index));
        }
        self.count(Counter::Delivered, -1);
        if attempt > 1 {
            self.count(Counter::Redelivered, -1);
        }
    }

    /// Ends leases, delays and waits whose time has come.
    #[inline]
    pub fn expire(&self, policy: &Policy, now: Now) -> Returned {
        self.follow_wall_clock(now);
        match self.wheel.is_done_at(now.boot_ms) {
            true => Returned::default(),
            false => self.expire_due(policy, now),
        }
    }

    fn expire_due(&self, policy: &Policy, now: Now) -> Returned {
        let mut due = Vec::new();
        let (mut dying, mut scheduled, mut marked) = (Vec::new(), Vec::new(), false);
        self.wheel
            .advance(&self.entries, now.boot_ms, |index| due.push(index));
        for index in &due {
            match self.entries.state(*index) {
                state::LEASED => {
                    self.count(Counter::Leased, -1);
                    if self.once {
                        self.end_without_consumer(*index);
                        continue;
                    }
                    if self.entries.batch(*index) == GATHERED {
                        // Nobody was told of it (P9); its attempt stays counted, as in
                        // `end_without_consumer`.
                        self.make_ready(*index);
                        continue;
                    }
                    self.count(Counter::TimedOut, 1);
                    let times = (now.boot_ms, now.wall_ms);
                    if self.fail(policy, *index, None, times, Cause::LeaseEnded) {
                        dying.push((self.offset_at(*index), self.entries.consumer(*index)));
                    }
                }
                state::DELAYED => {
                    self.count(Counter::Delayed, -1);
                    self.make_ready(*index);
                }
                state::COMMITTING => {
                    self.look_again(*index, now);
                    marked = true;
                }
                state::SCHEDULED => {
                    let at = self.entries.deliver_at_ms(*index);
                    scheduled.push((at, self.offset_at(*index)));
                }
                _ => {}
            }
        }
        // They take their places in the order of their times.
        scheduled.sort_unstable();
        for (_, offset) in scheduled {
            self.falls_due(self.index(offset), now);
        }
        Returned {
            count: due.len() as u32,
            dying,
            marked,
        }
    }

    /// A failure: back after a while, or on to the dead letters, which is what it says. The entry
    /// hangs in no timer.
    pub(super) fn fail(
        &self,
        policy: &Policy,
        index: u32,
        delay_ms: Option<u64>,
        (now_ms, wall_ms): (u64, u64),
        cause: Cause,
    ) -> bool {
        self.count(Counter::Failed, 1);
        self.tally
            .count(self.entries.consumer(index), Tallied::Failed);
        if self.entries.first_failed_ms(index) == 0 {
            self.entries.set_first_failed_ms(index, wall_ms.max(1));
        }
        let failures = self.entries.failures(index) + 1;
        if failures >= policy.max_attempts {
            self.die(index, failures, now_ms, cause);
            return true;
        }
        let wait = delay_ms.unwrap_or_else(|| policy.wait_ms(failures, self.offset_at(index)));
        let (due, consumer) = (now_ms.saturating_add(wait), self.entries.consumer(index));
        self.entries.set_lease(index, due, consumer);
        self.entries.set_failed(index, failures, state::DELAYED);
        self.count(Counter::Delayed, 1);
        self.wheel.insert(&self.entries, index, due);
        false
    }

    /// From here on the message is never handed out again. Since when and why is kept with it, in
    /// words that said until when it was leased, or waited, or which place it had in its order. So
    /// the state comes first: a death before it leaves the message as it was, and one behind it
    /// costs no more than the reason (P6, P11).
    pub(super) fn die(&self, index: u32, failures: u32, now_ms: u64, cause: Cause) {
        let waited_alone = self.entries.state(index) == state::SCHEDULED;
        self.entries.set_failed(index, failures, state::DYING);
        self.entries
            .set_dying(index, now_ms, cause, self.entries.consumer(index));
        if waited_alone {
            // Nothing of its key ever waits for it, and it did not fail at the time it waited for.
            self.entries.forget_key(index);
            self.entries.set_first_failed_ms(index, 0);
        }
        self.push_dying(index);
    }

    /// Dying messages hang in a list of their own through their timer words.
    pub(super) fn push_dying(&self, index: u32) {
        self.list_as_dying(index);
        self.count(Counter::Dying, 1);
    }

    /// As `push_dying`, and does not count it.
    pub(super) fn list_as_dying(&self, index: u32) {
        self.entries
            .set_timer_next(index, self.head.get(header::DYING) as u32);
        self.head.set(header::DYING, u64::from(index) + 1);
    }

    /// Indices of the messages that are on their way to the dead letters and that are wanted by
    /// offset and by the ms of the boot clock since when they are.
    fn list_dying(&self, wanted: impl Fn(u64, u64) -> bool) -> impl Iterator<Item = u32> {
        let mut at = self.head.get(header::DYING) as u32;
        let each = move || {
            let index = at.checked_sub(1)?;
            at = self.entries.timer_next(index);
            Some(index)
        };
        std::iter::from_fn(each).filter(move |index| {
            wanted(self.offset_at(*index), self.entries.dying_since_ms(*index))
        })
    }

    /// Whether there are any that are wanted (see `dying`).
    pub fn any_dying(&self, wanted: impl Fn(u64, u64) -> bool) -> bool {
        self.list_dying(wanted).next().is_some()
    }

    /// The messages that are on their way to the dead letters and that are wanted by offset and by
    /// the ms of the boot clock since when they are, in the order of their offsets.
    pub fn dying(&self, wanted: impl Fn(u64, u64) -> bool) -> Vec<Dying> {
        let dying = |index| Dying {
            offset: self.offset_at(index),
            position: u64::from(self.entries.position(index)),
            attempts: self.entries.attempts(index),
            failures: self.entries.failures(index),
            first_failed_ms: self.entries.first_failed_ms(index),
            consumer: self.entries.consumer(index),
            since_ms: self.entries.dying_since_ms(index),
            cause: self.entries.cause(index),
            cycles: self.entries.cycles(index),
            may_hold: self.may_hold(index),
        };
        let mut found: Vec<Dying> = self.list_dying(wanted).map(dying).collect();
        found.sort_unstable_by_key(|dead| dead.offset);
        found
    }

    /// Whether this message is on its way to the dead letters.
    pub fn is_dying(&self, offset: u64) -> bool {
        let index = self.index(offset);
        let inside = offset >= self.floor() && offset < self.next();
        inside && self.entries.is_of(index, offset) && self.entries.state(index) == state::DYING
    }

    /// Takes these offsets off the list of the dying.
    pub(super) fn drop_dying(&self, gone: &dyn Fn(u32) -> bool) {
        let mut at = self.head.get(header::DYING) as u32;
        let mut last = None;
        while at != 0 {
            let index = at - 1;
            at = self.entries.timer_next(index);
            if !gone(index) {
                last = Some(index);
                continue;
            }
            self.count(Counter::Dying, -1);
            match last {
                Some(before) => self.entries.set_timer_next(before, at),
                None => self.head.set(header::DYING, u64::from(at)),
            }
        }
    }
}
