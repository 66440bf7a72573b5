//! Histories in which the disk fails: each call ends with an error that says where, or has done
//! what it says; once the disk is well again work goes on, and nothing is lost (P5).

use std::sync::Arc;
use std::time::Instant;

use super::check;
use super::crash::{Crash, Depth, Sim, Tally, add};
use super::history::History;
use super::shapes::Shape;
use crate::storage::{Fault, Twin};
use crate::{Consumer, Error, ErrorKind};

pub const FAULTS: [Fault; 8] = [
    Fault::Write,
    Fault::Sync,
    Fault::Allocate,
    Fault::Open,
    Fault::SyncFolder,
    Fault::Read,
    Fault::Map,
    Fault::Name,
];

/// Runs the history of a seed on a disk that fails now and then.
pub fn run(seed: u64, deadline: Instant, tally: &Arc<Tally>) -> Result<(), String> {
    // What is left by each failure is looked at.
    let sim = Sim::new(seed, Depth::NOWHERE, deadline, tally.clone());
    let twin = if seed.is_multiple_of(2) {
        Twin::new()
    } else {
        Twin::elsewhere()
    };
    // Those of ids, every third, without transactions: what a failed sync leaves of one has
    // happened.
    let shape = [Shape::Long, Shape::Long, Shape::Exact][seed as usize % 3];
    let mut history = History::begin(seed, shape, sim, twin)?;
    history.sound = false;
    let steps = 20 + history.chance.pick(100);
    for step in (0..steps).take_while(|_| Instant::now() < deadline) {
        let doing = |history: &History| history.sim.know(|model| model.doing.clone());
        let fault = FAULTS[history.chance.pick(FAULTS.len())];
        let fails = history.chance.pick(3) == 0;
        if fails {
            history.twin.fail(fault, 1 + history.chance.pick(7) as i64);
        }
        let done = history.act();
        let place = format!("step {step}, {fault:?} fails, {}", doing(&history));
        if let Err(error) = done {
            if !fails {
                return Err(format!("{place}: nothing had failed: {error}"));
            }
            says_where(&error).map_err(|e| format!("{place}: {e}"))?;
            history.sim.know(|model| model.fail());
            add(&tally.points);
            looks_well(&history).map_err(|e| format!("{place}: {e}"))?;
        }
        history.twin.heal();
        for error in told_later(&history) {
            if !fails {
                return Err(format!("{place}: nothing had failed: {error}"));
            }
            says_where(&error).map_err(|e| format!("{place}: {e}"))?;
            history.sim.know(|model| model.fail());
        }
        heal(&mut history).map_err(|e| format!("{place}, the disk is well again: {e}"))?;
        if let Some(failure) = history.sim.failure() {
            return Err(format!("{place}: {failure}"));
        }
    }
    looks_well(&history)?;
    add(&tally.histories);
    Ok(())
}

/// What consumers would tell of in a later call: this one had messages to return.
fn told_later(history: &History) -> Vec<Error> {
    let consumers = history.life.consumers.iter().flatten().flatten();
    consumers.filter_map(Consumer::pending).collect()
}

/// What one does who met a failure: as the errors say, sync, or open again.
fn heal(history: &mut History) -> Result<(), Error> {
    match history.life.store.sync() {
        Err(error) if error.kind() == ErrorKind::Closed => history.open_again()?,
        done => {
            done?;
            history.sim.know(|model| model.synced());
        }
    }
    history.learn()
}

/// The kind and the place of an error.
pub fn says_where(error: &Error) -> Result<(), String> {
    let kinds = [
        ErrorKind::Io,
        ErrorKind::DiskFull,
        ErrorKind::TooMany,
        ErrorKind::Poisoned,
    ];
    if kinds.contains(&error.kind()) && error.message().contains('/') {
        return Ok(());
    }
    Err(format!("the error does not say what failed where: {error}"))
}

/// Whoever came next, after a kill or a power loss, would find all in order.
fn looks_well(history: &History) -> Result<(), String> {
    let model = history.sim.know(|model| model.clone());
    let killed = history.twin.all_die().map_err(|e| e.to_string())?;
    add(&history.sim.tally.images);
    check::image(&history.sim, &model, &killed, (Crash::Killed, 1), false)
        .map_err(|e| format!("killed: {e}"))?;
    let seed = history.sim.draw(1 << 40) as u64;
    let lost = history.twin.power_loss(seed).map_err(|e| e.to_string())?;
    add(&history.sim.tally.images);
    check::image(&history.sim, &model, &lost, (Crash::Power, 1), true)
        .map_err(|e| format!("power loss of seed {seed}: {e}"))
}
