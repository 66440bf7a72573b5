//! The sparse index: where in a segment to begin looking.
//!
//! Of a sealed segment it is a file, made by whoever first looks for something in it; of the active
//! one it is kept in memory and grows with it. An entry is believed only if the record that it
//! names stands where it says.

use std::sync::PoisonError;

use super::Partition;
use super::segment::{Found, Segment};
use crate::error::Result;
use crate::format::index::{self, Entry, SPACING};
use crate::format::names;
use crate::format::record::{self, END, MESSAGE, RESERVED};
use crate::format::segment::RECORDS;
use crate::storage::{Access, replace_file_by};

/// The index of the segment that was last looked into.
#[derive(Default)]
pub(super) struct Known {
    base: u64,
    salt: u32,
    entries: Vec<Entry>,
}

impl Partition {
    /// The position of the last indexed record that is not `beyond` what is looked for; where the
    /// records begin if there is none.
    pub(super) fn begin_in(&self, segment: &Segment, beyond: impl Fn(&Entry) -> bool) -> u64 {
        let start = RECORDS as u64;
        let mut known = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        if known.base != segment.base() || known.salt != segment.index_salt() {
            *known = Known {
                base: segment.base(),
                salt: segment.index_salt(),
                entries: self.read_index(segment).unwrap_or_default(),
            };
        }
        let sealed = grow(segment, &mut known.entries);
        if let Some(count) = sealed
            && count > 0
        {
            // A cache: without it the next one walks again.
            let _ = self.write_index(segment, &known.entries);
        }
        let place = known.entries.partition_point(|entry| !beyond(entry));
        let Some(entry) = place.checked_sub(1).map(|place| known.entries[place]) else {
            return start;
        };
        match segment.at(entry.position) {
            Found::Record(header, _) if header.offset == entry.offset => entry.position,
            // A power loss took what the index spoke of.
            _ => {
                known.entries.clear();
                start
            }
        }
    }

    fn read_index(&self, segment: &Segment) -> Option<Vec<Entry>> {
        let path = self.folder.join(names::index(segment.base()));
        let storage = &*self.env.storage;
        let file = storage.open(&path, Access::Read, 0).ok()?;
        let most = (segment.capacity() / SPACING + 1) as usize * index::ENTRY + index::HEADER;
        let len = usize::try_from(file.len().ok()?).ok()?;
        let mut bytes = vec![0; len.min(most)];
        file.read_at(&mut bytes, 0).ok()?;
        index::decode(&bytes, segment.index_salt())
    }

    /// Without a lock between members: each has a file of his own until it is whole, and whoever
    /// dies in the middle leaves that and what others have written. Of the threads of one, who may
    /// have the partition open twice, one writes at a time.
    fn write_index(&self, segment: &Segment, entries: &[Entry]) -> Result<()> {
        let (base, env) = (segment.base(), &*self.env);
        let Ok(_writes) = env.indexing.try_lock() else {
            return Ok(());
        };
        env.check_fence()?;
        let bytes = index::encode(segment.index_salt(), entries);
        let unfinished = names::unfinished_index(base, env.me.slot);
        let [path, unfinished] =
            [names::index(base), unfinished].map(|name| self.folder.join(name));
        replace_file_by(&*env.storage, &path, &unfinished, &bytes, env.mode)
    }
}

/// Walks on from the last entry. If the segment is sealed: how many entries were added.
fn grow(segment: &Segment, entries: &mut Vec<Entry>) -> Option<usize> {
    let before = entries.len();
    let last = entries.last().map(|entry| entry.position);
    let mut position = last.unwrap_or(RECORDS as u64);
    let mut due = last.map_or(RECORDS as u64 + SPACING, |last| last + SPACING);
    while let Found::Record(header, length) = segment.at(position) {
        if header.kind == END {
            return Some(entries.len() - before);
        }
        if header.kind == RESERVED {
            return None;
        }
        if header.kind == MESSAGE && position >= due {
            entries.push(Entry {
                offset: header.offset,
                timestamp_ns: header.timestamp_ns,
                position,
            });
            due = position + SPACING;
        }
        position += record::padded(u64::from(length));
    }
    None
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::path::Path;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

    use super::super::tests::{ALIVE, draft, env_on, open};
    use super::*;
    use crate::log::{Durability, Env};
    use crate::shm::Owner;
    use crate::storage::{Event, Storage, Twin};

    /// Asks for a place in a sealed segment, of which the index is written on the way.
    fn look(partition: &Partition) {
        let segment = partition.segment(0).expect("open").expect("is");
        partition.begin_in(&segment, |_| false);
    }

    /// The partition once more: for the same member, or as another one has it open.
    fn open_again(partition: &Partition, by: Option<Owner>) -> Arc<Partition> {
        let env = by.map_or_else(
            || partition.env.clone(),
            |me| {
                let env = env_on(partition.env.storage.clone());
                Arc::new(Env { me, ..env })
            },
        );
        let folder = partition.folder.clone();
        let (block, told) = (partition.block.0.clone(), Arc::new(|_| ()));
        Partition::open(env, folder, block, (7, 0), Durability::Process, told).expect("open")
    }

    /// Two write the same index: before the file of the one takes its name the other one begins
    /// with his, and dies at this event. Whether he came so far.
    fn is_whole_though_one_dies(at: u32, other: Option<Owner>) -> bool {
        let (twin, folder) = (Arc::new(Twin::new()), Path::new("/t/0"));
        twin.create_dir(Path::new("/t"), 0o770).expect("folder");
        let mine = open(twin.clone(), folder);
        while mine.bases().expect("bases").len() < 2 {
            mine.append(&[draft(&[7; 50_000])]).expect("append");
        }
        let theirs = open_again(&mine, other);
        let (is_in, dies) = (AtomicBool::new(false), Arc::new(AtomicBool::new(false)));
        let (events, died) = (AtomicU32::new(0), dies.clone());
        twin.watch(Some(Arc::new(move |_: &Twin, event| {
            if is_in.load(Ordering::Relaxed) {
                let dies_here = events.fetch_add(1, Ordering::Relaxed) + 1 == at;
                assert!(!dies_here, "the other one dies");
            } else if event == Event::Syncing {
                is_in.store(true, Ordering::Relaxed);
                let done = catch_unwind(AssertUnwindSafe(|| look(&theirs)));
                died.store(done.is_err(), Ordering::Relaxed);
                is_in.store(false, Ordering::Relaxed);
            }
        })));
        look(&mine);
        twin.watch(None);
        let segment = mine.segment(0).expect("open").expect("is");
        let entries = mine.read_index(&segment).expect("whole");
        assert!(!entries.is_empty());
        dies.load(Ordering::Relaxed)
    }

    #[test]
    fn p17_a_death_while_two_write_an_index_leaves_a_whole_one() {
        let other = Some(Owner { slot: 2, ..ALIVE });
        let deaths = (1..99).take_while(|at| is_whole_though_one_dies(*at, other));
        assert!(
            (4..98).contains(&deaths.count()),
            "made, written, synced, named"
        );
        // Another thread of the same member leaves it to the one who is at it.
        assert!(!is_whole_though_one_dies(1, None));
    }
}
