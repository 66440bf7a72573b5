//! Backups, exports and imports.

use std::ffi::{CStr, OsStr, c_char, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::null;

use libqueue::inspect::Progress;
use libqueue::{Error, ErrorKind, ExportStats, ImportOptions, ImportStats, Result, Store};

use crate::args::{invalid, name, slice};
use crate::error::lq_status;
use crate::measured::{Measured, Room, read};
use crate::panic::call;
use crate::store::{STORES, lq_store};

/// How to back up, export or import. Begin with LQ_COPY_OPTIONS_INIT.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct lq_copy_options {
    /// sizeof(lq_copy_options).
    pub size: usize,
    /// Of an export the topics, by name, read during the call only. NULL: all.
    pub topics: *const *const c_char,
    /// How many topics.
    pub topics_len: usize,
    /// Of an import 1 to send the messages of a topic that exists to it, with new offsets and
    /// without groups; 0 to refuse such a topic.
    pub append: i32,
    /// Called now and then. NULL: nobody is told.
    ///
    /// done: how many bytes are done.
    /// of: how many there are; 0 if nobody knows.
    /// context: the field of this name.
    ///
    /// Returns: 0 to end the call, which then returns LQ_TIMEOUT and leaves nothing; else to go on.
    /// Threads: the one that made the call.
    pub progress: Option<unsafe extern "C" fn(done: u64, of: u64, context: *mut c_void) -> i32>,
    /// Handed to progress as it is.
    pub context: *mut c_void,
}

// SAFETY: repr(C), begins with its size; numbers and pointers may hold any bytes, and the program
// promises that what it gives as progress is NULL or a function.
unsafe impl Measured for lq_copy_options {
    const NAME: &'static str = "lq_copy_options";
    const INIT: Self = Self {
        size: size_of::<Self>(),
        topics: null(),
        topics_len: 0,
        append: 0,
        progress: None,
        context: std::ptr::null_mut(),
    };
}

/// What was backed up, exported or imported. Begin with LQ_COPY_STATS_INIT.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct lq_copy_stats {
    /// sizeof(lq_copy_stats).
    pub size: usize,
    /// Topics.
    pub topics: u64,
    /// Groups.
    pub groups: u64,
    /// Messages; 0 of a backup, which does not count them.
    pub messages: u64,
    /// Of an export its bytes, of a backup those of its messages.
    pub bytes: u64,
    /// Of an import the messages that were sent to topics that existed.
    pub appended: u64,
}

// SAFETY: repr(C), begins with its size, all numbers.
unsafe impl Measured for lq_copy_stats {
    const NAME: &'static str = "lq_copy_stats";
    const INIT: Self = Self {
        size: size_of::<Self>(),
        topics: 0,
        groups: 0,
        messages: 0,
        bytes: 0,
        appended: 0,
    };
}

/// What a call was given, looked at before anything is done.
struct Given<'a> {
    path: &'a Path,
    options: lq_copy_options,
    room: Option<Room<lq_copy_stats>>,
}

impl Given<'_> {
    /// # Safety
    /// Each, unless it is NULL, is valid until the call returns: a C string, options, and room for
    /// the numbers.
    unsafe fn of(
        path: *const c_char,
        options: *const lq_copy_options,
        stats: *mut lq_copy_stats,
    ) -> Result<Self> {
        if path.is_null() {
            return Err(invalid("path is NULL; expected a path"));
        }
        // SAFETY: a C string, as demanded above.
        let bytes = unsafe { CStr::from_ptr(path) }.to_bytes();
        // SAFETY: as demanded above.
        let options = unsafe { read(options) }?;
        let room = match stats.is_null() {
            true => None,
            // SAFETY: as demanded above.
            false => Some(unsafe { Room::new(stats) }?),
        };
        Ok(Self {
            path: Path::new(OsStr::from_bytes(bytes)),
            options,
            room,
        })
    }

    fn tell(&self, done: u64, of: u64) -> Result<()> {
        let more = match self.options.progress {
            // SAFETY: the caller's function, with the caller's context.
            Some(told) => unsafe { told(done, of, self.options.context) != 0 },
            None => true,
        };
        if more {
            return Ok(());
        }
        let message = "progress ended the call; nothing is left of it";
        Err(Error::new(ErrorKind::Timeout, message))
    }

    fn give(self, stats: lq_copy_stats) {
        if let Some(room) = self.room {
            room.set(stats);
        }
    }
}

/// # Safety
/// The topics that are named are valid until the result is not used any more.
unsafe fn names_of<'a>(given: &lq_copy_options) -> Result<Vec<&'a str>> {
    // SAFETY: as demanded above.
    let topics = unsafe { slice(given.topics, given.topics_len, "topics") }?;
    let named = topics.iter().map(|topic| {
        // SAFETY: each is a C string, valid as long.
        unsafe { name(*topic, "the topic's name") }
    });
    named.collect()
}

/// What native exports and lines have in common: `work` writes these topics to this path.
///
/// # Safety
/// `path`, `options` and `stats` as C promises them in the header.
pub(crate) unsafe fn export(
    store: *mut lq_store,
    path: *const c_char,
    options: *const lq_copy_options,
    stats: *mut lq_copy_stats,
    work: impl FnOnce(&Store, &[&str], &Path, &mut Progress<'_>) -> Result<ExportStats>,
) -> Result<()> {
    // SAFETY: the caller keeps what it gives valid during the call.
    let given = unsafe { Given::of(path, options, stats) }?;
    // SAFETY: as above.
    let names = unsafe { names_of(&given.options) }?;
    let handle = STORES.enter(store)?;
    let mut progress = |done, of| given.tell(done, of);
    let made = work(&handle.store, &names, given.path, &mut progress)?;
    given.give(lq_copy_stats {
        topics: made.topics,
        groups: made.groups,
        messages: made.messages,
        bytes: made.bytes,
        ..lq_copy_stats::INIT
    });
    Ok(())
}

/// What native imports and lines have in common: `work` reads this path.
///
/// # Safety
/// `path`, `options` and `stats` as C promises them in the header.
pub(crate) unsafe fn import(
    store: *mut lq_store,
    path: *const c_char,
    options: *const lq_copy_options,
    stats: *mut lq_copy_stats,
    work: impl FnOnce(&Store, &Path, &ImportOptions, &mut Progress<'_>) -> Result<ImportStats>,
) -> Result<()> {
    // SAFETY: the caller keeps what it gives valid during the call.
    let given = unsafe { Given::of(path, options, stats) }?;
    let append = match given.options.append {
        0 => false,
        1 => true,
        other => return Err(invalid(format!("append is {other}; expected 0 or 1"))),
    };
    let options = ImportOptions {
        append,
        bytes: None,
    };
    let handle = STORES.enter(store)?;
    let mut progress = |done, of| given.tell(done, of);
    let made = work(&handle.store, given.path, &options, &mut progress)?;
    given.give(lq_copy_stats {
        topics: made.topics,
        groups: made.groups,
        messages: made.messages,
        appended: made.appended,
        ..lq_copy_stats::INIT
    });
    Ok(())
}

/// Makes a copy of a store while it is in use: a store of its own, with the same ids, offsets,
/// configuration, positions and dead letters. Nobody waits for it. It holds what had been sent when
/// the call began; what is settled while it runs may come once more in the copy. Nobody has a lease
/// there: what was handed out is ready, and has not failed. It is on disk, and gets its name, once
/// it is whole: after an error or a death nothing is there, and the next backup to the same place
/// removes what is left beside it.
///
/// store: the store.
/// path: a new folder, or an empty one, outside of the store.
/// options: progress and context; NULL for neither.
/// stats: gets what is in it; NULL if that is of no interest.
///
/// Returns: LQ_OK; LQ_ALREADY_EXISTS (something is there); LQ_INVALID_ARGUMENT (NULL, no open
/// store, a folder inside of it); LQ_NOT_FOUND (the folder above is missing); LQ_BUSY (another
/// backup to the same place is under way); LQ_TIMEOUT (progress ended the call); LQ_DAMAGED
/// (configuration, a window, or a segment's header); LQ_READ_ONLY, LQ_DISK_FULL,
/// LQ_PERMISSION_DENIED, LQ_STUCK, LQ_CLOSED, LQ_FENCED, LQ_IO, LQ_UNSUPPORTED, LQ_INTERNAL.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_store_backup(
    store: *mut lq_store,
    path: *const c_char,
    options: *const lq_copy_options,
    stats: *mut lq_copy_stats,
) -> lq_status {
    call(|| {
        // SAFETY: the caller keeps what it gives valid during the call.
        let given = unsafe { Given::of(path, options, stats) }?;
        let handle = STORES.enter(store)?;
        let mut progress = |done, of| given.tell(done, of);
        let made = handle.store.backup(given.path, &mut progress)?;
        given.give(lq_copy_stats {
            topics: made.topics,
            groups: made.groups,
            bytes: made.bytes,
            ..lq_copy_stats::INIT
        });
        Ok(())
    })
}

/// Writes topics into a file in the native format, with their groups, settings, positions,
/// snapshots and dead letters, and the topics that the dead letters are in; taken at one moment, as
/// a backup is, while the store is in use. The file gets its name, and takes the place of what had
/// it, once it is whole and on disk. What is there and no file, such as a pipe, is written as it
/// comes.
///
/// store: the store.
/// path: the file.
/// options: topics, progress and context; NULL for all topics.
/// stats: gets what is in it; NULL if that is of no interest.
///
/// Returns: LQ_OK; LQ_NOT_FOUND (there is no topic of a name, or the folder is missing);
/// LQ_INVALID_NAME; LQ_DAMAGED (with file and position); LQ_INVALID_ARGUMENT (NULL, no open store);
/// LQ_TIMEOUT (progress ended the call); LQ_READ_ONLY, LQ_DISK_FULL, LQ_PERMISSION_DENIED, LQ_BUSY,
/// LQ_STUCK, LQ_CLOSED, LQ_FENCED, LQ_IO, LQ_UNSUPPORTED, LQ_INTERNAL.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_store_export(
    store: *mut lq_store,
    path: *const c_char,
    options: *const lq_copy_options,
    stats: *mut lq_copy_stats,
) -> lq_status {
    // SAFETY: the caller keeps what it gives valid during the call.
    call(|| unsafe {
        export(store, path, options, stats, |store, names, path, tell| {
            store.export_file(names, path, tell)
        })
    })
}

/// Makes the topics of an export, with offsets, timestamps, groups, positions, snapshots and dead
/// letters as they were. Ids are kept where they are free. All of it is read and checked before
/// anything is seen of it; then each topic is there as a whole. (Messages that are appended are
/// sent one batch after the other; an error says how many.)
///
/// store: the store.
/// path: the file, or a pipe.
/// options: append, progress and context; NULL for none of them.
/// stats: gets what was made; NULL if that is of no interest.
///
/// Returns: LQ_OK; LQ_DAMAGED (with the place where the export is not what was written, or ends too
/// early); LQ_INCOMPATIBLE (another format); LQ_ALREADY_EXISTS (a topic exists); LQ_NOT_FOUND
/// (there is no such file); LQ_INVALID_ARGUMENT (NULL, no open store, dead letters that would lead
/// back); LQ_TIMEOUT (progress ended the call); LQ_READ_ONLY, LQ_DISK_FULL, LQ_PERMISSION_DENIED,
/// LQ_BUSY, LQ_FULL, LQ_STUCK, LQ_CLOSED, LQ_FENCED, LQ_IO, LQ_UNSUPPORTED, LQ_INTERNAL.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_store_import(
    store: *mut lq_store,
    path: *const c_char,
    options: *const lq_copy_options,
    stats: *mut lq_copy_stats,
) -> lq_status {
    // SAFETY: the caller keeps what it gives valid during the call.
    call(|| unsafe {
        import(store, path, options, stats, |store, path, options, tell| {
            store.import_file(path, options, tell)
        })
    })
}
