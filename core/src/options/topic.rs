//! What can be set for a topic.

use std::time::Duration;

use super::flow::{self, HIGH_MARK_DEFAULT, LOW_MARK_DEFAULT, OnFull};
use super::retention::{check_compaction, check_grace};
use super::{
    Durability, MESSAGE_BYTES_MAX, OnLost, PARTITIONS_MAX, Retention, TOMBSTONE_GRACE_DEFAULT,
    agree, check_durability, check_range, check_time, invalid, mismatch,
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
    /// Most messages that some group has not settled; without groups, that are kept (P14). Those
    /// that are handed out or delayed count. 0 takes the limit off. Default: no limit.
    pub max_messages: Option<u64>,
    /// As `max_messages`, in bytes of their records in the log: with headers, key and 48 bytes.
    pub max_bytes: Option<u64>,
    /// What becomes of messages for which there is no room. Default: [`OnFull::Reject`].
    pub on_full: Option<OnFull>,
    /// How long a send waits for room where the topic blocks or throttles. Default: for as long as
    /// it takes.
    pub send_timeout: Option<Duration>,
    /// Where [`OnFull::Throttle`] begins to slow senders, in percent of the limit. Default: 50.
    pub low_mark: Option<u32>,
    /// Where it blocks, in percent of the limit. Default: 90.
    pub high_mark: Option<u32>,
    /// Sends are refused with [`crate::ErrorKind::DiskFull`] where the log would have to grow and
    /// less than this would be left free on the file system. Consumers and dead letters go on
    /// (P5). 0 takes it off. Default: nothing is left free.
    pub min_free_bytes: Option<u64>,
    /// When segments go. Default: [`Retention::Settled`].
    pub retention: Option<Retention>,
    /// Bytes of segments that are kept in all partitions together, settled or not: beyond them the
    /// oldest segments go. The ones that messages are appended to stay, whatever they take; they
    /// are made small enough for some to fit. 0 and by default: no limit.
    pub retention_bytes: Option<u64>,
    /// What becomes of messages that a time or `retention_bytes` takes from a group that has not
    /// settled them. Default: [`OnLost::Count`].
    pub on_lost: Option<OnLost>,
    /// Of each key only the last message is kept: of closed segments that every group is done with,
    /// the others go. Messages without a key stay. Then `retention` is
    /// [`Retention::Forever`] unless a time is given; [`Retention::Settled`] is refused. Default:
    /// false.
    pub compaction: Option<bool>,
    /// How long after it was sent a tombstone, a message with a key and an empty payload, is kept
    /// where the topic is compacted; then it goes as well. Default: 24 hours.
    pub tombstone_grace: Option<Duration>,
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
    /// Errors with [`crate::ErrorKind::InvalidArgument`] where an option is out of range.
    pub fn check(&self) -> Result<()> {
        if let Some(n) = self.partitions {
            check_range("partitions", u64::from(n), 1, u64::from(PARTITIONS_MAX))?;
        }
        if let Some(n) = self.max_message_bytes {
            check_range("max_message_bytes", n, 1, MESSAGE_BYTES_MAX)?;
        }
        flow::check(self)?;
        self.retention.map_or(Ok(()), |one| one.check())?;
        if let Some(DedupWindow::Time(time)) = self.dedup_window {
            check_time("dedup_window", time, Duration::from_millis(1))?;
        }
        check_compaction(self.compaction, self.retention)?;
        self.tombstone_grace.map_or(Ok(()), check_grace)?;
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
    /// Most messages that are not settled; `None` without a limit.
    pub max_messages: Option<u64>,
    /// Most bytes of those in the log; `None` without a limit.
    pub max_bytes: Option<u64>,
    /// What becomes of messages for which there is no room.
    pub on_full: OnFull,
    /// How long a send waits for room; `None` for as long as it takes.
    pub send_timeout: Option<Duration>,
    /// Where throttling begins, in percent of the limit.
    pub low_mark: u32,
    /// Where throttling blocks, in percent of the limit.
    pub high_mark: u32,
    /// What is left free on the file system.
    pub min_free_bytes: u64,
    /// When segments go.
    pub retention: Retention,
    /// Bytes of segments that are kept; 0 for no limit.
    pub retention_bytes: u64,
    /// What becomes of messages that are taken from a group that has not settled them.
    pub on_lost: OnLost,
    /// For how long a dedup id is known.
    pub dedup_window: DedupWindow,
    /// Whether only the last message of each key is kept.
    pub compaction: bool,
    /// How long tombstones are kept.
    pub tombstone_grace: Duration,
}

impl TopicConfig {
    /// What a topic created with these options stores.
    #[must_use]
    pub fn from_options(options: &TopicOptions) -> Self {
        let mut config = Self {
            partitions: options.partitions.unwrap_or(1),
            durability: options.durability,
            max_message_bytes: options.max_message_bytes.unwrap_or(MESSAGE_BYTES_MAX),
            max_messages: None,
            max_bytes: None,
            on_full: OnFull::default(),
            send_timeout: None,
            low_mark: LOW_MARK_DEFAULT,
            high_mark: HIGH_MARK_DEFAULT,
            min_free_bytes: 0,
            retention: options.retention.unwrap_or(match options.compaction {
                Some(true) => Retention::Forever,
                _ => Retention::default(),
            }),
            retention_bytes: options.retention_bytes.unwrap_or(0),
            on_lost: options.on_lost.unwrap_or_default(),
            dedup_window: options.dedup_window.unwrap_or_default(),
            compaction: options.compaction.unwrap_or(false),
            tombstone_grace: options.tombstone_grace.unwrap_or(TOMBSTONE_GRACE_DEFAULT),
        };
        config.limits_changed_by(options);
        config
    }

    /// What is stored after these changes; what is `None` stays.
    pub fn changed_by(&self, changes: &TopicOptions) -> Result<Self> {
        if let Some(wanted) = changes.partitions.filter(|n| *n != self.partitions) {
            let stored = self.partitions;
            return Err(invalid(format!(
                "partitions is {wanted}, the topic was made with {stored}, by which keys find \
                 their order; expected {stored}: make another topic with the partitions you want"
            )));
        }
        let mut config = Self {
            durability: changes.durability.or(self.durability),
            max_message_bytes: changes.max_message_bytes.unwrap_or(self.max_message_bytes),
            retention: changes.retention.unwrap_or(self.retention),
            retention_bytes: changes.retention_bytes.unwrap_or(self.retention_bytes),
            on_lost: changes.on_lost.unwrap_or(self.on_lost),
            dedup_window: changes.dedup_window.unwrap_or(self.dedup_window),
            compaction: changes.compaction.unwrap_or(self.compaction),
            tombstone_grace: changes.tombstone_grace.unwrap_or(self.tombstone_grace),
            ..self.clone()
        };
        let settled = config.retention == Retention::Settled;
        if config.compaction && changes.retention.is_none() && settled {
            config.retention = Retention::Forever;
        }
        check_compaction(Some(config.compaction), Some(config.retention))?;
        config.limits_changed_by(changes);
        config.check()?;
        Ok(config)
    }

    /// Errors with [`crate::ErrorKind::ConfigMismatch`] where an option contradicts what is stored.
    pub fn check_against(&self, topic: &str, options: &TopicOptions) -> Result<()> {
        let at = format!("topic {topic:?}");
        agree(&at, "partitions", options.partitions, self.partitions)?;
        agree(
            &at,
            "max_message_bytes",
            options.max_message_bytes,
            self.max_message_bytes,
        )?;
        self.check_limits_against(&at, options)?;
        agree(&at, "retention", options.retention, self.retention)?;
        let bytes = (options.retention_bytes, self.retention_bytes);
        agree(&at, "retention_bytes", bytes.0, bytes.1)?;
        agree(&at, "on_lost", options.on_lost, self.on_lost)?;
        agree(&at, "dedup_window", options.dedup_window, self.dedup_window)?;
        agree(&at, "compaction", options.compaction, self.compaction)?;
        let grace = (options.tombstone_grace, self.tombstone_grace);
        agree(&at, "tombstone_grace", grace.0, grace.1)?;
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
