//! Looking at one message of a group.

use std::ffi::{CString, c_char};

use libqueue::{MessageState, Peeked, Result};

use crate::args::{Out, c_text};
use crate::batch::{lq_delivery, point, view};
use crate::error::lq_status;
use crate::group::{GROUPS, lq_group};
use crate::handle::{Closing, Table, Tag};
use crate::message::lq_header;
use crate::panic::{call, value};

/// The group has not come to the message yet.
pub const LQ_STATE_FRESH: i32 = 1;
/// It may be handed out.
pub const LQ_STATE_READY: i32 = 2;
/// It waits for its time.
pub const LQ_STATE_DELAYED: i32 = 3;
/// It is handed out.
pub const LQ_STATE_LEASED: i32 = 4;
/// It waits for an earlier message of its key.
pub const LQ_STATE_HELD: i32 = 5;
/// It is on its way to the dead letters.
pub const LQ_STATE_DYING: i32 = 6;
/// It is done.
pub const LQ_STATE_SETTLED: i32 = 7;
/// It is a dead letter that holds its key.
pub const LQ_STATE_HOLDING: i32 = 8;

/// A message, and where it stands in a group. It belongs to its lq_peeked, and so does all that it
/// points to.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct lq_peek {
    /// The message; it has no receipt, and attempt and deadline_ns are 0.
    pub message: lq_delivery,
    /// One of LQ_STATE_.
    pub state: i32,
    /// How often it was handed out, as far as the group remembers.
    pub attempts: u32,
    /// How many of the hand-outs failed.
    pub failures: u64,
    /// When its lease or delay ends, in nanoseconds since the Unix epoch, if the wall clock does
    /// not jump; 0 in other states.
    pub until_ns: i64,
    /// Name of the consumer that it is handed out to; empty in other states, never NULL.
    pub consumer: *const c_char,
}

/// What a look at a message found. Threads: any, several at once; none while or after it is freed.
pub struct lq_peeked(());

struct Found {
    peek: lq_peek,
    // Only held: what the peek points to.
    _found: Peeked,
    _headers: Vec<lq_header>,
    _consumer: CString,
}

// SAFETY: the pointers go to bytes of the mapped log, which the message keeps mapped and nobody
// writes any more, and to headers and a text that are never changed once they are made.
unsafe impl Send for Found {}
// SAFETY: as above; all access is shared and only reads.
unsafe impl Sync for Found {}

static FOUND: Table<Box<Found>> = Table::new("lq_peeked", Tag::Peeked);

fn state(found: &MessageState) -> (i32, i64) {
    match found {
        MessageState::Ready => (LQ_STATE_READY, 0),
        MessageState::Delayed(until) => (LQ_STATE_DELAYED, *until),
        MessageState::Leased(until) => (LQ_STATE_LEASED, *until),
        MessageState::Held => (LQ_STATE_HELD, 0),
        MessageState::Dying => (LQ_STATE_DYING, 0),
        MessageState::Settled => (LQ_STATE_SETTLED, 0),
        MessageState::Holding => (LQ_STATE_HOLDING, 0),
        _ => (LQ_STATE_FRESH, 0),
    }
}

fn peeked(found: Peeked) -> Result<*mut lq_peeked> {
    let mut headers = Vec::new();
    let mut message = view(&found.message, &mut headers);
    point(std::iter::once(&mut message), &headers);
    let consumer = c_text(found.consumer.as_str());
    let (state, until_ns) = state(&found.state);
    let peek = lq_peek {
        message,
        state,
        attempts: found.attempts,
        failures: u64::from(found.failures),
        until_ns,
        consumer: consumer.as_ptr(),
    };
    FOUND.open(Box::new(Found {
        peek,
        _found: found,
        _headers: headers,
        _consumer: consumer,
    }))
}

/// Looks at a message, and at where it stands in a group, changing nothing.
///
/// group: the group.
/// partition: the message's partition.
/// offset: its offset.
/// found: gets what was found.
///
/// Returns: LQ_OK; LQ_NOT_FOUND (it was never sent, is still being sent, or is gone; the group was
/// deleted); LQ_INVALID_ARGUMENT (NULL, no open group, no such partition); LQ_DAMAGED, LQ_STUCK,
/// LQ_CLOSED, LQ_FORKED, LQ_IO, LQ_INTERNAL.
/// Memory: free what was found with lq_peeked_free.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_group_peek(
    group: *mut lq_group,
    partition: u32,
    offset: u64,
    found: *mut *mut lq_peeked,
) -> lq_status {
    call(|| {
        // SAFETY: the caller gives room for a handle.
        let out = unsafe { Out::new(found, "found") }?;
        out.set(peeked(GROUPS.enter(group)?.group.peek(partition, offset)?)?);
        Ok(())
    })
}

/// What a look found.
///
/// found: what lq_group_peek gave.
///
/// Returns: the message and where it stands; NULL for what is NULL or freed, with the reason in
/// lq_last_error_message.
/// Memory: belongs to found; valid until that is freed.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_peeked_get(found: *const lq_peeked) -> *const lq_peek {
    value(std::ptr::null(), || {
        Ok(std::ptr::from_ref(&FOUND.enter(found)?.peek))
    })
}

/// Frees what a look found, and all that it points to.
///
/// found: what lq_group_peek gave; NULL is fine.
///
/// Returns: LQ_OK; LQ_INVALID_ARGUMENT (it was freed before, or is something else); LQ_INTERNAL.
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_peeked_free(found: *mut lq_peeked) -> lq_status {
    call(|| FOUND.close(found, |_| Closing::Done(Ok(()))))
}
