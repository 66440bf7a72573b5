//! The lock of those who append much, beside the locks that others hold.
//!
//! Who holds it waits for nothing but the append lock, so that whoever holds others, that of those
//! who send to a limited topic or a ledger's, may wait for it (P14). But a copy takes long, and the
//! one who is at it may be stopped: so he is waited for with nothing held first.

use std::time::{Duration, Instant};

use super::append::{Draft, Outcome};
use super::large::Taken;
use super::{Gate, Partition, Room};
use crate::error::{ErrorKind, Result};
use crate::shm::{Held, OwnerLock};

/// How long to wait for the one who copies before believing that it is at it.
const GLANCE: Duration = Duration::from_millis(1);

/// What came of a try to take one.
enum Tried<'a> {
    /// It was, and the lock of large batches with it.
    Taken(Held<'a>, Taken),
    /// Something slow has to be done first.
    Way(Outcome),
    /// Another one copies.
    Copied,
}

impl Partition {
    /// As `append`, for much. The gate is passed while the place is taken, not while it is filled,
    /// and is passed first.
    pub(super) fn append_large(
        &self,
        drafts: &[Draft<'_>],
        room: Room,
        gate: &impl Gate,
    ) -> Result<u64> {
        let (began, mut waited) = (Instant::now(), false);
        loop {
            let pass = gate.enter_since(began)?;
            // Waiting, once only: others may be quicker again and again.
            let tried = self.try_large(drafts, waited);
            // An error leaves nothing in the log, and takes no room.
            gate.leave(pass, matches!(tried, Ok(Tried::Taken(..))));
            match tried? {
                Tried::Taken(_large, taken) => return self.fill(&taken, drafts),
                Tried::Way(outcome) => self.make_way(&outcome, drafts, room)?,
                Tried::Copied => {
                    // Others pass the gate meanwhile.
                    self.wait_for_large()?;
                    waited = true;
                }
            }
        }
    }

    /// As `append_if_room`, for much. `waits`: whether one who copies is waited for.
    pub(super) fn append_large_if_room(
        &self,
        drafts: &[Draft<'_>],
        waits: bool,
    ) -> Result<Option<u64>> {
        match self.try_large(drafts, waits)? {
            Tried::Taken(_large, taken) => self.fill(&taken, drafts).map(Some),
            Tried::Way(_) | Tried::Copied => Ok(None),
        }
    }

    fn try_large(&self, drafts: &[Draft<'_>], waits: bool) -> Result<Tried<'_>> {
        let large = match waits {
            true => Some(self.hold_large()?),
            false => self.try_hold_large()?,
        };
        let Some(large) = large else {
            return Ok(Tried::Copied);
        };
        Ok(match self.take_place(drafts)? {
            Ok(taken) => Tried::Taken(large, taken),
            Err(outcome) => Tried::Way(outcome),
        })
    }

    /// The lock of large batches, once what an earlier holder left is padding.
    pub(super) fn hold_large(&self) -> Result<Held<'_>> {
        let (env, lock) = (&*self.env, self.block.large_lock());
        let (live, slept) = (&*env.live, |time| self.block.count_wait(time));
        let (held, _) = OwnerLock::hold_told(lock, env.me, live, env.lock_timeout, &slept)?;
        self.pad_abandoned()?;
        Ok(held)
    }

    /// As `hold_large`, unless somebody who lives has it and copies.
    pub(super) fn glance_large(&self) -> Result<Option<Held<'_>>> {
        let (env, lock) = (&*self.env, self.block.large_lock());
        let slept = |time| self.block.count_wait(time);
        let held = match OwnerLock::hold_told(lock, env.me, &*env.live, GLANCE, &slept) {
            Err(error) if error.kind() == ErrorKind::Stuck => return Ok(None),
            held => held?.0,
        };
        self.pad_abandoned()?;
        Ok(Some(held))
    }

    /// As `hold_large`, if nobody has it, not even one that died.
    fn try_hold_large(&self) -> Result<Option<Held<'_>>> {
        let held = OwnerLock::try_hold(self.block.large_lock(), self.env.me);
        if held.is_some() {
            self.pad_abandoned()?;
        }
        Ok(held)
    }

    /// Without any lock: waits until nobody copies a large batch, or until he died.
    pub fn wait_for_large(&self) -> Result<()> {
        self.hold_large().map(drop)
    }
}
