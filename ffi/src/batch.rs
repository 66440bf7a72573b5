//! Batches of messages, laid out for C.

use std::cell::Cell;

use libqueue::{Delivery, ReadMessage, Result};
use smallvec::SmallVec;

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
    Consumer(Vec<Delivery>),
    Reader {
        /// Only held: the views point into what these keep mapped.
        _messages: Vec<ReadMessage>,
    },
}

/// A message of a batch, as C sees it.
struct Shown {
    view: lq_delivery,
    /// Whether it was got. Getting it again takes no lock.
    got: Cell<bool>,
}

/// What a handle of a batch holds.
pub(crate) struct Batch {
    source: Source,
    /// A single one lies in the batch itself. C may hold its address, too: a batch stays where it
    /// is while its handle is open, and nothing is added to it or taken from it.
    shown: SmallVec<[Shown; 1]>,
    /// The headers of all views, which point into it.
    _headers: Vec<lq_header>,
}

// SAFETY: the pointers of the views go to bytes of the mapped log, which `source` keeps mapped and
// nobody writes any more, and to `_headers`, which is never changed once it is made and does not
// move with the batch.
unsafe impl Send for Batch {}

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
        let mut headers = Vec::new();
        let shown = lay_out(&deliveries, |delivery| {
            let (receipt, deadline_ns) = (delivery.receipt().into(), delivery.deadline_ns());
            view_of(delivery, &mut headers, receipt, deadline_ns)
        });
        Self::open(Source::Consumer(deliveries), shown, headers)
    }

    /// A batch that a reader read.
    pub(crate) fn of_messages(messages: Vec<ReadMessage>) -> Result<*mut lq_batch> {
        let mut headers = Vec::new();
        let shown = lay_out(&messages, |message| view(message, &mut headers));
        let source = Source::Reader {
            _messages: messages,
        };
        Self::open(source, shown, headers)
    }

    #[inline]
    fn open(
        source: Source,
        mut shown: SmallVec<[Shown; 1]>,
        headers: Vec<lq_header>,
    ) -> Result<*mut lq_batch> {
        point(shown.iter_mut().map(|one| &mut one.view), &headers);
        BATCHES.open(Self {
            source,
            shown,
            _headers: headers,
        })
    }
}

/// What C sees of messages, each by its view.
#[inline]
fn lay_out<T>(messages: &[T], mut view: impl FnMut(&T) -> lq_delivery) -> SmallVec<[Shown; 1]> {
    let mut show = |message| Shown {
        view: view(message),
        got: Cell::new(false),
    };
    // Collected into a `Vec`, many are written where they stay.
    match messages {
        [one] => SmallVec::from_buf([show(one)]),
        many => SmallVec::from_vec(many.iter().map(show).collect()),
    }
}

/// A view of a message, without what is of a hand-out. It points into the mapped log, which stays
/// where it is when the message is moved, but for its headers, which `point` shows it.
pub(crate) fn view(message: &ReadMessage, headers: &mut Vec<lq_header>) -> lq_delivery {
    view_of(message, headers, NO_RECEIPT, 0)
}

/// As `view`, of a hand-out.
#[inline]
fn view_of(
    message: &ReadMessage,
    headers: &mut Vec<lq_header>,
    receipt: lq_receipt,
    deadline_ns: i64,
) -> lq_delivery {
    let before = headers.len();
    headers.extend(message.headers().map(|(name, value)| lq_header {
        name: lq_bytes::of(name.as_bytes()),
        value: lq_bytes::of(value),
    }));
    let id = message.id();
    lq_delivery {
        payload: lq_bytes::of(message.payload()),
        key: message.key().map_or(lq_bytes::NONE, lq_bytes::of),
        headers: std::ptr::null(),
        headers_len: headers.len() - before,
        timestamp_ns: message.timestamp_ns(),
        offset: id.offset,
        partition: id.partition,
        attempt: receipt.attempt,
        id: id.into(),
        deadline_ns,
        receipt,
    }
}

/// Points views at their headers, which all are there and move no more.
#[inline]
pub(crate) fn point<'a>(
    views: impl Iterator<Item = &'a mut lq_delivery>,
    mut headers: &[lq_header],
) {
    if headers.is_empty() {
        return;
    }
    for view in views.filter(|view| view.headers_len > 0) {
        let (mine, others) = headers.split_at(view.headers_len);
        view.headers = mine.as_ptr();
        headers = others;
    }
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
    value(0, || Ok(unsafe { BATCHES.get(batch) }?.shown.len()))
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
        let count = batch.shown.len();
        let shown = batch.shown.get(i).ok_or_else(|| {
            invalid(format!(
                "i is {i}; expected below {count}, the length of the batch"
            ))
        })?;
        if !shown.got.replace(true)
            && let Source::Consumer(deliveries) = &batch.source
        {
            deliveries[i].start();
        }
        Ok(std::ptr::from_ref(&shown.view))
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use libqueue::{ConsumerOptions, Message, Store, StoreOptions, TopicOptions};

    use super::*;
    use crate::error::{LQ_INVALID_ARGUMENT, LQ_OK};

    /// # Safety
    /// The bytes are there.
    unsafe fn text<'a>(bytes: lq_bytes) -> &'a [u8] {
        // SAFETY: as demanded above.
        unsafe { std::slice::from_raw_parts(bytes.data, bytes.len) }
    }

    /// What a batch shows at `i`: its address.
    fn shown(batch: *mut lq_batch, i: usize) -> *const lq_delivery {
        // SAFETY: all batches here are used by one thread.
        unsafe { lq_batch_get(batch, i) }
    }

    /// The batch shows these numbers, each with so many headers as it says.
    fn check(batch: *mut lq_batch, numbers: std::ops::Range<usize>) {
        // SAFETY: used by this thread alone.
        assert_eq!(unsafe { lq_batch_len(batch) }, numbers.len());
        for (i, number) in numbers.enumerate() {
            // SAFETY: not NULL as checked, and it belongs to an open batch.
            let view = unsafe { shown(batch, i).as_ref() }.expect("shown");
            let number_text = number.to_string();
            // SAFETY: all bytes of a view of an open batch are there.
            unsafe {
                assert_eq!(text(view.payload), number_text.as_bytes());
                assert_eq!(view.headers_len, number % 3);
                for at in 0..view.headers_len {
                    let header = *view.headers.add(at);
                    assert_eq!(text(header.name), format!("h{at}").as_bytes());
                    assert_eq!(text(header.value), number_text.as_bytes());
                }
            }
            assert_eq!(view.headers.is_null(), number % 3 == 0);
            assert_eq!(
                (view.offset, view.id.offset),
                (number as u64, number as u64)
            );
            assert_eq!((view.attempt, view.receipt.attempt), (1, 1));
        }
        let beyond = shown(batch, usize::MAX);
        assert!(beyond.is_null());
    }

    #[test]
    fn batches_of_one_and_of_many_stay_where_they_are_until_they_are_freed() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path(), StoreOptions::default()).expect("a store");
        let topic = store.topic("t", &TopicOptions::default()).expect("a topic");
        let consumer = topic
            .consumer("g", &ConsumerOptions::default())
            .expect("a consumer");
        let lens = (0..200).map(|at| [1, 1, 2, 7, 1, 40][at % 6]);
        let (mut open, mut sent) = (Vec::new(), 0);
        for len in lens {
            for number in sent..sent + len {
                let payload = number.to_string();
                let headers: Vec<(&str, &[u8])> = ["h0", "h1"][..number % 3]
                    .iter()
                    .map(|name| (*name, payload.as_bytes()))
                    .collect();
                let message = Message::new(payload.as_bytes()).headers(&headers);
                topic.send(&message).expect("sent");
            }
            let received = consumer
                .receive(len, Some(Duration::ZERO))
                .expect("received");
            assert_eq!(received.len(), len);
            let batch = Batch::of_deliveries(received).expect("a batch");
            let places: Vec<_> = (0..len).map(|i| shown(batch, i)).collect();
            open.push((batch, sent..sent + len, places));
            sent += len;
        }
        // More than the first chunk of the table has, and none of them moved.
        drop((consumer, topic));
        store.close().expect("closed");
        for (batch, numbers, places) in &open {
            assert!(
                (0..)
                    .zip(places)
                    .all(|(i, place)| shown(*batch, i) == *place)
            );
            check(*batch, numbers.clone());
        }
        for at in 0..open.len() {
            let batch = open[at].0;
            // SAFETY: used by this thread alone.
            let freed = unsafe { [lq_batch_free(batch), lq_batch_free(batch)] };
            assert_eq!(freed, [LQ_OK, LQ_INVALID_ARGUMENT]);
            // SAFETY: as above.
            assert_eq!(unsafe { lq_batch_len(batch) }, 0);
            assert!(shown(batch, 0).is_null());
            if let Some((next, numbers, _)) = open.get(at + 1) {
                check(*next, numbers.clone());
            }
        }
    }
}
