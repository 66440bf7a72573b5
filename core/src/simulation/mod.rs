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
mod groups;
mod history;
mod life;
mod model;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crash::{Depth, Tally};
use history::Shape;

/// Set to replay one history that a failure named.
const SEED: &str = "LIBQUEUE_SIM_SEED";
/// Set to go on with further histories for so many seconds.
const SECONDS: &str = "LIBQUEUE_SIM_SECONDS";

/// Seconds of the short form of each.
const SHORT: u64 = 25;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Runs histories with rising seeds, in as many threads as there are processors, until the time is
/// over. A history that is under way then ends where it is.
fn run(what: &str, shape: Shape, depth: Depth, first: u64, seconds: u64) {
    let first = number(SEED).unwrap_or(first);
    let (tally, next) = (Arc::new(Tally::default()), AtomicU64::new(first));
    let deadline = Instant::now() + Duration::from_secs(seconds);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while Instant::now() < deadline {
                    let seed = next.fetch_add(1, Ordering::SeqCst);
                    if number(SEED).is_some_and(|only| only != seed) {
                        return;
                    }
                    if let Err(failure) = history::run(seed, shape, depth, deadline, &tally) {
                        panic!("{failure}; {SEED}={seed} replays it");
                    }
                }
            });
        }
    });
    println!("{what}: {tally}");
}

#[test]
fn p2_p3_p4_p5_p6_p12_short_histories_survive_a_crash_at_every_event_in_every_case() {
    let depth = Depth {
        every: 1,
        cases: 96,
        seeds: 6,
        inside: 40,
    };
    run("short histories", Shape::Short, depth, 1, SHORT);
}

#[test]
fn p2_p3_p4_p5_p6_p12_long_histories_survive_crashes_at_many_events() {
    let depth = Depth {
        every: 40,
        cases: 8,
        seeds: 2,
        inside: 30,
    };
    run("long histories", Shape::Long, depth, 1_000, SHORT);
}

/// The long form, `make soak-sim`.
#[test]
fn soak() {
    let Some(seconds) = number(SECONDS) else {
        return;
    };
    let first = number("LIBQUEUE_SIM_FIRST").unwrap_or(10_000);
    let short = Depth {
        every: 1,
        cases: 512,
        seeds: 12,
        inside: 60,
    };
    let long = Depth {
        every: 25,
        cases: 16,
        seeds: 3,
        inside: 40,
    };
    let half = seconds / 2;
    run("short histories", Shape::Short, short, first, half);
    run("long histories", Shape::Long, long, first, seconds - half);
}
