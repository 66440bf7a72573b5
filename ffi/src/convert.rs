//! From the numbers of C's options to the core's types, each of them checked, and back.

use std::ffi::CStr;
use std::time::Duration;

use libqueue::options::BRAKE_MESSAGES_MAX;
use libqueue::{
    Backoff, Brake, ConsumerOptions, DeadLetter, DedupWindow, DeliveryMode, Durability, Error,
    ErrorKind, Filter, GroupConfig, GroupOptions, OnDeadLetter, OnExpired, Ordering, ReaderOptions,
    ReceiveOptions, Result, Start, StoreOptions, TopicConfig, TopicOptions,
};

use crate::args::{at_least_one, invalid, name, slice, timeout};
use crate::measured::{Measured, read};
use crate::options::*;

/// Milliseconds; `None` for the number that leaves them out.
pub(crate) fn millis(what: &str, ms: i64, absent: i64) -> Result<Option<Duration>> {
    if ms == absent {
        return Ok(None);
    }
    let ms = u64::try_from(ms).map_err(|_| {
        invalid(format!(
            "{what} is {ms}; expected a number of milliseconds, or {absent} to leave it out"
        ))
    })?;
    Ok(Some(Duration::from_millis(ms)))
}

fn flag(what: &str, number: i32) -> Result<bool> {
    match number {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(invalid(format!("{what} is {other}; expected 0 or 1"))),
    }
}

fn unknown(what: &str, number: i32, names: &str) -> libqueue::Error {
    invalid(format!("{what} is {number}; expected one of {names}"))
}

fn durability(number: i32, interval_ms: i64) -> Result<Option<Durability>> {
    if number != LQ_DURABILITY_INTERVAL && interval_ms != 0 {
        return Err(invalid(format!(
            "sync_interval_ms is {interval_ms} and durability is {number}; expected 0, or the \
             durability LQ_DURABILITY_INTERVAL"
        )));
    }
    Ok(match number {
        LQ_DURABILITY_DEFAULT => None,
        LQ_DURABILITY_PROCESS => Some(Durability::Process),
        LQ_DURABILITY_INTERVAL => Some(Durability::Interval(
            millis("sync_interval_ms", interval_ms, 0)?
                .unwrap_or(libqueue::options::SYNC_INTERVAL_DEFAULT),
        )),
        LQ_DURABILITY_SYNC => Some(Durability::Sync),
        other => return Err(unknown("durability", other, "LQ_DURABILITY_")),
    })
}

/// A place to start from its two numbers.
pub(crate) fn start(number: i32, at: i64) -> Result<Start> {
    if !matches!(number, LQ_START_OFFSET | LQ_START_TIME) && at != 0 {
        return Err(invalid(format!(
            "start_at is {at} and start is {number}; expected 0, or LQ_START_OFFSET or \
             LQ_START_TIME"
        )));
    }
    Ok(match number {
        LQ_START_DEFAULT | LQ_START_EARLIEST => Start::Earliest,
        LQ_START_LATEST => Start::Latest,
        LQ_START_OFFSET => Start::Offset(
            u64::try_from(at)
                .map_err(|_| invalid(format!("start_at is {at}; expected an offset, 0 or more")))?,
        ),
        LQ_START_TIME => Start::Time(at),
        other => return Err(unknown("start", other, "LQ_START_")),
    })
}

/// # Safety
/// `at` as [`read`] demands.
pub(crate) unsafe fn store_options(at: *const lq_store_options) -> Result<StoreOptions> {
    // SAFETY: valid as demanded above.
    let given = unsafe { read(at) }?;
    let defaults = StoreOptions::default();
    Ok(StoreOptions {
        create: flag("create", given.create)?,
        read_only: flag("read_only", given.read_only)?,
        durability: durability(given.durability, given.sync_interval_ms)?
            .unwrap_or(defaults.durability),
        mode: match given.mode {
            0 => defaults.mode,
            mode => mode,
        },
        lock_timeout: millis("lock_timeout_ms", given.lock_timeout_ms, 0)?
            .unwrap_or(defaults.lock_timeout),
    })
}

/// # Safety
/// `at` as [`read`] demands.
pub(crate) unsafe fn topic_options(at: *const lq_topic_options) -> Result<TopicOptions> {
    // SAFETY: valid as demanded above.
    let given = unsafe { read(at) }?;
    Ok(TopicOptions {
        partitions: (given.partitions != 0).then_some(given.partitions),
        durability: durability(given.durability, given.sync_interval_ms)?,
        max_message_bytes: (given.max_message_bytes != 0).then_some(given.max_message_bytes),
        dedup_window: match given.dedup_window_ms {
            LQ_DEDUP_OFF => Some(DedupWindow::Off),
            LQ_DEDUP_UNTIL_SETTLED => Some(DedupWindow::UntilSettled),
            ms => millis("dedup_window_ms", ms, 0)?.map(DedupWindow::Time),
        },
    })
}

/// What is left out of it is as in `base`.
fn backoff(given: &lq_group_options, base: Backoff) -> Result<Option<Backoff>> {
    let first = millis("backoff_first_ms", given.backoff_first_ms, -1)?;
    let longest = millis("backoff_longest_ms", given.backoff_longest_ms, -1)?;
    let factor = (given.backoff_factor != 0.0).then_some(given.backoff_factor);
    if first.is_none() && longest.is_none() && factor.is_none() {
        return Ok(None);
    }
    Ok(Some(Backoff {
        first: first.unwrap_or(base.first),
        longest: longest.unwrap_or(base.longest),
        factor: factor.unwrap_or(base.factor),
    }))
}

/// # Safety
/// The topic's name in `given`, unless it is NULL, is a C string until the call returns.
unsafe fn dead_letters(given: &lq_group_options) -> Result<Option<DeadLetter>> {
    let named = !given.dead_letter_topic.is_null();
    if named != (given.dead_letters == LQ_DEAD_LETTERS_TOPIC) {
        return Err(invalid(format!(
            "dead_letters is {} and dead_letter_topic is {}; expected a name with \
             LQ_DEAD_LETTERS_TOPIC, and NULL without",
            given.dead_letters,
            if named { "given" } else { "NULL" }
        )));
    }
    Ok(match given.dead_letters {
        LQ_DEAD_LETTERS_DEFAULT => None,
        LQ_DEAD_LETTERS_OWN => Some(DeadLetter::Default),
        LQ_DEAD_LETTERS_TOPIC => {
            // SAFETY: a C string, as demanded above.
            let topic = unsafe { name(given.dead_letter_topic, "dead_letter_topic") }?;
            Some(DeadLetter::Topic(topic.to_owned()))
        }
        LQ_DEAD_LETTERS_DROP => Some(DeadLetter::Drop),
        other => return Err(unknown("dead_letters", other, "LQ_DEAD_LETTERS_")),
    })
}

/// # Safety
/// The filter in `given`, unless it is NULL, is a C string until the call returns.
unsafe fn filter(given: &lq_group_options) -> Result<Option<Filter>> {
    if given.filter.is_null() {
        return Ok(None);
    }
    // SAFETY: a C string, as demanded above.
    let text = unsafe { CStr::from_ptr(given.filter) };
    let text = text.to_str().map_err(|error| {
        let at = error.valid_up_to();
        let message = format!("filter is no UTF-8 at byte {at}; expected JSON in UTF-8");
        Error::new(ErrorKind::InvalidFilter, message)
    })?;
    Filter::parse(if text.is_empty() { "{}" } else { text }).map(Some)
}

/// # Safety
/// `at` as [`read`] demands, and the texts in it, unless they are NULL, are C strings.
pub(crate) unsafe fn group_options(at: *const lq_group_options) -> Result<GroupOptions> {
    // SAFETY: valid as demanded above.
    unsafe { group_options_on(at, Backoff::default()) }
}

/// As `group_options`, where what is left out of the backoff is as in `base`.
///
/// # Safety
/// As `group_options`.
pub(crate) unsafe fn group_options_on(
    at: *const lq_group_options,
    base: Backoff,
) -> Result<GroupOptions> {
    // SAFETY: valid as demanded above.
    let given = unsafe { read(at) }?;
    Ok(GroupOptions {
        ordering: match given.ordering {
            LQ_ORDERING_DEFAULT => None,
            LQ_ORDERING_NONE => Some(Ordering::None),
            LQ_ORDERING_KEY => Some(Ordering::Key),
            LQ_ORDERING_PARTITION => Some(Ordering::Partition),
            other => return Err(unknown("ordering", other, "LQ_ORDERING_")),
        },
        lease: millis("lease_ms", given.lease_ms, 0)?,
        max_lease: millis("max_lease_ms", given.max_lease_ms, 0)?,
        max_attempts: (given.max_attempts != 0).then_some(given.max_attempts),
        backoff: backoff(&given, base)?,
        // SAFETY: its name is valid as demanded above.
        dead_letter_topic: unsafe { dead_letters(&given) }?,
        start: match start(given.start, given.start_at)? {
            _ if given.start == LQ_START_DEFAULT => None,
            chosen => Some(chosen),
        },
        window: (given.window != 0).then_some(given.window),
        on_expired: match given.on_expired {
            LQ_ON_EXPIRED_DEFAULT => None,
            LQ_ON_EXPIRED_DROP => Some(OnExpired::Drop),
            LQ_ON_EXPIRED_DEAD_LETTER => Some(OnExpired::DeadLetter),
            other => return Err(unknown("on_expired", other, "LQ_ON_EXPIRED_")),
        },
        // SAFETY: its filter is valid as demanded above.
        filter: unsafe { filter(&given) }?,
        delivery: match given.delivery {
            LQ_DELIVERY_DEFAULT => None,
            LQ_DELIVERY_AT_LEAST_ONCE => Some(DeliveryMode::AtLeastOnce),
            LQ_DELIVERY_AT_MOST_ONCE => Some(DeliveryMode::AtMostOnce),
            other => return Err(unknown("delivery", other, "LQ_DELIVERY_")),
        },
        brake: brake(&given)?,
        on_dead_letter: match given.on_dead_letter {
            LQ_ON_DEAD_LETTER_DEFAULT => None,
            LQ_ON_DEAD_LETTER_CONTINUE => Some(OnDeadLetter::Continue),
            LQ_ON_DEAD_LETTER_HOLD_KEY => Some(OnDeadLetter::HoldKey),
            other => return Err(unknown("on_dead_letter", other, "LQ_ON_DEAD_LETTER_")),
        },
    })
}

fn brake(given: &lq_group_options) -> Result<Option<Brake>> {
    let (messages, within) = (given.brake_messages, given.brake_within_ms);
    if messages <= 0 && within != 0 {
        return Err(invalid(format!(
            "brake_within_ms is {within}, and brake_messages {messages}; expected 0 where there is \
             no brake"
        )));
    }
    if messages == -1 {
        return Ok(None);
    }
    let messages = u32::try_from(messages).map_err(|_| {
        invalid(format!(
            "brake_messages is {messages}; expected 0 to {BRAKE_MESSAGES_MAX}, or -1"
        ))
    })?;
    let within = millis("brake_within_ms", within, 0)?.unwrap_or_default();
    Ok(Some(Brake { messages, within }))
}

/// # Safety
/// `at` as [`read`] demands, and what it points to likewise.
pub(crate) unsafe fn consumer_options(at: *const lq_consumer_options) -> Result<ConsumerOptions> {
    // SAFETY: valid as demanded above.
    let given = unsafe { read(at) }?;
    let named = match given.name {
        text if text.is_null() => None,
        // SAFETY: a C string, as demanded above.
        text => Some(unsafe { name(text, "the consumer's name") }?.to_owned()),
    };
    Ok(ConsumerOptions {
        // SAFETY: valid as demanded above.
        group: unsafe { group_options(given.group) }?,
        name: named,
        lease: millis("lease_ms", given.lease_ms, 0)?,
        auto_extend: flag("auto_extend", given.auto_extend)?,
    })
}

/// # Safety
/// `at` as [`read`] demands.
pub(crate) unsafe fn receive_options(at: *const lq_receive_options) -> Result<ReceiveOptions> {
    // SAFETY: valid as demanded above.
    let given = unsafe { read(at) }?;
    Ok(ReceiveOptions {
        max_messages: at_least_one(given.max_messages)?,
        min_messages: given.min_messages,
        max_bytes: (given.max_bytes != 0).then_some(given.max_bytes),
        timeout: timeout(given.timeout_ms)?,
        lease: millis("lease_ms", given.lease_ms, 0)?,
    })
}

/// # Safety
/// `at` as [`read`] demands, and the array in it is as long as it says.
pub(crate) unsafe fn reader_options(at: *const lq_reader_options) -> Result<ReaderOptions> {
    // SAFETY: valid as demanded above.
    let given = unsafe { read(at) }?;
    // SAFETY: as long as it says, as demanded above.
    let partitions = unsafe { slice(given.partitions, given.partitions_len, "partitions") }?;
    Ok(ReaderOptions {
        start: start(given.start, given.start_at)?,
        partitions: (!partitions.is_empty()).then(|| partitions.to_vec()),
        follow: false,
    })
}

fn to_millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
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
        dedup_window_ms: match config.dedup_window {
            DedupWindow::Off => LQ_DEDUP_OFF,
            DedupWindow::UntilSettled => LQ_DEDUP_UNTIL_SETTLED,
            DedupWindow::Time(time) => to_millis(time),
        },
        ..lq_topic_options::INIT
    }
}

/// A group's configuration as options that would not contradict it; the name of the topic of dead
/// letters and the filter are for the caller to keep.
pub(crate) fn from_group(config: &GroupConfig) -> lq_group_options {
    let all = from_leasing_group(config);
    if !config.is_at_most_once() {
        return all;
    }
    let left_out = lq_group_options::INIT;
    lq_group_options {
        delivery: LQ_DELIVERY_AT_MOST_ONCE,
        max_attempts: left_out.max_attempts,
        lease_ms: left_out.lease_ms,
        max_lease_ms: left_out.max_lease_ms,
        backoff_first_ms: left_out.backoff_first_ms,
        backoff_longest_ms: left_out.backoff_longest_ms,
        backoff_factor: left_out.backoff_factor,
        ..all
    }
}

fn from_leasing_group(config: &GroupConfig) -> lq_group_options {
    lq_group_options {
        ordering: match config.ordering {
            Ordering::None => LQ_ORDERING_NONE,
            Ordering::Key => LQ_ORDERING_KEY,
            Ordering::Partition => LQ_ORDERING_PARTITION,
        },
        max_attempts: config.max_attempts,
        lease_ms: to_millis(config.lease),
        backoff_first_ms: to_millis(config.backoff.first),
        backoff_longest_ms: to_millis(config.backoff.longest),
        backoff_factor: config.backoff.factor,
        dead_letters: match config.dead_letter_topic {
            DeadLetter::Default => LQ_DEAD_LETTERS_OWN,
            DeadLetter::Topic(_) => LQ_DEAD_LETTERS_TOPIC,
            DeadLetter::Drop => LQ_DEAD_LETTERS_DROP,
        },
        window: config.window,
        on_expired: match config.on_expired {
            OnExpired::Drop => LQ_ON_EXPIRED_DROP,
            OnExpired::DeadLetter => LQ_ON_EXPIRED_DEAD_LETTER,
        },
        max_lease_ms: config.max_lease.map_or(0, to_millis),
        delivery: LQ_DELIVERY_AT_LEAST_ONCE,
        on_dead_letter: match config.on_dead_letter {
            OnDeadLetter::Continue => LQ_ON_DEAD_LETTER_CONTINUE,
            OnDeadLetter::HoldKey => LQ_ON_DEAD_LETTER_HOLD_KEY,
        },
        brake_messages: config.brake.map_or(0, |brake| i64::from(brake.messages)),
        brake_within_ms: config.brake.map_or(0, |brake| to_millis(brake.within)),
        ..lq_group_options::INIT
    }
}
