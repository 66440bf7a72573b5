//! A window that is sought: deaths and power losses in the middle of it, and what a snapshot brings
//! back.

use std::sync::{Arc, Mutex};

use super::model::{BEGIN, Dice, at, fresh, open, policy};
use super::power_tests::{admit, begin};
use super::*;
use crate::format::snapshot::{Open, Part, Snapshot};
use crate::format::window::{EPOCH_STEP, salt, tag};
use crate::log::Cursor;
use crate::storage::{Event, Twin, Watcher};

fn to(epoch: u32, offset: u64) -> Target {
    Target {
        epoch,
        offset,
        dead_from: 7,
    }
}

#[test]
fn p16_tags_of_a_thousand_epochs_in_a_row_are_all_different_in_one_place() {
    const { assert!(EPOCH_STEP % 2 == 1) };
    let mut low: Vec<u32> = (0..1024).map(|epoch| salt(epoch) % 1024).collect();
    low.sort_unstable();
    low.dedup();
    assert_eq!(low.len(), 1024);
    assert_eq!((tag(0, 5), tag(1, 0)), (5, u64::from(EPOCH_STEP)));
}

/// A window with everything in it.
fn busy(twin: &Twin, policy: &Policy) -> Window {
    let mut window = begin(twin, policy);
    admit(&mut window, policy, 40);
    for offset in 0..20 {
        let taken = window.take_ready(1_000, 1, 1).expect("ready");
        assert_eq!(taken.offset, offset);
        match offset % 4 {
            0 => drop(window.ack(offset, 1)),
            1 => drop(window.nack(policy, (offset, 1), None, 10, 10)),
            2 => drop(window.give_up(offset, 1, 10, 10)),
            _ => {}
        }
    }
    window
}

/// All that is handed out when time passes, in order.
fn taken(window: &mut Window, policy: &Policy) -> Vec<u64> {
    window.expire(policy, at(1_000_000));
    admit(window, policy, 60_u64.saturating_sub(window.next()));
    let mut found = Vec::new();
    while let Some(one) = window.take_ready(2_000_000, 2, 9) {
        found.push(one.offset);
    }
    found
}

#[test]
fn p16_a_death_or_a_power_loss_at_any_store_of_a_seek_leaves_it_to_be_done_again() {
    for offset in [0, 5, 17, 40, 55] {
        let (twin, policy) = (Twin::new(), policy(false));
        let mut window = busy(&twin, &policy);
        window.syncer().sync().expect("sync");
        let found: Arc<Mutex<Vec<(bool, Twin)>>> = Arc::default();
        let (into, seed) = (found.clone(), std::sync::atomic::AtomicU64::new(1));
        let watcher: Watcher = Arc::new(move |twin: &Twin, event| {
            let seed = seed.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            // The buckets and bitmaps are cleared word by word.
            if event == Event::Stored && (seed < 12 || seed % 61 == 0) {
                let mut all = into.lock().expect("lock");
                all.push((false, twin.all_die().expect("image")));
                all.push((true, twin.power_loss(seed).expect("image")));
            }
        });
        twin.watch(Some(watcher));
        window.seek(&to(1, offset));
        twin.watch(None);
        let mut images = std::mem::take(&mut *found.lock().expect("lock"));
        for seed in 0..20 {
            images.push((true, twin.power_loss(seed + 1_000).expect("image")));
        }
        images.push((false, twin.all_die().expect("image")));
        assert!(images.len() > 50);
        for (place, (loss, image)) in images.iter().enumerate() {
            let mut window = open(image);
            window.check_span().expect("whole");
            let life = if *loss { Life::NewBoot } else { Life::Same };
            window.rebuild(life, BEGIN, &mut |_, _| true);
            window.return_leases(&policy, |_| true, true, (0, 1));
            if window.is_behind(&to(1, offset)) {
                window.seek(&to(1, offset));
            }
            assert_eq!((window.epoch(), window.dead_from()), (1, 7));
            let all: Vec<u64> = (offset..60).collect();
            assert_eq!(
                taken(&mut window, &policy),
                all,
                "to {offset}, image {place}"
            );
            assert_eq!(window.dying(|_, _| true), [], "image {place}");
        }
    }
}

/// After a seek entries of the time before may be what a power loss leaves of the new ones.
#[test]
fn p6_p16_no_power_loss_takes_an_entry_of_before_for_one_of_after() {
    for seed in 1..120 {
        let (twin, policy, mut dice) = (Twin::new(), policy(false), Dice(seed));
        let mut window = busy(&twin, &policy);
        while let Some(one) = window.take_ready(1_000, 1, 1) {
            window.ack(one.offset, one.attempt);
        }
        window.syncer().sync().expect("sync");
        let epochs = if seed % 3 == 0 { 256 } else { 1 };
        window.seek(&to(epochs, 0));
        admit(&mut window, &policy, 30);
        let mut done = Vec::new();
        while let Some(one) = window.take_ready(1_000, 1, 1) {
            if dice.next(3) == 0 {
                window.ack(one.offset, one.attempt);
                done.push(one.offset);
            }
        }
        if seed % 2 == 0 {
            window.syncer().sync().expect("sync");
        }
        let image = twin.power_loss(seed * 3 + 1).expect("image");
        let mut window = open(&image);
        window.rebuild(Life::NewBoot, BEGIN, &mut |_, _| true);
        window.return_leases(&policy, |_| true, true, (0, 1));
        if window.is_behind(&to(epochs, 0)) {
            window.seek(&to(epochs, 0));
        }
        let found = taken(&mut window, &policy);
        let missing = (0..60).filter(|offset| !found.contains(offset));
        let skipped: Vec<u64> = missing.filter(|offset| !done.contains(offset)).collect();
        assert!(
            skipped.is_empty(),
            "seed {seed}: {skipped:?} never came again"
        );
    }
}

/// Random windows are taken as snapshots, and brought back by somebody who takes in one message
/// after the other, with deaths and power losses in between.
#[test]
fn p16_a_window_is_again_what_a_snapshot_says_whoever_takes_in_how_many() {
    for seed in 1..60_u64 {
        let (twin, policy, mut dice) = (Twin::new(), policy(seed % 2 == 0), Dice(seed));
        let mut window = busy(&twin, &policy);
        let before = window.standing();
        let dying: Vec<u64> = window
            .dying(|_, _| true)
            .iter()
            .map(|one| one.offset)
            .collect();
        assert_eq!((before.dying, before.leased), (dying, 5));
        let snapshot = Arc::new(Snapshot {
            parts: vec![before.part.clone()],
            ..Snapshot::default()
        });
        let recalled = Recalled {
            epoch: 1,
            end: before.part.end,
            snapshot: Some(snapshot),
            partition: 0,
            once: false,
        };
        window.seek(&to(1, before.part.floor));
        window.recall_from(Some(recalled.clone()));
        let mut handed = std::collections::BTreeMap::new();
        while window.next() < 45 {
            let offset = window.next();
            if window.was_settled(offset) {
                assert!(window.pass_settled(offset));
            } else if offset % 11 != 10 {
                let key = Some(offset % 5).filter(|_| offset.is_multiple_of(2));
                if let Admit::Ready(index) = window.admit(&policy, &fresh(offset, key), BEGIN) {
                    window.make_ready(index);
                }
            } else {
                // The log has it no more.
                assert!(window.settle_gap(offset + 1));
            }
            window.set_cursor(Cursor::at_offset(offset + 1));
            if dice.next(8) == 0 {
                let image = twin.power_loss(seed * 100 + offset).expect("image");
                window = open(&image);
                window.rebuild(Life::NewBoot, BEGIN, &mut |_, _| true);
                if window.is_behind(&to(1, before.part.floor)) {
                    window.seek(&to(1, before.part.floor));
                }
                window.recall_from(Some(recalled.clone()));
                handed.clear();
            }
            assert_eq!(window.is_recalling(), window.next() < before.part.end);
        }
        window.expire(&policy, at(1_000_000));
        while let Some(one) = window.take_ready(2_000_000, 2, 9) {
            handed.insert(one.offset, one.attempt);
            window.ack(one.offset, one.attempt);
        }
        let open = before.part.open.iter().filter(|one| one.offset % 11 != 10);
        let mut expected: std::collections::BTreeMap<u64, u32> =
            open.map(|one| (one.offset, one.attempts + 1)).collect();
        expected.extend((40..45).filter(|at| at % 11 != 10).map(|at| (at, 1)));
        assert_eq!(handed, expected, "seed {seed}");
    }
}

#[test]
fn p7_p16_what_may_have_been_handed_over_is_not_open_in_a_snapshot() {
    let (twin, policy) = (Twin::new(), policy(false));
    let mut window = open(&twin);
    window.hand_out_at_most_once();
    window.rebuild(Life::New, BEGIN, &mut |_, _| true);
    admit(&mut window, &policy, 3);
    for _ in 0..2 {
        window.take_ready(1_000, 3, GATHERED).expect("ready");
    }
    assert_eq!(window.give((0, 1), 1_000, 3), Settled::Done);
    let open: Vec<u64> = (window.standing().part.open.iter())
        .map(|one| one.offset)
        .collect();
    assert_eq!(open, [1, 2]);
}

#[test]
fn p12_p16_what_a_snapshot_brings_back_has_one_failure_left_and_what_is_gone_is_lost() {
    let (twin, policy) = (Twin::new(), policy(false));
    let mut window = begin(&twin, &policy);
    let one = |offset| Open {
        offset,
        attempts: 9,
        failures: 9,
        first_failed_ms: 77,
    };
    let part = Part {
        floor: 3,
        end: 8,
        open: vec![one(3), one(5), one(6)],
    };
    window.seek(&to(1, 3));
    window.recall_from(Some(Recalled {
        epoch: 1,
        end: 8,
        snapshot: Some(Arc::new(Snapshot {
            parts: vec![part],
            ..Snapshot::default()
        })),
        partition: 0,
        once: false,
    }));
    let seen = window.seen(4).state;
    assert_eq!(seen, crate::format::window::state::SETTLED);
    admit(&mut window, &policy, 1);
    let taken = window.take_ready(10, 1, 1).expect("3");
    assert_eq!((taken.offset, taken.attempt), (3, 10));
    assert_eq!(window.nack(&policy, (3, 10), None, 1, 1), Settled::Dying);
    let dead = window.dying(|_, _| true);
    assert_eq!(
        (dead[0].failures, dead[0].first_failed_ms),
        (policy.max_attempts, 77)
    );
    assert_eq!(window.standing().dying, [3]);
    assert!(window.settle_gap(6));
    assert_eq!(window.counter(Counter::Lost), 1);
    let standing = window.standing().part;
    assert_eq!(
        (standing.floor, standing.end, standing.open.len()),
        (6, 8, 1)
    );
}
