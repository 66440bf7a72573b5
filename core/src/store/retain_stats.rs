//! What keeps the oldest segment of a topic, for the statistics.

use super::retain::{Scope, old_before};
use super::retain_groups::{KeptGroup, is_without_groups};
use super::topic::TopicInner;
use crate::error::Result;
use crate::log::Sealed;
use crate::options::{Retention, TopicConfig};

/// What keeps a topic's oldest segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PinnedBy {
    /// Nothing: it is the one that messages are appended to, or goes next.
    #[default]
    Nothing,
    /// The topic's retention: its time is not over, it keeps all, or there is no group yet that
    /// could settle anything.
    Retention,
    /// A group, with this name, that has not settled all that is in it.
    Group(String),
    /// Dead letters in it, of the group with this name, as in `TOPIC/GROUP`; where that is not
    /// known the name is empty.
    DeadLetters(String),
}

impl PinnedBy {
    /// What it is, in a word: `nothing`, `retention`, `group` or `dead_letters`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Retention => "retention",
            Self::Group(_) => "group",
            Self::DeadLetters(_) => "dead_letters",
        }
    }

    /// The group; empty where it is none.
    #[must_use]
    pub fn group(&self) -> &str {
        match self {
            Self::Group(name) | Self::DeadLetters(name) => name,
            Self::Nothing | Self::Retention => "",
        }
    }
}

/// What is told of it.
#[derive(Default)]
pub(super) struct Pinned {
    pub(super) by: PinnedBy,
    pub(super) seconds: f64,
    pub(super) bytes: u64,
}

/// What would let a partition's segments go, up to which offset.
struct Holder<'a> {
    group: &'a KeptGroup,
    floor: u64,
}

impl TopicInner {
    /// What keeps the oldest segment, how old its first message is, and what would be free without.
    pub(super) fn pinned(&self, config: &TopicConfig) -> Result<Pinned> {
        let wall = self.store.env.clock.wall_ns();
        let mut oldest: Option<(i64, usize)> = None;
        for (number, partition) in self.partitions.iter().enumerate() {
            if let Some(base) = partition.bases()?.first()
                && let Some(first) = partition.first_timestamp_of(*base)?
            {
                oldest = Some(oldest.map_or((first, number), |found| found.min((first, number))));
            }
        }
        let Some((first, number)) = oldest else {
            return Ok(Pinned::default());
        };
        let mut pinned = Pinned {
            seconds: wall.saturating_sub(first).max(0) as f64 / 1e9,
            ..Pinned::default()
        };
        let mut scope = self.scope(config, old_before(config, wall))?;
        for (sealed, partition) in scope.sealed.iter_mut().zip(&self.partitions) {
            sealed.retain(|one| one.base >= partition.first_kept());
        }
        let groups = self.kept_groups()?;
        if let Some(end) = scope.sealed[number].first().map(|one| one.end) {
            pinned.by = self.holder(config, &scope, &groups, (number, end))?;
            pinned.bytes = self.pinned_bytes(&pinned.by, &scope, &groups)?;
        }
        Ok(pinned)
    }

    /// What keeps the segment of a partition that ends there.
    fn holder(
        &self,
        config: &TopicConfig,
        scope: &Scope,
        groups: &[KeptGroup],
        (number, end): (usize, u64),
    ) -> Result<PinnedBy> {
        if scope.bounds[number] < end {
            return Ok(PinnedBy::Retention);
        }
        let holders = self.holders(groups, number)?;
        let least = holders.iter().min_by_key(|holder| holder.floor);
        if let Some(least) = least.filter(|holder| holder.floor < end) {
            let lane_of = least
                .group
                .meta
                .as_ref()
                .and_then(|meta| meta.lane_of.as_ref());
            return Ok(match (least.group.is_lane(), lane_of) {
                (false, _) => PinnedBy::Group(least.group.name.clone()),
                (true, Some((topic, group))) => PinnedBy::DeadLetters(format!("{topic}/{group}")),
                (true, None) => PinnedBy::DeadLetters(String::new()),
            });
        }
        let settles = config.retention == Retention::Settled && scope.caps[number] < end;
        if settles && number == 0 {
            let wanted = self.first_wanted(end, is_without_groups(groups))?;
            match wanted.is_letter {
                _ if wanted.offset >= end => {}
                true => return Ok(PinnedBy::DeadLetters(String::new())),
                false => return Ok(PinnedBy::Retention),
            }
        }
        Ok(match holders.is_empty() && settles {
            true => PinnedBy::Retention,
            false => PinnedBy::Nothing,
        })
    }

    fn holders<'a>(&self, groups: &'a [KeptGroup], number: usize) -> Result<Vec<Holder<'a>>> {
        let mut holders = Vec::new();
        for group in groups.iter().filter(|group| group.has(number)) {
            let floor = self.floor_of(group, &self.partitions[number], u64::MAX)?;
            let floor = floor.unwrap_or(0);
            holders.push(Holder { group, floor });
        }
        Ok(holders)
    }

    /// Bytes of the segments that would go if what keeps the oldest one did not.
    fn pinned_bytes(&self, by: &PinnedBy, scope: &Scope, groups: &[KeptGroup]) -> Result<u64> {
        let mut bytes = 0;
        for (number, partition) in self.partitions.iter().enumerate() {
            let (mut own, mut others) = (u64::MAX, u64::MAX);
            for holder in self.holders(groups, number)? {
                let mine = match by {
                    PinnedBy::Group(name) => holder.group.name == *name,
                    PinnedBy::DeadLetters(_) => holder.group.is_lane(),
                    PinnedBy::Nothing | PinnedBy::Retention => false,
                };
                let least = if mine { &mut own } else { &mut others };
                *least = holder.floor.min(*least);
            }
            let kept_by = match by {
                PinnedBy::Nothing => continue,
                PinnedBy::Retention => scope.bounds[number],
                PinnedBy::DeadLetters(_) => 0,
                PinnedBy::Group(_) => own,
            };
            let held = |one: &&Sealed| one.end > kept_by && one.end <= others;
            let bases = scope.sealed[number].iter().filter(held).map(|one| one.base);
            bytes += partition.files_of(&bases.collect::<Vec<_>>())?;
        }
        Ok(bytes)
    }
}
