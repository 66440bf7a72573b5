//! Putting transactions on disk (P2, P8), and making room in their journal.
//!
//! One caller does it for all that have happened so far, of all processes; the others wait for his
//! lock and find it done. First the logs and the windows that the records speak of, then the
//! journal: so a record that is on disk is whole (`life.rs`), and what a power loss leaves of each
//! log has no holes. A sync that fails is never taken for a good one: the log's pages are written
//! again before the next (`log/rewrite.rs`), and so are a window's and the journal's. What
//! transactions sent is not taken back then: they have happened, and are on disk once a sync
//! succeeds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::finish::{by_window, is_gone};
use super::journal::{Entry, Journal, JournalFile};
use crate::error::{Error, ErrorKind, Result};
use crate::format::journal::Send;
use crate::shm::Acquired;
use crate::store::StoreInner;

/// How long a transaction waits for the disk.
const SYNC_TIMEOUT: Duration = Duration::from_secs(60);

impl StoreInner {
    /// Returns once all transactions below this number are on disk that have to be.
    pub(in crate::store) fn put_transactions_on_disk(self: &Arc<Self>, below: u64) -> Result<()> {
        let Some(journal) = &self.journal else {
            return Ok(());
        };
        if journal.synced() >= below {
            return Ok(());
        }
        let (held, how) = journal.hold_sync(SYNC_TIMEOUT)?;
        if journal.synced() >= below {
            return Ok(());
        }
        let Some(file) = journal.file()? else {
            return Ok(());
        };
        let done = self.sync_transactions(journal, &file, (how, self.env.lock_timeout));
        let done = done.map(|_| ());
        match done {
            Err(error) if how != Acquired::Clean => {
                // What a dead one left may be a failed sync of which nobody knows.
                held.abandon();
                Err(error)
            }
            done => done,
        }
    }

    /// With the lock of syncing held: all that has happened is on disk; what that is.
    fn sync_transactions(
        self: &Arc<Self>,
        journal: &Arc<Journal>,
        file: &JournalFile,
        (how, patience): (Acquired, Duration),
    ) -> Result<Vec<Entry>> {
        let (entries, end) = {
            let _held = self.hold_transactions(patience)?;
            (journal.entries(file)?, journal.end()?)
        };
        let synced = journal.synced();
        let new = |entry: &&Entry| entry.record.sync && entry.place.number >= synced;
        let new: Vec<&Entry> = entries.iter().filter(new).collect();
        if how != Acquired::Clean || synced == 0 {
            file.map.dirty(0, file.map.limit());
        }
        if !new.is_empty() {
            for (_, send) in last_of_each(&new) {
                self.sync_log(&send)?;
            }
            self.sync_windows(&new)?;
            if let Err(error) = file.file.sync() {
                file.map.dirty(0, file.map.limit());
                return Err(error);
            }
        }
        // After the syncs: a death in between costs them again, never a false mark.
        journal.set_synced(end.number);
        Ok(entries)
    }

    fn sync_log(self: &Arc<Self>, send: &Send) -> Result<()> {
        let Some(log) = present(self.log_of(send))?.flatten() else {
            return Ok(());
        };
        match log.ensure_durable(send.end(), SYNC_TIMEOUT) {
            // Its sync failed, and that was made good for the next one.
            Err(error) if error.kind() == ErrorKind::Poisoned => log.sync(),
            Err(error) if is_gone(&error) => Ok(()),
            done => done,
        }
    }

    fn sync_windows(self: &Arc<Self>, entries: &[&Entry]) -> Result<()> {
        let windows: BTreeSet<_> = entries
            .iter()
            .flat_map(|entry| by_window(&entry.record.settles).into_keys())
            .collect();
        for (topic, group, partition) in windows {
            let synced = match self.group_of(topic, group) {
                Ok(Some(group)) if (partition as usize) < group.windows.len() => {
                    group.sync_window(partition)
                }
                Ok(_) => Ok(()),
                Err(error) => Err(error),
            };
            match synced {
                Err(error) if is_gone(&error) => {}
                done => done?,
            }
        }
        Ok(())
    }

    /// Makes the room of all records free that were there when this began. What they did must not
    /// need them any more: it is settled; and where a power loss counts, what was settled is on
    /// disk, and so is that no recovery looks further back in the logs than behind what they sent.
    /// False where somebody has one of the locks for longer than this, and is at it, or syncs, or
    /// commits; with the patience of all locks that is an error.
    pub(in crate::store) fn make_room_for_transactions(
        self: &Arc<Self>,
        patience: Duration,
    ) -> Result<bool> {
        let Some(journal) = &self.journal else {
            return Ok(true);
        };
        let Some(file) = journal.file()? else {
            return Ok(true);
        };
        self.begin_transactions()?;
        let busy =
            |error: &Error| error.kind() == ErrorKind::Stuck && patience < self.env.lock_timeout;
        let (held, how) = match journal.hold_sync(patience) {
            Err(error) if busy(&error) => return Ok(false),
            held => held?,
        };
        match self.free(journal, &file, (how, patience)) {
            Err(error) if how != Acquired::Clean => {
                held.abandon();
                Err(error)
            }
            Err(error) if busy(&error) => Ok(false),
            done => done.map(|()| true),
        }
    }

    /// Has the journal speak of nothing that was done before this began, as `make_room` does; cheap
    /// where it speaks of nothing.
    pub(in crate::store) fn forget_transactions(
        self: &Arc<Self>,
        patience: Duration,
    ) -> Result<bool> {
        if let Some(journal) = &self.journal
            && (journal.file()?.is_none() || journal.used()?.0 == 0)
        {
            return Ok(true);
        }
        self.make_room_for_transactions(patience)
    }

    fn free(
        self: &Arc<Self>,
        journal: &Arc<Journal>,
        file: &JournalFile,
        how: (Acquired, Duration),
    ) -> Result<()> {
        let entries = self.sync_transactions(journal, file, how)?;
        for entry in entries.iter().filter(|entry| !entry.applied) {
            self.settle_entry(entry)?;
            journal.set_applied(file, entry, true);
        }
        let Some(last) = entries.last() else {
            return Ok(());
        };
        let sync: Vec<&Entry> = entries.iter().filter(|entry| entry.record.sync).collect();
        if !sync.is_empty() {
            self.sync_windows(&sync)?;
            for (_, send) in last_of_each(&sync) {
                self.note_log(&send)?;
            }
        }
        self.env.check_fence()?;
        journal.write_slot(file, last.end)?;
        if !sync.is_empty() {
            // Before its room is used again: from an older slot on none of the records that are
            // written there would be found.
            file.file
                .sync()
                .inspect_err(|_| file.map.dirty(0, file.map.limit()))?;
        }
        journal.set_head(last.end);
        Ok(())
    }

    fn note_log(self: &Arc<Self>, send: &Send) -> Result<()> {
        let Some(log) = present(self.log_of(send))?.flatten() else {
            return Ok(());
        };
        present(log.note_on_disk((send.segment, send.end_position(), send.end()))).map(drop)
    }
}

/// What is there; nothing of what was deleted, or is damaged.
fn present<T>(found: Result<T>) -> Result<Option<T>> {
    match found {
        Err(error) if is_gone(&error) => Ok(None),
        found => found.map(Some),
    }
}

/// Of each partition the last that was sent to it, which is behind all others.
fn last_of_each(entries: &[&Entry]) -> BTreeMap<(u64, u32), Send> {
    let mut last = BTreeMap::new();
    for send in entries.iter().flat_map(|entry| &entry.record.sends) {
        last.insert((send.topic, send.partition), *send);
    }
    last
}

/// The error of a transaction that has happened and is not on disk.
#[cold]
pub(super) fn not_on_disk(error: Error) -> Error {
    error.context(
        "the transaction is done, and is not on disk: a power loss would take back all of it, \
         until a sync succeeds; do not do it again; check the disk, then call sync()",
    )
}
