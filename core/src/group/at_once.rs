//! Taking messages in and handing them out in one step, as most go: an entry's words are stored one
//! behind the other, and what is said of the window once for all of them.

use super::policy::Policy;
use super::take::{Hand, Taken};
use super::tally::Tallied;
use super::window::{Counter, Window};
use crate::log::Cursor;

/// Messages that are taken in and handed out, one behind the other, with the lock held.
///
/// They stand behind the window's end until `end` moves that on: a death before leaves entries
/// that nobody looks at, and the messages are taken in again, of which nobody was told. One behind
/// it leaves leases that nobody was told of, with their attempts counted (P6). The timer and the
/// counts of what is open are derived from the entries by the next holder; that the messages were
/// delivered is then not counted.
#[must_use = "without `end` nothing was taken, and the first lease of the slot has the wrong word"]
pub struct Run<'a> {
    window: &'a Window,
    hand: Hand,
    by_key: bool,
    /// The next message's offset, and the first for which there is no room.
    next: u64,
    full: u64,
    /// How many were taken.
    count: u32,
    /// The slot of the timer wheel that their leases hang in, and its first entry + 1.
    slot: u32,
    head: u32,
}

impl Window {
    /// After `expire`, which moves the timer wheel on; `None` where each message has to be looked
    /// at by itself.
    #[inline]
    pub fn run(&self, policy: &Policy, hand: Hand) -> Option<Run<'_>> {
        let (floor, next) = (self.floor(), self.next());
        // A floor above the end is damage (P18): then there is room for none, as in `admit`.
        let waits = policy.is_in_line() || policy.filter != 0 || self.recalled.is_some();
        if waits || next < floor {
            return None;
        }
        let slot = self.wheel.slot(hand.due_ms);
        Some(Run {
            window: self,
            hand,
            by_key: policy.is_by_key(),
            next,
            full: floor.saturating_add(self.room()),
            count: 0,
            slot,
            head: self.wheel.first(slot),
        })
    }
}

impl Run<'_> {
    /// Hands out the message at this offset, which is expected, and which says nothing of its
    /// delivery; `None` where something keeps it from that, and nothing was done.
    #[inline]
    pub fn take(&mut self, offset: u64, position: u64, has_key: bool) -> Option<Taken> {
        let waits = self.by_key && has_key;
        if waits || offset != self.next || offset >= self.full {
            return None;
        }
        let window = self.window;
        let index = window.index(offset);
        let timer = window.wheel.before(self.slot, self.head);
        let at = u32::try_from(position).ok()?;
        (window.entries).fill_leased(index, (offset, at), &self.hand, timer);
        if let Some(behind) = self.head.checked_sub(1) {
            window.entries.set_timer_back(behind, index);
        }
        self.head = index + 1;
        self.next += 1;
        self.count += 1;
        Some(Taken {
            offset,
            position,
            attempt: 1,
            redriven: false,
        })
    }

    /// The window ends at this place from here on.
    #[inline]
    pub fn end(self, cursor: Cursor) {
        if self.count == 0 {
            return;
        }
        debug_assert_eq!(cursor.offset, self.next, "behind the last one");
        let (window, count) = (self.window, self.count);
        // Before they are taken off what nobody has seen: who reads without the lock, the end
        // first, finds at no time that less is open than there is (P14).
        window.count(Counter::Leased, count.into());
        window.set_cursor(cursor);
        window.wheel.set_first(self.slot, self.head);
        if !window.once {
            window.count(Counter::Delivered, count.into());
            let consumer = self.hand.consumer;
            window.tally.count_all(consumer, Tallied::Delivered, count);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::model::{BEGIN, at, fresh, open, policy, policy_of};
    use super::super::rebuild::Life;
    use super::super::{Admit, Recalled};
    use super::*;
    use crate::format::control::consumer::{SLOTS, WORDS};
    use crate::format::window::{CAPACITY_MIN, ENTRY_WORDS, header};
    use crate::options::{OnExpired, Ordering};
    use crate::shm::{Mapping, Region};
    use crate::storage::Twin;

    const HAND: Hand = Hand {
        due_ms: 30_000,
        consumer: 3,
        batch: 7,
        begun: true,
    };

    fn begin() -> Window {
        let mut window = open(&Twin::new());
        window.rebuild(Life::New, BEGIN, &mut |_, _| true);
        window
    }

    /// How many of these are taken.
    fn take(window: &Window, policy: &Policy, hand: Hand, offsets: std::ops::Range<u64>) -> u64 {
        let first = window.next();
        let mut run = window.run(policy, hand).expect("nothing against it");
        let taken = offsets.map_while(|offset| run.take(offset, offset * 8, false));
        let count = taken.count() as u64;
        run.end(Cursor::at_offset(first + count));
        count
    }

    #[test]
    fn p6_p7_p9_p10_a_run_leaves_every_word_as_one_message_after_the_other_does() {
        for (begun, once) in [(true, false), (false, false), (false, true)] {
            leaves_every_word(Hand { begun, ..HAND }, once);
        }
    }

    fn leaves_every_word(hand: Hand, once: bool) {
        let (mut one_by_one, mut at_once) = (begin(), begin());
        let [one_tally, tally] = [(); 2].map(|()| {
            let len = SLOTS * WORDS * 8;
            let map = Arc::new(Mapping::anonymous(len).expect("memory"));
            Region::new(&map, 0, len).expect("inside")
        });
        one_by_one.tally_in(one_tally.clone());
        at_once.tally_in(tally.clone());
        (one_by_one.once, at_once.once) = (once, once);
        for (window, policy) in [(&one_by_one, policy(true)), (&at_once, policy(true))] {
            // Some that hang in the same slot already, and one that is done.
            for offset in 0..3 {
                let admitted = window.admit(&policy, &fresh(offset, None), BEGIN);
                window.set_cursor(Cursor::at_offset(offset + 1));
                let Admit::Ready(index) = admitted else {
                    panic!("{admitted:?}");
                };
                window.lease(index, HAND.due_ms, 2, 6);
            }
            window.ack(0, 1);
        }
        for offset in 3..40 {
            let Admit::Ready(index) = one_by_one.admit(&policy(true), &fresh(offset, None), at(5))
            else {
                panic!("{offset} waits");
            };
            one_by_one.set_cursor(Cursor::at_offset(offset + 1));
            one_by_one.hand_out(index, &hand);
        }
        assert_eq!(take(&at_once, &policy(true), hand, 3..30), 27);
        assert_eq!(take(&at_once, &policy(true), hand, 30..40), 10);
        at_once.tell_tally();
        one_by_one.tell_tally();
        let told = |table: &Region| -> Vec<u64> {
            (0..SLOTS * WORDS).map(|word| table.get(word)).collect()
        };
        assert_eq!(told(&tally), told(&one_tally));
        assert_eq!(told(&tally).contains(&37), !once);
        let words = |window: &Window| -> Vec<u64> {
            let entries = (0..CAPACITY_MIN as usize * ENTRY_WORDS)
                .map(|word| window.entries.region.get(word));
            let head = (header::CAPACITY..header::WORDS).map(|word| window.head.get(word));
            let wheel = (0..500).map(|word| window.wheel.region.get(word));
            entries.chain(head).chain(wheel).collect()
        };
        assert_eq!(words(&at_once), words(&one_by_one), "at most once: {once}");
    }

    #[test]
    fn p11_p16_p18_what_a_run_may_not_hand_out_it_leaves_as_it_was() {
        let mut window = begin();
        let mut run = window.run(&policy(true), HAND).expect("by key");
        assert_eq!(
            run.take(0, 0, true),
            None,
            "it may wait for others of its key"
        );
        assert_eq!(run.take(1, 8, false), None, "there is a gap before it");
        assert_eq!(
            run.take(0, 1 << 32, false),
            None,
            "no entry can say where it is"
        );
        run.end(Cursor::at_offset(0));
        assert_eq!((window.next(), window.counter(Counter::Leased)), (0, 0));
        let unordered = policy_of(Ordering::None, OnExpired::Drop);
        let mut run = window.run(&unordered, HAND).expect("in no order");
        assert_eq!(run.take(0, 0, true).map(|one| one.attempt), Some(1));
        run.end(Cursor::at_offset(1));
        assert_eq!(
            take(&window, &unordered, HAND, 1..5_000),
            CAPACITY_MIN - 1,
            "full"
        );
        let in_line = policy_of(Ordering::Partition, OnExpired::Drop);
        assert!(window.run(&in_line, HAND).is_none());
        let mut filtered = unordered;
        filtered.filter = 1;
        assert!(window.run(&filtered, HAND).is_none());
        let floor = window.floor();
        window.head.set(header::FLOOR, window.next() + 1);
        assert!(window.run(&unordered, HAND).is_none(), "damage");
        window.head.set(header::FLOOR, floor);
        assert!(window.run(&unordered, HAND).is_some());
        window.recall_from(Some(Recalled {
            epoch: window.epoch(),
            end: u64::MAX,
            snapshot: None,
            partition: 0,
            once: true,
        }));
        assert!(
            window.run(&unordered, HAND).is_none(),
            "some were settled then"
        );
    }
}
