//! Crashing: at which events, in which cases, and what was counted.

use std::collections::HashSet;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::model::Model;
use super::{check, life, second};
use crate::Store;
use crate::clock::ManualClock;
use crate::storage::{Choices, Event, Twin};

/// How densely a history is crashed.
#[derive(Clone, Copy, Debug)]
pub struct Depth {
    /// One in so many stores; syncs and names are always crash points.
    pub every: usize,
    /// Up to so many cases of one power loss are all tried.
    pub cases: usize,
    /// So many are drawn where there are more.
    pub seeds: u64,
    /// One in so many recoveries is itself crashed at one of its events.
    pub inside: usize,
}

impl Depth {
    /// No event is a crash point: something else in the history is.
    pub const NOWHERE: Self = Self {
        every: 1,
        cases: 0,
        seeds: 0,
        inside: 1,
    };
}

/// What was done, over all histories.
#[derive(Default)]
pub struct Tally {
    pub histories: AtomicU64,
    pub operations: AtomicU64,
    pub events: AtomicU64,
    pub points: AtomicU64,
    pub images: AtomicU64,
    pub inside: AtomicU64,
    pub exhausted: AtomicU64,
    pub verified: AtomicU64,
    pub seeks: AtomicU64,
    pub seeks_with_letters: AtomicU64,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        write!(
            f,
            "{} histories of {} operations, {} events, crashed at {} ({} in every case), {} images \
             recovered, {} of them of crashes inside a recovery, {} verified; {} seeks, {} of \
             them of groups with dead letters",
            of(&self.histories),
            of(&self.operations),
            of(&self.events),
            of(&self.points),
            of(&self.exhausted),
            of(&self.images),
            of(&self.inside),
            of(&self.verified),
            of(&self.seeks),
            of(&self.seeks_with_letters)
        )
    }
}

pub fn add(count: &AtomicU64) -> u64 {
    count.fetch_add(1, Ordering::Relaxed)
}

/// How the processes came to an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// All were killed; the kernel kept every byte.
    Killed,
    /// The power was lost.
    Power,
}

/// What one history's crashes have in common.
pub struct Sim {
    pub model: Mutex<Model>,
    pub depth: Depth,
    pub tally: Arc<Tally>,
    pub clock: Arc<ManualClock>,
    /// From then on no more crashes.
    deadline: Instant,
    /// The first failure; a panic inside of the library would be taken for one of its own.
    failure: Mutex<Option<String>>,
    chance: Mutex<Choices>,
    seen: Mutex<HashSet<u64>>,
    events: AtomicU64,
    died: AtomicBool,
    /// The store as the history has it open now.
    mine: Mutex<Option<Store>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sim {
    pub fn new(seed: u64, depth: Depth, deadline: Instant, tally: Arc<Tally>) -> Arc<Self> {
        Arc::new(Self {
            model: Mutex::default(),
            depth,
            tally,
            clock: life::clock(),
            deadline,
            failure: Mutex::default(),
            chance: Mutex::new(Choices::seeded(seed ^ 0xC4A5)),
            seen: Mutex::default(),
            events: AtomicU64::new(0),
            died: AtomicBool::new(false),
            mine: Mutex::default(),
        })
    }

    /// Changes what the user knows.
    pub fn know<T>(&self, change: impl FnOnce(&mut Model) -> T) -> T {
        let mut model = lock(&self.model);
        model.version += 1;
        change(&mut model)
    }

    pub fn failure(&self) -> Option<String> {
        lock(&self.failure).clone()
    }

    /// What the living see is as it must be. What is still at work of one that died sees what the
    /// living do meanwhile.
    pub fn wants(&self, seen: Result<(), String>) {
        if let Err(wrong) = seen
            && !self.has_died()
        {
            lock(&self.failure).get_or_insert(wrong);
        }
    }

    pub fn draw(&self, below: usize) -> usize {
        lock(&self.chance).pick(below)
    }

    /// Has every event of the history looked at.
    pub fn watch(self: &Arc<Self>, twin: &Twin) {
        let sim = self.clone();
        twin.watch(Some(Arc::new(move |twin, event| sim.event(twin, event))));
    }

    /// Has the process of the history die at one of the next events, and another go on.
    pub fn dies(self: &Arc<Self>, twin: &Twin, other: Store) {
        let (sim, left) = (self.clone(), AtomicU64::new(1 << self.draw(12)));
        twin.watch(Some(Arc::new(move |twin, event| {
            let weight = if event == Event::Stored { 1 } else { 32 };
            let before = left.load(Ordering::Relaxed);
            left.store(before.saturating_sub(weight), Ordering::Relaxed);
            add(&sim.tally.events);
            if !(1..=weight).contains(&before) {
                return;
            }
            add(&sim.tally.points);
            // As the kernel does with the descriptors of a process that ended.
            lock(&sim.mine).as_ref().expect("open").die();
            twin.watch(None);
            sim.died.store(true, Ordering::Relaxed);
            let model = lock(&sim.model).clone();
            sim.note(event, || second::lives_on(&sim, &model, twin, &other));
        })));
    }

    /// The history has opened the store, again.
    pub fn opened(&self, store: &Store) {
        *lock(&self.mine) = Some(store.clone());
    }

    /// Whether it did.
    pub fn has_died(&self) -> bool {
        self.died.load(Ordering::Relaxed)
    }

    fn event(self: &Arc<Self>, twin: &Twin, event: Event) {
        add(&self.events);
        add(&self.tally.events);
        if lock(&self.failure).is_some() || Instant::now() >= self.deadline {
            return;
        }
        if event == Event::Stored && self.draw(self.depth.every) != 0 {
            return;
        }
        add(&self.tally.points);
        self.note(event, || self.crash(twin));
    }

    /// Keeps what went wrong.
    fn note(&self, event: Event, work: impl FnOnce() -> Result<(), String>) {
        let number = self.events.load(Ordering::Relaxed);
        let failed = match catch_unwind(AssertUnwindSafe(work)) {
            Ok(done) => done.err(),
            Err(panic) => Some(format!("a panic: {}", text_of(&*panic))),
        };
        if let Some(failed) = failed {
            let doing = lock(&self.model).doing.clone();
            let text = format!("crashed at event {number} ({event:?}) of {doing}: {failed}");
            lock(&self.failure).get_or_insert(text);
        }
    }

    fn crash(self: &Arc<Self>, twin: &Twin) -> Result<(), String> {
        let model = lock(&self.model).clone();
        let die = || twin.all_die().map_err(|e| e.to_string());
        self.recover(&model, die()?, Crash::Killed, "killed")?;
        let cases = twin.cases(self.depth.cases + 1);
        if cases <= self.depth.cases {
            add(&self.tally.exhausted);
            let mut choices = Choices::every();
            loop {
                let case = choices.clone();
                let image = twin.lose(&mut choices).map_err(|e| e.to_string())?;
                self.recover(&model, image, Crash::Power, &format!("{case:?}"))?;
                if !choices.advance() {
                    return Ok(());
                }
            }
        }
        for _ in 0..self.depth.seeds {
            let seed = self.draw(usize::MAX >> 12) as u64;
            let image = twin.power_loss(seed).map_err(|e| e.to_string())?;
            self.recover(&model, image, Crash::Power, &format!("seed {seed}"))?;
        }
        Ok(())
    }

    /// Recovers one image; now and then crashes inside of it, and recovers that.
    fn recover(
        self: &Arc<Self>,
        model: &Model,
        image: Twin,
        crash: Crash,
        case: &str,
    ) -> Result<(), String> {
        // What nobody has been told since makes an image the same as an earlier one.
        let told = (crash == Crash::Power, model.version);
        if !lock(&self.seen).insert(image.fingerprint(told)) {
            return Ok(());
        }
        add(&self.tally.images);
        let inside = Arc::new(Mutex::new(None));
        let (crashes, twice) = (self.draw(self.depth.inside) == 0, self.draw(6) == 0);
        if !crashes && !twice {
            image.forget_versions();
        }
        if crashes {
            // Recoveries differ in length; one that ends before is crashed at its end.
            let left = AtomicU64::new(1 << self.draw(12));
            let (found, power) = (inside.clone(), self.draw(3) != 0);
            let seed = self.draw(usize::MAX >> 12) as u64;
            image.watch(Some(Arc::new(move |twin, event| {
                let weight = if event == Event::Stored { 1 } else { 16 };
                let before = left.load(Ordering::Relaxed);
                left.store(before.saturating_sub(weight), Ordering::Relaxed);
                if (1..=weight).contains(&before) {
                    let crashed = if power {
                        (twin.power_loss(seed), Crash::Power)
                    } else {
                        (twin.all_die(), crash)
                    };
                    *lock(&found) = Some(crashed);
                }
            })));
        }
        let place = |what: String| format!("{case}: {what}");
        check::image(self, model, &image, (crash, 1), twice).map_err(place)?;
        let Some((again, crash)) = lock(&inside).take() else {
            return Ok(());
        };
        add(&self.tally.inside);
        let again = again.map_err(|e| e.to_string())?;
        let place = |what: String| format!("{case}, then {crash:?} inside of its recovery: {what}");
        check::image(self, model, &again, (crash, 2), true).map_err(place)
    }
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    let plain = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or(plain).unwrap_or_default()
}
