//! What a topic leaves free on a tiny file system (P5, P14).

#![allow(clippy::unwrap_used)]

#[path = "common/small_disk.rs"]
mod small_disk;

use std::path::PathBuf;
use std::time::Duration;

use libqueue::{
    ConsumerOptions, ErrorKind, GroupOptions, Message, Store, StoreOptions, TopicOptions,
};
use small_disk::{CHILD, on_a_small_disk};

/// The folder, in the process that has the small disk; else the test was run there.
fn on_disk(test: &str, mebibytes: u32) -> Option<PathBuf> {
    if let Ok(folder) = std::env::var(CHILD) {
        return Some(folder.into());
    }
    if !on_a_small_disk(test, mebibytes) {
        println!("this machine lets nobody mount a small disk; the twin's tests stand alone");
    }
    None
}

#[test]
fn p5_p14_a_topic_that_leaves_room_refuses_to_grow_and_consumers_and_dead_letters_go_on() {
    let test =
        "p5_p14_a_topic_that_leaves_room_refuses_to_grow_and_consumers_and_dead_letters_go_on";
    let Some(folder) = on_disk(test, 32) else {
        return;
    };
    let store = Store::open(folder.join("store"), StoreOptions::default()).unwrap();
    let options = TopicOptions {
        min_free_bytes: Some(12 << 20),
        ..TopicOptions::default()
    };
    let topic = store.topic("orders", &options).unwrap();
    let group = GroupOptions {
        max_attempts: Some(1),
        ..GroupOptions::default()
    };
    let options = ConsumerOptions {
        group,
        ..ConsumerOptions::default()
    };
    let worker = topic.consumer("g", &options).unwrap();
    let body = vec![7; 10_000];
    let mut sent = 0;
    let error = loop {
        match topic.send(&Message::new(&body)) {
            Ok(_) => sent += 1,
            Err(error) => break error,
        }
        assert!(sent < 3200, "the disk has no more room than that");
    };
    assert_eq!(error.kind(), ErrorKind::DiskFull, "{error}");
    assert!(
        error.message().contains("min_free_bytes, 12582912"),
        "{error}"
    );
    assert!(error.message().contains("bytes are free"), "{error}");
    let mut seen = 0;
    while seen < sent {
        let batch = worker.receive(100, Some(Duration::ZERO)).unwrap();
        let receipts: Vec<_> = batch.iter().map(|one| one.receipt()).collect();
        assert!(!receipts.is_empty(), "{seen} of {sent}");
        // The first becomes a dead letter, which needs a segment.
        worker.nack(&receipts[..1], None, Some("bad")).unwrap();
        worker.ack(&receipts[1..]).unwrap();
        seen += receipts.len();
    }
    let letters = store.open_topic("orders.g.dlq").unwrap();
    assert!(letters.stats().unwrap().messages > 0);
    let none = TopicOptions {
        min_free_bytes: Some(0),
        ..TopicOptions::default()
    };
    topic.configure(&none).unwrap();
    topic.send(&Message::new(&body)).unwrap();
}
