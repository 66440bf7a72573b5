//! Room in a topic with a limit, for what is sent under the lock of a ledger (P14).
//!
//! Whoever is given room holds the topic's FLOW lock until his records are in the log. A repeated
//! id needs none, so it is looked for first; then the ledger's lock is given back, room is taken,
//! which may wait long, and all is looked at again. So FLOW is always the first of the two locks,
//! and nobody waits for room with a ledger's lock in his hands. While he waits, another one may
//! send the same: then he is told of that, and needs no room.

use std::time::Instant;

use crate::error::Result;
use crate::log::Gate;
use crate::store::flow::{Pass, Through};

/// Room that was taken, or none yet.
#[derive(Default)]
pub(super) struct Room<'a> {
    pass: Option<Pass<'a>>,
    used: bool,
    made: bool,
    /// Since when it is waited for, through all tries.
    since: Option<Instant>,
}

impl<'a> Room<'a> {
    pub(super) fn is_taken(&self) -> bool {
        self.pass.is_some()
    }

    /// When the wait began: now, unless it did before.
    pub(super) fn since(&mut self) -> Instant {
        *self.since.get_or_insert_with(Instant::now)
    }

    /// Waits as the gate does; not taken where `is_sent` says that another one sent it meanwhile.
    pub(super) fn take(&mut self, gate: &Through<'a>, is_sent: &dyn Fn() -> bool) -> Result<()> {
        self.used = false;
        match gate.enter_since(self.since()) {
            Ok(pass) => self.pass = Some(pass),
            Err(error) if !is_sent() => return Err(error),
            Err(_) => {}
        }
        Ok(())
    }

    /// Whether something is in the log of what it was taken for, or may be: then it counts.
    pub(super) fn is_used(&mut self, used: bool) {
        self.used = used;
    }

    /// Room was made in the log, without any lock, and who copied a large batch there was waited
    /// for: from here on it is with the locks held, or others might be quicker for ever.
    pub(super) fn is_made(&mut self) {
        self.made = true;
    }

    pub(super) fn was_made(&self) -> bool {
        self.made
    }

    /// The next one's turn.
    pub(super) fn give_back(&mut self) {
        if let Some(pass) = self.pass.take() {
            pass.end(self.used);
        }
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.give_back();
    }
}
