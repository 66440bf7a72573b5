//! The simplest model of what a window does, for random histories to be compared with.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use super::*;
use crate::format::extension::Attributes;
use crate::options::{Backoff, GroupConfig, GroupOptions, OnExpired, Ordering};
use crate::storage::Twin;

/// The moment in which nothing has happened yet.
pub const BEGIN: Now = at(0);

/// A moment of the boot clock, with a wall clock that is little ahead.
pub const fn at(boot_ms: u64) -> Now {
    Now {
        boot_ms,
        wall_ms: boot_ms + 1,
    }
}

/// A message without anything, as the log shows it.
pub fn fresh(offset: u64, key: Option<u64>) -> Fresh {
    Fresh {
        offset,
        position: offset * 8,
        key,
        attributes: Attributes::default(),
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum State {
    Scheduled(u64),
    Waiting,
    Delayed(u64),
    Leased {
        due: u64,
        consumer: u16,
    },
    /// A transaction is about to settle it; what of its lease is left.
    Marked {
        due: u64,
        consumer: u16,
    },
    Dying,
    Holding,
    Settled,
}

#[derive(Clone, Debug)]
pub struct Message {
    /// In what order it waits; 0 for none.
    pub chain: u64,
    /// When it took its place in that order.
    pub joined: u64,
    pub priority: u8,
    pub state: State,
    pub attempts: u32,
    pub failures: u32,
    /// Why it failed last, or never could be handed out.
    pub cause: Cause,
    /// The last hand-out, also after it was settled: consumer, batch, whether it was started.
    pub held: (u16, u16, bool),
}

pub struct Model {
    pub messages: BTreeMap<u64, Message>,
    pub policy: Policy,
    /// How many were left out.
    pub filtered: u64,
    /// Whether it hands out at most once: what was started was given, and comes never again.
    pub once: bool,
    joins: u64,
}

impl Model {
    pub fn new(policy: Policy) -> Self {
        Self {
            messages: BTreeMap::new(),
            policy,
            filtered: 0,
            once: false,
            joins: 0,
        }
    }

    pub fn of(&mut self, offset: u64) -> &mut Message {
        self.messages.get_mut(&offset).expect("known")
    }

    /// A message is looked at for the first time.
    pub fn admit(&mut self, fresh: &Fresh, now: Now) {
        let attributes = fresh.attributes;
        let late = attributes.is_expired(now.wall_ms as i64);
        let due = attributes.deliver_at_ms.map_or(0, |at| at as u64);
        let state = match (late, due > now.wall_ms) {
            (true, _) if self.policy.expired_die => State::Dying,
            (true, _) => State::Settled,
            (false, true) => State::Scheduled(due),
            (false, false) => State::Waiting,
        };
        self.joins += 1;
        let message = Message {
            chain: if late {
                0
            } else {
                self.policy.chain_of(fresh.key)
            },
            joined: self.joins,
            priority: attributes.priority,
            state,
            attempts: 0,
            failures: 0,
            cause: Cause::TooLate,
            held: (u16::MAX, 0, false),
        };
        self.messages.insert(fresh.offset, message);
    }

    /// A message is one that the group does not take: it is done, and was in no order.
    pub fn pass(&mut self, offset: u64) {
        self.filtered += 1;
        let message = Message {
            chain: 0,
            joined: 0,
            priority: 0,
            state: State::Settled,
            attempts: 0,
            failures: 0,
            cause: Cause::TooLate,
            held: (u16::MAX, 0, false),
        };
        self.messages.insert(offset, message);
    }

    /// What is before the offset is settled, and what is not is looked at anew.
    pub fn seek(&mut self, offset: u64) {
        self.messages.split_off(&offset);
        for message in self.messages.values_mut() {
            message.state = State::Settled;
        }
    }

    /// Those that may be handed out: of each order only the first.
    pub fn deliverable(&self) -> Vec<u64> {
        let joined = |m: &&Message| !matches!(m.state, State::Settled | State::Scheduled(_));
        let mut first = HashMap::new();
        for message in self.messages.values().filter(joined) {
            let least = first.entry(message.chain).or_insert(message.joined);
            *least = message.joined.min(*least);
        }
        let may = |m: &Message| {
            m.state == State::Waiting && (m.chain == 0 || first[&m.chain] == m.joined)
        };
        let those = self.messages.iter().filter(|(_, message)| may(message));
        those.map(|(offset, _)| *offset).collect()
    }

    /// The one that has to be handed out next.
    pub fn next(&self) -> Option<u64> {
        let ready = self.deliverable().into_iter();
        ready.min_by_key(|at| (u8::MAX - self.messages[at].priority, *at))
    }

    /// Whether this was gathered, and not given.
    pub fn is_gathered(&self, offset: u64, attempt: u32) -> bool {
        let message = &self.messages[&offset];
        let leased = matches!(message.state, State::Leased { .. });
        leased && message.attempts == attempt && !message.held.2
    }

    pub fn fail(&mut self, offset: u64, delay: Option<u64>, now: u64, cause: Cause) {
        if self.once {
            let message = self.of(offset);
            message.state = match message.held.2 {
                true => State::Settled,
                false => State::Waiting,
            };
            return;
        }
        let policy = self.policy;
        let message = self.of(offset);
        message.cause = cause;
        message.failures += 1;
        message.state = if message.failures >= policy.max_attempts {
            State::Dying
        } else {
            let wait = delay.unwrap_or_else(|| policy.wait_ms(message.failures, offset));
            State::Delayed(now + wait)
        };
    }

    /// What was handed out, or waits, is too late.
    pub fn expire(&mut self, offset: u64) {
        self.of(offset).cause = Cause::TooLate;
        self.of(offset).state = match self.policy.expired_die {
            true => State::Dying,
            false => State::Settled,
        };
    }

    pub fn tick(&mut self, now: Now) {
        let offsets: Vec<u64> = self.messages.keys().copied().collect();
        let mut scheduled = Vec::new();
        for offset in offsets {
            match self.messages[&offset].state {
                State::Delayed(due) if due <= now.boot_ms => {
                    self.of(offset).state = State::Waiting;
                }
                State::Leased { due, .. } if due <= now.boot_ms => {
                    self.fail(offset, None, now.boot_ms, Cause::LeaseEnded);
                }
                State::Scheduled(at) if at <= now.wall_ms => scheduled.push((at, offset)),
                _ => {}
            }
        }
        scheduled.sort_unstable();
        for (_, offset) in scheduled {
            self.joins += 1;
            let joined = self.joins;
            let message = self.of(offset);
            (message.state, message.joined) = (State::Waiting, joined);
        }
    }

    pub fn good(&self, offset: u64, attempt: u32) -> bool {
        self.messages.get(&offset).is_some_and(|message| {
            message.attempts == attempt
                && !matches!(
                    message.state,
                    State::Settled | State::Dying | State::Holding | State::Marked { .. }
                )
        })
    }

    pub fn die(&mut self, consumer: u16, now: u64) {
        let once = self.once;
        let held = self.messages.values().map(|message| message.held);
        let started: HashSet<u16> = held
            .filter(|(holder, _, started)| *holder == consumer && *started)
            .map(|(_, batch, _)| batch)
            .collect();
        let offsets: Vec<u64> = self.messages.keys().copied().collect();
        for offset in offsets {
            let message = self.of(offset);
            match message.state {
                State::Leased {
                    consumer: holder, ..
                } if holder == consumer => {}
                _ => continue,
            }
            let (_, batch, one) = message.held;
            if once || one || !started.contains(&batch) {
                self.fail(offset, None, now, Cause::Died);
            } else {
                message.state = State::Waiting;
            }
        }
    }
}

/// The same numbers each time.
pub struct Dice(pub u64);

impl Dice {
    /// One below this; 0 where there is none.
    pub fn next(&mut self, below: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_041);
        (self.0 >> 24) % below.max(1)
    }
}

pub fn policy_of(ordering: Ordering, on_expired: OnExpired) -> Policy {
    let mut config = GroupConfig::from_options(&GroupOptions {
        ordering: Some(ordering),
        on_expired: Some(on_expired),
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

pub fn policy(by_key: bool) -> Policy {
    let ordering = if by_key {
        Ordering::Key
    } else {
        Ordering::None
    };
    policy_of(ordering, OnExpired::Drop)
}

pub fn open(twin: &Twin) -> Window {
    let path = Path::new("/w");
    Window::make(twin, path, 0o660, (1, 0), 4096, 0).expect("make");
    crate::storage::Storage::sync_dir(twin, Path::new("/")).expect("sync");
    Window::open(twin, path, (1, 0), 4096)
        .expect("open")
        .expect("made")
}
