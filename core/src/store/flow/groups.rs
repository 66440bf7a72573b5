//! The groups of a topic as those who count have them open, and what was read of their windows.

use std::sync::{Arc, Mutex};

use super::super::group::GroupInner;
use super::super::topic::TopicInner;
use crate::error::{ErrorKind, Result};
use crate::format::names;
use crate::group::Counter;
use crate::log::{Counted, Cursor};
use crate::shm::Region;

/// What handles of a topic share for counting. Not the topic itself, which its groups hold.
#[derive(Default)]
pub(in super::super) struct FlowGroups {
    pub(super) known: Mutex<Known>,
}

#[derive(Default)]
pub(super) struct Known {
    /// `NEWS` and `ERA` with which all this was read.
    news: Option<u64>,
    era: u64,
    pub(super) groups: Vec<KnownGroup>,
    /// Of each partition, the first offset that is kept.
    pub(super) earliest: Vec<u64>,
}

pub(super) struct KnownGroup {
    pub(super) inner: Arc<GroupInner>,
    /// One for each partition.
    pub(super) read: Vec<Option<Read>>,
}

/// What a window said under its lock. It never holds more than it said then, seeks aside, which
/// are told as news: what is taken in later is counted as behind the end.
#[derive(Clone)]
pub(super) struct Read {
    /// Where nobody has looked yet.
    pub(super) next: Cursor,
    /// What was taken in and is not settled.
    pub(super) open: u64,
    /// Its bytes, at the last exact look, and the count of bytes up to where `next` was then.
    pub(super) open_bytes: Option<(u64, u64)>,
    /// Header of the window, to be read without its lock.
    pub(super) head: Region,
}

impl Known {
    /// Follows what is there now; `true` where it was another.
    pub(super) fn follow(&mut self, topic: &Arc<TopicInner>, news: u64) -> Result<bool> {
        if self.news == Some(news) {
            return Ok(false);
        }
        self.news = None;
        let mut groups = Vec::new();
        for name in topic.group_names()? {
            let inner = match topic.group_inner(&name) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                opened => opened?,
            };
            let read = vec![None; topic.partitions.len()];
            groups.push(KnownGroup { inner, read });
        }
        let firsts = topic.partitions.iter().map(|log| log.earliest_offset());
        self.earliest = firsts.collect::<Result<_>>()?;
        self.groups = groups;
        self.news = Some(news);
        Ok(true)
    }

    /// Forgets what was counted in another era.
    pub(super) fn set_era(&mut self, era: u64) {
        if self.era != era {
            self.era = era;
            for group in &mut self.groups {
                group.read.iter_mut().for_each(|read| *read = None);
            }
        }
    }

    /// Whether what is known is of this.
    pub(super) fn is_of(&self, news: u64) -> bool {
        self.news == Some(news)
    }
}

/// How long to wait for one who holds a window and is stopped, where what was read before does.
const GLANCE: std::time::Duration = std::time::Duration::from_millis(2);

impl KnownGroup {
    /// Reads the window again; where its holder is stopped, what was read before stays.
    pub(super) fn look(&mut self, partition: u32) -> Result<()> {
        let place = partition as usize;
        let patience = match &self.read[place] {
            Some(_) => GLANCE,
            None => self.inner.topic.store.env.lock_timeout,
        };
        let read = self
            .inner
            .with_policy_within(partition, patience, |window, _| {
                let open = Counter::DERIVED
                    .iter()
                    .map(|counter| window.counter(*counter));
                (
                    window.cursor(),
                    open.fold(0, u64::saturating_add),
                    window.header(),
                )
            });
        match read {
            Ok((next, open, head)) => {
                let open_bytes = self.read[place].as_ref().and_then(|read| read.open_bytes);
                let read = Read {
                    next,
                    open,
                    open_bytes,
                    head,
                };
                self.read[place] = Some(read);
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::Stuck && self.read[place].is_some() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The bytes of what is taken in and not settled, by offset, and where the window ended then.
    pub(super) fn open_bytes(&self, partition: u32) -> Result<(Cursor, Vec<(u64, u64)>)> {
        let log = &self.inner.topic.partitions[partition as usize];
        let (next, open) = self
            .inner
            .with_window(partition, |window| (window.cursor(), window.open_lengths()))?;
        let mut lengths = Vec::with_capacity(open.len());
        for (offset, position, length) in open {
            let bytes = match length {
                Some(bytes) => bytes,
                None => log.bytes_at(offset, position)?,
            };
            lengths.push((offset, bytes));
        }
        Ok((next, lengths))
    }
}

impl TopicInner {
    /// Names of the groups, sorted; not those of redrive lanes.
    pub(in super::super) fn group_names(&self) -> Result<Vec<String>> {
        let folder = self.folder.join(names::GROUPS);
        let mut found = Vec::new();
        for name in self.store.env.storage.list(&folder)? {
            if !names::is_reserved(&name) && self.has_group(&name)? {
                found.push(name);
            }
        }
        Ok(found)
    }
}

/// The sum of what was counted by offset.
pub(super) fn sum(lengths: &[(u64, u64)]) -> Counted {
    Counted {
        messages: lengths.len() as u64,
        bytes: lengths.iter().map(|(_, bytes)| bytes).sum(),
    }
}

impl GroupInner {
    /// Whether the group was counted in this life of `control`, or its window used: then it was
    /// told of.
    pub(in super::super) fn was_opened(&self) -> bool {
        self.is_rebuilt(0)
    }
}
