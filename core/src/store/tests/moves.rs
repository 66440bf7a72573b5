//! Dead letters that cannot be moved as others can, and what is behind them.

use super::*;
use crate::TopicOptions;
use crate::clock::ManualClock;
use crate::error::Error;
use crate::storage::{Fault, Twin};
use crate::store::aside::AGAIN_MS;
use crate::store::{Consumer, DeadLetterEntry, Message, Receipt, Topic};

const NOW: Option<Duration> = Some(Duration::ZERO);

/// A group's consumer in a store that nobody tends.
struct Scene {
    twin: Twin,
    clock: Arc<ManualClock>,
    store: Store,
    topic: Topic,
    worker: Consumer,
}

impl Scene {
    fn new() -> Self {
        let (twin, clock) = (Twin::new(), Arc::new(ManualClock::new(0, 1_000_000)));
        let (store, topic) = open_by(&twin, &clock);
        let worker = topic.consumer("g", &Default::default()).expect("consumer");
        Self {
            twin,
            clock,
            store,
            topic,
            worker,
        }
    }

    fn take(&self, count: usize) -> Vec<Receipt> {
        let got = self.worker.receive(count, NOW).expect("receive");
        assert_eq!(got.len(), count);
        got.iter().map(|one| one.receipt()).collect()
    }

    fn give_up(&self, payloads: &[&[u8]]) -> Result<()> {
        for payload in payloads {
            self.topic.send(&Message::new(payload)).expect("send");
        }
        let receipts = self.take(payloads.len());
        self.worker.dead_letter(&receipts, "no use")
    }

    fn letters(&self) -> Vec<DeadLetterEntry> {
        let group = self.topic.group("g").expect("group");
        group.dead_letters(99).expect("letters")
    }

    fn offsets(&self) -> Vec<u64> {
        self.letters().iter().map(|one| one.source_offset).collect()
    }

    /// What a receive tells of, where there is nothing to be had.
    fn told(&self) -> Option<Error> {
        match self.worker.receive(9, NOW) {
            Ok(found) => {
                assert!(found.is_empty());
                None
            }
            Err(error) => Some(error),
        }
    }
}

#[test]
fn p5_p12_a_letter_for_which_the_disk_has_no_room_keeps_no_smaller_one_behind_it() {
    let scene = Scene::new();
    scene.give_up(&[b"0"]).expect("dead letter");
    let large = vec![7; 2 << 20];
    let payloads: [&[u8]; 4] = [&large, b"2", &large, b"4"];
    for payload in payloads {
        scene.topic.send(&Message::new(payload)).expect("send");
    }
    let receipts = scene.take(payloads.len());
    scene.twin.fail(Fault::Allocate, 1);
    let error = scene.worker.dead_letter(&receipts, "no use");
    let error = error.expect_err("the disk is full");
    assert_eq!(error.kind(), ErrorKind::DiskFull);
    for part in [
        "topic \"t\"",
        "partition 0",
        "offset 1 ",
        "1 more",
        "make room",
    ] {
        assert!(error.message().contains(part), "{part}: {error}");
    }
    assert_eq!(scene.offsets(), [0, 2, 4]);
    // Told once by a process, however often it is tried again.
    for _ in 0..3 {
        assert!(scene.told().is_none(), "told again");
        scene.clock.advance_ms(AGAIN_MS);
    }
    // What fails later goes past them.
    scene.give_up(&[b"5"]).expect("a small one");
    assert_eq!(scene.offsets(), [0, 2, 4, 5]);
    scene.twin.heal();
    scene.clock.advance_ms(AGAIN_MS);
    assert!(scene.told().is_none());
    assert_eq!(scene.offsets(), [0, 2, 4, 5, 1, 3]);
    let stats = scene.topic.group("g").expect("group").stats();
    assert_eq!(stats.expect("stats").lag_messages, 0);
}

#[test]
fn p12_what_keeps_all_letters_is_told_to_who_settles_and_once_to_who_receives() {
    let scene = Scene::new();
    scene.give_up(&[b"0"]).expect("dead letter");
    scene.topic.send(&Message::new(b"1")).expect("send");
    scene.topic.send(&Message::new(b"2")).expect("send");
    let receipts = scene.take(2);
    scene.twin.fail(Fault::Sync, 1);
    for receipt in &receipts {
        let error = scene.worker.dead_letter(&[*receipt], "no use");
        let error = error.expect_err("the disk is away");
        for part in ["topic \"t\"", "partition 0", "group \"g\"", "tried again"] {
            assert!(error.message().contains(part), "{part}: {error}");
        }
    }
    let told = (0..9).filter(|_| {
        scene.clock.advance_ms(AGAIN_MS);
        scene.told().is_some()
    });
    assert!(told.count() <= 2, "told again and again");
    scene.twin.heal();
    for topic in [
        &scene.topic,
        &scene.store.open_topic("t.g.dlq").expect("topic"),
    ] {
        topic.sync().expect("the disk is back");
    }
    scene.clock.advance_ms(AGAIN_MS);
    assert!(scene.told().is_none());
    assert_eq!(scene.offsets(), [0, 1, 2]);
}

#[test]
fn p12_a_letter_is_not_refused_for_the_limit_of_its_topic() {
    let scene = Scene::new();
    let small = TopicOptions {
        max_message_bytes: Some(1),
        ..TopicOptions::default()
    };
    scene.store.topic("t.g.dlq", &small).expect("topic");
    scene.give_up(&[b"too large for it"]).expect("dead letter");
    assert_eq!(scene.offsets(), [0]);
}

#[test]
fn p12_p18_a_first_failure_that_cannot_be_and_an_endless_error_make_a_letter_all_the_same() {
    let scene = Scene::new();
    scene.topic.send(&Message::new(b"0")).expect("send");
    let receipts = scene.take(1);
    let group = scene.topic.group("g").expect("group").inner;
    group
        .with_window(0, |window| window.give_up(0, 1, 1, u64::MAX))
        .expect("window");
    let endless = "ä".repeat(64 << 10);
    group.remember_reason(0, 0, (endless, "w".to_owned()));
    crate::store::dying::move_dying(&group, 0, BOUND).expect("move");
    let letters = scene.letters();
    let headers: Vec<_> = letters[0].message.headers().collect();
    let first = headers.iter().find(|(name, _)| *name == "lq-first-failed");
    assert_eq!(first.expect("header").1, u64::MAX.to_string().as_bytes());
    assert_eq!(letters[0].error.len(), 64 << 10);
    drop(receipts);
}
