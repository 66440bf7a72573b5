//! What topics with limits count, in random histories, against what stands in the windows (P14).

use std::collections::BTreeMap;

use super::*;
use crate::format::control::{flow as at, group_partition};
use crate::format::record::{HEADER, padded};
use crate::group::Dice;
use crate::options::OnFull;
use crate::shm::{Owner, OwnerLock};
use crate::store::flow::testing;
use crate::store::{ConsumerOptions, Message, Receipt};
use crate::{TopicOptions, store::Consumer};

const DEAD: Owner = Owner {
    slot: 5,
    generation: 5,
};
const NOW: Option<Duration> = Some(Duration::ZERO);

fn bytes_of(payload: usize) -> u64 {
    padded((HEADER + payload) as u64)
}

struct Scene {
    topics: [Topic; 2],
    groups: Vec<String>,
    workers: Vec<(Consumer, Vec<Receipt>)>,
    /// Bytes of all that was sent.
    sent: BTreeMap<u64, u64>,
}

impl Scene {
    /// What any group has not settled, by what stands in its window.
    fn unsettled(&self) -> (u64, u64) {
        let (mut messages, mut bytes) = (0, 0);
        let in_group = |name: &String, offset: u64| {
            let group = self.topics[0].inner.group_inner(name).expect("group");
            let open = group.with_window(0, |window| {
                offset >= window.next() || window.is_unsettled(offset)
            });
            open.expect("window")
        };
        for (offset, size) in &self.sent {
            if self.groups.iter().any(|name| in_group(name, *offset)) {
                (messages, bytes) = (messages + 1, bytes + size);
            }
        }
        (messages, bytes)
    }

    /// Somebody dies with one of the locks.
    fn die(&self, chance: &mut Dice) {
        let flow = self.topics[0].inner.block.flow.as_ref().expect("flow");
        let group = &self.groups[chance.next(self.groups.len() as u64) as usize];
        let group = self.topics[0].inner.group_inner(group).expect("group");
        let lock = match chance.next(3) {
            0 => flow.word32(at::LOCK),
            1 => flow.word32(at::COUNT_LOCK),
            _ => group.block.partitions[0].word32(group_partition::LOCK),
        };
        // It may be that of one who died before.
        let _ = OwnerLock::try_acquire(lock, DEAD);
    }
}

fn history(seed: u64, by_bytes: bool, on_full: OnFull) -> (u64, u64) {
    let folder = tempfile::tempdir().expect("folder");
    let stores = [0, 1].map(|_| Store::open(folder.path(), options()).expect("open"));
    let limit = if by_bytes { 40 * bytes_of(64) } else { 40 };
    let limited = TopicOptions {
        max_messages: (!by_bytes).then_some(limit),
        max_bytes: by_bytes.then_some(limit),
        on_full: Some(on_full),
        ..TopicOptions::default()
    };
    let topics = stores
        .each_ref()
        .map(|store| store.topic("t", &limited).expect("topic"));
    let groups: Vec<String> = (0..1 + seed % 3)
        .map(|number| format!("g{number}"))
        .collect();
    let worker = |name: &String| {
        let worker = topics[0].consumer(name, &ConsumerOptions::default());
        (worker.expect("consumer"), Vec::new())
    };
    let workers = groups.iter().map(worker).collect();
    let mut scene = Scene {
        topics,
        groups,
        workers,
        sent: BTreeMap::new(),
    };
    let (mut chance, mut full, mut room) = (Dice(seed), 0, 0);
    for step in 0..600 {
        if chance.next(20) == 0 {
            scene.die(&mut chance);
        }
        let number = chance.next(scene.groups.len() as u64) as usize;
        let (worker, held) = &mut scene.workers[number];
        match chance.next(4) {
            0 => {
                let most = 1 + chance.next(8) as usize;
                let batch = worker.receive(most, NOW).expect("receive");
                held.extend(batch.iter().map(|one| one.receipt()));
                batch.into_iter().for_each(std::mem::forget);
            }
            1 if !held.is_empty() => {
                let receipt = held.swap_remove(chance.next(held.len() as u64) as usize);
                // It may have been dropped.
                let _ = worker.ack(&[receipt]);
            }
            _ => {
                let payload = [8, 64, 200][chance.next(3) as usize];
                let size = if by_bytes { bytes_of(payload) } else { 1 };
                let used = |scene: &Scene| {
                    let (messages, bytes) = scene.unsettled();
                    if by_bytes { bytes } else { messages }
                };
                let before = used(&scene);
                let topic = &scene.topics[chance.next(2) as usize];
                let what = format!("seed {seed}, step {step}: {before} of {limit}, {size} more");
                match topic.send(&Message::new(&vec![b'x'; payload])) {
                    Ok(id) => {
                        scene.sent.insert(id.offset, bytes_of(payload));
                        let after = used(&scene);
                        assert!(after <= limit, "{what}: {after}");
                        if before + size <= limit {
                            room += 1;
                            assert_eq!(after, before + size, "{what}: dropped");
                        } else {
                            full += 1;
                            let largest = if by_bytes { bytes_of(200) } else { 1 };
                            assert_eq!(on_full, OnFull::DropOldest, "{what}");
                            assert!(after + largest > limit, "{what}: {after}");
                        }
                    }
                    Err(error) => {
                        full += 1;
                        assert_eq!(error.kind(), ErrorKind::Full, "{what}: {error}");
                        assert!(on_full == OnFull::Reject, "{what}");
                        assert!(before + size > limit, "{what}: refused");
                    }
                }
            }
        }
    }
    (full, room)
}

#[test]
fn p14_p17_no_limit_is_passed_and_nothing_refused_or_dropped_for_nothing_in_random_histories() {
    let (mut full, mut room) = (0, 0);
    for seed in 0..9 {
        for by_bytes in [false, true] {
            for on_full in [OnFull::Reject, OnFull::DropOldest] {
                let (some, others) = history(seed, by_bytes, on_full);
                (full, room) = (full + some, room + others);
            }
        }
    }
    assert!(full > 1_000 && room > 1_000, "{full}, {room}");
}

#[test]
fn p14_p17_a_limit_that_was_lowered_far_is_come_to_in_bites_between_which_others_count() {
    let folder = tempfile::tempdir().expect("folder");
    let store = Store::open(folder.path(), options()).expect("open");
    let limited = |most| TopicOptions {
        max_messages: Some(most),
        on_full: Some(OnFull::DropOldest),
        ..TopicOptions::default()
    };
    let topic = store.topic("t", &limited(3_000)).expect("topic");
    let worker = topic.consumer("g", &ConsumerOptions::default());
    let worker = worker.expect("consumer");
    let some = vec![Message::new(b"x"); 1_000];
    (0..3).for_each(|_| drop(topic.send_many(&some).expect("room")));
    let dropped = || {
        let stats = topic.group("g").expect("group").stats().expect("stats");
        (stats.dropped, stats.lag_messages)
    };
    let bite = testing::drop_some(&topic, 3_000) as u64;
    assert_eq!(dropped(), (bite, 3_000 - bite));
    assert!(bite < 1_000, "{bite}");
    topic.configure(&limited(2)).expect("lowered");
    topic.send(&Message::new(b"last")).expect("the others go");
    assert_eq!(dropped(), (2_999, 2));
    assert_eq!(worker.receive(9, NOW).expect("receive").len(), 2);
}
