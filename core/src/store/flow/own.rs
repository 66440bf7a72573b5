//! A transaction that takes from a topic which drops its oldest messages, and sends to the same one
//! (P8, P14).
//!
//! What it is about to settle is not dropped for what it sends: it frees room instead. That room is
//! lent before it is free, to this commit alone: it is not in the words from which others take.
//! That passes no limit. Nothing of it is sent unless all that it settles was marked, which what
//! others settle or drop meanwhile is not; and once it has happened what it settles is settled,
//! though who counts before the marks are taken off finds the topic fuller by as much, and gives
//! less. What some group may have to handle anew is told as news, for which nothing is lent.

use std::collections::{BTreeMap, BTreeSet};

use super::super::topic::TopicInner;
use super::groups::Known;
use super::room::Want;
use crate::error::Result;

/// A message that a commit settles: for which group, by its id, and where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) struct Own {
    pub(in super::super) group: u64,
    pub(in super::super) partition: u32,
    pub(in super::super) offset: u64,
}

impl Known {
    /// How much is settled for all groups once a commit settles these, sorted, and is not now.
    pub(super) fn lent(&self, topic: &TopicInner, own: &[Own]) -> Result<Want> {
        let mut wanted: BTreeMap<u32, BTreeSet<u64>> = BTreeMap::new();
        for one in own {
            wanted.entry(one.partition).or_default().insert(one.offset);
        }
        let (mut lent, most) = (Want::NOTHING, topic.partitions.len());
        for (partition, offsets) in wanted.range(..most as u32) {
            // Where they are, of those that its groups alone have not settled.
            let mut places: BTreeMap<u64, u64> = BTreeMap::new();
            let mut others: BTreeSet<u64> = BTreeSet::new();
            for group in &self.groups {
                let group = &group.inner;
                group.with_window(*partition, |window| {
                    for offset in offsets {
                        let one = Own {
                            group: group.uid,
                            partition: *partition,
                            offset: *offset,
                        };
                        let position = window.position_of(*offset);
                        match position {
                            Some(position) if own.binary_search(&one).is_ok() => {
                                places.insert(*offset, position);
                            }
                            None if *offset < window.next() => {}
                            _ => {
                                others.insert(*offset);
                            }
                        }
                    }
                })?;
            }
            let log = &topic.partitions[*partition as usize];
            for (offset, position) in places {
                if !others.contains(&offset) {
                    lent.messages += 1;
                    lent.bytes = lent.bytes.saturating_add(log.bytes_at(offset, position)?);
                }
            }
        }
        Ok(lent)
    }
}
