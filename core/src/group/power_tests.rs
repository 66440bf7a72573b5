//! Windows whose file a power loss took back, sector by sector.

use std::path::Path;

use super::model::{BEGIN, Dice, at, fresh, open, policy};
use super::*;
use crate::format::window::{header, state};
use crate::log::Cursor;
use crate::storage::{Storage, Twin};

/// Takes messages in until the window is full or `count` are in; says whether there was room.
pub(super) fn admit(window: &mut Window, policy: &Policy, count: u64) {
    for _ in 0..count {
        let offset = window.next();
        let Admit::Ready(index) = window.admit(policy, &fresh(offset, None), BEGIN) else {
            return;
        };
        window.set_cursor(Cursor {
            offset: offset + 1,
            ..window.cursor()
        });
        window.make_ready(index);
    }
}

/// Doubles the ring; with `dies` the one who does dies before the ring is on disk.
fn grow(window: &mut Window, dies: bool) {
    let grower = window.grower().expect("below the limit");
    grower.allocate().expect("allocate");
    window.double(&grower).expect("double");
    if !dies {
        grower.sync().expect("sync");
        window.allow(&grower);
    }
}

pub(super) fn begin(twin: &Twin, policy: &Policy) -> Window {
    let mut window = open(twin);
    window.rebuild(Life::New, BEGIN, &mut |_, _| true);
    window.return_leases(policy, |_| true, true, (0, 1));
    window
}

fn after_loss(twin: &Twin, policy: &Policy, seed: u64) -> Window {
    let after = twin.power_loss(seed).expect("image");
    let mut window = open(&after);
    window.check_span().expect("whole");
    window.rebuild(Life::NewBoot, BEGIN, &mut |_, _| true);
    window.return_leases(policy, |_| true, true, (0, 1));
    window
}

#[test]
fn p12_what_was_dying_on_disk_never_comes_back_however_often_the_ring_goes_round() {
    for seed in 1..80 {
        let (twin, policy, mut dice) = (Twin::new(), policy(false), Dice(seed));
        let mut window = begin(&twin, &policy);
        let (mut dead, mut now) = (Vec::new(), 0);
        for _ in 0..dice.next(12) + 6 {
            admit(&mut window, &policy, 300 + dice.next(600));
            if dice.next(4) == 0 && window.grower().is_some() {
                grow(&mut window, dice.next(2) == 0);
            }
            for _ in 0..3 {
                now += 1_000;
                window.expire(&policy, at(now));
                while let Some(taken) = window.take_ready(now + 10, 0, 0) {
                    if taken.offset % 2503 == 5 {
                        window.give_up(taken.offset, taken.attempt, 1, 1);
                        if dice.next(4) > 0 {
                            // As the mover does before it appends to the dead letters.
                            window.syncer().sync().expect("sync");
                            let dying = window.dying(|_, _| true);
                            let dying: Vec<u64> = dying.iter().map(|one| one.offset).collect();
                            window.settle_dead(&policy, &dying);
                            dead.extend(dying);
                        }
                    } else if dice.next(20) > 0 {
                        window.ack(taken.offset, taken.attempt);
                    }
                }
            }
        }
        let window = after_loss(&twin, &policy, seed * 7 + 1);
        for offset in dead {
            let mine = |(open, _): &(u64, u64)| *open == offset;
            let open = window.unsettled().iter().any(mine) && !window.is_dying(offset);
            assert!(
                !open && offset < window.next(),
                "seed {seed}: {offset} is back"
            );
        }
    }
}

#[test]
fn p12_what_was_dying_on_disk_stays_so_when_the_ring_is_doubled_and_that_is_lost() {
    for seed in 1..200 {
        let (twin, policy) = (Twin::new(), policy(false));
        let mut window = begin(&twin, &policy);
        // Some stand in places that they leave when the ring is doubled.
        admit(&mut window, &policy, 600);
        while let Some(taken) = window.take_ready(10, 0, 0) {
            window.ack(taken.offset, taken.attempt);
        }
        admit(&mut window, &policy, 800);
        let mut dead = Vec::new();
        while let Some(taken) = window.take_ready(10, 0, 0) {
            if taken.offset % 50 == 30 {
                window.give_up(taken.offset, taken.attempt, 1, 1);
                dead.push(taken.offset);
            }
        }
        window.syncer().sync().expect("sync");
        window.settle_dead(&policy, &dead);
        admit(&mut window, &policy, 300);
        grow(&mut window, true);
        let window = after_loss(&twin, &policy, seed);
        for offset in dead {
            let known = offset < window.floor() || window.is_dying(offset);
            let settled = known || window.unsettled().iter().all(|(open, _)| *open != offset);
            assert!(
                settled && offset < window.next(),
                "seed {seed}: {offset} is back"
            );
        }
    }
}

#[test]
fn p6_a_ring_that_was_doubled_but_not_on_disk_hides_no_message_after_a_power_loss() {
    for seed in 1..200 {
        let (twin, policy, mut dice) = (Twin::new(), policy(false), Dice(seed));
        let mut window = begin(&twin, &policy);
        let mut receipts = Vec::new();
        let mut ack = |window: &Window, to: u64| {
            while let Some(taken) = window.take_ready(1_000_000, 0, 0) {
                receipts.push((taken.offset, taken.attempt));
            }
            receipts.retain(|(offset, attempt)| {
                *offset >= to || window.ack(*offset, *attempt) != Settled::Done
            });
        };
        // Some stand in the places that they leave when the ring is doubled.
        admit(&mut window, &policy, 600);
        let settled = 400 + dice.next(200);
        ack(&window, settled);
        admit(&mut window, &policy, 800);
        grow(&mut window, true);
        ack(&window, 1024);
        admit(&mut window, &policy, 4_000);
        let (end, floor) = (window.next(), window.floor());
        let window = after_loss(&twin, &policy, seed * 13 + 5);
        let open = window.unsettled();
        for offset in floor..end.min(window.next()) {
            let known = open.iter().any(|(open, _)| *open == offset);
            assert!(
                known,
                "seed {seed}: {offset} of {floor} to {end} was skipped"
            );
        }
    }
}

fn write_word(twin: &Twin, word: usize, value: u64) {
    let file = twin.open(Path::new("/w"), crate::storage::Access::ReadWrite, 0);
    let at = word as u64 * 8;
    let written = file.expect("open").write_at(&value.to_le_bytes(), at);
    written.expect("write");
}

#[test]
fn p6_p18_an_end_beyond_the_ring_is_a_jump_that_was_cut_short_and_no_walk_for_ever() {
    for end in [5_000, u64::MAX - 1] {
        let (twin, policy) = (Twin::new(), policy(false));
        let mut window = begin(&twin, &policy);
        admit(&mut window, &policy, 3);
        while let Some(taken) = window.take_ready(10, 0, 0) {
            window.ack(taken.offset, taken.attempt);
        }
        // As one leaves it that died in `settle_gap`.
        write_word(&twin, header::NEXT, end);
        let mut window = open(&twin);
        window.check_span().expect("can be");
        // Nobody walks to where the jump would have gone (P18).
        assert!(window.fetched_batches(|_| true).is_empty());
        assert!(window.unsettled().is_empty());
        window.rebuild(Life::Same, BEGIN, &mut |_, _| true);
        assert_eq!((window.floor(), window.next()), (3, 3), "none is skipped");
    }
}

#[test]
fn p18_a_floor_behind_the_end_is_an_error() {
    let (twin, policy) = (Twin::new(), policy(false));
    begin(&twin, &policy);
    write_word(&twin, header::FLOOR, u64::MAX - 1);
    let error = open(&twin).check_span().expect_err("no window is so");
    assert!(error.message().contains("/w"), "{error}");
}

#[test]
fn p12_a_window_whose_sync_failed_is_written_again_before_a_sync_counts() {
    for seed in 1..40 {
        let (twin, policy) = (Twin::new(), policy(false));
        let mut window = begin(&twin, &policy);
        admit(&mut window, &policy, 3);
        let taken = window.take_ready(10, 0, 0).expect("ready");
        window.give_up(taken.offset, taken.attempt, 1, 1);
        twin.fail(crate::storage::Fault::Sync, 1);
        window.syncer().sync().expect_err("the disk is away");
        twin.heal();
        window.syncer().sync().expect("it is back");
        let window = after_loss(&twin, &policy, seed);
        assert!(window.is_dying(taken.offset), "seed {seed}: it came back");
    }
}

#[test]
fn p6_a_window_whose_opening_failed_at_the_sync_is_no_damage_after_a_power_loss() {
    for seed in 1..60 {
        let (twin, policy) = (Twin::new(), policy(false));
        let mut window = begin(&twin, &policy);
        admit(&mut window, &policy, 300);
        window.close_clean().expect("close");
        twin.fail(crate::storage::Fault::Sync, 1);
        window.open_clean().expect_err("the disk is away");
        // Whoever comes next, in this process or another.
        if seed % 2 == 0 {
            twin.heal();
        } else {
            window.open_clean().expect_err("the disk is still away");
            twin.heal();
        }
        window.check().expect("nothing was changed");
        window.open_clean().expect("it is back");
        while let Some(taken) = window.take_ready(10, 0, 0) {
            window.ack(taken.offset, taken.attempt);
        }
        let after = twin.power_loss(seed).expect("image");
        let checked = open(&after).check();
        checked.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    }
}

#[test]
fn p6_an_entry_that_a_power_loss_took_is_no_later_round_however_large_the_offsets_are() {
    let start = 3_000_000_512_u64 / 1024 * 1024 - 100;
    for seed in 1..200 {
        let (twin, policy) = (Twin::new(), policy(false));
        let path = Path::new("/w");
        Window::make(&twin, path, 0o660, (1, 0), 4096, start).expect("make");
        twin.sync_dir(Path::new("/")).expect("sync");
        let open = |twin: &Twin| {
            let opened = Window::open(twin, path, (1, 0), 4096);
            opened.expect("open").expect("made")
        };
        let mut window = open(&twin);
        window.rebuild(Life::New, BEGIN, &mut |_, _| true);
        window.return_leases(&policy, |_| true, true, (0, 1));
        admit(&mut window, &policy, 300);
        let mut window = open(&twin.power_loss(seed).expect("image"));
        window.rebuild(Life::NewBoot, BEGIN, &mut |_, _| true);
        window.return_leases(&policy, |_| true, true, (0, 1));
        assert_eq!(
            window.floor(),
            start,
            "seed {seed}: unsettled messages are skipped"
        );
    }
}

#[test]
fn p11_p12_what_is_dying_behind_one_that_a_power_loss_took_back_is_never_ready() {
    for dies_first in [true, false] {
        let (twin, policy) = (Twin::new(), policy(true));
        let mut window = begin(&twin, &policy);
        for offset in 0..3 {
            let admitted = window.admit(&policy, &fresh(offset, Some(77)), BEGIN);
            window.set_cursor(Cursor::at_offset(offset + 1));
            if let Admit::Ready(index) = admitted {
                window.make_ready(index);
            }
        }
        let take = |window: &mut Window| window.take_ready(10, 0, 0).map(|taken| taken.offset);
        assert_eq!(take(&mut window), Some(0));
        window.ack(0, 1);
        assert_eq!(take(&mut window), Some(1));
        window.give_up(1, 1, 1, 1);
        // On disk: that 1 is dying, and of 0 what stood there before it was settled.
        window.head.set(header::FLOOR, 0);
        window.entries.set_state(0, state::READY);
        window.rebuild(Life::NewBoot, BEGIN, &mut |_, _| true);
        window.return_leases(&policy, |_| true, true, (0, 1));
        if dies_first {
            window.settle_dead(&policy, &[1]);
        }
        assert_eq!(take(&mut window), Some(0), "the first of its key");
        assert_eq!(take(&mut window), None);
        window.ack(0, 2);
        if !dies_first {
            assert_eq!(take(&mut window), None, "1 is dying, 2 behind it");
            window.settle_dead(&policy, &[1]);
        }
        assert_eq!(take(&mut window), Some(2));
        window.ack(2, 1);
        assert_eq!((window.floor(), window.counter(Counter::Held)), (3, 0));
    }
}

/// As above, where dead letters hold their keys: what comes back of an earlier one goes first, and
/// the dead one still holds what is behind it (P11, P12).
#[test]
fn p11_p12_what_holds_its_key_does_so_after_a_power_loss_behind_one_that_came_back() {
    for redriven in [false, true] {
        let mut policy = super::model::policy(true);
        policy.hold_key = true;
        let twin = Twin::new();
        let mut window = begin(&twin, &policy);
        for offset in 0..3 {
            let admitted = window.admit(&policy, &fresh(offset, Some(7)), BEGIN);
            window.set_cursor(Cursor::at_offset(offset + 1));
            if let Admit::Ready(index) = admitted {
                window.make_ready(index);
            }
        }
        let take = |window: &mut Window| window.take_ready(10, 0, 0).map(|taken| taken.offset);
        assert_eq!(take(&mut window), Some(0));
        window.ack(0, 1);
        assert_eq!(take(&mut window), Some(1));
        window.give_up(1, 1, 1, 1);
        window.settle_dead(&policy, &[1]);
        assert_eq!(take(&mut window), None, "1 holds its key");
        assert_eq!((window.floor(), window.counter(Counter::Holding)), (1, 1));
        // On disk: that 1 holds its key, and of 0 what stood there before it was settled.
        window.head.set(header::FLOOR, 0);
        window.entries.set_state(0, state::READY);
        window.rebuild(Life::NewBoot, BEGIN, &mut |_, _| true);
        window.return_leases(&policy, |_| true, true, (0, 1));
        assert_eq!(window.counter(Counter::Holding), 1);
        if redriven {
            assert!(window.redrive_held(1, 1));
        }
        assert_eq!(take(&mut window), Some(0), "the first of its key");
        assert_eq!(take(&mut window), None);
        window.ack(0, 2);
        if redriven {
            assert_eq!(take(&mut window), Some(1), "redriven, it is the next");
            assert_eq!(window.entries.cycles(1), 1);
            assert_eq!(take(&mut window), None);
            window.ack(1, 2);
        } else {
            assert_eq!(take(&mut window), None, "1 holds its key, 2 is behind it");
            assert!(window.purge_held(1, 1));
        }
        assert!(!window.purge_held(1, 1) && !window.redrive_held(1, 1));
        assert_eq!(take(&mut window), Some(2));
        window.ack(2, 1);
        assert_eq!((window.floor(), window.counter(Counter::Held)), (3, 0));
        assert_eq!(window.counter(Counter::Holding), 0);
    }
}
