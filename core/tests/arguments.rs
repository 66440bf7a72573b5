//! Arguments at their limits, and what was meant for another place.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::{NOW, consumer, open, receipts, send_numbers, topic};
use libqueue::{ConsumerOptions, ErrorKind, MessageId, Ordering, ReaderOptions};
use tempfile::TempDir;

#[test]
fn p9_receipts_of_another_group_are_stale_though_offset_and_attempt_are_the_same() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let topic = topic(&store, 1);
    send_numbers(&topic, 0..3);
    let (one, other) = (
        consumer(&topic, "one", Ordering::None, 5),
        consumer(&topic, "other", Ordering::None, 5),
    );
    let batch = receipts(&one.receive(3, NOW).unwrap());
    let theirs = receipts(&other.receive(3, NOW).unwrap());
    assert_eq!(batch[0].id, theirs[0].id);
    let mixed = [theirs[0], batch[1], theirs[2]];
    let error = other.ack(&mixed).expect_err("one is of group one");
    assert_eq!(error.kind(), ErrorKind::StaleReceipt);
    assert_eq!(error.stale_places(), &[1]);
    let acked = |name| topic.group(name).unwrap().stats().unwrap().acked;
    assert_eq!((acked("one"), acked("other")), (0, 2));
    one.ack(&batch).expect("none of them was settled");
}

#[test]
fn a_time_beyond_all_clocks_is_for_ever() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let topic = topic(&store, 1);
    send_numbers(&topic, 0..1);
    let worker = consumer(&topic, "g", Ordering::Key, 5);
    let mut reader = topic.reader(&ReaderOptions::default()).unwrap();
    let ever = Some(Duration::MAX);
    let received = worker.receive(1, ever).unwrap();
    assert_eq!(received.len(), 1);
    assert_eq!(reader.receive(1, ever).unwrap().len(), 1);
    let id: MessageId = received[0].id();
    topic.wait_durable(id, ever).unwrap();
}

#[test]
fn consumers_names_that_would_be_cut_or_garbled_are_refused() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let topic = topic(&store, 1);
    let named = |name: &str| {
        let name = Some(name.to_owned());
        let options = ConsumerOptions {
            name,
            ..ConsumerOptions::default()
        };
        topic.consumer("g", &options).map(|_| ())
    };
    for wrong in ["", "a\nb", "a\0b", &"x".repeat(97)] {
        let error = named(wrong).expect_err(wrong);
        assert_eq!(error.kind(), ErrorKind::InvalidName, "{error}");
        assert!(error.message().contains("1 to 96"), "{error}");
    }
    assert!(topic.groups().unwrap().is_empty(), "nothing was made");
    named(&"ä".repeat(48)).expect("96 bytes");
}

#[test]
fn no_dead_letters_are_no_dead_letters() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let topic = topic(&store, 1);
    send_numbers(&topic, 0..2);
    let worker = consumer(&topic, "g", Ordering::None, 5);
    let batch = receipts(&worker.receive(2, NOW).unwrap());
    worker.dead_letter(&batch, "no use").unwrap();
    let group = topic.group("g").unwrap();
    let count = |most| group.dead_letters(most).unwrap().len();
    assert_eq!((count(0), count(1), count(9)), (0, 1, 2));
}
