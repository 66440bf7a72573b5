//! A group's configuration as it is in force, in all processes.
//!
//! `in_force` says how all processes follow a change. Here the word is compared by whoever holds a
//! window's lock; the file is read without the lock.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use super::StoreInner;
use super::brake::PausedBy;
use super::group::GroupInner;
use super::group_meta::{GroupMeta, Sought, read_meta};
use super::in_force::{InForce, NEVER};
use crate::error::{Error, ErrorKind, Result};
use crate::format::control::block::{GONE, HOLDING};
use crate::format::names;
use crate::format::snapshot::Snapshot;
use crate::group::{Policy, Recalled, Target, Window};
use crate::options::GroupConfig;
use crate::shm::Region;

/// What `group.meta` says, as far as this process needs it.
#[derive(Debug)]
pub(super) struct Settings {
    /// The word with which it is in force.
    pub(super) version: u64,
    pub(super) config: GroupConfig,
    pub(super) paused_by: PausedBy,
    pub(super) paused_at_ns: i64,
    pub(super) brake_from: u64,
    /// The number of the filter, which no other one has in this process; 0 without one.
    pub(super) filter: u64,
    /// The last number that was given.
    numbered: u64,
    /// For each partition where it was last sought; empty while none was.
    pub(super) sought: Vec<Sought>,
    /// The snapshots that are still being restored, as far as they can be read.
    pub(super) snapshots: HashMap<String, Arc<Snapshot>>,
}

impl Settings {
    /// What was read before it was known with which word.
    pub(super) fn unsettled(meta: GroupMeta) -> Arc<Self> {
        let filter = u64::from(meta.config.filter.is_some());
        Arc::new(Self {
            version: NEVER,
            config: meta.config,
            paused_by: meta.paused_by,
            paused_at_ns: meta.paused_at_ns,
            brake_from: meta.brake_from,
            filter,
            numbered: filter,
            sought: meta.sought,
            snapshots: HashMap::new(),
        })
    }

    /// What was read after this. The same filter keeps its number, however often it is read.
    fn followed_by(
        &self,
        meta: GroupMeta,
        version: u64,
        snapshots: HashMap<String, Arc<Snapshot>>,
    ) -> Arc<Self> {
        let (same, some) = (
            meta.config.filter == self.config.filter,
            meta.config.filter.is_some(),
        );
        let numbered = self.numbered + u64::from(some && !same);
        Arc::new(Self {
            version,
            config: meta.config,
            paused_by: meta.paused_by,
            paused_at_ns: meta.paused_at_ns,
            brake_from: meta.brake_from,
            filter: match (some, same) {
                (false, _) => 0,
                (true, true) => self.filter,
                (true, false) => numbered,
            },
            numbered,
            sought: meta.sought,
            snapshots,
        })
    }

    /// What a window has to be in line with: where it was sought, and what it is to be again.
    pub(super) fn target(&self, partition: u32) -> (Option<Target>, Option<Recalled>) {
        let sought = self.sought.get(partition as usize);
        let Some(sought) = sought.filter(|sought| sought.epoch > 0) else {
            return (None, None);
        };
        let target = Target {
            epoch: sought.epoch,
            offset: sought.offset,
            dead_from: sought.dead_from,
        };
        let recalled = sought.snapshot.as_ref().map(|(name, end)| Recalled {
            epoch: sought.epoch,
            end: *end,
            snapshot: self.snapshots.get(name).cloned(),
            partition,
            once: self.config.is_at_most_once(),
        });
        (Some(target), recalled)
    }
}

/// A window, and what its holder in this process goes by.
pub(super) struct GuardedWindow {
    pub(super) window: Window,
    pub(super) policy: Policy,
    version: u64,
    /// Whose it is; of a redrive lane nothing, which no seek concerns.
    partition: Option<u32>,
    /// Where it is to be, once that is on disk for sure.
    target: Option<Target>,
    /// How many were settled when this process last looked, as `Window::settled_mark` has it.
    settled: u64,
}

/// What became of how many messages are settled.
pub(super) enum Settlement {
    /// Nothing.
    None,
    /// There are more.
    More,
    /// There are fewer.
    Fewer,
}

impl GuardedWindow {
    /// A window that nobody used yet.
    pub(super) fn of(window: Window, partition: Option<u32>) -> Self {
        let policy = Policy::of(&GroupConfig::from_options(&Default::default()));
        Self {
            window,
            policy,
            version: NEVER,
            partition,
            target: None,
            settled: 0,
        }
    }

    /// What became of how many are settled: with the lock, since `before`, and before that since
    /// this process last looked, by whomever.
    pub(super) fn settled_since(&mut self, before: u64) -> Settlement {
        let mark = self.window.settled_mark();
        let last = std::mem::replace(&mut self.settled, mark);
        if (mark.wrapping_sub(before) as i64) < 0 {
            // As after a seek: what was settled is not any more.
            Settlement::Fewer
        } else if mark != last {
            Settlement::More
        } else {
            Settlement::None
        }
    }

    /// Whether the policy is that of the word; it is taken from what was read with that word.
    #[inline]
    pub(super) fn is_current(&mut self, word: u64, read: Option<(u64, Arc<Settings>)>) -> bool {
        self.version == word || read.is_some_and(|(of, settings)| self.take(word, of, &settings))
    }

    #[cold]
    fn take(&mut self, word: u64, of: u64, settings: &Settings) -> bool {
        if of != word {
            return false;
        }
        self.policy = Policy::of(&settings.config);
        self.policy.held_back = word & HOLDING != 0;
        self.policy.paused = settings.paused_by != PausedBy::Nobody || self.policy.held_back;
        self.policy.filter = settings.filter;
        self.version = settings.version;
        if let Some(partition) = self.partition {
            let (target, recalled) = settings.target(partition);
            let steady = settings.version != NEVER;
            // A seek that is under way does not end another one before it is in force itself.
            if steady || !self.window.is_recalling() {
                self.window.recall_from(recalled);
            }
            // While it is being changed nobody knows whether a power loss would take it back, and
            // with it the seek in other partitions.
            self.target = target.filter(|_| steady);
        }
        true
    }

    /// Whether the group was sought, and the window does not know of it yet.
    #[inline]
    pub(super) fn is_behind(&self) -> bool {
        let target = self.target.as_ref();
        target.is_some_and(|target| self.window.is_behind(target))
    }

    /// Has the window be where the group was sought.
    #[cold]
    pub(super) fn catch_up(&mut self) {
        if let Some(target) = &self.target {
            self.window.seek(target);
        }
    }
}

impl GroupInner {
    pub(super) fn folder(&self) -> PathBuf {
        names::group_folder(&self.topic.folder, &self.name)
    }

    /// What is in force now.
    pub(super) fn settings(&self) -> Result<Arc<Settings>> {
        self.in_force().map(|(_, settings)| settings)
    }

    /// As `settings`; where it cannot be read, as of a deleted group, what was known last.
    pub(super) fn known_settings(&self) -> Arc<Settings> {
        let known = || locked(&self.settings).clone();
        self.settings().unwrap_or_else(|_| known())
    }

    /// Where `group.meta` is.
    fn meta_folder(&self) -> PathBuf {
        let of = self.lane_of.as_ref();
        of.map_or_else(|| self.folder(), |of| of.folder.clone())
    }
}

impl InForce for GroupInner {
    type Meta = GroupMeta;
    type Known = Arc<Settings>;

    #[inline]
    fn governed_by(&self) -> &Region {
        &self.front().head
    }

    fn of_store(&self) -> &StoreInner {
        &self.topic.store
    }

    /// A lane goes by the file of its group.
    fn read_meta(&self) -> Result<GroupMeta> {
        let uid = self.lane_of.as_ref().map_or(self.uid, |of| of.uid);
        let folder = self.meta_folder();
        let store = &*self.topic.store;
        if store
            .env
            .storage
            .exists(&folder.join(names::GROUP_DELETED))?
        {
            return Err(self.gone());
        }
        match read_meta(store, &folder.join(names::GROUP_META)) {
            Ok(meta) if meta.id == uid => Ok(meta),
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Err(self.gone()),
        }
    }

    fn known_with(&self, word: u64) -> Option<Arc<Settings>> {
        let known = locked(&self.settings);
        (known.version == word).then(|| known.clone())
    }

    fn remember(&self, meta: GroupMeta, word: u64) -> Result<Arc<Settings>> {
        let known = locked(&self.settings).clone();
        let snapshots = self.snapshots_of(&meta, &known)?;
        let mut known = locked(&self.settings);
        *known = known.followed_by(meta, word, snapshots);
        Ok(known.clone())
    }

    /// He may have died before the name was on disk: from here on windows are where it says, all of
    /// them or, after a power loss, none (P16).
    fn make_last(&self, meta: &GroupMeta) -> Result<()> {
        if meta.sought.is_empty() {
            return Ok(());
        }
        self.topic.store.env.storage.sync_dir(&self.meta_folder())
    }

    fn end(&self) -> Result<()> {
        self.set_changed(GONE);
        self.wake(u32::MAX);
        // What it alone had not settled counts no more (P14).
        self.topic.count_anew();
        self.topic.store.untend(&self.folder());
        Ok(())
    }

    fn what(&self) -> String {
        let (topic, name) = self.source();
        format!("group {name:?} of topic {topic:?}")
    }

    #[cold]
    fn gone(&self) -> Error {
        let what = self.what();
        let message = format!(
            "{what} was deleted; consumer() or create_group() makes another one of the name"
        );
        Error::new(ErrorKind::NotFound, message)
    }
}

fn locked<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
