//! Crash simulation over the twin of the disk: histories of a whole store, crashed at every store,
//! write, sync and change of a name, recovered, crashed inside the recovery, and recovered again.
//!
//! A history runs in one thread on one twin, without a housekeeping thread, by a clock that stands
//! still, so that its seed replays it. At each event the watcher of the twin draws whether to crash
//! there; if so it builds what the processes would find that come next (all have died, or the power
//! was lost) and opens, reads, receives and sends in it (`check.rs`), against what the history's
//! user had been told by then (`model.rs`).

mod check;
mod crash;
mod delivery;
mod faults;
mod groups;
mod history;
mod ids;
mod kept;
mod learn;
mod letters;
mod life;
mod model;
mod redrive;
mod room;
mod second;
mod seek;
mod shapes;
mod times;
mod transact;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crash::{Depth, Tally};
use shapes::Shape;

/// Set to replay one history that a failure named.
const SEED: &str = "LIBQUEUE_SIM_SEED";
/// Set to go on with further histories for so many seconds.
const SECONDS: &str = "LIBQUEUE_SIM_SECONDS";

/// Seconds of the short form of each, and what sets others.
const SHORT: u64 = 25;
const SHORT_SECONDS: &str = "LIBQUEUE_SIM_SHORT";

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn short_seconds() -> u64 {
    number(SHORT_SECONDS).unwrap_or(SHORT)
}

/// Runs histories with rising seeds, in as many threads as there are processors, until the time is
/// over. A history that is under way then ends where it is.
fn run(
    what: &str,
    first: u64,
    seconds: u64,
    one: impl Fn(u64, Instant, &Arc<Tally>) -> Result<(), String> + Sync,
) {
    let only = number(SEED);
    // One that is replayed is not cut short.
    let seconds = only.map_or(seconds, |_| 3600);
    let first = only.unwrap_or(first);
    let (tally, next) = (Arc::new(Tally::default()), AtomicU64::new(first));
    let deadline = Instant::now() + Duration::from_secs(seconds);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while Instant::now() < deadline {
                    let seed = next.fetch_add(1, Ordering::SeqCst);
                    if only.is_some_and(|only| only != seed) {
                        return;
                    }
                    if let Err(failure) = one(seed, deadline, &tally) {
                        // The short and the long form crash at other events.
                        let long = number(SECONDS).map_or("", |_| ", with LIBQUEUE_SIM_SECONDS=1");
                        panic!("{failure}; {SEED}={seed} and the same test replays it{long}");
                    }
                }
            });
        }
    });
    println!("{what}: {tally}");
    let images = tally.images.load(Ordering::Relaxed);
    assert!(
        only.is_some() || images >= 50,
        "{what}: only {images} images in {seconds} s"
    );
}

fn short(first: u64, seconds: u64, cases: usize, seeds: u64) {
    let depth = Depth {
        every: 1,
        cases,
        seeds,
        inside: 40,
    };
    run(
        "short histories",
        first,
        seconds,
        |seed, deadline, tally| history::run(seed, Shape::Short, depth, deadline, tally),
    );
}

fn long(shape: Shape, first: u64, seconds: u64, every: usize, cases: usize, seeds: u64) {
    let depth = Depth {
        every,
        cases,
        seeds,
        inside: 30,
    };
    let what = format!("{shape:?} histories").to_lowercase();
    run(&what, first, seconds, |seed, deadline, tally| {
        history::run(seed, shape, depth, deadline, tally)
    });
}

#[test]
fn p2_p3_p4_p5_p6_p12_short_histories_survive_a_crash_at_every_event_in_every_case() {
    short(1, short_seconds(), 96, 6);
}

#[test]
fn p2_p3_p4_p5_p6_p12_long_histories_survive_crashes_at_many_events() {
    long(Shape::Long, 1_000, short_seconds(), 200, 4, 2);
}

#[test]
fn p2_p6_p11_p12_wide_histories_survive_crashes_while_windows_grow_and_go_round() {
    long(Shape::Wide, 1_000, short_seconds(), 2_000, 0, 2);
}

#[test]
fn p11_p12_p13_histories_of_dead_letters_survive_crashes_while_they_are_redriven_and_purged() {
    long(Shape::Dead, 1_000, short_seconds(), 20, 12, 3);
}

#[test]
fn p7_p11_p12_p16_histories_of_seeks_survive_crashes_while_groups_of_all_kinds_go_back_and_forth() {
    long(Shape::Sought, 1_000, short_seconds(), 200, 3, 1);
}

#[test]
fn p7_p8_histories_of_transactions_and_dedup_ids_survive_crashes_at_many_events() {
    long(Shape::Exact, 1_000, short_seconds(), 40, 8, 3);
}

#[test]
fn p1_p2_p8_p10_p17_the_living_go_on_with_what_one_was_at_that_died_at_any_event() {
    run("survivors", 1, short_seconds(), second::run_until_a_death);
}

#[test]
fn p5_histories_on_a_disk_that_fails_lose_nothing_and_go_on_when_it_is_well_again() {
    run("failing disks", 1, short_seconds(), faults::run);
}

/// The long form, `make soak-sim`.
#[test]
fn soak() {
    let Some(seconds) = number(SECONDS) else {
        return;
    };
    let first = number("LIBQUEUE_SIM_FIRST").unwrap_or(10_000);
    let part = seconds / 8;
    short(first, part, 512, 12);
    long(Shape::Long, first, part, 200, 8, 3);
    long(Shape::Wide, first, part, 1_000, 0, 3);
    long(Shape::Dead, first, part, 10, 24, 4);
    long(Shape::Sought, first, part, 60, 6, 2);
    long(Shape::Exact, first, part, 20, 12, 4);
    run("survivors", first, part, second::run_until_a_death);
    run("failing disks", first, part, faults::run);
}
