//! What the tests of delivery have in common.

#![allow(dead_code, clippy::unwrap_used)] // each test program uses a part of it

pub mod killed;
pub mod worker;

use std::path::Path;
use std::time::Duration;

use libqueue::{
    Backoff, Consumer, ConsumerOptions, Delivery, GroupOptions, Message, Ordering, Receipt, Store,
    StoreOptions, Topic, TopicOptions,
};

pub const WAIT: Option<Duration> = Some(Duration::from_secs(20));
pub const NOW: Option<Duration> = Some(Duration::ZERO);

pub fn open(folder: &Path) -> Store {
    Store::open(folder, StoreOptions::default()).expect("open")
}

pub fn topic(store: &Store, partitions: u32) -> Topic {
    let partitions = Some(partitions);
    let options = TopicOptions {
        partitions,
        ..TopicOptions::default()
    };
    store.topic("orders", &options).expect("topic")
}

/// A consumer whose failures come back at once.
pub fn consumer(topic: &Topic, group: &str, ordering: Ordering, max_attempts: u32) -> Consumer {
    let quick = Backoff {
        first: Duration::from_millis(1),
        longest: Duration::from_millis(1),
        factor: 1.0,
    };
    let group_options = GroupOptions {
        ordering: Some(ordering),
        max_attempts: Some(max_attempts),
        backoff: Some(quick),
        ..GroupOptions::default()
    };
    let options = ConsumerOptions {
        group: group_options,
        ..ConsumerOptions::default()
    };
    topic.consumer(group, &options).expect("consumer")
}

pub fn with_group(folder: &tempfile::TempDir) -> (Store, Topic, libqueue::Group) {
    let store = open(folder.path());
    let topic = topic(&store, 1);
    let group = topic.create_group("g", &GroupOptions::default()).unwrap();
    (store, topic, group)
}

pub fn quick() -> Backoff {
    Backoff {
        first: Duration::from_millis(1),
        longest: Duration::from_millis(1),
        factor: 1.0,
    }
}

pub fn receipts(batch: &[Delivery]) -> Vec<Receipt> {
    batch.iter().map(Delivery::receipt).collect()
}

pub fn number(payload: &[u8]) -> u64 {
    std::str::from_utf8(payload).unwrap().parse().unwrap()
}

pub fn send_numbers(topic: &Topic, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let payload = number.to_string();
        topic.send(&Message::new(payload.as_bytes())).expect("send");
    }
}
