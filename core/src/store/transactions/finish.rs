//! What is left to be done of transactions that have happened, by whoever comes: publishing what
//! they sent, settling what they marked; and marks of those that have not happened.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::journal::{Entry, Journal, JournalFile};
use crate::error::{Error, ErrorKind, Result};
use crate::format::journal::{Place, Send, Settle};
use crate::format::names;
use crate::group::Now;
use crate::log::Partition;
use crate::shm::{Acquired, Held};
use crate::store::StoreInner;
use crate::store::group::GroupInner;
use crate::store::group_meta;
use crate::store::housekeeping::{Pace, Tended};
use crate::store::inner::locked;

/// How long housekeeping waits for the one who writes.
const GLANCE: Duration = Duration::from_millis(5);

impl StoreInner {
    /// The journal of a store that may be written.
    pub(super) fn transactions(&self) -> Result<&Arc<Journal>> {
        let read_only = || self.check_writable("use transactions").err();
        self.journal.as_ref().ok_or_else(|| {
            let message = "the store has no journal of transactions";
            read_only().unwrap_or_else(|| Error::new(ErrorKind::Internal, message))
        })
    }

    /// The journal's lock, with all published that has happened. Whoever cannot publish it leaves
    /// the lock as a dead owner would.
    pub(super) fn hold_transactions(
        self: &Arc<Self>,
        patience: Duration,
    ) -> Result<(Held<'_>, &Arc<Journal>)> {
        use crate::log::Transactions;
        let journal = self.transactions()?;
        journal.begin_life()?;
        let (held, how) = journal.hold(patience)?;
        let ready = (self.env.check_fence()).and_then(|()| self.publish_last(journal, how));
        match ready {
            Ok(()) => Ok((held, journal)),
            Err(error) if how == Acquired::Clean && error.kind() == ErrorKind::Closed => Err(error),
            Err(error) => {
                held.abandon();
                Err(error)
            }
        }
    }

    /// With the journal's lock held: the record at the end has happened, and its process died, or
    /// all did, perhaps before it was published everywhere.
    fn publish_last(self: &Arc<Self>, journal: &Journal, how: Acquired) -> Result<()> {
        let Some(file) = journal.file()? else {
            return Ok(());
        };
        let last = journal.last(&file)?;
        if let Some(entry) = &last {
            for send in &entry.record.sends {
                let published = self.log_of(send).and_then(|log| match log {
                    Some(log) => log.finish_transaction(),
                    None => Ok(()),
                });
                match published {
                    Err(error) if is_gone(&error) => {}
                    done => done?,
                }
            }
            journal.set_end(entry.end);
        }
        if how != Acquired::Clean {
            // It may have said so of a record that it never wrote.
            let (synced, end) = (journal.synced(), journal.end()?.number);
            journal.set_promised(journal.promised().min(end).max(synced));
        }
        Ok(())
    }

    /// The log that a transaction sent to; `None` of a topic that was deleted.
    pub(super) fn log_of(self: &Arc<Self>, send: &Send) -> Result<Option<Arc<Partition>>> {
        let topic = self.topic_of(send.topic)?;
        Ok(topic.and_then(|topic| topic.partitions.get(send.partition as usize).cloned()))
    }

    /// Settles what transactions marked that have happened, and whose processes did not come to it.
    /// Any number may do this at once.
    pub(in crate::store) fn finish_transactions(
        self: &Arc<Self>,
        patience: Duration,
    ) -> Result<()> {
        let Some(journal) = &self.journal else {
            return Ok(());
        };
        let Some(file) = journal.file()? else {
            return Ok(());
        };
        let entries = {
            let _held = self.hold_transactions(patience)?;
            journal.entries(&file)?
        };
        let mut done = Ok(());
        for entry in entries.iter().filter(|entry| !entry.applied) {
            // One that cannot be finished keeps no other from it.
            done = done.and(self.finish(journal, &file, entry));
        }
        done
    }

    fn finish(
        self: &Arc<Self>,
        journal: &Arc<Journal>,
        file: &JournalFile,
        entry: &Entry,
    ) -> Result<()> {
        if entry.record.sync {
            // Or a power loss could leave what is settled, and take what was sent for it.
            self.put_transactions_on_disk(entry.end.number)?;
        }
        self.settle_entry(entry)?;
        journal.set_applied(file, entry, true);
        Ok(())
    }

    /// Settles what a transaction marked. What was deleted since, or is damaged, has nothing left
    /// to settle.
    pub(super) fn settle_entry(self: &Arc<Self>, entry: &Entry) -> Result<()> {
        for ((topic, group, partition), marks) in by_window(&entry.record.settles) {
            let settled = match self.group_of(topic, group) {
                Ok(Some(group)) => group.settle_marks(partition, &marks),
                Ok(None) => Ok(()),
                Err(error) => Err(error),
            };
            match settled {
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Damaged) => {}
                done => done?,
            }
        }
        Ok(())
    }

    /// The group, or redrive lane, with this id in the topic with that one, opened if this process
    /// had not; `None` where it was deleted.
    pub(super) fn group_of(
        self: &Arc<Self>,
        topic: u64,
        group: u64,
    ) -> Result<Option<Arc<GroupInner>>> {
        let Some(topic) = self.topic_of(topic)? else {
            return Ok(None);
        };
        let open = |known: &Arc<GroupInner>| known.uid == group;
        let known = locked(&topic.groups)
            .values()
            .filter_map(Weak::upgrade)
            .find(open);
        if known.is_some() {
            return Ok(known);
        }
        let groups = topic.folder.join(names::GROUPS);
        let meta_of =
            |folder: &std::path::Path| group_meta::read_meta(self, &folder.join(names::GROUP_META));
        let uid_of = |folder: &std::path::Path| meta_of(folder).map(|meta| meta.id);
        let Some(name) = self.name_of(group, &groups, uid_of)? else {
            return Ok(None);
        };
        if !names::is_reserved(&name) {
            return topic.group_inner(&name).map(Some);
        }
        // A lane is opened by its group.
        let Some((of, owner)) = meta_of(&groups.join(&name))?.lane_of else {
            return Ok(None);
        };
        let owner = self.topic_inner(&of)?.group_inner(&owner)?;
        Ok(owner.lane()?.filter(|lane| lane.uid == group))
    }

    /// Takes marks off that no transaction speaks of which has happened, in one window: those of a
    /// process that died, or could not take them off. What others speak of is settled.
    pub(in crate::store) fn tidy_marks(
        self: &Arc<Self>,
        group: &GroupInner,
        partition: u32,
        patience: Duration,
    ) -> Result<()> {
        let Some(journal) = &self.journal else {
            return Ok(());
        };
        // Under the journal's lock nobody is between marking and having happened.
        let held = self.hold_transactions(patience)?;
        let entries = match journal.file()? {
            Some(file) => journal.entries(&file)?,
            None => Vec::new(),
        };
        let mine = |settle: &&Settle| settle.group == group.uid && settle.partition == partition;
        let speaks: HashSet<(u64, u32, u32)> = entries
            .iter()
            .filter(|entry| !entry.applied)
            .flat_map(|entry| entry.record.settles.iter().filter(mine))
            .map(|settle| (settle.offset, settle.attempt, settle.epoch))
            .collect();
        let now = Now::by(&*self.env.clock);
        let count = group.with_window(partition, |window| {
            let epoch = window.epoch();
            let keep = |offset, attempt| speaks.contains(&(offset, attempt, epoch));
            window.unmark_others(keep, now)
        })?;
        drop(held);
        if count > 0 {
            group.wake(count);
        }
        match speaks.is_empty() {
            true => Ok(()),
            false => self.finish_transactions(patience),
        }
    }

    /// What transactions that have happened marked in this window and, as far as is known, is not
    /// settled: for who begins a life of it. Behind it what is not to be settled before it is on
    /// disk.
    pub(in crate::store) fn marks_to_settle(
        &self,
        group: u64,
        partition: u32,
    ) -> Result<(Vec<Settle>, Vec<Settle>)> {
        let (mut on_disk, mut promised) = (Vec::new(), Vec::new());
        if let Some(journal) = &self.journal
            && let Some(file) = journal.file()?
        {
            let synced = journal.synced();
            let entries = journal.entries(&file)?;
            for entry in entries.iter().filter(|entry| !entry.applied) {
                let mine = |one: &&Settle| one.group == group && one.partition == partition;
                let mine = entry.record.settles.iter().filter(mine).copied();
                match entry.record.sync && entry.place.number >= synced {
                    true => promised.extend(mine),
                    false => on_disk.extend(mine),
                }
            }
        }
        Ok((on_disk, promised))
    }

    /// Puts on disk, and settles, what all processes that did so left before it was there.
    pub(in crate::store) fn finish_promised(self: &Arc<Self>) -> Result<()> {
        match &self.journal {
            // Not while somebody syncs, who may be this one.
            Some(journal) if journal.may_sync() => self.finish_transactions(GLANCE),
            _ => Ok(()),
        }
    }

    /// Before anything of a group is looked at in a new life: the journal says what has happened.
    pub(in crate::store) fn begin_transactions(&self) -> Result<()> {
        use crate::log::Transactions;
        self.journal
            .as_ref()
            .map_or(Ok(()), |journal| journal.begin_life())
    }
}

impl GroupInner {
    /// The time of a lease is over that a transaction has marked. What cannot be told now, since
    /// its process is in the middle of it, is looked at again soon.
    pub(in crate::store) fn look_at_marks(&self, partition: u32) {
        let _ = self.topic.store.tidy_marks(self, partition, GLANCE);
    }

    /// Settles marks of a transaction that has happened.
    pub(super) fn settle_marks(&self, partition: u32, marks: &[Settle]) -> Result<()> {
        let Some(log) = self.topic.partitions.get(partition as usize) else {
            return Ok(());
        };
        if partition as usize >= self.windows.len() {
            return Ok(());
        }
        let ready = self.with_window(partition, |window| {
            let full = window.is_full(window.cursor().offset);
            for mark in marks {
                window.settle_marked(mark.offset, (mark.attempt, mark.epoch));
            }
            self.may_come(window, log, full)
        })?;
        if ready > 0 {
            self.wake(u32::try_from(ready).unwrap_or(u32::MAX));
        }
        Ok(())
    }
}

/// Whether it says that something was deleted meanwhile, or is damaged: that costs itself, and no
/// transaction of others (P3).
pub(super) fn is_gone(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Damaged)
}

/// Hand-outs by the window that they are in: topic, group, partition.
pub(super) fn by_window(settles: &[Settle]) -> BTreeMap<(u64, u64, u32), Vec<Settle>> {
    let mut found: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for one in settles {
        let window = found.entry((one.topic, one.group, one.partition));
        window.or_default().push(*one);
    }
    found
}

/// Housekeeping's part of the journal.
pub(super) struct TendedJournal {
    store: Weak<StoreInner>,
    /// The first record that was not applied when it was last looked at, as a word.
    seen: AtomicU64,
}

impl StoreInner {
    /// Has housekeeping look after the journal: before all topics, whose files rely on it.
    pub(in crate::store) fn tend_transactions(self: &Arc<Self>) {
        let part = TendedJournal {
            store: Arc::downgrade(self),
            seen: AtomicU64::new(0),
        };
        self.tend(self.path.clone(), Arc::new(part));
    }
}

impl Tended for TendedJournal {
    /// Makes room before it is needed, and finishes what nobody came to: one that is there still at
    /// the second look is of a process that died, or could not.
    fn tend(&self) -> Result<Pace> {
        let Some(store) = self.store.upgrade() else {
            return Ok(Pace::Idle);
        };
        let Some(journal) = store.journal.as_ref().filter(|journal| journal.is_ready()) else {
            return Ok(Pace::Idle);
        };
        let Some(file) = journal.file()? else {
            return Ok(Pace::Idle);
        };
        let (used, area) = journal.used()?;
        if used > area / 2 {
            store.make_room_for_transactions(GLANCE)?;
            return Ok(Pace::Soon);
        }
        let entries = journal.entries(&file)?;
        let open = entries.iter().find(|entry| !entry.applied);
        let word = open.map_or(0, |entry: &Entry| Place::word(entry.place));
        let before = self.seen.swap(word, Ordering::Relaxed);
        if word != 0 && before == word {
            store.finish_transactions(GLANCE)?;
        }
        Ok(if word == 0 { Pace::Idle } else { Pace::Soon })
    }

    fn sync(&self) -> Result<()> {
        let Some(store) = self.store.upgrade() else {
            return Ok(());
        };
        let promised = store
            .journal
            .as_ref()
            .map_or(0, |journal| journal.promised());
        store.put_transactions_on_disk(promised)
    }
}
