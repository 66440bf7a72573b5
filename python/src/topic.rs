//! Topics.

use std::sync::Arc;

use libqueue::{ConsumerOptions, ReaderOptions};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::consumer::Consumer;
use crate::convert;
use crate::errors::OrRaise;
use crate::group::Group;
use crate::message::MessageId;
use crate::options;
use crate::reader::Reader;
use crate::send::{self, Extras};
use crate::stats;

/// A named stream of messages. Made by `Store.topic`. May be used from several threads.
#[pyclass(frozen, module = "libqueue")]
pub(crate) struct Topic {
    inner: libqueue::Topic,
}

impl Topic {
    /// Python ends objects when it likes, so a topic does not keep its store from being closed.
    pub(crate) fn of(topic: libqueue::Topic) -> Self {
        Self {
            inner: topic.uncounted(),
        }
    }
}

#[pymethods]
impl Topic {
    #[pyo3(signature = (payload, *, key=None, headers=None, partition=None, timestamp=None))]
    fn send(
        &self,
        payload: &Bound<'_, PyAny>,
        key: Option<&Bound<'_, PyAny>>,
        headers: Option<&Bound<'_, PyDict>>,
        partition: Option<u32>,
        timestamp: Option<f64>,
    ) -> PyResult<MessageId> {
        let extras = Extras {
            key,
            headers,
            partition,
            timestamp,
        };
        send::one(&self.inner, payload, &extras)
    }

    fn send_many(&self, py: Python<'_>, messages: &Bound<'_, PyAny>) -> PyResult<Vec<MessageId>> {
        send::many(py, &self.inner, messages)
    }

    fn durable_offsets(&self) -> Vec<u64> {
        self.inner.durable_offsets()
    }

    #[pyo3(signature = (id, timeout=None))]
    fn wait_durable(&self, py: Python<'_>, id: &MessageId, timeout: Option<f64>) -> PyResult<()> {
        let id = libqueue::MessageId::from(id);
        let timeout = convert::timeout(py, timeout)?;
        py.detach(|| self.inner.wait_durable(id, timeout))
            .or_raise(py)
    }

    fn sync(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.inner.sync()).or_raise(py)
    }

    #[pyo3(signature = (group, *, name=None, **config))]
    fn consumer(
        &self,
        py: Python<'_>,
        group: &str,
        name: Option<String>,
        config: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Consumer> {
        let options = ConsumerOptions {
            group: options::group(py, config)?,
            name,
        };
        let consumer = py
            .detach(|| self.inner.consumer(group, &options))
            .or_raise(py)?;
        Ok(Consumer::of(Arc::new(consumer), self.inner.name()))
    }

    #[pyo3(signature = (name, **config))]
    fn create_group(
        &self,
        py: Python<'_>,
        name: &str,
        config: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Group> {
        let options = options::group(py, config)?;
        let group = py
            .detach(|| self.inner.create_group(name, &options))
            .or_raise(py)?;
        Ok(Group::of(group))
    }

    fn group(&self, py: Python<'_>, name: &str) -> PyResult<Group> {
        let group = py.detach(|| self.inner.group(name)).or_raise(py)?;
        Ok(Group::of(group))
    }

    fn groups(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        py.detach(|| self.inner.groups()).or_raise(py)
    }

    #[pyo3(signature = (start=None, partitions=None, *, follow=false))]
    fn reader(
        &self,
        py: Python<'_>,
        start: Option<&Bound<'_, PyAny>>,
        partitions: Option<Vec<u32>>,
        follow: bool,
    ) -> PyResult<Reader> {
        let start = start.map(options::start).transpose()?;
        let options = ReaderOptions {
            start: start.unwrap_or_default(),
            partitions,
            follow,
        };
        let reader = py.detach(|| self.inner.reader(&options)).or_raise(py)?;
        Ok(Reader::of(reader, self.inner.name(), follow))
    }

    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let found = py.detach(|| self.inner.stats()).or_raise(py)?;
        stats::topic(py, &found)
    }

    #[getter]
    fn config<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        options::topic_dict(py, &self.inner.config())
    }

    #[getter]
    fn name(&self) -> &str {
        self.inner.name()
    }

    #[getter]
    fn partitions(&self) -> u32 {
        self.inner.partitions()
    }

    fn __repr__(&self) -> String {
        format!("<libqueue.Topic {:?}>", self.inner.name())
    }
}
