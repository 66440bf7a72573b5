//! An event count on a futex word: announce, look again, sleep with a bound.
//!
//! ```text
//!  31          16 15            1  0
//! | notifications | announcements | someone sleeps |
//! ```
//!
//! Announcements are counted from the last notification on. Where each notification wakes all, so
//! many are about to sleep, or asleep.
//!
//! A notifier pays one load while nobody sleeps. The full fences pair: the sleeper announces before
//! it looks again, the notifier publishes before it looks for sleepers, so at least one of the two
//! sees the other. A sleeper that dies leaves the bit set: that costs one needless wake, which
//! clears it. Every sleep is bounded besides, so that even a lost wake-up costs a beat, not a hang.

use std::time::Duration;

use super::sync::{AtomicU32, Instant, Ordering, fence, futex_wait, futex_wake};

const ASLEEP: u32 = 1;
const ANNOUNCED: u32 = 1 << 1;
const ANNOUNCED_MASK: u32 = 0xFFFE;
const NOTIFIED: u32 = 1 << 16;

/// What a sleeper saw when it announced itself.
#[derive(Clone, Copy)]
pub struct Token(u32);

/// The verbs on an event word.
pub struct EventCount;

impl EventCount {
    /// Announces that the caller is about to sleep. It must look again at what it waits for, and
    /// only then call [`EventCount::wait`].
    pub fn prepare(word: &AtomicU32) -> Token {
        let mut seen = word.load(Ordering::Relaxed);
        loop {
            let announced =
                (seen & !ANNOUNCED_MASK) | (seen.wrapping_add(ANNOUNCED) & ANNOUNCED_MASK) | ASLEEP;
            match word.compare_exchange_weak(seen, announced, Ordering::SeqCst, Ordering::Relaxed) {
                Ok(_) => {
                    // Pairs with the fence in `notify`.
                    fence(Ordering::SeqCst);
                    return Token(announced);
                }
                Err(found) => seen = found,
            }
        }
    }

    /// Sleeps until a notification after `prepare`, or for `bound`. True if there was one; false
    /// may come early. In either case the caller looks again.
    pub fn wait(word: &AtomicU32, token: Token, bound: Duration) -> bool {
        let (mut seen, mut left) = (token.0, bound);
        let deadline = Instant::now() + bound;
        loop {
            futex_wait(word, seen, left);
            let now = word.load(Ordering::Acquire);
            // Acquire pairs with the notifier's addition. Another sleeper's announcement changes
            // the word without being news for this one.
            if (now ^ token.0) & !ANNOUNCED_MASK != 0 {
                return true;
            }
            if now == seen || left.is_zero() {
                return false;
            }
            seen = now;
            left = deadline.saturating_duration_since(Instant::now());
        }
    }

    /// Whether somebody sleeps, or died asleep. The caller has published before.
    #[inline]
    pub fn has_sleepers(word: &AtomicU32) -> bool {
        // Pairs with the fence in `prepare`.
        fence(Ordering::SeqCst);
        word.load(Ordering::Relaxed) & ASLEEP != 0
    }

    /// Wakes up to `most` sleepers. The caller has published what they wait for.
    #[inline]
    pub fn notify(word: &AtomicU32, most: u32) {
        if Self::has_sleepers(word) {
            Self::wake(word, most);
        }
    }

    /// How many announced themselves since the last notification that anybody slept for; one who
    /// looked again and did so once more counts twice.
    pub fn announced(word: &AtomicU32) -> u32 {
        (word.load(Ordering::Relaxed) & ANNOUNCED_MASK) / ANNOUNCED
    }

    /// As `notify`, of a word on which nobody sleeps, and by which it is only said that somebody
    /// does: without asking the kernel. Whoever announced since is still said to.
    pub fn clear(word: &AtomicU32) {
        Self::forget_sleepers(word, Self::raise(word));
    }

    #[cold]
    fn wake(word: &AtomicU32, most: u32) {
        let now = Self::raise(word);
        let woken = futex_wake(word, most);
        if woken < most {
            Self::forget_sleepers(word, now);
        }
    }

    /// One notification more, from which on announcements count; what the word is by that.
    fn raise(word: &AtomicU32) -> u32 {
        let mut seen = word.load(Ordering::Relaxed);
        loop {
            let now = seen.wrapping_add(NOTIFIED) & !ANNOUNCED_MASK;
            match word.compare_exchange_weak(seen, now, Ordering::SeqCst, Ordering::Relaxed) {
                Ok(_) => return now,
                Err(found) => seen = found,
            }
        }
    }

    /// Nobody is left asleep, unless somebody announced since the word was this: then the swap
    /// fails and the bit stays.
    fn forget_sleepers(word: &AtomicU32, now: u32) {
        let _ = word.compare_exchange(now, now & !ASLEEP, Ordering::SeqCst, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU64;

    #[test]
    fn no_wake_up_is_lost() {
        let word = AtomicU32::new(0);
        let (ping, pong) = (AtomicU64::new(0), AtomicU64::new(0));
        let rounds = 20_000;
        let began = Instant::now();
        let late = AtomicU64::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for round in 1..=rounds {
                    ping.store(round, Ordering::Release);
                    EventCount::notify(&word, 1);
                    while pong.load(Ordering::Acquire) < round {
                        std::hint::spin_loop();
                    }
                }
            });
            for round in 1..=rounds {
                while ping.load(Ordering::Acquire) < round {
                    let token = EventCount::prepare(&word);
                    if ping.load(Ordering::Acquire) >= round {
                        break;
                    }
                    let slept = Instant::now();
                    EventCount::wait(&word, token, Duration::from_secs(5));
                    if slept.elapsed() > Duration::from_secs(4) {
                        late.fetch_add(1, Ordering::Relaxed);
                    }
                }
                pong.store(round, Ordering::Release);
            }
        });
        assert_eq!(
            late.load(Ordering::Relaxed),
            0,
            "slept through a notification"
        );
        assert!(began.elapsed() < Duration::from_secs(120));
    }

    #[test]
    fn a_dead_sleepers_bit_is_cleared_by_the_next_notification() {
        let word = AtomicU32::new(0);
        EventCount::prepare(&word);
        assert!(EventCount::has_sleepers(&word));
        EventCount::notify(&word, 1);
        assert!(!EventCount::has_sleepers(&word));
    }

    #[test]
    fn what_is_cleared_says_of_nobody_before_that_he_sleeps_and_is_news() {
        let word = AtomicU32::new(0);
        let token = EventCount::prepare(&word);
        EventCount::clear(&word);
        assert!(!EventCount::has_sleepers(&word));
        assert!(EventCount::wait(&word, token, Duration::from_secs(60)));
        EventCount::prepare(&word);
        assert!(EventCount::has_sleepers(&word), "one that came since");
    }

    #[test]
    fn announcements_are_counted_from_the_last_notification_on() {
        let word = AtomicU32::new(0);
        assert_eq!(EventCount::announced(&word), 0);
        for count in 1..4 {
            EventCount::prepare(&word);
            assert_eq!(EventCount::announced(&word), count);
        }
        EventCount::notify(&word, u32::MAX);
        assert_eq!(EventCount::announced(&word), 0);
        EventCount::prepare(&word);
        assert_eq!(EventCount::announced(&word), 1);
    }
}
