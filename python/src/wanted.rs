//! Which dead letters a redrive is asked for.

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::convert;
use crate::send;

/// What a letter has to be; what is `None` asks for nothing.
pub(crate) struct Wanted<'a, 'py> {
    error_contains: Option<&'a str>,
    key: Option<Bound<'py, PyBytes>>,
    partition: Option<u32>,
    /// Seconds since the epoch, as `DeadLetter.last_failed` has them: what that says is met
    /// exactly.
    since: Option<f64>,
    until: Option<f64>,
}

/// As `Wanted`, without the interpreter.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    error_contains: Option<&'a str>,
    key: Option<&'a [u8]>,
    partition: Option<u32>,
    since: Option<f64>,
    until: Option<f64>,
}

impl<'a, 'py> Wanted<'a, 'py> {
    /// From the keyword arguments.
    pub(crate) fn of(
        error_contains: Option<&'a str>,
        key: Option<&Bound<'py, PyAny>>,
        partition: Option<u32>,
        (since, until): (Option<&Bound<'_, PyAny>>, Option<&Bound<'_, PyAny>>),
    ) -> PyResult<Self> {
        let at = |name, value: Option<&Bound<'_, PyAny>>| {
            value.map(|value| send::point(name, value)).transpose()
        };
        Ok(Self {
            error_contains,
            key: key.map(|key| convert::bytes("key", key)).transpose()?,
            partition,
            since: at("failed_since", since)?,
            until: at("failed_until", until)?,
        })
    }

    pub(crate) fn asked(&self) -> Asked<'_> {
        Asked {
            error_contains: self.error_contains,
            key: self.key.as_ref().map(|key| key.as_bytes()),
            partition: self.partition,
            since: self.since,
            until: self.until,
        }
    }
}

impl Asked<'_> {
    /// Whether the letter is one of those.
    pub(crate) fn wants(&self, one: &libqueue::DeadLetterEntry) -> bool {
        let failed = one.last_failed_ns as f64 / 1e9;
        self.error_contains
            .is_none_or(|part| one.error.contains(part))
            && self.key.is_none_or(|key| one.message.key() == Some(key))
            && self.partition.is_none_or(|of| one.source_partition == of)
            && self.since.is_none_or(|since| failed >= since)
            && self.until.is_none_or(|until| failed < until)
    }
}
