//! Named producers.

use std::sync::{Arc, Mutex, PoisonError};

use libqueue::{Error, ErrorKind};
use pyo3::prelude::*;

use crate::convert;
use crate::errors::OrRaise;
use crate::message::MessageId;
use crate::send::{self, Extras, Timing};

/// A named, idempotent producer. Made by `Topic.producer`.
///
/// May be used from several threads, which take turns. A context manager.
#[pyclass(frozen, module = "libqueue")]
pub(crate) struct Producer {
    inner: Mutex<Option<Arc<libqueue::Producer>>>,
    name: String,
    topic: String,
}

impl Producer {
    pub(crate) fn of(producer: libqueue::Producer, topic: &str) -> Self {
        Self {
            name: producer.name().to_owned(),
            topic: topic.to_owned(),
            inner: Mutex::new(Some(Arc::new(producer.uncounted()))),
        }
    }

    fn opened(&self) -> libqueue::Result<Arc<libqueue::Producer>> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.clone().ok_or_else(|| {
            let message = format!("the producer {:?} is closed", self.name);
            Error::new(ErrorKind::Closed, message)
        })
    }
}

#[pymethods]
impl Producer {
    /// Send one message; a `sequence` that was sent before returns the first send's id.
    ///
    /// The first sequence is 1, gaps are allowed, and None counts on from the last one. A repeat,
    /// by this handle or an earlier one of the name, appends nothing, whatever the message is: so
    /// it may be sent again after an error, a timeout or a kill. The other arguments are those of
    /// `Topic.send`; `timeout` bounds also the wait for other threads that send by this handle and
    /// have no room.
    ///
    /// Raises `Fenced` where the name was opened again, and nothing was sent; `InvalidArgument` for
    /// a sequence that is older than the last 1,000 or was passed over; and what `Topic.send`
    /// raises.
    ///
    ///     with orders.producer("till-3") as till:
    ///         till.send(b"paid", till.last_sequence + 1)
    #[pyo3(signature = (payload, sequence=None, *, key=None, headers=None, partition=None,
        timestamp=None, delay=None, deliver_at=None, ttl=None, priority=0, timeout=None))]
    #[allow(clippy::too_many_arguments)]
    fn send(
        &self,
        payload: &Bound<'_, PyAny>,
        sequence: Option<u64>,
        key: Option<&Bound<'_, PyAny>>,
        headers: Option<&Bound<'_, PyAny>>,
        #[pyo3(from_py_with = convert::partition)] partition: Option<u32>,
        timestamp: Option<f64>,
        delay: Option<f64>,
        deliver_at: Option<&Bound<'_, PyAny>>,
        ttl: Option<f64>,
        priority: i64,
        timeout: Option<f64>,
    ) -> PyResult<MessageId> {
        let py = payload.py();
        let timing = Timing::of(py, (delay, deliver_at, ttl), priority)?;
        let extras = Extras {
            key,
            headers,
            partition,
            timestamp,
            timing,
            dedup_id: None,
        };
        let producer = self.opened().or_raise(py)?;
        send::by_producer(&producer, payload, &extras, (sequence, timeout))
    }

    /// The highest sequence that was sent, by any opening of the name; 0 before the first.
    ///
    /// What was sent in a call that timed out or was killed is in it, or is not in the log and
    /// never will be.
    #[getter]
    fn last_sequence(&self, py: Python<'_>) -> PyResult<u64> {
        let producer = self.opened().or_raise(py)?;
        py.detach(|| producer.last_sequence()).or_raise(py)
    }

    /// The producer's name.
    #[getter]
    fn name(&self) -> &str {
        &self.name
    }

    /// End the handle. Closing twice is fine.
    fn close(&self) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        drop(inner.take());
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (exc_type, exc, traceback))]
    fn __exit__(
        &self,
        exc_type: Option<&Bound<'_, PyAny>>,
        exc: Option<&Bound<'_, PyAny>>,
        traceback: Option<&Bound<'_, PyAny>>,
    ) {
        let _ = (exc_type, exc, traceback);
        self.close();
    }

    fn __repr__(&self) -> String {
        format!("<libqueue.Producer {:?} of {}>", self.name, self.topic)
    }
}
