//! Groups that hand out at most once (P7): each message is settled before it is returned.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::{NOW, number, open, receipts, send_numbers, topic};
use libqueue::{
    Backoff, Consumer, ConsumerOptions, DeliveryMode, Durability, ErrorKind, GroupOptions, Message,
    OnExpired, Ordering, ReceiveOptions, Result, Store, StoreOptions, Topic, TopicOptions,
};
use tempfile::TempDir;

const CHILD: &str = "LIBQUEUE_TEST_ONCE_CHILD";

fn once() -> GroupOptions {
    GroupOptions {
        delivery: Some(DeliveryMode::AtMostOnce),
        ..GroupOptions::default()
    }
}

fn with(group: GroupOptions) -> ConsumerOptions {
    ConsumerOptions {
        group,
        ..ConsumerOptions::default()
    }
}

fn consumer(topic: &Topic) -> Consumer {
    topic.consumer("g", &with(once())).expect("consumer")
}

fn refused<T>(done: Result<T>, kind: ErrorKind, named: &str) {
    let Err(error) = done else {
        panic!("{named} is taken");
    };
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.message().contains(named), "{named}: {error}");
}

#[test]
fn p7_options_that_are_about_leases_and_failures_contradict_it_and_each_is_named() {
    let folder = TempDir::new().unwrap();
    let (store, second) = (open(folder.path()), Some(Duration::from_secs(1)));
    let topic = topic(&store, 1);
    let all: [(&str, GroupOptions); 4] = [
        (
            "lease",
            GroupOptions {
                lease: second,
                ..GroupOptions::default()
            },
        ),
        (
            "max_lease",
            GroupOptions {
                max_lease: second,
                ..GroupOptions::default()
            },
        ),
        (
            "max_attempts",
            GroupOptions {
                max_attempts: Some(3),
                ..GroupOptions::default()
            },
        ),
        (
            "backoff",
            GroupOptions {
                backoff: Some(Backoff::default()),
                ..GroupOptions::default()
            },
        ),
    ];
    for (name, options) in all.clone() {
        let delivery = Some(DeliveryMode::AtMostOnce);
        let options = GroupOptions {
            delivery,
            ..options
        };
        refused(
            topic.create_group("g", &options),
            ErrorKind::InvalidArgument,
            name,
        );
    }
    assert!(topic.groups().unwrap().is_empty());
    let options = GroupOptions {
        dead_letter_topic: Some(libqueue::DeadLetter::Drop),
        on_expired: Some(OnExpired::DeadLetter),
        ordering: Some(Ordering::None),
        ..once()
    };
    let group = topic.create_group("g", &options).unwrap();
    assert!(group.config().is_at_most_once());
    for (name, options) in all {
        let opened = topic.consumer("g", &with(options.clone()));
        refused(opened, ErrorKind::InvalidArgument, name);
        refused(group.configure(&options), ErrorKind::InvalidArgument, name);
    }
    let mine = ConsumerOptions {
        lease: second,
        ..ConsumerOptions::default()
    };
    refused(
        topic.consumer("g", &mine),
        ErrorKind::InvalidArgument,
        "lease",
    );
    let mine = ConsumerOptions {
        auto_extend: true,
        ..ConsumerOptions::default()
    };
    refused(
        topic.consumer("g", &mine),
        ErrorKind::InvalidArgument,
        "auto_extend",
    );
    let consumer = topic.consumer("g", &ConsumerOptions::default()).unwrap();
    let ask = ReceiveOptions {
        lease: second,
        timeout: NOW,
        ..ReceiveOptions::default()
    };
    refused(
        consumer.receive_with(&ask),
        ErrorKind::InvalidArgument,
        "lease",
    );
}

#[test]
fn p7_the_mode_is_stored_and_never_changes() {
    let folder = TempDir::new().unwrap();
    let least = GroupOptions {
        delivery: Some(DeliveryMode::AtLeastOnce),
        ..GroupOptions::default()
    };
    for _ in 0..2 {
        let store = open(folder.path());
        let topic = topic(&store, 1);
        let group = topic.create_group("once", &once()).unwrap();
        topic
            .create_group("plain", &GroupOptions::default())
            .unwrap();
        topic.create_group("plain", &least).unwrap();
        refused(
            topic.create_group("plain", &once()),
            ErrorKind::ConfigMismatch,
            "another group",
        );
        refused(
            topic.create_group("once", &least),
            ErrorKind::ConfigMismatch,
            "at_most_once",
        );
        refused(
            group.configure(&least),
            ErrorKind::InvalidArgument,
            "another group",
        );
        group.configure(&once()).unwrap();
        let changes = GroupOptions {
            on_expired: Some(OnExpired::DeadLetter),
            ..once()
        };
        group.configure(&changes).unwrap();
        assert_eq!(group.config().delivery, DeliveryMode::AtMostOnce);
        assert_eq!(
            topic.group("plain").unwrap().config().delivery,
            DeliveryMode::AtLeastOnce
        );
        store_closed(store, topic);
    }
}

fn store_closed(store: Store, topic: Topic) {
    drop(topic);
    drop(store);
}

#[test]
fn p7_what_is_returned_is_settled_and_a_settle_call_afterwards_brings_nothing_back() {
    for durability in [Durability::Process, Durability::Sync] {
        let folder = TempDir::new().unwrap();
        let options = StoreOptions {
            durability,
            ..StoreOptions::default()
        };
        let store = Store::open(folder.path(), options).unwrap();
        let topic = topic(&store, 2);
        send_numbers(&topic, 0..10);
        let consumer = consumer(&topic);
        let batch = consumer.receive(10, NOW).unwrap();
        assert_eq!(batch.len(), 10);
        let group = topic.group("g").unwrap();
        let stats = group.stats().unwrap();
        assert_eq!((stats.lag_messages, stats.leased, stats.acked), (0, 0, 10));
        assert!(batch.iter().all(|one| one.deadline_ns() == i64::MAX));
        batch[0].start();
        let all = receipts(&batch);
        consumer.ack(&all).unwrap();
        consumer.ack(&all).unwrap();
        consumer.nack(&all[..3], NOW, Some("no use")).unwrap();
        let second = Duration::from_secs(1);
        let kind = ErrorKind::InvalidArgument;
        refused(consumer.release(&all), kind, "settled before");
        refused(consumer.extend(&all, second), kind, "settled before");
        refused(consumer.dead_letter(&all, "x"), kind, "settled before");
        let mut forged = all[0];
        forged.epoch ^= 1;
        let mut early = all[0];
        early.id.offset = 1 << 40;
        let error = consumer.ack(&[forged, all[1], early]).unwrap_err();
        assert_eq!(error.stale_places(), [0, 2]);
        assert!(consumer.receive(10, NOW).unwrap().is_empty());
        let counts = &group.consumers().unwrap()[0];
        assert_eq!((counts.delivered, counts.acked, counts.failed), (10, 10, 3));
        let stats = group.stats().unwrap();
        assert_eq!(
            (stats.failed, stats.delayed, stats.dead_lettered),
            (3, 0, 0)
        );
        consumer.drain(NOW).unwrap();
    }
}

#[test]
fn p7_p11_keys_priorities_delays_and_expiry_are_as_elsewhere() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let topic = topic(&store, 1);
    let options = GroupOptions {
        on_expired: Some(OnExpired::DeadLetter),
        ..once()
    };
    let consumer = topic.consumer("g", &with(options)).unwrap();
    let ms = Duration::from_millis;
    topic.send(&Message::new(b"late").ttl(ms(1))).unwrap();
    topic.send(&Message::new(b"delayed").delay(ms(30))).unwrap();
    topic.send(&Message::new(b"first").key(b"k")).unwrap();
    topic.send(&Message::new(b"second").key(b"k")).unwrap();
    topic.send(&Message::new(b"urgent").priority(9)).unwrap();
    std::thread::sleep(ms(2));
    let mut found = Vec::new();
    while found.len() < 4 {
        let batch = consumer.receive(1, common::WAIT).unwrap();
        assert_eq!(batch.len(), 1);
        found.push(String::from_utf8_lossy(batch[0].payload()).into_owned());
    }
    let at = |text: &str| found.iter().position(|one| one == text).unwrap();
    assert_eq!(at("urgent"), 0);
    assert!(at("first") < at("second") && at("delayed") > 0, "{found:?}");
    let group = topic.group("g").unwrap();
    let letters = group.dead_letters(9).unwrap();
    assert_eq!(letters.len(), 1, "too late, and for nobody");
    assert_eq!(letters[0].message.payload(), b"late");
    assert_eq!(group.stats().unwrap().expired, 1);
}

#[test]
fn p7_a_receive_that_waits_for_more_hands_over_all_it_has_and_a_close_hands_back_the_rest() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let topic = topic(&store, 1);
    send_numbers(&topic, 0..5);
    let (one, other) = (consumer(&topic), consumer(&topic));
    let ask = ReceiveOptions {
        max_messages: 9,
        min_messages: 9,
        timeout: Some(Duration::from_secs(20)),
        ..ReceiveOptions::default()
    };
    let mut gathering = one.receiving(&ask).unwrap();
    assert!(one.gather(&mut gathering, NOW).unwrap().is_none());
    assert!(
        other.receive(9, NOW).unwrap().is_empty(),
        "they wait with the call"
    );
    send_numbers(&topic, 0..4);
    let batch = one.gather(&mut gathering, None).unwrap().unwrap();
    assert_eq!(batch.len(), 9);
    send_numbers(&topic, 0..3);
    let mut gathering = one.receiving(&ask).unwrap();
    assert!(one.gather(&mut gathering, NOW).unwrap().is_none());
    one.close().unwrap();
    assert_eq!(other.receive(9, NOW).unwrap().len(), 3);
    drop(gathering);
    assert!(other.receive(9, NOW).unwrap().is_empty());
    let limited = ReceiveOptions {
        max_messages: 9,
        max_bytes: Some(1),
        timeout: NOW,
        ..ask
    };
    send_numbers(&topic, 0..3);
    let limited = ReceiveOptions {
        min_messages: 1,
        ..limited
    };
    for _ in 0..3 {
        assert_eq!(
            other.receive_with(&limited).unwrap().len(),
            1,
            "the rest did not fit"
        );
    }
}

fn sync_topic(folder: &Path, durability: Durability) -> (Store, Topic) {
    let options = StoreOptions {
        durability,
        ..StoreOptions::default()
    };
    let store = Store::open(folder, options).expect("open");
    let partitions = Some(2);
    let topic = store.topic(
        "orders",
        &TopicOptions {
            partitions,
            ..TopicOptions::default()
        },
    );
    (store, topic.expect("topic"))
}

/// Not a test by itself: says each message that it is handed, until it is killed.
#[test]
fn the_other_process() {
    let Ok(task) = std::env::var(CHILD) else {
        return;
    };
    let (mode, folder) = task.split_once(':').unwrap();
    let durability = match mode {
        "sync" => Durability::Sync,
        _ => Durability::Process,
    };
    let (_store, topic) = sync_topic(Path::new(folder), durability);
    let consumer = consumer(&topic);
    let mut out = std::io::stdout().lock();
    writeln!(out, "\nready").unwrap();
    loop {
        let batch = consumer
            .receive(BATCH, Some(Duration::from_secs(1)))
            .unwrap();
        if batch.is_empty() {
            return;
        }
        for one in batch {
            writeln!(out, "did {}", number(one.payload())).unwrap();
        }
    }
}

const BATCH: usize = 5;
/// So many messages for each two that are killed.
const SOME: u64 = 1000;

fn child(mode: &str, folder: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_other_process", "--nocapture"])
        .env(CHILD, format!("{mode}:{}", folder.display()))
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap()
}

#[test]
fn p7_killed_consumers_were_handed_nothing_twice_and_lose_at_most_what_they_were_handed() {
    for (mode, durability) in [("process", Durability::Process), ("sync", Durability::Sync)] {
        let folder = TempDir::new().unwrap();
        let (_store, topic) = sync_topic(folder.path(), durability);
        topic.create_group("g", &once()).unwrap();
        let (mut said, mut kills) = (Vec::new(), 0);
        for round in 0..6 {
            send_some(&topic, round * SOME..(round + 1) * SOME);
            let children = [0, 1].map(|_| child(mode, folder.path()));
            for (turn, mut child) in children.into_iter().enumerate() {
                let mut lines = BufReader::new(child.stdout.take().unwrap())
                    .lines()
                    .map_while(std::result::Result::ok)
                    .filter_map(|line| Some(line.strip_prefix("did ")?.parse::<u64>().unwrap()));
                let some = 3 + round as usize * 11 + turn * 29;
                said.extend(lines.by_ref().take(some));
                child.kill().unwrap();
                child.wait().unwrap();
                said.extend(lines);
                kills += 1;
            }
        }
        let mine = consumer(&topic);
        loop {
            let batch = mine.receive(100, Some(Duration::from_millis(200))).unwrap();
            if batch.is_empty() {
                break;
            }
            said.extend(batch.iter().map(|one| number(one.payload())));
        }
        let once: BTreeSet<u64> = said.iter().copied().collect();
        assert_eq!(once.len(), said.len(), "{mode}: handed out twice");
        let lost = 6 * SOME as usize - once.len();
        assert!(
            lost <= kills * BATCH,
            "{mode}: {lost} are lost of {kills} kills"
        );
        let stats = topic.group("g").unwrap().stats().unwrap();
        assert_eq!((stats.lag_messages, stats.redelivered), (0, 0), "{mode}");
    }
}

/// All of one batch, so that a sync is one.
fn send_some(topic: &Topic, numbers: std::ops::Range<u64>) {
    let texts: Vec<String> = numbers.map(|number| number.to_string()).collect();
    let keys: Vec<[u8; 1]> = (0..texts.len()).map(|place| [(place % 7) as u8]).collect();
    let messages: Vec<Message<'_>> = texts
        .iter()
        .zip(&keys)
        .map(|(text, key)| Message::new(text.as_bytes()).key(key))
        .collect();
    topic.send_many(&messages).unwrap();
}
