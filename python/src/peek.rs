//! What a look at a group finds: one message, and the group's consumers.

use std::sync::Arc;

use libqueue::MessageState;
use pyo3::prelude::*;

use crate::delivery::ReadMessage;

/// A message, and where it stands in a group. Made by `Group.peek`.
#[pyclass(frozen, get_all, module = "libqueue")]
pub(crate) struct Peeked {
    /// The message.
    message: Py<ReadMessage>,
    /// Where it stands in the group.
    ///
    /// One of `"fresh"`, `"ready"`, `"delayed"`, `"leased"`, `"held"` by an earlier message of its
    /// key, `"dying"` (on its way to the dead letters) and `"settled"`.
    state: &'static str,
    /// How often it was handed out, as far as the group remembers.
    attempts: u32,
    /// How many of those failed.
    failures: u32,
    /// When its lease or delay ends, in seconds since the epoch; None in other states.
    until: Option<f64>,
    /// Name of the consumer that it is handed out to; None in other states.
    consumer: Option<String>,
}

impl Peeked {
    pub(crate) fn of(py: Python<'_>, found: libqueue::Peeked, topic: &Arc<str>) -> PyResult<Self> {
        let (state, until) = match found.state {
            MessageState::Ready => ("ready", None),
            MessageState::Delayed(until) => ("delayed", Some(until)),
            MessageState::Leased(until) => ("leased", Some(until)),
            MessageState::Held => ("held", None),
            MessageState::Dying => ("dying", None),
            MessageState::Settled => ("settled", None),
            MessageState::Holding => ("holding", None),
            _ => ("fresh", None),
        };
        Ok(Self {
            message: Py::new(py, ReadMessage::of(found.message, topic))?,
            state,
            attempts: found.attempts,
            failures: found.failures,
            until: until.map(|ns| ns as f64 / 1e9),
            consumer: (!found.consumer.is_empty()).then_some(found.consumer),
        })
    }
}

#[pymethods]
impl Peeked {
    fn __repr__(&self) -> String {
        format!(
            "<libqueue.Peeked {} after {} attempts>",
            self.state, self.attempts
        )
    }
}

/// A consumer of a group, and what it did since it was opened. Made by `Group.consumers`.
///
/// One that fails what others manage has a larger part of `failed` in `delivered` than they.
#[pyclass(frozen, get_all, module = "libqueue")]
pub(crate) struct ConsumerStats {
    /// Its name.
    name: String,
    /// Id of its process, as its own container numbers it.
    process: u32,
    /// Messages that it has now.
    leased: u64,
    /// Messages that it was handed, each as often as it was.
    delivered: u64,
    /// Those that were acknowledged while it had them.
    acked: u64,
    /// Those that failed in its hands: nacks, leases that ran out, messages that it gave up.
    failed: u64,
    /// The part of `failed` in `delivered`, 0 to 1.
    failed_share: f64,
    /// That part of all other consumers of the group together; 0 where there are none.
    others_failed_share: f64,
    /// Whether it fails what others manage.
    ///
    /// 5 messages or more failed in its hands, and its share is more than twice that of the others
    /// and a twentieth. Never where there are no others.
    stands_out: bool,
}

impl ConsumerStats {
    pub(crate) fn of(found: libqueue::ConsumerStats) -> Self {
        Self {
            name: found.name,
            process: found.process,
            leased: found.leased,
            delivered: found.delivered,
            acked: found.acked,
            failed: found.failed,
            failed_share: found.failed_share,
            others_failed_share: found.others_failed_share,
            stands_out: found.stands_out,
        }
    }
}

#[pymethods]
impl ConsumerStats {
    fn __repr__(&self) -> String {
        format!(
            "<libqueue.ConsumerStats {:?}: {} of {} failed>",
            self.name, self.failed, self.delivered
        )
    }
}
