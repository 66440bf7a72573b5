//! A seek, as it comes to a window: with its lock held, by whoever meets it first.
//!
//! Where to, and with which epoch, is on disk before anybody does this; so whoever dies in the
//! middle, or whom a power loss takes back, leaves a window of an older epoch, and the next holder
//! does all of it again. Nothing of an entry is changed: those of an older epoch have other tags,
//! and speak of nothing once the epoch is raised, which is the last store. So no lease, delay or
//! death outlives a seek, in whatever order the file's sectors come to the disk (P16).

use std::sync::atomic::Ordering;

use super::window::{Counter, Window};
use crate::format::window::header;

/// Tags are told apart for 1024 epochs in a row: so often all entries are cleared besides.
const CLEARED_EVERY: u64 = 256;

/// Where a window is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its epoch from then on.
    pub epoch: u32,
    /// First offset that is not settled.
    pub offset: u64,
    /// No letter of the dead-letter topic before this one is of a message that dies after it.
    pub dead_from: u64,
}

impl Window {
    /// Whether a seek is still to be done.
    #[inline]
    pub fn is_behind(&self, target: &Target) -> bool {
        self.head.get(header::EPOCH) < u64::from(target.epoch)
    }

    /// Does a seek.
    pub fn seek(&mut self, target: &Target) {
        // First what is derived, which counts no more than there is at any step.
        for counter in Counter::DERIVED {
            self.head.set(header::COUNTERS + counter as usize, 0);
        }
        self.ready.clear_all();
        self.keys.clear_all();
        self.wheel.reset(self.wheel.region.get(0));
        self.head.set(header::DYING, 0);
        let (from, to) = (self.head.get(header::EPOCH), u64::from(target.epoch));
        if from / CLEARED_EVERY != to / CLEARED_EVERY {
            (0..=self.mask).for_each(|index| self.entries.forget(index as u32));
        }
        self.head.set(header::CURSOR_SEGMENT, u64::MAX);
        self.head.set(header::CURSOR_POSITION, 0);
        // The floor is never behind the end: whoever repairs the window before it is done may go by
        // both.
        let words = match target.offset < self.next() {
            true => [header::FLOOR, header::NEXT],
            false => [header::NEXT, header::FLOOR],
        };
        words
            .iter()
            .for_each(|word| self.head.set(*word, target.offset));
        self.head.set(header::DEAD_FROM, target.dead_from);
        self.head.store(header::EPOCH, to, Ordering::Release);
        self.entries.salt = crate::format::window::salt(to);
    }
}
