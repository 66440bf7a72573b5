//! Leases of consumers that closed or died: they come back at once, to whatever process is next
//! (P10). What is slow, such as the move to the dead letters, is left for later.
//!
//! Any number of processes may do this for the same consumer at the same time, or go on after one
//! that died in the middle: each lease is returned under its window's lock, once, while the table
//! still names its consumer, and in an order in which each of them charges the same
//! (`group/gone.rs`). So whoever is stopped in the middle delays nobody, except with the very
//! window whose lock it holds. Where a window cannot be had in time, what is in the others comes
//! back all the same. Then a later look at that one may find that what it could tell by is gone:
//! that something of its batch was started in another partition, where the message was handed out
//! again meanwhile. That costs what was merely fetched there one failure too many.

use std::sync::Arc;
use std::time::Duration;

use super::StoreInner;
use super::consumer_table::{ConsumerEntry, ConsumerSlot};
use super::group::GroupInner;
use super::inner::locked;
use crate::error::{Error, ErrorKind, Result};
use crate::group::{Batches, Policy, Window};

/// How long one window is waited for where others wait for what is in the next one.
pub(super) const PATIENCE: Duration = Duration::from_millis(10);

/// Partitions of groups in which messages wait for their move to the dead letters.
pub(crate) type Moves = Vec<(Arc<GroupInner>, u32)>;

/// The steps over a group's partitions; one that fails is left out from then on, to be done again.
struct Round<'a> {
    group: &'a GroupInner,
    gone: &'a ConsumerEntry,
    patience: Duration,
    left: Vec<(Arc<GroupInner>, u32)>,
    failed: Option<Error>,
}

impl Round<'_> {
    fn each(&mut self, mut step: impl FnMut((&Arc<GroupInner>, u32), &mut Window, &Policy)) {
        let control = &self.group.topic.store.control;
        self.left.retain(|(group, number)| {
            let done = group.with_used_window(*number, self.patience, |window, policy| {
                if control.names_consumer(self.gone) {
                    step((group, *number), window, policy);
                }
            });
            let Err(error) = done else {
                return true;
            };
            // What can be done another time is more than what cannot.
            let final_one = |known: &Error| known.kind() == ErrorKind::Damaged;
            if self.failed.as_ref().is_none_or(final_one) {
                self.failed = Some(error);
            }
            false
        });
    }
}

impl GroupInner {
    /// The leases of a consumer that closed or died come back at once. An error leaves those of a
    /// partition where they are, and those of no other; [`ErrorKind::Damaged`] says that it is for
    /// who repairs the window to return them. What failed for the last time is added to `moves`.
    pub(super) fn return_consumer(
        self: &Arc<Self>,
        gone: &ConsumerEntry,
        died: bool,
        patience: Duration,
        moves: &mut Moves,
    ) -> Result<()> {
        let lane = self.lane();
        let tidied = self.tidy_all_marks(died, patience);
        let mut left: Vec<_> = (0..self.windows.len() as u32)
            .map(|number| (self.clone(), number))
            .collect();
        let mut failed = tidied.err();
        match lane {
            Ok(lane) => left.extend(lane.map(|lane| (lane, 0))),
            Err(error) => failed = Some(error),
        }
        let mut round = Round {
            group: self,
            gone,
            patience,
            left,
            failed,
        };
        let (of, mut count) = (|slot: u16| slot == gone.slot.0, 0);
        if died {
            let (mut fetched, mut started) = (Batches::new(), Batches::new());
            round.each(|_, window, _| fetched.extend(window.fetched_batches(of)));
            if !fetched.is_empty() {
                round.each(|_, window, _| started.extend(window.started_among(&fetched)));
            }
            if !started.is_empty() {
                round.each(|_, window, _| count += window.return_fetched(of, &started));
            }
        }
        let (clock, mut dying) = (&self.topic.store.env.clock, Vec::new());
        round.each(|(group, number), window, policy| {
            let times = (clock.boot_ms(), clock.wall_ms());
            let returned = window.return_leases(policy, of, died, times);
            count += returned.count;
            if !returned.dying.is_empty() {
                dying.push((group.clone(), number));
            }
            for (offset, _) in returned.dying {
                group.remember_death(number, offset, gone);
            }
        });
        moves.append(&mut dying);
        if count > 0 {
            self.wake(count);
        }
        match round.failed {
            // A group that was deleted has none.
            Some(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// What is marked for transactions in the windows of this group is theirs, or a lease again: of
    /// a dead consumer it comes back then, with the others. What cannot be looked at now keeps no
    /// lease from coming back, and is looked at again.
    pub(super) fn tidy_all_marks(self: &Arc<Self>, died: bool, patience: Duration) -> Result<()> {
        let (store, mut done) = (&self.topic.store, Ok(()));
        if !died {
            return done;
        }
        let lane = self.lane().ok().flatten();
        for group in std::iter::once(self).chain(&lane) {
            for number in 0..group.windows.len() as u32 {
                let mut marked = false;
                let looked = group.with_used_window(number, patience, |window, _| {
                    marked = window.has_marked();
                });
                // One that cannot be had may be a moment later, by who returns its leases: a mark
                // that is taken off after that is a lease of nobody's, and lasts its whole time.
                done = done.and(match marked {
                    true => store.tidy_marks(group, number, patience),
                    false => looked,
                });
            }
        }
        done
    }

    /// What a consumer of this process that closed still has, back and its slot free. Where that
    /// cannot be now it is for housekeeping to do, or for who closes again.
    pub(super) fn hand_back(self: &Arc<Self>, gone: ConsumerEntry) -> Result<()> {
        let store = &self.topic.store;
        store.check_open()?;
        let Err(error) = self.give_back(&gone, store.env.lock_timeout) else {
            return Ok(());
        };
        if is_final(&error) {
            return Err(error);
        }
        locked(&store.unreturned).push(gone);
        Err(error.context(LATER))
    }

    /// Leases before slot: a death in between leaves a slot whose leases come back empty.
    fn give_back(self: &Arc<Self>, gone: &ConsumerEntry, patience: Duration) -> Result<()> {
        let done = self.return_consumer(gone, false, patience, &mut Vec::new());
        if done
            .as_ref()
            .err()
            .is_none_or(|e| e.kind() == ErrorKind::Damaged)
        {
            self.topic.store.control.free_consumer(gone);
        }
        done
    }
}

/// Whether it is for others to give the leases back: who repairs the window, or, where this process
/// was taken for dead or forked, who cleans up after it.
fn is_final(error: &Error) -> bool {
    let kinds = [
        ErrorKind::Damaged,
        ErrorKind::Fenced,
        ErrorKind::Forked,
        ErrorKind::Closed,
    ];
    kinds.contains(&error.kind())
}

const LATER: &str = "the consumer is closed, and what it had leased comes back once that can be: \
                     it is tried again in the background, and by closing it again";

impl StoreInner {
    /// Tries again what the closed consumer in this slot could not hand back.
    pub(super) fn hand_back_again(self: &Arc<Self>, slot: ConsumerSlot) -> Result<()> {
        let (mut left, patience) = (locked(&self.unreturned), self.env.lock_timeout);
        self.hand_back_of(&mut left, patience, |gone| gone.slot == slot)
    }

    /// As `hand_back_again`, for all of them and without waiting for long; whether any are left.
    pub(super) fn hand_back_rest(self: &Arc<Self>) -> bool {
        match self.unreturned.try_lock() {
            Ok(mut left) => {
                let _ = self.hand_back_of(&mut left, PATIENCE, |_| true);
                !left.is_empty()
            }
            // Somebody closes one again and waits for it.
            Err(_) => true,
        }
    }

    fn hand_back_of(
        self: &Arc<Self>,
        left: &mut Vec<ConsumerEntry>,
        patience: Duration,
        wanted: impl Fn(&ConsumerEntry) -> bool,
    ) -> Result<()> {
        let mut done = Ok(());
        left.retain(|gone| {
            if !wanted(gone) {
                return true;
            }
            let back = match self.open_group_at(gone.group) {
                Ok(Some(group)) => group.give_back(gone, patience),
                Ok(None) => return false,
                Err(error) => Err(error),
            };
            let Err(error) = back else {
                return false;
            };
            let again = !is_final(&error);
            done = Err(error.context(LATER));
            again
        });
        done
    }
}
