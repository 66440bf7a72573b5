//! Transactions that take from a topic which drops its oldest messages, and send to the same one:
//! what they take is not dropped for that, and makes room (P8, P14).

use std::sync::atomic::{AtomicU64, Ordering};

use super::transaction_crashes::{Scene, at_every_event, events_of};
use super::transaction_limits::{commit, limited, taken};
use super::transactions::payloads;
use super::*;
use crate::options::OnFull;
use crate::{Consumer, ConsumerOptions, Delivery, Durability, Message};

const NOW: Option<Duration> = Some(Duration::ZERO);

/// Messages of a topic that drops the oldest, taken by a group that exists.
fn dropping(store: &Store, most: u64, groups: &[&str]) -> (Topic, Vec<(Consumer, Vec<Delivery>)>) {
    let topic = limited(store, "dropping", most, OnFull::DropOldest);
    let make = |name: &&str| topic.consumer(name, &ConsumerOptions::default());
    let workers: Vec<_> = groups.iter().map(make).collect();
    for _ in 0..most {
        topic.send(&Message::new(b"in")).expect("send");
    }
    let take = |worker: Result<Consumer>| {
        let worker = worker.expect("consumer");
        let got = worker.receive(9, NOW).expect("receive");
        (worker, got)
    };
    let taken = workers.into_iter().map(take).collect();
    (topic, taken)
}

fn dropped(topic: &Topic, group: &str) -> (u64, u64) {
    let stats = topic.group(group).expect("group").stats().expect("stats");
    (stats.dropped, stats.lag_messages)
}

#[test]
fn p8_p14_what_a_transaction_takes_from_a_full_topic_is_not_dropped_for_what_it_sends_there() {
    for most in [1, 2, 3] {
        let folder = tempfile::tempdir().expect("folder");
        let store = Store::open(folder.path(), options()).expect("open");
        let (topic, mut taken) = dropping(&store, most, &["g"]);
        let (worker, got) = taken.remove(0);
        let mut got = got.into_iter();
        // All of it, one by one: nothing has to go, and there is never more than may be.
        for count in 1..=most {
            let one = got.next().expect("taken");
            assert_eq!(commit(&store, &[&topic], &[one]).expect("lent"), 1);
            assert_eq!(dropped(&topic, "g"), (0, most), "{most}, {count}");
        }
        // As many as it takes, and one more: what it does not take goes.
        let got = worker.receive(1, NOW).expect("receive");
        if most > 1 {
            assert_eq!(
                commit(&store, &[&topic, &topic], &got).expect("one goes"),
                2
            );
            assert_eq!(dropped(&topic, "g"), (1, most));
        }
        // Nothing is lent for what was settled before: it is refused, and nothing was sent.
        let sent = topic.stats().expect("stats").messages;
        let stale = worker.receive(1, NOW).expect("receive");
        if let Some(one) = stale.first() {
            worker.ack(&[one.receipt()]).expect("ack");
            let error = commit(&store, &[&topic], &stale).expect_err("settled before");
            assert_eq!(error.kind(), ErrorKind::StaleReceipt, "{error}");
            assert_eq!(topic.stats().expect("stats").messages, sent);
        }
    }
}

#[test]
fn p8_p14_what_another_group_has_not_settled_is_lent_to_no_transaction() {
    let folder = tempfile::tempdir().expect("folder");
    let store = Store::open(folder.path(), options()).expect("open");
    let (topic, mut taken) = dropping(&store, 3, &["g", "other"]);
    let ((_g, first), (other, theirs)) = (taken.remove(0), taken.remove(0));
    // The first is the other's too: it goes for that one, and nothing else does.
    assert_eq!(commit(&store, &[&topic], &first[..1]).expect("commit"), 1);
    assert_eq!(
        (dropped(&topic, "g"), dropped(&topic, "other")),
        ((0, 3), (1, 3))
    );
    // The other one has settled the next.
    other.ack(&[theirs[1].receipt()]).expect("ack");
    assert_eq!(commit(&store, &[&topic], &first[1..2]).expect("commit"), 1);
    assert_eq!(
        (dropped(&topic, "g"), dropped(&topic, "other")),
        ((0, 3), (1, 3))
    );
    // Both at once.
    let both = [first.into_iter().nth(2), theirs.into_iter().nth(2)];
    let both: Vec<Delivery> = both.into_iter().flatten().collect();
    assert_eq!(commit(&store, &[&topic], &both).expect("commit"), 1);
    assert_eq!(
        (dropped(&topic, "g"), dropped(&topic, "other")),
        ((0, 3), (1, 3))
    );
}

#[test]
fn p8_p14_two_full_topics_that_drop_lend_to_a_transaction_that_takes_from_both() {
    let folder = tempfile::tempdir().expect("folder");
    let store = Store::open(folder.path(), options()).expect("open");
    let topics = ["one", "two"].map(|name| limited(&store, name, 1, OnFull::DropOldest));
    let taken = topics.each_ref().map(taken);
    let got = taken.into_iter().flat_map(|(worker, got)| {
        std::mem::forget(worker);
        got
    });
    let got: Vec<Delivery> = got.collect();
    let [one, two] = &topics;
    assert_eq!(commit(&store, &[one, two], &got).expect("lent in both"), 2);
    for topic in &topics {
        assert_eq!(dropped(topic, "g"), (0, 1));
    }
}

#[test]
fn p8_p14_p17_a_death_at_every_step_of_what_is_lent_room_loses_nothing_and_passes_no_limit() {
    let seen = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
    let events = at_every_event(Durability::Process, |scene: &Arc<Scene>, event| {
        let (store, other) = (scene.open(), scene.open());
        let (topic, mut taken) = dropping(&store, 2, &["g"]);
        let theirs = other.open_topic("dropping").expect("topic");
        let (worker_in, got) = taken.remove(0);
        let (dying, seen) = (store.clone(), seen.clone());
        let work = || {
            let mut tx = store.transaction().expect("begin");
            tx.send(&topic, &Message::new(b"out")).expect("send");
            tx.ack(&got[0]).expect("ack");
            drop(tx.commit());
        };
        let then = move |kind| {
            dying.die();
            let what = format!("event {event}, {kind:?}");
            let living = other.inner().expect("open");
            until("the dead one is cleaned up after", || {
                living.find_dead(0).is_ok_and(|dead| dead == 0)
            });
            until("what has happened is settled", || {
                dropped(&theirs, "g").1 == 2
            });
            assert_eq!(dropped(&theirs, "g"), (0, 2), "{what}");
            let sent = payloads(&theirs).len();
            assert!([2, 3].contains(&sent), "{what}: {sent}");
            seen[sent - 2].fetch_add(1, Ordering::Relaxed);
        };
        let count = events_of(scene, event, work, then);
        std::mem::forget(worker_in);
        count
    });
    let seen = seen.each_ref().map(|one| one.load(Ordering::Relaxed));
    assert!(
        events > 5 && seen.iter().all(|one| *one > 1),
        "{events}, {seen:?}"
    );
}
