//! How long one who finds nothing looks again before it sleeps: more where looks find something, or
//! sleeps are short, and less where they do not.
//!
//! Where messages come one after the other, a look that goes on for a moment saves a sleep and the
//! sender a system call. Where they come rarely, the moment is lost: the processor is hot for
//! nothing, and a consumer that has used more of it is told later by the kernel's scheduler (with
//! 200 pauses before each sleep, the median wait of a paced message was twice as long).

use std::hint::spin_loop;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

/// The most pauses between two sleeps, as long as the shortest way to sleep and back.
const MOST: u32 = 200;
/// The fewest, where there are to be any.
const LEAST: u32 = MOST / 16;
/// Who slept for less, with his way to sleep and back, could have met the message by looking.
const SHORT: Duration = Duration::from_micros(60);

/// How many pauses the next look makes. Threads may share one: whatever they make of it is right.
pub(super) struct Spin(AtomicU32);

impl Default for Spin {
    fn default() -> Self {
        Self(AtomicU32::new(MOST))
    }
}

impl Spin {
    /// Looks for news; whether there was any.
    pub(super) fn finds(&self, mut news: impl FnMut() -> bool) -> bool {
        let most = self.0.load(Relaxed);
        for _ in 0..most {
            spin_loop();
            if news() {
                self.0.store(MOST, Relaxed);
                return true;
            }
        }
        self.0.store(most / 4, Relaxed);
        false
    }

    /// The caller slept after it, for so long.
    pub(super) fn slept(&self, time: Duration) {
        if time < SHORT {
            let more = self.0.load(Relaxed).saturating_mul(2);
            self.0.store(more.clamp(LEAST, MOST), Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, LEAST, MOST, SHORT, Spin};

    fn looks(spin: &Spin) -> u32 {
        let mut looks = 0;
        assert!(!spin.finds(|| {
            looks += 1;
            false
        }));
        looks
    }

    #[test]
    fn it_looks_less_and_less_for_what_does_not_come() {
        let spin = Spin::default();
        let all: Vec<u32> = std::iter::repeat_with(|| looks(&spin)).take(9).collect();
        assert_eq!(all, [200, 50, 12, 3, 0, 0, 0, 0, 0]);
        spin.slept(SHORT);
        assert_eq!(looks(&spin), 0, "a long sleep is no reason to look");
    }

    #[test]
    fn it_looks_again_where_sleeps_are_short_and_fully_where_it_found_something() {
        let spin = Spin::default();
        while looks(&spin) > 0 {}
        spin.slept(Duration::from_micros(5));
        assert_eq!(looks(&spin), LEAST);
        for _ in 0..9 {
            spin.slept(Duration::from_micros(5));
        }
        assert_eq!(looks(&spin), MOST);
        while looks(&spin) > LEAST {}
        assert!(spin.finds(|| true));
        assert_eq!(looks(&spin), MOST);
    }
}
