//! Seeking a group: to the earliest message, to the latest, to an offset, a time or a snapshot,
//! while its consumers are at work (P16).
//!
//! A seek is one durable step: where each partition is to begin, and with which epoch, is written
//! into `group.meta`, as any change of the group. Whoever holds a window's lock and finds it of an
//! older epoch has it catch up first (`group/seek.rs`), and the one who seeks takes each lock once:
//! so when he returns nobody has a lease from before, and whatever dies meanwhile, the next one
//! goes on.
//!
//! What is dying is moved to the dead letters before, with MOVER_LOCK held until the seek is in
//! force: no letter of the time before is then taken for one of a message that dies again (P12).
//! What was redriven is in the group's lane, and stays there with its leases.

use std::sync::Arc;

use super::dying;
use super::group::{Group, GroupInner};
use super::group_meta::{GroupMeta, Sought};
use super::group_open::behind_the_end;
use crate::error::{Error, ErrorKind, Result};
use crate::format::control::block::MOVER_LOCK;
use crate::format::snapshot::{Part, Snapshot};
use crate::group::Standing;
use crate::log::{Partition, Step};
use crate::options::Start;
use crate::shm::OwnerLock;
use crate::storage::File;

/// Where a group is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SeekTo<'a> {
    /// A place in the log. An offset is one of a partition, which has to be named where the topic
    /// has several.
    Start(Start),
    /// What the snapshot of this name says.
    Snapshot(&'a str),
}

impl From<Start> for SeekTo<'_> {
    fn from(start: Start) -> Self {
        Self::Start(start)
    }
}

impl<'a> From<&'a str> for SeekTo<'a> {
    fn from(name: &'a str) -> Self {
        Self::Snapshot(name)
    }
}

/// What a seek does to one partition of a group. Messages are counted by their offsets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SeekPartition {
    /// The partition.
    pub partition: u32,
    /// The first offset that the group has not settled.
    pub position: u64,
    /// The first one that it has not settled afterwards.
    pub target: u64,
    /// Messages that it had settled, and gets again.
    pub again: u64,
    /// Messages that it had not settled, and does not get any more.
    pub passed_over: u64,
    /// Leases that become stale.
    pub stale_leases: u64,
    /// Messages that it would get, but that the log does not have any more.
    pub gone: u64,
}

/// What a seek does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SeekPlan {
    /// Each partition that is sought.
    pub partitions: Vec<SeekPartition>,
}

impl SeekPlan {
    /// The sum of one count over all partitions.
    ///
    /// ```
    /// # use libqueue::SeekPlan;
    /// assert_eq!(SeekPlan::default().sum(|one| one.again), 0);
    /// ```
    #[must_use]
    pub fn sum(&self, of: impl Fn(&SeekPartition) -> u64) -> u64 {
        self.partitions.iter().map(of).sum()
    }
}

/// A snapshot and the file that it was read from.
type ReadSnapshot = (Arc<dyn File>, Snapshot);

/// A place of the log or what a snapshot says of it: some open messages, and all from an end on.
struct Wanted<'a> {
    part: std::borrow::Cow<'a, Part>,
    /// The first offset that is open, as far as the log has it.
    target: u64,
    /// Messages before the log's first one that are wanted.
    gone: u64,
}

impl Group {
    /// Sets the group to a place, in all partitions or in one: what is before it counts as settled,
    /// what is behind it comes, again or for the first time, with no attempts and no failures. To a
    /// snapshot: what was settled then counts as settled, all else comes again, with the attempts
    /// and failures that it had then. Durable, and in force in all processes, before the call
    /// returns; consumers go on, and those that wait are woken.
    ///
    /// Leases from before are stale: to settle one is [`ErrorKind::StaleReceipt`] and harms nothing
    /// (P9). Delays and failures from before are gone. What failed for the last time becomes a dead
    /// letter first, and dead letters stay, as does what was redriven, with its leases; but one
    /// that holds its key (`on_dead_letter`) is a message of the group like any other: it comes
    /// again, or is passed over, and its letter is none any more. What the seek does is returned,
    /// as it was counted a moment before; [`Group::preview_seek`] tells the same and does nothing.
    ///
    /// [`ErrorKind::Removed`] for an offset that retention took, [`ErrorKind::InvalidArgument`] for
    /// one behind the end, and for one without a partition where there are several;
    /// [`ErrorKind::NotFound`] for an unknown snapshot. After each the group is where it was.
    /// `gone` counts the messages of a snapshot that are missing, or of a file that was lost.
    ///
    /// ```
    /// # use libqueue::{ConsumerOptions, Message, Start, Store, StoreOptions, TopicOptions};
    /// # use std::time::Duration;
    /// # let folder = tempfile::TempDir::new().unwrap();
    /// # let store = Store::open(folder.path(), StoreOptions::default())?;
    /// # let orders = store.topic("orders", &TopicOptions::default())?;
    /// # orders.send(&Message::new(b"paid"))?;
    /// let consumer = orders.consumer("billing", &ConsumerOptions::default())?;
    /// let first = consumer.receive(1, Some(Duration::ZERO))?;
    /// consumer.ack(&[first[0].receipt()])?;
    /// let done = orders.group("billing")?.seek(Start::Earliest, None)?;
    /// assert_eq!(done.sum(|one| one.again), 1);
    /// assert_eq!(consumer.receive(1, Some(Duration::ZERO))?[0].id(), first[0].id());
    /// # Ok::<(), libqueue::Error>(())
    /// ```
    pub fn seek<'a>(&self, to: impl Into<SeekTo<'a>>, partition: Option<u32>) -> Result<SeekPlan> {
        let (group, to) = (&*self.inner, to.into());
        group.topic.store.check_send()?;
        let chosen = group.chosen(to, partition)?;
        // Read, and the letters' topic opened, before others have to wait.
        let read = group.wanted_snapshot(to)?;
        let _letters = group.letters_topic()?;
        let env = &*group.topic.store.env;
        let lock = group.block.head.word32(MOVER_LOCK);
        let (mover, _) = OwnerLock::hold(lock, env.me, &*env.live, env.lock_timeout)?;
        // What cannot be moved is dying still, and looked at below.
        let moved: Vec<Result<()>> = (chosen.iter().copied())
            .map(|number| dying::move_rest(group, number))
            .collect();
        let mut plan = SeekPlan::default();
        let sought = group.change(|group, meta| {
            // From here on nobody deletes it.
            let read = group.still_wanted(to, read)?;
            let snapshot = read.as_ref().map(|(_, snapshot)| snapshot);
            for (number, moved) in chosen.iter().copied().zip(moved) {
                let log = &*group.topic.partitions[number as usize];
                // Under the lock that retention decides under: what it is set to is not taken
                // before that is on disk.
                let wanted = group.wanted(log, to, snapshot)?;
                let (standing, epoch) =
                    group.with_window(number, |window| (window.standing(), window.epoch()))?;
                group.check_dying(number, &wanted, &standing, moved)?;
                plan.partitions.push(planned(log, &wanted, &standing)?);
                group.write_sought(meta, number, epoch, &wanted, to)?;
            }
            Ok(())
        });
        drop(mover);
        // Also where something failed: the file may be the new one.
        group.wake(u32::MAX);
        sought?;
        for number in &chosen {
            dying::locked_reasons(group).retain(|(of, _), _| of != number);
            group.sync_window(*number)?;
        }
        if matches!(to, SeekTo::Snapshot(_)) {
            // Whatever keeps it from being done now: consumers take in the rest as they come to it.
            let _ = group.finish_restoring();
        }
        Ok(plan)
    }

    /// What [`Group::seek`] would do now, which is not done. Errors as there.
    pub fn preview_seek<'a>(
        &self,
        to: impl Into<SeekTo<'a>>,
        partition: Option<u32>,
    ) -> Result<SeekPlan> {
        let (group, to) = (&*self.inner, to.into());
        group.topic.store.check_open()?;
        let chosen = group.chosen(to, partition)?;
        let read = group.wanted_snapshot(to)?;
        let snapshot = read.as_ref().map(|(_, snapshot)| snapshot);
        let mut plan = SeekPlan::default();
        for number in chosen {
            let log = &*group.topic.partitions[number as usize];
            let wanted = group.wanted(log, to, snapshot)?;
            let standing = group.with_window(number, |window| window.standing())?;
            plan.partitions.push(planned(log, &wanted, &standing)?);
        }
        Ok(plan)
    }
}

impl GroupInner {
    /// The partitions that are to be sought.
    fn chosen(&self, to: SeekTo<'_>, partition: Option<u32>) -> Result<Vec<u32>> {
        let count = self.topic.partitions.len() as u32;
        if let Some(number) = partition {
            self.topic.partition(number)?;
            return Ok(vec![number]);
        }
        match to {
            SeekTo::Start(Start::Offset(offset)) if count > 1 => {
                let message = format!(
                    "{offset} is an offset, which means a place in one partition, and topic {:?} \
                     has {count}; name a partition",
                    self.topic.name
                );
                Err(Error::new(ErrorKind::InvalidArgument, message))
            }
            _ => Ok((0..count).collect()),
        }
    }

    fn wanted_snapshot(&self, to: SeekTo<'_>) -> Result<Option<ReadSnapshot>> {
        match to {
            SeekTo::Snapshot(name) => self.load_snapshot_kept(name).map(Some),
            SeekTo::Start(_) => Ok(None),
        }
    }

    /// While it is being sought: what was read before, or, where the name is another snapshot's by
    /// now, that one.
    fn still_wanted(
        &self,
        to: SeekTo<'_>,
        read: Option<ReadSnapshot>,
    ) -> Result<Option<ReadSnapshot>> {
        match (to, &read) {
            (SeekTo::Snapshot(name), Some((file, _))) if !self.is_still_snapshot(name, file)? => {
                self.wanted_snapshot(to)
            }
            _ => Ok(read),
        }
    }

    /// What is to be open in a partition.
    fn wanted<'a>(
        &self,
        log: &Partition,
        to: SeekTo<'_>,
        snapshot: Option<&'a Snapshot>,
    ) -> Result<Wanted<'a>> {
        let (earliest, end) = (log.earliest_offset()?, log.next_offset());
        let number = log.number();
        if let SeekTo::Snapshot(name) = to {
            let part = snapshot.and_then(|known| known.parts.get(number as usize));
            let part = part.ok_or_else(|| self.no_snapshot(name))?;
            if part.end > end {
                let message = format!(
                    "snapshot {name:?} of group {:?} goes to offset {} of partition {number}, and \
                     topic {:?} ends at {end}; it is of another time of the store: delete it",
                    self.name, part.end, self.topic.name
                );
                return Err(Error::new(ErrorKind::InvalidArgument, message));
            }
            return Ok(Wanted {
                part: std::borrow::Cow::Borrowed(part),
                target: part.floor.max(earliest),
                gone: part.count(0, earliest) + earliest.saturating_sub(part.end),
            });
        }
        let SeekTo::Start(start) = to else {
            return Err(Error::new(ErrorKind::Internal, "a seek to nothing"));
        };
        let mut cursor = log.seek(start)?;
        let offset = match start {
            Start::Offset(offset) if offset > end => {
                return Err(behind_the_end(offset, &self.topic.name, log)?);
            }
            Start::Time(_) => match log.look(&mut cursor)? {
                Step::Record { offset, .. } => offset,
                _ => cursor.offset,
            },
            _ => cursor.offset,
        };
        let target = offset.max(earliest);
        Ok(Wanted {
            part: std::borrow::Cow::Owned(Part {
                floor: target,
                end: target,
                open: Vec::new(),
            }),
            target,
            gone: target - offset,
        })
    }

    /// While it is being sought: what failed for the last time and could not become a dead letter
    /// may come again, and is not passed over (P12).
    fn check_dying(
        &self,
        number: u32,
        wanted: &Wanted<'_>,
        standing: &Standing,
        moved: Result<()>,
    ) -> Result<()> {
        let comes =
            |offset: &u64| *offset >= wanted.part.end || wanted.part.find(*offset).is_some();
        let lost = standing
            .dying
            .iter()
            .filter(|offset| !comes(offset))
            .count();
        if lost == 0 {
            return Ok(());
        }
        let what = format!(
            "{lost} messages of partition {number} of topic {:?} failed for the last time in group \
             {:?}, are no dead letters yet, and would be passed over; seek again when they are",
            self.topic.name, self.name
        );
        match moved {
            Err(error) => Err(error.context(what)),
            Ok(()) => Err(Error::new(ErrorKind::Busy, what)),
        }
    }

    fn write_sought(
        &self,
        meta: &mut GroupMeta,
        number: u32,
        epoch: u32,
        wanted: &Wanted<'_>,
        to: SeekTo<'_>,
    ) -> Result<()> {
        meta.sought.resize(meta.starts.len(), Sought::default());
        let dead_from = self.end_of_letters()?;
        let Some(sought) = meta.sought.get_mut(number as usize) else {
            return Ok(());
        };
        let Some(epoch) = sought.epoch.max(epoch).checked_add(1) else {
            let message = format!(
                "the window of partition {number} of group {:?} says that it was sought {epoch} \
                 times; it is damaged, and `libqueue recover` writes it anew",
                self.name
            );
            return Err(Error::new(ErrorKind::Damaged, message));
        };
        let restores = |name: &str| {
            let more = wanted.target < wanted.part.end;
            more.then(|| (name.to_owned(), wanted.part.end))
        };
        *sought = Sought {
            epoch,
            offset: wanted.target,
            dead_from,
            snapshot: match to {
                SeekTo::Snapshot(name) => restores(name),
                SeekTo::Start(_) => None,
            },
        };
        Ok(())
    }

    /// With the mover's lock held: where the dead-letter topic ends.
    fn end_of_letters(&self) -> Result<u64> {
        let letters = self.letters_topic()?;
        Ok(letters.map_or(0, |letters| letters.partitions[0].next_offset()))
    }
}

/// What comes of it, by offsets of the log.
fn planned(log: &Partition, wanted: &Wanted<'_>, standing: &Standing) -> Result<SeekPartition> {
    let all = (log.earliest_offset()?, log.next_offset());
    Ok(SeekPartition {
        partition: log.number(),
        position: standing.part.floor,
        target: wanted.target,
        again: besides(&wanted.part, &standing.part, all),
        passed_over: besides(&standing.part, &wanted.part, all),
        stale_leases: standing.leased,
        gone: wanted.gone,
    })
}

/// How many of those that are open in the one, between two offsets, are not in the other.
fn besides(one: &Part, other: &Part, (from, to): (u64, u64)) -> u64 {
    let known = |offset: u64| offset >= other.end || other.find(offset).is_some();
    let listed = one.open.iter().map(|open| open.offset);
    let listed = listed.filter(|offset| *offset >= from && !known(*offset));
    let (first, last) = (one.end.max(from), other.end.min(to));
    let rest = last.saturating_sub(first);
    let both = if rest > 0 {
        other.count(first, last)
    } else {
        0
    };
    listed.count() as u64 + rest - both
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::snapshot::Open;

    fn part(open: &[u64], end: u64) -> Part {
        let open = open.iter().map(|offset| Open {
            offset: *offset,
            ..Open::default()
        });
        let open: Vec<Open> = open.collect();
        let floor = open.first().map_or(end, |first| first.offset);
        Part { floor, end, open }
    }

    #[test]
    fn p16_what_is_open_in_one_and_not_in_the_other_is_counted_as_a_set_would_be() {
        let some = [
            part(&[], 0),
            part(&[], 6),
            part(&[], 12),
            part(&[2, 3, 7], 9),
            part(&[0, 3, 8, 9], 11),
            part(&[4], 5),
        ];
        for one in &some {
            for other in &some {
                for all in [(0, 12), (3, 12), (12, 12)] {
                    let is_open =
                        |part: &Part, offset| offset >= part.end || part.find(offset).is_some();
                    let expected = (all.0..all.1)
                        .filter(|offset| is_open(one, *offset) && !is_open(other, *offset));
                    let found = besides(one, other, all);
                    assert_eq!(found, expected.count() as u64, "{one:?} {other:?} {all:?}");
                }
            }
        }
    }
}
