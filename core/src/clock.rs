//! Wall and boot time behind one trait, so that tests can set both.
//!
//! Leases use the boot clock, which no administrator can set; delays, timestamps and retention use
//! wall time, which may jump.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering, fence};

use crate::shm::{ticks, ticks_count_time};

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

    /// By what the kernel said within the last 2^20 ns, as a rule: by the processor's counter since
    /// then, or by one question to the kernel instead of two. So what goes by this moment, as when
    /// a message was sent, what is due, what is too late and when a lease is said to end, follows a
    /// clock that somebody set about a millisecond later; `wall_ns` follows at once.
    #[inline]
    fn moment(&self) -> (u64, i64) {
        ANCHOR.reckon().unwrap_or_else(|| self.ask())
    }
}

/// What the kernel said, and where the processor's counter stood then. It is read without a lock,
/// and only believed where no turn of it began or ended meanwhile.
struct Anchor {
    /// Odd while the rest is being set.
    turn: AtomicU64,
    ticks: AtomicU64,
    boot_ns: AtomicU64,
    ahead_ns: AtomicI64,
    /// 2^32 times the nanoseconds of a tick.
    rate: AtomicU64,
    /// From so many ticks on the kernel is asked again; 0 where the rate is not known.
    most: AtomicU64,
}

static ANCHOR: Anchor = Anchor::new();

/// The rate is taken from two anchors that are no nearer to each other, in nanoseconds, or it would
/// be a rough one; nor further apart, or the host may have slept in between.
const APART_NS: std::ops::Range<u64> = 1 << 19..1 << 30;

impl Anchor {
    const fn new() -> Self {
        Self {
            turn: AtomicU64::new(0),
            ticks: AtomicU64::new(0),
            boot_ns: AtomicU64::new(0),
            ahead_ns: AtomicI64::new(0),
            rate: AtomicU64::new(0),
            most: AtomicU64::new(0),
        }
    }

    #[inline]
    fn reckon(&self) -> Option<(u64, i64)> {
        // Acquire pairs with the release at the end of `set`, and the fence with its beginning.
        let turn = self.turn.load(Ordering::Acquire);
        let (rate, most) = (
            self.rate.load(Ordering::Relaxed),
            self.most.load(Ordering::Relaxed),
        );
        let (began, boot_ns, ahead_ns) = (
            self.ticks.load(Ordering::Relaxed),
            self.boot_ns.load(Ordering::Relaxed),
            self.ahead_ns.load(Ordering::Relaxed),
        );
        fence(Ordering::Acquire);
        if most == 0 || turn % 2 == 1 || self.turn.load(Ordering::Relaxed) != turn {
            return None;
        }
        // After a counter that was set back this is more than `most`.
        let passed = ticks().wrapping_sub(began);
        if passed >= most {
            return None;
        }
        let boot_ns = boot_ns + ((passed * rate) >> 32);
        Some((boot_ns, ahead_of(boot_ns, ahead_ns)))
    }

    /// Whoever is in the middle of it does it for all; one that was forked off meanwhile goes on
    /// asking the kernel.
    fn set(&self, now: u64, (boot_ns, ahead_ns): (u64, i64)) {
        let turn = self.turn.load(Ordering::Relaxed);
        let (began, before) = (
            self.ticks.load(Ordering::Relaxed),
            self.boot_ns.load(Ordering::Relaxed),
        );
        let (passed, apart) = (now.wrapping_sub(began), boot_ns.saturating_sub(before));
        let near = before != 0 && apart < APART_NS.start;
        let swap = |turn| {
            let order = (Ordering::Relaxed, Ordering::Relaxed);
            (self.turn).compare_exchange(turn, turn + 1, order.0, order.1)
        };
        if near || turn % 2 == 1 || swap(turn).is_err() {
            return;
        }
        // The turn before all else, for who reads meanwhile.
        fence(Ordering::Release);
        if APART_NS.contains(&apart) && passed > 0 {
            // A little less than it is: the time that is reckoned is behind the kernel's, so that
            // what is asked next is not before what was reckoned last.
            let rate = ((u128::from(apart) << 32) / u128::from(passed)) as u64;
            let rate = rate - (rate >> 13);
            self.rate.store(rate, Ordering::Relaxed);
            let most = (1 << (32 + ASKED_BITS)) / rate.max(1);
            self.most.store(most, Ordering::Relaxed);
        }
        self.ticks.store(now, Ordering::Relaxed);
        self.boot_ns.store(boot_ns, Ordering::Relaxed);
        self.ahead_ns.store(ahead_ns, Ordering::Relaxed);
        self.turn.store(turn + 2, Ordering::Release);
    }
}

/// Where `boot_ns` was, in units of 2^20 ns, when it was last asked by how much the wall clock is
/// ahead of it.
static ASKED: AtomicU64 = AtomicU64::new(u64::MAX);
const ASKED_BITS: u32 = 20;
static AHEAD_NS: AtomicI64 = AtomicI64::new(0);
/// Who was kept from the processor for longer between two questions has no answer for others.
const BETWEEN_NS: u64 = 20_000;
/// Nor one that the counter can be held against.
const AT_ONCE_NS: u64 = 1_000;

fn ahead_of(boot_ns: u64, ahead_ns: i64) -> i64 {
    (boot_ns as i64).wrapping_add(ahead_ns)
}

impl SystemClock {
    /// Whether the processor's counter can be gone by is found out here, before any lock is held.
    pub fn ready() -> Self {
        ticks_count_time();
        Self
    }

    #[cold]
    fn ask(self) -> (u64, i64) {
        let boot_ns = self.boot_ns();
        // Acquire pairs with the release in `ask_ahead`: the number is at least as new.
        match ASKED.load(Ordering::Acquire) == boot_ns >> ASKED_BITS {
            true => (boot_ns, ahead_of(boot_ns, AHEAD_NS.load(Ordering::Relaxed))),
            false => self.ask_ahead(),
        }
    }

    fn ask_ahead(self) -> (u64, i64) {
        let before = self.boot_ns();
        let wall_ns = self.wall_ns();
        let boot_ns = self.boot_ns();
        let now = ticks();
        let took = boot_ns.saturating_sub(before);
        if took <= BETWEEN_NS {
            let ahead_ns = wall_ns.wrapping_sub(boot_ns as i64);
            AHEAD_NS.store(ahead_ns, Ordering::Relaxed);
            ASKED.store(boot_ns >> ASKED_BITS, Ordering::Release);
            let at_once = self.boot_ns().saturating_sub(before) <= AT_ONCE_NS;
            if at_once && ticks_count_time() {
                ANCHOR.set(now, (boot_ns, ahead_ns));
            }
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

    /// Whether this is what both clocks say, or nearly so.
    fn is_now(asked: impl Fn() -> Option<(u64, i64)>) -> bool {
        let clock = SystemClock;
        let (before, early) = (clock.boot_ns(), clock.wall_ns());
        let Some((boot_ns, wall_ns)) = asked() else {
            return false;
        };
        let (after, late) = (clock.boot_ns(), clock.wall_ns());
        let slack = i64::try_from(BETWEEN_NS).expect("small");
        assert!(before <= boot_ns + BETWEEN_NS && boot_ns <= after + BETWEEN_NS);
        assert!(early - slack <= wall_ns && wall_ns <= late + slack);
        true
    }

    #[test]
    fn p16_a_moment_is_what_both_clocks_say() {
        let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
        let (mut reckoned, mut asked) = (0, 0);
        while asked < 100_000 || (ticks_count_time() && reckoned < 10_000) {
            assert!(is_now(|| Some(SystemClock.moment())));
            reckoned += u32::from(is_now(|| ANCHOR.reckon()));
            asked += 1;
            assert!(std::time::Instant::now() < until, "{reckoned} reckoned");
        }
    }

    #[test]
    fn p16_who_cannot_know_how_much_time_passed_asks_the_kernel() {
        let anchor = Anchor::new();
        let said = |boot_ns| (boot_ns, 7);
        assert_eq!(anchor.reckon(), None, "nothing was said");
        let now = ticks();
        anchor.set(now.wrapping_sub(4 << 20), said(1 << 40));
        assert_eq!(anchor.reckon(), None, "how long is a tick?");
        anchor.set(now, said((1 << 40) + (1 << 20)));
        let fast = anchor.rate.load(Ordering::Relaxed);
        assert!(
            fast < 1 << 30 && fast > (1 << 30) - (1 << 18),
            "a quarter of a ns"
        );
        // Nearer, and as if the host had slept: the rate is that of before.
        anchor.set(now + 1000, said((1 << 40) + (1 << 20) + 1000));
        assert_eq!(anchor.ticks.load(Ordering::Relaxed), now);
        anchor.set(now + 1000, said(1 << 41));
        assert_eq!(anchor.ticks.load(Ordering::Relaxed), now + 1000);
        assert_eq!(anchor.rate.load(Ordering::Relaxed), fast);
        // Set back, or long ago.
        for began in [ticks().wrapping_add(1 << 40), ticks().wrapping_sub(1 << 40)] {
            anchor.ticks.store(began, Ordering::Relaxed);
            assert_eq!(anchor.reckon(), None);
        }
        // In the middle of it.
        anchor.ticks.store(ticks(), Ordering::Relaxed);
        anchor.turn.fetch_add(1, Ordering::Relaxed);
        assert_eq!(anchor.reckon(), None);
        let turn = anchor.turn.load(Ordering::Relaxed);
        anchor.set(ticks(), said(1 << 42));
        assert_eq!(anchor.turn.load(Ordering::Relaxed), turn);
    }
}
