//! Real file systems of these tests' own: one that is full (P5), one that is read-only.

#![allow(clippy::unwrap_used)]

#[path = "common/small_disk.rs"]
mod small_disk;

use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use libqueue::inspect::recover;
use libqueue::{
    Consumer, ConsumerOptions, Delivery, ErrorKind, GroupOptions, Message, ReaderOptions, Store,
    StoreOptions, TopicOptions,
};
use small_disk::{CHILD, on_a_small_disk};
use tempfile::TempDir;

const NOW: Option<Duration> = Some(Duration::ZERO);

fn options() -> ConsumerOptions {
    ConsumerOptions {
        group: GroupOptions {
            max_attempts: Some(1),
            ..GroupOptions::default()
        },
        ..ConsumerOptions::default()
    }
}

/// Receives and settles all there is, two of each batch as dead letters; how many there were.
fn drain(consumer: &Consumer) -> u64 {
    let mut seen = 0;
    loop {
        let batch = consumer.receive(100, NOW).unwrap();
        if batch.is_empty() {
            return seen;
        }
        let receipts: Vec<_> = batch.iter().map(Delivery::receipt).collect();
        let (bad, good) = receipts.split_at(receipts.len().min(2));
        consumer.dead_letter(bad, "no use").unwrap();
        consumer.ack(good).unwrap();
        seen += batch.len() as u64;
    }
}

#[test]
fn p5_on_a_full_disk_consumers_settle_dead_letter_and_drain_and_sending_goes_on_with_room() {
    let Ok(folder) = std::env::var(CHILD) else {
        let test = "p5_on_a_full_disk_consumers_settle_dead_letter_and_drain_and_sending_goes_on_\
                    with_room";
        if !on_a_small_disk(test, 24) {
            println!("this machine lets nobody mount a small disk; the twin's test stands alone");
        }
        return;
    };
    let folder = Path::new(&folder);
    let store = Store::open(folder.join("store"), StoreOptions::default()).unwrap();
    let topic = store.topic("t", &TopicOptions::default()).unwrap();
    let consumer = topic.consumer("g", &options()).unwrap();
    // The ballast is laid in by housekeeping.
    let ballast = folder.join("store/ballast");
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while !ballast.exists() {
        assert!(std::time::Instant::now() < deadline, "no ballast");
        std::thread::yield_now();
    }
    let payload = [7; 10_000];
    let mut sent = 0_u64;
    let full = loop {
        match topic.send(&Message::new(&payload)) {
            Ok(_) => sent += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(full.kind(), ErrorKind::DiskFull, "{full}");
    assert!(full.message().contains("topics/t/0"), "{full}");
    assert!(sent > 500, "only {sent}");
    // To the last byte.
    let filler = folder.join("filler");
    let mut file = std::fs::File::create(&filler).unwrap();
    while std::io::Write::write_all(&mut file, &[1; 4096]).is_ok() {}
    assert_eq!(
        topic.stats().unwrap().messages,
        sent,
        "an error is not in the log"
    );
    // A sender that tries again and again takes nothing of the room that dead letters are given; a
    // segment that was prepared for it before it may fill.
    let drained = AtomicBool::new(false);
    let (mut seen, more) = std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let mut more = 0;
            while !drained.load(Ordering::SeqCst) {
                match topic.send(&Message::new(&payload)) {
                    Ok(_) => more += 1,
                    Err(error) => assert_eq!(error.kind(), ErrorKind::DiskFull, "{error}"),
                }
            }
            more
        });
        let seen = std::panic::catch_unwind(AssertUnwindSafe(|| drain(&consumer)));
        drained.store(true, Ordering::SeqCst);
        (seen.unwrap(), sender.join().unwrap())
    });
    seen += drain(&consumer);
    assert_eq!(seen, sent + more);
    let group = topic.group("g").unwrap();
    let stats = group.stats().unwrap();
    assert_eq!(stats.lag_messages, 0);
    let dead = group.dead_letters(usize::MAX).unwrap();
    assert_eq!(dead.len() as u64, stats.dead_lettered);
    assert!(!dead.is_empty());
    drop(file);
    std::fs::remove_file(&filler).unwrap();
    topic.send(&Message::new(b"room again")).unwrap();
    let last = consumer.receive(1, NOW).unwrap();
    assert_eq!(last[0].payload(), b"room again");
}

#[test]
fn a_read_only_file_system_is_its_own_error_and_can_be_read() {
    let Ok(folder) = std::env::var(CHILD) else {
        let test = "a_read_only_file_system_is_its_own_error_and_can_be_read";
        if !on_a_small_disk(test, 24) {
            println!("this machine lets nobody mount a file system");
        }
        return;
    };
    let path = Path::new(&folder).join("store");
    let store = Store::open(&path, StoreOptions::default()).unwrap();
    let topic = store.topic("t", &TopicOptions::default()).unwrap();
    topic.send(&Message::new(b"there")).unwrap();
    drop(topic);
    store.close().unwrap();
    // What is mapped to be written keeps the kernel from it.
    drop(store);
    let remounted = Command::new("mount")
        .args(["-o", "remount,ro", &folder])
        .status();
    assert!(remounted.unwrap().success());
    let error = Store::open(&path, StoreOptions::default()).expect_err("cannot be joined");
    assert_eq!(error.kind(), ErrorKind::ReadOnly, "{error}");
    assert!(error.message().contains(&folder), "{error}");
    let to_read = StoreOptions {
        read_only: true,
        create: false,
        ..StoreOptions::default()
    };
    let store = Store::open(&path, to_read).unwrap();
    let topic = store.open_topic("t").unwrap();
    let mut reader = topic.reader(&ReaderOptions::default()).unwrap();
    let read = reader.receive(10, NOW).unwrap();
    assert_eq!(read[0].payload(), b"there");
    drop((read, reader, topic));
    store.close().unwrap();
    // What is on it can be copied out to where there is room, and a copy to it fails.
    let other = TempDir::new().unwrap();
    let mut quiet = |_, _| Ok(());
    let recovered = recover(&path, &other.path().join("copy"), &mut quiet).unwrap();
    assert_eq!((recovered.messages, recovered.losses.len()), (1, 0));
    let target = Path::new(&folder).join("copy");
    let error = recover(&path, &target, &mut quiet).expect_err("cannot be written");
    assert_eq!(error.kind(), ErrorKind::ReadOnly, "{error}");
}

#[test]
fn p5_a_copy_that_finds_no_room_leaves_nothing_and_the_source_as_it_was() {
    let Ok(folder) = std::env::var(CHILD) else {
        let test = "p5_a_copy_that_finds_no_room_leaves_nothing_and_the_source_as_it_was";
        if !on_a_small_disk(test, 24) {
            println!("this machine lets nobody mount a file system");
        }
        return;
    };
    let source = TempDir::new().unwrap();
    let path = source.path().join("store");
    let store = Store::open(&path, StoreOptions::default()).unwrap();
    let topic = store.topic("t", &TopicOptions::default()).unwrap();
    for _ in 0..40 {
        topic.send(&Message::new(&[7; 1 << 20])).unwrap();
    }
    drop(topic);
    store.close().unwrap();
    let target = Path::new(&folder).join("copy");
    let error = recover(&path, &target, &mut |_, _| Ok(())).expect_err("no room");
    assert_eq!(error.kind(), ErrorKind::DiskFull, "{error}");
    assert!(!target.exists());
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
    let there = source.path().join("copy");
    let recovered = recover(&path, &there, &mut |_, _| Ok(())).unwrap();
    assert_eq!((recovered.messages, recovered.losses.len()), (40, 0));
}
