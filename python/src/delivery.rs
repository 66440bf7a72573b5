//! Messages that were received or read.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use libqueue::Receipt;
use pyo3::exceptions::PyException;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyMemoryView, PyType};

use crate::consumer;
use crate::convert;
use crate::message::MessageId;

static VIEW: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// A read-only memoryview of the payload in the mapped log, made by `libqueue._view`; of a copy
/// where the file is gone.
fn view<'py>(py: Python<'py>, message: &libqueue::ReadMessage) -> PyResult<Bound<'py, PyAny>> {
    let view = VIEW.get_or_try_init(py, || {
        let module = py.import("libqueue._view")?;
        PyResult::Ok(module.getattr("of_payload")?.unbind())
    })?;
    let ((path, position), payload) = (message.place(), message.payload());
    let (mark, at) = message.mark();
    let place = (path, position, payload.len(), PyBytes::new(py, mark), at);
    let found = view.bind(py).call1(place)?;
    if found.is_none() {
        let copy = PyBytes::new(py, payload);
        return Ok(PyMemoryView::from(&copy)?.into_any());
    }
    Ok(found)
}

fn headers<'py>(py: Python<'py>, message: &libqueue::ReadMessage) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (name, value) in message.headers() {
        dict.set_item(name, PyBytes::new(py, value))?;
    }
    Ok(dict)
}

fn in_seconds(ns: i64) -> f64 {
    ns as f64 / 1e9
}

/// The getters that a delivery and a message that was read have in common.
macro_rules! message_class {
    ($class:ident { $($own:item)* }) => {
        #[pymethods]
        impl $class {
            /// The payload, copied.
            #[getter]
            fn payload<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
                PyBytes::new(py, self.inner.payload())
            }

            /// The payload in the mapped log, not copied and read-only; may outlive the store.
            #[getter]
            fn view<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
                view(py, &self.inner)
            }

            /// The key, or None.
            #[getter]
            fn key<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
                self.inner.key().map(|key| PyBytes::new(py, key))
            }

            /// The headers; of a name that comes twice the last value.
            #[getter]
            fn headers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
                headers(py, &self.inner)
            }

            /// Seconds since the epoch; never falls within a partition.
            #[getter]
            fn timestamp(&self) -> f64 {
                in_seconds(self.inner.timestamp_ns())
            }

            /// Nanoseconds since the epoch.
            #[getter]
            fn timestamp_ns(&self) -> i64 {
                self.inner.timestamp_ns()
            }

            /// The topic's name.
            #[getter]
            fn topic(&self) -> &str {
                &self.topic
            }

            /// The partition.
            #[getter]
            fn partition(&self) -> u32 {
                self.inner.partition()
            }

            /// The number in the partition.
            #[getter]
            fn offset(&self) -> u64 {
                self.inner.offset()
            }

            /// The message's id.
            #[getter]
            fn id(&self) -> MessageId {
                self.inner.id().into()
            }

            fn __len__(&self) -> usize {
                self.inner.payload().len()
            }

            $($own)*
        }
    };
}

/// A message that a `Reader` read.
#[pyclass(frozen, module = "libqueue")]
pub(crate) struct ReadMessage {
    inner: libqueue::ReadMessage,
    topic: Arc<str>,
}

impl ReadMessage {
    pub(crate) fn of(inner: libqueue::ReadMessage, topic: &Arc<str>) -> Self {
        Self {
            inner,
            topic: topic.clone(),
        }
    }
}

message_class!(ReadMessage {
    fn __repr__(&self) -> String {
        format!(
            "<libqueue.ReadMessage {}/{} offset {}>",
            self.topic,
            self.inner.partition(),
            self.inner.offset()
        )
    }
});

/// A message handed to a consumer until its deadline.
///
/// A context manager: leaving it cleanly acknowledges the message; an exception fails it, with the
/// exception's text, and goes on. What is no `Exception`, as KeyboardInterrupt, hands it back
/// uncounted. A message that was settled inside is left as it is.
#[pyclass(frozen, module = "libqueue")]
pub(crate) struct Delivery {
    inner: libqueue::Delivery,
    consumer: Arc<libqueue::Consumer>,
    topic: Arc<str>,
    settled: AtomicBool,
    /// When the lease ends since it was extended; 0 before.
    extended_ns: AtomicI64,
}

impl Delivery {
    #[inline]
    pub(crate) fn of(
        inner: libqueue::Delivery,
        consumer: &Arc<libqueue::Consumer>,
        topic: &Arc<str>,
    ) -> Self {
        Self {
            inner,
            consumer: consumer.clone(),
            topic: topic.clone(),
            settled: AtomicBool::new(false),
            extended_ns: AtomicI64::new(0),
        }
    }

    #[inline]
    pub(crate) fn receipt(&self) -> Receipt {
        self.inner.receipt()
    }

    pub(crate) fn inner(&self) -> &libqueue::Delivery {
        &self.inner
    }

    /// Says that somebody settled it by this object.
    #[inline]
    pub(crate) fn set_settled(&self) {
        self.settled.store(true, Ordering::Relaxed);
    }

    /// Says that its lease ends so long from now.
    pub(crate) fn set_extended(&self, lease: Duration) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let ends = now.unwrap_or_default().saturating_add(lease).as_nanos();
        let ends = i64::try_from(ends).unwrap_or(i64::MAX);
        self.extended_ns.store(ends, Ordering::Relaxed);
    }

    fn settle(slf: &Bound<'_, Self>, one: &consumer::Settle<'_>) -> PyResult<()> {
        let consumer = &slf.get().consumer;
        consumer::settle(slf.py(), consumer, &[slf.as_any().clone()], one)
    }
}

message_class!(Delivery {
    /// The number of this hand-out, from 1; counts released ones too.
    #[getter]
    fn attempt(&self) -> u32 {
        self.inner.attempt()
    }

    /// When the lease ends, in seconds since the epoch, if the wall clock does not jump.
    ///
    /// Follows what extends the lease in this process. In the year 2262 where the group hands
    /// out at most once: nobody takes the message back.
    #[getter]
    fn deadline(&self) -> f64 {
        in_seconds(self.deadline_ns())
    }

    /// When the lease ends, in nanoseconds since the epoch.
    #[getter]
    fn deadline_ns(&self) -> i64 {
        match self.extended_ns.load(Ordering::Relaxed) {
            own if own == 0 || self.inner.follows_extensions() => self.inner.deadline_ns(),
            own => own,
        }
    }

    /// Say that work on it begins; iterating and `with` do so.
    ///
    /// If this process dies, only started deliveries of a batch are charged with a failure, or all
    /// of it if none was started.
    fn start(&self) {
        self.inner.start();
    }

    /// Acknowledge: the message is done; raises `StaleReceipt` if the lease was lost.
    fn ack(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::settle(slf, &|consumer, receipts| consumer.ack(receipts))
    }

    /// Fail the message: it comes back after `delay` seconds, or the group's backoff.
    #[pyo3(signature = (delay=None, error=None))]
    fn nack(slf: &Bound<'_, Self>, delay: Option<f64>, error: Option<&str>) -> PyResult<()> {
        let seconds = |delay| convert::seconds(slf.py(), "delay", delay);
        let delay = delay.map(seconds).transpose()?;
        Self::settle(slf, &|consumer, receipts| {
            consumer.nack(receipts, delay, error)
        })
    }

    /// Hand the message back, uncounted; it is ready at once.
    fn release(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::settle(slf, &|consumer, receipts| consumer.release(receipts))
    }

    /// Let the lease end so many seconds from now.
    fn extend(slf: &Bound<'_, Self>, seconds: f64) -> PyResult<()> {
        let lease = convert::seconds(slf.py(), "seconds", seconds)?;
        let (consumer, this) = (&slf.get().consumer, [slf.as_any().clone()]);
        consumer::extend(slf.py(), consumer, &this, lease)
    }

    /// Give up on the message now: it becomes a dead letter.
    fn dead_letter(slf: &Bound<'_, Self>, reason: &str) -> PyResult<()> {
        Self::settle(slf, &|consumer, receipts| {
            consumer.dead_letter(receipts, reason)
        })
    }

    fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf.get().inner.start();
        slf
    }

    #[pyo3(signature = (exc_type, exc, traceback))]
    fn __exit__(
        slf: &Bound<'_, Self>,
        exc_type: Option<&Bound<'_, PyAny>>,
        exc: Option<&Bound<'_, PyAny>>,
        traceback: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let _ = traceback;
        if slf.get().settled.load(Ordering::Relaxed) {
            return Ok(());
        }
        let Some(class) = exc_type else {
            return Self::ack(slf);
        };
        if !class.cast::<PyType>()?.is_subclass_of::<PyException>()? {
            // Ctrl-C, an exit, the end of a generator: that was not the message's fault.
            return Self::release(slf).or(Ok(()));
        }
        let name = class.getattr(intern!(class.py(), "__name__"))?.to_string();
        let text = exc.map(ToString::to_string).unwrap_or_default();
        let error = format!("{name}: {text}");
        match Self::nack(slf, None, Some(error.trim_end_matches(": "))) {
            // The exception that is on its way says more than that the lease was lost meanwhile.
            Err(_) | Ok(()) => Ok(()),
        }
    }

    fn __repr__(&self) -> String {
        format!(
            "<libqueue.Delivery {}/{} offset {} attempt {}>",
            self.topic,
            self.inner.partition(),
            self.inner.offset(),
            self.inner.attempt()
        )
    }
});
