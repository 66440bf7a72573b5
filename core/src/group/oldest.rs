//! Making room in a topic by settling what is oldest, and what that needs to know of a window.

use super::entry::NOBODY;
use super::window::{Counter, Window};
use crate::format::window::state;
use crate::log::Cursor;
use crate::shm::Region;

/// What a window says of a message that is to be dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Oldest {
    /// It was taken in, and can be dropped: its offset, and its position in its segment.
    Open(u64, u64),
    /// All that was taken in is settled, or cannot be dropped: what comes next is here.
    Fresh(Cursor),
}

impl Window {
    /// The header, to be read without the lock.
    pub fn header(&self) -> Region {
        self.head.clone()
    }

    /// What is taken in and not settled, from an offset on: offset, position in its segment, and
    /// bytes in the log where the next entry tells where it ends.
    pub fn open_from(&self, from: u64) -> Vec<(u64, u64, Option<u64>)> {
        let end = self.end();
        let place = |offset: u64| {
            let index = self.index(offset);
            let known = offset < end && self.entries.is_of(index, offset);
            known.then(|| u64::from(self.entries.position(index)))
        };
        let mut found = Vec::new();
        for offset in self.floor().max(from)..end {
            let index = self.index(offset);
            if !self.entries.is_of(index, offset) || !self.entries.is_open(index) {
                continue;
            }
            let position = u64::from(self.entries.position(index));
            // One in the next segment, and one that does not exist, stands before it.
            let behind = place(offset + 1).filter(|behind| *behind > position);
            found.push((offset, position, behind.map(|behind| behind - position)));
        }
        found
    }

    /// Whether a message was taken in and is not settled.
    pub fn is_unsettled(&self, offset: u64) -> bool {
        let index = self.index(offset);
        let inside = offset >= self.floor() && offset < self.end();
        inside && self.entries.is_of(index, offset) && self.entries.is_open(index)
    }

    /// The position of such a message in its segment.
    pub fn position_of(&self, offset: u64) -> Option<u64> {
        let position = || u64::from(self.entries.position(self.index(offset)));
        self.is_unsettled(offset).then(position)
    }

    /// Whether an entry may be settled for being old. Dead letters are not touched: one on its way
    /// is settled by who moves it, and one that holds its key is in the dead-letter topic. Neither
    /// is what was handed over already and is about to be settled (P7). What a transaction has
    /// marked may be: it is settled either way, once.
    fn can_drop(&self, index: u32) -> bool {
        let dead = [state::DYING, state::HOLDING, state::DEAD].contains(&self.entries.state(index));
        self.entries.is_open(index) && !dead && !self.is_given(index)
    }

    /// The oldest message that can be dropped, and is not to be spared.
    pub fn oldest(&self, spared: &dyn Fn(u64) -> bool) -> Oldest {
        for offset in self.floor()..self.end() {
            let index = self.index(offset);
            if self.entries.is_of(index, offset) && self.can_drop(index) && !spared(offset) {
                return Oldest::Open(offset, u64::from(self.entries.position(index)));
            }
        }
        Oldest::Fresh(self.cursor())
    }

    /// Settles a message that was taken in, whoever has it: a receipt of it is stale from here on
    /// (P9). False where it is settled already, or cannot be dropped. A death in between leaves it
    /// settled and not counted, or not settled: counted first it would be twice (P15).
    pub fn drop_open(&self, offset: u64) -> bool {
        let index = self.index(offset);
        let inside = offset >= self.floor() && offset < self.end();
        if !inside || !self.entries.is_of(index, offset) || !self.can_drop(index) {
            return false;
        }
        let due = self.entries.due_ms(index);
        self.unhook_any(index);
        self.entries.set_lease(index, due, NOBODY);
        self.finish(index);
        self.count(Counter::Dropped, 1);
        true
    }

    /// Settles the message that comes next, which stands at this offset and ends at `next`, without
    /// having taken it in. False where there is no room for its entry. A death in between leaves it
    /// settled and not counted, or not settled (P6).
    pub fn drop_fresh(&self, offset: u64, next: Cursor) -> bool {
        let empty = self.floor() == self.next();
        if (!empty && self.is_full(offset)) || !self.settle_gap(offset + 1) {
            return false;
        }
        self.set_cursor(next);
        self.count(Counter::Dropped, 1);
        true
    }

    /// How many were settled, as far as that can be told from what was not: another number than
    /// before says that there may be more room.
    #[inline]
    pub fn settled_mark(&self) -> u64 {
        let open = Counter::DERIVED
            .iter()
            .map(|counter| self.counter(*counter));
        self.next().wrapping_sub(open.fold(0, u64::wrapping_add))
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::{at, fresh, open, policy};
    use super::super::{Admit, Settled};
    use super::*;
    use crate::storage::Twin;

    /// Messages 0 to 3 of one key; 0 is leased, the others wait.
    fn window() -> Window {
        let window = open(&Twin::new());
        for offset in 0..4 {
            let admitted = window.admit(&policy(true), &fresh(offset, Some(7)), at(0));
            window.set_cursor(Cursor::at_offset(offset + 1));
            if let Admit::Ready(index) = admitted {
                window.lease(index, 1_000, 3, 1);
            }
        }
        window
    }

    #[test]
    fn p9_p14_a_leased_message_that_is_dropped_frees_its_key_and_its_receipt_is_stale() {
        let window = window();
        assert!(matches!(window.oldest(&|_| false), Oldest::Open(0, _)));
        let mark = window.settled_mark();
        assert!(window.drop_open(0));
        assert_eq!(window.settled_mark(), mark + 1);
        assert!(!window.drop_open(0), "once");
        assert_eq!(window.counter(Counter::Dropped), 1);
        assert_eq!(window.ack(0, 1), Settled::Stale);
        assert_eq!(window.take_ready(1_000, 3, 2).expect("1").offset, 1);
        // One in the middle frees nobody.
        assert!(window.drop_open(2));
        assert_eq!(window.ack(1, 1), Settled::Done);
        assert_eq!(window.take_ready(1_000, 3, 2).expect("3").offset, 3);
        assert_eq!(window.counter(Counter::Dropped), 2);
    }

    #[test]
    fn p12_p14_what_dies_is_not_dropped_and_what_nobody_looked_at_is() {
        let window = window();
        window.give_up(0, 1, 10, 10);
        assert!(!window.drop_open(0), "dying");
        assert!(matches!(window.oldest(&|_| false), Oldest::Open(1, _)));
        for offset in 1..4 {
            assert!(window.drop_open(offset));
        }
        assert_eq!(window.oldest(&|_| false), Oldest::Fresh(window.cursor()));
        assert!(window.drop_fresh(4, Cursor::at_offset(5)));
        assert_eq!((window.next(), window.counter(Counter::Dropped)), (5, 4));
        let mut window = window;
        let counts = |window: &Window| Counter::DERIVED.map(|one| window.counter(one));
        let before = counts(&window);
        window.rebuild(super::super::Life::Same, at(100), &mut |_, _| true);
        assert_eq!(counts(&window), before);
    }
}
