//! What is looked at and done to a group by hand, while others are at work in it.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::{Duration, Instant};

use common::worker::{self, Worker};
use common::{NOW, open, quick, receipts, send_numbers, with_group};
use libqueue::{ConsumerOptions, ErrorKind, GroupOptions, Message};
use tempfile::TempDir;

#[test]
fn the_other_process() {
    worker::obey();
}

#[test]
fn one_who_fails_what_others_manage_stands_out_among_the_consumers() {
    let folder = TempDir::new().unwrap();
    let (_store, topic, group) = with_group(&folder);
    let changes = GroupOptions {
        backoff: Some(quick()),
        max_attempts: Some(1000),
        ..GroupOptions::default()
    };
    group.configure(&changes).unwrap();
    send_numbers(&topic, 0..40);
    let mut good = Worker::start("good", folder.path());
    let mut bad = Worker::start("bad", folder.path());
    for _ in 0..10 {
        assert_eq!(bad.ask("take 3"), "3");
        assert_eq!(bad.ask("nack"), "nacked");
        bad.ask("forget");
        std::thread::sleep(Duration::from_millis(2));
        assert_eq!(good.ask("take 4"), "4");
        assert_eq!(good.ask("ack"), "acked");
        good.ask("forget");
    }
    topic.send(&Message::new(b"one more")).unwrap();
    assert_eq!(good.ask("take 9"), "1");
    let found = group.consumers().unwrap();
    let names: Vec<&str> = found.iter().map(|one| &*one.name).collect();
    assert_eq!(names, ["bad", "good"]);
    let (first, second) = (&found[0], &found[1]);
    assert_eq!((first.leased, first.delivered), (0, 30));
    assert_eq!((first.acked, first.failed), (0, 30));
    assert_eq!(first.process, bad.process.id());
    assert_eq!((second.leased, second.delivered), (1, 41));
    assert_eq!((second.acked, second.failed), (40, 0));
    assert_eq!(second.process, good.process.id());
    // One that was killed is gone, and a new one in its place begins at nothing.
    drop(bad);
    let deadline = Instant::now() + Duration::from_secs(10);
    while group.consumers().unwrap().len() > 1 {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(10));
    }
    let _again = Worker::start("again", folder.path());
    let found = group.consumers().unwrap();
    assert_eq!(
        (&*found[0].name, found[0].delivered, found[0].failed),
        ("again", 0, 0)
    );
}

/// Leases that run out count against the one who had them; a late acknowledgement is nobody's.
#[test]
fn an_expired_lease_is_a_failure_of_the_consumer_that_had_it() {
    let folder = TempDir::new().unwrap();
    let (_store, topic, group) = with_group(&folder);
    let lease = Some(Duration::from_millis(20));
    group
        .configure(&GroupOptions {
            lease,
            ..GroupOptions::default()
        })
        .unwrap();
    send_numbers(&topic, 0..1);
    let worker = topic.consumer("g", &ConsumerOptions::default()).unwrap();
    let took = worker.receive(1, NOW).unwrap();
    std::thread::sleep(Duration::from_millis(60));
    assert!(worker.receive(1, NOW).unwrap().is_empty(), "in its backoff");
    worker.ack(&receipts(&took)).unwrap();
    let found = group.consumers().unwrap();
    assert_eq!(
        (found[0].delivered, found[0].acked, found[0].failed),
        (1, 0, 1)
    );
    assert_eq!(group.stats().unwrap().acked, 1);
}

#[test]
fn a_deleted_group_is_none_in_every_process_and_another_one_of_the_name_begins_anew() {
    let folder = TempDir::new().unwrap();
    let (store, topic, group) = with_group(&folder);
    send_numbers(&topic, 0..3);
    let mut at_work = Worker::start("at work", folder.path());
    assert_eq!(at_work.ask("take 1"), "1");
    let mut waiting = Worker::start("waiting", folder.path());
    assert_eq!(waiting.ask("take 9"), "2");
    waiting.tell("wait");
    std::thread::sleep(Duration::from_millis(100));
    let began = Instant::now();
    group.delete().unwrap();
    assert_eq!(waiting.hear(), "NotFound", "woken, and told");
    assert!(began.elapsed() < Duration::from_secs(10));
    assert_eq!(at_work.ask("ack"), "NotFound");
    assert_eq!(at_work.ask("take 1"), "NotFound");
    assert_eq!(group.delete().unwrap_err().kind(), ErrorKind::NotFound);
    assert!(topic.groups().unwrap().is_empty());
    assert_eq!(topic.group("g").err().unwrap().kind(), ErrorKind::NotFound);
    let left = std::fs::read_dir(folder.path().join("topics/orders/groups")).unwrap();
    assert_eq!(left.count(), 0, "its files are gone");
    // Another one of the name, while consumers of the old one are still there.
    let again = topic.consumer("g", &ConsumerOptions::default()).unwrap();
    assert_eq!(again.receive(9, NOW).unwrap().len(), 3, "from the start");
    assert_eq!(
        waiting.ask("take 1"),
        "NotFound",
        "it is not that one's consumer"
    );
    assert_eq!(waiting.ask("close"), "closed");
    assert_eq!(topic.group("g").unwrap().stats().unwrap().consumers, 1);
    drop((at_work, waiting, again, group, topic));
    store.close().unwrap();
    let report = libqueue::inspect::verify(folder.path(), &mut |_, _| Ok(())).unwrap();
    assert!(report.is_intact(), "{report:?}");
    assert_eq!(report.groups, 1);
}

/// The dead letters of the old one stay in their topic; they are not taken for those of the new.
#[test]
fn p12_dead_letters_of_a_deleted_group_are_not_taken_for_those_of_the_next_one() {
    let folder = TempDir::new().unwrap();
    let (store, topic, group) = with_group(&folder);
    send_numbers(&topic, 0..2);
    let bury = || {
        let worker = topic.consumer("g", &ConsumerOptions::default()).unwrap();
        let took = worker.receive(2, NOW).unwrap();
        worker.dead_letter(&receipts(&took), "no").unwrap();
    };
    bury();
    group.delete().unwrap();
    bury();
    let stats = topic.group("g").unwrap().stats().unwrap();
    assert_eq!((stats.dead_lettered, stats.lag_messages), (2, 0));
    let letters = store.open_topic("orders.g.dlq").unwrap();
    assert_eq!(letters.stats().unwrap().messages, 4);
}

/// Consumers come and go while their group is deleted and made again: each call either works or
/// says that the group was deleted.
#[test]
fn p17_deleting_and_making_anew_while_others_open_receive_and_settle() {
    let folder = TempDir::new().unwrap();
    let (_store, topic, _) = with_group(&folder);
    send_numbers(&topic, 0..50);
    let over = std::sync::atomic::AtomicBool::new(false);
    let fine = |error: &libqueue::Error| {
        let told = error.message().contains("deleted") || error.message().contains("no group");
        error.kind() == ErrorKind::NotFound && told
    };
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                // Through an opening of its own.
                let store = open(folder.path());
                let topic = store.open_topic("orders").unwrap();
                while !over.load(std::sync::atomic::Ordering::Relaxed) {
                    let worked =
                        topic
                            .consumer("g", &ConsumerOptions::default())
                            .and_then(|worker| {
                                let batch = worker.receive(5, NOW)?;
                                worker.ack(&receipts(&batch))?;
                                worker.close()
                            });
                    assert!(worked.as_ref().err().is_none_or(fine), "{worked:?}");
                }
            });
        }
        for _ in 0..40 {
            let deleted = topic.group("g").and_then(|group| {
                group.stats()?;
                group.delete()
            });
            assert!(deleted.as_ref().err().is_none_or(fine), "{deleted:?}");
            let report = libqueue::inspect::verify(folder.path(), &mut |_, _| Ok(())).unwrap();
            assert!(report.is_intact(), "{report:?}");
        }
        over.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}
