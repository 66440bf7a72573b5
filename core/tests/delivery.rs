//! Delivery through the public surface: groups, settling, deaths, reopening.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use common::{NOW, WAIT, consumer, number, open, receipts, send_numbers, topic};
use libqueue::{
    Consumer, Delivery, ErrorKind, Message, Ordering, ReaderOptions, Receipt, Store, StoreOptions,
};
use tempfile::TempDir;

const CHILD: &str = "LIBQUEUE_TEST_CHILD";

#[test]
fn p6_p13_each_group_gets_every_message_once_and_a_late_receipt_is_stale() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let topic = topic(&store, 3);
    send_numbers(&topic, 0..1000);
    for name in ["billing", "audit"] {
        let consumer = consumer(&topic, name, Ordering::Key, 5);
        let mut seen = BTreeSet::new();
        while seen.len() < 1000 {
            let batch = consumer.receive(64, NOW).expect("receive");
            assert!(!batch.is_empty(), "{name} got only {}", seen.len());
            let these = receipts(&batch);
            consumer.ack(&these).expect("ack");
            let again = consumer.ack(&these[..1]).expect_err("a second ack");
            assert_eq!(again.kind(), ErrorKind::StaleReceipt);
            assert_eq!(again.stale_places(), &[0]);
            for delivery in &batch {
                assert!(seen.insert(number(delivery.payload())), "twice");
                assert_eq!(delivery.attempt(), 1);
            }
        }
        assert!(consumer.receive(1, NOW).expect("receive").is_empty());
        let stats = topic.group(name).unwrap().stats().unwrap();
        assert_eq!((stats.lag_messages, stats.acked), (0, 1000));
    }
    assert_eq!(topic.groups().unwrap(), ["audit", "billing"]);
    let busy = store.close().expect_err("handles are open");
    assert_eq!(busy.kind(), ErrorKind::Busy);
    assert!(busy.message().contains("orders"), "{busy}");
}

#[test]
fn p11_a_failed_message_holds_back_the_later_ones_of_its_key_only() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let topic = topic(&store, 1);
    for (key, payload) in [("a", "0"), ("a", "1"), ("b", "2"), ("a", "3"), ("b", "4")] {
        topic
            .send(&Message::new(payload.as_bytes()).key(key.as_bytes()))
            .unwrap();
    }
    let worker = consumer(&topic, "g", Ordering::Key, 5);
    let first = worker.receive(10, NOW).unwrap();
    let mut got: Vec<u64> = first.iter().map(|d| number(d.payload())).collect();
    got.sort_unstable();
    assert_eq!(got, [0, 2], "one message in flight for each key");
    let of = |batch: &[Delivery], n: u64| {
        let found = batch.iter().find(|d| number(d.payload()) == n);
        found.expect("is there").receipt()
    };
    worker.ack(&[of(&first, 2)]).unwrap();
    let nacked = of(&first, 0);
    worker
        .nack(&[nacked], Some(Duration::from_secs(3600)), Some("no"))
        .unwrap();
    let second = worker.receive(10, NOW).unwrap();
    let got: Vec<u64> = second.iter().map(|d| number(d.payload())).collect();
    assert_eq!(got, [4], "key a waits behind its first message");
    assert_eq!(topic.group("g").unwrap().stats().unwrap().delayed, 1);
}

#[test]
fn p11_many_threads_and_failures_keep_every_keys_order() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let topic = topic(&store, 2);
    let total = 4000_u64;
    for number in 0..total {
        let (key, payload) = (format!("k{}", number % 37), number.to_string());
        topic
            .send(&Message::new(payload.as_bytes()).key(key.as_bytes()))
            .unwrap();
    }
    let done: Mutex<BTreeMap<Vec<u8>, Vec<u64>>> = Mutex::default();
    let workers: Vec<Consumer> = (0..4)
        .map(|_| consumer(&topic, "g", Ordering::Key, 60_000))
        .collect();
    let deadline = Instant::now() + Duration::from_secs(60);
    let count = || done.lock().unwrap().values().map(Vec::len).sum::<usize>() as u64;
    std::thread::scope(|scope| {
        for worker in &workers {
            scope.spawn(|| {
                while count() < total && Instant::now() < deadline {
                    let wait = Some(Duration::from_millis(20));
                    for delivery in &worker.receive(7, wait).unwrap() {
                        let value = number(delivery.payload());
                        if delivery.attempt() == 1 && value.is_multiple_of(5) {
                            worker.nack(&[delivery.receipt()], None, None).unwrap();
                            continue;
                        }
                        let key = delivery.key().unwrap().to_vec();
                        done.lock().unwrap().entry(key).or_default().push(value);
                        worker.ack(&[delivery.receipt()]).unwrap();
                    }
                }
            });
        }
    });
    for (key, values) in done.into_inner().unwrap() {
        let first: u64 = number(&key[1..]);
        let expected: Vec<u64> = (first..total).step_by(37).collect();
        assert_eq!(values, expected, "key {}", String::from_utf8_lossy(&key));
    }
}

#[test]
fn p9_a_receipt_from_before_a_redelivery_settles_nothing() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let topic = topic(&store, 1);
    send_numbers(&topic, 0..1);
    let worker = consumer(&topic, "g", Ordering::None, 9);
    let first = worker.receive(1, NOW).unwrap();
    worker
        .extend(&receipts(&first), Duration::from_millis(5))
        .unwrap();
    let second = worker.receive(1, WAIT).unwrap();
    assert_eq!(
        second[0].attempt(),
        2,
        "the lease ran out, so it came again"
    );
    for settle in [Consumer::ack, Consumer::release] {
        let error = settle(&worker, &receipts(&first)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StaleReceipt);
    }
    let mut mixed = receipts(&first);
    mixed.extend(receipts(&second));
    let error = worker.ack(&mixed).unwrap_err();
    assert_eq!(error.stale_places(), &[0], "the good one was settled");
    assert_eq!(topic.group("g").unwrap().stats().unwrap().lag_messages, 0);
}

#[test]
fn p1_p6_everything_is_there_after_a_clean_close() {
    let folder = TempDir::new().unwrap();
    {
        let store = open(folder.path());
        let topic = topic(&store, 2);
        send_numbers(&topic, 0..5000);
        let worker = consumer(&topic, "g", Ordering::Key, 5);
        let batch = worker.receive(1500, NOW).unwrap();
        assert_eq!(batch.len(), 1500);
        worker.ack(&receipts(&batch)[..1000]).unwrap();
        worker.close().unwrap();
        drop((batch, worker, topic));
        store.close().unwrap();
    }
    let store = open(folder.path());
    let topic = topic(&store, 2);
    let mut reader = topic.reader(&ReaderOptions::default()).unwrap();
    let mut all = BTreeSet::new();
    loop {
        let batch = reader.receive(999, NOW).unwrap();
        if batch.is_empty() {
            break;
        }
        all.extend(batch.iter().map(|m| number(m.payload())));
    }
    assert_eq!(all, (0..5000).collect());
    let worker = consumer(&topic, "g", Ordering::Key, 5);
    let mut rest = 0;
    loop {
        let batch = worker.receive(100, NOW).unwrap();
        if batch.is_empty() {
            break;
        }
        worker.ack(&receipts(&batch)).unwrap();
        rest += batch.len();
    }
    assert_eq!(rest, 4000, "what was not acknowledged, and nothing else");
}

/// Runs this test program again, as another process with a task.
fn child(task: &str, folder: &Path) -> Child {
    let program = std::env::current_exe().unwrap();
    Command::new(program)
        .args(["--exact", "the_other_process", "--nocapture"])
        .env(CHILD, format!("{task}:{}", folder.display()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Not a test by itself: what the other processes of the tests here do.
#[test]
fn the_other_process() {
    let Ok(task) = std::env::var(CHILD) else {
        return;
    };
    let (task, folder) = task.split_once(':').unwrap();
    let store = open(Path::new(folder));
    let topic = topic(&store, 1);
    let worker = consumer(&topic, "g", Ordering::None, 2);
    let batch = worker.receive(4, WAIT).unwrap();
    if task != "start none" {
        batch[1].start();
    }
    if task == "finish one" {
        worker.ack(&[batch[1].receipt()]).unwrap();
    }
    println!("\ntook {}", batch.len());
    loop {
        std::thread::park();
    }
}

fn wait_for_line(child: &mut Child, wanted: &str) {
    use std::io::BufRead;
    let out = std::io::BufReader::new(child.stdout.take().unwrap());
    let found = out
        .lines()
        .map_while(std::io::Result::ok)
        .any(|line| line.starts_with(wanted));
    assert!(found, "the other process ended early");
}

fn killed(task: &str, left: usize) -> Vec<(u64, u32)> {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let topic = topic(&store, 1);
    send_numbers(&topic, 0..4);
    let mut other = child(task, folder.path());
    wait_for_line(&mut other, "took 4");
    other.kill().unwrap();
    other.wait().unwrap();
    let worker = consumer(&topic, "g", Ordering::None, 2);
    let mut back = BTreeMap::new();
    while back.len() < left {
        let batch = worker.receive(4, WAIT).unwrap();
        assert!(
            !batch.is_empty(),
            "the dead one's leases did not come back: {back:?}"
        );
        back.extend(
            batch
                .iter()
                .map(|d| (number(d.payload()), d.receipt()))
                .map(|(n, r)| (n, (r, r.attempt))),
        );
    }
    // One more failure for each: those charged with the death reach two failures and end.
    let these: Vec<Receipt> = back.values().map(|(receipt, _)| *receipt).collect();
    worker.nack(&these, None, None).unwrap();
    let group = topic.group("g").unwrap();
    let dead = group.dead_letters(10).unwrap();
    let dead: BTreeSet<u64> = dead.iter().map(|d| number(d.message.payload())).collect();
    back.keys()
        .map(|n| (*n, if dead.contains(n) { 2 } else { 1 }))
        .collect()
}

#[test]
fn p10_p17_a_killed_consumers_started_deliveries_are_charged_the_others_not() {
    let failures = killed("start one", 4);
    assert_eq!(failures, [(0, 1), (1, 2), (2, 1), (3, 1)]);
}

#[test]
fn p10_what_was_merely_fetched_is_not_charged_though_what_was_started_is_done() {
    let failures = killed("finish one", 3);
    assert_eq!(failures, [(0, 1), (2, 1), (3, 1)]);
}

#[test]
fn p10_a_killed_consumer_that_started_nothing_is_charged_for_all() {
    let failures = killed("start none", 4);
    assert_eq!(failures, [(0, 2), (1, 2), (2, 2), (3, 2)]);
}

#[test]
fn p3_p6_a_window_that_was_damaged_while_closed_is_an_error_that_names_it() {
    let folder = TempDir::new().unwrap();
    {
        let store = open(folder.path());
        let topic = topic(&store, 1);
        send_numbers(&topic, 0..10);
        let worker = consumer(&topic, "g", Ordering::None, 5);
        let batch = worker.receive(5, NOW).unwrap();
        worker.ack(&receipts(&batch)[1..]).unwrap();
        worker.close().unwrap();
        drop((batch, worker, topic));
        store.close().unwrap();
    }
    let window = folder.path().join("topics/orders/groups/g/0.window");
    let mut bytes = std::fs::read(&window).unwrap();
    // The floor, moved on by someone who should not have: five messages would be skipped.
    bytes[7 * 8] = 5;
    std::fs::write(&window, &bytes).unwrap();
    // A clean close does not make it whole.
    for _ in 0..2 {
        let store = open(folder.path());
        let topic = topic(&store, 1);
        let worker = consumer(&topic, "g", Ordering::None, 5);
        let error = worker.receive(1, NOW).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Damaged);
        assert!(error.message().contains("0.window"), "{error}");
        drop((worker, topic));
        store.close().unwrap();
    }
}

#[test]
fn p12_a_process_that_cannot_know_the_reason_still_moves_the_dead_letter() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let topic = topic(&store, 1);
    send_numbers(&topic, 0..4);
    let mut other = child("start one", folder.path());
    wait_for_line(&mut other, "took 4");
    other.kill().unwrap();
    other.wait().unwrap();
    // Two failures are allowed: the death is the first of message 1, an expired lease the second.
    let worker = consumer(&topic, "g", Ordering::None, 2);
    let mut left = BTreeSet::from([0, 1, 2, 3]);
    while !left.is_empty() {
        for delivery in worker.receive(4, WAIT).unwrap() {
            let receipt = [delivery.receipt()];
            if number(delivery.payload()) == 1 {
                worker.extend(&receipt, Duration::from_millis(1)).unwrap();
            } else {
                worker.ack(&receipt).unwrap();
            }
            left.remove(&number(delivery.payload()));
        }
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    let group = topic.group("g").unwrap();
    while group.dead_letters(1).unwrap().is_empty() {
        assert!(Instant::now() < deadline, "{:?}", group.stats());
        worker.receive(1, Some(Duration::from_millis(10))).unwrap();
    }
    let dead = &group.dead_letters(9).unwrap()[0];
    assert!(dead.error.contains("lease"), "{}", dead.error);
    assert_eq!(dead.consumer, worker.name());
    assert_eq!(group.stats().unwrap().lag_messages, 0);
}

#[test]
fn p2_with_an_interval_what_was_sent_reaches_the_disk_by_itself() {
    let folder = TempDir::new().unwrap();
    let options = StoreOptions {
        durability: libqueue::Durability::Interval(Duration::from_millis(2)),
        ..StoreOptions::default()
    };
    let store = Store::open(folder.path(), options).unwrap();
    let topic = topic(&store, 1);
    send_numbers(&topic, 0..10);
    let deadline = Instant::now() + Duration::from_secs(20);
    while topic.durable_offsets() != [10] {
        assert!(Instant::now() < deadline, "{:?}", topic.durable_offsets());
        std::thread::yield_now();
    }
}
