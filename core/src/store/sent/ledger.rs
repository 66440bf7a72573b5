//! A ledger as this process has it mapped.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, ErrorKind, Result};
use crate::format::ledger::{
    CAPACITY_MAX, ENTRY, ENTRY_WORDS, Entry, HEADER, Slot, bytes, decode_header, encode_header,
    header,
};
use crate::shm::{Mapping, Region};
use crate::storage::{Access, File, Storage, kept_mapped, replace_file};

/// Entries of the largest file that is written from memory at once.
const WRITTEN_MAX: u64 = 1 << 16;

/// A mapped file of entries.
pub(super) struct Ledger {
    /// The table's number; of a ring the first half of its producer's id.
    pub(super) owner: u64,
    pub(super) capacity: u64,
    head: Region,
    entries: Region,
    map: Arc<Mapping>,
    file: Arc<dyn File>,
    /// Of a table: all entries before this one are known to be spent.
    pub(super) looked_at: AtomicU64,
}

impl Ledger {
    /// Makes the file, empty but for these entries in the first places, all or nothing, on disk.
    /// Only a small file can have any.
    pub(super) fn make(
        storage: &dyn Storage,
        path: &Path,
        mode: u32,
        (topic, owner, capacity): (u64, u64, u64),
        entries: &[Entry],
    ) -> Result<()> {
        let words = encode_header(topic, owner, capacity);
        let mut head = vec![0; HEADER];
        for (place, word) in words.iter().enumerate() {
            head[place * 8..place * 8 + 8].copy_from_slice(&word.to_le_bytes());
        }
        if capacity <= WRITTEN_MAX {
            let words = entries.iter().flat_map(Entry::encode);
            head.extend(words.flat_map(u64::to_le_bytes));
            head.resize(usize::try_from(bytes(capacity)).unwrap_or(HEADER), 0);
            return replace_file(storage, path, &head, mode);
        }
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(damaged(path, "it has no folder"));
        };
        let temporary = folder.join(format!(".{}.new", name.to_string_lossy()));
        if storage.exists(&temporary)? {
            storage.unlink(&temporary)?;
        }
        let put = || {
            let file = storage.open(&temporary, Access::CreateNew, mode)?;
            file.allocate(bytes(capacity))?;
            file.write_at(&head, 0)?;
            file.sync()?;
            storage.rename(&temporary, path)
        };
        if let Err(error) = put() {
            // Room on a full disk is given back; if even that fails, the next call does it.
            let _ = storage.unlink(&temporary);
            return Err(error);
        }
        storage.sync_dir(folder)
    }

    /// Opens the file; `None` if there is none, [`ErrorKind::Damaged`] where it is not what it
    /// should be.
    pub(super) fn open(
        storage: &dyn Storage,
        path: &Path,
        (topic, owner): (u64, u64),
    ) -> Result<Option<Self>> {
        let file = match storage.open(path, Access::ReadWrite, 0) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let len = file.len()?.min(bytes(CAPACITY_MAX));
        if len < HEADER as u64 {
            return Err(damaged(path, "it is shorter than a header"));
        }
        let map = file.map(usize::try_from(len).unwrap_or(usize::MAX), true)?;
        let region = |at, len| Region::new(&map, at, len);
        let head = region(0, HEADER).ok_or_else(|| damaged(path, "it is shorter than a header"))?;
        let words = [0, 1, 2, 3, 4, 5].map(|word| head.get(word));
        let Some((of, found, capacity)) = decode_header(&words) else {
            return Err(damaged(path, "its header is not what was written"));
        };
        if (of, found) != (topic, owner) {
            return Err(damaged(path, "it is another one's"));
        }
        let entries = usize::try_from(capacity).map_or(usize::MAX, |all| all * ENTRY);
        let entries = region(HEADER, entries)
            .ok_or_else(|| damaged(path, "it is shorter than its header says"))?;
        Ok(Some(Self {
            owner,
            capacity,
            head,
            entries,
            file: kept_mapped(file, &map),
            map,
            looked_at: AtomicU64::new(0),
        }))
    }

    /// What stands in a place below the capacity.
    #[inline]
    pub(super) fn get(&self, place: u64) -> Slot {
        let first = place as usize * ENTRY_WORDS;
        let last = self.entries.load(first, Ordering::Acquire);
        if last == 0 {
            return Slot::Empty;
        }
        Slot::decode([0, 1, 2, 3, 4].map(|word| self.entries.get(first + word)))
    }

    /// Writes an entry. The first word last: in an empty place a death in the middle leaves nothing
    /// that is seen, in another one an entry that is not whole.
    pub(super) fn put(&self, place: u64, entry: &Entry) {
        let first = place as usize * ENTRY_WORDS;
        let words = entry.encode();
        for (word, value) in words.iter().enumerate().skip(1) {
            self.entries.set(first + word, *value);
        }
        self.entries.store(first, words[0], Ordering::Release);
    }

    /// Of a table: how many entries are taken, or a few more.
    pub(super) fn used(&self) -> u64 {
        self.head.get(header::USED)
    }

    /// Before an entry is written: a death in between counts one too many.
    pub(super) fn count_one(&self) {
        self.head
            .change(header::USED, |used| used.saturating_add(1));
    }

    /// All entries that are whole; whether there are others.
    pub(super) fn all(&self) -> (Vec<Entry>, bool) {
        let (mut found, mut bad) = (Vec::new(), false);
        for place in 0..self.capacity {
            match self.get(place) {
                Slot::Taken(entry) => found.push(entry),
                Slot::Bad => bad = true,
                Slot::Empty => {}
            }
        }
        (found, bad)
    }

    /// Puts all of it on disk. After a failure the kernel takes the pages for written, so they are
    /// made to be written again.
    pub(super) fn sync(&self) -> Result<()> {
        let bytes = HEADER + self.capacity as usize * ENTRY;
        self.file.sync().inspect_err(|_| self.map.dirty(0, bytes))
    }
}

#[cold]
pub(super) fn damaged(path: &Path, what: &str) -> Error {
    let message = format!("{} is damaged: {what}", path.display());
    Error::new(ErrorKind::Damaged, message)
}
