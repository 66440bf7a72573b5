//! What retention knows of a topic's groups: all that are on disk, whether or not anybody opened
//! them.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::dead_letter::walk;
use super::group_meta::{GroupMeta, dead_letters_of, read_meta};
use super::source::source_of;
use super::topic::TopicInner;
use crate::error::Result;
use crate::format::control::block::{LETTERS, NO_LETTERS, SOME_LETTERS};
use crate::format::control::group_partition as at;
use crate::format::names;
use crate::group::{OnDisk, Window};
use crate::log::{Cursor, Partition, Record};
use crate::shm::{Acquired, OwnerLock};

/// How long one that syncs a window is waited for.
const PATIENCE: Duration = Duration::from_secs(1);
/// How names of topics end that are made for dead letters.
const LETTERS_END: &str = ".dlq";

/// What a topic keeps first, whatever its groups have settled.
pub(super) struct FirstWanted {
    /// `u64::MAX` if there is nothing.
    pub(super) offset: u64,
    pub(super) is_letter: bool,
}

/// Whether nobody is there but lanes of dead letters: then what was sent waits for the first group.
pub(super) fn is_without_groups(groups: &[KeptGroup]) -> bool {
    groups.iter().all(KeptGroup::is_lane)
}

/// A group on disk.
pub(super) struct KeptGroup {
    pub(super) name: String,
    pub(super) folder: PathBuf,
    /// `None` where it cannot be read.
    pub(super) meta: Option<GroupMeta>,
}

impl KeptGroup {
    pub(super) fn is_lane(&self) -> bool {
        names::parse_redrive_lane(&self.name).is_some()
    }

    /// Whether it has a window over the partition with this number.
    pub(super) fn has(&self, partition: usize) -> bool {
        partition == 0 || !self.is_lane()
    }
}

impl TopicInner {
    /// All groups of the topic, redrive lanes among them, but for those of deleted groups.
    pub(super) fn kept_groups(&self) -> Result<Vec<KeptGroup>> {
        let mut groups = Vec::new();
        for name in self
            .store
            .env
            .storage
            .list(&self.folder.join(names::GROUPS))?
        {
            if !self.has_group(&name)? || self.is_orphan(&name)? {
                continue;
            }
            let folder = names::group_folder(&self.folder, &name);
            let meta = read_meta(&self.store, &folder.join(names::GROUP_META)).ok();
            groups.push(KeptGroup { name, folder, meta });
        }
        Ok(groups)
    }

    /// Up to which offset a group has settled all; `None` if that cannot be told. A lane that has
    /// settled all that it took in settles what comes: what else there is for it, the letters say.
    /// A position that would let anything go, beyond `oldest`, is believed only as whoever opens
    /// the group would (P3, P18).
    pub(super) fn floor_of(
        &self,
        group: &KeptGroup,
        log: &Partition,
        oldest: u64,
    ) -> Result<Option<u64>> {
        let Some(meta) = &group.meta else {
            return Ok(None);
        };
        let (storage, number) = (&*self.store.env.storage, log.number());
        let (path, ids) = (group.folder.join(names::window(number)), (meta.id, number));
        let Ok(Some(standing)) = Window::on_disk(storage, &path, ids) else {
            return Ok(None);
        };
        let OnDisk { floor, next, .. } = standing;
        // Sought, and nobody took its lock since: all from there on comes again (P16).
        if let Some(sought) = meta.sought.get(number as usize)
            && sought.epoch > standing.epoch
        {
            return Ok(Some(sought.offset));
        }
        let can_be = floor <= next && next <= log.next_offset();
        let begun = || -> Result<bool> {
            let groups = self.store.control.groups_of(self.uid)?;
            let mine = groups.iter().find(|block| block.id() == meta.id);
            let part = mine.and_then(|block| block.partitions.get(number as usize));
            Ok(part.is_some_and(|part| part.load(at::REBUILT, Ordering::Acquire) != 0))
        };
        if !can_be {
            return Ok(None);
        }
        if floor >= oldest && standing.closed && !self.store.is_read_only() && !begun()? {
            let whole = Window::open(storage, &path, ids, meta.config.window).and_then(|window| {
                window.map_or(Ok(false), |window| window.check().map(|()| true))
            });
            if !whole.unwrap_or(false) {
                return Ok(None);
            }
        }
        let done = group.is_lane() && floor == next;
        Ok(Some(if done { u64::MAX } else { floor }))
    }

    /// Puts on disk what all groups say of the partitions of which anything is about to go.
    pub(super) fn sync_windows(&self, first: &[u64]) -> Result<()> {
        let env = &*self.store.env;
        let blocks = self.store.control.groups_of(self.uid)?;
        for group in self.kept_groups()? {
            let Some(meta) = &group.meta else { continue };
            for (number, partition) in self.partitions.iter().enumerate() {
                if first[number] == 0 || !group.has(number) {
                    continue;
                }
                let number = partition.number();
                let (path, ids) = (group.folder.join(names::window(number)), (meta.id, number));
                let opened = Window::open(&*env.storage, &path, ids, meta.config.window);
                // Of one that cannot be read nothing was believed.
                let Ok(Some(window)) = opened else { continue };
                let block = blocks.iter().find(|block| block.id() == meta.id);
                let words = block.and_then(|block| block.partitions.get(number as usize));
                let syncer = window.syncer();
                // Who hands out at most once goes by its own syncs: none fails in between (P7).
                let _one = match words.map(|words| words.word32(at::SYNC_LOCK)) {
                    Some(lock) => {
                        let (held, how) = OwnerLock::hold(lock, env.me, &*env.live, PATIENCE)?;
                        if how != Acquired::Clean {
                            syncer.write_again();
                        }
                        Some(held)
                    }
                    None => None,
                };
                let began = Instant::now();
                let done = syncer.sync();
                if let Some(words) = words {
                    words.count_sync(at::TIMES, began.elapsed());
                }
                done?;
            }
        }
        Ok(())
    }

    /// The first dead letter below an offset that a group may still want: dead, in its lane not
    /// taken in, or of a group that has no lane. `u64::MAX` if there is none.
    pub(super) fn first_letter(&self, below: u64) -> Result<u64> {
        Ok(self.first_wanted(below, false)?.offset)
    }

    /// As `first_letter`. `plain`: or the first message that is no letter, where no group is there
    /// that could settle it, whatever lanes of dead letters are (P15).
    pub(super) fn first_wanted(&self, below: u64, plain: bool) -> Result<FirstWanted> {
        let mut found = FirstWanted {
            offset: u64::MAX,
            is_letter: true,
        };
        if below == 0 || !self.may_have_letters()? {
            return Ok(found);
        }
        let mut senders: Vec<(String, String, Option<u64>)> = Vec::new();
        let mut failed = Ok(());
        let each = |offset: u64, record: &Record| {
            if offset >= below {
                return false;
            }
            let Some(source) = source_of(record) else {
                if plain {
                    (found.offset, found.is_letter) = (offset, false);
                }
                return !plain;
            };
            let of = (source.topic, source.group);
            let known = senders.iter().find(|one| (&*one.0, &*one.1) == of);
            let from = match known.map(|one| one.2) {
                Some(from) => from,
                None => {
                    let from = self.letters_from(of.0, of.1).unwrap_or_else(|error| {
                        failed = Err(error);
                        Some(0)
                    });
                    senders.push((of.0.to_owned(), of.1.to_owned(), from));
                    from
                }
            };
            if from.is_some_and(|from| offset >= from) {
                found.offset = offset;
            }
            found.offset == u64::MAX
        };
        // Damaged ones nobody is ever handed.
        walk(self, Cursor::at_offset(0), each, |_| true)?;
        failed.map(|()| found)
    }

    /// From which offset on letters of a group are dead here without its lane saying so; `None` if
    /// there is no such group, or its letters go elsewhere.
    fn letters_from(&self, topic: &str, group: &str) -> Result<Option<u64>> {
        // They name folders (P18).
        if names::check("topic", topic).is_err() || names::check_group(group).is_err() {
            return Ok(None);
        }
        let folder = names::topic_folder(&self.store.path, topic);
        if !self.store.has_topic(&folder)? {
            return Ok(None);
        }
        let folder = names::group_folder(&folder, group);
        let Some(meta) = self.meta_at(&folder)? else {
            return Ok(None);
        };
        let target = dead_letters_of(topic, group, &meta.config.dead_letter_topic);
        if target.as_deref() != Some(&*self.name) {
            return Ok(None);
        }
        let name = names::redrive_lane(meta.id);
        let folder = names::group_folder(&self.folder, &name);
        let Some(lane) = self.meta_at(&folder)? else {
            return Ok(Some(0));
        };
        let path = folder.join(names::window(0));
        let standing = Window::on_disk(&*self.store.env.storage, &path, (lane.id, 0));
        Ok(Some(standing?.map_or(0, |standing| standing.next)))
    }

    fn meta_at(&self, folder: &Path) -> Result<Option<GroupMeta>> {
        let there = |name| self.store.env.storage.exists(&folder.join(name));
        if !there(names::GROUP_META)? || there(names::GROUP_DELETED)? {
            return Ok(None);
        }
        read_meta(&self.store, &folder.join(names::GROUP_META)).map(Some)
    }

    /// Whether any group's dead letters go here, as far as is known in this life of `control`.
    fn may_have_letters(&self) -> Result<bool> {
        let head = &self.block.head;
        match head.load(LETTERS, Ordering::Acquire) {
            NO_LETTERS => return Ok(false),
            0 => {}
            _ => return Ok(true),
        }
        if self.is_for_letters()? {
            self.tell_of_letters();
            return Ok(true);
        }
        // Not where a mover came meanwhile.
        Ok(head.cas(LETTERS, 0, NO_LETTERS).is_err())
    }

    /// By a mover, before it appends the first one.
    pub(super) fn tell_of_letters(&self) {
        let head = &self.block.head;
        if head.load(LETTERS, Ordering::Acquire) != SOME_LETTERS {
            head.store(LETTERS, SOME_LETTERS, Ordering::Release);
        }
    }

    /// By its name, its lanes, or any group's configuration.
    fn is_for_letters(&self) -> Result<bool> {
        let storage = &*self.store.env.storage;
        let mine = storage.list(&self.folder.join(names::GROUPS))?;
        if self.name.ends_with(LETTERS_END)
            || mine
                .iter()
                .any(|name| names::parse_redrive_lane(name).is_some())
        {
            return Ok(true);
        }
        for topic in storage.list(&self.store.path.join(names::TOPICS))? {
            let folder = names::topic_folder(&self.store.path, &topic);
            if !self.store.has_topic(&folder)? {
                continue;
            }
            for group in storage.list(&folder.join(names::GROUPS))? {
                let found = self.meta_at(&names::group_folder(&folder, &group));
                let Ok(Some(meta)) = found else { continue };
                let target = dead_letters_of(&topic, &group, &meta.config.dead_letter_topic);
                if meta.lane_of.is_none() && target.as_deref() == Some(&*self.name) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}
