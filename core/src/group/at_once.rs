//! Taking messages in and handing them out in one step, as most go: each word of an entry is stored
//! once, and what is said of the window once for all of them.

use super::policy::Policy;
use super::take::Taken;
use super::tally::Tallied;
use super::window::{Counter, Window};
use crate::log::Cursor;

/// To whom, and until when.
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

/// Messages that are taken in and handed out, one behind the other, with the lock held.
///
/// They stand behind the window's end until `end` moves that on: a death before leaves entries that
/// nobody looks at, and the messages are taken in again, by nobody who knew of them. One behind it
/// leaves leases that nobody was told of, with their attempts counted. All else that speaks of them
/// is derived from their entries (P6).
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
    place: u32,
    head: u32,
}

impl Window {
    /// After `expire`, which moves the timer wheel on; `None` where each message has to be looked
    /// at by itself.
    #[inline]
    pub fn run(&self, policy: &Policy, hand: Hand) -> Option<Run<'_>> {
        if policy.is_in_line() || policy.filter != 0 || self.recalled.is_some() {
            return None;
        }
        let place = self.wheel.place(hand.due_ms);
        Some(Run {
            window: self,
            hand,
            by_key: policy.is_by_key(),
            next: self.next(),
            full: self.floor().saturating_add(self.room()),
            count: 0,
            place,
            head: self.wheel.first(place),
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
        let timer = window.wheel.before(self.place, self.head);
        let place = u32::try_from(position).ok()?;
        (window.entries).fill_leased(index, (offset, place), &self.hand, timer);
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
        let (window, count) = (self.window, self.count);
        window.set_cursor(cursor);
        window.wheel.set_first(self.place, self.head);
        window.count(Counter::Leased, count.into());
        if !window.once {
            window.count(Counter::Delivered, count.into());
            let consumer = self.hand.consumer;
            window.tally.count_all(consumer, Tallied::Delivered, count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Admit;
    use super::super::model::{BEGIN, at, fresh, open, policy, policy_of};
    use super::super::rebuild::Life;
    use super::*;
    use crate::format::window::{CAPACITY_MIN, ENTRY_WORDS, header};
    use crate::options::{OnExpired, Ordering};
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
    fn take(window: &Window, policy: &Policy, offsets: std::ops::Range<u64>) -> u64 {
        let first = window.next();
        let mut run = window.run(policy, HAND).expect("nothing against it");
        let taken = offsets.map_while(|offset| run.take(offset, offset * 8, false));
        let count = taken.count() as u64;
        run.end(Cursor::at_offset(first + count));
        count
    }

    #[test]
    fn p6_p9_p10_a_run_leaves_every_word_as_one_message_after_the_other_does() {
        let (one_by_one, at_once) = (begin(), begin());
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
            one_by_one.lease(index, HAND.due_ms, HAND.consumer, HAND.batch);
            one_by_one.start_taken(offset);
        }
        assert_eq!(take(&at_once, &policy(true), 3..30), 27);
        assert_eq!(take(&at_once, &policy(true), 30..40), 10);
        let words = |window: &Window| -> Vec<u64> {
            let entries = (0..CAPACITY_MIN as usize * ENTRY_WORDS)
                .map(|word| window.entries.region.get(word));
            let head = (header::CAPACITY..header::WORDS).map(|word| window.head.get(word));
            let wheel = (0..500).map(|word| window.wheel.region.get(word));
            entries.chain(head).chain(wheel).collect()
        };
        assert_eq!(words(&at_once), words(&one_by_one));
    }

    #[test]
    fn p11_p14_p15_what_a_run_may_not_hand_out_it_leaves_as_it_was() {
        let window = begin();
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
        run.end(Cursor::at_offset(9));
        assert_eq!((window.next(), window.counter(Counter::Leased)), (0, 0));
        let unordered = policy_of(Ordering::None, OnExpired::Drop);
        let mut run = window.run(&unordered, HAND).expect("in no order");
        assert_eq!(run.take(0, 0, true).map(|one| one.attempt), Some(1));
        run.end(Cursor::at_offset(1));
        assert_eq!(
            take(&window, &unordered, 1..5_000),
            CAPACITY_MIN - 1,
            "full"
        );
        let in_line = policy_of(Ordering::Partition, OnExpired::Drop);
        assert!(window.run(&in_line, HAND).is_none());
        let mut filtered = unordered;
        filtered.filter = 1;
        assert!(window.run(&filtered, HAND).is_none());
    }
}
