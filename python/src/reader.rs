//! Readers.

use std::sync::{Arc, Mutex, PoisonError};

use libqueue::{Error, ErrorKind};
use pyo3::prelude::*;

use crate::convert;
use crate::delivery::ReadMessage;
use crate::errors::OrRaise;
use crate::options;

/// A cursor without a group: sees everything, settles nothing. Made by `Topic.reader`.
///
/// For one thread at a time. A context manager. Iterating ends at the end, or waits there with
/// `follow=True`.
#[pyclass(frozen, module = "libqueue")]
pub(crate) struct Reader {
    inner: Mutex<Option<libqueue::Reader>>,
    topic: Arc<str>,
    follow: bool,
}

impl Reader {
    pub(crate) fn of(reader: libqueue::Reader, topic: &str, follow: bool) -> Self {
        Self {
            inner: Mutex::new(Some(reader)),
            topic: topic.into(),
            follow,
        }
    }

    /// With the reader, unless it was closed. Called without the interpreter.
    fn with<T>(
        &self,
        work: impl FnOnce(&mut libqueue::Reader) -> libqueue::Result<T>,
    ) -> libqueue::Result<T> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *inner {
            Some(reader) => work(reader),
            None => {
                let message = format!("the reader of topic {:?} is closed", &*self.topic);
                Err(Error::new(ErrorKind::Closed, message))
            }
        }
    }
}

#[pymethods]
impl Reader {
    /// Return up to `max_messages`, waiting for the first at most `timeout` seconds.
    ///
    /// `None` waits for ever, 0 does not wait; empty at the end. Answers Ctrl-C. Raises `Damaged`
    /// once for a record whose bytes are not what was sent, and goes on behind it.
    #[pyo3(signature = (max_messages=1, timeout=None))]
    fn receive(
        &self,
        py: Python<'_>,
        #[pyo3(from_py_with = convert::max_messages)] max_messages: usize,
        timeout: Option<f64>,
    ) -> PyResult<Vec<ReadMessage>> {
        let timeout = convert::timeout(py, timeout)?;
        let step = |slice| self.with(|reader| reader.receive(max_messages, Some(slice)));
        let found = convert::in_slices(py, timeout, step, |found| !found.is_empty())?;
        let wrap = |message| ReadMessage::of(message, &self.topic);
        Ok(found.into_iter().map(wrap).collect())
    }

    /// Move to the earliest or latest message, an offset (of one partition), or a time.
    ///
    /// An offset behind the end is waited for: what comes before it is passed over.
    fn seek(&self, start: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = start.py();
        let start = options::start(start)?;
        py.detach(|| self.with(|reader| reader.seek(start)))
            .or_raise(py)
    }

    /// End the reader. Closing twice is fine.
    fn close(&self, py: Python<'_>) {
        py.detach(|| {
            let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
            drop(inner.take());
        });
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<ReadMessage>> {
        let timeout = (!self.follow).then_some(std::time::Duration::ZERO);
        let step = |slice| self.with(|reader| reader.receive(1, Some(slice)));
        let found = convert::in_slices(py, timeout, step, |found| !found.is_empty())?;
        let next = found.into_iter().next();
        Ok(next.map(|message| ReadMessage::of(message, &self.topic)))
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (exc_type, exc, traceback))]
    fn __exit__(
        &self,
        py: Python<'_>,
        exc_type: Option<&Bound<'_, PyAny>>,
        exc: Option<&Bound<'_, PyAny>>,
        traceback: Option<&Bound<'_, PyAny>>,
    ) {
        let _ = (exc_type, exc, traceback);
        self.close(py);
    }

    fn __repr__(&self) -> String {
        format!("<libqueue.Reader of {}>", self.topic)
    }
}
