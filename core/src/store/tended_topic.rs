//! What housekeeping does for a topic's partitions, and how long it keeps them open for nobody.
//!
//! A partition stays with housekeeping when the last handle of its topic is dropped: what is to be
//! done for it ahead, or at intervals, is done to the end. After that it is released, but for the
//! few that were used last: its segments are unmapped, and what is kept is what it takes to find it
//! again for a clean close. What this process sent is as durable by then as was promised (P2); what
//! others send to it is theirs to look after, and after their death that of whoever cleans up.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::housekeeping::{Pace, Tended};
use super::inner::locked;
use super::{Block, StoreInner};
use crate::error::Result;
use crate::format::control::block::{CHANGED, GONE};
use crate::format::names;
use crate::log::{Env, OnPublish, Partition, next_turn};
use crate::options::Durability;
use crate::shm::Region;

/// So many of the partitions that nobody uses any more stay open, those that were used last. Who
/// opens one of them again finds it mapped.
pub(super) const UNUSED_KEPT: usize = 64;

/// So many partitions stay mapped that are open, used or not. Of more than that those rest that
/// were used longest ago.
const MAPPED_KEPT: usize = 512;
/// What was used in this time rests no sooner.
const REST_AFTER: Duration = Duration::from_secs(2);

/// Numbers the moments at which parts were seen to be used by nobody.
static TURN: AtomicU64 = AtomicU64::new(0);

/// What it takes to open a topic's partitions: files and words, and nothing that is mapped.
pub(crate) struct TopicFiles {
    pub(super) env: Arc<Env>,
    pub(super) topic: u64,
    pub(super) folder: PathBuf,
    pub(super) block: Block,
    pub(super) on_publish: OnPublish,
}

impl TopicFiles {
    /// A partition, recovered if nobody has yet.
    pub(super) fn open(&self, number: u32, durability: Durability) -> Result<Arc<Partition>> {
        let folder = names::partition_folder(&self.folder, number);
        let (env, words) = (self.env.clone(), self.words(number));
        let (ids, publish) = ((self.topic, number), self.on_publish.clone());
        Partition::open(env, folder, words, ids, durability, publish)
    }

    /// A partition, without waiting for any lock.
    pub(super) fn partition(&self, number: u32, durability: Durability) -> Arc<Partition> {
        let folder = names::partition_folder(&self.folder, number);
        let (env, words) = (self.env.clone(), self.words(number));
        let (ids, publish) = ((self.topic, number), self.on_publish.clone());
        Partition::aside(env, folder, words, ids, durability, publish)
    }

    /// One that nobody sends through, and that promises nothing.
    fn to_close(&self, number: u32) -> Arc<Partition> {
        self.partition(number, Durability::Process)
    }

    /// All of them, as `to_close`.
    pub(super) fn partitions(&self) -> Vec<Arc<Partition>> {
        let count = self.block.partitions.len() as u32;
        (0..count).map(|number| self.to_close(number)).collect()
    }

    fn words(&self, number: u32) -> Region {
        self.block.partitions[number as usize].clone()
    }

    /// Whether the topic was deleted.
    pub(super) fn is_gone(&self) -> bool {
        self.block.head.load(CHANGED, Ordering::Acquire) == GONE
    }
}

/// A part that was open, and was seen to be used by nobody.
#[derive(Clone, Copy)]
struct Unused {
    since: u64,
    /// Nothing from this offset on is of this process.
    end: u64,
}

struct Open {
    partition: Arc<Partition>,
    unused: Option<Unused>,
    /// What told of uses when it was looked at, and since when that has not changed.
    still: ((u64, u32), Instant),
}

struct TendedPartition {
    files: Arc<TopicFiles>,
    number: u32,
    /// `None` once it was released.
    open: Mutex<Option<Open>>,
}

impl TendedPartition {
    fn open_now(&self) -> Option<Arc<Partition>> {
        let open = locked(&self.open);
        open.as_ref().map(|open| open.partition.clone())
    }

    /// As it is open, or opened for this call.
    fn opened(&self) -> Arc<Partition> {
        let open = self.open_now();
        open.unwrap_or_else(|| self.files.to_close(self.number))
    }
}

impl Open {
    /// Since when nobody has it, if it may be released. What was promised of what this process sent
    /// comes first (P2).
    fn releasable(&mut self) -> Option<u64> {
        if Arc::strong_count(&self.partition) > 1 {
            self.unused = None;
            return None;
        }
        let partition = &self.partition;
        let unused = *self.unused.get_or_insert_with(|| Unused {
            since: TURN.fetch_add(1, Ordering::Relaxed),
            end: partition.next_offset(),
        });
        let kept = match partition.durability() {
            Durability::Interval(_) => partition.durable_offset() >= unused.end,
            Durability::Process | Durability::Sync => true,
        };
        (kept && partition.is_settled()).then_some(unused.since)
    }
}

impl Tended for TendedPartition {
    fn is_gone(&self) -> bool {
        self.files.is_gone()
    }

    /// Others have a beat by which they are looked at soon enough.
    fn is_urgent(&self) -> bool {
        self.sync_interval().is_some()
    }

    fn tend(&self) -> Result<Pace> {
        let Some(partition) = self.open_now().filter(|_| !self.is_gone()) else {
            return Ok(Pace::Idle);
        };
        // Who filled half a segment may fill the other half before the idle beat.
        let busy = partition.prepare_ahead()?;
        Ok(if busy { Pace::Soon } else { Pace::Idle })
    }

    fn sync_interval(&self) -> Option<Duration> {
        match self.open_now()?.durability() {
            _ if self.is_gone() => None,
            Durability::Interval(interval) => Some(interval),
            Durability::Process | Durability::Sync => None,
        }
    }

    fn sync(&self) -> Result<()> {
        match self.open_now() {
            Some(partition) => partition.sync(),
            None if self.is_gone() => Ok(()),
            None => {
                let partition = self.files.to_close(self.number);
                match partition.is_durable() {
                    true => Ok(()),
                    false => partition.sync(),
                }
            }
        }
    }

    fn leave(&self) -> Result<()> {
        // What was released had been synced.
        let Some(partition) = self.open_now().filter(|_| !self.is_gone()) else {
            return Ok(());
        };
        match partition.durability() {
            Durability::Interval(_) => partition.sync_leaving(),
            Durability::Process | Durability::Sync => Ok(()),
        }
    }

    fn close_clean(&self) -> Result<()> {
        match self.is_gone() {
            true => Ok(()),
            false => self.opened().close_clean(),
        }
    }

    fn partition(&self) -> Option<Arc<Partition>> {
        self.open_now()
    }

    fn releasable(&self) -> Option<u64> {
        locked(&self.open).as_mut()?.releasable()
    }

    fn mapped_since(&self) -> Option<Instant> {
        let mut open = locked(&self.open);
        let open = open.as_mut()?;
        let (uses, mapped) = open.partition.uses();
        if open.still.0 != uses {
            open.still = (uses, Instant::now());
        }
        (mapped > 0).then_some(open.still.1)
    }

    fn rest(&self) {
        if let Some(partition) = self.open_now() {
            partition.rest();
        }
    }

    fn release(&self) {
        let mut open = locked(&self.open);
        // Somebody may have opened the topic again meanwhile.
        let still = open.as_mut().and_then(Open::releasable).is_some();
        let released = if still { open.take() } else { None };
        drop(open);
        // Unmapping takes long: not while others wait.
        drop(released);
    }
}

impl StoreInner {
    /// Has housekeeping look after a partition: prepare ahead, sync at intervals, close cleanly.
    pub(super) fn tend_partition(&self, files: &Arc<TopicFiles>, partition: &Arc<Partition>) {
        let part = TendedPartition {
            files: files.clone(),
            number: partition.number(),
            open: Mutex::new(Some(Open {
                partition: partition.clone(),
                unused: None,
                still: (partition.uses().0, Instant::now()),
            })),
        };
        self.tend(partition.folder().to_owned(), Arc::new(part));
    }

    /// The partition that housekeeping has open still, of a topic that nobody has.
    pub(super) fn tended_partition(
        &self,
        files: &TopicFiles,
        number: u32,
    ) -> Option<Arc<Partition>> {
        let folder = names::partition_folder(&files.folder, number);
        let part = locked(&self.tended).get(&folder).cloned()?;
        let partition = part.partition()?;
        // The name may have been another topic's.
        (partition.ids() == (files.topic, number)).then_some(partition)
    }

    /// After so many partitions were opened: whoever opens many for moments does not leave them all
    /// to the next beat.
    pub(super) fn count_opened(&self, partitions: usize) {
        let opened = self.opened.fetch_add(partitions, Ordering::Relaxed) + partitions;
        if opened >= UNUSED_KEPT * 4 {
            self.opened.store(0, Ordering::Relaxed);
            self.release_unused();
        }
    }

    /// Has those rest that were not used for long, where more is mapped than has to be.
    pub(super) fn rest_unused(&self) {
        let tended: Vec<_> = locked(&self.tended).values().cloned().collect();
        next_turn();
        let since = |part: &Arc<dyn Tended>| Some((part.mapped_since()?, part.clone()));
        let mut mapped: Vec<_> = tended.iter().filter_map(since).collect();
        let Some(over) = mapped.len().checked_sub(MAPPED_KEPT) else {
            return;
        };
        mapped.sort_by_key(|(since, _)| *since);
        let long = |(since, _): &&(Instant, _)| since.elapsed() >= REST_AFTER;
        for (_, part) in mapped[..over].iter().take_while(long) {
            part.rest();
        }
    }

    /// Releases what nobody uses, but for what was used last.
    pub(super) fn release_unused(&self) {
        let tended: Vec<_> = locked(&self.tended).values().cloned().collect();
        let since = |part: &Arc<dyn Tended>| Some((part.releasable()?, part.clone()));
        let mut unused: Vec<_> = tended.iter().filter_map(since).collect();
        let Some(over) = unused.len().checked_sub(UNUSED_KEPT) else {
            return;
        };
        unused.sort_by_key(|(since, _)| *since);
        for (_, part) in &unused[..over] {
            part.release();
        }
    }
}
