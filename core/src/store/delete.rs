//! Deleting a group.
//!
//! A file `group.deleted` beside `group.meta` says that the group is none any more; that it is
//! there is put on disk first, and is the step at which the group is gone. Then every process is
//! told through the group's block, then the folder is put out of the way (`away.rs`), and the files
//! go when the lock of those who create was given back. Whoever opens the topic, or makes a group
//! of the name, after one that died in between does the rest.

use std::path::Path;

use super::group::{Group, GroupInner};
use super::group_meta::read_meta;
use super::in_force::{GLANCE, InForce, raised};
use super::topic::TopicInner;
use crate::error::{Error, Result};
use crate::format::control::block::{CHANGED, CHANGING, GONE};
use crate::format::names;
use crate::storage::{Access, Storage};

impl Group {
    /// Deletes the group, durably, with its position and all that it counted; messages stay in the
    /// topic, dead letters in theirs, where readers and other groups find them and no group lists
    /// or redrives them any more. Every consumer and handle of it, in all processes, gets
    /// [`crate::ErrorKind::NotFound`] at its next call; one that waits is woken. A group made later
    /// under the name is another one.
    ///
    /// After an error that says so the group is deleted, and its files are removed by whoever opens
    /// the topic or the store next; after any other it is as it was.
    ///
    /// ```
    /// # use libqueue::{ErrorKind, GroupOptions, Store, StoreOptions, TopicOptions};
    /// # let folder = tempfile::TempDir::new().unwrap();
    /// # let store = Store::open(folder.path(), StoreOptions::default())?;
    /// # let orders = store.topic("orders", &TopicOptions::default())?;
    /// let trial = orders.create_group("trial", &GroupOptions::default())?;
    /// trial.delete()?;
    /// assert_eq!(trial.stats().unwrap_err().kind(), ErrorKind::NotFound);
    /// assert!(orders.groups()?.is_empty());
    /// # Ok::<(), libqueue::Error>(())
    /// ```
    pub fn delete(&self) -> Result<()> {
        let group = &*self.inner;
        let store = &*group.topic.store;
        store.check_send()?;
        let held = store.hold_create_lock()?;
        let word = group.word_to_change()?;
        group.read_meta()?;
        let letters = group.dead_letter_topic();
        let (folder, storage) = (group.folder(), &*store.env.storage);
        group.set_changed(word | CHANGING);
        if let Err(error) = mark(storage, &folder, names::GROUP_DELETED, store.env.mode) {
            // One that might be found after a power loss would take the group with it, which others
            // go on with: it is one or the other, on disk, before anybody does.
            if unmark(storage, &folder, names::GROUP_DELETED, store.env.mode).is_ok() {
                group.set_changed(raised(word));
                return Err(error);
            }
            group.end()?;
            return Err(half_done(group, &error));
        }
        group.end()?;
        let away = store.put_away(&folder).and(group.delete_lane(letters));
        drop(held);
        // Others create while the files go, however many there are.
        let removed = away.and_then(|()| store.clear_away());
        removed.map_err(|error| half_done(group, &error))
    }
}

impl GroupInner {
    /// Whether it was not deleted.
    pub(super) fn is_there(&self) -> Result<bool> {
        if self.changed() & CHANGING == 0 {
            return Ok(true);
        }
        match self.settings() {
            Err(error) if error.kind() == crate::ErrorKind::NotFound => Ok(false),
            other => other.map(|_| true),
        }
    }
}

impl TopicInner {
    /// Whether there is a group of the name.
    pub(super) fn has_group(&self, name: &str) -> Result<bool> {
        let folder = names::group_folder(&self.folder, name);
        let there = |name| self.store.env.storage.exists(&folder.join(name));
        Ok(there(names::GROUP_META)? && !there(names::GROUP_DELETED)?)
    }

    /// With the lock of those who create held: does what one that died left to do of a deletion,
    /// up to where the name is free. Whether there was any: then `clear_away` is to be called once
    /// the lock was given back.
    pub(super) fn finish_deleting(&self, folder: &Path) -> Result<bool> {
        if !self
            .store
            .env
            .storage
            .exists(&folder.join(names::GROUP_DELETED))?
        {
            return Ok(false);
        }
        // He may have died before he told anybody.
        if let Ok(meta) = read_meta(&self.store, &folder.join(names::GROUP_META)) {
            let groups = self.store.control.groups_of(self.uid)?;
            for group in groups.iter().filter(|group| group.id() == meta.id) {
                let gone = std::sync::atomic::Ordering::Release;
                group.head.store(CHANGED, GONE, gone);
            }
            self.count_anew();
        }
        // Nor need it be on disk that he was at it.
        let env = &*self.store.env;
        mark(&*env.storage, folder, names::GROUP_DELETED, env.mode)?;
        self.store.put_away(folder)?;
        Ok(true)
    }

    /// Does what those that died left to do, unless somebody creates or deletes just now.
    pub(super) fn finish_deletions(&self) -> Result<()> {
        let (env, groups) = (&*self.store.env, self.folder.join(names::GROUPS));
        let mut any = false;
        for name in env.storage.list(&groups)? {
            let folder = groups.join(&name);
            let marked = env.storage.exists(&folder.join(names::GROUP_DELETED))?;
            if marked || self.is_orphan(&name)? {
                let _held = self.store.hold_create_lock_within(GLANCE)?;
                any |= self.finish_deleting(&folder)?;
                any |= self.put_orphan_away(&name)?;
            }
        }
        if any { self.store.clear_away() } else { Ok(()) }
    }
}

/// Marks a group's or topic's folder as one that was deleted, on disk.
pub(super) fn mark(storage: &dyn Storage, folder: &Path, name: &str, mode: u32) -> Result<()> {
    let path = folder.join(name);
    storage.open(&path, Access::Create, mode)?.sync()?;
    storage.sync_dir(folder)
}

/// Takes the mark back, on disk, or leaves it.
pub(super) fn unmark(storage: &dyn Storage, folder: &Path, name: &str, mode: u32) -> Result<()> {
    let path = folder.join(name);
    if storage.exists(&path)? {
        storage.unlink(&path)?;
    }
    storage.sync_dir(folder).inspect_err(|_| {
        // Nothing is left to try if this fails too.
        let _ = storage.open(&path, Access::Create, mode);
    })
}

fn half_done(group: &GroupInner, error: &Error) -> Error {
    let message = format!(
        "group {:?} of topic {:?} is deleted, and its files are still to be removed, by whoever \
         opens the topic or the store next: {}",
        group.name,
        group.topic.name,
        error.message()
    );
    Error::new(error.kind(), message)
}
