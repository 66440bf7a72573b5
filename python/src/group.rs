//! Groups and their dead letters.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::convert;
use crate::delivery::ReadMessage;
use crate::errors::{OrRaise, raise_refused};
use crate::message::MessageId;
use crate::options;
use crate::peek::{ConsumerStats, Peeked};
use crate::seek::{SeekPartition, Snapshot, To};
use crate::stats;
use crate::wanted::Wanted;

/// A group, to look at and to manage. Made by `Topic.group` and `Topic.create_group`.
#[pyclass(frozen, module = "libqueue")]
pub(crate) struct Group {
    inner: libqueue::Group,
    topic: Arc<str>,
}

impl Group {
    pub(crate) fn of(group: libqueue::Group, topic: &str) -> Self {
        Self {
            inner: group.uncounted(),
            topic: topic.into(),
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
    /// The topic it was in.
    source_topic: String,
    /// The id it had.
    source_id: Py<MessageId>,
    /// When it first failed, in seconds since the epoch; None if that is not known.
    first_failed: Option<f64>,
    /// When it became a dead letter, in seconds since the epoch; None if that is not known.
    last_failed: Option<f64>,
    /// How often it came back dead from a redrive; 0 in its first dead letter.
    cycles: u32,
}

fn time(ns: i64) -> Option<f64> {
    (ns > 0).then_some(ns as f64 / 1e9)
}

fn ids_of(ids: &[Py<MessageId>]) -> Vec<libqueue::MessageId> {
    ids.iter().map(|id| id.get().into()).collect()
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
    ///
    /// Numbers that name a state are of now: `lag_messages`, `lag_bytes`, `lag_seconds`, `leased`,
    /// `delayed`, `held`, `ready`, `dying`, `holding`, `consumers`, `waiting_receivers` (threads
    /// that wait in a receive) and `window_used` (0 to 1; at 1 a message that is not settled keeps
    /// all behind it from being handed out). The others count since the group was made, but for
    /// `lock_waits` and `syncs` and the seconds that they took: since the first of those who have
    /// the store open now opened it.
    ///
    /// It waits for nobody who lives, and costs the same however far the group is behind.
    ///
    ///     billing = orders.group("billing")
    ///     before = billing.stats()["acked"]
    ///     time.sleep(1.0)
    ///     print(billing.stats()["acked"] - before, "acknowledged in a second")
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
                    source_topic: dead.source_topic,
                    source_id: Py::new(py, MessageId::from(dead.source_id))?,
                    first_failed: time(dead.first_failed_ns),
                    last_failed: time(dead.last_failed_ns),
                    cycles: dead.cycles,
                })
            })
            .collect()
    }

    /// Hand dead letters of this group out again, to its consumers and to nobody else; how many.
    ///
    /// `ids` are those of the letters as `dead_letters` shows them; without, all that are there.
    /// At most `limit`, oldest first, whose error has `error_contains` in it, whose key is `key`,
    /// that were in `partition`, that died at `failed_since` or later and before `failed_until`
    /// (seconds since the epoch, or a datetime), each as far as it is given; and at most `rate` in
    /// a second. `progress(done, of)` is called after some, and ends the call early where it
    /// returns False. Each is the message that it was, with its own id, key, headers, payload and
    /// timestamp, and a header `lq-cycles`, unless it held its key (`on_dead_letter="hold_key"`):
    /// then it has its own headers alone. It comes before fresh ones, its failures begin at 0.
    ///
    /// Raises `NotFound` whose `.refused` lists ids that are no dead letters of this group now; the
    /// others are redriven all the same.
    ///
    ///     group.redrive(limit=100, error_contains="timeout", rate=10)
    ///     group.redrive(key=b"order-1", failed_since=time.time() - 3600)
    #[pyo3(signature = (
        ids=None, limit=None, *, rate=None, error_contains=None, progress=None, key=None,
        partition=None, failed_since=None, failed_until=None
    ))]
    #[allow(clippy::too_many_arguments)]
    fn redrive(
        &self,
        py: Python<'_>,
        ids: Option<Vec<Py<MessageId>>>,
        #[pyo3(from_py_with = convert::limit)] limit: Option<u64>,
        rate: Option<f64>,
        error_contains: Option<&str>,
        progress: Option<Py<PyAny>>,
        key: Option<&Bound<'_, PyAny>>,
        #[pyo3(from_py_with = convert::partition)] partition: Option<u32>,
        failed_since: Option<&Bound<'_, PyAny>>,
        failed_until: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<u64> {
        let known = ids.as_deref().map(ids_of);
        let wanted = Wanted::of(error_contains, key, partition, (failed_since, failed_until))?;
        let asked = wanted.asked();
        let wanted = |one: &libqueue::DeadLetterEntry| asked.wants(one);
        let (mut raised, mut last) = (None, None);
        let mut told = |done, of| {
            // Signals are answered whether or not anybody wants to know how far it is.
            let more = Python::attach(|py| -> PyResult<bool> {
                py.check_signals()?;
                match progress
                    .as_ref()
                    .filter(|_| last.replace(done) != Some(done))
                {
                    None => Ok(true),
                    Some(progress) => Ok(!progress
                        .call1(py, (done, of))?
                        .is(&*pyo3::types::PyBool::new(py, false))),
                }
            });
            more.unwrap_or_else(|error| {
                raised = Some(error);
                false
            })
        };
        let done = py.detach(|| {
            self.inner.redrive(libqueue::RedriveOptions {
                ids: known.as_deref(),
                limit,
                filter: Some(&wanted),
                rate,
                progress: Some(&mut told),
            })
        });
        if let Some(error) = raised {
            return Err(error);
        }
        done.map_err(|error| raise_refused(py, &error, ids.as_deref().unwrap_or_default()))
    }

    /// Give up on dead letters for good; how many.
    ///
    /// `ids` are those of the letters as `dead_letters` shows them; without, all that are there.
    /// They stay in their topic, for who reads that. What was redriven is left alone. Where a
    /// letter is damaged its message goes on holding the key that it held: `settle` ends that, by
    /// the message's id. Raises as `redrive`.
    ///
    ///     group.purge_dead_letters([dead.message.id for dead in group.dead_letters(10)])
    #[pyo3(signature = (ids=None))]
    fn purge_dead_letters(&self, py: Python<'_>, ids: Option<Vec<Py<MessageId>>>) -> PyResult<u64> {
        let known = ids.as_deref().map(ids_of);
        py.detach(|| self.inner.purge_dead_letters(known.as_deref()))
            .map_err(|error| raise_refused(py, &error, ids.as_deref().unwrap_or_default()))
    }

    /// Set the group to a place, in all partitions or in one, while its consumers are at work.
    ///
    /// `to` is `"earliest"`, `"latest"`, an offset (of one partition, which is to be named where
    /// there are several), a datetime (the first message that was appended then or later) or the
    /// name of a snapshot. What is before the place counts as settled, what is behind it comes,
    /// with no attempts and no failures; to a snapshot, what was settled then counts as settled,
    /// and all else comes with the attempts and failures that it had. Durable, and in force in all
    /// processes, before the call returns. Leases from before are stale. Returns what it does to
    /// each partition, as it was counted a moment before.
    ///
    /// Raises `Removed` for an offset that retention took, `InvalidArgument` for one behind the
    /// end, `NotFound` for an unknown snapshot; the group is where it was then. `gone` counts the
    /// messages of a snapshot that are missing, or of a file that was lost.
    ///
    ///     group.seek(datetime.now() - timedelta(hours=1))
    #[pyo3(signature = (to, *, partition=None))]
    fn seek(
        &self,
        py: Python<'_>,
        to: &Bound<'_, PyAny>,
        #[pyo3(from_py_with = convert::partition)] partition: Option<u32>,
    ) -> PyResult<Vec<SeekPartition>> {
        let to = To::of(to)?;
        let done = py.detach(|| self.inner.seek(to.borrowed(), partition));
        done.or_raise(py).map(SeekPartition::all)
    }

    /// Return what `seek` would do now, which is not done. Raises as `seek`.
    ///
    ///     sum(one.again for one in group.preview_seek("earliest"))
    #[pyo3(signature = (to, *, partition=None))]
    fn preview_seek(
        &self,
        py: Python<'_>,
        to: &Bound<'_, PyAny>,
        #[pyo3(from_py_with = convert::partition)] partition: Option<u32>,
    ) -> PyResult<Vec<SeekPartition>> {
        let to = To::of(to)?;
        let found = py.detach(|| self.inner.preview_seek(to.borrowed(), partition));
        found.or_raise(py).map(SeekPartition::all)
    }

    /// Take a snapshot of where the group stands, to go back to with `seek`.
    ///
    /// It says which messages of each partition are settled, and the attempts and failures of those
    /// that are not, at one point of each. On disk before the call returns, and deleted with the
    /// group. Raises `AlreadyExists` for a name that is taken, `InvalidName` for one that does not
    /// begin with a letter or is `"earliest"` or `"latest"`, and `TooMany` for more than 100 of a
    /// group.
    ///
    ///     group.snapshot("before-deploy")
    #[pyo3(signature = (name))]
    fn snapshot(&self, py: Python<'_>, name: &str) -> PyResult<Snapshot> {
        let taken = py.detach(|| self.inner.snapshot(name));
        taken.or_raise(py).map(Snapshot::of)
    }

    /// Return the snapshots of the group, by name; a damaged one is listed, with `whole` false.
    ///
    ///     [one.name for one in group.snapshots()]
    fn snapshots(&self, py: Python<'_>) -> PyResult<Vec<Snapshot>> {
        let found = py.detach(|| self.inner.snapshots()).or_raise(py)?;
        Ok(found.into_iter().map(Snapshot::of).collect())
    }

    /// Delete a snapshot, durably.
    ///
    /// Raises `NotFound` where there is none of the name, and `Busy` while a seek to it cannot be
    /// done with, as on a full disk.
    #[pyo3(signature = (name))]
    fn delete_snapshot(&self, py: Python<'_>, name: &str) -> PyResult<()> {
        py.detach(|| self.inner.delete_snapshot(name)).or_raise(py)
    }

    /// Change the stored configuration, durably; what is not named stays.
    ///
    /// Every process goes by it from its next call on; leases that are out keep their time.
    /// `window` and `delivery` cannot be changed: the layout of the group's files depends on the
    /// one, and what was handed out on the other. Another `ordering` than `"none"` raises `Busy`
    /// while messages are taken in and not settled. Another `dead_letter_topic`, or None, raises
    /// `Busy` while dead letters are left in the former one, where nobody would list them any more:
    /// redrive and settle them, or purge them, before. `max_lease` holds for consumers that are
    /// opened from then on, and None leaves it as it is. Another `filter` holds for messages that
    /// the group has not looked at yet; `{}` takes it off. `brake=None` takes the brake off.
    ///
    ///     topic.group("billing").configure(lease=120.0, max_attempts=10)
    #[pyo3(signature = (**changes))]
    fn configure(&self, py: Python<'_>, changes: Option<&Bound<'_, PyDict>>) -> PyResult<()> {
        let changes = options::group(py, changes)?;
        py.detach(|| self.inner.configure(&changes)).or_raise(py)
    }

    /// Stop handing out, in all processes, until `resume`: durably, also when everyone leaves.
    ///
    /// Receive calls wait as at an empty topic. What is out can be settled; leases and delays go on
    /// running. `stats()` tells of it: `paused`, `paused_by` (`"user"`, or `"brake"` where too many
    /// messages died) and `paused_at`. Pausing twice is fine.
    fn pause(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.inner.pause()).or_raise(py)
    }

    /// Hand out again, durably, and wake those who wait. Resuming twice is fine.
    ///
    /// What died before counts for the brake no more.
    ///
    ///     if group.stats()["paused_by"] == "brake":
    ///         group.resume()
    fn resume(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.inner.resume()).or_raise(py)
    }

    /// Delete the group, durably, with its position and all that it counted.
    ///
    /// Messages stay in the topic, dead letters in theirs, where no group lists or redrives them
    /// any more. Its consumers, in all processes, raise `NotFound` at their next call; a group made
    /// later under the name is another one.
    fn delete(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.inner.delete()).or_raise(py)
    }

    /// Settle a message by its id, whoever has it; the receipt of its consumer is stale.
    ///
    /// It counts as acknowledged. Raises `StaleReceipt` where it is settled already, `Busy` where
    /// it is on its way to the dead letters, `NotFound` where it was never sent or is gone, and
    /// `Full` where it is further ahead than the group's window.
    ///
    ///     group.settle(group.peek(41).message.id)
    #[pyo3(signature = (id))]
    fn settle(&self, py: Python<'_>, id: &MessageId) -> PyResult<()> {
        let id = id.into();
        py.detach(|| self.inner.settle(id)).or_raise(py)
    }

    /// Have a message come back after `seconds`, at once where that is 0, whoever has it.
    ///
    /// It is taken from its consumer, whose receipt is stale, and goes on holding its key; nothing
    /// is counted. Raises as `settle`; `Busy` also where it waits for an earlier one of its key.
    #[pyo3(signature = (id, seconds))]
    fn delay(&self, py: Python<'_>, id: &MessageId, seconds: f64) -> PyResult<()> {
        let (id, delay) = (id.into(), convert::seconds(py, "seconds", seconds)?);
        py.detach(|| self.inner.delay(id, delay)).or_raise(py)
    }

    /// Give up on a message, whoever has it: it becomes a dead letter. Raises as `settle`.
    #[pyo3(signature = (id, reason))]
    fn dead_letter(&self, py: Python<'_>, id: &MessageId, reason: &str) -> PyResult<()> {
        let id = id.into();
        py.detach(|| self.inner.dead_letter(id, reason))
            .or_raise(py)
    }

    /// Look at a message, and at where it stands in this group, changing nothing.
    ///
    /// Raises `NotFound` where there is none at the offset, or one that is still being sent.
    ///
    ///     group.peek(41).state  # "leased"
    #[pyo3(signature = (offset, partition=0))]
    fn peek(
        &self,
        py: Python<'_>,
        #[pyo3(from_py_with = convert::offset)] offset: u64,
        #[pyo3(from_py_with = convert::in_partition)] partition: u32,
    ) -> PyResult<Peeked> {
        let found = py
            .detach(|| self.inner.peek(partition, offset))
            .or_raise(py)?;
        Peeked::of(py, found, &self.topic)
    }

    /// Return the group's consumers, in all processes, in the order of their names.
    ///
    ///     worst = max(group.consumers(), key=lambda one: one.failed)
    fn consumers(&self, py: Python<'_>) -> PyResult<Vec<ConsumerStats>> {
        let found = py.detach(|| self.inner.consumers()).or_raise(py)?;
        Ok(found.into_iter().map(ConsumerStats::of).collect())
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
