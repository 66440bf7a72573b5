//! Syncing: one caller syncs for everyone that has published so far, across processes (P2).

use std::time::{Duration, Instant};

use super::append::Draft;
use super::{Gate, NONE, Partition, Room};
use crate::error::{Error, ErrorKind, Result};
use crate::format::control::partition::{PROMISED_SYNC, REWRITE};
use crate::format::record::END;
use crate::shm::{EventCount, OwnerLock};

use super::segment::Found;

const BEAT: Duration = Duration::from_millis(50);
/// The longest wait for others who are to send.
const GATHERING: Duration = Duration::from_millis(1);
/// How long housekeeping waits for one who syncs.
const GLANCE: Duration = Duration::from_millis(5);

impl Partition {
    /// The first offset that a power loss may take.
    pub fn durable_offset(&self) -> u64 {
        self.block.synced()
    }

    /// As `append_in`, and returns once what was appended is on disk. Errors with
    /// [`ErrorKind::Timeout`] after `timeout`, and when a sync failed; then, where anyone sends
    /// with durability `sync`, nothing of it is in the log (P5).
    pub fn append_durably(
        &self,
        drafts: &[Draft<'_>],
        room: Room,
        timeout: Duration,
    ) -> Result<u64> {
        let voids = self.voids();
        let first = self.append_in(drafts, room)?;
        self.ensure_durable_since(first + drafts.len() as u64, voids, timeout)?;
        Ok(first)
    }

    /// As `append_durably`, through a gate.
    pub fn append_durably_through(
        &self,
        drafts: &[Draft<'_>],
        room: Room,
        timeout: Duration,
        gate: &impl Gate,
    ) -> Result<u64> {
        let voids = self.voids();
        let first = self.append_through(drafts, room, gate)?;
        self.ensure_durable_since(first + drafts.len() as u64, voids, timeout)?;
        Ok(first)
    }

    /// How often what was not on disk was taken back, to be asked before an append and shown to
    /// `ensure_durable_since`.
    pub fn voids(&self) -> u64 {
        self.block.voids()
    }

    /// As `ensure_durable` of what was appended since `voids` was asked for. What was taken back
    /// after a failed sync is not taken for durable when a later sync passes its offset.
    pub fn ensure_durable_since(&self, end: u64, voids: u64, timeout: Duration) -> Result<()> {
        self.ensure_durable_with(end, timeout, true)?;
        if self.block.voids() != voids && !self.has(end.saturating_sub(1))? {
            return Err(self.lost_sync(end));
        }
        Ok(())
    }

    /// Returns once all that is published is on disk; an error if any of it was taken back since
    /// `voids` was asked for.
    pub fn ensure_kept_since(&self, voids: u64, timeout: Duration) -> Result<()> {
        let end = self.next_offset();
        self.ensure_durable(end, timeout)?;
        if self.block.voids() != voids {
            return Err(self.lost_sync(end));
        }
        Ok(())
    }

    /// Returns once all records below `offset` are on disk, by syncing or by waiting for whoever
    /// syncs. Errors with [`ErrorKind::Timeout`] after `timeout`, with [`ErrorKind::Poisoned`] when
    /// the sync failed.
    pub fn ensure_durable(&self, offset: u64, timeout: Duration) -> Result<()> {
        self.ensure_durable_with(offset, timeout, false)
    }

    /// `gathers`: who syncs waits a moment for others, as those do who send.
    fn ensure_durable_with(&self, offset: u64, timeout: Duration, gathers: bool) -> Result<()> {
        // A time beyond all clocks is for ever.
        let deadline = Instant::now().checked_add(timeout);
        let lock = self.block.sync_lock();
        while self.block.synced() < offset {
            if self.block.poisoned() {
                self.end_rewrite(offset, deadline)?;
                if !self.block.poisoned() {
                    continue;
                }
                return Err(self.lost_sync(offset));
            }
            let held = OwnerLock::try_hold(lock, self.env.me);
            let mine = held.is_some();
            if let Some(held) = held {
                let done = match self.block.synced() < offset {
                    true => self.sync_for_all(gathers, deadline),
                    // Somebody did since it was looked at.
                    false => Ok(()),
                };
                drop(held);
                EventCount::notify(self.block.sync_event(), u32::MAX);
                done?;
                if self.block.large().is_none() {
                    continue;
                }
            }
            let token = EventCount::prepare(self.block.sync_event());
            if self.block.synced() >= offset {
                return Ok(());
            }
            // What else would be notified of may have come before the announcement: the lock was
            // given back by one who had not seen these records, or the large batch is there.
            let again = if mine {
                self.block.large().is_none()
            } else {
                OwnerLock::is_free(lock)
            };
            if again {
                continue;
            }
            if EventCount::wait(self.block.sync_event(), token, BEAT) {
                continue;
            }
            let left = deadline.map_or(BEAT, |at| at.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return Err(self.late(offset, "it is in the log and will follow"));
            }
            self.tend_large()?;
            self.inherit_sync(left)?;
        }
        Ok(())
    }

    /// With the sync lock held; with `gathers` others are waited for before, who are to send.
    fn sync_for_all(&self, gathers: bool, deadline: Option<Instant>) -> Result<()> {
        let asleep = || EventCount::announced(self.block.sync_event());
        if gathers {
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            self.gather
                .wait(left.map_or(GATHERING, |left| left.min(GATHERING)), asleep);
        }
        self.env.check_fence()?;
        let began = Instant::now();
        self.sync_all(gathers)?;
        self.gather.learn(asleep(), began.elapsed());
        Ok(())
    }

    /// After a failed sync of another one: nobody is told that its message is not in the log before
    /// that is so. The other one may have died in the middle (P5). Who may not wait so long for the
    /// lock learns that the time is over, and not more.
    #[cold]
    fn end_rewrite(&self, offset: u64, deadline: Option<Instant>) -> Result<()> {
        let (env, lock) = (&*self.env, self.block.sync_lock());
        let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        let patience = left.map_or(env.lock_timeout, |left| left.min(env.lock_timeout));
        match OwnerLock::hold(lock, env.me, &*env.live, patience) {
            Err(error) if error.kind() == ErrorKind::Stuck && patience < env.lock_timeout => {
                let what = "an earlier sync failed, and what became of it is not known yet";
                Err(self.late(offset, what))
            }
            held => held.and_then(|_held| self.rewrite_unsynced()),
        }
    }

    #[cold]
    fn late(&self, offset: u64, what: &str) -> Error {
        let message = format!(
            "{}: offset {offset} is not on disk in time, the durable offset is {}; {what}",
            self.folder.display(),
            self.block.synced()
        );
        Error::new(ErrorKind::Timeout, message)
    }

    /// A beat has passed: if the one who syncs died, its lock is taken over and given back; what it
    /// had not marked as synced is synced again by the next.
    fn inherit_sync(&self, left: Duration) -> Result<()> {
        let env = &*self.env;
        let lock = self.block.sync_lock();
        match OwnerLock::hold(lock, env.me, &*env.live, left.min(BEAT)) {
            Err(error) if error.kind() != ErrorKind::Stuck => Err(error),
            _ => Ok(()),
        }
    }

    /// Puts everything that is published now on disk. Also the way out of a failed sync.
    pub fn sync(&self) -> Result<()> {
        self.sync_if(|| self.env.check_fence())
    }

    /// As `sync`, by the thread that leaves, when all others of its member are kept out.
    pub fn sync_leaving(&self) -> Result<()> {
        self.sync_if(|| Ok(()))
    }

    fn sync_if(&self, allowed: impl FnOnce() -> Result<()>) -> Result<()> {
        let env = &*self.env;
        let lock = self.block.sync_lock();
        let (held, _) = OwnerLock::hold(lock, env.me, &*env.live, env.lock_timeout)?;
        let done = allowed().and_then(|()| self.sync_all(false));
        drop(held);
        EventCount::notify(self.block.sync_event(), u32::MAX);
        done
    }

    /// With the sync lock held; whether for who sends.
    fn sync_all(&self, sends: bool) -> Result<()> {
        if self.block.poisoned() {
            self.rewrite_unsynced()?;
        }
        let (base, (marked, position, offset)) = {
            let _held = self.lock()?;
            let tail = (
                self.block.segment(),
                self.block.position(),
                self.block.next_offset(),
            );
            // What is being copied is not on disk after the sync, whatever stands behind it.
            (tail.0, self.block.large().unwrap_or(tail))
        };
        if base == NONE {
            // No record is there; offsets may have been passed over.
            self.block.set_synced(marked, position, offset);
            return Ok(());
        }
        // A roll may have come behind the last sync, with nothing appended since: the mark follows.
        let marked_here = self.block.mark().0 == base;
        if self.block.synced() == offset && marked_here && !self.block.poisoned() {
            return Ok(());
        }
        if sends {
            self.make_piece(marked, position);
        }
        match self.sync_segments(base) {
            Ok(()) => {
                // Mark after sync: a death in between costs a second sync, never a false mark.
                self.block.set_synced(marked, position, offset);
                self.block.set_poisoned(0);
                Ok(())
            }
            Err(error) => Err(self.after_failed_sync(error)?),
        }
    }

    /// All segments from the durable mark to this one, and the folder if there are new ones.
    fn sync_segments(&self, last: u64) -> Result<()> {
        let began = Instant::now();
        let done = self.sync_from_mark(last);
        self.block.count_sync(began.elapsed());
        done
    }

    fn sync_from_mark(&self, last: u64) -> Result<()> {
        let (marked, ..) = self.block.mark();
        if marked == last && last == self.block.segment() {
            return match self.segment(last)? {
                Some(segment) => segment.sync(),
                None => Ok(()),
            };
        }
        if self.first_kept() > last {
            // Nothing of it would be found, and counted as synced.
            return Err(self.changed());
        }
        for base in self.bases()? {
            if (marked == NONE || base >= marked)
                && base <= last
                && let Some(segment) = self.usable(base)?
            {
                segment.sync()?;
            }
        }
        self.env.storage.sync_dir(&self.folder)
    }

    /// Nobody can tell which pages reached the disk, and the kernel will not try them again. The
    /// partition takes nothing until a sync of rewritten pages succeeds. Said before anything else:
    /// who dies in between leaves the rewriting to the next one that syncs.
    #[cold]
    fn after_failed_sync(&self, error: Error) -> Result<Error> {
        self.block.set_poisoned(REWRITE);
        self.rewrite_unsynced()?;
        let what = if self.block.promised() & PROMISED_SYNC != 0 {
            "the messages that were not on disk yet are taken back"
        } else {
            "what was sent is kept, and is put on disk by the next sync"
        };
        Ok(error.context(what))
    }

    /// The segment before the active one and where its END record is, unless something is still
    /// being copied there or the mark is behind it already. With the sync lock held.
    fn last_sealed(&self, active: u64) -> Result<Option<(u64, u64)>> {
        let (sealed, end) = self.block.sealed();
        let copying = self.block.large().is_some_and(|(base, _, _)| base < active);
        if copying || sealed >= active || self.block.synced() >= active {
            return Ok(None);
        }
        let Some(segment) = self.segment(sealed)? else {
            return Ok(None);
        };
        // Words of a roller that died, or of no roll yet, name no END record.
        let closes = matches!(
            segment.at(end),
            Found::Record(header, _) if header.kind == END && header.offset == active
        );
        Ok(closes.then_some((sealed, end)))
    }

    /// Housekeeping: what was sealed is put on disk and the mark moved behind it, also in the file,
    /// so that a recovery never walks further back than the last roll (P19). A failed sync of an
    /// earlier time is tried again, with pages that were written anew.
    pub fn sync_sealed(&self) -> Result<()> {
        if !self.block.recovered() || self.block.limit() == 0 {
            return Ok(());
        }
        if self.block.poisoned() {
            return self.sync();
        }
        let active = self.block.segment();
        if active == NONE || self.block.synced() >= active {
            return Ok(());
        }
        let env = &*self.env;
        // Long enough to see that the one who has it died, and to take it over.
        let lock = self.block.sync_lock();
        let held = match OwnerLock::hold(lock, env.me, &*env.live, GLANCE) {
            Err(error) if error.kind() == ErrorKind::Stuck => return Ok(()),
            held => held?.0,
        };
        env.check_fence()?;
        if self.block.poisoned() {
            // Another's sync failed meanwhile: one that succeeds now would prove nothing.
            drop(held);
            return self.sync();
        }
        let Some((sealed, end)) = self.last_sealed(active)? else {
            return Ok(());
        };
        if let Err(error) = self.sync_segments(sealed) {
            if self.first_kept() > sealed {
                // Retention took it meanwhile, and syncs what it needs itself: nothing that is kept
                // was to be put on disk here, so nothing of it failed to be.
                return Ok(());
            }
            return Err(self.after_failed_sync(error)?);
        }
        // Mark after sync, at the END record: that the next segment is whole is not known yet.
        self.block.set_synced(sealed, end, active);
        drop(held);
        EventCount::notify(self.block.sync_event(), u32::MAX);
        let _slow = self.hold_slow()?;
        self.write_reserve(self.block.limit(), false)
    }

    #[cold]
    fn lost_sync(&self, offset: u64) -> Error {
        let what = if self.block.promised() & PROMISED_SYNC != 0 {
            "the message is not in the log; check the disk, then send again"
        } else {
            "it is in the log, but not on disk; check the disk, then call sync()"
        };
        Error::new(
            ErrorKind::Poisoned,
            format!(
                "{}: the sync that should have put offset {offset} on disk failed; {what}",
                self.folder.display()
            ),
        )
    }

    /// By the last member that leaves: everything on disk, the exact end in the reserve, so that
    /// the next life starts without a walk and without a gap in the offsets.
    pub fn close_clean(&self) -> Result<()> {
        if !self.block.recovered() || self.block.limit() == 0 {
            return Ok(());
        }
        self.tend_large()?;
        self.sync_leaving()?;
        let end = (
            self.block.segment(),
            self.block.position(),
            self.block.next_offset(),
        );
        if !self.transactions_on_disk() {
            // A recovery has to look at what they sent, which a clean end would keep it from.
            return Ok(());
        }
        if self.block.mark() != end || !self.block.fits_its_tail(end.0, end.1, end.2) {
            // Somebody wrote into `control`. The file keeps the mark of an earlier time, from which
            // the next life finds the end.
            return Ok(());
        }
        self.write_reserve(end.2, true)
    }
}
