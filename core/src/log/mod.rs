//! One partition: an append-only log in segments.
//!
//! What publishes a record is its length word, stored last. The words of the partition's block in
//! `control` (next offset, segment, position, ...) are derived from the records: whoever inherits
//! the lock from a dead process walks from the block's position to the end and sets them anew.

mod ahead;
mod append;
mod block;
#[cfg(test)]
mod changed_tests;
mod compact;
mod compact_file;
#[cfg(test)]
mod compact_tests;
mod compacted;
mod cursor;
mod cut;
#[cfg(test)]
mod deaths_tests;
mod durable;
mod env;
mod flow;
mod gather;
mod idle;
mod index;
mod large;
mod large_gate;
#[cfg(test)]
mod large_gate_tests;
mod latest;
mod near;
#[cfg(test)]
mod near_tests;
mod piece;
mod pin;
mod plain;
#[cfg(test)]
mod power_tests;
mod prepare;
mod promise;
mod read;
mod record;
mod recover;
mod reserve;
mod retain;
#[cfg(test)]
mod retain_tests;
mod rewrite;
mod roll;
#[cfg(test)]
mod roll_tests;
mod seek;
mod segment;
mod skip;
mod sums;
mod sums_said;
#[cfg(test)]
mod sums_tests;
#[cfg(test)]
mod tests;
mod transactions;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::Duration;

pub use append::Draft;
pub use compact::{Next, Pass};
pub use cursor::Cursor;
pub use env::{Env, Hurry, MayTakeRoom, Room};
pub use flow::{Counted, Gate};
pub use idle::next_turn;
pub use latest::KEYS_MAX;
pub use near::Near;
pub use pin::{Pinned, PinnedSegment};
pub use prepare::{Obstacle, Prepared};
pub use read::{Place, Step};
pub use record::Record;
pub use retain::{Sealed, may_have_sealed};
#[cfg(test)]
pub(crate) use segment::LOOKS;
pub use segment::Segment;
pub use transactions::{Extent, Transactions};

use crate::error::{Error, ErrorKind, Result};
use crate::format::names;
use crate::options::Durability;
use crate::shm::{Acquired, Guarded, Held, OwnerLock, Region};
use block::Block;

/// No segment.
pub(crate) const NONE: u64 = u64::MAX;

/// How long who opens a partition waits for who has it: long enough to see that he died.
const GLANCE: Duration = Duration::from_millis(5);

/// What is inside stays usable after a panic of a caller's thread: each change is one step.
fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Called after records became visible, with their number.
pub type OnPublish = Arc<dyn Fn(u32) + Send + Sync>;

/// What the append lock guards in this process.
#[derive(Default)]
struct Local {
    active: Option<Arc<Segment>>,
    /// Who appends beyond it has housekeeping look at how fast the log grows (`ahead.rs`).
    mark: u64,
}

/// A partition as this process has it open.
pub struct Partition {
    me: Weak<Self>,
    env: Arc<Env>,
    folder: PathBuf,
    topic: u64,
    number: u32,
    /// What it promises, as `promise::word_of` has it.
    durability: AtomicU64,
    /// What is left free when it grows for ordinary messages.
    min_free: AtomicU64,
    /// Largest segment in bytes that is made without need.
    segment_max: AtomicU64,
    block: Block,
    local: Guarded<Local>,
    segments: RwLock<BTreeMap<u64, Arc<Segment>>>,
    /// COMPACTED of the block when mappings were dropped for it last.
    compacted_seen: AtomicU64,
    index: Mutex<index::Known>,
    ahead: Mutex<ahead::Ahead>,
    /// How many marks were passed by appends of this process, and as many when housekeeping was
    /// asked to hurry last.
    passed: AtomicU64,
    hurried: AtomicU64,
    walked: Mutex<Option<sums::Walked>>,
    gather: gather::Gather,
    on_publish: OnPublish,
}

impl Partition {
    /// Opens the partition in its folder, with its block in `control`. Nothing is read yet: the
    /// first that uses it after `control` was laid out recovers it.
    pub fn open(
        env: Arc<Env>,
        folder: PathBuf,
        block: Region,
        ids: (u64, u32),
        durability: Durability,
        on_publish: OnPublish,
    ) -> Result<Arc<Self>> {
        let partition = Self::aside(env, folder, block, ids, durability, on_publish);
        match partition.block.recovered() {
            false => drop(partition.lock()?),
            // Who only looks does not wait for one who lives and is stopped.
            true => match partition.lock_within(GLANCE) {
                Err(error) if error.kind() == ErrorKind::Stuck => {}
                held => drop(held?),
            },
        }
        Ok(partition)
    }

    /// As `open`, without waiting for the append lock: for who only looks after it, once it is
    /// recovered, or looks at the files of one that nobody has recovered yet.
    pub fn aside(
        env: Arc<Env>,
        folder: PathBuf,
        block: Region,
        (topic, number): (u64, u32),
        durability: Durability,
        on_publish: OnPublish,
    ) -> Arc<Self> {
        let block = Block(block);
        let local = Guarded::new(block.lock(), Local::default());
        let (segments, seen) = (RwLock::default(), block.compacted());
        let partition = Arc::new_cyclic(|me| Self {
            me: me.clone(),
            env,
            folder,
            topic,
            number,
            durability: AtomicU64::new(0),
            min_free: AtomicU64::new(0),
            segment_max: AtomicU64::new(u64::MAX),
            block,
            local,
            segments,
            compacted_seen: AtomicU64::new(seen),
            index: Mutex::default(),
            ahead: Mutex::default(),
            passed: AtomicU64::new(0),
            hurried: AtomicU64::new(0),
            walked: Mutex::default(),
            gather: gather::Gather::default(),
            on_publish,
        });
        partition.set_durability(durability);
        partition
    }

    /// Takes the append lock; repairs after a dead holder, recovers if nobody has yet.
    #[inline(always)]
    fn lock(&self) -> Result<Held<'_>> {
        self.lock_within(self.env.lock_timeout)
    }

    /// As `lock`, waiting no longer than this for a live holder.
    #[inline]
    fn lock_within(&self, patience: Duration) -> Result<Held<'_>> {
        let env = &*self.env;
        if !self.block.recovered() {
            self.begin_transactions()?;
        }
        let (lock, slept) = (self.block.lock(), |time| self.block.count_wait(time));
        let (mut held, how) = OwnerLock::hold_told(lock, env.me, &*env.live, patience, &slept)?;
        if (how != Acquired::Clean || !self.block.recovered())
            && let Err(error) = self.restore(&mut held, how)
        {
            // What was not repaired is not given back as whole.
            held.abandon();
            return Err(error);
        }
        Ok(held)
    }

    #[cold]
    fn restore(&self, held: &mut Held<'_>, how: Acquired) -> Result<()> {
        self.local.with(held).active = None;
        if !self.block.recovered() {
            return self.recover(held);
        }
        match how {
            Acquired::Clean => Ok(()),
            Acquired::Inherited(_) => self.repair(),
        }
    }

    /// The lock of whoever finds, makes or names files. [`ErrorKind::NotFound`] where the topic was
    /// deleted: the names may be another one's. Who deletes it takes this lock once before they
    /// are free.
    fn hold_slow(&self) -> Result<Held<'_>> {
        let (env, slow) = (&*self.env, self.block.slow_lock());
        let (live, slept) = (&*env.live, |time| self.block.count_wait(time));
        let held = OwnerLock::hold_told(slow, env.me, live, env.lock_timeout, &slept)?.0;
        self.check_there()?;
        Ok(held)
    }

    /// As `hold_slow`, if nobody has it.
    fn try_hold_slow(&self) -> Result<Option<Held<'_>>> {
        let held = OwnerLock::try_hold(self.block.slow_lock(), self.env.me);
        if held.is_some() {
            self.check_there()?;
        }
        Ok(held)
    }

    fn check_there(&self) -> Result<()> {
        if !self.block.deleted() {
            return Ok(());
        }
        let folder = self.folder.display();
        let message = format!("the topic that {folder} was of was deleted; open another one");
        Err(Error::new(ErrorKind::NotFound, message))
    }

    /// Base of the segment that is appended to; `u64::MAX` before there is one.
    pub fn active_base(&self) -> u64 {
        self.block.segment()
    }

    /// The folder of its files.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The offset that the next record gets.
    #[inline]
    pub fn next_offset(&self) -> u64 {
        self.block.next_offset()
    }

    /// The partition's number.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Offset of the oldest record that is kept; the next offset if there is none.
    pub fn earliest_offset(&self) -> Result<u64> {
        // Before the look: where there is no segment yet, what is sent after it is not passed over.
        let next = self.next_offset();
        match self.bases()?.first() {
            Some(first) => Ok((*first).min(self.next_offset())),
            None => Ok(self.missing()?.min(next)),
        }
    }

    /// Number of segments and bytes of their files.
    pub fn disk_use(&self) -> Result<(u64, u64)> {
        let bases = self.bases()?;
        Ok((bases.len() as u64, self.files_of(&bases)?))
    }

    /// Bases of the segments on disk, in order; of none that retention took, of which any may still
    /// be there.
    pub(crate) fn bases(&self) -> Result<Vec<u64>> {
        self.drop_compacted();
        let (mut bases, first) = (self.all_bases()?, self.first_kept());
        bases.retain(|base| *base >= first);
        Ok(bases)
    }

    fn all_bases(&self) -> Result<Vec<u64>> {
        let names = self.env.storage.list(&self.folder)?;
        Ok(names
            .iter()
            .filter_map(|name| names::parse_segment(name))
            .collect())
    }

    /// A segment that is mapped already.
    #[inline]
    pub(crate) fn mapped(&self, base: u64) -> Option<Arc<Segment>> {
        let known = self.segments.read().unwrap_or_else(PoisonError::into_inner);
        let segment = known.get(&base)?;
        segment.touch();
        Some(segment.clone())
    }

    /// As `mapped`, which is no use of it.
    fn peek(&self, base: u64) -> Option<Arc<Segment>> {
        let known = self.segments.read().unwrap_or_else(PoisonError::into_inner);
        known.get(&base).cloned()
    }

    /// A segment, mapped now if it was not; `None` if there is no such file.
    pub(crate) fn segment(&self, base: u64) -> Result<Option<Arc<Segment>>> {
        if let Some(segment) = self.mapped(base) {
            return Ok(Some(segment));
        }
        let path = self.folder.join(names::segment(base));
        loop {
            let count = self.compacted_count();
            if base == NONE || !self.env.storage.exists(&path)? {
                return Ok(None);
            }
            let segment = Segment::open(&*self.env.storage, &path, self.topic, self.number, base)?;
            self.remember(&segment);
            if self.compacted_count() == count {
                return Ok(Some(segment));
            }
            // It may be the one of before, remembered after others dropped theirs.
            self.forget(base);
        }
    }

    /// A segment that is there and not damaged.
    pub(crate) fn usable(&self, base: u64) -> Result<Option<Arc<Segment>>> {
        match self.segment(base) {
            Err(error) if error.kind() == ErrorKind::Damaged => Ok(None),
            opened => opened,
        }
    }

    fn forget(&self, base: u64) {
        let mut known = self
            .segments
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let gone = known.remove(&base);
        drop(known);
        drop(gone);
    }
}
