//! Another dead-letter topic for a group, or none, and the letters that are in the former one.

use super::redrives::{Scene, receipts};
use super::*;
use crate::format::control::block::MOVER_LOCK;
use crate::options::{DeadLetter, GroupOptions, OnDeadLetter};
use crate::shm::OwnerLock;
use crate::store::{Group, Message, RedriveOptions};

fn to(target: DeadLetter) -> GroupOptions {
    GroupOptions {
        dead_letter_topic: Some(target),
        ..GroupOptions::default()
    }
}

fn elsewhere() -> GroupOptions {
    to(DeadLetter::Topic("dead".into()))
}

/// The change is refused for so many letters, and everything is as it was.
fn refused(group: &Group, changes: &GroupOptions, left: &str) {
    let before = group.config();
    let error = group.configure(changes).expect_err("letters are left");
    assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
    for part in [left, "topic \"t.g.dlq\"", "redrive or purge"] {
        assert!(error.message().contains(part), "{part}: {error}");
    }
    assert_eq!(group.config(), before);
}

#[test]
fn p12_letters_go_nowhere_else_while_any_is_left_where_nobody_would_look_any_more() {
    let scene = Scene::new();
    let group = scene.group();
    scene.bury(&[b"0", b"1", b"2", b"3"]);
    for changes in [elsewhere(), to(DeadLetter::Drop)] {
        refused(&group, &changes, "has 4 dead letters");
    }
    // The same topic by its name is no other one.
    let same = to(DeadLetter::Topic("t.g.dlq".into()));
    group.configure(&same).expect("no change");
    assert_eq!(scene.offsets(), [0, 1, 2, 3]);
    let ids = scene.letter_ids();
    let named = |ids| RedriveOptions {
        ids: Some(ids),
        ..RedriveOptions::default()
    };
    assert_eq!(group.redrive(named(&ids[1..2])).expect("redrive"), 1);
    let out = group.configure(&elsewhere()).expect_err("one is out");
    assert!(out.message().contains("not settled"), "{out}");
    scene.worker.ack(&receipts(&scene.take())).expect("ack");
    refused(&group, &elsewhere(), "has 3 dead letters");
    group.purge_dead_letters(Some(&ids[2..3])).expect("purge");
    // Beside those that the lane knows of, one that came later.
    scene.bury(&[b"4"]);
    refused(&group, &elsewhere(), "has 3 dead letters");
    assert_eq!(scene.offsets(), [0, 3, 4]);
    assert_eq!(group.purge_dead_letters(None).expect("purge"), 3);
    group.configure(&elsewhere()).expect("none is left");
    scene.bury(&[b"5"]);
    assert_eq!(scene.offsets(), [5]);
    group.purge_dead_letters(None).expect("purge");
    group
        .configure(&to(DeadLetter::Drop))
        .expect("none is left");
    scene.bury(&[b"6"]);
    group.configure(&to(DeadLetter::Default)).expect("back");
    assert!(scene.letters().is_empty());
    scene.bury(&[b"7"]);
    assert_eq!(scene.offsets(), [7]);
}

#[test]
fn p12_what_is_left_of_held_keys_and_letters_of_others_keep_no_group_where_it_is() {
    let scene = Scene::new();
    let group = scene.group();
    let holds = GroupOptions {
        on_dead_letter: Some(OnDeadLetter::HoldKey),
        ..GroupOptions::default()
    };
    group.configure(&holds).expect("holds");
    for payload in [&b"0"[..], b"1"] {
        scene
            .topic
            .send(&Message::new(payload).key(payload))
            .expect("send");
    }
    let got = scene.take();
    scene
        .worker
        .dead_letter(&receipts(&got), "no use")
        .expect("bury");
    assert_eq!(
        group.configure(&elsewhere()).expect_err("held").kind(),
        ErrorKind::Busy
    );
    group.settle(got[0].id()).expect("settle");
    assert_eq!(
        group.redrive(RedriveOptions::default()).expect("redrive"),
        1
    );
    scene.worker.ack(&receipts(&scene.take())).expect("ack");
    // Another group's letters, in the same topic.
    let options = crate::store::ConsumerOptions {
        group: to(DeadLetter::Topic("t.g.dlq".into())),
        ..crate::store::ConsumerOptions::default()
    };
    let other = scene.topic.consumer("h", &options).expect("h");
    let got = other.receive(1, Some(Duration::ZERO)).expect("receive");
    other.dead_letter(&receipts(&got), "no use").expect("bury");
    group.configure(&elsewhere()).expect("none is its own");
}

#[test]
fn p12_a_letter_that_is_being_moved_is_waited_for_and_counts() {
    let scene = Scene::new();
    let group = scene.group();
    scene.send(&[b"0"]);
    let got = scene.take();
    let inner = &group.inner;
    let env = &*inner.topic.store.env;
    std::thread::scope(|scope| {
        let lock = inner.block.head.word32(MOVER_LOCK);
        let (mover, _) = OwnerLock::hold(lock, env.me, &*env.live, BOUND).expect("free");
        let changes = scope.spawn(|| group.configure(&elsewhere()));
        // It cannot be done while somebody moves letters.
        inner.with_window(0, |_| ()).expect("window");
        assert!(!changes.is_finished());
        drop(mover);
        changes.join().expect("thread").expect("none is left");
    });
    scene
        .worker
        .dead_letter(&receipts(&got), "no use")
        .expect("bury");
    assert_eq!(scene.offsets(), [0]);
    let letters = scene.store.open_topic("dead").expect("dead");
    assert_eq!(letters.stats().expect("stats").messages, 1);
    assert!(scene.store.open_topic("t.g.dlq").is_err(), "in both places");
}
