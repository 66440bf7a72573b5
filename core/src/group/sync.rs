//! Putting a window on disk.

use std::sync::Arc;

use super::window::Window;
use crate::error::Result;
use crate::shm::Mapping;
use crate::storage::File;

/// What puts a window on disk, to be used outside its lock.
pub struct Syncer {
    file: Arc<dyn File>,
    map: Arc<Mapping>,
    bytes: usize,
}

impl Syncer {
    /// Puts on disk what stands there now. After a failure the kernel takes the pages for written,
    /// and the next sync would prove nothing: they are made to be written again. Who dies in
    /// between leaves a window that a power loss may take back, as it may before any sync.
    pub fn sync(&self) -> Result<()> {
        self.file.sync().inspect_err(|_| self.write_again())
    }

    /// Has the next sync write all of it: after one of which nobody knows how it ended.
    pub fn write_again(&self) {
        self.map.dirty(0, self.bytes);
    }
}

impl Window {
    /// What puts the window on disk.
    pub fn syncer(&self) -> Syncer {
        let bytes = self.parts.bytes(self.mask + 1);
        Syncer {
            file: self.file.clone(),
            map: self.map.clone(),
            bytes: usize::try_from(bytes).unwrap_or(usize::MAX),
        }
    }
}
