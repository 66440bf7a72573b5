//! The journal of transactions: a file that all members have mapped.
//!
//! What is in it, and in which order, is decided under one lock, whose holder writes a record, and
//! stores its length last: from then on the transaction has happened, wherever its process dies.
//! The words in `control` say where the next record goes, and are moved behind a record only when
//! all that it sent is published; so whoever comes after a death, or begins a new life, finds the
//! one that may still be half published where they point.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::format::control::header as at;
use crate::format::journal::{
    FILE, HEADER, Place, RECORDS, Record, SLOT, SLOTS, Send, Slot, UNIT, decode_header,
    encode_header, record as fields,
};
use crate::format::names;
use crate::log::Transactions;
use crate::shm::{Acquired, Held, Liveness, Mapping, Owner, OwnerLock, Region};
use crate::storage::{Access, File, Storage};
use crate::store::inner::{draw, locked};

/// The file as this process has it mapped.
pub(super) struct JournalFile {
    pub(super) file: Arc<dyn File>,
    pub(super) map: Arc<Mapping>,
    salt: u32,
}

/// A record and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) place: Place,
    /// Where the next one is.
    pub(super) end: Place,
    pub(super) record: Record,
    /// Whether all is settled.
    pub(super) applied: bool,
}

/// The journal of a store.
pub(in crate::store) struct Journal {
    pub(super) storage: Arc<dyn Storage>,
    pub(super) clock: Arc<dyn Clock>,
    /// The store's folder.
    pub(super) store: PathBuf,
    header: Region,
    pub(super) me: Owner,
    pub(super) live: Arc<dyn Liveness>,
    timeout: Duration,
    mode: u32,
    opened: Mutex<Option<Arc<JournalFile>>>,
}

impl Journal {
    pub(in crate::store) fn of(
        store: &Path,
        (storage, clock): (Arc<dyn Storage>, Arc<dyn Clock>),
        header: Region,
        (me, live): (Owner, Arc<dyn Liveness>),
        timeout: Duration,
        mode: u32,
    ) -> Arc<Self> {
        Arc::new(Self {
            storage,
            clock,
            store: store.to_owned(),
            header,
            me,
            live,
            timeout,
            mode,
            opened: Mutex::default(),
        })
    }

    pub(super) fn path(&self) -> PathBuf {
        self.store.join(names::TRANSACTIONS)
    }

    #[cold]
    pub(super) fn damaged(&self, what: &str) -> Error {
        let message = format!(
            "{}: {what}; expected the journal of transactions; restore it, or remove it while \
             nobody has the store open, which takes back what is not settled of transactions that \
             were going on",
            self.path().display()
        );
        Error::new(ErrorKind::Damaged, message)
    }

    /// The file; `None` if there never was a transaction.
    pub(super) fn file(&self) -> Result<Option<Arc<JournalFile>>> {
        let mut opened = locked(&self.opened);
        if let Some(file) = &*opened {
            return Ok(Some(file.clone()));
        }
        let path = self.path();
        if !self.storage.exists(&path)? {
            return Ok(None);
        }
        let file = self.storage.open(&path, Access::ReadWrite, 0)?;
        let len = file.len()?;
        if len < FILE {
            return Err(self.damaged(&format!("it has {len} bytes, expected {FILE}")));
        }
        let mut header = [0; HEADER];
        file.read_at(&mut header, 0)?;
        let salt = decode_header(&header).map_err(|what| self.damaged(&what))?;
        let map = file.map(FILE as usize, true)?;
        let made = Arc::new(JournalFile { file, map, salt });
        *opened = Some(made.clone());
        Ok(Some(made))
    }

    /// With the lock held: the file, made if there is none. It gets its name when it is whole and
    /// on disk, so that a death or a power loss in between leaves none.
    pub(super) fn make(&self) -> Result<Arc<JournalFile>> {
        if let Some(file) = self.file()? {
            return Ok(file);
        }
        let storage = &*self.storage;
        let path = self.path();
        let temporary = self.store.join(format!(".{}.new", names::TRANSACTIONS));
        if storage.exists(&temporary)? {
            storage.unlink(&temporary)?;
        }
        let put = || {
            let file = storage.open(&temporary, Access::CreateNew, self.mode)?;
            file.allocate(FILE)?;
            file.write_at(&encode_header(draw() as u32 | 1), 0)?;
            let slot = self.slot(1, Place::first());
            file.write_at(&slot.encode(), SLOTS[0])?;
            file.sync()?;
            storage.rename(&temporary, &path)
        };
        if let Err(error) = put() {
            let _ = storage.unlink(&temporary);
            return Err(error);
        }
        storage.sync_dir(&self.store)?;
        let missing = || self.damaged("it is gone since it was made");
        self.file()?.ok_or_else(missing)
    }

    fn slot(&self, generation: u64, head: Place) -> Slot {
        let boot = self.storage.boot_id();
        Slot {
            generation,
            head,
            boot,
        }
    }

    /// What counts of the two slots, and which one it is.
    pub(super) fn newest(&self, file: &JournalFile) -> Result<(Slot, usize)> {
        let mut found: Option<(Slot, usize)> = None;
        for (number, position) in SLOTS.into_iter().enumerate() {
            let mut bytes = [0; SLOT];
            file.file.read_at(&mut bytes, position)?;
            if let Some(slot) = Slot::decode(&bytes)
                && found.is_none_or(|(known, _)| known.generation < slot.generation)
            {
                found = Some((slot, number));
            }
        }
        found.ok_or_else(|| self.damaged("neither of its slots is whole"))
    }

    /// Says from which record on it is needed. The older slot is overwritten, so that a crash
    /// leaves the other one.
    pub(super) fn write_slot(&self, file: &JournalFile, head: Place) -> Result<()> {
        let (newest, number) = self.newest(file)?;
        let slot = self.slot(newest.generation + 1, head);
        file.file.write_at(&slot.encode(), SLOTS[1 - number])
    }

    fn word(&self, word: usize) -> u64 {
        self.header.load(word, Ordering::Acquire)
    }

    fn set_word(&self, word: usize, value: u64) {
        self.header.store(word, value, Ordering::Release);
    }

    pub(super) fn is_ready(&self) -> bool {
        self.word(at::TRANSACTIONS_READY) != 0
    }

    pub(super) fn set_ready(&self) {
        self.set_word(at::TRANSACTIONS_READY, 1);
    }

    fn place(&self, word: usize) -> Result<Place> {
        let wrong = || self.damaged("control names a place that it has not");
        Place::of(self.word(word)).ok_or_else(wrong)
    }

    /// Where the next record goes.
    pub(super) fn end(&self) -> Result<Place> {
        self.place(at::TRANSACTIONS_END)
    }

    pub(super) fn set_end(&self, place: Place) {
        self.set_word(at::TRANSACTIONS_END, place.word());
    }

    /// The first record that is still needed.
    pub(super) fn head(&self) -> Result<Place> {
        self.place(at::TRANSACTIONS_HEAD)
    }

    pub(super) fn set_head(&self, place: Place) {
        self.set_word(at::TRANSACTIONS_HEAD, place.word());
    }

    /// Number behind the last record that must be on disk before it counts.
    pub(super) fn promised(&self) -> u64 {
        self.word(at::TRANSACTIONS_PROMISED)
    }

    pub(super) fn set_promised(&self, number: u64) {
        self.set_word(at::TRANSACTIONS_PROMISED, number);
    }

    /// Number below which all of those are on disk.
    pub(super) fn synced(&self) -> u64 {
        self.word(at::TRANSACTIONS_SYNCED)
    }

    pub(super) fn set_synced(&self, number: u64) {
        self.set_word(at::TRANSACTIONS_SYNCED, number);
    }

    /// The record at a place, if a whole one of that number stands there.
    pub(super) fn entry(&self, file: &JournalFile, place: Place) -> Option<Entry> {
        let position = usize::try_from(place.position).ok()?;
        // Acquire pairs with the release in `write`: all of the record is seen.
        let length = file.map.load_u32(position, Ordering::Acquire)?;
        let end = place.position.checked_add(length.into())?;
        if end > FILE {
            return None;
        }
        let bytes = file.map.bytes(position, length as usize)?;
        let record = Record::decode(bytes, place.number, file.salt)?;
        let flag = file
            .map
            .load_u32(position + fields::APPLIED, Ordering::Acquire)?;
        let end = match record.wrap {
            true => Place {
                number: place.number + 1,
                position: RECORDS,
            },
            false => place.behind(length.into()),
        };
        Some(Entry {
            place,
            end,
            applied: flag != 0 || record.wrap,
            record,
        })
    }

    /// Whether bytes stand at a place that are no record of its number.
    pub(super) fn is_strange(&self, file: &JournalFile, place: Place) -> bool {
        let position = usize::try_from(place.position).unwrap_or(usize::MAX);
        let length = file.map.load_u32(position, Ordering::Acquire);
        length.is_some_and(|length| length != 0) && self.entry(file, place).is_none()
    }

    /// The records from a place on, and where the next one goes.
    pub(super) fn scan(&self, file: &JournalFile, from: Place) -> (Vec<Entry>, Place) {
        let (mut found, mut place) = (Vec::new(), from);
        // There is no room for more, whatever stands in it.
        for _ in 0..FILE / UNIT {
            let Some(entry) = self.entry(file, place) else {
                break;
            };
            place = entry.end;
            if !entry.record.wrap {
                found.push(entry);
            }
        }
        (found, place)
    }

    /// All records that are needed, also where others make room meanwhile.
    pub(super) fn entries(&self, file: &JournalFile) -> Result<Vec<Entry>> {
        loop {
            let head = self.head()?;
            let found = self.scan(file, head).0;
            if self.head()? == head {
                return Ok(found);
            }
        }
    }

    /// The record at the end, which has happened and may not be published everywhere.
    pub(super) fn last(&self, file: &JournalFile) -> Result<Option<Entry>> {
        let found = self.entry(file, self.end()?);
        Ok(match found {
            Some(entry) if entry.record.wrap => self.entry(file, entry.end),
            other => other,
        })
    }

    /// With the lock held: writes a record at the end, which from then on has happened (P8). Until
    /// its length is stored nothing stands there: the word was zeroed before the record in front of
    /// it was published. Returns where the next one goes. `None` if there is no room.
    pub(super) fn write(&self, file: &JournalFile, record: &Record) -> Result<Option<Place>> {
        let (mut place, head) = (self.end()?, self.head()?);
        let length = crate::format::journal::length_of(record.sends.len(), record.settles.len());
        let padded = length.next_multiple_of(UNIT);
        let area = FILE - RECORDS;
        let used = (place.position + area - head.position) % area;
        let wraps = place.position + padded > FILE;
        let passed = if wraps { FILE - place.position } else { 0 };
        if used + passed + padded + UNIT > area {
            return Ok(None);
        }
        let next = match wraps {
            true => Place {
                number: place.number + 1,
                position: RECORDS,
            },
            false => place,
        };
        if record.sync {
            // Before it has happened: who sees what it sent sees that it is not on disk yet.
            self.set_promised(next.number + 1);
        }
        let broken = || self.damaged("its mapping ends too early");
        if wraps {
            let wrap = Record {
                wrap: true,
                ..Record::default()
            };
            let bytes = wrap.encode(place.number, file.salt);
            store(&file.map, place, &bytes, next).ok_or_else(broken)?;
            place = next;
        }
        let bytes = record.encode(place.number, file.salt);
        let end = place.behind(length);
        store(&file.map, place, &bytes, end).ok_or_else(broken)?;
        Ok(Some(end))
    }

    /// How many bytes of the ring are in use, of how many.
    pub(super) fn used(&self) -> Result<(u64, u64)> {
        let area = FILE - RECORDS;
        let (head, end) = (self.head()?, self.end()?);
        Ok(((end.position + area - head.position) % area, area))
    }

    /// All that a record says is settled. Idempotent; a death before has somebody look again.
    pub(super) fn set_applied(&self, file: &JournalFile, entry: &Entry, applied: bool) {
        // The ring may have gone on meanwhile, if somebody else said so before.
        if self.entry(file, entry.place).is_some()
            && let Ok(position) = usize::try_from(entry.place.position)
        {
            let at = position + fields::APPLIED;
            (file.map).store_u32(at, u32::from(applied), Ordering::Release);
        }
    }

    /// The lock of the one who writes.
    pub(super) fn hold(&self, patience: Duration) -> Result<(Held<'_>, Acquired)> {
        let lock = self.header.word32(at::TRANSACTION_LOCK);
        OwnerLock::hold(lock, self.me, &*self.live, patience)
    }

    /// The lock of the one who puts transactions on disk, or makes room.
    pub(super) fn hold_sync(&self, patience: Duration) -> Result<(Held<'_>, Acquired)> {
        let lock = self.header.word32(at::TRANSACTION_SYNC_LOCK);
        OwnerLock::hold(lock, self.me, &*self.live, patience)
    }

    /// Whether there is something to put on disk, and nobody does so.
    pub(super) fn may_sync(&self) -> bool {
        let lock = self.header.word32(at::TRANSACTION_SYNC_LOCK);
        !self.on_disk() && OwnerLock::is_free(lock)
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }
}

/// Bytes at a place, the length last, after the next length word was zeroed.
fn store(map: &Mapping, place: Place, bytes: &[u8], next: Place) -> Option<()> {
    let position = usize::try_from(place.position).ok()?;
    let behind = usize::try_from(next.position).ok()?;
    map.store_u32(behind, 0, Ordering::Relaxed)?;
    map.copy_in(position + 4, bytes.get(4..)?)?;
    let length = u32::try_from(bytes.len()).ok()?;
    // Release pairs with the acquire in `entry`.
    map.store_u32(position, length, Ordering::Release)
}

impl Transactions for Journal {
    fn begin_life(&self) -> Result<()> {
        if self.is_ready() {
            return Ok(());
        }
        self.read_in_new_life()
    }

    fn unpublished(&self, topic: u64, partition: u32) -> Result<Option<Send>> {
        let Some(file) = self.file()? else {
            return Ok(None);
        };
        let last = self.last(&file)?;
        Ok(last.and_then(|entry| {
            let mut sends = entry.record.sends.into_iter();
            sends.find(|send| send.topic == topic && send.partition == partition)
        }))
    }

    fn happened(&self) -> Result<HashSet<u64>> {
        match self.file()? {
            Some(file) => {
                let entries = self.entries(&file)?;
                Ok(entries.iter().map(|entry| entry.record.id).collect())
            }
            None => Ok(HashSet::new()),
        }
    }

    fn on_disk(&self) -> bool {
        self.promised() <= self.synced()
    }
}
