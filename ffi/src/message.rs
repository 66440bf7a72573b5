//! Messages, and sending them.

use std::time::Duration;

use libqueue::{Message, MessageId, Receipt, Result};

use crate::args::{invalid, slice, slice_mut};
use crate::convert::millis;
use crate::convert_topic::send_timeout;
use crate::error::lq_status;
use crate::options::lq_send_options;
use crate::panic::call;
use crate::topic::{TOPICS, lq_topic};

/// Bytes that belong to somebody else.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct lq_bytes {
    /// The first byte. NULL where there is nothing, as with a message without a key.
    pub data: *const u8,
    /// How many there are.
    pub len: usize,
}

/// A header of a message.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct lq_header {
    /// The name, in UTF-8, without a NUL at the end; 0 to 65535 bytes.
    pub name: lq_bytes,
    /// The value: any bytes.
    pub value: lq_bytes,
}

/// The partition of a message that names none: the one of its key, or without a key each in turn.
pub const LQ_ANY_PARTITION: i32 = -1;

/// A message to send. Begin with LQ_MESSAGE_INIT, which sets the size and leaves out all the rest.
/// Nothing of it is kept after the call.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct lq_message {
    /// sizeof(lq_message); the same in all messages of one call.
    pub size: usize,
    /// The payload: 0 bytes to the topic's max_message_bytes.
    pub payload: lq_bytes,
    /// The key; messages of one key keep their order. No key where data is NULL; the empty key,
    /// with data and without len, is a key.
    pub key: lq_bytes,
    /// The headers; may be NULL where headers_len is 0.
    pub headers: *const lq_header,
    /// How many headers there are; at most 65535.
    pub headers_len: usize,
    /// Nanoseconds since the Unix epoch; 0 takes the clock's. Raised to the timestamp of the
    /// partition's last message if it is below.
    pub timestamp_ns: i64,
    /// The partition, or LQ_ANY_PARTITION.
    pub partition: i32,
    /// 0 to 9: of the messages that are ready in a group those with the highest priority
    /// come first, but for the order within a key.
    pub priority: i32,
    /// For so many milliseconds no group hands it out; then it joins its key's order. 0: at once.
    pub delay_ms: i64,
    /// As delay_ms, until a time in nanoseconds since the Unix epoch; give one of the two. 0: left
    /// out.
    pub deliver_at_ns: i64,
    /// After so many milliseconds nobody is handed it any more: it is settled, and counted as
    /// expired. 0: never.
    pub ttl_ms: i64,
    /// 1 to 255 bytes under which it is sent once: within the topic's dedup_window_ms another send
    /// with the same id returns the first one's id and appends nothing. None where data is NULL.
    pub dedup_id: lq_bytes,
}

/// Names a message for ever: an id is never used twice in a store.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct lq_message_id {
    /// Id of the topic.
    pub topic_id: u64,
    /// Number of the message in its partition, from 0.
    pub offset: u64,
    /// Partition of the topic, from 0.
    pub partition: u32,
    /// Always 0, so that ids may be compared and hashed as bytes.
    pub reserved: u32,
}

/// Settles one delivery: names the message and which of its hand-outs. A plain value: copy it, keep
/// it, pass it to another thread. It outlives its batch.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct lq_receipt {
    /// The message.
    pub id: lq_message_id,
    /// The hand-out's number, from 1.
    pub attempt: u32,
    /// Which group handed it out. Changes when the group starts anew somewhere else; older receipts
    /// are stale then.
    pub epoch: u32,
}

impl From<MessageId> for lq_message_id {
    fn from(id: MessageId) -> Self {
        Self {
            topic_id: id.topic_id,
            offset: id.offset,
            partition: id.partition,
            reserved: 0,
        }
    }
}

impl From<&lq_message_id> for MessageId {
    fn from(id: &lq_message_id) -> Self {
        Self {
            topic_id: id.topic_id,
            partition: id.partition,
            offset: id.offset,
        }
    }
}

impl From<Receipt> for lq_receipt {
    fn from(receipt: Receipt) -> Self {
        Self {
            id: receipt.id.into(),
            attempt: receipt.attempt,
            epoch: receipt.epoch,
        }
    }
}

impl From<&lq_receipt> for Receipt {
    fn from(receipt: &lq_receipt) -> Self {
        Self {
            id: (&receipt.id).into(),
            attempt: receipt.attempt,
            epoch: receipt.epoch,
        }
    }
}

impl lq_bytes {
    pub(crate) const NONE: Self = Self {
        data: std::ptr::null(),
        len: 0,
    };

    #[inline]
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self {
            data: bytes.as_ptr(),
            len: bytes.len(),
        }
    }

    /// # Safety
    /// `data`, unless it is NULL, is valid for reading `len` bytes until the call returns.
    #[inline]
    unsafe fn read<'a>(self, what: &str) -> Result<&'a [u8]> {
        // SAFETY: as demanded above.
        unsafe { slice(self.data, self.len, what) }
    }
}

/// The headers of one message.
///
/// # Safety
/// `message` is valid as the header of the library demands, until the call returns.
pub(crate) unsafe fn headers<'a>(message: &lq_message) -> Result<Vec<(&'a str, &'a [u8])>> {
    // SAFETY: valid as demanded above.
    let given = unsafe { slice(message.headers, message.headers_len, "headers") }?;
    let mut headers = Vec::with_capacity(given.len());
    for header in given {
        // SAFETY: valid as demanded above.
        let name = unsafe { header.name.read("a header's name") }?;
        let name = std::str::from_utf8(name).map_err(|_| {
            let found = String::from_utf8_lossy(name);
            invalid(format!("a header's name is {found:?}; expected UTF-8"))
        })?;
        // SAFETY: valid as demanded above.
        headers.push((name, unsafe { header.value.read("a header's value") }?));
    }
    Ok(headers)
}

/// Milliseconds, which most messages leave out.
#[inline(always)]
fn span(what: &str, ms: i64) -> Result<Option<Duration>> {
    match ms {
        0 => Ok(None),
        ms => millis(what, ms, 0),
    }
}

/// The message, with the headers that were read before.
///
/// # Safety
/// As in `headers`.
#[inline(always)]
pub(crate) unsafe fn with_headers<'a>(
    message: &lq_message,
    headers: &'a [(&'a str, &'a [u8])],
) -> Result<Message<'a>> {
    let key = match message.key.data {
        data if data.is_null() && message.key.len == 0 => None,
        // SAFETY: valid as demanded above.
        _ => Some(unsafe { message.key.read("key") }?),
    };
    let partition = match message.partition {
        LQ_ANY_PARTITION => None,
        number => Some(u32::try_from(number).map_err(|_| {
            invalid(format!(
                "partition is {number}; expected 0 or more, or LQ_ANY_PARTITION (-1)"
            ))
        })?),
    };
    let priority = u8::try_from(message.priority).map_err(|_| {
        let found = message.priority;
        invalid(format!("priority is {found}; expected 0 to 9"))
    })?;
    Ok(Message {
        // SAFETY: valid as demanded above.
        payload: unsafe { message.payload.read("payload") }?,
        key,
        headers,
        partition,
        timestamp_ns: (message.timestamp_ns != 0).then_some(message.timestamp_ns),
        delay: span("delay_ms", message.delay_ms)?,
        deliver_at_ns: (message.deliver_at_ns != 0).then_some(message.deliver_at_ns),
        ttl: span("ttl_ms", message.ttl_ms)?,
        priority,
        dedup_id: match message.dedup_id.data {
            data if data.is_null() && message.dedup_id.len == 0 => None,
            // SAFETY: valid as demanded above.
            _ => Some(unsafe { message.dedup_id.read("dedup_id") }?),
        },
    })
}

/// The array of messages, if all have the size of this version.
///
/// # Safety
/// `messages`, unless it is NULL, is valid for reading `n` messages until the call returns.
#[inline(always)]
pub(crate) unsafe fn array<'a>(messages: *const lq_message, n: usize) -> Result<&'a [lq_message]> {
    // SAFETY: valid as demanded above.
    let given = unsafe { slice(messages, n, "messages") }?;
    if let Some(place) = given.iter().position(|m| m.size != size_of::<lq_message>()) {
        let message = format!(
            "size of message {place} is {}; expected {}: begin each with LQ_MESSAGE_INIT, of the \
             header that comes with this library",
            given[place].size,
            size_of::<lq_message>()
        );
        return Err(invalid(message));
    }
    Ok(given)
}

/// Shows the messages of an array to somebody.
///
/// # Safety
/// What the messages point to is valid until this returns.
unsafe fn messages_of<T>(
    given: &[lq_message],
    show: impl FnOnce(&[Message<'_>]) -> Result<T>,
) -> Result<T> {
    let mut blocks = Vec::new();
    if given.iter().any(|message| message.headers_len > 0) {
        blocks.reserve(given.len());
        for message in given {
            // SAFETY: valid as demanded above.
            blocks.push(unsafe { headers(message) }?);
        }
    }
    let mut many = Vec::with_capacity(given.len());
    for (place, message) in given.iter().enumerate() {
        let headers = blocks.get(place).map_or(&[][..], Vec::as_slice);
        // SAFETY: valid as demanded above.
        many.push(unsafe { with_headers(message, headers) }?);
    }
    show(&many)
}

/// As `messages_of`, of an array as a caller gives it.
///
/// # Safety
/// `messages`, unless it is NULL, is valid for reading `n` messages, and what they point to, until
/// this returns.
pub(crate) unsafe fn messages<T>(
    messages: *const lq_message,
    n: usize,
    show: impl FnOnce(&[Message<'_>]) -> Result<T>,
) -> Result<T> {
    // SAFETY: valid as demanded above.
    unsafe { messages_of(array(messages, n)?, show) }
}

/// Sends messages: all or none of them. Once it returns, they survive the end of any process, kill
/// -9 included, and a power loss as far as the topic's durability says. Messages of one call
/// without key and partition go to one partition together.
///
/// A batch for several partitions is whole in each of them. A death in the middle of the call may
/// leave the parts of some partitions in the log and not the others', and a failed sync may take
/// some back and not others: then the error names the partitions whose part is in the log.
///
/// topic: where to.
/// messages: n messages, each begun with LQ_MESSAGE_INIT; read during the call only.
/// n: how many; nothing happens where it is 0.
/// ids: gets the id of each message, in their order; NULL if they are of no interest.
///
/// Returns: LQ_OK; LQ_INVALID_ARGUMENT (a bad pointer, handle, size, partition, priority or time; a
/// header's name that is not UTF-8; a dedup_id that is empty or too long, or whose topic has no
/// dedup_window_ms); LQ_TOO_LARGE (above max_message_bytes, or above the topic's limit by itself);
/// LQ_FULL (the topic has no room: nothing was stored); LQ_READ_ONLY (a store that is only read);
/// LQ_DISK_FULL (nothing was stored); LQ_TIMEOUT (there was no room within the topic's
/// send_timeout_ms, and nothing was stored; or it was, but the disk did not confirm it); LQ_STUCK
/// (a live process holds the partition's lock); LQ_POISONED (an earlier sync failed); LQ_CLOSED,
/// LQ_FORKED (the store was closed; open it again in the child); LQ_IO, LQ_FENCED, LQ_INTERNAL.
/// Memory: nothing is kept, and nothing has to be freed.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_send(
    topic: *mut lq_topic,
    messages: *const lq_message,
    n: usize,
    ids: *mut lq_message_id,
) -> lq_status {
    // SAFETY: the caller keeps its arguments valid during the call.
    call(|| unsafe { send(topic, messages, n, None, ids) })
}

/// As lq_send, with how long to wait for room in a topic that is full.
///
/// topic: where to.
/// messages: n messages, each begun with LQ_MESSAGE_INIT; read during the call only.
/// n: how many; nothing happens where it is 0.
/// options: NULL waits as the topic is configured, as lq_send does.
/// ids: gets the id of each message, in their order; NULL if they are of no interest.
///
/// Returns: LQ_OK; what lq_send returns; LQ_TIMEOUT also where there was no room in time, and then
/// nothing was stored; LQ_UNSUPPORTED (options of a newer library).
/// Memory: nothing is kept, and nothing has to be freed.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_send_with(
    topic: *mut lq_topic,
    messages: *const lq_message,
    n: usize,
    options: *const lq_send_options,
    ids: *mut lq_message_id,
) -> lq_status {
    call(|| {
        // SAFETY: the caller keeps its options valid during the call.
        let timeout = unsafe { send_timeout(options) }?;
        // SAFETY: the caller keeps its arguments valid during the call.
        unsafe { send(topic, messages, n, timeout, ids) }
    })
}

/// # Safety
/// The messages are valid during the call, and there is room for n ids, unless they are NULL.
#[inline(always)]
unsafe fn send(
    topic: *mut lq_topic,
    messages: *const lq_message,
    n: usize,
    timeout: Option<Duration>,
    ids: *mut lq_message_id,
) -> Result<()> {
    let topic = TOPICS.enter(topic)?;
    // SAFETY: the caller keeps its messages valid during the call.
    let given = unsafe { array(messages, n) }?;
    let ids = match ids {
        ids if ids.is_null() => &mut [],
        // SAFETY: the caller gives room for n ids.
        ids => unsafe { slice_mut(ids, n, "ids") }?,
    };
    if let [one] = given
        && one.headers_len == 0
    {
        let sent = {
            // SAFETY: the caller keeps its message valid during the call.
            let message = unsafe { with_headers(one, &[]) }?;
            match timeout {
                None => topic.topic.send(&message)?,
                Some(timeout) => topic.topic.send_within(&message, timeout)?,
            }
        };
        if let Some(id) = ids.first_mut() {
            *id = sent.into();
        }
        return Ok(());
    }
    let send = |many: &[Message<'_>]| match timeout {
        None => topic.topic.send_many(many),
        Some(timeout) => topic.topic.send_many_within(many, timeout),
    };
    // SAFETY: the caller keeps its messages valid during the call.
    let sent = unsafe { messages_of(given, send) }?;
    for (id, sent) in ids.iter_mut().zip(sent) {
        *id = sent.into();
    }
    Ok(())
}
