//! Opening groups, and creating them.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::brake::PausedBy;
use super::group::GroupInner;
use super::group_meta::{GroupMeta, dead_letters_of, read_meta, write_meta};
use super::lane::LaneOf;
use super::open::folder_mode;
use super::settings::{GuardedWindow, Settings};
use super::topic::{TopicInner, unique_id};
use crate::error::{Error, ErrorKind, Result};
use crate::format::control::group_partition as at;
use crate::format::names;
use crate::group::Window;
use crate::log::Partition;
use crate::options::{DeadLetter, GroupConfig, GroupOptions, Start};
use crate::shm::Guarded;
use crate::storage::replace_file;

impl TopicInner {
    /// Opens or creates, and checks the options against what is stored.
    pub(super) fn open_group(
        self: &Arc<Self>,
        name: &str,
        options: &GroupOptions,
    ) -> Result<Arc<GroupInner>> {
        self.store.check_send()?;
        self.follow()?;
        options.check()?;
        names::check_group(name)?;
        if !self.has_group(name)? {
            self.create_group(name, options)?;
        }
        let inner = self.group_inner(name)?;
        inner.settings()?.config.check_against(name, options)?;
        Ok(inner)
    }

    /// The start is part of what is written, so it is as durable as the group. One creator at a
    /// time, `group.meta` last: one that dies leaves a folder without it, which the next one
    /// fills.
    fn create_group(&self, name: &str, options: &GroupOptions) -> Result<()> {
        let config = GroupConfig::from_options(options);
        check_max_lease(&config)?;
        config.check()?;
        self.check_dead_letters(name, &config.dead_letter_topic)?;
        let dead_from = self.end_of_dead_letters(name, &config.dead_letter_topic)?;
        let held = self.store.hold_create_lock()?;
        self.check_there()?;
        let left = self.finish_deleting(&names::group_folder(&self.folder, name))?;
        let made = self.make_new_group(name, config, options.start.unwrap_or_default(), dead_from);
        drop(held);
        if left {
            // What fails is done by the next one.
            let _ = self.store.clear_away();
        }
        made
    }

    /// With the lock of those who create held, which retention decides under as well: no segment
    /// goes between the look at where the group is to begin and its being there (P15).
    fn make_new_group(
        &self,
        name: &str,
        config: GroupConfig,
        start: Start,
        dead_from: u64,
    ) -> Result<()> {
        if self.has_group(name)? {
            return Ok(());
        }
        self.check_circle(name, &config.dead_letter_topic)?;
        if matches!(start, Start::Offset(_)) && self.partitions.len() > 1 {
            let message = "start is an offset, and the topic has several partitions; expected \
                           earliest, latest or a time";
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        let mut starts = Vec::new();
        for partition in &self.partitions {
            let found = match start {
                // A start in time is the offset at which it is now.
                Start::Time(_) => {
                    let mut cursor = partition.seek(start)?;
                    partition.resolve(&mut cursor)?;
                    cursor.offset
                }
                other => partition.seek(other)?.offset,
            };
            if found > partition.next_offset() {
                return Err(behind_the_end(found, &self.name, partition)?);
            }
            starts.push(found);
        }
        let meta = GroupMeta {
            id: unique_id(),
            config,
            starts,
            paused_by: PausedBy::Nobody,
            paused_at_ns: 0,
            brake_from: dead_from,
            lane_of: None,
            sought: Vec::new(),
        };
        self.make_group(name, &meta, |folder| {
            self.make_windows(folder, &meta, dead_from)
        })?;
        // It may not have settled what all others have (P14).
        self.count_anew();
        Ok(())
    }

    /// Whether dead letters of a group may go there.
    pub(super) fn check_dead_letters(&self, group: &str, target: &DeadLetter) -> Result<()> {
        match target {
            DeadLetter::Default => {
                let dead = names::dead_letter_topic(&self.name, group);
                names::check("default dead-letter topic", &dead)
            }
            DeadLetter::Topic(dead) if *dead == self.name => {
                let message = format!(
                    "dead_letter_topic is {dead:?}, the topic itself, where what failed would come \
                     again; name another topic"
                );
                Err(Error::new(ErrorKind::InvalidArgument, message))
            }
            DeadLetter::Topic(dead) => names::check("dead-letter topic", dead),
            DeadLetter::Drop => Ok(()),
        }
    }

    /// With the lock of those who create held: windows, then `group.meta`.
    pub(super) fn make_group(
        &self,
        name: &str,
        meta: &GroupMeta,
        make_windows: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<()> {
        let (env, storage) = (&*self.store.env, &*self.store.env.storage);
        let folder = names::group_folder(&self.folder, name);
        let path = &folder.join(names::GROUP_META);
        storage.create_dir(&folder, folder_mode(env.mode))?;
        self.clear_unfinished(&folder)?;
        let made = make_windows(&folder).and_then(|()| {
            let text = write_meta(meta);
            replace_file(storage, path, text.as_bytes(), env.mode)
        });
        if let Err(error) = made {
            // A full disk gets its room back; if that fails, the next creator does it. Where the
            // name is there and only the folder's sync failed, the group is.
            if storage.exists(path).is_ok_and(|there| !there) {
                let _ = self.clear_unfinished(&folder);
            }
            return Err(error);
        }
        storage.sync_dir(&self.folder.join(names::GROUPS))
    }

    /// Where the dead letters end that are there already, as those of a group of the same name that
    /// was deleted: none of them is of a message of the new one.
    fn end_of_dead_letters(&self, group: &str, target: &DeadLetter) -> Result<u64> {
        let Some(name) = dead_letters_of(&self.name, group, target) else {
            return Ok(0);
        };
        match self.store.topic_inner(&name) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
            opened => Ok(opened?.partitions[0].next_offset()),
        }
    }

    pub(super) fn make_windows(
        &self,
        folder: &Path,
        meta: &GroupMeta,
        dead_from: u64,
    ) -> Result<()> {
        let (env, limit) = (&*self.store.env, meta.config.window);
        for (number, start) in (0..).zip(&meta.starts) {
            let path = folder.join(names::window(number));
            let ids = (meta.id, number);
            Window::make(&*env.storage, &path, env.mode, ids, limit, *start)?;
            if dead_from > 0
                && let Some(window) = Window::open(&*env.storage, &path, ids, limit)?
            {
                window.set_dead_from(dead_from);
                window.syncer().sync()?;
            }
        }
        env.storage.sync_dir(folder)
    }

    /// In a folder without `group.meta`: removes the windows of a creator that died. Windows that
    /// were in use belong to a group whose `group.meta` is gone, and are left as they are.
    fn clear_unfinished(&self, folder: &Path) -> Result<()> {
        let storage = &*self.store.env.storage;
        for number in 0..self.count() {
            let path = folder.join(names::window(number));
            if !storage.exists(&path)? {
                continue;
            }
            if Window::was_used(storage, &path)? {
                let message = format!(
                    "{} is missing beside windows that were in use; restore it from a copy, or \
                     remove the folder to begin anew",
                    folder.join(names::GROUP_META).display()
                );
                return Err(Error::new(ErrorKind::Damaged, message));
            }
            storage.unlink(&path)?;
        }
        Ok(())
    }

    /// The group as it is open in this process, opened now if it was not.
    pub(super) fn group_inner(self: &Arc<Self>, name: &str) -> Result<Arc<GroupInner>> {
        names::check("group", name)?;
        let mut known = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(inner) = known.get(name).and_then(Weak::upgrade)
            && inner.is_there()?
        {
            return Ok(inner);
        }
        let opened = match self.has_group(name)? {
            true => self.open_files(name, None),
            false => Err(self.no_group(name)),
        };
        let inner = match opened {
            // Its files go while it is deleted.
            Err(error) if error.kind() != ErrorKind::NotFound && !self.has_group(name)? => {
                return Err(self.no_group(name));
            }
            opened => Arc::new(opened?),
        };
        if known.len() == known.capacity() {
            known.retain(|_, of| of.strong_count() > 0);
        }
        known.insert(name.to_owned(), Arc::downgrade(&inner));
        if !names::is_reserved(name) && self.tells_settled() && !inner.was_opened() {
            // One that was made by who died before he told of it counts from here on (P14).
            self.count_anew();
        }
        self.store.tend(inner.folder(), inner.tended());
        Ok(inner)
    }

    #[cold]
    fn no_group(&self, name: &str) -> Error {
        let message = format!(
            "topic {:?} has no group {name:?}; consumer() or create_group() makes one",
            self.name
        );
        Error::new(ErrorKind::NotFound, message)
    }

    /// The group's files; of a lane those of one partition.
    pub(super) fn open_files(
        self: &Arc<Self>,
        name: &str,
        lane_of: Option<LaneOf>,
    ) -> Result<GroupInner> {
        let folder = names::group_folder(&self.folder, name);
        let path = folder.join(names::GROUP_META);
        let meta = read_meta(&self.store, &path)?;
        let (uid, limit) = (meta.id, meta.config.window);
        let (partitions, once) = match &lane_of {
            Some(of) => (&self.partitions[..1], of.once),
            None => (&self.partitions[..], meta.config.is_at_most_once()),
        };
        let count = partitions.len() as u32;
        let block = self.store.control.group_block(self.uid, uid, count)?;
        let groups = self.folder.join(names::GROUPS);
        let storage = &*self.store.env.storage;
        let first = block.name_durably(storage, &[&folder, &groups])?;
        let (mut windows, mut glances) = (Vec::new(), Vec::new());
        for partition in partitions {
            let number = partition.number();
            let path = folder.join(names::window(number));
            let opened = Window::open(storage, &path, (uid, number), limit)?;
            let mut window = opened.ok_or_else(|| lost(&path))?;
            window.tally_in(self.store.control.consumer_table().clone());
            if once {
                window.hand_out_at_most_once();
            }
            let lock = block.partitions[number as usize].word32(at::LOCK);
            glances.push(window.glance());
            let number_of = lane_of.is_none().then_some(number);
            windows.push(Guarded::new(lock, GuardedWindow::of(window, number_of)));
        }
        let inner = GroupInner {
            topic: self.clone(),
            name: name.to_owned(),
            uid,
            once,
            sieves: Default::default(),
            settings: Mutex::new(Settings::unsettled(meta)),
            block,
            windows,
            glances,
            reasons: Mutex::default(),
            aside: Mutex::default(),
            told: Mutex::default(),
            deaths: Mutex::default(),
            limit,
            lane_of,
            lane: Mutex::default(),
        };
        inner.settings()?;
        inner.note_lane()?;
        if first {
            // What fails is done by who takes the next snapshot.
            let _ = inner.clear_unfinished_snapshots();
        }
        Ok(inner)
    }
}

#[cold]
fn lost(path: &Path) -> Error {
    let message = format!(
        "{} is missing or empty, and with it the group's position; restore it from a copy, or \
         remove the group's folder to begin anew",
        path.display()
    );
    Error::new(ErrorKind::Damaged, message)
}

/// A message is leased for no longer than it may be.
pub(super) fn check_max_lease(config: &GroupConfig) -> Result<()> {
    let Some(max) = config.max_lease.filter(|max| *max < config.lease) else {
        return Ok(());
    };
    let lease = config.lease;
    let message = format!("max_lease is {max:?}; expected at least the lease, {lease:?}");
    Err(Error::new(ErrorKind::InvalidArgument, message))
}

/// The error of who would have a group stand behind the end: what comes up to there would never be
/// handed out, and a group's place is never behind what the log has.
#[cold]
pub(super) fn behind_the_end(offset: u64, topic: &str, log: &Partition) -> Result<Error> {
    let (number, earliest, end) = (log.number(), log.earliest_offset()?, log.next_offset());
    let message = format!(
        "offset {offset} is behind the end of partition {number} of topic {topic:?}; expected \
         {earliest}, its earliest message, to {end}, its end"
    );
    Ok(Error::new(ErrorKind::InvalidArgument, message))
}
