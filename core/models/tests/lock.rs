//! The owner-word lock: mutual exclusion, wake-ups, and the takeover from an owner that died at any
//! store.

use std::sync::Arc;

use libqueue_models::party::LONG;
use libqueue_models::shm::sync::{AtomicU32, Ordering};
use libqueue_models::shm::{Acquired, OwnerLock};
use libqueue_models::world::{
    Kernel, Mutation, Naps, Setting, check, finds, long, mortal, owner, thread,
};

/// A lock and two words that it guards, which are equal whenever it is free.
struct Guarded {
    lock: AtomicU32,
    left: AtomicU32,
    right: AtomicU32,
}

impl Guarded {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            lock: AtomicU32::new(0),
            left: AtomicU32::new(0),
            right: AtomicU32::new(0),
        })
    }

    /// Takes the lock, repairs if need be, counts.
    fn count(&self, slot: u16, kernel: &Kernel) -> Acquired {
        let (held, how) = OwnerLock::hold(&self.lock, owner(slot), kernel, LONG).expect("lock");
        let (left, right) = (
            self.left.load(Ordering::Relaxed),
            self.right.load(Ordering::Relaxed),
        );
        match how {
            Acquired::Clean => assert_eq!(left, right, "not whole, and told that it is"),
            // The left word says what was done.
            Acquired::Inherited(_) => self.right.store(left, Ordering::Relaxed),
        }
        self.left.store(left + 1, Ordering::Relaxed);
        self.right.store(left + 1, Ordering::Relaxed);
        assert!(OwnerLock::is_held_by(&self.lock, owner(slot)), "robbed");
        drop(held);
        how
    }
}

/// Some threads count; all of it is there in the end.
fn exclusion(threads: u16) -> impl Fn() + Send + Sync + 'static {
    move || {
        let (guarded, kernel) = (Guarded::new(), Kernel::new());
        let others: Vec<_> = (1..threads)
            .map(|slot| {
                let (guarded, kernel) = (guarded.clone(), kernel.clone());
                thread::spawn(move || guarded.count(slot + 1, &kernel))
            })
            .collect();
        guarded.count(9, &kernel);
        for other in others {
            assert_eq!(other.join().expect("thread"), Acquired::Clean, "all live");
        }
        assert_eq!(guarded.left.load(Ordering::Relaxed), u32::from(threads));
    }
}

/// Threads of one member: one waits for the lock, the others only try.
fn of_one_member() {
    let (guarded, kernel) = (Guarded::new(), Kernel::new());
    let tries = {
        let guarded = guarded.clone();
        thread::spawn(move || {
            let mut counted = 0;
            for _ in 0..2 {
                if let Some(held) = OwnerLock::try_hold(&guarded.lock, owner(2)) {
                    let left = guarded.left.load(Ordering::Relaxed);
                    assert_eq!(left, guarded.right.load(Ordering::Relaxed), "not alone");
                    guarded.left.store(left + 1, Ordering::Relaxed);
                    guarded.right.store(left + 1, Ordering::Relaxed);
                    counted += 1;
                    drop(held);
                }
            }
            counted
        })
    };
    guarded.count(2, &kernel);
    let all = 1 + tries.join().expect("thread");
    assert_eq!(guarded.left.load(Ordering::Relaxed), all);
}

/// One dies at a store, one or two others count.
fn takeover(heirs: u32) -> impl Fn() + Send + Sync + 'static {
    move || one_dies(heirs)
}

fn one_dies(heirs: u32) {
    let (guarded, kernel) = (Guarded::new(), Kernel::new());
    let spawn = |slot: u16| {
        let (guarded, kernel) = (guarded.clone(), kernel.clone());
        thread::spawn(move || guarded.count(slot, &kernel))
    };
    let heir = (heirs > 1).then(|| spawn(2));
    let victim = {
        let (guarded, kernel) = (guarded.clone(), kernel.clone());
        thread::spawn(move || {
            mortal(&kernel, || {
                guarded.count(Kernel::MORTAL, &kernel);
            })
        })
    };
    let mut inherited = u32::from(guarded.count(3, &kernel) != Acquired::Clean);
    let died = victim.join().expect("victim");
    if let Some(heir) = heir {
        inherited += u32::from(heir.join().expect("heir") != Acquired::Clean);
    }
    // Whoever comes when all is over finds it whole, or inherits.
    inherited += u32::from(guarded.count(4, &kernel) != Acquired::Clean);
    assert!(
        inherited <= u32::from(died),
        "{inherited} heirs of the living"
    );
    let counted = guarded.left.load(Ordering::Relaxed);
    let all = heirs + 2;
    assert!(
        (all - 1..=all).contains(&counted),
        "{counted} of {all} counted"
    );
    assert_eq!(counted, guarded.right.load(Ordering::Relaxed));
}

/// Stores of a call that waits for nobody, and some for one that does.
const STORES: usize = 8;

#[test]
fn p17_threads_exclude_each_other_and_none_sleeps_for_ever() {
    check(Setting::new(Naps::Endless, 3), exclusion(2));
    let bound = if long() { 3 } else { 2 };
    check(Setting::new(Naps::Endless, bound), exclusion(3));
    check(Setting::new(Naps::Endless, 3), of_one_member);
}

#[test]
fn p17_a_dead_owners_lock_has_one_heir_who_is_told_and_the_living_are_not_robbed() {
    let more = usize::from(long());
    for stores in 0..STORES {
        let setting = Setting::new(Naps::Bounded, 2 + more);
        check(setting.dying_after(stores), takeover(1));
        let setting = Setting::new(Naps::Bounded, 1 + more);
        check(setting.dying_after(stores), takeover(2));
    }
}

#[test]
fn the_model_finds_a_missing_release() {
    if cfg!(not(feature = "shuttle")) {
        let setting = Setting::new(Naps::Endless, 2).with(Mutation::NoRelease);
        assert!(finds(setting, exclusion(2)));
    }
}

#[test]
fn the_model_finds_a_forgotten_wake_up() {
    let setting = Setting::new(Naps::Endless, 2).with(Mutation::NoWake);
    assert!(finds(setting, exclusion(2)));
}

#[test]
fn the_model_finds_a_takeover_without_the_exact_word() {
    let found = (0..STORES).any(|stores| {
        let setting = Setting::new(Naps::Bounded, 3).with(Mutation::BlindTakeover);
        finds(setting.dying_after(stores), takeover(2))
    });
    assert!(found);
}
