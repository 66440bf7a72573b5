//! Transactions of several processes at once, some of them killed or stopped at any moment (P8,
//! P10, P17).

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use common::{NOW, killed};
use libqueue::{
    Backoff, Consumer, ConsumerOptions, Durability, ErrorKind, GroupOptions, Message, Ordering,
    ReaderOptions, Retention, Store, StoreOptions, Topic, TopicOptions,
};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

const SOON: Option<Duration> = Some(Duration::from_millis(50));
const BOUND: Duration = Duration::from_secs(100);
const STEPS: [&str; 3] = ["a", "b", "c"];

fn open(folder: &Path, durability: Durability) -> Store {
    let options = StoreOptions {
        durability,
        ..StoreOptions::default()
    };
    Store::open(folder, options).expect("open")
}

fn topic(store: &Store, name: &str) -> Topic {
    // What was settled is counted at the end.
    let options = TopicOptions {
        partitions: Some(2),
        retention: Some(Retention::Forever),
        ..TopicOptions::default()
    };
    store.topic(name, &options).expect("topic")
}

fn consumer(topic: &Topic) -> Consumer {
    let quick = Backoff {
        first: Duration::from_millis(1),
        longest: Duration::from_millis(1),
        factor: 1.0,
    };
    let group = GroupOptions {
        ordering: Some(Ordering::None),
        max_attempts: Some(60_000),
        backoff: Some(quick),
        ..GroupOptions::default()
    };
    let options = ConsumerOptions {
        group,
        ..ConsumerOptions::default()
    };
    topic.consumer("g", &options).expect("consumer")
}

fn start(task: &str, folder: &Path) -> Child {
    killed::start(&format!("{task}:{}", folder.display()))
}

/// Not a test by itself: what the other processes of the tests here do.
#[test]
fn the_other_process() {
    let Some(task) = killed::task() else {
        return;
    };
    let (task, folder) = task.split_once(':').unwrap();
    let (what, durability) = task.split_once(' ').unwrap();
    let durability = match durability {
        "sync" => Durability::Sync,
        _ => Durability::Process,
    };
    let store = open(Path::new(folder), durability);
    println!("\n@ready");
    match what {
        "open" => {
            let (from, to) = (topic(&store, "a"), topic(&store, "b"));
            let worker = consumer(&from);
            let got = worker.receive(1, Some(BOUND)).unwrap();
            let mut tx = store.transaction().unwrap();
            tx.send(&to, &Message::new(b"never")).unwrap();
            tx.ack(&got[0]).unwrap();
            println!("\n@open");
            std::thread::sleep(BOUND);
        }
        _ => chain(&store, false),
    }
}

/// Takes from each topic and hands on to the next, in transactions, for ever or until nothing is
/// left.
fn chain(store: &Store, ends: bool) {
    let topics = STEPS.map(|name| topic(store, name));
    let workers = [0, 1].map(|step: usize| consumer(&topics[step]));
    let deadline = Instant::now() + BOUND;
    let mut turn = 0_usize;
    while !ends || topics[..2].iter().any(|step| lag(step) > 0) {
        assert!(
            Instant::now() < deadline,
            "{:?} are left",
            topics.each_ref().map(lag)
        );
        turn += 1;
        let step = turn % 2;
        let got = workers[step].receive(1 + turn % 3, SOON).unwrap();
        if got.is_empty() {
            continue;
        }
        let mut tx = store.transaction().unwrap();
        for one in &got {
            // Now and then one that is larger than what is copied in one piece elsewhere.
            let message = Message::new(one.payload()).partition((turn % 2) as u32);
            tx.send(&topics[step + 1], &message).unwrap();
            tx.ack(one).unwrap();
        }
        match tx.commit() {
            Ok(_) => {}
            // One that was stopped for longer than its lease, or taken for dead.
            Err(error) if error.kind() == ErrorKind::StaleReceipt => {}
            Err(error) => panic!("{error}"),
        }
    }
}

fn lag(topic: &Topic) -> u64 {
    match topic.group("g") {
        Ok(group) => group.stats().unwrap().lag_messages,
        // Nobody takes from the last one.
        Err(_) => 0,
    }
}

fn payloads(topic: &Topic) -> Vec<u64> {
    let mut reader = topic.reader(&ReaderOptions::default()).unwrap();
    let mut all = Vec::new();
    loop {
        let some = reader.receive(1000, NOW).unwrap();
        if some.is_empty() {
            return all;
        }
        for one in some {
            let text = std::str::from_utf8(one.payload()).unwrap();
            all.push(text.split(' ').next().unwrap().parse().unwrap());
        }
    }
}

fn chain_with_deaths(durability: Durability, name: &str, total: u64, rounds: u64) {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path(), durability);
    let topics = STEPS.map(|name| topic(&store, name));
    // Groups begin before there is anything.
    drop([0, 1].map(|step: usize| consumer(&topics[step])));
    for number in 0..total {
        let rest = if number % 97 == 5 { 40_000 } else { 0 };
        let payload = format!("{number} {}", "x".repeat(rest));
        topics[0].send(&Message::new(payload.as_bytes())).unwrap();
    }
    for round in 0..rounds {
        let mut children = [0, 1, 2].map(|_| start(&format!("chain {name}"), folder.path()));
        for child in &mut children {
            let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
            lines.find(|line| line.as_ref().is_ok_and(|line| line == "@ready"));
        }
        for (turn, child) in (0..).zip(&mut children) {
            std::thread::sleep(Duration::from_micros(
                5_000 + (round * 7_919 + turn * 1_103) % 29_000,
            ));
            let id = Pid::from_child(child);
            if turn == 1 {
                // Stopped in the middle of whatever it does, while others die and go on.
                kill_process(id, Signal::STOP).unwrap();
            } else {
                kill_process(id, Signal::KILL).unwrap();
            }
        }
        for child in &mut children {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
    chain(&store, true);
    let mut times: BTreeMap<u64, u32> = BTreeMap::new();
    for number in payloads(&topics[2]) {
        *times.entry(number).or_default() += 1;
    }
    assert_eq!(times.len() as u64, total, "none was lost");
    let twice: Vec<_> = times.iter().filter(|(_, count)| **count != 1).collect();
    assert!(twice.is_empty(), "exactly once: {twice:?}");
    assert_eq!(
        payloads(&topics[1]).len() as u64,
        total,
        "also in the middle"
    );
    for step in &topics[..2] {
        let stats = step.group("g").unwrap().stats().unwrap();
        assert_eq!(
            (stats.lag_messages, stats.leased, stats.dead_lettered),
            (0, 0, 0)
        );
    }
}

#[test]
fn p8_p17_a_chain_of_killed_and_stopped_processes_hands_each_message_on_exactly_once() {
    chain_with_deaths(Durability::Process, "process", 6_000, 14);
}

#[test]
fn p8_p17_so_does_one_whose_transactions_are_put_on_disk() {
    chain_with_deaths(Durability::Sync, "sync", 400, 6);
}

#[test]
fn p8_p10_a_death_with_an_open_transaction_leaves_nothing_of_it_and_a_stopped_one_blocks_nobody() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path(), Durability::Process);
    let (from, to) = (topic(&store, "a"), topic(&store, "b"));
    let worker = consumer(&from);
    for payload in [&b"0"[..], b"1"] {
        from.send(&Message::new(payload).partition(0)).unwrap();
    }
    let mut child = start("open process", folder.path());
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    lines.find(|line| line.as_ref().is_ok_and(|line| line == "@open"));
    kill_process(Pid::from_child(&child), Signal::STOP).unwrap();
    // Others commit, in the same topics and partitions.
    let got = worker.receive(9, SOON).unwrap();
    assert_eq!(got.len(), 1);
    let mut tx = store.transaction().unwrap();
    tx.send(&to, &Message::new(b"7").partition(0)).unwrap();
    tx.ack(&got[0]).unwrap();
    tx.commit().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let back = worker.receive(9, Some(BOUND)).unwrap();
    assert_eq!(back.len(), 1, "what the dead one had");
    assert_eq!(payloads(&to), [7]);
}

#[test]
fn p3_p8_the_journal_is_verified_and_shown() {
    let folder = TempDir::new().unwrap();
    let (live, dead) = (folder.path().join("live"), folder.path().join("dead"));
    let store = open(&live, Durability::Sync);
    let (from, to) = (topic(&store, "a"), topic(&store, "b"));
    let worker = consumer(&from);
    from.send(&Message::new(b"0")).unwrap();
    let got = worker.receive(1, Some(BOUND)).unwrap();
    let mut tx = store.transaction().unwrap();
    tx.send(&to, &Message::new(b"1")).unwrap();
    tx.ack(&got[0]).unwrap();
    tx.commit().unwrap();
    let verify = |path: &Path| libqueue::inspect::verify(path, &mut |_, _| Ok(())).unwrap();
    let report = verify(&live);
    assert!(
        report.is_intact() && report.unknown.is_empty(),
        "{report:?}"
    );
    let mut text = Vec::new();
    libqueue::inspect::dump(&live.join("transactions.log"), &mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    for shown in [
        "journal of transactions",
        ", sync",
        "sent 1 from offset 0",
        "settled offset 0",
    ] {
        assert!(text.contains(shown), "{shown}: {text}");
    }
    // Of a record, and of the header.
    for at in [4096 + 24, 9] {
        let copied = Command::new("cp").arg("-r").arg(&live).arg(&dead).status();
        assert!(copied.unwrap().success());
        let journal = dead.join("transactions.log");
        let mut bytes = std::fs::read(&journal).unwrap();
        bytes[at] ^= 4;
        std::fs::write(&journal, &bytes).unwrap();
        let report = verify(&dead);
        assert!(
            report.damage.iter().any(|one| one.file == journal),
            "{at}: {report:?}"
        );
        let mut text = Vec::new();
        libqueue::inspect::dump(&journal, &mut text).unwrap();
        assert!(String::from_utf8(text).unwrap().contains("DAMAGED"), "{at}");
        std::fs::remove_dir_all(&dead).unwrap();
    }
}
