//! From the numbers of C's options of a topic to the core's types, and back.

use std::time::Duration;

use libqueue::{
    DedupWindow, Durability, OnFull, OnLost, Result, Retention, TopicConfig, TopicOptions,
};

use crate::args::{invalid, timeout};
use crate::convert::{durability, millis, to_millis, unknown};
use crate::measured::{Measured, read};
use crate::options::*;

/// # Safety
/// `at` as [`read`] demands.
pub(crate) unsafe fn topic_options(at: *const lq_topic_options) -> Result<TopicOptions> {
    // SAFETY: valid as demanded above.
    let given = unsafe { read(at) }?;
    Ok(TopicOptions {
        partitions: (given.partitions != 0).then_some(given.partitions),
        durability: durability(given.durability, given.sync_interval_ms)?,
        max_message_bytes: (given.max_message_bytes != 0).then_some(given.max_message_bytes),
        max_messages: limit("max_messages", given.max_messages)?,
        max_bytes: limit("max_bytes", given.max_bytes)?,
        on_full: match given.on_full {
            LQ_ON_FULL_DEFAULT => None,
            LQ_ON_FULL_REJECT => Some(OnFull::Reject),
            LQ_ON_FULL_BLOCK => Some(OnFull::Block),
            LQ_ON_FULL_THROTTLE => Some(OnFull::Throttle),
            LQ_ON_FULL_DROP_OLDEST => Some(OnFull::DropOldest),
            other => return Err(unknown("on_full", other, "LQ_ON_FULL_")),
        },
        send_timeout: millis("send_timeout_ms", given.send_timeout_ms, -1)?,
        low_mark: (given.low_mark != 0).then_some(given.low_mark),
        high_mark: (given.high_mark != 0).then_some(given.high_mark),
        min_free_bytes: limit("min_free_bytes", given.min_free_bytes)?,
        retention: retention(given.retention, given.retention_ms)?,
        retention_bytes: match given.retention_bytes {
            0 => None,
            LQ_NO_LIMIT => Some(0),
            bytes => Some(bytes),
        },
        on_lost: match given.on_lost {
            LQ_ON_LOST_DEFAULT => None,
            LQ_ON_LOST_COUNT => Some(OnLost::Count),
            LQ_ON_LOST_DEAD_LETTER => Some(OnLost::DeadLetter),
            other => return Err(unknown("on_lost", other, "LQ_ON_LOST_")),
        },
        dedup_window: match given.dedup_window_ms {
            LQ_DEDUP_OFF => Some(DedupWindow::Off),
            LQ_DEDUP_UNTIL_SETTLED => Some(DedupWindow::UntilSettled),
            ms => millis("dedup_window_ms", ms, 0)?.map(DedupWindow::Time),
        },
        compaction: match given.compaction {
            LQ_COMPACTION_DEFAULT => None,
            LQ_COMPACTION_ON => Some(true),
            LQ_COMPACTION_OFF => Some(false),
            other => return Err(unknown("compaction", other, "LQ_COMPACTION_")),
        },
        tombstone_grace: millis("tombstone_grace_ms", given.tombstone_grace_ms, -1)?,
    })
}

/// A number; `None` for -1, which leaves it out.
fn limit(what: &str, number: i64) -> Result<Option<u64>> {
    match u64::try_from(number) {
        Ok(number) => Ok(Some(number)),
        Err(_) if number == -1 => Ok(None),
        Err(_) => Err(invalid(format!(
            "{what} is {number}; expected 0 or more, or -1 to leave it out"
        ))),
    }
}

/// How long a send waits for room: `None` as the topic is configured.
///
/// # Safety
/// `at` as [`read`] demands.
pub(crate) unsafe fn send_timeout(at: *const lq_send_options) -> Result<Option<Duration>> {
    // SAFETY: valid as demanded above.
    let given = unsafe { read(at) }?;
    match given.timeout_ms {
        LQ_TIMEOUT_STORED => Ok(None),
        ms => Ok(Some(timeout(ms)?.unwrap_or(Duration::MAX))),
    }
}

/// A retention from its two numbers.
fn retention(number: i32, ms: i64) -> Result<Option<Retention>> {
    if number != LQ_RETENTION_TIME && ms != 0 {
        return Err(invalid(format!(
            "retention_ms is {ms} and retention is {number}; expected 0, or LQ_RETENTION_TIME"
        )));
    }
    Ok(Some(match number {
        LQ_RETENTION_DEFAULT => return Ok(None),
        LQ_RETENTION_SETTLED => Retention::Settled,
        LQ_RETENTION_FOREVER => Retention::Forever,
        LQ_RETENTION_TIME => {
            Retention::Time(Duration::from_millis(u64::try_from(ms).map_err(|_| {
                invalid(format!("retention_ms is {ms}; expected 1 or more"))
            })?))
        }
        other => return Err(unknown("retention", other, "LQ_RETENTION_")),
    }))
}

fn number(of: u64) -> i64 {
    i64::try_from(of).unwrap_or(i64::MAX)
}

/// A topic's configuration as options that would not contradict it.
pub(crate) fn from_topic(config: &TopicConfig) -> lq_topic_options {
    let (durability, interval) = match config.durability {
        None => (LQ_DURABILITY_DEFAULT, 0),
        Some(Durability::Process) => (LQ_DURABILITY_PROCESS, 0),
        Some(Durability::Interval(every)) => (LQ_DURABILITY_INTERVAL, to_millis(every)),
        Some(Durability::Sync) => (LQ_DURABILITY_SYNC, 0),
    };
    lq_topic_options {
        partitions: config.partitions,
        durability,
        sync_interval_ms: interval,
        max_message_bytes: config.max_message_bytes,
        max_messages: number(config.max_messages.unwrap_or(0)),
        max_bytes: number(config.max_bytes.unwrap_or(0)),
        on_full: match config.on_full {
            OnFull::Reject => LQ_ON_FULL_REJECT,
            OnFull::Block => LQ_ON_FULL_BLOCK,
            OnFull::Throttle => LQ_ON_FULL_THROTTLE,
            OnFull::DropOldest => LQ_ON_FULL_DROP_OLDEST,
        },
        low_mark: config.low_mark,
        high_mark: config.high_mark,
        send_timeout_ms: config.send_timeout.map_or(-1, to_millis),
        min_free_bytes: number(config.min_free_bytes),
        retention: match config.retention {
            Retention::Settled => LQ_RETENTION_SETTLED,
            Retention::Forever => LQ_RETENTION_FOREVER,
            Retention::Time(_) => LQ_RETENTION_TIME,
        },
        retention_ms: match config.retention {
            Retention::Time(time) => to_millis(time),
            Retention::Settled | Retention::Forever => 0,
        },
        retention_bytes: match config.retention_bytes {
            0 => LQ_NO_LIMIT,
            bytes => bytes,
        },
        on_lost: match config.on_lost {
            OnLost::Count => LQ_ON_LOST_COUNT,
            OnLost::DeadLetter => LQ_ON_LOST_DEAD_LETTER,
        },
        dedup_window_ms: match config.dedup_window {
            DedupWindow::Off => LQ_DEDUP_OFF,
            DedupWindow::UntilSettled => LQ_DEDUP_UNTIL_SETTLED,
            DedupWindow::Time(time) => to_millis(time),
        },
        tombstone_grace_ms: to_millis(config.tombstone_grace),
        compaction: match config.compaction {
            true => LQ_COMPACTION_ON,
            false => LQ_COMPACTION_OFF,
        },
        ..lq_topic_options::INIT
    }
}
