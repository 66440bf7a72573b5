//! The window of a redrive lane, over the dead letters of one group: an entry says of each letter
//! what became of it. DEAD: nobody redrove it, and it hangs in nothing. Any other open state: it
//! was redriven, and is handed out as any message. SETTLED: that was done with, or it was purged,
//! or is another group's.
//!
//! So a redrive of a letter is one published word, and a death at any instruction leaves the letter
//! dead or redriven, never neither and never both (P12).

use super::entry::NOBODY;
use super::policy::Policy;
use super::window::{Counter, Window};
use crate::format::window::state;

/// The most hand-outs that a letter is believed to have had, so that more can be counted.
const ATTEMPTS_MAX: u32 = 1 << 30;

/// A letter as its group's lane knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dead {
    /// Its offset.
    pub offset: u64,
    /// Its position in its segment.
    pub position: u64,
}

impl Window {
    /// Takes in the letter at the window's end; false if there is no room for it. A death before
    /// the end is moved on leaves an entry that nobody looks at, and the letter is taken in again.
    pub fn admit_dead(&self, dead: Dead) -> bool {
        let Ok(position) = u32::try_from(dead.position) else {
            return false;
        };
        if dead.offset.wrapping_sub(self.floor()) >= self.usable() || self.is_full(dead.offset) {
            return false;
        }
        let index = self.index(dead.offset);
        (self.entries).fill(index, dead.offset, position, 0, state::DEAD);
        true
    }

    /// Whether the letter is dead, as far as the window knows of it.
    fn find_dead(&self, offset: u64) -> Option<u32> {
        let index = self.index(offset);
        let inside = (self.floor()..self.end()).contains(&offset);
        let dead =
            inside && self.entries.is_of(index, offset) && self.entries.state(index) == state::DEAD;
        dead.then_some(index)
    }

    /// Up to `most` letters from an offset on that are dead.
    pub fn dead(&self, from: u64, most: usize) -> Vec<Dead> {
        let dead = |offset| {
            let position = u64::from(self.entries.position(self.find_dead(offset)?));
            Some(Dead { offset, position })
        };
        let offsets = from.max(self.floor())..self.end();
        offsets.filter_map(dead).take(most).collect()
    }

    /// The letter is to be handed out again, with its attempts and without its failures, behind
    /// those of its key that were redriven before. False if it is not dead. The state is published
    /// last: before it the letter is dead, whatever else stands in the entry.
    pub fn redrive(&self, policy: &Policy, offset: u64, attempts: u32, key: Option<u64>) -> bool {
        let Some(index) = self.find_dead(offset) else {
            return false;
        };
        self.entries
            .redrive(index, attempts.min(ATTEMPTS_MAX), policy.chain_of(key));
        self.entries.set_lease(index, 0, NOBODY);
        if self.joins(index) {
            self.make_ready(index);
        }
        self.count(Counter::Redriven, 1);
        true
    }

    /// The letter is done, and counted by what it was done by, if by anything. False if it is not
    /// dead.
    pub fn end_dead(&self, offset: u64, by: impl Into<Option<Counter>>) -> bool {
        let Some(index) = self.find_dead(offset) else {
            return false;
        };
        self.entries.set_state(index, state::SETTLED);
        if let Some(by) = by.into() {
            self.count(by, 1);
        }
        if offset == self.floor() {
            self.raise_floor();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::Life;
    use super::super::model::{BEGIN, Dice, at, open, policy};
    use super::*;
    use crate::log::Cursor;
    use crate::storage::Twin;

    fn take_in(window: &Window, count: u64) {
        for offset in window.next()..window.next() + count {
            let position = offset * 8;
            assert!(window.admit_dead(Dead { offset, position }));
            window.set_cursor(Cursor::at_offset(offset + 1));
        }
    }

    fn offsets(window: &Window) -> Vec<u64> {
        window.dead(0, 999).iter().map(|one| one.offset).collect()
    }

    #[test]
    fn p11_p12_a_letter_hangs_in_nothing_before_it_is_redriven_and_as_any_message_after() {
        let window = open(&Twin::new());
        take_in(&window, 4);
        assert!(window.take_ready(1_000, 3, 1).is_none() && window.unsettled().is_empty());
        // In the order in which they are redriven, those of a key one after the other.
        assert!(window.redrive(&policy(true), 2, 7, Some(5)));
        assert!(window.redrive(&policy(true), 1, u32::MAX, Some(5)));
        assert!(!window.redrive(&policy(true), 1, 1, Some(5)), "twice");
        assert_eq!(offsets(&window), [0, 3]);
        let took = window.take_ready(1_000, 3, 1).expect("2");
        assert_eq!((took.offset, took.attempt, took.position), (2, 8, 16));
        assert!(
            window.take_ready(1_000, 3, 1).is_none(),
            "1 waits for its key"
        );
        assert!(!window.end_dead(2, Counter::Purged), "it is out");
        window.ack(2, 8);
        let took = window.take_ready(1_000, 3, 1).expect("1");
        assert_eq!((took.offset, took.attempt), (1, ATTEMPTS_MAX + 1));
        assert!(window.end_dead(0, Counter::Purged) && window.end_dead(3, Counter::Damaged));
        assert_eq!(window.floor(), 1);
        window.ack(1, took.attempt);
        assert_eq!((window.floor(), window.next()), (4, 4));
        let counted = [
            Counter::Redriven,
            Counter::Purged,
            Counter::Damaged,
            Counter::Acked,
        ];
        assert_eq!(counted.map(|counter| window.counter(counter)), [2, 1, 1, 2]);
    }

    /// What a random history leaves is the same after a rebuild, and after a power loss each letter
    /// is dead or open or done, as on the way it was; those on disk are where they were.
    #[test]
    fn p12_rebuilds_and_power_losses_leave_each_letter_in_one_of_its_states() {
        for seed in 1..60 {
            let (twin, policy, mut dice) = (Twin::new(), policy(true), Dice(seed));
            let mut window = open(&twin);
            window.rebuild(Life::New, BEGIN, &mut |_, _| true);
            take_in(&window, 40);
            let mut redriven = std::collections::BTreeSet::new();
            for step in 0..60 {
                let offset = dice.next(40);
                match dice.next(4) {
                    0 => {
                        window.end_dead(offset, Counter::Purged);
                    }
                    1 => {
                        if let Some(took) = window.take_ready(1_000, 3, 1) {
                            assert!(redriven.remove(&took.offset), "handed out while dead");
                            window.ack(took.offset, took.attempt);
                        }
                    }
                    _ => {
                        let key = Some(offset % 3);
                        if window.redrive(&policy, offset, 1, key) {
                            redriven.insert(offset);
                        }
                    }
                }
                if step % 20 == 19 {
                    let before = (offsets(&window), window.unsettled(), window.floor());
                    window.rebuild(Life::Same, at(0), &mut |_, _| true);
                    let after = (offsets(&window), window.unsettled(), window.floor());
                    assert_eq!(before, after, "seed {seed}");
                }
            }
            window.syncer().sync().expect("sync");
            let (dead, out) = (offsets(&window), window.unsettled());
            let last = dead.first().copied();
            if let Some(offset) = last {
                window.redrive(&policy, offset, 1, None);
            }
            let mut lost = open(&twin.power_loss(seed).expect("image"));
            lost.rebuild(Life::NewBoot, BEGIN, &mut |_, _| true);
            let open: Vec<u64> = lost.unsettled().iter().map(|one| one.0).collect();
            for offset in dead.iter().filter(|one| Some(**one) != last) {
                assert!(offsets(&lost).contains(offset), "seed {seed}, {offset}");
            }
            for (offset, _) in out {
                assert!(open.contains(&offset), "seed {seed}, {offset}");
            }
            if let Some(offset) = last {
                let places = (offsets(&lost).contains(&offset), open.contains(&offset));
                assert!(places.0 != places.1, "seed {seed}: {places:?}");
            }
        }
    }
}
