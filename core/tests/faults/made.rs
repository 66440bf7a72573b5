//! The store that is damaged: several topics, partitions, rolled segments, an index, groups with
//! entries in every state, and dead letters. All of it was closed in order.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use libqueue::{Backoff, ConsumerOptions, GroupOptions, Message, Retention, Start, TopicOptions};
use tempfile::TempDir;

use super::common::{NOW, open, receipts};
use super::used;

/// Topic, partition and offset.
pub type Place = (String, u32, u64);

/// A store and what is in it.
pub struct Made {
    folder: TempDir,
    /// Every message's payload.
    pub messages: BTreeMap<Place, Vec<u8>>,
    /// Of each group what it has not settled and may get now.
    pub unsettled: BTreeMap<(String, String), BTreeSet<Place>>,
}

pub const ORDERS: &str = "orders";
pub const GROUPS: [(&str, &str); 3] = [(ORDERS, "g"), (ORDERS, "h"), ("other", "g")];
pub const TOPICS: [&str; 3] = [ORDERS, "orders.g.dlq", "other"];
/// Messages of the first partition: enough for three segments.
const MANY: u32 = 130;

/// Payloads that differ in every message and in length.
fn payload(partition: u32, number: u32) -> Vec<u8> {
    let len = if partition == 0 { 30_000 } else { 40 };
    let text = format!("{partition}/{number} ").into_bytes();
    text.into_iter()
        .cycle()
        .take(len + number as usize % 9)
        .collect()
}

impl Made {
    pub fn make(folder: TempDir) -> Self {
        let path = folder.path().join("original");
        let store = open(&path);
        for name in [ORDERS, "other"] {
            let options = TopicOptions {
                partitions: Some(2),
                // What is damaged is taken back, and has to be there for that.
                retention: Some(Retention::Forever),
                ..TopicOptions::default()
            };
            let topic = store.topic(name, &options).unwrap();
            let counts = if name == ORDERS { [MANY, 40] } else { [5, 9] };
            for (partition, count) in counts.into_iter().enumerate() {
                for number in 0..count {
                    let (partition, key) = (partition as u32, format!("k{}", number % 5));
                    let payload = payload(partition, number);
                    let headers: [(&str, &[u8]); 1] = [("trace", key.as_bytes())];
                    let message = Message::new(&payload).key(key.as_bytes());
                    let message = message.headers(&headers).partition(partition);
                    topic.send(&message).unwrap();
                }
            }
        }
        for (topic, group) in GROUPS {
            let topic = store.open_topic(topic).unwrap();
            let slow = Backoff {
                first: Duration::from_secs(3000),
                longest: Duration::from_secs(3000),
                factor: 1.0,
            };
            let options = GroupOptions {
                backoff: Some(slow),
                max_attempts: Some(2),
                window: Some(1024),
                ..GroupOptions::default()
            };
            let options = ConsumerOptions {
                group: options,
                name: Some("worker".to_owned()),
                ..ConsumerOptions::default()
            };
            let worker = topic.consumer(group, &options).unwrap();
            let batch = worker.receive(20, NOW).unwrap();
            let all = receipts(&batch);
            assert!(all.len() > 8, "{}", all.len());
            worker.ack(&all[..3]).unwrap();
            worker.dead_letter(&all[3..5], "no use").unwrap();
            // Waits for an hour, and its key behind it.
            worker.nack(&all[5..6], None, Some("not now")).unwrap();
            worker.ack(&all[7..8]).unwrap();
            // The others are leased until the consumer closes.
        }
        let mut reader = store
            .open_topic(ORDERS)
            .unwrap()
            .reader(&Default::default())
            .unwrap();
        // Makes the index of the first segment.
        reader.seek(Start::Time(1)).unwrap();
        let middle = used::middle(&store.open_topic(ORDERS).unwrap());
        reader.seek(Start::Time(middle)).unwrap();
        reader.receive(1, NOW).unwrap();
        drop(reader);
        store.close().unwrap();
        let mut made = Self {
            folder,
            messages: BTreeMap::new(),
            unsettled: BTreeMap::new(),
        };
        let copied = made.folder.path().join("copy");
        copy(&path, &copied);
        let seen = used::all_of_it(&copied);
        assert_eq!(seen.told, [""; 0], "the original is whole");
        fs::remove_dir_all(copied).unwrap();
        made.messages = seen.read;
        made.unsettled = seen.acked;
        assert!(made.messages.len() > 180, "{}", made.messages.len());
        assert_eq!(made.unsettled.len(), GROUPS.len());
        made
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("original")
    }
}

/// Copies what is written in files, and their lengths: most of a store is room that is not used.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
            continue;
        }
        let bytes = fs::read(entry.path()).unwrap();
        let used = bytes.iter().rposition(|byte| *byte != 0);
        fs::write(&target, &bytes[..used.map_or(0, |last| last + 1)]).unwrap();
        let file = fs::OpenOptions::new().write(true).open(&target).unwrap();
        file.set_len(bytes.len() as u64).unwrap();
    }
}
