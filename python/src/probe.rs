//! What calling a native function takes, for `benches/`: the limit of a send from Python.

use pyo3::prelude::*;

use crate::convert;

/// Takes what `Topic.send` takes and does nothing. For the benches alone: no part of the package.
#[pyfunction]
#[pyo3(signature = (payload, *, key=None, headers=None, partition=None, timestamp=None,
    delay=None, deliver_at=None, ttl=None, priority=0, timeout=None, dedup_id=None))]
#[allow(clippy::too_many_arguments)]
pub(crate) fn _probe(
    payload: &Bound<'_, PyAny>,
    key: Option<&Bound<'_, PyAny>>,
    headers: Option<&Bound<'_, PyAny>>,
    #[pyo3(from_py_with = convert::partition)] partition: Option<u32>,
    timestamp: Option<f64>,
    delay: Option<f64>,
    deliver_at: Option<&Bound<'_, PyAny>>,
    ttl: Option<f64>,
    priority: i64,
    timeout: Option<f64>,
    dedup_id: Option<&Bound<'_, PyAny>>,
) {
    let references = (payload, key, headers, deliver_at, dedup_id);
    let numbers = (partition, timestamp, delay, ttl, priority, timeout);
    std::hint::black_box((references, numbers));
}
