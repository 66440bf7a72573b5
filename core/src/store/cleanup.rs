//! Cleaning up after a dead member: its leases come back, what it sent at intervals is synced.

use std::sync::Arc;

use super::StoreInner;
use super::consumer_table::ConsumerEntry;
use super::group::GroupInner;
use super::topic::TopicInner;
use crate::error::{ErrorKind, Result};
use crate::format::control::partition::PROMISED_INTERVAL;
use crate::format::names;

/// What the groups do after a dead member.
pub(super) struct Groups;

impl super::Cleanup for Groups {
    /// The leases come back, charged as P10 says. May be done again after a death in between: they
    /// come back once.
    fn consumer_died(&self, store: &Arc<StoreInner>, consumer: &ConsumerEntry) -> Result<()> {
        match store.open_group_at(consumer.group)? {
            Some(group) => group.return_consumer(consumer.slot.0, Some(&consumer.name)),
            None => Ok(()),
        }
    }

    /// A half done move to the dead letters is finished by the next mover of its group. What the
    /// dead one sent with durability `interval` is synced now: at its own next interval it would
    /// have been (P2).
    fn member_died(&self, store: &Arc<StoreInner>) -> Result<()> {
        store.sync_promised()
    }
}

impl StoreInner {
    /// The group whose block is at this place of `control`, opened if this process had not.
    fn open_group_at(self: &Arc<Self>, at: u64) -> Result<Option<Arc<GroupInner>>> {
        let topic = match self.topic_of(self.control.group_at(at)?.topic())? {
            Some(topic) => topic,
            None => return Ok(None),
        };
        let mut failed = None;
        for name in self.env.storage.list(&topic.folder.join(names::GROUPS))? {
            match topic.group_inner(&name) {
                Ok(group) if group.block.at() == at => return Ok(Some(group)),
                Err(error) if error.kind() != ErrorKind::NotFound => failed = Some(error),
                _ => {}
            }
        }
        failed.map_or(Ok(None), Err)
    }

    /// The topic with this id, opened if this process had not. Others that cannot be opened are
    /// passed over; they are told of if it is not found.
    fn topic_of(self: &Arc<Self>, uid: u64) -> Result<Option<Arc<TopicInner>>> {
        let mut failed = None;
        for name in self.env.storage.list(&self.path.join(names::TOPICS))? {
            match self.topic_inner(&name) {
                Ok(topic) if topic.uid == uid => return Ok(Some(topic)),
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
