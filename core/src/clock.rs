//! Wall and boot time behind one trait, so that tests can set both.
//!
//! Leases use the boot clock, which no administrator can set; delays, timestamps and retention use
//! wall time, which may jump.

#[cfg(test)]
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

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
}

/// The clocks of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn wall_ns(&self) -> i64 {
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_nanos()).unwrap_or(i64::MAX),
            Err(before) => -i64::try_from(before.duration().as_nanos()).unwrap_or(i64::MAX),
        }
    }

    fn boot_ms(&self) -> u64 {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        now.tv_sec as u64 * 1_000 + now.tv_nsec as u64 / 1_000_000
    }

    fn boot_ns(&self) -> u64 {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        (now.tv_sec as u64).saturating_mul(1_000_000_000) + now.tv_nsec as u64
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
