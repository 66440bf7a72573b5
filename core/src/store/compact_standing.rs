//! Where the groups stand for whom a segment is compacted, and that it is so on disk (P6, P16).
//!
//! Within one epoch of its window a group's floor only rises. So a group that had settled a segment
//! when its window was put on disk, and has the same epoch still, has settled it on disk, whatever
//! a power loss takes. One that was set back since has another epoch, and one that was made since
//! is not known: it may have gone forth again without any of it being on disk. A power loss would
//! leave it before messages that are gone: others that it had settled as well would come again, and
//! those not. Its window is put on disk first.

use super::retain::GLANCE;
use super::topic::TopicInner;
use crate::error::{Error, ErrorKind, Result};
use crate::format::names;
use crate::group::Window;
use crate::shm::Held;

/// How often windows are put on disk for one segment before it is another time's.
const TRIES: usize = 3;

/// Of each group its id and the epoch of its window, which was on disk with all that was settled.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Standing(Vec<(u64, u32)>);

impl TopicInner {
    /// The groups of a partition, as they stand now. To be asked before what they have settled is.
    pub(super) fn standing(&self, number: usize) -> Result<Standing> {
        let storage = &*self.store.env.storage;
        let mut all = Vec::new();
        for group in self.kept_groups()?.iter().filter(|one| one.has(number)) {
            // One that cannot be read has settled nothing.
            let Some(meta) = &group.meta else { continue };
            let path = group.folder.join(names::window(number as u32));
            let epoch = match Window::on_disk(storage, &path, (meta.id, number as u32)) {
                Ok(Some(found)) => found.epoch,
                _ => 0,
            };
            // Where it is to go it is on disk, and from there on its window follows.
            let sought = meta.sought.get(number).map_or(0, |one| one.epoch);
            all.push((meta.id, epoch.max(sought)));
        }
        all.sort_unstable();
        Ok(Standing(all))
    }

    /// The lock of those who create, while all groups have settled what is before an offset, on
    /// disk; `None` where one has not. With the lock of who makes and removes the topic's files,
    /// and nothing slow with the other one. [`ErrorKind::Stuck`] where it cannot be had now.
    pub(super) fn hold_settled(
        &self,
        number: usize,
        end: u64,
        on_disk: &mut Standing,
    ) -> Result<Option<Held<'_>>> {
        for _ in 0..TRIES {
            let held = self.store.hold_create_lock_within(GLANCE)?;
            let now = self.standing(number)?;
            if self.settled_by_all_groups(number)? < end {
                return Ok(None);
            }
            if now == *on_disk {
                return Ok(Some(held));
            }
            drop(held);
            let mut bounds = vec![0; self.partitions.len()];
            bounds[number] = end;
            // A death from here on leaves the old segment, and windows on disk.
            self.sync_windows(&bounds)?;
            *on_disk = now;
        }
        let message = format!(
            "groups of topic {:?} are set back and go forth again all the time; compaction is \
             tried again later",
            self.name
        );
        Err(Error::new(ErrorKind::Stuck, message))
    }
}
