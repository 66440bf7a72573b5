//! Wall and boot time behind one trait, so that tests can set both.
//!
//! Leases use the boot clock, which no administrator can set; delays, timestamps and retention use
//! wall time, which may jump.

use std::ops::Range;
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
    /// clock that somebody set, or a host that slept, about a millisecond later; `wall_ns` follows
    /// at once. It is ahead of the kernel's by some hundred nanoseconds at most, and so may be that
    /// much earlier the next time.
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
    /// From where on the rate is measured: ticks and nanoseconds.
    base: [AtomicU64; 2],
}

static ANCHOR: Anchor = Anchor::new();

/// A rate is measured over such a time, in nanoseconds: in less of it what the questions take
/// counts for too much, and in more the host may have slept.
const APART_NS: Range<u64> = 1 << 24..1 << 30;
/// Rates that can be: of 0.25 to 8 GHz.
const RATES: Range<u64> = 1 << 29..1 << 34;

impl Anchor {
    const fn new() -> Self {
        Self {
            turn: AtomicU64::new(0),
            ticks: AtomicU64::new(0),
            boot_ns: AtomicU64::new(0),
            ahead_ns: AtomicI64::new(0),
            rate: AtomicU64::new(0),
            most: AtomicU64::new(0),
            base: [AtomicU64::new(0), AtomicU64::new(0)],
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

    /// The counter stood at `now` a moment before the clocks said this. Whoever is in the middle of
    /// it does it for all; one that was forked off meanwhile goes on asking the kernel.
    fn set(&self, now: u64, (boot_ns, ahead_ns): (u64, i64)) {
        let turn = self.turn.load(Ordering::Acquire);
        let swap = |turn| {
            let order = (Ordering::Acquire, Ordering::Relaxed);
            (self.turn).compare_exchange(turn, turn + 1, order.0, order.1)
        };
        if turn % 2 == 1 || swap(turn).is_err() {
            return;
        }
        // The turn before all else, for who reads meanwhile.
        fence(Ordering::Release);
        let [began, before] = [0, 1].map(|word: usize| self.base[word].load(Ordering::Relaxed));
        let (passed, apart) = (now.wrapping_sub(began), boot_ns.saturating_sub(before));
        if before != 0 && APART_NS.contains(&apart) {
            self.measure(apart, passed);
        }
        if before == 0 || apart >= APART_NS.start {
            self.base[0].store(now, Ordering::Relaxed);
            self.base[1].store(boot_ns, Ordering::Relaxed);
        }
        self.ticks.store(now, Ordering::Relaxed);
        self.boot_ns.store(boot_ns, Ordering::Relaxed);
        self.ahead_ns.store(ahead_ns, Ordering::Relaxed);
        self.turn.store(turn + 2, Ordering::Release);
    }

    /// A rate that cannot be, or is another one than the last time, is that of a counter that was
    /// set, or stood still: then the kernel is asked until two agree.
    fn measure(&self, apart: u64, passed: u64) {
        let rate = (u128::from(apart) << 32) / u128::from(passed.max(1));
        let rate = u64::try_from(rate).unwrap_or(u64::MAX);
        // A little more than it is: what is sent after somebody asked the kernel has no earlier
        // time than he was told, and is found from there on (P16).
        let rate = rate.saturating_add(rate >> 13).max(1);
        let last = self.rate.swap(rate, Ordering::Relaxed);
        let agree = last == 0 || rate.abs_diff(last) <= last >> 6;
        let most = match agree && RATES.contains(&rate) {
            true => (1 << (32 + ASKED_BITS)) / rate,
            false => 0,
        };
        self.most.store(most, Ordering::Relaxed);
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
const AT_ONCE_NS: u64 = 300;

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
        let (now, wall_ns) = (ticks(), self.wall_ns());
        let boot_ns = self.boot_ns();
        let took = boot_ns.saturating_sub(before);
        if took <= BETWEEN_NS {
            let ahead_ns = wall_ns.wrapping_sub(boot_ns as i64);
            AHEAD_NS.store(ahead_ns, Ordering::Relaxed);
            ASKED.store(boot_ns >> ASKED_BITS, Ordering::Release);
            if took <= AT_ONCE_NS && ticks_count_time() {
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
        // Where the kernel cannot be asked quickly enough nothing is ever reckoned.
        let reckons = || ANCHOR.most.load(Ordering::Relaxed) != 0;
        while asked < 100_000 || (reckons() && reckoned < 10_000) {
            assert!(is_now(|| Some(SystemClock.moment())));
            reckoned += u32::from(is_now(|| ANCHOR.reckon()));
            asked += 1;
            assert!(std::time::Instant::now() < until, "{reckoned} reckoned");
        }
    }

    /// A tick of a quarter of a nanosecond, measured up to `now`.
    fn measured(now: u64) -> Anchor {
        let anchor = Anchor::new();
        anchor.set(now.wrapping_sub(4 << 24), (1 << 40, 7));
        assert_eq!(anchor.reckon(), None, "how long is a tick?");
        anchor.set(now, ((1 << 40) + (1 << 24), 7));
        anchor
    }

    #[test]
    fn p16_what_is_reckoned_goes_on_from_what_the_kernel_said() {
        let now = ticks();
        let anchor = measured(now);
        let rate = anchor.rate.load(Ordering::Relaxed);
        assert!((1 << 30..(1 << 30) + (1 << 18)).contains(&rate), "{rate}");
        let most = anchor.most.load(Ordering::Relaxed);
        let from = (1 << 40) + (1 << 24);
        // Within its time, which may be over where this thread was kept from the processor.
        if let Some((boot_ns, wall_ns)) = anchor.reckon() {
            assert!((from..from + (1 << ASKED_BITS)).contains(&boot_ns));
            assert_eq!(wall_ns, boot_ns as i64 + 7);
        }
        let end = |began: u64| {
            anchor.ticks.store(began, Ordering::Relaxed);
            anchor.reckon()
        };
        let again = (0..1_000).find_map(|_| end(ticks().wrapping_sub(most / 2)));
        let (boot_ns, _) = again.expect("half of the time is left");
        assert!((from + (1 << 19) - 2..from + (1 << ASKED_BITS)).contains(&boot_ns));
        assert_eq!(end(ticks().wrapping_sub(most)), None, "it is over");
    }

    #[test]
    fn p9_p16_who_cannot_know_how_much_time_passed_asks_the_kernel() {
        let anchor = Anchor::new();
        assert_eq!(anchor.reckon(), None, "nothing was said");
        // The first that is said is nothing to measure from, however early it is.
        anchor.set(1 << 50, (1 << 26, 0));
        assert_eq!(anchor.most.load(Ordering::Relaxed), 0);
        let now = ticks();
        let far = (1 << 40) + (1 << 24);
        let most = |anchor: &Anchor| anchor.most.load(Ordering::Relaxed);
        assert_ne!(most(&measured(now)), 0);
        // As if the host had slept: the rate is that of before.
        let slept = measured(now);
        slept.set(now, (1 << 41, 7));
        assert_eq!(most(&slept), most(&measured(now)));
        // The counter was set back, stood still, or jumped; then two have to agree.
        for jump in [now.wrapping_sub(1 << 40), now, now + (1 << 40)] {
            let jumped = measured(now);
            jumped.set(jump, (far + (1 << 24), 7));
            assert_eq!(jumped.reckon(), None, "{jump} behind {now}");
            jumped.set(jump + (4 << 24), (far + (2 << 24), 7));
            assert_eq!(most(&jumped), 0, "another one than the last");
            jumped.set(jump + (8 << 24), (far + (3 << 24), 7));
            assert_ne!(most(&jumped), 0);
        }
        // It says that less time passed than none, or more than was said to be enough.
        for began in [ticks().wrapping_add(1 << 40), ticks().wrapping_sub(1 << 40)] {
            let anchor = measured(now);
            anchor.ticks.store(began, Ordering::Relaxed);
            assert_eq!(anchor.reckon(), None);
        }
        // In the middle of it.
        let anchor = measured(now);
        anchor.ticks.store(ticks(), Ordering::Relaxed);
        anchor.turn.fetch_add(1, Ordering::Relaxed);
        assert_eq!(anchor.reckon(), None);
        let turn = anchor.turn.load(Ordering::Relaxed);
        anchor.set(ticks(), (1 << 42, 7));
        assert_eq!(anchor.turn.load(Ordering::Relaxed), turn);
    }
}
