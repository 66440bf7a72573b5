//! Growing: a window begins small and doubles up to its group's limit.
//!
//! The ring is doubled in memory under the lock, put on disk outside of it, and only then used
//! beyond its old capacity.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::sync::Syncer;
use super::window::Window;
use crate::error::Result;
use crate::format::window::{ENTRY, header};
use crate::shm::Region;
use crate::storage::File;

/// Makes room in the file of a window, outside of its lock: allocate, then [`Window::double`], then
/// sync, then [`Window::allow`].
pub struct Grower {
    file: Arc<dyn File>,
    syncer: Syncer,
    bytes: u64,
    capacity: u64,
}

impl Grower {
    /// Allocates real blocks, on disk before anything relies on them.
    pub fn allocate(&self) -> Result<()> {
        self.file.allocate(self.bytes)?;
        self.syncer.sync()
    }

    /// Puts the doubled ring on disk.
    pub fn sync(&self) -> Result<()> {
        self.syncer.sync()
    }
}

impl Window {
    /// Entries that may be in use: fewer than there is room for while that is not on disk yet. Else
    /// a power loss could leave the old capacity with a ring in which the new one's entries stand
    /// in the places of others that are not settled.
    #[inline]
    pub(super) fn usable(&self) -> u64 {
        self.head.get(header::USABLE).min(self.mask + 1)
    }

    /// What makes room for more entries; `None` at the group's limit.
    pub fn grower(&self) -> Option<Grower> {
        let now = self.mask + 1;
        // One that doubled the ring may have died before it was on disk.
        let capacity = if self.usable() < now { now } else { now * 2 };
        (capacity <= self.parts.most as u64).then(|| Grower {
            file: self.file.clone(),
            syncer: self.syncer(),
            bytes: self.parts.bytes(capacity),
            capacity,
        })
    }

    /// Under the lock, after the room was allocated: doubles the ring. Entries whose place changes
    /// are copied before the capacity is stored; a death before leaves the old ring whole, a death
    /// after is repaired by the rebuild that follows any inherited lock.
    pub fn double(&mut self, grower: &Grower) -> Result<()> {
        let capacity = self.mask + 1;
        if self.head.get(header::CAPACITY) != capacity || capacity >= grower.capacity {
            return self.refresh();
        }
        let len = self.file.len()?;
        self.map
            .set_limit(usize::try_from(len).unwrap_or(usize::MAX));
        let bytes = capacity as usize * 2 * ENTRY;
        let Some(region) = Region::new(&self.map, self.parts.entries, bytes) else {
            return Ok(());
        };
        self.entries.region = region;
        let wider = capacity * 2 - 1;
        for offset in self.floor()..self.next() {
            let (from, to) = ((offset & self.mask) as u32, (offset & wider) as u32);
            if from != to && self.entries.is_of(from, offset) {
                self.entries.copy(from, to);
            }
        }
        self.head
            .store(header::CAPACITY, capacity * 2, Ordering::Release);
        self.mask = wider;
        self.derive();
        Ok(())
    }

    /// Under the lock, once the doubled ring is on disk.
    pub fn allow(&self, grower: &Grower) {
        let doubled = self.mask + 1 >= grower.capacity;
        if doubled && self.usable() < grower.capacity {
            self.head.set(header::USABLE, grower.capacity);
        }
    }
}
