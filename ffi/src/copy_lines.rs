//! Exports and imports as JSON lines.

use std::ffi::c_char;

use crate::copy::{export, import, lq_copy_options, lq_copy_stats};
use crate::error::lq_status;
use crate::panic::call;
use crate::store::lq_store;

/// As lq_store_export, as JSON lines: UTF-8, an object a line, to be looked at and changed with any
/// tool. A line has one of these:
///
/// - topic_config: a topic's name and the fields of its configuration, before its messages;
/// - topic, partition, offset, timestamp_ns, key, headers, priority, deliver_at_ms, expires_at_ms,
///   payload: a message. Bytes that are no UTF-8 are key_base64 and payload_base64, and
///   {"base64": ...} in a header;
/// - log_end: the offset of the next message of a partition;
/// - group, standing, snapshot: a group, where it stands in a partition, a snapshot of it;
/// - end: how many topics, groups and messages there were.
///
/// store: the store.
/// path: the file.
/// options: topics, progress and context; NULL for all topics.
/// stats: gets what is in it, with the bytes of the lines; NULL if that is of no interest.
///
/// Returns: LQ_OK; LQ_NOT_FOUND (there is no topic of a name, or the folder is missing);
/// LQ_INVALID_NAME; LQ_DAMAGED (with file and position); LQ_INVALID_ARGUMENT (NULL, no open store);
/// LQ_TIMEOUT (progress ended the call); LQ_READ_ONLY, LQ_DISK_FULL, LQ_PERMISSION_DENIED, LQ_BUSY,
/// LQ_STUCK, LQ_CLOSED, LQ_FENCED, LQ_IO, LQ_UNSUPPORTED, LQ_INTERNAL.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_store_export_lines(
    store: *mut lq_store,
    path: *const c_char,
    options: *const lq_copy_options,
    stats: *mut lq_copy_stats,
) -> lq_status {
    // SAFETY: the caller keeps what it gives valid during the call.
    call(|| unsafe {
        export(store, path, options, stats, |store, names, path, tell| {
            store.export_lines_file(names, path, tell)
        })
    })
}

/// Makes the topics of JSON lines, as lq_store_import does those of a native export. Lines may be
/// left out, changed, and come from elsewhere: what is not said is as by default. A message needs
/// its topic, and a payload or payload_base64. Without offset it follows on the one before, without
/// timestamp_ns it is sent now, without partition its key finds it, or it is its turn; delay and
/// ttl are seconds from now on. A topic without topic_config has one partition and the defaults.
/// Where there is an end, it is the last line, and has to agree with what was read. All lines are
/// read and checked before anything is made: for progress that is the first half.
///
/// store: the store.
/// path: the file, or a pipe.
/// options: append, progress and context; NULL for none of them.
/// stats: gets what was made; NULL if that is of no interest.
///
/// Returns: LQ_OK; LQ_INVALID_ARGUMENT (with the number of the line that cannot be, from 1 on, and
/// then nothing was imported; NULL, no open store, dead letters that would lead back);
/// LQ_ALREADY_EXISTS (a topic exists); LQ_NOT_FOUND (there is no such file); LQ_TIMEOUT (progress
/// ended the call); LQ_READ_ONLY, LQ_DISK_FULL, LQ_PERMISSION_DENIED, LQ_BUSY, LQ_FULL, LQ_STUCK,
/// LQ_CLOSED, LQ_FENCED, LQ_IO, LQ_UNSUPPORTED, LQ_INTERNAL.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_store_import_lines(
    store: *mut lq_store,
    path: *const c_char,
    options: *const lq_copy_options,
    stats: *mut lq_copy_stats,
) -> lq_status {
    // SAFETY: the caller keeps what it gives valid during the call.
    call(|| unsafe {
        import(store, path, options, stats, |store, path, options, tell| {
            store.import_lines_file(path, options, tell)
        })
    })
}
