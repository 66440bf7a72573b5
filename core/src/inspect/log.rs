//! What is known of a partition's log beside its records: the reserve, and what it says of the end.

use std::ops::Range;
use std::path::PathBuf;

use super::partition::NONE;
use super::plan::{PartitionPlan, TopicPlan};
use super::reserve;
use super::verify::Run;
use crate::error::{ErrorKind, Result};
use crate::format::names;
use crate::format::record::HEADER;
use crate::format::reserve::{Reserve, SLOTS, taken_by};
use crate::format::segment::SIZE_MAX;
use crate::shm::boot_id;

/// What was found of a partition's log.
#[derive(Default)]
pub(super) struct Log {
    /// Messages that can be read.
    pub(super) messages: u64,
    /// Their offsets.
    pub(super) readable: Vec<Range<u64>>,
    /// Offsets of messages that cannot be read.
    pub(super) lost: Vec<Range<u64>>,
    /// One more than the highest offset that was met.
    pub(super) next: u64,
    /// One more than the highest offset that a record had.
    pub(super) used: u64,
    /// Where a power loss tore the log, if it did.
    pub(super) torn: Option<(PathBuf, u64)>,
    /// Messages that were met behind that place.
    pub(super) beyond: u64,
    /// No offset at or above it was given out, as far as can be told.
    pub(super) end: u64,
}

/// More messages than a segment holds: so far offsets may have gone that nothing speaks of.
const UNSEEN: u64 = SIZE_MAX / HEADER as u64;

/// What the reserve says.
pub(super) struct Reserved {
    /// The slot that counts.
    pub(super) newest: Option<Reserve>,
    /// That slot's generation, also where it is of another partition.
    pub(super) generation: Option<u64>,
    /// Offsets below it were taken by retention.
    pub(super) taken: u64,
    /// No slot is damaged, so it is the newest that ever was.
    certain: bool,
    /// The host was started anew and nobody has recovered the log since.
    pub(super) lost: bool,
    /// Whether there is such a file.
    present: bool,
}

impl Reserved {
    /// Reads it and reports its damage.
    pub(super) fn of(run: &mut Run<'_>, topic: &TopicPlan, plan: &PartitionPlan) -> Result<Self> {
        let (path, listed) = (&plan.folder.join(names::RESERVE), plan.reserve.as_ref());
        let (slots, mut wrong, present) = match reserve::look(path) {
            Ok((slots, wrong)) => (slots, wrong, true),
            Err(e) if e.kind() == ErrorKind::NotFound => ([None, None], Vec::new(), false),
            Err(e) if matches!(e.kind(), ErrorKind::Io | ErrorKind::PermissionDenied) => {
                ([None, None], vec![(0, e.message().to_owned())], true)
            }
            Err(e) => return Err(e),
        };
        if let Some(listed) = listed {
            run.pass(listed)?;
        }
        let found = reserve::newest(&slots);
        let ours = |r: &Reserve| topic.id.is_none_or(|id| r.is_of(id, plan.number));
        let newest = found.filter(ours);
        if newest.is_none() && found.is_some() {
            wrong.push((SLOTS[0], "it is the one of another partition".to_owned()));
        }
        let torn = wrong.iter().any(|(at, _)| SLOTS.contains(at));
        run.report_all(path, wrong);
        Ok(Self {
            newest,
            taken: newest.as_ref().map_or(0, taken_by),
            generation: found.map(|slot| slot.generation),
            certain: newest.is_some() && !torn,
            lost: newest.is_some_and(|r| !r.clean && r.boot != boot_id()),
            present,
        })
    }

    /// Whether the mark is the exact end of the log. One that lags behind the limit of a clean
    /// reserve costs a recovery a walk, and here the certainty.
    pub(super) fn is_end_known(&self) -> bool {
        let exact = |r: Reserve| r.clean && r.mark_segment != NONE && r.mark_offset == r.limit;
        self.certain && self.newest.is_some_and(exact)
    }

    /// One more than the last offset that was given out, where that is known.
    pub(super) fn exact_end(&self) -> Option<u64> {
        let newest = self.newest.filter(|_| self.certain);
        newest.filter(|r| r.clean).map(|r| r.limit)
    }

    /// No offset at or above it was given out, as far as can be told (P4). `next` is what the log
    /// says, `used` whether there are, or should be, any records.
    pub(super) fn end(&self, next: u64, used: bool) -> u64 {
        let limit = self.newest.map_or(0, |r| r.limit);
        match self.certain || !(used || self.present) {
            true => next.max(limit),
            false => next.max(limit).saturating_add(UNSEEN),
        }
    }
}
