//! Lists of dead letters.

use std::ffi::{CString, c_char};

use libqueue::{DeadLetterEntry, Result};

use crate::args::{c_text, invalid};
use crate::batch::{lq_delivery, point, view};
use crate::error::lq_status;
use crate::handle::{Closing, Table, Tag};
use crate::message::{lq_header, lq_message_id};
use crate::panic::{call, value};

/// A dead letter of a group. It belongs to its list, and so does all that it points to.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct lq_dead_letter_entry {
    /// The message, with its id in the topic of dead letters; it has no receipt.
    pub message: lq_delivery,
    /// The partition it was in.
    pub source_partition: u32,
    /// How often it was handed out.
    pub attempts: u32,
    /// The offset it had there.
    pub source_offset: u64,
    /// How many of the hand-outs failed.
    pub failures: u32,
    /// The last error, in UTF-8; never NULL.
    pub error: *const c_char,
    /// The name of the last consumer; never NULL.
    pub consumer: *const c_char,
    /// The name of the topic it was in; never NULL.
    pub source_topic: *const c_char,
    /// The id it had.
    pub source_id: lq_message_id,
    /// When it first failed, in nanoseconds since the Unix epoch; 0 if that is not known.
    pub first_failed_ns: i64,
    /// When it became a dead letter.
    pub last_failed_ns: i64,
    /// How often it came back dead from a redrive; 0 in its first dead letter.
    pub cycles: u32,
}

/// A list of dead letters. Threads: any, several at once; none while or after it is freed.
pub struct lq_dead_letters(());

struct List {
    entries: Vec<lq_dead_letter_entry>,
    // Only held: the entries point into these.
    _messages: Vec<DeadLetterEntry>,
    _headers: Vec<lq_header>,
    _texts: Vec<CString>,
}

// SAFETY: the pointers of the entries go to bytes of the mapped log, which the messages keep mapped
// and nobody writes any more, and to headers and texts that are never changed once they are made.
unsafe impl Send for List {}
// SAFETY: as above; all access is shared and only reads.
unsafe impl Sync for List {}

static LISTS: Table<List> = Table::new("lq_dead_letters", Tag::DeadLetters);

/// A list for C.
pub(crate) fn list(found: Vec<DeadLetterEntry>) -> Result<*mut lq_dead_letters> {
    let mut headers = Vec::new();
    let mut texts = Vec::with_capacity(3 * found.len());
    let mut entries: Vec<lq_dead_letter_entry> = Vec::with_capacity(found.len());
    for one in &found {
        let [error, consumer, topic] =
            [&one.error, &one.consumer, &one.source_topic].map(|text| c_text(text.as_str()));
        entries.push(lq_dead_letter_entry {
            message: view(&one.message, &mut headers),
            source_partition: one.source_partition,
            attempts: one.attempts,
            source_offset: one.source_offset,
            failures: one.failures,
            error: error.as_ptr(),
            consumer: consumer.as_ptr(),
            source_topic: topic.as_ptr(),
            source_id: one.source_id.into(),
            first_failed_ns: one.first_failed_ns,
            last_failed_ns: one.last_failed_ns,
            cycles: one.cycles,
        });
        texts.extend([error, consumer, topic]);
    }
    point(entries.iter_mut().map(|one| &mut one.message), &headers);
    LISTS.open(List {
        entries,
        _messages: found,
        _headers: headers,
        _texts: texts,
    })
}

/// How many dead letters a list has.
///
/// list: the list.
///
/// Returns: the number; 0 for NULL and for a list that was freed.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_dead_letters_len(list: *const lq_dead_letters) -> usize {
    value(0, || Ok(LISTS.enter(list)?.entries.len()))
}

/// A dead letter of a list.
///
/// list: the list.
/// i: its place, from 0.
///
/// Returns: the dead letter; NULL where there is none at i, and for a list that is NULL or freed,
/// with the reason in lq_last_error_message.
/// Memory: belongs to the list; valid until it is freed.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_dead_letters_get(
    list: *const lq_dead_letters,
    i: usize,
) -> *const lq_dead_letter_entry {
    value(std::ptr::null(), || {
        let list = LISTS.enter(list)?;
        let count = list.entries.len();
        let entry = list.entries.get(i).ok_or_else(|| {
            invalid(format!(
                "i is {i}; expected below {count}, the length of the list"
            ))
        })?;
        Ok(std::ptr::from_ref(entry))
    })
}

/// Frees a list, and all that its dead letters point to.
///
/// list: the list; NULL is fine.
///
/// Returns: LQ_OK; LQ_INVALID_ARGUMENT (it was freed before, or is no list); LQ_INTERNAL.
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_dead_letters_free(list: *mut lq_dead_letters) -> lq_status {
    call(|| LISTS.close(list, |_| Closing::Done(Ok(()))))
}
