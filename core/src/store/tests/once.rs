//! Groups that hand out at most once (P7): what is in the middle of being handed over while a disk
//! is slow or fails, its consumer is taken for gone, or the group is changed.

use super::gates::{Gate, Gated};
use super::*;
use crate::clock::ManualClock;
use crate::options::{DeliveryMode, Durability, GroupOptions, TopicOptions};
use crate::storage::{Access, Fault, Storage, Twin};
use crate::store::{Consumer, ConsumerOptions, GroupStats, Message, ReceiveOptions, Topic};

const NOW: Option<Duration> = Some(Duration::ZERO);

struct Scene {
    clock: Arc<ManualClock>,
    storage: Arc<dyn Storage>,
    path: PathBuf,
}

fn group_options() -> ConsumerOptions {
    ConsumerOptions {
        group: GroupOptions {
            delivery: Some(DeliveryMode::AtMostOnce),
            ..GroupOptions::default()
        },
        ..ConsumerOptions::default()
    }
}

impl Scene {
    fn on(storage: Arc<dyn Storage>, path: &Path) -> Self {
        Self {
            clock: Arc::new(ManualClock::new(1_700_000_000_000_000_000, 1_000_000)),
            storage,
            path: path.to_owned(),
        }
    }

    /// A process of its own, as far as anybody can tell.
    fn enter(&self, durability: Durability) -> Store {
        let world = World {
            storage: self.storage.clone(),
            clock: self.clock.clone(),
            housekeeping: false,
        };
        let options = StoreOptions {
            durability,
            ..options()
        };
        Store::open_in(&world, &self.path, &options).expect("open")
    }
}

fn topic(store: &Store, partitions: u32) -> Topic {
    let options = TopicOptions {
        partitions: Some(partitions),
        ..TopicOptions::default()
    };
    store.topic("t", &options).expect("topic")
}

fn consumer(topic: &Topic) -> Arc<Consumer> {
    Arc::new(topic.consumer("g", &group_options()).expect("consumer"))
}

fn send(topic: &Topic, partition: u32) {
    let message = Message::new(b"x").partition(partition);
    topic.send(&message).expect("send");
}

/// Offsets of what is handed out now.
fn receive(consumer: &Consumer) -> Vec<u64> {
    let batch = consumer.receive(200, NOW).expect("receive");
    batch.iter().map(|one| one.offset()).collect()
}

fn stats(topic: &Topic) -> GroupStats {
    topic.group("g").expect("group").stats().expect("stats")
}

/// One whose receive call waits for the disk, with one message given; what happens meanwhile; and
/// what the call returned in the end.
fn while_the_disk_is_slow(meanwhile: impl FnOnce(&Scene, &Store, &Topic, &Consumer)) -> Vec<u64> {
    let (folder, gate) = (tempfile::tempdir().expect("folder"), Arc::default());
    let scene = Scene::on(Arc::new(Gated(Arc::clone(&gate))), folder.path());
    let store = scene.enter(Durability::Sync);
    let topic = topic(&store, 1);
    let consumer = consumer(&topic);
    send(&topic, 0);
    Gate::set_closed(&gate, true);
    let receiving = {
        let consumer = consumer.clone();
        std::thread::spawn(move || receive(&consumer))
    };
    gate.until_one_waits();
    meanwhile(&scene, &store, &topic, &consumer);
    gate.set_closed(false);
    receiving.join().expect("receive")
}

#[test]
fn p7_one_whose_lease_ends_while_its_window_goes_to_the_disk_is_handed_over_once() {
    let got = while_the_disk_is_slow(|scene, _, topic, _| {
        let other = consumer(topic);
        assert_eq!(receive(&other), [0_u64; 0]);
        scene.clock.advance_ms(31_000);
        assert_eq!(receive(&other), [0_u64; 0], "it may have been handed over");
        let stats = stats(topic);
        assert_eq!((stats.lost_messages, stats.lag_messages), (1, 0));
    });
    assert_eq!(got, [0], "only this call could hand it over");
}

#[test]
fn p7_p10_one_that_is_taken_for_dead_while_its_window_goes_to_the_disk_hands_over_once() {
    let got = while_the_disk_is_slow(|scene, store, _, _| {
        let well = Scene::on(Arc::new(Gated(Arc::default())), &scene.path);
        let other = well.enter(Durability::Process);
        let there = other.open_topic("t").expect("topic");
        let second = consumer(&there);
        store.die();
        other.inner().expect("open").find_dead(0).expect("found");
        assert_eq!(receive(&second), [0_u64; 0]);
        assert_eq!(stats(&there).lost_messages, 1);
    });
    assert_eq!(got, [0]);
}

#[test]
fn p7_p9_a_close_meanwhile_gives_back_nothing_that_is_being_handed_over() {
    let got = while_the_disk_is_slow(|_, _, topic, consumer| {
        consumer.close().expect("close");
        assert_eq!(stats(topic).lost_messages, 0);
    });
    assert_eq!(got, [0]);
}

#[test]
fn p7_what_is_being_handed_over_is_settled_by_hand_or_with_its_group_and_comes_once() {
    let got = while_the_disk_is_slow(|_, _, topic, _| {
        let group = topic.group("g").expect("group");
        let id = group.peek(0, 0).expect("peek").message.id();
        let refused = group.delay(id, Duration::ZERO).expect_err("given");
        assert_eq!(refused.kind(), ErrorKind::StaleReceipt);
        let refused = group.dead_letter(id, "no use").expect_err("given");
        assert_eq!(refused.kind(), ErrorKind::StaleReceipt);
        group.settle(id).expect("settled");
        assert_eq!(receive(&consumer(topic)), [0_u64; 0]);
    });
    assert_eq!(got, [0]);
}

#[test]
fn p5_p7_a_window_that_does_not_reach_the_disk_hands_nothing_over_and_loses_nothing() {
    let twin = Twin::new();
    let scene = Scene::on(Arc::new(twin.clone()), Path::new("/store"));
    let store = scene.enter(Durability::Sync);
    let topic = topic(&store, 2);
    let consumer = consumer(&topic);
    send(&topic, 0);
    send(&topic, 1);
    twin.fail(Fault::Sync, 1);
    let error = consumer.receive(9, NOW).expect_err("the disk is away");
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(error.message().contains(".window"), "{error}");
    twin.heal();
    let error = consumer.pending().is_none();
    assert!(error, "one error for one call");
    // Of two partitions the one is on disk, the other is not.
    twin.fail(Fault::Sync, 2);
    let batch = consumer.receive(9, NOW).expect("the first partition's");
    assert_eq!((batch.len(), batch[0].attempt()), (1, 1));
    twin.heal();
    assert_eq!(consumer.pending().expect("kept").kind(), ErrorKind::Io);
    let rest = consumer.receive(9, NOW).expect("the other partition's");
    assert_eq!((rest.len(), rest[0].attempt()), (1, 1));
    assert_ne!(rest[0].partition(), batch[0].partition());
    let stats = stats(&topic);
    assert_eq!((stats.delivered, stats.acked), (2, 2));
    assert_eq!((stats.redelivered, stats.lost_messages), (0, 0));
}

#[test]
fn p5_p7_who_puts_a_window_on_disk_after_one_who_died_at_it_writes_all_of_it_again() {
    for seed in 0..40 {
        let twin = Twin::new();
        let scene = Scene::on(Arc::new(twin.clone()), Path::new("/store"));
        let store = scene.enter(Durability::Sync);
        let (here, dying) = (topic(&store, 1), scene.enter(Durability::Process));
        let mine = consumer(&here);
        // The first one holds the floor, so that all of the window means something. What was put on
        // disk of the others says that they are still to come.
        for number in 0..200 {
            let delay = Duration::from_secs(if number == 0 { 3600 } else { 1 });
            let message = Message::new(b"x").delay(delay);
            here.send(&message).expect("send");
        }
        assert_eq!(receive(&mine), [0_u64; 0]);
        let group = here.inner.group_inner("g").expect("group");
        group.sync_window(0).expect("sync");
        scene.clock.advance_ms(2_000);
        // Settled, and not on disk.
        let there = dying.open_topic("t").expect("topic");
        let first = consumer(&there);
        let before = first.receive(150, NOW).expect("receive");
        assert_eq!(before.len(), 150);
        // The kernel takes the pages for written that it could not write, and who was told dies.
        let group = there.inner.group_inner("g").expect("group");
        std::mem::forget(group.hold_sync(0).expect("free"));
        let window = Path::new("/store/topics/t/groups/g/0.window");
        twin.fail(Fault::Sync, 1);
        let file = twin.open(window, Access::ReadWrite, 0).expect("open");
        file.sync().expect_err("the disk is away");
        twin.heal();
        dying.die();
        assert_eq!(receive(&mine), (151..200).collect::<Vec<u64>>());
        let lost = twin.power_loss(seed).expect("image");
        let again = Scene::on(Arc::new(lost), Path::new("/store"));
        let store = again.enter(Durability::Sync);
        let topic = store.open_topic("t").expect("topic");
        assert_eq!(
            receive(&consumer(&topic)),
            [0_u64; 0],
            "seed {seed}: once more"
        );
    }
}

#[test]
fn p7_what_a_call_only_gathered_is_not_handed_over_in_a_pause_and_comes_back_when_dropped() {
    for durability in [Durability::Process, Durability::Sync] {
        let scene = Scene::on(Arc::new(Twin::new()), Path::new("/store"));
        let store = scene.enter(durability);
        let topic = topic(&store, 1);
        let (consumer, group) = (consumer(&topic), topic.group("g").expect("group"));
        send(&topic, 0);
        let two = ReceiveOptions {
            max_messages: 2,
            min_messages: 2,
            timeout: Some(BOUND),
            ..ReceiveOptions::default()
        };
        let mut receiving = consumer.receiving(&two).expect("begin");
        assert!(
            consumer
                .gather(&mut receiving, NOW)
                .expect("goes on")
                .is_none()
        );
        // Dropped, as a task is that was cancelled.
        drop(receiving);
        let mut receiving = consumer.receiving(&two).expect("begin");
        assert!(
            consumer
                .gather(&mut receiving, NOW)
                .expect("goes on")
                .is_none()
        );
        group.pause().expect("pause");
        let batch = consumer.hand_on(&mut receiving).expect("hand on");
        assert!(batch.is_empty(), "paused");
        group.resume().expect("resume");
        let batch = consumer.receive(2, NOW).expect("receive");
        assert_eq!((batch.len(), batch[0].attempt()), (1, 1), "{durability:?}");
        assert_eq!(stats(&topic).delivered, 1);
        assert_eq!(receive(&consumer), [0_u64; 0]);
    }
}

#[test]
fn p7_p11_a_hand_over_frees_its_key_for_those_who_wait() {
    let scene = Scene::on(Arc::new(Twin::new()), Path::new("/store"));
    let store = scene.enter(Durability::Sync);
    let topic = topic(&store, 1);
    let consumer = consumer(&topic);
    for _ in 0..3 {
        topic.send(&Message::new(b"x").key(b"k")).expect("send");
    }
    for offset in 0..3 {
        assert_eq!(receive(&consumer), [offset]);
    }
}
