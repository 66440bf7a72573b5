//! Configuring and pausing a group while others are at work in it.

#![allow(clippy::unwrap_used)]

mod common;

use std::sync::atomic::{AtomicBool, Ordering as Memory};
use std::time::{Duration, Instant};

use common::worker::{self, Worker};
use common::{NOW, consumer, number, open, quick, receipts, send_numbers, topic, with_group};
use libqueue::{
    Consumer, ConsumerOptions, DeadLetter, ErrorKind, GroupOptions, Message, Ordering, Start,
};
use tempfile::TempDir;

#[test]
fn the_other_process() {
    worker::obey();
}

#[test]
fn a_configuration_is_in_force_in_every_process_at_its_next_call_and_after_all_have_left() {
    let folder = TempDir::new().unwrap();
    let (store, topic, group) = with_group(&folder);
    send_numbers(&topic, 0..10);
    let mut other = Worker::start("other", folder.path());
    assert_eq!(other.ask("take 1"), "1");
    assert_eq!(other.ask("lease"), "30");
    let changes = GroupOptions {
        lease: Some(Duration::from_secs(500)),
        max_attempts: Some(1),
        ..GroupOptions::default()
    };
    group.configure(&changes).unwrap();
    assert_eq!(
        other.ask("lease"),
        "30",
        "a lease that is out keeps its time"
    );
    assert_eq!(other.ask("take 1"), "2");
    assert_eq!(other.ask("lease"), "500");
    // Two hand-outs that fail for the first time, which is now the last.
    assert_eq!(other.ask("nack"), "nacked");
    assert_eq!(group.stats().unwrap().dead_lettered, 2);
    // What is stored is what a new opening has to agree with.
    let wrong = ConsumerOptions {
        group: GroupOptions {
            max_attempts: Some(5),
            ..GroupOptions::default()
        },
        ..ConsumerOptions::default()
    };
    let error = topic.consumer("g", &wrong).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::ConfigMismatch);
    drop((other, group, topic));
    store.close().unwrap();
    let store = open(folder.path());
    let config = store
        .open_topic("orders")
        .unwrap()
        .group("g")
        .unwrap()
        .config();
    assert_eq!(config.lease, Duration::from_secs(500));
    assert_eq!((config.max_attempts, config.window), (1, 65_536));
}

#[test]
fn p12_dead_letters_go_to_the_topic_that_is_configured_and_to_no_other() {
    let folder = TempDir::new().unwrap();
    let (store, topic, group) = with_group(&folder);
    send_numbers(&topic, 0..6);
    let changes = |target: DeadLetter| GroupOptions {
        dead_letter_topic: Some(target),
        ..GroupOptions::default()
    };
    let worker = topic.consumer("g", &ConsumerOptions::default()).unwrap();
    let took = worker.receive(6, NOW).unwrap();
    let kill = |of: std::ops::Range<usize>| {
        worker.dead_letter(&receipts(&took[of]), "no").unwrap();
        group.stats().unwrap().dead_lettered
    };
    assert_eq!(kill(0..2), 2);
    let elsewhere = changes(DeadLetter::Topic("dead".into()));
    assert_eq!(
        group.configure(&elsewhere).unwrap_err().kind(),
        ErrorKind::Busy
    );
    assert_eq!(group.purge_dead_letters(None).unwrap(), 2);
    group.configure(&elsewhere).unwrap();
    assert_eq!(group.dead_letter_topic().as_deref(), Some("dead"));
    assert_eq!(kill(2..4), 4);
    assert_eq!(group.purge_dead_letters(None).unwrap(), 2);
    group.configure(&changes(DeadLetter::Drop)).unwrap();
    assert_eq!(kill(4..5), 5);
    group.configure(&changes(DeadLetter::Default)).unwrap();
    assert_eq!(kill(5..6), 6);
    let offsets = |name: &str| -> Vec<u64> {
        let reader = store.open_topic(name).unwrap();
        let mut reader = reader.reader(&Default::default()).unwrap();
        let all = reader.receive(99, NOW).unwrap();
        all.iter().map(|one| number(one.payload())).collect()
    };
    assert_eq!(offsets("orders.g.dlq"), [0, 1, 5]);
    assert_eq!(offsets("dead"), [2, 3]);
    let itself = group.configure(&changes(DeadLetter::Topic("orders".into())));
    assert_eq!(itself.unwrap_err().kind(), ErrorKind::InvalidArgument);
}

#[test]
fn p11_order_by_key_is_refused_while_messages_are_out_that_are_not_known_by_key() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let topic = topic(&store, 1);
    let worker = consumer(&topic, "g", Ordering::None, 5);
    let group = topic.group("g").unwrap();
    let send = |payload: &str| {
        let message = Message::new(payload.as_bytes()).key(b"k");
        topic.send(&message).unwrap();
    };
    ["0", "1"].iter().for_each(|payload| send(payload));
    let took = worker.receive(2, NOW).unwrap();
    assert_eq!(took.len(), 2, "without order");
    let by_key = GroupOptions {
        ordering: Some(Ordering::Key),
        ..GroupOptions::default()
    };
    let error = group.configure(&by_key).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy);
    assert!(error.message().contains("2 messages"), "{error}");
    assert_eq!(group.config().ordering, Ordering::None);
    send("2");
    assert_eq!(
        worker.receive(9, NOW).unwrap().len(),
        1,
        "it goes on as before"
    );
    worker.ack(&receipts(&took)).unwrap();
    assert_eq!(
        group.configure(&by_key).unwrap_err().kind(),
        ErrorKind::Busy
    );
    drop(worker);
    let worker = topic.consumer("g", &ConsumerOptions::default()).unwrap();
    worker
        .ack(&receipts(&worker.receive(9, NOW).unwrap()))
        .unwrap();
    // Sent, and not taken in: of these the keys are known.
    ["3", "4"].iter().for_each(|payload| send(payload));
    group.configure(&by_key).unwrap();
    assert_eq!(
        worker.receive(9, NOW).unwrap().len(),
        1,
        "one of the key at a time"
    );
    let none = GroupOptions {
        ordering: Some(Ordering::None),
        ..GroupOptions::default()
    };
    group.configure(&none).unwrap();
    send("5");
    assert_eq!(worker.receive(9, NOW).unwrap().len(), 1, "flows past");
}

#[test]
fn what_cannot_be_changed_is_refused_with_what_to_do() {
    let folder = TempDir::new().unwrap();
    let (_store, _topic, group) = with_group(&folder);
    let window = GroupOptions {
        window: Some(1 << 20),
        lease: Some(Duration::from_secs(1)),
        ..GroupOptions::default()
    };
    let error = group.configure(&window).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.message().contains("make another group"), "{error}");
    assert_eq!(
        group.config().lease,
        Duration::from_secs(30),
        "all or nothing"
    );
    let start = GroupOptions {
        start: Some(Start::Latest),
        ..GroupOptions::default()
    };
    let error = group.configure(&start).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    let lease = GroupOptions {
        lease: Some(Duration::ZERO),
        ..GroupOptions::default()
    };
    assert!(group.configure(&lease).is_err());
}

#[test]
fn two_who_configure_at_once_lose_nothing_of_each_other() {
    let folder = TempDir::new().unwrap();
    let (_store, topic, group) = with_group(&folder);
    send_numbers(&topic, 0..2000);
    let worker = topic.consumer("g", &ConsumerOptions::default()).unwrap();
    std::thread::scope(|scope| {
        let each = |change: &'static (dyn Fn(u64) -> GroupOptions + Sync)| {
            let group = group.clone();
            move || (1..=30).for_each(|n| group.configure(&change(n)).unwrap())
        };
        scope.spawn(each(&|n| GroupOptions {
            lease: Some(Duration::from_secs(n)),
            ..GroupOptions::default()
        }));
        scope.spawn(each(&|n| GroupOptions {
            max_attempts: Some(n as u32),
            ..GroupOptions::default()
        }));
        for _ in 0..200 {
            worker
                .ack(&receipts(&worker.receive(10, NOW).unwrap()))
                .unwrap();
        }
    });
    let config = group.config();
    assert_eq!((config.lease.as_secs(), config.max_attempts), (30, 30));
    assert_eq!(group.stats().unwrap().acked, 2000);
}

#[test]
fn a_paused_group_hands_nothing_out_in_any_process_and_settles_and_times_go_on() {
    let folder = TempDir::new().unwrap();
    let (store, topic, group) = with_group(&folder);
    let changes = GroupOptions {
        lease: Some(Duration::from_millis(200)),
        backoff: Some(quick()),
        ..GroupOptions::default()
    };
    send_numbers(&topic, 0..10);
    let mut other = Worker::start("other", folder.path());
    assert_eq!(other.ask("take 1"), "1");
    group.configure(&changes).unwrap();
    let worker = topic.consumer("g", &ConsumerOptions::default()).unwrap();
    let runs_out = worker.receive(1, NOW).unwrap();
    group.pause().unwrap();
    group.pause().unwrap();
    assert!(group.is_paused().unwrap());
    assert!(
        worker
            .receive(9, Some(Duration::from_millis(300)))
            .unwrap()
            .is_empty()
    );
    let stats = group.stats().unwrap();
    assert!(stats.paused);
    assert_eq!((stats.timed_out, stats.leased), (1, 1));
    assert_eq!(other.ask("take 9"), "1", "nothing more");
    assert_eq!(other.ask("ack"), "acked");
    assert_eq!(group.stats().unwrap().acked, 1);
    drop((runs_out, worker, other, group, topic));
    store.close().unwrap();
    // Everyone has left.
    let store = open(folder.path());
    let topic = store.open_topic("orders").unwrap();
    let group = topic.group("g").unwrap();
    assert!(group.stats().unwrap().paused);
    let mut other = Worker::start("other", folder.path());
    assert_eq!(other.ask("take 9"), "0");
    // One that waits is woken.
    other.tell("wait");
    std::thread::sleep(Duration::from_millis(100));
    let began = Instant::now();
    group.resume().unwrap();
    assert_eq!(other.hear(), "1");
    assert!(began.elapsed() < Duration::from_secs(10));
    assert!(!group.stats().unwrap().paused);
    assert_eq!(other.ask("take 99"), "9");
}

/// Whoever is inside a receive when the group is paused is out of it before `pause` returns.
#[test]
fn nothing_is_handed_out_after_pause_has_returned() {
    let folder = TempDir::new().unwrap();
    let (_store, topic, group) = with_group(&folder);
    send_numbers(&topic, 0..20_000);
    let workers: Vec<Consumer> = (0..2)
        .map(|_| topic.consumer("g", &ConsumerOptions::default()).unwrap())
        .collect();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for worker in &workers {
            scope.spawn(|| {
                while !over.load(Memory::Relaxed) {
                    let batch = worker.receive(3, NOW).unwrap();
                    worker.ack(&receipts(&batch)).unwrap();
                }
            });
        }
        for _ in 0..20 {
            group.pause().unwrap();
            let before = group.stats().unwrap().delivered;
            std::thread::sleep(Duration::from_millis(5));
            assert_eq!(group.stats().unwrap().delivered, before);
            group.resume().unwrap();
        }
        over.store(true, Memory::Relaxed);
    });
}
