//! Transactions.

use std::sync::{Mutex, MutexGuard, PoisonError};

use libqueue::{Error, ErrorKind};
use pyo3::prelude::*;

use crate::consumer::listed;
use crate::convert;
use crate::delivery::Delivery;
use crate::errors::{OrRaise, raise_stale};
use crate::message::MessageId;
use crate::send::{self, Answered, Extras, Timing, answering};
use crate::topic::Topic;

/// Settles deliveries and sends messages, all or nothing. Made by `Store.transaction`.
///
/// For one thread at a time. A context manager: leaving it cleanly commits, an exception drops all
/// of it. Nothing happens before the commit, and nothing at all where the process dies before; once
/// it has returned, all of it survives `kill -9` of any process, and power loss where any of the
/// topics, sent to or consumed from, is `durability="sync"`. An open one keeps nobody from
/// anything.
///
///     with store.transaction() as tx:
///         tx.send(invoices, b"invoice", key=delivery.key)
///         tx.ack(delivery)
///     print(tx.ids)
#[pyclass(frozen, module = "libqueue")]
pub(crate) struct Transaction {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// `None` once it was committed or aborted.
    open: Option<libqueue::Transaction>,
    /// What it acknowledges, in order.
    deliveries: Vec<Py<PyAny>>,
    ids: Option<Vec<MessageId>>,
}

impl Transaction {
    /// Python ends objects when it likes, so one does not keep its store from being closed.
    pub(crate) fn of(begun: libqueue::Transaction) -> Self {
        let state = State {
            open: Some(begun.uncounted()),
            ..State::default()
        };
        Self {
            state: Mutex::new(state),
        }
    }

    /// Never held while anything is waited for, nor while Python code runs.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(
        &self,
        py: Python<'_>,
        add: impl FnOnce(&mut libqueue::Transaction) -> libqueue::Result<()>,
    ) -> PyResult<()> {
        let mut state = self.state();
        let added = state.open.as_mut().ok_or_else(over).and_then(add);
        drop(state);
        added.or_raise(py)
    }
}

#[cold]
fn over() -> Error {
    let message = "the transaction was committed, or dropped; begin another one";
    Error::new(ErrorKind::Closed, message)
}

#[pymethods]
impl Transaction {
    /// Send a message when it is committed; the arguments are those of `Topic.send`.
    ///
    /// Raises `TooLarge` above `max_message_bytes` of the topic, or where the transaction would
    /// have more than 16 MiB of messages or 10,000 operations; `InvalidArgument` for a topic of
    /// another store, or a message with a `dedup_id`; `NotFound` where the topic was deleted;
    /// `Closed` after a commit or abort. Then nothing is added.
    ///
    ///     tx.send(invoices, b"invoice", key=b"user-12345")
    #[pyo3(signature = (topic, payload, *, key=None, headers=None, partition=None, timestamp=None,
        delay=None, deliver_at=None, ttl=None, priority=0))]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments")]
    fn send(
        &self,
        topic: &Topic,
        payload: &Bound<'_, PyAny>,
        key: Option<&Bound<'_, PyAny>>,
        headers: Option<&Bound<'_, PyAny>>,
        #[pyo3(from_py_with = convert::partition)] partition: Option<u32>,
        timestamp: Option<f64>,
        delay: Option<f64>,
        deliver_at: Option<&Bound<'_, PyAny>>,
        ttl: Option<f64>,
        priority: i64,
    ) -> PyResult<()> {
        let py = payload.py();
        let timing = Timing::of(py, (delay, deliver_at, ttl), priority)?;
        let extras = Extras {
            key,
            headers,
            partition,
            timestamp,
            timing,
            dedup_id: None,
        };
        send::one_in(payload, &extras, |messages| {
            self.add(py, |open| open.send_many(&topic.inner, messages))
        })
    }

    /// Send several when it is committed; all are added, or on an error none.
    ///
    ///     tx.send_many(invoices, [b"a", libqueue.Message(b"b", key=b"k")])
    fn send_many(&self, topic: &Topic, messages: &Bound<'_, PyAny>) -> PyResult<()> {
        send::many_in(messages, |many| {
            self.add(messages.py(), |open| open.send_many(&topic.inner, many))
        })
    }

    /// Send a delivery's message to a topic as it is, with each of its headers.
    fn _send_on(&self, py: Python<'_>, topic: &Topic, delivery: &Delivery) -> PyResult<()> {
        let found = delivery.inner();
        let headers: Vec<(&str, &[u8])> = found.headers().collect();
        let message = libqueue::Message {
            key: found.key(),
            headers: &headers,
            ..libqueue::Message::new(found.payload())
        };
        self.add(py, |open| open.send(&topic.inner, &message))
    }

    /// Acknowledge one delivery, or several, when it is committed.
    ///
    /// Raises `InvalidArgument` for one of another store, or of a group that hands out at most
    /// once;
    /// `TooLarge` above 10,000 operations; `Closed` after a commit or abort.
    ///
    ///     tx.ack(delivery)
    fn ack(&self, deliveries: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = deliveries.py();
        for delivery in listed(deliveries)? {
            let known = delivery.cast::<Delivery>()?.clone();
            self.add(py, |open| open.ack(known.get().inner()))?;
            self.state().deliveries.push(known.into_any().unbind());
        }
        Ok(())
    }

    /// Do all of it; return the ids of the messages, in the order in which they were sent.
    ///
    /// On an error nothing happened, and the transaction is over: `StaleReceipt`, whose `.stale`
    /// lists the deliveries that were settled or handed out again meanwhile; `NotFound` where a
    /// topic or group was deleted; `DiskFull`, `Stuck`. With `sync`, an error that begins with "the
    /// transaction is done" says that it has happened, and is not on disk.
    ///
    /// Where it sends to topics with limits there is room in all of them, or it waits as they are
    /// configured: `Full`, `TooLarge`, or `Timeout` after their `send_timeout`.
    ///
    ///     ids = tx.commit()
    fn commit(&self, py: Python<'_>) -> PyResult<Vec<MessageId>> {
        let (open, deliveries) = {
            let mut state = self.state();
            (state.open.take(), std::mem::take(&mut state.deliveries))
        };
        let open = open.ok_or_else(over).or_raise(py)?;
        let bound: Vec<Bound<'_, PyAny>> =
            deliveries.iter().map(|one| one.bind(py).clone()).collect();
        let Answered { done, raised } = answering(py, |go_on| open.commit_while(go_on));
        let ids = match done {
            Ok(ids) => ids,
            Err(error) => return Err(raised.unwrap_or_else(|| raise_stale(py, &error, &bound))),
        };
        for one in &bound {
            // Nothing is left for the end of a `with`.
            one.cast::<Delivery>()?.get().set_settled();
        }
        let ids: Vec<MessageId> = ids.into_iter().map(MessageId::from).collect();
        self.state().ids = Some(ids.clone());
        // Now that it is known to have happened.
        raised.map_or(Ok(ids), Err)
    }

    /// Drop all of it. Twice, or after a commit, is fine.
    ///
    ///     tx.abort()
    fn abort(&self) {
        let dropped = {
            let mut state = self.state();
            (state.open.take(), std::mem::take(&mut state.deliveries))
        };
        drop(dropped);
    }

    /// The ids of the messages, once it was committed; None before, and after an abort.
    #[getter]
    fn ids(&self) -> Option<Vec<MessageId>> {
        self.state().ids.clone()
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    /// One that was committed or aborted inside is left at that.
    #[pyo3(signature = (exc_type, exc, traceback))]
    fn __exit__(
        &self,
        py: Python<'_>,
        exc_type: Option<&Bound<'_, PyAny>>,
        exc: Option<&Bound<'_, PyAny>>,
        traceback: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let _ = (exc, traceback);
        if exc_type.is_some() {
            self.abort();
        } else if self.state().open.is_some() {
            self.commit(py)?;
        }
        Ok(())
    }

    fn __repr__(&self) -> String {
        match &self.state().open {
            Some(open) => format!(
                "<libqueue.Transaction of {} messages and {} deliveries>",
                open.sends(),
                open.acks()
            ),
            None => "<libqueue.Transaction, over>".to_owned(),
        }
    }
}
