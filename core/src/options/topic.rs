//! What can be set for a topic.

use std::time::Duration;

use super::{
    Durability, MESSAGE_BYTES_MAX, PARTITIONS_MAX, agree, check_durability, check_range,
    check_time, invalid, mismatch,
};
use crate::error::Result;

/// Configuration of a topic, as given when it is opened.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TopicOptions {
    /// Number of partitions, 1 to 1024. Default: 1. Fixed once the topic exists.
    pub partitions: Option<u32>,
    /// Overrides the store's durability for this topic.
    pub durability: Option<Durability>,
    /// Largest message in bytes: key, headers and payload. Default and limit: 1 GiB. Dead letters
    /// are never refused for it: they are as large as their messages, and the headers that say
    /// where they came from.
    pub max_message_bytes: Option<u64>,
    /// For how long a dedup id keeps its message from being sent again. Default:
    /// [`DedupWindow::Off`].
    pub dedup_window: Option<DedupWindow>,
}

/// For how long a topic knows a dedup id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DedupWindow {
    /// It knows none: a message with one is refused.
    #[default]
    Off,
    /// For so long after the first send, by the wall clock.
    Time(Duration),
    /// Until every group has settled the message; while the topic has no group, for ever.
    UntilSettled,
}

impl TopicOptions {
    /// Errors with [`ErrorKind::InvalidArgument`] where an option is out of range.
    pub fn check(&self) -> Result<()> {
        if let Some(n) = self.partitions {
            check_range("partitions", u64::from(n), 1, u64::from(PARTITIONS_MAX))?;
        }
        if let Some(n) = self.max_message_bytes {
            check_range("max_message_bytes", n, 1, MESSAGE_BYTES_MAX)?;
        }
        if let Some(DedupWindow::Time(time)) = self.dedup_window {
            check_time("dedup_window", time, Duration::from_millis(1))?;
        }
        self.durability.map_or(Ok(()), check_durability)
    }
}

/// Configuration of a topic, as stored.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicConfig {
    /// Number of partitions.
    pub partitions: u32,
    /// The topic's own durability; `None` takes the store's.
    pub durability: Option<Durability>,
    /// Largest message in bytes: key, headers and payload.
    pub max_message_bytes: u64,
    /// For how long a dedup id is known.
    pub dedup_window: DedupWindow,
}

impl TopicConfig {
    /// What a topic created with these options stores.
    #[must_use]
    pub fn from_options(options: &TopicOptions) -> Self {
        Self {
            partitions: options.partitions.unwrap_or(1),
            durability: options.durability,
            max_message_bytes: options.max_message_bytes.unwrap_or(MESSAGE_BYTES_MAX),
            dedup_window: options.dedup_window.unwrap_or_default(),
        }
    }

    /// What is stored after these changes; what is `None` stays.
    pub fn changed_by(&self, changes: &TopicOptions) -> Result<Self> {
        if let Some(wanted) = changes.partitions.filter(|n| *n != self.partitions) {
            let stored = self.partitions;
            return Err(invalid(format!(
                "partitions is {wanted}, the topic was made with {stored}, by which keys find their \
                 order; expected {stored}: make another topic with the partitions you want"
            )));
        }
        Ok(Self {
            partitions: self.partitions,
            durability: changes.durability.or(self.durability),
            max_message_bytes: changes.max_message_bytes.unwrap_or(self.max_message_bytes),
            dedup_window: changes.dedup_window.unwrap_or(self.dedup_window),
        })
    }

    /// Errors with [`ErrorKind::ConfigMismatch`] where an option contradicts what is stored.
    pub fn check_against(&self, topic: &str, options: &TopicOptions) -> Result<()> {
        let at = format!("topic {topic:?}");
        agree(&at, "partitions", options.partitions, self.partitions)?;
        agree(
            &at,
            "max_message_bytes",
            options.max_message_bytes,
            self.max_message_bytes,
        )?;
        agree(&at, "dedup_window", options.dedup_window, self.dedup_window)?;
        let (stored, wanted) = (self.durability, options.durability);
        match wanted {
            Some(_) if wanted != stored => {
                let (stored, wanted) = (named(stored), named(wanted));
                Err(mismatch(&at, "durability", &stored, &wanted))
            }
            _ => Ok(()),
        }
    }
}

/// A topic's durability for people.
fn named(durability: Option<Durability>) -> String {
    match durability {
        None => "the store's".to_owned(),
        Some(Durability::Process) => "process".to_owned(),
        Some(Durability::Sync) => "sync".to_owned(),
        Some(Durability::Interval(every)) => format!("interval of {every:?}"),
    }
}
