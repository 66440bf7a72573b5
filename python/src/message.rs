//! Messages to send, and ids.

use pyo3::prelude::*;

use crate::convert;
use crate::send::{Extras, Timing};

/// Names a message for ever: an id is never used twice.
///
/// Compares and sorts by topic, partition and offset; may be a key of a dict.
#[pyclass(frozen, eq, ord, hash, get_all, module = "libqueue")]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct MessageId {
    /// The id of the topic.
    topic_id: u64,
    /// The partition of the topic.
    partition: u32,
    /// The number of the message in its partition.
    offset: u64,
}

impl From<libqueue::MessageId> for MessageId {
    #[inline]
    fn from(id: libqueue::MessageId) -> Self {
        Self {
            topic_id: id.topic_id,
            partition: id.partition,
            offset: id.offset,
        }
    }
}

impl From<&MessageId> for libqueue::MessageId {
    fn from(id: &MessageId) -> Self {
        Self {
            topic_id: id.topic_id,
            partition: id.partition,
            offset: id.offset,
        }
    }
}

#[pymethods]
impl MessageId {
    #[new]
    fn new(topic_id: u64, partition: u32, offset: u64) -> Self {
        Self {
            topic_id,
            partition,
            offset,
        }
    }

    fn __repr__(&self) -> String {
        format!(
            "MessageId(topic_id={:#x}, partition={}, offset={})",
            self.topic_id, self.partition, self.offset
        )
    }
}

/// A message for `Topic.send_many`: what `Topic.send` takes, as an object.
#[pyclass(frozen, get_all, module = "libqueue")]
pub(crate) struct Message {
    /// The payload.
    payload: Py<PyAny>,
    /// The key, or None.
    key: Option<Py<PyAny>>,
    /// The headers, or None.
    headers: Option<Py<PyAny>>,
    /// The partition, or None for the key's or each in turn.
    partition: Option<u32>,
    /// Seconds since the epoch, or None for now.
    timestamp: Option<f64>,
    /// For so many seconds no group hands it out.
    delay: Option<f64>,
    /// As `delay`, until a time: seconds since the epoch, or a datetime.
    deliver_at: Option<Py<PyAny>>,
    /// After so many seconds nobody is handed it any more.
    ttl: Option<f64>,
    /// 0 to 9, the most urgent.
    priority: i64,
    /// The id under which it is sent once, or None.
    dedup_id: Option<Py<PyAny>>,
}

impl Message {
    /// The payload, and what comes with it.
    pub(crate) fn parts<'a, 'py>(
        &'a self,
        py: Python<'py>,
    ) -> PyResult<(&'a Bound<'py, PyAny>, Extras<'a, 'py>)> {
        let deliver_at = self.deliver_at.as_ref().map(|at| at.bind(py));
        let extras = Extras {
            key: self.key.as_ref().map(|key| key.bind(py)),
            headers: self.headers.as_ref().map(|headers| headers.bind(py)),
            partition: self.partition,
            timestamp: self.timestamp,
            timing: Timing::of(py, (self.delay, deliver_at, self.ttl), self.priority)?,
            dedup_id: self.dedup_id.as_ref().map(|id| id.bind(py)),
        };
        Ok((self.payload.bind(py), extras))
    }
}

#[pymethods]
impl Message {
    #[new]
    #[pyo3(signature = (payload, *, key=None, headers=None, partition=None, timestamp=None,
        delay=None, deliver_at=None, ttl=None, priority=0, dedup_id=None))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        payload: Py<PyAny>,
        key: Option<Py<PyAny>>,
        headers: Option<Py<PyAny>>,
        #[pyo3(from_py_with = convert::partition)] partition: Option<u32>,
        timestamp: Option<f64>,
        delay: Option<f64>,
        deliver_at: Option<Py<PyAny>>,
        ttl: Option<f64>,
        priority: i64,
        dedup_id: Option<Py<PyAny>>,
    ) -> Self {
        Self {
            payload,
            key,
            headers,
            partition,
            timestamp,
            delay,
            deliver_at,
            ttl,
            priority,
            dedup_id,
        }
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let payload = self.payload.bind(py).repr()?;
        let key = match &self.key {
            Some(key) => format!(", key={}", key.bind(py).repr()?),
            None => String::new(),
        };
        Ok(format!("Message({payload}{key})"))
    }
}
