//! The ring of a named producer: its last messages by sequence, and which opening of its name may
//! send.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, Weak};

use super::checked::Checked;
use super::ground::{Ground, Resting};
use super::ledger::{Ledger, damaged};
use super::mark::{Mark, boot_of};
use crate::error::{ErrorKind, Result};
use crate::format::control::sent as at;
use crate::format::ledger::{Entry, Slot};
use crate::format::names;
use crate::format::origin::Origin;
use crate::shm::Held;
use crate::store::housekeeping::{Pace, Tended};
use crate::store::inner::{draw, locked};
use crate::store::open::folder_mode;
use crate::store::topic::TopicInner;

/// Places of a ring: those of the messages that are known for sure, and some more.
pub(super) const PLACES: u64 = 1024;
/// A repeat among so many returns the first send's id.
pub(super) const KEPT: usize = 1000;
pub(super) const KIND: &str = "producer";

/// What this process knows of a producer of a topic.
pub(crate) struct Ring {
    pub(super) ground: Ground,
    pub(super) id: [u64; 2],
    /// The mapped file, and in which state.
    mapped: Mutex<Option<(u64, Arc<Ledger>)>>,
    /// The mark as it was read or written last.
    marked: Mutex<Option<Mark>>,
}

impl Ring {
    pub(super) fn new(ground: Ground, id: [u64; 2]) -> Self {
        Self {
            ground,
            id,
            mapped: Mutex::default(),
            marked: Mutex::default(),
        }
    }

    fn path(&self) -> PathBuf {
        self.ground.folder.join(names::RING)
    }

    pub(super) fn mark_path(&self) -> PathBuf {
        self.ground.folder.join(names::PRODUCER_META)
    }

    fn read_mark(&self) -> Result<Option<Mark>> {
        let count = self.ground.partitions.len();
        Mark::read(&self.ground.env, &self.mark_path(), KIND, count)
    }

    fn write_mark(&self, mark: &Mark) -> Result<()> {
        mark.write(&self.ground.env, &self.mark_path(), KIND)?;
        *locked(&self.marked) = Some(mark.clone());
        Ok(())
    }

    /// The entry of a message of this producer.
    pub(super) fn entry(&self, sequence: u64, partition: u32, offset: u64) -> Entry {
        Entry {
            key: [sequence, self.id[1]],
            partition,
            offset,
            stamp_ms: 0,
        }
    }

    /// Whether an entry speaks of something, after a failed sync.
    pub(super) fn stands(&self, entry: &Entry) -> Result<bool> {
        let (id, sequence) = (self.id, entry.key[0]);
        let same = |found| found == Origin::Producer { id, sequence };
        self.ground.stands(entry, (&self.mark_path(), KIND), same)
    }

    fn entry_of(&self, origin: Origin, partition: u32, offset: u64) -> Option<Entry> {
        match origin {
            Origin::Producer { id, sequence } if id == self.id => {
                Some(self.entry(sequence, partition, offset))
            }
            _ => None,
        }
    }

    /// A new opening of the name: those before it are fenced. Its number is on disk before anybody
    /// goes by it; one that dies in between leaves the older opening as it was.
    pub(super) fn open_anew(&self) -> Result<u64> {
        let ground = &self.ground;
        let _slow = ground.hold_slowly()?;
        let mut mark = match ground.ready() {
            0 => self.make_ready(false)?,
            _ => self.read_mark()?.unwrap_or_else(|| self.no_mark()),
        };
        let last = mark.epoch.max(ground.head.get(at::EPOCH));
        mark.epoch = last.wrapping_add(1).max(1);
        self.write_mark(&mark)?;
        let (_held, _) = self.enter()?;
        ground.head.set(at::EPOCH, mark.epoch);
        Ok(mark.epoch)
    }

    /// The ring, with the lock held, and nothing left to finish.
    pub(super) fn enter(&self) -> Result<(Held<'_>, Arc<Ledger>)> {
        loop {
            let state = self.ground.ready();
            if state == 0 {
                self.rebuild(0)?;
                continue;
            }
            let ledger = self.mapped(state)?;
            let (held, left) = self.ground.hold()?;
            if self.ground.ready() != state {
                continue;
            }
            if left {
                self.finish(&ledger)?;
            }
            return Ok((held, ledger));
        }
    }

    fn mapped(&self, state: u64) -> Result<Arc<Ledger>> {
        let mut known = locked(&self.mapped);
        if let Some((of, ledger)) = &*known
            && *of == state
        {
            return Ok(ledger.clone());
        }
        let opened = self
            .open_file()?
            .ok_or_else(|| damaged(&self.path(), "it is missing"))?;
        let ledger = Arc::new(opened);
        *known = Some((state, ledger.clone()));
        Ok(ledger)
    }

    pub(super) fn open_file(&self) -> Result<Option<Ledger>> {
        let ids = (self.ground.topic, self.id[0]);
        let opened = Ledger::open(&*self.ground.env.storage, &self.path(), ids);
        let opened = match opened {
            Err(error) if error.kind() == ErrorKind::Damaged => None,
            opened => opened?,
        };
        Ok(opened.filter(|ring| ring.capacity == PLACES))
    }

    /// With the lock held: the entry of who appended and died, or failed, before he wrote it. Who
    /// dies in here leaves it to the next one as it was (P17).
    fn finish(&self, ring: &Ledger) -> Result<()> {
        self.recount(ring);
        if let Some((partition, from)) = self.ground.intent() {
            for (offset, origin) in self.ground.scan(partition, from)?.sent {
                if let Some(entry) = self.entry_of(origin, partition, offset)
                    && !holds(ring, &entry)
                {
                    self.put(ring, &entry);
                }
            }
        }
        self.ground.intend_nothing();
        Ok(())
    }

    /// The words that follow from the entries.
    fn recount(&self, ring: &Ledger) {
        let newest = (0..PLACES)
            .filter_map(|place| match ring.get(place) {
                Slot::Taken(entry) => Some((entry.key[0], place + 1)),
                _ => None,
            })
            .max();
        let (sequence, place) = newest.unwrap_or((0, 0));
        self.ground.head.set(at::SEQUENCE, sequence);
        self.ground.head.set(at::PLACE, place % PLACES);
    }

    /// With the lock held: the entry takes the place of the oldest one. A death in the middle costs
    /// that one alone, and the intent tells of this one.
    pub(super) fn put(&self, ring: &Ledger, entry: &Entry) {
        let head = &self.ground.head;
        let place = head.get(at::PLACE) % PLACES;
        ring.put(place, entry);
        let last = head.get(at::SEQUENCE).max(entry.key[0]);
        head.store(at::SEQUENCE, last, Ordering::Release);
        head.set(at::PLACE, (place + 1) % PLACES);
    }

    /// Makes the ring anew from the whole log, and what the mark vouches for.
    pub(super) fn rebuild(&self, seen: u64) -> Result<()> {
        let _slow = self.ground.hold_slowly()?;
        if self.ground.ready() != seen {
            return Ok(());
        }
        self.make_ready(true).map(drop)
    }

    /// With the slow lock held, in a new life: the ring as it is, if it was closed cleanly; else
    /// from the entries that are whole and the records behind the mark. The ring is on disk before
    /// the mark is moved, which the caller writes.
    fn make_ready(&self, whole: bool) -> Result<Mark> {
        let ground = &self.ground;
        let (env, storage) = (&*ground.env, &*ground.env.storage);
        let durable = ground.durable_ends();
        let fresh = !storage.exists(&ground.folder)?;
        let read = match fresh {
            true => None,
            false => self.read_mark()?,
        };
        if read.is_none() {
            // Also by who finds the folder of one that died before it was on disk: a power loss
            // would take it with all in it, and its absence would say that nothing was ever sent.
            self.make_folder()?;
        }
        let ring = self.open_file()?;
        // The whole log is looked at; of what is not there any more the mark tells.
        let whole = whole || !fresh && (ring.is_none() || read.is_none());
        let mut mark = match read {
            Some(mark) => mark,
            // The first use of all: nothing that was sent so far is of this producer.
            None if fresh => Mark {
                ends: ground.ends(),
                ..self.no_mark()
            },
            None => self.no_mark(),
        };
        let bad = ring.as_ref().is_some_and(|ring| ring.all().1);
        let from_start = whole || mark.ends.iter().all(|end| *end == 0);
        if bad && mark.boot == boot_of(env) && !from_start {
            return self.make_ready(true);
        }
        if let (Some(ring), true, false) = (&ring, mark.clean, whole) {
            self.recount(ring);
        } else {
            {
                // In a life that goes on nobody is inside from here on: what was sent after the log
                // was looked at would not be in the new file.
                let (_held, _) = ground.hold()?;
                ground.set_ready(0);
            }
            let entries = self.gather(ring.as_ref(), &mark, whole)?;
            let ids = (ground.topic, self.id[0], PLACES);
            Ledger::make(storage, &self.path(), env.mode, ids, &entries)?;
            let last = entries.last().map_or(0, |entry| entry.key[0]);
            ground.head.set(at::SEQUENCE, last);
            ground.head.set(at::PLACE, entries.len() as u64 % PLACES);
            mark.ends = durable;
        }
        mark.boot = boot_of(env);
        mark.clean = false;
        // On disk before anything is sent by it.
        self.write_mark(&mark)?;
        ground.set_ready(draw());
        Ok(mark)
    }

    fn make_folder(&self) -> Result<()> {
        let (env, folder) = (&*self.ground.env, &self.ground.folder);
        let mode = folder_mode(env.mode);
        let Some(all) = folder.parent() else {
            return Err(damaged(folder, "it is in no folder"));
        };
        env.storage.create_dir(all, mode)?;
        env.storage.create_dir(folder, mode)?;
        env.storage.sync_dir(all)?;
        all.parent()
            .map_or(Ok(()), |topic| env.storage.sync_dir(topic))
    }

    fn no_mark(&self) -> Mark {
        Mark {
            ends: vec![0; self.ground.partitions.len()],
            boot: boot_of(&self.ground.env),
            ..Mark::default()
        }
    }

    /// The last entries, by sequence.
    fn gather(&self, ring: Option<&Ledger>, mark: &Mark, whole: bool) -> Result<Vec<Entry>> {
        let checked = Checked::of(&self.ground, mark, whole)?;
        let found = ring.map_or_else(Vec::new, |ring| ring.all().0);
        let mut all: BTreeMap<u64, Entry> = found
            .into_iter()
            .filter(|entry| entry.key[1] == self.id[1] && checked.may_stand(entry))
            .map(|entry| (entry.key[0], entry))
            .collect();
        for (partition, offset, origin) in checked.sent() {
            if let Some(entry) = self.entry_of(origin, partition, offset) {
                all.insert(entry.key[0], entry);
            }
        }
        let old = all.len().saturating_sub(KEPT);
        Ok(all.into_values().skip(old).collect())
    }

    /// Moves the mark where a segment was closed behind it, or in any case.
    pub(super) fn move_mark(&self, now: bool) -> Result<()> {
        let ground = &self.ground;
        let due = |mark: &Mark| now || ground.has_rolled_since(&mark.ends);
        if ground.ready() == 0 || locked(&self.marked).as_ref().is_some_and(|mark| !due(mark)) {
            return Ok(());
        }
        let _slow = ground.hold_slowly()?;
        let Some(mut mark) = self.read_mark()? else {
            return Ok(());
        };
        // As of tables: what a failed sync took back is not to be below a mark (P5).
        if due(&mark) && !ground.has_voids() {
            let ring = self.mapped(ground.ready())?;
            mark.ends = {
                let (_held, left) = ground.hold()?;
                // Of one who died an entry is lacking still: the next one who sends writes it.
                if left {
                    return Ok(());
                }
                ground.durable_ends()
            };
            ring.sync()?;
            mark.boot = boot_of(&ground.env);
            return self.write_mark(&mark);
        }
        *locked(&self.marked) = Some(mark);
        Ok(())
    }
}

/// Whether the ring has this entry.
fn holds(ring: &Ledger, entry: &Entry) -> bool {
    (0..PLACES).any(|place| ring.get(place) == Slot::Taken(*entry))
}

impl Ring {
    /// What a failed sync took back, or a dead one left, the next life finds out from the log.
    fn close_clean(&self) -> Result<()> {
        let ground = &self.ground;
        let durable = ground.durable_ends() == ground.ends();
        let left = ground.has_voids() || ground.intent().is_some() || !durable;
        if ground.is_gone() || ground.ready() == 0 || left {
            return Ok(());
        }
        let (Some(mut mark), Some(ring)) = (self.read_mark()?, self.open_file()?) else {
            return Ok(());
        };
        ring.sync()?;
        mark.ends = ground.ends();
        mark.boot = boot_of(&ground.env);
        mark.clean = true;
        mark.write(&ground.env, &self.mark_path(), KIND)
    }
}

/// A ring, as housekeeping looks after it: open for as long as anybody has it.
pub(super) struct TendedRing {
    topic: Weak<TopicInner>,
    resting: Resting,
    id: [u64; 2],
    open: Mutex<Option<Arc<Ring>>>,
}

impl TendedRing {
    pub(super) fn new(topic: &Arc<TopicInner>, ring: &Arc<Ring>) -> Self {
        Self {
            topic: Arc::downgrade(topic),
            resting: Resting::of(&ring.ground),
            id: ring.id,
            open: Mutex::new(Some(ring.clone())),
        }
    }

    fn open_now(&self) -> Option<Arc<Ring>> {
        locked(&self.open).clone()
    }

    /// Unless somebody uses it. What its mark does not say is found in the log, or said at the
    /// clean close.
    fn release_unused(&self) {
        let topic = self.topic.upgrade();
        // As long as it is held, nobody is given the ring who does not have it.
        let _known = topic.as_ref().map(|topic| locked(&topic.rings));
        let mut open = locked(&self.open);
        if open
            .as_ref()
            .is_some_and(|ring| Arc::strong_count(ring) == 1)
        {
            *open = None;
        }
    }
}

impl Tended for TendedRing {
    fn is_gone(&self) -> bool {
        self.resting.is_gone()
    }

    fn tend(&self) -> Result<Pace> {
        if let Some(ring) = self.open_now().filter(|_| !self.is_gone()) {
            ring.move_mark(false)?;
        }
        self.release_unused();
        Ok(Pace::Idle)
    }

    fn close_clean(&self) -> Result<()> {
        if self.is_gone() {
            return Ok(());
        }
        let again = || Arc::new(Ring::new(self.resting.ground(), self.id));
        self.open_now().unwrap_or_else(again).close_clean()
    }
}
