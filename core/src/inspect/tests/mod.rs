//! Stores made through the public API, then damaged byte by byte.

mod crashes;
mod damage;
mod dumps;
mod flips;
mod invariants;
mod ledgers;
mod lives;
mod replay;
mod retention;
mod windows;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Report, verify};
use crate::{
    ConsumerOptions, Message, ReaderOptions, Start, Store, StoreOptions, Topic, TopicOptions,
};

/// Where records begin.
const RECORDS: u64 = 4096;

fn quietly(path: &Path) -> Report {
    verify(path, &mut |_, _| Ok(())).expect("a store")
}

/// A topic with one partition, so that the tests know where everything is.
fn topic(store: &Store, name: &str) -> Topic {
    let options = TopicOptions {
        partitions: Some(1),
        ..TopicOptions::default()
    };
    store.topic(name, &options).expect("topic")
}

fn open(path: &Path) -> Store {
    Store::open(path, StoreOptions::default()).expect("open")
}

fn send(topic: &Topic, key: &str, payload: &[u8]) {
    let message = Message {
        key: Some(key.as_bytes()),
        headers: &[("trace", b"42")],
        payload,
        ..Message::default()
    };
    topic.send(&message).expect("send");
}

/// A few messages, a group that settled the first of them and has fetched none now; still open.
fn fill(path: &Path) -> Store {
    let store = open(path);
    let topic = topic(&store, "t");
    for number in 0..4_u8 {
        send(&topic, "key", &[b'a' + number; 20]);
    }
    let options = ConsumerOptions::default();
    let consumer = topic.consumer("g", &options).expect("consumer");
    let got = consumer
        .receive(1, Some(Duration::from_secs(20)))
        .expect("receive");
    consumer.ack(&[got[0].receipt()]).expect("ack");
    consumer.close().expect("close");
    drop((consumer, topic));
    store
}

/// The same store, closed cleanly.
fn small(path: &Path) {
    fill(path).close().expect("close");
}

/// Two segments: the first one is full and was looked into, so that it has an index.
fn rolled(path: &Path) {
    let store = open(path);
    let topic = topic(&store, "t");
    for number in 0..40_u8 {
        send(&topic, "key", &vec![number; 40_000]);
    }
    let from = ReaderOptions {
        start: Start::Offset(20),
        ..ReaderOptions::default()
    };
    let mut reader = topic.reader(&from).expect("reader");
    let found = reader.receive(1, Some(Duration::from_secs(20)));
    assert_eq!(found.expect("receive")[0].offset(), 20);
    drop((reader, topic));
    store.close().expect("close");
}

fn partition(store: &Path) -> PathBuf {
    store.join("topics/t/0")
}

fn first_segment(store: &Path) -> PathBuf {
    partition(store).join("00000000000000000000.log")
}

fn window(store: &Path) -> PathBuf {
    store.join("topics/t/groups/g/0.window")
}

/// Changes bytes of a file and gives those that were there.
fn put(path: &Path, at: u64, bytes: &[u8]) -> Vec<u8> {
    use std::os::unix::fs::FileExt;
    let file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .expect("open");
    let mut old = vec![0; bytes.len()];
    file.read_exact_at(&mut old, at).expect("read");
    file.write_all_at(bytes, at).expect("write");
    old
}

/// Flips bits of one byte; the byte as it was.
fn flip(path: &Path, at: u64, bits: u8) -> u8 {
    let byte = put(path, at, &[0])[0];
    put(path, at, &[byte ^ bits]);
    byte
}

fn word(path: &Path, at: u64) -> u64 {
    crate::format::u64_at(&fs::read(path).expect("read"), at as usize)
}

/// A copy of a store as a crash leaves it: the files of an open one.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("folder");
    for entry in fs::read_dir(from).expect("list") {
        let entry = entry.expect("entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("type").is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("copy");
        }
    }
}
