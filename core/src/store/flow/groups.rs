//! The groups of a topic as those who count have them open, and what was read of their windows.

use std::sync::{Arc, Mutex};

use super::super::group::GroupInner;
use super::super::topic::TopicInner;
use super::open::Open;
use crate::error::{ErrorKind, Result};
use crate::format::names;
use crate::group::Counter;
use crate::log::Cursor;
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
    /// Of each partition, what is open, as far as that was asked for.
    pub(super) open: Vec<Open>,
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
        self.open = topic
            .partitions
            .iter()
            .map(|_| Open::of(groups.len()))
            .collect();
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
            let groups = self.groups.len();
            self.open
                .iter_mut()
                .for_each(|open| *open = Open::of(groups));
        }
    }

    /// Reads all windows again. What is open in them is followed if `exact` says how: what was
    /// settled is looked for where it is `Some(true)`.
    pub(super) fn look(&mut self, exact: Option<bool>) -> Result<()> {
        for (number, group) in self.groups.iter_mut().enumerate() {
            for (partition, open) in (0..).zip(&mut self.open) {
                match group.look(partition, exact.map(|search| (number, &mut *open, search))) {
                    // All of it counts, as long as nobody can say what it has settled.
                    Err(error) if error.kind() == ErrorKind::Damaged => {
                        group.read[partition as usize] = None;
                        open.forget(number);
                    }
                    looked => looked?,
                }
            }
        }
        Ok(())
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
    fn look(&mut self, partition: u32, open: Option<(usize, &mut Open, bool)>) -> Result<()> {
        let place = partition as usize;
        let known = self.read[place].as_ref().is_some_and(|read| {
            let (next, open) = (read.next.offset, open.as_ref());
            open.is_none_or(|(number, open, _)| open.is_at(*number, next))
        });
        let patience = match known {
            true => GLANCE,
            false => self.inner.topic.store.env.lock_timeout,
        };
        let (mut open, mut new) = (open, Vec::new());
        let read = self
            .inner
            .with_policy_within(partition, patience, |window, _| {
                if let Some((number, open, search)) = &mut open {
                    new = open.follow(*number, &*window, *search);
                }
                let open = Counter::DERIVED
                    .iter()
                    .map(|counter| window.counter(*counter));
                Read {
                    next: window.cursor(),
                    open: open.fold(0, u64::saturating_add),
                    head: window.header(),
                }
            });
        match read {
            Ok(read) => self.read[place] = Some(read),
            Err(error) if error.kind() == ErrorKind::Stuck && known => return Ok(()),
            Err(error) => return Err(error),
        }
        let log = &self.inner.topic.partitions[place];
        if let Some((number, open, _)) = open {
            for (offset, position, length) in new {
                match length.map_or_else(|| log.bytes_at(offset, position), Ok) {
                    Ok(bytes) => open.add(number, offset, bytes),
                    Err(error) => {
                        // What was not added would be taken for settled.
                        open.forget(number);
                        return Err(error);
                    }
                }
            }
        }
        Ok(())
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

impl GroupInner {
    /// Whether the group was counted in this life of `control`, or its window used: then it was
    /// told of.
    pub(in super::super) fn was_opened(&self) -> bool {
        self.is_rebuilt(0)
    }
}
