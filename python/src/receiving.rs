//! Receive calls, and those that an event loop drives.

use std::sync::{Arc, Mutex, TryLockError};
use std::time::Duration;

use libqueue::ReceiveOptions;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use crate::convert;
use crate::delivery::Delivery;
use crate::errors::OrRaise;

static LOOPS: PyOnceLock<Py<PyModule>> = PyOnceLock::new();

/// A function of `libqueue._aio`.
pub(crate) fn of_loops<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    let module =
        LOOPS.get_or_try_init(py, || PyResult::Ok(py.import("libqueue._aio")?.unbind()))?;
    module.bind(py).getattr(name)
}

/// The options of a receive call.
pub(crate) fn options(
    py: Python<'_>,
    max_messages: usize,
    timeout: Option<f64>,
    min_messages: usize,
    max_bytes: Option<u64>,
    lease: Option<f64>,
) -> PyResult<ReceiveOptions> {
    let lease = lease.map(|lease| convert::seconds(py, "lease", lease));
    Ok(ReceiveOptions {
        max_messages,
        min_messages,
        max_bytes,
        timeout: convert::timeout(py, timeout)?,
        lease: lease.transpose()?,
    })
}

/// Waits for a batch, answering signals.
pub(crate) fn wait(
    py: Python<'_>,
    consumer: &libqueue::Consumer,
    options: &ReceiveOptions,
) -> PyResult<Vec<libqueue::Delivery>> {
    // Where a signal's handler raises, what was gathered goes back with it.
    let mut receiving = consumer.receiving(options).or_raise(py)?;
    let step = |slice| consumer.gather(&mut receiving, Some(slice));
    let found = convert::in_slices(py, options.timeout, step, Option::is_some)?;
    Ok(found.unwrap_or_default())
}

/// A receive call that an event loop drives; see `libqueue._aio`.
#[pyclass(frozen, name = "_Receiving", module = "libqueue._native")]
pub(crate) struct Receiving {
    inner: Mutex<Option<libqueue::Receiving>>,
    consumer: Arc<libqueue::Consumer>,
    topic: Arc<str>,
}

impl Receiving {
    pub(crate) fn of(
        inner: libqueue::Receiving,
        consumer: &Arc<libqueue::Consumer>,
        topic: &Arc<str>,
    ) -> Self {
        Self {
            inner: Mutex::new(Some(inner)),
            consumer: consumer.clone(),
            topic: topic.clone(),
        }
    }

    /// Never waits: who has it may wait for the interpreter that we hold.
    fn with<T>(
        &self,
        act: impl FnOnce(&mut Option<libqueue::Receiving>) -> PyResult<T>,
    ) -> PyResult<T> {
        match self.inner.try_lock() {
            Ok(mut inner) => act(&mut inner),
            Err(TryLockError::Poisoned(inner)) => act(&mut inner.into_inner()),
            Err(TryLockError::WouldBlock) => Err(PyRuntimeError::new_err(
                "a receive call is driven by two threads; let each begin its own",
            )),
        }
    }
}

#[pymethods]
impl Receiving {
    /// Go on without waiting; None while it is to go on.
    fn poll(&self, py: Python<'_>) -> PyResult<Option<Vec<Delivery>>> {
        let found = self.with(|inner| match inner {
            None => Ok(Some(Vec::new())),
            Some(receiving) => {
                let now = Some(Duration::ZERO);
                let step = py.detach(|| self.consumer.gather(receiving, now));
                step.or_raise(py)
            }
        })?;
        let wrap = |delivery| Delivery::of(delivery, &self.consumer, &self.topic);
        Ok(found.map(|found| found.into_iter().map(wrap).collect()))
    }

    /// Seconds after which to poll at the latest.
    fn poll_within(&self) -> PyResult<f64> {
        self.with(|inner| {
            let within = inner.as_ref().and_then(libqueue::Receiving::poll_within);
            Ok(within.map_or(f64::INFINITY, |within| within.as_secs_f64()))
        })
    }

    /// Hand back what was gathered and not returned, uncounted.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let gone = self.with(|inner| Ok(inner.take()))?;
        py.detach(|| drop(gone));
        Ok(())
    }
}
