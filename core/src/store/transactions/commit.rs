//! The commit of a transaction; the steps are those of `mod.rs`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::durable::not_on_disk;
use super::finish::by_window;
use super::journal::{Entry, Journal};
use super::room::Room;
use super::transaction::{Gathered, Owned};
use crate::error::{Error, ErrorKind, Result};
use crate::format::extension;
use crate::format::journal::{Record, Settle};
use crate::format::record::body_crc;
use crate::group::{Now, Settled};
use crate::log::{Draft, Obstacle, Partition, Prepared};
use crate::options::Durability;
use crate::store::StoreInner;
use crate::store::flow::{Beat, Pass};
use crate::store::group::GroupInner;
use crate::store::inner::draw;
use crate::store::message::{MessageId, Receipt};

/// How long one log is waited for while others are held.
const GLANCE: Duration = Duration::from_millis(20);

/// The messages for one partition, in the order in which they were sent.
struct Part {
    log: Arc<Partition>,
    /// Their places in the transaction.
    places: Vec<usize>,
}

/// One try, under the journal's lock.
enum Tried {
    Done(Box<Entry>, Vec<MessageId>),
    /// Something slow has to be done first, without any lock.
    Way(usize, Obstacle),
    /// A log's lock is somebody's who lives.
    Held(usize),
    /// The journal's is, and others wait for what is held here.
    Busy,
    /// The journal has no room.
    Full,
}

/// What a commit goes on with while it is tried.
struct Try<'a> {
    parts: &'a [Part],
    drafts: &'a [Draft<'a>],
    id: u64,
    sync: bool,
}

impl Gathered {
    /// All or nothing. While there is no room in a topic it is waited for as long as `go_on` says
    /// so.
    pub(super) fn commit(
        self,
        store: &Arc<StoreInner>,
        go_on: Option<Beat<'_>>,
    ) -> Result<Vec<MessageId>> {
        self.follow(store)?;
        let parts = self.parts();
        let sync = self.is_sync(&parts);
        let id = draw();
        let tags = self.sends.iter().map(|owned| owned.extension(sync, id));
        let tags: Vec<Vec<u8>> = tags.collect();
        let drafts = self.sends.iter().zip(&tags);
        let drafts: Vec<Draft<'_>> = drafts.map(|(owned, tag)| owned.draft(tag)).collect();
        let one = Try {
            parts: &parts,
            drafts: &drafts,
            id,
            sync,
        };
        let (timeout, own) = (store.env.lock_timeout, self.own());
        let (mut room, mut busy) = (Room::new(), Duration::ZERO);
        let (entry, ids) = loop {
            let passes = room.enter(&self.gates(&drafts, &own, go_on))?;
            let began = Instant::now();
            match self.attempt(store, &one, passes)? {
                Tried::Done(entry, ids) => break (entry, ids),
                Tried::Way(number, obstacle) => {
                    let part = &parts[number];
                    part.log.clear_way(&obstacle, &part.of(&drafts))?;
                }
                Tried::Held(number) => parts[number].log.wait_for_lock(timeout)?,
                Tried::Busy => drop(store.hold_transactions(timeout)?),
                Tried::Full => drop(store.make_room_for_transactions(timeout)?),
            }
            // Not what was waited for room, which is as long as the topics say.
            busy += began.elapsed();
            if busy >= timeout {
                return Err(too_busy(store));
            }
            self.follow(store)?;
        };
        if sync {
            store
                .put_transactions_on_disk(entry.end.number)
                .map_err(not_on_disk)?;
        }
        self.settle(store, &entry);
        Ok(ids)
    }

    /// Before each try: none of it was deleted, and what is configured is in force.
    fn follow(&self, store: &StoreInner) -> Result<()> {
        store.check_send()?;
        for owned in &self.sends {
            owned.topic.follow()?;
        }
        for (group, _) in &self.acks {
            group.topic.follow()?;
        }
        Ok(())
    }

    /// What was marked is settled. What cannot be now is left to housekeeping, and to whoever looks
    /// at the marks: it has happened.
    fn settle(&self, store: &Arc<StoreInner>, entry: &Entry) {
        let mut all = true;
        for ((topic, group, partition), marks) in by_window(&entry.record.settles) {
            let mut known = self.acks.iter().map(|(known, _)| known);
            let known = known.find(|known| (known.topic.uid, known.uid) == (topic, group));
            let done = known.map(|known| known.settle_marks(partition, &marks));
            let gone = |error: &Error| error.kind() == ErrorKind::NotFound;
            all &= done.is_some_and(|done| done.as_ref().err().is_none_or(gone));
        }
        if all
            && let Ok(journal) = store.transactions()
            && let Ok(Some(file)) = journal.file()
        {
            journal.set_applied(&file, entry, true);
        } else {
            store.nudge();
        }
    }

    fn parts(&self) -> Vec<Part> {
        let mut parts: BTreeMap<(u64, u32), Part> = BTreeMap::new();
        for (place, owned) in self.sends.iter().enumerate() {
            let part = parts.entry((owned.topic.uid, owned.partition));
            let log = &owned.topic.partitions[owned.partition as usize];
            let part = part.or_insert_with(|| Part {
                log: log.clone(),
                places: Vec::new(),
            });
            part.places.push(place);
        }
        parts.into_values().collect()
    }

    /// Whether a power loss must not halve it: where any of the topics is `sync`, for anybody.
    fn is_sync(&self, parts: &[Part]) -> bool {
        let sync = |durability| durability == Durability::Sync;
        self.acks
            .iter()
            .any(|(group, _)| sync(group.topic.durability()))
            || self.sends.iter().any(|one| sync(one.topic.durability()))
            || parts.iter().any(|part| part.log.promises_sync())
    }

    /// With room for all of it, which is given back where it is not done.
    fn attempt(
        &self,
        store: &Arc<StoreInner>,
        one: &Try<'_>,
        passes: Vec<Pass<'_>>,
    ) -> Result<Tried> {
        let mut published = true;
        let tried = self.attempt_with(store, one, !passes.is_empty(), &mut published);
        let done = matches!(tried, Ok(Tried::Done(..)));
        for pass in passes {
            match published {
                true => pass.end(done),
                // Nobody counts before what has happened is there to be counted.
                false => pass.abandon(),
            }
        }
        tried
    }

    fn attempt_with(
        &self,
        store: &Arc<StoreInner>,
        one: &Try<'_>,
        others_wait: bool,
        published: &mut bool,
    ) -> Result<Tried> {
        let patience = match others_wait {
            true => GLANCE,
            false => store.env.lock_timeout,
        };
        let (held, journal) = match store.hold_transactions(patience) {
            Err(error) if error.kind() == ErrorKind::Stuck && others_wait => {
                return Ok(Tried::Busy);
            }
            held => held?,
        };
        let file = journal.make()?;
        let marks = self.mark(store)?;
        let tried = self.write(store, (journal, &file), one, &marks, published);
        // Before the lock is given back: nobody finds marks that no record speaks of.
        if !matches!(tried, Ok(Tried::Done(..))) {
            unmark(store, &marks);
        }
        drop(held);
        tried
    }

    /// Marks all that is to be settled; an error leaves nothing marked.
    fn mark(&self, store: &StoreInner) -> Result<Vec<(Arc<GroupInner>, Settle)>> {
        let now = Now::by(&*store.env.clock);
        let mut windows: BTreeMap<(u64, u64, u32), Vec<usize>> = BTreeMap::new();
        for (place, (group, receipt)) in self.acks.iter().enumerate() {
            let window = (group.topic.uid, group.uid, receipt.id.partition);
            windows.entry(window).or_default().push(place);
        }
        let (mut marked, mut stale) = (Vec::new(), Vec::new());
        for ((topic, uid, partition), places) in windows {
            let group = &self.acks[places[0]].0;
            if partition as usize >= group.windows.len() {
                stale.extend(places);
                continue;
            }
            let done = group.with_window(partition, |window| {
                let epoch = window.epoch();
                for place in places {
                    let receipt: &Receipt = &self.acks[place].1;
                    let (offset, attempt) = (receipt.id.offset, receipt.attempt);
                    let good = receipt.epoch == group.mark(epoch) && receipt.id.topic_id == topic;
                    if !good || window.mark(offset, attempt, now) != Settled::Done {
                        stale.push(place);
                        continue;
                    }
                    let settle = Settle {
                        group: uid,
                        topic,
                        partition,
                        offset,
                        attempt,
                        epoch,
                    };
                    marked.push((group.clone(), settle));
                }
            });
            if let Err(error) = done {
                unmark(store, &marked);
                return Err(error);
            }
        }
        if stale.is_empty() {
            return Ok(marked);
        }
        unmark(store, &marked);
        stale.sort_unstable();
        Err(Error::stale_in_transaction(stale, self.acks.len()))
    }

    /// With the journal's lock held and all marked: writes, happens, publishes.
    fn write(
        &self,
        store: &StoreInner,
        (journal, file): (&Journal, &super::journal::JournalFile),
        one: &Try<'_>,
        marks: &[(Arc<GroupInner>, Settle)],
        published: &mut bool,
    ) -> Result<Tried> {
        let (parts, drafts) = (one.parts, one.drafts);
        let mut prepared: Vec<Prepared<'_>> = Vec::with_capacity(parts.len());
        for (number, part) in parts.iter().enumerate() {
            let patience = match prepared.is_empty() {
                true => store.env.lock_timeout,
                // Those that are held already are not held for long for the sake of one.
                false => GLANCE,
            };
            match part.log.prepare(&part.of(drafts), patience) {
                Ok(Ok(one)) => prepared.push(one),
                Ok(Err(obstacle)) => return Ok(Tried::Way(number, obstacle)),
                Err(error) if error.kind() == ErrorKind::Stuck && !prepared.is_empty() => {
                    return Ok(Tried::Held(number));
                }
                Err(error) => return Err(error),
            }
        }
        let record = Record {
            id: one.id,
            sync: one.sync,
            wrap: false,
            sends: prepared.iter().map(Prepared::send).collect(),
            settles: marks.iter().map(|(_, settle)| *settle).collect(),
        };
        store.env.check_fence()?;
        let Some(end) = journal.write(file, &record)? else {
            return Ok(Tried::Full);
        };
        // It has happened. What cannot be published here is published by the next holder.
        let mut ids = vec![None; drafts.len()];
        for (part, one) in parts.iter().zip(prepared) {
            let send = one.send();
            for (turn, place) in (0..).zip(&part.places) {
                let topic_id = send.topic;
                ids[*place] = Some(MessageId {
                    topic_id,
                    partition: send.partition,
                    offset: send.offset + turn,
                });
            }
            *published &= one.publish().is_ok();
        }
        let place = journal.last(file)?.map_or(end, |entry| entry.place);
        if *published {
            journal.set_end(end);
        }
        let entry = Entry {
            place,
            end,
            record,
            applied: false,
        };
        Ok(Tried::Done(
            Box::new(entry),
            ids.into_iter().flatten().collect(),
        ))
    }
}

impl Part {
    fn of<'a>(&self, drafts: &[Draft<'a>]) -> Vec<Draft<'a>> {
        self.places.iter().map(|place| drafts[*place]).collect()
    }
}

/// Takes marks off again. What cannot be, since a window is not to be had, whoever looks at it when
/// its lease is over takes off.
fn unmark(store: &StoreInner, marks: &[(Arc<GroupInner>, Settle)]) {
    let now = Now::by(&*store.env.clock);
    for (group, settle) in marks {
        let hand_out = (settle.attempt, settle.epoch);
        let _ = group.with_window(settle.partition, |window| {
            window.unmark(settle.offset, hand_out, now);
        });
    }
}

impl Owned {
    /// With the transaction, where a recovery has to tell whether that has happened.
    fn extension(&self, sync: bool, id: u64) -> Vec<u8> {
        match sync {
            true => extension::of_transaction(&self.extension, id),
            false => self.extension.clone(),
        }
    }

    fn draft<'a>(&'a self, extension: &'a [u8]) -> Draft<'a> {
        let key = self.key.as_deref();
        Draft {
            extension,
            key,
            headers: &self.headers,
            payload: &self.payload,
            timestamp_ns: self.timestamp_ns,
            body_crc: body_crc([
                extension,
                key.unwrap_or_default(),
                &self.headers,
                &self.payload,
            ]),
            key_hash: self.key_hash,
        }
    }
}

#[cold]
fn too_busy(store: &StoreInner) -> Error {
    let message = format!(
        "the transaction found no room or no lock within {:?}: others were always faster; nothing \
         of it happened; try again, or raise lock_timeout",
        store.env.lock_timeout
    );
    Error::new(ErrorKind::Stuck, message)
}
