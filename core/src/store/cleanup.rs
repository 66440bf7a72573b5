//! Cleaning up after a dead member: its leases come back, what it sent at intervals is synced.

use std::path::Path;
use std::sync::{Arc, Weak};

use super::StoreInner;
use super::consumer_table::ConsumerEntry;
use super::gone::{Moves, PATIENCE};
use super::group::GroupInner;
use super::group_meta;
use super::inner::locked;
use super::topic::{TopicInner, read_meta};
use crate::error::{ErrorKind, Result};
use crate::format::control::partition::PROMISED_INTERVAL;
use crate::format::names;

/// What the groups do after a dead member.
pub(super) struct Groups;

impl super::Cleanup for Groups {
    /// The leases come back, charged as P10 says. May be done again after a death in between: they
    /// come back once.
    fn consumer_died(
        &self,
        store: &Arc<StoreInner>,
        consumer: &ConsumerEntry,
        moves: &mut Moves,
    ) -> Result<()> {
        match store.open_group_at(consumer.group)? {
            Some(group) => group.return_consumer(consumer, true, PATIENCE, moves),
            None => Ok(()),
        }
    }

    /// A half done move to the dead letters is finished by the next mover of its group. What the
    /// dead one sent with durability `interval` is synced now: at its own next interval it would
    /// have been (P2).
    fn member_died(&self, store: &Arc<StoreInner>) -> Result<()> {
        // What it had committed and not settled is settled by the next one (P8).
        store
            .finish_transactions(PATIENCE)
            .and(store.sync_promised())
            // It may have died while it removed what it had deleted.
            .and(store.clear_away())
    }
}

impl StoreInner {
    /// The group whose block is at this place of `control`, if this process has it open.
    pub(super) fn known_group(&self, at: u64) -> Option<Arc<GroupInner>> {
        let topic = self.known_topic(self.control.group_at(at).ok()?.topic())?;
        let open = locked(&topic.groups);
        let mut groups = open.values().filter_map(Weak::upgrade);
        groups.find(|group| group.block.at() == at)
    }

    fn known_topic(&self, uid: u64) -> Option<Arc<TopicInner>> {
        let topic = locked(&self.topics).get(&uid)?.upgrade()?;
        topic.downcast::<TopicInner>().ok()
    }

    /// The group whose block is at this place of `control`, opened if this process had not; others
    /// are not opened on the way.
    pub(super) fn open_group_at(self: &Arc<Self>, at: u64) -> Result<Option<Arc<GroupInner>>> {
        if let Some(open) = self.known_group(at) {
            return Ok(Some(open));
        }
        let block = self.control.group_at(at)?;
        let Some(topic) = self.topic_of(block.topic())? else {
            return Ok(None);
        };
        let name = self.name_of(block.id(), &topic.folder.join(names::GROUPS), |folder| {
            let path = folder.join(names::GROUP_META);
            group_meta::read_meta(self, &path).map(|meta| meta.id)
        })?;
        name.map(|name| topic.group_inner(&name)).transpose()
    }

    /// The topic with this id, opened if this process had not.
    pub(super) fn topic_of(self: &Arc<Self>, uid: u64) -> Result<Option<Arc<TopicInner>>> {
        if let Some(open) = self.known_topic(uid) {
            return Ok(Some(open));
        }
        let name = self.name_of(uid, &self.path.join(names::TOPICS), |folder| {
            read_meta(self, &folder.join(names::TOPIC_META)).map(|(uid, _)| uid)
        })?;
        name.map(|name| self.topic_inner(&name)).transpose()
    }

    /// The one in a folder that has this id. Others whose id cannot be read are passed over; they
    /// are told of if it is not found.
    pub(super) fn name_of(
        &self,
        uid: u64,
        folder: &Path,
        uid_of: impl Fn(&Path) -> Result<u64>,
    ) -> Result<Option<String>> {
        let mut failed = None;
        for name in self.env.storage.list(folder)? {
            match uid_of(&folder.join(&name)) {
                Ok(found) if found == uid => return Ok(Some(name)),
                Err(error) if error.kind() != ErrorKind::NotFound => failed = Some(error),
                _ => {}
            }
        }
        failed.map_or(Ok(None), Err)
    }

    /// Syncs all topics that somebody sends to with durability `interval`.
    fn sync_promised(self: &Arc<Self>) -> Result<()> {
        let mut done = Ok(());
        for topic in self.control.topics_with(PROMISED_INTERVAL)? {
            done = done.and(match self.topic_of(topic) {
                Ok(Some(topic)) => topic.partitions.iter().try_for_each(|log| log.sync()),
                Ok(None) => Ok(()),
                Err(error) => Err(error),
            });
        }
        done
    }
}
