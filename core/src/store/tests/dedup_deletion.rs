//! Deleting a topic of which somebody writes ledgers just then (P8, P17).

use super::*;
use crate::TopicOptions;
use crate::format::control::sent::SLOW_LOCK;
use crate::options::DedupWindow;
use crate::shm::OwnerLock;
use crate::store::{Message, Producer};

fn with_ids(store: &Store) -> (Topic, Producer) {
    let options = TopicOptions {
        dedup_window: Some(DedupWindow::Time(Duration::from_secs(3600))),
        ..TopicOptions::default()
    };
    let topic = store.topic("t", &options).expect("topic");
    let till = topic.producer("till").expect("producer");
    (topic, till)
}

fn send(topic: &Topic, till: &Producer, from: u64, to: u64) {
    for number in from..to {
        let id = number.to_le_bytes();
        topic.send(&Message::new(b"x").dedup_id(&id)).expect("send");
        till.send(&Message::new(b"y"), None).expect("send");
    }
}

#[test]
fn p17_one_who_is_stopped_while_he_writes_a_ledger_keeps_its_files_and_nobody_from_being_told() {
    for of_producer in [false, true] {
        let folder = tempfile::tempdir().expect("folder");
        let others = Store::open(folder.path(), options()).expect("open");
        let (topic, till) = with_ids(&others);
        send(&topic, &till, 0, 2);
        let short = StoreOptions {
            lock_timeout: Duration::from_millis(50),
            ..options()
        };
        let store = Store::open(folder.path(), short).expect("open");
        let stopped = Store::open(folder.path(), options()).expect("open");
        let env = &stopped.inner().expect("open").env;
        let slow = match of_producer {
            true => till.slow_lock_in_test(),
            false => topic.inner.block.head.word32(SLOW_LOCK),
        };
        let (held, _) = OwnerLock::hold(slow, env.me, &*env.live, BOUND).expect("lock");
        let error = store.delete_topic("t").expect_err("he may be writing");
        assert_eq!(error.kind(), ErrorKind::Stuck, "{error}");
        assert!(error.message().contains("is deleted"), "{error}");
        let late = topic.send(&Message::new(b"late").dedup_id(b"late"));
        assert_eq!(late.expect_err("gone").kind(), ErrorKind::NotFound);
        let left = || {
            let topic = folder.path().join("topics/t");
            topic.join("dedup/mark").exists() && topic.join("producers/till/ring").exists()
        };
        assert!(store.topics().expect("topics").is_empty());
        assert!(left(), "not while he may be at it");
        drop(held);
        assert!(store.topics().expect("topics").is_empty());
        assert!(!folder.path().join("topics/t").exists());
    }
}

#[test]
fn p8_p17_who_is_late_with_a_ledger_of_a_deleted_topic_changes_none_of_another_one() {
    let folder = tempfile::tempdir().expect("folder");
    // Nobody keeps house meanwhile: all that changes is the late one's doing.
    let quiet = World {
        housekeeping: false,
        ..world()
    };
    let store = Store::open_in(&quiet, folder.path(), &options()).expect("open");
    let (topic, till) = with_ids(&store);
    send(&topic, &till, 0, 40);
    store.delete_topic("t").expect("delete");
    // Where there is none, and in another topic of the name, whose log is shorter.
    for again in [false, true] {
        let other = again.then(|| with_ids(&store));
        if let Some((topic, till)) = &other {
            send(topic, till, 0, 2);
        }
        let files = snapshot(&folder.path().join("topics"));
        for late in [
            topic.inner.tables.tend_late_in_test(),
            till.tend_late_in_test(),
        ] {
            let error = late.expect_err("it is deleted");
            assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        }
        assert!(snapshot(&folder.path().join("topics")) == files, "changed");
    }
}
