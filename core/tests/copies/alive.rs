//! Backups of a store that other processes use, and die in.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering as Memory};
use std::sync::{Arc, Mutex};

use super::*;
use tempfile::TempDir;

const CHILD: &str = "LIBQUEUE_TEST_CHILD";

/// Another process, killed when this is dropped.
struct Other(Child);

impl Other {
    fn end(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn child(task: &str, folder: &Path) -> Other {
    let started = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_other_process", "--nocapture"])
        .env(CHILD, format!("{task}:{}", folder.display()))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    Other(started.unwrap())
}

/// What the other process does, until it is killed: sends "orders", or moves what it gets there to
/// "paid", which it says before it acknowledges.
pub fn obey() {
    let Ok(task) = std::env::var(CHILD) else {
        return;
    };
    let (task, folder) = task.split_once(':').unwrap();
    let store = open(Path::new(folder));
    let orders = store.open_topic("orders").unwrap();
    let mut out = std::io::stdout().lock();
    if task == "send" {
        for number in 0_u64.. {
            let rest = if number % 50 == 3 { 100_000 } else { 10 };
            let payload = format!("{} {number} {}", std::process::id(), "x".repeat(rest));
            let key = (number % 5).to_string();
            let id = orders
                .send(&Message::new(payload.as_bytes()).key(key.as_bytes()))
                .unwrap();
            writeln!(out, "sent {} {}", id.partition, id.offset).unwrap();
        }
    }
    let paid = store.open_topic("paid").unwrap();
    let worker = consumer(&orders, "g", Ordering::Key, 60_000);
    loop {
        let batch = worker.receive(5, Some(Duration::from_secs(1))).unwrap();
        for one in &batch {
            let place = format!("{} {}", one.partition(), one.offset());
            paid.send(&Message::new(place.as_bytes())).unwrap();
        }
        worker.ack(&receipts(&batch)).unwrap();
    }
}

/// What the process said it had sent, while it runs.
fn listen(process: &mut Other, said: &Arc<Mutex<BTreeSet<(u32, u64)>>>, count: &Arc<AtomicU64>) {
    let lines = BufReader::new(process.0.stdout.take().unwrap()).lines();
    let (said, count) = (said.clone(), count.clone());
    std::thread::spawn(move || {
        // Of one that is killed the last line may be cut.
        for line in lines.map_while(Result::ok) {
            let place = line
                .strip_prefix("sent ")
                .and_then(|rest| rest.split_once(' '));
            if let Some((partition, offset)) = place
                && let (Ok(partition), Ok(offset)) = (partition.parse(), offset.parse())
            {
                said.lock().unwrap().insert((partition, offset));
                count.fetch_add(1, Memory::SeqCst);
            }
        }
    });
}

#[test]
fn p1_p6_p17_a_backup_while_processes_send_consume_and_die_has_all_that_was_acknowledged() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a");
    let store = open(&path);
    let options = TopicOptions {
        partitions: Some(2),
        // Senders do not run away from those who look.
        max_messages: Some(1000),
        on_full: Some(libqueue::OnFull::Block),
        send_timeout: Some(Duration::from_secs(60)),
        ..TopicOptions::default()
    };
    let orders = store.topic("orders", &options).unwrap();
    store.topic("paid", &TopicOptions::default()).unwrap();
    drop(consumer(&orders, "g", Ordering::Key, 60_000));
    let (said, count) = (Arc::default(), Arc::default());
    let start = |task| {
        let mut process = child(task, &path);
        listen(&mut process, &said, &count);
        process
    };
    let mut others = [start("send"), start("send"), start("move"), start("move")];
    for number in 0..4 {
        let (before, deadline) = (
            count.load(Memory::SeqCst),
            std::time::Instant::now() + Duration::from_secs(30),
        );
        while count.load(Memory::SeqCst) < before + 200 {
            assert!(std::time::Instant::now() < deadline, "nothing is sent");
            std::thread::sleep(Duration::from_millis(1));
        }
        let sent: BTreeSet<(u32, u64)> = said.lock().unwrap().clone();
        let copy = folder.path().join(number.to_string());
        let mut killed = false;
        store
            .backup(&copy, &mut |_, _| {
                if !std::mem::replace(&mut killed, true) {
                    others[number % 4].end();
                }
                Ok(())
            })
            .unwrap();
        others[number % 4] = start(if number % 4 < 2 { "send" } else { "move" });
        verified(&copy);
        let other = open(&copy);
        let found = contents(&other);
        let mut places = BTreeSet::new();
        let mut paid = BTreeSet::new();
        for ((topic, partition, offset), (_, _, _, payload)) in &found {
            if topic == "paid" {
                let text = String::from_utf8(payload.clone()).unwrap();
                let (partition, offset) = text.split_once(' ').unwrap();
                paid.insert((partition.parse().unwrap(), offset.parse().unwrap()));
            } else {
                places.insert((*partition, *offset));
            }
        }
        let log = other.open_topic("orders").unwrap().stats().unwrap();
        let first = |partition: u32| log.partitions[partition as usize].earliest_offset;
        let left: BTreeSet<(u32, u64)> = drain(&other, "orders", "g").into_keys().collect();
        for place in &sent {
            // There, unless retention took it since it was settled.
            assert!(
                places.contains(place) || place.1 < first(place.0),
                "{place:?} is gone"
            );
            // What was settled led to what was sent before.
            assert!(
                left.contains(place) || paid.contains(place),
                "{place:?} is lost"
            );
        }
    }
}
