//! A process at work on a store while bytes of the store's files are changed.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::input::Input;
use super::steps::{Steps, in_time};
use super::tree::{open_consumer, open_topic, options};
use crate::store::{Consumer, Delivery, Store, Topic};

const NOW: Option<Duration> = Some(Duration::ZERO);

/// A member with all that it holds.
pub(super) struct Working {
    path: PathBuf,
    store: Store,
    topic: Topic,
    consumers: Vec<Consumer>,
    held: Vec<Delivery>,
}

/// A file of the store, to be changed.
pub(super) fn opened(path: &Path) -> File {
    let mut options = File::options();
    options.read(true).write(true);
    options.open(path).expect("a file of the store")
}

/// Changes the word at a position as the input says.
pub(super) fn change_word(file: &File, at: u64, input: &mut Input<'_>) {
    let mut bytes = [0; 8];
    let _ = file.read_exact_at(&mut bytes, at);
    let old = u64::from_le_bytes(bytes);
    let new = match input.byte() % 4 {
        0 => old ^ 1 << (input.byte() % 64),
        1 => old.wrapping_add(u64::from(input.byte())),
        2 => old.wrapping_sub(u64::from(input.byte())),
        _ => input.odd_number(),
    };
    file.write_all_at(&new.to_le_bytes(), at).expect("write");
}

impl Working {
    /// Opens the whole store in a folder, with one consumer.
    pub(super) fn begin(path: &Path) -> Self {
        let store = Store::open(path, options()).expect("open");
        let topic = open_topic(&store).expect("the topic");
        let consumers = vec![open_consumer(&topic).expect("consumer")];
        Self {
            path: path.to_owned(),
            store,
            topic,
            consumers,
            held: Vec::new(),
        }
    }

    /// Operations and changes by turns.
    pub(super) fn work(
        &mut self,
        steps: &mut Steps,
        input: &mut Input<'_>,
        change: &mut dyn FnMut(&mut Input<'_>),
    ) {
        for _ in 0..input.byte() % 48 {
            match input.byte() % 16 {
                0..=4 => change(input),
                5 | 6 => {
                    let large = input.byte().is_multiple_of(8);
                    let len = if large { 40_000 } else { 40 };
                    let _ = steps.send(&self.topic, u32::from(input.byte() % 2), len);
                }
                7 | 8 => self.receive(steps),
                9 => self.settle(input),
                10 => drop(in_time("sync", || self.topic.sync())),
                11 => {
                    let _ = in_time("look", || self.topic.stats());
                    let _ = in_time("look", || self.store.stats());
                }
                12 => drop(steps.read_topic(&self.topic, &mut |_| {})),
                13 => {
                    let opened = in_time("open a consumer", || open_consumer(&self.topic));
                    self.consumers.extend(opened);
                }
                14 => drop(self.consumers.pop()),
                _ => self.join(steps),
            }
        }
    }

    fn receive(&mut self, steps: &Steps) {
        if let Some(consumer) = self.consumers.last() {
            let found = in_time("receive", || consumer.receive(3, NOW));
            for delivery in found.unwrap_or_default() {
                steps.judge(&delivery);
                self.held.push(delivery);
            }
        }
    }

    fn settle(&mut self, input: &mut Input<'_>) {
        if let (Some(consumer), Some(one)) = (self.consumers.last(), self.held.pop()) {
            let receipt = [one.receipt()];
            let _ = in_time("settle", || match input.byte() % 5 {
                0 => consumer.nack(&receipt, NOW, None),
                1 => consumer.release(&receipt),
                2 => consumer.dead_letter(&receipt, "dead"),
                3 => consumer.extend(&receipt, Duration::from_secs(1)),
                _ => consumer.ack(&receipt),
            });
        }
    }

    /// Another member of the same process comes and goes.
    fn join(&self, steps: &mut Steps) {
        let joined = in_time("join", || Store::open(&self.path, options()));
        if let Ok(other) = joined {
            let _ = steps.read(&other);
            let _ = in_time("leave", || other.close());
        }
    }

    /// Closes all.
    pub(super) fn end(mut self) {
        self.held.clear();
        in_time("close all", || {
            self.consumers.clear();
            drop(self.topic);
            let _ = self.store.close();
        });
    }
}
