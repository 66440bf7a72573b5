//! Making the tables ready in a new life of the store, or anew after damage.
//!
//! What was closed cleanly is used as it is. Else a new table is made of the entries of those that
//! were not sealed, and of the records behind the mark. Each step can be repeated: the new table is
//! on disk before those that it stands for go, and the mark moves last.

use std::collections::HashMap;
use std::ops::Range;

use super::checked::Checked;
use super::ledger::Ledger;
use super::mark::{Mark, boot_of};
use super::tables::{FIRST, KIND, Tables, entry_of, insert};
use crate::error::{Error, ErrorKind, Result};
use crate::format::control::sent as at;
use crate::format::ledger::{CAPACITY_MAX, Entry};
use crate::store::inner::{draw, locked};
use crate::store::open::folder_mode;

/// Partition and offset, and the entry that speaks of it.
type Entries = HashMap<(u32, u64), Entry>;

impl Tables {
    /// Unless somebody else did it since the state was `seen`. With `whole` from the whole log, and
    /// of what is not there any more by the entries below the mark.
    pub(super) fn begin(&self, seen: u64, whole: bool) -> Result<()> {
        let ground = &self.ground;
        let _slow = ground.hold_slowly()?;
        if ground.ready() != seen {
            return Ok(());
        }
        if seen != 0 {
            // From here on nobody is inside, and nobody comes in.
            let (_held, _) = ground.hold()?;
            ground.set_ready(0);
        }
        let (newest, mark) = self.make_ready(whole)?;
        let state = draw();
        *locked(&self.marked) = (state, mark);
        ground.head.set(at::TABLE, newest);
        // Last: a death before has the next one do it again.
        ground.set_ready(state);
        Ok(())
    }

    /// With the slow lock held; the number of the table that takes entries.
    fn make_ready(&self, whole: bool) -> Result<(u64, Mark)> {
        let ground = &self.ground;
        let (env, storage) = (&*ground.env, &*ground.env.storage);
        // Looked at before the log is.
        let durable = ground.durable_ends();
        let fresh = !storage.exists(&ground.folder)?;
        let read = match fresh {
            true => None,
            false => Mark::read(env, &self.mark_path(), KIND, ground.partitions.len())?,
        };
        if read.is_none() {
            // Also by who finds the folder of one that died before it was on disk: a power loss
            // would take it with all in it, and its absence would say that no id was ever sent.
            storage.create_dir(&ground.folder, folder_mode(env.mode))?;
            if let Some(parent) = ground.folder.parent() {
                storage.sync_dir(parent)?;
            }
        }
        let mark = if fresh {
            // The first use of all: nothing that was sent so far has an id.
            let ends = ground.ends();
            Some(Mark {
                ends,
                boot: boot_of(env),
                ..Mark::default()
            })
        } else {
            read
        };
        let numbers = self.numbers()?;
        let mut open = Vec::new();
        for number in &numbers {
            open.extend(self.open(*number)?);
        }
        let sealed = mark.as_ref().map_or(&[][..], |mark| &mark.sealed);
        let there = |number: &u64| open.iter().any(|table: &Ledger| table.owner == *number);
        let lacking = open.len() < numbers.len() || !sealed.iter().all(there);
        let whole = whole || lacking || mark.is_none();
        let mut mark = mark.unwrap_or_else(|| Mark {
            ends: vec![0; ground.partitions.len()],
            ..Mark::default()
        });
        if whole {
            (mark.clean, mark.boot) = (false, boot_of(env));
            mark.sealed.clear();
        }
        let last_sealed = mark.sealed.iter().max().copied();
        let is_open = |number: u64| last_sealed.is_none_or(|last| number > last);
        if mark.clean
            && let Some(newest) = numbers.last().copied().filter(|last| is_open(*last))
        {
            // On disk before anything is changed.
            mark.clean = false;
            mark.write(env, &self.mark_path(), KIND)?;
            return Ok((newest, mark));
        }
        let Some(entries) = self.gather((&open, &is_open), &mark, whole)? else {
            return self.make_ready(true);
        };
        let newest = numbers
            .last()
            .max(last_sealed.as_ref())
            .map_or(0, |last| last + 1);
        self.write(newest, &entries)?;
        // The mark comes after: with it entries are believed that were dropped here.
        for number in numbers {
            if !mark.sealed.contains(&number) {
                storage.unlink(&self.path(number))?;
            }
        }
        storage.sync_dir(&ground.folder)?;
        mark.ends = durable;
        mark.boot = boot_of(env);
        mark.clean = false;
        mark.write(env, &self.mark_path(), KIND)?;
        Ok((newest, mark))
    }

    /// The entries of the open tables that speak of something, and of the log behind the mark.
    /// `None` where an entry is damaged, which no power loss explains.
    fn gather(
        &self,
        (tables, is_open): (&[Ledger], &dyn Fn(u64) -> bool),
        mark: &Mark,
        whole: bool,
    ) -> Result<Option<Entries>> {
        let checked = Checked::of(&self.ground, mark, whole)?;
        let mut entries = Entries::new();
        for table in tables.iter().filter(|table| is_open(table.owner)) {
            let (found, bad) = table.all();
            let from_start = whole || mark.ends.iter().all(|end| *end == 0);
            if bad && mark.boot == boot_of(&self.ground.env) && !from_start {
                return Ok(None);
            }
            let sound = found.into_iter().filter(|entry| checked.may_stand(entry));
            entries.extend(sound.map(|entry| ((entry.partition, entry.offset), entry)));
        }
        for (partition, offset, origin) in checked.sent() {
            if let Some(entry) = entry_of(origin, partition, offset) {
                entries.insert((partition, offset), entry);
            }
        }
        Ok(Some(entries))
    }

    /// Makes the table that takes entries, with these in it, on disk.
    fn write(&self, number: u64, entries: &Entries) -> Result<()> {
        let capacity = (entries.len() as u64 * 4).next_power_of_two().max(FIRST);
        if capacity > CAPACITY_MAX {
            let message = format!(
                "{}: more dedup ids than {CAPACITY_MAX}; give the topic a shorter dedup_window",
                self.ground.what
            );
            return Err(Error::new(ErrorKind::TooMany, message));
        }
        let (env, ids) = (&*self.ground.env, (self.ground.topic, number, capacity));
        Ledger::make(&*env.storage, &self.path(number), env.mode, ids, &[])?;
        let table = self.open(number)?.ok_or_else(|| {
            let message = format!("{} is gone at once", self.path(number).display());
            Error::new(ErrorKind::Internal, message)
        })?;
        for entry in entries.values() {
            insert(&table, entry);
        }
        table.sync()
    }
}

/// Whether any of the ranges has the offset.
pub(super) fn any_has(ranges: &[Range<u64>], offset: u64) -> bool {
    ranges.iter().any(|range| range.contains(&offset))
}
