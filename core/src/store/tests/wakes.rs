//! Whoever makes a message ready wakes who sleeps for it. A sleeper that nobody wakes looks again
//! after a beat, so that no test with a sleeper would miss the wake-up: these look at the event
//! words themselves.

use super::*;
use crate::clock::ManualClock;
use crate::format::control::block as words;
use crate::shm::EventCount;
use crate::storage::Twin;
use crate::store::{Consumer, ConsumerOptions, Message, Topic};

const NOW: Option<Duration> = Some(Duration::ZERO);

/// A topic with two consumers of one group, in a store that nobody tends.
struct Scene {
    _store: Store,
    topic: Topic,
    consumer: Consumer,
    other: Consumer,
}

impl Scene {
    fn new() -> Self {
        let (store, topic) = open_by(&Twin::new(), &Arc::new(ManualClock::new(0, 1_000_000)));
        let with = ConsumerOptions::default();
        let consumer = topic.consumer("g", &with).expect("consumer");
        let other = topic.consumer("g", &with).expect("consumer");
        Self {
            _store: store,
            topic,
            consumer,
            other,
        }
    }

    /// Whether one that announced that it sleeps, as `receive` does, is woken by what is done.
    fn wakes(&self, what: impl FnOnce()) -> bool {
        let group = &self.other.group;
        let event = group.block.head.word32(words::EVENT);
        let token = EventCount::prepare(event);
        EventCount::prepare(group.topic.block.head.word32(words::GROUPS_EVENT));
        what();
        EventCount::wait(event, token, Duration::ZERO)
    }

    /// As `wakes`, of the thread that watches the group's descriptors, which has announced itself
    /// on its bell only.
    fn rings(&self, what: impl FnOnce()) -> bool {
        let group = &self.other.group;
        let control = &group.topic.store.control;
        control.set_watcher(&group.block.head, true);
        let bell = control.bell();
        let token = EventCount::prepare(bell.word());
        EventCount::prepare(group.topic.block.head.word32(words::GROUPS_EVENT));
        what();
        EventCount::wait(bell.word(), token, Duration::ZERO)
    }
}

#[test]
fn p10_a_message_that_is_sent_or_ready_again_wakes_who_sleeps_for_it() {
    let scene = Scene::new();
    assert!(!scene.wakes(|| {}), "woken by nothing");
    let send = || {
        assert_eq!(
            scene.topic.send(&Message::new(b"x")).expect("send").offset,
            0
        )
    };
    assert!(scene.wakes(send), "slept through a send");
    let batch = scene.consumer.receive(1, NOW).expect("receive");
    let receipts = [batch[0].receipt()];
    let release = || scene.consumer.release(&receipts).expect("release");
    assert!(scene.wakes(release), "slept through a release");
    let batch = scene.consumer.receive(1, NOW).expect("receive");
    assert_eq!(batch.len(), 1);
    let close = || scene.consumer.close().expect("close");
    assert!(scene.wakes(close), "slept through what a close gave back");
}

#[test]
fn p10_what_may_be_received_rings_the_bell_of_who_watches_descriptors() {
    let scene = Scene::new();
    assert!(!scene.rings(|| {}), "rung by nothing");
    let send = || {
        scene.topic.send(&Message::new(b"x")).expect("send");
    };
    assert!(scene.rings(send), "not rung by a send");
    let batch = scene.consumer.receive(1, NOW).expect("receive");
    let receipts = [batch[0].receipt()];
    let release = || scene.consumer.release(&receipts).expect("release");
    assert!(scene.rings(release), "not rung by a release");
    assert_eq!(scene.consumer.receive(1, NOW).expect("receive").len(), 1);
    let close = || scene.consumer.close().expect("close");
    assert!(scene.rings(close), "not rung by what a close gave back");
    let head = &scene.other.group.block.head;
    let control = &scene.other.group.topic.store.control;
    let unwatched = || {
        control.set_watcher(head, false);
        send();
    };
    assert!(!scene.rings(unwatched), "rung for what nobody watches");
}

#[test]
fn p10_an_ack_that_makes_room_in_a_full_window_wakes_who_waits_for_it() {
    let scene = Scene::new();
    let window = crate::options::GroupOptions {
        window: Some(256),
        ..Default::default()
    };
    let with = ConsumerOptions {
        group: window,
        ..ConsumerOptions::default()
    };
    let consumer = scene.topic.consumer("small", &with).expect("consumer");
    for _ in 0..300 {
        scene.topic.send(&Message::new(b"x")).expect("send");
    }
    let mut batch = Vec::new();
    while batch.len() < 256 {
        batch.extend(consumer.receive(300, NOW).expect("receive"));
    }
    let (first, later) = ([batch[0].receipt()], [batch[9].receipt()]);
    let event = consumer.group.block.head.word32(words::EVENT);
    let wakes = |receipts| {
        let token = EventCount::prepare(event);
        consumer.ack(receipts).expect("ack");
        EventCount::wait(event, token, Duration::ZERO)
    };
    assert!(
        !wakes(&later),
        "there is no room before the first is settled"
    );
    assert!(wakes(&first), "slept through the room that there is");
}
