//! Topics.

use std::ffi::{CString, c_char};

use libqueue::{Result, Store, Topic};

use crate::args::{Out, c_text, invalid, name as name_of, one, slice_mut, timeout};
use crate::convert_topic::{from_topic, topic_options};
use crate::error::lq_status;
use crate::handle::{Closing, Table, Tag};
use crate::measured::Room;
use crate::message::lq_message_id;
use crate::names::{self, lq_names};
use crate::options::lq_topic_options;
use crate::panic::call;
use crate::store::{STORES, lq_store};

/// A topic: a named stream of messages in one or several partitions.
///
/// Lifetime: from lq_topic_open, lq_topic_create or lq_topic_open_existing to lq_topic_close,
/// within that of its store. Threads: any, several at once.
pub struct lq_topic(());

/// What a handle of a topic holds.
pub(crate) struct TopicHandle {
    pub(crate) topic: Topic,
    name: CString,
}

pub(crate) static TOPICS: Table<TopicHandle> = Table::new("lq_topic", Tag::Topic);

/// # Safety
/// `name` and `topic` as C promises them in the header.
unsafe fn open(
    store: *mut lq_store,
    name: *const c_char,
    topic: *mut *mut lq_topic,
    opening: impl FnOnce(&Store, &str) -> Result<Topic>,
) -> Result<()> {
    // SAFETY: the caller gives room for a handle.
    let out = unsafe { Out::new(topic, "topic") }?;
    let store = STORES.enter(store)?;
    // SAFETY: the caller keeps its name, a C string, valid during the call.
    let topic = opening(&store.store, unsafe { name_of(name, "the topic's name") }?)?;
    let name = c_text(topic.name());
    out.set(TOPICS.open(TopicHandle { topic, name })?);
    Ok(())
}

/// Opens a topic, and creates it where there is none.
///
/// store: the store that it is in.
/// name: 1 to 249 of the characters A-Z a-z 0-9 . _ -
/// options: NULL takes what is stored, or the defaults.
/// topic: gets the handle.
///
/// Returns: LQ_OK; LQ_INVALID_NAME; LQ_INVALID_ARGUMENT (NULL; a number of the options);
/// LQ_CONFIG_MISMATCH (an option contradicts what is stored); LQ_READ_ONLY (to be created in a
/// store that is only read); LQ_DAMAGED, LQ_INCOMPATIBLE, LQ_DISK_FULL, LQ_PERMISSION_DENIED,
/// LQ_STUCK, LQ_TOO_MANY, LQ_UNSUPPORTED, LQ_CLOSED, LQ_IO, LQ_INTERNAL.
/// Memory: close the handle with lq_topic_close.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_topic_open(
    store: *mut lq_store,
    name: *const c_char,
    options: *const lq_topic_options,
    topic: *mut *mut lq_topic,
) -> lq_status {
    // SAFETY: the caller keeps its arguments valid during the call.
    call(|| unsafe {
        let options = topic_options(options)?;
        open(store, name, topic, |store, name| {
            store.topic(name, &options)
        })
    })
}

/// Creates a topic that must not exist yet.
///
/// store: the store that it will be in.
/// name: 1 to 249 of the characters A-Z a-z 0-9 . _ -
/// options: NULL for the defaults.
/// topic: gets the handle.
///
/// Returns: LQ_OK; LQ_ALREADY_EXISTS; and what lq_topic_open returns but LQ_CONFIG_MISMATCH.
/// Memory: close the handle with lq_topic_close.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_topic_create(
    store: *mut lq_store,
    name: *const c_char,
    options: *const lq_topic_options,
    topic: *mut *mut lq_topic,
) -> lq_status {
    // SAFETY: the caller keeps its arguments valid during the call.
    call(|| unsafe {
        let options = topic_options(options)?;
        open(store, name, topic, |store, name| {
            store.create_topic(name, &options)
        })
    })
}

/// Opens a topic that must exist.
///
/// store: the store that it is in.
/// name: its name.
/// topic: gets the handle.
///
/// Returns: LQ_OK; LQ_NOT_FOUND; LQ_INVALID_NAME; LQ_INVALID_ARGUMENT (NULL); LQ_DAMAGED,
/// LQ_INCOMPATIBLE, LQ_PERMISSION_DENIED, LQ_STUCK, LQ_TOO_MANY, LQ_CLOSED, LQ_IO, LQ_INTERNAL.
/// Memory: close the handle with lq_topic_close.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_topic_open_existing(
    store: *mut lq_store,
    name: *const c_char,
    topic: *mut *mut lq_topic,
) -> lq_status {
    // SAFETY: the caller keeps its arguments valid during the call.
    call(|| unsafe { open(store, name, topic, Store::open_topic) })
}

/// Deletes a topic: its messages, its groups and their positions, durably, before the call returns.
/// Whoever has it open in any process gets LQ_NOT_FOUND from the next call on, and so does who
/// waits for messages; batches stay good. Topics that its groups' dead letters are in stay. The
/// name is free for another topic.
///
/// store: the store that it is in.
/// name: its name.
///
/// Returns: LQ_OK; LQ_NOT_FOUND (there is none); LQ_BUSY (a group of another topic has its dead
/// letters in it: delete that group first, or give it another dead_letter_topic); LQ_INVALID_NAME;
/// LQ_INVALID_ARGUMENT (NULL, no open store); LQ_READ_ONLY, LQ_DAMAGED, LQ_PERMISSION_DENIED,
/// LQ_STUCK, LQ_CLOSED, LQ_FENCED, LQ_IO, LQ_INTERNAL.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_topic_delete(store: *mut lq_store, name: *const c_char) -> lq_status {
    call(|| {
        let store = STORES.enter(store)?;
        // SAFETY: the caller keeps its name, a C string, valid during the call.
        let name = unsafe { name_of(name, "the topic's name") }?;
        store.store.delete_topic(name)
    })
}

/// Closes a topic. Its groups, consumers and readers stay open.
///
/// topic: the topic; NULL is fine.
///
/// Returns: LQ_OK; LQ_INVALID_ARGUMENT (it was closed before, or is no topic); LQ_INTERNAL.
/// Memory: the handle is no longer valid. Calls that are using it end as usual.
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_topic_close(topic: *mut lq_topic) -> lq_status {
    call(|| TOPICS.close(topic, |_| Closing::Done(Ok(()))))
}

/// The topic's name.
///
/// topic: the topic.
/// name: gets the name.
///
/// Returns: LQ_OK; LQ_INVALID_ARGUMENT (NULL, no open topic); LQ_INTERNAL.
/// Memory: the text belongs to the topic; valid until it is closed.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_topic_name(
    topic: *mut lq_topic,
    name: *mut *const c_char,
) -> lq_status {
    call(|| {
        // SAFETY: the caller gives room for an address.
        let out = unsafe { Out::new(name, "name") }?;
        out.set(TOPICS.enter(topic)?.name.as_ptr());
        Ok(())
    })
}

/// The number of the topic's partitions.
///
/// topic: the topic.
/// partitions: gets the number, 1 to 1024.
///
/// Returns: LQ_OK; LQ_INVALID_ARGUMENT (NULL, no open topic); LQ_INTERNAL.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_topic_partitions(
    topic: *mut lq_topic,
    partitions: *mut u32,
) -> lq_status {
    call(|| {
        // SAFETY: the caller gives room for a number.
        let out = unsafe { Out::new(partitions, "partitions") }?;
        out.set(TOPICS.enter(topic)?.topic.partitions());
        Ok(())
    })
}

/// How full the topic is, from 0.0 to 1.0: what is not settled as a part of max_messages or
/// max_bytes, of the one that is nearer; 0.0 without a limit, 1.0 where it takes nothing. Read from
/// shared memory, without a system call: the first call for a handle, and the first after the topic
/// has another group, looks at the groups' files.
///
/// topic: the topic.
/// pressure: gets the number.
///
/// Returns: LQ_OK; LQ_INVALID_ARGUMENT (NULL, no open topic); LQ_NOT_FOUND (the topic was deleted);
/// LQ_READ_ONLY (a topic with a limit in a store that is only read); LQ_DAMAGED, LQ_STUCK,
/// LQ_CLOSED, LQ_FORKED, LQ_FENCED, LQ_IO, LQ_INTERNAL.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_topic_pressure(topic: *mut lq_topic, pressure: *mut f64) -> lq_status {
    call(|| {
        // SAFETY: the caller gives room for a number.
        let out = unsafe { Out::new(pressure, "pressure") }?;
        out.set(TOPICS.enter(topic)?.topic.pressure()?);
        Ok(())
    })
}

/// The configuration that is stored for the topic, as options that agree with it.
///
/// topic: the topic.
/// config: gets it; begin with LQ_TOPIC_OPTIONS_INIT.
///
/// Returns: LQ_OK; LQ_INVALID_ARGUMENT (NULL, no open topic, a wrong size); LQ_INTERNAL.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_topic_config(
    topic: *mut lq_topic,
    config: *mut lq_topic_options,
) -> lq_status {
    call(|| {
        // SAFETY: the caller gives a struct as long as its size says.
        let room = unsafe { Room::new(config) }?;
        room.set(from_topic(&TOPICS.enter(topic)?.topic.config()));
        Ok(())
    })
}

/// The names of the topic's groups, sorted.
///
/// topic: the topic.
/// names: gets the list.
///
/// Returns: LQ_OK; LQ_INVALID_ARGUMENT (NULL, no open topic); LQ_PERMISSION_DENIED, LQ_IO,
/// LQ_INTERNAL.
/// Memory: free the list with lq_names_free.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_topic_groups(
    topic: *mut lq_topic,
    names: *mut *mut lq_names,
) -> lq_status {
    call(|| {
        // SAFETY: the caller gives room for a handle.
        let out = unsafe { Out::new(names, "names") }?;
        let groups = TOPICS.enter(topic)?.topic.groups()?;
        out.set(names::list(groups)?);
        Ok(())
    })
}

/// Puts on disk all that was sent to the topic, by any process.
///
/// topic: the topic.
///
/// Returns: LQ_OK; LQ_INVALID_ARGUMENT (no open topic); LQ_POISONED (a sync failed); LQ_DISK_FULL,
/// LQ_IO, LQ_CLOSED, LQ_FORKED, LQ_INTERNAL.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_topic_sync(topic: *mut lq_topic) -> lq_status {
    call(|| TOPICS.enter(topic)?.topic.sync())
}

/// Waits until a message is on disk, so that a power loss cannot take it any more.
///
/// topic: the topic that it was sent to.
/// id: what lq_send gave for it.
/// timeout_ms: how long to wait, in milliseconds; LQ_FOREVER for as long as it takes.
///
/// Returns: LQ_OK; LQ_TIMEOUT; LQ_INVALID_ARGUMENT (NULL, an id of another topic, a bad time);
/// LQ_NOT_FOUND (it was never sent); LQ_POISONED (a sync failed); LQ_CLOSED, LQ_FORKED, LQ_IO,
/// LQ_INTERNAL.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_topic_wait_durable(
    topic: *mut lq_topic,
    id: *const lq_message_id,
    timeout_ms: i64,
) -> lq_status {
    call(|| {
        let topic = TOPICS.enter(topic)?;
        // SAFETY: the caller keeps its id valid during the call.
        let id = unsafe { one(id, "id") }?;
        let timeout = timeout(timeout_ms)?;
        topic.topic.wait_durable(id.into(), timeout)
    })
}

/// For each partition of a topic the first offset that a power loss may take.
///
/// topic: the topic.
/// offsets: gets one number for each partition, in their order.
/// len: how many numbers there is room for; at least lq_topic_partitions.
///
/// Returns: LQ_OK; LQ_INVALID_ARGUMENT (NULL, no open topic, too little room); LQ_INTERNAL.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_topic_durable_offsets(
    topic: *mut lq_topic,
    offsets: *mut u64,
    len: usize,
) -> lq_status {
    call(|| {
        let topic = TOPICS.enter(topic)?;
        let durable = topic.topic.durable_offsets();
        // SAFETY: the caller gives room for len offsets.
        let room = unsafe { slice_mut(offsets, len, "offsets") }?;
        let needed = durable.len();
        if len < needed {
            let message = format!("len is {len}; expected at least {needed}, one a partition");
            return Err(invalid(message));
        }
        room[..needed].copy_from_slice(&durable);
        Ok(())
    })
}
