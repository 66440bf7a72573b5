//! A group's configuration as it is in force, in all processes.
//!
//! `group.meta` is the truth. A word of the group's block in `control` says which state of it is in
//! force; it is raised with each change. Whoever holds a window's lock compares the word with the
//! one that he went by last: one load, and only after a change a look at the file, without the
//! lock.
//!
//! Who changes the file sets CHANGING before and raises the word after. In between others go by the
//! file as it is and remember nothing of it. One that died in between leaves the bit, and the next
//! one to see it raises the word: then either the old file or the new one is in force for all.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::Ordering as Memory;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::brake::PausedBy;
use super::group::GroupInner;
use super::group_meta::{GroupMeta, Sought, read_meta};
use crate::error::{Error, ErrorKind, Result};
use crate::format::control::block::{CHANGE, CHANGED, CHANGING, GONE, HOLDING};
use crate::format::control::header;
use crate::format::names;
use crate::format::snapshot::Snapshot;
use crate::group::{Policy, Recalled, Target, Window};
use crate::options::GroupConfig;
use crate::shm::OwnerLock;

/// No word in force is this one.
const NEVER: u64 = GONE - 1;
/// How often a file that changes while it is read is read again.
const TRIES: usize = 1000;
/// How long to wait for one who is about to change it, before he is taken for alive.
const GLANCE: Duration = Duration::from_millis(1);

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
    fn target(&self, partition: u32) -> (Option<Target>, Option<Recalled>) {
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
        self.policy.paused = settings.paused_by != PausedBy::Nobody || word & HOLDING != 0;
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

/// The word after the next change.
pub(super) fn raised(word: u64) -> u64 {
    let next = (word & !(CHANGING | HOLDING)).wrapping_add(CHANGE);
    if next >= NEVER & !(CHANGING | HOLDING) {
        0
    } else {
        next
    }
}

impl GroupInner {
    /// Which state of `group.meta` is in force.
    #[inline]
    pub(super) fn changed(&self) -> u64 {
        self.front().head.load(CHANGED, Memory::Acquire)
    }

    pub(super) fn set_changed(&self, word: u64) {
        self.front().head.store(CHANGED, word, Memory::Release);
    }

    pub(super) fn folder(&self) -> PathBuf {
        names::group_folder(&self.topic.folder, &self.name)
    }

    /// What is in force now.
    pub(super) fn settings(&self) -> Result<Arc<Settings>> {
        self.read_settings().map(|(_, settings)| settings)
    }

    /// As `settings`; where it cannot be read, as of a deleted group, what was known last.
    pub(super) fn known_settings(&self) -> Arc<Settings> {
        let known = || locked(&self.settings).clone();
        self.settings().unwrap_or_else(|_| known())
    }

    /// What is in force with the word that is returned beside it: remembered, or read.
    #[cold]
    pub(super) fn read_settings(&self) -> Result<(u64, Arc<Settings>)> {
        for _ in 0..TRIES {
            let word = self.changed();
            if word == GONE {
                return Err(self.gone());
            }
            let known = locked(&self.settings).clone();
            if known.version == word {
                return Ok((word, known));
            }
            if word & CHANGING != 0 && self.finish_change(word)? {
                continue;
            }
            let read = self.read_meta();
            if self.changed() != word {
                continue;
            }
            let meta = read?;
            let steady = word & CHANGING == 0;
            let snapshots = self.snapshots_of(&meta, &known);
            let mut known = locked(&self.settings);
            *known = known.followed_by(meta, if steady { word } else { NEVER }, snapshots);
            return Ok((word, known.clone()));
        }
        let message = format!(
            "the configuration of group {:?} of topic {:?} changed {TRIES} times while it was \
             read; call again",
            self.name, self.topic.name
        );
        Err(Error::new(ErrorKind::Stuck, message))
    }

    /// The group's own `group.meta`; [`ErrorKind::NotFound`] where it is gone, or another group's.
    /// A lane goes by that of its group.
    pub(super) fn read_meta(&self) -> Result<GroupMeta> {
        let uid = self.lane_of.as_ref().map_or(self.uid, |of| of.uid);
        let folder = self.meta_folder();
        if self
            .topic
            .store
            .env
            .storage
            .exists(&folder.join(names::GROUP_DELETED))?
        {
            return Err(self.gone());
        }
        match read_meta(&self.topic.store, &folder.join(names::GROUP_META)) {
            Ok(meta) if meta.id == uid => Ok(meta),
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Err(self.gone()),
        }
    }

    /// Where `group.meta` is.
    fn meta_folder(&self) -> PathBuf {
        let of = self.lane_of.as_ref();
        of.map_or_else(|| self.folder(), |of| of.folder.clone())
    }

    /// Where the one who was changing the group died: its file, old or new, is in force from here
    /// on. False while he is alive and at it.
    fn finish_change(&self, word: u64) -> Result<bool> {
        let env = &*self.topic.store.env;
        let lock = self
            .topic
            .store
            .control
            .header()
            .word32(header::CREATE_LOCK);
        let held = match OwnerLock::hold(lock, env.me, &*env.live, GLANCE) {
            Err(error) if error.kind() == ErrorKind::Stuck => return Ok(false),
            held => held?,
        };
        if self.changed() == word {
            self.end_change(word)?;
        }
        drop(held);
        Ok(true)
    }

    /// With the lock of those who create held.
    pub(super) fn end_change(&self, word: u64) -> Result<()> {
        self.topic.store.env.check_fence()?;
        match self.read_meta() {
            Err(error) if error.kind() == ErrorKind::NotFound => self.set_changed(GONE),
            read => {
                // He may have died before the name was on disk: from here on windows are where it
                // says, all of them or, after a power loss, none (P16).
                if read.is_ok_and(|meta| !meta.sought.is_empty()) {
                    self.topic.store.env.storage.sync_dir(&self.meta_folder())?;
                }
                self.set_changed(raised(word));
            }
        }
        Ok(())
    }

    #[cold]
    pub(super) fn gone(&self) -> Error {
        let (topic, name) = self.source();
        let message = format!(
            "group {name:?} of topic {topic:?} was deleted; consumer() or create_group() makes \
             another one of the name"
        );
        Error::new(ErrorKind::NotFound, message)
    }
}

fn locked<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
