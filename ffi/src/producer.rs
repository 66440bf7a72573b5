//! Named producers.

use std::ffi::c_char;
use std::time::Duration;

use libqueue::{Producer, Result};

use crate::args::{Out, invalid, name as name_of};
use crate::convert_topic::send_timeout;
use crate::error::lq_status;
use crate::handle::{Closing, Table, Tag};
use crate::message::{array, headers, lq_message, lq_message_id, with_headers};
use crate::options::lq_send_options;
use crate::panic::call;
use crate::topic::{TOPICS, lq_topic};

/// A named, idempotent producer of a topic: of its messages each has a sequence, and one that is
/// sent again is not there twice.
///
/// Lifetime: from lq_producer_open to lq_producer_close, within that of its store; the topic's
/// handle may be closed earlier. Threads: any, several at once; they take turns.
pub struct lq_producer(());

static PRODUCERS: Table<Producer> = Table::new("lq_producer", Tag::Producer);

/// Opens the producer of a name, which is created where there is none. Handles of the name that
/// were opened before, in any process, get LQ_FENCED from then on.
///
/// topic: the topic.
/// name: 1 to 249 of the characters A-Z a-z 0-9 . _ -
/// producer: gets the handle.
///
/// Returns: LQ_OK; LQ_INVALID_NAME; LQ_INVALID_ARGUMENT (NULL, no open topic); LQ_READ_ONLY;
/// LQ_TOO_MANY, LQ_DAMAGED, LQ_INCOMPATIBLE, LQ_DISK_FULL, LQ_PERMISSION_DENIED, LQ_STUCK,
/// LQ_NOT_FOUND (the topic was deleted); LQ_CLOSED, LQ_FORKED, LQ_IO, LQ_INTERNAL.
/// Memory: close the handle with lq_producer_close.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_producer_open(
    topic: *mut lq_topic,
    name: *const c_char,
    producer: *mut *mut lq_producer,
) -> lq_status {
    call(|| {
        // SAFETY: the caller gives room for a handle.
        let out = unsafe { Out::new(producer, "producer") }?;
        let topic = TOPICS.enter(topic)?;
        // SAFETY: the caller keeps its name, a C string, valid during the call.
        let name = unsafe { name_of(name, "the producer's name") }?;
        out.set(PRODUCERS.open(topic.topic.producer(name)?)?);
        Ok(())
    })
}

/// Sends one message. A sequence that was sent before, by this handle or an earlier one of the
/// name, returns the first send's id and appends nothing, whatever the message is: so it may be
/// sent again after an error, a timeout or a kill.
///
/// producer: the producer.
/// message: begun with LQ_MESSAGE_INIT, without a dedup_id; read during the call only.
/// sequence: its number, above the last one, from 1; gaps are allowed. 0 counts on by itself.
/// id: gets the message's id; NULL if it is of no interest.
///
/// Returns: LQ_OK; LQ_INVALID_ARGUMENT (a bad pointer, handle or number; a sequence that is older
/// than the last 1,000, or was passed over); LQ_FENCED (the name was opened again: nothing was
/// sent); and what lq_send returns.
/// Memory: nothing is kept, and nothing has to be freed.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_producer_send(
    producer: *mut lq_producer,
    message: *const lq_message,
    sequence: u64,
    id: *mut lq_message_id,
) -> lq_status {
    // SAFETY: the caller keeps its arguments valid during the call.
    call(|| unsafe { send(producer, message, sequence, None, id) })
}

/// As lq_producer_send, with how long to wait for room in a topic that is full, and for other
/// threads that do by this handle.
///
/// producer: the producer.
/// message: begun with LQ_MESSAGE_INIT, without a dedup_id; read during the call only.
/// sequence: its number, above the last one, from 1; gaps are allowed. 0 counts on by itself.
/// options: NULL waits as the topic is configured, as lq_producer_send does.
/// id: gets the message's id; NULL if it is of no interest.
///
/// Returns: LQ_OK; what lq_producer_send returns; LQ_TIMEOUT also where there was no room in time,
/// and then nothing was stored; LQ_UNSUPPORTED (options of a newer library).
/// Memory: nothing is kept, and nothing has to be freed.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_producer_send_with(
    producer: *mut lq_producer,
    message: *const lq_message,
    sequence: u64,
    options: *const lq_send_options,
    id: *mut lq_message_id,
) -> lq_status {
    call(|| {
        // SAFETY: the caller keeps its options valid during the call.
        let timeout = unsafe { send_timeout(options) }?;
        // SAFETY: the caller keeps its arguments valid during the call.
        unsafe { send(producer, message, sequence, timeout, id) }
    })
}

/// # Safety
/// The message is valid during the call, and there is room for an id, unless they are NULL.
unsafe fn send(
    producer: *mut lq_producer,
    message: *const lq_message,
    sequence: u64,
    timeout: Option<Duration>,
    id: *mut lq_message_id,
) -> Result<()> {
    let producer = PRODUCERS.enter(producer)?;
    let out = match id {
        id if id.is_null() => None,
        // SAFETY: the caller gives room for an id.
        id => Some(unsafe { Out::new(id, "id") }?),
    };
    // SAFETY: the caller keeps its message valid during the call.
    let [message] = (unsafe { array(message, 1) })? else {
        return Err(invalid("message: expected one".to_owned()));
    };
    // SAFETY: the caller keeps its message valid during the call.
    let headers = unsafe { headers(message) }?;
    let sequence = (sequence != 0).then_some(sequence);
    // SAFETY: as above.
    let message = unsafe { with_headers(message, &headers) }?;
    let sent = match timeout {
        None => producer.send(&message, sequence)?,
        Some(timeout) => producer.send_within(&message, sequence, timeout)?,
    };
    if let Some(out) = out {
        out.set(sent.into());
    }
    Ok(())
}

/// The highest sequence that was sent, by any opening of the name. What was sent in a call that
/// timed out, or whose process was killed, is in it, or is not in the log and never will be.
///
/// producer: the producer.
/// sequence: gets it; 0 before the first send.
///
/// Returns: LQ_OK; LQ_INVALID_ARGUMENT (NULL, no open producer); LQ_STUCK, LQ_NOT_FOUND (the topic
/// was deleted), LQ_DAMAGED, LQ_CLOSED, LQ_FORKED, LQ_IO, LQ_INTERNAL.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_producer_last_sequence(
    producer: *mut lq_producer,
    sequence: *mut u64,
) -> lq_status {
    call(|| {
        // SAFETY: the caller gives room for a number.
        let out = unsafe { Out::new(sequence, "sequence") }?;
        out.set(PRODUCERS.enter(producer)?.last_sequence()?);
        Ok(())
    })
}

/// Closes a producer.
///
/// producer: the producer; NULL is fine.
///
/// Returns: LQ_OK; LQ_INVALID_ARGUMENT (it was closed before, or is no producer); LQ_INTERNAL.
/// Memory: the handle is no longer valid.
/// Threads: any; a call that is using it ends as usual.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_producer_close(producer: *mut lq_producer) -> lq_status {
    call(|| PRODUCERS.close(producer, |_| Closing::Done(Ok(()))))
}
