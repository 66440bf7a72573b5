//! A file's bytes, and what of them is on disk.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};

use super::{CAPACITY, PAGE, SECTOR, lock};
use crate::error::Result;
use crate::shm::Mapping;

/// Versions that are kept of a sector. Of those between the first and the last, which are always
/// kept, some are dropped: a word that is stored to all the time would else take all memory.
const VERSIONS_MAX: usize = 32;

/// The bytes of a sector; shared, since most are the same in most images.
pub(super) type Sector = Arc<[u8; SECTOR]>;

pub(super) struct Inode {
    pub(super) memory: Mapping,
    pub(super) content: Mutex<Content>,
}

#[derive(Clone, Default)]
pub(super) struct Content {
    pub(super) len: usize,
    pub(super) durable_len: usize,
    /// Versions of a sector since the last sync, the durable one first.
    pub(super) versions: BTreeMap<usize, Vec<Sector>>,
    /// The last synced bytes of sectors that were ever synced; others are zero.
    pub(super) synced: BTreeMap<usize, Sector>,
    /// Sectors that a failed sync left: their pages count as written until they are stored to.
    forgotten: HashSet<usize>,
    dropped: usize,
}

impl Inode {
    pub(super) fn new() -> Result<Arc<Self>> {
        Self::of(Content::default()).map(Arc::new)
    }

    /// A file of which all is on disk.
    pub(super) fn synced(len: usize, mut synced: BTreeMap<usize, Sector>) -> Result<Self> {
        synced.retain(|number, _| number * SECTOR < len);
        let made = Self::of(Content {
            len,
            durable_len: len,
            synced,
            ..Content::default()
        })?;
        for (number, bytes) in &lock(&made.content).synced {
            made.memory.copy_in(number * SECTOR, &bytes[..]);
        }
        Ok(made)
    }

    fn of(content: Content) -> Result<Self> {
        Ok(Self {
            memory: Mapping::anonymous(CAPACITY)?,
            content: Mutex::new(content),
        })
    }

    /// The same bytes, as much on disk as here.
    pub(super) fn copy(&self) -> Result<Self> {
        let copy = Self::of(lock(&self.content).clone())?;
        for (number, bytes) in self.written() {
            copy.memory.copy_in(number * SECTOR, bytes);
        }
        Ok(copy)
    }

    fn bytes(&self, number: usize) -> &[u8; SECTOR] {
        let bytes = self.memory.bytes(number * SECTOR, SECTOR);
        bytes.and_then(<[u8]>::first_chunk).unwrap_or(&[0; SECTOR])
    }

    /// The numbers of the sectors that were ever written, and their bytes now.
    pub(super) fn written(&self) -> BTreeMap<usize, &[u8; SECTOR]> {
        let content = lock(&self.content);
        let numbers = content.synced.keys().chain(content.versions.keys());
        numbers
            .map(|number| (*number, self.bytes(*number)))
            .collect()
    }

    pub(super) fn record(&self, at: usize, len: usize) {
        let mut content = lock(&self.content);
        let content = &mut *content;
        let last = (at + len.max(1) - 1) / SECTOR;
        if !content.forgotten.is_empty() {
            // A store makes the whole page one that is to be written.
            for number in at / SECTOR / PAGE * PAGE..(last / PAGE + 1) * PAGE {
                content.forgotten.remove(&number);
            }
        }
        for number in at / SECTOR..=last {
            let now = self.bytes(number);
            let durable = content.synced.get(&number);
            let versions = content
                .versions
                .entry(number)
                .or_insert_with(|| vec![durable.cloned().unwrap_or_else(|| Arc::new([0; SECTOR]))]);
            if versions.last().is_some_and(|last| **last == *now) {
                continue;
            }
            versions.push(Arc::new(*now));
            if versions.len() > VERSIONS_MAX {
                content.dropped = content.dropped.wrapping_add(7);
                versions.remove(1 + content.dropped % (VERSIONS_MAX - 2));
            }
        }
    }

    pub(super) fn sync(&self) {
        let mut content = lock(&self.content);
        let Content {
            versions,
            forgotten,
            synced,
            ..
        } = &mut *content;
        versions.retain(|number, _| {
            let written = !forgotten.contains(number);
            if written {
                synced.insert(*number, Arc::new(*self.bytes(*number)));
            }
            !written
        });
        content.durable_len = content.len;
    }

    /// The disk failed: nobody can tell what it has, and the pages count as written.
    pub(super) fn fail_sync(&self) {
        let mut content = lock(&self.content);
        let Content {
            versions,
            forgotten,
            ..
        } = &mut *content;
        forgotten.extend(versions.keys());
    }
}
