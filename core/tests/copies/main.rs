//! Backups, exports and imports: what they hold is what the store held, they are seen whole or not
//! at all, and nobody waits for them.

#![allow(clippy::unwrap_used)]

mod alive;
mod backups;
#[path = "../common/mod.rs"]
mod common;
mod damage;
mod exports;
mod lines;
mod producers;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::{NOW, consumer, open, quick, receipts};
use libqueue::{
    ConsumerOptions, GroupOptions, GroupStats, ImportOptions, Message, OnDeadLetter, Ordering,
    ReaderOptions, RedriveOptions, Store, TopicOptions, inspect,
};

/// Topic, partition and offset.
type Place = (String, u32, u64);
/// Timestamp, key, headers and payload.
type Content = (i64, Option<Vec<u8>>, Vec<(String, Vec<u8>)>, Vec<u8>);

fn hour() -> Duration {
    Duration::from_secs(3600)
}

/// A store in which there is some of everything, still open: what is acknowledged, failed, delayed,
/// leased, dead, redriven, held; a snapshot; gaps in the offsets.
fn make(folder: &Path) -> Store {
    let store = open(folder);
    let options = TopicOptions {
        partitions: Some(2),
        ..TopicOptions::default()
    };
    let orders = store.topic("orders", &options).unwrap();
    for number in 0..120_u32 {
        let (payload, key) = (format!("payload {number}"), format!("key {}", number % 7));
        let headers = [("number", payload.as_bytes())];
        let mut message = Message::new(payload.as_bytes()).headers(&headers);
        match number % 10 {
            3 => {}
            4 => message = message.priority(7),
            5 => message = message.delay(hour()),
            6 => message = message.ttl(hour()),
            _ => message = message.key(key.as_bytes()),
        }
        orders.send(&message).unwrap();
    }
    orders.send(&Message::new(&vec![b'x'; 300_000])).unwrap();
    let worker = consumer(&orders, "billing", Ordering::Key, 2);
    let batch = worker.receive(30, NOW).unwrap();
    worker.ack(&receipts(&batch[..20])).unwrap();
    worker
        .nack(&receipts(&batch[20..22]), Some(hour()), None)
        .unwrap();
    worker
        .dead_letter(&receipts(&batch[22..26]), "never")
        .unwrap();
    worker.close().unwrap();
    let billing = orders.group("billing").unwrap();
    let letters = billing.dead_letters(10).unwrap();
    assert_eq!(letters.len(), 4);
    let first = [letters[0].message.id()];
    let options = RedriveOptions {
        ids: Some(&first),
        ..RedriveOptions::default()
    };
    assert_eq!(billing.redrive(options).unwrap(), 1);
    billing.snapshot("before").unwrap();
    let holding = ConsumerOptions {
        group: GroupOptions {
            max_attempts: Some(1),
            backoff: Some(quick()),
            on_dead_letter: Some(OnDeadLetter::HoldKey),
            ..GroupOptions::default()
        },
        ..ConsumerOptions::default()
    };
    let keeper = orders.consumer("keeper", &holding).unwrap();
    let batch = keeper.receive(10, NOW).unwrap();
    keeper.dead_letter(&receipts(&batch[..3]), "wait").unwrap();
    keeper.ack(&receipts(&batch[3..5])).unwrap();
    keeper.close().unwrap();
    orders
        .create_group("fresh", &GroupOptions::default())
        .unwrap();
    store.topic("empty", &TopicOptions::default()).unwrap();
    store
}

/// Every message of every topic.
fn contents(store: &Store) -> BTreeMap<Place, Content> {
    let mut found = BTreeMap::new();
    for name in store.topics().unwrap() {
        let topic = store.open_topic(&name).unwrap();
        let mut reader = topic.reader(&ReaderOptions::default()).unwrap();
        loop {
            let batch = match reader.receive(100, NOW) {
                // Retention goes on in a copy too.
                Err(error) if error.kind() == libqueue::ErrorKind::Removed => continue,
                batch => batch.unwrap(),
            };
            if batch.is_empty() {
                break;
            }
            for one in batch {
                let headers = one
                    .headers()
                    .map(|(name, value)| (name.to_owned(), value.to_vec()));
                let content = (
                    one.timestamp_ns(),
                    one.key().map(<[u8]>::to_vec),
                    headers.collect(),
                    one.payload().to_vec(),
                );
                found.insert((name.clone(), one.partition(), one.offset()), content);
            }
        }
    }
    found
}

/// Where a group stands, as far as it is the same in a copy.
fn standing(store: &Store, topic: &str, group: &str) -> (GroupStats, Vec<(u64, u32, u32)>, usize) {
    let group = store.open_topic(topic).unwrap().group(group).unwrap();
    let mut stats = group.stats().unwrap();
    // Of the process, and of the moment.
    stats.consumers = 0;
    stats.lag_seconds = 0.0;
    (stats.lock_waits, stats.lock_wait_seconds, stats.syncs) = (0, 0.0, 0);
    (stats.sync_seconds, stats.sync_longest_seconds) = (0.0, 0.0);
    let letters = group.dead_letters(100).unwrap();
    let letters = letters
        .iter()
        .map(|one| (one.message.offset(), one.attempts, one.failures));
    (stats, letters.collect(), group.snapshots().unwrap().len())
}

fn verified(path: &Path) {
    let report = inspect::verify(path, &mut |_, _| Ok(())).expect("a store");
    assert_eq!(report.damage, []);
    assert_eq!(report.unknown, Vec::<PathBuf>::new());
}

/// What a consumer of the group is handed until nothing is left, and acknowledged.
fn drain(store: &Store, topic: &str, group: &str) -> BTreeMap<(u32, u64), u32> {
    let topic = store.open_topic(topic).unwrap();
    let worker = topic.consumer(group, &ConsumerOptions::default()).unwrap();
    let mut found = BTreeMap::new();
    loop {
        let batch = worker.receive(100, NOW).unwrap();
        if batch.is_empty() {
            return found;
        }
        for one in &batch {
            found.insert((one.partition(), one.offset()), one.attempt());
        }
        worker.ack(&receipts(&batch)).unwrap();
    }
}

fn backup(store: &Store, to: &Path) {
    let mut last = 0;
    store
        .backup(to, &mut |done, total| {
            assert!(done <= total && done >= last, "{last} {done} {total}");
            last = done;
            Ok(())
        })
        .expect("backup");
}

fn export(store: &Store, topics: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    store
        .export(topics, &mut bytes, &mut |_, _| Ok(()))
        .expect("export");
    bytes
}

fn import(store: &Store, mut bytes: &[u8]) -> libqueue::Result<libqueue::ImportStats> {
    store.import(&mut bytes, &ImportOptions::default(), &mut |_, _| Ok(()))
}

/// What is in a folder, all of it.
fn names(folder: &Path) -> Vec<String> {
    let found = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = found
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Not a test by itself: what the other processes of the tests here do.
#[test]
fn the_other_process() {
    alive::obey();
}
