//! The checker, the kernel and fate: threads that stand for processes, the futex, death.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

#[cfg(not(feature = "shuttle"))]
pub use loom::{
    sync::{Condvar, Mutex, atomic},
    thread,
};
#[cfg(feature = "shuttle")]
pub use shuttle::{
    sync::{Condvar, Mutex, atomic},
    thread,
};

use crate::shm::{Liveness, Owner, sync};

/// The generation of every owner in the models.
pub const GENERATION: u64 = 7;

/// A planted error, which a model has to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// The sources as they are.
    None,
    /// No store and no swap releases.
    NoRelease,
    /// The event count's fences are not there.
    NoFence,
    /// A wake-up is forgotten.
    NoWake,
    /// A dead owner's word is swapped without looking whether it still stands.
    BlindTakeover,
    /// The length word behind a record is not zeroed.
    NoZero,
    /// A sync says that it is done before it is.
    EarlySync,
    /// The caller of the event count looks before it announces itself, and not again.
    LookBefore,
}

/// How a sleeper is woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naps {
    /// By a wake-up alone: where the protocol promises one.
    Endless,
    /// Also by its bound, at any time: where somebody may have died who owed the wake-up.
    Bounded,
}

/// What a model is run with.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    pub mutation: Mutation,
    pub naps: Naps,
    /// After so many stores the thread that says [`mortal`] dies.
    pub stores: Option<usize>,
    /// Most preemptions (loom), thousands of runs (shuttle).
    pub bound: usize,
}

impl Setting {
    pub fn new(naps: Naps, bound: usize) -> Self {
        Self {
            mutation: Mutation::None,
            naps,
            stores: None,
            bound,
        }
    }

    pub fn with(self, mutation: Mutation) -> Self {
        Self { mutation, ..self }
    }

    pub fn dying_after(self, stores: usize) -> Self {
        Self {
            stores: Some(stores),
            ..self
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Immortal,
    /// The thread and how many stores it has left.
    Mortal(thread::ThreadId, usize),
    Dead(thread::ThreadId),
}

// All threads of a model run on one thread of the operating system, one at a time.
thread_local! {
    static SETTING: Cell<Option<Setting>> = const { Cell::new(None) };
    static FATE: Cell<Fate> = const { Cell::new(Fate::Immortal) };
    static FUTEX: Cell<Option<Arc<Futex>>> = const { Cell::new(None) };
}

pub fn is_on(mutation: Mutation) -> bool {
    SETTING
        .get()
        .is_some_and(|setting| setting.mutation == mutation)
}

/// Whether the long form was asked for: `make models`.
pub fn long() -> bool {
    std::env::var_os("LIBQUEUE_MODELS").is_some_and(|form| form == "long")
}

/// Runs a model in every order within its bound.
pub fn check(setting: Setting, model: impl Fn() + Send + Sync + 'static) {
    let run = move || {
        SETTING.set(Some(setting));
        FATE.set(Fate::Immortal);
        FUTEX.set(Some(Arc::new(Futex::new())));
        sync::lay_in();
        model();
        sync::throw_away();
        FUTEX.set(None);
    };
    #[cfg(not(feature = "shuttle"))]
    {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(setting.bound);
        builder.max_branches = 1_000_000;
        builder.check(run);
    }
    #[cfg(feature = "shuttle")]
    shuttle::check_random(run, setting.bound * 1_000);
}

/// Whether a planted error is found.
pub fn finds(setting: Setting, model: impl Fn() + Send + Sync + 'static) -> bool {
    let found = catch_unwind(AssertUnwindSafe(|| check(setting, model))).is_err();
    sync::throw_away();
    FUTEX.set(None);
    FATE.set(Fate::Immortal);
    found
}

/// Asked before each store; false if the process is dead and nothing of it is stored any more.
pub(crate) fn step() -> bool {
    match FATE.get() {
        Fate::Immortal => true,
        Fate::Dead(thread) => thread != thread::current().id(),
        Fate::Mortal(thread, _) if thread != thread::current().id() => true,
        Fate::Mortal(thread, 0) => {
            FATE.set(Fate::Dead(thread));
            // Not a panic: nothing is told, and what is dropped on the way finds itself dead.
            resume_unwind(Box::new(Died))
        }
        Fate::Mortal(thread, left) => {
            FATE.set(Fate::Mortal(thread, left - 1));
            true
        }
    }
}

/// Whether the running thread is one of a dead process.
pub(crate) fn died() -> bool {
    matches!(FATE.get(), Fate::Dead(thread) if thread == thread::current().id())
}

struct Died;

/// Runs a process that dies as the setting says, and tells the kernel; whether it died.
pub fn mortal(kernel: &Kernel, process: impl FnOnce()) -> bool {
    if let Some(stores) = SETTING.get().and_then(|setting| setting.stores) {
        FATE.set(Fate::Mortal(thread::current().id(), stores));
    }
    let lived = catch_unwind(AssertUnwindSafe(process));
    FATE.set(Fate::Immortal);
    match lived {
        Ok(()) => false,
        Err(panic) if panic.is::<Died>() => {
            // Release: whoever hears of the death sees all that the dead one stored.
            kernel.dead.store(true, atomic::Ordering::Release);
            true
        }
        Err(panic) => resume_unwind(panic),
    }
}

/// Knows whether the process of slot [`Kernel::MORTAL`] lives; all others do.
pub struct Kernel {
    dead: atomic::AtomicBool,
}

impl Kernel {
    pub const MORTAL: u16 = 1;

    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            dead: atomic::AtomicBool::new(false),
        })
    }
}

/// The member of a slot.
pub fn owner(slot: u16) -> Owner {
    Owner {
        slot,
        generation: GENERATION as u32,
    }
}

impl Liveness for Kernel {
    fn is_alive(&self, owner: Owner) -> bool {
        owner.slot != Self::MORTAL || !self.dead.load(atomic::Ordering::Acquire)
    }

    fn describe(&self, owner: Owner) -> String {
        format!("slot {}", owner.slot)
    }
}

/// Sleepers by the address of their word, in the order in which they came.
struct Futex {
    sleepers: Mutex<Vec<Sleeper>>,
    woken: Condvar,
}

struct Sleeper {
    word: usize,
    thread: thread::ThreadId,
    woken: bool,
}

impl Futex {
    fn new() -> Self {
        Self {
            sleepers: Mutex::new(Vec::new()),
            woken: Condvar::new(),
        }
    }

    fn this() -> Arc<Self> {
        let futex = FUTEX.take().expect("inside of a model");
        FUTEX.set(Some(futex.clone()));
        futex
    }
}

/// Sleeps if the word still is as expected, which is looked at under the kernel's own lock.
pub(crate) fn wait(word: usize, as_expected: impl Fn() -> bool) {
    if SETTING.get().is_some_and(|s| s.naps == Naps::Bounded) {
        // The bound has passed.
        thread::yield_now();
        return;
    }
    let futex = Futex::this();
    let mut sleepers = futex.sleepers.lock().expect("no panics here");
    if !as_expected() {
        return;
    }
    let me = thread::current().id();
    sleepers.push(Sleeper {
        word,
        thread: me,
        woken: false,
    });
    while sleepers.iter().any(|one| one.thread == me && !one.woken) {
        sleepers = futex.woken.wait(sleepers).expect("no panics here");
    }
    sleepers.retain(|one| one.thread != me);
}

/// Wakes those who came first; how many.
pub(crate) fn wake(word: usize, most: u32) -> u32 {
    let futex = Futex::this();
    let mut sleepers = futex.sleepers.lock().expect("no panics here");
    let mut count = 0;
    for one in sleepers
        .iter_mut()
        .filter(|one| one.word == word && !one.woken)
    {
        if count == most {
            break;
        }
        one.woken = true;
        count += 1;
    }
    futex.woken.notify_all();
    count
}
