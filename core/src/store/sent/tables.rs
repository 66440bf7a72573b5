//! The tables of a topic's dedup ids: open addressing, in files that only ever take entries.
//!
//! The newest table takes them; when it is half full another one, up to four times as large, is
//! made beside it. So nothing is ever moved, and nothing grows under a lock. A table goes when all
//! its entries are spent (`tables_tend.rs`).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use super::ground::Ground;
use super::ledger::Ledger;
use super::mark::Mark;
use crate::error::{ErrorKind, Result};
use crate::format::control::sent as at;
use crate::format::ledger::{Entry, Slot};
use crate::format::names;
use crate::format::origin::Origin;
use crate::options::DedupWindow;
use crate::shm::Held;
use crate::store::inner::{draw, locked};

/// Entries of the first table.
pub(super) const FIRST: u64 = 1 << 10;
/// And of the largest that follows another one.
const LARGEST: u64 = 1 << 22;
/// Up to so many places a table has four times as many as the one before, else twice as many.
const QUICKLY: u64 = 1 << 18;
/// Kind of the mark.
pub(super) const KIND: &str = "dedup";

/// A topic's dedup ids.
pub(crate) struct Tables {
    pub(super) ground: Ground,
    known: Mutex<Arc<Known>>,
    /// The mark as it was read or written last, and in which state.
    pub(super) marked: Mutex<(u64, Mark)>,
    /// By which window `looked_at` of the oldest table goes.
    pub(super) looked_by: Mutex<Option<DedupWindow>>,
}

/// The tables that there were in one state.
#[derive(Default)]
pub(super) struct Known {
    pub(super) state: u64,
    /// By number, the newest last.
    pub(super) tables: Vec<Arc<Ledger>>,
}

/// What a look into the tables came to.
pub(super) enum Lookup {
    Found(Vec<Entry>),
    /// Something that is no entry stands there.
    Damaged,
}

impl Known {
    /// How many entries there are of these ids.
    pub(super) fn count(&self, hashes: &[[u64; 2]]) -> usize {
        let of = |hash: &[u64; 2]| match self.find(*hash) {
            Lookup::Found(found) => found.len(),
            Lookup::Damaged => 0,
        };
        hashes.iter().map(of).sum()
    }

    /// All entries with this hash.
    pub(super) fn find(&self, hash: [u64; 2]) -> Lookup {
        let mut found = Vec::new();
        for table in self.tables.iter().rev() {
            for step in 0..table.capacity {
                match table.get(hash[1].wrapping_add(step) & (table.capacity - 1)) {
                    Slot::Empty => break,
                    Slot::Bad => return Lookup::Damaged,
                    Slot::Taken(entry) if entry.key == hash => found.push(entry),
                    Slot::Taken(_) => {}
                }
            }
        }
        Lookup::Found(found)
    }

    pub(super) fn has(&self, entry: &Entry) -> bool {
        let place = |one: &Entry| (one.partition, one.offset);
        match self.find(entry.key) {
            Lookup::Found(found) => found.iter().any(|one| place(one) == place(entry)),
            Lookup::Damaged => false,
        }
    }

    /// The table that takes entries.
    pub(super) fn newest(&self) -> Option<&Arc<Ledger>> {
        self.tables.last()
    }

    /// How many more entries there is room for.
    pub(super) fn room(&self) -> u64 {
        self.newest()
            .map_or(0, |newest| room_in(newest.capacity, newest.used()))
    }
}

fn room_in(capacity: u64, used: u64) -> u64 {
    (capacity / 2).saturating_sub(used)
}

/// Writes an entry into a table; false where no place is free.
pub(super) fn insert(table: &Ledger, entry: &Entry) -> bool {
    for step in 0..table.capacity {
        let place = entry.key[1].wrapping_add(step) & (table.capacity - 1);
        if table.get(place) == Slot::Empty {
            table.count_one();
            table.put(place, entry);
            return true;
        }
    }
    false
}

impl Tables {
    pub(crate) fn new(ground: Ground) -> Self {
        Self {
            ground,
            known: Mutex::default(),
            marked: Mutex::default(),
            looked_by: Mutex::default(),
        }
    }

    pub(super) fn path(&self, number: u64) -> PathBuf {
        self.ground.folder.join(names::table(number))
    }

    pub(super) fn mark_path(&self) -> PathBuf {
        self.ground.folder.join(names::DEDUP_MARK)
    }

    /// Numbers of the tables that there are.
    pub(super) fn numbers(&self) -> Result<Vec<u64>> {
        let found = self.ground.env.storage.list(&self.ground.folder)?;
        Ok(found
            .iter()
            .filter_map(|name| names::parse_table(name))
            .collect())
    }

    /// A table's file, if it is there and whole.
    pub(super) fn open(&self, number: u64) -> Result<Option<Ledger>> {
        let ids = (self.ground.topic, number);
        match Ledger::open(&*self.ground.env.storage, &self.path(number), ids) {
            Err(error) if error.kind() == ErrorKind::Damaged => Ok(None),
            opened => opened,
        }
    }

    /// The tables, made ready in this life; with the lock held, and nothing left to finish.
    pub(super) fn enter(&self) -> Result<(Held<'_>, Arc<Known>)> {
        loop {
            let known = self.known()?;
            let (held, left) = self.ground.hold()?;
            // A table was added or removed meanwhile. What is left is left to the next look.
            if self.ground.ready() != known.state {
                continue;
            }
            if left {
                self.finish(&known)?;
            }
            return Ok((held, known));
        }
    }

    /// Whether an entry speaks of something, after a failed sync.
    pub(super) fn stands(&self, entry: &Entry) -> Result<bool> {
        let same = |origin| matches!(origin, Origin::Dedup { hash, .. } if hash == entry.key);
        self.ground.stands(entry, (&self.mark_path(), KIND), same)
    }

    /// How many entries there are of these ids by now; 0 where that cannot be told.
    pub(super) fn count(&self, hashes: &[[u64; 2]]) -> usize {
        let entered = self.enter();
        entered.map_or(0, |(_held, known)| known.count(hashes))
    }

    /// With the lock held: the entries of who appended and died, or failed, before he wrote them.
    /// Whoever dies in here, or fails, leaves it to the next one as it was (P17).
    fn finish(&self, known: &Known) -> Result<()> {
        if let Some((partition, from)) = self.ground.intent()
            && let Some(newest) = known.newest()
        {
            for (offset, origin) in self.ground.scan(partition, from)?.sent {
                if let Some(entry) = entry_of(origin, partition, offset)
                    && !known.has(&entry)
                {
                    insert(newest, &entry);
                }
            }
        }
        self.ground.intend_nothing();
        Ok(())
    }

    /// The tables that there are, made ready in this life.
    pub(super) fn known(&self) -> Result<Arc<Known>> {
        loop {
            let state = self.ground.ready();
            if state == 0 {
                self.begin(0, false)?;
                continue;
            }
            let before = locked(&self.known).clone();
            if before.state == state {
                return Ok(before);
            }
            match self.open_all(state, &before)? {
                Some(known) => {
                    let known = Arc::new(known);
                    *locked(&self.known) = known.clone();
                    return Ok(known);
                }
                None => self.begin(state, true)?,
            }
        }
    }

    /// `None` where one is damaged or missing.
    fn open_all(&self, state: u64, before: &Known) -> Result<Option<Known>> {
        let newest = self.ground.head.load(at::TABLE, Ordering::Acquire);
        let mut open: BTreeMap<u64, Arc<Ledger>> = before
            .tables
            .iter()
            .map(|one| (one.owner, one.clone()))
            .collect();
        let mut tables = Vec::new();
        for number in self.numbers()? {
            // One that is being made.
            if number > newest {
                continue;
            }
            let table = match open.remove(&number) {
                Some(known) => Some(known),
                None => self.open(number)?.map(Arc::new),
            };
            match table {
                Some(table) => tables.push(table),
                // Removed since the folder was listed.
                None if !self.ground.env.storage.exists(&self.path(number))? => {}
                None => return Ok(None),
            }
        }
        let whole = tables.last().is_some_and(|last| last.owner == newest);
        Ok(whole.then_some(Known { state, tables }))
    }

    /// Without the lock: makes room for so many entries, in another table.
    pub(super) fn grow(&self, known: &Known, entries: u64) -> Result<()> {
        let _slow = self.ground.hold_slowly()?;
        if self.ground.ready() != known.state {
            return Ok(());
        }
        let (number, before) = known
            .newest()
            .map_or((0, FIRST), |newest| (newest.owner, newest.capacity));
        let least = entries.saturating_mul(4).next_power_of_two();
        let factor = if before < QUICKLY { 4 } else { 2 };
        let capacity = (before * factor).min(LARGEST).max(least).max(FIRST);
        let env = &*self.ground.env;
        let ids = (self.ground.topic, number + 1, capacity);
        Ledger::make(&*env.storage, &self.path(number + 1), env.mode, ids, &[])?;
        let (_held, _) = self.ground.hold()?;
        // A death before the second leaves a table that is not known yet, and no harm.
        self.ground
            .head
            .store(at::TABLE, number + 1, Ordering::Release);
        self.ground.set_ready(draw());
        Ok(())
    }

    /// A table was found damaged while it was looked into: all are made anew from the log.
    pub(super) fn rebuild(&self, known: &Known) -> Result<()> {
        self.begin(known.state, true)
    }
}

/// The entry of a record with a dedup id.
pub(super) fn entry_of(origin: Origin, partition: u32, offset: u64) -> Option<Entry> {
    let Origin::Dedup { hash, sent_ms } = origin else {
        return None;
    };
    Some(Entry {
        key: hash,
        partition,
        offset,
        stamp_ms: sent_ms,
    })
}
