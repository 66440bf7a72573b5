//! Statistics as dicts, with the core's names.

use libqueue::{GroupStats, StoreStats, TopicStats};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

/// A store's numbers.
pub(crate) fn store<'py>(py: Python<'py>, stats: &StoreStats) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("topics", stats.topics)?;
    dict.set_item("members", stats.members)?;
    dict.set_item("disk_bytes", stats.disk_bytes)?;
    Ok(dict)
}

/// A topic's numbers, those of its partitions included.
pub(crate) fn topic<'py>(py: Python<'py>, stats: &TopicStats) -> PyResult<Bound<'py, PyDict>> {
    let partitions = PyList::empty(py);
    for partition in &stats.partitions {
        let dict = PyDict::new(py);
        dict.set_item("earliest_offset", partition.earliest_offset)?;
        dict.set_item("next_offset", partition.next_offset)?;
        dict.set_item("durable_offset", partition.durable_offset)?;
        dict.set_item("bytes", partition.bytes)?;
        dict.set_item("segments", partition.segments)?;
        dict.set_item("sent", partition.sent)?;
        dict.set_item("sent_bytes", partition.sent_bytes)?;
        partitions.append(dict)?;
    }
    let dict = PyDict::new(py);
    dict.set_item("messages", stats.messages)?;
    dict.set_item("bytes", stats.bytes)?;
    dict.set_item("segments", stats.segments)?;
    dict.set_item("partitions", partitions)?;
    dict.set_item("pinned_by", stats.pinned_by.kind())?;
    let group = Some(stats.pinned_by.group()).filter(|name| !name.is_empty());
    dict.set_item("pinned_group", group)?;
    dict.set_item("pinned_seconds", stats.pinned_seconds)?;
    dict.set_item("pinned_bytes", stats.pinned_bytes)?;
    dict.set_item("compacted_messages", stats.compacted_messages)?;
    dict.set_item("compacted_bytes", stats.compacted_bytes)?;
    dict.set_item("sent", stats.sent)?;
    dict.set_item("sent_bytes", stats.sent_bytes)?;
    dict.set_item("removed_messages", stats.removed_messages)?;
    dict.set_item("removed_bytes", stats.removed_bytes)?;
    dict.set_item("waiting_senders", stats.waiting_senders)?;
    dict.set_item("lock_waits", stats.lock_waits)?;
    dict.set_item("lock_wait_seconds", stats.lock_wait_seconds)?;
    dict.set_item("syncs", stats.syncs)?;
    dict.set_item("sync_seconds", stats.sync_seconds)?;
    dict.set_item("sync_longest_seconds", stats.sync_longest_seconds)?;
    Ok(dict)
}

/// A group's numbers.
pub(crate) fn group<'py>(py: Python<'py>, stats: &GroupStats) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("lag_messages", stats.lag_messages)?;
    dict.set_item("lag_bytes", stats.lag_bytes)?;
    dict.set_item("lag_seconds", stats.lag_seconds)?;
    for (name, value) in [
        ("leased", stats.leased),
        ("delayed", stats.delayed),
        ("held", stats.held),
        ("ready", stats.ready),
        ("holding", stats.holding),
        ("dead_lettered", stats.dead_lettered),
        ("timed_out", stats.timed_out),
        ("expired", stats.expired),
        ("lost_messages", stats.lost_messages),
        ("damaged", stats.damaged),
        ("delivered", stats.delivered),
        ("acked", stats.acked),
        ("failed", stats.failed),
        ("redelivered", stats.redelivered),
        ("consumers", stats.consumers),
        ("redriven", stats.redriven),
        ("purged", stats.purged),
        ("dropped", stats.dropped),
        ("dying", stats.dying),
        ("waiting_receivers", stats.waiting_receivers),
        ("lock_waits", stats.lock_waits),
        ("syncs", stats.syncs),
    ] {
        dict.set_item(name, value)?;
    }
    dict.set_item("window_used", stats.window_used)?;
    dict.set_item("lock_wait_seconds", stats.lock_wait_seconds)?;
    dict.set_item("sync_seconds", stats.sync_seconds)?;
    dict.set_item("sync_longest_seconds", stats.sync_longest_seconds)?;
    dict.set_item("paused", stats.paused)?;
    dict.set_item("filtered", stats.filtered)?;
    dict.set_item("paused_by", stats.paused_by.name())?;
    let at = stats.paused.then(|| stats.paused_at_ns as f64 / 1e9);
    dict.set_item("paused_at", at)?;
    Ok(dict)
}
