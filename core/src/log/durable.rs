//! Syncing: one caller syncs for everyone that has published so far, across processes (P2).

use std::time::{Duration, Instant};

use super::{NONE, Partition};
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::{self, PADDING, RESERVED};
use crate::shm::{EventCount, OwnerLock};

const BEAT: Duration = Duration::from_millis(50);

impl Partition {
    /// The first offset that a power loss may take.
    pub fn durable_offset(&self) -> u64 {
        self.block.synced()
    }

    /// Returns once all records below `offset` are on disk, by syncing or by waiting for whoever
    /// syncs. Errors with [`ErrorKind::Timeout`] after `timeout`, with [`ErrorKind::Poisoned`] when
    /// the sync failed.
    pub fn ensure_durable(&self, offset: u64, timeout: Duration) -> Result<()> {
        // A time beyond all clocks is for ever.
        let deadline = Instant::now().checked_add(timeout);
        let lock = self.block.sync_lock();
        while self.block.synced() < offset {
            if self.block.poisoned() {
                return Err(self.lost_sync(offset));
            }
            if let Some(held) = OwnerLock::try_hold(lock, self.env.me) {
                let done = self.sync_all();
                drop(held);
                EventCount::notify(self.block.sync_event(), u32::MAX);
                done?;
                if self.block.large().is_none() {
                    continue;
                }
            }
            let token = EventCount::prepare(self.block.sync_event());
            if self.block.synced() >= offset {
                return Ok(());
            }
            if EventCount::wait(self.block.sync_event(), token, BEAT) {
                continue;
            }
            let left = deadline.map_or(BEAT, |at| at.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                let message = format!(
                    "{}: offset {offset} is not on disk in time, the durable offset is {}; it is \
                     in the log and will follow",
                    self.folder.display(),
                    self.block.synced()
                );
                return Err(Error::new(ErrorKind::Timeout, message));
            }
            self.tend_large()?;
            self.inherit_sync(left)?;
        }
        Ok(())
    }

    /// A beat has passed: if the one who syncs died, its lock is taken over and given back; what it
    /// had not marked as synced is synced again by the next.
    fn inherit_sync(&self, left: Duration) -> Result<()> {
        let env = &*self.env;
        let lock = self.block.sync_lock();
        match OwnerLock::hold(lock, env.me, &*env.live, left.min(BEAT)) {
            Err(error) if error.kind() != ErrorKind::Stuck => Err(error),
            _ => Ok(()),
        }
    }

    /// Puts everything that is published now on disk. Also the way out of a failed sync.
    pub fn sync(&self) -> Result<()> {
        let env = &*self.env;
        let lock = self.block.sync_lock();
        let (held, _) = OwnerLock::hold(lock, env.me, &*env.live, env.lock_timeout)?;
        let done = self.sync_all();
        drop(held);
        EventCount::notify(self.block.sync_event(), u32::MAX);
        done
    }

    /// With the sync lock held.
    fn sync_all(&self) -> Result<()> {
        let (base, (marked, position, offset)) = {
            let _held = self.lock()?;
            let tail = (
                self.block.segment(),
                self.block.position(),
                self.block.next_offset(),
            );
            // What is being copied is not on disk after the sync, whatever stands behind it.
            (tail.0, self.block.large().unwrap_or(tail))
        };
        if base == NONE || (self.block.synced() == offset && !self.block.poisoned()) {
            return Ok(());
        }
        match self.sync_segments(base) {
            Ok(()) => {
                // Mark after sync: a death in between costs a second sync, never a false mark.
                self.block.set_synced(marked, position, offset);
                self.block.set_poisoned(false);
                Ok(())
            }
            Err(error) => {
                self.void_unsynced()?;
                Err(error.context("the messages that were not on disk yet are taken back"))
            }
        }
    }

    /// All segments from the durable mark to the active one, and the folder if there are new ones.
    fn sync_segments(&self, active: u64) -> Result<()> {
        let (marked, _) = self.block.mark();
        if marked == active {
            return match self.segment(active)? {
                Some(segment) => segment.file().sync(),
                None => Ok(()),
            };
        }
        for base in self.bases()? {
            if (marked == NONE || base >= marked)
                && base <= active
                && let Some(segment) = self.segment(base)?
            {
                segment.file().sync()?;
            }
        }
        self.env.storage.sync_dir(&self.folder)
    }

    /// After a failed sync nobody can tell which pages reached the disk, and the kernel will not
    /// try them again. Everything past the durable mark becomes padding, so that "error" means "not
    /// in the log" (P5), and the partition takes nothing until a sync of the rewritten pages
    /// succeeds.
    fn void_unsynced(&self) -> Result<()> {
        let _held = self.lock()?;
        self.block.set_poisoned(true);
        let (mut base, mut position) = self.block.mark();
        if base == NONE {
            base = self.bases()?.first().copied().unwrap_or(NONE);
            position = crate::format::segment::RECORDS as u64;
        }
        while let Some(segment) = self.segment(base)? {
            let mut next = NONE;
            while let super::segment::Found::Record(header, length) = segment.at(position) {
                match header.kind {
                    record::END => next = header.offset,
                    PADDING => {}
                    RESERVED => {
                        let last = segment.behind_reserved(position, &header, length) - 1;
                        segment.pad(position, &header, length, last);
                    }
                    _ => segment.pad(position, &header, length, header.offset),
                }
                position += record::padded(u64::from(length));
            }
            (base, position) = (next, crate::format::segment::RECORDS as u64);
        }
        Ok(())
    }

    #[cold]
    fn lost_sync(&self, offset: u64) -> Error {
        Error::new(
            ErrorKind::Poisoned,
            format!(
                "{}: the sync that should have put offset {offset} on disk failed; the message is \
                 not in the log; check the disk, call sync(), then send again",
                self.folder.display()
            ),
        )
    }

    /// By the last member that leaves: everything on disk, the exact end in the reserve, so that
    /// the next life starts without a walk and without a gap in the offsets.
    pub fn close_clean(&self) -> Result<()> {
        if !self.block.recovered() || self.block.limit() == 0 {
            return Ok(());
        }
        self.tend_large()?;
        self.sync()?;
        self.write_reserve(self.block.next_offset(), true)
    }
}
