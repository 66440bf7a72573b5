//! Ledgers in a backup (P8).
//!
//! Their entries are written anew, in no order, with a mark that is not clean: who uses the copy
//! first makes them ready as after a death, from these entries and from the records behind the
//! mark. The mark is no further than the copied logs are: an entry of what is not in the copy would
//! keep it from being sent there.

use std::path::Path;

use super::ground::Ground;
use super::ledger::Ledger;
use super::mark::Mark;
use super::ring::{self, KEPT, PLACES};
use super::tables;
use crate::error::{Error, ErrorKind, Result};
use crate::format::ledger::Entry;
use crate::format::names;
use crate::store::open::folder_mode;
use crate::store::topic::TopicInner;

/// Entries of one file.
const SOME: usize = 1 << 16;
/// How often a ledger is read again that was made anew meanwhile.
const TRIES: usize = 100;
/// An entry that is not whole so often is damaged, and not just being written.
const HALF_WRITTEN: usize = 5;

impl TopicInner {
    /// Writes what the topic's ledgers know of what is below these ends into a topic's folder. The
    /// copied logs begin at `starts`.
    pub(in crate::store) fn copy_ledgers(
        &self,
        folder: &Path,
        starts: &[u64],
        ends: &[u64],
    ) -> Result<()> {
        let env = &*self.store.env;
        let (storage, mode) = (&*env.storage, folder_mode(env.mode));
        if storage.exists(&self.tables.ground.folder)? {
            let into = folder.join(names::DEDUP);
            storage.create_dir(&into, mode)?;
            self.copy_tables(&into, ends)?;
        }
        let names = self.producer_names()?;
        if names.is_empty() {
            return Ok(());
        }
        let all = folder.join(names::PRODUCERS);
        storage.create_dir(&all, mode)?;
        for name in names {
            let into = all.join(&name);
            storage.create_dir(&into, mode)?;
            self.copy_ring(&name, &into, starts, ends)?;
        }
        storage.sync_dir(&all)
    }

    fn copy_tables(&self, into: &Path, ends: &[u64]) -> Result<()> {
        let (env, tables) = (&*self.store.env, &*self.tables);
        let read = || Mark::read(env, &tables.mark_path(), tables::KIND, ends.len());
        let mut seen = (read()?, tables.numbers()?);
        for tried in 0..TRIES {
            let (mut entries, mut sound) = (Vec::new(), true);
            for number in &seen.1 {
                let (some, bad) = match tables.open(*number)? {
                    Some(table) => table.all(),
                    None => (Vec::new(), true),
                };
                entries.extend(some);
                sound &= !bad;
            }
            let mut now = (read()?, tables.numbers()?);
            if !sound && tried < HALF_WRITTEN {
                seen = now;
                continue;
            }
            if tables.ground.is_gone() || !sound {
                // The mark may be another topic's by now, or vouch for what cannot be read: the
                // whole log tells of what was sent.
                (now.0, seen.0) = (None, None);
            }
            if now != seen {
                // Tables were sealed, removed or made anew meanwhile.
                seen = now;
                continue;
            }
            entries.retain(|entry| is_below(entry, ends));
            // One that takes entries is there in any case.
            let more = entries.chunks(SOME).skip(1);
            let first = &entries[..entries.len().min(SOME)];
            for (number, some) in (0..).zip(std::iter::once(first).chain(more)) {
                let capacity = (some.len() as u64).next_power_of_two().max(tables::FIRST);
                let ids = (self.uid, number, capacity);
                let path = into.join(names::table(number));
                Ledger::make(&*env.storage, &path, env.mode, ids, some)?;
            }
            let path = into.join(names::DEDUP_MARK);
            return write_mark(&tables.ground, tables::KIND, seen.0, ends, &path);
        }
        Err(changes(&tables.ground))
    }

    fn copy_ring(&self, name: &str, into: &Path, starts: &[u64], ends: &[u64]) -> Result<()> {
        let (env, ring) = (&*self.store.env, self.ring_beside(name)?);
        let read = || Mark::read(env, &ring.mark_path(), ring::KIND, ends.len());
        let mut seen = read()?;
        for _ in 0..TRIES {
            let entries = ring.open_file()?.map(|file| file.all().0);
            let mut now = read()?;
            if ring.ground.is_gone() {
                (now, seen) = (None, None);
            }
            if now != seen {
                seen = now;
                continue;
            }
            let mut known = ends;
            if let Some(mut entries) = entries {
                // One may be half written now.
                let wrapped = entries.len() + 1 >= PLACES as usize;
                entries.retain(|entry| is_below(entry, ends));
                if wrapped && entries.len() < KEPT {
                    // Newer ones stand where others stood that count: the copied logs, all of
                    // them, tell of those.
                    known = starts;
                }
                entries.sort_by_key(|entry| entry.key[0]);
                let ids = (self.uid, ring.id[0], PLACES);
                let path = into.join(names::RING);
                Ledger::make(&*env.storage, &path, env.mode, ids, &entries)?;
            }
            let path = into.join(names::PRODUCER_META);
            return write_mark(&ring.ground, ring::KIND, seen, known, &path);
        }
        Err(changes(&ring.ground))
    }
}

fn is_below(entry: &Entry, ends: &[u64]) -> bool {
    let end = ends.get(entry.partition as usize);
    end.is_some_and(|end| entry.offset < *end)
}

/// The mark of a copy, no further than it is known. Where there is none, the whole log is looked
/// through.
fn write_mark(
    ground: &Ground,
    kind: &str,
    read: Option<Mark>,
    ends: &[u64],
    path: &Path,
) -> Result<()> {
    let Some(mark) = read else {
        return Ok(());
    };
    let lower = |(known, end): (&u64, &u64)| *known.min(end);
    let copied = Mark {
        clean: false,
        sealed: Vec::new(),
        ends: mark.ends.iter().zip(ends).map(lower).collect(),
        ..mark
    };
    copied.write(&ground.env, path, kind)
}

#[cold]
fn changes(ground: &Ground) -> Error {
    let message = format!(
        "{} is made anew all the time; call again once that is over",
        ground.folder.display()
    );
    Error::new(ErrorKind::Busy, message)
}
