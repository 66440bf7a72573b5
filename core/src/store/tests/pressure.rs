//! Limits of topics, with what those who died, are stopped, or wrote into `control` leave (P14).

use super::*;
use crate::format::control::flow as at;
use crate::options::OnFull;
use crate::shm::{Owner, OwnerLock, Region};
use crate::store::flow::testing;
use crate::store::{ConsumerOptions, Message, Receipt};
use crate::{TopicOptions, store::Consumer};

const DEAD: Owner = Owner {
    slot: 5,
    generation: 5,
};
const LONG: Duration = Duration::from_secs(20);

fn limited(folder: &Path, most: u64, on_full: OnFull) -> (Store, Topic) {
    let store = Store::open(folder, options()).expect("open");
    let options = TopicOptions {
        max_messages: Some(most),
        on_full: Some(on_full),
        ..TopicOptions::default()
    };
    let topic = store.topic("t", &options).expect("topic");
    (store, topic)
}

fn flow(topic: &Topic) -> &Region {
    topic.inner.block.flow.as_ref().expect("a topic's")
}

fn send(topic: &Topic) -> crate::Result<crate::store::MessageId> {
    topic.send_within(&Message::new(b"x"), LONG)
}

fn fill(topic: &Topic, count: u64) {
    for _ in 0..count {
        send(topic).expect("room");
    }
}

fn worker(topic: &Topic) -> Consumer {
    topic
        .consumer("g", &ConsumerOptions::default())
        .expect("consumer")
}

fn settle(worker: &Consumer, count: usize) {
    let batch = worker.receive(count, Some(LONG)).expect("receive");
    let receipts: Vec<Receipt> = batch.iter().map(|one| one.receipt()).collect();
    assert_eq!(receipts.len(), count);
    worker.ack(&receipts).expect("ack");
}

fn is_full(topic: &Topic) {
    let error = topic.send(&Message::new(b"x")).expect_err("over the limit");
    assert_eq!(error.kind(), ErrorKind::Full, "{error}");
}

#[test]
fn p14_p17_who_dies_with_room_that_he_took_costs_no_room_and_no_limit_is_passed() {
    let folder = tempfile::tempdir().expect("folder");
    let (_store, topic) = limited(folder.path(), 4, OnFull::Reject);
    fill(&topic, 1);
    let lock = flow(&topic).word32(at::LOCK);
    // After each of the words that are written while room is taken, and while it is given.
    for word in [
        at::ROOM_MESSAGES,
        at::ROOM_BYTES,
        at::ROOM_NEWS,
        at::ROOM_CHANGED,
    ] {
        let before = flow(&topic).get(word);
        for value in [0, before.wrapping_sub(1)] {
            flow(&topic).set(word, value);
            assert!(OwnerLock::try_acquire(lock, DEAD));
            fill(&topic, 3);
            is_full(&topic);
            assert!(OwnerLock::is_free(lock));
            // All is settled, and there is room for all again.
            let worker = worker(&topic);
            let lag = topic
                .group("g")
                .expect("g")
                .stats()
                .expect("stats")
                .lag_messages;
            settle(&worker, lag as usize);
            fill(&topic, 1);
        }
    }
}

#[test]
fn p14_p17_who_dies_while_he_counts_leaves_counts_that_are_begun_anew() {
    let folder = tempfile::tempdir().expect("folder");
    let (_store, topic) = limited(folder.path(), 4, OnFull::Reject);
    let worker = worker(&topic);
    fill(&topic, 4);
    is_full(&topic);
    let group = topic.inner.group_inner("g").expect("group");
    let of_group = &group.block.partitions[0];
    let places = [
        (flow(&topic), at::COUNTED),
        (of_group, crate::format::control::group_partition::COUNTED),
    ];
    for (region, place) in places {
        for written in 0..=at::COUNTED_WORDS {
            // The era is taken away first and stands there last; what is in between is any.
            region.set(place, 0);
            for word in 1..written {
                region.set(place + word, 0x5555);
            }
            let lock = flow(&topic).word32(at::COUNT_LOCK);
            assert!(OwnerLock::try_acquire(lock, DEAD));
            is_full(&topic);
            settle(&worker, 1);
            fill(&topic, 1);
            is_full(&topic);
        }
    }
}

#[test]
fn p14_p17_a_dead_one_and_a_stopped_one_do_not_hold_up_those_behind() {
    let folder = tempfile::tempdir().expect("folder");
    let (store, topic) = limited(folder.path(), 3, OnFull::Block);
    let me = store.inner().expect("inner").env.me;
    fill(&topic, 2);
    // There is room, and he who is first does not take it: gone, and then not seen to go on.
    for owner in [DEAD, me] {
        testing::join(&topic, owner, 1).expect("a place");
        assert!(topic.try_send(&Message::new(b"x")).expect("try").is_none());
        fill(&topic, 1);
        assert!(!testing::anybody_waits(&topic));
        settle(&worker(&topic), 1);
    }
    // Places that cannot be: as if nobody waited.
    flow(&topic).set(at::HEAD, 7);
    flow(&topic).set(at::TAIL, u64::MAX - 7);
    fill(&topic, 1);
}

#[test]
fn p14_p17_a_stopped_one_who_wants_more_than_a_lowered_limit_does_not_hold_up_those_behind() {
    let folder = tempfile::tempdir().expect("folder");
    let (store, topic) = limited(folder.path(), 9, OnFull::Block);
    let me = store.inner().expect("inner").env.me;
    fill(&topic, 1);
    for wanted in [9, u64::MAX] {
        testing::join(&topic, me, wanted).expect("a place");
        let max_messages = Some(3);
        let lowered = TopicOptions {
            max_messages,
            ..TopicOptions::default()
        };
        topic.configure(&lowered).expect("lower");
        fill(&topic, 1);
        assert!(!testing::anybody_waits(&topic));
    }
}

#[test]
fn p14_more_wait_than_have_a_place_and_all_of_them_go_on() {
    let folder = tempfile::tempdir().expect("folder");
    let (_store, topic) = limited(folder.path(), 1, OnFull::Block);
    let worker = worker(&topic);
    fill(&topic, 1);
    let many = at::WAITING_SLOTS + 8;
    std::thread::scope(|scope| {
        for _ in 0..many {
            scope.spawn(|| send(&topic).expect("its turn comes"));
        }
        (0..=many).for_each(|_| settle(&worker, 1));
    });
    assert!(!testing::anybody_waits(&topic));
}

#[test]
fn p14_p18_whatever_stands_in_the_words_ends_no_process_and_hangs_nobody() {
    let folder = tempfile::tempdir().expect("folder");
    for on_full in [
        OnFull::Reject,
        OnFull::Block,
        OnFull::Throttle,
        OnFull::DropOldest,
    ] {
        let place = folder.path().join(on_full.name());
        let (_store, topic) = limited(&place, 20, on_full);
        let worker = worker(&topic);
        fill(&topic, 5);
        let mut seed = 7_u64;
        let mut next = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            seed >> 33
        };
        let locks = [at::LOCK, at::COUNT_LOCK, at::EVENT];
        for _ in 0..400 {
            let word = (next() % at::words(1) as u64) as usize;
            let value = match next() % 6 {
                0 => 0,
                1 => u64::MAX,
                2 => 1 << 63,
                3 => u64::MAX - next() % 100,
                4 => flow(&topic).get(word).wrapping_add(1),
                _ => next(),
            };
            if !locks.contains(&word) {
                flow(&topic).set(word, value);
            }
            let wait = Duration::from_millis(next() % 2);
            // Any answer; what counts is that there is one.
            let _ = topic.send_within(&Message::new(b"x"), wait);
            let _ = topic.try_send(&Message::new(b"y"));
            let pressure = topic.pressure();
            assert!(pressure.is_ok_and(|found| (0.0..=1.0).contains(&found)));
            if next() % 4 == 0 {
                let batch = worker.receive(3, Some(Duration::ZERO)).expect("receive");
                let receipts: Vec<Receipt> = batch.iter().map(|one| one.receipt()).collect();
                let _ = worker.ack(&receipts);
            }
        }
        // Written over once more by who counts, all is as it should be.
        for word in at::LOCK..at::words(1) {
            flow(&topic).set(word, 0);
        }
        flow(&topic).set(at::LIMITED, 1);
        while let Ok(batch) = worker.receive(50, Some(Duration::ZERO)) {
            if batch.is_empty() {
                break;
            }
            let receipts: Vec<Receipt> = batch.iter().map(|one| one.receipt()).collect();
            worker.ack(&receipts).expect("ack");
        }
        fill(&topic, 5);
    }
}

#[test]
fn p14_p17_a_group_whose_maker_died_before_he_told_counts_once_it_is_used() {
    let folder = tempfile::tempdir().expect("folder");
    let (store, topic) = limited(folder.path(), 4, OnFull::Reject);
    let worker = worker(&topic);
    fill(&topic, 4);
    settle(&worker, 4);
    // There is room for three more, as counted here.
    fill(&topic, 1);
    // Another process has it, made before the room was counted that this one has.
    let other = Store::open(folder.path(), options()).expect("open");
    let theirs = other.open_topic("t").expect("topic");
    let news = flow(&topic).get(at::NEWS);
    theirs
        .create_group("late", &crate::GroupOptions::default())
        .expect("group");
    flow(&topic).set(at::NEWS, news);
    drop(theirs);
    other.close().expect("close");
    let late = topic.group("late").expect("opens");
    is_full(&topic);
    drop((late, store));
}

#[test]
fn p6_p14_what_is_not_settled_counts_in_the_next_life_of_the_store() {
    let folder = tempfile::tempdir().expect("folder");
    for _ in 0..2 {
        let (store, topic) = limited(folder.path(), 4, OnFull::Reject);
        let worker = worker(&topic);
        while topic.send(&Message::new(b"x")).is_ok() {}
        is_full(&topic);
        let lag = || {
            topic
                .group("g")
                .expect("g")
                .stats()
                .expect("stats")
                .lag_messages
        };
        assert_eq!(lag(), 4);
        settle(&worker, 2);
        assert_eq!(topic.pressure().expect("pressure"), 0.5);
        drop((worker, topic));
        store.close().expect("close");
    }
}
