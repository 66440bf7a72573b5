//! Filters of groups through the public surface: who is handed what, and what becomes of the rest.

#![allow(clippy::unwrap_used)]

mod changes;
#[path = "../common/mod.rs"]
mod common;

use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering as Memory};
use std::time::{Duration, Instant};

use common::worker::{self, Worker};
use common::{NOW, WAIT, number, open, receipts, topic};
use libqueue::{
    Consumer, ConsumerOptions, Filter, GroupOptions, GroupStats, Message, ReceiveOptions, Topic,
    inspect,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tempfile::TempDir;

/// What most groups here take: messages with the header `take`.
const TAKE: &str = r#"{"headers": {"take": true}}"#;
const LONG: Duration = Duration::from_secs(20);

fn with(filter: &str) -> GroupOptions {
    GroupOptions {
        filter: Some(Filter::parse(filter).unwrap()),
        ..GroupOptions::default()
    }
}

fn consumer(topic: &Topic, group: GroupOptions) -> Consumer {
    let options = ConsumerOptions {
        group,
        ..ConsumerOptions::default()
    };
    topic.consumer("g", &options).unwrap()
}

fn stats(topic: &Topic) -> GroupStats {
    topic.group("g").unwrap().stats().unwrap()
}

/// A message that `TAKE` takes, or one that it leaves out.
fn send(topic: &Topic, number: u64, takes: bool, key: Option<&[u8]>) {
    let payload = number.to_string();
    let mut message = Message::new(payload.as_bytes());
    message.key = key;
    if takes {
        message.headers = &[("take", b"")];
    }
    topic.send(&message).unwrap();
}

/// As many that it leaves out.
fn send_others(topic: &Topic, count: u64) {
    let message = Message::new(b"0");
    let thousand = vec![message; 1000];
    for _ in 0..count / 1000 {
        topic.send_many(&thousand).unwrap();
    }
    topic
        .send_many(&thousand[..(count % 1000) as usize])
        .unwrap();
}

/// Numbers of what is received and acknowledged until nothing is there.
fn empty(consumer: &Consumer) -> Vec<u64> {
    let mut found = Vec::new();
    loop {
        let batch = consumer.receive(100, NOW).unwrap();
        if batch.is_empty() {
            return found;
        }
        consumer.ack(&receipts(&batch)).unwrap();
        found.extend(batch.iter().map(|one| number(one.payload())));
    }
}

fn intact(folder: &Path) {
    let report = inspect::verify(folder, &mut |_, _| Ok(())).unwrap();
    assert!(report.is_intact(), "{report:?}");
}

#[test]
fn the_other_process() {
    worker::obey();
}

#[test]
fn a_group_takes_what_its_filter_says_and_the_rest_is_settled_and_counted() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let topic = topic(&store, 3);
    let headers: [&[(&str, &[u8])]; 3] = [&[], &[("kind", b"sale")], &[("kind", b"return")]];
    let keys: [Option<&[u8]>; 4] = [None, Some(b""), Some(b"eu-1"), Some(b"us-1")];
    let mut sent = Vec::new();
    for number in 0..120_u64 {
        let key = keys[number as usize % 4];
        let headers = headers[number as usize % 3];
        let payload = number.to_string();
        let message = Message {
            key,
            headers,
            ..Message::new(payload.as_bytes()).partition(number as u32 % 3)
        };
        topic.send(&message).unwrap();
        sent.push((number, key, headers));
    }
    let filters = [
        r#"{"key": "eu-1"}"#,
        r#"{"key": ""}"#,
        r#"{"key": false}"#,
        r#"{"key_prefix": "eu-", "headers": {"kind": true}}"#,
        r#"{"headers": {"kind": {"prefix": "ret"}}}"#,
        r#"{"headers": {"kind": false}}"#,
        r#"{"any": [{"key": "us-1"}, {"headers": {"kind": "sale"}}]}"#,
        r#"{"not": {"all": [{"key": true}, {"headers": {"kind": true}}]}}"#,
        r#"{}"#,
    ];
    for (place, text) in filters.into_iter().enumerate() {
        let filter = Filter::parse(text).unwrap();
        let wanted: Vec<u64> = sent
            .iter()
            .filter(|(_, key, headers)| filter.matches(*key, headers.iter().copied()))
            .map(|one| one.0)
            .collect();
        let options = ConsumerOptions {
            group: with(text),
            ..ConsumerOptions::default()
        };
        let worker = topic.consumer(&format!("g{place}"), &options).unwrap();
        let mut found = empty(&worker);
        found.sort_unstable();
        assert_eq!(found, wanted, "{text}");
        let stats = topic.group(&format!("g{place}")).unwrap().stats().unwrap();
        let told = (
            stats.acked,
            stats.filtered,
            stats.lag_messages,
            stats.delivered,
        );
        let count = wanted.len() as u64;
        assert_eq!(told, (count, 120 - count, 0, count), "{text}");
    }
    drop(topic);
    store.close().unwrap();
    intact(folder.path());
}

#[test]
fn p6_a_million_messages_are_passed_over_by_one_receive_without_a_lease() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let topic = topic(&store, 1);
    let worker = consumer(&topic, with(TAKE));
    send_others(&topic, 1_000_000);
    send(&topic, 7, true, None);
    let batch = worker.receive(10, WAIT).unwrap();
    assert_eq!(batch.len(), 1, "one receive");
    assert_eq!((batch[0].offset(), batch[0].attempt()), (1_000_000, 1));
    let told = stats(&topic);
    assert_eq!(
        (told.delivered, told.leased, told.filtered),
        (1, 1, 1_000_000)
    );
    assert_eq!((told.lag_messages, told.failed, told.expired), (1, 0, 0));
    worker.ack(&receipts(&batch)).unwrap();
    send_others(&topic, 5_000);
    assert!(worker.receive(10, NOW).unwrap().is_empty());
    assert_eq!(
        (stats(&topic).filtered, stats(&topic).lag_messages),
        (1_005_000, 0)
    );
}

#[test]
fn a_backlog_that_is_left_out_keeps_no_other_partition_and_no_event_loop_waiting() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let topic = topic(&store, 2);
    let worker = consumer(&topic, with(TAKE));
    let message = |takes: &'static [(&str, &[u8])], partition| Message {
        partition: Some(partition),
        ..Message::new(b"0").headers(takes)
    };
    let others = vec![message(&[], 0); 1_000];
    for _ in 0..200 {
        topic.send_many(&others).unwrap();
    }
    // A step of a receive that an event loop drives.
    let options = ReceiveOptions {
        timeout: WAIT,
        ..ReceiveOptions::default()
    };
    let mut receiving = worker.receiving(&options).unwrap();
    let step = worker.gather(&mut receiving, NOW).unwrap();
    assert!(step.is_none());
    assert!(stats(&topic).filtered < 100_000, "went on to the end");
    drop(receiving);
    topic.send(&message(&[("take", b"")], 1)).unwrap();
    for _ in 0..2 {
        // Each begins with another partition.
        let got = worker.receive(1, WAIT).unwrap();
        assert_eq!(got[0].partition(), 1);
        assert!(stats(&topic).filtered < 200_000, "waited for the other one");
        worker.release(&receipts(&got)).unwrap();
    }
    assert!(worker.receive(1, NOW).unwrap().len() == 1);
}

#[test]
fn what_was_found_does_not_wait_for_all_that_is_left_out_behind_it() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let topic = topic(&store, 1);
    let worker = consumer(&topic, with(TAKE));
    send(&topic, 0, true, None);
    send_others(&topic, 40_000);
    send(&topic, 1, true, None);
    let first = worker.receive(10, NOW).unwrap();
    assert_eq!(first.len(), 1);
    assert!(stats(&topic).filtered < 40_000, "looked at all of it first");
    worker.ack(&receipts(&first)).unwrap();
    assert_eq!(empty(&worker), [1]);
    assert_eq!(stats(&topic).filtered, 40_000);
}

#[test]
fn p11_what_is_left_out_holds_nothing_of_its_key() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let topic = topic(&store, 1);
    let worker = consumer(&topic, with(TAKE));
    for number in 0..12 {
        send(&topic, number, number % 3 == 1, Some(b"k"));
    }
    for wanted in [1, 4, 7, 10] {
        let batch = worker.receive(10, NOW).unwrap();
        let found: Vec<u64> = batch.iter().map(|one| number(one.payload())).collect();
        assert_eq!(found, [wanted], "one of the key at a time, in order");
        assert!(worker.receive(10, NOW).unwrap().is_empty(), "held");
        worker.ack(&receipts(&batch)).unwrap();
    }
    let told = stats(&topic);
    assert_eq!((told.held, told.lag_messages, told.filtered), (0, 0, 8));
}

#[test]
fn a_message_is_left_out_at_once_whatever_its_times_and_its_priority() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let topic = topic(&store, 1);
    let worker = consumer(&topic, with(TAKE));
    let hour = Duration::from_secs(3600);
    topic.send(&Message::new(b"0").delay(hour)).unwrap();
    topic.send(&Message::new(b"1").ttl(Duration::ZERO)).unwrap();
    topic.send(&Message::new(b"2").priority(9)).unwrap();
    let take: &[(&str, &[u8])] = &[("take", b"")];
    let message = |payload: &'static [u8], priority| Message {
        headers: take,
        ..Message::new(payload).priority(priority)
    };
    topic.send(&message(b"3", 1)).unwrap();
    topic.send(&message(b"4", 9)).unwrap();
    let batch = worker.receive(9, NOW).unwrap();
    let found: Vec<u64> = batch.iter().map(|one| number(one.payload())).collect();
    assert_eq!(found, [4, 3], "the most urgent first");
    let told = stats(&topic);
    assert_eq!((told.filtered, told.delayed, told.expired), (3, 0, 0));
}

#[test]
fn p6_an_unsettled_message_lets_the_group_run_ahead_as_far_as_its_window_and_no_further() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let topic = topic(&store, 1);
    let options = GroupOptions {
        window: Some(1500),
        ..with(TAKE)
    };
    let worker = consumer(&topic, options);
    send(&topic, 0, true, None);
    send_others(&topic, 3000);
    send(&topic, 1, true, None);
    let first = worker.receive(9, NOW).unwrap();
    assert_eq!(first.len(), 1);
    assert!(worker.receive(9, NOW).unwrap().is_empty());
    assert_eq!(stats(&topic).filtered, 1499, "its window is full");
    intact(folder.path());
    worker.ack(&receipts(&first)).unwrap();
    assert_eq!(empty(&worker), [1]);
    let told = stats(&topic);
    assert_eq!((told.filtered, told.lag_messages), (3000, 0));
}

#[test]
fn p6_p17_a_process_killed_while_it_passes_over_leaves_nothing_stuck() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let topic = topic(&store, 1);
    let worker = consumer(&topic, with(TAKE));
    let group = topic.group("g").unwrap();
    let (mut sent, mut found) = (0, Vec::new());
    for round in 0..12 {
        for _ in 0..4 {
            send_others(&topic, 7_000);
            send(&topic, sent, true, Some(b"k"));
            sent += 1;
        }
        let before = group.stats().unwrap().filtered;
        let mut other = Worker::start("other", folder.path());
        other.tell("take 1");
        if round % 3 > 0 {
            // In the middle: it has begun, as the count shows.
            let deadline = Instant::now() + LONG;
            while group.stats().unwrap().filtered == before {
                assert!(Instant::now() < deadline, "never began");
            }
        }
        other.process.kill().unwrap();
        other.process.wait().unwrap();
        intact(folder.path());
        let deadline = Instant::now() + LONG;
        while (found.len() as u64) < sent {
            assert!(Instant::now() < deadline, "stuck: {:?}", group.stats());
            for one in worker.receive(9, Some(Duration::from_millis(50))).unwrap() {
                worker.ack(&[one.receipt()]).unwrap();
                found.push(number(one.payload()));
            }
        }
        assert!(worker.receive(9, NOW).unwrap().is_empty());
        let told = group.stats().unwrap();
        assert_eq!((told.lag_messages, told.leased), (0, 0));
    }
    assert_eq!(found, (0..sent).collect::<Vec<_>>(), "all, in order");
    intact(folder.path());
}

#[test]
fn p9_two_consumers_share_what_the_filter_takes() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let topic = topic(&store, 2);
    let workers = [0, 1].map(|_| consumer(&topic, with(TAKE)));
    let got = AtomicUsize::new(0);
    let all = std::thread::scope(|scope| {
        let running = workers.each_ref().map(|worker| {
            scope.spawn(|| {
                let mut mine = Vec::new();
                let deadline = Instant::now() + LONG;
                while got.load(Memory::SeqCst) < 500 && Instant::now() < deadline {
                    let batch = worker.receive(7, Some(Duration::from_millis(50))).unwrap();
                    worker.ack(&receipts(&batch)).unwrap();
                    got.fetch_add(batch.len(), Memory::SeqCst);
                    mine.extend(batch.iter().map(|one| number(one.payload())));
                }
                mine
            })
        });
        for number in 0..500 {
            send_others(&topic, number % 50);
            send(&topic, number, true, None);
        }
        running.map(|one| one.join().unwrap())
    });
    let mut all = all.concat();
    all.sort_unstable();
    assert_eq!(all, (0..500).collect::<Vec<_>>(), "each once");
    let told = stats(&topic);
    assert_eq!((told.lag_messages, told.acked), (0, 500));
    assert_eq!(
        told.filtered,
        (0..500).map(|number| number % 50).sum::<u64>()
    );
}

fn readable(consumer: &Consumer, within: Duration) -> bool {
    let fd = consumer.fd().unwrap();
    let mut polled = [PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN)];
    let bound = Timespec::try_from(within).unwrap();
    poll(&mut polled, Some(&bound)).unwrap() == 1
}

#[test]
fn a_descriptor_is_not_readable_for_what_is_left_out_and_is_for_what_comes_behind_it() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let topic = topic(&store, 2);
    let worker = consumer(&topic, with(TAKE));
    assert!(!readable(&worker, Duration::ZERO));
    for round in 0..20 {
        send_others(&topic, 3_000);
        let deadline = Instant::now() + LONG;
        while stats(&topic).lag_messages > 0 {
            assert!(!readable(&worker, Duration::ZERO), "round {round}");
            assert!(Instant::now() < deadline, "the look does not pass over");
        }
        assert!(
            !readable(&worker, Duration::ZERO),
            "round {round}: of nothing"
        );
        send(&topic, round, true, None);
        assert!(readable(&worker, LONG), "round {round}: slept through it");
        assert_eq!(empty(&worker), [round]);
        assert!(!readable(&worker, Duration::ZERO), "round {round}: emptied");
    }
    // More than one look goes through, behind what is out.
    send(&topic, 0, true, None);
    let out = worker.receive(1, WAIT).unwrap();
    send_others(&topic, 60_000);
    send(&topic, 1, true, None);
    assert!(readable(&worker, LONG), "behind 60,000");
    worker.ack(&receipts(&out)).unwrap();
    assert_eq!(empty(&worker), [1]);
    assert_eq!(stats(&topic).delivered, 22);
}

#[test]
fn a_receive_that_waits_sleeps_through_what_is_left_out() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let topic = topic(&store, 1);
    let worker = consumer(&topic, with(TAKE));
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| worker.receive(9, WAIT).unwrap().len());
        for _ in 0..50 {
            send_others(&topic, 20);
        }
        send(&topic, 1, true, None);
        assert_eq!(waits.join().unwrap(), 1);
    });
    assert_eq!(stats(&topic).filtered, 1000);
}
