//! At most once (P7): a message is settled before it is handed out.
//!
//! A receive call gathers as it does everywhere (`gather.rs`): what it has is leased, comes back
//! when it dies, and nobody was told of it. Where the window need not be on disk the call then
//! settles what it gathered, and returns it. Else it goes two steps: it *gives* each message, which
//! sets the bit that elsewhere says that work on it began; it puts the window on disk; and it
//! settles what it gave. From the first step on a message may have been handed over, and whoever
//! finds it so who cannot know, since its consumer died, its time ran out, or the power was lost,
//! settles it and counts it as lost. One that was not given was handed to nobody, and comes back.
//! So it is on disk as well: what was given was there before it was handed over, and later only as
//! settled; and all that the window said when it was given was there with it, so that no rebuild
//! ends the window before it.

use super::settle::Settled;
use super::tally::Tallied;
use super::window::{Counter, Window};
use crate::format::window::state;

impl Window {
    /// Says that the group hands out at most once, before the window is used.
    pub fn hand_out_at_most_once(&mut self) {
        self.once = true;
    }

    /// Whether the message may have been handed over, and is not settled for that.
    pub(super) fn is_given(&self, index: u32) -> bool {
        self.once && self.entries.state(index) == state::LEASED && self.entries.started(index)
    }

    /// The entry of what this consumer gathered and did not give. It has to be leased: a lease that
    /// ended may be somebody else's any moment, or was given back by a close.
    fn gathered(&self, (offset, attempt): (u64, u32), consumer: u16) -> Option<u32> {
        let index = self.find(offset, attempt)?;
        let mine = self.entries.consumer(index) == consumer;
        let leased = self.entries.state(index) == state::LEASED && !self.entries.started(index);
        (mine && leased).then_some(index)
    }

    /// Whether this consumer still has what it gathered.
    pub(super) fn has_gathered(&self, hand_out: (u64, u32), consumer: u16) -> bool {
        self.gathered(hand_out, consumer).is_some()
    }

    /// Settles what was gathered, where that is all there is to do before it is handed over.
    pub fn settle_gathered(&self, hand_out: (u64, u32), consumer: u16) -> Settled {
        let Some(index) = self.gathered(hand_out, consumer) else {
            return Settled::Stale;
        };
        self.end_given(index);
        Settled::Done
    }

    /// From here on what was gathered may have been handed over. Its lease begins anew, so that it
    /// lasts while the window is put on disk. A death before the mark leaves a lease that comes
    /// back, which is right: nobody is handed anything before the window was synced.
    pub fn give(&self, hand_out: (u64, u32), due_ms: u64, consumer: u16) -> Settled {
        let Some(index) = self.gathered(hand_out, consumer) else {
            return Settled::Stale;
        };
        self.wheel.remove(&self.entries, index);
        self.entries.set_lease(index, due_ms, consumer);
        self.wheel.insert(&self.entries, index, due_ms);
        self.entries.mark_started(index);
        Settled::Done
    }

    /// Settles what was given, once that is on disk. Stale where somebody else did, who took its
    /// consumer for gone.
    pub fn settle_given(&self, (offset, attempt): (u64, u32), consumer: u16) -> Settled {
        let found = self.find(offset, attempt);
        let mine = |index: &u32| self.entries.consumer(*index) == consumer;
        let Some(index) = found.filter(|index| self.is_given(*index) && mine(index)) else {
            return Settled::Stale;
        };
        self.end_given(index);
        Settled::Done
    }

    /// It is handed over: counted here, and not when it was gathered, which nobody sees.
    fn end_given(&self, index: u32) {
        let consumer = self.entries.consumer(index);
        self.tally.count(consumer, Tallied::Delivered);
        self.tally.count(consumer, Tallied::Acked);
        self.unhook(index);
        self.finish(index);
        self.count(Counter::Delivered, 1);
        self.count(Counter::Acked, 1);
    }

    /// The lease of what was gathered or given ends without its consumer, which is gone or slow;
    /// the entry hangs in no timer any more. What may have been handed over never comes again (P7);
    /// what was not comes back, uncharged. Its attempt stays counted: by that the one who gathered
    /// it finds it stale, should he be alive.
    pub(super) fn end_without_consumer(&self, index: u32) {
        if self.entries.started(index) {
            self.finish(index);
            self.count(Counter::Lost, 1);
        } else {
            self.make_ready(index);
        }
    }

    /// What a settle call has to say after the hand-over: nothing, but for a failure that is
    /// counted. Stale where the receipt is of no hand-over, as far as the window still knows.
    pub fn answer(&self, offset: u64, attempt: u32, failed_by: Option<u16>) -> Settled {
        if attempt == 0 || offset >= self.end() {
            return Settled::Stale;
        }
        if offset >= self.floor() {
            let (index, entries) = (self.index(offset), &self.entries);
            if !entries.is_of(index, offset) || entries.attempts(index) != attempt {
                return Settled::Stale;
            }
            if self.is_given(index) {
                // Who gave it could not settle it; it was handed over.
                self.end_given(index);
            } else if entries.state(index) != state::SETTLED {
                return Settled::Stale;
            }
        }
        if let Some(consumer) = failed_by {
            self.count(Counter::Failed, 1);
            self.tally.count(consumer, Tallied::Failed);
        }
        Settled::Done
    }
}
