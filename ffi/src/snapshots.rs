//! Snapshots of a group.

use std::ffi::{CString, c_char};

use libqueue::{Result, SnapshotInfo};

use crate::args::{Out, c_text, invalid, name as name_of};
use crate::error::lq_status;
use crate::group::{GROUPS, lq_group};
use crate::handle::{Closing, Table, Tag};
use crate::panic::{call, value};

/// A snapshot of a group. It belongs to its list.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct lq_snapshot {
    /// Its name; never NULL.
    pub name: *const c_char,
    /// When it was taken, in nanoseconds since the Unix epoch.
    pub taken_ns: i64,
    /// Messages that the group had taken in and not settled then.
    pub open: u64,
    /// Bytes of its file.
    pub bytes: u64,
    /// 1 where it can be sought; 0 where its file is damaged, and then all but name and bytes is 0.
    pub whole: i32,
}

/// A list of snapshots. Threads: any, several at once; none while or after it is freed.
pub struct lq_snapshots(());

struct List {
    entries: Vec<lq_snapshot>,
    // Only held: the entries point into these.
    _names: Vec<CString>,
}

// SAFETY: the pointers of the entries go to names that are never changed once they are made.
unsafe impl Send for List {}
// SAFETY: as above; all access is shared and only reads.
unsafe impl Sync for List {}

static LISTS: Table<List> = Table::new("lq_snapshots", Tag::Snapshots);

fn list(found: Vec<SnapshotInfo>) -> Result<*mut lq_snapshots> {
    let names: Vec<CString> = found.iter().map(|one| c_text(one.name.as_str())).collect();
    let entries = found.iter().zip(&names).map(|(one, name)| lq_snapshot {
        name: name.as_ptr(),
        taken_ns: one.taken_ns,
        open: one.open,
        bytes: one.bytes,
        whole: i32::from(one.whole),
    });
    LISTS.open(List {
        entries: entries.collect(),
        _names: names,
    })
}

/// Takes a snapshot of a group: which messages of each partition are settled, and the attempts and
/// failures of those that are not, at one point of each partition. lq_group_seek goes back to it.
/// On disk before the call returns; deleted with the group.
///
/// group: the group.
/// name: a letter and up to 63 more of the characters A-Z a-z 0-9 . _ - but neither "earliest" nor
/// "latest".
///
/// Returns: LQ_OK; LQ_INVALID_NAME; LQ_ALREADY_EXISTS; LQ_TOO_MANY (a group has at most 100);
/// LQ_TOO_LARGE (more than 4,194,304 messages are taken in and not settled); LQ_INVALID_ARGUMENT
/// (NULL, no open group); LQ_NOT_FOUND (the group was deleted); LQ_READ_ONLY, LQ_DISK_FULL,
/// LQ_DAMAGED, LQ_STUCK, LQ_CLOSED, LQ_FORKED, LQ_FENCED, LQ_IO, LQ_INTERNAL.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_group_snapshot(group: *mut lq_group, name: *const c_char) -> lq_status {
    call(|| {
        let group = GROUPS.enter(group)?;
        // SAFETY: the caller keeps its name, a C string, valid during the call.
        let name = unsafe { name_of(name, "the snapshot's name") }?;
        group.group.snapshot(name).map(drop)
    })
}

/// Deletes a snapshot of a group, durably.
///
/// group: the group.
/// name: the snapshot's name.
///
/// Returns: LQ_OK; LQ_NOT_FOUND (there is none of the name, or the group was deleted); LQ_BUSY (a
/// seek to it cannot be done with yet); LQ_INVALID_NAME; LQ_INVALID_ARGUMENT (NULL, no open group);
/// LQ_READ_ONLY, LQ_DISK_FULL, LQ_DAMAGED, LQ_STUCK, LQ_CLOSED, LQ_FORKED, LQ_FENCED, LQ_IO,
/// LQ_INTERNAL.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_group_delete_snapshot(
    group: *mut lq_group,
    name: *const c_char,
) -> lq_status {
    call(|| {
        let group = GROUPS.enter(group)?;
        // SAFETY: the caller keeps its name, a C string, valid during the call.
        let name = unsafe { name_of(name, "the snapshot's name") }?;
        group.group.delete_snapshot(name)
    })
}

/// The snapshots of a group, in the order of their names.
///
/// group: the group.
/// list: gets the list; an empty one where there are none.
///
/// Returns: LQ_OK; LQ_INVALID_ARGUMENT (NULL, no open group); LQ_NOT_FOUND (the group was deleted);
/// LQ_STUCK, LQ_CLOSED, LQ_FORKED, LQ_IO, LQ_INTERNAL.
/// Memory: free the list with lq_snapshots_free.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_group_snapshots(
    group: *mut lq_group,
    list: *mut *mut lq_snapshots,
) -> lq_status {
    call(|| {
        // SAFETY: the caller gives room for a handle.
        let out = unsafe { Out::new(list, "list") }?;
        let found = GROUPS.enter(group)?.group.snapshots()?;
        out.set(self::list(found)?);
        Ok(())
    })
}

/// How many snapshots a list has.
///
/// list: the list.
///
/// Returns: the number; 0 for NULL and for a list that was freed.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_snapshots_len(list: *const lq_snapshots) -> usize {
    value(0, || Ok(LISTS.enter(list)?.entries.len()))
}

/// A snapshot of a list.
///
/// list: the list.
/// i: its place, from 0.
///
/// Returns: the snapshot; NULL where there is none at i, and for a list that is NULL or freed, with
/// the reason in lq_last_error_message.
/// Memory: belongs to the list; valid until it is freed.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_snapshots_get(
    list: *const lq_snapshots,
    i: usize,
) -> *const lq_snapshot {
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

/// Frees a list, and all that its snapshots point to.
///
/// list: the list; NULL is fine.
///
/// Returns: LQ_OK; LQ_INVALID_ARGUMENT (it was freed before, or is no list); LQ_INTERNAL.
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_snapshots_free(list: *mut lq_snapshots) -> lq_status {
    call(|| LISTS.close(list, |_| Closing::Done(Ok(()))))
}
