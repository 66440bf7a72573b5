//! Topics.

use std::sync::Arc;

use libqueue::{ConsumerOptions, ErrorKind, ReaderOptions};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::consumer::Consumer;
use crate::convert;
use crate::errors::OrRaise;
use crate::group::Group;
use crate::message::MessageId;
use crate::options;
use crate::producer::Producer;
use crate::reader::Reader;
use crate::send::{self, Extras, Timing};
use crate::stats;

/// A named stream of messages. Made by `Store.topic`. May be used from several threads.
#[pyclass(frozen, module = "libqueue")]
pub(crate) struct Topic {
    pub(crate) inner: libqueue::Topic,
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
    /// Send one message; return its id once it survives `kill -9` of any process.
    ///
    /// What a power loss may cost is the topic's durability. Messages of one `key` keep their order
    /// and go to one partition (murmur2, as Apache Kafka's); without a key the partitions take
    /// turns. `timestamp` is in seconds since the epoch, now by default, and is raised to that of
    /// the partition's last message if it is below.
    ///
    /// For `delay` seconds, or until `deliver_at` (seconds since the epoch, or a datetime; no upper
    /// limit), no group hands it out; then it joins its key's order. After `ttl` seconds nobody is
    /// handed it any more: it is settled, and counted as expired. Of the messages that are ready in
    /// a group those with the highest `priority`, 0 to 9, come first, but for the order
    /// within a key.
    ///
    /// Under a `dedup_id`, a text or 1 to 255 bytes, it is sent once: within the topic's
    /// `dedup_window` another send with the same id returns the first one's id and appends nothing.
    /// So it may be sent again after an error, a timeout or a kill.
    ///
    /// In a topic with a limit that it has reached it raises `Full`, waits for room, or makes some,
    /// as the topic's `on_full` says. `timeout` in seconds is how long it waits for room, instead
    /// of the topic's `send_timeout`, and answers Ctrl-C; then it raises `Timeout`.
    ///
    /// Raises `TooLarge`, `Full`, `DiskFull`, `IoError`, `Poisoned`, `ReadOnly`, `InvalidArgument`
    /// (no such partition), `Stuck` or `Closed`; then the message is not in the log.
    ///
    ///     topic.send(b"paid", key=b"user-12345", headers={"trace": b"42"}, timeout=5.0)
    #[pyo3(signature = (payload, *, key=None, headers=None, partition=None, timestamp=None,
        delay=None, deliver_at=None, ttl=None, priority=0, timeout=None, dedup_id=None))]
    #[allow(clippy::too_many_arguments)]
    fn send(
        &self,
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
    ) -> PyResult<MessageId> {
        let timing = Timing::of(payload.py(), (delay, deliver_at, ttl), priority)?;
        let extras = Extras {
            key,
            headers,
            partition,
            timestamp,
            timing,
            dedup_id,
        };
        send::one(&self.inner, payload, &extras, timeout)
    }

    /// Send all or, on an error, none: one lock and one publish for each partition.
    ///
    /// A batch for several partitions is whole in each of them. A death in the middle of the call
    /// may leave the parts of some partitions in the log and not the others', and a failed sync may
    /// take some back and not others: then the error names the partitions whose part is in the log.
    ///
    /// `timeout` is that of `send`: there is room for all of them, or none is sent.
    ///
    /// topic.send_many([b"a", libqueue.Message(b"b", key=b"k")])
    #[pyo3(signature = (messages, *, timeout=None))]
    fn send_many(
        &self,
        py: Python<'_>,
        messages: &Bound<'_, PyAny>,
        timeout: Option<f64>,
    ) -> PyResult<Vec<MessageId>> {
        send::many(py, &self.inner, messages, timeout)
    }

    /// How full the topic is, from 0.0 to 1.0; 0.0 without a limit, 1.0 where it takes nothing.
    ///
    /// What is not settled as a part of `max_messages` or `max_bytes`, of the one that is nearer.
    /// It is read from shared memory, without a system call; the first time, and the first after
    /// the topic has another group, the groups' files are looked at.
    ///
    ///     if topic.pressure > 0.8:
    ///         time.sleep(0.1)
    #[getter]
    fn pressure(&self, py: Python<'_>) -> PyResult<f64> {
        self.inner.pressure().or_raise(py)
    }

    /// Open the named producer, which is created where there is none.
    ///
    /// Each of its messages has a sequence, and one that is sent again is not there twice, across
    /// restarts. Handles of the name that were opened before, in any process, raise `Fenced` from
    /// then on. Raises `InvalidName`, `ReadOnly` or `Stuck`.
    ///
    ///     with orders.producer("till-3") as till:
    ///         first = till.send(b"paid", 1)
    ///         again = till.send(b"paid", 1)
    ///         assert first == again
    fn producer(&self, py: Python<'_>, name: &str) -> PyResult<Producer> {
        let producer = py.detach(|| self.inner.producer(name)).or_raise(py)?;
        Ok(Producer::of(producer, self.inner.name()))
    }

    /// Return for each partition the first offset that a power loss may take.
    fn durable_offsets(&self) -> Vec<u64> {
        self.inner.durable_offsets()
    }

    /// Return once the message is on disk; raises `Timeout` after `timeout` seconds.
    ///
    /// `None` waits for ever; answers Ctrl-C. Raises `NotFound` for an id that was never sent,
    /// `InvalidArgument` for one of another topic, and `Poisoned` when the disk refuses.
    #[pyo3(signature = (id, timeout=None))]
    fn wait_durable(&self, py: Python<'_>, id: &MessageId, timeout: Option<f64>) -> PyResult<()> {
        let id = libqueue::MessageId::from(id);
        let timeout = convert::timeout(py, timeout)?;
        let step = |slice| match self.inner.wait_durable(id, Some(slice)) {
            Err(error) if error.kind() == ErrorKind::Timeout => Ok(Err(error)),
            waited => waited.map(Ok),
        };
        convert::in_slices(py, timeout, step, Result::is_ok)?.or_raise(py)
    }

    /// Put everything sent to the topic on disk.
    fn sync(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.inner.sync()).or_raise(py)
    }

    /// Open a consumer of a group, which is created where there is none.
    ///
    /// `name` is shown in dead letters. The configuration of the group: `ordering` is `"key"` (a
    /// message waits for the earlier ones of its key), `"partition"` (for all of its partition) or
    /// `"none"`; `lease` in seconds (30) is how long a message is handed out for; `max_lease`
    /// (None: no bound) is how long it may be leased in total, extensions included; `max_attempts`
    /// (5) is after how many failures it becomes a dead letter; `backoff` (1.0, 300.0, 2.0) is the
    /// first wait, the longest, and the factor; `dead_letter_topic` is `TOPIC.GROUP.dlq` by default
    /// and `None` drops; `on_expired` says whether what nobody was handed in time is settled
    /// (`"drop"`) or becomes a dead letter (`"dead_letter"`); `start` is where a new group begins
    /// (`"earliest"`); `window` (65,536) is how far it may run ahead of its oldest unsettled
    /// message; `brake`, as in `(100, 60.0)`, pauses the group when more than so many of its
    /// messages die within so many seconds (None: it has none); `on_dead_letter` says whether later
    /// messages of a dead letter's key go on (`"continue"`) or wait until it is redriven, and then
    /// comes first, or purged (`"hold_key"`). An existing group keeps its stored configuration: an
    /// argument that contradicts it raises `ConfigMismatch`.
    ///
    /// `filter` says which messages the group takes: a mapping of `key` (equal to a text or bytes;
    /// True for any key, False for none), `key_prefix`, `headers` (a mapping of names, each to what
    /// the header is equal to, `{"prefix": ...}`, True for there, False for absent), `any` and
    /// `all` (lists of filters) and `not` (a filter), all of which must hold; or the same as JSON,
    /// where `{"base64": ...}` stands for bytes. The others are settled for the group, and nobody
    /// is handed them. `{}` takes all. One that does not parse raises `InvalidFilter`.
    ///
    ///     europe = {"key_prefix": "eu-", "headers": {"kind": "sale", "test": False}}
    ///     topic.create_group("europe", filter=europe).config["filter"] == europe
    ///
    /// With `delivery="at_most_once"` each message is settled before it is handed out, as durably
    /// as the topic's durability says: none comes twice, and what a consumer was about to be handed
    /// when it died is lost. Then there is no `lease`, `max_lease`, `max_attempts`, `backoff`,
    /// `brake` or `hold_key`; `ack` does nothing, `nack` counts a failure, and `release`, `extend`
    /// and `dead_letter` raise `InvalidArgument`. The mode of a group never changes.
    ///
    ///     with topic.consumer("alarms", delivery="at_most_once") as consumer:
    ///         for delivery in consumer:
    ///             sound(delivery.payload)
    ///
    /// `consumer_lease` in seconds takes the place of the group's lease for what this consumer
    /// receives. `auto_extend` extends started deliveries, each at half of its lease, for as long
    /// as the `Delivery` lives and is not settled, at most for `max_lease` in total: a handler that
    /// hangs keeps its message until then.
    ///
    ///     with topic.consumer("billing", lease=60.0) as consumer:
    ///         for delivery in consumer:
    ///             with delivery:
    ///                 charge(delivery.payload)
    #[pyo3(signature = (
        group, *, name=None, consumer_lease=None, auto_extend=false, **config
    ))]
    fn consumer(
        &self,
        py: Python<'_>,
        group: &str,
        name: Option<String>,
        consumer_lease: Option<f64>,
        auto_extend: bool,
        config: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Consumer> {
        let lease = consumer_lease.map(|lease| convert::seconds(py, "consumer_lease", lease));
        let options = ConsumerOptions {
            group: options::group(py, config)?,
            name,
            lease: lease.transpose()?,
            auto_extend,
        };
        let consumer = py
            .detach(|| self.inner.consumer(group, &options))
            .or_raise(py)?;
        Ok(Consumer::of(Arc::new(consumer), self.inner.name()))
    }

    /// Open the group, creating it durably where there is none; see `consumer`.
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
        Ok(Group::of(group, self.inner.name()))
    }

    /// Open an existing group; raises `NotFound` if there is none.
    fn group(&self, py: Python<'_>, name: &str) -> PyResult<Group> {
        let group = py.detach(|| self.inner.group(name)).or_raise(py)?;
        Ok(Group::of(group, self.inner.name()))
    }

    /// Return the names of the topic's groups, sorted.
    fn groups(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        py.detach(|| self.inner.groups()).or_raise(py)
    }

    /// Open a reader, at the earliest message by default.
    ///
    /// A `start` that is an offset needs one partition to be named; at one behind the end it waits
    /// for that offset. With `follow` iteration waits at the end for more.
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

    /// Return what the topic holds: messages, bytes, segments, and the same by partition.
    ///
    /// `pinned_by` says what keeps the oldest segment from being removed: "group" (which has not
    /// settled all in it; `pinned_group` names it), "dead_letters" (of the group that it names as
    /// TOPIC/GROUP, if that is known), "retention" (its time is not over, it keeps all, or there is
    /// no group yet) or "nothing". `pinned_seconds` is the age of that segment's first message,
    /// `pinned_bytes` what would be removed if it were not kept. `compacted_messages` and
    /// `compacted_bytes` are what compaction took so far; `messages` counts those offsets too.
    ///
    /// `sent` and `sent_bytes` count what was sent, also what is gone since; `removed_messages` and
    /// `removed_bytes` what of it went with the segments that retention removed. `waiting_senders`
    /// wait for room now. `lock_waits` and `syncs`, and the seconds that they took, count since the
    /// first of those who have the store open now opened it. A rate is the difference of two looks.
    ///
    /// It waits for nobody who lives, and costs the same however much the topic holds.
    ///
    ///     orders.stats()["pinned_by"] == "group"
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let found = py.detach(|| self.inner.stats()).or_raise(py)?;
        stats::topic(py, &found)
    }

    /// Change the stored configuration, durably; what is not named stays.
    ///
    /// Every process goes by it from its next call on; what was sent before keeps what it was sent
    /// with. `partitions` cannot be changed: keys find their order by it. Raises `NotFound` where
    /// the topic was deleted.
    ///
    ///     topic.configure(durability="sync", max_message_bytes=1 << 20)
    #[pyo3(signature = (**changes))]
    fn configure(&self, py: Python<'_>, changes: Option<&Bound<'_, PyDict>>) -> PyResult<()> {
        let changes = options::topic(py, changes)?;
        py.detach(|| self.inner.configure(&changes)).or_raise(py)
    }

    /// The stored configuration.
    #[getter]
    fn config<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        options::topic_dict(py, &self.inner.config())
    }

    /// The topic's name.
    #[getter]
    fn name(&self) -> &str {
        self.inner.name()
    }

    /// The number of partitions.
    #[getter]
    fn partitions(&self) -> u32 {
        self.inner.partitions()
    }

    fn __repr__(&self) -> String {
        format!("<libqueue.Topic {:?}>", self.inner.name())
    }
}
