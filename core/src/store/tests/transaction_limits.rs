//! Transactions that send to topics with limits: there is room for all of it, or nothing happens,
//! whoever dies in the middle (P8, P14).

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::transaction_crashes::{Scene, at_every_event, events_of};
use super::transactions::payloads;
use super::*;
use crate::format::control::flow;
use crate::options::{OnFull, TopicOptions};
use crate::{Consumer, ConsumerOptions, Delivery, Durability, Message};

const NOW: Option<Duration> = Some(Duration::ZERO);

pub(super) fn limited(store: &Store, name: &str, most: u64, on_full: OnFull) -> Topic {
    let options = TopicOptions {
        max_messages: Some(most),
        on_full: Some(on_full),
        send_timeout: Some(Duration::from_millis(30)),
        ..TopicOptions::default()
    };
    store.topic(name, &options).expect("topic")
}

fn worker(topic: &Topic) -> Consumer {
    topic
        .consumer("g", &ConsumerOptions::default())
        .expect("consumer")
}

pub(super) fn taken(topic: &Topic) -> (Consumer, Vec<Delivery>) {
    topic.send(&Message::new(b"in")).expect("send");
    let worker = worker(topic);
    let got = worker.receive(1, Some(BOUND)).expect("receive");
    (worker, got)
}

pub(super) fn commit(store: &Store, to: &[&Topic], got: &[Delivery]) -> Result<usize> {
    let mut tx = store.transaction()?;
    for topic in to {
        tx.send(topic, &Message::new(b"out"))?;
    }
    for one in got {
        tx.ack(one)?;
    }
    tx.commit().map(|ids| ids.len())
}

/// Sends to a partition until it is refused; how many.
fn fill(topic: &Topic, partition: u32) -> u64 {
    for count in 0..100 {
        if let Err(error) = topic.send(&Message::new(b"x").partition(partition)) {
            assert_eq!(error.kind(), ErrorKind::Full, "{error}");
            return count;
        }
    }
    panic!("it is never full");
}

#[test]
fn p8_p14_a_transaction_is_refused_as_a_whole_where_any_of_its_topics_is_full() {
    let folder = tempfile::tempdir().expect("folder");
    let store = Store::open(folder.path(), options()).expect("open");
    let from = store.topic("from", &Default::default()).expect("topic");
    let free = store.topic("free", &Default::default()).expect("topic");
    let (worker, got) = taken(&from);
    for (on_full, kind) in [
        (OnFull::Reject, ErrorKind::Full),
        (OnFull::Block, ErrorKind::Timeout),
    ] {
        let roomy = limited(&store, &format!("roomy-{kind:?}"), 2, OnFull::Reject);
        let full = limited(&store, &format!("full-{kind:?}"), 1, on_full);
        full.send(&Message::new(b"there")).expect("send");
        for order in [[&roomy, &free, &full], [&full, &free, &roomy]] {
            let error = commit(&store, &order, &got).expect_err("full");
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.message().contains("nothing was sent"), "{error}");
        }
        let error = commit(&store, &[&full, &full], &got).expect_err("never");
        assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
        assert!(payloads(&roomy).is_empty() && payloads(&free).is_empty());
        assert_eq!(payloads(&full), [b"there"]);
        assert_eq!(fill(&roomy, 0), 2);
    }
    // Its deliveries are out as they were.
    let stats = from.group("g").expect("g").stats().expect("stats");
    assert_eq!((stats.lag_messages, stats.leased), (1, 1));
    assert_eq!(commit(&store, &[&free], &got).expect("commit"), 1);
    drop(worker);
}

#[test]
fn p8_p14_a_failed_transaction_gives_back_the_room_that_it_took() {
    let folder = tempfile::tempdir().expect("folder");
    let store = Store::open(folder.path(), options()).expect("open");
    let from = store.topic("from", &Default::default()).expect("topic");
    let to = limited(&store, "to", 3, OnFull::Reject);
    let (worker, got) = taken(&from);
    to.send(&Message::new(b"counted")).expect("send");
    worker.ack(&[got[0].receipt()]).expect("ack");
    for _ in 0..5 {
        let error = commit(&store, &[&to, &to], &got).expect_err("stale");
        assert_eq!(error.kind(), ErrorKind::StaleReceipt, "{error}");
    }
    let flow_words = to.inner.block.flow.as_ref().expect("limited");
    assert_eq!(flow_words.get(flow::ROOM_MESSAGES), 2);
    assert_eq!(commit(&store, &[&to, &to], &[]).expect("commit"), 2);
    assert_eq!(flow_words.get(flow::ROOM_MESSAGES), 0);
    assert_eq!(fill(&to, 0), 0);
}

#[test]
fn p8_p14_a_transaction_waits_for_room_before_it_does_anything_and_makes_some_where_told() {
    let folder = tempfile::tempdir().expect("folder");
    let store = Store::open(folder.path(), options()).expect("open");
    let from = store.topic("from", &Default::default()).expect("topic");
    let wait = TopicOptions {
        max_messages: Some(1),
        on_full: Some(OnFull::Block),
        ..TopicOptions::default()
    };
    let to = store.topic("to", &wait).expect("topic");
    let (worker_in, got) = taken(&from);
    to.send(&Message::new(b"there")).expect("send");
    let out = worker(&to);
    let (first, asked) = (
        out.receive(1, Some(BOUND)).expect("receive"),
        AtomicU64::new(0),
    );
    // Asked again and again while it waits, and told to stop.
    let mut tx = store.transaction().expect("begin");
    tx.send(&to, &Message::new(b"never")).expect("send");
    let error = tx.commit_while(&mut || asked.fetch_add(1, Ordering::Relaxed) < 2);
    assert_eq!(error.expect_err("told").kind(), ErrorKind::Timeout);
    assert_eq!(asked.load(Ordering::Relaxed), 3);
    let go = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let mut tx = store.transaction().expect("begin");
        tx.send(&to, &Message::new(b"out")).expect("send");
        tx.ack(&got[0]).expect("ack");
        let waiting = scope.spawn(|| {
            tx.commit_while(&mut || {
                go.store(true, Ordering::Release);
                true
            })
        });
        until("it waits", || go.load(Ordering::Acquire));
        // Nothing is marked, and no lock is held, while it does.
        let stats = from.group("g").expect("g").stats().expect("stats");
        assert_eq!((stats.lag_messages, stats.leased), (1, 1));
        let other = store.topic("other", &Default::default()).expect("topic");
        commit(&store, &[&other], &[]).expect("another one's");
        out.ack(&[first[0].receipt()]).expect("room");
        waiting.join().expect("thread").expect("commit");
    });
    let next = out.receive(1, NOW).expect("receive");
    assert_eq!(next[0].payload(), b"out");
    drop(worker_in);
    let dropping = limited(&store, "dropping", 2, OnFull::DropOldest);
    let watched = worker(&dropping);
    for _ in 0..3 {
        commit(&store, &[&dropping, &dropping], &[]).expect("the oldest go");
    }
    assert_eq!(watched.receive(9, NOW).expect("receive").len(), 2);
    let stats = dropping.group("g").expect("g").stats().expect("stats");
    assert_eq!(stats.dropped, 4);
}

#[test]
fn p8_p14_transactions_over_several_limited_topics_pass_no_limit_and_all_come_through() {
    let folder = tempfile::tempdir().expect("folder");
    let store = Store::open(folder.path(), options()).expect("open");
    let wait = TopicOptions {
        max_messages: Some(3),
        on_full: Some(OnFull::Block),
        ..TopicOptions::default()
    };
    let topics = ["a", "b"].map(|name| store.topic(name, &wait).expect("topic"));
    let workers = topics.each_ref().map(worker);
    let (rounds, done) = (40, AtomicU64::new(0));
    std::thread::scope(|scope| {
        for order in [[0, 1], [1, 0], [0, 1]] {
            let (store, topics, done) = (&store, &topics, &done);
            scope.spawn(move || {
                for _ in 0..rounds {
                    let two = order.map(|number: usize| &topics[number]);
                    commit(store, &two, &[]).expect("commit");
                    topics[order[0]].send(&Message::new(b"one")).expect("send");
                }
                done.fetch_add(1, Ordering::Release);
            });
        }
        for (topic, worker) in topics.iter().zip(&workers) {
            let done = &done;
            scope.spawn(move || {
                loop {
                    let over = done.load(Ordering::Acquire) == 3;
                    let lag = topic
                        .group("g")
                        .expect("g")
                        .stats()
                        .expect("stats")
                        .lag_messages;
                    assert!(lag <= 3, "{lag}");
                    let got = worker
                        .receive(2, Some(Duration::from_millis(5)))
                        .expect("receive");
                    let receipts: Vec<_> = got.iter().map(Delivery::receipt).collect();
                    worker.ack(&receipts).expect("ack");
                    if over && got.is_empty() {
                        break;
                    }
                }
            });
        }
    });
    let sent = topics.each_ref().map(|topic| payloads(topic).len());
    assert_eq!(sent, [5 * rounds, 4 * rounds]);
}

#[test]
fn p8_p14_p17_a_death_at_every_step_of_a_commit_lets_nobody_pass_the_limit() {
    for durability in [Durability::Process, Durability::Sync] {
        let seen = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
        let events = at_every_event(durability, |scene: &Arc<Scene>, event| {
            let (store, other) = (scene.open(), scene.open());
            let from = store.topic("from", &Default::default()).expect("topic");
            let two = TopicOptions {
                partitions: Some(2),
                max_messages: Some(3),
                on_full: Some(OnFull::Reject),
                ..TopicOptions::default()
            };
            let to = store.topic("to", &two).expect("topic");
            let theirs = other.open_topic("to").expect("topic");
            let (worker_in, got) = taken(&from);
            to.send(&Message::new(b"there").partition(0)).expect("send");
            let (dying, seen) = (store.clone(), seen.clone());
            let work = || {
                let mut tx = store.transaction().expect("begin");
                let both = [Message::new(b"out").partition(0); 2];
                tx.send_many(&to, &both).expect("send");
                tx.ack(&got[0]).expect("ack");
                drop(tx.commit());
            };
            let then = move |kind| {
                dying.die();
                let what = format!("{durability:?}, event {event}, {kind:?}");
                // Whoever counts finds all that was sent, though nobody sends to where it is.
                let more = fill(&theirs, 1);
                let living = other.inner().expect("open");
                until("the dead one is cleaned up after", || {
                    living.find_dead(0).is_ok_and(|dead| dead == 0)
                });
                let all = payloads(&theirs);
                assert_eq!(all.len(), 3, "{what}: {more} after {all:?}");
                assert!([0, 2].contains(&more), "{what}: {more}");
                seen[usize::from(more == 0)].fetch_add(1, Ordering::Relaxed);
            };
            let count = events_of(scene, event, work, then);
            std::mem::forget(worker_in);
            count
        });
        let seen = seen.each_ref().map(|one| one.load(Ordering::Relaxed));
        assert!(
            events > 15 && seen.iter().all(|one| *one > 3),
            "{events}, {seen:?}"
        );
    }
}
