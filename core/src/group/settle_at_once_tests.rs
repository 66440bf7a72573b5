//! Acknowledging at once against acknowledging one by one, over random windows.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::death_tests::dies;
use super::model::{BEGIN, Dice, at, fresh, open, policy};
use super::rebuild::Life;
use super::*;
use crate::format::control::consumer::{SLOTS, WORDS};
use crate::format::window::{CAPACITY_MIN, ENTRY_WORDS, entry, header, state};
use crate::log::Cursor;
use crate::shm::{Mapping, Region};
use crate::storage::{Event, Twin};

const MESSAGES: u64 = 60;

/// A window with messages in the hands of some consumers, and their receipts; the same for each
/// seed. And the table of what consumers did.
fn handed_out(seed: u64) -> (Window, Vec<(u64, u32)>, Region) {
    let (mut dice, mut window) = (Dice(seed), open(&Twin::new()));
    let len = SLOTS * WORDS * 8;
    let map = Arc::new(Mapping::anonymous(len).expect("memory"));
    let table = Region::new(&map, 0, len).expect("inside");
    window.tally_in(table.clone());
    let policy = policy(true);
    window.rebuild(Life::New, BEGIN, &mut |_, _| true);
    let mut receipts = Vec::new();
    for offset in 0..MESSAGES {
        let key = (dice.next(6) == 0).then(|| 1 + dice.next(3));
        let admitted = window.admit(&policy, &fresh(offset, key), BEGIN);
        window.set_cursor(Cursor::at_offset(offset + 1));
        if let Admit::Ready(index) = admitted {
            window.make_ready(index);
        }
        if dice.next(4) > 0 {
            continue;
        }
        let (due, consumer) = (at(10 + dice.next(3) * 100), dice.next(2) as u16);
        while let Some(taken) = window.take_ready(due.boot_ms, consumer, 1) {
            receipts.push((taken.offset, taken.attempt));
        }
    }
    // Of some the lease ran out, and of these some have another one.
    window.expire(&policy, at(50));
    while dice.next(3) > 0
        && let Some(taken) = window.take_ready(400, 3, 2)
    {
        receipts.push((taken.offset, taken.attempt));
    }
    (window, receipts, table)
}

/// All that the window and the table say, but where that hung what is done.
fn words(window: &Window, table: &Region) -> Vec<u64> {
    window.tell_tally();
    let told = (0..SLOTS * WORDS).map(|word| table.get(word));
    let entries = (0..CAPACITY_MIN as usize).flat_map(|index| {
        let settled = window.entries.state(index as u32) == state::SETTLED;
        (0..ENTRY_WORDS).map(move |word| match word == entry::TIMER && settled {
            true => 0,
            false => window.entries.region.get(index * ENTRY_WORDS + word),
        })
    });
    let head = (header::CAPACITY..header::WORDS).map(|word| window.head.get(word));
    let wheel = (0..500).map(|word| window.wheel.region.get(word));
    entries.chain(head).chain(wheel).chain(told).collect()
}

#[test]
fn p6_p9_p11_at_once_leaves_the_window_as_one_by_one_does() {
    for seed in 1..400 {
        let (one_by_one, mut receipts, table) = handed_out(seed);
        let (at_once, _, other) = handed_out(seed);
        let same = |place: &str| {
            let both = [(&one_by_one, &table), (&at_once, &other)];
            let [one_by_one, at_once] = both.map(|(window, table)| words(window, table));
            assert_eq!(one_by_one, at_once, "seed {seed}: {place}");
        };
        same("before");
        let mut dice = Dice(seed);
        match dice.next(3) {
            0 => {}
            1 => receipts.reverse(),
            _ => receipts.sort_by_cached_key(|_| dice.next(1000)),
        }
        receipts.truncate(1 + dice.next(receipts.len() as u64 + 20) as usize);
        if dice.next(2) == 0 {
            receipts.extend_from_within(..receipts.len() / 2);
            receipts.extend([(0, 9), (MESSAGES, 1), (u64::MAX, 1)]);
        }
        let mut settling = at_once.settling();
        for (offset, attempt) in receipts {
            let place = format!("seed {seed}: {offset}, hand-out {attempt}");
            let (done, expected) = match dice.next(12) {
                0 => (
                    settling.window().release(offset, attempt),
                    one_by_one.release(offset, attempt),
                ),
                _ => (
                    settling.ack(offset, attempt),
                    one_by_one.ack(offset, attempt),
                ),
            };
            assert_eq!(done, expected, "{place}");
        }
        settling.end();
        same("after");
    }
}

#[test]
fn p6_what_was_acknowledged_at_once_is_done_whenever_the_holder_dies() {
    for seed in 1..100 {
        let (window, receipts, _) = handed_out(seed);
        let mut settling = window.settling();
        let done: Vec<u64> = receipts
            .iter()
            .filter(|(offset, attempt)| settling.ack(*offset, *attempt) == Settled::Done)
            .map(|(offset, _)| *offset)
            .collect();
        // Its holder dies before it says what came of it.
        let _ = std::mem::ManuallyDrop::new(settling);
        let mut window = window;
        window.rebuild(Life::Same, at(50), &mut |_, _| true);
        window.check().expect("whole");
        let (mut whole, ..) = handed_out(seed);
        for (offset, attempt) in receipts {
            whole.ack(offset, attempt);
        }
        whole.rebuild(Life::Same, at(50), &mut |_, _| true);
        for counter in Counter::DERIVED {
            let counts = [&window, &whole].map(|one| one.counter(counter));
            assert_eq!(counts[0], counts[1], "seed {seed}: {counter:?}");
        }
        assert_eq!(window.floor(), whole.floor(), "seed {seed}");
        for offset in done {
            assert!(!window.unsettled().iter().any(|(open, _)| *open == offset));
        }
    }
}

/// Five messages that one consumer has until one time.
fn five(twin: &Twin) -> Window {
    let mut window = open(twin);
    window.rebuild(Life::New, BEGIN, &mut |_, _| true);
    for offset in 0..5 {
        let admitted = window.admit(&policy(true), &fresh(offset, None), BEGIN);
        window.set_cursor(Cursor::at_offset(offset + 1));
        let Admit::Ready(index) = admitted else {
            panic!("{admitted:?}");
        };
        window.lease(index, 100, 1, 1);
    }
    window
}

/// Acknowledges these, of the five, together.
fn settle(window: &Window, offsets: std::ops::Range<u64>) {
    let mut settling = window.settling();
    for offset in offsets {
        assert_eq!(settling.ack(offset, 1), Settled::Done);
    }
    settling.end();
}

#[test]
fn p6_p15_p17_a_death_at_any_store_leaves_each_done_or_leased_and_none_counted_twice() {
    for these in [0..3, 1..4, 0..5] {
        for store in 1.. {
            let twin = Twin::new();
            let window = five(&twin);
            let died = dies(&twin, store, || settle(&window, these.clone()));
            drop(window);
            let mut window = open(&twin);
            window.rebuild(Life::Same, at(50), &mut |_, _| true);
            window.check().expect("whole");
            let place = format!("{these:?}, dead at store {store}");
            let left = (0..5).filter(|offset| window.is_unsettled(*offset)).count() as u64;
            assert_eq!(window.counter(Counter::Leased), left, "{place}");
            let acked = window.counter(Counter::Acked);
            assert!(
                (4..=5).contains(&(acked + left)),
                "{place}: {acked} and {left}"
            );
            // What is left comes back, and nothing else.
            window.expire(&policy(true), at(100_000));
            window.expire(&policy(true), at(200_000));
            let mut came = 0;
            while let Some(one) = window.take_ready(300_000, 1, 2) {
                assert!(one.attempt == 2, "{place}: {one:?}");
                came += 1;
            }
            assert_eq!(came, left, "{place}");
            if !died {
                assert_eq!((left, acked), (5 - these.count() as u64, 5 - left));
                break;
            }
        }
    }
}

#[test]
fn p14_nobody_finds_less_open_than_there_is_while_a_batch_is_acknowledged() {
    let twin = Twin::new();
    let window = five(&twin);
    let (glance, entries) = (window.glance(), window.entries.region.clone());
    let leased = move || {
        let state = |index: &usize| entries.get(index * ENTRY_WORDS) & 0xFF;
        (0..5).filter(|index| state(index) == state::LEASED).count() as u64
    };
    let most = Arc::new(AtomicU64::new(0));
    let missing = most.clone();
    twin.watch(Some(Arc::new(move |_: &Twin, event| {
        if event == Event::Stored {
            let found = glance.seen().open();
            missing.fetch_max(leased().saturating_sub(found), Ordering::SeqCst);
        }
    })));
    settle(&window, 0..5);
    twin.watch(None);
    assert_eq!(most.load(Ordering::SeqCst), 0);
    assert_eq!(window.counter(Counter::Leased), 0);
}
