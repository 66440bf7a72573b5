//! A block of `control`: the words of a topic, a group or a producer.

use std::path::Path;
use std::sync::atomic::Ordering;

use super::control::{GROUP, damaged};
use crate::error::Result;
use crate::format::control::{block, flow, group_partition, partition};
use crate::shm::Region;
use crate::storage::Storage;

/// Bytes of what every block begins with.
pub(super) const HEAD_BYTES: usize = block::WORDS * 8;

/// A topic's or group's block and those of its partitions.
#[derive(Clone)]
pub(crate) struct Block {
    /// The block's words: `format::control::block`.
    pub(crate) head: Region,
    /// One for each partition: `format::control::partition` or `group_partition`.
    pub(crate) partitions: Vec<Region>,
    /// Of a topic: `format::control::flow`.
    pub(crate) flow: Option<Region>,
}

/// Bytes of a block.
pub(super) fn bytes_of(kind: u64, partitions: usize) -> usize {
    let words = match kind {
        GROUP => group_partition::WORDS * partitions,
        _ => partition::WORDS * partitions + flow::words(partitions),
    };
    HEAD_BYTES + words * 8
}

impl Block {
    /// The block, which is damaged where it has another number of partitions (P18).
    pub(super) fn of_so_many(self, partitions: u32) -> Result<Self> {
        let there = self.partitions.len();
        if there == partitions as usize {
            return Ok(self);
        }
        let id = self.id();
        Err(damaged(format!(
            "control has {there} partitions for id {id:x}, expected {partitions}"
        )))
    }

    /// Where the block is, which names it in the table of consumers.
    pub(crate) fn at(&self) -> u64 {
        self.head.at() as u64
    }

    /// Id of the topic or group.
    pub(crate) fn id(&self) -> u64 {
        self.head.get(block::ID)
    }

    /// Puts the names of a topic's or group's files, which lie in these folders, on disk, once in
    /// each life of `control`. Whoever created it may have died before it did, and what is sent
    /// here with a promise must be found by name after a power loss (P2). Whether this was that
    /// once.
    pub(crate) fn name_durably(&self, storage: &dyn Storage, folders: &[&Path]) -> Result<bool> {
        let first = self.head.load(block::NAMED, Ordering::Acquire) == 0;
        if first {
            for folder in folders {
                storage.sync_dir(folder)?;
            }
            // Last: a death before has the next one do it again.
            self.head.store(block::NAMED, 1, Ordering::Release);
        }
        Ok(first)
    }

    /// Of a group: id of its topic.
    pub(crate) fn topic(&self) -> u64 {
        self.head.get(block::TOPIC)
    }
}
