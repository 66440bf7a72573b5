//! What retention takes this time: decided in two steps. First it is looked what would go; then,
//! without a lock that others wait for, all of that is put on disk that a new life needs to know of
//! it; then no more than that is hidden, under the lock of those who create.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::retain::{GLANCE, Scope};
use super::retain_groups::is_without_groups;
use super::topic::TopicInner;
use crate::error::{ErrorKind, Result};
use crate::format::control::block::CHANGED;
use crate::options::{Retention, TopicConfig};

impl TopicInner {
    /// Whether anything goes, and all below these offsets may be hidden: until `reserve` says that
    /// it was taken it comes back in a new life, in which it is to be on disk where the mark is
    /// behind it (P2), and in which ledgers do not know it that were made anew meanwhile (P8).
    pub(super) fn may_be_hidden(self: &Arc<Self>, goes: &[u64]) -> Result<bool> {
        for (partition, first) in self.partitions.iter().zip(goes) {
            if *first > 0 && !partition.mark_behind(*first)? {
                return Ok(false);
            }
        }
        Ok(goes.iter().any(|first| *first > 0) && self.ledgers_know(goes)?)
    }

    /// Which offset is the first that is kept of each partition; 0 where nothing is taken. With
    /// `most` no more than these, and told to all from here on. A group whose position cannot be
    /// read keeps all but what is taken in any case; what is wanted first is looked for with or
    /// without a group.
    pub(super) fn decide(
        &self,
        (config, scope): (&TopicConfig, &Scope),
        word: u64,
        most: Option<&[u64]>,
    ) -> Result<Vec<u64>> {
        let plain = is_without_groups(&self.kept_groups()?);
        let wanted = match config.retention {
            Retention::Settled => self.first_wanted(scope.bounds[0], plain)?.offset,
            Retention::Forever | Retention::Time(_) => u64::MAX,
        };
        let count = self.partitions.len();
        let held = match self.store.hold_create_lock_within(GLANCE) {
            Err(error) if error.kind() == ErrorKind::Stuck => return Ok(vec![0; count]),
            held => held?,
        };
        if self.block.head.load(CHANGED, Ordering::Acquire) != word {
            return Ok(vec![0; count]);
        }
        let groups = self.kept_groups()?;
        if is_without_groups(&groups) && !plain {
            // The last one was deleted since: nothing counts as settled any more.
            return Ok(vec![0; count]);
        }
        let mut first = Vec::new();
        for (number, partition) in self.partitions.iter().enumerate() {
            let (bound, cap) = (scope.bounds[number], scope.caps[number]);
            let of_groups = groups.iter().filter(|group| group.has(number));
            let mut allowed = if of_groups.clone().count() > 0 {
                bound
            } else {
                cap
            };
            let oldest = scope.sealed[number].first().map_or(0, |one| one.end);
            for group in of_groups {
                let floor = self.floor_of(group, partition, oldest)?;
                allowed = allowed.min(floor.unwrap_or(cap));
            }
            if number == 0 {
                allowed = allowed.min(wanted.max(cap));
            }
            let most = most.map(|most| most[number]);
            let end = scope.end_below(number, allowed.min(most.unwrap_or(u64::MAX)));
            if end > 0 && most.is_some() {
                partition.take_below(end);
            }
            first.push(end);
        }
        drop(held);
        Ok(first)
    }
}
