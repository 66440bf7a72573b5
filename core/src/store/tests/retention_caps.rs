//! What a time and bytes take, settled or not, and what becomes of it (P15).

use super::retention::{LARGE, NOW, Scene, numbers, settle, take};
use super::*;
use crate::storage::Fault;
use crate::{
    ConsumerOptions, Group, GroupOptions, Message, OnLost, PinnedBy, Retention, Start, TopicOptions,
};

pub(super) const HOUR: Duration = Duration::from_secs(3600);

pub(super) fn bytes(most: u64) -> TopicOptions {
    TopicOptions {
        retention_bytes: Some(most),
        ..TopicOptions::default()
    }
}

pub(super) fn timed(time: Duration) -> TopicOptions {
    TopicOptions {
        retention: Some(Retention::Time(time)),
        ..TopicOptions::default()
    }
}

#[test]
fn p15_bytes_take_the_oldest_and_count_for_each_group_what_it_had_not_settled() {
    let scene = Scene::with(TopicOptions::default());
    let (fast, slow) = (scene.group("fast"), scene.group("slow"));
    scene.send(0..12);
    settle(&scene.topic, "fast", 12);
    let worker = scene
        .topic
        .consumer("slow", &ConsumerOptions::default())
        .expect("consumer");
    let got = worker.receive(2, NOW).expect("receive");
    worker.ack(&[got[0].receipt()]).expect("ack");
    // The active segment has 4 MiB.
    scene.topic.configure(&bytes(6 << 20)).expect("configure");
    scene.retain();
    assert_eq!(scene.earliest(), 3, "2 and 4 MiB are left");
    let lost = |group: &Group| group.stats().expect("stats").lost_messages;
    assert_eq!((lost(&fast), lost(&slow)), (0, 2));
    let error = worker.ack(&[got[1].receipt()]).expect_err("it is lost");
    assert_eq!(error.kind(), ErrorKind::StaleReceipt);
    assert_eq!(
        got[1].payload(),
        vec![1; LARGE],
        "who has it can still look at it"
    );
    scene.topic.configure(&bytes(1)).expect("configure");
    scene.retain();
    assert_eq!((scene.earliest(), lost(&slow)), (9, 8));
    scene.retain();
    assert_eq!(lost(&slow), 8, "once");
    assert_eq!(
        numbers(&worker.receive(9, NOW).expect("receive")),
        [9, 10, 11]
    );
    // No limit any more.
    scene.topic.configure(&bytes(0)).expect("configure");
    scene.send(12..30);
    scene.retain();
    assert_eq!((scene.earliest(), lost(&slow)), (9, 8));
}

#[test]
fn p15_with_few_bytes_to_keep_segments_are_small_enough_for_some_of_them() {
    let scene = Scene::with(bytes(8 << 20));
    for _ in 0..4 {
        scene.send(0..12);
        scene.retain();
    }
    let stats = scene.topic.stats().expect("stats");
    assert!(stats.bytes <= 8 << 20, "{stats:?}");
    assert!(
        stats.messages >= 15,
        "more than half of the bytes hold messages: {stats:?}"
    );
}

#[test]
fn p15_a_time_takes_what_is_older_settled_or_not_also_of_a_topic_that_is_seldom_used() {
    let scene = Scene::with(timed(HOUR));
    let group = scene.group("g");
    scene.send(0..4);
    scene.clock.advance_ms(1_800_000);
    scene.send(4..5);
    scene.retain();
    assert_eq!(scene.earliest(), 0);
    scene.clock.advance_ms(1_900_000);
    scene.retain();
    assert_eq!(scene.earliest(), 3, "4 keeps 3");
    assert_eq!(group.stats().expect("stats").lost_messages, 3);
    scene.clock.advance_ms(1_800_000);
    scene.retain();
    let stats = scene.topic.stats().expect("stats");
    assert_eq!((stats.messages, stats.segments), (0, 1));
    assert_eq!(
        stats.bytes,
        1 << 20,
        "the one that is left is as small as any"
    );
    assert_eq!(group.stats().expect("stats").lost_messages, 5);
    // And no other one is made for nothing.
    scene.clock.advance_ms(9_000_000);
    scene.retain();
    let name = crate::format::names::segment(5);
    assert!(
        scene
            .twin
            .exists(&Path::new("/store/topics/t/0").join(name))
            .expect("exists")
    );
    scene.send(5..6);
    assert_eq!(numbers(&take(&scene.topic, "g", 9)), [5]);
}

#[test]
fn p15_a_wall_clock_that_jumps_takes_no_more_than_what_is_old_by_it_and_fails_nothing() {
    let scene = Scene::with(timed(HOUR));
    scene.group("g");
    scene.send(0..4);
    scene.clock.set_wall_ns(0);
    scene.send(4..12);
    scene.retain();
    assert_eq!(scene.earliest(), 0);
    scene.clock.set_wall_ns(i64::MIN);
    scene.retain();
    assert_eq!(scene.earliest(), 0);
    scene.clock.set_wall_ns(2 * 3_600_000_000_000 + 1);
    scene.retain();
    assert_eq!(scene.topic.stats().expect("stats").messages, 0);
    scene.clock.set_wall_ns(i64::MAX);
    scene.send(12..13);
    scene.retain();
    assert_eq!(numbers(&take(&scene.topic, "g", 9)), [12]);
}

#[test]
fn p15_for_ever_is_for_ever_and_bytes_go_with_it() {
    let scene = Scene::with(TopicOptions {
        retention: Some(Retention::Forever),
        ..TopicOptions::default()
    });
    scene.group("g");
    scene.send(0..12);
    settle(&scene.topic, "g", 12);
    scene.retain();
    let stats = scene.topic.stats().expect("stats");
    assert_eq!(
        (stats.messages, &stats.pinned_by),
        (12, &PinnedBy::Retention)
    );
    assert!(stats.pinned_bytes > 2 << 20);
    scene.topic.configure(&bytes(6 << 20)).expect("configure");
    scene.retain();
    assert_eq!(scene.earliest(), 3);
}

#[test]
fn p12_p15_what_is_taken_can_become_dead_letters_instead() {
    let scene = Scene::with(TopicOptions {
        on_lost: Some(OnLost::DeadLetter),
        ..bytes(1)
    });
    let group = scene.group("g");
    scene.send(0..5);
    let worker = scene
        .topic
        .consumer("g", &ConsumerOptions::default())
        .expect("consumer");
    let got = worker.receive(2, NOW).expect("receive");
    worker.ack(&[got[0].receipt()]).expect("ack");
    scene.retain();
    assert_eq!(scene.earliest(), 3);
    let stats = group.stats().expect("stats");
    assert_eq!((stats.lost_messages, stats.dead_lettered), (0, 2));
    let letters = group.dead_letters(9).expect("letters");
    let offsets: Vec<u64> = letters.iter().map(|one| one.source_offset).collect();
    assert_eq!(offsets, [1, 2]);
    for letter in &letters {
        assert!(letter.error.contains("retention"), "{}", letter.error);
        assert_eq!(letter.message.payload().len(), LARGE);
    }
    assert_eq!(group.redrive(Default::default()).expect("redrive"), 2);
    let mut again = numbers(&worker.receive(9, NOW).expect("receive"));
    again.sort_unstable();
    assert_eq!(again, [1, 2, 3, 4]);
}

#[test]
fn p5_p15_what_cannot_become_a_dead_letter_yet_keeps_its_segment() {
    let scene = Scene::with(TopicOptions {
        on_lost: Some(OnLost::DeadLetter),
        ..bytes(1)
    });
    let group = scene.group("g");
    scene.send(0..5);
    scene.twin.fail(Fault::Allocate, 1);
    scene.retain();
    scene.twin.heal();
    assert_eq!(scene.earliest(), 0);
    scene.clock.advance_ms(10_000);
    scene.retain();
    let stats = group.stats().expect("stats");
    assert_eq!(
        (scene.earliest(), stats.lost_messages, stats.dead_lettered),
        (3, 0, 3)
    );
}

#[test]
fn p15_what_a_filter_leaves_out_and_what_was_too_late_is_not_lost() {
    let scene = Scene::with(bytes(1));
    let filter = crate::options::Filter::parse(r#"{"key": "mine"}"#).expect("filter");
    let options = GroupOptions {
        filter: Some(filter),
        ..GroupOptions::default()
    };
    let group = scene.topic.create_group("g", &options).expect("group");
    for (key, ttl) in [
        ("mine", None),
        ("other", None),
        ("mine", Some(Duration::from_secs(1))),
    ] {
        let payload = vec![0; LARGE];
        let message = Message {
            key: Some(key.as_bytes()),
            payload: &payload,
            ttl,
            ..Message::default()
        };
        scene.topic.send(&message).expect("send");
    }
    scene.send(3..5);
    scene.clock.advance_ms(5_000);
    scene.retain();
    let stats = group.stats().expect("stats");
    assert_eq!(
        (stats.lost_messages, stats.filtered, stats.expired),
        (1, 1, 1)
    );
    assert_eq!(scene.earliest(), 3);
}

#[test]
fn p16_p15_a_new_group_begins_at_what_is_kept_and_at_nothing_that_was_taken() {
    let scene = Scene::with(bytes(1));
    scene.send(0..5);
    scene.retain();
    assert_eq!(scene.earliest(), 3);
    let at = |start| GroupOptions {
        start: Some(start),
        ..GroupOptions::default()
    };
    let error = scene
        .topic
        .create_group("g", &at(Start::Offset(2)))
        .err()
        .expect("taken");
    assert_eq!(error.kind(), ErrorKind::Removed);
    assert!(
        error.message().contains("earliest that may be kept is 3"),
        "{error}"
    );
    for (name, start) in [
        ("e", Start::Earliest),
        ("t", Start::Time(0)),
        ("o", Start::Offset(3)),
    ] {
        scene.topic.create_group(name, &at(start)).expect("group");
        let got = take(&scene.topic, name, 9);
        assert_eq!(numbers(&got), [3, 4]);
    }
    let group = scene.topic.group("e").expect("group");
    assert_eq!(group.stats().expect("stats").lost_messages, 0);
    // Nor is it sought there: it stays where it is.
    for error in [
        group.seek(Start::Offset(2), None).expect_err("taken"),
        group.preview_seek(Start::Offset(2), None).expect_err("too"),
    ] {
        assert_eq!(error.kind(), ErrorKind::Removed, "{error}");
    }
    settle(&scene.topic, "e", 2);
    group.seek(Start::Offset(2), None).expect_err("taken");
    assert_eq!(group.stats().expect("stats").lag_messages, 0);
    group.seek(Start::Offset(3), None).expect("kept");
    assert_eq!(numbers(&take(&scene.topic, "e", 9)), [3, 4]);
}
