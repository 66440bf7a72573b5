//! Wall and boot time behind one trait, so that tests can set both.
//!
//! Leases use the boot clock, which no administrator can set; delays, timestamps and retention use
//! wall time, which may jump.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// Where the library reads the time.
pub trait Clock: Send + Sync {
    /// Nanoseconds since the Unix epoch, by the wall clock; may jump in either direction.
    fn wall_ns(&self) -> i64;
    /// Milliseconds since the host was started, suspended time included; never falls.
    fn boot_ms(&self) -> u64;
    /// As `boot_ms`, in nanoseconds.
    fn boot_ns(&self) -> u64 {
        self.boot_ms().saturating_mul(1_000_000)
    }
    /// Milliseconds since the Unix epoch, by the wall clock.
    fn wall_ms(&self) -> u64 {
        (self.wall_ns().max(0) / 1_000_000) as u64
    }
    /// What `boot_ns` and `wall_ns` say at about the same moment.
    fn moment(&self) -> (u64, i64) {
        (self.boot_ns(), self.wall_ns())
    }
}

/// The clocks of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn wall_ns(&self) -> i64 {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
        now.tv_sec.saturating_mul(1_000_000_000) + now.tv_nsec as i64
    }

    fn boot_ms(&self) -> u64 {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        now.tv_sec as u64 * 1_000 + now.tv_nsec as u64 / 1_000_000
    }

    fn boot_ns(&self) -> u64 {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        (now.tv_sec as u64).saturating_mul(1_000_000_000) + now.tv_nsec as u64
    }

    /// By one question to the kernel instead of two, as a rule: by how much the wall clock is ahead
    /// is asked for anew every 2^20 ns. So what goes by this moment, as what is due, what is too
    /// late and when a lease is said to end, follows a clock that somebody set about a millisecond
    /// later; `wall_ns` follows at once.
    #[inline]
    fn moment(&self) -> (u64, i64) {
        let boot_ns = self.boot_ns();
        // Acquire pairs with the release in `ask_ahead`: the number is at least as new.
        match ASKED.load(Ordering::Acquire) == boot_ns >> ASKED_BITS {
            true => (boot_ns, ahead_of(boot_ns, AHEAD_NS.load(Ordering::Relaxed))),
            false => self.ask_ahead(),
        }
    }
}

/// Where `boot_ns` was, in units of 2^20 ns, when it was last asked by how much the wall clock is
/// ahead of it.
static ASKED: AtomicU64 = AtomicU64::new(u64::MAX);
const ASKED_BITS: u32 = 20;
static AHEAD_NS: AtomicI64 = AtomicI64::new(0);
/// Who was kept from the processor for longer between two questions has no answer for others.
const BETWEEN_NS: u64 = 20_000;

fn ahead_of(boot_ns: u64, ahead_ns: i64) -> i64 {
    (boot_ns as i64).wrapping_add(ahead_ns)
}

impl SystemClock {
    #[cold]
    fn ask_ahead(self) -> (u64, i64) {
        let before = self.boot_ns();
        let wall_ns = self.wall_ns();
        let boot_ns = self.boot_ns();
        if boot_ns.saturating_sub(before) <= BETWEEN_NS {
            AHEAD_NS.store(wall_ns.wrapping_sub(boot_ns as i64), Ordering::Relaxed);
            ASKED.store(boot_ns >> ASKED_BITS, Ordering::Release);
        }
        (boot_ns, wall_ns)
    }
}

/// A clock that stands still until it is told otherwise.
#[cfg(test)]
#[derive(Debug, Default)]
pub struct ManualClock {
    wall_ns: AtomicI64,
    boot_ms: AtomicU64,
}

#[cfg(test)]
impl ManualClock {
    /// A clock that shows these times.
    #[must_use]
    pub fn new(wall_ns: i64, boot_ms: u64) -> Self {
        Self {
            wall_ns: AtomicI64::new(wall_ns),
            boot_ms: AtomicU64::new(boot_ms),
        }
    }

    /// Another clock that shows the same.
    #[must_use]
    pub fn copy(&self) -> std::sync::Arc<Self> {
        std::sync::Arc::new(Self::new(self.wall_ns(), self.boot_ms()))
    }

    /// Sets the wall clock, as an administrator does; the boot clock goes on.
    pub fn set_wall_ns(&self, wall_ns: i64) {
        self.wall_ns.store(wall_ns, Ordering::SeqCst);
    }

    /// Lets time go by, on both clocks.
    pub fn advance_ms(&self, ms: u64) {
        self.wall_ns
            .fetch_add(ms as i64 * 1_000_000, Ordering::SeqCst);
        self.boot_ms.fetch_add(ms, Ordering::SeqCst);
    }
}

#[cfg(test)]
impl Clock for ManualClock {
    fn wall_ns(&self) -> i64 {
        self.wall_ns.load(Ordering::SeqCst)
    }

    fn boot_ms(&self) -> u64 {
        self.boot_ms.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_what_both_clocks_say() {
        let clock = SystemClock;
        for _ in 0..10_000 {
            let (before, early) = (clock.boot_ns(), clock.wall_ns());
            let (boot_ns, wall_ns) = clock.moment();
            let (after, late) = (clock.boot_ns(), clock.wall_ns());
            assert!(before <= boot_ns && boot_ns <= after);
            let slack = i64::try_from(BETWEEN_NS).expect("small");
            assert!(early - slack <= wall_ns && wall_ns <= late + slack);
        }
    }
}
