//! Looking at a message for the first time.

use super::policy::Policy;
use super::window::{Counter, Window};
use crate::format::window::{header, state};

/// What became of a message that was looked at for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admit {
    /// It may be handed out now: lease the entry, or give it to the ready ones.
    Ready(u32),
    /// An earlier message of its key is not settled.
    Held,
    /// There is no room for more unsettled messages: grow, or settle.
    Full,
}

impl Window {
    /// Takes in the message at the window's end. A death before the end is moved on leaves an entry
    /// that nobody looks at; it was never handed out, so it is taken in again.
    #[inline]
    pub fn admit(&self, policy: &Policy, offset: u64, position: u64, key: Option<u64>) -> Admit {
        if offset - self.floor() >= self.usable() || self.is_full(offset) {
            return Admit::Full;
        }
        let index = self.index(offset);
        let hash = policy.chain_of(key);
        let Ok(position) = u32::try_from(position) else {
            return Admit::Full;
        };
        self.entries
            .fill(index, offset, position, hash, state::FRESH);
        if hash != 0 && !self.keys.join(&self.entries, index, hash) {
            self.entries.set_state(index, state::HELD);
            self.count(Counter::Held, 1);
            return Admit::Held;
        }
        Admit::Ready(index)
    }

    #[inline]
    fn is_full(&self, offset: u64) -> bool {
        offset - self.floor() >= self.head.get(header::LIMIT)
    }

    /// Puts an admitted or returned message among the ready ones.
    pub(super) fn make_ready(&self, index: u32) {
        self.entries.set_state(index, state::READY);
        self.ready.set(index as usize);
        self.count(Counter::Ready, 1);
    }

    /// Offsets that do not exist, or are passed over, count as settled. With an empty window the
    /// floor jumps; otherwise each gets an entry. False if there is no room for them.
    pub fn settle_gap(&self, to: u64) -> bool {
        let from = self.next();
        if self.floor() == from {
            // A stop between the two: the window ends at the floor, and the gap is found again.
            self.head.set(header::NEXT, to.max(from));
            self.head.set(header::FLOOR, to.max(from));
            return true;
        }
        if to > from && (to - self.floor() > self.usable()) {
            return false;
        }
        for offset in from..to {
            self.entries
                .fill(self.index(offset), offset, 0, 0, state::SETTLED);
        }
        self.head.set(header::NEXT, to.max(from));
        self.raise_floor();
        true
    }
}
