//! Changing and deleting a topic while others are at work in it, and a death at every step of that.

use std::sync::Mutex;

use super::create_lock::put_away;
use super::group_changes::{at_each_step, prepared};
use super::*;
use crate::format::control::block::{CHANGE, CHANGING};
use crate::format::control::partition::SLOW_LOCK;
use crate::format::record::body_crc;
use crate::log::Draft;
use crate::shm::OwnerLock;
use crate::storage::Fault;
use crate::store::in_force::InForce;
use crate::{ConsumerOptions, Durability, Message, ReaderOptions, TopicOptions};

fn largest(bytes: u64) -> TopicOptions {
    TopicOptions {
        max_message_bytes: Some(bytes),
        ..TopicOptions::default()
    }
}

#[test]
fn p17_a_death_at_any_step_of_configuring_leaves_the_old_or_the_new_topic_in_force_for_all() {
    let seen = Mutex::new((0, 0));
    let died = at_each_step("configure topic", |path, _store, topic, _group| {
        let sent = topic.send(&Message::new(b"12345678"));
        let mut seen = seen.lock().expect("lock");
        let before = match &sent {
            Ok(_) => {
                seen.0 += 1;
                (1 << 30, None)
            }
            Err(error) => {
                seen.1 += 1;
                assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
                (7, Some(Durability::Sync))
            }
        };
        let config = topic.config();
        assert_eq!((config.max_message_bytes, config.durability), before);
        // It can be changed by the next one.
        topic.configure(&largest(9)).expect("configure");
        let other = Store::open(path, options()).expect("open");
        let config = other.open_topic("t").expect("topic").config();
        assert_eq!((config.max_message_bytes, config.durability), (9, before.1));
    });
    let seen = seen.into_inner().expect("lock");
    assert!(
        died > 3 && seen.0 > 1 && seen.1 > 0,
        "{died} deaths, {seen:?}"
    );
}

#[test]
fn p17_a_death_at_any_step_of_deleting_leaves_the_topic_or_none() {
    let seen = Mutex::new((0, 0));
    let died = at_each_step("delete topic", |path, store, topic, group| {
        let mut seen = seen.lock().expect("lock");
        let there = store.topics().expect("topics");
        match topic.send(&Message::new(b"another")) {
            Ok(_) => {
                seen.0 += 1;
                assert_eq!(there, ["t"]);
                assert_eq!(group.stats().expect("stats").lag_messages, 4);
                store.delete_topic("t").expect("deleted by the next one");
            }
            Err(error) => {
                seen.1 += 1;
                assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
                assert!(error.message().contains("deleted"), "{error}");
                assert!(there.is_empty(), "{there:?}");
            }
        }
        let left = snapshot(&path.join("topics"));
        assert_eq!(left.len(), 1, "{left:?}");
        assert_eq!(put_away(&Disk, path), 0);
        for error in [group.stats().err(), topic.stats().err()] {
            assert_eq!(error.expect("it is gone").kind(), ErrorKind::NotFound);
        }
        // Another one of the name begins anew, for those who knew the old one as well.
        let again = store.topic("t", &TopicOptions::default()).expect("topic");
        assert_eq!(again.send(&Message::new(b"first")).expect("send").offset, 0);
        let worker = again
            .consumer("g", &ConsumerOptions::default())
            .expect("consumer");
        let got = worker.receive(9, Some(BOUND)).expect("receive");
        assert_eq!((got.len(), got[0].payload()), (1, &b"first"[..]));
        assert!(topic.send(&Message::new(b"late")).is_err());
    });
    let seen = seen.into_inner().expect("lock");
    assert!(
        died > 8 && seen.0 > 2 && seen.1 > 4,
        "{died} deaths, {seen:?}"
    );
}

#[test]
fn p17_who_waits_in_a_topic_that_is_deleted_is_told() {
    let folder = tempfile::tempdir().expect("folder");
    let (store, topic, _group) = prepared(folder.path());
    let worker = topic
        .consumer("g", &ConsumerOptions::default())
        .expect("consumer");
    let got = worker.receive(9, Some(BOUND)).expect("receive");
    let mut reader = topic.reader(&ReaderOptions::default()).expect("reader");
    assert_eq!(reader.receive(9, None).expect("read").len(), 3);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| worker.receive(1, Some(BOUND)).map(|got| got.len()));
        let reading = scope.spawn(|| reader.receive(1, Some(BOUND)).map(|got| got.len()));
        let other = Store::open(folder.path(), options()).expect("open");
        other.delete_topic("t").expect("delete");
        for told in [waiting, reading] {
            let error = told.join().expect("thread").expect_err("it is gone");
            assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        }
    });
    // What was handed out can still be looked at.
    assert_eq!(got[0].payload(), b"0");
    let error = worker.ack(&[got[0].receipt()]).expect_err("it is gone");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    drop((got, worker, reader, topic, _group));
    store.close().expect("nothing of it is left to do");
}

#[test]
fn p2_what_is_sent_after_a_topic_was_made_sync_is_on_disk() {
    let (twin, clock) = (Twin::new(), Arc::new(ManualClock::new(0, 1_000_000)));
    let (store, topic) = open_by(&twin, &clock);
    let other = store.open_topic("t").expect("topic");
    topic.send(&Message::new(b"before")).expect("send");
    let durability = Some(Durability::Sync);
    topic
        .configure(&TopicOptions {
            durability,
            ..TopicOptions::default()
        })
        .expect("configure");
    let sent = other.send(&Message::new(b"after")).expect("send");
    assert_eq!(other.durable_offsets(), [sent.offset + 1]);
    assert_eq!(other.config().durability, durability);
}

#[test]
fn p2_what_was_promised_at_an_interval_is_on_disk_before_nobody_keeps_to_it() {
    let hours = |n: u64| Durability::Interval(Duration::from_secs(3_600 * n));
    for to in [Durability::Process, Durability::Sync, hours(2)] {
        let (twin, clock) = (Twin::new(), Arc::new(ManualClock::new(0, 1_000_000)));
        let (store, _) = open_by(&twin, &clock);
        let with = |durability| TopicOptions {
            durability: Some(durability),
            ..TopicOptions::default()
        };
        let topic = store.topic("i", &with(hours(1))).expect("topic");
        topic.send(&Message::new(b"promised")).expect("send");
        assert_eq!(topic.durable_offsets(), [0]);
        // Until it is on disk the promise is the old one.
        twin.fail(Fault::Sync, 2);
        let error = topic.configure(&with(to)).expect_err("the log's sync");
        assert_eq!(error.kind(), ErrorKind::Io, "{error}");
        assert!(matches!(topic.inner.durability(), Durability::Interval(_)));
        twin.heal();
        topic.configure(&with(to)).expect("configure");
        assert_eq!(topic.durable_offsets(), [1], "{to:?}");
        assert_eq!(topic.inner.durability(), to);
    }
}

#[test]
fn p17_one_who_is_stopped_while_he_names_a_file_keeps_nobody_from_being_told() {
    let folder = tempfile::tempdir().expect("folder");
    let (_others, topic, group) = prepared(folder.path());
    let short = StoreOptions {
        lock_timeout: Duration::from_millis(50),
        ..options()
    };
    let store = Store::open(folder.path(), short).expect("open");
    let stopped = Store::open(folder.path(), options()).expect("open");
    let env = &stopped.inner().expect("open").env;
    let slow = topic.inner.block.partitions[1].word32(SLOW_LOCK);
    let (held, _) = OwnerLock::hold(slow, env.me, &*env.live, BOUND).expect("lock");
    let error = store.delete_topic("t").expect_err("he may be naming one");
    assert_eq!(error.kind(), ErrorKind::Stuck, "{error}");
    assert!(error.message().contains("is deleted"), "{error}");
    for error in [
        topic.send(&Message::new(b"late")).err(),
        group.stats().err(),
    ] {
        assert_eq!(error.expect("it is gone").kind(), ErrorKind::NotFound);
    }
    let left = || folder.path().join("topics/t/1/reserve").exists();
    assert!(store.topics().expect("topics").is_empty());
    assert!(left(), "not while he may be at it");
    drop(held);
    assert!(store.topics().expect("topics").is_empty());
    assert!(!left());
}

#[test]
fn p4_p17_who_has_a_deleted_topic_open_names_no_file_in_another_one() {
    let folder = tempfile::tempdir().expect("folder");
    let (store, topic, _group) = prepared(folder.path());
    let old = topic.inner.partitions[0].clone();
    store.delete_topic("t").expect("delete");
    let again = store.topic("t", &TopicOptions::default()).expect("topic");
    again.send(&Message::new(b"first")).expect("send");
    let files = snapshot(&folder.path().join("topics/t"));
    // As one who had looked at the topic's word before it was deleted.
    let payload = vec![7; 4 << 20];
    let draft = Draft {
        extension: &[],
        key: None,
        headers: &[],
        payload: &payload,
        timestamp_ns: None,
        body_crc: body_crc([&[], &[], &[], &payload]),
        key_hash: 0,
    };
    for error in [old.append(&[draft]).err(), old.make_room(&[draft]).err()] {
        let error = error.expect("there is no room, and none can be made");
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    }
    assert!(
        snapshot(&folder.path().join("topics/t")) == files,
        "changed"
    );
}

#[test]
fn p19_housekeeping_lets_go_of_a_topic_that_another_process_deleted() {
    let (twin, clock) = (Twin::new(), Arc::new(ManualClock::new(0, 1_000_000)));
    let (store, topic) = open_by(&twin, &clock);
    let (other, there) = open_by(&twin, &clock);
    topic.create_group("g", &Default::default()).expect("group");
    there.group("g").expect("group");
    let inner = other.inner().expect("open");
    let tended = || {
        let parts = crate::store::inner::locked(&inner.tended);
        let of_topic = parts
            .keys()
            .filter(|path| path.starts_with("/store/topics/t"));
        of_topic.count()
    };
    inner.look_around();
    assert_eq!(tended(), 2, "a partition and a group");
    store.delete_topic("t").expect("delete");
    inner.look_around();
    assert_eq!(tended(), 0);
}

#[test]
fn p5_a_deletion_that_fails_leaves_the_topic_to_all_or_is_finished_by_the_next_one() {
    let (twin, clock) = (Twin::new(), Arc::new(ManualClock::new(0, 1_000_000)));
    let (store, topic) = open_by(&twin, &clock);
    topic.send(&Message::new(b"kept")).expect("send");
    twin.fail(Fault::Sync, 1);
    let error = store.delete_topic("t").expect_err("the disk fails");
    assert_eq!(error.kind(), ErrorKind::Io, "{error}");
    twin.heal();
    topic.send(&Message::new(b"too")).expect("it is there");
    twin.fail(Fault::Name, 3);
    let error = store
        .delete_topic("t")
        .expect_err("files cannot be removed");
    assert!(error.message().contains("is deleted"), "{error}");
    twin.heal();
    assert!(topic.send(&Message::new(b"late")).is_err());
    assert!(store.topics().expect("topics").is_empty());
    let again = store.topic("t", &TopicOptions::default()).expect("topic");
    assert_eq!(again.send(&Message::new(b"first")).expect("send").offset, 0);
}

#[test]
fn p18_no_word_of_a_topic_keeps_a_send_from_ending() {
    let folder = tempfile::tempdir().expect("folder");
    let (_store, topic, _group) = prepared(folder.path());
    let words = (0..64).map(|bit| 1_u64 << bit);
    for word in words.chain([u64::MAX - 1, u64::MAX - 4, 3, 7]) {
        topic.inner.set_changed(word);
        let _ = topic.send(&Message::new(b"x"));
        topic.inner.set_changed(word);
        let _ = topic.configure(&TopicOptions::default());
    }
    topic.inner.set_changed(CHANGE | CHANGING);
    assert!(topic.send(&Message::new(b"x")).is_ok());
    assert_eq!(topic.inner.changed(), 2 * CHANGE, "nobody is at it");
}

#[test]
fn a_change_that_cannot_be_is_refused_and_changes_nothing() {
    let folder = tempfile::tempdir().expect("folder");
    let (store, topic, _group) = prepared(folder.path());
    let partitions = Some(2);
    let error = topic
        .configure(&TopicOptions {
            partitions,
            ..largest(5)
        })
        .expect_err("keys would lose their order");
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.message().contains("expected 3"), "{error}");
    assert_eq!(topic.config().max_message_bytes, 1 << 30);
    assert!(topic.configure(&largest(0)).is_err());
    let error = store.delete_topic("none").expect_err("there is none");
    assert_eq!(error.kind(), ErrorKind::NotFound);
}
