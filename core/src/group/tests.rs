//! The window against the simplest model of the contract, over random histories.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use super::*;
use crate::options::{Backoff, GroupConfig, GroupOptions, Ordering};
use crate::storage::Twin;

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Waiting,
    Delayed(u64),
    Leased { due: u64, consumer: u16 },
    Dying,
    Settled,
}

#[derive(Clone, Debug)]
struct Message {
    key: Option<u64>,
    state: State,
    attempts: u32,
    failures: u32,
    /// The last hand-out, also after it was settled: consumer, batch, whether it was started.
    held: (u16, u16, bool),
}

struct Model {
    messages: BTreeMap<u64, Message>,
    policy: Policy,
}

impl Model {
    fn deliverable(&self, offset: u64) -> bool {
        let message = &self.messages[&offset];
        let earlier_of_key = |(_, other): (&u64, &Message)| {
            other.key == message.key && other.state != State::Settled
        };
        message.state == State::Waiting
            && (message.key.is_none() || !self.messages.range(..offset).any(earlier_of_key))
    }

    fn fail(&mut self, offset: u64, delay: Option<u64>, now: u64) {
        let policy = self.policy;
        let message = self.messages.get_mut(&offset).expect("known");
        message.failures += 1;
        message.state = if message.failures >= policy.max_attempts {
            State::Dying
        } else {
            let wait = delay.unwrap_or_else(|| policy.wait_ms(message.failures, offset));
            State::Delayed(now + wait)
        };
    }

    fn tick(&mut self, now: u64) {
        let offsets: Vec<u64> = self.messages.keys().copied().collect();
        for offset in offsets {
            match self.messages[&offset].state {
                State::Delayed(due) if due <= now => {
                    self.messages.get_mut(&offset).expect("known").state = State::Waiting;
                }
                State::Leased { due, .. } if due <= now => self.fail(offset, None, now),
                _ => {}
            }
        }
    }

    fn good(&self, offset: u64, attempt: u32) -> bool {
        self.messages.get(&offset).is_some_and(|message| {
            message.attempts == attempt && !matches!(message.state, State::Settled | State::Dying)
        })
    }

    fn die(&mut self, consumer: u16, now: u64) {
        let held = self.messages.values().map(|message| message.held);
        let started: HashSet<u16> = held
            .filter(|(holder, _, started)| *holder == consumer && *started)
            .map(|(_, batch, _)| batch)
            .collect();
        let offsets: Vec<u64> = self.messages.keys().copied().collect();
        for offset in offsets {
            let message = self.messages.get_mut(&offset).expect("known");
            match message.state {
                State::Leased {
                    consumer: holder, ..
                } if holder == consumer => {}
                _ => continue,
            }
            let (_, batch, one) = message.held;
            if one || !started.contains(&batch) {
                self.fail(offset, None, now);
            } else {
                message.state = State::Waiting;
            }
        }
    }
}

pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn next(&mut self, below: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_041);
        (self.0 >> 24) % below
    }
}

pub(super) fn policy(by_key: bool) -> Policy {
    let ordering = if by_key {
        Ordering::Key
    } else {
        Ordering::None
    };
    let mut config = GroupConfig::from_options(&GroupOptions {
        ordering: Some(ordering),
        max_attempts: Some(3),
        ..GroupOptions::default()
    });
    let ms = std::time::Duration::from_millis;
    config.backoff = Backoff {
        first: ms(20),
        longest: ms(60),
        factor: 2.0,
    };
    Policy::of(&config)
}

pub(super) fn open(twin: &Twin) -> Window {
    let path = Path::new("/w");
    Window::make(twin, path, 0o660, (1, 0), 4096, 0).expect("make");
    crate::storage::Storage::sync_dir(twin, Path::new("/")).expect("sync");
    Window::open(twin, path, (1, 0), 4096)
        .expect("open")
        .expect("made")
}

/// One random history; P6, P9, P10, P11 and P12 hold at each step.
fn history(seed: u64, by_key: bool, steps: u32) {
    let twin = Twin::new();
    let mut window = open(&twin);
    let policy = policy(by_key);
    let mut model = Model {
        messages: BTreeMap::new(),
        policy,
    };
    let (mut dice, mut now) = (Dice(seed), 1_000_u64);
    window.rebuild(Life::New, now, &mut |_, _| true);
    window.return_leases(&policy, |_| true, true, (now, 1));
    let mut receipts: Vec<(u64, u32)> = Vec::new();
    let mut batch = 0;
    for step in 0..steps {
        let place = format!("seed {seed} step {step}");
        match dice.next(100) {
            0..25 => {
                for _ in 0..=dice.next(4) {
                    admit(&mut window, &mut model, &mut dice, by_key);
                }
            }
            25..50 => {
                batch += 1;
                let consumer = dice.next(4) as u16;
                let due = now + 10 + dice.next(200);
                while let Some(taken) = window.take_ready(due, consumer, batch) {
                    assert!(model.deliverable(taken.offset), "{place}: {taken:?}");
                    let message = model.messages.get_mut(&taken.offset).expect("known");
                    message.attempts += 1;
                    assert_eq!(message.attempts, taken.attempt, "{place}");
                    message.state = State::Leased { due, consumer };
                    message.held = (consumer, batch, false);
                    receipts.push((taken.offset, taken.attempt));
                    if dice.next(3) == 0 {
                        break;
                    }
                }
            }
            50..80 if !receipts.is_empty() => {
                let which = dice.next(receipts.len() as u64) as usize;
                let receipt = receipts.swap_remove(which);
                settle(&window, &mut model, &mut dice, receipt, now, &place);
            }
            80..84 if !receipts.is_empty() => {
                let (offset, attempt) = receipts[dice.next(receipts.len() as u64) as usize];
                window.start(offset, attempt);
                let message = model.messages.get_mut(&offset).expect("known");
                message.held.2 |= message.attempts == attempt;
            }
            84..87 => {
                let consumer = dice.next(4) as u16;
                let fetched = window.fetched_batches(|of| of == consumer);
                let started = window.started_among(&fetched);
                window.return_fetched(|of| of == consumer, &started);
                window.return_leases(&policy, |of| of == consumer, true, (now, 1));
                model.die(consumer, now);
            }
            87..90 => {
                let dying: Vec<u64> = window.dying(|_, _| true).iter().map(|d| d.offset).collect();
                window.settle_dead(&dying);
                for offset in dying {
                    let message = model.messages.get_mut(&offset).expect("known");
                    assert_eq!(message.state, State::Dying, "{place}");
                    message.state = State::Settled;
                }
            }
            90..93 => {
                drop(window);
                window = open(&twin);
                window.rebuild(Life::Same, now, &mut |_, _| true);
            }
            _ => now += dice.next(60),
        }
        window.expire(&policy, now, 1);
        model.tick(now);
        check(&window, &model, &place);
    }
}

fn admit(window: &mut Window, model: &mut Model, dice: &mut Dice, by_key: bool) {
    let offset = window.next();
    let key = (dice.next(4) > 0).then(|| dice.next(6) + 1);
    loop {
        match window.admit(&model.policy, offset, offset * 8, key) {
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
                let key = key.filter(|_| by_key);
                let state = State::Waiting;
                model.messages.insert(
                    offset,
                    Message {
                        key,
                        state,
                        attempts: 0,
                        failures: 0,
                        held: (u16::MAX, 0, false),
                    },
                );
                return;
            }
        }
    }
}

use crate::log::Cursor;

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
                model.messages.get_mut(&offset).expect("known").state = State::Settled;
            }
            window.ack(offset, attempt)
        }
        2 => {
            let delay = (dice.next(2) == 0).then(|| dice.next(50));
            if good && leased {
                model.fail(offset, delay, now);
            } else if good && let Some(delay) = delay {
                model.messages.get_mut(&offset).expect("known").state = State::Delayed(now + delay);
            }
            window.nack(&model.policy, (offset, attempt), delay, now, 1)
        }
        3 => {
            if good && leased {
                model.messages.get_mut(&offset).expect("known").state = State::Waiting;
            }
            window.release(offset, attempt)
        }
        _ => {
            if good {
                let message = model.messages.get_mut(&offset).expect("known");
                message.failures += 1;
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
        window.counter(Counter::Dying),
        count(|s| *s == State::Dying),
        "{place}"
    );
    let ready = model
        .messages
        .keys()
        .filter(|offset| model.deliverable(**offset))
        .count() as u64;
    assert_eq!(window.counter(Counter::Ready), ready, "{place}: ready");
    let open = model
        .messages
        .values()
        .filter(|m| m.state != State::Settled)
        .count() as u64;
    assert_eq!(window.unsettled().len() as u64, open, "{place}: unsettled");
}

#[test]
fn p6_p9_p10_p11_p12_the_window_agrees_with_the_model() {
    for seed in 1..60 {
        history(seed, true, 600);
        history(seed + 1000, false, 600);
    }
}

#[test]
fn p6_a_power_loss_of_the_window_delivers_again_and_skips_nothing() {
    for seed in 1..40 {
        let twin = Twin::new();
        let policy = policy(false);
        let mut window = open(&twin);
        window.syncer().sync().expect("sync");
        crate::storage::Storage::sync_dir(&twin, Path::new("/")).expect("sync");
        window.rebuild(Life::New, 0, &mut |_, _| true);
        window.return_leases(&policy, |_| true, true, (0, 1));
        let mut dice = Dice(seed);
        let mut model = Model {
            messages: BTreeMap::new(),
            policy,
        };
        let mut acked = Vec::new();
        for _ in 0..200 {
            admit(&mut window, &mut model, &mut dice, false);
            if let Some(taken) = window.take_ready(1_000_000, 0, 0)
                && dice.next(2) == 0
            {
                window.ack(taken.offset, taken.attempt);
                acked.push(taken.offset);
            }
        }
        let after = twin.power_loss(seed).expect("image");
        let mut window = open(&after);
        window.rebuild(Life::NewBoot, 0, &mut |_, _| true);
        window.return_leases(&policy, |_| true, true, (0, 1));
        let mut seen: Vec<u64> = (window.next()..200).collect();
        window.expire(&policy, 10_000_000, 1);
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
