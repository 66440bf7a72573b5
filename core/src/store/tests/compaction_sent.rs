//! Messages that compaction took, and what is known of them under their ids and sequences (P8),
//! also after a failed sync took others back (P5).

use super::retention::{LARGE, Scene};
use super::*;
use crate::options::{DedupWindow, ReaderOptions};
use crate::storage::Fault;
use crate::store::{Message, MessageId, Producer};
use crate::{Durability, TopicOptions};

const HOUR: DedupWindow = DedupWindow::Time(Duration::from_secs(3600));

/// A table that knows what was sent.
fn scene() -> Scene {
    Scene::with(TopicOptions {
        compaction: Some(true),
        dedup_window: Some(HOUR),
        durability: Some(Durability::Sync),
        ..TopicOptions::default()
    })
}

/// All under one key, so that the last one alone is kept.
fn send(topic: &Topic, id: &str) -> Result<MessageId> {
    let payload = vec![7; LARGE];
    topic.send(&Message::new(&payload).key(b"k").dedup_id(id.as_bytes()))
}

fn send_by(producer: &Producer, sequence: u64) -> Result<MessageId> {
    let payload = vec![8; LARGE];
    producer.send(&Message::new(&payload).key(b"k"), Some(sequence))
}

fn compact(topic: &Topic) {
    topic.inner.partitions[0]
        .seal_older(i64::MAX)
        .expect("seal");
    topic.compact_all_now().expect("compact");
}

fn offsets(topic: &Topic) -> Vec<u64> {
    let mut reader = topic.reader(&ReaderOptions::default()).expect("reader");
    let got = reader.receive(100, Some(Duration::ZERO)).expect("read");
    got.iter().map(|one| one.id().offset).collect()
}

/// One that the disk does not take.
fn lose(scene: &Scene, id: &str) {
    let log = &scene.topic.inner.partitions[0];
    let before = log.voids();
    scene.twin.fail(Fault::Sync, 1);
    send(&scene.topic, id).expect_err("the disk is away");
    scene.twin.heal();
    scene.topic.sync().expect("it is back");
    assert!(log.voids() > before, "it was taken back");
}

#[test]
fn p5_p8_after_a_failed_sync_ids_of_what_was_compacted_are_known_and_of_what_was_lost_are_not() {
    let scene = scene();
    let topic = &scene.topic;
    let first = send(topic, "first").expect("send");
    lose(&scene, "lost before");
    for id in ["second", "third"] {
        send(topic, id).expect("send");
    }
    compact(topic);
    assert!(!offsets(topic).contains(&first.offset), "it is compacted");
    assert_eq!(send(topic, "first").expect("known"), first);
    lose(&scene, "lost after");
    assert_eq!(send(topic, "first").expect("still known"), first);
    for id in ["lost before", "lost after"] {
        let sent = send(topic, id).expect("sent");
        assert_eq!(offsets(topic).last(), Some(&sent.offset), "{id}");
        assert_eq!(send(topic, id).expect("known"), sent);
    }
    // What is made anew for the next pass knows it as well, and so does the next life.
    compact(topic);
    assert_eq!(send(topic, "first").expect("known"), first);
    let Scene {
        twin,
        clock,
        store,
        topic,
    } = scene;
    for image in [twin.power_loss(7).expect("image"), twin.clone()] {
        let (_store, topic) = open_by(&image, &clock);
        assert_eq!(send(&topic, "first").expect("known"), first);
    }
    drop(topic);
    drop(store);
}

#[test]
fn p5_p8_after_a_failed_sync_sequences_of_what_was_compacted_are_known() {
    let scene = scene();
    let topic = &scene.topic;
    let till = topic.producer("till").expect("producer");
    let first = send_by(&till, 1).expect("send");
    let second = send_by(&till, 2).expect("send");
    send(topic, "before").expect("send");
    lose(&scene, "lost");
    for id in ["a", "b", "c"] {
        send(topic, id).expect("send");
    }
    // Twice: the ring is made anew before each.
    for _ in 0..2 {
        compact(topic);
        assert!(!offsets(topic).contains(&second.offset), "it is compacted");
        assert_eq!(till.last_sequence().expect("last"), 2);
        assert_eq!(send_by(&till, 1).expect("known"), first);
        assert_eq!(send_by(&till, 2).expect("known"), second);
        for id in ["d", "e", "f"] {
            send(topic, id).expect("send");
        }
    }
    let third = send_by(&till, 3).expect("send");
    assert_eq!(offsets(topic).last(), Some(&third.offset));
}

/// A ledger that is damaged is made anew from the log, and its entries below the mark are believed.
#[test]
fn p8_p18_an_entry_that_is_damaged_costs_no_other_of_what_was_compacted() {
    let scene = scene();
    let topic = &scene.topic;
    let till = topic.producer("till").expect("producer");
    let known: Vec<MessageId> = (1..6)
        .map(|sequence| send_by(&till, sequence).expect("send"))
        .collect();
    compact(topic);
    let Scene {
        twin, clock, store, ..
    } = scene;
    drop(till);
    drop(store);
    let storage: &dyn Storage = &twin;
    let path = Path::new("/store/topics/t/producers/till/ring");
    let file = storage.open(path, crate::storage::Access::ReadWrite, 0);
    // The second entry.
    file.expect("ring")
        .write_at(&[0x5A; 8], 512 + 40 + 8)
        .expect("write");
    let (_store, topic) = open_by(&twin, &clock);
    let till = topic.producer("till").expect("producer");
    assert_eq!(send_by(&till, 1).expect("known"), known[0]);
    assert_eq!(send_by(&till, 3).expect("known"), known[2]);
    assert_eq!(till.last_sequence().expect("last"), 5);
}
