//! Groups: creating, opening, and the windows of a group as this process has them mapped.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::Ordering as Memory;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::Block;
use super::Handle;
use super::dying;
use super::group_meta::{read_meta, write_meta};
use super::open::folder_mode;
use super::topic::{Topic, TopicInner, unique_id};
use crate::error::{Error, ErrorKind, Result};
use crate::format::control::{block as words, group_partition as at, header};
use crate::format::names;
use crate::group::{Batches, Life, Policy, Window};
use crate::options::{DeadLetter, GroupConfig, GroupOptions, Start};
use crate::shm::{Acquired, EventCount, Guarded, OwnerLock, boot_id};
use crate::storage::replace_file;

/// Why a message failed, and whose hands it was in.
pub(super) type Reason = (String, String);

/// A group as this process has it open; shared by all its handles and consumers.
pub(crate) struct GroupInner {
    pub(super) topic: Arc<TopicInner>,
    pub(super) name: String,
    pub(super) config: GroupConfig,
    pub(super) policy: Policy,
    pub(super) block: Block,
    windows: Vec<Guarded<Window>>,
    /// Why messages failed for the last time that are on their way to the dead letters.
    pub(super) reasons: Mutex<HashMap<(u32, u64), Reason>>,
}

/// A group, to look at and to manage. Usable from several threads at once.
#[derive(Clone)]
pub struct Group {
    pub(super) inner: Arc<GroupInner>,
    pub(super) _handle: Option<Arc<Handle>>,
}

impl Topic {
    /// The group, which must exist; [`ErrorKind::NotFound`] otherwise.
    pub fn group(&self, name: &str) -> Result<Group> {
        self.inner.store.check_open()?;
        // A window is repaired and rebuilt by whoever looks at it.
        self.inner.store.check_writable("look at a group")?;
        let inner = self.inner.group_inner(name)?;
        Ok(self.group_handle(inner))
    }

    /// The group, created where there is none: durably, before the call returns.
    pub fn create_group(&self, name: &str, options: &GroupOptions) -> Result<Group> {
        let inner = self.inner.open_group(name, options)?;
        Ok(self.group_handle(inner))
    }

    fn group_handle(&self, inner: Arc<GroupInner>) -> Group {
        let named = format!("group {:?} of topic {:?}", inner.name, self.inner.name);
        Group {
            inner,
            _handle: Some(Arc::new(self.inner.store.register_handle(named))),
        }
    }

    /// Names of the topic's groups, sorted.
    pub fn groups(&self) -> Result<Vec<String>> {
        let inner = &self.inner;
        let folder = inner.folder.join(names::GROUPS);
        let mut found = Vec::new();
        for name in inner.store.env.storage.list(&folder)? {
            if inner
                .store
                .env
                .storage
                .exists(&folder.join(&name).join(names::GROUP_META))?
            {
                found.push(name);
            }
        }
        Ok(found)
    }
}

impl TopicInner {
    /// Opens or creates, and checks the options against what is stored.
    pub(super) fn open_group(
        self: &Arc<Self>,
        name: &str,
        options: &GroupOptions,
    ) -> Result<Arc<GroupInner>> {
        self.store.check_send()?;
        options.check()?;
        names::check("group", name)?;
        let path = names::group_folder(&self.folder, name).join(names::GROUP_META);
        if !self.store.env.storage.exists(&path)? {
            self.create_group(name, options, &path)?;
        }
        let inner = self.group_inner(name)?;
        inner.config.check_against(name, options)?;
        Ok(inner)
    }

    /// The start is part of what is written, so it is as durable as the group. One creator at a
    /// time; one that dies leaves a folder without `group.meta`, which the next one fills.
    fn create_group(&self, name: &str, options: &GroupOptions, path: &Path) -> Result<()> {
        let (env, storage) = (&*self.store.env, &*self.store.env.storage);
        let config = GroupConfig::from_options(options);
        match &config.dead_letter_topic {
            DeadLetter::Default => {
                let dead = names::dead_letter_topic(&self.name, name);
                names::check("default dead-letter topic", &dead)?;
            }
            DeadLetter::Topic(dead) if *dead == self.name => {
                let message = format!(
                    "dead_letter_topic is {dead:?}, the topic itself, where what failed would come \
                     again; name another topic"
                );
                return Err(Error::new(ErrorKind::InvalidArgument, message));
            }
            DeadLetter::Topic(dead) => names::check("dead-letter topic", dead)?,
            DeadLetter::Drop => {}
        }
        let lock = self.store.control.header().word32(header::CREATE_LOCK);
        let (_held, _) = OwnerLock::hold(lock, env.me, &*env.live, env.lock_timeout)?;
        if storage.exists(path)? {
            return Ok(());
        }
        let start = options.start.unwrap_or_default();
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
            starts.push(found.to_string());
        }
        let folder = names::group_folder(&self.folder, name);
        storage.create_dir(&folder, folder_mode(env.mode))?;
        let text = write_meta(unique_id(), &config, &starts);
        replace_file(storage, path, text.as_bytes(), env.mode)?;
        storage.sync_dir(&self.folder.join(names::GROUPS))
    }

    /// The group as it is open in this process, opened now if it was not.
    pub(super) fn group_inner(self: &Arc<Self>, name: &str) -> Result<Arc<GroupInner>> {
        names::check("group", name)?;
        let mut known = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(inner) = known.get(name).and_then(Weak::upgrade) {
            return Ok(inner);
        }
        let folder = names::group_folder(&self.folder, name);
        let path = folder.join(names::GROUP_META);
        let env = &*self.store.env;
        if !env.storage.exists(&path)? {
            let message = format!(
                "topic {:?} has no group {name:?}; consumer() or create_group() makes one",
                self.name
            );
            return Err(Error::new(ErrorKind::NotFound, message));
        }
        let (uid, config, starts) = read_meta(&self.store, &path)?;
        let block = self
            .store
            .control
            .group_block(self.uid, uid, self.config.partitions)?;
        let mut windows = Vec::new();
        for partition in &self.partitions {
            let number = partition.number();
            let path = folder.join(names::window(number));
            let start = starts.get(number as usize).copied().unwrap_or(0);
            let storage = &*env.storage;
            let window = Window::open(storage, &path, env.mode, uid, number, config.window, start)?;
            let lock = block.partitions[number as usize].word32(at::LOCK);
            windows.push(Guarded::new(lock, window));
        }
        let inner = Arc::new(GroupInner {
            topic: self.clone(),
            name: name.to_owned(),
            policy: Policy::of(&config),
            config,
            block,
            windows,
            reasons: Mutex::default(),
        });
        known.insert(name.to_owned(), Arc::downgrade(&inner));
        self.store.tend(folder.clone(), inner.tended(folder, uid));
        Ok(inner)
    }
}

impl GroupInner {
    /// What receipts carry as their epoch: the window's, told apart from those of other groups of
    /// the topic, whose offsets and attempts are the same.
    #[inline]
    pub(super) fn mark(&self, epoch: u32) -> u32 {
        epoch ^ self.block.id() as u32
    }

    /// Runs `work` on a partition's window with its lock held, repaired if its last holder died.
    #[inline]
    pub(super) fn with_window<T>(
        &self,
        partition: u32,
        work: impl FnOnce(&mut Window) -> T,
    ) -> Result<T> {
        let env = &*self.topic.store.env;
        let region = &self.block.partitions[partition as usize];
        let lock = region.word32(at::LOCK);
        let (mut held, how) = OwnerLock::hold(lock, env.me, &*env.live, env.lock_timeout)?;
        env.check_fence()?;
        let window = self.windows[partition as usize].with(&mut held);
        window.refresh()?;
        if how != Acquired::Clean || region.get(at::REBUILT) == 0 {
            self.rebuild(partition, window)?;
        }
        Ok(work(window))
    }

    #[cold]
    fn rebuild(&self, partition: u32, window: &mut Window) -> Result<()> {
        let store = &self.topic.store;
        let region = &self.block.partitions[partition as usize];
        let (now, wall) = (store.env.clock.boot_ms(), store.env.clock.wall_ms());
        let life = if region.get(at::REBUILT) != 0 {
            Life::Same
        } else if window.boot() == boot_id() {
            Life::New
        } else {
            Life::NewBoot
        };
        if life != Life::Same {
            window.open_clean()?;
        }
        window.check_span()?;
        let log = &self.topic.partitions[partition as usize];
        let exists = |offset, position| log.record(offset, position).is_ok();
        window.rebuild(&self.policy, life, now, wall, &exists);
        window.set_boot(boot_id());
        // Last: a death before has the next one do it again.
        region.store(at::REBUILT, 1, Memory::Release);
        Ok(())
    }

    pub(super) fn start(&self, partition: u32, offset: u64, attempt: u32) {
        // Without the lock there is nothing to say that a later death could be charged by.
        let _ = self.with_window(partition, |window| window.start(offset, attempt));
    }

    /// Wakes sleeping consumers of this group, in any process.
    pub(super) fn wake(&self, count: u32) {
        EventCount::notify(self.block.head.word32(words::EVENT), count);
    }

    pub(super) fn dead_letter_topic(&self) -> Option<String> {
        match &self.config.dead_letter_topic {
            DeadLetter::Default => Some(names::dead_letter_topic(&self.topic.name, &self.name)),
            DeadLetter::Topic(name) => Some(name.clone()),
            DeadLetter::Drop => None,
        }
    }

    /// The leases of a consumer that closed or died come back at once.
    pub(super) fn return_consumer(&self, consumer: u16, died: Option<&str>) -> Result<()> {
        let clock = &self.topic.store.env.clock;
        // A batch may come from several partitions: what was started of it is asked in all first.
        let mut started = died.map(|_| Batches::new());
        if let Some(started) = &mut started {
            for partition in &self.topic.partitions {
                let of = |window: &mut Window| window.started_batches(consumer);
                started.extend(self.with_window(partition.number(), of)?);
            }
        }
        let mut count = 0;
        for partition in &self.topic.partitions {
            let number = partition.number();
            let returned = self.with_window(number, |window| {
                let (now, wall) = (clock.boot_ms(), clock.wall_ms());
                window.return_consumer(&self.policy, consumer, started.as_ref(), now, wall)
            })?;
            count += returned.count;
            let name = died.unwrap_or_default();
            for (offset, _) in &returned.dying {
                let error = format!("the process of consumer {name:?} died");
                self.remember_reason(number, *offset, (error, name.to_owned()));
            }
            if !returned.dying.is_empty() {
                dying::move_dying(self, number)?;
            }
        }
        if count > 0 {
            self.wake(count);
        }
        Ok(())
    }

    /// Name of a consumer of this group; empty if it is gone.
    pub(super) fn consumer_name(&self, slot: u16) -> String {
        let consumers = self.topic.store.control.consumers_of_group(&self.block);
        let mut named = consumers.into_iter().filter(|known| known.slot.0 == slot);
        named.next().map(|known| known.name).unwrap_or_default()
    }

    /// Leases that ran out for the last time.
    pub(super) fn remember_expired(&self, partition: u32, dying: &[(u64, u16)]) {
        for (offset, consumer) in dying {
            let error = format!("the lease of {:?} ran out", self.config.lease);
            let reason = (error, self.consumer_name(*consumer));
            self.remember_reason(partition, *offset, reason);
        }
    }

    pub(super) fn remember_reason(&self, partition: u32, offset: u64, reason: Reason) {
        let mut reasons = self.reasons.lock().unwrap_or_else(PoisonError::into_inner);
        reasons.insert((partition, offset), reason);
    }
}

impl Group {
    /// The same handle, but one that does not keep the store from being closed; see
    /// [`Topic::uncounted`].
    #[must_use]
    pub fn uncounted(mut self) -> Self {
        self._handle = None;
        self
    }

    /// The group's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// The stored configuration.
    #[must_use]
    pub fn config(&self) -> GroupConfig {
        self.inner.config.clone()
    }

    /// The topic its dead letters go to; `None` where they are dropped.
    #[must_use]
    pub fn dead_letter_topic(&self) -> Option<String> {
        self.inner.dead_letter_topic()
    }
}
