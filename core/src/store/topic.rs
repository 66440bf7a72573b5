//! Topics: creating, opening, and what is open of them in this process.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex, Once, PoisonError, Weak};
use std::time::Duration;

use super::Block;
use super::flow::FlowGroups;
use super::group::GroupInner;
use super::message::MessageId;
use super::sent::{Ground, Ring, Tables};
use super::tended_topic::TopicFiles;
use super::topic_meta;
use super::topic_settings::TopicSettings;
use super::{Handle, Store, StoreInner};
use crate::error::{Error, ErrorKind, Result};
use crate::format::control::block as words;
use crate::format::{meta, names};
use crate::log::{OnPublish, Partition};
use crate::options::{Durability, TopicConfig, TopicOptions};
use crate::shm::{EventCount, Region};
use crate::storage::Access;

/// A topic as this process has it open; shared by all its handles.
pub(crate) struct TopicInner {
    pub(super) store: Arc<StoreInner>,
    pub(super) name: String,
    pub(super) uid: u64,
    /// What this process knows of `topic.meta`.
    pub(super) settings: TopicSettings,
    pub(super) folder: PathBuf,
    pub(super) partitions: Vec<Arc<Partition>>,
    pub(super) files: Arc<TopicFiles>,
    pub(super) block: Block,
    pub(super) turn: AtomicU32,
    pub(super) groups: Mutex<HashMap<String, Weak<GroupInner>>>,
    /// Of its dedup ids.
    pub(super) tables: Arc<Tables>,
    pub(super) tables_tended: Once,
    /// Of its named producers.
    pub(super) rings: Mutex<HashMap<String, Weak<Ring>>>,
}

/// A named stream of messages. Cheap to clone; usable from several threads at once.
#[derive(Clone)]
pub struct Topic {
    pub(super) inner: Arc<TopicInner>,
    /// What this handle and its copies count a limited topic by.
    pub(super) flow: Arc<FlowGroups>,
    pub(super) _handle: Option<Arc<Handle>>,
}

impl Store {
    /// Opens the topic, creating it where there is none. Stored configuration is taken; an option
    /// that contradicts it is [`ErrorKind::ConfigMismatch`].
    pub fn topic(&self, name: &str, options: &TopicOptions) -> Result<Topic> {
        options.check()?;
        match self.open_topic(name) {
            Err(e) if e.kind() == ErrorKind::NotFound => {
                self.inner()?.create(name, options)?;
                let topic = self.open_topic(name)?;
                topic.inner.known_config().check_against(name, options)?;
                Ok(topic)
            }
            opened => {
                let topic = opened?;
                topic.inner.known_config().check_against(name, options)?;
                Ok(topic)
            }
        }
    }

    /// Creates the topic; [`ErrorKind::AlreadyExists`] if there is one.
    pub fn create_topic(&self, name: &str, options: &TopicOptions) -> Result<Topic> {
        options.check()?;
        if !self.inner()?.create(name, options)? {
            let message = format!(
                "topic {name:?} exists already in {}; open it with topic()",
                self.path().display()
            );
            return Err(Error::new(ErrorKind::AlreadyExists, message));
        }
        self.open_topic(name)
    }

    /// Opens an existing topic; [`ErrorKind::NotFound`] if there is none.
    pub fn open_topic(&self, name: &str) -> Result<Topic> {
        let inner = self.inner()?;
        let handle = Arc::new(inner.register_handle(format!("topic {name:?}")));
        Ok(Topic {
            inner: inner.topic_inner(name)?,
            flow: Arc::default(),
            _handle: Some(handle),
        })
    }
}

impl StoreInner {
    /// Before anything is written.
    #[inline]
    pub(super) fn check_send(&self) -> Result<()> {
        self.check_open()?;
        self.check_writable("write")
    }

    /// The topic as it is open in this process, opened now if it was not.
    pub(super) fn topic_inner(self: &Arc<Self>, name: &str) -> Result<Arc<TopicInner>> {
        names::check("topic", name)?;
        let folder = names::topic_folder(&self.path, name);
        let path = folder.join(names::TOPIC_META);
        if !self.has_topic(&folder)? {
            self.refuse_headless(&folder)?;
            let message = format!(
                "there is no topic {name:?} in {}; create_topic() makes one",
                self.path.display()
            );
            return Err(Error::new(ErrorKind::NotFound, message));
        }
        let (uid, config) = read_meta(self, &path)?;
        let mut known = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        let open = known.get(&uid).and_then(Weak::upgrade);
        if let Some(inner) = open.and_then(|any| any.downcast::<TopicInner>().ok()) {
            return Ok(inner);
        }
        let inner = self.assemble(name, (uid, config), folder, true)?;
        let any: Arc<dyn std::any::Any + Send + Sync> = inner.clone();
        if known.len() == known.capacity() {
            // Before it grows: of those that nobody has open a word would be kept each.
            known.retain(|_, of| of.strong_count() > 0);
        }
        known.insert(uid, Arc::downgrade(&any));
        drop(known);
        inner.set_limited(inner.settings.is_limited());
        if !self.is_read_only() {
            // What fails is done by the next one who opens the topic.
            let _ = inner.finish_deletions();
        }
        Ok(inner)
    }

    /// The parts of a topic. What is `joined` is looked after by housekeeping until the store
    /// closes; else it waits for no lock, and lasts as long as it is held.
    pub(super) fn assemble(
        self: &Arc<Self>,
        name: &str,
        (uid, config): (u64, TopicConfig),
        folder: PathBuf,
        joined: bool,
    ) -> Result<Arc<TopicInner>> {
        let block = self.control.topic_block(uid, config.partitions)?;
        let topics = self.path.join(names::TOPICS);
        block.name_durably(&*self.env.storage, &[&folder, &topics])?;
        if self.env.storage.exists(&folder.join(names::PRIORITIES))? {
            block.head.set(words::PRIORITIES, 1);
        }
        let on_publish = notifier(self, &block, uid);
        let mut partitions = Vec::new();
        let durability = config.durability.unwrap_or(self.options.durability);
        let files = Arc::new(TopicFiles {
            env: self.env.clone(),
            topic: uid,
            folder: folder.clone(),
            block: block.clone(),
            on_publish,
        });
        for number in 0..config.partitions {
            let kept = match joined {
                true => self.tended_partition(&files, number),
                false => None,
            };
            let partition = match kept {
                Some(kept) => kept,
                None if joined => files.open(number, durability)?,
                None => files.partition(number, durability),
            };
            partition.change_durability(durability)?;
            partition.set_segment_max(segment_max(&config));
            partition.set_min_free(config.min_free_bytes);
            if joined {
                self.tend_partition(&files, &partition);
            }
            partitions.push(partition);
        }
        if joined {
            self.count_opened(partitions.len());
        }
        let tables = Arc::new(Tables::new(Ground {
            env: self.env.clone(),
            topic: uid,
            what: format!("topic {name:?}"),
            partitions: partitions.clone(),
            folder: folder.join(names::DEDUP),
            head: block.head.clone(),
            files: files.clone(),
        }));
        Ok(Arc::new(TopicInner {
            store: self.clone(),
            name: name.to_owned(),
            uid,
            settings: TopicSettings::unsettled(config),
            folder,
            partitions,
            files,
            block,
            turn: AtomicU32::new(0),
            groups: Mutex::default(),
            tables,
            tables_tended: Once::new(),
            rings: Mutex::default(),
        }))
    }
}

/// Where only so many bytes are kept, segments are small enough for a few of each partition.
pub(super) fn segment_max(config: &TopicConfig) -> u64 {
    match config.retention_bytes {
        0 => u64::MAX,
        bytes => bytes / (4 * u64::from(config.partitions)),
    }
}

/// A number that nothing else has, as far as chance goes.
pub(super) fn unique_id() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    hasher.write_u128(now.map_or(0, |since| since.as_nanos()));
    hasher.finish().max(1)
}

/// Reads a whole meta file.
pub(super) fn read_text(
    store: &StoreInner,
    kind: &str,
    path: &std::path::Path,
) -> Result<std::collections::BTreeMap<String, String>> {
    let file = store.env.storage.open(path, Access::Read, 0)?;
    let mut bytes = vec![0; usize::try_from(file.len()?.min(1 << 20)).unwrap_or(0)];
    file.read_at(&mut bytes, 0)?;
    meta::decode(kind, &bytes).map_err(|bad| match bad {
        meta::Bad::Version(found) => Error::new(
            ErrorKind::Incompatible,
            format!(
                "{} has version {found}, this library knows {}; use the newer library",
                path.display(),
                crate::format::VERSION
            ),
        ),
        meta::Bad::Damaged(what) => damaged_meta(path, &what),
    })
}

/// An error for a meta file whose text cannot be used.
pub(super) fn damaged_meta(path: &std::path::Path, what: &str) -> Error {
    let message = format!("{}: {what}; restore it from a copy", path.display());
    Error::new(ErrorKind::Damaged, message)
}

pub(super) fn read_meta(store: &StoreInner, path: &std::path::Path) -> Result<(u64, TopicConfig)> {
    let fields = read_text(store, "topic", path)?;
    topic_meta::parse(&fields).map_err(|what| damaged_meta(path, &what))
}

/// Wakes those who sleep on the topic. One load while nobody does.
fn notifier(store: &Arc<StoreInner>, block: &Block, uid: u64) -> OnPublish {
    let (head, store) = (block.head.clone(), Arc::downgrade(store));
    Arc::new(move |count| {
        if EventCount::has_sleepers(head.word32(words::GROUPS_EVENT))
            && let Some(store) = store.upgrade()
        {
            store.wake_topic(&head, uid, count);
        }
    })
}

impl StoreInner {
    /// Wakes readers, and as many consumers of each group, of the topic with this block.
    #[cold]
    pub(super) fn wake_topic(&self, head: &Region, uid: u64, count: u32) {
        let flag = head.word32(words::GROUPS_EVENT);
        // Nobody sleeps on the flag itself. A death from here on leaves sleepers that nobody was
        // told to wake: they look again at their beat.
        EventCount::clear(flag);
        let readers = head.word32(words::EVENT);
        EventCount::notify(readers, u32::MAX);
        let mut asleep = EventCount::has_sleepers(readers);
        for group in self.control.heads_of_groups(uid).unwrap_or_default() {
            let event = group.word32(words::EVENT);
            EventCount::notify(event, count);
            asleep |= EventCount::has_sleepers(event);
            self.control.ring(&group);
        }
        if asleep {
            EventCount::prepare(flag);
        }
    }
}

impl TopicInner {
    pub(super) fn durability(&self) -> Durability {
        self.partitions[0].durability()
    }

    /// Number of partitions, which never changes.
    #[inline]
    pub(super) fn count(&self) -> u32 {
        self.partitions.len() as u32
    }

    pub(super) fn id(&self, partition: u32, offset: u64) -> MessageId {
        MessageId {
            topic_id: self.uid,
            partition,
            offset,
        }
    }

    /// The partition with this number; [`ErrorKind::InvalidArgument`] if there is none.
    pub(super) fn partition(&self, number: u32) -> Result<&Arc<Partition>> {
        self.partitions.get(number as usize).ok_or_else(|| {
            let message = format!(
                "partition {number} of topic {:?}; expected 0 to {}",
                self.name,
                self.partitions.len() - 1
            );
            Error::new(ErrorKind::InvalidArgument, message)
        })
    }
}

impl Topic {
    /// The same handle, but one that does not keep the store from being closed: once it is, calls
    /// error with [`ErrorKind::Closed`]. For languages that end handles when they like.
    #[must_use]
    pub fn uncounted(mut self) -> Self {
        self._handle = None;
        self
    }

    /// The topic's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// The topic's id, drawn when it was created.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.inner.uid
    }

    /// The stored configuration, whoever changed it last; of a deleted topic the last one known.
    #[must_use]
    pub fn config(&self) -> TopicConfig {
        (*self.inner.known_config()).clone()
    }

    /// Number of partitions.
    #[must_use]
    pub fn partitions(&self) -> u32 {
        self.inner.count()
    }

    /// For each partition the first offset that a power loss may take.
    #[must_use]
    pub fn durable_offsets(&self) -> Vec<u64> {
        self.inner
            .partitions
            .iter()
            .map(|partition| partition.durable_offset())
            .collect()
    }

    /// Returns once the message is on disk. [`ErrorKind::Timeout`] after `timeout`; `None` waits
    /// for as long as it takes. [`ErrorKind::Removed`] where retention took it.
    pub fn wait_durable(&self, id: MessageId, timeout: Option<Duration>) -> Result<()> {
        self.inner.store.check_open()?;
        if id.topic_id != self.inner.uid {
            let message = format!("the id is of another topic than {:?}", self.inner.name);
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        let partition = self.inner.partition(id.partition)?;
        if id.offset >= partition.next_offset() {
            let message = format!(
                "offset {} of topic {:?} was never sent; the next one is {}",
                id.offset,
                self.inner.name,
                partition.next_offset()
            );
            return Err(Error::new(ErrorKind::NotFound, message));
        }
        if let Some(error) = partition.removed_before(id.offset) {
            return Err(error);
        }
        partition.ensure_durable(
            id.offset.saturating_add(1),
            timeout.unwrap_or(Duration::from_secs(86_400)),
        )
    }

    /// Puts everything sent to the topic on disk.
    pub fn sync(&self) -> Result<()> {
        self.inner.store.check_open()?;
        self.inner
            .partitions
            .iter()
            .try_for_each(|partition| partition.sync())
    }
}
