//! At most once (P7): windows whose messages are settled before they are handed out.

use std::collections::BTreeSet;
use std::path::Path;

use super::model::{BEGIN, Dice, Model, State, at, fresh, open, policy, policy_of};
use super::power_tests::admit;
use super::*;
use crate::log::Cursor;
use crate::options::{OnExpired, Ordering};
use crate::storage::{Storage, Twin};

const ME: u16 = 3;
const OTHER: u16 = 4;
const NOW: (u64, u64) = (10, 11);

fn opened(twin: &Twin) -> Window {
    let mut window = open(twin);
    window.hand_out_at_most_once();
    window
}

fn begin(twin: &Twin) -> Window {
    let mut window = opened(twin);
    window.rebuild(Life::New, BEGIN, &mut |_, _| true);
    window
}

fn gather(window: &Window, consumer: u16) -> Option<(u64, u32)> {
    let taken = window.take_ready(1_000, consumer, GATHERED)?;
    Some((taken.offset, taken.attempt))
}

/// Messages 0 to 3: 0 is given, 1 is gathered, both by one consumer; 2 and 3 are ready.
fn scene(twin: &Twin) -> Window {
    let (policy, mut window) = (policy(false), begin(twin));
    admit(&mut window, &policy, 4);
    assert_eq!(gather(&window, ME), Some((0, 1)));
    assert_eq!(gather(&window, ME), Some((1, 1)));
    assert_eq!(window.give((0, 1), 1_000, ME), Settled::Done);
    window
}

/// What is handed out from here on.
fn rest(window: &Window) -> Vec<u64> {
    let all = std::iter::from_fn(|| gather(window, OTHER));
    let all = all.filter(|one| window.settle_gathered(*one, OTHER) == Settled::Done);
    all.map(|(offset, _)| offset).collect()
}

fn counts(window: &Window) -> [u64; 4] {
    [
        Counter::Leased,
        Counter::Acked,
        Counter::Lost,
        Counter::Failed,
    ]
    .map(|counter| window.counter(counter))
}

#[test]
fn p7_p10_what_a_dead_consumer_was_given_is_settled_and_what_it_had_gathered_comes_back() {
    let (twin, policy) = (Twin::new(), policy(false));
    let window = scene(&twin);
    assert_eq!(window.fetched_batches(|_| true).len(), 0);
    let returned = window.return_leases(&policy, |of| of == ME, true, NOW);
    assert_eq!(returned.count, 2);
    assert!(returned.dying.is_empty());
    assert_eq!(counts(&window), [0, 0, 1, 0]);
    assert_eq!(rest(&window), [1, 2, 3]);
    assert_eq!(window.settle_given((0, 1), ME), Settled::Stale);
    assert_eq!(window.floor(), 4);
}

#[test]
fn p7_a_lease_that_ends_settles_what_was_given_and_leaves_its_slow_consumer_nothing_to_give() {
    let (twin, policy) = (Twin::new(), policy(false));
    let window = scene(&twin);
    window.expire(&policy, at(1_000));
    assert_eq!(counts(&window), [0, 0, 1, 0]);
    // The one who gathered 1 is alive, and finds that it is not his any more.
    let late = [
        window.give((1, 1), 9_000, ME),
        window.settle_gathered((1, 1), ME),
        window.lease_anew((1, 1), 9_000, ME, GATHERED),
        window.take_back(1, 1),
    ];
    assert_eq!(late, [Settled::Stale; 4]);
    assert_eq!(rest(&window), [1, 2, 3]);
    assert_eq!(window.counter(Counter::TimedOut), 0);
    assert_eq!(window.counter(Counter::Delivered), 3);
    assert_eq!(window.counter(Counter::Redelivered), 0);
}

#[test]
fn p7_p9_what_was_given_is_not_given_back_by_a_close_and_what_was_gathered_is() {
    let (twin, policy) = (Twin::new(), policy(false));
    let window = scene(&twin);
    window.return_leases(&policy, |of| of == ME, false, NOW);
    assert_eq!(counts(&window), [1, 0, 0, 0]);
    assert_eq!(rest(&window), [1, 2, 3]);
    assert_eq!(window.settle_given((0, 1), ME), Settled::Done);
    assert_eq!(counts(&window), [0, 4, 0, 0]);
    assert_eq!(window.floor(), 4);
}

#[test]
fn p5_p7_what_was_given_and_could_not_be_put_on_disk_is_taken_back_and_comes_again() {
    let twin = Twin::new();
    let window = scene(&twin);
    assert_eq!(window.take_back(0, 1), Settled::Done);
    assert_eq!(window.settle_given((0, 1), ME), Settled::Stale);
    assert_eq!(rest(&window), [0, 2, 3]);
    assert_eq!(window.counter(Counter::Delivered), 3);
}

#[test]
fn p7_by_hand_what_was_given_is_settled_and_neither_delayed_nor_given_up() {
    let twin = Twin::new();
    let window = scene(&twin);
    assert_eq!(window.delay_by_hand(0, 10, at(10)), ByHand::Settled);
    assert_eq!(window.give_up_by_hand(0, 10, 10), ByHand::Settled);
    assert_eq!(window.delay_by_hand(1, 10, at(10)), ByHand::Done);
    assert_eq!(window.give((1, 1), 1_000, ME), Settled::Stale);
    assert_eq!(window.settle_by_hand(0), ByHand::Done);
    assert_eq!(window.settle_given((0, 1), ME), Settled::Stale);
    assert_eq!(window.take_back(0, 1), Settled::Stale);
    assert_eq!(rest(&window), [1, 2, 3]);
}

#[test]
fn p7_after_the_hand_over_a_settle_call_counts_a_failure_and_brings_nothing_back() {
    let twin = Twin::new();
    let window = scene(&twin);
    assert_eq!(window.settle_given((0, 1), ME), Settled::Done);
    assert_eq!(window.answer(0, 1, None), Settled::Done);
    assert_eq!(window.answer(0, 1, Some(ME)), Settled::Done);
    let forged = [(0, 0), (1, 1), (2, 1), (4, 1), (u64::MAX, 1)];
    for (offset, attempt) in forged {
        let told = window.answer(offset, attempt, Some(ME));
        assert_eq!(told, Settled::Stale, "{offset} {attempt}");
    }
    // Of one below the floor nothing is known any more.
    assert_eq!(window.floor(), 1);
    assert_eq!(window.answer(0, 7, None), Settled::Done);
    assert_eq!(counts(&window), [1, 1, 0, 1]);
    // Settled, and before one that is not.
    assert_eq!(gather(&window, OTHER), Some((2, 1)));
    assert_eq!(window.settle_gathered((2, 1), OTHER), Settled::Done);
    assert_eq!(window.answer(2, 1, None), Settled::Done);
    assert_eq!(window.answer(2, 2, None), Settled::Stale, "forged");
    assert_eq!(rest(&window), [3]);
}

#[test]
fn p7_p11_the_key_is_free_once_its_message_was_handed_over() {
    let (twin, policy) = (Twin::new(), policy(true));
    let window = begin(&twin);
    for offset in 0..2 {
        let admitted = window.admit(&policy, &fresh(offset, Some(7)), BEGIN);
        window.set_cursor(Cursor::at_offset(offset + 1));
        if let Admit::Ready(index) = admitted {
            window.make_ready(index);
        }
    }
    assert_eq!(gather(&window, ME), Some((0, 1)));
    window.give((0, 1), 1_000, ME);
    assert_eq!(gather(&window, ME), None, "0 is not handed over");
    window.settle_given((0, 1), ME);
    assert_eq!(rest(&window), [1]);
}

/// One random history; what was settled for a hand-over never comes again, and nothing else is
/// may_be_lost than what was given.
fn history(seed: u64, policy: Policy) {
    let twin = Twin::new();
    let mut window = begin(&twin);
    let mut model = Model::new(policy);
    model.once = true;
    let (mut dice, mut now) = (Dice(seed), at(10_000));
    let mut gathered: Vec<(u64, u32, u16)> = Vec::new();
    let mut given: Vec<(u64, u32, u16)> = Vec::new();
    for step in 0..400 {
        let place = format!("seed {seed} step {step}");
        let pick = |some: &mut Vec<(u64, u32, u16)>, dice: &mut Dice| {
            let which = dice.next(some.len() as u64) as usize;
            some.swap_remove(which)
        };
        match dice.next(100) {
            0..25 => {
                let offset = window.next();
                let key = (dice.next(4) > 0).then(|| dice.next(6) + 1);
                let message = fresh(offset, key);
                let admitted = window.admit(&policy, &message, now);
                if admitted == Admit::Full {
                    continue;
                }
                window.set_cursor(Cursor::at_offset(offset + 1));
                if let Admit::Ready(index) = admitted {
                    window.make_ready(index);
                }
                model.admit(&message, now);
            }
            25..50 => {
                let (consumer, due) = (dice.next(4) as u16, now.boot_ms + 10 + dice.next(200));
                let taken = window.take_ready(due, consumer, GATHERED);
                assert_eq!(taken.map(|one| one.offset), model.next(), "{place}");
                if let Some(taken) = taken {
                    let message = model.of(taken.offset);
                    message.state = State::Leased { due, consumer };
                    (message.held, message.attempts) = ((consumer, 0, false), taken.attempt);
                    gathered.push((taken.offset, taken.attempt, consumer));
                }
            }
            50..65 if !gathered.is_empty() => {
                let (offset, attempt, consumer) = pick(&mut gathered, &mut dice);
                let good = model.is_gathered(offset, attempt);
                let done = match dice.next(4) {
                    0 => {
                        if good {
                            model.of(offset).state = State::Settled;
                        }
                        window.settle_gathered((offset, attempt), consumer)
                    }
                    1 => {
                        if good {
                            let message = model.of(offset);
                            (message.state, message.attempts) = (State::Waiting, attempt - 1);
                        }
                        window.take_back(offset, attempt)
                    }
                    _ => {
                        let due = now.boot_ms + dice.next(90);
                        if good {
                            let message = model.of(offset);
                            message.state = State::Leased { due, consumer };
                            message.held.2 = true;
                            given.push((offset, attempt, consumer));
                        }
                        window.give((offset, attempt), due, consumer)
                    }
                };
                assert_eq!(done == Settled::Done, good, "{place}: {offset}");
            }
            65..80 if !given.is_empty() => {
                let (offset, attempt, consumer) = pick(&mut given, &mut dice);
                let good = model.good(offset, attempt);
                let message = model.of(offset);
                let done = if dice.next(4) == 0 {
                    if good {
                        (message.state, message.attempts) = (State::Waiting, attempt - 1);
                    }
                    window.take_back(offset, attempt)
                } else {
                    message.state = State::Settled;
                    window.settle_given((offset, attempt), consumer)
                };
                assert_eq!(done == Settled::Done, good, "{place}: {offset}");
            }
            80..86 => {
                let consumer = dice.next(4) as u16;
                window.return_leases(&policy, |of| of == consumer, true, (now.boot_ms, 1));
                model.die(consumer, now.boot_ms);
            }
            86..90 => {
                drop(window);
                window = opened(&twin);
                window.rebuild(Life::Same, now, &mut |_, _| true);
            }
            _ => {
                now.boot_ms += dice.next(60);
                now.wall_ms = now.boot_ms + 1;
            }
        }
        window.expire(&policy, now);
        model.tick(now);
        let open = model.messages.values();
        let open = open.filter(|one| one.state != State::Settled).count();
        assert_eq!(window.unsettled().len(), open, "{place}");
        let count = window.counter(Counter::Ready);
        assert_eq!(count, model.deliverable().len() as u64, "{place}");
    }
}

#[test]
fn p7_p10_p11_the_window_agrees_with_the_model_where_it_hands_out_at_most_once() {
    let mut seed = 0;
    for _ in 0..60 {
        for ordering in [Ordering::None, Ordering::Key, Ordering::Partition] {
            seed += 1;
            history(seed, policy_of(ordering, OnExpired::Drop));
        }
    }
}

#[test]
fn p7_a_power_loss_brings_nothing_back_that_was_given_and_on_disk_however_the_ring_grows() {
    for seed in 1..120 {
        let (twin, policy, mut dice) = (Twin::new(), policy(false), Dice(seed));
        let mut window = begin(&twin);
        twin.sync_dir(Path::new("/")).expect("sync");
        let (mut handed, mut may_be_lost) = (BTreeSet::new(), BTreeSet::new());
        for _ in 0..dice.next(8) + 4 {
            admit(&mut window, &policy, 100 + dice.next(700));
            if dice.next(3) == 0
                && let Some(grower) = window.grower()
            {
                grower.allocate().expect("allocate");
                window.double(&grower).expect("double");
                if dice.next(2) == 0 {
                    grower.sync().expect("sync");
                    window.allow(&grower);
                }
            }
            for _ in 0..dice.next(12) {
                let most = dice.next(80) as usize;
                let some: Vec<_> = std::iter::from_fn(|| gather(&window, ME))
                    .take(most)
                    .collect();
                for one in &some {
                    assert!(!handed.contains(&one.0), "seed {seed}: {one:?}");
                    window.give(*one, 1_000, ME);
                }
                match dice.next(6) {
                    // It dies before the disk has it: it was handed over to nobody.
                    0 => may_be_lost.extend(some.iter().map(|one| one.0)),
                    1 => {
                        for (offset, attempt) in some {
                            window.take_back(offset, attempt);
                            // The disk may have it all the same.
                            may_be_lost.insert(offset);
                        }
                    }
                    _ => {
                        window.syncer().sync().expect("sync");
                        handed.extend(some.iter().map(|one| one.0));
                        if dice.next(4) > 0 {
                            some.iter().for_each(|one| {
                                window.settle_given(*one, ME);
                            });
                        }
                    }
                }
            }
        }
        let end = window.next();
        let image = twin.power_loss(seed * 7 + 1).expect("image");
        let mut window = opened(&image);
        window.check_span().expect("whole");
        window.rebuild(Life::NewBoot, BEGIN, &mut |_, _| true);
        window.return_void_leases(&policy, Life::NewBoot, NOW);
        let unseen = end.saturating_sub(window.next());
        admit(&mut window, &policy, unseen);
        let again = rest(&window);
        for offset in &again {
            assert!(!handed.contains(offset), "seed {seed}: {offset} is back");
        }
        let known: BTreeSet<u64> = again
            .iter()
            .copied()
            .chain(handed)
            .chain(may_be_lost)
            .collect();
        let missed = (0..window.next()).find(|offset| !known.contains(offset));
        assert_eq!(
            missed, None,
            "seed {seed}: it was neither given nor handed out"
        );
    }
}
