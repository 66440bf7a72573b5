//! What housekeeping does for a partition before anybody has to wait for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{NONE, Partition, Room};
use crate::error::Result;
use crate::format::segment::SIZE_MAX;
use crate::shm::Mapping;
use crate::storage::File;

/// A segment that was filled in less than this is followed by another one soon.
const BUSY: Duration = Duration::from_secs(1);
/// Sealed segments are synced at the latest when they have waited for so long.
const LONG: Duration = Duration::from_secs(5);

/// The next segment's file, mapped and populated in this process.
struct Mapped {
    id: (u64, u64),
    map: Arc<Mapping>,
}

/// What housekeeping remembers of a partition from one look to the next.
pub(super) struct Ahead {
    next: Option<Mapped>,
    /// The active segment that was last seen, and since when it is.
    active: (u64, Instant),
    /// How long the one before it was.
    before: Duration,
    /// Since when there is something sealed that is not synced.
    sealed: Option<Instant>,
}

impl Default for Ahead {
    fn default() -> Self {
        Self {
            next: None,
            active: (NONE, Instant::now()),
            before: Duration::MAX,
            sealed: None,
        }
    }
}

impl Ahead {
    pub(super) fn has_next(&self) -> bool {
        self.next.is_some()
    }

    pub(super) fn forget_next(&mut self) {
        self.next = None;
    }

    /// Whether segments are filled one after the other.
    fn is_busy(&mut self, active: u64) -> bool {
        if self.active.0 != active {
            // The first segment proves nothing: a topic that is used once has no other (P19).
            let first = self.active.0 == NONE;
            self.before = if first {
                Duration::MAX
            } else {
                self.active.1.elapsed()
            };
            self.active = (active, Instant::now());
        }
        self.before < BUSY && self.active.1.elapsed() < BUSY
    }
}

impl Partition {
    /// The next segment when the active one is half full, or will be soon; offsets ahead of their
    /// use; syncs of what was sealed, once there is time. Whether there was something to do.
    pub fn prepare_ahead(&self) -> Result<bool> {
        let copied = self.tend_large();
        self.forget_taken();
        self.drop_compacted();
        let base = self.block.segment();
        let mut ahead = super::locked(&self.ahead);
        let busy = ahead.is_busy(base);
        // None of them waits for another: a full disk does not keep what is there from being
        // synced, nor a partition whose sync failed from being healed.
        let prepared = self.prepare_next(&mut ahead, base, busy);
        let raised = self.raise_ahead();
        let sealed = base != NONE && self.block.synced() < base;
        let since = *ahead.sealed.get_or_insert_with(Instant::now);
        if !sealed {
            ahead.sealed = None;
        }
        drop(ahead);
        // A sync takes long, and who fills segments needs the next one more.
        if self.block.poisoned() || (sealed && (!busy || since.elapsed() > LONG)) {
            self.sync_sealed()?;
        }
        copied?;
        Ok(prepared? | raised? || busy || sealed)
    }

    fn prepare_next(&self, ahead: &mut Ahead, base: u64, busy: bool) -> Result<bool> {
        let Some(active) = self.peek(base) else {
            return Ok(false);
        };
        if base == NONE || !(busy || self.block.position() >= active.capacity() / 2) {
            return Ok(false);
        }
        let Some(slow) = self.try_hold_slow()? else {
            return Ok(false);
        };
        // Another process may have prepared the file; the pages are this one's to map.
        let file = self.next_file(0, Room::Ordinary, SIZE_MAX)?.1;
        drop(slow);
        let id = file.id()?;
        if ahead.next.as_ref().is_some_and(|next| next.id == id) {
            return Ok(false);
        }
        let len = usize::try_from(file.len()?).unwrap_or(usize::MAX);
        let map = file.map(len, true)?;
        map.populate(0, len);
        ahead.next = Some(Mapped { id, map });
        Ok(true)
    }

    /// The mapping of the next segment's file, populated if housekeeping got to it.
    pub(super) fn take_ahead(&self, file: &dyn File) -> Result<Arc<Mapping>> {
        let mapped = self
            .ahead
            .try_lock()
            .ok()
            .and_then(|mut ahead| ahead.next.take());
        match mapped {
            Some(mapped) if mapped.id == file.id()? => Ok(mapped.map),
            _ => {
                let len = usize::try_from(file.len()?).unwrap_or(usize::MAX);
                file.map(len, true)
            }
        }
    }
}
