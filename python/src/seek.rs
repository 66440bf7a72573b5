//! Seeking a group, and its snapshots.

use libqueue::SeekTo;
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::options;

/// Where to, from what Python says; a text that is no end of the log names a snapshot.
pub(crate) enum To {
    Start(libqueue::Start),
    Snapshot(String),
}

impl To {
    pub(crate) fn of(value: &Bound<'_, PyAny>) -> PyResult<Self> {
        match value.cast::<PyString>() {
            Ok(name) if !["earliest", "latest"].contains(&name.to_str()?) => {
                Ok(Self::Snapshot(name.to_str()?.to_owned()))
            }
            _ => options::start(value).map(Self::Start),
        }
    }

    pub(crate) fn borrowed(&self) -> SeekTo<'_> {
        match self {
            Self::Start(start) => (*start).into(),
            Self::Snapshot(name) => SeekTo::Snapshot(name),
        }
    }
}

/// What a seek does to one partition of a group. Made by `Group.seek` and `Group.preview_seek`.
///
/// Messages are counted by their offsets.
#[pyclass(frozen, get_all, module = "libqueue")]
pub(crate) struct SeekPartition {
    /// The partition.
    partition: u32,
    /// The first offset that the group has not settled.
    position: u64,
    /// The first one that it has not settled afterwards.
    target: u64,
    /// Messages that it had settled, and gets again.
    again: u64,
    /// Messages that it had not settled, and does not get any more.
    passed_over: u64,
    /// Leases that become stale.
    stale_leases: u64,
    /// Messages that it would get, but that the log does not have any more.
    gone: u64,
}

impl SeekPartition {
    pub(crate) fn all(plan: libqueue::SeekPlan) -> Vec<Self> {
        let one = |one: libqueue::SeekPartition| Self {
            partition: one.partition,
            position: one.position,
            target: one.target,
            again: one.again,
            passed_over: one.passed_over,
            stale_leases: one.stale_leases,
            gone: one.gone,
        };
        plan.partitions.into_iter().map(one).collect()
    }
}

#[pymethods]
impl SeekPartition {
    fn __repr__(&self) -> String {
        format!(
            "<libqueue.SeekPartition {}: from {} to {}, {} again, {} passed over>",
            self.partition, self.position, self.target, self.again, self.passed_over
        )
    }
}

/// A snapshot of a group. Made by `Group.snapshot` and `Group.snapshots`.
#[pyclass(frozen, get_all, module = "libqueue")]
pub(crate) struct Snapshot {
    /// Its name.
    name: String,
    /// When it was taken, in seconds since the epoch.
    taken: f64,
    /// Messages that the group had taken in and not settled then.
    open: u64,
    /// Bytes of its file.
    bytes: u64,
    /// Whether it can be sought; false where its file is damaged.
    whole: bool,
}

impl Snapshot {
    pub(crate) fn of(found: libqueue::SnapshotInfo) -> Self {
        Self {
            name: found.name,
            taken: found.taken_ns as f64 / 1e9,
            open: found.open,
            bytes: found.bytes,
            whole: found.whole,
        }
    }
}

#[pymethods]
impl Snapshot {
    fn __repr__(&self) -> String {
        format!(
            "<libqueue.Snapshot {:?}: {} open messages>",
            self.name, self.open
        )
    }
}
