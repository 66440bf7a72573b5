//! What tables and rings have in common: their locks, the intent, and what they need of the topic.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::error::{Error, ErrorKind, Result};
use crate::format::control::sent as at;
use crate::log::{Env, Partition};
use crate::shm::{Acquired, Held, OwnerLock, Region};
use crate::store::tended_topic::TopicFiles;

/// A ledger's place in the store.
pub(crate) struct Ground {
    pub(in crate::store) env: Arc<Env>,
    pub(in crate::store) topic: u64,
    /// As in `topic "orders"`, for messages.
    pub(in crate::store) what: String,
    pub(in crate::store) partitions: Vec<Arc<Partition>>,
    /// Folder of its files.
    pub(in crate::store) folder: PathBuf,
    /// Its block in `control`: words of `format::control::sent`.
    pub(in crate::store) head: Region,
    /// What it takes to open the partitions again.
    pub(in crate::store) files: Arc<TopicFiles>,
}

/// What it takes to have the ground again: nothing that is mapped.
pub(super) struct Resting {
    what: String,
    folder: PathBuf,
    head: Region,
    files: Arc<TopicFiles>,
}

impl Resting {
    pub(super) fn of(ground: &Ground) -> Self {
        Self {
            what: ground.what.clone(),
            folder: ground.folder.clone(),
            head: ground.head.clone(),
            files: ground.files.clone(),
        }
    }

    /// As it was, with partitions that nobody sends through.
    pub(super) fn ground(&self) -> Ground {
        Ground {
            env: self.files.env.clone(),
            topic: self.files.topic,
            what: self.what.clone(),
            partitions: self.files.partitions(),
            folder: self.folder.clone(),
            head: self.head.clone(),
            files: self.files.clone(),
        }
    }

    pub(super) fn is_gone(&self) -> bool {
        self.files.is_gone()
    }
}

impl Ground {
    /// Takes the lock around look-up, append and entry; whether its last holder left something to
    /// finish.
    pub(super) fn hold(&self) -> Result<(Held<'_>, bool)> {
        let env = &*self.env;
        let lock = self.head.word32(at::LOCK);
        let (held, how) = OwnerLock::hold(lock, env.me, &*env.live, env.lock_timeout)?;
        env.check_fence()?;
        let left = how != Acquired::Clean || self.head.get(at::INTENT) != 0;
        Ok((held, left))
    }

    /// Takes the lock of the one who begins, makes files or writes marks. [`ErrorKind::NotFound`]
    /// where the topic was deleted: the folder is gone, or another topic's of the name, to which a
    /// mark or a file of this one would be foreign. Who deletes it takes this lock once, after he
    /// has told and before files go: so whoever has it finishes in the folder that he began in, and
    /// the next one sees that there is none (P8, P17).
    pub(super) fn hold_slowly(&self) -> Result<Held<'_>> {
        let env = &*self.env;
        let lock = self.head.word32(at::SLOW_LOCK);
        // One that died in here left files that the next one replaces.
        let (held, _) = OwnerLock::hold(lock, env.me, &*env.live, env.lock_timeout)?;
        env.check_fence()?;
        if self.is_gone() {
            return Err(self.gone());
        }
        Ok(held)
    }

    #[cold]
    fn gone(&self) -> Error {
        let message = format!(
            "{}: the topic was deleted, and what it knew of ids and sequences with it; open \
             another one",
            self.what
        );
        Error::new(ErrorKind::NotFound, message)
    }

    /// Which state of the files is there: 0 before they were made ready in this life.
    #[inline]
    pub(super) fn ready(&self) -> u64 {
        self.head.load(at::READY, Ordering::Acquire)
    }

    /// Has all look anew which files there are. With release order: who sees it sees the rest.
    pub(super) fn set_ready(&self, state: u64) {
        self.head.store(at::READY, state, Ordering::Release);
    }

    /// With the lock held, before an append to a partition: where its records will be. A death from
    /// here on leaves it to the next holder (P17).
    pub(super) fn intend(&self, number: u32) {
        let next = self.partitions[number as usize].next_offset();
        self.head.set(at::INTENT_OFFSET, next);
        self.head
            .store(at::INTENT, u64::from(number) + 1, Ordering::Release);
    }

    /// With the lock held, once the entries are written, or nothing was appended.
    pub(super) fn intend_nothing(&self) {
        self.head.store(at::INTENT, 0, Ordering::Release);
    }

    /// Partition and offset from which on the last holder may have appended.
    pub(super) fn intent(&self) -> Option<(u32, u64)> {
        let number = self
            .head
            .load(at::INTENT, Ordering::Acquire)
            .checked_sub(1)?;
        let number = u32::try_from(number).ok()?;
        // Somebody may have written anything into `control` (P18).
        let known = (number as usize) < self.partitions.len();
        known.then(|| (number, self.head.get(at::INTENT_OFFSET)))
    }

    /// For each partition the offset behind its last record.
    pub(super) fn ends(&self) -> Vec<u64> {
        self.partitions
            .iter()
            .map(|log| log.next_offset())
            .collect()
    }

    /// With the lock held: for each partition the offset below which all records are on disk, and
    /// have entries.
    pub(super) fn durable_ends(&self) -> Vec<u64> {
        let ends = |log: &Arc<Partition>| log.durable_offset().min(log.next_offset());
        self.partitions.iter().map(ends).collect()
    }

    /// Whether a segment was closed behind these offsets: then a mark is due.
    pub(super) fn has_rolled_since(&self, ends: &[u64]) -> bool {
        let rolled = |(log, end): (&Arc<Partition>, &u64)| {
            let base = log.active_base();
            base != u64::MAX && base > *end && log.durable_offset() > *end
        };
        self.partitions.iter().zip(ends).any(rolled)
    }

    /// Whether a failed sync took anything back in this life: then an entry may speak of nothing.
    pub(super) fn has_voids(&self) -> bool {
        self.partitions.iter().any(|log| log.voids() != 0)
    }

    /// Whether the topic was deleted: then the files are none any more, or another one's.
    pub(super) fn is_gone(&self) -> bool {
        self.files.is_gone()
    }
}
