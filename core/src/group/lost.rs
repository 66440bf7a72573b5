//! Messages that retention takes before the group has settled them.
//!
//! They end from the floor upwards, each by the word of its state; the count comes after, so that a
//! death in between costs the count and never counts one twice. The floor, which rises with each of
//! them, and the counts lie in one sector: after a power loss either both are as they were or none
//! of them is counted again, and what came back is taken once more, or handed out (P6, P15).

use super::cause::Cause;
use super::policy::Now;
use super::window::{Counter, Window};
use crate::format::window::state;
use crate::log::Cursor;

/// What is to become of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// They are settled, and counted as lost.
    Lost,
    /// They are on their way to the dead letters.
    Dead,
}

/// What an entry came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It was settled already, or is about to be, or is on its way to the dead letters.
    Nothing,
    /// It is settled.
    Lost,
    /// It is on its way to the dead letters from here on.
    Dying,
}

impl Window {
    /// Ends a message that is in the window, whoever has it: its receipt is stale from here on
    /// (P9), and its key goes on. What was handed over at most once, and a dead letter that holds
    /// its key, becomes no letter: it is lost. So is what cannot become one in time, where nobody
    /// asked for letters. A letter that nobody redrove ends without being counted. What a
    /// transaction has marked is its own: it is settled soon, or leased again, and no letter is
    /// made of what it may have settled (P8).
    pub fn end_taken(&self, offset: u64, fate: Fate, now: Now) -> Taken {
        let index = self.index(offset);
        let inside = (self.floor()..self.end()).contains(&offset);
        if !inside || !self.entries.is_of(index, offset) {
            return Taken::Nothing;
        }
        let found = self.entries.state(index);
        let letter = fate == Fate::Dead && found != state::HOLDING && !self.is_given(index);
        match found {
            state::SETTLED | state::COMMITTING => return Taken::Nothing,
            state::DYING if letter => return Taken::Nothing,
            state::DYING => self.drop_dying(&|dying| dying == index),
            state::HOLDING => self.count(Counter::Holding, -1),
            state::FRESH => {}
            state::DEAD => {
                self.entries.set_state(index, state::SETTLED);
                self.raise_floor();
                return Taken::Nothing;
            }
            _ => self.unhook_any(index),
        }
        if letter {
            let failures = self.entries.failures(index);
            self.die(index, failures, now.boot_ms, Cause::Retention);
            return Taken::Dying;
        }
        self.finish(index);
        self.count(Counter::Lost, 1);
        Taken::Lost
    }

    /// The first offset at or above `from` whose message is not settled, nor marked by a
    /// transaction, and is not on its way to the dead letters where that will do; as far as the
    /// window goes.
    pub fn next_to_take(&self, from: u64, fate: Fate) -> Option<u64> {
        (from.max(self.floor())..self.end()).find(|offset| {
            let index = self.index(*offset);
            let done = match self.entries.state(index) {
                state::SETTLED | state::COMMITTING => true,
                state::DYING => fate == Fate::Dead,
                _ => false,
            };
            self.entries.is_of(index, *offset) && !done
        })
    }

    /// A window that begins before what is kept begins there: one that was put back from a copy, as
    /// all others have their messages ended before these are taken. What it had not come to is
    /// counted where `counting`. False if there is no room for the gap.
    pub fn begin_at(&self, first: u64, counting: bool, now: Now) -> bool {
        let mut from = self.floor();
        while let Some(offset) = self
            .next_to_take(from, Fate::Lost)
            .filter(|one| *one < first)
        {
            self.end_taken(offset, Fate::Lost, now);
            from = offset + 1;
        }
        let next = self.next();
        if next >= first {
            return true;
        }
        if !self.settle_gap(first) {
            return false;
        }
        self.set_cursor(Cursor::at_offset(first));
        if counting {
            self.count(
                Counter::Lost,
                i64::try_from(first - next).unwrap_or(i64::MAX),
            );
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::{at, fresh, open, policy};
    use super::super::{Admit, Settled};
    use super::*;
    use crate::storage::Twin;

    /// Messages 0 to 5: 0, 1 and 2 of a key, 0 leased; 3 leased, 4 waits for its time, 5 is ready.
    fn window() -> Window {
        let window = open(&Twin::new());
        for offset in 0..6 {
            let mut one = fresh(offset, (offset < 3).then_some(7));
            one.attributes.deliver_at_ms = (offset == 4).then_some(5_000);
            let admitted = window.admit(&policy(true), &one, at(0));
            window.set_cursor(Cursor::at_offset(offset + 1));
            match admitted {
                Admit::Ready(index) if offset == 5 => window.make_ready(index),
                Admit::Ready(index) => {
                    window.lease(index, 1_000, 3, 1);
                }
                _ => {}
            }
        }
        window
    }

    fn take_all(window: &Window, below: u64, fate: Fate) -> Vec<u64> {
        let mut from = 0;
        let mut took = Vec::new();
        while let Some(offset) = window.next_to_take(from, fate).filter(|one| *one < below) {
            assert_ne!(window.end_taken(offset, fate, at(9)), Taken::Nothing);
            took.push(offset);
            from = offset + 1;
        }
        took
    }

    #[test]
    fn p9_p15_what_retention_takes_is_counted_once_and_its_receipts_are_stale() {
        let window = window();
        assert_eq!(window.ack(3, 1), Settled::Done);
        assert_eq!(take_all(&window, 5, Fate::Lost), [0, 1, 2, 4]);
        assert_eq!((window.counter(Counter::Lost), window.floor()), (4, 5));
        assert!(take_all(&window, 5, Fate::Lost).is_empty());
        assert_eq!(window.ack(0, 1), Settled::Stale);
        let hung = [Counter::Leased, Counter::Held, Counter::Scheduled];
        assert_eq!(hung.map(|counter| window.counter(counter)), [0; 3]);
        let took = window.take_ready(1_000, 3, 2).expect("5 is left");
        assert_eq!(took.offset, 5);
    }

    #[test]
    fn p11_a_key_goes_on_behind_what_retention_took() {
        let window = window();
        assert_eq!(take_all(&window, 1, Fate::Lost), [0]);
        let took = window.take_ready(1_000, 3, 2).expect("1 of the key");
        assert_eq!(took.offset, 1);
    }

    #[test]
    fn p12_p15_what_becomes_a_letter_is_not_lost_and_never_handed_out_again() {
        let window = window();
        assert_eq!(take_all(&window, 6, Fate::Dead), [0, 1, 2, 3, 4, 5]);
        assert!(window.take_ready(1_000, 3, 2).is_none());
        let dying = window.dying(|_, _| true);
        assert_eq!(dying.len(), 6);
        assert!(
            dying
                .iter()
                .all(|one| one.cause == Cause::Retention && !one.may_hold)
        );
        assert_eq!(window.ack(0, 1), Settled::Stale);
        assert_eq!(
            window.floor(),
            0,
            "they are not settled before the letters are there"
        );
        window.settle_dead(&policy(true), &[0, 1, 2, 3, 4, 5]);
        assert_eq!(window.floor(), 6);
        let counted = [Counter::DeadLettered, Counter::Lost];
        assert_eq!(counted.map(|counter| window.counter(counter)), [6, 0]);
    }

    #[test]
    fn p15_what_could_not_become_a_letter_in_time_is_lost() {
        let window = window();
        window.give_up(0, 1, 9, 9);
        assert_eq!(take_all(&window, 6, Fate::Lost).len(), 6);
        let counted = [Counter::Dying, Counter::Lost].map(|counter| window.counter(counter));
        assert_eq!((counted, window.floor()), ([0, 6], 6));
    }

    #[test]
    fn p15_a_stale_floor_is_clamped_up_and_counted() {
        let window = window();
        assert!(window.begin_at(3, true, at(9)));
        assert_eq!((window.floor(), window.counter(Counter::Lost)), (3, 3));
        assert!(window.begin_at(100, true, at(9)));
        assert_eq!((window.floor(), window.next()), (100, 100));
        assert_eq!(window.counter(Counter::Lost), 100);
        assert!(window.begin_at(50, true, at(9)));
        assert_eq!(window.counter(Counter::Lost), 100);
    }
}
