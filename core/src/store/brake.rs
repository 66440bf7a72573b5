//! The brake: a group of which more messages die within a time than it allows is paused, durably,
//! as by [`Group::pause`], so that a broken dependency does not flood the dead letters.
//!
//! Nothing is shared for it: the letters are in the dead-letter topic, each with its time. After
//! every move whoever moved counts those of the group, from where the time begins, or behind where
//! the topic ended when somebody resumed the group last: what died before that counts no more. It
//! remembers what it has counted, for itself.
//! One that dies between a move and the pause leaves it to the next mover.
//!
//! Locks: who configures takes MOVER_LOCK, then CREATE_LOCK; a mover that has to create the topic
//! takes them in that order too. To pause takes CREATE_LOCK. So the brake looks when MOVER_LOCK is
//! given back, and holds no lock while it counts.
//!
//! Times are of the wall clock. Where it is set back, letters may be of a time that is still to
//! come: they count, so that the brake may come too early, once, but not too late. It does not come
//! again for the same letters, since the place from which it counts is an offset and no time.

use std::collections::VecDeque;

use super::dead_letter::{failures_of, walk};
use super::group::{Group, GroupInner};
use super::group_meta::{GroupMeta, dead_letters_of};
use super::inner::locked;
use super::source::letter_of;
use crate::error::{ErrorKind, Result};
use crate::log::Cursor;
use crate::options::{Brake, Start};

/// Why nothing of a group is handed out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum PausedBy {
    /// It is not paused.
    #[default]
    Nobody,
    /// Somebody paused it.
    User,
    /// Its brake did: too many of its messages died.
    Brake,
}

impl PausedBy {
    /// As it is shown: `""`, `"user"` or `"brake"`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Nobody => "",
            Self::User => "user",
            Self::Brake => "brake",
        }
    }
}

/// What a process has counted of a group's deaths, so that a flood of them costs each a look at
/// what came since the last one.
pub(super) struct Deaths {
    /// The dead-letter topic, the offset from which on they count, the brake, and how often what
    /// was not on disk was taken back from the topic: of others nothing of this holds.
    counted: (u64, u64, Brake, u64),
    /// Where to go on.
    next: Cursor,
    /// When those died that count, as far as they are not too many.
    times: VecDeque<i64>,
}

impl GroupInner {
    /// After a move to the dead letters, with no lock held: pauses the group if too many died.
    pub(super) fn brake(&self) -> Result<()> {
        if let Some(of) = &self.lane_of {
            // The letters of both are in one topic, and what is paused is the group with its lane.
            // Where this process has only the lane open yet, the next mover looks.
            let group = self.topic.store.known_group(of.block.at());
            return group.map_or(Ok(()), |group| group.brake());
        }
        match self.brake_if_too_many() {
            // Nothing of a deleted group is handed out.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error.context(format!(
                "more messages of group {:?} of topic {:?} may have died than its brake allows, \
                 and it could not be paused; that is tried again after the next one",
                self.name, self.topic.name
            ))),
            done => done,
        }
    }

    fn brake_if_too_many(&self) -> Result<()> {
        let settings = self.settings()?;
        let Some(brake) = settings.config.brake else {
            return Ok(());
        };
        let from = settings.brake_from;
        if settings.paused_by != PausedBy::Nobody || self.died(brake, from)? <= brake.messages {
            return Ok(());
        }
        let now = self.topic.store.env.clock.wall_ns();
        // Those who wait for the disk's room are who the brake is for (P5).
        self.topic.store.with_ballast(|| {
            self.change(|_, meta| {
                // Resumed, or configured, since it was counted: it is counted anew.
                let same = meta.brake_from == from && meta.config.brake == Some(brake);
                if same && meta.paused_by == PausedBy::Nobody {
                    (meta.paused_by, meta.paused_at_ns) = (PausedBy::Brake, now);
                }
                Ok(())
            })
        })
    }

    /// How many messages died within the brake's time and behind an offset of the dead-letter
    /// topic; not all, once they are too many. Those that only came too late never failed, and do
    /// not count. Each letter is looked at once by a process, for as long as it counts the same.
    fn died(&self, brake: Brake, from: u64) -> Result<u32> {
        let Some(target) = self.dead_letter_topic() else {
            return Ok(0);
        };
        let target = match self.topic.store.topic_inner(&target) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
            opened => opened?,
        };
        let log = &target.partitions[0];
        let within = i64::try_from(brake.within.as_nanos()).unwrap_or(i64::MAX);
        let since = self.topic.store.env.clock.wall_ns().saturating_sub(within);
        // Others who moved wait here: they would count the same.
        let mut known = locked(&self.deaths);
        let counted = (target.uid, from, brake, log.voids());
        let deaths = match &mut *known {
            Some(deaths) if deaths.counted == counted => deaths,
            other => {
                // An offset that is still to come is what damage left.
                let from = if from <= log.next_offset() { from } else { 0 };
                let begin = log.seek(Start::Time(since))?.offset;
                other.insert(Deaths {
                    counted,
                    next: Cursor::at_offset(begin.max(from)),
                    times: VecDeque::new(),
                })
            }
        };
        let (times, most) = (&mut deaths.times, brake.messages as usize);
        let early = |times: &VecDeque<i64>| {
            times.len() > most + 1 || times.front().is_some_and(|time| *time < since)
        };
        let walked = walk(
            &target,
            deaths.next,
            |_, record| {
                if letter_of(self, record).is_some() && failures_of(record) > 0 {
                    times.push_back(record.timestamp_ns);
                }
                while early(times) {
                    times.pop_front();
                }
                times.len() <= most
            },
            |_| true,
        );
        while early(times) {
            times.pop_front();
        }
        let count = times.len() as u32;
        match walked {
            Ok(next) => deaths.next = next,
            Err(error) => {
                // What was counted of it would be counted again.
                *known = None;
                return Err(error);
            }
        }
        Ok(count)
    }

    /// With the lock of those who change groups held: what died until now counts for no brake. Of
    /// a topic that is not there yet all that will be in it counts.
    pub(super) fn count_deaths_from_now(&self, meta: &mut GroupMeta) -> Result<()> {
        let target = &meta.config.dead_letter_topic;
        let target = dead_letters_of(&self.topic.name, &self.name, target);
        meta.brake_from = match target.map(|name| self.topic.store.topic_inner(&name)) {
            None => 0,
            Some(Err(error)) if error.kind() == ErrorKind::NotFound => 0,
            Some(opened) => opened?.partitions[0].next_offset(),
        };
        Ok(())
    }
}

impl Group {
    /// Stops handing out, in all processes, until [`Group::resume`]: durably, also when everyone
    /// leaves. Once this has returned no message is handed out any more; receive calls wait as at
    /// an empty topic. What is out can be settled; leases and delays go on running. Pausing twice
    /// is fine.
    pub fn pause(&self) -> Result<()> {
        let now = self.inner.topic.store.env.clock.wall_ns();
        self.inner.change(|_, meta| {
            if meta.paused_by == PausedBy::Nobody {
                (meta.paused_by, meta.paused_at_ns) = (PausedBy::User, now);
            }
            Ok(())
        })
    }

    /// Hands out again, durably, and wakes those who wait. What died before counts for the brake
    /// no more. Resuming twice is fine.
    pub fn resume(&self) -> Result<()> {
        self.inner.change(|group, meta| {
            if meta.paused_by != PausedBy::Nobody {
                (meta.paused_by, meta.paused_at_ns) = (PausedBy::Nobody, 0);
                group.count_deaths_from_now(meta)?;
            }
            Ok(())
        })?;
        self.inner.wake(u32::MAX);
        Ok(())
    }

    /// Whether the group is paused. [`ErrorKind::NotFound`] once it was deleted.
    pub fn is_paused(&self) -> Result<bool> {
        self.inner.topic.store.check_open()?;
        Ok(self.inner.settings()?.paused_by != PausedBy::Nobody)
    }
}
