//! `libqueue-bench`: the workloads of libqueue beside what the hardware gives, in one run.
//!
//! Every figure is a ratio to a limit that was measured seconds before on the same disk, since the
//! machines this runs on are shared and a bare number of messages a second means little there.
//!
//! ```text
//! libqueue-bench [--short] [--json FILE] [--plot FILE] [--dir DIR]
//!                [--only append|consume|pair|cost|pressure|unique|compaction|backup|synced|
//!                        transactions|recovery|sizes|steps|python]
//! ```
#![deny(unsafe_code)]

mod append;
mod backup;
mod compaction;
mod consume;
mod cost;
mod hot;
mod pair;
mod pressure;
#[expect(
    unsafe_code,
    reason = "the limit is a bare mapping, which takes raw pointers"
)]
mod probe;
mod python;
mod recovery;
mod report;
mod sizes;
#[expect(
    unsafe_code,
    reason = "stepping through a process takes system calls that nobody wraps"
)]
mod steps;
mod synced;
mod transactions;
mod unique;

use std::error::Error;
use std::path::{Path, PathBuf};

use report::Table;

/// The result of everything here: any failure ends the run with its message.
type Outcome<T> = Result<T, Box<dyn Error>>;

/// How much work a run does.
#[derive(Clone, Copy)]
struct Scale {
    /// Messages of a workload in memory.
    messages: usize,
    /// Messages whose cost is measured beside up to 100 times as many others.
    cost: usize,
    /// Messages of a workload that waits for the disk.
    synced: usize,
    /// Bytes of the store that is recovered.
    recovered: usize,
    /// Topics of a store, ten times as many as groups of a topic.
    topics: usize,
    /// Gigabytes of a topic, one size after the other.
    large: &'static [f64],
    /// Alternating rounds of limit and libqueue; the best of each counts.
    rounds: usize,
}

const FULL: Scale = Scale {
    messages: 1_000_000,
    cost: 100_000,
    synced: 2_000,
    recovered: 10_000_000_000,
    topics: 10_000,
    large: &[1.0, 5.0, 20.0],
    rounds: 5,
};
const SHORT: Scale = Scale {
    messages: 20_000,
    cost: 1_000,
    synced: 50,
    recovered: 20_000_000,
    topics: 100,
    large: &[0.02],
    rounds: 1,
};

fn main() -> Outcome<()> {
    let mut args = std::env::args().skip(1);
    let (mut scale, mut json, mut dir, mut only) = (FULL, None, None, None);
    let mut plot = None;
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--short" => scale = SHORT,
            "--json" => json = Some(PathBuf::from(args.next().ok_or("--json takes a file")?)),
            "--plot" => plot = Some(PathBuf::from(args.next().ok_or("--plot takes a file")?)),
            "--dir" => dir = Some(PathBuf::from(args.next().ok_or("--dir takes a folder")?)),
            "--only" => only = Some(args.next().ok_or("--only takes a part's name")?),
            "child" => return child(&args.collect::<Vec<_>>()),
            other => {
                return Err(
                    format!("unknown argument {other:?}; see --short, --only, --json").into(),
                );
            }
        }
    }
    let parent = dir.unwrap_or_else(std::env::temp_dir);
    let folder = tempfile::Builder::new()
        .prefix("libqueue-bench-")
        .tempdir_in(parent)?;
    let table = run(folder.path(), scale, only.as_deref(), plot.as_deref())?;
    table.print();
    if let Some(file) = json {
        std::fs::write(file, table.to_json())?;
    }
    Ok(())
}

/// All parts, or the one of this name.
fn run(folder: &Path, scale: Scale, only: Option<&str>, plot: Option<&Path>) -> Outcome<Table> {
    let mut table = Table::default();
    let wanted = |part| only.is_none_or(|only| only == part);
    for size in [100, 1024] {
        if wanted("append") {
            append::run(folder, scale, size, &mut table)?;
        }
        if wanted("consume") {
            consume::run(folder, scale, size, &mut table)?;
        }
    }
    if wanted("pair") {
        pair::run(folder, scale, &mut table)?;
    }
    if wanted("cost") {
        cost::run(folder, scale, &mut table)?;
    }
    if wanted("pressure") {
        pressure::run(folder, scale, plot, &mut table)?;
    }
    if wanted("unique") {
        unique::run(folder, scale, &mut table)?;
    }
    if wanted("compaction") {
        compaction::run(folder, scale, &mut table)?;
    }
    if wanted("backup") {
        backup::run(folder, scale, &mut table)?;
    }
    if wanted("synced") {
        synced::run(folder, scale, &mut table)?;
    }
    if wanted("transactions") {
        transactions::run(folder, scale, &mut table)?;
    }
    if wanted("recovery") {
        recovery::run(folder, scale, &mut table)?;
    }
    if wanted("sizes") {
        sizes::run(folder, scale, &mut table)?;
    }
    if wanted("steps") {
        steps::run(folder, &mut table)?;
    }
    if wanted("python") {
        python::run(folder, scale, &mut table)?;
    }
    Ok(table)
}

/// A process of a workload that needs several: `child NAME ARGUMENT...`.
fn child(args: &[String]) -> Outcome<()> {
    match args.first().map(String::as_str) {
        Some("pair") => pair::child(&args[1..]),
        Some("cost") => cost::child(&args[1..]),
        Some("synced") => synced::child(&args[1..]),
        Some("transactions") => transactions::child(&args[1..]),
        Some("recovery") => recovery::child(&args[1..]),
        Some("sizes") => sizes::child(&args[1..]),
        Some("steps") => steps::child(&args[1..]),
        other => Err(format!("no child workload {other:?}").into()),
    }
}
