//! Dead letters that hold their keys (P11, P12).
//!
//! Such a message is not settled when its letter is on disk: it goes from dying to HOLDING, which
//! is one word, stays the first of its key's chain, and nobody is handed it. That word alone says
//! whether its letter is dead. To redrive it is to make it ready, without its failures: then it is
//! handed out before all that waits for it. To purge it is to settle it: then its key goes on. A
//! death before either leaves it as it was; a power loss may take either back as long as it is not
//! synced, and then the letter is dead again.

use super::cause::Cause;
use super::window::{Counter, Window};
use crate::format::window::state;

impl Window {
    /// Whether a dying message is one that holds its key where dead letters do. One without a key,
    /// one that only came too late, and one whose record retention takes, hold nothing.
    pub(super) fn may_hold(&self, index: u32) -> bool {
        let holds_none = [Cause::TooLate, Cause::Retention];
        self.entries.key_hash(index) != 0 && !holds_none.contains(&self.entries.cause(index))
    }

    /// The entry of a message that died in this hand-out and holds its key. A letter of an earlier
    /// hand-out is what is left of one that was redriven since.
    fn find_holding(&self, offset: u64, attempts: u32) -> Option<u32> {
        let index = self.index(offset);
        let inside = (self.floor()..self.end()).contains(&offset);
        let holds = inside
            && self.entries.is_of(index, offset)
            && self.entries.state(index) == state::HOLDING
            && self.entries.attempts(index) == attempts;
        holds.then_some(index)
    }

    /// Whether the message that died in this hand-out holds its key, so that its letter is dead.
    #[must_use]
    pub fn is_holding(&self, offset: u64, attempts: u32) -> bool {
        self.find_holding(offset, attempts).is_some()
    }

    /// The message that holds its key is handed out next of it, with its attempts and without its
    /// failures. False where it does not hold it, or died again since.
    pub fn redrive_held(&self, offset: u64, attempts: u32) -> bool {
        let Some(index) = self.find_holding(offset, attempts) else {
            return false;
        };
        self.entries.set_first_failed_ms(index, 0);
        self.count(Counter::Holding, -1);
        if self.keys.is_first(&self.entries, index) {
            self.entries.set_redriven(index, state::READY);
            self.make_ready(index);
        } else {
            // A power loss took the end of an earlier one of its key back, which goes before it.
            self.entries.set_turn(index, 0);
            self.entries.set_redriven(index, state::HELD);
            self.count(Counter::Held, 1);
        }
        true
    }

    /// The message is done, and its key goes on. False as of `redrive_held`.
    pub fn purge_held(&self, offset: u64, attempts: u32) -> bool {
        let Some(index) = self.find_holding(offset, attempts) else {
            return false;
        };
        self.count(Counter::Holding, -1);
        self.finish(index);
        true
    }
}
