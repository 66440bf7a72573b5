//! What a message brings with it, how it is received, and what is done to its group by hand, each
//! with the others.

#![allow(clippy::unwrap_used)]

mod common;

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use common::{NOW, WAIT, consumer, open, receipts, send_numbers, topic, with_group};
use libqueue::{
    Consumer, ConsumerOptions, ErrorKind, GroupOptions, Message, MessageState, OnExpired, Ordering,
    ReceiveOptions,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tempfile::TempDir;

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(100);

fn readable(consumer: &Consumer, within: Duration) -> bool {
    let fd = consumer.fd().expect("fd");
    let mut polled = [PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN)];
    let bound = Timespec::try_from(within).unwrap();
    poll(&mut polled, Some(&bound)).expect("poll") == 1
}

/// What is in a descriptor's way is seen by the thread that serves it, a little later.
fn becomes_unreadable(consumer: &Consumer) {
    let until = Instant::now() + LONG;
    while readable(consumer, Duration::ZERO) {
        assert!(Instant::now() < until, "readable of nothing");
        assert!(consumer.receive(1, NOW).expect("receive").is_empty());
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn p10_a_descriptor_tells_of_a_message_that_is_due_and_of_none_while_the_group_is_paused() {
    let folder = TempDir::new().unwrap();
    let (_store, topic, group) = with_group(&folder);
    let worker = topic.consumer("g", &ConsumerOptions::default()).unwrap();
    assert!(!readable(&worker, Duration::ZERO));
    let sent = Instant::now();
    let wait = Duration::from_millis(400);
    topic.send(&Message::new(b"later").delay(wait)).unwrap();
    assert!(readable(&worker, LONG), "nobody has looked at it");
    becomes_unreadable(&worker);
    assert!(readable(&worker, LONG), "slept through its time");
    assert!(sent.elapsed() + Duration::from_millis(2) >= wait, "early");
    group.pause().unwrap();
    becomes_unreadable(&worker);
    send_numbers(&topic, 0..1);
    assert!(!readable(&worker, SHORT), "it is paused");
    group.resume().unwrap();
    assert!(
        readable(&worker, LONG),
        "slept through the end of the pause"
    );
    assert_eq!(worker.receive(9, NOW).unwrap().len(), 2);
    // Of a group that is gone it tells too.
    assert!(!readable(&worker, SHORT));
    group.delete().unwrap();
    assert!(readable(&worker, LONG));
    let error = worker.receive(1, NOW).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    worker.close().expect("it has nothing");
}

#[test]
fn p10_a_change_that_is_refused_leaves_a_descriptor_as_it_was() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let topic = topic(&store, 1);
    let worker = consumer(&topic, "g", Ordering::None, 5);
    send_numbers(&topic, 0..2);
    let batch = worker.receive(1, WAIT).unwrap();
    assert!(readable(&worker, LONG));
    let changes = GroupOptions {
        ordering: Some(Ordering::Partition),
        ..GroupOptions::default()
    };
    let error = topic.group("g").unwrap().configure(&changes).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy, "one is out");
    assert!(readable(&worker, Duration::from_millis(500)));
    worker.ack(&receipts(&batch)).unwrap();
    let last = worker.receive(1, NOW).unwrap();
    worker.ack(&receipts(&last)).unwrap();
    topic.group("g").unwrap().configure(&changes).unwrap();
    send_numbers(&topic, 2..4);
    let first = worker.receive(9, WAIT).unwrap();
    assert_eq!(first.len(), 1, "the others wait for it (P11)");
}

#[test]
fn p6_p9_a_message_that_waits_for_its_time_is_seen_delayed_and_settled_by_its_id() {
    let folder = TempDir::new().unwrap();
    let (_store, topic, group) = with_group(&folder);
    let worker = topic.consumer("g", &ConsumerOptions::default()).unwrap();
    let hour = Duration::from_secs(3600);
    let at_ns = |id: libqueue::MessageId| match group.peek(id.partition, id.offset).unwrap() {
        found if found.attempts > 0 => panic!("{found:?}"),
        found => match found.state {
            MessageState::Delayed(until) => until,
            other => panic!("{other:?}"),
        },
    };
    let send = || {
        topic
            .send(&Message::new(b"x").key(b"k").delay(hour))
            .unwrap()
    };
    let ids = [send(), send(), send(), send()];
    assert!(worker.receive(9, NOW).unwrap().is_empty());
    let until = at_ns(ids[0]);
    let sent_ns = group.peek(0, 0).unwrap().message.timestamp_ns();
    let hour_ns = i64::try_from(hour.as_nanos()).unwrap();
    assert!(
        (until - sent_ns - hour_ns).abs() < 10_000_000_000,
        "{until}"
    );
    // Later than it said, and now.
    group.delay(ids[0], 2 * hour).unwrap();
    assert!(at_ns(ids[0]) > until + hour_ns / 2);
    group.delay(ids[0], Duration::ZERO).unwrap();
    let batch = worker.receive(9, WAIT).unwrap();
    assert_eq!((batch.len(), batch[0].offset()), (1, 0));
    // It holds its key against one that falls due after it.
    group.delay(ids[1], Duration::ZERO).unwrap();
    assert_eq!(group.peek(0, 1).unwrap().state, MessageState::Held);
    assert!(worker.receive(9, NOW).unwrap().is_empty());
    group.settle(ids[2]).unwrap();
    assert_eq!(group.peek(0, 2).unwrap().state, MessageState::Settled);
    group.dead_letter(ids[3], "nobody wants it").unwrap();
    worker.ack(&receipts(&batch)).unwrap();
    let batch = worker.receive(9, WAIT).unwrap();
    assert_eq!((batch.len(), batch[0].offset()), (1, 1));
    worker.ack(&receipts(&batch)).unwrap();
    let stats = group.stats().unwrap();
    assert_eq!((stats.lag_messages, stats.dead_lettered), (0, 1));
}

#[test]
fn p9_one_that_the_group_has_not_come_to_is_taken_in_with_its_time() {
    let folder = TempDir::new().unwrap();
    let (_store, topic, group) = with_group(&folder);
    let hour = Duration::from_secs(3600);
    let first = topic.send(&Message::new(b"1").delay(hour)).unwrap();
    topic
        .send(&Message::new(b"2").ttl(Duration::from_millis(1)))
        .unwrap();
    let last = topic.send(&Message::new(b"3")).unwrap();
    std::thread::sleep(Duration::from_millis(5));
    group.settle(last).unwrap();
    let state = |offset| group.peek(0, offset).unwrap().state;
    assert!(matches!(state(0), MessageState::Delayed(_)));
    assert_eq!(state(1), MessageState::Settled, "it is too late for it");
    group.delay(first, Duration::ZERO).unwrap();
    let worker = topic.consumer("g", &ConsumerOptions::default()).unwrap();
    let batch = worker.receive(9, WAIT).unwrap();
    assert_eq!((batch.len(), batch[0].offset()), (1, 0));
    assert_eq!(group.stats().unwrap().expired, 1);
}

#[test]
fn p6_messages_that_came_too_late_end_no_receive_that_waits_for_more() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let topic = topic(&store, 1);
    let group = GroupOptions {
        on_expired: Some(OnExpired::DeadLetter),
        ..GroupOptions::default()
    };
    let with = ConsumerOptions {
        group,
        ..ConsumerOptions::default()
    };
    let worker = topic.consumer("g", &with).unwrap();
    let late = Message::new(b"late").ttl(Duration::from_millis(1));
    for number in 0..60_u64 {
        let payload = number.to_string();
        topic.send(&late).unwrap();
        // So that priorities are looked at, ahead.
        let message = Message::new(payload.as_bytes()).priority((number % 10) as u8);
        topic.send(&message).unwrap();
    }
    std::thread::sleep(Duration::from_millis(5));
    for (bytes, expected) in [(None, 20), (Some(40), 20)] {
        let options = ReceiveOptions {
            max_messages: 20,
            min_messages: 20,
            max_bytes: bytes,
            timeout: WAIT,
            ..ReceiveOptions::default()
        };
        let begun = Instant::now();
        let batch = worker.receive_with(&options).unwrap();
        assert!(begun.elapsed() < LONG / 2, "it waited for what was there");
        assert_eq!(batch.len(), expected);
        assert!(batch.iter().all(|one| one.payload() != b"late"));
        worker.ack(&receipts(&batch)).unwrap();
    }
    let stats = topic.group("g").unwrap().stats().unwrap();
    assert_eq!((stats.expired, stats.acked, stats.delivered), (60, 40, 40));
    let counted = topic.group("g").unwrap().consumers().unwrap();
    assert_eq!((counted[0].delivered, counted[0].acked), (40, 40));
}

#[test]
fn p9_a_lease_that_is_changed_holds_from_the_next_message_on_also_of_a_call_that_waits() {
    let folder = TempDir::new().unwrap();
    let (_store, topic, group) = with_group(&folder);
    let worker = topic.consumer("g", &ConsumerOptions::default()).unwrap();
    let lease = Duration::from_secs(7);
    let batch = std::thread::scope(|scope| {
        let waits = scope.spawn(|| worker.receive(1, WAIT).unwrap());
        std::thread::sleep(SHORT);
        let changes = GroupOptions {
            lease: Some(lease),
            max_lease: Some(2 * lease),
            ..GroupOptions::default()
        };
        group.configure(&changes).unwrap();
        send_numbers(&topic, 0..1);
        waits.join().unwrap()
    });
    let left = batch[0].deadline_ns() - batch[0].timestamp_ns();
    assert!((left - 7_000_000_000).abs() < 2_000_000_000, "{left}");
    let shorter = GroupOptions {
        max_lease: Some(lease / 2),
        ..GroupOptions::default()
    };
    let error = group.configure(&shorter).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert_eq!(group.config().max_lease, Some(2 * lease));
    let options = ReceiveOptions {
        lease: Some(3 * lease),
        timeout: NOW,
        ..ReceiveOptions::default()
    };
    let error = worker.receive_with(&options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
}
