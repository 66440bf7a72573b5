//! What retention asks of the ledgers before segments go (P8, P15).
//!
//! After a power loss an entry above its ledger's mark counts only if its record is in the log. So
//! no record goes that stands above a mark: the mark is moved first, with the entries on disk. A
//! ledger that was closed cleanly has no entries above its mark.
//!
//! All of it waits for others' locks and for the disk, so nobody holds RETAIN_LOCK meanwhile, for
//! which who deletes the topic waits. What was so stays so: marks only rise, a ledger that is made
//! later begins behind what is about to go, and what was sent before has its entry. Who is late
//! with it in a topic that was deleted is refused by `Ground::hold_slowly`.

use std::sync::{Arc, Weak};

use super::ground::Ground;
use super::mark::Mark;
use super::ring::{self, Ring};
use super::tables;
use crate::error::Result;
use crate::format::names;
use crate::store::inner::locked;
use crate::store::topic::TopicInner;

impl TopicInner {
    /// Whether all ledgers of the topic know by themselves what stands below these offsets of the
    /// partitions. Where one does not yet, because somebody died at it, nothing goes this time.
    pub(in crate::store) fn ledgers_know(self: &Arc<Self>, first: &[u64]) -> Result<bool> {
        let tables = &*self.tables;
        if tables
            .ground
            .lacks(tables::KIND, &tables.mark_path(), first)?
        {
            self.sync_below(first)?;
            drop(tables.enter()?);
            tables.move_mark(true)?;
            if tables
                .ground
                .lacks(tables::KIND, &tables.mark_path(), first)?
            {
                return Ok(false);
            }
        }
        for name in self.producer_names()? {
            let ring = self.ring_beside(&name)?;
            let path = ring.mark_path();
            if ring.ground.lacks(ring::KIND, &path, first)? {
                self.sync_below(first)?;
                drop(ring.enter()?);
                ring.move_mark(true)?;
                if ring.ground.lacks(ring::KIND, &path, first)? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Before anything is hidden that is about to go, below these offsets: a ledger that is to be
    /// made ready from the log in this life, or to which a dead one left something, reads it while
    /// it can (P8, P17). So does one that has entries of what a failed sync took back, which it
    /// forgets by that: of what is gone from the log all entries are believed (P5). All of it is on
    /// disk first, so that no sync fails for it after that.
    pub(in crate::store) fn ready_ledgers(&self, below: &[u64]) -> Result<()> {
        let tables = &*self.tables;
        let (storage, producers) = (&*self.store.env.storage, self.producer_names()?);
        if storage.exists(&tables.ground.folder)? || !producers.is_empty() {
            self.sync_below(below)?;
        }
        if tables.ground.is_unread()? {
            drop(tables.enter()?);
        }
        if tables.ground.has_voids() && self.store.env.storage.exists(&tables.ground.folder)? {
            tables.begin(tables.ground.ready(), false)?;
        }
        for name in producers {
            let ring = self.ring_beside(&name)?;
            if ring.ground.is_unread()? {
                drop(ring.enter()?);
            }
            if ring.ground.has_voids() {
                ring.rebuild(ring.ground.ready())?;
            }
        }
        Ok(())
    }

    /// A mark is no further than what is on disk of the log.
    fn sync_below(&self, first: &[u64]) -> Result<()> {
        for (log, first) in self.partitions.iter().zip(first) {
            log.ensure_durable(*first, self.store.env.lock_timeout)?;
        }
        Ok(())
    }

    pub(super) fn producer_names(&self) -> Result<Vec<String>> {
        let (storage, folder) = (&*self.store.env.storage, self.folder.join(names::PRODUCERS));
        if !storage.exists(&folder)? {
            return Ok(Vec::new());
        }
        let mut all = storage.list(&folder)?;
        all.retain(|name| names::check("producer", name).is_ok());
        Ok(all)
    }

    /// The ring of a producer as this process has it open, or for as long as it is asked.
    pub(super) fn ring_beside(&self, name: &str) -> Result<Arc<Ring>> {
        let open = locked(&self.rings).get(name).and_then(Weak::upgrade);
        match open {
            Some(ring) => Ok(ring),
            None => self.ring_of(name),
        }
    }
}

impl Ground {
    fn is_unread(&self) -> Result<bool> {
        let there = self.env.storage.exists(&self.folder)?;
        Ok(there && (self.ready() == 0 || self.intent().is_some()))
    }

    /// Whether the mark is not clean, and below one of these offsets, or there is none.
    fn lacks(&self, kind: &str, path: &std::path::Path, first: &[u64]) -> Result<bool> {
        let read = Mark::read(&self.env, path, kind, self.partitions.len())?;
        let below = |mark: &Mark| mark.ends.iter().zip(first).any(|(end, first)| end < first);
        match read {
            Some(mark) => Ok(!mark.clean && below(&mark)),
            // Without one the ledger is made from the whole log.
            None => Ok(self.env.storage.exists(&self.folder)? && first.iter().any(|one| *one > 0)),
        }
    }
}
