//! Times that a message brings with it: when it is due, and when it is too late.
//!
//! They are of the wall clock, the timer wheel's are of the boot clock. Each is put into the wheel
//! by how far the two are apart then; where the wall clock is set, all are put in anew. One that
//! comes early, since the wall clock was set back meanwhile, waits on.

use super::cause::Cause;
use super::policy::{Now, Policy};
use super::window::{Counter, Window};
use crate::format::window::{header, state};

/// By so many ms the clocks may drift apart before the times are put into the wheel anew.
const DRIFT_MS: u64 = 1_000;

impl Window {
    /// The message waits for a time, in ms since the epoch. Truth before the state, which a rebuild
    /// goes by.
    pub(super) fn schedule(&self, index: u32, deliver_at_ms: u64) {
        self.entries.set_first_failed_ms(index, deliver_at_ms);
        self.entries.set_state(index, state::SCHEDULED);
        self.count(Counter::Scheduled, 1);
        self.wait_for_its_time(index);
    }

    /// Hangs a scheduled message in the wheel.
    pub(super) fn wait_for_its_time(&self, index: u32) {
        let skew = self.head.get(header::SKEW) as i64;
        let due = (self.entries.deliver_at_ms(index) as i64).saturating_sub(skew);
        let due = due.max(0) as u64;
        self.entries.set_lease(index, due, 0);
        self.wheel.insert(&self.entries, index, due);
    }

    /// The wheel says that a scheduled message is due. If it is by the wall clock as well, it joins
    /// the others.
    pub(super) fn falls_due(&self, index: u32, now: Now) {
        if self.entries.deliver_at_ms(index) > now.wall_ms {
            self.wait_for_its_time(index);
            return;
        }
        self.count(Counter::Scheduled, -1);
        self.entries.set_first_failed_ms(index, 0);
        if self.joins(index) {
            self.make_ready(index);
        }
    }

    /// Follows the wall clock: where it was set since the times were put into the wheel, they are
    /// put in anew.
    #[inline]
    pub(super) fn follow_wall_clock(&self, now: Now) {
        let skew = now.skew();
        if skew.abs_diff(self.head.get(header::SKEW) as i64) > DRIFT_MS {
            self.wall_clock_was_set(skew);
        }
    }

    #[cold]
    fn wall_clock_was_set(&self, skew: i64) {
        self.head.set(header::SKEW, skew as u64);
        if self.counter(Counter::Scheduled) == 0 {
            return;
        }
        for offset in self.floor()..self.end() {
            let index = self.index(offset);
            if self.entries.is_of(index, offset) && self.entries.state(index) == state::SCHEDULED {
                self.wheel.remove(&self.entries, index);
                self.wait_for_its_time(index);
            }
        }
    }

    /// It is too late for a message that is taken in: it is done, or a dead letter where the group
    /// wants that. Once the window's end is behind it the caller says `expired_at_end`.
    pub(super) fn expire_one(&self, policy: &Policy, index: u32, now: Now) {
        if policy.expired_die {
            let failures = self.entries.failures(index);
            self.die(index, failures, now.boot_ms, Cause::TooLate);
        } else {
            self.entries.set_state(index, state::SETTLED);
        }
    }

    /// The message before the window's end came too late. It is counted only here: one whose taker
    /// died before the end was moved on is taken in, and found to be late, again (P15).
    pub fn expired_at_end(&self) {
        self.raise_floor();
        self.count(Counter::Expired, 1);
    }
}
