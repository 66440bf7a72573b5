//! How long a topic keeps messages.

use std::time::Duration;

use super::invalid;
use crate::error::Result;

/// Longest time that messages may be kept for: a hundred years. Without any limit it is
/// [`Retention::Forever`].
pub const RETENTION_MAX: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// How long tombstones are kept by default: a day.
pub const TOMBSTONE_GRACE_DEFAULT: Duration = Duration::from_secs(24 * 3600);

/// When a topic's segments go. Whole ones do, oldest first; never the one that messages are
/// appended to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Retention {
    /// As soon as every group has settled all that is in them (the default). While the topic has no
    /// group nothing counts as settled: messages wait for the first one.
    #[default]
    Settled,
    /// Never.
    Forever,
    /// Once the last message in them was sent so long ago, settled or not.
    Time(Duration),
}

impl Retention {
    /// Errors with [`crate::ErrorKind::InvalidArgument`] where a time is out of range.
    pub fn check(&self) -> Result<()> {
        match self {
            Self::Time(time) if *time < Duration::from_millis(1) || *time > RETENTION_MAX => {
                Err(invalid(format!(
                    "retention is {time:?}; expected 1 ms to 100 years, settled, or forever"
                )))
            }
            _ => Ok(()),
        }
    }
}

/// What becomes of messages that a group has not settled and that `retention`, as a time, or
/// `retention_bytes` is about to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OnLost {
    /// They are settled, and counted as lost (the default).
    #[default]
    Count,
    /// They become dead letters first, of each group that has not settled them. Where a letter
    /// cannot be written, the segment stays until it can. A group that drops its dead letters drops
    /// these as well.
    DeadLetter,
}

/// Errors with [`crate::ErrorKind::InvalidArgument`] where what is compacted would go as soon as it
/// is settled.
pub(super) fn check_compaction(
    compaction: Option<bool>,
    retention: Option<Retention>,
) -> Result<()> {
    if (compaction, retention) != (Some(true), Some(Retention::Settled)) {
        return Ok(());
    }
    Err(invalid(
        "compaction keeps the last message of each key, and retention \"settled\" takes it as soon \
         as all groups have settled it; expected retention \"forever\", which compaction alone \
         means, or a time"
            .to_owned(),
    ))
}

/// Errors with [`crate::ErrorKind::InvalidArgument`] where tombstones would be kept for too long.
pub(super) fn check_grace(grace: Duration) -> Result<()> {
    if grace <= RETENTION_MAX {
        return Ok(());
    }
    Err(invalid(format!(
        "tombstone_grace is {grace:?}; expected 0 to 100 years"
    )))
}
