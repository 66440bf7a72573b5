//! Opening, joining, dying, forking: with real processes, which are this test binary started anew
//! with a role.

mod attributes;
mod behind_end;
mod brake;
mod clock;
mod compaction;
mod compaction_crashes;
mod compaction_sent;
mod compaction_standing;
mod copy_crashes;
mod copy_sent;
mod create_lock;
mod create_lock_rest;
mod damage;
mod damage_batches;
mod deaths;
mod dedup;
mod dedup_crashes;
mod dedup_deletion;
mod dedup_window;
mod earliest;
mod flow_counts;
mod forged;
mod forks;
mod gaps;
mod gates;
mod group_changes;
mod holds;
mod large_sends;
mod left_over;
mod legacy;
mod lives;
mod moves;
mod once;
mod opening;
mod pressure;
mod producers;
mod redirects;
mod redrive_crashes;
mod redrive_lanes;
mod redrives;
mod releases;
mod retain_now;
mod retention;
mod retention_caps;
mod retention_crashes;
mod retention_ledgers;
mod retention_letters;
mod retention_readers;
mod returns;
mod roles;
mod seek;
mod seek_calls;
mod seek_crashes;
mod seek_letters;
mod sent_limits;
mod shares;
mod sieves;
mod snapshots;
mod statistics;
mod topic_changes;
mod transaction_crashes;
mod transaction_limits;
mod transaction_losses;
mod transaction_meets;
mod transaction_own;
mod transactions;
mod wakes;
mod who_died;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::inner::StoreInner;
use super::open::{World, open};
use super::store::Store;
use super::topic::Topic;
use crate::clock::{ManualClock, SystemClock};
use crate::error::{ErrorKind, Result};
use crate::options::StoreOptions;
use crate::storage::{Disk, Storage, Twin};

const ROLE: &str = "LIBQUEUE_TEST_ROLE";
const PLACE: &str = "LIBQUEUE_TEST_PLACE";
const BOUND: Duration = Duration::from_secs(20);

fn options() -> StoreOptions {
    StoreOptions {
        lock_timeout: Duration::from_secs(10),
        ..StoreOptions::default()
    }
}

fn world() -> World {
    World {
        storage: Arc::new(Disk),
        clock: Arc::new(SystemClock),
        housekeeping: true,
    }
}

/// A store on a twin of the disk, by a clock that the test sets and without a thread of its own,
/// and a topic of it.
fn open_by(twin: &Twin, clock: &Arc<ManualClock>) -> (Store, Topic) {
    let world = World {
        storage: Arc::new(twin.clone()),
        clock: clock.clone(),
        housekeeping: false,
    };
    let store = Store::open_in(&world, Path::new("/store"), &options()).expect("open");
    let topic = store.topic("t", &Default::default()).expect("topic");
    (store, topic)
}

/// Opens without the public handle.
fn enter(path: &Path) -> Result<Arc<StoreInner>> {
    open(path, &options(), &world())
}

/// Told by a process that plays a role; by no lock of this process, so that forked children can.
fn say(what: &str) {
    let mut out = std::fs::OpenOptions::new()
        .write(true)
        .open("/proc/self/fd/1")
        .expect("stdout");
    out.write_all(format!("\n@{what}\n").as_bytes())
        .expect("say");
}

/// Until the one who started this process says to go on, or is gone.
fn wait_for_go() {
    let mut input = std::fs::File::open("/proc/self/fd/0").expect("stdin");
    let _ = std::io::Read::read(&mut input, &mut [0]);
}

/// Another process, killed when this is dropped.
struct Actor {
    process: Child,
    /// Apart from the process, since waiting for that one would close it under its children.
    input: Option<ChildStdin>,
    lines: BufReader<ChildStdout>,
}

impl Actor {
    fn start(role: &str, place: &Path) -> Self {
        let mut process = Command::new(std::env::current_exe().expect("this binary"))
            .args([
                "--exact",
                "store::tests::roles::role",
                "--nocapture",
                "--test-threads=1",
            ])
            .env(ROLE, role)
            .env(PLACE, place)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("start");
        let lines = BufReader::new(process.stdout.take().expect("stdout"));
        let input = process.stdin.take();
        Self {
            process,
            input,
            lines,
        }
    }

    /// The next thing it says; panics when it ends without.
    fn hear(&mut self) -> String {
        let mut line = String::new();
        while self.lines.read_line(&mut line).expect("read") > 0 {
            if let Some(said) = line.trim_end().strip_prefix('@') {
                return said.to_owned();
            }
            line.clear();
        }
        panic!(
            "the process ended without a word: {:?}",
            self.process.wait()
        );
    }

    fn go(&mut self) {
        self.input
            .as_mut()
            .expect("input")
            .write_all(b"g")
            .expect("go");
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let id = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(id, signal).expect("signal");
    }

    fn kill(&mut self) {
        self.process.kill().expect("kill");
        self.process.wait().expect("wait");
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Every file below the folder with its bytes.
fn snapshot(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let Ok(found) = std::fs::read_dir(folder) else {
        return vec![(folder.to_owned(), std::fs::read(folder).unwrap_or_default())];
    };
    let mut paths: Vec<PathBuf> = found.map(|entry| entry.expect("entry").path()).collect();
    paths.sort();
    let mut all = vec![(folder.to_owned(), Vec::new())];
    all.extend(paths.iter().flat_map(|path| snapshot(path)));
    all
}

/// Asks until it is so; panics when it never becomes so.
fn until(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + BOUND;
    while !so() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
