//! What a process keeps mapped of a partition that nobody looks at.
//!
//! A segment that was read stays mapped for who reads it again, and goes with others that were used
//! longest ago. Whoever holds one keeps it mapped; the map that is gone through here is only where
//! it is found.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError};

use super::segment::Segment;
use super::{NONE, Partition};
use crate::shm::OwnerLock;

/// Closed segments of a partition that stay mapped without anyone looking at them, at most.
pub(super) const IDLE_MAX: usize = 8;
/// And how many bytes of them.
const IDLE_BYTES: u64 = 256 << 20;

/// The time by which uses are told apart: it goes on with each mapping that is made, and with each
/// beat of housekeeping.
static TURN: AtomicU32 = AtomicU32::new(0);

/// The present time.
#[inline]
pub(super) fn turn() -> u32 {
    TURN.load(Ordering::Relaxed)
}

/// Another time begins.
pub fn next_turn() {
    TURN.fetch_add(1, Ordering::Relaxed);
}

/// How long ago a time was.
fn age(used: u32) -> u32 {
    turn().wrapping_sub(used)
}

impl Partition {
    /// Topic and number.
    pub fn ids(&self) -> (u64, u32) {
        (self.topic, self.number)
    }

    /// Whether housekeeping has nothing to finish here: nothing sealed that is not synced, no
    /// failed sync to be made good, nothing half copied.
    pub fn is_settled(&self) -> bool {
        let base = self.block.segment();
        let sealed = base != NONE && self.block.synced() < base;
        !sealed && !self.block.poisoned() && self.block.large().is_none()
    }

    /// Whether all that was published is on disk.
    pub fn is_durable(&self) -> bool {
        self.block.synced() >= self.next_offset() && !self.block.poisoned()
    }

    /// Two numbers of which one changes when the partition is used, by this process or by one that
    /// appends; and how many segments are mapped here.
    pub fn uses(&self) -> ((u64, u32), usize) {
        // First, and alone: who prepares a segment takes the two in the other order.
        let next = usize::from(super::locked(&self.ahead).has_next());
        let known = self.segments.read().unwrap_or_else(PoisonError::into_inner);
        let last = known.values().map(|one| one.used()).max();
        let mapped = known.len() + next;
        ((self.next_offset(), last.unwrap_or(0)), mapped)
    }

    /// Unmaps all that nobody holds a copy of, also the segment that is appended to: for one that
    /// was not used for long. Who uses it next maps it anew. Nothing while somebody appends.
    pub fn rest(&self) {
        let Some(mut held) = OwnerLock::try_hold(self.block.lock(), self.env.me) else {
            return;
        };
        let active = self.local.with(&mut held).active.take();
        drop(held);
        drop(active);
        super::locked(&self.ahead).forget_next();
        *super::locked(&self.index) = Default::default();
        let mut known = self
            .segments
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let all = std::mem::take(&mut *known);
        let (held, idle) = all
            .into_iter()
            .partition(|(_, one)| Arc::strong_count(one) > 1);
        *known = held;
        drop(known);
        drop::<BTreeMap<u64, Arc<Segment>>>(idle);
    }

    /// Has a segment found by its base. Others that nobody looks at go when they are too many.
    pub(super) fn remember(&self, segment: &Arc<Segment>) {
        next_turn();
        segment.touch();
        let mut known = self
            .segments
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        known
            .entry(segment.base())
            .or_insert_with(|| segment.clone());
        let gone = take_idle(&mut known, segment.base());
        drop(known);
        // Unmapping takes long: not while others wait.
        drop(gone);
    }
}

/// Takes out those that were used longest ago of which nobody holds a copy, until few enough of
/// them are left. The newest stays, and so does the one with this base.
fn take_idle(known: &mut BTreeMap<u64, Arc<Segment>>, base: u64) -> Vec<Arc<Segment>> {
    if known.len() <= 2 {
        return Vec::new();
    }
    let newest = known.keys().next_back().copied();
    let mut idle: Vec<(u32, u64, u64)> = known
        .iter()
        .filter(|(at, one)| Arc::strong_count(one) == 1 && **at != base && Some(**at) != newest)
        .map(|(at, one)| (age(one.used()), *at, one.capacity()))
        .collect();
    // The one that was used last first.
    idle.sort_unstable();
    let mut bytes = 0_u64;
    let too_many = idle.into_iter().enumerate().filter(|(place, (_, _, len))| {
        bytes = bytes.saturating_add(*len);
        *place >= IDLE_MAX || bytes > IDLE_BYTES
    });
    let gone: Vec<u64> = too_many.map(|(_, (_, at, _))| at).collect();
    gone.iter().filter_map(|at| known.remove(at)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::read::Step;
    use super::super::tests::{draft, open};
    use super::*;
    use crate::log::Cursor;
    use crate::storage::Disk;

    #[test]
    fn p19_who_reads_through_many_segments_keeps_few_of_them_mapped() {
        let folder = tempfile::tempdir().expect("folder");
        let partition = open(Arc::new(Disk), &folder.path().join("0"));
        // So that each of them is as small as segments are.
        partition.set_segment_max(1);
        let payload = vec![7; 200 * 1024];
        let mut sent = 0;
        while partition.bases().expect("list").len() < 24 {
            partition.append(&[draft(&payload)]).expect("append");
            sent += 1;
        }
        let mut cursor = Cursor::at_offset(0);
        let (mut read, mut kept) = (0, Vec::new());
        while let Step::Record {
            offset,
            position,
            next,
            ..
        } = partition.look(&mut cursor).expect("read")
        {
            let record = partition.record(offset, position).expect("whole");
            assert_eq!(record.payload(), payload);
            if read == 20 {
                kept.push(record);
            }
            let mapped = partition.uses().1;
            assert!(mapped <= IDLE_MAX + 4, "{mapped} segments are mapped");
            cursor = next;
            read += 1;
        }
        assert_eq!(read, sent);
        // What somebody holds is as it was, and the rest goes when nobody uses it.
        assert_eq!(kept[0].payload(), payload);
        partition.rest();
        assert_eq!(partition.uses().1, 1, "the one that is held");
        drop(kept);
        partition.rest();
        assert_eq!(partition.uses().1, 0);
        partition.append(&[draft(&payload)]).expect("append");
        let last = partition.next_offset() - 1;
        assert_eq!(last, sent, "goes on where it was");
    }

    #[test]
    fn p19_of_idle_segments_those_that_were_used_last_stay() {
        let folder = tempfile::tempdir().expect("folder");
        let partition = open(Arc::new(Disk), &folder.path().join("0"));
        partition.set_segment_max(1);
        let payload = vec![7; 600 * 1024];
        for _ in 0..IDLE_MAX as u64 * 2 {
            partition.append(&[draft(&payload)]).expect("append");
        }
        partition.rest();
        let bases = partition.bases().expect("list");
        let first = bases[0];
        for base in &bases {
            partition.segment(*base).expect("open").expect("there");
            next_turn();
            assert!(partition.mapped(first).is_some(), "it is used all the time");
        }
        assert!(partition.peek(bases[1]).is_none(), "it was not");
        assert!(partition.uses().1 <= IDLE_MAX + 2);
    }
}
