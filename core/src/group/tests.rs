//! The window against the model of the contract, over random histories.

use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use super::model::{BEGIN, Dice, Model, State, at, fresh, open, policy, policy_of};
use super::transact_tests::transact;
use super::*;
use crate::format::extension::Attributes;
use crate::log::Cursor;
use crate::options::{OnExpired, Ordering};
use crate::storage::Twin;

/// One random history; P6, P9, P10, P11 and P12 hold at each step.
fn history(seed: u64, policy: Policy, steps: u32) {
    let twin = Twin::new();
    let mut window = open(&twin);
    let mut model = Model::new(policy);
    let (mut dice, mut now) = (Dice(seed), at(10_000));
    window.rebuild(Life::New, now, &mut |_, _| true);
    window.return_leases(&policy, |_| true, true, (now.boot_ms, 1));
    let mut receipts: Vec<(u64, u32)> = Vec::new();
    let mut batch = 0;
    for step in 0..steps {
        let place = format!("seed {seed} step {step}");
        match dice.next(100) {
            0..25 => {
                for _ in 0..=dice.next(4) {
                    admit(&mut window, &mut model, &mut dice, now);
                }
                if dice.next(3) == 0 {
                    batch += 1;
                    receipts.extend(take_run(&window, &mut model, &mut dice, (now, batch)));
                }
            }
            25..50 => {
                batch += 1;
                let consumer = dice.next(4) as u16;
                let due = now.boot_ms + 10 + dice.next(200);
                while let Some(taken) = window.take_ready(due, consumer, batch) {
                    assert_eq!(model.next(), Some(taken.offset), "{place}: {taken:?}");
                    let message = model.of(taken.offset);
                    message.attempts += 1;
                    assert_eq!(message.attempts, taken.attempt, "{place}");
                    message.state = State::Leased { due, consumer };
                    message.held = (consumer, batch, false);
                    receipts.push((taken.offset, taken.attempt));
                    if dice.next(12) == 0 {
                        window.settle_expired(&policy, taken.offset, taken.attempt, now);
                        model.expire(taken.offset);
                    }
                    if dice.next(3) == 0 {
                        break;
                    }
                }
            }
            50..80 if !receipts.is_empty() => {
                let which = dice.next(receipts.len() as u64) as usize;
                let receipt = receipts.swap_remove(which);
                settle(&window, &mut model, &mut dice, receipt, now.boot_ms, &place);
            }
            80..84 if !receipts.is_empty() => {
                let (offset, attempt) = receipts[dice.next(receipts.len() as u64) as usize];
                window.start(offset, attempt);
                let message = model.of(offset);
                message.held.2 |= message.attempts == attempt;
            }
            84..87 => {
                let consumer = dice.next(4) as u16;
                let fetched = window.fetched_batches(|of| of == consumer);
                let started = window.started_among(&fetched);
                window.return_fetched(|of| of == consumer, &started);
                let wall = (now.boot_ms, 1);
                window.return_leases(&policy, |of| of == consumer, true, wall);
                model.die(consumer, now.boot_ms);
            }
            87..90 => {
                let dying: Vec<u64> = window.dying(|_, _| true).iter().map(|d| d.offset).collect();
                window.settle_dead(&policy, &dying);
                for offset in dying {
                    let message = model.of(offset);
                    assert_eq!(message.state, State::Dying, "{place}");
                    let holds = policy.hold_key && message.chain != 0;
                    message.state = match holds && message.cause != Cause::TooLate {
                        true => State::Holding,
                        false => State::Settled,
                    };
                }
                end_holding(&window, &mut model, &mut dice, &place);
            }
            90..93 => {
                drop(window);
                window = open(&twin);
                window.rebuild(Life::Same, now, &mut |_, _| true);
            }
            95..97 => transact(&window, &mut model, &mut dice, (&receipts, now), &place),
            93 => {
                // The wall clock is set, to a minute earlier or later.
                let earlier = dice.next(2) == 0 && now.wall_ms > 60_000;
                now.wall_ms = match earlier {
                    true => now.wall_ms - 60_000,
                    false => now.wall_ms + 60_000,
                };
            }
            94 if dice.next(3) == 0 => {
                // What comes again from there on is looked at anew; no receipt of before is good,
                // which the epoch in it says.
                let back = (window.next() + 3).saturating_sub(dice.next(60));
                let target = Target {
                    epoch: window.epoch() + 1,
                    offset: back,
                    dead_from: 0,
                };
                assert!(window.is_behind(&target), "{place}");
                window.seek(&target);
                assert!(!window.is_behind(&target), "{place}");
                model.seek(target.offset);
                receipts.clear();
            }
            _ => {
                let passed = dice.next(60);
                now.boot_ms += passed;
                now.wall_ms += passed;
            }
        }
        window.expire(&policy, now);
        model.tick(now);
        check(&window, &model, &place);
    }
}

/// Redrives or purges some of those that hold their keys; P11 and P12 hold.
fn end_holding(window: &Window, model: &mut Model, dice: &mut Dice, place: &str) {
    let all = model.messages.iter();
    let holding = all.filter(|(_, message)| message.state == State::Holding);
    let holding: Vec<(u64, u32)> = holding.map(|(at, one)| (*at, one.attempts)).collect();
    for (offset, attempts) in holding {
        // The letter of an earlier hand-out.
        assert!(!window.redrive_held(offset, attempts - 1), "{place}");
        assert!(!window.purge_held(offset, attempts + 1), "{place}");
        match dice.next(4) {
            0 => {
                assert!(window.redrive_held(offset, attempts), "{place}");
                let message = model.of(offset);
                (message.state, message.failures) = (State::Waiting, 0);
            }
            1 => {
                assert!(window.purge_held(offset, attempts), "{place}");
                model.of(offset).state = State::Settled;
            }
            _ => {}
        }
    }
}

/// Some messages go at once, one behind the other; their receipts.
fn take_run(
    window: &Window,
    model: &mut Model,
    dice: &mut Dice,
    (now, batch): (Now, u16),
) -> Vec<(u64, u32)> {
    let hand = Hand {
        due_ms: now.boot_ms + 10 + dice.next(200),
        consumer: dice.next(4) as u16,
        batch,
        begun: dice.next(2) == 0,
    };
    let (first, mut taken) = (window.next(), Vec::new());
    let Some(mut run) = window.run(&model.policy, hand) else {
        assert!(model.policy.is_in_line());
        return taken;
    };
    for offset in first..first + 1 + dice.next(4) {
        let has_key = dice.next(4) == 0;
        let Some(one) = run.take(offset, offset * 8, has_key) else {
            break;
        };
        assert!(!(has_key && model.policy.is_by_key()));
        taken.push((one.offset, one.attempt));
    }
    run.end(Cursor {
        offset: first + taken.len() as u64,
        ..window.cursor()
    });
    for (offset, attempt) in &taken {
        model.admit(&fresh(*offset, None), now);
        let message = model.of(*offset);
        message.attempts = *attempt;
        message.held = (hand.consumer, batch, hand.begun);
        message.state = State::Leased {
            due: hand.due_ms,
            consumer: hand.consumer,
        };
    }
    taken
}

fn admit(window: &mut Window, model: &mut Model, dice: &mut Dice, now: Now) {
    let offset = window.next();
    let key = (dice.next(4) > 0).then(|| dice.next(6) + 1);
    let mut message = fresh(offset, key);
    if dice.next(4) == 0 {
        let mut time = |often| {
            let some = dice.next(often) == 0;
            some.then(|| (now.wall_ms + dice.next(400)) as i64 - 40)
        };
        message.attributes = Attributes {
            deliver_at_ms: time(2),
            expires_at_ms: time(6),
            priority: dice.next(4) as u8 * 3,
        };
    }
    if dice.next(5) == 0 && window.pass(offset) {
        window.set_cursor(Cursor {
            offset: offset + 1,
            ..window.cursor()
        });
        return model.pass(offset);
    }
    loop {
        match window.admit(&model.policy, &message, now) {
            Admit::Full => {
                let Some(grower) = window.grower() else {
                    return;
                };
                grower.allocate().expect("allocate");
                window.double(&grower).expect("double");
                if dice.next(4) > 0 {
                    // Else who doubled it died before it was on disk.
                    grower.sync().expect("sync");
                    window.allow(&grower);
                }
            }
            admitted => {
                let next = Cursor {
                    offset: offset + 1,
                    ..window.cursor()
                };
                window.set_cursor(next);
                if let Admit::Ready(index) = admitted {
                    window.make_ready(index);
                }
                window.raise_floor();
                model.admit(&message, now);
                return;
            }
        }
    }
}

fn settle(
    window: &Window,
    model: &mut Model,
    dice: &mut Dice,
    (offset, attempt): (u64, u32),
    now: u64,
    place: &str,
) {
    let good = model.good(offset, attempt);
    let was = model.messages[&offset].state;
    let leased = matches!(was, State::Leased { .. });
    let outcome = match dice.next(5) {
        0 | 1 => {
            if good {
                model.of(offset).state = State::Settled;
            }
            window.ack(offset, attempt)
        }
        2 => {
            let delay = (dice.next(2) == 0).then(|| dice.next(50));
            if good && leased {
                model.fail(offset, delay, now, Cause::Nack);
            } else if good && let Some(delay) = delay {
                model.of(offset).state = State::Delayed(now + delay);
            }
            window.nack(&model.policy, (offset, attempt), delay, now, 1)
        }
        3 => {
            if good && leased {
                model.of(offset).state = State::Waiting;
            }
            window.release(offset, attempt)
        }
        _ => {
            if good {
                let message = model.of(offset);
                message.failures += u32::from(leased);
                message.cause = Cause::GivenUp;
                message.state = State::Dying;
            }
            window.give_up(offset, attempt, 1, 1)
        }
    };
    assert_eq!(
        outcome != Settled::Stale,
        good,
        "{place}: {offset} {attempt} {was:?}"
    );
}

fn check(window: &Window, model: &Model, place: &str) {
    let floor = model
        .messages
        .iter()
        .find(|(_, m)| m.state != State::Settled);
    let floor = floor.map_or(window.next(), |(offset, _)| *offset);
    assert_eq!(window.floor(), floor, "{place}: floor");
    let count = |wanted: fn(&State) -> bool| {
        model
            .messages
            .values()
            .filter(|message| wanted(&message.state))
            .count() as u64
    };
    assert_eq!(
        window.counter(Counter::Leased),
        count(|s| matches!(s, State::Leased { .. }))
    );
    assert_eq!(
        window.counter(Counter::Delayed),
        count(|s| matches!(s, State::Delayed(_)))
    );
    assert_eq!(
        window.counter(Counter::Scheduled),
        count(|s| matches!(s, State::Scheduled(_))),
        "{place}"
    );
    assert_eq!(
        window.counter(Counter::Dying),
        count(|s| *s == State::Dying),
        "{place}"
    );
    assert_eq!(
        window.counter(Counter::Filtered),
        model.filtered,
        "{place}: filtered"
    );
    assert_eq!(
        window.counter(Counter::Holding),
        count(|s| *s == State::Holding),
        "{place}"
    );
    assert_eq!(
        window.counter(Counter::Committing),
        count(|s| matches!(s, State::Marked { .. })),
        "{place}"
    );
    for dead in window.dying(|_, _| true) {
        assert_eq!(
            dead.cause, model.messages[&dead.offset].cause,
            "{place}: {dead:?}"
        );
    }
    let ready = model.deliverable().len() as u64;
    assert_eq!(window.counter(Counter::Ready), ready, "{place}: ready");
    let open = model
        .messages
        .values()
        .filter(|m| m.state != State::Settled)
        .count() as u64;
    assert_eq!(window.unsettled().len() as u64, open, "{place}: unsettled");
}

/// Steps of a history.
const STEPS: u32 = 400;
/// Set to have so many random operations agree, for `make soak-model`.
const OPERATIONS: &str = "LIBQUEUE_MODEL_OPERATIONS";

/// Histories of every kind of group, as many as make so many operations, in as many threads as
/// there are processors.
fn histories(operations: u64) {
    let mut kinds = Vec::new();
    for ordering in [Ordering::None, Ordering::Key, Ordering::Partition] {
        for on_expired in [OnExpired::Drop, OnExpired::DeadLetter] {
            let mut policy = policy_of(ordering, on_expired);
            kinds.push(policy);
            policy.hold_key = ordering != Ordering::None;
            kinds.push(policy);
        }
    }
    let (next, threads) = (AtomicU64::new(1), std::thread::available_parallelism());
    let work = || {
        loop {
            let seed = next.fetch_add(1, Relaxed);
            if (seed - 1) * u64::from(STEPS) >= operations {
                return;
            }
            history(seed, kinds[seed as usize % kinds.len()], STEPS);
        }
    };
    std::thread::scope(|scope| {
        (0..threads.map_or(1, usize::from)).for_each(|_| drop(scope.spawn(work)));
    });
}

#[test]
fn p6_p9_p10_p11_p12_the_window_agrees_with_the_model() {
    let wanted = std::env::var(OPERATIONS).ok();
    let operations = wanted.map_or(96_000, |text| text.parse().expect(OPERATIONS));
    histories(operations);
    println!("{operations} random operations agree with the model");
}

#[test]
fn p6_a_power_loss_of_the_window_delivers_again_and_skips_nothing() {
    for seed in 1..40 {
        let twin = Twin::new();
        let policy = policy(false);
        let mut window = open(&twin);
        window.syncer().sync().expect("sync");
        crate::storage::Storage::sync_dir(&twin, Path::new("/")).expect("sync");
        window.rebuild(Life::New, BEGIN, &mut |_, _| true);
        window.return_leases(&policy, |_| true, true, (0, 1));
        let mut dice = Dice(seed);
        let mut acked = Vec::new();
        for _ in 0..200 {
            let offset = window.next();
            if let Admit::Ready(index) = window.admit(&policy, &fresh(offset, None), BEGIN) {
                window.set_cursor(Cursor::at_offset(offset + 1));
                window.make_ready(index);
            }
            if let Some(taken) = window.take_ready(1_000_000, 0, 0)
                && dice.next(2) == 0
            {
                window.ack(taken.offset, taken.attempt);
                acked.push(taken.offset);
            }
        }
        let after = twin.power_loss(seed).expect("image");
        let mut window = open(&after);
        window.rebuild(Life::NewBoot, BEGIN, &mut |_, _| true);
        window.return_leases(&policy, |_| true, true, (0, 1));
        let mut seen: Vec<u64> = (window.next()..200).collect();
        window.expire(&policy, at(10_000_000));
        while let Some(taken) = window.take_ready(20_000_000, 1, 1) {
            seen.push(taken.offset);
        }
        for offset in 0..200 {
            assert!(
                acked.contains(&offset) || seen.contains(&offset),
                "seed {seed}: {offset}"
            );
        }
    }
}
