//! What a power loss left behind the end of a log, and how it goes.

use std::sync::atomic::Ordering;

use super::recover::Walk;
use super::{NONE, Partition};
use crate::error::Result;
use crate::format::names;

impl Partition {
    /// After a power loss: what is behind the walk is gone for good. Segments are removed from the
    /// last to the first, so that a crash in between leaves a log that is cut at the same place.
    pub(super) fn cut(&self, walk: &mut Walk, bases: &[u64]) -> Result<()> {
        if let Some((segment, position)) = walk.batch.take() {
            (walk.segment, walk.position) = (segment, position);
        }
        let mut removed = false;
        for base in bases
            .iter()
            .rev()
            .take_while(|base| walk.segment == NONE || **base > walk.segment)
        {
            self.forget(*base);
            self.env
                .storage
                .unlink(&self.folder.join(names::segment(*base)))?;
            removed = true;
        }
        self.forget_index(walk.segment)?;
        if removed {
            self.env.storage.sync_dir(&self.folder)?;
        }
        match self.begin_walk(walk, true)? {
            Some(segment) => {
                segment
                    .map()
                    .store_u32(walk.position as usize, 0, Ordering::Release);
                segment.sync()
            }
            None if walk.segment == NONE => Ok(()),
            None => {
                // The first segment of all, and not even its header is whole.
                self.env
                    .storage
                    .unlink(&self.folder.join(names::segment(walk.segment)))?;
                walk.segment = NONE;
                self.env.storage.sync_dir(&self.folder)
            }
        }
    }

    /// What is cut may have been indexed, and a later index would find it under the same salt.
    fn forget_index(&self, base: u64) -> Result<()> {
        let path = self.folder.join(names::index(base));
        if base != NONE && self.env.storage.exists(&path)? {
            self.env.storage.unlink(&path)?;
            self.env.storage.sync_dir(&self.folder)?;
        }
        Ok(())
    }
}
