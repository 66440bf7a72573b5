//! Settling by a transaction (P8), in two steps: a hand-out is marked, and settled once the
//! transaction has happened.
//!
//! What is marked belongs to its transaction: nobody is handed it, no other receipt settles it, and
//! it does not run out. A transaction marks, and takes its marks off again, only while it holds the
//! lock of the journal. So whoever holds that lock knows: a mark that no record of the journal
//! speaks of was left by one that died, or could not take it off, and is taken off; one that a
//! record speaks of is settled, by whoever comes (`store/transactions/`). A mark is one word, and
//! what it was before follows from the lease: a death on either side of it leaves a lease or a
//! mark.

use super::policy::Now;
use super::settle::Settled;
use super::tally::Tallied;
use super::window::{Counter, Window};
use crate::format::window::state;

/// When a mark whose lease is over is looked at again.
const AGAIN_MS: u64 = 50;

impl Window {
    fn find_marked(&self, offset: u64, attempt: u32) -> Option<u32> {
        let index = self.index(offset);
        let inside = (self.floor()..self.end()).contains(&offset);
        let marked = inside
            && self.entries.is_of(index, offset)
            && self.entries.state(index) == state::COMMITTING
            && self.entries.attempts(index) == attempt;
        marked.then_some(index)
    }

    /// Marks a hand-out. One whose lease is over, and which nobody else was handed since, has none
    /// from here on: taken off again the mark leaves it ready, for it was charged already (P9).
    pub fn mark(&self, offset: u64, attempt: u32, now: Now) -> Settled {
        let Some(index) = self.find(offset, attempt) else {
            return Settled::Stale;
        };
        if self.entries.state(index) == state::LEASED {
            self.count(Counter::Leased, -1);
        } else {
            self.unhook(index);
            let consumer = self.entries.consumer(index);
            self.entries.set_lease(index, 0, consumer);
            self.wheel
                .insert(&self.entries, index, now.boot_ms + AGAIN_MS);
        }
        self.entries.set_state(index, state::COMMITTING);
        self.count(Counter::Committing, 1);
        Settled::Done
    }

    /// Takes a mark of this epoch off: the lease goes on if it is not over.
    pub fn unmark(&self, offset: u64, (attempt, epoch): (u32, u32), now: Now) {
        if let Some(index) = self.find_marked_in(offset, attempt, epoch) {
            self.unmark_entry(index, now);
        }
    }

    /// As `find_marked`, of the hand-outs between two seeks: one of the same number in another
    /// epoch is another one's (P16).
    fn find_marked_in(&self, offset: u64, attempt: u32, epoch: u32) -> Option<u32> {
        let found = self.find_marked(offset, attempt);
        found.filter(|_| self.epoch() == epoch)
    }

    fn unmark_entry(&self, index: u32, now: Now) {
        self.count(Counter::Committing, -1);
        if self.entries.due_ms(index) > now.boot_ms {
            self.entries.set_state(index, state::LEASED);
            self.count(Counter::Leased, 1);
        } else {
            self.wheel.remove(&self.entries, index);
            self.make_ready(index);
        }
    }

    /// Settles what was marked in this epoch, since its transaction has happened; whether it was
    /// still to be done. Where the group was sought since there is nothing to settle: what was
    /// handed out before counts for nothing any more (P16).
    pub fn settle_marked(&self, offset: u64, (attempt, epoch): (u32, u32)) -> bool {
        let Some(index) = self.find_marked_in(offset, attempt, epoch) else {
            return false;
        };
        // Of one that was late another consumer may have the slot by now.
        if self.entries.due_ms(index) > 0 {
            self.tally
                .count(self.entries.consumer(index), Tallied::Acked);
        }
        self.unhook(index);
        self.finish(index);
        self.count(Counter::Acked, 1);
        true
    }

    /// Takes off all marks but those that are to be kept; how many became ready or leases again.
    pub fn unmark_others(&self, keep: impl Fn(u64, u32) -> bool, now: Now) -> u32 {
        let mut count = 0;
        for index in self.marked() {
            if !keep(self.offset_at(index), self.entries.attempts(index)) {
                self.unmark_entry(index, now);
                count += 1;
            }
        }
        count
    }

    /// In a new life: what is marked, but what is to be kept so, is leased again, as all else that
    /// was out, and comes back with it. Its transaction has not happened, or what it settles was
    /// settled before.
    pub fn lease_marked(&self, keep: impl Fn(u64, u32) -> bool) {
        for index in self.marked() {
            if keep(self.offset_at(index), self.entries.attempts(index)) {
                continue;
            }
            self.count(Counter::Committing, -1);
            self.entries.set_state(index, state::LEASED);
            self.count(Counter::Leased, 1);
        }
    }

    /// Whether anything is marked.
    #[inline]
    pub fn has_marked(&self) -> bool {
        self.counter(Counter::Committing) > 0
    }

    fn marked(&self) -> Vec<u32> {
        if !self.has_marked() {
            return Vec::new();
        }
        (self.floor()..self.end())
            .map(|offset| (offset, self.index(offset)))
            .filter(|(offset, index)| {
                self.entries.is_of(*index, *offset)
                    && self.entries.state(*index) == state::COMMITTING
            })
            .map(|(_, index)| index)
            .collect()
    }

    /// The time of a mark's lease is over: it stays, and is looked at again. More of the lease is
    /// for who extends it.
    pub(super) fn look_again(&self, index: u32, now: Now) {
        self.wheel
            .insert(&self.entries, index, now.boot_ms + AGAIN_MS);
    }

    /// As `extend`, of what is marked.
    pub(super) fn extend_marked(&self, offset: u64, attempt: u32, due_ms: u64, slot: u16) -> bool {
        let Some(index) = self.find_marked(offset, attempt) else {
            return false;
        };
        self.wheel.remove(&self.entries, index);
        self.entries.set_lease(index, due_ms, slot);
        self.wheel.insert(&self.entries, index, due_ms);
        true
    }

    /// After a power loss, before the window is rebuilt: whether it has this mark, or what came of
    /// it, and will have it after. What is on disk of a window that was synced since always says
    /// so; one that the kernel wrote a part of may not.
    #[must_use]
    pub fn has_mark_on_disk(&self, offset: u64, attempt: u32) -> bool {
        let (entries, ring) = (&self.entries, self.mask + 1);
        let later = |at: &u64| entries.is_of_later_round(self.index(*at), *at, ring);
        let floor = (self.floor()..self.end()).rev().find(later);
        let floor = floor.map_or(self.floor(), |last| last + 1);
        if offset < floor {
            return true;
        }
        let place = |at: u64| {
            let (index, before) = (self.index(at), self.usable());
            if entries.is_of(index, at) {
                return Some(index);
            }
            let old = (at & before.wrapping_sub(1)) as u32;
            (before.is_power_of_two() && before < ring && entries.is_of(old, at)).then_some(old)
        };
        let known = |at: u64| place(at).filter(|index| entries.state(*index) != state::FRESH);
        if offset >= self.end() || !(floor..offset).all(|at| known(at).is_some()) {
            return false;
        }
        known(offset).is_some_and(|index| {
            let state = entries.state(index);
            let mine = entries.attempts(index) == attempt;
            mine && matches!(state, state::COMMITTING | state::SETTLED)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::{at, policy};
    use super::super::power_tests::{admit, begin};
    use super::super::{Fate, Life, TakenAway, Target};
    use super::*;
    use crate::storage::Twin;

    fn window(twin: &Twin) -> Window {
        let policy = policy(true);
        let mut window = begin(twin, &policy);
        admit(&mut window, &policy, 4);
        window
    }

    fn counts(window: &Window) -> [u64; 3] {
        [Counter::Leased, Counter::Committing, Counter::Acked].map(|one| window.counter(one))
    }

    #[test]
    fn p8_p9_what_is_marked_is_nobody_elses_until_it_is_settled_or_taken_off() {
        let window = window(&Twin::new());
        let took = window.take_ready(1_000, 3, 1).expect("0");
        assert_eq!(window.mark(took.offset, 1, at(10)), Settled::Done);
        let twice = window.mark(took.offset, 1, at(10));
        assert_eq!(twice, Settled::Stale, "of another transaction");
        assert_eq!(window.ack(took.offset, 1), Settled::Stale);
        assert_eq!(window.release(took.offset, 1), Settled::Stale);
        assert_eq!(counts(&window), [0, 1, 0]);
        // Its lease runs out meanwhile, and it stays.
        let ended = window.expire(&policy(true), at(2_000));
        assert!(ended.marked && window.counter(Counter::Failed) == 0);
        assert_eq!(counts(&window), [0, 1, 0]);
        assert!(window.settle_marked(took.offset, (1, 0)));
        assert!(!window.settle_marked(took.offset, (1, 0)), "once");
        assert_eq!((counts(&window), window.floor()), ([0, 0, 1], 1));
    }

    #[test]
    fn p8_a_mark_that_is_taken_off_leaves_the_lease_it_was() {
        let window = window(&Twin::new());
        let took = window.take_ready(1_000, 3, 1).expect("0");
        window.mark(took.offset, 1, at(10));
        window.unmark(took.offset, (1, 0), at(20));
        assert_eq!(counts(&window), [1, 0, 0]);
        window.mark(took.offset, 1, at(30));
        assert_eq!(window.unmark_others(|_, _| true, at(40)), 0);
        assert_eq!(window.unmark_others(|_, _| false, at(2_000)), 1);
        // Its time was over: it is ready beside the three others, and not charged for that.
        assert_eq!(window.counter(Counter::Ready), 4);
        assert_eq!(window.seen(took.offset).failures, 0);
        assert_eq!(window.ack(took.offset, 1), Settled::Done, "late, and good");
    }

    #[test]
    fn p8_p9_one_that_is_merely_late_is_marked_and_comes_back_uncharged() {
        let window = window(&Twin::new());
        let took = window.take_ready(1_000, 3, 1).expect("0");
        window.expire(&policy(true), at(1_500));
        assert_eq!(window.seen(took.offset).failures, 1);
        assert_eq!(window.mark(took.offset, 1, at(1_600)), Settled::Done);
        window.unmark(took.offset, (1, 0), at(1_600));
        assert_eq!(window.seen(took.offset).failures, 1);
        assert_eq!(window.take_ready(9_000, 4, 1).expect("again").attempt, 2);
        assert_eq!(window.mark(took.offset, 1, at(1_600)), Settled::Stale);
    }

    #[test]
    fn p8_p17_marks_are_the_same_after_a_rebuild() {
        let mut window = window(&Twin::new());
        let took = window.take_ready(1_000, 3, 1).expect("0");
        window.mark(took.offset, 1, at(10));
        let before = (counts(&window), window.unsettled());
        window.rebuild(Life::Same, at(20), &mut |_, _| true);
        assert_eq!((counts(&window), window.unsettled()), before);
        assert!(window.expire(&policy(true), at(3_000)).marked);
        window.lease_marked(|_, _| true);
        assert_eq!(counts(&window), [0, 1, 0]);
        window.lease_marked(|_, _| false);
        assert_eq!(counts(&window), [1, 0, 0]);
    }

    #[test]
    fn p8_p15_p16_what_is_marked_is_open_for_snapshots_and_not_for_retention() {
        let window = window(&Twin::new());
        let took = window.take_ready(1_000, 3, 1).expect("0");
        window.mark(took.offset, 1, at(10));
        for fate in [Fate::Lost, Fate::Dead] {
            assert_eq!(window.next_to_take(0, fate), Some(took.offset + 1));
            assert_eq!(
                window.end_taken(took.offset, fate, at(10)),
                TakenAway::Nothing
            );
        }
        let standing = window.standing();
        assert_eq!((standing.part.floor, standing.leased), (took.offset, 1));
        assert_eq!(standing.part.open.len(), 4);
        assert_eq!(counts(&window), [0, 1, 0]);
        assert!(window.settle_marked(took.offset, (1, 0)));
    }

    #[test]
    fn p8_p14_what_is_marked_and_dropped_is_settled_once() {
        let window = window(&Twin::new());
        let took = window.take_ready(1_000, 3, 1).expect("0");
        window.mark(took.offset, 1, at(10));
        assert!(window.drop_open(took.offset));
        assert!(!window.settle_marked(took.offset, (1, 0)));
        window.unmark(took.offset, (1, 0), at(20));
        assert_eq!((counts(&window), window.floor()), ([0, 0, 0], 1));
        assert_eq!(window.counter(Counter::Dropped), 1);
        assert!(!window.expire(&policy(true), at(3_000)).marked);
        assert!(
            window.has_mark_on_disk(took.offset, 1),
            "as if it had settled it"
        );
    }

    #[test]
    fn p8_p16_a_mark_of_before_a_seek_settles_nothing_after_it() {
        let mut window = window(&Twin::new());
        let took = window.take_ready(1_000, 3, 1).expect("0");
        window.mark(took.offset, 1, at(10));
        window.seek(&Target {
            epoch: 1,
            offset: 0,
            dead_from: 0,
        });
        assert_eq!(counts(&window), [0, 0, 0]);
        assert!(!window.settle_marked(took.offset, (1, 0)));
        admit(&mut window, &policy(true), 4);
        let again = window.take_ready(2_000, 3, 1).expect("0 once more");
        assert_eq!((again.offset, again.attempt), (took.offset, 1));
        window.mark(again.offset, 1, at(20));
        assert!(!window.settle_marked(again.offset, (1, 0)), "another's");
        window.unmark(again.offset, (1, 0), at(20));
        assert_eq!(counts(&window), [0, 1, 0]);
        assert!(window.settle_marked(again.offset, (1, 1)));
        assert_eq!((counts(&window), window.floor()), ([0, 0, 1], 1));
    }

    #[test]
    fn p8_p2_a_synced_mark_is_there_after_every_power_loss_and_one_that_was_not_may_not_be() {
        let mut missing = 0;
        for seed in 0..80 {
            let twin = Twin::new();
            let window = window(&twin);
            window.syncer().sync().expect("sync");
            let took = window.take_ready(1_000, 3, 1).expect("0");
            window.mark(took.offset, 1, at(10));
            let reopened = |twin: &Twin| super::super::model::open(twin);
            let lost = reopened(&twin.power_loss(seed).expect("image"));
            missing += u32::from(!lost.has_mark_on_disk(took.offset, 1));
            window.syncer().sync().expect("sync");
            if seed % 2 == 0 {
                window.settle_marked(took.offset, (1, 0));
            }
            let lost = reopened(&twin.power_loss(seed).expect("image"));
            assert!(lost.has_mark_on_disk(took.offset, 1), "seed {seed}");
            assert!(!lost.has_mark_on_disk(took.offset + 1, 1), "never marked");
        }
        assert!(missing > 0);
    }
}
