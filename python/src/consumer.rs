//! Consumers.

use std::sync::Arc;
use std::time::Duration;

use libqueue::{Error, ErrorKind, Receipt};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};

use crate::convert;
use crate::delivery::Delivery;
use crate::errors::{OrRaise, raise_stale};

/// One worker of a group. Made by `Topic.consumer`. May be used from several threads.
///
/// A context manager: leaving it hands its leases back. Iterating waits for messages, answers
/// Ctrl-C, and ends only when the consumer is closed.
#[pyclass(frozen, module = "libqueue")]
pub(crate) struct Consumer {
    inner: Arc<libqueue::Consumer>,
    topic: Arc<str>,
}

/// What is done to receipts.
pub(crate) type Settle<'a> =
    dyn Fn(&libqueue::Consumer, &[Receipt]) -> libqueue::Result<()> + Send + Sync + 'a;

/// Does something to the deliveries of one call; those that are stale are named by the exception.
pub(crate) fn call(
    py: Python<'_>,
    consumer: &libqueue::Consumer,
    deliveries: &[Bound<'_, PyAny>],
    one: &Settle<'_>,
) -> PyResult<()> {
    let receipts = receipts(deliveries)?;
    let done = py.detach(|| one(consumer, &receipts));
    done.map_err(|error| raise_stale(py, &error, deliveries))
}

/// As `call`, for what settles: afterwards nothing is left for the end of a `with`, which tells
/// nobody again of stale ones either.
pub(crate) fn settle(
    py: Python<'_>,
    consumer: &libqueue::Consumer,
    deliveries: &[Bound<'_, PyAny>],
    one: &Settle<'_>,
) -> PyResult<()> {
    let receipts = receipts(deliveries)?;
    let done = py.detach(|| one(consumer, &receipts));
    let stale = |error: &Error| error.kind() == ErrorKind::StaleReceipt;
    if done.as_ref().err().is_none_or(stale) {
        for delivery in deliveries {
            delivery.cast::<Delivery>()?.get().set_settled();
        }
    }
    done.map_err(|error| raise_stale(py, &error, deliveries))
}

fn receipts(deliveries: &[Bound<'_, PyAny>]) -> PyResult<Vec<Receipt>> {
    let receipt = |delivery: &Bound<'_, PyAny>| Ok(delivery.cast::<Delivery>()?.get().receipt());
    deliveries.iter().map(receipt).collect()
}

fn listed<'py>(given: &Bound<'py, PyAny>) -> PyResult<Vec<Bound<'py, PyAny>>> {
    if given.is_instance_of::<Delivery>() {
        return Ok(vec![given.clone()]);
    }
    if given.is_instance_of::<PyList>() || given.is_instance_of::<PyTuple>() {
        return given.try_iter()?.collect();
    }
    let iterable = given.try_iter().map_err(|_| {
        PyTypeError::new_err("expected a Delivery or several of them, such as receive() returns")
    })?;
    iterable.collect()
}

impl Consumer {
    pub(crate) fn of(inner: Arc<libqueue::Consumer>, topic: &str) -> Self {
        Self {
            inner,
            topic: topic.into(),
        }
    }

    fn wait(
        &self,
        py: Python<'_>,
        most: usize,
        timeout: Option<Duration>,
    ) -> PyResult<Vec<libqueue::Delivery>> {
        let step = |slice| self.inner.receive(most, Some(slice));
        convert::in_slices(py, timeout, step, |found| !found.is_empty())
    }

    fn settle(&self, deliveries: &Bound<'_, PyAny>, one: &Settle<'_>) -> PyResult<()> {
        let py = deliveries.py();
        settle(py, &self.inner, &listed(deliveries)?, one)
    }
}

#[pymethods]
impl Consumer {
    /// Return up to `max_messages`, waiting for the first at most `timeout` seconds.
    ///
    /// `None` waits for ever, 0 does not wait; empty after the timeout. Each message is leased from
    /// now on. Answers Ctrl-C. Raises `Damaged` once for a message whose bytes are not what was
    /// sent, by the next call if this one returns messages; it is settled, and receiving goes on
    /// behind it.
    #[pyo3(signature = (max_messages=1, timeout=None))]
    fn receive(
        &self,
        py: Python<'_>,
        #[pyo3(from_py_with = convert::max_messages)] max_messages: usize,
        timeout: Option<f64>,
    ) -> PyResult<Vec<Delivery>> {
        let timeout = convert::timeout(py, timeout)?;
        let found = self.wait(py, max_messages, timeout)?;
        let wrap = |delivery| Delivery::of(delivery, &self.inner, &self.topic);
        Ok(found.into_iter().map(wrap).collect())
    }

    /// Acknowledge: the messages are done.
    ///
    /// Raises `StaleReceipt` whose `stale` lists those that were not settled, since they had been
    /// handed out again or settled before; all others are settled. So do the other settle calls.
    fn ack(&self, deliveries: &Bound<'_, PyAny>) -> PyResult<()> {
        self.settle(deliveries, &|consumer, receipts| consumer.ack(receipts))
    }

    /// Fail the messages: they come back after `delay` seconds, or the group's backoff.
    ///
    /// After `max_attempts` failures they become dead letters, with `error` as the reason.
    #[pyo3(signature = (deliveries, *, delay=None, error=None))]
    fn nack(
        &self,
        deliveries: &Bound<'_, PyAny>,
        delay: Option<f64>,
        error: Option<&str>,
    ) -> PyResult<()> {
        let py = deliveries.py();
        let delay = delay
            .map(|delay| convert::seconds(py, "delay", delay))
            .transpose()?;
        self.settle(deliveries, &|consumer, receipts| {
            consumer.nack(receipts, delay, error)
        })
    }

    /// Hand the messages back, uncounted; they are ready at once.
    fn release(&self, deliveries: &Bound<'_, PyAny>) -> PyResult<()> {
        self.settle(deliveries, &|consumer, receipts| consumer.release(receipts))
    }

    /// Let the leases end so many seconds from now.
    fn extend(&self, deliveries: &Bound<'_, PyAny>, seconds: f64) -> PyResult<()> {
        let py = deliveries.py();
        let lease = convert::seconds(py, "seconds", seconds)?;
        call(
            py,
            &self.inner,
            &listed(deliveries)?,
            &|consumer, receipts| consumer.extend(receipts, lease),
        )
    }

    /// Give up on the messages now: they become dead letters.
    fn dead_letter(&self, deliveries: &Bound<'_, PyAny>, reason: &str) -> PyResult<()> {
        self.settle(deliveries, &|consumer, receipts| {
            consumer.dead_letter(receipts, reason)
        })
    }

    /// Hand all leases back, uncounted. Closing twice is fine.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.inner.close()).or_raise(py)
    }

    /// The group's name.
    #[getter]
    fn group(&self) -> &str {
        self.inner.group()
    }

    /// The consumer's name.
    #[getter]
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    /// One at a time, so that no lease runs while a message waits in here.
    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Delivery>> {
        if self.inner.is_closed() {
            return Ok(None);
        }
        match self.wait(py, 1, None) {
            Ok(found) => Ok(found.into_iter().next().map(|delivery| {
                delivery.start();
                Delivery::of(delivery, &self.inner, &self.topic)
            })),
            // Closed by another thread while this one waited.
            Err(_) if self.inner.is_closed() => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    /// An exception that is on its way is not hidden by one of closing.
    #[pyo3(signature = (exc_type, exc, traceback))]
    fn __exit__(
        &self,
        py: Python<'_>,
        exc_type: Option<&Bound<'_, PyAny>>,
        exc: Option<&Bound<'_, PyAny>>,
        traceback: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let _ = (exc, traceback);
        let closed = self.close(py);
        if exc_type.is_some() { Ok(()) } else { closed }
    }

    fn __repr__(&self) -> String {
        format!(
            "<libqueue.Consumer {:?} of {}/{}>",
            self.inner.name(),
            self.topic,
            self.inner.group()
        )
    }
}
