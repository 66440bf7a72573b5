//! Deaths and power losses at every event of a compaction: each message is there or a later one of
//! its key is, what a tombstone ended does not come back, and the next one finishes it (P2, P3, P6,
//! P15, P17).

use std::collections::{BTreeMap, BTreeSet};

use super::compaction::{compact, end, group, put, read, reader, table};
use super::retention::{NOW, settle};
use super::retention_crashes::images;
use super::*;
use crate::format::names;
use crate::storage::Event;
use crate::{Durability, Message, TopicOptions};

/// What a topic is after its messages, by offset: key and whether it is a tombstone.
type Sent = BTreeMap<u64, (u8, bool)>;

fn sent(keys: &str) -> Sent {
    let each = keys.bytes().enumerate().map(|(offset, key)| {
        let ends = key.is_ascii_uppercase();
        (offset as u64, (key.to_ascii_lowercase(), ends))
    });
    each.collect()
}

/// Sends them: an upper case letter is the tombstone of its key.
fn send(scene: &super::retention::Scene, keys: &str) {
    for key in keys.chars() {
        match key.is_ascii_uppercase() {
            true => end(scene, &key.to_ascii_lowercase().to_string()),
            false => put(scene, &key.to_string()),
        }
    }
}

/// What is missing is not the last of its key, but for tombstones; and no value is there whose
/// tombstone is not, unless a later one of the key is.
fn check(all: &Sent, found: &[u64], at: &str) {
    for (offset, (key, ends)) in all {
        let later = all
            .range(offset + 1..)
            .filter(|(_, (other, _))| other == key);
        let later: Vec<u64> = later.map(|(later, _)| *later).collect();
        let superseded = *key != b'-' && !later.is_empty();
        if found.contains(offset) {
            let told = later.iter().any(|one| found.contains(one));
            assert!(!superseded || told, "{at}: {offset} came back, {found:?}");
        } else {
            assert!(*ends || superseded, "{at}: {offset} is lost, {found:?}");
        }
    }
    check_order(found, at);
}

fn check_order(found: &[u64], at: &str) {
    assert!(
        found.windows(2).all(|pair| pair[0] < pair[1]),
        "{at}: {found:?}"
    );
}

#[test]
fn p2_p3_p15_p17_a_crash_anywhere_leaves_the_old_segment_or_the_new_one() {
    let keys = "aab-AbccdbcdDd-bcacbdee";
    for grace in [Duration::ZERO, Duration::from_secs(3600)] {
        let scene = table();
        let options = TopicOptions {
            durability: Some(Durability::Sync),
            tombstone_grace: Some(grace),
            ..TopicOptions::default()
        };
        scene.topic.configure(&options).expect("configure");
        send(&scene, keys);
        scene.topic.inner.partitions[0]
            .seal_older(i64::MAX)
            .expect("seal");
        let (all, found) = (sent(keys), images(&scene.twin, || compact(&scene)));
        let mut seen = BTreeSet::new();
        for (place, (event, power, image)) in found.iter().enumerate() {
            if *event == Event::Stored && place % 7 != 0 {
                continue;
            }
            let at = format!("{place}: {event:?}, power lost: {power}");
            let (store, topic) = open_by(image, &scene.clock);
            let before = read(&mut reader(&topic));
            check(&all, &before, &at);
            seen.insert(before.len());
            // Recovery is a fixed point, and the next one finishes it.
            store.die();
            drop((store, topic));
            let (store, topic) = open_by(&image.all_die().expect("image"), &scene.clock);
            assert_eq!(read(&mut reader(&topic)), before, "{at}");
            store.inner().expect("open").compact_now().expect("compact");
            let after = read(&mut reader(&topic));
            check(&all, &after, &at);
            assert!(after.iter().all(|one| before.contains(one)), "{at}");
            let left = names_in(&store);
            assert!(
                left.iter()
                    .all(|name| names::parse_rewritten(name).is_none()),
                "{at}: {left:?}"
            );
            let id = topic.send(&Message::new(b"").key(b"n")).expect("send");
            assert!(id.offset >= all.len() as u64, "{at}");
        }
        assert!(
            seen.len() >= 3 && found.len() > 50,
            "{seen:?}, {}",
            found.len()
        );
    }
}

fn names_in(store: &Store) -> Vec<String> {
    let storage = &store.inner().expect("open").env.storage;
    storage.list(Path::new("/store/topics/t/0")).expect("list")
}

#[test]
fn p6_a_crash_anywhere_brings_no_message_back_to_a_group_that_is_gone() {
    let scene = table();
    let options = TopicOptions {
        durability: Some(Durability::Sync),
        ..TopicOptions::default()
    };
    scene.topic.configure(&options).expect("configure");
    group(&scene, "g");
    put(&scene, "aaabbbccca");
    settle(&scene.topic, "g", 9);
    let found = images(&scene.twin, || compact(&scene));
    for (place, (event, power, image)) in found.iter().enumerate() {
        if *event == Event::Stored && place % 7 != 0 {
            continue;
        }
        let at = format!("{place}: {event:?}, power lost: {power}");
        let (_store, topic) = open_by(image, &scene.clock);
        let kept = read(&mut reader(&topic));
        let got = super::retention::take(&topic, "g", 99);
        let got: Vec<u64> = got.iter().map(|one| one.id().offset).collect();
        // What was acknowledged and is not on disk comes again: then nothing of it was taken.
        assert!(
            got == [9] || (power == &true && kept.len() == 10),
            "{at}: {got:?} of {kept:?}"
        );
        let stats = topic.group("g").expect("group").stats().expect("stats");
        assert_eq!(stats.lost_messages, 0, "{at}");
    }
}

#[test]
fn p16_p17_who_died_before_he_told_is_told_of_by_who_takes_his_lock_over() {
    let scene = table();
    let group = group(&scene, "g");
    put(&scene, "aaabbbccca");
    let (_other, beside) = scene.beside();
    assert_eq!(read(&mut reader(&beside)).len(), 10, "all is mapped there");
    settle(&beside, "g", 10);
    // As one that dies between the name and the word.
    let words = scene.topic.inner.block.partitions[0].clone();
    let word = crate::format::control::partition::COMPACTED;
    let before = words.get(word);
    compact(&scene);
    words.set(word, before);
    for partition in &beside.inner.partitions {
        assert!(partition.mapped(0).is_some());
    }
    let header = scene.store.inner().expect("open").control.header();
    let lock = header.word32(crate::format::control::header::CREATE_LOCK);
    let dead = crate::shm::Owner {
        slot: 1000,
        generation: 1,
    };
    let held = crate::shm::OwnerLock::try_hold(lock, dead).expect("free");
    std::mem::forget(held);
    group.seek(crate::Start::Earliest, None).expect("seek");
    let worker = beside.consumer("g", &Default::default()).expect("consumer");
    let got = worker.receive(99, NOW).expect("receive");
    let got: Vec<u64> = got.iter().map(|one| one.id().offset).collect();
    assert_eq!(got, [5, 8, 9]);
}
