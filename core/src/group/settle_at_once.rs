//! Acknowledging one hand-out after the other, as most go: those of a batch stand one behind the
//! other in the ring and in the timer wheel, so what is said of the window is said once for all.

use super::settle::Settled;
use super::tally::Tallied;
use super::window::{Counter, Window};
use crate::format::window::state;

/// Hand-outs that are settled, one after the other, with the window's lock held.
///
/// Each is done as soon as its state says so, which is one store (P6), and counted behind that: a
/// death in between leaves one uncounted, and none counted twice (P15). What is left to `end` the
/// next holder derives from the entries after a death: the wheel they hang in, the counts of what
/// is open, the floor. What a consumer did of it is then not in the table (`tally.rs`). Until `end`
/// who reads without the lock finds more open than there is, never less (P14).
#[must_use = "without `end` what is done still hangs in the timer wheel"]
pub struct Settling<'a> {
    window: &'a Window,
    /// How many are done of which the window was not told, and in whose hands they were.
    count: u32,
    consumer: u16,
    /// Neighbours in the wheel that are done and still hang there: the last of them, and the timer
    /// words of what is before the first and behind the last.
    last: u32,
    next: u32,
    back: u32,
}

impl Window {
    /// Begins to settle.
    #[inline]
    pub fn settling(&self) -> Settling<'_> {
        Settling {
            window: self,
            count: 0,
            consumer: 0,
            last: 0,
            next: 0,
            back: 0,
        }
    }
}

impl Settling<'_> {
    /// The window, for whatever else settles: all that came before is said of it.
    #[inline]
    pub fn window(&mut self) -> &Window {
        self.say();
        self.window
    }

    /// Acknowledges a hand-out, if it is still the message's last one.
    #[inline]
    pub fn ack(&mut self, offset: u64, attempt: u32) -> Settled {
        let window = self.window;
        let Some(said) = window.look_up(offset, attempt) else {
            return Settled::Stale;
        };
        if said.state() != state::LEASED || said.key_hash != 0 {
            return self.window().ack_said(&said);
        }
        if self.count > 0 && said.consumer != self.consumer {
            self.say();
        }
        let (next, back) = window.entries.timer(said.index);
        if self.count > 0 && next == self.last + 1 {
            self.back = back;
        } else {
            self.say();
            // Taking the others out may have changed what it hangs between.
            (self.next, self.back) = window.entries.timer(said.index);
        }
        window.entries.settle(&said);
        window.count(Counter::Acked, 1);
        self.last = said.index;
        self.consumer = said.consumer;
        self.count += 1;
        Settled::Done
    }

    /// Says of the window what came of those that are done.
    #[inline]
    fn say(&mut self) {
        let count = std::mem::take(&mut self.count);
        if count > 0 {
            let window = self.window;
            (window.tally).count_all(self.consumer, Tallied::Acked, count);
            (window.wheel).unlink(&window.entries, self.next, self.back);
            window.count(Counter::Leased, -i64::from(count));
            window.raise_floor();
        }
    }

    /// All that was settled is said of the window.
    #[inline]
    pub fn end(mut self) {
        self.say();
    }
}
