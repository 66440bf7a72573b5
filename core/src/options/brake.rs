//! When too many messages of a group die.

use std::time::Duration;

use super::{GroupConfig, OnDeadLetter, Ordering, check_range, check_time, invalid};
use crate::error::Result;
use crate::options::DeadLetter;

/// Most messages of a brake: of as many each process remembers when they died.
pub const BRAKE_MESSAGES_MAX: u32 = 10_000;

/// Pauses a group when more than so many of its messages die within a time: a broken dependency is
/// not to flood the dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Brake {
    /// How many may die, 1 to 10,000; with one more the group is paused. 0: no brake.
    pub messages: u32,
    /// Within how long, at least 1 ms. Of no account where `messages` is 0.
    pub within: Duration,
}

impl Brake {
    /// No brake, for taking one off.
    pub const NONE: Self = Self {
        messages: 0,
        within: Duration::ZERO,
    };

    /// What is stored for it.
    pub(crate) fn stored(self) -> Option<Self> {
        (self.messages > 0).then_some(self)
    }

    pub(super) fn check(self) -> Result<()> {
        if self.messages == 0 {
            return Ok(());
        }
        let most = u64::from(BRAKE_MESSAGES_MAX);
        check_range("brake (messages)", u64::from(self.messages), 0, most)?;
        check_time("brake (within)", self.within, Duration::from_millis(1))
    }
}

impl GroupConfig {
    /// Errors with [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) where one part
    /// of the configuration contradicts another one.
    pub fn check(&self) -> Result<()> {
        if self.brake.is_some() && self.dead_letter_topic == DeadLetter::Drop {
            return Err(invalid(
                "the group has a brake, and drops its dead letters, which is what the brake \
                 counts; name a dead-letter topic, or take the brake off (0 messages)"
                    .into(),
            ));
        }
        if self.on_dead_letter == OnDeadLetter::HoldKey {
            let what = match (self.ordering, &self.dead_letter_topic) {
                (Ordering::None, _) => "ordering none, in which no message waits for another one",
                (_, DeadLetter::Drop) => "no dead-letter topic, so that none could be redriven",
                _ => return Ok(()),
            };
            return Err(invalid(format!(
                "on_dead_letter is hold_key, and the group has {what}; expected ordering key or \
                 partition and a dead-letter topic, or on_dead_letter continue"
            )));
        }
        Ok(())
    }
}
