//! Dead letters through the public surface (P12).

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::{NOW, WAIT, consumer, number, open, receipts, send_numbers, topic};
use libqueue::{ErrorKind, GroupOptions, Message, Ordering};
use tempfile::TempDir;

#[test]
fn p12_after_max_attempts_a_message_is_one_dead_letter_with_its_story() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let topic = topic(&store, 2);
    let headers: &[(&str, &[u8])] = &[("trace", b"42")];
    let sent = topic
        .send(&Message::new(b"bad").key(b"k").headers(headers))
        .unwrap();
    let worker = consumer(&topic, "g", Ordering::Key, 3);
    for attempt in 1..=3 {
        let batch = worker.receive(10, WAIT).unwrap();
        assert_eq!(batch.len(), 1);
        assert_eq!(batch[0].attempt(), attempt);
        worker
            .nack(&receipts(&batch), None, Some("no such plane"))
            .unwrap();
    }
    assert!(worker.receive(1, NOW).unwrap().is_empty());
    let group = topic.group("g").unwrap();
    let dead = group.dead_letters(10).unwrap();
    assert_eq!(dead.len(), 1);
    let only = &dead[0];
    assert_eq!(only.message.payload(), b"bad");
    assert_eq!(only.message.key(), Some(&b"k"[..]));
    assert_eq!(
        (only.source_partition, only.source_offset),
        (sent.partition, sent.offset)
    );
    assert_eq!((only.attempts, only.failures), (3, 3));
    assert_eq!(only.error, "no such plane");
    assert!(
        only.consumer.starts_with("dead_letters-"),
        "{}",
        only.consumer
    );
    let kept: BTreeMap<&str, &[u8]> = only.message.headers().collect();
    assert_eq!(kept["trace"], b"42");
    assert_eq!(kept["lq-source-topic"], b"orders");
    let stats = group.stats().unwrap();
    assert_eq!((stats.dead_lettered, stats.lag_messages), (1, 0));
    assert!(store.topics().unwrap().contains(&"orders.g.dlq".to_owned()));
}

#[test]
fn p12_a_dead_letter_that_dies_again_tells_of_its_last_death() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let topic = topic(&store, 1);
    send_numbers(&topic, 0..3);
    let worker = consumer(&topic, "g", Ordering::None, 1);
    let batch = worker.receive(3, WAIT).unwrap();
    worker.dead_letter(&receipts(&batch), "first").unwrap();
    let dead = store.open_topic("orders.g.dlq").unwrap();
    let second = consumer(&dead, "h", Ordering::None, 1);
    let batch = second.receive(3, WAIT).unwrap();
    second
        .dead_letter(&receipts(&batch)[2..], "second")
        .unwrap();
    let letters = dead.group("h").unwrap().dead_letters(9).unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!(
        (letters[0].source_offset, &letters[0].error[..]),
        (2, "second")
    );
    let names: Vec<&str> = letters[0].message.headers().map(|(name, _)| name).collect();
    let unique: BTreeSet<&str> = names.iter().copied().collect();
    assert_eq!(names.len(), unique.len(), "{names:?}");
}

#[test]
fn p12_a_message_whose_headers_leave_no_room_for_its_story_is_a_letter_and_delays_none() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let topic = topic(&store, 1);
    let headers = vec![("h", &b"v"[..]); 65_530];
    topic.send(&Message::new(b"0").headers(&headers)).unwrap();
    send_numbers(&topic, 1..3);
    let worker = consumer(&topic, "g", Ordering::None, 1);
    let batch = worker.receive(3, WAIT).unwrap();
    worker.dead_letter(&receipts(&batch), "first").unwrap();
    let letters = topic.group("g").unwrap().dead_letters(9).unwrap();
    let offsets: Vec<u64> = letters.iter().map(|letter| letter.source_offset).collect();
    assert_eq!(offsets, [0, 1, 2]);
    let dropped = |letter: &libqueue::DeadLetterEntry| {
        let mut headers = letter.message.headers();
        let found = headers.find(|(name, _)| *name == "lq-headers-dropped");
        found.map(|(_, value)| number(value))
    };
    // 12 say where it came from, and one what was left out.
    let counts: Vec<Option<u64>> = letters.iter().map(dropped).collect();
    assert_eq!(counts, [Some(65_530 + 13 - 65_535), None, None]);
    assert_eq!(letters[0].error, "first");
    assert_eq!(letters[0].message.headers().count(), 65_535);
    // As a letter that dies again it keeps its count.
    let dead = store.open_topic("orders.g.dlq").unwrap();
    let second = consumer(&dead, "h", Ordering::None, 1);
    let batch = second.receive(1, WAIT).unwrap();
    second.dead_letter(&receipts(&batch), "second").unwrap();
    let letters = dead.group("h").unwrap().dead_letters(9).unwrap();
    assert_eq!((letters.len(), dropped(&letters[0])), (1, Some(8)));
    assert_eq!(letters[0].error, "second");
}

#[test]
fn a_dead_letter_topic_that_cannot_be_one_is_refused_when_the_group_is_made() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let topic = topic(&store, 1);
    for (name, kind) in [
        ("orders", ErrorKind::InvalidArgument),
        ("a/b", ErrorKind::InvalidName),
    ] {
        let options = GroupOptions {
            dead_letter_topic: Some(libqueue::DeadLetter::Topic(name.to_owned())),
            ..GroupOptions::default()
        };
        let error = topic.create_group("g", &options).err().unwrap();
        assert_eq!(error.kind(), kind, "{error}");
    }
    assert!(topic.groups().unwrap().is_empty());
}
