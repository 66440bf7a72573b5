//! Sending under a dedup id: a repeated one returns the first send's id, and appends nothing (P8).

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::room::Room;
use super::tables::{Known, Lookup, insert};
use super::tables_tend::{TendedTables, is_past};
use crate::error::{Error, ErrorKind, Result};
use crate::format::ledger::Entry;
use crate::format::names;
use crate::format::origin::{Origin, dedup_hash};
use crate::format::window::state;
use crate::log::Draft;
use crate::options::{DedupWindow, Durability};
use crate::store::flow::Way;
use crate::store::message::{Message, MessageId};
pub(super) use crate::store::send::SYNC_TIMEOUT;
use crate::store::send::sent_in_part;
use crate::store::topic::TopicInner;

/// Bytes of the longest dedup id.
pub(crate) const ID_BYTES: usize = 255;

type Place = (u32, u64);

/// What is known of the entries that were found so far.
#[derive(Default)]
struct Verdicts {
    good: HashSet<Place>,
    spent: HashSet<Place>,
}

/// A batch on its way.
struct Batch<'a> {
    drafts: &'a [Draft<'a>],
    numbers: &'a [u32],
    /// Of those with an id: its hash.
    hashes: Vec<Option<[u64; 2]>>,
    now_ms: u64,
    window: DedupWindow,
    /// Where each one is in the log, as far as it is known.
    places: Vec<Option<Place>>,
}

/// What a look at all ids of a batch came to.
enum Looked {
    /// These are to be appended, of each id the first.
    Fresh(Vec<usize>),
    /// First it is to be found out whether this entry counts.
    Ask(Entry),
    Damaged,
}

impl Batch<'_> {
    fn look(&mut self, known: &Known, verdicts: &Verdicts) -> Looked {
        let (mut fresh, mut mine) = (Vec::new(), HashMap::new());
        for place in 0..self.drafts.len() {
            let Some(hash) = self.hashes[place] else {
                if self.places[place].is_none() {
                    fresh.push(place);
                }
                continue;
            };
            self.places[place] = None;
            let Lookup::Found(found) = known.find(hash) else {
                return Looked::Damaged;
            };
            for entry in found {
                let at = (entry.partition, entry.offset);
                if verdicts.good.contains(&at) {
                    self.places[place] = Some(at);
                } else if !verdicts.spent.contains(&at)
                    && !is_past(entry.stamp_ms, self.now_ms, self.window)
                {
                    return Looked::Ask(entry);
                }
            }
            if self.places[place].is_none() && mine.insert(hash, place).is_none() {
                fresh.push(place);
            }
        }
        Looked::Fresh(fresh)
    }

    fn entry(&self, place: usize, at: Place) -> Option<Entry> {
        Some(Entry {
            key: self.hashes[place]?,
            partition: at.0,
            offset: at.1,
            stamp_ms: self.now_ms,
        })
    }

    /// Gives a repetition within the batch the place of the first one.
    fn fill_repeats(&mut self) {
        let of = |(hash, place): (&Option<[u64; 2]>, &Option<Place>)| Some(((*hash)?, (*place)?));
        let first: HashMap<_, _> = self
            .hashes
            .iter()
            .zip(&self.places)
            .filter_map(of)
            .collect();
        for (hash, place) in self.hashes.iter().zip(&mut self.places) {
            *place = place.or_else(|| first.get(hash.as_ref()?).copied());
        }
    }
}

impl TopicInner {
    /// Errors with [`ErrorKind::InvalidArgument`] unless the topic takes such an id.
    pub(super) fn check_dedup_id(&self, id: &[u8]) -> Result<()> {
        let message = match id.len() {
            0 => format!("the dedup id is empty; expected 1 to {ID_BYTES} bytes"),
            len if len > ID_BYTES => format!(
                "the dedup id has {len} bytes; expected 1 to {ID_BYTES}: send a hash of what is \
                 longer"
            ),
            _ if self.settings.dedup_window() == DedupWindow::Off => format!(
                "topic {:?} has no dedup_window, so it knows no dedup id; set it with configure \
                 or when the topic is created, to seconds or to \"until_settled\"",
                self.name
            ),
            _ => return Ok(()),
        };
        Err(Error::new(ErrorKind::InvalidArgument, message))
    }

    /// What a message says of how it was sent.
    pub(in crate::store) fn origin_of(&self, message: &Message<'_>) -> Result<Option<Origin>> {
        let Some(id) = message.dedup_id else {
            return Ok(None);
        };
        self.check_dedup_id(id)?;
        Ok(Some(Origin::Dedup {
            hash: dedup_hash(self.uid, id),
            sent_ms: self.store.env.clock.wall_ms(),
        }))
    }

    /// As `send_many`, where any message has an id.
    pub(in crate::store) fn send_unique(
        self: &Arc<Self>,
        messages: &[Message<'_>],
        way: &Way<'_>,
    ) -> Result<Vec<MessageId>> {
        let mut blocks: Vec<Vec<u8>> = vec![Vec::new(); messages.len()];
        let mut extensions: Vec<Vec<u8>> = vec![Vec::new(); messages.len()];
        let (mut drafts, mut numbers, mut hashes) = (Vec::new(), Vec::new(), Vec::new());
        let together = self.next_turn();
        let rooms = blocks.iter_mut().zip(&mut extensions);
        for (message, (block, extension)) in messages.iter().zip(rooms) {
            drafts.push(self.draft(message, block, extension)?);
            numbers.push(self.choose_or(message, together)?);
            hashes.push(message.dedup_id.map(|id| dedup_hash(self.uid, id)));
        }
        let batch = Batch {
            drafts: &drafts,
            numbers: &numbers,
            hashes,
            now_ms: self.store.env.clock.wall_ms(),
            window: self.settings.dedup_window(),
            places: vec![None; drafts.len()],
        };
        self.append_unique(batch, way)
    }

    fn append_unique(
        self: &Arc<Self>,
        mut batch: Batch<'_>,
        way: &Way<'_>,
    ) -> Result<Vec<MessageId>> {
        self.tend_tables();
        let tables = &*self.tables;
        let (mut verdicts, mut done) = (Verdicts::default(), Vec::new());
        let voids: Vec<u64> = self.partitions.iter().map(|log| log.voids()).collect();
        // What room was taken for: others may have sent some of it meanwhile.
        let asked = RefCell::new((Vec::new(), 0));
        let is_sent = || {
            let (hashes, seen) = &*asked.borrow();
            self.tables.count(hashes) > *seen
        };
        let go_on = || !is_sent() && way.goes_on();
        let way = Way {
            beat: Some(&go_on),
            ..*way
        };
        let (mut room, mut admitted) = (Room::default(), Vec::new());
        'again: loop {
            let (held, known) = tables.enter()?;
            // Who waited for room has followed what was configured meanwhile.
            batch.window = self.settings.dedup_window();
            let fresh = match batch.look(&known, &verdicts) {
                Looked::Fresh(fresh) => fresh,
                Looked::Ask(entry) => {
                    drop(held);
                    room.give_back();
                    let place = (entry.partition, entry.offset);
                    match self.still_counts(&entry, batch.window)? {
                        true => verdicts.good.insert(place),
                        false => verdicts.spent.insert(place),
                    };
                    continue;
                }
                Looked::Damaged => {
                    drop(held);
                    room.give_back();
                    tables.rebuild(&known)?;
                    continue;
                }
            };
            if fresh.is_empty() {
                break;
            }
            if known.room() < fresh.len() as u64 {
                drop(held);
                room.give_back();
                tables.grow(&known, fresh.len() as u64)?;
                continue;
            }
            if self.settings.is_limited() && !(room.is_taken() && admitted == fresh) {
                let hashes = fresh.iter().filter_map(|at| batch.hashes[*at]);
                let hashes: Vec<[u64; 2]> = hashes.collect();
                let seen = known.count(&hashes);
                drop(held);
                room.give_back();
                let drafts: Vec<Draft<'_>> = fresh.iter().map(|at| batch.drafts[*at]).collect();
                asked.replace((hashes, seen));
                room.take(&way.through(&drafts), &is_sent)?;
                admitted = fresh;
                continue;
            }
            let parts = parts_of(&fresh, batch.numbers);
            for (number, part) in &parts {
                let drafts: Vec<Draft<'_>> = part.iter().map(|at| batch.drafts[*at]).collect();
                let log = &self.partitions[*number as usize];
                tables.ground.intend(*number);
                room.is_used(true);
                // A death, or an error, from here on: the next holder looks what became of it.
                let sent = log.append_if_room(&drafts, room.was_made());
                let Some(first) = sent.map_err(|error| sent_in_part(error, &done))? else {
                    tables.ground.intend_nothing();
                    drop(held);
                    // What is in the log of the batch counts, and the rest until the next count.
                    room.is_used(!done.is_empty());
                    room.give_back();
                    self.make_room_for(&parts, batch.drafts)
                        .map_err(|error| sent_in_part(error, &done))?;
                    room.is_made();
                    continue 'again;
                };
                for (turn, place) in (0..).zip(part) {
                    let at = (*number, first + turn);
                    batch.places[*place] = Some(at);
                    if let (Some(entry), Some(newest)) = (batch.entry(*place, at), known.newest()) {
                        insert(newest, &entry);
                        verdicts.good.insert(at);
                    }
                }
                tables.ground.intend_nothing();
                done.push(*number as usize);
            }
            break;
        }
        room.give_back();
        batch.fill_repeats();
        let place = |place: Option<Place>| place.ok_or_else(unplaced);
        let places: Result<Vec<Place>> = batch.places.iter().map(|one| place(*one)).collect();
        let ids: Vec<MessageId> = places?
            .iter()
            .map(|(part, at)| self.id(*part, *at))
            .collect();
        if self.durability() == Durability::Sync {
            self.wait_for(&ids, &voids)?;
        }
        Ok(ids)
    }

    /// Without the lock: what can fail for want of space fails before anything is sent.
    fn make_room_for(&self, parts: &[(u32, Vec<usize>)], drafts: &[Draft<'_>]) -> Result<()> {
        for (number, part) in parts {
            let part: Vec<Draft<'_>> = part.iter().map(|at| drafts[*at]).collect();
            self.partitions[*number as usize].make_room(&part)?;
        }
        Ok(())
    }

    /// Without any lock: whether what an entry speaks of keeps its id from being sent again.
    pub(super) fn still_counts(
        self: &Arc<Self>,
        entry: &Entry,
        window: DedupWindow,
    ) -> Result<bool> {
        let Some(log) = self.partitions.get(entry.partition as usize) else {
            return Ok(false);
        };
        // A failed sync took records back; they were said not to be in the log (P5).
        if log.voids() != 0 && !self.tables.stands(entry)? {
            return Ok(false);
        }
        Ok(!self.is_spent(entry, window)?)
    }

    /// Whether an entry keeps its id from being sent no more.
    pub(super) fn is_spent(self: &Arc<Self>, entry: &Entry, window: DedupWindow) -> Result<bool> {
        if window == DedupWindow::UntilSettled {
            return self.is_settled_by_all(entry.partition, entry.offset);
        }
        Ok(is_past(
            entry.stamp_ms,
            self.store.env.clock.wall_ms(),
            window,
        ))
    }

    /// Whether every group has settled a message, also those that nobody has open. Without a group
    /// nothing is settled (P15).
    fn is_settled_by_all(self: &Arc<Self>, partition: u32, offset: u64) -> Result<bool> {
        let groups = self
            .store
            .env
            .storage
            .list(&self.folder.join(names::GROUPS))?;
        let mut any = false;
        for name in groups {
            if names::is_reserved(&name) || !self.has_group(&name)? {
                continue;
            }
            let group = match self.group_inner(&name) {
                // Deleted just now.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                opened => opened?,
            };
            any = true;
            let seen = group.with_window(partition, |window| window.seen(offset))?;
            if seen.state != state::SETTLED {
                return Ok(false);
            }
        }
        Ok(any)
    }

    /// Has housekeeping look after the tables, from the first use on.
    pub(super) fn tend_tables(self: &Arc<Self>) {
        self.tables_tended.call_once(|| {
            let part = TendedTables::of(self);
            let folder = self.tables.ground.folder.clone();
            self.store.tend(folder, Arc::new(part));
        });
    }
}

/// By partition, those that are to be appended.
fn parts_of(fresh: &[usize], numbers: &[u32]) -> Vec<(u32, Vec<usize>)> {
    let mut parts = std::collections::BTreeMap::<u32, Vec<usize>>::new();
    for place in fresh {
        parts.entry(numbers[*place]).or_default().push(*place);
    }
    parts.into_iter().collect()
}

#[cold]
fn unplaced() -> Error {
    let message = "a message of a batch with dedup ids has no place";
    Error::new(ErrorKind::Internal, message)
}
