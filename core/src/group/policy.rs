//! What a group does with time and failures.

use crate::options::{Backoff, GroupConfig, Ordering};

/// The part of a group's configuration that the window goes by.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Failures after which a message dies.
    pub max_attempts: u32,
    /// How long failed messages wait.
    pub backoff: Backoff,
    /// Whether messages of a key wait for each other.
    by_key: bool,
}

impl Policy {
    /// The policy of a configuration.
    #[must_use]
    pub fn of(config: &GroupConfig) -> Self {
        let by_key = config.ordering == Ordering::Key;
        Self {
            max_attempts: config.max_attempts,
            backoff: config.backoff,
            by_key,
        }
    }

    /// What names the order that a message with this hash of its key waits in; 0 for none, which is
    /// what stands in an entry then.
    #[inline]
    #[must_use]
    pub fn chain_of(&self, key: Option<u64>) -> u64 {
        key.filter(|_| self.by_key).map_or(0, |hash| hash.max(1))
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
