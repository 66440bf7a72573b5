//! W9: reading a topic that is on disk and not in memory, against reading the same files in order.
//!
//! Where `LIBQUEUE_BENCH_CGROUP` names a memory cgroup that this process may make others in, who
//! reads has an eighth of the topic's size for it, page cache included. Elsewhere the kernel is
//! told to forget the files, which is as cold but bounds nothing; the rows say which it was.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::receive::receiver;
use super::{Case, Context, alternate, named};
use crate::report::{Kind, Row, Table};
use crate::scale::BATCH;
use crate::workers::{Bench, Sum, Worker, clocked, same, sent, together};
use crate::{Outcome, probe};

/// Small messages are many, and large ones are mostly bytes.
const SIZES: [usize; 2] = [1024, 64 << 10];
/// A process, Python's too, takes some of it for itself.
const LEAST: usize = 64 << 20;
const WHAT: &str = "cold topic";

pub(crate) fn run(of: &Context<'_>, table: &mut Table) -> Outcome<()> {
    let parent = std::env::var_os("LIBQUEUE_BENCH_CGROUP").map(PathBuf::from);
    for size in of.scale.sizes.iter().filter(|size| SIZES.contains(size)) {
        of_size(of, *size, parent.as_deref(), table)?;
    }
    Ok(())
}

fn of_size(of: &Context<'_>, size: usize, parent: Option<&Path>, table: &mut Table) -> Outcome<()> {
    let count = of.scale.cold / size;
    let bench = Bench::forever(of.folder)?;
    let loaded = bench.load(size, count, 0)?;
    bench.sync()?;
    let limit = (of.scale.cold / 8).max(LEAST);
    let memory = parent
        .map(|parent| Memory::new(parent, limit))
        .transpose()?;
    let (store, memory, bytes) = (&bench, memory.as_ref(), loaded.bytes as usize);
    let mut cases: Vec<Case<'_>> = vec![
        Box::new(move || {
            probe::drop_cached(&store.log())?;
            probe::read(&store.log(), bytes)
        }),
        Box::new(move || {
            let size = size.to_string();
            let worker = Worker::start(&of.programs[0], &["read", store.at()?, &size])?;
            Ok((bytes, cold(store, worker, memory, loaded)?))
        }),
    ];
    for (number, program) in of.programs.iter().enumerate() {
        let mut round = 0;
        cases.push(Box::new(move || {
            round += 1;
            let group = format!("group-{number}-{round}");
            let worker = receiver(program, store, &group, (size, count, BATCH), "sleep", "-")?;
            Ok((bytes, cold(store, worker, memory, loaded)?))
        }));
    }
    let each = alternate(of.scale.few(), &mut cases)?;
    drop(cases);
    bench.remove()?;
    let note = match memory {
        Some(_) => format!("a memory cgroup of {}", named(limit)),
        None => "the files dropped from memory, no cgroup".to_owned(),
    };
    let mut add = |kind, how: &str, who: &'static str, each: f64, base: Option<f64>| {
        let row = Row {
            name: format!("{WHAT}, {how}, {}", named(size)),
            who: who.into(),
            value: 1e3 / each,
            unit: "MB/s",
            ratio: base.map(|base| (each / base, "the disk".into())),
        };
        table.add(kind, Some(size), row).note = Some(note.clone());
    };
    let disk = each[0];
    add(Kind::Limit, "its files in order", "hardware", disk, None);
    add(Kind::Libqueue, "reader", "Rust", each[1], Some(disk));
    let how = "receive and ack";
    for (program, each) in of.programs.iter().zip(&each[2..]) {
        add(Kind::Libqueue, how, program.who, *each, Some(disk));
    }
    Ok(())
}

/// How long it takes a worker that had to fetch all of it from the disk.
fn cold(
    bench: &Bench,
    mut worker: Worker,
    memory: Option<&Memory>,
    loaded: Sum,
) -> Outcome<Duration> {
    worker.ready()?;
    if let Some(memory) = memory {
        memory.add(worker.id())?;
    }
    probe::drop_cached(&bench.log())?;
    let (_, said) = together(Vec::new(), vec![worker])?;
    same(loaded, sent(&said))?;
    Ok(clocked(&said))
}

/// A memory cgroup of this run's own, in which the workers are.
struct Memory {
    path: PathBuf,
}

impl Memory {
    /// The limit's file is called one way in the second version of cgroups, another in the first.
    const LIMITS: [&str; 2] = ["memory.max", "memory.limit_in_bytes"];

    fn new(parent: &Path, limit: usize) -> Outcome<Self> {
        let path = parent.join(format!("libqueue-bench-{}", std::process::id()));
        std::fs::create_dir(&path)?;
        // From here on it is removed, whatever fails.
        let memory = Self { path };
        let known = Self::LIMITS.map(|name| memory.path.join(name));
        let found = known.iter().find(|file| file.exists());
        let file = found.ok_or_else(|| {
            format!(
                "LIBQUEUE_BENCH_CGROUP: {} has no memory controller for its children",
                parent.display()
            )
        })?;
        std::fs::write(file, limit.to_string())?;
        Ok(memory)
    }

    fn add(&self, process: u32) -> Outcome<()> {
        Ok(std::fs::write(
            self.path.join("cgroup.procs"),
            process.to_string(),
        )?)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir(&self.path) {
            eprintln!("{} is left: {error}", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Memory;

    #[test]
    fn a_folder_without_the_controller_is_refused_and_left_as_it_was() {
        let parent = tempfile::tempdir().expect("a folder");
        let refused = Memory::new(parent.path(), 1 << 20).err().expect("refused");
        assert!(
            refused.to_string().contains("no memory controller"),
            "{refused}"
        );
        let left = std::fs::read_dir(parent.path())
            .expect("the folder")
            .count();
        assert_eq!(left, 0, "what was made is removed");
    }
}
