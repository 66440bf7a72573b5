//! The consumers of a group, in all processes, and how each of them fares.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use super::control::Control;
use super::group::Group;
use crate::error::Result;
use crate::format::control::{consumer, member};

/// A consumer of a group, and what it did since it was opened. One that fails what others manage
/// has a larger part of `failed` in `delivered` than they.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConsumerStats {
    /// Its name.
    pub name: String,
    /// Id of its process, as its own container numbers it.
    pub process: u32,
    /// Messages that it has now.
    pub leased: u64,
    /// Messages that it was handed, each as often as it was.
    pub delivered: u64,
    /// Those that were acknowledged while it had them.
    pub acked: u64,
    /// Those that failed in its hands: nacks, leases that ran out, messages that it gave up.
    pub failed: u64,
}

impl Group {
    /// The group's consumers, in all processes, in the order of their names.
    ///
    /// ```
    /// # use libqueue::{ConsumerOptions, Store, StoreOptions, TopicOptions};
    /// # let folder = tempfile::TempDir::new().unwrap();
    /// # let store = Store::open(folder.path(), StoreOptions::default())?;
    /// # let orders = store.topic("orders", &TopicOptions::default())?;
    /// # let _one = orders.consumer("billing", &ConsumerOptions::default())?;
    /// for consumer in orders.group("billing")?.consumers()? {
    ///     println!("{}: {} of {} failed", consumer.name, consumer.failed, consumer.delivered);
    /// }
    /// # Ok::<(), libqueue::Error>(())
    /// ```
    pub fn consumers(&self) -> Result<Vec<ConsumerStats>> {
        let group = &*self.inner;
        let control = &group.topic.store.control;
        group.topic.store.check_open()?;
        let mut leased: HashMap<u16, u64> = HashMap::new();
        for log in &group.topic.partitions {
            group.with_window(log.number(), |window| {
                for consumer in window.lease_holders() {
                    *leased.entry(consumer).or_default() += 1;
                }
            })?;
        }
        if let Some(lane) = group.lane()? {
            lane.with_window(0, |window| {
                for consumer in window.lease_holders() {
                    *leased.entry(consumer).or_default() += 1;
                }
            })?;
        }
        let entries = control.consumers_of_group(&group.block);
        let mut found: Vec<ConsumerStats> = entries
            .into_iter()
            .map(|entry| {
                let count = |word| control.consumer_word(entry.slot.0, word);
                ConsumerStats {
                    process: control.process_of(count(consumer::MEMBER)),
                    leased: leased.get(&entry.slot.0).copied().unwrap_or(0),
                    delivered: count(consumer::DELIVERED),
                    acked: count(consumer::ACKED),
                    failed: count(consumer::FAILED),
                    name: entry.name,
                }
            })
            .collect();
        found.sort_by(|a, b| (&a.name, a.process).cmp(&(&b.name, b.process)));
        Ok(found)
    }
}

impl Control {
    fn consumer_word(&self, slot: u16, word: usize) -> u64 {
        let at = usize::from(slot) * consumer::WORDS + word;
        self.shared.consumers.load(at, Ordering::Relaxed)
    }

    /// The process of the member that a consumer's entry names; 0 where there is none.
    fn process_of(&self, entry: u64) -> u32 {
        let slot = (entry & 0xFFFF) as usize;
        match slot.checked_sub(1) {
            Some(slot) if slot < member::SLOTS => {
                let word = slot * member::WORDS + member::PROCESS;
                self.shared.members.load(word, Ordering::Relaxed) as u32
            }
            _ => 0,
        }
    }
}
