//! Looking at one message, and settling or delaying it, without a receipt.

use super::entry::NOBODY;
use super::policy::Now;
use super::window::{Counter, Window};
use crate::format::window::state;

/// What stands in the window about a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// One of `format::window::state`; FRESH also where it was not looked at yet.
    pub state: u64,
    /// How often it was handed out.
    pub attempts: u32,
    /// How many of those failed.
    pub failures: u32,
    /// When its lease or delay ends, in ms of the boot clock.
    pub due_ms: u64,
    /// Of one that waits for the time with which it was sent: that, in ms since the epoch.
    pub deliver_at_ms: u64,
    /// Slot of the consumer that has it, or had it last.
    pub consumer: u16,
}

/// What became of a message that was settled or delayed by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByHand {
    /// It is done.
    Done,
    /// Nobody has looked at it yet.
    Fresh,
    /// It was settled already.
    Settled,
    /// It is on its way to the dead letters.
    Dying,
    /// It waits for an earlier message of its key.
    Held,
    /// It is a dead letter that holds its key.
    Holding,
    /// It is a dead letter, and was not redriven.
    Dead,
    /// A transaction is about to settle it.
    Committing,
}

impl Window {
    /// What is known of a message, changing nothing.
    #[must_use]
    pub fn seen(&self, offset: u64) -> Seen {
        let unknown = |state| Seen {
            state,
            attempts: 0,
            failures: 0,
            due_ms: 0,
            deliver_at_ms: 0,
            consumer: NOBODY,
        };
        if offset < self.floor() {
            return unknown(state::SETTLED);
        }
        let index = self.index(offset);
        if offset >= self.end() || !self.entries.is_of(index, offset) {
            return match self.was_settled(offset) {
                true => unknown(state::SETTLED),
                false => unknown(state::FRESH),
            };
        }
        Seen {
            state: self.entries.state(index),
            attempts: self.entries.attempts(index),
            failures: self.entries.failures(index),
            due_ms: self.entries.due_ms(index),
            deliver_at_ms: match self.entries.state(index) {
                state::SCHEDULED => self.entries.deliver_at_ms(index),
                _ => 0,
            },
            consumer: self.entries.consumer(index),
        }
    }

    /// The entry of a message that may be changed by hand.
    fn open_entry(&self, offset: u64) -> Result<u32, ByHand> {
        match self.seen(offset).state {
            state::FRESH => Err(ByHand::Fresh),
            state::SETTLED => Err(ByHand::Settled),
            state::DYING => Err(ByHand::Dying),
            state::HOLDING => Err(ByHand::Holding),
            state::DEAD => Err(ByHand::Dead),
            state::COMMITTING => Err(ByHand::Committing),
            _ => Ok(self.index(offset)),
        }
    }

    /// Takes the entry out of whatever it hangs in, but for its key's chain.
    pub(super) fn unhook_any(&self, index: u32) {
        match self.entries.state(index) {
            state::HELD => self.count(Counter::Held, -1),
            _ => self.unhook(index),
        }
    }

    /// The message is done, whoever has it. One that holds its key as a dead letter is as if it
    /// were purged: its letter may be damaged, so that there is no other way.
    pub fn settle_by_hand(&self, offset: u64) -> ByHand {
        let attempts = self.seen(offset).attempts;
        if self.purge_held(offset, attempts) {
            return ByHand::Done;
        }
        let index = match self.open_entry(offset) {
            Ok(index) => index,
            Err(why) => return why,
        };
        self.unhook_any(index);
        self.finish(index);
        self.count(Counter::Acked, 1);
        ByHand::Done
    }

    /// The message comes back at `due_ms`, of the boot clock, or now, whoever has it. It goes on
    /// holding its key; it is taken from its consumer, whose receipt is stale from here on (P9).
    /// One that waits for the time with which it was sent waits for this one instead.
    pub fn delay_by_hand(&self, offset: u64, due_ms: u64, now: Now) -> ByHand {
        let index = match self.open_entry(offset) {
            Ok(index) if self.entries.state(index) == state::HELD => return ByHand::Held,
            // It may have been handed over, and is never to be again (P7).
            Ok(index) if self.is_given(index) => return ByHand::Settled,
            Ok(index) => index,
            Err(why) => return why,
        };
        let left = due_ms.saturating_sub(now.boot_ms);
        let is_scheduled = self.entries.state(index) == state::SCHEDULED;
        self.unhook(index);
        if is_scheduled && left > 0 {
            self.schedule(index, now.wall_ms.saturating_add(left));
        } else if is_scheduled {
            self.count(Counter::Scheduled, 1);
            self.entries.set_first_failed_ms(index, 0);
            self.falls_due(index, now);
        } else if left > 0 {
            self.entries.set_lease(index, due_ms, NOBODY);
            self.entries.set_state(index, state::DELAYED);
            self.count(Counter::Delayed, 1);
            self.wheel.insert(&self.entries, index, due_ms);
        } else {
            self.entries.set_lease(index, due_ms, NOBODY);
            self.make_ready(index);
        }
        ByHand::Done
    }

    /// Gives up on the message now, whoever has it.
    pub fn give_up_by_hand(&self, offset: u64, now_ms: u64, wall_ms: u64) -> ByHand {
        let index = match self.open_entry(offset) {
            Ok(index) if self.is_given(index) => return ByHand::Settled,
            Ok(index) => index,
            Err(why) => return why,
        };
        self.give_up_entry(index, now_ms, wall_ms);
        ByHand::Done
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::{at, fresh, open, policy};
    use super::super::{Admit, Settled, Window};
    use super::*;
    use crate::log::Cursor;
    use crate::storage::Twin;

    /// Messages 0 to 3 of one key and 4 of another; 0 and 4 are leased.
    fn window() -> Window {
        let window = open(&Twin::new());
        for (offset, key) in [(0, 7), (1, 7), (2, 7), (3, 7), (4, 8)] {
            let admitted = window.admit(&policy(true), &fresh(offset, Some(key)), at(0));
            window.set_cursor(Cursor::at_offset(offset + 1));
            if let Admit::Ready(index) = admitted {
                window.lease(index, 1_000, 3, 1);
            }
        }
        window
    }

    fn counts(window: &Window) -> [u64; 4] {
        [
            Counter::Leased,
            Counter::Held,
            Counter::Ready,
            Counter::Delayed,
        ]
        .map(|counter| window.counter(counter))
    }

    #[test]
    fn p9_p11_a_message_settled_by_hand_frees_its_key_and_one_in_the_middle_frees_nothing() {
        let window = window();
        assert_eq!(window.settle_by_hand(2), ByHand::Done);
        assert_eq!(counts(&window), [2, 2, 0, 0]);
        assert_eq!(window.settle_by_hand(2), ByHand::Settled);
        assert_eq!(window.settle_by_hand(0), ByHand::Done);
        assert_eq!(counts(&window), [1, 1, 1, 0], "1 is next of its key");
        assert_eq!(window.ack(0, 1), Settled::Stale);
        let took = window.take_ready(1_000, 3, 2).expect("1");
        assert_eq!(took.offset, 1);
        assert_eq!(window.ack(1, 1), Settled::Done);
        assert_eq!(window.take_ready(1_000, 3, 2).expect("3").offset, 3);
        assert_eq!(window.floor(), 3);
        assert_eq!(window.settle_by_hand(5), ByHand::Fresh);
        assert_eq!(window.settle_by_hand(1), ByHand::Settled, "below the floor");
    }

    #[test]
    fn p9_a_message_delayed_by_hand_is_taken_from_its_consumer_and_holds_its_key() {
        let window = window();
        assert_eq!(window.delay_by_hand(0, 500, at(100)), ByHand::Done);
        assert_eq!(counts(&window), [1, 3, 0, 1]);
        for stale in [
            window.ack(0, 1),
            window.release(0, 1),
            window.extend(0, 1, 900, 3),
            window.nack(&policy(true), (0, 1), None, 100, 100),
            window.give_up(0, 1, 100, 100),
        ] {
            assert_eq!(stale, Settled::Stale);
        }
        window.expire(&policy(true), at(499));
        assert!(window.take_ready(1_000, 3, 2).is_none());
        // Sooner, and then now.
        assert_eq!(window.delay_by_hand(0, 600, at(499)), ByHand::Done);
        assert_eq!(window.delay_by_hand(0, 499, at(499)), ByHand::Done);
        assert_eq!(
            window.ack(0, 1),
            Settled::Stale,
            "ready, and still taken away"
        );
        let took = window.take_ready(1_000, 3, 2).expect("0");
        assert_eq!((took.offset, took.attempt), (0, 2));
        assert_eq!(window.seen(0).failures, 0);
        assert_eq!(window.ack(0, 2), Settled::Done);
        assert_eq!(window.delay_by_hand(2, 900, at(499)), ByHand::Held);
        assert_eq!(window.delay_by_hand(0, 900, at(499)), ByHand::Settled);
    }

    #[test]
    fn p11_p12_one_given_up_by_hand_in_the_middle_of_its_key_is_never_handed_out() {
        let window = window();
        assert_eq!(window.give_up_by_hand(1, 100, 100), ByHand::Done);
        assert_eq!(window.give_up_by_hand(1, 100, 100), ByHand::Dying);
        assert_eq!(window.settle_by_hand(1), ByHand::Dying);
        assert_eq!(window.ack(0, 1), Settled::Done);
        assert!(
            window.take_ready(1_000, 3, 2).is_none(),
            "1 is first of its key"
        );
        window.settle_dead(&policy(true), &[1]);
        assert_eq!(window.take_ready(1_000, 3, 2).expect("2").offset, 2);
        assert_eq!(window.counter(Counter::DeadLettered), 1);
    }

    #[test]
    fn what_was_done_by_hand_is_the_same_after_a_rebuild() {
        let mut window = window();
        window.delay_by_hand(0, 500, at(100));
        window.settle_by_hand(2);
        window.give_up_by_hand(3, 100, 100);
        let before = (
            counts(&window),
            window.counter(Counter::Dying),
            window.floor(),
        );
        window.rebuild(super::super::Life::Same, at(100), &mut |_, _| true);
        let after = (
            counts(&window),
            window.counter(Counter::Dying),
            window.floor(),
        );
        assert_eq!(before, after);
        assert_eq!(window.ack(0, 1), Settled::Stale);
    }

    /// Message 0 of a key waits for its own time, 1 of the key is ready.
    fn scheduled() -> Window {
        let (window, policy) = (open(&Twin::new()), policy(true));
        let mut first = fresh(0, Some(7));
        first.attributes.deliver_at_ms = Some(1_000);
        assert_eq!(window.admit(&policy, &first, at(0)), Admit::Scheduled);
        window.set_cursor(Cursor::at_offset(1));
        let second = window.admit(&policy, &fresh(1, Some(7)), at(0));
        window.set_cursor(Cursor::at_offset(2));
        match second {
            Admit::Ready(index) => window.make_ready(index),
            other => panic!("{other:?}"),
        }
        window
    }

    #[test]
    fn p6_p11_one_that_waits_for_its_own_time_waits_for_another_or_joins_its_key_now() {
        let (window, policy) = (scheduled(), policy(true));
        assert_eq!(window.seen(0).state, state::SCHEDULED);
        assert_eq!(window.seen(0).deliver_at_ms, 1_000);
        assert_eq!(window.delay_by_hand(0, 5_000, at(10)), ByHand::Done);
        assert_eq!(window.seen(0).deliver_at_ms, 5_001, "at() is one ahead");
        window.expire(&policy, at(4_999));
        assert_eq!(window.counter(Counter::Scheduled), 1);
        window.expire(&policy, at(5_001));
        assert_eq!(window.seen(0).state, state::HELD, "1 of its key is there");
        assert_eq!(window.counter(Counter::Scheduled), 0);
        let window = scheduled();
        assert_eq!(window.delay_by_hand(0, 10, at(10)), ByHand::Done);
        assert_eq!(window.seen(0).state, state::HELD);
        assert_eq!(window.counter(Counter::Scheduled), 0);
        let took = window.take_ready(1_000, 3, 2).expect("1");
        assert_eq!((took.offset, window.ack(1, 1)), (1, Settled::Done));
        assert_eq!(window.take_ready(1_000, 3, 2).expect("0").offset, 0);
    }

    #[test]
    fn p11_p12_one_settled_or_given_up_before_its_time_leaves_its_key_alone() {
        let window = scheduled();
        assert_eq!(window.settle_by_hand(0), ByHand::Done);
        assert_eq!(window.counter(Counter::Scheduled), 0);
        assert_eq!(window.floor(), 1);
        let window = scheduled();
        assert_eq!(window.give_up_by_hand(0, 10, 77), ByHand::Done);
        assert_eq!(window.counter(Counter::Scheduled), 0);
        assert_eq!(window.entries.first_failed_ms(0), 77);
        window.settle_dead(&policy(true), &[0]);
        let took = window.take_ready(1_000, 3, 2).expect("1");
        assert_eq!((took.offset, window.ack(1, 1)), (1, Settled::Done));
        assert_eq!(window.floor(), 2);
    }
}
