//! Entries of an earlier life held against the log.

use super::ground::Ground;
use super::mark::{Mark, boot_of};
use super::scan::Scanned;
use super::tables_begin::any_has;
use crate::error::Result;
use crate::format::ledger::Entry;
use crate::format::origin::Origin;

/// What the log says behind a mark.
pub(super) struct Checked {
    /// What is below speaks of something, also where compaction took it since (P8).
    ends: Vec<u64>,
    /// Retention may have removed what is below; 0 where a power loss may have, too.
    earliest: Vec<u64>,
    scanned: Vec<Scanned>,
}

impl Checked {
    /// Reads each partition from the mark on, or the whole of it.
    pub(super) fn of(ground: &Ground, mark: &Mark, whole: bool) -> Result<Self> {
        let same_boot = mark.boot == boot_of(&ground.env);
        let (ends, mut earliest, mut scanned) = (&mark.ends, Vec::new(), Vec::new());
        for (number, log) in (0..).zip(&ground.partitions) {
            earliest.push(if same_boot { log.earliest_offset()? } else { 0 });
            let from = if whole { 0 } else { ends[number as usize] };
            scanned.push(ground.scan(number, from)?);
        }
        Ok(Self {
            ends: ends.clone(),
            earliest,
            scanned,
        })
    }

    /// Whether an entry may speak of something. Below the mark it does; behind it the record must
    /// be there, which the log itself tells of, unless retention removed it or it is damaged: a
    /// power loss may have taken it, and whoever sends it again must not be told that it is there.
    pub(super) fn may_stand(&self, entry: &Entry) -> bool {
        let at = entry.partition as usize;
        let (Some(end), Some(earliest)) = (self.ends.get(at), self.earliest.get(at)) else {
            return false;
        };
        let damaged = || any_has(&self.scanned[at].damaged, entry.offset);
        entry.offset < *end || entry.offset < *earliest || damaged()
    }

    /// Partition, offset and origin of all that was sent behind the mark.
    pub(super) fn sent(&self) -> impl Iterator<Item = (u32, u64, Origin)> + '_ {
        let of = |(number, one): (u32, &Scanned)| {
            let sent = one.sent.clone();
            sent.into_iter()
                .map(move |(offset, origin)| (number, offset, origin))
        };
        (0..).zip(&self.scanned).flat_map(of)
    }
}
