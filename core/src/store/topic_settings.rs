//! A topic's configuration as it is in force, and changing it while others are at work.
//!
//! `in_force` says how all processes follow. Senders compare the word at each send; what they need
//! of the configuration there stands in words of its own, which are taken anew after a change.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::StoreInner;
use super::in_force::{InForce, NEVER, raised};
use super::inner::locked;
use super::topic::{Topic, TopicInner, read_meta, segment_max};
use super::topic_meta;
use crate::error::{Error, ErrorKind, Result};
use crate::format::control::block::CHANGING;
use crate::format::names;
use crate::options::{DedupWindow, TopicConfig, TopicOptions};
use crate::shm::Region;
use crate::storage::replace_file;

/// What this process knows of `topic.meta`.
pub(super) struct TopicSettings {
    /// What was read last, and the word with which it is in force.
    known: Mutex<(u64, Arc<TopicConfig>)>,
    /// The word with which the following were taken.
    version: AtomicU64,
    max_message_bytes: AtomicU64,
    /// Whether there is a limit on what is not settled.
    limited: AtomicBool,
    /// In ms; 0 is off, the most is until it is settled.
    dedup_window: AtomicU64,
}

fn word_of(window: DedupWindow) -> u64 {
    match window {
        DedupWindow::Off => 0,
        DedupWindow::UntilSettled => u64::MAX,
        DedupWindow::Time(time) => u64::try_from(time.as_millis()).unwrap_or(u64::MAX - 1),
    }
}

impl TopicSettings {
    /// What was read before it was known with which word.
    pub(super) fn unsettled(config: TopicConfig) -> Self {
        Self {
            version: AtomicU64::new(NEVER),
            max_message_bytes: AtomicU64::new(config.max_message_bytes),
            limited: AtomicBool::new(config.is_limited()),
            dedup_window: AtomicU64::new(word_of(config.dedup_window)),
            known: Mutex::new((NEVER, Arc::new(config))),
        }
    }

    /// Largest message in bytes.
    #[inline]
    pub(super) fn max_message_bytes(&self) -> u64 {
        self.max_message_bytes.load(Ordering::Relaxed)
    }

    /// Whether there is a limit on what is not settled (P14).
    #[inline]
    pub(super) fn is_limited(&self) -> bool {
        self.limited.load(Ordering::Relaxed)
    }

    /// What was read last.
    pub(super) fn known_now(&self) -> Arc<TopicConfig> {
        locked(&self.known).1.clone()
    }

    /// For how long a dedup id is known.
    pub(super) fn dedup_window(&self) -> DedupWindow {
        match self.dedup_window.load(Ordering::Relaxed) {
            0 => DedupWindow::Off,
            u64::MAX => DedupWindow::UntilSettled,
            millis => DedupWindow::Time(Duration::from_millis(millis)),
        }
    }
}

impl Topic {
    /// Changes the stored configuration; what is `None` stays. Durable before the call returns.
    /// Every process goes by it from its next call on; what was sent before keeps what it was sent
    /// with.
    ///
    /// [`ErrorKind::InvalidArgument`] for another number of `partitions`, by which keys find
    /// their order. [`ErrorKind::NotFound`] where the topic was deleted.
    ///
    /// ```
    /// # use libqueue::{Store, StoreOptions, TopicOptions};
    /// # let folder = tempfile::TempDir::new().unwrap();
    /// # let store = Store::open(folder.path(), StoreOptions::default())?;
    /// let orders = store.topic("orders", &TopicOptions::default())?;
    /// let max_message_bytes = Some(1 << 20);
    /// orders.configure(&TopicOptions { max_message_bytes, ..TopicOptions::default() })?;
    /// assert_eq!(orders.config().max_message_bytes, 1 << 20);
    /// # Ok::<(), libqueue::Error>(())
    /// ```
    pub fn configure(&self, changes: &TopicOptions) -> Result<()> {
        let topic = &*self.inner;
        changes.check()?;
        topic.store.check_send()?;
        let held = topic.store.hold_create_lock()?;
        let word = topic.word_to_change()?;
        let before = topic.read_meta()?;
        let wanted = before.changed_by(changes)?;
        topic.set_changed(word | CHANGING);
        let written = if wanted == before {
            Ok(())
        } else {
            let env = &*topic.store.env;
            let text = topic_meta::write(topic.uid, &wanted);
            replace_file(&*env.storage, &topic.meta_path(), text.as_bytes(), env.mode)
        };
        // Also after an error: the file may have the new name, and only its folder not be synced.
        topic.set_changed(raised(word));
        drop(held);
        let followed = written.and_then(|()| topic.follow());
        // Who waits for room goes by the new limits from here on.
        topic.tell_room();
        followed
    }
}

impl TopicInner {
    /// Before anything is sent: goes by the configuration that is in force. One load while nothing
    /// changed.
    #[inline]
    pub(super) fn follow(&self) -> Result<()> {
        if self.settings.version.load(Ordering::Acquire) == self.changed() {
            return Ok(());
        }
        self.take_settings()
    }

    #[cold]
    fn take_settings(&self) -> Result<()> {
        let (word, config) = self.in_force()?;
        let settings = &self.settings;
        // One at a time, so that nobody lays what he read earlier over what another read later.
        let known = locked(&settings.known);
        if self.changed() == word {
            settings
                .max_message_bytes
                .store(config.max_message_bytes, Ordering::Relaxed);
            settings
                .dedup_window
                .store(word_of(config.dedup_window), Ordering::Relaxed);
            let durability = config.durability.unwrap_or(self.store.options.durability);
            for partition in &self.partitions {
                partition.change_durability(durability)?;
                partition.set_min_free(config.min_free_bytes);
                partition.set_segment_max(segment_max(&config));
            }
            settings
                .limited
                .store(config.is_limited(), Ordering::Relaxed);
            self.set_limited(config.is_limited());
            // Last: whoever sees it sees the others.
            settings.version.store(known.0, Ordering::Release);
        }
        Ok(())
    }

    /// With the lock of those who create held: whether there still is this topic, and no other one
    /// of the name.
    pub(super) fn check_there(&self) -> Result<()> {
        self.word_to_change()?;
        self.read_meta().map(drop)
    }

    /// The configuration that is in force; where it cannot be read, as of a deleted topic, what was
    /// known last.
    pub(super) fn known_config(&self) -> Arc<TopicConfig> {
        let known = || locked(&self.settings.known).1.clone();
        self.in_force()
            .map_or_else(|_| known(), |(_, config)| config)
    }

    fn meta_path(&self) -> std::path::PathBuf {
        self.folder.join(names::TOPIC_META)
    }
}

impl InForce for TopicInner {
    type Meta = TopicConfig;
    type Known = Arc<TopicConfig>;

    #[inline]
    fn governed_by(&self) -> &Region {
        &self.block.head
    }

    fn of_store(&self) -> &StoreInner {
        &self.store
    }

    fn read_meta(&self) -> Result<TopicConfig> {
        if self
            .store
            .env
            .storage
            .exists(&self.folder.join(names::TOPIC_DELETED))?
        {
            return Err(self.gone());
        }
        match read_meta(&self.store, &self.meta_path()) {
            Ok((uid, config)) if uid == self.uid => Ok(config),
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Err(self.gone()),
        }
    }

    fn known_with(&self, word: u64) -> Option<Arc<TopicConfig>> {
        let known = locked(&self.settings.known);
        (known.0 == word).then(|| known.1.clone())
    }

    fn remember(&self, config: TopicConfig, word: u64) -> Result<Arc<TopicConfig>> {
        let config = Arc::new(config);
        *locked(&self.settings.known) = (word, config.clone());
        Ok(config)
    }

    fn end(&self) -> Result<()> {
        self.store.end_topic(self.uid)?;
        for partition in &self.partitions {
            self.store.untend(partition.folder());
        }
        Ok(())
    }

    fn what(&self) -> String {
        format!("topic {:?}", self.name)
    }

    #[cold]
    fn gone(&self) -> Error {
        let message = format!(
            "{} was deleted; topic() or create_topic() makes another one of the name",
            self.what()
        );
        Error::new(ErrorKind::NotFound, message)
    }
}
