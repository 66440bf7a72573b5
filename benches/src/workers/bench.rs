//! The store of a round: made anew, filled before the clock runs, checked after it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use libqueue::{
    Message, ReaderOptions, Retention, Start, Store, StoreOptions, Topic, TopicOptions,
};

use super::{NUMBER, Sum};
use crate::Outcome;
use crate::scale::BATCH;

/// What the topic of every workload is called.
pub(crate) const TOPIC: &str = "bench";

/// A folder with a store. Nobody has it open between the calls, so that the workers find it as
/// programs do, and what they take is theirs.
pub(crate) struct Bench {
    path: PathBuf,
}

impl Bench {
    pub(crate) fn new(folder: &Path) -> Outcome<Self> {
        Self::of(folder, &TopicOptions::default())
    }

    /// One whose messages stay when a group has settled them.
    pub(crate) fn forever(folder: &Path) -> Outcome<Self> {
        let options = TopicOptions {
            retention: Some(Retention::Forever),
            ..TopicOptions::default()
        };
        Self::of(folder, &options)
    }

    fn of(folder: &Path, options: &TopicOptions) -> Outcome<Self> {
        let path = folder.join("store");
        let store = Store::open(&path, StoreOptions::default())?;
        drop(store.topic(TOPIC, options)?);
        store.close()?;
        Ok(Self { path })
    }

    /// For a worker's arguments.
    pub(crate) fn at(&self) -> Outcome<&str> {
        Ok(self.path.to_str().ok_or("the folder's name is no text")?)
    }

    /// Where the messages are.
    pub(crate) fn log(&self) -> PathBuf {
        self.path.join("topics").join(TOPIC).join("0")
    }

    /// Sends so many, in batches; of so many keys in turn, or of none.
    pub(crate) fn load(&self, size: usize, count: usize, keys: usize) -> Outcome<Sum> {
        self.with(|topic| {
            let names: Vec<[u8; 8]> = (0..keys as u64).map(u64::to_le_bytes).collect();
            let mut sum = Sum::default();
            // A batch of the largest would take more memory than a bench should.
            let batch = (BATCH * (64 << 10) / size).clamp(1, BATCH);
            for first in (0..count).step_by(batch) {
                let payloads: Vec<Vec<u8>> = (first..count.min(first + batch))
                    .map(|number| numbered(size, number as u64))
                    .collect();
                let messages = payloads.iter().enumerate().map(|(at, payload)| {
                    sum.add(payload);
                    Message {
                        key: (keys > 0).then(|| &names[(first + at) % keys][..]),
                        ..Message::new(payload)
                    }
                });
                topic.send_many(&messages.collect::<Vec<_>>())?;
            }
            Ok(sum)
        })
    }

    /// Whether the topic holds what was sent, and nothing else.
    pub(crate) fn check(&self, sent: Sum) -> Outcome<()> {
        self.with(|topic| {
            let mut reader = topic.reader(&ReaderOptions {
                start: Start::Earliest,
                ..ReaderOptions::default()
            })?;
            let mut found = Sum::default();
            loop {
                let some = reader.receive(BATCH, Some(Duration::ZERO))?;
                if some.is_empty() {
                    break;
                }
                some.iter().for_each(|message| found.add(message.payload()));
            }
            same(sent, found)
        })
    }

    /// Puts all of it on disk.
    pub(crate) fn sync(&self) -> Outcome<()> {
        self.with(|topic| Ok(topic.sync()?))
    }

    pub(crate) fn remove(self) -> Outcome<()> {
        Ok(std::fs::remove_dir_all(&self.path)?)
    }

    fn with<T>(&self, work: impl FnOnce(&Topic) -> Outcome<T>) -> Outcome<T> {
        let store = Store::open(&self.path, StoreOptions::default())?;
        let topic = store.topic(TOPIC, &TopicOptions::default())?;
        let done = work(&topic);
        drop(topic);
        store.close()?;
        done
    }
}

/// A row counts only if this holds.
pub(crate) fn same(sent: Sum, came: Sum) -> Outcome<()> {
    match sent == came {
        true => Ok(()),
        false => Err(format!("sent were {sent:?}, and {came:?} came").into()),
    }
}

/// A payload that begins with its number.
pub(crate) fn numbered(size: usize, number: u64) -> Vec<u8> {
    let mut payload = vec![b'x'; size];
    let part = size.min(NUMBER);
    payload[..part].copy_from_slice(&number.to_le_bytes()[..part]);
    payload
}

/// Sends `count` messages with the same payload, `batch` at a time.
pub(crate) fn fill(topic: &Topic, payload: &[u8], count: usize, batch: usize) -> Outcome<()> {
    let messages = vec![Message::new(payload); batch];
    for _ in 0..count / batch {
        topic.send_many(&messages)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Bench, Sum, same};

    #[test]
    fn what_is_loaded_is_found_and_nothing_else_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let bench = Bench::new(folder.path()).expect("a store");
        let sum = bench.load(10, 250, 7).expect("loaded");
        assert_eq!((sum.count, sum.sum, sum.bytes), (250, 249 * 250 / 2, 2500));
        bench.check(sum).expect("all of it");
        let fewer = Sum { count: 249, ..sum };
        let other = Sum { sum: 1, ..sum };
        let shorter = Sum { bytes: 2499, ..sum };
        for wrong in [fewer, other, shorter] {
            assert!(bench.check(wrong).is_err() && same(sum, wrong).is_err());
        }
        bench.remove().expect("removed");
    }
}
