//! One opaque error for the whole library, with a numbered kind.
//!
//! The numbers of [`ErrorKind`] are the status codes of the C library and choose the Python
//! exception class. They are only ever appended to; a retired number is never used again.

use std::fmt;
use std::io;
use std::path::Path;

/// What went wrong, as a stable number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An argument is outside of what the call takes.
    InvalidArgument = 1,
    /// A topic's, group's or consumer's name has characters or a length that are not allowed.
    InvalidName = 2,
    /// The store, topic, group or file does not exist.
    NotFound = 3,
    /// What was to be created exists already.
    AlreadyExists = 4,
    /// The operating system does not let this user do it.
    PermissionDenied = 5,
    /// The store was opened read-only, or lies on a read-only file system.
    ReadOnly = 6,
    /// The path is a file, or a folder that holds something else than a store.
    NotAStore = 7,
    /// The store was written by a version that this one cannot share it with.
    Incompatible = 8,
    /// The path lies on a network file system, where locks and mappings cannot be relied on.
    NetworkFilesystem = 9,
    /// The disk or the quota is full; nothing was stored.
    DiskFull = 10,
    /// The operating system reported another input or output error.
    Io = 11,
    /// Stored bytes are not what was written: the message names file and position.
    Damaged = 12,
    /// The time that the caller gave is over.
    Timeout = 13,
    /// The handle was closed.
    Closed = 14,
    /// A receipt's message was handed out again, settled already, or its group was sought.
    StaleReceipt = 15,
    /// The topic is at its limit.
    Full = 16,
    /// The message is larger than the topic or the format allows.
    TooLarge = 17,
    /// A stored configuration says otherwise; `configure` changes it.
    ConfigMismatch = 18,
    /// A live process has held a lock for longer than the lock timeout.
    Stuck = 19,
    /// This member or producer was replaced and may not write any more.
    Fenced = 20,
    /// The handle was opened before a fork and cannot be used in the child.
    Forked = 21,
    /// A table of fixed size (members, consumers) has no free place.
    TooMany = 22,
    /// Something that depends on the handle is still open.
    Busy = 23,
    /// An earlier sync failed; the partition refuses to append until it was repaired.
    Poisoned = 24,
    /// The platform or file system cannot do this.
    Unsupported = 25,
    /// A bug in libqueue: please report it with the message.
    Internal = 26,
    /// A group's filter does not parse: the message names the place in it.
    InvalidFilter = 27,
    /// Retention took the messages that were asked for: the message names their offsets and the
    /// earliest one that is kept.
    Removed = 28,
}

impl ErrorKind {
    /// Every kind, in order of its number.
    pub const ALL: [ErrorKind; 28] = [
        ErrorKind::InvalidArgument,
        ErrorKind::InvalidName,
        ErrorKind::NotFound,
        ErrorKind::AlreadyExists,
        ErrorKind::PermissionDenied,
        ErrorKind::ReadOnly,
        ErrorKind::NotAStore,
        ErrorKind::Incompatible,
        ErrorKind::NetworkFilesystem,
        ErrorKind::DiskFull,
        ErrorKind::Io,
        ErrorKind::Damaged,
        ErrorKind::Timeout,
        ErrorKind::Closed,
        ErrorKind::StaleReceipt,
        ErrorKind::Full,
        ErrorKind::TooLarge,
        ErrorKind::ConfigMismatch,
        ErrorKind::Stuck,
        ErrorKind::Fenced,
        ErrorKind::Forked,
        ErrorKind::TooMany,
        ErrorKind::Busy,
        ErrorKind::Poisoned,
        ErrorKind::Unsupported,
        ErrorKind::Internal,
        ErrorKind::InvalidFilter,
        ErrorKind::Removed,
    ];

    /// The number that never changes: the status code of the C library.
    #[must_use]
    pub const fn code(self) -> i32 {
        self as i32
    }
}

/// The result of everything that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// An error: a kind to act on and a message that says what was expected, what was found, where,
/// and what to do.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    stale: Vec<usize>,
    refused: Vec<usize>,
    source: Option<io::Error>,
}

impl Error {
    /// An error of a kind with its whole message.
    #[cold]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Error(Box::new(Inner {
            kind,
            message: message.into(),
            stale: Vec::new(),
            refused: Vec::new(),
            source: None,
        }))
    }

    /// The error of a failed system call: `operation` as in "cannot OPERATION PATH".
    #[cold]
    pub fn io(operation: &str, path: &Path, source: io::Error) -> Self {
        let kind = kind_of(&source);
        let advice = match kind {
            ErrorKind::DiskFull => "; make room, then try again: nothing was stored",
            ErrorKind::PermissionDenied => "; check owner and mode of the file and its folders",
            ErrorKind::ReadOnly => "; open with read_only to read from it",
            _ => advice_on_limits(&source),
        };
        let message = format!("cannot {operation} {}: {source}{advice}", path.display());
        Error(Box::new(Inner {
            kind,
            message,
            stale: Vec::new(),
            refused: Vec::new(),
            source: Some(source),
        }))
    }

    /// A settle call whose receipts at these places of the call were stale.
    #[cold]
    #[must_use]
    pub fn stale(places: Vec<usize>, of: usize) -> Self {
        let message = format!(
            "{} of {of} receipts are stale: their messages were settled, handed out again or \
             sought away, or another group's; the other receipts were settled; drop the stale \
             ones",
            places.len()
        );
        let kind = ErrorKind::StaleReceipt;
        Error(Box::new(Inner {
            kind,
            message,
            stale: places,
            refused: Vec::new(),
            source: None,
        }))
    }

    /// A transaction whose acknowledgements at these places were stale.
    #[cold]
    #[must_use]
    pub fn stale_in_transaction(places: Vec<usize>, of: usize) -> Self {
        let message = format!(
            "{} of the transaction's {of} receipts are stale: their messages were settled, handed \
             out again or sought away, or are acknowledged twice; nothing of the transaction \
             happened; drop the stale ones and what was made of them, and begin anew",
            places.len()
        );
        let mut error = Self::new(ErrorKind::StaleReceipt, message);
        error.0.stale = places;
        error
    }

    /// What to act on.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The text for a person.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// For [`ErrorKind::StaleReceipt`]: the places, in the call's slice, of the stale receipts.
    #[must_use]
    pub fn stale_places(&self) -> &[usize] {
        &self.0.stale
    }

    /// Where a lease was not extended since it would have ended after the group's `max_lease`: the
    /// places, in the call's slice, of those receipts. The kind is [`ErrorKind::InvalidArgument`],
    /// or [`ErrorKind::StaleReceipt`] if others were stale.
    #[must_use]
    pub fn refused_places(&self) -> &[usize] {
        &self.0.refused
    }

    /// The same error with the places of what was refused.
    #[cold]
    #[must_use]
    pub fn with_refused(mut self, places: Vec<usize>) -> Self {
        self.0.refused = places;
        self
    }

    /// The operating system's error number, where one is behind this error.
    #[must_use]
    pub fn os_code(&self) -> Option<i32> {
        self.0.source.as_ref().and_then(io::Error::raw_os_error)
    }

    /// The same error with what the library was doing put before its message.
    #[cold]
    #[must_use]
    pub fn context(mut self, doing: impl fmt::Display) -> Self {
        self.0.message = format!("{doing}: {}", self.0.message);
        self
    }
}

/// What a process runs into that has more open than the system lets it.
fn advice_on_limits(source: &io::Error) -> &'static str {
    match source.raw_os_error() {
        Some(libc::EMFILE) => {
            "; this process has as many descriptors open as it may: close files, or raise its \
             limit (ulimit -n); nothing was stored"
        }
        Some(libc::ENFILE) => "; all processes together have too many files open (fs.file-max)",
        Some(libc::ENOMEM) => {
            "; this process has as much mapped as it may: close topics, groups or messages, or \
             raise its limits (sysctl vm.max_map_count, ulimit -v); nothing was stored"
        }
        _ => "",
    }
}

fn kind_of(source: &io::Error) -> ErrorKind {
    match source.kind() {
        io::ErrorKind::NotFound => ErrorKind::NotFound,
        io::ErrorKind::AlreadyExists => ErrorKind::AlreadyExists,
        io::ErrorKind::PermissionDenied => ErrorKind::PermissionDenied,
        io::ErrorKind::ReadOnlyFilesystem => ErrorKind::ReadOnly,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::DiskFull,
        io::ErrorKind::NotADirectory => ErrorKind::NotAStore,
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidFilename => ErrorKind::InvalidArgument,
        _ => ErrorKind::Io,
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.0.kind, self.0.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_ref().map(|e| e as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_dense_and_in_order() {
        for (place, kind) in ErrorKind::ALL.into_iter().enumerate() {
            assert_eq!(kind.code(), place as i32 + 1);
        }
    }

    #[test]
    fn limits_of_the_system_are_told_with_what_to_do() {
        let of = |code| Error::io("map", Path::new("f"), io::Error::from_raw_os_error(code));
        assert!(of(libc::EMFILE).message().contains("ulimit -n"));
        assert!(of(libc::ENOMEM).message().contains("vm.max_map_count"));
        assert_eq!(of(libc::EMFILE).kind(), ErrorKind::Io);
    }

    #[test]
    fn a_full_disk_has_its_own_kind_and_names_the_file() {
        let full = io::Error::from_raw_os_error(28);
        let error = Error::io("grow", Path::new("/somewhere/0.log"), full);
        assert_eq!(error.kind(), ErrorKind::DiskFull);
        assert!(error.message().contains("/somewhere/0.log"));
        assert_eq!(error.os_code(), Some(28));
    }
}
