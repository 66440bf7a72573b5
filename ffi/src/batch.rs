//! Batches of messages, laid out for C.

use std::sync::atomic::{AtomicBool, Ordering};

use libqueue::{Delivery, ReadMessage, Result};

use crate::args::invalid;
use crate::error::lq_status;
use crate::handle::{Alone, Spare, Tag};
use crate::message::{lq_bytes, lq_header, lq_message_id, lq_receipt};
use crate::panic::{call, value};

/// A message that was received or read. It belongs to its batch, and so does all that it points to:
/// payload, key and headers lie in the mapped log and stay readable until the batch is freed, also
/// after the consumer, the topic and the store were closed.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct lq_delivery {
    /// The payload.
    pub payload: lq_bytes,
    /// The key; data is NULL where there is none, and not NULL for the empty key.
    pub key: lq_bytes,
    /// The headers; NULL where there are none.
    pub headers: *const lq_header,
    /// How many headers there are.
    pub headers_len: usize,
    /// Nanoseconds since the Unix epoch; never falls within a partition.
    pub timestamp_ns: i64,
    /// Number of the message in its partition, from 0.
    pub offset: u64,
    /// Partition of the topic, from 0.
    pub partition: u32,
    /// The number of this hand-out, from 1; counts released ones too. 0 from a reader.
    pub attempt: u32,
    /// The message's id.
    pub id: lq_message_id,
    /// When the lease ends, in nanoseconds since the Unix epoch, unless it is extended or the clock
    /// is set. 0 from a reader.
    pub deadline_ns: i64,
    /// What settles it. All zero from a reader: there is nothing to settle.
    pub receipt: lq_receipt,
}

/// The messages of one lq_receive or lq_reader_receive, at least one.
///
/// Lifetime: until lq_batch_free; it may outlive the consumer, the reader and the store. Threads:
/// one at a time.
pub struct lq_batch(());

enum Source {
    Consumer {
        deliveries: Vec<Delivery>,
        /// Which of them were got. Getting one again takes no lock.
        started: Vec<AtomicBool>,
    },
    Reader {
        /// Only held: the views point into what these keep mapped.
        _messages: Vec<ReadMessage>,
    },
}

/// What a handle of a batch holds.
pub(crate) struct Batch {
    source: Source,
    views: Vec<lq_delivery>,
    /// The headers of all views, which point into it.
    _headers: Vec<lq_header>,
}

// SAFETY: the pointers of the views go to bytes of the mapped log, which `source` keeps mapped and
// nobody writes any more, and to `_headers`, which is never changed once it is made.
unsafe impl Send for Batch {}
// SAFETY: as above; all access is shared and only reads.
unsafe impl Sync for Batch {}

thread_local! {
    static SPARE: Spare<Batch> = const { Spare::none() };
}
static BATCHES: Alone<Batch> = Alone::new("lq_batch", Tag::Batch, &SPARE);

const NO_RECEIPT: lq_receipt = lq_receipt {
    id: lq_message_id {
        topic_id: 0,
        offset: 0,
        partition: 0,
        reserved: 0,
    },
    attempt: 0,
    epoch: 0,
};

impl Batch {
    /// A batch that a consumer received.
    pub(crate) fn of_deliveries(deliveries: Vec<Delivery>) -> Result<*mut lq_batch> {
        let mut views = Vec::with_capacity(deliveries.len());
        let headers = lay_out(deliveries.iter().map(|one| &**one), &mut views);
        for (view, delivery) in views.iter_mut().zip(&deliveries) {
            view.attempt = delivery.attempt();
            view.deadline_ns = delivery.deadline_ns();
            view.receipt = delivery.receipt().into();
        }
        BATCHES.open(Self {
            source: Source::Consumer {
                started: deliveries.iter().map(|_| AtomicBool::new(false)).collect(),
                deliveries,
            },
            views,
            _headers: headers,
        })
    }

    /// A batch that a reader read.
    pub(crate) fn of_messages(messages: Vec<ReadMessage>) -> Result<*mut lq_batch> {
        let mut views = Vec::with_capacity(messages.len());
        let headers = lay_out(messages.iter(), &mut views);
        BATCHES.open(Self {
            source: Source::Reader {
                _messages: messages,
            },
            views,
            _headers: headers,
        })
    }
}

/// Views of the messages, without what is of a hand-out, and the headers that they point to. All
/// point into the mapped log, which stays where it is when a message is moved.
pub(crate) fn lay_out<'a>(
    messages: impl Iterator<Item = &'a ReadMessage>,
    views: &mut Vec<lq_delivery>,
) -> Vec<lq_header> {
    let mut headers = Vec::new();
    for message in messages {
        let before = headers.len();
        headers.extend(message.headers().map(|(name, value)| lq_header {
            name: lq_bytes::of(name.as_bytes()),
            value: lq_bytes::of(value),
        }));
        views.push(lq_delivery {
            payload: lq_bytes::of(message.payload()),
            key: message.key().map_or(lq_bytes::NONE, lq_bytes::of),
            headers: std::ptr::null(),
            headers_len: headers.len() - before,
            timestamp_ns: message.timestamp_ns(),
            offset: message.offset(),
            partition: message.partition(),
            attempt: 0,
            id: message.id().into(),
            deadline_ns: 0,
            receipt: NO_RECEIPT,
        });
    }
    // Only now: the vector moved while it grew.
    let mut rest: &[lq_header] = &headers;
    for view in views.iter_mut().filter(|view| view.headers_len > 0) {
        let (mine, others) = rest.split_at(view.headers_len);
        view.headers = mine.as_ptr();
        rest = others;
    }
    headers
}

/// How many messages a batch has.
///
/// batch: the batch.
///
/// Returns: the number; 0 for NULL and for a batch that was freed.
/// Threads: one at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_batch_len(batch: *const lq_batch) -> usize {
    // SAFETY: the caller uses a batch in one thread at a time, so nobody frees it meanwhile.
    value(0, || Ok(unsafe { BATCHES.get(batch) }?.views.len()))
}

/// A message of a batch. From a consumer's batch, this says that work on the message begins: if
/// this process dies, only messages that were got are charged with a failure, or all of the batch
/// if none was.
///
/// batch: the batch.
/// i: the message's place, from 0.
///
/// Returns: the message; NULL where there is none at i, and for a batch that is NULL or freed, with
/// the reason in lq_last_error_message.
/// Memory: belongs to the batch; valid until it is freed.
/// Threads: one at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_batch_get(batch: *const lq_batch, i: usize) -> *const lq_delivery {
    value(std::ptr::null(), || {
        // SAFETY: the caller uses a batch in one thread at a time, so nobody frees it meanwhile.
        let batch = unsafe { BATCHES.get(batch) }?;
        let count = batch.views.len();
        let view = batch.views.get(i).ok_or_else(|| {
            invalid(format!(
                "i is {i}; expected below {count}, the length of the batch"
            ))
        })?;
        if let Source::Consumer {
            deliveries,
            started,
        } = &batch.source
            && !started[i].swap(true, Ordering::Relaxed)
        {
            deliveries[i].start();
        }
        Ok(std::ptr::from_ref(view))
    })
}

/// Frees a batch. What was not settled stays leased until its lease ends.
///
/// batch: the batch; NULL is fine.
///
/// Returns: LQ_OK; LQ_INVALID_ARGUMENT (it was freed before, or is no batch); LQ_INTERNAL.
/// Memory: the messages of the batch, and all that they point to, are no longer valid; receipts
/// are.
/// Threads: any, while no other uses the batch.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_batch_free(batch: *mut lq_batch) -> lq_status {
    // SAFETY: the caller uses a batch in one thread at a time: no other call is using it.
    call(|| unsafe { BATCHES.close(batch) })
}
