//! The consumers of a group, in all processes, and how each of them fares.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use super::control::Control;
use super::group::Group;
use crate::error::Result;
use crate::format::control::{consumer, member};

/// A consumer of a group, and what it did since it was opened. One that fails what others manage
/// has a larger part of `failed` in `delivered` than they.
#[derive(Clone, Debug, Default, PartialEq)]
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
    /// The part of `failed` in `delivered`, 0 to 1.
    pub failed_share: f64,
    /// That part of all other consumers of the group together; 0 where there are none.
    pub others_failed_share: f64,
    /// Whether it fails what others manage: 5 messages or more failed in its hands, and its share
    /// is more than twice that of the others and a twentieth. Never where there are no others.
    pub stands_out: bool,
}

const FEWEST_FAILED: u64 = 5;

fn share(failed: u64, delivered: u64) -> f64 {
    match delivered {
        0 => 0.0,
        // What is counted in two steps may be seen between them.
        _ => (failed as f64 / delivered as f64).min(1.0),
    }
}

/// Compares each with the others.
fn compare(all: &mut [ConsumerStats]) {
    let sum = |of: fn(&ConsumerStats) -> u64| all.iter().map(of).fold(0, u64::wrapping_add);
    let (failed, delivered) = (sum(|one| one.failed), sum(|one| one.delivered));
    for one in all {
        let others = delivered.wrapping_sub(one.delivered);
        one.failed_share = share(one.failed, one.delivered);
        one.others_failed_share = share(failed.wrapping_sub(one.failed), others);
        one.stands_out = others > 0
            && one.failed >= FEWEST_FAILED
            && one.failed_share > 2.0 * one.others_failed_share + 0.05;
    }
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
    ///     assert!(!consumer.stands_out, "it fails what others manage");
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
                    ..ConsumerStats::default()
                }
            })
            .collect();
        compare(&mut found);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn marked(counts: &[(u64, u64)]) -> Vec<bool> {
        let one = |(failed, delivered): &(u64, u64)| ConsumerStats {
            failed: *failed,
            delivered: *delivered,
            ..ConsumerStats::default()
        };
        let mut all: Vec<_> = counts.iter().map(one).collect();
        compare(&mut all);
        all.iter().map(|one| one.stands_out).collect()
    }

    #[test]
    fn p10_one_that_fails_what_others_manage_stands_out_and_no_other() {
        assert_eq!(marked(&[(0, 100), (9, 20), (1, 90)]), [false, true, false]);
        // Few failures, few more than the others have, or all fail alike: none.
        assert_eq!(marked(&[(0, 100), (4, 4)]), [false, false]);
        assert_eq!(marked(&[(5, 100), (0, 100_000)]), [false, false]);
        assert_eq!(marked(&[(50, 100), (99, 100)]), [false, false]);
        // Nobody to be compared with.
        assert_eq!(marked(&[(50, 100)]), [false]);
        assert_eq!(marked(&[(50, 100), (0, 0)]), [false, false]);
        // What was torn, or is damage, is no reason to fail (P18).
        assert_eq!(marked(&[(u64::MAX, 1), (9, u64::MAX)]).len(), 2);
    }
}
