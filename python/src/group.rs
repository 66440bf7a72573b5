//! Groups and their dead letters.

use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::convert;
use crate::delivery::ReadMessage;
use crate::errors::OrRaise;
use crate::options;
use crate::stats;

/// A group, to look at and to manage. Made by `Topic.group` and `Topic.create_group`.
#[pyclass(frozen, module = "libqueue")]
pub(crate) struct Group {
    inner: libqueue::Group,
}

impl Group {
    pub(crate) fn of(group: libqueue::Group) -> Self {
        Self {
            inner: group.uncounted(),
        }
    }
}

/// A dead letter of a group: the message, and its story.
#[pyclass(frozen, get_all, module = "libqueue")]
pub(crate) struct DeadLetter {
    /// The dead letter itself, with its id in the dead-letter topic.
    message: Py<ReadMessage>,
    /// The partition it was in.
    source_partition: u32,
    /// The offset it had.
    source_offset: u64,
    /// How often it was handed out.
    attempts: u32,
    /// How many of those failed.
    failures: u32,
    /// The last error.
    error: String,
    /// The last consumer.
    consumer: String,
}

#[pymethods]
impl DeadLetter {
    fn __repr__(&self) -> String {
        format!(
            "<libqueue.DeadLetter of {}/{} after {} failures: {}>",
            self.source_partition, self.source_offset, self.failures, self.error
        )
    }
}

#[pymethods]
impl Group {
    /// Return where the group stands: its lag, what is leased, delayed, dead-lettered.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let found = py.detach(|| self.inner.stats()).or_raise(py)?;
        stats::group(py, &found)
    }

    /// Return up to `limit` dead letters of this group, oldest first.
    #[pyo3(signature = (limit=None))]
    fn dead_letters(
        &self,
        py: Python<'_>,
        #[pyo3(from_py_with = convert::limit)] limit: Option<usize>,
    ) -> PyResult<Vec<DeadLetter>> {
        let limit = limit.unwrap_or(usize::MAX);
        let found = py.detach(|| self.inner.dead_letters(limit)).or_raise(py)?;
        let topic = self.inner.dead_letter_topic().unwrap_or_default().into();
        found
            .into_iter()
            .map(|dead| {
                Ok(DeadLetter {
                    message: Py::new(py, ReadMessage::of(dead.message, &topic))?,
                    source_partition: dead.source_partition,
                    source_offset: dead.source_offset,
                    attempts: dead.attempts,
                    failures: dead.failures,
                    error: dead.error,
                    consumer: dead.consumer,
                })
            })
            .collect()
    }

    /// The group's name.
    #[getter]
    fn name(&self) -> &str {
        self.inner.name()
    }

    /// The stored configuration.
    #[getter]
    fn config<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let config = self.inner.config();
        options::group_dict(py, &config, self.inner.dead_letter_topic())
    }

    fn __repr__(&self) -> String {
        format!("<libqueue.Group {:?}>", self.inner.name())
    }
}
