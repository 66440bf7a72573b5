//! What is looked at and done to a group by hand, while others are at work in it.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::{Duration, Instant};

use common::worker::{self, Worker};
use common::{NOW, open, quick, receipts, send_numbers, topic, with_group};
use libqueue::{
    ConsumerOptions, ErrorKind, GroupOptions, Message, MessageId, MessageState, OnDeadLetter,
    RedriveOptions,
};
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

#[test]
fn a_peek_shows_every_state_a_message_can_be_in_and_changes_nothing() {
    let folder = TempDir::new().unwrap();
    let (_store, topic, group) = with_group(&folder);
    let send = |key: &[u8]| topic.send(&Message::new(b"p").key(key)).unwrap();
    let ids = [b"a", b"a", b"b", b"c", b"d", b"e"].map(|key| send(key));
    let peek = |id: MessageId| group.peek(id.partition, id.offset).unwrap();
    assert_eq!(peek(ids[5]).state, MessageState::Fresh);
    assert_eq!(peek(ids[5]).message.payload(), b"p");
    let mut other = Worker::start("other", folder.path());
    assert_eq!(other.ask("take 1"), "1");
    let worker = topic.consumer("g", &ConsumerOptions::default()).unwrap();
    let took = worker.receive(4, NOW).unwrap();
    assert_eq!(took.len(), 4);
    worker.ack(&[took[0].receipt()]).unwrap();
    let hour = Some(Duration::from_secs(3600));
    worker.nack(&[took[1].receipt()], hour, None).unwrap();
    worker.release(&[took[2].receipt()]).unwrap();
    let before = group.stats().unwrap();
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let from_now = |until: i64| (until - now.as_nanos() as i64) / 1_000_000_000;
    let leased = peek(ids[0]);
    assert!(matches!(leased.state, MessageState::Leased(until)
        if (25..=30).contains(&from_now(until))));
    assert_eq!((&*leased.consumer, leased.attempts), ("other", 1));
    assert_eq!(peek(ids[1]).state, MessageState::Held);
    assert_eq!(peek(ids[2]).state, MessageState::Settled);
    let delayed = peek(ids[3]);
    assert!(matches!(delayed.state, MessageState::Delayed(until)
        if (3595..=3600).contains(&from_now(until))));
    assert_eq!((delayed.attempts, delayed.failures), (1, 1));
    assert_eq!(peek(ids[4]).state, MessageState::Ready);
    let again = group.stats().unwrap();
    assert_eq!(
        (again.leased, again.delivered, again.ready, again.delayed),
        (
            before.leased,
            before.delivered,
            before.ready,
            before.delayed
        )
    );
    assert_eq!(again.lag_messages, before.lag_messages);
    let missing = group.peek(0, 6).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    assert!(missing.message().contains("the next is 6"), "{missing}");
    assert_eq!(
        group.peek(1, 0).unwrap_err().kind(),
        ErrorKind::InvalidArgument
    );
}

#[test]
fn p9_p11_a_message_settled_by_id_is_stale_for_who_had_it_and_frees_its_key() {
    let folder = TempDir::new().unwrap();
    let (_store, topic, group) = with_group(&folder);
    let send = |key: &[u8]| topic.send(&Message::new(b"p").key(key)).unwrap();
    let ids = [b"a", b"a", b"b"].map(|key| send(key));
    let mut other = Worker::start("other", folder.path());
    assert_eq!(other.ask("take 1"), "1");
    let mut waiting = Worker::start("waiting", folder.path());
    assert_eq!(waiting.ask("take 9"), "1");
    waiting.tell("wait");
    std::thread::sleep(Duration::from_millis(100));
    group.settle(ids[0]).unwrap();
    assert_eq!(
        waiting.hear(),
        "2",
        "its key goes on, and a sleeper is woken"
    );
    assert_eq!(other.ask("ack"), "StaleReceipt");
    let again = group.settle(ids[0]).unwrap_err();
    assert_eq!(again.kind(), ErrorKind::StaleReceipt);
    assert!(again.message().contains("settled already"), "{again}");
    assert_eq!(group.stats().unwrap().acked, 1);
    // Of another topic, and never sent.
    let mut wrong = ids[1];
    wrong.topic_id ^= 1;
    assert_eq!(
        group.settle(wrong).unwrap_err().kind(),
        ErrorKind::InvalidArgument
    );
    let never = MessageId {
        offset: 99,
        ..ids[1]
    };
    assert_eq!(group.settle(never).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn p6_p11_a_message_far_ahead_is_settled_by_id_and_all_before_it_are_still_handed_out() {
    let folder = TempDir::new().unwrap();
    let (_store, topic, group) = with_group(&folder);
    let payload = vec![b'x'; 400];
    let ids: Vec<MessageId> = (0..5000)
        .map(|n| {
            let key = format!("{}", n % 100);
            topic
                .send(&Message::new(&payload).key(key.as_bytes()))
                .unwrap()
        })
        .collect();
    group.settle(ids[4500]).unwrap();
    group.delay(ids[50], Duration::from_secs(3600)).unwrap();
    let stats = group.stats().unwrap();
    assert_eq!((stats.lag_messages, stats.delivered), (4999, 0));
    let worker = topic.consumer("g", &ConsumerOptions::default()).unwrap();
    let mut got = Vec::new();
    loop {
        let batch = worker.receive(500, NOW).unwrap();
        if batch.is_empty() {
            break;
        }
        got.extend(batch.iter().map(|one| one.offset()));
        worker.ack(&receipts(&batch)).unwrap();
    }
    got.sort_unstable();
    let wanted: Vec<u64> = (0..5000).filter(|n| *n != 4500 && n % 100 != 50).collect();
    assert_eq!(
        got, wanted,
        "all but the one that is settled, and the key that is delayed"
    );
    group.delay(ids[50], Duration::ZERO).unwrap();
    assert_eq!(worker.receive(9, NOW).unwrap().len(), 1);
}

#[test]
fn p9_p12_a_message_delayed_or_given_up_by_id_is_taken_from_its_consumer() {
    let folder = TempDir::new().unwrap();
    let (_store, topic, group) = with_group(&folder);
    send_numbers(&topic, 0..2);
    let id = |offset| group.peek(0, offset).unwrap().message.id();
    let mut other = Worker::start("other", folder.path());
    assert_eq!(other.ask("take 1"), "1");
    group.delay(id(0), Duration::from_millis(50)).unwrap();
    assert_eq!(other.ask("ack"), "StaleReceipt");
    other.ask("forget");
    std::thread::sleep(Duration::from_millis(60));
    assert_eq!(other.ask("take 1"), "1");
    let peeked = group.peek(0, 0).unwrap();
    assert_eq!(
        (peeked.attempts, peeked.failures),
        (2, 0),
        "nothing is counted"
    );
    group.dead_letter(id(0), "poison").unwrap();
    assert_eq!(other.ask("ack"), "StaleReceipt");
    let letters = group.dead_letters(9).unwrap();
    assert_eq!(
        (&*letters[0].error, letters[0].source_offset),
        ("poison", 0)
    );
    assert_eq!(letters[0].consumer, "other");
    assert_eq!(group.peek(0, 0).unwrap().state, MessageState::Settled);
    let late = group.delay(id(0), Duration::ZERO).unwrap_err();
    assert_eq!(late.kind(), ErrorKind::StaleReceipt);
    let long = group
        .delay(id(1), Duration::from_secs(1 << 40))
        .unwrap_err();
    assert_eq!(long.kind(), ErrorKind::InvalidArgument);
}

/// What was given up without having been handed out did not fail, and `verify` finds no damage in a
/// window that says so, nor in one in which it holds its key.
#[test]
fn p3_p12_what_is_given_up_by_id_before_anybody_was_handed_it_has_not_failed_and_is_no_damage() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let topic = topic(&store, 1);
    let send = |key: &[u8]| topic.send(&Message::new(b"p").key(key)).unwrap();
    let ids = [b"a", b"b", b"b"].map(|key| send(key));
    for holds in [OnDeadLetter::Continue, OnDeadLetter::HoldKey] {
        let options = GroupOptions {
            on_dead_letter: Some(holds),
            ..GroupOptions::default()
        };
        let group = topic.create_group(&format!("{holds:?}"), &options).unwrap();
        group.dead_letter(ids[1], "poison").unwrap();
        let letters = group.dead_letters(9).unwrap();
        assert_eq!(
            (letters[0].attempts, letters[0].failures),
            (0, 0),
            "{holds:?}"
        );
        assert_eq!(group.stats().unwrap().failed, 0);
        let report = libqueue::inspect::verify(folder.path(), &mut |_, _| Ok(())).unwrap();
        assert!(report.is_intact(), "{holds:?}: {report:?}");
        assert_eq!(group.redrive(RedriveOptions::default()).unwrap(), 1);
        let worker = topic
            .consumer(group.name(), &ConsumerOptions::default())
            .unwrap();
        let all = worker.receive(9, NOW).unwrap();
        let attempts: Vec<_> = all.iter().map(|one| (one.id(), one.attempt())).collect();
        assert!(attempts.contains(&(ids[1], 1)), "{holds:?}: {attempts:?}");
    }
}
