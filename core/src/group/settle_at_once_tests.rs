//! Acknowledging at once against acknowledging one by one, over random windows.

use super::model::{BEGIN, Dice, at, fresh, open, policy};
use super::rebuild::Life;
use super::*;
use crate::format::window::{CAPACITY_MIN, ENTRY_WORDS, entry, header, state};
use crate::log::Cursor;
use crate::storage::Twin;

const MESSAGES: u64 = 60;

/// A window with messages in the hands of some consumers, and their receipts; the same for each
/// seed.
fn handed_out(seed: u64) -> (Window, Vec<(u64, u32)>) {
    let (mut dice, mut window) = (Dice(seed), open(&Twin::new()));
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
    (window, receipts)
}

/// All that the window says, but where that hung what is done.
fn words(window: &Window) -> Vec<u64> {
    let entries = (0..CAPACITY_MIN as usize).flat_map(|index| {
        let settled = window.entries.state(index as u32) == state::SETTLED;
        (0..ENTRY_WORDS).map(move |word| match word == entry::TIMER && settled {
            true => 0,
            false => window.entries.region.get(index * ENTRY_WORDS + word),
        })
    });
    let head = (header::CAPACITY..header::WORDS).map(|word| window.head.get(word));
    let wheel = (0..500).map(|word| window.wheel.region.get(word));
    entries.chain(head).chain(wheel).collect()
}

#[test]
fn p6_p9_p11_at_once_leaves_the_window_as_one_by_one_does() {
    for seed in 1..400 {
        let ((one_by_one, mut receipts), (at_once, _)) = (handed_out(seed), handed_out(seed));
        assert_eq!(words(&one_by_one), words(&at_once), "seed {seed}: before");
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
        assert_eq!(words(&one_by_one), words(&at_once), "seed {seed}");
    }
}

#[test]
fn p6_what_was_acknowledged_at_once_is_done_whenever_the_holder_dies() {
    for seed in 1..100 {
        let (window, receipts) = handed_out(seed);
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
        let (mut whole, _) = handed_out(seed);
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
