//! What housekeeping does for a topic's dedup ids: it moves the mark, and removes tables of which
//! all entries are spent.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, Weak};

use super::ground::Resting;
use super::mark::{Mark, boot_of};
use super::tables::{KIND, Known, Tables};
use crate::error::Result;
use crate::format::control::sent as at;
use crate::format::ledger::Slot;
use crate::options::DedupWindow;
use crate::store::housekeeping::{Pace, Tended};
use crate::store::in_force::InForce;
use crate::store::inner::{draw, locked};
use crate::store::topic::TopicInner;

/// Entries that are looked at in one beat.
const SOME: u64 = 1 << 16;

/// The tables, as housekeeping looks after them: open for as long as anybody has the topic.
pub(super) struct TendedTables {
    topic: Weak<TopicInner>,
    resting: Resting,
    open: Mutex<Option<Arc<Tables>>>,
}

impl TendedTables {
    pub(super) fn of(topic: &Arc<TopicInner>) -> Self {
        Self {
            topic: Arc::downgrade(topic),
            resting: Resting::of(&topic.tables.ground),
            open: Mutex::new(Some(topic.tables.clone())),
        }
    }

    fn open_now(&self) -> Option<Arc<Tables>> {
        locked(&self.open).clone()
    }
}

impl Tended for TendedTables {
    fn is_gone(&self) -> bool {
        self.resting.is_gone()
    }

    fn tend(&self) -> Result<Pace> {
        let Some(tables) = self.open_now().filter(|_| !self.is_gone()) else {
            return Ok(Pace::Idle);
        };
        let Some(topic) = self.topic.upgrade() else {
            // What the mark does not say is found in the log, or said at the clean close.
            *locked(&self.open) = None;
            return Ok(Pace::Idle);
        };
        if tables.ground.ready() != 0 {
            tables.move_mark(false)?;
            tables.remove_spent(&topic)?;
        }
        Ok(Pace::Idle)
    }

    fn close_clean(&self) -> Result<()> {
        if self.is_gone() {
            return Ok(());
        }
        let again = || Arc::new(Tables::new(self.resting.ground()));
        let tables = self.open_now().unwrap_or_else(again);
        match tables.ground.ready() {
            0 => Ok(()),
            _ => tables.close_clean(),
        }
    }
}

impl Tables {
    /// Puts tables on disk and moves the mark, where a segment was closed behind it or a table
    /// takes no more entries; or in any case.
    pub(super) fn move_mark(&self, now: bool) -> Result<()> {
        let due = |mark: &Mark, newest: u64| {
            let lacking = self.numbers().map(|numbers| {
                let open = |number: &u64| *number < newest && !mark.sealed.contains(number);
                numbers.iter().any(open)
            });
            Ok::<_, crate::Error>(now || lacking? || self.ground.has_rolled_since(&mark.ends))
        };
        let (state, seen) = locked(&self.marked).clone();
        let newest = self.ground.head.load(at::TABLE, Ordering::Acquire);
        if state == self.ground.ready() && !due(&seen, newest)? {
            return Ok(());
        }
        let _slow = self.ground.hold_slowly()?;
        let ground = &self.ground;
        let count = ground.partitions.len();
        let state = ground.ready();
        // Somebody else may have moved it.
        let read = Mark::read(&ground.env, &self.mark_path(), KIND, count)?;
        let (Some(mark), true) = (read, state != 0) else {
            return Ok(());
        };
        let newest = ground.head.load(at::TABLE, Ordering::Acquire);
        let mark = match due(&mark, newest)? {
            true => self.write_mark(mark)?,
            false => mark,
        };
        *locked(&self.marked) = (state, mark);
        Ok(())
    }

    /// With the slow lock held. What the mark says is so before it is written: the records, then
    /// the tables, then the mark (P2).
    fn write_mark(&self, mut mark: Mark) -> Result<Mark> {
        let ground = &self.ground;
        // A failed sync took records back whose entries stay: below a mark they would be believed,
        // and what is sent again would be lost (P5). The next life looks into the log.
        if ground.has_voids() {
            return Ok(mark);
        }
        let newest = ground.head.load(at::TABLE, Ordering::Acquire);
        let numbers = self.numbers()?;
        let open = |number: &&u64| **number <= newest && !mark.sealed.contains(number);
        let open: Vec<u64> = numbers.iter().filter(open).copied().collect();
        if open.iter().any(|number| *number < newest) {
            // Entries of a sealed table are believed from then on.
            for log in &ground.partitions {
                log.sync()?;
            }
        }
        let ends = {
            let (_held, left) = ground.hold()?;
            // Of one who died an entry is lacking still: the next one who sends writes it.
            if left {
                return Ok(mark);
            }
            ground.durable_ends()
        };
        for number in &open {
            if let Some(table) = self.open(*number)? {
                table.sync()?;
            }
        }
        mark.sealed = numbers.into_iter().filter(|one| *one < newest).collect();
        mark.ends = ends;
        mark.boot = boot_of(&ground.env);
        mark.write(&ground.env, &self.mark_path(), KIND)?;
        Ok(mark)
    }

    /// Removes the oldest tables as long as all their entries are spent. What was found spent is
    /// not looked at again, unless the window is another one by now.
    fn remove_spent(&self, topic: &Arc<TopicInner>) -> Result<()> {
        let known = self.known()?;
        if known.tables.len() < 2 {
            return Ok(());
        }
        // As it is in force, and not as it was when this process last sent: another one may have
        // made it longer, and sends by the entries that it keeps (P8).
        let window = topic.in_force()?.1.dedup_window;
        let oldest = &known.tables[0];
        if locked(&self.looked_by).replace(window) != Some(window) {
            oldest.looked_at.store(0, Ordering::Relaxed);
        }
        let begin = oldest.looked_at.load(Ordering::Relaxed);
        let end = begin.saturating_add(SOME).min(oldest.capacity);
        for place in begin..end {
            if let Slot::Taken(entry) = oldest.get(place)
                && !topic.is_spent(&entry, window)?
            {
                oldest.looked_at.store(place, Ordering::Relaxed);
                return Ok(());
            }
        }
        oldest.looked_at.store(end, Ordering::Relaxed);
        if end < oldest.capacity {
            return Ok(());
        }
        self.remove(&known, oldest.owner)
    }

    fn remove(&self, known: &Known, number: u64) -> Result<()> {
        let ground = &self.ground;
        let _slow = ground.hold_slowly()?;
        let count = ground.partitions.len();
        let read = Mark::read(&ground.env, &self.mark_path(), KIND, count)?;
        let (Some(mut mark), true) = (read, ground.ready() == known.state) else {
            return Ok(());
        };
        // One that is not sealed may be all that tells of records that are not on disk.
        if !mark.sealed.contains(&number) {
            return Ok(());
        }
        // The mark before the file: a death in between leaves a file that nobody asks for.
        mark.sealed.retain(|one| *one != number);
        mark.write(&ground.env, &self.mark_path(), KIND)?;
        let state = draw();
        {
            let (_held, _) = ground.hold()?;
            ground.set_ready(state);
        }
        *locked(&self.marked) = (state, mark);
        ground.env.storage.unlink(&self.path(number))
    }

    /// Moves the mark whether or not it is due.
    #[cfg(test)]
    pub(in crate::store) fn tend_now_in_test(&self) {
        self.move_mark(true).expect("the mark");
    }

    /// As one who was about to move the mark, and is late.
    #[cfg(test)]
    pub(in crate::store) fn tend_late_in_test(&self) -> Result<()> {
        self.move_mark(true)
    }

    /// By the last member: all is on disk, and the mark says so.
    fn close_clean(&self) -> Result<()> {
        let ground = &self.ground;
        let count = ground.partitions.len();
        let read = Mark::read(&ground.env, &self.mark_path(), KIND, count)?;
        // Who is last may have found what a dead one left, or what a failed sync took back: then
        // the next life looks into the log.
        let (Some(mut mark), false, None) = (read, ground.has_voids(), ground.intent()) else {
            return Ok(());
        };
        let newest = ground.head.load(at::TABLE, Ordering::Acquire);
        let all_durable = ground.durable_ends() == ground.ends();
        for number in self.numbers()? {
            if !mark.sealed.contains(&number)
                && let Some(table) = self.open(number)?
            {
                table.sync()?;
            }
        }
        let sealed = self.numbers()?.into_iter().filter(|one| *one < newest);
        mark.sealed = sealed.collect();
        mark.ends = ground.ends();
        mark.boot = boot_of(&ground.env);
        mark.clean = all_durable;
        match all_durable {
            true => mark.write(&ground.env, &self.mark_path(), KIND),
            false => Ok(()),
        }
    }
}

/// Whether an entry is older than the window.
pub(super) fn is_past(stamp_ms: u64, now_ms: u64, window: DedupWindow) -> bool {
    match window {
        DedupWindow::Time(time) => {
            let time = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
            stamp_ms.saturating_add(time) <= now_ms
        }
        DedupWindow::Off | DedupWindow::UntilSettled => false,
    }
}
