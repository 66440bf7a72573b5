//! Everything that can be done with a store, with what came of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use libqueue::{Error, Message, ReaderOptions, Start, Store, StoreOptions, Topic};

use super::common::{NOW, receipts};
use super::made::{GROUPS, Made, Place, TOPICS};

/// More errors than that from one reader or consumer: it does not get past the damage.
const MOST_ERRORS: usize = 30;

/// What came of it.
#[derive(Default)]
pub struct Used {
    /// The errors.
    pub told: Vec<String>,
    /// What readers found.
    pub read: BTreeMap<Place, Vec<u8>>,
    /// What each group's consumer got, and acknowledged.
    pub acked: BTreeMap<(String, String), BTreeSet<Place>>,
    /// What was sent.
    sent: BTreeMap<Place, Vec<u8>>,
    /// What must never be: a message twice, or with other bytes than it was delivered with.
    wrong: Vec<String>,
}

/// The time of a message in the middle of the first partition.
pub fn middle(topic: &Topic) -> i64 {
    let options = ReaderOptions {
        start: Start::Offset(20),
        partitions: Some(vec![0]),
        ..ReaderOptions::default()
    };
    let mut reader = topic.reader(&options).unwrap();
    reader.receive(1, NOW).unwrap()[0].timestamp_ns()
}

/// Opens, reads, receives, acknowledges, sends, looks, closes.
pub fn all_of_it(path: &Path) -> Used {
    let mut used = Used::default();
    let options = StoreOptions {
        lock_timeout: Duration::from_secs(5),
        ..StoreOptions::default()
    };
    let Some(store) = used.keep(Store::open(path, options)) else {
        return used;
    };
    used.keep(store.topics());
    for name in TOPICS {
        if let Some(topic) = used.keep(store.open_topic(name)) {
            used.read(&topic);
        }
    }
    for (topic, group) in GROUPS {
        if let Some(topic) = used.keep(store.open_topic(topic)) {
            used.receive(&topic, group);
        }
    }
    for name in TOPICS {
        if let Some(topic) = used.keep(store.open_topic(name)) {
            used.send(&topic);
            used.keep(topic.stats());
        }
    }
    used.keep(store.sync());
    used.keep(store.close());
    drop(store);
    used
}

impl Used {
    fn keep<T>(&mut self, result: Result<T, Error>) -> Option<T> {
        result
            .map_err(|error| self.told.push(error.to_string()))
            .ok()
    }

    fn read(&mut self, topic: &Topic) {
        let Some(mut reader) = self.keep(topic.reader(&ReaderOptions::default())) else {
            return;
        };
        let mut errors = 0;
        loop {
            match reader.receive(1000, NOW) {
                Ok(batch) if batch.is_empty() => return,
                Ok(batch) => {
                    for one in batch {
                        let place = (topic.name().to_owned(), one.partition(), one.offset());
                        if self.read.insert(place, one.payload().to_vec()).is_some() {
                            self.wrong.push(format!("read twice: {}", one.offset()));
                        }
                    }
                }
                Err(error) => {
                    errors += 1;
                    self.told.push(error.to_string());
                    if errors == MOST_ERRORS {
                        return;
                    }
                }
            }
        }
    }

    fn receive(&mut self, topic: &Topic, name: &str) {
        let Some(consumer) = self.keep(topic.consumer(name, &Default::default())) else {
            return;
        };
        let of = (topic.name().to_owned(), name.to_owned());
        self.acked.entry(of.clone()).or_default();
        let mut errors = 0;
        while errors < MOST_ERRORS {
            let batch = match consumer.receive(100, NOW) {
                Ok(batch) if batch.is_empty() => break,
                Ok(batch) => batch,
                Err(error) => {
                    errors += 1;
                    self.told.push(error.to_string());
                    continue;
                }
            };
            let got = self.acked.get_mut(&of).unwrap();
            for one in &batch {
                let place = (of.0.clone(), one.partition(), one.offset());
                let read = self.read.get(&place).map(Vec::as_slice);
                if read.is_some_and(|read| read != one.payload()) {
                    self.wrong.push(format!("other bytes than read: {place:?}"));
                }
                if !got.insert(place) {
                    self.wrong
                        .push(format!("delivered twice: {}", one.offset()));
                }
            }
            self.keep(consumer.ack(&receipts(&batch)));
        }
        if let Some(group) = self.keep(topic.group(name)) {
            self.keep(group.dead_letters(usize::MAX));
            self.keep(group.stats());
        }
        drop(consumer);
    }

    fn send(&mut self, topic: &Topic) {
        for partition in 0..topic.partitions() {
            let payload = format!("sent to {partition}").into_bytes();
            let sent = topic.send(&Message::new(&payload).partition(partition));
            if let Some(id) = self.keep(sent) {
                let place = (topic.name().to_owned(), partition, id.offset);
                self.sent.insert(place, payload);
            }
        }
    }

    /// Right data, or errors that name the damaged files.
    pub fn looks_right(&self, made: &Made, names: &[String]) -> Result<(), String> {
        if !self.wrong.is_empty() {
            return Err(format!("{:?}; told {:?}", self.wrong, self.told));
        }
        for one in &self.told {
            if !names.iter().any(|name| one.contains(name.as_str())) {
                return Err(format!("does not name {names:?}: {one}"));
            }
        }
        for (place, payload) in &self.read {
            if made.messages.get(place) != Some(payload) {
                return Err(format!("invented: {place:?}; told {:?}", self.told));
            }
        }
        for place in self.sent.keys() {
            if made.messages.contains_key(place) {
                return Err(format!("an offset is used twice: {place:?}"));
            }
        }
        let unread = made
            .messages
            .keys()
            .filter(|at| !self.read.contains_key(at));
        let missing: Vec<&Place> = unread.collect();
        if !missing.is_empty() && self.told.is_empty() {
            return Err(format!("missing in silence: {missing:?}"));
        }
        for (of, wanted) in &made.unsettled {
            let none = BTreeSet::new();
            let got = self.acked.get(of).unwrap_or(&none);
            let missing: Vec<&Place> = wanted.difference(got).collect();
            if !missing.is_empty() && self.told.is_empty() {
                return Err(format!("{of:?} misses in silence: {missing:?}"));
            }
        }
        Ok(())
    }

    /// After the damage was taken back: everything is there. What was lost to a group is what it
    /// was told of before; and a segment that could not be used was left without its end, which is
    /// told of for ever, though nothing is behind it.
    pub fn is_whole(&self, made: &Made, before: &Used, names: &[String]) -> Result<(), String> {
        let told = &before.told;
        let of_a_segment = |one: &String| one.contains(".log");
        let left_open = told.iter().any(of_a_segment);
        for one in self.told.iter().chain(&self.wrong) {
            let named = names.iter().any(|name| one.contains(name.as_str()));
            if !(named && left_open && of_a_segment(one)) {
                return Err(format!("after {names:?}: {one}; before {told:?}"));
            }
        }
        for (place, payload) in made.messages.iter().chain(&before.sent) {
            if self.read.get(place) != Some(payload) {
                return Err(format!(
                    "not there after all: {place:?}; told before {told:?}"
                ));
            }
        }
        if self.read.len() != made.messages.len() + before.sent.len() {
            return Err("more is there than was sent".to_owned());
        }
        for (of, wanted) in &made.unsettled {
            let none = BTreeSet::new();
            let done = before.acked.get(of).unwrap_or(&none);
            let got = self.acked.get(of).unwrap_or(&none);
            let lost = |at: &&Place| !done.contains(*at) && !got.contains(*at);
            let lost: Vec<&Place> = wanted.iter().filter(lost).collect();
            if !lost.is_empty() && told.is_empty() {
                return Err(format!("{of:?} lost {lost:?}; told before {told:?}"));
            }
            let mut sent = before.sent.keys().filter(|at| at.0 == of.0);
            if let Some(place) = sent.find(|at| !got.contains(*at)) {
                return Err(format!(
                    "{of:?} does not get {place:?}; told before {told:?}"
                ));
            }
        }
        Ok(())
    }
}
