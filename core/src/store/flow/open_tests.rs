//! What is open, followed from look to look, against what is: what it says, and what it looks at.

use std::cell::Cell;
use std::collections::BTreeSet;

use super::open::{Open, View};
use crate::group::Dice;
use crate::log::Counted;

/// A window as it is, and how many of its entries were looked at.
#[derive(Default)]
struct Fake {
    epoch: u32,
    floor: u64,
    next: u64,
    open: BTreeSet<u64>,
    /// By how much the count is wrong.
    wrong: i64,
    looked: Cell<usize>,
}

impl View for Fake {
    fn epoch(&self) -> u32 {
        self.epoch
    }

    fn floor(&self) -> u64 {
        self.floor
    }

    fn next(&self) -> u64 {
        self.next
    }

    fn counted(&self) -> u64 {
        (self.open.len() as u64).wrapping_add_signed(self.wrong)
    }

    fn is_unsettled(&self, offset: u64) -> bool {
        self.looked.set(self.looked.get() + 1);
        self.open.contains(&offset)
    }

    fn open_from(&self, offset: u64) -> Vec<(u64, u64, Option<u64>)> {
        let found: Vec<_> = self.open.range(offset..).collect();
        self.looked.set(self.looked.get() + found.len());
        found.into_iter().map(|one| (*one, 0, None)).collect()
    }
}

impl Fake {
    fn take_in(&mut self, count: u64) {
        self.open.extend(self.next..self.next + count);
        self.next += count;
    }

    fn settle(&mut self, offset: u64) {
        self.open.remove(&offset);
        self.floor = self.open.first().copied().unwrap_or(self.next);
    }
}

fn bytes_of(offset: u64) -> u64 {
    48 + 8 * (offset % 7)
}

fn follow(open: &mut Open, group: usize, view: &Fake, search: bool) {
    for (offset, ..) in open.follow(group, view, search) {
        open.add(group, offset, bytes_of(offset));
    }
}

fn sum<'a>(offsets: impl IntoIterator<Item = &'a u64>) -> Counted {
    let all: BTreeSet<&u64> = offsets.into_iter().collect();
    Counted {
        messages: all.len() as u64,
        bytes: all.iter().map(|offset| bytes_of(**offset)).sum(),
    }
}

#[test]
fn p14_what_is_followed_is_what_a_walk_finds_in_random_histories() {
    for seed in 0..60 {
        let mut chance = Dice(seed);
        let groups = 1 + (seed % 3) as usize;
        let mut windows: Vec<Fake> = (0..groups).map(|_| Fake::default()).collect();
        let mut open = Open::of(groups);
        for step in 0..400 {
            let number = chance.next(groups as u64) as usize;
            let window = &mut windows[number];
            match chance.next(12) {
                0..=3 => window.take_in(chance.next(9)),
                4..=9 => {
                    let skip = chance.next(window.open.len() as u64) as usize;
                    if let Some(offset) = window.open.iter().nth(skip).copied() {
                        window.settle(offset);
                        if chance.next(2) == 0 {
                            open.note_dropped(number, offset);
                        }
                    }
                }
                // A seek: nothing of before is open.
                10 if chance.next(8) == 0 => {
                    let to = chance.next(window.next + 5);
                    window.open.clear();
                    (window.floor, window.next, window.epoch) = (to, to, window.epoch + 1);
                }
                // Its holder died while it took some in: those at the end were not.
                11 if chance.next(8) == 0 => {
                    let end = window.next - chance.next(window.next - window.floor);
                    window.open.split_off(&end);
                    window.next = end;
                }
                _ => {}
            }
            let search = chance.next(3) > 0;
            for (number, window) in windows.iter().enumerate() {
                follow(&mut open, number, window, search);
                let exact = sum(&window.open).bytes;
                assert!(open.bytes(number) >= exact, "seed {seed}, step {step}");
                assert!(!search || open.bytes(number) == exact, "{seed}, {step}");
            }
            let from = chance.next(200);
            let all = windows.iter().flat_map(|window| window.open.range(..from));
            let (found, exact) = (open.sum_before(from), sum(all));
            assert!(found.messages >= exact.messages && found.bytes >= exact.bytes);
            assert!(!search || found == exact, "seed {seed}, step {step}");
        }
    }
}

/// How many entries are looked at in so many counts, with so many open.
fn looked(most: u64, mut step: impl FnMut(&mut Fake, &mut Open, u64)) -> usize {
    let (mut window, mut open) = (Fake::default(), Open::of(1));
    window.take_in(most);
    follow(&mut open, 0, &window, true);
    window.looked.set(0);
    for turn in 0..500 {
        step(&mut window, &mut open, turn);
        follow(&mut open, 0, &window, false);
        follow(&mut open, 0, &window, true);
        let all = window.open.clone();
        assert_eq!(open.sum_before(u64::MAX), sum(&all), "{turn}");
    }
    window.looked.get()
}

#[test]
fn p14_a_count_looks_at_what_has_changed_however_much_is_open() {
    let nothing = |_: &mut Fake, _: &mut Open, _: u64| {};
    // From the beginning, and behind one that stays.
    let oldest = |window: &mut Fake, _: &mut Open, turn: u64| window.settle(turn);
    let dropped = |window: &mut Fake, open: &mut Open, turn: u64| {
        window.take_in(1);
        window.settle(1 + turn);
        open.note_dropped(0, 1 + turn);
    };
    // Four workers, each of which goes through its own, and one that goes backwards.
    let workers = |window: &mut Fake, _: &mut Open, turn: u64| {
        let each = window.next / 5;
        (1..=3).for_each(|worker| window.settle(worker * each + turn));
        window.settle(5 * each - 1 - turn);
    };
    for (small, large, most) in [
        (looked(5_000, nothing), looked(50_000, nothing), 8),
        (looked(5_000, oldest), looked(50_000, oldest), 8),
        (looked(5_000, dropped), looked(50_000, dropped), 10),
    ] {
        assert_eq!(small, large);
        assert!(large <= 500 * most, "{large}");
    }
    // Where each of them is has to be found once.
    let (small, large) = (looked(5_000, workers), looked(50_000, workers));
    assert!(large <= 50_000 * 8 + 500 * 200, "{large}");
    assert!(small <= 5_000 * 8 + 500 * 200, "{small}");
}

#[test]
fn p14_p18_a_window_that_counts_wrong_is_found_out_after_a_while() {
    let (mut window, mut open) = (Fake::default(), Open::of(1));
    window.take_in(100);
    follow(&mut open, 0, &window, true);
    for wrong in [1, -1, i64::MIN, i64::MAX, 3] {
        window.wrong = wrong;
        let offset = 5 + wrong.rem_euclid(40) as u64 + u64::from(wrong < 0);
        window.settle(offset);
        for _ in 0..40 {
            follow(&mut open, 0, &window, true);
        }
        assert_eq!(open.bytes(0), sum(&window.open).bytes, "{wrong}");
    }
}
