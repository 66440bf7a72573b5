//! Every option and limit, named, with its default, checked against each other.
//!
//! An option that is `None` takes the stored value where the topic or group exists, and the default
//! where it is created. `Some` value that contradicts the stored one is an error.

use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};

mod base64;
mod brake;
mod filter;
#[cfg(test)]
mod filter_tests;
mod flow;
mod group;
mod json;
mod retention;
mod topic;

pub use brake::{BRAKE_MESSAGES_MAX, Brake};
pub use filter::{FILTER_BYTES_MAX, FILTER_DEPTH_MAX, Filter};
pub use flow::{HIGH_MARK_DEFAULT, LIMIT_BYTES_MAX, LIMIT_MESSAGES_MAX, LOW_MARK_DEFAULT, OnFull};
pub use group::{
    Backoff, DeadLetter, DeliveryMode, GroupConfig, GroupOptions, OnDeadLetter, OnExpired, Ordering,
};
pub use retention::{OnLost, RETENTION_MAX, Retention, TOMBSTONE_GRACE_DEFAULT};
pub use topic::{DedupWindow, TopicConfig, TopicOptions};

/// Most partitions of a topic.
pub const PARTITIONS_MAX: u32 = 1024;
/// Largest message: key, headers and payload together, in bytes.
pub const MESSAGE_BYTES_MAX: u64 = 1 << 30;
/// Fewest entries of a group's delivery window.
pub const WINDOW_MIN: u32 = 256;
/// Most entries of a group's delivery window.
pub const WINDOW_MAX: u32 = 1 << 24;
/// Most failures a group may allow a message.
pub const MAX_ATTEMPTS_MAX: u32 = 60_000;
/// Longest lease and longest backoff.
pub const TIME_MAX: Duration = Duration::from_secs(365 * 24 * 3600);
/// The sync interval of [`Durability::Interval`] where none is named.
pub const SYNC_INTERVAL_DEFAULT: Duration = Duration::from_millis(10);

/// What a power loss may cost once `send` has returned. A killed process never costs a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Durability {
    /// What the kernel had not written back yet (the default; some 30 seconds on most systems).
    #[default]
    Process,
    /// At most the messages of the last interval.
    Interval(Duration),
    /// Nothing: each send waits for the disk, together with all that wait at that moment.
    Sync,
}

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Create the store where there is none. Default: true.
    pub create: bool,
    /// Only read: no member slot is taken, nothing is ever written. Default: false.
    pub read_only: bool,
    /// The durability of topics that do not name their own. Default: [`Durability::Process`].
    pub durability: Durability,
    /// Permission bits of created files; folders get the matching search bits. Default: 0o660.
    pub mode: u32,
    /// How long to wait for a lock that a live process holds. Default: 10 seconds.
    pub lock_timeout: Duration,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            create: true,
            read_only: false,
            durability: Durability::Process,
            mode: 0o660,
            lock_timeout: Duration::from_secs(10),
        }
    }
}

impl StoreOptions {
    /// Errors with [`ErrorKind::InvalidArgument`] where an option is out of range.
    pub fn check(&self) -> Result<()> {
        check_durability(self.durability)?;
        if self.mode & !0o777 != 0 || self.mode & 0o600 != 0o600 {
            return Err(invalid(format!(
                "mode is {:#o}; expected permission bits that let the owner read and write, \
                 such as 0o660",
                self.mode
            )));
        }
        check_time("lock_timeout", self.lock_timeout, Duration::from_millis(1))
    }
}

/// Where a new group or a reader starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Start {
    /// At the oldest message that is kept (the default).
    #[default]
    Earliest,
    /// Behind the newest message.
    Latest,
    /// At an offset; only where one partition is meant. A reader waits for one behind the end, and
    /// passes over what comes before it; a group is refused there.
    Offset(u64),
    /// At the first message with this timestamp or a later one, in ns since the Unix epoch.
    Time(i64),
}

/// How a reader is opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReaderOptions {
    /// Where it starts. Default: [`Start::Earliest`].
    pub start: Start,
    /// The partitions to read; `None` reads all.
    pub partitions: Option<Vec<u32>>,
    /// Whether iteration waits at the end for more. Default: false.
    pub follow: bool,
}

fn agree<T: PartialEq + std::fmt::Debug>(
    at: &str,
    name: &str,
    wanted: Option<T>,
    stored: T,
) -> Result<()> {
    match wanted {
        Some(wanted) if wanted != stored => {
            let (stored, wanted) = (format!("{stored:?}"), format!("{wanted:?}"));
            Err(mismatch(at, name, &stored, &wanted))
        }
        _ => Ok(()),
    }
}

fn mismatch(at: &str, name: &str, stored: &str, wanted: &str) -> Error {
    Error::new(
        ErrorKind::ConfigMismatch,
        format!(
            "{at} was created with {name} {stored}, this call asks for {wanted}; leave \
             {name} out, or change the stored value with configure"
        ),
    )
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidArgument, message)
}

fn check_range(name: &str, found: u64, least: u64, most: u64) -> Result<()> {
    if (least..=most).contains(&found) {
        return Ok(());
    }
    Err(invalid(format!(
        "{name} is {found}; expected {least} to {most}"
    )))
}

fn check_time(name: &str, found: Duration, least: Duration) -> Result<()> {
    if (least..=TIME_MAX).contains(&found) {
        return Ok(());
    }
    Err(invalid(format!(
        "{name} is {found:?}; expected {least:?} to {TIME_MAX:?}"
    )))
}

fn check_durability(durability: Durability) -> Result<()> {
    match durability {
        Durability::Interval(every) => check_time("sync_interval", every, Duration::from_millis(1)),
        Durability::Process | Durability::Sync => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn out_of_range_options_are_refused_with_the_range() {
        let options = TopicOptions {
            partitions: Some(0),
            ..Default::default()
        };
        let error = options.check().expect_err("0 partitions");
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.message().contains("1 to 1024"), "{error}");
        let options = GroupOptions {
            window: Some(255),
            ..Default::default()
        };
        assert!(options.check().is_err());
        let lease = Some(Duration::ZERO);
        assert!(
            GroupOptions {
                lease,
                ..Default::default()
            }
            .check()
            .is_err()
        );
    }

    #[test]
    fn a_contradiction_names_configure_and_an_absent_option_takes_what_is_stored() {
        let stored = TopicConfig::from_options(&TopicOptions {
            partitions: Some(4),
            ..Default::default()
        });
        assert!(
            stored
                .check_against("orders", &TopicOptions::default())
                .is_ok()
        );
        let wanted = TopicOptions {
            partitions: Some(2),
            ..Default::default()
        };
        let error = stored
            .check_against("orders", &wanted)
            .expect_err("contradiction");
        assert_eq!(error.kind(), ErrorKind::ConfigMismatch);
        assert!(error.message().contains("configure"), "{error}");
    }
}
