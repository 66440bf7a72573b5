//! Stores.

use std::path::PathBuf;

use libqueue::StoreOptions;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::convert;
use crate::copy::{self, Place};
use crate::errors::OrRaise;
use crate::options;
use crate::stats;
use crate::topic::Topic;
use crate::transaction::Transaction;

/// A folder of topics that this process has open. Made by `libqueue.open`.
///
/// May be used from several threads. A context manager: leaving it closes the store.
#[pyclass(frozen, module = "libqueue")]
pub(crate) struct Store {
    inner: libqueue::Store,
}

/// Open the store in a folder, creating it where there is none.
///
/// `durability` says what a power loss may cost once `send` has returned: with `"process"` what the
/// kernel had not written back, with `"interval"` at most the last `sync_interval` (seconds, 0.01
/// by default), with `"sync"` nothing. A killed process never costs a message. `read_only` writes
/// nothing at all; `mode` are the permission bits of created files; `lock_timeout` is how long (in
/// seconds) to wait for a lock that a live process holds.
///
/// Raises `NotFound`, `NotAStore`, `Incompatible`, `NetworkFilesystem`, `PermissionDenied`,
/// `ReadOnly`, `Damaged`, `InvalidArgument` or `Stuck`; a store that cannot be opened is not
/// changed.
///
///     with libqueue.open("queue", durability="sync") as store:
///         store.topic("orders").send(b"paid")
#[pyfunction]
#[pyo3(signature = (
    path, *, create=true, read_only=false, durability="process", sync_interval=None, mode=0o660,
    lock_timeout=10.0
))]
#[expect(clippy::too_many_arguments, reason = "keyword arguments")]
pub(crate) fn open(
    py: Python<'_>,
    path: PathBuf,
    create: bool,
    read_only: bool,
    durability: &str,
    sync_interval: Option<f64>,
    #[pyo3(from_py_with = convert::mode)] mode: u32,
    lock_timeout: f64,
) -> PyResult<Store> {
    let options = StoreOptions {
        create: create && !read_only,
        read_only,
        durability: options::durability(py, durability, sync_interval)?,
        mode,
        lock_timeout: convert::seconds(py, "lock_timeout", lock_timeout)?,
    };
    let inner = py
        .detach(|| libqueue::Store::open(path, options))
        .or_raise(py)?;
    Ok(Store { inner })
}

impl Store {
    /// What does the work.
    pub(crate) fn of_core(&self) -> &libqueue::Store {
        &self.inner
    }
}

#[pymethods]
impl Store {
    /// Open the topic, creating it where there is none.
    ///
    /// `partitions` is 1 to 1024 (1 by default); `durability` overrides the store's;
    /// `max_message_bytes` limits key, headers and payload of a message (1 GiB by default).
    /// `max_messages` and `max_bytes` limit what some group has not settled, 0 for no limit;
    /// `on_full` says what becomes of more (`"reject"`, `"block"`, `"throttle"`, `"drop_oldest"`),
    /// `send_timeout` how many seconds a send waits for room, `low_mark` and `high_mark` (50, 90)
    /// between how many percent of the limit senders are slowed; `min_free_bytes` is left free on
    /// the disk. An existing topic keeps its stored configuration: an argument that contradicts it
    /// raises `ConfigMismatch`. A name that cannot be a topic's raises `InvalidName`.
    ///
    /// `dedup_window` is for how long a `dedup_id` keeps its message from being sent again:
    /// seconds, `"until_settled"` (until every group has settled the message), or 0, the default,
    /// which refuses them.
    ///
    /// Whole segments of messages are removed by `retention`: "settled" (the default) as soon as
    /// every group has settled them, never while there is no group; a number of seconds once their
    /// last message is so old, settled or not; "forever" never. `retention_bytes` removes the
    /// oldest, settled or not, beyond so many bytes on disk; 0, the default, is no limit. What a
    /// time or the bytes take from a group that has not settled it is counted as `lost_messages`
    /// of the group, or, with `on_lost="dead_letter"`, becomes its dead letters first.
    ///
    ///     store.topic("clicks", retention=7 * 86_400, retention_bytes=10 << 30)
    ///
    /// With `compaction=True` only the last message of each key is kept, at its offset, and what
    /// has no key: of segments that every group has settled, housekeeping takes the rest. A
    /// message with a key and an empty payload is a tombstone, which goes too, `tombstone_grace`
    /// seconds (a day by default) after it was sent. `retention` then is "forever" unless seconds
    /// are given; "settled" is refused.
    ///
    ///     store.topic("prices", compaction=True, tombstone_grace=3600)
    #[pyo3(signature = (name, **config))]
    fn topic(
        &self,
        py: Python<'_>,
        name: &str,
        config: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Topic> {
        let options = options::topic(py, config)?;
        let topic = py
            .detach(|| self.inner.topic(name, &options))
            .or_raise(py)?;
        Ok(Topic::of(topic))
    }

    /// Create the topic; as `topic`, but raises `AlreadyExists` if there is one.
    #[pyo3(signature = (name, **config))]
    fn create_topic(
        &self,
        py: Python<'_>,
        name: &str,
        config: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Topic> {
        let options = options::topic(py, config)?;
        let topic = py
            .detach(|| self.inner.create_topic(name, &options))
            .or_raise(py)?;
        Ok(Topic::of(topic))
    }

    /// Open an existing topic; raises `NotFound` if there is none.
    fn open_topic(&self, py: Python<'_>, name: &str) -> PyResult<Topic> {
        let topic = py.detach(|| self.inner.open_topic(name)).or_raise(py)?;
        Ok(Topic::of(topic))
    }

    /// Delete a topic: its messages, its groups and their positions, durably.
    ///
    /// Whoever has it open in any process gets `NotFound` from the next call on, and so does who
    /// waits for messages; deliveries and views stay good. Topics that its groups' dead letters are
    /// in stay. Raises `NotFound` where there is none, and `Busy` where a group of another topic
    /// has its dead letters in it.
    ///
    ///     store.delete_topic("trial")
    fn delete_topic(&self, py: Python<'_>, name: &str) -> PyResult<()> {
        py.detach(|| self.inner.delete_topic(name)).or_raise(py)
    }

    /// Begin a transaction: deliveries are settled and messages sent, all or nothing.
    ///
    /// Leaving it cleanly commits it, an exception drops all of it. Raises `ReadOnly`.
    ///
    ///     with store.transaction() as tx:
    ///         tx.send(invoices, b"invoice", key=delivery.key)
    ///         tx.ack(delivery)
    fn transaction(&self, py: Python<'_>) -> PyResult<Transaction> {
        let begun = py.detach(|| self.inner.transaction()).or_raise(py)?;
        Ok(Transaction::of(begun))
    }

    /// Return the names of the topics, sorted.
    fn topics(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        py.detach(|| self.inner.topics()).or_raise(py)
    }

    /// Return the numbers of the store: topics, members (openings), bytes on disk.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let found = py.detach(|| self.inner.stats()).or_raise(py)?;
        stats::store(py, &found)
    }

    /// Put on disk all that was sent to the topics that this process has open.
    fn sync(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.inner.sync()).or_raise(py)
    }

    /// Copy the store into a new folder while it is in use: a store of its own.
    ///
    /// It has the same ids, offsets, configuration, positions and dead letters. Nobody waits for
    /// it. It holds what had been sent when the call began; what is settled meanwhile may come
    /// once more in the copy. Nobody has a lease there: what was handed out is ready, and has not
    /// failed. It gets its name once it is whole and on disk. `progress` is called now and then
    /// with the bytes that are done and those there are; an exception that it raises ends the
    /// backup and leaves nothing. Raises `AlreadyExists`, `InvalidArgument`, `NotFound`, `Busy`,
    /// `Damaged`, `ReadOnly` or `DiskFull`.
    ///
    ///     store.backup("queue-copy")["topics"]
    #[pyo3(signature = (path, progress=None))]
    fn backup<'py>(
        &self,
        py: Python<'py>,
        path: PathBuf,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyDict>> {
        copy::backup(py, &self.inner, &path, progress)
    }

    /// Write topics, or all, in the native format: with groups, positions and dead letters.
    ///
    /// `to` is a path, or anything with `write` that takes bytes. Taken at one moment, as a
    /// backup is, while the store is in use. A file gets its name once it is whole and on disk.
    /// The topics that dead letters of the groups are in go along. `progress` as of `backup`.
    /// Raises `NotFound`, `InvalidName`, `Damaged`, `Busy`, `ReadOnly` or `DiskFull`.
    ///
    ///     store.export_topics("orders.lqx", ["orders"])["messages"]
    #[pyo3(signature = (to, topics=None, *, progress=None))]
    fn export_topics<'py>(
        &self,
        py: Python<'py>,
        to: Place,
        topics: Option<Vec<String>>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let topics = topics.unwrap_or_default();
        copy::export(py, &self.inner, &to, &topics, progress)
    }

    /// Make the topics of an export in the native format, as they were.
    ///
    /// `source` is a path, or anything with `read`. Offsets, timestamps, groups, positions,
    /// snapshots and dead letters are kept, ids where they are free. All of it is read and
    /// checked before anything is seen of it; then each topic is there as a whole. A topic that
    /// exists is refused; with `append` its messages are sent to it instead, with new offsets and
    /// without groups. Raises `Damaged` with the place, `Incompatible`, `AlreadyExists`,
    /// `InvalidArgument`, `ReadOnly` or `DiskFull`.
    ///
    ///     store.import_topics("orders.lqx", append=True)["appended"]
    #[pyo3(signature = (source, *, append=false, progress=None))]
    fn import_topics<'py>(
        &self,
        py: Python<'py>,
        source: Place,
        append: bool,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyDict>> {
        copy::import(py, &self.inner, &source, append, progress)
    }

    /// Leave the store. Closing twice is fine.
    ///
    /// Raises `Busy`, naming them, while consumers or readers are open. Topics and groups need not
    /// be closed; used afterwards they raise `Closed`.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.inner.close()).or_raise(py)
    }

    /// The store's folder, absolute.
    #[getter]
    fn path(&self) -> PathBuf {
        self.inner.path().to_owned()
    }

    /// The store's id, which stays the same wherever its folder is moved.
    #[getter]
    fn id(&self, py: Python<'_>) -> PyResult<String> {
        py.detach(|| self.inner.id()).or_raise(py)
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
        format!("<libqueue.Store {}>", self.inner.path().display())
    }
}
