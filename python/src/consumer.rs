//! Consumers.

use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use libqueue::{Error, ErrorKind, Receipt, ReceiveOptions};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};

use crate::convert;
use crate::delivery::Delivery;
use crate::errors::{OrRaise, raise, raise_stale};
use crate::receiving::{self, Receiving};

/// One worker of a group. Made by `Topic.consumer`. May be used from several threads.
///
/// A context manager: leaving it hands its leases back. Iterating waits for messages, answers
/// Ctrl-C, and ends only when the consumer is closed or drained. Under asyncio the same object:
///
///     async with topic.consumer("billing") as consumer:
///         async for delivery in consumer:
///             with delivery:
///                 await charge(delivery.payload)
#[pyclass(frozen, module = "libqueue")]
pub(crate) struct Consumer {
    inner: Arc<libqueue::Consumer>,
    topic: Arc<str>,
}

/// What is done to receipts.
pub(crate) type Settle<'a> =
    dyn Fn(&libqueue::Consumer, &[Receipt]) -> libqueue::Result<()> + Send + Sync + 'a;

/// Extends the leases of the deliveries of one call; those that are stale, or would end beyond the
/// group's bound, are named by the exception.
pub(crate) fn extend(
    py: Python<'_>,
    consumer: &libqueue::Consumer,
    deliveries: &[Bound<'_, PyAny>],
    lease: Duration,
) -> PyResult<()> {
    let receipts = receipts(deliveries)?;
    let done = py.detach(|| consumer.extend(&receipts, lease));
    let error = done.as_ref().err();
    for (place, delivery) in deliveries.iter().enumerate() {
        let left_out = error.is_some_and(|error| {
            let named = [error.stale_places(), error.refused_places()].concat();
            named.is_empty() || named.contains(&place)
        });
        if !left_out {
            delivery.cast::<Delivery>()?.get().set_extended(lease);
        }
    }
    done.map_err(|error| raise_stale(py, &error, deliveries))
}

/// Does something that settles to the deliveries of one call: afterwards nothing is left for the
/// end of a `with`, which tells nobody again of stale ones either.
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

pub(crate) fn listed<'py>(given: &Bound<'py, PyAny>) -> PyResult<Vec<Bound<'py, PyAny>>> {
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
    /// now on, for `lease` seconds where given, else for the consumer's or the group's lease.
    /// Answers Ctrl-C. Raises `Damaged` once for a message whose bytes are not what was sent, by
    /// the next call if this one returns messages; it is settled, and receiving goes on behind it.
    ///
    /// With `min_messages` it waits for so many, at most for the timeout, which then must be given;
    /// then what there is is returned. `max_bytes` bounds the keys, headers and payloads together;
    /// the first message is returned whatever its size.
    ///
    /// Where the group has a filter, the call passes over what that leaves out until its timeout,
    /// and for 50 ms where the timeout is shorter, 0 included; the next call goes on from there.
    #[pyo3(signature = (
        max_messages=1, timeout=None, *, min_messages=1, max_bytes=None, lease=None
    ))]
    fn receive(
        &self,
        py: Python<'_>,
        #[pyo3(from_py_with = convert::max_messages)] max_messages: usize,
        timeout: Option<f64>,
        #[pyo3(from_py_with = convert::min_messages)] min_messages: usize,
        #[pyo3(from_py_with = convert::max_bytes)] max_bytes: Option<u64>,
        lease: Option<f64>,
    ) -> PyResult<Vec<Delivery>> {
        let options =
            receiving::options(py, max_messages, timeout, min_messages, max_bytes, lease)?;
        let found = receiving::wait(py, &self.inner, &options)?;
        let wrap = |delivery| Delivery::of(delivery, &self.inner, &self.topic);
        Ok(found.into_iter().map(wrap).collect())
    }

    /// Receive as `receive` does, with an asyncio event loop that waits.
    ///
    ///     batch = await consumer.receive_async(max_messages=100, timeout=1.0)
    ///
    /// May be cancelled: no message is lost by it, and none is charged. Settling is a plain call.
    #[pyo3(signature = (
        max_messages=1, timeout=None, *, min_messages=1, max_bytes=None, lease=None
    ))]
    fn receive_async<'py>(
        slf: &Bound<'py, Self>,
        #[pyo3(from_py_with = convert::max_messages)] max_messages: usize,
        timeout: Option<f64>,
        #[pyo3(from_py_with = convert::min_messages)] min_messages: usize,
        #[pyo3(from_py_with = convert::max_bytes)] max_bytes: Option<u64>,
        lease: Option<f64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let receive = receiving::of_loops(slf.py(), "receive")?;
        receive.call1((slf, max_messages, timeout, min_messages, max_bytes, lease))
    }

    /// Begin a receive call that an event loop drives.
    #[pyo3(signature = (
        max_messages=1, timeout=None, *, min_messages=1, max_bytes=None, lease=None
    ))]
    fn _receiving(
        &self,
        py: Python<'_>,
        #[pyo3(from_py_with = convert::max_messages)] max_messages: usize,
        timeout: Option<f64>,
        #[pyo3(from_py_with = convert::min_messages)] min_messages: usize,
        #[pyo3(from_py_with = convert::max_bytes)] max_bytes: Option<u64>,
        lease: Option<f64>,
    ) -> PyResult<Receiving> {
        let options =
            receiving::options(py, max_messages, timeout, min_messages, max_bytes, lease)?;
        let begun = self.inner.receiving(&options).or_raise(py)?;
        Ok(Receiving::of(begun, &self.inner, &self.topic))
    }

    /// Return a descriptor that is readable while `receive` may return something.
    ///
    /// For `select`, `poll`, `epoll` and event loops; not readable while nothing may come. When it
    /// is readable, receive with a timeout of 0: another consumer may have been faster. A receive
    /// that empties the group makes it unreadable. It belongs to the consumer: do not read or close
    /// it.
    ///
    ///     selector.register(consumer, selectors.EVENT_READ)
    ///     while selector.select():
    ///         for delivery in consumer.receive(100, timeout=0):
    ///             with delivery:
    ///                 print(delivery.payload)
    fn fileno(&self, py: Python<'_>) -> PyResult<i32> {
        let found = py.detach(|| self.inner.fd().map(|fd| fd.as_raw_fd()));
        found.or_raise(py)
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
    ///
    /// Raises `InvalidArgument` whose `refused` lists those whose lease would end after the group's
    /// `max_lease`; all others are extended.
    fn extend(&self, deliveries: &Bound<'_, PyAny>, seconds: f64) -> PyResult<()> {
        let py = deliveries.py();
        let lease = convert::seconds(py, "seconds", seconds)?;
        extend(py, &self.inner, &listed(deliveries)?, lease)
    }

    /// Give up on the messages now: they become dead letters.
    fn dead_letter(&self, deliveries: &Bound<'_, PyAny>, reason: &str) -> PyResult<()> {
        self.settle(deliveries, &|consumer, receipts| {
            consumer.dead_letter(receipts, reason)
        })
    }

    /// Hand out nothing more, and wait until all that this consumer has out is settled.
    ///
    /// From here on `receive` raises `Closed`, and iterations end; settling goes on. Raises
    /// `Timeout` after `timeout` seconds (`None`: waits for ever) if some messages are still out;
    /// `close` hands those back, uncounted. Answers Ctrl-C. Draining is final: close the consumer
    /// afterwards.
    #[pyo3(signature = (timeout=None))]
    fn drain(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<()> {
        let timeout = convert::timeout(py, timeout)?;
        // A slice that is over is not the end of the time.
        let late = |error: &Error| error.kind() == ErrorKind::Timeout;
        let step = |slice| match self.inner.drain(Some(slice)) {
            Err(error) if late(&error) => Ok(Some(error)),
            other => other.map(|()| None),
        };
        match convert::in_slices(py, timeout, step, Option::is_none)? {
            Some(error) => Err(raise(py, &error)),
            None => Ok(()),
        }
    }

    /// Drain as `drain` does; handlers in the asyncio event loop go on.
    #[pyo3(signature = (timeout=None))]
    fn drain_async<'py>(
        slf: &Bound<'py, Self>,
        timeout: Option<f64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        receiving::of_loops(slf.py(), "drain")?.call1((slf, timeout))
    }

    /// Hand all leases back, uncounted. Closing twice is fine.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.inner.close()).or_raise(py)
    }

    /// Whether it hands out nothing more: closed or draining.
    #[getter]
    fn closed(&self) -> bool {
        self.inner.is_closed() || self.inner.is_draining()
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
        if self.closed() {
            return Ok(None);
        }
        match receiving::wait(py, &self.inner, &ReceiveOptions::default()) {
            Ok(found) => Ok(found.into_iter().next().map(|delivery| {
                delivery.start();
                Delivery::of(delivery, &self.inner, &self.topic)
            })),
            // Closed by another thread while this one waited.
            Err(_) if self.closed() => Ok(None),
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

    fn __aiter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __anext__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        receiving::of_loops(slf.py(), "following")?.call1((slf,))
    }

    fn __aenter__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        receiving::of_loops(slf.py(), "enter")?.call1((slf,))
    }

    #[pyo3(signature = (exc_type, exc, traceback))]
    fn __aexit__<'py>(
        slf: &Bound<'py, Self>,
        exc_type: Option<&Bound<'py, PyAny>>,
        exc: Option<&Bound<'py, PyAny>>,
        traceback: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        receiving::of_loops(slf.py(), "leave")?.call1((slf, exc_type, exc, traceback))
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
