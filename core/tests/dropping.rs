//! Topics that drop their oldest messages when they are full (P14).

#![allow(clippy::unwrap_used)]

mod common;

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use common::{NOW, WAIT, consumer, open, receipts};
use libqueue::{ErrorKind, Message, OnFull, Ordering, Store, Topic, TopicOptions};
use tempfile::TempDir;

fn limits(messages: u64, on_full: OnFull) -> TopicOptions {
    TopicOptions {
        max_messages: Some(messages),
        on_full: Some(on_full),
        ..TopicOptions::default()
    }
}

fn limited(folder: &TempDir, messages: u64, on_full: OnFull) -> (Store, Topic) {
    let store = open(folder.path());
    let topic = store.topic("orders", &limits(messages, on_full)).unwrap();
    (store, topic)
}

fn send(topic: &Topic, payload: &[u8]) -> libqueue::Result<libqueue::MessageId> {
    topic.send(&Message::new(payload))
}

fn fill(topic: &Topic, count: u64) {
    for number in 0..count {
        send(topic, format!("{number}").as_bytes()).expect("room");
    }
}

fn is_full(topic: &Topic) {
    let error = send(topic, b"more").expect_err("over the limit");
    assert_eq!(error.kind(), ErrorKind::Full, "{error}");
    assert!(error.message().contains("nothing was sent"), "{error}");
}

fn take(worker: &libqueue::Consumer, most: usize) -> Vec<libqueue::Receipt> {
    receipts(&worker.receive(most, WAIT).expect("receive"))
}

fn worker(topic: &Topic, group: &str) -> libqueue::Consumer {
    consumer(topic, group, Ordering::None, 3)
}

#[test]
fn p9_p14_the_oldest_are_dropped_for_every_group_and_counted_by_group_and_leased_ones_are_stale() {
    let folder = TempDir::new().unwrap();
    let (_store, topic) = limited(&folder, 4, OnFull::DropOldest);
    // Nobody has a position that could be moved.
    fill(&topic, 4);
    is_full(&topic);
    let (one, other) = (worker(&topic, "one"), worker(&topic, "other"));
    let had = take(&one, 2);
    one.ack(&had[1..]).unwrap();
    fill(&topic, 1);
    let dropped = |group: &str| topic.group(group).unwrap().stats().unwrap().dropped;
    assert_eq!((dropped("one"), dropped("other")), (1, 1));
    let error = one.ack(&had[..1]).expect_err("it was dropped");
    assert_eq!(error.kind(), ErrorKind::StaleReceipt);
    fill(&topic, 1);
    assert_eq!(
        (dropped("one"), dropped("other")),
        (1, 2),
        "one had settled it"
    );
    assert_eq!(topic.stats().unwrap().messages, 6);
    let left = |worker: &libqueue::Consumer| {
        let batch = worker.receive(100, NOW).unwrap();
        batch.iter().map(|d| d.id().offset).collect::<Vec<_>>()
    };
    assert_eq!(left(&other), [2, 3, 4, 5]);
    assert_eq!(left(&one), [2, 3, 4, 5]);
    let eight = vec![Message::new(b"x"); 4];
    topic.send_many(&eight).unwrap();
    assert_eq!((dropped("one"), dropped("other")), (5, 6));
    assert_eq!(left(&one), [6, 7, 8, 9]);
}

#[test]
fn p14_there_is_room_also_where_what_is_to_be_dropped_is_settled_meanwhile() {
    let folder = TempDir::new().unwrap();
    for (name, most) in [("one", 1), ("few", 3)] {
        let store = open(folder.path());
        let options = limits(most, OnFull::DropOldest);
        let topic = store.topic(name, &options).unwrap();
        let (worker, done) = (worker(&topic, "g"), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Relaxed) {
                    let batch = worker.receive(4, NOW).unwrap();
                    // What was dropped since is stale.
                    let _ = worker.ack(&receipts(&batch));
                }
            });
            let sent = (0..30_000).try_for_each(|_| send(&topic, b"x").map(drop));
            done.store(true, Relaxed);
            sent.expect("the oldest makes room");
        });
    }
}

#[test]
fn p14_what_is_dropped_is_the_oldest_of_all_partitions_and_no_more_than_is_needed() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let options = TopicOptions {
        partitions: Some(2),
        ..limits(6, OnFull::DropOldest)
    };
    let topic = store.topic("orders", &options).unwrap();
    let worker = worker(&topic, "g");
    let to = |partition: u32, at: i64| {
        let message = Message {
            partition: Some(partition),
            timestamp_ns: Some(at),
            ..Message::new(b"x")
        };
        topic.send(&message).unwrap()
    };
    for (partition, at) in [(0, 10), (1, 5), (0, 20), (1, 15), (0, 30), (1, 25)] {
        to(partition, at);
    }
    to(0, 40);
    to(0, 41);
    to(0, 42);
    let mut left: Vec<(u32, u64)> = worker
        .receive(100, WAIT)
        .unwrap()
        .iter()
        .map(|d| (d.id().partition, d.id().offset))
        .collect();
    left.sort_unstable();
    // 5, 10 and 15 went.
    assert_eq!(left, [(0, 1), (0, 2), (0, 3), (0, 4), (0, 5), (1, 2)]);
}
