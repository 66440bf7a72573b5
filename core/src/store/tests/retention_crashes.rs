//! Deaths and power losses at every event of what retention does: nothing that is unsettled goes
//! but by a cap, nothing that was settled comes back once its segment may go, and what was lost is
//! counted once (P4, P6, P15).

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::retention::{NOW, Scene, numbers, settle};
use super::*;
use crate::storage::{Event, Watcher};
use crate::{ConsumerOptions, Durability, OnLost, TopicOptions};

/// The disks that are left by a death, and by power losses, at each event of the work.
pub(super) fn images(twin: &Twin, work: impl FnOnce()) -> Vec<(Event, bool, Twin)> {
    let found: Arc<Mutex<Vec<(Event, bool, Twin)>>> = Arc::default();
    let (into, seed) = (found.clone(), AtomicU64::new(1));
    let watcher: Watcher = Arc::new(move |twin: &Twin, event| {
        let keep = |power, image: Twin| {
            image.forget_versions();
            into.lock().expect("lock").push((event, power, image));
        };
        keep(false, twin.all_die().expect("image"));
        if event != Event::Stored {
            for _ in 0..3 {
                let seed = seed.fetch_add(1, Ordering::Relaxed);
                keep(true, twin.power_loss(seed).expect("image"));
            }
        }
    });
    twin.watch(Some(watcher));
    work();
    twin.watch(None);
    std::mem::take(&mut *found.lock().expect("lock"))
}

/// What the group hands out and settles, all of it.
fn drain(topic: &Topic) -> Vec<u8> {
    let worker = topic
        .consumer("g", &ConsumerOptions::default())
        .expect("consumer");
    let mut got = Vec::new();
    loop {
        let some = worker.receive(5, NOW).expect("receive");
        if some.is_empty() {
            break;
        }
        let receipts: Vec<_> = some.iter().map(|one| one.receipt()).collect();
        worker.ack(&receipts).expect("ack");
        got.extend(numbers(&some));
    }
    worker.close().expect("close");
    got
}

fn scene(options: TopicOptions) -> Scene {
    let scene = Scene::with(TopicOptions {
        durability: Some(Durability::Sync),
        ..options
    });
    scene.group("g");
    scene.send(0..12);
    scene
}

#[test]
fn p6_p15_a_crash_anywhere_takes_nothing_unsettled_and_brings_nothing_settled_back() {
    for synced in [true, false] {
        crash_at_each_event(synced);
    }
}

fn crash_at_each_event(synced: bool) {
    let scene = scene(TopicOptions::default());
    settle(&scene.topic, "g", 10);
    let group = scene.topic.inner.group_inner("g").expect("group");
    if synced {
        group.sync_window(0).expect("sync");
    }
    let found = images(&scene.twin, || scene.retain());
    let mut seen = std::collections::BTreeSet::new();
    for (place, (event, power, image)) in found.iter().enumerate() {
        let at = format!("{place}: {event:?}, power lost: {power}");
        let (store, topic) = open_by(image, &scene.clock);
        let earliest = topic.stats().expect("stats").partitions[0].earliest_offset;
        assert!([0, 3, 9].contains(&earliest), "{at}: {earliest}");
        seen.insert(earliest);
        // Recovery is a fixed point.
        store.die();
        drop((store, topic));
        let (store, topic) = open_by(&image.all_die().expect("image"), &scene.clock);
        let again = topic.stats().expect("stats").partitions[0].earliest_offset;
        assert_eq!(earliest, again, "{at}");
        let got = drain(&topic);
        // What was acknowledged may come again while it is not on disk, and what is gone does not.
        assert!(got.ends_with(&[10, 11]), "{at}: {got:?}");
        assert!(!synced || got.len() == 2, "{at}: {got:?}");
        assert!(
            got.iter().all(|one| u64::from(*one) >= earliest),
            "{at}: {got:?}"
        );
        let group = topic.group("g").expect("group");
        assert_eq!(group.stats().expect("stats").lost_messages, 0, "{at}");
        let sent = topic.send(&crate::Message::new(b"next")).expect("send");
        assert!(sent.offset >= 12, "{at}: {sent:?}");
        // The next one finishes it.
        store.inner().expect("open").retain_now().expect("retain");
        let stats = topic.stats().expect("stats");
        assert!(stats.partitions[0].earliest_offset >= 9, "{at}: {stats:?}");
    }
    assert!(seen.contains(&0) && seen.contains(&9), "{seen:?}");
    assert!(found.len() > 20, "{}", found.len());
}

#[test]
fn p15_a_crash_anywhere_counts_what_a_cap_took_at_most_once() {
    let scene = scene(TopicOptions::default());
    settle(&scene.topic, "g", 2);
    scene
        .topic
        .inner
        .group_inner("g")
        .expect("group")
        .sync_window(0)
        .expect("sync");
    let options = TopicOptions {
        retention_bytes: Some(1),
        ..TopicOptions::default()
    };
    scene.topic.configure(&options).expect("configure");
    let found = images(&scene.twin, || scene.retain());
    let mut counts = std::collections::BTreeSet::new();
    for (place, (event, power, image)) in found.iter().enumerate() {
        let at = format!("{place}: {event:?}, power lost: {power}");
        let (store, topic) = open_by(image, &scene.clock);
        store.inner().expect("open").retain_now().expect("retain");
        let stats = topic.group("g").expect("group").stats().expect("stats");
        // A death between the word of a message and the count costs the count.
        assert!([6, 7].contains(&stats.lost_messages), "{at}: {stats:?}");
        counts.insert(stats.lost_messages);
        assert_eq!(stats.lag_messages, 3, "{at}");
        assert_eq!(drain(&topic), [9, 10, 11], "{at}");
        assert_eq!(
            topic.stats().expect("stats").partitions[0].earliest_offset,
            9,
            "{at}"
        );
    }
    assert!(counts.contains(&7) && found.len() > 20, "{counts:?}");
}

#[test]
fn p12_p15_a_crash_anywhere_leaves_what_is_taken_in_the_topic_or_in_one_letter() {
    let scene = scene(TopicOptions {
        on_lost: Some(OnLost::DeadLetter),
        ..TopicOptions::default()
    });
    settle(&scene.topic, "g", 2);
    scene
        .topic
        .inner
        .group_inner("g")
        .expect("group")
        .sync_window(0)
        .expect("sync");
    let options = TopicOptions {
        retention_bytes: Some(6 << 20),
        ..TopicOptions::default()
    };
    scene.topic.configure(&options).expect("configure");
    let found = images(&scene.twin, || scene.retain());
    for (place, (event, power, image)) in found.iter().enumerate() {
        if *event == Event::Stored && place % 5 != 0 {
            continue;
        }
        let at = format!("{place}: {event:?}, power lost: {power}");
        let (store, topic) = open_by(image, &scene.clock);
        scene.clock.advance_ms(2_000);
        store.inner().expect("open").retain_now().expect("retain");
        let group = topic.group("g").expect("group");
        let letters = group.dead_letters(99).expect("letters");
        let offsets: Vec<u64> = letters.iter().map(|one| one.source_offset).collect();
        assert_eq!(offsets, [2], "{at}");
        assert_eq!(group.stats().expect("stats").lost_messages, 0, "{at}");
        assert_eq!(drain(&topic), [3, 4, 5, 6, 7, 8, 9, 10, 11], "{at}");
        assert_eq!(
            topic.stats().expect("stats").partitions[0].earliest_offset,
            3,
            "{at}"
        );
    }
}
