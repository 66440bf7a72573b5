//! An export of any bytes: as it comes, and with every checksum and number put right, so that what
//! the blocks say is looked at. Either it is imported, and the store is whole, or nothing is.

use std::time::Duration;

use super::input::Input;
use super::scratch::Scratch;
use super::steps::in_time;
use crate::error::Result;
use crate::format::checksum::crc32;
use crate::format::export::{BLOCK, Block, GROUP, HEAD, TOPIC, head, named, read_named};
use crate::inspect;
use crate::options::{StoreOptions, TopicOptions};
#[cfg(test)]
use crate::store::ExportStats;
use crate::store::{ConsumerOptions, ImportOptions, ImportStats, Message, Store};

/// Blocks that are put right, at most.
const MOST: u32 = 64;

/// The bytes of an export.
pub(super) fn import(data: &[u8]) {
    try_one(data);
    try_one(&put_right(data));
}

/// Heads and checksums are as they have to be; bodies are as they are.
fn put_right(data: &[u8]) -> Vec<u8> {
    let mut made = head().to_vec();
    let mut input = Input(data.get(HEAD..).unwrap_or_default());
    for number in 0..MOST {
        let Some((start, rest)) = input.0.split_first_chunk::<BLOCK>() else {
            break;
        };
        let block = Block::decode(start);
        let length = (block.length as usize).min(rest.len());
        let (body, behind) = rest.split_at(length);
        let body = match block.kind {
            TOPIC | GROUP => settings_put_right(body),
            _ => body.to_vec(),
        };
        made.extend_from_slice(&Block::of(block.kind, number, &body));
        made.extend_from_slice(&body);
        input.0 = behind;
    }
    made
}

/// The checksum of the text behind a name.
fn settings_put_right(body: &[u8]) -> Vec<u8> {
    let parts = read_named(body).and_then(|(name, text)| {
        let text = std::str::from_utf8(text).ok()?;
        let (covered, _) = text.rsplit_once("crc=")?;
        Some((
            name,
            format!("{covered}crc={:08x}\n", crc32(covered.as_bytes())),
        ))
    });
    parts.map_or_else(
        || body.to_vec(),
        |(name, text)| named(name, text.as_bytes()),
    )
}

/// JSON lines.
pub(super) fn import_lines(mut data: &[u8]) {
    try_by(|store| store.import_lines(&mut data, &ImportOptions::default(), &mut |_, _| Ok(())));
}

fn try_one(mut bytes: &[u8]) {
    try_by(|store| store.import(&mut bytes, &ImportOptions::default(), &mut |_, _| Ok(())));
}

fn try_by(import: impl FnOnce(&Store) -> Result<ImportStats>) {
    let scratch = Scratch::new();
    let path = scratch.path().join("store");
    let store = Store::open(&path, StoreOptions::default()).expect("open");
    let done = import(&store);
    let topics = store.topics().expect("topics");
    match &done {
        Ok(stats) => assert_eq!(topics.len() as u64, stats.topics),
        Err(_) => assert_eq!(topics, Vec::<String>::new()),
    }
    // Whatever a group was said to be, it can be used.
    for name in topics {
        let topic = store.open_topic(&name).expect("topic");
        topic.stats().expect("stats");
        if topic.group("g").is_ok() {
            in_time("receive", || {
                let consumer = topic.consumer("g", &ConsumerOptions::default())?;
                let batch = consumer.receive(9, Some(Duration::ZERO))?;
                let receipts: Vec<_> = batch.iter().map(|one| one.receipt()).collect();
                consumer.ack(&receipts)
            })
            .expect("the group goes on");
        }
    }
    store.close().expect("close");
    let report = inspect::verify(&path, &mut |_, _| Ok(())).expect("a store");
    assert_eq!(report.damage, [], "{done:?}");
}

/// An export of a store with some of everything.
#[cfg(test)]
pub(super) fn seed() -> Vec<u8> {
    let mut bytes = Vec::new();
    with_some_of_everything(|store| store.export(&[], &mut bytes, &mut |_, _| Ok(())));
    bytes
}

/// The same as lines, and lines as people write them.
#[cfg(test)]
pub(super) fn seeds_of_lines() -> Vec<Vec<u8>> {
    let mut bytes = Vec::new();
    with_some_of_everything(|store| store.export_lines(&[], &mut bytes, &mut |_, _| Ok(())));
    let by_hand = r#"
{"topic_config": {"topic": "t", "partitions": "3"}}
{"topic": "t", "payload": "\ud83d\ude00", "key": "k", "headers": {"h": {"base64": "/w=="}}}
{"topic": "u", "payload_base64": "AAE=", "headers": [["h", "1"], ["h", "2"]], "priority": 3}
{"topic": "t", "payload": "x", "partition": 2, "offset": 7, "timestamp_ns": -1, "delay": 0.5}
{"topic": "t", "payload": "x", "deliver_at_ms": 9223372036854775807, "ttl": -1e3}
{"log_end": {"topic": "t", "partition": 2, "next_offset": 9}}
{"end": {"topics": 2, "groups": 0, "messages": 4}}"#;
    vec![bytes, by_hand.as_bytes().to_vec()]
}

#[cfg(test)]
fn with_some_of_everything(export: impl FnOnce(&Store) -> Result<ExportStats>) {
    let scratch = Scratch::new();
    let store = Store::open(scratch.path().join("seed"), StoreOptions::default()).expect("open");
    let topic = store.topic("t", &TopicOptions::default()).expect("topic");
    let headers = [("name", &b"value"[..])];
    for number in 0..9_u8 {
        let payload = [number; 3];
        let message = Message::new(&payload).headers(&headers).priority(number);
        topic.send(&message.key(&[number % 2])).expect("send");
    }
    let consumer = topic
        .consumer("g", &ConsumerOptions::default())
        .expect("consumer");
    let batch = consumer.receive(2, Some(Duration::ZERO)).expect("receive");
    let receipts: Vec<_> = batch.iter().map(|one| one.receipt()).collect();
    consumer.ack(&receipts[..1]).expect("ack");
    consumer.dead_letter(&receipts[1..], "no").expect("dead");
    topic
        .group("g")
        .expect("group")
        .snapshot("s")
        .expect("snapshot");
    export(&store).expect("export");
}
