//! `libqueue-bench`: the workloads of libqueue beside what the hardware gives and what else there
//! is, in one run.
//!
//! Every figure is a ratio to a limit that was measured seconds before on the same disk, since the
//! machines this runs on are shared and a bare number of messages a second means little there.
//!
//! ```text
//! libqueue-bench [--short] [--dir DIR] [--peers DIR] [--only PART[,PART...]]
//!                [--json FILE] [--results DIR] [--plot FILE]
//! ```
//!
//! The parts are the workloads `w1` to `w10`, and those that `PARTS` names. `--results` writes the
//! table as JSON and the ratios as a plot, called by date and machine; `--plot` is of `pressure`.
//! `LIBQUEUE_BENCH_C` names the program of `benches/c`, `LIBQUEUE_PYTHON` an interpreter with the
//! package, `LIBQUEUE_BENCH_CGROUP` a memory cgroup to make others in.
#![deny(unsafe_code)]

mod parts;
mod peers;
#[expect(
    unsafe_code,
    reason = "the limit is a bare mapping, which takes raw pointers"
)]
mod probe;
mod report;
mod scale;
mod workers;
mod works;

use std::error::Error;
use std::path::{Path, PathBuf};

use peers::Peers;
use report::{Machine, Table};
pub(crate) use scale::Scale;
use works::Context;

/// The result of everything here: any failure ends the run with its message.
type Outcome<T> = Result<T, Box<dyn Error>>;

/// What a part is called, its title, and what runs it.
type Part = (&'static str, &'static str, Run);

/// The workloads of several languages, and what is measured in Rust alone.
enum Run {
    Work(fn(&Context<'_>, &mut Table) -> Outcome<()>),
    Part(fn(&Path, Scale, &mut Table) -> Outcome<()>),
    Pressure,
}

const PARTS: [Part; 20] = [
    (
        "limits",
        "what the hardware gives",
        Run::Work(works::limits),
    ),
    ("w1", "send one by one", Run::Work(works::single)),
    ("w2", "send in batches of 100", Run::Work(works::batches)),
    ("w3", "durable sends", Run::Work(works::synced)),
    (
        "w4",
        "receive and acknowledge, preloaded",
        Run::Work(works::receive),
    ),
    ("w5", "from one process to another", Run::Work(works::pair)),
    (
        "latency",
        "w5, paced: the time on the way",
        Run::Work(works::latency),
    ),
    (
        "w6",
        "four consumers of one group, preloaded",
        Run::Work(works::shared),
    ),
    (
        "w7",
        "four producers and four consumers",
        Run::Work(works::several),
    ),
    ("w8", "ten groups on one topic", Run::Work(works::groups)),
    ("w9", "reading from disk", Run::Work(works::cold)),
    (
        "recovery",
        "w10: opening after a crash",
        Run::Part(parts::recovery::run),
    ),
    (
        "cost",
        "w10: cost by what else there is",
        Run::Part(parts::cost::run),
    ),
    (
        "sizes",
        "w10: what a process takes by what there is",
        Run::Part(parts::sizes::run),
    ),
    (
        "steps",
        "instructions of a message",
        Run::Part(probe::count_steps),
    ),
    ("pressure", "limits and throttling", Run::Pressure),
    ("unique", "what is sent once", Run::Part(parts::unique::run)),
    (
        "compaction",
        "compaction",
        Run::Part(parts::compaction::run),
    ),
    (
        "transactions",
        "transactions",
        Run::Part(parts::transactions::run),
    ),
    ("backup", "beside a backup", Run::Part(parts::backup::run)),
];

/// Names of several parts.
const TOGETHER: [(&str, &[&str]); 7] = [
    ("append", &["w1", "w2"]),
    ("synced", &["w3"]),
    ("consume", &["w4"]),
    ("pair", &["w5", "latency"]),
    ("python", &["w1", "w2", "w4"]),
    ("w5", &["w5", "latency"]),
    ("w10", &["recovery", "cost", "sizes"]),
];

/// What a run was told.
struct Args {
    scale: Scale,
    dir: PathBuf,
    peers: Option<PathBuf>,
    /// Empty: all.
    only: Vec<String>,
    json: Option<PathBuf>,
    results: Option<PathBuf>,
    plot: Option<PathBuf>,
}

impl Args {
    fn parse(mut args: impl Iterator<Item = String>) -> Outcome<Self> {
        let mut found = Self {
            scale: scale::FULL,
            dir: std::env::temp_dir(),
            peers: None,
            only: Vec::new(),
            json: None,
            results: None,
            plot: None,
        };
        while let Some(arg) = args.next() {
            let mut path = || {
                args.next()
                    .map(PathBuf::from)
                    .ok_or(format!("{arg} takes a path"))
            };
            match arg.as_str() {
                "--short" => found.scale = scale::SHORT,
                "--dir" => found.dir = path()?,
                "--peers" => found.peers = Some(path()?),
                "--json" => found.json = Some(path()?),
                "--results" => found.results = Some(path()?),
                "--plot" => found.plot = Some(path()?),
                "--only" => {
                    let names = args.next().ok_or("--only takes the names of parts")?;
                    for name in names.split(',') {
                        found.only.extend(named(name)?);
                    }
                }
                other => {
                    let known = "--short, --dir, --peers, --only, --json, --results, --plot";
                    return Err(format!("unknown argument {other:?}; there are {known}").into());
                }
            }
        }
        Ok(found)
    }

    fn wants(&self, part: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == part)
    }
}

/// The parts of a name.
fn named(name: &str) -> Outcome<Vec<String>> {
    if let Some((_, parts)) = TOGETHER.iter().find(|(known, _)| *known == name) {
        return Ok(parts.iter().map(|part| (*part).to_owned()).collect());
    }
    if PARTS.iter().any(|(known, _, _)| *known == name) {
        return Ok(vec![name.to_owned()]);
    }
    let parts = PARTS.iter().map(|(known, _, _)| *known);
    let all: Vec<&str> = parts
        .chain(TOGETHER.iter().map(|(known, _)| *known))
        .collect();
    Err(format!("there is no part {name:?}; there are {}", all.join(", ")).into())
}

fn main() -> Outcome<()> {
    let mut args = std::env::args().skip(1).peekable();
    if args.next_if_eq("child").is_some() {
        return child(&args.collect::<Vec<_>>());
    }
    let args = Args::parse(args)?;
    let folder = tempfile::Builder::new()
        .prefix("libqueue-bench-")
        .tempdir_in(&args.dir)?;
    let programs = workers::programs()?;
    let peers = match &args.peers {
        Some(folder) => Peers::of(folder)?,
        None => Peers::default(),
    };
    let context = Context {
        folder: folder.path(),
        scale: args.scale,
        programs: &programs,
        peers: &peers,
    };
    let mut machine = Machine::here(&args.dir);
    machine.versions.extend(workers::versions(&programs));
    let mut table = Table::default();
    run(&context, &args, &mut table, &|table| {
        write_all(table, &machine, &args)
    })?;
    println!("{}\n\n{}", machine.text(), table.text());
    Ok(())
}

/// What was measured so far, so that a run that is cut short keeps what it has.
fn write_all(table: &Table, machine: &Machine, args: &Args) -> Outcome<()> {
    let json = report::json(table, machine, args.scale.rounds == 1);
    if let Some(file) = &args.json {
        std::fs::write(file, &json)?;
    }
    if let Some(folder) = &args.results {
        std::fs::create_dir_all(folder)?;
        let name = format!("{}-{}", machine.date, machine.name());
        std::fs::write(folder.join(format!("{name}.json")), &json)?;
        let plot = report::svg(table, machine)?;
        std::fs::write(folder.join(format!("{name}.svg")), plot)?;
    }
    Ok(())
}

/// All parts that are wanted; `part_done` after each.
fn run(
    context: &Context<'_>,
    args: &Args,
    table: &mut Table,
    part_done: &dyn Fn(&Table) -> Outcome<()>,
) -> Outcome<()> {
    context.peers.failures(table);
    for (name, title, run) in PARTS.iter().filter(|(name, _, _)| args.wants(name)) {
        table.part(name, title);
        match run {
            Run::Work(run) => run(context, table)?,
            Run::Part(run) => run(context.folder, context.scale, table)?,
            Run::Pressure => {
                let plot = args.plot.as_deref();
                parts::pressure::run(context.folder, context.scale, plot, table)?;
            }
        }
        // What one leaves behind the next one would find.
        if let Some(left) = std::fs::read_dir(context.folder)?.next() {
            return Err(format!("{name} left {}", left?.path().display()).into());
        }
        part_done(table)?;
    }
    Ok(())
}

/// A process of a workload that needs several: `child NAME ARGUMENT...`.
fn child(args: &[String]) -> Outcome<()> {
    let (name, args) = args.split_first().ok_or("child takes a name")?;
    match name.as_str() {
        "worker" => workers::child(args),
        "hand" => probe::hand_child(args),
        "cost" => parts::cost::child(args),
        "transactions" => parts::transactions::child(args),
        "recovery" => parts::recovery::child(args),
        "sizes" => parts::sizes::child(args),
        "steps" => probe::steps_child(args),
        other => Err(format!("no child workload {other:?}").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Args, PARTS, TOGETHER, named};

    #[test]
    fn names_are_of_parts_that_there_are() {
        for (name, parts) in TOGETHER {
            assert_eq!(named(name).expect("known"), parts);
            let known = |part: &&str| PARTS.iter().any(|(known, _, _)| known == part);
            assert!(parts.iter().all(known), "{name}");
        }
        let parse = |line: &str| Args::parse(line.split(' ').map(str::to_owned));
        let args = parse("--short --only w1,pair --dir /tmp").expect("arguments");
        assert!(args.wants("w1") && args.wants("latency") && !args.wants("w2"));
        assert!(args.scale.rounds == 1 && args.json.is_none());
        for wrong in ["--only w11", "--only", "--dir", "short"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
