//! Settling: all receipts that are good, and word of those that are stale.

use std::ffi::c_char;
use std::time::Duration;

use libqueue::{Consumer, Receipt, Result};

use crate::args::{invalid, reason as reason_of, slice, slice_mut};
use crate::consumer::{CONSUMERS, lq_consumer};
use crate::error::{LQ_INVALID_ARGUMENT, LQ_OK, LQ_STALE_RECEIPT, lq_status};
use crate::message::lq_receipt;
use crate::options::LQ_BACKOFF;
use crate::panic::call;

/// The receipts of one call.
#[derive(Clone, Copy)]
struct Given {
    receipts: *const lq_receipt,
    n: usize,
    results: *mut lq_status,
}

/// Runs one settle call, and tells which receipts were stale where the caller asked for it.
///
/// # Safety
/// The receipts and results of `given`, unless they are NULL, are valid for n of them.
unsafe fn settle(
    consumer: *mut lq_consumer,
    given: Given,
    one_call: impl FnOnce(&Consumer, &[Receipt]) -> Result<()>,
) -> Result<()> {
    let handle = CONSUMERS.enter(consumer)?;
    // SAFETY: valid as demanded above.
    let receipts = unsafe { slice(given.receipts, given.n, "receipts") }?;
    let results = match given.results {
        results if results.is_null() => &mut [],
        // SAFETY: valid as demanded above.
        results => unsafe { slice_mut(results, given.n, "results") }?,
    };
    let done = match receipts {
        [receipt] => one_call(&handle.consumer, &[receipt.into()]),
        many => {
            let many: Vec<Receipt> = many.iter().map(Receipt::from).collect();
            one_call(&handle.consumer, &many)
        }
    };
    // Nobody asked. Filling none of them would not be free: it calls memset with an address that is
    // not mapped, and where that is a masked store of AVX-512 the processor takes 50 ns to find out
    // that nothing is written there.
    if results.is_empty() {
        return done;
    }
    let (stale, refused) = match &done {
        Ok(()) => (&[][..], &[][..]),
        Err(error) => (error.stale_places(), error.refused_places()),
    };
    if done.is_err() && stale.is_empty() && refused.is_empty() {
        return done;
    }
    results.fill(LQ_OK);
    for (places, code) in [(stale, LQ_STALE_RECEIPT), (refused, LQ_INVALID_ARGUMENT)] {
        for place in places {
            if let Some(result) = results.get_mut(*place) {
                *result = code;
            }
        }
    }
    done
}

/// What a call asks for in milliseconds, without a number that leaves it out.
fn millis(what: &str, ms: i64, expected: &str) -> Result<Duration> {
    u64::try_from(ms)
        .map(Duration::from_millis)
        .map_err(|_| invalid(format!("{what} is {ms}; expected {expected}")))
}

const NO_REASON: &str = "dead-lettered without a reason";

/// The messages are done. Where the group hands out at most once they were before, and nothing
/// happens.
///
/// consumer: a consumer of the group.
/// receipts: n receipts, read during the call only.
/// n: how many; nothing happens where it is 0.
///
/// Returns: LQ_OK; LQ_STALE_RECEIPT (some messages were settled or handed out again meanwhile; all
/// others are settled); LQ_INVALID_ARGUMENT (NULL, no open consumer); LQ_STUCK, LQ_READ_ONLY,
/// LQ_CLOSED, LQ_FORKED, LQ_FENCED, LQ_IO, LQ_INTERNAL.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_ack(
    consumer: *mut lq_consumer,
    receipts: *const lq_receipt,
    n: usize,
) -> lq_status {
    let results = std::ptr::null_mut();
    // SAFETY: the caller keeps its arguments valid during the call.
    unsafe { lq_ack_results(consumer, receipts, n, results) }
}

/// As lq_ack, and says of each receipt whether it was stale.
///
/// consumer: a consumer of the group.
/// receipts: n receipts, read during the call only.
/// n: how many; nothing happens where it is 0.
/// results: gets n codes, each LQ_OK or LQ_STALE_RECEIPT, where the call returns one of these two;
/// else left as it is. NULL if they are of no interest.
///
/// Returns: LQ_OK; LQ_STALE_RECEIPT (some messages were settled or handed out again meanwhile; all
/// others are settled); LQ_INVALID_ARGUMENT (NULL, no open consumer); LQ_STUCK, LQ_READ_ONLY,
/// LQ_CLOSED, LQ_FORKED, LQ_FENCED, LQ_IO, LQ_INTERNAL.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_ack_results(
    consumer: *mut lq_consumer,
    receipts: *const lq_receipt,
    n: usize,
    results: *mut lq_status,
) -> lq_status {
    call(|| {
        let given = Given {
            receipts,
            n,
            results,
        };
        // SAFETY: the caller keeps its receipts, and the room for results, valid during the call.
        unsafe { settle(consumer, given, |consumer, receipts| consumer.ack(receipts)) }
    })
}

/// The messages failed: they come back after a delay, and after the group's max_attempts failures
/// they become dead letters. Where the group hands out at most once a failure is counted, and
/// nothing comes back.
///
/// consumer: a consumer of the group.
/// receipts: n receipts, read during the call only.
/// n: how many; nothing happens where it is 0.
/// delay_ms: when they come back, in milliseconds; LQ_BACKOFF takes the group's backoff.
/// error: why, for statistics and dead letters; read during the call only; NULL for no text. What
/// is not UTF-8 in it is replaced.
///
/// Returns: LQ_OK; LQ_STALE_RECEIPT (some messages were settled or handed out again meanwhile; all
/// others are settled); LQ_INVALID_ARGUMENT (NULL, no open consumer, a bad delay_ms); LQ_DISK_FULL
/// (no room for a dead letter); LQ_STUCK, LQ_READ_ONLY, LQ_CLOSED, LQ_FORKED, LQ_FENCED, LQ_IO,
/// LQ_INTERNAL.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_nack(
    consumer: *mut lq_consumer,
    receipts: *const lq_receipt,
    n: usize,
    delay_ms: i64,
    error: *const c_char,
) -> lq_status {
    let results = std::ptr::null_mut();
    // SAFETY: the caller keeps its arguments valid during the call.
    unsafe { lq_nack_results(consumer, receipts, n, delay_ms, error, results) }
}

/// As lq_nack, and says of each receipt whether it was stale.
///
/// consumer: a consumer of the group.
/// receipts: n receipts, read during the call only.
/// n: how many; nothing happens where it is 0.
/// delay_ms: when they come back, in milliseconds; LQ_BACKOFF takes the group's backoff.
/// error: why, for statistics and dead letters; read during the call only; NULL for no text. What
/// is not UTF-8 in it is replaced.
/// results: gets n codes, each LQ_OK or LQ_STALE_RECEIPT, where the call returns one of these two;
/// else left as it is. NULL if they are of no interest.
///
/// Returns: LQ_OK; LQ_STALE_RECEIPT (some messages were settled or handed out again meanwhile; all
/// others are settled); LQ_INVALID_ARGUMENT (NULL, no open consumer, a bad delay_ms); LQ_DISK_FULL
/// (no room for a dead letter); LQ_STUCK, LQ_READ_ONLY, LQ_CLOSED, LQ_FORKED, LQ_FENCED, LQ_IO,
/// LQ_INTERNAL.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_nack_results(
    consumer: *mut lq_consumer,
    receipts: *const lq_receipt,
    n: usize,
    delay_ms: i64,
    error: *const c_char,
    results: *mut lq_status,
) -> lq_status {
    call(|| {
        let given = Given {
            receipts,
            n,
            results,
        };
        let delay = match delay_ms {
            LQ_BACKOFF => None,
            ms => Some(millis("delay_ms", ms, "0 or more, or LQ_BACKOFF (-1)")?),
        };
        // SAFETY: the caller keeps its text, a C string, valid during the call.
        let error = unsafe { reason_of(error) };
        // SAFETY: the caller keeps its receipts, and the room for results, valid during the call.
        unsafe {
            settle(consumer, given, |consumer, receipts| {
                consumer.nack(receipts, delay, error.as_deref())
            })
        }
    })
}

/// The messages go back to the group, not counted as failures; they are ready at once. Not where
/// the group hands out at most once: LQ_INVALID_ARGUMENT, also from lq_extend and lq_dead_letter.
///
/// consumer: a consumer of the group.
/// receipts: n receipts, read during the call only.
/// n: how many; nothing happens where it is 0.
///
/// Returns: LQ_OK; LQ_STALE_RECEIPT (some messages were settled or handed out again meanwhile; all
/// others are settled); LQ_INVALID_ARGUMENT (NULL, no open consumer); LQ_STUCK, LQ_READ_ONLY,
/// LQ_CLOSED, LQ_FORKED, LQ_FENCED, LQ_IO, LQ_INTERNAL.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_release(
    consumer: *mut lq_consumer,
    receipts: *const lq_receipt,
    n: usize,
) -> lq_status {
    let results = std::ptr::null_mut();
    // SAFETY: the caller keeps its arguments valid during the call.
    unsafe { lq_release_results(consumer, receipts, n, results) }
}

/// As lq_release, and says of each receipt whether it was stale.
///
/// consumer: a consumer of the group.
/// receipts: n receipts, read during the call only.
/// n: how many; nothing happens where it is 0.
/// results: gets n codes, each LQ_OK or LQ_STALE_RECEIPT, where the call returns one of these two;
/// else left as it is. NULL if they are of no interest.
///
/// Returns: LQ_OK; LQ_STALE_RECEIPT (some messages were settled or handed out again meanwhile; all
/// others are settled); LQ_INVALID_ARGUMENT (NULL, no open consumer); LQ_STUCK, LQ_READ_ONLY,
/// LQ_CLOSED, LQ_FORKED, LQ_FENCED, LQ_IO, LQ_INTERNAL.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_release_results(
    consumer: *mut lq_consumer,
    receipts: *const lq_receipt,
    n: usize,
    results: *mut lq_status,
) -> lq_status {
    call(|| {
        let given = Given {
            receipts,
            n,
            results,
        };
        // SAFETY: the caller keeps its receipts, and the room for results, valid during the call.
        unsafe {
            settle(consumer, given, |consumer, receipts| {
                consumer.release(receipts)
            })
        }
    })
}

/// The leases of the messages end lease_ms from now on. Where the group has a max_lease_ms,
/// none ends later than that after its message was handed out: those that would are left as they
/// are, all others extended, and only the consumer that received a message extends it.
///
/// consumer: a consumer of the group.
/// receipts: n receipts, read during the call only.
/// n: how many; nothing happens where it is 0.
/// lease_ms: the new lease in milliseconds; 1 to a year.
///
/// Returns: LQ_OK; LQ_STALE_RECEIPT (some messages were settled or handed out again meanwhile; all
/// others are extended); LQ_INVALID_ARGUMENT (NULL, no open consumer, a bad lease_ms, or beyond
/// max_lease_ms); LQ_STUCK, LQ_READ_ONLY, LQ_CLOSED, LQ_FORKED, LQ_FENCED, LQ_IO, LQ_INTERNAL.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_extend(
    consumer: *mut lq_consumer,
    receipts: *const lq_receipt,
    n: usize,
    lease_ms: i64,
) -> lq_status {
    let results = std::ptr::null_mut();
    // SAFETY: the caller keeps its arguments valid during the call.
    unsafe { lq_extend_results(consumer, receipts, n, lease_ms, results) }
}

/// As lq_extend, and says of each receipt whether it was stale, or would end beyond max_lease_ms.
///
/// consumer: a consumer of the group.
/// receipts: n receipts, read during the call only.
/// n: how many; nothing happens where it is 0.
/// lease_ms: the new lease in milliseconds; 1 to a year.
/// results: gets n codes, each LQ_OK, LQ_STALE_RECEIPT or, beyond max_lease_ms,
/// LQ_INVALID_ARGUMENT, where the call extended what it could; else left as it is. NULL if they are
/// of no interest.
///
/// Returns: LQ_OK; LQ_STALE_RECEIPT (some messages were settled or handed out again meanwhile; all
/// others are extended); LQ_INVALID_ARGUMENT (NULL, no open consumer, a bad lease_ms, or beyond
/// max_lease_ms); LQ_STUCK, LQ_READ_ONLY, LQ_CLOSED, LQ_FORKED, LQ_FENCED, LQ_IO, LQ_INTERNAL.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_extend_results(
    consumer: *mut lq_consumer,
    receipts: *const lq_receipt,
    n: usize,
    lease_ms: i64,
    results: *mut lq_status,
) -> lq_status {
    call(|| {
        let given = Given {
            receipts,
            n,
            results,
        };
        let lease = millis("lease_ms", lease_ms, "1 or more")?;
        // SAFETY: the caller keeps its receipts, and the room for results, valid during the call.
        unsafe {
            settle(consumer, given, |consumer, receipts| {
                consumer.extend(receipts, lease)
            })
        }
    })
}

/// Gives up on the messages: they become dead letters now.
///
/// consumer: a consumer of the group.
/// receipts: n receipts, read during the call only.
/// n: how many; nothing happens where it is 0.
/// reason: why, for the dead letter; read during the call only; NULL for no text. What is not UTF-8
/// in it is replaced.
///
/// Returns: LQ_OK; LQ_STALE_RECEIPT (some messages were settled or handed out again meanwhile; all
/// others are settled); LQ_INVALID_ARGUMENT (NULL, no open consumer); LQ_DISK_FULL (no room for a
/// dead letter); LQ_STUCK, LQ_READ_ONLY, LQ_CLOSED, LQ_FORKED, LQ_FENCED, LQ_IO, LQ_INTERNAL.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_dead_letter(
    consumer: *mut lq_consumer,
    receipts: *const lq_receipt,
    n: usize,
    reason: *const c_char,
) -> lq_status {
    let results = std::ptr::null_mut();
    // SAFETY: the caller keeps its arguments valid during the call.
    unsafe { lq_dead_letter_results(consumer, receipts, n, reason, results) }
}

/// As lq_dead_letter, and says of each receipt whether it was stale.
///
/// consumer: a consumer of the group.
/// receipts: n receipts, read during the call only.
/// n: how many; nothing happens where it is 0.
/// reason: why, for the dead letter; read during the call only; NULL for no text. What is not UTF-8
/// in it is replaced.
/// results: gets n codes, each LQ_OK or LQ_STALE_RECEIPT, where the call returns one of these two;
/// else left as it is. NULL if they are of no interest.
///
/// Returns: LQ_OK; LQ_STALE_RECEIPT (some messages were settled or handed out again meanwhile; all
/// others are settled); LQ_INVALID_ARGUMENT (NULL, no open consumer); LQ_DISK_FULL (no room for a
/// dead letter); LQ_STUCK, LQ_READ_ONLY, LQ_CLOSED, LQ_FORKED, LQ_FENCED, LQ_IO, LQ_INTERNAL.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_dead_letter_results(
    consumer: *mut lq_consumer,
    receipts: *const lq_receipt,
    n: usize,
    reason: *const c_char,
    results: *mut lq_status,
) -> lq_status {
    call(|| {
        let given = Given {
            receipts,
            n,
            results,
        };
        // SAFETY: the caller keeps its text, a C string, valid during the call.
        let reason = unsafe { reason_of(reason) };
        let reason = reason.as_deref().unwrap_or(NO_REASON);
        // SAFETY: the caller keeps its receipts, and the room for results, valid during the call.
        unsafe {
            settle(consumer, given, |consumer, receipts| {
                consumer.dead_letter(receipts, reason)
            })
        }
    })
}
