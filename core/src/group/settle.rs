//! Settling: what ends a hand-out.

use super::cause::Cause;
use super::entry::{NOBODY, Said};
use super::policy::{Now, Policy};
use super::tally::Tallied;
use super::window::{Counter, Window};
use crate::format::window::state;

/// What a settle did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It counts.
    Done,
    /// It counts, and was the message's last failure: it goes to the dead letters.
    Dying,
    /// The receipt's hand-out is not the last one any more, or is settled already.
    Stale,
}

impl Window {
    /// The entry of a hand-out that is still the message's last one. A lease that ran out is good
    /// for as long as nobody else was handed the message (P9).
    #[inline]
    pub(super) fn find(&self, offset: u64, attempt: u32) -> Option<u32> {
        self.look_up(offset, attempt).map(|said| said.index)
    }

    /// As `find`, with what else the entry says.
    #[inline]
    pub(super) fn look_up(&self, offset: u64, attempt: u32) -> Option<Said> {
        if offset < self.floor() || offset >= self.next() {
            return None;
        }
        let index = self.index(offset);
        let said = self.entries.said(index);
        let waiting = matches!(said.state(), state::LEASED | state::READY | state::DELAYED);
        let same = self.entries.says(said.word, offset) && said.attempts == attempt;
        (waiting && same && said.consumer != NOBODY && attempt > 0).then_some(said)
    }

    /// Counts what became of a hand-out in its consumer's hands. Of a lease that ran out that was
    /// told already, and another consumer may have the slot by now.
    #[inline]
    fn tally_lease(&self, said: &Said, what: Tallied) {
        if said.state() == state::LEASED {
            self.tally.count(said.consumer, what);
        }
    }

    /// Takes the entry out of whatever it hangs in.
    #[inline]
    pub(super) fn unhook(&self, index: u32) {
        self.unhook_as(index, self.entries.state(index));
    }

    #[inline]
    fn unhook_as(&self, index: u32, state: u64) {
        let counter = match state {
            state::LEASED => Counter::Leased,
            state::DELAYED => Counter::Delayed,
            state::SCHEDULED => Counter::Scheduled,
            state::COMMITTING => Counter::Committing,
            _ => {
                self.ready.clear(index, self.entries.priority(index));
                self.count(Counter::Ready, -1);
                return;
            }
        };
        self.wheel.remove(&self.entries, index);
        self.count(counter, -1);
    }

    /// The message is done. The state is published first: a death before the rest is repaired from
    /// it. Whether a later message of the key became ready.
    #[inline]
    pub(super) fn finish(&self, index: u32) -> bool {
        let said = self.entries.said(index);
        self.finish_as(&said)
    }

    #[inline]
    fn finish_as(&self, said: &Said) -> bool {
        let index = said.index;
        // One that waits for its own time is in no order.
        let waited_alone = said.state() == state::SCHEDULED;
        self.entries.settle(said);
        let mut freed = false;
        if said.key_hash != 0
            && !waited_alone
            && let Some(next) = self.keys.leave(&self.entries, index)
            // Never handed out again (P12), or not before it is redriven (P11), it still goes
            // before those behind it.
            && !matches!(self.entries.state(next), state::DYING | state::HOLDING)
        {
            self.count(Counter::Held, -1);
            self.make_ready(next);
            freed = true;
        }
        if index == self.index(self.floor()) {
            self.raise_floor();
        }
        freed
    }

    /// Acknowledges a hand-out, as `settling` does.
    #[cfg(test)]
    pub fn ack(&self, offset: u64, attempt: u32) -> Settled {
        match self.look_up(offset, attempt) {
            Some(said) => self.ack_said(&said),
            None => Settled::Stale,
        }
    }

    /// Acknowledges the hand-out whose entry was found. Who dies in between leaves it done and not
    /// counted, or not done: what is counted first is counted again when it is done (P15).
    pub(super) fn ack_said(&self, said: &Said) -> Settled {
        self.tally_lease(said, Tallied::Acked);
        self.unhook_as(said.index, said.state());
        self.finish_as(said);
        self.count(Counter::Acked, 1);
        Settled::Done
    }

    /// A hand-out failed. A late receipt's failure was counted when the lease ran out; it then only
    /// sets the delay.
    pub fn nack(
        &self,
        policy: &Policy,
        (offset, attempt): (u64, u32),
        delay_ms: Option<u64>,
        now_ms: u64,
        wall_ms: u64,
    ) -> Settled {
        let Some(index) = self.find(offset, attempt) else {
            return Settled::Stale;
        };
        let late = self.entries.state(index) != state::LEASED;
        if late && delay_ms.is_none() {
            return Settled::Done;
        }
        self.unhook(index);
        if late {
            let due = now_ms.saturating_add(delay_ms.unwrap_or(0));
            self.entries
                .set_lease(index, due, self.entries.consumer(index));
            self.entries.set_state(index, state::DELAYED);
            self.count(Counter::Delayed, 1);
            self.wheel.insert(&self.entries, index, due);
        } else if self.fail(policy, index, delay_ms, (now_ms, wall_ms), Cause::Nack) {
            return Settled::Dying;
        }
        Settled::Done
    }

    /// Hands a message back, uncounted and at once.
    pub fn release(&self, offset: u64, attempt: u32) -> Settled {
        let Some(index) = self.find(offset, attempt) else {
            return Settled::Stale;
        };
        if self.entries.state(index) == state::LEASED {
            self.unhook(index);
            self.make_ready(index);
        }
        Settled::Done
    }

    /// More time. A late receipt gets its lease back.
    pub fn extend(&self, offset: u64, attempt: u32, due_ms: u64, consumer: u16) -> Settled {
        let Some(index) = self.find(offset, attempt) else {
            return match self.extend_marked(offset, attempt, due_ms, consumer) {
                true => Settled::Done,
                false => Settled::Stale,
            };
        };
        self.unhook(index);
        self.entries.set_lease(index, due_ms, consumer);
        self.entries.set_state(index, state::LEASED);
        self.count(Counter::Leased, 1);
        self.wheel.insert(&self.entries, index, due_ms);
        Settled::Done
    }

    /// Gives up on a message now. A late receipt's failure was counted when the lease ran out.
    pub fn give_up(&self, offset: u64, attempt: u32, now_ms: u64, wall_ms: u64) -> Settled {
        let Some(said) = self.look_up(offset, attempt) else {
            return Settled::Stale;
        };
        self.tally_lease(&said, Tallied::Failed);
        self.give_up_entry(said.index, now_ms, wall_ms);
        Settled::Dying
    }

    /// The message is given up. Of its hand-outs the last one failed by that, if it was out: one
    /// that was not counts what failed before, and may never have been handed out.
    pub(super) fn give_up_entry(&self, index: u32, now_ms: u64, wall_ms: u64) {
        let failed = self.entries.state(index) == state::LEASED;
        self.unhook_any(index);
        let failures = self.entries.failures(index) + u32::from(failed);
        if failed {
            self.count(Counter::Failed, 1);
        }
        self.die(index, failures, now_ms, Cause::GivenUp);
        if self.entries.first_failed_ms(index) == 0 {
            self.entries.set_first_failed_ms(index, wall_ms.max(1));
        }
    }

    /// The message's bytes are damaged: nobody can be handed it (P3).
    pub fn settle_damaged(&self, offset: u64, attempt: u32) -> Settled {
        let Some(index) = self.find(offset, attempt) else {
            return Settled::Stale;
        };
        self.unhook(index);
        self.finish(index);
        self.count(Counter::Damaged, 1);
        Settled::Done
    }

    /// It is too late for what was handed out: nobody gets it.
    pub fn settle_expired(&self, policy: &Policy, offset: u64, attempt: u32, now: Now) {
        if let Some(index) = self.find(offset, attempt) {
            self.uncount_hand_out(index, attempt);
            self.unhook(index);
            if policy.expired_die {
                let failures = self.entries.failures(index);
                self.die(index, failures, now.boot_ms, Cause::TooLate);
            } else {
                self.finish(index);
            }
            self.count(Counter::Expired, 1);
        }
    }

    /// As `settle_damaged`, of a message on its way to the dead letters.
    pub fn settle_damaged_dying(&self, offset: u64) {
        if self.is_dying(offset) {
            self.drop_dying(&|index| self.offset_at(index) == offset);
            self.finish(self.index(offset));
            self.count(Counter::Damaged, 1);
        }
    }

    /// Counts damage that no message's number is known of.
    pub fn count_damage(&self) {
        self.count(Counter::Damaged, 1);
    }

    /// These messages are in the dead letters, durably: here they are done (P12).
    /// Where dead letters hold their keys such a one does from here on: that is one word, and hangs
    /// in nothing but its key's chain, where it stays the first.
    pub fn settle_dead(&self, policy: &Policy, offsets: &[u64]) {
        let moved: std::collections::HashSet<u64> = offsets.iter().copied().collect();
        self.drop_dying(&|index| moved.contains(&self.offset_at(index)));
        for offset in moved {
            if self.is_dying(offset) {
                let index = self.index(offset);
                if policy.hold_key && self.may_hold(index) {
                    self.entries.set_state(index, state::HOLDING);
                    self.count(Counter::Holding, 1);
                } else {
                    self.finish(index);
                }
                self.count(Counter::DeadLettered, 1);
            }
        }
    }
}
