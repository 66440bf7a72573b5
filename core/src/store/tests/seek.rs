//! Seeking a group while its consumers are at work (P16): what comes again, what is stale, what a
//! preview says, and what is refused.

use super::*;
use crate::format::control::block;
use crate::options::{DeliveryMode, Filter, GroupOptions, Ordering as Order, Start, TopicOptions};
use crate::shm::EventCount;
use crate::storage::Storage;
use crate::store::in_force::InForce;
use crate::store::{
    Consumer, ConsumerOptions, Delivery, Group, Message, MessageState, ReceiveOptions, SeekTo,
    Topic,
};

pub(super) const NOW: Option<Duration> = Some(Duration::ZERO);
pub(super) const BEGIN_NS: i64 = 1_700_000_000_000_000_000;

/// A group at work, in a store that nobody tends.
pub(super) struct Scene {
    pub(super) clock: Arc<ManualClock>,
    pub(super) store: Store,
    pub(super) topic: Topic,
    pub(super) worker: Consumer,
}

impl Scene {
    pub(super) fn new(partitions: u32, group: GroupOptions) -> Self {
        Self::on(&Twin::new(), partitions, group)
    }

    pub(super) fn on(twin: &Twin, partitions: u32, group: GroupOptions) -> Self {
        let clock = Arc::new(ManualClock::new(BEGIN_NS, 1_000_000));
        let world = World {
            storage: Arc::new(twin.clone()),
            clock: clock.clone(),
            housekeeping: false,
        };
        let store = Store::open_in(&world, Path::new("/store"), &options()).expect("open");
        let topic = TopicOptions {
            partitions: Some(partitions),
            ..TopicOptions::default()
        };
        let topic = store.topic("t", &topic).expect("topic");
        let with = ConsumerOptions {
            group,
            ..ConsumerOptions::default()
        };
        let worker = topic.consumer("g", &with).expect("consumer");
        Self {
            clock,
            store,
            topic,
            worker,
        }
    }

    pub(super) fn group(&self) -> Group {
        self.topic.group("g").expect("group")
    }

    /// Sends so many to a partition, a second apart.
    pub(super) fn send(&self, partition: u32, count: u64) {
        for _ in 0..count {
            let message = Message::new(b"x").partition(partition);
            self.topic.send(&message).expect("send");
            self.clock.advance_ms(1_000);
        }
    }

    pub(super) fn take(&self, most: usize) -> Vec<Delivery> {
        self.worker.receive(most, NOW).expect("receive")
    }

    /// Takes and acknowledges so many; their partitions, offsets and attempts.
    pub(super) fn manage(&self, most: usize) -> Vec<(u32, u64, u32)> {
        let got = self.take(most);
        self.ack(&got).expect("ack");
        let mut found: Vec<_> = got.iter().map(told).collect();
        found.sort_unstable();
        found
    }

    pub(super) fn ack(&self, got: &[Delivery]) -> Result<()> {
        let receipts: Vec<_> = got.iter().map(Delivery::receipt).collect();
        self.worker.ack(&receipts)
    }

    pub(super) fn seek(&self, to: impl Into<SeekTo<'static>>) -> (u64, u64, u64, u64) {
        let (group, to) = (self.group(), to.into());
        let before = group.preview_seek(to, None).expect("preview");
        let plan = group.seek(to, None).expect("seek");
        assert_eq!(plan, before, "a preview says what is done");
        let sum = |of: fn(&crate::SeekPartition) -> u64| plan.sum(of);
        (
            sum(|one| one.again),
            sum(|one| one.passed_over),
            sum(|one| one.stale_leases),
            sum(|one| one.gone),
        )
    }
}

fn told(one: &Delivery) -> (u32, u64, u32) {
    (one.partition(), one.offset(), one.attempt())
}

pub(super) fn offsets(found: &[(u32, u64, u32)]) -> Vec<u64> {
    found.iter().map(|one| one.1).collect()
}

#[test]
fn p9_p16_all_from_the_target_on_comes_again_and_receipts_from_before_settle_nothing() {
    let scene = Scene::new(1, GroupOptions::default());
    scene.send(0, 10);
    assert_eq!(scene.manage(4).len(), 4);
    let out = scene.take(3);
    scene
        .worker
        .nack(&[out[2].receipt()], None, Some("no"))
        .expect("nack");
    // 0 to 3 settled, 4 and 5 out, 6 delayed, 7 to 9 fresh.
    assert_eq!(scene.seek(Start::Offset(2)), (2, 0, 2, 0));
    let error = scene.ack(&out).expect_err("stale");
    assert_eq!(
        (error.kind(), error.stale_places()),
        (ErrorKind::StaleReceipt, &[0, 1, 2][..])
    );
    let again = scene.take(99);
    let found: Vec<_> = again.iter().map(told).collect();
    let expected: Vec<_> = (2..10).map(|offset| (0, offset, 1)).collect();
    assert_eq!(
        found, expected,
        "first hand-outs, no delay, none in between lost"
    );
    // The same message, the same attempt, another epoch: nothing of it is touched.
    for settle in [Consumer::release, Consumer::ack] {
        settle(&scene.worker, &[out[0].receipt()]).expect_err("stale");
    }
    scene
        .worker
        .extend(&[out[0].receipt()], Duration::from_secs(1))
        .expect_err("stale");
    out[0].start();
    let started = scene.group().inner.with_window(0, |window| {
        window.started_among(&window.fetched_batches(|_| true))
    });
    assert!(started.expect("window").is_empty(), "nobody began with it");
    assert_eq!(scene.group().stats().expect("stats").leased, 8);
    scene.ack(&again).expect("ack");
    assert_eq!(scene.group().stats().expect("stats").lag_messages, 0);
    // A seek forward passes over.
    scene.send(0, 5);
    let out = scene.take(1);
    assert_eq!(scene.seek(Start::Latest), (0, 5, 1, 0));
    scene.ack(&out).expect_err("stale");
    assert!(scene.take(9).is_empty());
    assert_eq!(scene.group().stats().expect("stats").lag_messages, 0);
    scene.send(0, 1);
    assert_eq!(scene.manage(9), [(0, 15, 1)]);
    assert_eq!(scene.seek(Start::Earliest), (16, 0, 0, 0));
    assert_eq!(scene.manage(99).len(), 16);
}

#[test]
fn p16_a_time_is_that_of_the_first_message_that_was_appended_then_or_later() {
    let scene = Scene::new(1, GroupOptions::default());
    scene.send(0, 10);
    assert_eq!(scene.manage(99).len(), 10);
    for (after_ms, expected) in [(-1, 0), (0, 0), (1, 1), (3_000, 3), (3_001, 4), (9_000, 9)] {
        let plan = scene
            .group()
            .preview_seek(Start::Time(BEGIN_NS + after_ms * 1_000_000), None);
        assert_eq!(
            plan.expect("preview").partitions[0].target,
            expected,
            "{after_ms}"
        );
    }
    scene.seek(Start::Time(BEGIN_NS + 7_000_000_000));
    assert_eq!(offsets(&scene.manage(99)), [7, 8, 9]);
    // Nothing was sent then: what comes.
    scene.seek(Start::Time(i64::MAX));
    assert!(scene.take(9).is_empty());
    scene.send(0, 1);
    assert_eq!(offsets(&scene.manage(9)), [10]);
}

#[test]
fn p13_p16_one_partition_is_sought_alone_and_other_groups_are_left_alone() {
    let scene = Scene::new(3, GroupOptions::default());
    let other = scene
        .topic
        .consumer("other", &Default::default())
        .expect("other");
    for partition in 0..3 {
        scene.send(partition, 2);
    }
    assert_eq!(scene.manage(99).len(), 6);
    let theirs = other.receive(6, NOW).expect("receive");
    let plan = scene.group().seek(Start::Offset(1), Some(2)).expect("seek");
    assert_eq!(
        (plan.partitions.len(), plan.partitions[0].partition),
        (1, 2)
    );
    assert_eq!(scene.manage(99), [(2, 1, 1)]);
    let receipts: Vec<_> = theirs.iter().map(Delivery::receipt).collect();
    other.ack(&receipts).expect("nothing became stale");
    // Each partition goes to the first of its own messages of the time.
    let at = Start::Time(BEGIN_NS + 3_000_000_000);
    scene.group().seek(at, None).expect("seek");
    assert_eq!(scene.manage(99), [(1, 1, 1), (2, 0, 1), (2, 1, 1)]);
}

#[test]
fn p16_what_cannot_be_sought_is_refused_and_says_what_can() {
    let scene = Scene::new(2, GroupOptions::default());
    scene.send(0, 3);
    let group = scene.group();
    let refused = |to: SeekTo<'static>, partition, kind, words: &[&str]| {
        for error in [
            group.preview_seek(to, partition).expect_err("refused"),
            group.seek(to, partition).expect_err("refused"),
        ] {
            assert_eq!(error.kind(), kind, "{error}");
            for word in words {
                assert!(error.message().contains(word), "{error}");
            }
        }
    };
    let invalid = ErrorKind::InvalidArgument;
    refused(
        Start::Offset(4).into(),
        Some(0),
        invalid,
        &["0", "to 3", "partition 0"],
    );
    refused(
        Start::Offset(0).into(),
        None,
        invalid,
        &["name a partition", "2"],
    );
    refused(
        Start::Earliest.into(),
        Some(2),
        invalid,
        &["partition 2", "0 to 1"],
    );
    refused(
        "none".into(),
        None,
        ErrorKind::NotFound,
        &["none", "snapshots"],
    );
    for name in ["earliest", "latest", "7", "a b", ""] {
        refused(name.into(), None, ErrorKind::InvalidName, &["a letter"]);
    }
    assert_eq!(group.inner.read_meta().expect("meta").sought, []);
    let plan = group
        .seek(Start::Offset(3), Some(0))
        .expect("the end is a place");
    assert_eq!(plan.partitions[0].passed_over, 3);
    group.delete().expect("delete");
    assert_eq!(
        group.seek(Start::Latest, None).expect_err("gone").kind(),
        ErrorKind::NotFound
    );
}

#[test]
fn p16_an_offset_that_is_gone_is_that_of_the_earliest_and_says_how_many_are_missing() {
    let twin = Twin::new();
    let scene = Scene::on(&twin, 1, GroupOptions::default());
    let large = vec![7; 400_000];
    for _ in 0..8 {
        scene.topic.send(&Message::new(&large)).expect("send");
    }
    assert_eq!(scene.manage(2).len(), 2);
    scene.group().snapshot("s").expect("snapshot");
    scene.group().seek(Start::Offset(1), None).expect("seek");
    assert_eq!(scene.manage(99).len(), 7);
    let first = Path::new("/store/topics/t/0/00000000000000000000.log");
    twin.unlink(first).expect("as retention does");
    let earliest = scene.topic.stats().expect("stats").partitions[0].earliest_offset;
    assert!(earliest > 1);
    let all = 8 - earliest;
    assert_eq!(scene.seek(Start::Offset(1)), (all, 0, 0, earliest - 1));
    assert_eq!(scene.manage(99).len() as u64, all);
    assert_eq!(scene.seek(Start::Earliest), (all, 0, 0, 0));
    assert_eq!(scene.manage(99).len() as u64, all);
    // Of a snapshot: those that were open then.
    assert_eq!(scene.seek("s"), (all, 0, 0, earliest - 2));
    assert_eq!(scene.manage(99).len() as u64, all);
}

#[test]
fn p7_p16_a_group_that_hands_out_at_most_once_gets_again_what_it_was_sought_to() {
    let once = GroupOptions {
        delivery: Some(DeliveryMode::AtMostOnce),
        ..GroupOptions::default()
    };
    let scene = Scene::new(1, once);
    scene.send(0, 4);
    let got = scene.take(3);
    assert_eq!(scene.seek(Start::Offset(1)), (2, 0, 0, 0));
    scene.ack(&got).expect_err("stale");
    let again: Vec<u64> = scene.take(9).iter().map(|one| one.offset()).collect();
    assert_eq!(again, [1, 2, 3]);
    assert!(scene.take(9).is_empty());
}

#[test]
fn p16_what_a_call_only_gathered_is_not_handed_on_after_a_seek() {
    let scene = Scene::new(1, GroupOptions::default());
    scene.send(0, 2);
    let mut receiving = scene
        .worker
        .receiving(&ReceiveOptions {
            max_messages: 3,
            min_messages: 3,
            timeout: Some(Duration::from_secs(60)),
            ..ReceiveOptions::default()
        })
        .expect("receiving");
    let mut gather = |wait| {
        scene
            .worker
            .gather(&mut receiving, Some(wait))
            .expect("gather")
    };
    assert!(gather(Duration::ZERO).is_none(), "two of three are there");
    assert_eq!(scene.seek(Start::Latest), (0, 2, 2, 0));
    scene.send(0, 1);
    // It counts the two that it has lost; what is left of the three it hands on.
    let found: Vec<u64> = gather(BOUND)
        .iter()
        .flatten()
        .map(|one| one.offset())
        .collect();
    assert_eq!(found, [2]);
}

#[test]
fn p16_a_filter_is_asked_again_for_what_comes_again() {
    let filtered = GroupOptions {
        filter: Some(Filter::parse(r#"{"key":"a"}"#).expect("filter")),
        ordering: Some(Order::None),
        ..GroupOptions::default()
    };
    let scene = Scene::new(1, filtered);
    for key in [&b"a"[..], b"b", b"a", b"b"] {
        scene
            .topic
            .send(&Message::new(b"x").key(key))
            .expect("send");
    }
    assert_eq!(offsets(&scene.manage(9)), [0, 2]);
    let group = scene.group();
    group.snapshot("done").expect("snapshot");
    group
        .configure(&GroupOptions {
            filter: Some(Filter::parse(r#"{"key":"b"}"#).expect("filter")),
            ..GroupOptions::default()
        })
        .expect("configure");
    scene.seek(Start::Earliest);
    assert_eq!(offsets(&scene.manage(9)), [1, 3]);
    scene.seek("done");
    assert!(scene.take(9).is_empty());
}

#[test]
fn p16_one_who_waits_is_woken_by_a_seek_and_a_descriptor_says_so() {
    let folder = tempfile::tempdir().expect("folder");
    let store = Store::open(folder.path(), options()).expect("open");
    let topic = store.topic("t", &Default::default()).expect("topic");
    topic.send(&Message::new(b"0")).expect("send");
    let worker = topic.consumer("g", &Default::default()).expect("consumer");
    let got = worker.receive(1, NOW).expect("receive");
    worker.ack(&[got[0].receipt()]).expect("ack");
    assert!(worker.receive(1, NOW).expect("receive").is_empty());
    let watched = topic.consumer("g", &Default::default()).expect("consumer");
    let fd = watched.fd().expect("descriptor");
    let readable = || {
        let mut asked = [rustix::event::PollFd::new(
            &fd,
            rustix::event::PollFlags::IN,
        )];
        let none = rustix::time::Timespec::default();
        rustix::event::poll(&mut asked, Some(&none)).expect("poll") > 0
    };
    until("nothing to be received", || !readable());
    let group = topic.group("g").expect("group");
    std::thread::scope(|threads| {
        let waits = threads.spawn(|| worker.receive(1, Some(BOUND)).expect("receive").len());
        let event = topic.inner.group_inner("g").expect("group");
        until("it sleeps", || {
            event
                .block
                .head
                .load(block::EVENT, std::sync::atomic::Ordering::SeqCst)
                & 1
                == 1
                || waits.is_finished()
        });
        group.seek(Start::Earliest, None).expect("seek");
        assert_eq!(waits.join().expect("thread"), 1);
    });
    let head = &group.inner.block.head;
    EventCount::prepare(head.word32(block::EVENT));
    let announced = head.get(block::EVENT);
    group.seek(Start::Earliest, None).expect("seek");
    assert_ne!(head.get(block::EVENT), announced, "whoever sleeps is woken");
    until("something to be received", readable);
    assert_eq!(group.peek(0, 0).expect("peek").state, MessageState::Fresh);
}

#[test]
fn p16_a_thousand_seeks_bring_each_message_each_time() {
    let scene = Scene::new(1, GroupOptions::default());
    scene.send(0, 3);
    for round in 0..1_100_u32 {
        let got = scene.take(2);
        let found: Vec<_> = got.iter().map(told).collect();
        assert_eq!(found, [(0, 0, 1), (0, 1, 1)], "round {round}");
        scene.ack(&got[..1]).expect("ack");
        scene.group().seek(Start::Earliest, None).expect("seek");
        if round % 100 == 7 {
            let group = scene.group();
            let again = group.inner.with_window(0, |window| {
                window.rebuild(
                    crate::group::Life::Same,
                    crate::group::Now::by(&*scene.clock),
                    &mut |_, _| true,
                );
                (window.floor(), window.next())
            });
            assert_eq!(again.expect("window"), (0, 0));
        }
    }
}
