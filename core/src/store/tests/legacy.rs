//! What a member leaves to others when it leaves or is killed: messages to sync, leases to return.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::format::control::header;
use crate::options::{Durability, TopicOptions};
use crate::shm::OwnerLock;
use crate::store::{ConsumerOptions, Message};

/// Long enough that no housekeeping thread comes first.
pub(super) const RARELY: Durability = Durability::Interval(Duration::from_secs(3600));

pub(super) fn at_intervals() -> StoreOptions {
    StoreOptions {
        durability: RARELY,
        ..options()
    }
}

#[test]
fn p17_closing_waits_for_a_thread_that_holds_a_lock_and_lets_none_begin() {
    let folder = tempfile::tempdir().expect("folder");
    let store = enter(folder.path()).expect("open");
    let word = store.control.header().word32(header::REGISTRY_LOCK);
    let held = OwnerLock::try_hold(word, store.env.me).expect("free");
    let released = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let closing = scope.spawn(|| {
            store.close().expect("close");
            assert!(released.load(Ordering::SeqCst), "it did not wait");
        });
        until("it is about to leave", || store.env.check_fence().is_err());
        let error = store.env.check_fence().expect_err("no section begins now");
        assert_eq!(error.kind(), ErrorKind::Closed);
        assert_eq!(store.member_count(), 1, "the slot is not free before");
        released.store(true, Ordering::SeqCst);
        drop(held);
        closing.join().expect("closed");
    });
    assert_eq!(store.member_count(), 0);
}

#[test]
fn p2_what_was_sent_at_intervals_is_synced_when_its_sender_leaves() {
    let folder = tempfile::tempdir().expect("folder");
    let stays = Store::open(folder.path(), options()).expect("open");
    let leaves = Store::open(folder.path(), at_intervals()).expect("open");
    let topic = leaves.topic("t", &TopicOptions::default()).expect("topic");
    topic.send(&Message::new(b"x")).expect("send");
    assert_eq!(topic.durable_offsets(), [0]);
    drop(topic);
    leaves.close().expect("close");
    let topic = stays.open_topic("t").expect("topic");
    assert_eq!(topic.durable_offsets(), [1]);
}

#[test]
fn p2_what_was_sent_at_intervals_is_synced_when_its_sender_is_killed() {
    let folder = tempfile::tempdir().expect("folder");
    let store = Store::open(folder.path(), options()).expect("open");
    // The topic is not open here.
    let mut sender = Actor::start("sends-at-intervals", folder.path());
    assert_eq!(sender.hear(), "sent");
    sender.kill();
    until("the members are one", || {
        store.stats().expect("stats").members == 1
    });
    let topic = store.open_topic("t").expect("topic");
    until("it is synced", || topic.durable_offsets() == [1]);
}

#[test]
fn p10_p13_a_damaged_topic_keeps_no_leases_of_another_from_coming_back() {
    let folder = tempfile::tempdir().expect("folder");
    let store = Store::open(folder.path(), options()).expect("open");
    store.topic("a", &TopicOptions::default()).expect("topic");
    let topic = store.topic("z", &TopicOptions::default()).expect("topic");
    topic.send(&Message::new(b"x")).expect("send");
    let mut worker = Actor::start("leases", folder.path());
    assert_eq!(worker.hear(), "leased");
    let other = Store::open(folder.path(), options()).expect("open");
    let meta = folder.path().join("topics/a/topic.meta");
    std::fs::write(meta, b"nonsense").expect("write");
    drop((topic, store));
    worker.kill();
    let topic = other.open_topic("z").expect("topic");
    let consumer = topic
        .consumer("g", &ConsumerOptions::default())
        .expect("consumer");
    let again = consumer.receive(1, Some(BOUND)).expect("receive");
    assert_eq!(again.len(), 1, "the lease came back");
}
