//! Sending from Python.

use std::time::Duration;

use pyo3::exceptions::{PyOSError, PyOverflowError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyMapping, PyString};

use crate::convert::{bytes, seconds};
use crate::errors::{OrRaise, invalid};
use crate::message::{Message, MessageId};

/// Payloads from here on are checksummed and copied without the interpreter.
const LARGE: usize = 64 * 1024;

/// Which times can be said in nanoseconds since the epoch.
const YEARS: &str = "of the years 1679 to 2260";

/// Which times Python can say in seconds, in any zone.
pub(crate) const YEARS_OF_PYTHON: &str = "of the years 2 to 9998";

/// Names and values.
type Headers<'py> = Vec<(Bound<'py, PyString>, Bound<'py, PyBytes>)>;

/// What a message borrows, kept alive while it is sent.
struct Held<'py> {
    payload: Bound<'py, PyBytes>,
    key: Option<Bound<'py, PyBytes>>,
    headers: Headers<'py>,
    partition: Option<u32>,
    timestamp_ns: Option<i64>,
    timing: Timing,
    dedup_id: Option<Bound<'py, PyBytes>>,
}

/// When a message is to be handed out, and how urgent it is.
#[derive(Clone, Copy, Default)]
pub(crate) struct Timing {
    pub(crate) delay: Option<Duration>,
    pub(crate) deliver_at_ns: Option<i64>,
    pub(crate) ttl: Option<Duration>,
    pub(crate) priority: u8,
}

impl Timing {
    /// From the keyword arguments of a send.
    #[inline]
    pub(crate) fn of(
        py: Python<'_>,
        (delay, deliver_at, ttl): (Option<f64>, Option<&Bound<'_, PyAny>>, Option<f64>),
        priority: i64,
    ) -> PyResult<Self> {
        let priority = u8::try_from(priority)
            .map_err(|_| invalid(py, format!("priority is {priority}; expected 0 to 9")))?;
        Ok(Self {
            delay: delay.map(|time| seconds(py, "delay", time)).transpose()?,
            deliver_at_ns: deliver_at.map(|at| moment("deliver_at", at)).transpose()?,
            ttl: ttl.map(|time| seconds(py, "ttl", time)).transpose()?,
            priority,
        })
    }
}

/// The keyword arguments of a send.
#[derive(Default)]
pub(crate) struct Extras<'a, 'py> {
    pub(crate) key: Option<&'a Bound<'py, PyAny>>,
    pub(crate) headers: Option<&'a Bound<'py, PyAny>>,
    pub(crate) partition: Option<u32>,
    pub(crate) timestamp: Option<f64>,
    pub(crate) timing: Timing,
    pub(crate) dedup_id: Option<&'a Bound<'py, PyAny>>,
}

impl<'py> Held<'py> {
    #[inline]
    fn of(payload: &Bound<'py, PyAny>, extras: &Extras<'_, 'py>) -> PyResult<Self> {
        let py = payload.py();
        let headers = extras.headers.map(headers).transpose()?;
        Ok(Self {
            payload: bytes("payload", payload)?,
            key: extras.key.map(|key| bytes("key", key)).transpose()?,
            headers: headers.unwrap_or_default(),
            partition: extras.partition,
            timestamp_ns: (extras.timestamp)
                .map(|at| nanoseconds(py, "timestamp", at))
                .transpose()?,
            timing: extras.timing,
            dedup_id: extras.dedup_id.map(dedup_id).transpose()?,
        })
    }

    /// Names and values of the headers, borrowed.
    fn named(&self) -> PyResult<Vec<(&str, &[u8])>> {
        self.headers
            .iter()
            .map(|(name, value)| Ok((name.to_str()?, value.as_bytes())))
            .collect()
    }

    #[inline]
    fn message<'a>(&'a self, headers: &'a [(&'a str, &'a [u8])]) -> libqueue::Message<'a> {
        libqueue::Message {
            payload: self.payload.as_bytes(),
            key: self.key.as_ref().map(|key| key.as_bytes()),
            headers,
            partition: self.partition,
            timestamp_ns: self.timestamp_ns,
            delay: self.timing.delay,
            deliver_at_ns: self.timing.deliver_at_ns,
            ttl: self.timing.ttl,
            priority: self.timing.priority,
            dedup_id: self.dedup_id.as_ref().map(|id| id.as_bytes()),
        }
    }
}

/// Bytes, or a text as UTF-8.
fn dedup_id<'py>(given: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    match given.cast::<PyString>() {
        Ok(text) => Ok(PyBytes::new(given.py(), text.to_str()?.as_bytes())),
        Err(_) => bytes("dedup_id", given),
    }
}

/// The headers of a dict or another mapping.
fn headers<'py>(given: &Bound<'py, PyAny>) -> PyResult<Headers<'py>> {
    let one = |name: Bound<'py, PyAny>, value: Bound<'py, PyAny>| {
        Ok((name.cast_into::<PyString>()?, bytes("a header", &value)?))
    };
    if let Ok(dict) = given.cast::<PyDict>() {
        return dict.iter().map(|(name, value)| one(name, value)).collect();
    }
    let mut headers = Vec::new();
    for item in given.cast::<PyMapping>()?.items()? {
        let (name, value) = item.extract()?;
        headers.push(one(name, value)?);
    }
    Ok(headers)
}

fn nanoseconds(py: Python<'_>, what: &str, seconds: f64) -> PyResult<i64> {
    let ns = seconds * 1e9;
    if ns.is_finite() && ns.abs() < 9.2e18 {
        return Ok(ns.round() as i64);
    }
    Err(invalid(
        py,
        format!("{what} is {seconds}; expected seconds since the Unix epoch, {YEARS}"),
    ))
}

/// A time as it is, or of a datetime the seconds since the epoch.
pub(crate) fn seconds_of(what: &str, years: &str, value: &Bound<'_, PyAny>) -> PyResult<f64> {
    let py = value.py();
    if !value.hasattr(intern!(py, "timestamp"))? {
        return value.extract();
    }
    match value.call_method0(intern!(py, "timestamp")) {
        Ok(at) => at.extract(),
        // What Python cannot say in seconds, or this machine in its own zone.
        Err(error)
            if error.is_instance_of::<PyValueError>(py)
                || error.is_instance_of::<PyOverflowError>(py)
                || error.is_instance_of::<PyOSError>(py) =>
        {
            let told = format!("{what} is {value}; expected a time {years}");
            let refused = invalid(py, told);
            refused.set_cause(py, Some(error));
            Err(refused)
        }
        Err(error) => Err(error),
    }
}

/// A time as a number of seconds since the epoch, or as a datetime.
fn moment(what: &str, value: &Bound<'_, PyAny>) -> PyResult<i64> {
    nanoseconds(value.py(), what, seconds_of(what, YEARS, value)?)
}

/// As `moment`, in seconds.
pub(crate) fn point(what: &str, value: &Bound<'_, PyAny>) -> PyResult<f64> {
    let at = seconds_of(what, YEARS, value)?;
    nanoseconds(value.py(), what, at).map(|_| at)
}

/// Sends one. A small message goes without letting go of the interpreter, unless it would have to
/// wait.
#[inline]
pub(crate) fn one(
    topic: &libqueue::Topic,
    payload: &Bound<'_, PyAny>,
    extras: &Extras<'_, '_>,
    timeout: Option<f64>,
) -> PyResult<MessageId> {
    let py = payload.py();
    let timeout = timeout
        .map(|time| seconds(py, "timeout", time))
        .transpose()?;
    let held = Held::of(payload, extras)?;
    let headers = held.named()?;
    let message = held.message(&headers);
    if message.payload.len() < LARGE
        && let Some(id) = topic.try_send(&message).or_raise(py)?
    {
        return Ok(id.into());
    }
    let ids = waiting(py, topic, std::slice::from_ref(&message), timeout)?;
    Ok(ids[0].into())
}

/// Sends without the interpreter; while there is no room it answers signals.
fn waiting(
    py: Python<'_>,
    topic: &libqueue::Topic,
    messages: &[libqueue::Message<'_>],
    timeout: Option<Duration>,
) -> PyResult<Vec<libqueue::MessageId>> {
    answering(py, |go_on| topic.send_while(messages, timeout, go_on)).or_raise(py)
}

/// What came of something that may wait for room.
pub(crate) struct Answered<T> {
    pub(crate) done: libqueue::Result<T>,
    /// What a signal's handler raised meanwhile, which nobody else raises any more.
    pub(crate) raised: Option<PyErr>,
}

impl<T> Answered<T> {
    /// What was raised goes before: also where it was done all the same, as for a signal that
    /// comes just behind the call.
    fn or_raise(self, py: Python<'_>) -> PyResult<T> {
        match self.raised {
            Some(error) => Err(error),
            None => self.done.or_raise(py),
        }
    }
}

/// Does something that may wait for room, without the interpreter, and answers signals meanwhile:
/// one that raises ends the wait.
pub(crate) fn answering<T: Send>(
    py: Python<'_>,
    work: impl FnOnce(&mut dyn FnMut() -> bool) -> libqueue::Result<T> + Send,
) -> Answered<T> {
    let mut raised = None;
    let mut go_on = || {
        let asked = Python::attach(|py| py.check_signals());
        raised = asked.err();
        raised.is_none()
    };
    let done = py.detach(|| work(&mut go_on));
    Answered { done, raised }
}

/// Sends one by a producer; while there is no room it answers signals.
pub(crate) fn by_producer(
    producer: &libqueue::Producer,
    payload: &Bound<'_, PyAny>,
    extras: &Extras<'_, '_>,
    (sequence, timeout): (Option<u64>, Option<f64>),
) -> PyResult<MessageId> {
    let py = payload.py();
    let timeout = timeout
        .map(|time| seconds(py, "timeout", time))
        .transpose()?;
    let held = Held::of(payload, extras)?;
    let headers = held.named()?;
    let message = held.message(&headers);
    let sent = answering(py, |go_on| {
        producer.send_while(&message, sequence, timeout, go_on)
    });
    Ok(sent.or_raise(py)?.into())
}

/// Sends one in a transaction.
pub(crate) fn one_in(
    payload: &Bound<'_, PyAny>,
    extras: &Extras<'_, '_>,
    send: impl FnOnce(&[libqueue::Message<'_>]) -> PyResult<()>,
) -> PyResult<()> {
    let held = Held::of(payload, extras)?;
    let headers = held.named()?;
    send(&[held.message(&headers)])
}

/// Sends all or, on an error, none.
pub(crate) fn many(
    py: Python<'_>,
    topic: &libqueue::Topic,
    messages: &Bound<'_, PyAny>,
    timeout: Option<f64>,
) -> PyResult<Vec<MessageId>> {
    let timeout = timeout
        .map(|time| seconds(py, "timeout", time))
        .transpose()?;
    many_in(messages, |messages| {
        let ids = waiting(py, topic, messages, timeout)?;
        Ok(ids.into_iter().map(MessageId::from).collect())
    })
}

/// As `many`, to whoever takes them.
pub(crate) fn many_in<T>(
    messages: &Bound<'_, PyAny>,
    send: impl FnOnce(&[libqueue::Message<'_>]) -> PyResult<T>,
) -> PyResult<T> {
    let py = messages.py();
    let mut held = Vec::with_capacity(messages.len().unwrap_or(0));
    for one in messages.try_iter()? {
        let one = one?;
        held.push(match one.cast::<Message>() {
            Ok(message) => {
                let (payload, extras) = message.get().parts(py)?;
                Held::of(payload, &extras)?
            }
            Err(_) => Held::of(&one, &Extras::default())?,
        });
    }
    let headers = held.iter().map(Held::named).collect::<PyResult<Vec<_>>>()?;
    let messages: Vec<_> = held
        .iter()
        .zip(&headers)
        .map(|(held, headers)| held.message(headers))
        .collect();
    send(&messages)
}
