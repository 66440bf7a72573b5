//! Redriving and purging dead letters.

use std::ffi::{c_char, c_void};
use std::ptr::null;

use libqueue::{DeadLetterEntry, MessageId, RedriveOptions, Result};

use crate::args::{Out, invalid, reason, slice, slice_mut};
use crate::error::{LQ_NOT_FOUND, LQ_OK, lq_status};
use crate::group::{GROUPS, lq_group};
use crate::measured::{Measured, read};
use crate::message::{lq_bytes, lq_message_id};
use crate::panic::call;

/// Which dead letters to redrive, and how. Begin with LQ_REDRIVE_OPTIONS_INIT, which redrives all
/// that are there when the call begins, as fast as it can. A letter has to be what all of the
/// fields from limit to failed_until_ns ask for.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct lq_redrive_options {
    /// sizeof(lq_redrive_options).
    pub size: usize,
    /// The ids of the letters, as lq_group_dead_letters shows them, read during the call only.
    /// NULL: all.
    pub ids: *const lq_message_id,
    /// How many ids.
    pub ids_len: usize,
    /// At most so many, the oldest first. 0: no limit.
    pub limit: u64,
    /// The last error has this in it, in UTF-8, read during the call only. NULL: any.
    pub error_contains: *const c_char,
    /// The key, read during the call only. data NULL: any.
    pub key: lq_bytes,
    /// The partition that the message was in. -1: any.
    pub source_partition: i64,
    /// It became a dead letter then or later, in nanoseconds since the Unix epoch. 0: whenever.
    pub failed_since_ns: i64,
    /// It became a dead letter before then. 0: whenever.
    pub failed_until_ns: i64,
    /// At most so many in a second, which the call waits for. 0: no limit.
    pub rate: f64,
    /// Called after some were redriven, and every 50 ms while the call waits for the rate. NULL:
    /// nobody is told.
    ///
    /// done: how many were redriven.
    /// of: how many there are to redrive.
    /// context: the field of this name.
    ///
    /// Returns: 0 to end the call early, which then gives how many were redriven; else to go on.
    /// Threads: the one that made the call.
    pub progress: Option<unsafe extern "C" fn(done: u64, of: u64, context: *mut c_void) -> i32>,
    /// Handed to progress as it is.
    pub context: *mut c_void,
}

// SAFETY: repr(C), begins with its size; numbers and pointers may hold any bytes, and the program
// promises that what it gives as progress is NULL or a function.
unsafe impl Measured for lq_redrive_options {
    const NAME: &'static str = "lq_redrive_options";
    const INIT: Self = Self {
        size: size_of::<Self>(),
        ids: null(),
        ids_len: 0,
        limit: 0,
        error_contains: null(),
        key: lq_bytes {
            data: null(),
            len: 0,
        },
        source_partition: -1,
        failed_since_ns: 0,
        failed_until_ns: 0,
        rate: 0.0,
        progress: None,
        context: std::ptr::null_mut(),
    };
}

/// The ids of a call; `None` for NULL.
///
/// # Safety
/// `ids`, unless it is NULL, is valid for n of them.
unsafe fn ids_of(ids: *const lq_message_id, n: usize) -> Result<Option<Vec<MessageId>>> {
    if ids.is_null() && n == 0 {
        return Ok(None);
    }
    // SAFETY: valid as demanded above; NULL is refused.
    let ids = unsafe { slice(ids, n, "ids") }?;
    Ok(Some(ids.iter().map(MessageId::from).collect()))
}

/// Tells which of the ids were refused, where the caller asked for it.
///
/// # Safety
/// `results`, unless it is NULL, is valid for n of them.
unsafe fn tell(done: &Result<u64>, n: usize, results: *mut lq_status) -> Result<()> {
    let refused = match done {
        Err(error) if error.refused_places().is_empty() => return Ok(()),
        Err(error) => error.refused_places(),
        Ok(_) => &[],
    };
    if results.is_null() {
        return Ok(());
    }
    // SAFETY: valid as demanded above.
    let results = unsafe { slice_mut(results, n, "results") }?;
    results.fill(LQ_OK);
    for place in refused {
        if let Some(result) = results.get_mut(*place) {
            *result = LQ_NOT_FOUND;
        }
    }
    Ok(())
}

/// Hands dead letters of a group out again, to its consumers and to nobody else, before what is
/// fresh. Each is the message that it was, with its own id, key, headers, payload and time, and a
/// header lq-cycles that says how often it came back dead before; one that held its key
/// (LQ_ON_DEAD_LETTER_HOLD_KEY) has its own headers alone. Its failures begin at 0, its attempts go
/// on. It is no dead letter from here on; where it fails for the last time again it
/// becomes another one. Durable before the call returns. By hand, as with lq_group_settle, it goes
/// by the id of its dead letter.
///
/// group: the group.
/// options: which, and how; NULL for all, as fast as it can.
/// results: gets a code for each of the ids, LQ_OK or LQ_NOT_FOUND, where the call returns one of
/// these two; else left as it is. NULL if they are of no interest.
/// count: gets how many were redriven; NULL if that is of no interest.
///
/// Returns: LQ_OK; LQ_NOT_FOUND (some ids are no dead letters of the group now, as after an earlier
/// redrive, or the group was deleted; all others are redriven); LQ_FULL (the oldest dead letter is
/// too far before the others); LQ_DAMAGED (some letters cannot be read; told once, all others are
/// redriven); LQ_BUSY (the group's letters go to another topic since); LQ_INVALID_ARGUMENT (no open
/// group, NULL ids, a number of the options); LQ_READ_ONLY, LQ_DISK_FULL, LQ_STUCK, LQ_CLOSED,
/// LQ_FORKED, LQ_FENCED, LQ_IO, LQ_INTERNAL.
/// Threads: any, several at once; not from progress of the same call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_group_redrive(
    group: *mut lq_group,
    options: *const lq_redrive_options,
    results: *mut lq_status,
    count: *mut u64,
) -> lq_status {
    call(|| {
        let group = GROUPS.enter(group)?;
        // SAFETY: the caller keeps its options, and what they point to, valid during the call.
        let given = unsafe { read(options) }?;
        // SAFETY: as above.
        let ids = unsafe { ids_of(given.ids, given.ids_len) }?;
        // SAFETY: as above.
        let error = unsafe { reason(given.error_contains) };
        let key = match given.key.data {
            data if data.is_null() => None,
            // SAFETY: as above.
            data => Some(unsafe { slice(data, given.key.len, "key") }?),
        };
        if given.source_partition < -1 {
            let found = given.source_partition;
            return Err(invalid(format!(
                "source_partition is {found}; expected a partition, or -1 for any"
            )));
        }
        let wanted = |one: &DeadLetterEntry| {
            let partition = i64::from(one.source_partition);
            error.as_deref().is_none_or(|part| one.error.contains(part))
                && key.is_none_or(|key| one.message.key() == Some(key))
                && [-1, partition].contains(&given.source_partition)
                && one.last_failed_ns >= given.failed_since_ns
                && (given.failed_until_ns == 0 || one.last_failed_ns < given.failed_until_ns)
        };
        let mut progress = |done, of| match given.progress {
            // SAFETY: the caller's function, with the caller's context.
            Some(told) => unsafe { told(done, of, given.context) != 0 },
            None => true,
        };
        let done = group.group.redrive(RedriveOptions {
            ids: ids.as_deref(),
            limit: (given.limit != 0).then_some(given.limit),
            filter: Some(&wanted),
            rate: (given.rate != 0.0).then_some(given.rate),
            progress: Some(&mut progress),
        });
        // SAFETY: the caller gives room for as many results as ids.
        unsafe { tell(&done, given.ids_len, results) }?;
        give(done?, count)
    })
}

/// Gives up on dead letters for good. They stay in their topic, for who reads that, and are no dead
/// letters of the group any more. What was redriven is left alone. Where a letter is damaged its
/// message goes on holding the key that it held: lq_group_settle ends that, by the message's id.
/// Durable before the call returns.
///
/// group: the group.
/// ids: n ids, as lq_group_dead_letters shows them, read during the call only; NULL for all that
/// are there when the call begins: what comes meanwhile stays.
/// n: how many ids.
/// results: gets n codes, each LQ_OK or LQ_NOT_FOUND, where the call returns one of these two; else
/// left as it is. NULL if they are of no interest.
/// count: gets how many were purged; NULL if that is of no interest.
///
/// Returns: as lq_group_redrive.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_group_purge_dead_letters(
    group: *mut lq_group,
    ids: *const lq_message_id,
    n: usize,
    results: *mut lq_status,
    count: *mut u64,
) -> lq_status {
    call(|| {
        let group = GROUPS.enter(group)?;
        // SAFETY: the caller keeps its ids valid during the call.
        let ids = unsafe { ids_of(ids, n) }?;
        let done = group.group.purge_dead_letters(ids.as_deref());
        // SAFETY: the caller gives room for as many results as ids.
        unsafe { tell(&done, n, results) }?;
        give(done?, count)
    })
}

fn give(done: u64, count: *mut u64) -> Result<()> {
    if !count.is_null() {
        // SAFETY: the caller gives room for a number.
        unsafe { Out::new(count, "count") }?.set(done);
    }
    Ok(())
}
