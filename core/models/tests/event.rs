//! The event count: announce, look again, sleep. No wake-up is lost, though sleepers die.

use std::sync::Arc;
use std::time::Duration;

use libqueue_models::shm::EventCount;
use libqueue_models::shm::sync::{AtomicU32, Ordering};
use libqueue_models::world::{
    Kernel, Mutation, Naps, Setting, check, finds, is_on, long, mortal, thread,
};

const LONG: Duration = Duration::from_secs(3600);

struct Shared {
    event: AtomicU32,
    news: AtomicU32,
}

impl Shared {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            event: AtomicU32::new(0),
            news: AtomicU32::new(0),
        })
    }

    /// As a receive call does it.
    fn wait_for(&self, wanted: u32) {
        loop {
            if self.news.load(Ordering::Acquire) >= wanted {
                return;
            }
            let token = EventCount::prepare(&self.event);
            if !is_on(Mutation::LookBefore) && self.news.load(Ordering::Acquire) >= wanted {
                return;
            }
            EventCount::wait(&self.event, token, LONG);
        }
    }

    fn publish(&self, value: u32, most: u32) {
        self.news.store(value, Ordering::Release);
        EventCount::notify(&self.event, most);
    }
}

/// Sleepers wait for the last of some pieces of news.
fn sleepers(count: usize, news: u32) -> impl Fn() + Send + Sync + 'static {
    move || {
        let shared = Shared::new();
        let sleepers: Vec<_> = (0..count)
            .map(|_| {
                let shared = shared.clone();
                thread::spawn(move || shared.wait_for(news))
            })
            .collect();
        for value in 1..=news {
            shared.publish(value, u32::MAX);
        }
        for sleeper in sleepers {
            sleeper.join().expect("sleeper");
        }
    }
}

/// One dies while it announces itself; another one is woken all the same, and the bit goes.
fn dead_sleeper() {
    let (shared, kernel) = (Shared::new(), Kernel::new());
    let victim = {
        let (shared, kernel) = (shared.clone(), kernel.clone());
        thread::spawn(move || {
            mortal(&kernel, || {
                EventCount::prepare(&shared.event);
                // Where it would look again it stores nothing, so here it stops.
                shared.event.store(0, Ordering::Relaxed);
            })
        })
    };
    let sleeper = {
        let shared = shared.clone();
        thread::spawn(move || shared.wait_for(1))
    };
    shared.publish(1, u32::MAX);
    sleeper.join().expect("sleeper");
    assert!(
        victim.join().expect("victim"),
        "it stops at its second store"
    );
    EventCount::notify(&shared.event, u32::MAX);
    let asleep = EventCount::has_sleepers(&shared.event);
    assert!(!asleep, "a needless wake clears the bit of the dead");
}

#[test]
fn no_wake_up_is_lost() {
    check(Setting::new(Naps::Endless, 4), sleepers(1, 2));
    let bound = if long() { 3 } else { 2 };
    check(Setting::new(Naps::Endless, bound), sleepers(2, 1));
}

#[test]
fn p17_a_sleeper_that_died_costs_one_needless_wake() {
    let setting = Setting::new(Naps::Endless, if long() { 3 } else { 2 });
    check(setting.dying_after(1), dead_sleeper);
}

#[test]
fn the_model_finds_a_missing_fence() {
    if cfg!(not(feature = "shuttle")) {
        let setting = Setting::new(Naps::Endless, 3).with(Mutation::NoFence);
        assert!(finds(setting, sleepers(1, 1)));
    }
}

#[test]
fn the_model_finds_one_who_looks_only_before_it_announces_itself() {
    let setting = Setting::new(Naps::Endless, 3).with(Mutation::LookBefore);
    assert!(finds(setting, sleepers(1, 1)));
}

#[test]
fn the_model_finds_a_forgotten_wake_up() {
    let setting = Setting::new(Naps::Endless, 3).with(Mutation::NoWake);
    assert!(finds(setting, sleepers(1, 1)));
}
