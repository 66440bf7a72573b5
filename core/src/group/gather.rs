//! What a receive call gathers before it hands anything on: messages that nobody was told of yet.
//!
//! They are leased with the batch number [`GATHERED`]: of a consumer that dies meanwhile none is
//! charged (P10). When they are handed on the lease begins anew, with the batch's own number; what
//! is not handed on is taken back as if it had never been leased.

use super::settle::Settled;
use super::window::Window;
use crate::format::window::state;

/// The batch number of what was gathered and not handed on. No batch has it.
pub const GATHERED: u16 = 0;

impl Window {
    /// The lease begins anew: of a gathered message that is handed on, or has to wait for others.
    pub fn lease_anew(
        &self,
        (offset, attempt): (u64, u32),
        due_ms: u64,
        consumer: u16,
        batch: u16,
    ) -> Settled {
        if self.once && !self.has_gathered((offset, attempt), consumer) {
            return Settled::Stale;
        }
        let done = self.extend(offset, attempt, due_ms, consumer);
        if done == Settled::Done {
            self.entries.set_batch(self.index(offset), batch);
        }
        done
    }

    /// More time for a lease that this consumer has. One that ended, was given back or is another
    /// one's by now stays so: nobody asks for it any more, or somebody else does (P9).
    pub fn extend_own(&self, offset: u64, attempt: u32, due_ms: u64, consumer: u16) -> Settled {
        let own = |index: u32| {
            self.entries.state(index) == state::LEASED && self.entries.consumer(index) == consumer
        };
        match self.find(offset, attempt) {
            Some(index) if !own(index) => Settled::Stale,
            _ => self.extend(offset, attempt, due_ms, consumer),
        }
    }

    /// Takes a hand-out back that nobody learned of: not even the attempt stays counted. One that
    /// ended meanwhile, by its lease or by a seek, is left as it is.
    pub fn take_back(&self, offset: u64, attempt: u32) -> Settled {
        let found = self.find(offset, attempt);
        let Some(index) = found.filter(|index| self.entries.state(*index) == state::LEASED) else {
            return Settled::Stale;
        };
        self.uncount_hand_out(index, attempt);
        self.unhook(index);
        // Before the state: a death between the two leaves a lease, which comes back.
        self.entries.uncount_attempt(index);
        self.make_ready(index);
        Settled::Done
    }

    /// Whether this hand-out is the message's last one, and the message not settled.
    pub fn is_current(&self, offset: u64, attempt: u32) -> bool {
        self.find(offset, attempt).is_some()
    }

    /// How many messages a consumer has leases of that last beyond now.
    pub fn leased_to(&self, consumer: u16, now_ms: u64) -> usize {
        let mine = |index: u32| {
            self.entries.consumer(index) == consumer && self.entries.due_ms(index) > now_ms
        };
        self.leases(mine).len()
    }
}
