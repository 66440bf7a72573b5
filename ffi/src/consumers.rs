//! Lists of a group's consumers.

use std::ffi::{CString, c_char};

use libqueue::{ConsumerStats, Result};

use crate::args::{Out, c_text, invalid};
use crate::error::lq_status;
use crate::group::{GROUPS, lq_group};
use crate::handle::{Closing, Table, Tag};
use crate::panic::{call, value};

/// A consumer of a group, and what it did since it was opened. It belongs to its list. One that
/// fails what others manage has a larger part of failed in delivered than they.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct lq_consumer_stats {
    /// Its name, in UTF-8; never NULL.
    pub name: *const c_char,
    /// Id of its process, as its own container numbers it.
    pub process: u64,
    /// Messages that it has now.
    pub leased: u64,
    /// Messages that it was handed, each as often as it was.
    pub delivered: u64,
    /// Those that were acknowledged while it had them.
    pub acked: u64,
    /// Those that failed in its hands: nacks, leases that ran out, messages that it gave up.
    pub failed: u64,
    /// The part of failed in delivered, 0 to 1.
    pub failed_share: f64,
    /// That part of all other consumers of the group together; 0 where there are none.
    pub others_failed_share: f64,
    /// 1 where it fails what others manage: 5 messages or more failed in its hands, and its share
    /// is more than twice that of the others and a twentieth. Else 0, also where there are no
    /// others.
    pub stands_out: i32,
}

/// A list of consumers. Threads: any, several at once; none while or after it is freed.
pub struct lq_consumers(());

struct List {
    entries: Vec<lq_consumer_stats>,
    // Only held: the entries point into these.
    _names: Vec<CString>,
}

// SAFETY: the pointers of the entries go to names that are never changed once they are made.
unsafe impl Send for List {}
// SAFETY: as above; all access is shared and only reads.
unsafe impl Sync for List {}

static LISTS: Table<List> = Table::new("lq_consumers", Tag::Consumers);

fn list(found: Vec<ConsumerStats>) -> Result<*mut lq_consumers> {
    let names: Vec<CString> = found.iter().map(|one| c_text(one.name.as_str())).collect();
    let entries = found
        .iter()
        .zip(&names)
        .map(|(one, name)| lq_consumer_stats {
            name: name.as_ptr(),
            process: u64::from(one.process),
            leased: one.leased,
            delivered: one.delivered,
            acked: one.acked,
            failed: one.failed,
            failed_share: one.failed_share,
            others_failed_share: one.others_failed_share,
            stands_out: i32::from(one.stands_out),
        });
    LISTS.open(List {
        entries: entries.collect(),
        _names: names,
    })
}

/// The consumers of a group, in all processes, in the order of their names.
///
/// group: the group.
/// list: gets the list; an empty one where there are none.
///
/// Returns: LQ_OK; LQ_INVALID_ARGUMENT (NULL, no open group); LQ_NOT_FOUND (the group was deleted);
/// LQ_DAMAGED, LQ_STUCK, LQ_CLOSED, LQ_FORKED, LQ_IO, LQ_INTERNAL.
/// Memory: free the list with lq_consumers_free.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_group_consumers(
    group: *mut lq_group,
    list: *mut *mut lq_consumers,
) -> lq_status {
    call(|| {
        // SAFETY: the caller gives room for a handle.
        let out = unsafe { Out::new(list, "list") }?;
        let found = GROUPS.enter(group)?.group.consumers()?;
        out.set(self::list(found)?);
        Ok(())
    })
}

/// How many consumers a list has.
///
/// list: the list.
///
/// Returns: the number; 0 for NULL and for a list that was freed.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_consumers_len(list: *const lq_consumers) -> usize {
    value(0, || Ok(LISTS.enter(list)?.entries.len()))
}

/// A consumer of a list.
///
/// list: the list.
/// i: its place, from 0.
///
/// Returns: the consumer; NULL where there is none at i, and for a list that is NULL or freed, with
/// the reason in lq_last_error_message.
/// Memory: belongs to the list; valid until it is freed.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_consumers_get(
    list: *const lq_consumers,
    i: usize,
) -> *const lq_consumer_stats {
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

/// Frees a list, and all that its consumers point to.
///
/// list: the list; NULL is fine.
///
/// Returns: LQ_OK; LQ_INVALID_ARGUMENT (it was freed before, or is no list); LQ_INTERNAL.
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_consumers_free(list: *mut lq_consumers) -> lq_status {
    call(|| LISTS.close(list, |_| Closing::Done(Ok(()))))
}
