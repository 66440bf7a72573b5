//! A window that is to be again what a snapshot says.
//!
//! It begins where the snapshot's floor was, as after any seek, and takes in the messages up to the
//! snapshot's end anew, from the log and by the configuration that is in force: one that was
//! settled then is settled, one that was open has its attempts and failures again. So it does not
//! matter who takes in how many, nor what a power loss takes back of that: what is behind the
//! window's end is asked for once more.

use std::sync::Arc;

use super::policy::Policy;
use super::window::Window;
use crate::format::snapshot::{Open, Part, Snapshot};
use crate::format::window::state;

/// What a window is to be again.
#[derive(Clone, Debug)]
pub struct Recalled {
    /// The epoch in which this counts.
    pub epoch: u32,
    /// First offset that the snapshot says nothing of.
    pub end: u64,
    /// What it says; `None` where it cannot be read.
    pub snapshot: Option<Arc<Snapshot>>,
    /// Which part of it.
    pub partition: u32,
    /// Whether the group hands out at most once.
    pub once: bool,
}

impl Recalled {
    /// Whether a message that nobody has looked at since is to be handed out.
    #[must_use]
    pub fn comes(&self, offset: u64) -> bool {
        match self.part() {
            Some(part) => offset >= part.end || part.find(offset).is_some(),
            None => offset >= self.end || !self.once,
        }
    }

    fn part(&self) -> Option<&Part> {
        let snapshot = self.snapshot.as_ref()?;
        snapshot.parts.get(self.partition as usize)
    }
}

/// Where a window stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// What is not settled, and nobody was to look at anew.
    pub part: Part,
    /// How many of those are handed out.
    pub leased: u64,
    /// How many are dead letters that hold their keys.
    pub holding: u64,
    /// Offsets of those that are on their way to the dead letters, which are not among the open.
    pub dying: Vec<u64>,
}

impl Window {
    /// With the lock held: what it is to be again, if anything.
    pub fn recall_from(&mut self, recalled: Option<Recalled>) {
        self.recalled = recalled;
    }

    /// What it is to be again, as far as nobody took that in yet.
    #[inline]
    fn recalled(&self) -> Option<&Recalled> {
        let recalled = self.recalled.as_ref()?;
        let open = recalled.epoch == self.epoch() && self.next() < recalled.end;
        open.then_some(recalled)
    }

    /// Whether a message that nobody has looked at since was settled when the snapshot was taken.
    /// Where that cannot be read, all come again (P6); of a group that hands out at most once none
    /// does (P7).
    #[inline]
    #[must_use]
    pub fn was_settled(&self, offset: u64) -> bool {
        self.recalled.is_some() && self.was_settled_then(offset)
    }

    #[cold]
    fn was_settled_then(&self, offset: u64) -> bool {
        self.recalled()
            .is_some_and(|recalled| !recalled.comes(offset))
    }

    /// What a snapshot knows of a message that was open then.
    fn open_then(&self, offset: u64) -> Option<Open> {
        let part = self.recalled()?.part()?;
        part.find(offset).copied()
    }

    /// Gives the entry of a message that is taken in what a snapshot knows of it. One failure is
    /// left to it: it does not die of being restored.
    #[inline]
    pub(super) fn recall(&self, policy: &Policy, index: u32, offset: u64) {
        if self.recalled.is_some()
            && let Some(open) = self.open_then(offset)
        {
            let most = policy.max_attempts.saturating_sub(1);
            let failures = u32::from(open.failures).min(most);
            (self.entries).recall(index, open.attempts, failures, open.first_failed_ms);
        }
    }

    /// Of offsets that the log has no more, from the window's end on: how many a snapshot knows as
    /// open, which are lost.
    #[inline]
    pub(super) fn lost_up_to(&self, to: u64) -> u64 {
        match &self.recalled {
            None => 0,
            Some(_) => self.lost_then(to),
        }
    }

    #[cold]
    fn lost_then(&self, to: u64) -> u64 {
        let part = self.recalled().and_then(Recalled::part);
        part.map_or(0, |part| part.count(self.next(), to))
    }

    /// The message at this offset, the next one of the log, was settled when the snapshot was
    /// taken. As `pass`, but nothing is counted.
    pub fn pass_settled(&self, offset: u64) -> bool {
        let empty = self.floor() == self.next();
        if !empty && self.is_full(offset) {
            return false;
        }
        self.settle_to(offset + 1)
    }

    /// Whether a snapshot that is being restored has more to say.
    #[must_use]
    pub fn is_recalling(&self) -> bool {
        self.recalled().is_some()
    }

    /// Where the window stands, as a snapshot would say it. A message on its way to the dead
    /// letters counts as settled, which it is for the group. One that holds its key as a dead
    /// letter is open, as if it were redriven.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let mut standing = Standing::default();
        for offset in self.floor()..self.end() {
            let (index, entries) = (self.index(offset), &self.entries);
            // What may have been handed over never comes again (P7).
            let open = entries.is_of(index, offset) && entries.is_open(index);
            if !open || self.is_given(index) {
                continue;
            }
            let (state, mut failures) = (entries.state(index), entries.failures(index));
            let mut first_failed_ms = entries.first_failed_ms(index);
            match state {
                state::DYING => {
                    standing.dying.push(offset);
                    continue;
                }
                state::HOLDING => {
                    standing.holding += 1;
                    (failures, first_failed_ms) = (0, 0);
                }
                // The word says something else.
                state::SCHEDULED => first_failed_ms = 0,
                // What a transaction has marked is settled once that has happened, not before.
                state::LEASED | state::COMMITTING => standing.leased += 1,
                _ => {}
            }
            standing.part.open.push(Open {
                offset,
                attempts: entries.attempts(index),
                failures: failures as u16,
                first_failed_ms,
            });
        }
        let mut end = self.next();
        if let Some(recalled) = self.recalled()
            && let Some(part) = recalled.part()
        {
            let still = part.open.iter().filter(|one| one.offset >= end);
            standing.part.open.extend(still);
            end = part.end;
        }
        let first = standing.part.open.first().map_or(end, |one| one.offset);
        (standing.part.floor, standing.part.end) = (first, end);
        standing
    }
}
