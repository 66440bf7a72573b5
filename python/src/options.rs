//! Keyword arguments as the core's options.

use std::time::Duration;

use libqueue::{
    Backoff, Brake, DeadLetter, DedupWindow, DeliveryMode, Durability, GroupConfig, GroupOptions,
    OnDeadLetter, OnExpired, OnFull, OnLost, Ordering, Retention, Start, TopicConfig, TopicOptions,
};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyInt, PyString};

use crate::convert::{named_seconds, named_whole, seconds, typed};
use crate::errors::invalid;
use crate::filter;
use crate::send::{YEARS_OF_PYTHON, seconds_of};

const TEXT: &str = "a str";

/// A durability by name, with the interval of `interval`.
pub(crate) fn durability(
    py: Python<'_>,
    name: &str,
    sync_interval: Option<f64>,
) -> PyResult<Durability> {
    let interval = match sync_interval {
        Some(value) => seconds(py, "sync_interval", value)?,
        None => libqueue::options::SYNC_INTERVAL_DEFAULT,
    };
    match (name, sync_interval) {
        ("process", None) => Ok(Durability::Process),
        ("sync", None) => Ok(Durability::Sync),
        ("interval", _) => Ok(Durability::Interval(interval)),
        ("process" | "sync", Some(_)) => Err(invalid(
            py,
            format!("sync_interval goes with durability \"interval\", not with {name:?}"),
        )),
        _ => Err(invalid(
            py,
            format!("durability is {name:?}; expected \"process\", \"sync\" or \"interval\""),
        )),
    }
}

/// The options of a topic from its keyword arguments; `None` leaves one out.
pub(crate) fn topic(py: Python<'_>, given: Option<&Bound<'_, PyDict>>) -> PyResult<TopicOptions> {
    let mut options = TopicOptions::default();
    let (mut named, mut interval): (Option<String>, Option<f64>) = (None, None);
    let given = given.into_iter().flat_map(|given| given.iter());
    for (name, value) in given.filter(|(_, value)| !value.is_none()) {
        let name = name.cast_into::<PyString>()?;
        match name.to_str()? {
            "partitions" => options.partitions = Some(named_whole("partitions", &value)?),
            "durability" => named = typed("durability", TEXT, &value)?,
            "sync_interval" => interval = typed("sync_interval", "seconds", &value)?,
            "max_message_bytes" => {
                options.max_message_bytes = Some(named_whole("max_message_bytes", &value)?);
            }
            "max_messages" => options.max_messages = Some(named_whole("max_messages", &value)?),
            "max_bytes" => options.max_bytes = Some(named_whole("max_bytes", &value)?),
            "on_full" => options.on_full = Some(on_full(py, typed("on_full", TEXT, &value)?)?),
            "send_timeout" => {
                options.send_timeout = Some(named_seconds("send_timeout", &value)?);
            }
            "low_mark" => options.low_mark = Some(named_whole("low_mark", &value)?),
            "high_mark" => options.high_mark = Some(named_whole("high_mark", &value)?),
            "min_free_bytes" => {
                options.min_free_bytes = Some(named_whole("min_free_bytes", &value)?);
            }
            "retention" => options.retention = Some(retention(&value)?),
            "retention_bytes" => {
                options.retention_bytes = Some(named_whole("retention_bytes", &value)?);
            }
            "on_lost" => options.on_lost = Some(on_lost(py, typed("on_lost", TEXT, &value)?)?),
            "dedup_window" => options.dedup_window = Some(dedup_window(&value)?),
            "compaction" => {
                options.compaction = Some(typed("compaction", "True or False", &value)?)
            }
            "tombstone_grace" => {
                options.tombstone_grace = Some(named_seconds("tombstone_grace", &value)?);
            }
            other => {
                return Err(pyo3::exceptions::PyTypeError::new_err(format!(
                    "unknown option {other:?} of a topic; expected partitions, durability, \
                     sync_interval, max_message_bytes, max_messages, max_bytes, on_full, \
                     send_timeout, low_mark, high_mark, min_free_bytes, retention, \
                     retention_bytes, on_lost, dedup_window, compaction or tombstone_grace"
                )));
            }
        }
    }
    if named.is_none() && interval.is_some() {
        let message = "sync_interval needs durability=\"interval\"";
        return Err(invalid(py, message.to_owned()));
    }
    let durability = named.map(|name| durability(py, &name, interval));
    options.durability = durability.transpose()?;
    Ok(options)
}

fn on_full(py: Python<'_>, name: &str) -> PyResult<OnFull> {
    OnFull::of_name(name).ok_or_else(|| {
        let message = format!(
            "on_full is {name:?}; expected \"reject\", \"block\", \"throttle\" or \
             \"drop_oldest\""
        );
        invalid(py, message)
    })
}

/// When segments go: `"settled"`, `"forever"`, or a number of seconds.
fn retention(value: &Bound<'_, PyAny>) -> PyResult<Retention> {
    let py = value.py();
    let Ok(name) = value.cast::<PyString>() else {
        return Ok(Retention::Time(named_seconds("retention", value)?));
    };
    match name.to_str()? {
        "settled" => Ok(Retention::Settled),
        "forever" => Ok(Retention::Forever),
        other => Err(invalid(
            py,
            format!("retention is {other:?}; expected \"settled\", \"forever\" or seconds"),
        )),
    }
}

fn on_lost(py: Python<'_>, name: &str) -> PyResult<OnLost> {
    match name {
        "count" => Ok(OnLost::Count),
        "dead_letter" => Ok(OnLost::DeadLetter),
        other => Err(invalid(
            py,
            format!("on_lost is {other:?}; expected \"count\" or \"dead_letter\""),
        )),
    }
}

/// `"until_settled"`, seconds, or 0 for none.
fn dedup_window(value: &Bound<'_, PyAny>) -> PyResult<DedupWindow> {
    let py = value.py();
    if let Ok(name) = value.cast::<PyString>() {
        return match name.to_str()? {
            "until_settled" => Ok(DedupWindow::UntilSettled),
            other => Err(invalid(
                py,
                format!("dedup_window is {other:?}; expected seconds or \"until_settled\""),
            )),
        };
    }
    let time = named_seconds("dedup_window", value)?;
    match time.is_zero() {
        true => Ok(DedupWindow::Off),
        false => Ok(DedupWindow::Time(time)),
    }
}

/// Where to start: `"earliest"`, `"latest"`, an offset, or a time with a `timestamp` method.
pub(crate) fn start(value: &Bound<'_, PyAny>) -> PyResult<Start> {
    let py = value.py();
    if let Ok(name) = value.cast::<PyString>() {
        return match name.to_str()? {
            "earliest" => Ok(Start::Earliest),
            "latest" => Ok(Start::Latest),
            other => Err(invalid(
                py,
                format!(
                    "start is {other:?}; expected \"earliest\", \"latest\", an offset or a datetime"
                ),
            )),
        };
    }
    // A truth value is a whole number in Python, and no place.
    if value.is_instance_of::<PyInt>() && !value.is_instance_of::<PyBool>() {
        return Ok(Start::Offset(named_whole("start", value)?));
    }
    if value.hasattr(intern!(value.py(), "timestamp"))? {
        let at = seconds_of("start", YEARS_OF_PYTHON, value)?;
        if at.is_nan() {
            return Err(invalid(py, format!("start is {value}; expected a time")));
        }
        // What is too far away for nanoseconds is before, or after, all messages.
        return Ok(Start::Time((at * 1e9).round() as i64));
    }
    let found = value.get_type().name()?;
    Err(invalid(
        py,
        format!("start is a {found}; expected \"earliest\", \"latest\", an offset or a datetime"),
    ))
}

/// The options of a group from its keyword arguments.
pub(crate) fn group(py: Python<'_>, given: Option<&Bound<'_, PyDict>>) -> PyResult<GroupOptions> {
    let mut options = GroupOptions::default();
    let Some(given) = given else {
        return Ok(options);
    };
    for (name, value) in given.iter() {
        let name = name.cast_into::<PyString>()?;
        match name.to_str()? {
            "ordering" => options.ordering = Some(ordering(py, typed("ordering", TEXT, &value)?)?),
            "lease" => options.lease = Some(named_seconds("lease", &value)?),
            "max_lease" => {
                let most: Option<f64> = typed("max_lease", "seconds or None", &value)?;
                let most = most.map(|most| seconds(py, "max_lease", most));
                options.max_lease = most.transpose()?;
            }
            "max_attempts" => options.max_attempts = Some(named_whole("max_attempts", &value)?),
            "backoff" => {
                options.backoff = Some(backoff(
                    py,
                    typed("backoff", "(first, longest, factor)", &value)?,
                )?)
            }
            "dead_letter_topic" => {
                let topic: Option<String> =
                    typed("dead_letter_topic", "a topic's name or None", &value)?;
                options.dead_letter_topic = Some(topic.map_or(DeadLetter::Drop, DeadLetter::Topic));
            }
            "start" => options.start = Some(start(&value)?),
            "on_expired" => {
                options.on_expired = Some(on_expired(py, typed("on_expired", TEXT, &value)?)?)
            }
            "window" => options.window = Some(named_whole("window", &value)?),
            "filter" => options.filter = Some(filter::of(&value)?),
            "delivery" => options.delivery = Some(delivery(py, typed("delivery", TEXT, &value)?)?),
            "on_dead_letter" => {
                options.on_dead_letter =
                    Some(on_dead_letter(py, typed("on_dead_letter", TEXT, &value)?)?);
            }
            "brake" => options.brake = Some(brake(py, &value)?),
            other => {
                return Err(pyo3::exceptions::PyTypeError::new_err(format!(
                    "unknown option {other:?} of a group; expected ordering, lease, max_lease, \
                     max_attempts, backoff, dead_letter_topic, on_expired, start, window, filter, \
                     delivery, brake or on_dead_letter"
                )));
            }
        }
    }
    Ok(options)
}

fn ordering(py: Python<'_>, name: &str) -> PyResult<Ordering> {
    match name {
        "key" => Ok(Ordering::Key),
        "none" => Ok(Ordering::None),
        "partition" => Ok(Ordering::Partition),
        _ => Err(invalid(
            py,
            format!("ordering is {name:?}; expected \"key\", \"partition\" or \"none\""),
        )),
    }
}

fn on_expired(py: Python<'_>, name: &str) -> PyResult<OnExpired> {
    match name {
        "drop" => Ok(OnExpired::Drop),
        "dead_letter" => Ok(OnExpired::DeadLetter),
        _ => Err(invalid(
            py,
            format!("on_expired is {name:?}; expected \"drop\" or \"dead_letter\""),
        )),
    }
}

fn delivery(py: Python<'_>, name: &str) -> PyResult<DeliveryMode> {
    DeliveryMode::of_name(name).ok_or_else(|| {
        let expected = "expected \"at_least_once\" or \"at_most_once\"";
        invalid(py, format!("delivery is {name:?}; {expected}"))
    })
}

fn on_dead_letter(py: Python<'_>, name: &str) -> PyResult<OnDeadLetter> {
    match name {
        "continue" => Ok(OnDeadLetter::Continue),
        "hold_key" => Ok(OnDeadLetter::HoldKey),
        _ => Err(invalid(
            py,
            format!("on_dead_letter is {name:?}; expected \"continue\" or \"hold_key\""),
        )),
    }
}

/// `(messages, seconds)`; `None` and 0 messages stand for no brake.
fn brake(py: Python<'_>, value: &Bound<'_, PyAny>) -> PyResult<Brake> {
    let expected = "(messages, seconds) or None";
    let given: Option<(Bound<'_, PyAny>, f64)> = typed("brake", expected, value)?;
    let Some((messages, within)) = given else {
        return Ok(Brake::NONE);
    };
    Ok(Brake {
        messages: named_whole("brake (messages)", &messages)?,
        within: seconds(py, "brake (within)", within)?,
    })
}

fn backoff(py: Python<'_>, (first, longest, factor): (f64, f64, f64)) -> PyResult<Backoff> {
    Ok(Backoff {
        first: seconds(py, "backoff (first)", first)?,
        longest: seconds(py, "backoff (longest)", longest)?,
        factor,
    })
}

fn named_durability(durability: Durability) -> (&'static str, Option<Duration>) {
    match durability {
        Durability::Process => ("process", None),
        Durability::Sync => ("sync", None),
        Durability::Interval(every) => ("interval", Some(every)),
    }
}

/// A topic's stored configuration as a dict of what creates it.
pub(crate) fn topic_dict<'py>(
    py: Python<'py>,
    config: &TopicConfig,
) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("partitions", config.partitions)?;
    let durability = config.durability.map(named_durability);
    dict.set_item("durability", durability.map(|(name, _)| name))?;
    let every = durability.and_then(|(_, every)| every);
    dict.set_item("sync_interval", every.map(|every| every.as_secs_f64()))?;
    dict.set_item("max_message_bytes", config.max_message_bytes)?;
    dict.set_item("max_messages", config.max_messages)?;
    dict.set_item("max_bytes", config.max_bytes)?;
    dict.set_item("on_full", config.on_full.name())?;
    let timeout = config.send_timeout.map(|time| time.as_secs_f64());
    dict.set_item("send_timeout", timeout)?;
    dict.set_item("low_mark", config.low_mark)?;
    dict.set_item("high_mark", config.high_mark)?;
    dict.set_item("min_free_bytes", config.min_free_bytes)?;
    match config.retention {
        Retention::Settled => dict.set_item("retention", "settled")?,
        Retention::Forever => dict.set_item("retention", "forever")?,
        Retention::Time(time) => dict.set_item("retention", time.as_secs_f64())?,
    }
    dict.set_item("retention_bytes", config.retention_bytes)?;
    let on_lost = match config.on_lost {
        OnLost::Count => "count",
        OnLost::DeadLetter => "dead_letter",
    };
    dict.set_item("on_lost", on_lost)?;
    match config.dedup_window {
        DedupWindow::Off => dict.set_item("dedup_window", 0.0)?,
        DedupWindow::Time(time) => dict.set_item("dedup_window", time.as_secs_f64())?,
        DedupWindow::UntilSettled => dict.set_item("dedup_window", "until_settled")?,
    }
    dict.set_item("compaction", config.compaction)?;
    dict.set_item("tombstone_grace", config.tombstone_grace.as_secs_f64())?;
    Ok(dict)
}

/// A group's stored configuration as a dict of what creates it.
pub(crate) fn group_dict<'py>(
    py: Python<'py>,
    config: &GroupConfig,
    dead_letter_topic: Option<String>,
) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    let ordering = match config.ordering {
        Ordering::Key => "key",
        Ordering::None => "none",
        Ordering::Partition => "partition",
    };
    let on_expired = match config.on_expired {
        OnExpired::Drop => "drop",
        OnExpired::DeadLetter => "dead_letter",
    };
    let backoff = &config.backoff;
    let times = (
        backoff.first.as_secs_f64(),
        backoff.longest.as_secs_f64(),
        backoff.factor,
    );
    dict.set_item("ordering", ordering)?;
    dict.set_item("delivery", config.delivery.name())?;
    if !config.is_at_most_once() {
        dict.set_item("lease", config.lease.as_secs_f64())?;
        let max_lease = config.max_lease.map(|max| max.as_secs_f64());
        dict.set_item("max_lease", max_lease)?;
        dict.set_item("max_attempts", config.max_attempts)?;
        dict.set_item("backoff", times)?;
    }
    dict.set_item("dead_letter_topic", dead_letter_topic)?;
    dict.set_item("on_expired", on_expired)?;
    dict.set_item("window", config.window)?;
    dict.set_item("filter", filter::shown(py, config.filter.as_ref())?)?;
    let brake = config.brake;
    let brake = brake.map(|brake| (brake.messages, brake.within.as_secs_f64()));
    dict.set_item("brake", brake)?;
    let on_dead_letter = match config.on_dead_letter {
        OnDeadLetter::Continue => "continue",
        OnDeadLetter::HoldKey => "hold_key",
    };
    dict.set_item("on_dead_letter", on_dead_letter)?;
    Ok(dict)
}
