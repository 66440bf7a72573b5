//! Status codes, and the last error of each thread.

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char};

use libqueue::Error;

/// How a call went: LQ_OK or one of the other LQ_ codes. The numbers are never changed or reused;
/// a later library may return new ones.
pub type lq_status = i32;

/// All is well.
pub const LQ_OK: i32 = 0;
/// An argument is outside of what the call takes: NULL, a number that is out of range, a handle
/// that was closed already or is of another type.
pub const LQ_INVALID_ARGUMENT: i32 = 1;
/// A topic's, group's or consumer's name has characters or a length that are not allowed.
pub const LQ_INVALID_NAME: i32 = 2;
/// The store, topic, group or file does not exist.
pub const LQ_NOT_FOUND: i32 = 3;
/// What was to be created exists already.
pub const LQ_ALREADY_EXISTS: i32 = 4;
/// The operating system does not let this user do it.
pub const LQ_PERMISSION_DENIED: i32 = 5;
/// The store was opened read-only, or lies on a read-only file system.
pub const LQ_READ_ONLY: i32 = 6;
/// The path is a file, or a folder that holds something else than a store.
pub const LQ_NOT_A_STORE: i32 = 7;
/// The store was written by a version that this one cannot share it with.
pub const LQ_INCOMPATIBLE: i32 = 8;
/// The path lies on a network file system, where locks and mappings cannot be relied on.
pub const LQ_NETWORK_FILESYSTEM: i32 = 9;
/// The disk or the quota is full; nothing was stored.
pub const LQ_DISK_FULL: i32 = 10;
/// The operating system reported another input or output error.
pub const LQ_IO: i32 = 11;
/// Stored bytes are not what was written: the message names file and position.
pub const LQ_DAMAGED: i32 = 12;
/// The time that the caller gave is over: nothing came, or the disk was too slow.
pub const LQ_TIMEOUT: i32 = 13;
/// The handle was closed.
pub const LQ_CLOSED: i32 = 14;
/// A receipt's message was handed out again, settled already, or its group was sought.
pub const LQ_STALE_RECEIPT: i32 = 15;
/// The topic is at its limit.
pub const LQ_FULL: i32 = 16;
/// The message is larger than the topic or the format allows.
pub const LQ_TOO_LARGE: i32 = 17;
/// A stored configuration says otherwise; open without the option that contradicts it.
pub const LQ_CONFIG_MISMATCH: i32 = 18;
/// A live process has held a lock for longer than the lock timeout.
pub const LQ_STUCK: i32 = 19;
/// This member or producer was replaced and may not write any more.
pub const LQ_FENCED: i32 = 20;
/// The handle was opened before a fork and cannot be used in the child.
pub const LQ_FORKED: i32 = 21;
/// A table of fixed size (members, consumers) has no free place.
pub const LQ_TOO_MANY: i32 = 22;
/// Something that depends on the handle is still open.
pub const LQ_BUSY: i32 = 23;
/// An earlier sync failed; the partition refuses to append until it was repaired.
pub const LQ_POISONED: i32 = 24;
/// The platform or file system cannot do this.
pub const LQ_UNSUPPORTED: i32 = 25;
/// A bug in libqueue: please report it with the message.
pub const LQ_INTERNAL: i32 = 26;
/// A group's filter does not parse: the message names the place in it.
pub const LQ_INVALID_FILTER: i32 = 27;
/// Retention took the messages that were asked for: the message names their offsets and the
/// earliest one that is kept.
pub const LQ_REMOVED: i32 = 28;

/// The names of all codes, in the order of their numbers.
const NAMES: [&CStr; 29] = [
    c"LQ_OK",
    c"LQ_INVALID_ARGUMENT",
    c"LQ_INVALID_NAME",
    c"LQ_NOT_FOUND",
    c"LQ_ALREADY_EXISTS",
    c"LQ_PERMISSION_DENIED",
    c"LQ_READ_ONLY",
    c"LQ_NOT_A_STORE",
    c"LQ_INCOMPATIBLE",
    c"LQ_NETWORK_FILESYSTEM",
    c"LQ_DISK_FULL",
    c"LQ_IO",
    c"LQ_DAMAGED",
    c"LQ_TIMEOUT",
    c"LQ_CLOSED",
    c"LQ_STALE_RECEIPT",
    c"LQ_FULL",
    c"LQ_TOO_LARGE",
    c"LQ_CONFIG_MISMATCH",
    c"LQ_STUCK",
    c"LQ_FENCED",
    c"LQ_FORKED",
    c"LQ_TOO_MANY",
    c"LQ_BUSY",
    c"LQ_POISONED",
    c"LQ_UNSUPPORTED",
    c"LQ_INTERNAL",
    c"LQ_INVALID_FILTER",
    c"LQ_REMOVED",
];

struct LastError {
    status: lq_status,
    os_code: i32,
    message: Option<CString>,
}

thread_local! {
    static LAST: RefCell<LastError> = const {
        RefCell::new(LastError { status: LQ_OK, os_code: 0, message: None })
    };
}

/// Keeps the error for this thread; its status.
#[cold]
pub(crate) fn remember(error: Error) -> lq_status {
    let status = error.kind().code();
    let text = error.message().replace('\0', "\\0");
    let kept = LastError {
        status,
        os_code: error.os_code().unwrap_or(0),
        message: CString::new(text).ok(),
    };
    // A thread that is ending has nowhere to keep it, and nobody who would ask.
    let _ = LAST.try_with(|last| *last.borrow_mut() = kept);
    status
}

/// What went wrong in this thread's last call that failed: what was expected, what was found,
/// where, and what to do. In UTF-8, without a newline at the end.
///
/// A call that succeeds leaves it as it is, so look at it only after a call that failed.
///
/// Returns: a string, "" if no call failed yet; never NULL.
/// Memory: belongs to the library; valid until the next call of this thread that fails.
/// Threads: any; each has its own.
#[unsafe(no_mangle)]
pub extern "C" fn lq_last_error_message() -> *const c_char {
    let kept = LAST.try_with(|last| last.borrow().message.as_ref().map(|text| text.as_ptr()));
    kept.ok().flatten().unwrap_or(c"".as_ptr())
}

/// The status of this thread's last call that failed.
///
/// Returns: a code, LQ_OK if no call failed yet.
/// Threads: any; each has its own.
#[unsafe(no_mangle)]
pub extern "C" fn lq_last_error_status() -> lq_status {
    LAST.try_with(|last| last.borrow().status).unwrap_or(LQ_OK)
}

/// The operating system's error number (errno) behind this thread's last call that failed.
///
/// Returns: the number, 0 where none is behind it.
/// Threads: any; each has its own.
#[unsafe(no_mangle)]
pub extern "C" fn lq_last_error_os_code() -> i32 {
    LAST.try_with(|last| last.borrow().os_code).unwrap_or(0)
}

/// The name of a status code, as in "LQ_DISK_FULL".
///
/// status: any number.
///
/// Returns: a string that lives for ever, "LQ_UNKNOWN" for numbers that are no code; never NULL.
/// Threads: any.
#[unsafe(no_mangle)]
pub extern "C" fn lq_status_name(status: lq_status) -> *const c_char {
    let place = usize::try_from(status).unwrap_or(usize::MAX);
    NAMES.get(place).copied().unwrap_or(c"LQ_UNKNOWN").as_ptr()
}

#[cfg(test)]
mod tests {
    use libqueue::ErrorKind;

    use super::*;

    fn text(of: *const c_char) -> String {
        // SAFETY: both callers pass what the library returned, a C string that is still valid.
        unsafe { CStr::from_ptr(of) }.to_string_lossy().into_owned()
    }

    /// `DiskFull` as LQ_DISK_FULL.
    fn spelled(kind: ErrorKind) -> String {
        let mut name = String::from("LQ");
        for letter in format!("{kind:?}").chars() {
            if letter.is_ascii_uppercase() {
                name.push('_');
            }
            name.push(letter.to_ascii_uppercase());
        }
        name
    }

    #[test]
    fn each_kind_has_its_code_and_its_name() {
        for kind in ErrorKind::ALL {
            assert_eq!(text(lq_status_name(kind.code())), spelled(kind));
        }
        assert_eq!(NAMES.len(), ErrorKind::ALL.len() + 1);
        assert_eq!(text(lq_status_name(LQ_OK)), "LQ_OK");
        for unknown in [-1, NAMES.len() as lq_status, lq_status::MIN, lq_status::MAX] {
            assert_eq!(text(lq_status_name(unknown)), "LQ_UNKNOWN");
        }
    }

    #[test]
    fn the_constants_have_the_numbers_of_the_kinds() {
        let source = include_str!("error.rs");
        for kind in ErrorKind::ALL {
            let line = format!("pub const {}: i32 = {};", spelled(kind), kind.code());
            assert!(source.contains(&line), "expected {line:?} in error.rs");
        }
    }

    #[test]
    fn an_error_is_kept_for_its_own_thread_whole_even_with_a_nul_in_it() {
        assert_eq!(text(lq_last_error_message()), "");
        let status = remember(Error::new(ErrorKind::NotFound, "no \0 here"));
        assert_eq!(status, LQ_NOT_FOUND);
        assert_eq!(text(lq_last_error_message()), "no \\0 here");
        let other = std::thread::spawn(|| (lq_last_error_status(), text(lq_last_error_message())));
        assert_eq!(other.join().expect("no panic"), (LQ_OK, String::new()));
        let full = std::io::Error::from_raw_os_error(28);
        remember(Error::io("grow", std::path::Path::new("/x"), full));
        assert_eq!(lq_last_error_os_code(), 28);
    }
}
