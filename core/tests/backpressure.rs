//! Topics with limits (P14): what counts, who is refused, who waits and in which order, what is
//! dropped, and that no limit is ever passed, by threads and processes together.

#![allow(clippy::unwrap_used)]

mod common;

use std::sync::atomic::{AtomicBool, Ordering as Memory};
use std::sync::mpsc::channel;
use std::time::Duration;

use common::{WAIT, consumer, open, receipts};
use libqueue::{
    ConsumerOptions, ErrorKind, GroupOptions, Message, OnFull, Ordering, Start, Store, Topic,
    TopicOptions,
};
use tempfile::TempDir;

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(50);

fn limits(messages: u64, on_full: OnFull) -> TopicOptions {
    TopicOptions {
        max_messages: Some(messages),
        on_full: Some(on_full),
        ..TopicOptions::default()
    }
}

fn limited(folder: &TempDir, messages: u64, on_full: OnFull) -> (Store, Topic) {
    let store = open(folder.path());
    let topic = store.topic("orders", &limits(messages, on_full)).unwrap();
    (store, topic)
}

fn send(topic: &Topic, payload: &[u8]) -> libqueue::Result<libqueue::MessageId> {
    topic.send(&Message::new(payload))
}

fn fill(topic: &Topic, count: u64) {
    for number in 0..count {
        send(topic, format!("{number}").as_bytes()).expect("room");
    }
}

fn is_full(topic: &Topic) {
    let error = send(topic, b"more").expect_err("over the limit");
    assert_eq!(error.kind(), ErrorKind::Full, "{error}");
    assert!(error.message().contains("nothing was sent"), "{error}");
}

fn take(worker: &libqueue::Consumer, most: usize) -> Vec<libqueue::Receipt> {
    receipts(&worker.receive(most, WAIT).expect("receive"))
}

fn worker(topic: &Topic, group: &str) -> libqueue::Consumer {
    consumer(topic, group, Ordering::None, 3)
}

#[test]
fn p14_a_full_topic_refuses_until_something_is_settled_and_leased_and_delayed_messages_count() {
    let folder = TempDir::new().unwrap();
    let (_store, topic) = limited(&folder, 4, OnFull::Reject);
    let worker = worker(&topic, "g");
    fill(&topic, 3);
    let wait = Duration::from_secs(3600);
    topic.send(&Message::new(b"later").delay(wait)).unwrap();
    is_full(&topic);
    let had = take(&worker, 2);
    is_full(&topic);
    worker.ack(&had[..1]).unwrap();
    fill(&topic, 1);
    is_full(&topic);
    // Handed back, failed, and not in time: none of it is settled.
    worker.release(&had[1..]).unwrap();
    is_full(&topic);
    worker.nack(&take(&worker, 1), Some(wait), None).unwrap();
    is_full(&topic);
    assert_eq!(topic.pressure().unwrap(), 1.0);
    let rest = take(&worker, 2);
    worker.ack(&rest).unwrap();
    assert_eq!(topic.pressure().unwrap(), 0.5);
    fill(&topic, 2);
    is_full(&topic);
}

#[test]
fn p14_p15_without_a_group_all_messages_count_and_a_group_that_begins_later_settles_nothing() {
    let folder = TempDir::new().unwrap();
    let (_store, topic) = limited(&folder, 3, OnFull::Reject);
    fill(&topic, 3);
    is_full(&topic);
    let late = GroupOptions {
        start: Some(Start::Latest),
        ..GroupOptions::default()
    };
    let options = ConsumerOptions {
        group: late,
        ..ConsumerOptions::default()
    };
    let behind = topic.consumer("late", &options).unwrap();
    fill(&topic, 3);
    is_full(&topic);
    // One that begins at the beginning has settled nothing: the topic is over its limit.
    let first = worker(&topic, "first");
    is_full(&topic);
    behind.ack(&take(&behind, 3)).unwrap();
    is_full(&topic);
    first.ack(&take(&first, 3)).unwrap();
    is_full(&topic);
    first.ack(&take(&first, 1)).unwrap();
    fill(&topic, 1);
    is_full(&topic);
}

#[test]
fn p13_p14_with_two_groups_what_either_has_not_settled_counts_once() {
    let folder = TempDir::new().unwrap();
    let (_store, topic) = limited(&folder, 6, OnFull::Reject);
    let (one, other) = (worker(&topic, "one"), worker(&topic, "other"));
    fill(&topic, 6);
    is_full(&topic);
    let (had, of_other) = (take(&one, 6), take(&other, 6));
    is_full(&topic);
    // One settles the first three, the other the last three: all are open for somebody.
    one.ack(&had[..3]).unwrap();
    other.ack(&of_other[3..]).unwrap();
    is_full(&topic);
    one.ack(&had[3..4]).unwrap();
    fill(&topic, 1);
    is_full(&topic);
    // One that lags holds all up.
    one.ack(&had[4..]).unwrap();
    fill(&topic, 2);
    is_full(&topic);
    one.ack(&take(&one, 3)).unwrap();
    is_full(&topic);
    topic.group("other").unwrap().delete().unwrap();
    fill(&topic, 6);
    is_full(&topic);
}

#[test]
fn p14_bytes_are_those_of_the_records_across_segments_and_out_of_order() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let body = vec![7; 100_000];
    let each = 100_000 + 48;
    let options = TopicOptions {
        max_bytes: Some(30 * each),
        ..TopicOptions::default()
    };
    let topic = store.topic("orders", &options).unwrap();
    let worker = worker(&topic, "g");
    let mut sent = 0;
    let mut settled = 0;
    let mut had = Vec::new();
    for round in 0..6 {
        while send(&topic, &body).is_ok() {
            sent += 1;
            assert!(sent - settled <= 30, "over the limit");
        }
        assert_eq!(sent - settled, 30, "round {round}");
        had.extend(take(&worker, 20));
        // Those in between first, the oldest stays.
        let mut done: Vec<_> = Vec::new();
        for place in (1..had.len()).rev().step_by(2) {
            done.push(had.remove(place));
        }
        settled += done.len();
        worker.ack(&done).unwrap();
    }
    // A smaller one finds the room that a larger one does not.
    topic.send_many(&[]).unwrap();
    send(&topic, &body).expect("room was made");
}

#[test]
fn p14_send_many_is_all_or_nothing_and_one_that_never_fits_is_an_error_of_its_own() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let options = TopicOptions {
        partitions: Some(3),
        ..limits(5, OnFull::Reject)
    };
    let topic = store.topic("orders", &options).unwrap();
    let batch: Vec<Message<'_>> = (0..3)
        .map(|n| Message {
            partition: Some(n),
            ..Message::new(b"x")
        })
        .collect();
    assert_eq!(topic.send_many(&batch).unwrap().len(), 3);
    let error = topic.send_many(&batch).expect_err("only two fit");
    assert_eq!(error.kind(), ErrorKind::Full);
    assert_eq!(topic.stats().unwrap().messages, 3, "a part of it was sent");
    assert!(topic.try_send(&batch[0]).unwrap().is_some());
    let six = vec![Message::new(b"x"); 6];
    let error = topic.send_many(&six).expect_err("never");
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert!(error.message().contains("max_messages, 5"), "{error}");
    let bytes = TopicOptions {
        max_bytes: Some(500),
        ..TopicOptions::default()
    };
    topic.configure(&bytes).unwrap();
    let error = send(&topic, &[1; 600]).expect_err("never");
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert!(error.message().contains("max_bytes, 500"), "{error}");
}

#[test]
fn p14_a_blocked_sender_goes_on_when_there_is_room_and_gives_up_in_time() {
    let folder = TempDir::new().unwrap();
    let (_store, topic) = limited(&folder, 2, OnFull::Block);
    let worker = worker(&topic, "g");
    fill(&topic, 2);
    assert!(topic.try_send(&Message::new(b"x")).unwrap().is_none());
    let error = topic.send_within(&Message::new(b"x"), SHORT);
    let error = error.expect_err("no room");
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.message().contains("2 of max_messages 2"), "{error}");
    let stored = TopicOptions {
        send_timeout: Some(SHORT),
        ..TopicOptions::default()
    };
    topic.configure(&stored).unwrap();
    assert_eq!(send(&topic, b"x").unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(
        topic.stats().unwrap().messages,
        2,
        "it was sent all the same"
    );
    let had = take(&worker, 1);
    let (began, waits) = channel();
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let mut told = false;
            let message = [Message::new(b"in time")];
            topic.send_while(&message, Some(LONG), &mut || {
                if !std::mem::replace(&mut told, true) {
                    began.send(()).unwrap();
                }
                true
            })
        });
        waits.recv_timeout(LONG).expect("it waits");
        worker.ack(&had).unwrap();
        assert_eq!(sender.join().unwrap().expect("woken").len(), 1);
    });
    // Who is told to stop stops.
    let stopped = topic.send_while(&[Message::new(b"x")], None, &mut || false);
    assert_eq!(stopped.unwrap_err().kind(), ErrorKind::Timeout);
}

/// Starts senders one after the other, each once the one before waits.
fn queue_up<'scope>(
    scope: &'scope std::thread::Scope<'scope, '_>,
    topic: &'scope Topic,
    counts: &[usize],
) -> Vec<std::thread::ScopedJoinHandle<'scope, libqueue::Result<Vec<libqueue::MessageId>>>> {
    let start = |count: usize| {
        let (began, waits) = channel();
        let sender = scope.spawn(move || {
            let batch = vec![Message::new(b"x"); count];
            let mut beats = 0;
            topic.send_while(&batch, Some(LONG), &mut || {
                beats += 1;
                // The second one: by then it has its place.
                if beats == 2 {
                    began.send(()).unwrap();
                }
                true
            })
        });
        waits.recv_timeout(LONG).expect("it waits");
        sender
    };
    counts.iter().map(|count| start(*count)).collect()
}

#[test]
fn p14_blocked_senders_go_in_the_order_in_which_they_came_and_a_large_one_is_not_passed() {
    let folder = TempDir::new().unwrap();
    let (_store, topic) = limited(&folder, 10, OnFull::Block);
    let worker = worker(&topic, "g");
    fill(&topic, 10);
    std::thread::scope(|scope| {
        let senders = queue_up(scope, &topic, &[1, 8, 1, 1]);
        // One at a time.
        for _ in 0..11 {
            let had = take(&worker, 1);
            worker.ack(&had).unwrap();
        }
        let firsts: Vec<u64> = senders
            .into_iter()
            .map(|sender| sender.join().unwrap().expect("sent")[0].offset)
            .collect();
        assert_eq!(firsts, [10, 11, 19, 20]);
    });
}

#[test]
fn p14_p17_a_configuration_change_holds_for_who_waits_and_a_smaller_limit_takes_nothing() {
    let folder = TempDir::new().unwrap();
    let (_store, topic) = limited(&folder, 4, OnFull::Block);
    let worker = worker(&topic, "g");
    fill(&topic, 4);
    std::thread::scope(|scope| {
        let senders = queue_up(scope, &topic, &[2]);
        topic.configure(&limits(6, OnFull::Block)).unwrap();
        for sender in senders {
            sender.join().unwrap().expect("there is room now");
        }
        let senders = queue_up(scope, &topic, &[1]);
        topic.configure(&limits(3, OnFull::Reject)).unwrap();
        for sender in senders {
            let error = sender.join().unwrap().expect_err("full");
            assert_eq!(error.kind(), ErrorKind::Full);
            assert!(error.message().contains("6 of max_messages 3"), "{error}");
        }
    });
    assert_eq!(topic.pressure().unwrap(), 1.0);
    for _ in 0..3 {
        worker.ack(&take(&worker, 1)).unwrap();
        is_full(&topic);
    }
    worker.ack(&take(&worker, 1)).unwrap();
    fill(&topic, 1);
    is_full(&topic);
    topic.configure(&limits(0, OnFull::Reject)).unwrap();
    fill(&topic, 20);
    assert_eq!(topic.pressure().unwrap(), 0.0);
}

#[test]
fn p14_p17_who_waits_in_a_topic_that_is_deleted_is_told() {
    let folder = TempDir::new().unwrap();
    let (store, topic) = limited(&folder, 1, OnFull::Block);
    fill(&topic, 1);
    std::thread::scope(|scope| {
        let senders = queue_up(scope, &topic, &[1, 1]);
        store.delete_topic("orders").unwrap();
        for sender in senders {
            let error = sender.join().unwrap().expect_err("gone");
            assert_eq!(error.kind(), ErrorKind::NotFound);
        }
    });
}

#[test]
fn p12_p14_dead_letters_are_not_refused_by_their_topics_limit_and_count() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let orders = common::topic(&store, 1);
    let letters = store
        .topic("orders.g.dlq", &limits(3, OnFull::Reject))
        .unwrap();
    let worker = consumer(&orders, "g", Ordering::None, 1);
    send(&letters, b"by hand").unwrap();
    for _ in 0..5 {
        send(&orders, b"bad").unwrap();
        worker.nack(&take(&worker, 1), None, Some("bad")).unwrap();
    }
    assert_eq!(letters.stats().unwrap().messages, 6);
    is_full(&letters);
    assert_eq!(letters.pressure().unwrap(), 1.0);
}

#[test]
fn p14_a_throttled_topic_stays_below_its_high_mark_and_blocks_there() {
    let folder = TempDir::new().unwrap();
    let (_store, topic) = limited(&folder, 100, OnFull::Throttle);
    let marks = TopicOptions {
        low_mark: Some(20),
        high_mark: Some(40),
        ..TopicOptions::default()
    };
    topic.configure(&marks).unwrap();
    let worker = worker(&topic, "g");
    fill(&topic, 20);
    // Nobody consumes: ever slower, up to the high mark.
    let mut sent = 20;
    while topic
        .send_within(&Message::new(b"x"), Duration::from_secs(2))
        .is_ok()
    {
        sent += 1;
        assert!(sent <= 40, "above the high mark");
        if sent == 24 {
            worker.ack(&take(&worker, 100)).unwrap();
            sent = 0;
            fill(&topic, 20);
            sent += 20;
            break;
        }
    }
    assert_eq!(sent, 20);
    let done = AtomicBool::new(false);
    let seen = std::thread::scope(|scope| {
        let (done, worker) = (&done, &worker);
        scope.spawn(move || {
            while !done.load(Memory::Relaxed) {
                worker.ack(&take(worker, 1)).unwrap();
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let mut seen: Vec<f64> = Vec::new();
        for _ in 0..600 {
            let sent = topic.send_within(&Message::new(b"x"), LONG);
            sent.expect("it goes on");
            seen.push(topic.pressure().unwrap());
        }
        done.store(true, Memory::Relaxed);
        let _ = send(&topic, b"last");
        seen
    });
    let most = seen.iter().copied().fold(0.0, f64::max);
    assert!(most <= 0.40, "{most}");
}
