//! Changing a group, and one message of it, while others are at work in it.

use std::ffi::c_char;
use std::time::Duration;

use libqueue::{MessageId, Result};

use crate::args::{invalid, one, reason as reason_of};
use crate::convert::group_options_on;
use crate::convert_topic::topic_options;
use crate::error::lq_status;
use crate::group::{GROUPS, lq_group};
use crate::message::lq_message_id;
use crate::options::{lq_group_options, lq_topic_options};
use crate::panic::call;
use crate::topic::{TOPICS, lq_topic};

/// Changes the configuration that is stored for a topic, durably, before the call returns. All
/// processes go by it from their next call on. What was sent before keeps what it was sent with.
///
/// topic: the topic.
/// changes: begin with LQ_TOPIC_OPTIONS_INIT; what it leaves out stays. The number of partitions
/// cannot be changed: keys find their order by it.
///
/// Returns: LQ_OK; LQ_INVALID_ARGUMENT (no open topic, a number of the options, another number of
/// partitions); LQ_NOT_FOUND (the topic was deleted); LQ_READ_ONLY, LQ_DISK_FULL, LQ_DAMAGED,
/// LQ_STUCK, LQ_CLOSED, LQ_FORKED, LQ_FENCED, LQ_IO, LQ_INTERNAL.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_topic_configure(
    topic: *mut lq_topic,
    changes: *const lq_topic_options,
) -> lq_status {
    call(|| {
        let topic = TOPICS.enter(topic)?;
        // SAFETY: the caller keeps its options valid during the call.
        let changes = unsafe { topic_options(changes) }?;
        topic.topic.configure(&changes)
    })
}

/// Changes the configuration that is stored for a group, durably, before the call returns. All
/// processes go by it from their next call on. Leases that are out keep their time.
///
/// group: the group.
/// changes: begin with LQ_GROUP_OPTIONS_INIT; what it leaves out stays. The start cannot be set,
/// nor the window be changed, which the layout of the group's files depends on. Another
/// ordering than LQ_ORDERING_NONE needs a group in which no message is taken in and not settled.
/// max_lease_ms holds for consumers that are opened from then on, another filter for messages that
/// the group has not looked at yet. Where dead letters go to another topic, or are dropped, from
/// then on, none may be left in the former one, which would be out of sight: redrive and settle
/// them, or purge them, before.
///
/// Returns: LQ_OK; LQ_INVALID_ARGUMENT (no open group, a number of the options, a start, another
/// window); LQ_INVALID_FILTER (the filter does not parse); LQ_BUSY (the ordering, on_dead_letter or
/// where dead letters go to, now: the message says what is to be done before); LQ_NOT_FOUND (the
/// group was deleted); LQ_READ_ONLY, LQ_DISK_FULL, LQ_DAMAGED, LQ_STUCK, LQ_CLOSED, LQ_FORKED,
/// LQ_FENCED, LQ_IO, LQ_INTERNAL.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_group_configure(
    group: *mut lq_group,
    changes: *const lq_group_options,
) -> lq_status {
    call(|| {
        let group = GROUPS.enter(group)?;
        // SAFETY: the caller keeps its options valid during the call.
        let changes = unsafe { group_options_on(changes, group.group.config().backoff) }?;
        group.group.configure(&changes)
    })
}

/// Stops handing out, in all processes, until lq_group_resume: durably, also when everyone leaves.
/// Receive calls wait as at an empty topic; what is out can be settled; leases and delays go on
/// running. Pausing twice is fine. lq_group_get_stats tells of it.
///
/// group: the group.
///
/// Returns: LQ_OK; LQ_INVALID_ARGUMENT (NULL, no open group); LQ_NOT_FOUND (the group was deleted);
/// LQ_READ_ONLY, LQ_DISK_FULL, LQ_DAMAGED, LQ_STUCK, LQ_CLOSED, LQ_FORKED, LQ_FENCED, LQ_IO,
/// LQ_INTERNAL.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_group_pause(group: *mut lq_group) -> lq_status {
    call(|| GROUPS.enter(group)?.group.pause())
}

/// Hands out again, durably, and wakes those who wait. Resuming twice is fine.
///
/// group: the group.
///
/// Returns: LQ_OK; LQ_INVALID_ARGUMENT (NULL, no open group); LQ_NOT_FOUND (the group was deleted);
/// LQ_READ_ONLY, LQ_DISK_FULL, LQ_DAMAGED, LQ_STUCK, LQ_CLOSED, LQ_FORKED, LQ_FENCED, LQ_IO,
/// LQ_INTERNAL.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_group_resume(group: *mut lq_group) -> lq_status {
    call(|| GROUPS.enter(group)?.group.resume())
}

/// Deletes a group, durably, with its position and all that it counted. Messages stay in the topic,
/// dead letters in theirs, where no group lists or redrives them any more. Its consumers and
/// handles, in all processes, get LQ_NOT_FOUND at their next call; a group made later under the
/// name is another one. Close the handles all the same.
///
/// group: the group; its handle stays open.
///
/// Returns: LQ_OK; LQ_INVALID_ARGUMENT (NULL, no open group); LQ_NOT_FOUND (it was deleted before);
/// LQ_READ_ONLY, LQ_DISK_FULL, LQ_DAMAGED, LQ_STUCK, LQ_CLOSED, LQ_FORKED, LQ_FENCED, LQ_IO,
/// LQ_INTERNAL.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_group_delete(group: *mut lq_group) -> lq_status {
    call(|| GROUPS.enter(group)?.group.delete())
}

/// # Safety
/// `id`, unless it is NULL, is valid for reading until the call returns.
unsafe fn id_of(id: *const lq_message_id) -> Result<MessageId> {
    // SAFETY: valid as demanded above.
    Ok(unsafe { one(id, "id") }?.into())
}

/// Settles a message by its id, whoever has it: it counts as acknowledged, and the receipt of its
/// consumer is stale.
///
/// group: the group.
/// id: the message's id.
///
/// Returns: LQ_OK; LQ_STALE_RECEIPT (it is settled already); LQ_BUSY (it is on its way to the dead
/// letters); LQ_NOT_FOUND (it was never sent, or is gone; the group was deleted); LQ_FULL (it is
/// further ahead than the group's window); LQ_INVALID_ARGUMENT (NULL, no open group, an id of
/// another topic); LQ_READ_ONLY, LQ_DISK_FULL, LQ_DAMAGED, LQ_STUCK, LQ_CLOSED, LQ_FORKED,
/// LQ_FENCED, LQ_IO, LQ_INTERNAL.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_group_settle(
    group: *mut lq_group,
    id: *const lq_message_id,
) -> lq_status {
    call(|| {
        let group = GROUPS.enter(group)?;
        // SAFETY: the caller keeps its id valid during the call.
        group.group.settle(unsafe { id_of(id) }?)
    })
}

/// Has a message come back after a time, whoever has it: it is taken from its consumer, whose
/// receipt is stale. It goes on holding its key; nothing is counted.
///
/// group: the group.
/// id: the message's id.
/// delay_ms: milliseconds from now, at most 365 days; 0 makes it ready at once.
///
/// Returns: LQ_OK; LQ_STALE_RECEIPT (it is settled already); LQ_BUSY (it is on its way to the dead
/// letters, or waits for an earlier message of its key); LQ_INVALID_ARGUMENT (NULL, no open group,
/// an id of another topic, delay_ms); as lq_group_settle also LQ_NOT_FOUND, LQ_FULL, LQ_READ_ONLY,
/// LQ_DISK_FULL, LQ_DAMAGED, LQ_STUCK, LQ_CLOSED, LQ_FORKED, LQ_FENCED, LQ_IO, LQ_INTERNAL.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_group_delay(
    group: *mut lq_group,
    id: *const lq_message_id,
    delay_ms: i64,
) -> lq_status {
    call(|| {
        let group = GROUPS.enter(group)?;
        let delay = u64::try_from(delay_ms)
            .map_err(|_| invalid(format!("delay_ms is {delay_ms}; expected 0 or more")))?;
        // SAFETY: the caller keeps its id valid during the call.
        let id = unsafe { id_of(id) }?;
        group.group.delay(id, Duration::from_millis(delay))
    })
}

/// Gives up on a message now, whoever has it: it becomes a dead letter, and the receipt of its
/// consumer is stale.
///
/// group: the group.
/// id: the message's id.
/// reason: why, in UTF-8; NULL is fine.
///
/// Returns: LQ_OK; LQ_STALE_RECEIPT (it is settled already); LQ_BUSY (it is on its way to the dead
/// letters); LQ_INVALID_ARGUMENT (NULL, no open group, an id of another topic); as lq_group_settle
/// also LQ_NOT_FOUND, LQ_FULL, LQ_READ_ONLY, LQ_DISK_FULL, LQ_DAMAGED, LQ_STUCK, LQ_CLOSED,
/// LQ_FORKED, LQ_FENCED, LQ_IO, LQ_INTERNAL.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_group_dead_letter(
    group: *mut lq_group,
    id: *const lq_message_id,
    reason: *const c_char,
) -> lq_status {
    call(|| {
        let group = GROUPS.enter(group)?;
        // SAFETY: the caller keeps its text, a C string, valid during the call.
        let reason = unsafe { reason_of(reason) };
        // SAFETY: the caller keeps its id valid during the call.
        let id = unsafe { id_of(id) }?;
        let reason = reason.as_deref().unwrap_or("given up by id");
        group.group.dead_letter(id, reason)
    })
}
