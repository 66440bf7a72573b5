//! Lists of names.

use std::ffi::{CString, c_char};

use libqueue::Result;

use crate::args::{c_text, invalid};
use crate::error::lq_status;
use crate::handle::{Closing, Table, Tag};
use crate::panic::{call, value};

/// A list of names. Threads: any, several at once; none while or after it is freed.
pub struct lq_names(());

static NAMES: Table<Vec<CString>> = Table::new("lq_names", Tag::Names);

/// A list for C.
pub(crate) fn list(names: Vec<String>) -> Result<*mut lq_names> {
    NAMES.open(names.into_iter().map(c_text).collect())
}

/// How many names a list has.
///
/// names: the list.
///
/// Returns: the number; 0 for NULL and for a list that was freed.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_names_len(names: *const lq_names) -> usize {
    value(0, || Ok(NAMES.enter(names)?.len()))
}

/// A name of a list.
///
/// names: the list.
/// i: its place, from 0.
///
/// Returns: the name, in UTF-8; NULL where there is none at i, and for a list that is NULL or
/// freed, with the reason in lq_last_error_message.
/// Memory: belongs to the list; valid until it is freed.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_names_get(names: *const lq_names, i: usize) -> *const c_char {
    value(std::ptr::null(), || {
        let names = NAMES.enter(names)?;
        let count = names.len();
        let name = names.get(i).ok_or_else(|| {
            invalid(format!(
                "i is {i}; expected below {count}, the length of the list"
            ))
        })?;
        Ok(name.as_ptr())
    })
}

/// Frees a list, and the names in it.
///
/// names: the list; NULL is fine.
///
/// Returns: LQ_OK; LQ_INVALID_ARGUMENT (it was freed before, or is no list); LQ_INTERNAL.
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_names_free(names: *mut lq_names) -> lq_status {
    call(|| NAMES.close(names, |_| Closing::Done(Ok(()))))
}
