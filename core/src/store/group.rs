//! Groups as a process has them open.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use super::Block;
use super::Handle;
use super::group_meta::dead_letters_of;
use super::lane::{KnownLane, LaneOf};
use super::settings::{GuardedWindow, Settings};
use super::topic::{Topic, TopicInner};
use crate::error::Result;
use crate::format::control::block as words;
use crate::format::names;
use crate::group::Glance;
use crate::options::{GroupConfig, GroupOptions};
use crate::shm::{EventCount, Guarded};

/// Why a message failed, and whose hands it was in.
pub(super) type Reason = (String, String);

/// A group as this process has it open; shared by all its handles and consumers.
pub(crate) struct GroupInner {
    pub(super) topic: Arc<TopicInner>,
    pub(super) name: String,
    pub(super) uid: u64,
    /// Whether each message is settled before it is handed out (P7). That never changes.
    pub(super) once: bool,
    /// What its filter said of messages that come next.
    pub(super) sieves: super::sieve::Sieves,
    /// What this process knows of `group.meta`; see `settings`.
    pub(super) settings: Mutex<Arc<Settings>>,
    pub(super) block: Block,
    pub(super) windows: Vec<Guarded<GuardedWindow>>,
    /// Of each of them, what may be looked at without its lock.
    pub(super) glances: Vec<Glance>,
    /// Why messages failed for the last time that are on their way to the dead letters.
    pub(super) reasons: Mutex<HashMap<(u32, u64), Reason>>,
    /// What could not be moved to the dead letters a moment ago.
    pub(super) aside: Mutex<super::aside::Aside>,
    /// Damage among the dead letters that was told of.
    pub(super) told: Mutex<HashSet<String>>,
    /// What its brake has counted.
    pub(super) deaths: Mutex<Option<super::brake::Deaths>>,
    /// How many entries its windows are laid out for.
    pub(super) limit: u32,
    /// Of a redrive lane, the group that it is of.
    pub(super) lane_of: Option<LaneOf>,
    /// The group's own lane.
    pub(super) lane: Mutex<KnownLane>,
}

/// A group, to look at and to manage. Usable from several threads at once.
#[derive(Clone)]
pub struct Group {
    pub(super) inner: Arc<GroupInner>,
    pub(super) _handle: Option<Arc<Handle>>,
}

impl Topic {
    /// The group, which must exist; [`crate::ErrorKind::NotFound`] otherwise.
    pub fn group(&self, name: &str) -> Result<Group> {
        self.inner.store.check_open()?;
        // A window is repaired and rebuilt by whoever looks at it.
        self.inner.store.check_writable("look at a group")?;
        names::check_group(name)?;
        self.inner.follow()?;
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
        inner.store.check_open()?;
        inner.follow()?;
        inner.group_names()
    }
}

impl GroupInner {
    /// What receipts carry as their epoch: the window's, told apart from those of other groups of
    /// the topic, whose offsets and attempts are the same.
    #[inline]
    pub(super) fn mark(&self, epoch: u32) -> u32 {
        epoch ^ self.block.id() as u32
    }

    /// Wakes sleeping consumers of this group, in any process, and those who watch its descriptors.
    pub(super) fn wake(&self, count: u32) {
        let head = &self.front().head;
        EventCount::notify(head.word32(words::EVENT), count);
        self.topic.store.control.ring(head);
    }

    /// That of a lane's group is the one that the lane is in, for as long as it holds anything.
    pub(super) fn dead_letter_topic(&self) -> Option<String> {
        if self.is_lane() {
            return Some(self.topic.name.clone());
        }
        let target = &self.known_settings().config.dead_letter_topic;
        dead_letters_of(&self.topic.name, &self.name, target)
    }

    /// Name of a consumer of this group; empty if it is gone.
    pub(super) fn consumer_name(&self, slot: u16) -> String {
        let consumers = self.topic.store.control.consumers_of_group(self.front());
        let mut named = consumers.into_iter().filter(|known| known.slot.0 == slot);
        named.next().map(|known| known.name).unwrap_or_default()
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

    /// The stored configuration, whoever changed it last; of a deleted group the last one known.
    #[must_use]
    pub fn config(&self) -> GroupConfig {
        self.inner.known_settings().config.clone()
    }

    /// The topic its dead letters go to; `None` where they are dropped.
    #[must_use]
    pub fn dead_letter_topic(&self) -> Option<String> {
        self.inner.dead_letter_topic()
    }
}
