//! What retention takes, and what it leaves: by what groups have settled, by time, by bytes (P15).

use super::retention_caps::{HOUR, bytes, timed};
use super::*;
use crate::storage::Fault;
use crate::{
    ConsumerOptions, Delivery, Group, GroupOptions, Message, OnLost, PinnedBy, Retention,
    TopicOptions,
};

pub(super) const NOW: Option<Duration> = Some(Duration::ZERO);
/// A payload of which three fill the first segment, and six the second.
pub(super) const LARGE: usize = 300_000;

/// A topic that has this configuration, on a twin, by a clock that the test sets.
pub(super) struct Scene {
    pub(super) twin: Twin,
    pub(super) clock: Arc<ManualClock>,
    pub(super) store: Store,
    pub(super) topic: Topic,
}

impl Scene {
    pub(super) fn with(options: TopicOptions) -> Self {
        let twin = Twin::new();
        let clock = Arc::new(ManualClock::new(3_600_000_000_000, 1_000_000));
        let (store, topic) = open_by(&twin, &clock);
        topic.configure(&options).expect("configure");
        Self {
            twin,
            clock,
            store,
            topic,
        }
    }

    /// Messages that tell their numbers, of which three fill the first segment, six the next.
    pub(super) fn send(&self, numbers: std::ops::Range<u8>) {
        for number in numbers {
            let payload = vec![number; LARGE];
            self.topic.send(&Message::new(&payload)).expect("send");
        }
    }

    pub(super) fn retain(&self) {
        self.store
            .inner()
            .expect("open")
            .retain_now()
            .expect("retain");
    }

    /// As another process has the store open.
    pub(super) fn beside(&self) -> (Store, Topic) {
        open_by(&self.twin, &self.clock)
    }

    pub(super) fn earliest(&self) -> u64 {
        self.topic.stats().expect("stats").partitions[0].earliest_offset
    }

    pub(super) fn group(&self, name: &str) -> Group {
        self.topic
            .create_group(name, &GroupOptions::default())
            .expect("group")
    }
}

impl Topic {
    /// Has what was sent up to here in segments that may go, and removes those that may.
    pub(crate) fn retain_all_now(&self) -> Result<()> {
        for partition in &self.inner.partitions {
            partition.seal_older(i64::MAX)?;
        }
        self.inner.store.retain_now()
    }

    /// Offsets of a partition below this one were taken.
    pub(crate) fn first_kept(&self, partition: usize) -> u64 {
        self.inner.partitions[partition].first_kept()
    }
}

/// What a group hands out at once; it comes back when the consumer goes.
pub(super) fn take(topic: &Topic, group: &str, most: usize) -> Vec<Delivery> {
    let options = ConsumerOptions::default();
    let worker = topic.consumer(group, &options).expect("consumer");
    worker.receive(most, NOW).expect("receive")
}

/// Settles the next so many messages of a group.
pub(super) fn settle(topic: &Topic, group: &str, count: usize) {
    let worker = topic
        .consumer(group, &ConsumerOptions::default())
        .expect("consumer");
    let got = worker.receive(count, NOW).expect("receive");
    assert_eq!(got.len(), count);
    let receipts: Vec<_> = got.iter().map(Delivery::receipt).collect();
    worker.ack(&receipts).expect("ack");
    worker.close().expect("close");
}

pub(super) fn numbers(got: &[Delivery]) -> Vec<u8> {
    got.iter().map(|one| one.payload()[0]).collect()
}

#[test]
fn p15_whole_segments_go_once_every_group_has_settled_them_and_no_other() {
    let scene = Scene::with(TopicOptions::default());
    for name in ["fast", "slow"] {
        scene.group(name);
    }
    scene.send(0..12);
    settle(&scene.topic, "fast", 11);
    settle(&scene.topic, "slow", 2);
    scene.retain();
    assert_eq!(scene.earliest(), 0, "one of the first segment is left");
    let stats = scene.topic.stats().expect("stats");
    assert_eq!(stats.pinned_by, PinnedBy::Group("slow".into()));
    assert!(stats.pinned_bytes > 2 << 20, "two segments: {stats:?}");
    settle(&scene.topic, "slow", 1);
    scene.retain();
    assert_eq!(scene.earliest(), 3);
    settle(&scene.topic, "slow", 8);
    scene.clock.advance_ms(7_000);
    scene.retain();
    let stats = scene.topic.stats().expect("stats");
    assert_eq!(
        (stats.partitions[0].earliest_offset, stats.segments),
        (9, 1)
    );
    assert_eq!(
        (&stats.pinned_by, stats.pinned_bytes),
        (&PinnedBy::Nothing, 0)
    );
    assert_eq!(stats.pinned_seconds, 7.0);
    for name in ["fast", "slow"] {
        let stats = scene
            .topic
            .group(name)
            .expect("group")
            .stats()
            .expect("stats");
        assert_eq!(stats.lost_messages, 0);
    }
    assert_eq!(numbers(&take(&scene.topic, "slow", 9)), [11]);
    assert!(
        scene
            .twin
            .list(Path::new("/store/topics/t/0"))
            .expect("list")
            .len()
            < 4
    );
}

#[test]
fn p15_without_a_group_messages_wait_for_the_first_one() {
    let scene = Scene::with(TopicOptions::default());
    scene.send(0..12);
    scene.retain();
    let stats = scene.topic.stats().expect("stats");
    assert_eq!(
        (stats.messages, &stats.pinned_by),
        (12, &PinnedBy::Retention)
    );
    scene.group("g");
    settle(&scene.topic, "g", 12);
    scene.retain();
    assert_eq!(scene.earliest(), 9);
}

#[test]
fn p15_a_group_that_nobody_has_open_keeps_what_it_has_not_settled() {
    let scene = Scene::with(TopicOptions::default());
    scene.group("asleep");
    scene.group("awake");
    scene.send(0..12);
    settle(&scene.topic, "asleep", 4);
    let Scene {
        twin,
        clock,
        store,
        topic,
        ..
    } = scene;
    drop(topic);
    store.close().expect("the last one");
    let (store, topic) = open_by(&twin, &clock);
    settle(&topic, "awake", 12);
    store.inner().expect("open").retain_now().expect("retain");
    let stats = topic.stats().expect("stats");
    assert_eq!(stats.partitions[0].earliest_offset, 3);
    assert_eq!(stats.pinned_by, PinnedBy::Group("asleep".into()));
    assert_eq!(
        numbers(&take(&topic, "asleep", 9)),
        [4, 5, 6, 7, 8, 9, 10, 11]
    );
}

#[test]
fn p3_p15_a_group_whose_position_cannot_be_read_keeps_what_is_there() {
    let scene = Scene::with(TopicOptions::default());
    scene.group("damaged");
    scene.group("g");
    scene.send(0..12);
    settle(&scene.topic, "damaged", 4);
    let Scene {
        twin,
        clock,
        store,
        topic,
        ..
    } = scene;
    drop(topic);
    store.close().expect("the last one");
    // Its floor, as if it had settled all; the checksum of its close says otherwise.
    let window = Path::new("/store/topics/t/groups/damaged/0.window");
    let file = twin
        .open(window, crate::storage::Access::ReadWrite, 0)
        .expect("open");
    for word in [7, 8] {
        file.write_at(&12_u64.to_le_bytes(), word * 8)
            .expect("write");
    }
    let (store, topic) = open_by(&twin, &clock);
    settle(&topic, "g", 12);
    store.inner().expect("open").retain_now().expect("retain");
    assert_eq!(
        topic.stats().expect("stats").partitions[0].earliest_offset,
        0
    );
    // Bytes are a cap all the same.
    topic.configure(&bytes(1)).expect("configure");
    store.inner().expect("open").retain_now().expect("retain");
    assert_eq!(
        topic.stats().expect("stats").partitions[0].earliest_offset,
        9
    );
}

#[test]
fn p5_p15_retention_needs_no_room_on_the_disk() {
    let scene = Scene::with(TopicOptions::default());
    scene.group("g");
    scene.send(0..12);
    settle(&scene.topic, "g", 12);
    scene.twin.fail(Fault::Allocate, 1);
    scene.retain();
    assert_eq!(scene.earliest(), 9);
}

#[test]
fn p15_a_failed_sync_of_a_window_keeps_the_segments() {
    let scene = Scene::with(TopicOptions::default());
    scene.group("g");
    scene.send(0..12);
    settle(&scene.topic, "g", 12);
    scene.twin.fail(Fault::Sync, 1);
    let store = scene.store.inner().expect("open");
    store.retain_now().expect_err("the disk fails");
    scene.twin.heal();
    let folder = Path::new("/store/topics/t/0");
    let first = folder.join(crate::format::names::segment(0));
    assert!(scene.twin.exists(&first).expect("exists"));
    scene.retain();
    assert!(!scene.twin.exists(&first).expect("exists"));
    assert_eq!(scene.earliest(), 9);
}

#[test]
fn p15_a_process_looks_after_topics_that_it_never_opened_and_lets_go_of_what_it_had_mapped() {
    let scene = Scene::with(TopicOptions::default());
    let other = Store::open_in(
        &World {
            storage: Arc::new(scene.twin.clone()),
            clock: scene.clock.clone(),
            housekeeping: false,
        },
        Path::new("/store"),
        &options(),
    )
    .expect("open");
    scene.group("g");
    scene.send(0..12);
    let worker = scene
        .topic
        .consumer("g", &ConsumerOptions::default())
        .expect("consumer");
    let got = worker.receive(1, NOW).expect("receive");
    settle(&scene.topic, "g", 11);
    other.inner().expect("open").retain_now().expect("retain");
    assert_eq!(scene.earliest(), 0, "one is out");
    worker.ack(&[got[0].receipt()]).expect("ack");
    let partition = scene.topic.inner.partitions[0].clone();
    assert!(partition.mapped(0).is_some());
    other.inner().expect("open").retain_now().expect("retain");
    assert_eq!(scene.earliest(), 9);
    assert!(
        other
            .inner()
            .expect("open")
            .topics
            .lock()
            .expect("lock")
            .is_empty()
    );
    scene.store.inner().expect("open").look_around();
    assert!(partition.mapped(0).is_none() && partition.mapped(3).is_none());
    assert_eq!(got[0].payload(), vec![0; LARGE], "a view keeps its bytes");
}

#[test]
fn p15_one_process_at_a_time_looks_and_one_that_died_at_it_costs_a_while() {
    use crate::format::control::block::{RETAIN_DUE, RETAIN_LOCK};
    let scene = Scene::with(TopicOptions::default());
    scene.group("g");
    scene.send(0..12);
    settle(&scene.topic, "g", 12);
    let (other, _topic) = scene.beside();
    let head = &scene.topic.inner.block.head;
    let lock = head.word32(RETAIN_LOCK);
    let theirs = other.inner().expect("open").env.me;
    std::mem::forget(crate::shm::OwnerLock::try_hold(lock, theirs).expect("free"));
    scene.retain();
    assert_eq!(scene.earliest(), 0, "another one is at it");
    other.die();
    scene.retain();
    assert_eq!(scene.earliest(), 9);
    scene.send(12..40);
    settle(&scene.topic, "g", 28);
    let before = scene.earliest();
    // Not again at once, whatever the word says.
    let store = scene.store.inner().expect("open");
    let now = crate::clock::Clock::boot_ms(&*scene.clock);
    head.set(RETAIN_DUE, now + 1_000);
    store.retain();
    assert_eq!(scene.earliest(), before);
    scene.clock.advance_ms(1_000);
    head.set(RETAIN_DUE, u64::MAX);
    store.retain();
    assert!(scene.earliest() > before);
}

#[test]
fn p4_p15_offsets_go_on_where_nothing_is_left_and_after_every_kind_of_end() {
    let scene = Scene::with(timed(HOUR));
    scene.group("g");
    scene.send(0..12);
    scene.clock.advance_ms(8_000_000);
    scene.retain();
    assert_eq!(scene.topic.stats().expect("stats").messages, 0);
    for power in [false, true] {
        let image = match power {
            false => scene.twin.all_die(),
            true => scene.twin.power_loss(7),
        };
        let (_store, topic) = open_by(&image.expect("image"), &scene.clock);
        let id = topic.send(&Message::new(b"next")).expect("send");
        assert!(id.offset >= 12, "{id:?}");
        let stats = topic.stats().expect("stats");
        assert!(stats.partitions[0].earliest_offset >= 12, "{stats:?}");
        assert_eq!(take(&topic, "g", 9).len(), 1);
    }
}

#[test]
fn p15_the_configuration_is_stored_and_checked() {
    let scene = Scene::with(TopicOptions {
        on_lost: Some(OnLost::DeadLetter),
        retention_bytes: Some(5_000_000),
        ..timed(HOUR)
    });
    let check = |topic: &Topic| {
        let config = topic.config();
        let found = (config.retention, config.retention_bytes, config.on_lost);
        assert_eq!(
            found,
            (Retention::Time(HOUR), 5_000_000, OnLost::DeadLetter)
        );
    };
    check(&scene.topic);
    check(&scene.beside().1);
    let error = scene
        .topic
        .configure(&timed(Duration::ZERO))
        .expect_err("no time");
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    let error = scene
        .store
        .topic("t", &timed(2 * HOUR))
        .err()
        .expect("another one");
    assert_eq!(error.kind(), ErrorKind::ConfigMismatch);
    scene
        .topic
        .configure(&TopicOptions::default())
        .expect("nothing");
    check(&scene.topic);
}
