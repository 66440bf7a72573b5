//! How long a history is, and what topics and groups it has.

use std::collections::BTreeMap;
use std::time::Duration;

use super::model::{Group, Log, There, Topic as TopicModel};
use crate::options::{Durability, Ordering};
use crate::storage::Choices;

/// How long a history is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One topic, a few small messages, every event a crash point.
    Short,
    /// Three topics of the three durabilities, dozens of operations, segments that roll.
    Long,
    /// One topic, thousands of messages, windows that grow and go round.
    Wide,
    /// One topic, a few small messages, most of which die, are redriven and purged.
    Dead,
    /// One topic, a few small messages, some of which die, and groups of all kinds that are sought.
    Sought,
    /// Three topics, messages with dedup ids, transactions over all of them.
    Exact,
}

/// The number of what is done in transactions.
pub const TRANSACT: usize = 100;

impl Shape {
    /// What is done at a number below a hundred: with dead letters, or transactions, in a fifth of
    /// a history that is about them.
    pub fn turned(self, number: usize) -> usize {
        match (self, number) {
            (Self::Dead, 0..15) => 80,
            (Self::Sought, 0..10) => 85,
            (Self::Sought, 10..14) => 80,
            // More is received and settled than is sent.
            (Self::Sought, 20..28) => 40,
            (Self::Sought, 28..35) => 60,
            (Self::Exact, 0..15) => TRANSACT,
            _ => number,
        }
    }

    /// How a delivery is settled, of ten ways.
    pub fn settles(self, way: usize) -> usize {
        match (self, way) {
            (Self::Dead, 0..3) | (Self::Sought, 0..4) => 9,
            _ => way,
        }
    }
}

/// The topics of a history, none of which is there yet.
pub fn topics(shape: Shape, chance: &mut Choices) -> Vec<TopicModel> {
    let topic = |name, durability, partitions, groups: &[Group]| TopicModel {
        name,
        durability,
        there: There::No,
        logs: vec![Log::default(); partitions],
        groups: groups.to_vec(),
        knows_ids: false,
        ids: BTreeMap::new(),
        compacts: false,
    };
    let every = Durability::Interval(Duration::from_millis(5));
    let any = Group::new("any", Ordering::None, 2);
    let key = Group::new("key", Ordering::Key, 3);
    let line = Group {
        late_die: true,
        ..Group::new("line", Ordering::Partition, 2)
    };
    let some = Group::new("some", Ordering::Key, 2).filtered();
    let once = Group::new("once", Ordering::Key, 1).at_most_once();
    let keep = Group::new("keep", Ordering::Key, 2).holding();
    let stay = Group::new("stay", Ordering::Partition, 2).holding();
    match shape {
        Shape::Short => {
            let durability = [Durability::Process, every, Durability::Sync][chance.pick(3)];
            let groups = [&[][..], &[any], &[key], &[line], &[some], &[once]];
            let groups = groups[chance.pick(6)].to_vec();
            vec![topic("t", durability, 1, &groups)]
        }
        Shape::Dead => {
            let durability = [Durability::Process, every, Durability::Sync][chance.pick(3)];
            let two = [
                any.letters_to("letters"),
                keep.clone().letters_to("letters"),
            ];
            let groups = [&[key][..], &[line], &[keep], &[stay], &two];
            let groups = groups[chance.pick(5)].to_vec();
            vec![topic("d", durability, 1 + chance.pick(2), &groups)]
        }
        Shape::Sought => {
            let durability = [Durability::Process, every, Durability::Sync][chance.pick(3)];
            let any = any.letters_to("letters");
            let two = [any.clone(), once.clone(), keep.clone()];
            let groups = [
                &[any][..],
                &[key],
                &[line],
                &[some],
                &[once],
                &[keep],
                &[stay],
                &two,
            ];
            let groups = groups[chance.pick(8)].to_vec();
            vec![topic("d", durability, 1 + chance.pick(2), &groups)]
        }
        Shape::Wide => {
            let durability = [Durability::Process, Durability::Sync][chance.pick(2)];
            let other = [key, some, once][chance.pick(3)].clone();
            vec![topic("w", durability, 1, &[any, other])]
        }
        Shape::Exact => {
            let durability = [Durability::Process, every, Durability::Sync][chance.pick(3)];
            let ids = |topic| TopicModel {
                knows_ids: true,
                ..topic
            };
            vec![
                ids(topic("a", Durability::Sync, 1, &[key])),
                ids(topic("b", durability, 2, &[any, line])),
                TopicModel {
                    compacts: true,
                    ..ids(topic("c", durability, 1, &[some]))
                },
            ]
        }
        Shape::Long => vec![
            topic(
                "p",
                Durability::Process,
                2,
                &[
                    any.letters_to("letters"),
                    key.clone(),
                    once.clone(),
                    keep.clone().letters_to("letters"),
                ],
            ),
            topic(
                "s",
                Durability::Sync,
                1,
                &[key, line.clone(), once, keep.clone()],
            ),
            topic("i", every, 1, &[line, some, stay]),
        ],
    }
}
