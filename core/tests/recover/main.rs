//! Damaged stores, copied out: all that can be read is there as it was, what is lost is told, and
//! every group gets what it had not settled.

#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;
mod damage;
mod flips;
mod groups;
mod refusals;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::{NOW, consumer, open, receipts, topic};
use libqueue::inspect::{self, Recovered, Report};
use libqueue::{Message, Ordering, ReaderOptions, Start};
use tempfile::TempDir;

/// Topic, partition and offset.
type Place = (String, u32, u64);
/// Timestamp, key, headers and payload.
type Content = (i64, Option<Vec<u8>>, Vec<(String, Vec<u8>)>, Vec<u8>);

/// A damaged store and the place of the new one.
struct Case {
    folder: TempDir,
}

impl Case {
    /// Copies a store, so that it can be damaged.
    fn of(store: &Path) -> Self {
        let folder = TempDir::new().unwrap();
        copy(store, &folder.path().join("from"));
        Self { folder }
    }

    fn from(&self) -> PathBuf {
        self.folder.path().join("from")
    }

    fn to(&self) -> PathBuf {
        self.folder.path().join("to")
    }

    /// Recovers. What comes out verifies clean, and holds what verify said can be read.
    fn recover(&self, original: &BTreeMap<Place, Content>) -> Recovered {
        let before = fingerprint(&self.from());
        let told = inspect::verify(&self.from(), &mut |_, _| Ok(()));
        let recovered = recover(&self.from(), &self.to()).expect("a store");
        assert_eq!(fingerprint(&self.from()), before, "the source was changed");
        let found = contents(&self.to());
        assert_eq!(found.len() as u64, recovered.messages, "{recovered:#?}");
        for (place, content) in &found {
            assert_eq!(original.get(place), Some(content), "{place:?} is invented");
        }
        let told = told.unwrap_or_else(|_| recovered.source.clone());
        let places: BTreeSet<Place> = readable(&told);
        let copied: BTreeSet<Place> = found.into_keys().collect();
        assert_eq!(
            copied, places,
            "what verify says can be read is not what was copied"
        );
        let again = inspect::verify(&self.to(), &mut |_, _| Ok(())).expect("a store");
        assert_eq!(again.damage, [], "of the new store");
        assert!(again.unknown.is_empty());
        recovered
    }
}

fn recover(from: &Path, to: &Path) -> libqueue::Result<Recovered> {
    inspect::recover(from, to, &mut |done, total| {
        assert!(done <= total);
        Ok(())
    })
}

fn readable(report: &Report) -> BTreeSet<Place> {
    let partitions = report.partitions.iter();
    let each = |one: &inspect::PartitionReport| {
        let (topic, partition) = (one.topic.clone(), one.partition);
        let offsets: Vec<u64> = one.readable.iter().cloned().flatten().collect();
        assert_eq!(offsets.len() as u64, one.messages);
        offsets
            .into_iter()
            .map(move |at| (topic.clone(), partition, at))
    };
    partitions.flat_map(each).collect()
}

fn lost(recovered: &Recovered) -> Vec<Range<u64>> {
    let partitions = recovered.source.partitions.iter();
    partitions.flat_map(|one| one.lost.clone()).collect()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// All files with their bytes.
fn fingerprint(folder: &Path) -> BTreeMap<PathBuf, u32> {
    let mut found = BTreeMap::new();
    for path in files(folder) {
        let sum = fs::read(&path).unwrap().iter().fold(1_u32, |sum, byte| {
            sum.wrapping_mul(31).wrapping_add(u32::from(*byte))
        });
        found.insert(path, sum);
    }
    found
}

/// All files in a folder and those below, sorted.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.append(&mut files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// All messages that readers find in a store.
fn contents(store: &Path) -> BTreeMap<Place, Content> {
    let store = open(store);
    let mut found = BTreeMap::new();
    for name in store.topics().unwrap() {
        let topic = store.open_topic(&name).unwrap();
        let options = ReaderOptions {
            start: Start::Earliest,
            ..ReaderOptions::default()
        };
        let mut reader = topic.reader(&options).unwrap();
        loop {
            let batch = reader.receive(1000, NOW).expect("no damage");
            if batch.is_empty() {
                break;
            }
            for one in batch {
                let headers = one
                    .headers()
                    .map(|(name, value)| (name.to_owned(), value.to_vec()));
                let content = (
                    one.timestamp_ns(),
                    one.key().map(<[u8]>::to_vec),
                    headers.collect(),
                    one.payload().to_vec(),
                );
                let place = (name.clone(), one.partition(), one.offset());
                assert!(found.insert(place, content).is_none(), "found twice");
            }
        }
    }
    store.close().unwrap();
    found
}

/// Everything that a group is still delivered, each acknowledged: partition, offset and attempt.
fn drain(store: &Path, name: &str, group: &str) -> BTreeMap<(u32, u64), u32> {
    let store = open(store);
    let topic = store.open_topic(name).unwrap();
    let worker = topic.consumer(group, &Default::default()).expect("group");
    let mut found = BTreeMap::new();
    loop {
        let batch = worker
            .receive(100, Some(Duration::from_millis(30)))
            .expect("no damage");
        if batch.is_empty() {
            break;
        }
        for one in &batch {
            let twice = found.insert((one.partition(), one.offset()), one.attempt());
            assert!(twice.is_none(), "delivered twice");
        }
        worker.ack(&receipts(&batch)).unwrap();
    }
    drop((worker, topic));
    store.close().unwrap();
    found
}

/// Two partitions, of which the first has several segments; a group that is in the middle, and one
/// that has not begun; a dead letter. What they have not settled.
struct Original {
    folder: TempDir,
    contents: BTreeMap<Place, Content>,
    unsettled: BTreeSet<(u32, u64)>,
    /// The message that became a dead letter.
    dead: (u32, u64),
}

impl Original {
    fn path(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    fn make() -> Self {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("store");
        let store = open(&path);
        let topic = topic(&store, 2);
        for number in 0..120_u32 {
            let payload = number.to_string().repeat(1 + number as usize * 37 % 400);
            let big = vec![number as u8; 40_000 * usize::from(number % 3 == 0)];
            let payload = [payload.as_bytes(), &big].concat();
            let key = (number % 7).to_string();
            let message = Message::new(&payload).headers(&[("trace", b"42"), ("", b"")]);
            let message = match number % 5 {
                0 => message,
                _ => message.key(key.as_bytes()),
            };
            topic
                .send(&message.partition(u32::from(number % 4 == 1)))
                .unwrap();
        }
        let mut unsettled: BTreeSet<(u32, u64)> = (0..90).map(|at| (0, at)).collect();
        unsettled.extend((0..30).map(|at| (1, at)));
        let worker = consumer(&topic, "g", Ordering::None, 3);
        let batch = worker.receive(60, NOW).unwrap();
        for (place, one) in batch.iter().enumerate() {
            let receipt = [one.receipt()];
            match place {
                20 => worker.dead_letter(&receipt, "no use").unwrap(),
                30..40 => worker.nack(&receipt, None, Some("not yet")).unwrap(),
                45.. => worker.release(&receipt).unwrap(),
                _ => worker.ack(&receipt).unwrap(),
            }
            if matches!(place, 0..30 | 40..45) {
                unsettled.remove(&(one.partition(), one.offset()));
            }
        }
        let dead = (batch[20].partition(), batch[20].offset());
        topic.create_group("fresh", &Default::default()).unwrap();
        drop((batch, worker, topic));
        store.close().unwrap();
        let contents = contents(&path);
        assert_eq!(contents.len(), 121);
        Self {
            folder,
            contents,
            unsettled,
            dead,
        }
    }
}

fn partition(store: &Path, number: u32) -> PathBuf {
    store.join(format!("topics/orders/{number}"))
}

/// The segments of a partition, in order.
fn segments(store: &Path, number: u32) -> Vec<PathBuf> {
    let mut found = files(&partition(store, number));
    found.retain(|path| path.extension().is_some_and(|is| is == "log"));
    found
}

/// Position and offset of each message of a segment.
fn messages(segment: &Path) -> Vec<(u64, u64)> {
    let bytes = fs::read(segment).unwrap();
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let (mut at, mut found) = (4096, Vec::new());
    while at + 48 <= bytes.len() && word(at) != 0 {
        let offset = u64::from_le_bytes(bytes[at + 8..at + 16].try_into().unwrap());
        if bytes[at + 32] == 1 {
            found.push((at as u64, offset));
        }
        if bytes[at + 32] == 3 {
            break;
        }
        at += (word(at) as usize).next_multiple_of(8);
    }
    found
}

fn put(path: &Path, at: u64, bytes: &[u8]) {
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(bytes, at).unwrap();
}

fn flip(path: &Path, at: u64, bits: u8) {
    let file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ bits], at).unwrap();
}

fn window(store: &Path, group: &str, number: u32) -> PathBuf {
    store.join(format!("topics/orders/groups/{group}/{number}.window"))
}
