//! A store as one life of a history has it open.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::model::{Group, Topic as TopicModel};
use crate::clock::ManualClock;
use crate::options::{
    Backoff, DeadLetter, DedupWindow, DeliveryMode, Filter, GroupOptions, OnDeadLetter, OnExpired,
    StoreOptions, TopicOptions,
};
use crate::storage::Twin;
use crate::store::World;
use crate::{Consumer, ConsumerOptions, Error, Store, Topic};

pub const PLACE: &str = "/store";
pub const LEASE: Duration = Duration::from_secs(30);
/// For how long dedup ids are known: longer than a history.
const A_DAY: Duration = Duration::from_secs(86_400);
/// How far a group may run ahead of what is not settled.
pub const WINDOW: u32 = 4096;
/// When a history begins, on both clocks.
const WALL_NS: i64 = 1_700_000_000_000_000_000;
const BOOT_MS: u64 = 10_000_000;

/// What is open.
pub struct Life {
    pub store: Store,
    pub topics: Vec<Option<Topic>>,
    /// By topic and group.
    pub consumers: Vec<Vec<Option<Consumer>>>,
}

impl Life {
    pub fn new(store: Store, topics: &[TopicModel]) -> Self {
        let none = |topic: &TopicModel| topic.groups.iter().map(|_| None).collect();
        Self {
            store,
            topics: topics.iter().map(|_| None).collect(),
            consumers: topics.iter().map(none).collect(),
        }
    }
}

pub fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(WALL_NS, BOOT_MS))
}

/// Opens the store on a twin, without a thread of its own.
pub fn open(twin: &Twin, clock: &Arc<ManualClock>) -> Result<Store, Error> {
    let world = World {
        storage: Arc::new(twin.clone()),
        clock: clock.clone(),
        housekeeping: false,
    };
    let options = StoreOptions {
        lock_timeout: Duration::from_secs(10),
        ..StoreOptions::default()
    };
    Store::open_in(&world, Path::new(PLACE), &options)
}

pub fn topic_options(topic: &TopicModel) -> TopicOptions {
    TopicOptions {
        partitions: Some(topic.logs.len() as u32),
        durability: Some(topic.durability),
        // A limit that nobody reaches, in some: what is counted for it is in the crashes too (P14).
        max_messages: (topic.logs.len() % 2 == 1).then_some(1 << 40),
        compaction: topic.compacts.then_some(true),
        dedup_window: topic.knows_ids.then_some(DedupWindow::Time(A_DAY)),
        max_bytes: (topic.logs.len() % 2 == 1).then_some(1 << 50),
        ..TopicOptions::default()
    }
}

pub fn consumer_options(group: &Group) -> ConsumerOptions {
    let filter = match group.filtered {
        true => r#"{"not": {"key": "\u0003"}}"#,
        false => "{}",
    };
    let backoff = Backoff {
        first: Duration::from_secs(1),
        longest: Duration::from_secs(1),
        factor: 1.0,
    };
    let mut options = GroupOptions {
        ordering: Some(group.ordering),
        window: Some(WINDOW),
        on_expired: Some(match group.late_die {
            true => OnExpired::DeadLetter,
            false => OnExpired::Drop,
        }),
        filter: Some(Filter::parse(filter).expect("a filter")),
        ..GroupOptions::default()
    };
    if group.once {
        options.delivery = Some(DeliveryMode::AtMostOnce);
    } else {
        options.lease = Some(LEASE);
        options.max_attempts = Some(group.max_attempts);
        options.backoff = Some(backoff);
        options.on_dead_letter = group.hold.then_some(OnDeadLetter::HoldKey);
        let topic = |name: &str| DeadLetter::Topic(name.to_owned());
        options.dead_letter_topic = group.letters_to.map(topic);
    }
    ConsumerOptions {
        group: options,
        name: Some("worker".to_owned()),
        ..ConsumerOptions::default()
    }
}
