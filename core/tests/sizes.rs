//! Sizes: what a process has open, mapped and in memory goes by what it uses, not by what there is.
//!
//! Processes of their own with few descriptors (`ulimit -n`) and little room for mappings
//! (`ulimit -v`). LIBQUEUE_TEST_SIZES=2000 runs them with so many topics and groups.

#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::{NOW, WAIT, number, open, receipts};
use libqueue::{
    Consumer, ConsumerOptions, Durability, ErrorKind, Message, ReaderOptions, Start, Store,
    StoreOptions, Topic, TopicOptions,
};
use tempfile::TempDir;

const CHILD: &str = "LIBQUEUE_TEST_SIZES_CHILD";
const COUNT: &str = "LIBQUEUE_TEST_SIZES";
/// Descriptors that a child may have.
const FEW: &str = "ulimit -n 64";
/// Mappings that a process has beside those of a store: its program, libraries, stacks, heap.
const OWN: usize = 80;
const BOUND: Duration = Duration::from_secs(60);

/// How many topics or groups: several times as many as there are descriptors.
fn count() -> u64 {
    std::env::var(COUNT).map_or(250, |count| count.parse().expect("a number"))
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn mappings() -> usize {
    std::fs::read_to_string("/proc/self/maps")
        .unwrap()
        .lines()
        .count()
}

/// Runs the test of this name again, as a child with this limit that does one thing.
fn child(test: &str, limit: &str, role: &str, folder: &Path) -> Output {
    let run = format!("{limit} && exec \"$0\" \"$@\"");
    Command::new("sh")
        .args(["-c", &run])
        .arg(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD, format!("{role} {}", folder.display()))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .output()
        .expect("run")
}

fn does(test: &str, limit: &str, role: &str, folder: &Path) -> String {
    let done = child(test, limit, role, folder);
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    let errors = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{role}: {said}\n{errors}");
    said
}

/// What a child is to do, and in which folder; `None` in the test itself.
fn role() -> Option<(String, std::path::PathBuf)> {
    let said = std::env::var(CHILD).ok()?;
    let (role, folder) = said.split_once(' ').expect("ROLE FOLDER");
    Some((role.to_owned(), folder.into()))
}

fn named(store: &Store, number: u64) -> Topic {
    let name = format!("t{number}");
    store.topic(&name, &TopicOptions::default()).expect("topic")
}

fn send(topic: &Topic, number: u64) {
    let payload = number.to_string();
    topic.send(&Message::new(payload.as_bytes())).expect("send");
}

fn worker(topic: &Topic, group: &str) -> Consumer {
    topic
        .consumer(group, &ConsumerOptions::default())
        .expect("consumer")
}

fn take(worker: &Consumer, expected: u64) {
    let batch = worker.receive(10, WAIT).expect("receive");
    let numbers: Vec<u64> = batch.iter().map(|one| number(one.payload())).collect();
    assert_eq!(numbers, [expected]);
    worker.ack(&receipts(&batch)).expect("ack");
}

/// Until housekeeping has come to it, within the bound.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < BOUND, "{what}: {} mappings", mappings());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn p19_many_topics_one_after_the_other_cost_neither_descriptors_nor_mappings() {
    const TEST: &str = "p19_many_topics_one_after_the_other_cost_neither_descriptors_nor_mappings";
    if let Some((role, folder)) = role() {
        let store = open(&folder);
        let mut most = (0, 0);
        for number in 0..count() {
            let topic = named(&store, number);
            match role.as_str() {
                "send" => send(&topic, number),
                _ => take(&worker(&topic, "g"), number),
            }
            most = (most.0.max(descriptors()), most.1.max(mappings()));
        }
        // Between two beats a few hundred may be mapped; what counts is where it ends.
        assert!(most.0 < 40, "{} descriptors", most.0);
        until("mappings", || mappings() < OWN + 2 * 64);
        store.close().expect("close");
        return;
    }
    let folder = TempDir::new().unwrap();
    does(TEST, FEW, "send", folder.path());
    does(TEST, FEW, "consume", folder.path());
    // Nothing is lost, and nothing comes twice.
    let store = open(folder.path());
    for number in 0..count() {
        let again = worker(&named(&store, number), "g").receive(10, NOW);
        assert!(again.expect("receive").is_empty(), "topic {number}");
    }
}

#[test]
fn p19_many_topics_at_once_cost_no_descriptors_and_rest_when_they_are_not_used() {
    const TEST: &str =
        "p19_many_topics_at_once_cost_no_descriptors_and_rest_when_they_are_not_used";
    if let Some((_, folder)) = role() {
        let store = open(&folder);
        let topics: Vec<_> = (0..count().max(700))
            .map(|one| named(&store, one))
            .collect();
        for (number, topic) in (0..).zip(&topics) {
            send(topic, number);
        }
        assert!(descriptors() < 40, "{} descriptors", descriptors());
        until("resting", || mappings() < OWN + 512 + 64);
        // Those that rest are as usable as the others.
        for (number, topic) in (0..).zip(&topics) {
            send(topic, number + 1_000_000);
            let mut reader = topic.reader(&ReaderOptions {
                start: Start::Earliest,
                ..ReaderOptions::default()
            });
            let read = reader.as_mut().unwrap().receive(10, NOW).expect("read");
            let numbers: Vec<u64> = read
                .iter()
                .map(|one| common::number(one.payload()))
                .collect();
            assert_eq!(numbers, [number, number + 1_000_000]);
        }
        assert!(descriptors() < 40, "{} descriptors", descriptors());
        return;
    }
    let folder = TempDir::new().unwrap();
    does(TEST, FEW, "hold", folder.path());
}

#[test]
fn p19_many_groups_of_a_topic_cost_no_descriptors() {
    const TEST: &str = "p19_many_groups_of_a_topic_cost_no_descriptors";
    if let Some((role, folder)) = role() {
        let store = open(&folder);
        let topic = named(&store, 7);
        let mut held = Vec::new();
        for number in 0..count() {
            let worker = worker(&topic, &format!("{role}-{number}"));
            take(&worker, 7);
            if role == "held" {
                held.push(worker);
            }
            assert!(descriptors() < 40, "{} descriptors", descriptors());
        }
        if role == "dropped" {
            assert!(mappings() < OWN + 64, "{} mappings", mappings());
        }
        if role == "held" {
            send(&topic, 8);
        }
        for worker in &held {
            take(worker, 8);
        }
        return;
    }
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    send(&named(&store, 7), 7);
    does(TEST, FEW, "dropped", folder.path());
    does(TEST, FEW, "held", folder.path());
}

#[test]
fn p2_p19_what_was_promised_after_an_interval_is_on_disk_though_its_handle_is_gone() {
    let folder = TempDir::new().unwrap();
    let options = StoreOptions {
        durability: Durability::Interval(Duration::from_millis(50)),
        ..StoreOptions::default()
    };
    let store = Store::open(folder.path(), options).expect("open");
    // It promises nothing, and syncs nothing.
    let other = open(folder.path());
    let count = 200;
    for number in 0..count {
        send(&named(&store, number), number);
    }
    // By the one that has no handle of them.
    for number in 0..count {
        let topic = named(&other, number);
        until("on disk", || topic.durable_offsets() == [1]);
    }
    until("mappings", || mappings() < OWN + 2 * 2 * 64 + 200);
    drop((store, other));
}

#[test]
fn p1_p19_what_many_threads_open_and_drop_at_once_is_all_there() {
    const THREADS: u64 = 4;
    const TOPICS: u64 = 90;
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    for number in 0..TOPICS {
        named(&store, number);
    }
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let store = &store;
            scope.spawn(move || {
                // In another order each, so that one opens what another one lets go of.
                for step in 0..TOPICS * 3 {
                    let number = (step * (2 * thread + 7)) % TOPICS;
                    send(&named(store, number), step);
                }
            });
        }
    });
    let mut sent = 0;
    for number in 0..TOPICS {
        sent += named(&store, number).stats().expect("statistics").messages;
    }
    assert_eq!(sent, THREADS * TOPICS * 3);
    store.close().expect("close");
}

#[test]
fn p1_p19_what_the_system_refuses_is_told_with_what_to_do_and_nothing_is_lost() {
    const TEST: &str = "p1_p19_what_the_system_refuses_is_told_with_what_to_do_and_nothing_is_lost";
    if let Some((role, folder)) = role() {
        if role == "descriptors" {
            // All that are left are taken by the program itself.
            let store = open(&folder);
            let topic = named(&store, 0);
            send(&topic, 0);
            let mut own = Vec::new();
            let error = (0..100).find_map(|number| {
                // Housekeeping may have had one for a moment.
                while let Ok(file) = std::fs::File::open("/dev/null") {
                    own.push(file);
                }
                let name = format!("new-{number}");
                store.topic(&name, &TopicOptions::default()).err()
            });
            send(&topic, 1);
            let error = error.expect("no descriptor is left");
            assert_eq!(error.kind(), ErrorKind::Io, "{error}");
            assert!(error.message().contains("ulimit -n"), "{error}");
            drop(own);
            send(&store.topic("new", &TopicOptions::default()).unwrap(), 2);
            return;
        }
        let store = open(&folder);
        let (mut held, mut refused) = (Vec::new(), None);
        for number in 0..5_000 {
            let name = format!("m{number}");
            let topic = match store.topic(&name, &TopicOptions::default()) {
                Err(error) => {
                    refused = Some(error);
                    break;
                }
                Ok(topic) => topic,
            };
            if let Err(error) = topic.send(&Message::new(b"kept")) {
                refused = Some(error);
                break;
            }
            held.push(topic);
        }
        let error = refused.expect("an end of what may be mapped");
        assert!(error.message().contains("vm.max_map_count"), "{error}");
        println!("sent {}", held.len());
        // What it holds works on, and so does all once it lets go of some.
        for topic in &held {
            topic.send(&Message::new(b"too")).expect("send");
        }
        held.truncate(held.len() / 2);
        let topic = store.topic("one-more", &TopicOptions::default());
        until("room", || {
            topic.as_ref().unwrap().send(&Message::new(b"x")).is_ok()
        });
        return;
    }
    let folder = TempDir::new().unwrap();
    does(TEST, FEW, "descriptors", folder.path());
    // Of which `control` takes a GiB.
    let said = does(TEST, "ulimit -v 1500000", "mappings", folder.path());
    let sent = said.lines().find_map(|line| line.split_once("sent "));
    let sent: u64 = sent.expect("how many").1.trim().parse().expect("a number");
    let store = open(folder.path());
    for number in 0..sent {
        let topic = store.open_topic(&format!("m{number}")).expect("topic");
        let mut reader = topic.reader(&ReaderOptions::default()).expect("reader");
        let read = reader.receive(10, NOW).expect("read");
        let all: Vec<&[u8]> = read.iter().map(|one| one.payload()).collect();
        assert_eq!(all, [&b"kept"[..], b"too"], "topic {number}");
    }
}

/// Wants 2 GiB of memory and 2 GiB of disk: `cargo test --test sizes -- --ignored`, which is a part
/// of `make test-large`.
#[test]
#[ignore = "wants 2 GiB of memory and 2 GiB of disk"]
fn p3_a_message_of_the_largest_size_comes_back_and_one_of_a_byte_more_is_refused() {
    const LARGEST: usize = 1 << 30;
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let topic = named(&store, 0);
    let payload: Vec<u8> = (0..=LARGEST).map(|at| ((at * 31) >> 7) as u8).collect();
    let error = topic
        .send(&Message::new(&payload))
        .expect_err("a byte more");
    assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
    assert!(error.message().contains("1073741824"), "{error}");
    let with_key = Message::new(&payload[..LARGEST]).key(b"k");
    let error = topic.send(&with_key).expect_err("the key counts");
    assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
    for large in [&payload[..LARGEST], &payload[1..LARGEST]] {
        topic.send(&Message::new(large)).expect("send");
    }
    topic.send(&Message::new(b"small")).expect("send");
    let worker = worker(&topic, "g");
    let batch = worker.receive(10, WAIT).expect("receive");
    let lengths: Vec<usize> = batch.iter().map(|one| one.payload().len()).collect();
    assert_eq!(lengths, [LARGEST, LARGEST - 1, 5]);
    assert!(batch[0].payload() == &payload[..LARGEST], "other bytes");
    assert!(batch[1].payload() == &payload[1..LARGEST], "other bytes");
    worker.ack(&receipts(&batch)).expect("ack");
}
