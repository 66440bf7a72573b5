//! What a group does with time and failures.

use crate::clock::Clock;
use crate::options::{Backoff, GroupConfig, OnDeadLetter, OnExpired, Ordering};

/// A moment, by both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Ms of the boot clock.
    pub boot_ms: u64,
    /// Ms since the Unix epoch.
    pub wall_ms: u64,
}

impl Now {
    /// By these clocks.
    #[must_use]
    pub fn by(clock: &dyn Clock) -> Self {
        Self::at(clock.moment())
    }

    /// At this moment, as [`Clock::moment`] says it.
    #[inline]
    #[must_use]
    pub fn at((boot_ns, wall_ns): (u64, i64)) -> Self {
        Self {
            boot_ms: boot_ns / 1_000_000,
            wall_ms: (wall_ns / 1_000_000).max(0) as u64,
        }
    }

    /// By how much the wall clock is ahead.
    pub(super) fn skew(self) -> i64 {
        (self.wall_ms as i64).saturating_sub(self.boot_ms as i64)
    }
}

/// In what order messages wait for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chains {
    None,
    ByKey,
    One,
}

/// The part of a group's configuration that the window goes by.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Failures after which a message dies.
    pub max_attempts: u32,
    /// How long failed messages wait.
    pub backoff: Backoff,
    chains: Chains,
    /// Whether messages that are too late become dead letters.
    pub expired_die: bool,
    /// How long a message is handed out for, in ms.
    pub lease_ms: u64,
    /// Whether a dead letter holds its key.
    pub hold_key: bool,
    /// Nothing is handed out.
    pub paused: bool,
    /// Nor taken in, since the order is about to be another one.
    pub held_back: bool,
    /// Which filter is in force, as whoever knows the filters numbers them; 0 for none.
    pub filter: u64,
}

impl Policy {
    /// The policy of a configuration.
    #[must_use]
    pub fn of(config: &GroupConfig) -> Self {
        let chains = match config.ordering {
            Ordering::None => Chains::None,
            Ordering::Key => Chains::ByKey,
            Ordering::Partition => Chains::One,
        };
        Self {
            max_attempts: config.max_attempts,
            backoff: config.backoff,
            chains,
            expired_die: config.on_expired == OnExpired::DeadLetter,
            lease_ms: config.lease.as_millis() as u64,
            hold_key: config.on_dead_letter == OnDeadLetter::HoldKey,
            paused: false,
            held_back: false,
            filter: 0,
        }
    }

    /// What names the order that a message with this hash of its key waits in; 0 for none, which is
    /// what stands in an entry then.
    #[inline]
    #[must_use]
    pub fn chain_of(&self, key: Option<u64>) -> u64 {
        match self.chains {
            Chains::None => 0,
            Chains::ByKey => key.map_or(0, |hash| hash.max(1)),
            Chains::One => 1,
        }
    }

    /// Whether messages wait for others of their key.
    #[inline]
    #[must_use]
    pub fn is_by_key(&self) -> bool {
        self.chains == Chains::ByKey
    }

    /// Whether a partition hands out one message at a time.
    #[inline]
    #[must_use]
    pub fn is_in_line(&self) -> bool {
        self.chains == Chains::One
    }

    /// Milliseconds to wait after this many failures: exponential, with a jitter of a tenth down
    /// that depends on the message, so that those that failed together do not return together.
    #[must_use]
    pub fn wait_ms(&self, failures: u32, offset: u64) -> u64 {
        let first = self.backoff.first.as_secs_f64() * 1000.0;
        let longest = self.backoff.longest.as_secs_f64() * 1000.0;
        let exponent = i32::try_from(failures.saturating_sub(1)).unwrap_or(i32::MAX);
        let wait = (first * self.backoff.factor.powi(exponent)).min(longest);
        let mixed = (offset ^ u64::from(failures) << 48).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let jitter = (mixed >> 40) as f64 / f64::from(1_u32 << 24);
        (wait * (1.0 - 0.1 * jitter)).round() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::GroupOptions;

    #[test]
    fn the_wait_doubles_up_to_the_longest_and_jitters_down_a_tenth() {
        let policy = Policy::of(&GroupConfig::from_options(&GroupOptions::default()));
        for offset in 0..100 {
            assert!((900..=1000).contains(&policy.wait_ms(1, offset)));
            assert!((3600..=4000).contains(&policy.wait_ms(3, offset)));
            assert!((270_000..=300_000).contains(&policy.wait_ms(4_000_000_000, offset)));
        }
    }
}
