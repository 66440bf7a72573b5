//! The journal in a new life of `control`: where it ends, and, after a power loss, which of the
//! transactions have happened.
//!
//! Of those that had to be on disk each has what it sent and its marks there before its record is
//! (`durable.rs`). So one whose record is there is whole, and so are all before it; unless the
//! kernel wrote the record by itself, earlier. What is not whole has not happened, nor has anything
//! behind it: that may have gone by what it sent. The journal ends there, which is on disk before
//! anything else goes by it. After that nobody has to look again: what was whole stays so.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::journal::{Entry, Journal, JournalFile};

use crate::error::{Error, ErrorKind, Result};
use crate::format::journal::{FILE, HEADER, Place, RECORDS, Record};
use crate::format::meta;
use crate::format::names;
use crate::group::Window;
use crate::log::{Env, Extent, Partition};
use crate::storage::Access;
use crate::store::group_meta::parse as parse_group_meta;
use crate::store::topic_meta::parse as parse_topic_meta;

const META_MAX: u64 = 1 << 20;

type Fields = BTreeMap<String, String>;

impl Journal {
    /// By the first of this life that uses a partition or a group: under the lock, and no other one
    /// is taken here, so that whoever waits for it may hold any.
    #[cold]
    pub(super) fn read_in_new_life(&self) -> Result<()> {
        // How it was had does not matter: one that died here has done nothing that is not done
        // again.
        let (held, _) = self.hold(self.timeout())?;
        if self.is_ready() {
            return Ok(());
        }
        match self.read_again() {
            Ok(()) => {
                self.set_ready();
                drop(held);
                Ok(())
            }
            Err(error) => {
                held.abandon();
                Err(error)
            }
        }
    }

    fn read_again(&self) -> Result<()> {
        let Some(file) = self.file()? else {
            self.set_places(Place::first(), Place::first(), Place::first().number);
            return Ok(());
        };
        let slot = self.newest(&file)?.0;
        let (mut entries, mut end) = self.scan(&file, slot.head);
        if slot.boot == self.storage.boot_id() {
            if self.is_strange(&file, end) {
                let position = end.position;
                return Err(self.damaged(&format!("the record at byte {position} is damaged")));
            }
            // Who was there before may have died at a sync that failed, which leaves pages that the
            // kernel takes for written (P5).
            file.map.dirty(
                0,
                if entries.is_empty() {
                    HEADER
                } else {
                    file.map.limit()
                },
            );
            // The last one may not be published everywhere: it stays the one at the end.
            let last = entries.last().map_or(end, |entry| entry.place);
            let sync = |entry: &&Entry| entry.record.sync;
            let promised = entries.iter().rev().find(sync);
            let promised = promised.map_or(slot.head.number, |entry| entry.end.number);
            self.set_places(slot.head, last, promised);
            self.set_synced(slot.head.number);
            return Ok(());
        }
        if let Some(first) = self.first_not_whole(&entries)? {
            end = entries[first].place;
            entries.truncate(first);
        }
        self.wipe(&file, slot.head, end);
        for entry in &entries {
            // What was settled may not be on disk. Of one that power loss may halve nobody knows
            // what is there: nothing is done for it.
            self.set_applied(&file, entry, !entry.record.sync);
        }
        file.map.dirty(0, file.map.limit());
        file.file.sync()?;
        self.write_slot(&file, slot.head)?;
        file.file.sync()?;
        self.set_places(slot.head, end, end.number);
        self.set_synced(end.number);
        Ok(())
    }

    /// Behind the end nothing counts, whatever else the kernel wrote. A record that is taken back
    /// has a number that is given again: left where it is, it could follow the next one of the
    /// number before it, after another power loss.
    fn wipe(&self, file: &JournalFile, head: Place, end: Place) {
        let (head, end) = (head.position, end.position);
        let free = match head <= end {
            true => [(end, FILE), (RECORDS, head)],
            false => [(end, head), (head, head)],
        };
        for (from, to) in free {
            file.map.zero(from as usize, (to - from) as usize);
        }
    }

    fn set_places(&self, head: Place, end: Place, promised: u64) {
        self.set_head(head);
        self.set_end(end);
        self.set_promised(promised);
        self.set_synced(promised);
    }

    /// The first of those that had to be on disk of which something is not.
    fn first_not_whole(&self, entries: &[Entry]) -> Result<Option<usize>> {
        let mut look = Look {
            journal: self,
            env: self.env_to_look(),
            folders: None,
            extents: HashMap::new(),
        };
        for (number, entry) in entries.iter().enumerate() {
            if entry.record.sync && !look.is_whole(&entry.record)? {
                return Ok(Some(number));
            }
        }
        Ok(None)
    }

    fn env_to_look(&self) -> Arc<Env> {
        Arc::new(Env {
            storage: self.storage.clone(),
            clock: self.clock.clone(),
            live: self.live.clone(),
            me: self.me,
            lock_timeout: self.timeout(),
            mode: 0,
            fence: None,
            leaving: AtomicBool::new(false),
            indexing: Default::default(),
            may_take_room: Box::new(|_| Ok(())),
            nudge: Box::new(|| ()),
            hurry: Box::new(|_| ()),
            transactions: None,
        })
    }
}

/// The topics of a store by id, and where their partitions end.
struct Look<'a> {
    journal: &'a Journal,
    env: Arc<Env>,
    folders: Option<HashMap<u64, PathBuf>>,
    extents: HashMap<(u64, u32), Extent>,
}

impl Look<'_> {
    /// Whether all that a transaction sent and marked is on disk. What was deleted since, or is
    /// damaged, does not say that it is not: then nothing of a transaction is taken back for it.
    fn is_whole(&mut self, record: &Record) -> Result<bool> {
        for send in &record.sends {
            let Some(folder) = self.topic(send.topic)? else {
                continue;
            };
            let place = (send.topic, send.partition);
            let extent = match self.extents.get(&place) {
                Some(known) => *known,
                None => {
                    let folder = names::partition_folder(&folder, send.partition);
                    let found = Partition::look_for_extent(&self.env, &folder, place);
                    let found = told(found)?.unwrap_or(Extent::Whole);
                    *self.extents.entry(place).or_insert(found)
                }
            };
            if !extent.covers(send.segment, send.end_position()) {
                return Ok(false);
            }
        }
        for settle in &record.settles {
            let found = self.window(settle.topic, settle.group, settle.partition)?;
            let Some((window, sought)) = found else {
                continue;
            };
            if settle.epoch < sought.max(window.epoch()) {
                // The group was sought since, which is on disk: what it had settled counts for
                // nothing any more, whether or not it was there (P16).
                continue;
            }
            // Of a time before the group was sought it says nothing of what came after.
            let current = window.epoch() == settle.epoch;
            if !current || !window.has_mark_on_disk(settle.offset, settle.attempt) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn topic(&mut self, uid: u64) -> Result<Option<PathBuf>> {
        let known = match &self.folders {
            Some(known) => known,
            None => {
                let topics = self.journal.store.join(names::TOPICS);
                let mut known = HashMap::new();
                for name in self.journal.storage.list(&topics)? {
                    let folder = topics.join(name);
                    if self
                        .journal
                        .storage
                        .exists(&folder.join(names::TOPIC_DELETED))?
                    {
                        continue;
                    }
                    let fields = self
                        .journal
                        .fields("topic", folder.join(names::TOPIC_META))?;
                    if let Some(Ok((uid, _))) = fields.map(|fields| parse_topic_meta(&fields)) {
                        known.insert(uid, folder);
                    }
                }
                self.folders.insert(known)
            }
        };
        Ok(known.get(&uid).cloned())
    }

    /// A group's window, and the epoch that its configuration says it was sought with.
    fn window(&mut self, topic: u64, group: u64, partition: u32) -> Result<Option<(Window, u32)>> {
        let Some(folder) = self.topic(topic)? else {
            return Ok(None);
        };
        let (journal, groups) = (self.journal, folder.join(names::GROUPS));
        for name in told(journal.storage.list(&groups))?.unwrap_or_default() {
            let folder = groups.join(name);
            if journal.storage.exists(&folder.join(names::GROUP_DELETED))? {
                continue;
            }
            let fields = journal.fields("group", folder.join(names::GROUP_META))?;
            let Some(Ok(meta)) = fields.map(|fields| parse_group_meta(&fields)) else {
                continue;
            };
            if meta.id == group {
                let path = folder.join(names::window(partition));
                let (storage, limit) = (&*journal.storage, meta.config.window);
                let window = told(Window::open(storage, &path, (group, partition), limit))?;
                let sought = meta.sought.get(partition as usize);
                let sought = sought.map_or(0, |sought| sought.epoch);
                let whole = window.flatten().filter(|one| one.check_span().is_ok());
                return Ok(whole.map(|window| (window, sought)));
            }
        }
        Ok(None)
    }
}

impl Journal {
    /// What a meta file says; `None` of one that is not there, or damaged.
    fn fields(&self, kind: &str, path: PathBuf) -> Result<Option<Fields>> {
        let file = match told(self.storage.open(&path, Access::Read, 0))? {
            Some(file) => file,
            None => return Ok(None),
        };
        let mut bytes = vec![0; usize::try_from(file.len()?.min(META_MAX)).unwrap_or(0)];
        file.read_at(&mut bytes, 0)?;
        Ok(meta::decode(kind, &bytes).ok())
    }
}

/// What is there and whole. Other errors, as for want of a descriptor, say nothing of the disk.
fn told<T>(found: std::result::Result<T, Error>) -> Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if matches!(error.kind(), ErrorKind::Damaged | ErrorKind::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
impl Journal {
    pub(in crate::store) fn used_in_test(&self) -> u64 {
        self.used().expect("places").0
    }

    pub(in crate::store) fn open_in_test(&self) -> usize {
        let file = self.file().expect("file").expect("made");
        let open = |entry: &&Entry| !entry.applied;
        self.entries(&file)
            .expect("entries")
            .iter()
            .filter(open)
            .count()
    }
}
