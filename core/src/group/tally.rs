//! What each consumer was handed and what became of it, in the table of consumers: so that one that
//! fails what others manage stands out.
//!
//! Counted here while a window's lock is held, and added to the table before it is given back: one
//! step for all that a call did. Several windows' holders may add to one consumer at once. A holder
//! that dies takes with it what it had not added.

use std::cell::Cell;

use super::window::Window;
use crate::format::control::consumer::{ACKED, DELIVERED, FAILED, SLOTS, WORDS};
use crate::shm::Region;

/// What is counted of a consumer.
#[derive(Clone, Copy)]
pub(super) enum Tallied {
    Delivered,
    Acked,
    Failed,
}

const WORD: [usize; 3] = [DELIVERED, ACKED, FAILED];

/// Counts of one consumer that are still to be added.
#[derive(Default)]
pub(super) struct Tally {
    table: Option<Region>,
    slot: Cell<u16>,
    counts: [Cell<i32>; 3],
}

impl Tally {
    #[inline]
    pub(super) fn count(&self, slot: u16, what: Tallied) {
        self.change(slot, what, 1);
    }

    /// As many at once as a call takes, which are less than 2^31.
    #[inline]
    pub(super) fn count_all(&self, slot: u16, what: Tallied, many: u32) {
        self.change(slot, what, many as i32);
    }

    /// It was handed one less.
    pub(super) fn uncount_delivered(&self, slot: u16) {
        self.change(slot, Tallied::Delivered, -1);
    }

    #[inline]
    fn change(&self, slot: u16, what: Tallied, by: i32) {
        if self.slot.get() != slot {
            self.add();
            self.slot.set(slot);
        }
        let count = &self.counts[what as usize];
        count.set(count.get() + by);
    }

    /// Adds what was counted.
    #[inline]
    pub(super) fn add(&self) {
        let slot = usize::from(self.slot.get());
        for (count, word) in self.counts.iter().zip(WORD) {
            let value = count.take();
            if value != 0
                && slot < SLOTS
                && let Some(table) = &self.table
            {
                table.add(slot * WORDS + word, 0_u64.wrapping_add_signed(value.into()));
            }
        }
    }

    /// From here on what is counted is of nobody in the table, until `attach`.
    pub(super) fn detach(&mut self) -> Option<Region> {
        self.add();
        self.table.take()
    }

    /// Forgets what was counted since `detach`.
    pub(super) fn attach(&mut self, table: Option<Region>) {
        self.add();
        self.table = table;
    }
}

impl Window {
    /// The table of consumers that is to be kept.
    pub fn tally_in(&mut self, table: Region) {
        self.tally.attach(Some(table));
    }

    /// Before the lock is given back: what was done under it is in the table.
    #[inline]
    pub fn tell_tally(&self) {
        self.tally.add();
    }
}
