//! Changing a filter, what is stored of it, and what files hold of what it leaves out.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use libqueue::{ErrorKind, Filter, Group, GroupOptions, Message, MessageState, inspect};
use tempfile::TempDir;

use super::common::worker::Worker;
use super::common::{NOW, number, open, receipts, topic};
use super::{TAKE, consumer, empty, intact, send, send_others, stats, with};

fn set(group: &Group, filter: &str) {
    group.configure(&with(filter)).unwrap();
}

#[test]
fn a_changed_filter_holds_in_every_process_for_what_was_not_looked_at_yet() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let topic = topic(&store, 1);
    let group = topic.create_group("g", &with(TAKE)).unwrap();
    let worker = consumer(&topic, GroupOptions::default());
    let mut other = Worker::start("other", folder.path());
    send(&topic, 0, false, None);
    send(&topic, 1, true, Some(b"k"));
    send(&topic, 2, true, Some(b"k"));
    assert_eq!(other.ask("take 9"), "1", "1 is out, 2 waits for it");
    set(&group, r#"{"not": {"headers": {"take": true}}}"#);
    send(&topic, 3, false, None);
    send(&topic, 4, true, None);
    assert_eq!(empty(&worker), [3]);
    assert_eq!(other.ask("ack"), "acked");
    assert_eq!(empty(&worker), [2], "taken in by the filter that was");
    set(&group, "{}");
    assert_eq!(group.config().filter, None);
    send(&topic, 5, true, None);
    send(&topic, 6, false, None);
    assert_eq!(other.ask("forget"), "1");
    assert_eq!(other.ask("take 9"), "2");
    assert_eq!(stats(&topic).filtered, 2, "0 and 4");
    // While somebody receives all the time: what is sent after the change goes by it.
    for round in 0..40_u64 {
        let takes = round % 2 == 0;
        set(
            &group,
            if takes {
                TAKE
            } else {
                r#"{"headers": {"take": false}}"#
            },
        );
        send(&topic, 100 + round, true, None);
        send(&topic, 200 + round, false, None);
        let wanted = if takes { 100 } else { 200 } + round;
        assert_eq!(empty(&worker), [wanted]);
    }
}

#[test]
fn a_filter_is_stored_and_a_contradiction_and_a_bad_one_are_errors_of_their_own() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let topic_ = topic(&store, 1);
    let stored = r#"{"key_prefix":"eu-","headers":{"test":false}}"#;
    let given = r#" {"headers": {"test": false}, "key_prefix": "eu-"} "#;
    topic_.create_group("g", &with(given)).unwrap();
    topic_.create_group("all", &with("{}")).unwrap();
    drop(topic_);
    store.close().unwrap();
    let meta = |group: &str| {
        let path = folder
            .path()
            .join(format!("topics/orders/groups/{group}/group.meta"));
        fs::read_to_string(path).unwrap()
    };
    assert!(
        meta("g").contains(&format!("\nfilter={stored}\n")),
        "{}",
        meta("g")
    );
    assert!(!meta("all").contains("filter"), "only where there is one");
    let store = open(folder.path());
    let topic = topic(&store, 1);
    let group = topic.create_group("g", &with(given)).unwrap();
    assert_eq!(group.config().filter.unwrap().as_str(), stored);
    topic.create_group("g", &GroupOptions::default()).unwrap();
    let lease = Some(Duration::from_secs(60));
    let other = GroupOptions {
        lease,
        ..GroupOptions::default()
    };
    group.configure(&other).unwrap();
    assert_eq!(group.config().filter.unwrap().as_str(), stored, "stays");
    for wrong in [TAKE, "{}"] {
        let error = topic.create_group("g", &with(wrong)).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::ConfigMismatch);
        let message = error.message();
        assert!(
            message.contains(stored) && message.contains("configure"),
            "{message}"
        );
    }
    assert!(topic.create_group("all", &with(TAKE)).is_err());
    let error = Filter::parse(r#"{"any": [{"keys": "a"}]}"#).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidFilter);
    assert!(error.message().contains("filter.any[0].keys"), "{error}");
}

#[test]
fn a_message_that_is_left_out_is_settled_for_those_who_look_at_it_by_its_id() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let topic = topic(&store, 1);
    let group = topic.create_group("g", &with(TAKE)).unwrap();
    send(&topic, 0, true, None);
    send_others(&topic, 1_500);
    let last = topic.send(&Message::new(b"last")).unwrap();
    assert_eq!(group.peek(0, 1).unwrap().state, MessageState::Fresh);
    let error = group.settle(last).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StaleReceipt, "{error}");
    for (offset, state) in [
        (0, MessageState::Ready),
        (1, MessageState::Settled),
        (last.offset, MessageState::Settled),
    ] {
        assert_eq!(group.peek(0, offset).unwrap().state, state, "{offset}");
    }
    assert_eq!(group.stats().unwrap().filtered, 1_501);
    let worker = consumer(&topic, GroupOptions::default());
    assert_eq!(empty(&worker), [0]);
}

/// Where each record of a segment begins.
fn places(segment: &Path) -> Vec<u64> {
    let bytes = fs::read(segment).unwrap();
    let (mut at, mut found) = (4096, Vec::new());
    loop {
        let length = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        if length == 0 {
            return found;
        }
        found.push(at as u64);
        at += (length as usize).next_multiple_of(8);
    }
}

#[test]
fn p3_damage_among_what_is_left_out_is_told_of_once_and_takes_nothing_else() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let topic = topic(&store, 1);
    for number in 0..40 {
        send(&topic, number, number % 10 == 9, Some(b"key"));
    }
    let segment = folder
        .path()
        .join("topics/orders/0/00000000000000000000.log");
    let file = fs::OpenOptions::new().write(true).open(&segment).unwrap();
    // A byte of the key, of what says how long the headers are, and of the payload.
    for (number, at) in [(5, 48), (15, 40), (25, 51)] {
        let place = places(&segment)[number];
        file.write_all_at(&[0xA5], place + at).unwrap();
    }
    let worker = consumer(&topic, with(TAKE));
    let (mut found, mut errors) = (Vec::new(), Vec::new());
    loop {
        match worker.receive(9, NOW) {
            Ok(batch) if batch.is_empty() => break,
            Ok(batch) => {
                worker.ack(&receipts(&batch)).unwrap();
                found.extend(batch.iter().map(|one| number(one.payload())));
            }
            Err(error) => errors.push(error),
        }
    }
    assert_eq!(found, [9, 19, 29, 39]);
    let kinds: Vec<ErrorKind> = errors.iter().map(|error| error.kind()).collect();
    assert_eq!(kinds, [ErrorKind::Damaged; 3], "{errors:?}");
    let told = stats(&topic);
    assert_eq!((told.damaged, told.filtered, told.lag_messages), (3, 33, 0));
    assert!(worker.receive(9, NOW).unwrap().is_empty(), "once");
}

#[test]
fn a_copy_of_a_store_keeps_the_filter_and_what_it_left_out() {
    let folder = TempDir::new().unwrap();
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    let store = open(&from);
    let topic_ = topic(&store, 1);
    let worker = consumer(&topic_, with(TAKE));
    for number in 0..100 {
        send(&topic_, number, number % 10 == 0, None);
    }
    let batch = worker.receive(4, NOW).unwrap();
    worker.ack(&receipts(&batch[1..])).unwrap();
    drop((batch, worker, topic_));
    store.close().unwrap();
    let recovered = inspect::recover(&from, &to, &mut |_, _| Ok(())).unwrap();
    assert!(recovered.losses.is_empty(), "{recovered:?}");
    intact(&to);
    let store = open(&to);
    let topic = topic(&store, 1);
    let group = topic.group("g").unwrap();
    assert_eq!(group.config().filter, Some(Filter::parse(TAKE).unwrap()));
    let before = group.stats().unwrap().filtered;
    let worker = consumer(&topic, GroupOptions::default());
    assert_eq!(empty(&worker), [0, 40, 50, 60, 70, 80, 90]);
    let told = group.stats().unwrap();
    assert_eq!((told.filtered, told.lag_messages), (90, 0));
    assert!(before < 90, "the rest was judged by the copy");
}
