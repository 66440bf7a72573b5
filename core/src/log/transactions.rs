//! What a partition has to know of transactions (P8): which of them have happened, and what of the
//! last one is still to be published. The journal is for those above to keep.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use super::segment::{Found, Segment};
use super::{Env, NONE, Partition};
use crate::error::Result;
use crate::format::control::partition::WORDS;
use crate::format::journal::Send;
use crate::format::record::{self, HEADER, Header, MESSAGE};
use crate::format::segment::RECORDS;
use crate::options::Durability;
use crate::shm::{Mapping, Region};

/// What is known of transactions.
pub trait Transactions: std::marker::Send + Sync {
    /// Before the first partition is recovered in a life of `control`: decides, after a power loss,
    /// which transactions have happened.
    fn begin_life(&self) -> Result<()>;
    /// What the last transaction appended to this partition, if it has happened and perhaps was not
    /// published everywhere.
    fn unpublished(&self, topic: u64, partition: u32) -> Result<Option<Send>>;
    /// The transactions that the journal speaks of: they have happened.
    fn happened(&self) -> Result<HashSet<u64>>;
    /// Whether all of those are on disk that must be before they count.
    fn on_disk(&self) -> bool;
}

/// Where the log ends that a power loss left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Nothing of it may be lost.
    Whole,
    /// It ends at this position of this segment.
    Until(u64, u64),
}

impl Extent {
    /// Whether all that is before this position of a segment is there.
    #[must_use]
    pub fn covers(self, segment: u64, end: u64) -> bool {
        match self {
            Self::Whole => true,
            Self::Until(NONE, _) => false,
            Self::Until(last, position) => segment < last || (segment == last && end <= position),
        }
    }
}

impl Partition {
    #[cold]
    pub(super) fn begin_transactions(&self) -> Result<()> {
        match &self.env.transactions {
            Some(transactions) => transactions.begin_life(),
            None => Ok(()),
        }
    }

    /// Whether no transaction that was published here may still be taken back by a power loss.
    pub(super) fn transactions_on_disk(&self) -> bool {
        (self.env.transactions.as_ref()).is_none_or(|transactions| transactions.on_disk())
    }

    /// With the append lock held: publishes what the last transaction wrote here, if it has
    /// happened and its process died before it did. Only the first length word is missing; it is
    /// stored if the record then has its checksum (P18). May die on either side of it.
    pub(super) fn publish_rest(&self) -> Result<()> {
        let Some(transactions) = &self.env.transactions else {
            return Ok(());
        };
        let Some(send) = transactions.unpublished(self.topic, self.number)? else {
            return Ok(());
        };
        if let Some(segment) = self.usable(send.segment)?
            && matches!(segment.at(send.position), Found::Nothing)
            && segment.would_be_whole(send.position, send.first, send.offset)
            && let Ok(at) = usize::try_from(send.position)
        {
            let release = std::sync::atomic::Ordering::Release;
            segment.map().store_u32(at, send.first, release);
        }
        Ok(())
    }

    /// What the last transaction sent here is published, whoever was to do it.
    /// [`ErrorKind::NotFound`] where the topic was deleted: its files' names may be another one's.
    ///
    /// [`ErrorKind::NotFound`]: crate::ErrorKind::NotFound
    pub fn finish_transaction(&self) -> Result<()> {
        self.check_there()?;
        let held = self.lock()?;
        self.env.check_fence()?;
        let done = self.publish_rest().and_then(|()| self.repair());
        match done {
            Ok(()) => drop(held),
            Err(_) => held.abandon(),
        }
        self.published(1);
        done
    }

    /// After a power loss: what a transaction sent that has not happened becomes padding, between
    /// these places, the ends of what was recovered. On disk before the partition counts as
    /// recovered; until then it may die anywhere and be done again.
    pub(super) fn pad_unhappened(&self, from: (u64, u64), to: (u64, u64)) -> Result<()> {
        let Some(transactions) = &self.env.transactions else {
            return Ok(());
        };
        let mut happened = None;
        for base in self.bases()? {
            if base < from.0 && from.0 != NONE || base > to.0 || to.0 == NONE {
                continue;
            }
            let Some(segment) = self.usable(base)? else {
                continue;
            };
            let mut position = if base == from.0 {
                from.1
            } else {
                RECORDS as u64
            };
            while (base, position) < to
                && let Found::Record(header, length) = segment.at(position)
            {
                if header.kind == MESSAGE
                    && let Some(id) = segment.transaction(position, &header)
                {
                    let happened = match &happened {
                        Some(known) => known,
                        None => happened.insert(transactions.happened()?),
                    };
                    if !happened.contains(&id) {
                        if base != to.0 {
                            self.forget_sums_behind(base)?;
                        }
                        segment.pad(position, &header, length, header.offset);
                    }
                }
                position += record::padded(u64::from(length));
            }
        }
        Ok(())
    }

    /// Whether anyone in this life of `control` sends here with durability `sync`.
    pub fn promises_sync(&self) -> bool {
        self.block.promised() & crate::format::control::partition::PROMISED_SYNC != 0
    }

    /// Puts on disk that all up to a place is, transactions included, so that no recovery looks
    /// further back than that.
    pub fn note_on_disk(&self, mark: (u64, u64, u64)) -> Result<()> {
        drop(self.lock()?);
        let _slow = self.hold_slow()?;
        if self.block.limit() == 0 {
            // Recovered, and nothing appended since: what the file says of the limit stands.
            self.raise(0)?;
        }
        self.write_reserve_at(self.block.limit(), mark)
    }

    /// Where a partition that nobody uses yet in this life ends, without recovering it.
    pub fn look_for_extent(env: &Arc<Env>, folder: &Path, of: (u64, u32)) -> Result<Extent> {
        let memory = Arc::new(Mapping::anonymous(WORDS * 8)?);
        let Some(block) = Region::new(&memory, 0, WORDS * 8) else {
            return Ok(Extent::Whole);
        };
        let (durability, nobody) = (Durability::Process, Arc::new(|_| ()));
        let partition = Self::aside(
            env.clone(),
            folder.to_owned(),
            block,
            of,
            durability,
            nobody,
        );
        if !env.storage.exists(folder)? {
            return Ok(Extent::Whole);
        }
        partition.extent_after_loss()
    }
}

impl Segment {
    /// Whether a record stands at a position but for its length, which is this.
    fn would_be_whole(&self, position: u64, length: u32, offset: u64) -> bool {
        let Some(bytes) = usize::try_from(position)
            .ok()
            .and_then(|at| self.map().bytes(at, length as usize))
        else {
            return false;
        };
        let Some(header) = bytes.first_chunk::<HEADER>().map(Header::decode) else {
            return false;
        };
        let mut whole = bytes.to_vec();
        whole[..4].copy_from_slice(&length.to_le_bytes());
        header.offset == offset && header.kind == MESSAGE && record::verify(&whole, self.salt())
    }
}
