//! Consumers.

use std::ffi::{CString, c_char};

use libqueue::Consumer;

use crate::args::{Out, c_text, name as name_of};
use crate::convert::consumer_options;
use crate::error::lq_status;
use crate::handle::{Closing, Table, Tag};
use crate::options::lq_consumer_options;
use crate::panic::call;
use crate::topic::{TOPICS, lq_topic};

/// A consumer: one worker of a group. The group's messages are shared among its consumers, in all
/// processes.
///
/// Lifetime: from lq_consumer_open to lq_consumer_close, within that of its store; the topic's
/// handle may be closed earlier. Threads: any, several at once.
pub struct lq_consumer(());

/// What a handle of a consumer holds.
pub(crate) struct ConsumerHandle {
    pub(crate) consumer: Consumer,
    name: CString,
}

pub(crate) static CONSUMERS: Table<ConsumerHandle> = Table::new("lq_consumer", Tag::Consumer);

/// Opens a consumer of a group, which is created where there is none.
///
/// topic: the topic.
/// group: the group's name, 1 to 249 of the characters A-Z a-z 0-9 . _ -
/// options: NULL takes the configuration that is stored, or the defaults.
/// consumer: gets the handle.
///
/// Returns: LQ_OK; LQ_INVALID_NAME; LQ_INVALID_ARGUMENT (NULL; a number of the options; a start at
/// an offset where the topic has several partitions); LQ_INVALID_FILTER (the filter does not
/// parse); LQ_CONFIG_MISMATCH (an option contradicts what is stored); LQ_READ_ONLY; LQ_TOO_MANY
/// (consumers or groups); LQ_DAMAGED, LQ_INCOMPATIBLE, LQ_DISK_FULL, LQ_PERMISSION_DENIED,
/// LQ_STUCK, LQ_UNSUPPORTED, LQ_CLOSED, LQ_FORKED, LQ_IO, LQ_INTERNAL.
/// Memory: close the handle with lq_consumer_close.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_consumer_open(
    topic: *mut lq_topic,
    group: *const c_char,
    options: *const lq_consumer_options,
    consumer: *mut *mut lq_consumer,
) -> lq_status {
    call(|| {
        // SAFETY: the caller gives room for a handle.
        let out = unsafe { Out::new(consumer, "consumer") }?;
        let topic = TOPICS.enter(topic)?;
        // SAFETY: the caller keeps its name, a C string, valid during the call.
        let group = unsafe { name_of(group, "the group's name") }?;
        // SAFETY: the caller keeps its options valid during the call.
        let options = unsafe { consumer_options(options) }?;
        let consumer = topic.topic.consumer(group, &options)?;
        let name = c_text(consumer.name());
        out.set(CONSUMERS.open(ConsumerHandle { consumer, name })?);
        Ok(())
    })
}

/// Closes a consumer. What it has not settled goes back to the group, uncounted and at once; until
/// it is handed out again, other consumers of the group may settle it with its receipts. A thread
/// that waits in lq_receive returns from it with LQ_CLOSED.
///
/// consumer: the consumer; NULL is fine.
///
/// Returns: LQ_OK; LQ_INVALID_ARGUMENT (it was closed before, or is no consumer); or how handing
/// back failed, with the handle closed: LQ_STUCK, LQ_CLOSED, LQ_FORKED, LQ_IO, LQ_INTERNAL.
/// Memory: the handle is no longer valid.
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_consumer_close(consumer: *mut lq_consumer) -> lq_status {
    call(|| CONSUMERS.close(consumer, |handle| Closing::Done(handle.consumer.close())))
}

/// The consumer's name, as statistics and dead letters show it.
///
/// consumer: the consumer.
/// name: gets the name.
///
/// Returns: LQ_OK; LQ_INVALID_ARGUMENT (NULL, no open consumer); LQ_INTERNAL.
/// Memory: the text belongs to the consumer; valid until it is closed.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_consumer_name(
    consumer: *mut lq_consumer,
    name: *mut *const c_char,
) -> lq_status {
    call(|| {
        // SAFETY: the caller gives room for an address.
        let out = unsafe { Out::new(name, "name") }?;
        out.set(CONSUMERS.enter(consumer)?.name.as_ptr());
        Ok(())
    })
}
