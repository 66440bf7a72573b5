//! The window of a redrive lane, over the dead letters of one group: an entry says of each letter
//! what became of it. DEAD: nobody redrove it, and it hangs in nothing. Any other open state: it
//! was redriven, and is handed out as any message. SETTLED: that was done with, or it was purged, or
//! is another group's.
//!
//! So a redrive of a letter is one published word, and a death at any instruction leaves the letter
//! dead or redriven, never neither and never both (P12).

use super::entry::NOBODY;
use super::policy::Policy;
use super::window::{Counter, Window};
use crate::format::window::state;

/// The most hand-outs that a letter is believed to have had, so that more can be counted.
const ATTEMPTS_MAX: u32 = 1 << 30;

/// A letter as its group's lane knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dead {
    /// Its offset.
    pub offset: u64,
    /// Its position in its segment.
    pub position: u64,
}

impl Window {
    /// Takes in the letter at the window's end; false if there is no room for it. A death before
    /// the end is moved on leaves an entry that nobody looks at, and the letter is taken in again.
    pub fn admit_dead(&self, dead: Dead) -> bool {
        let Ok(position) = u32::try_from(dead.position) else {
            return false;
        };
        if dead.offset - self.floor() >= self.usable() || self.is_full(dead.offset) {
            return false;
        }
        let index = self.index(dead.offset);
        (self.entries).fill(index, dead.offset, position, 0, state::DEAD);
        true
    }

    /// Whether the letter is dead, as far as the window knows of it.
    fn find_dead(&self, offset: u64) -> Option<u32> {
        let index = self.index(offset);
        let inside = (self.floor()..self.end()).contains(&offset);
        let dead = inside
            && self.entries.is_of(index, offset)
            && self.entries.state(index) == state::DEAD;
        dead.then_some(index)
    }

    /// Up to `most` letters from an offset on that are dead.
    pub fn dead(&self, from: u64, most: usize) -> Vec<Dead> {
        let dead = |offset| {
            let position = u64::from(self.entries.position(self.find_dead(offset)?));
            Some(Dead { offset, position })
        };
        let offsets = from.max(self.floor())..self.end();
        offsets.filter_map(dead).take(most).collect()
    }

    /// The letter is to be handed out again, with its attempts and without its failures, behind
    /// those of its key that were redriven before. False if it is not dead. The state is published
    /// last: before it the letter is dead, whatever else stands in the entry.
    pub fn redrive(&self, policy: &Policy, offset: u64, attempts: u32, key: Option<u64>) -> bool {
        let Some(index) = self.find_dead(offset) else {
            return false;
        };
        self.entries
            .redrive(index, attempts.min(ATTEMPTS_MAX), policy.chain_of(key));
        self.entries.set_lease(index, 0, NOBODY);
        if self.joins(index) {
            self.make_ready(index);
        }
        self.count(Counter::Redriven, 1);
        true
    }

    /// The letter is done, and counted by what it was done by. False if it is not dead.
    pub fn end_dead(&self, offset: u64, by: Counter) -> bool {
        let Some(index) = self.find_dead(offset) else {
            return false;
        };
        self.entries.set_state(index, state::SETTLED);
        self.count(by, 1);
        if offset == self.floor() {
            self.raise_floor();
        }
        true
    }
}
