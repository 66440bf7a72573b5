//! Stores.

use std::ffi::{CStr, CString, OsStr, c_char};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::OnceLock;

use libqueue::{ErrorKind, Store};

use crate::args::{Out, c_text, invalid};
use crate::convert::store_options;
use crate::error::lq_status;
use crate::handle::{Closing, Table, Tag};
use crate::names::{self, lq_names};
use crate::options::lq_store_options;
use crate::panic::call;

/// A store: a folder of topics that this process has open. In the child of a fork it joins the
/// store anew on its first use; topics and all else that was opened from it have to be opened
/// again there (LQ_FORKED), and may be closed.
///
/// Lifetime: from lq_store_open to lq_store_close. Threads: any, several at once.
pub struct lq_store(());

/// What a handle of a store holds.
pub(crate) struct StoreHandle {
    pub(crate) store: Store,
    path: CString,
    id: OnceLock<CString>,
}

pub(crate) static STORES: Table<StoreHandle> = Table::new("lq_store", Tag::Store);

/// Opens a store, and creates it where there is none.
///
/// path: the store's folder.
/// options: NULL for the defaults.
/// store: gets the handle.
///
/// Returns: LQ_OK; LQ_INVALID_ARGUMENT (NULL; a number of the options); LQ_NOT_FOUND (none there,
/// and create is 0, or the folder above it is missing); LQ_NOT_A_STORE (a file, or a folder with
/// other things); LQ_INCOMPATIBLE (written by a newer version); LQ_NETWORK_FILESYSTEM;
/// LQ_PERMISSION_DENIED; LQ_READ_ONLY (a read-only file system: open with read_only); LQ_DAMAGED;
/// LQ_DISK_FULL; LQ_STUCK (another process is laying it out all the time); LQ_TOO_MANY (members);
/// LQ_UNSUPPORTED (fields of a newer header); LQ_IO, LQ_INTERNAL. A store that cannot be opened is
/// not changed.
/// Memory: close the handle with lq_store_close.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_store_open(
    path: *const c_char,
    options: *const lq_store_options,
    store: *mut *mut lq_store,
) -> lq_status {
    call(|| {
        // SAFETY: the caller gives room for a handle.
        let out = unsafe { Out::new(store, "store") }?;
        if path.is_null() {
            return Err(invalid("path is NULL; expected the path of a folder"));
        }
        // SAFETY: the caller keeps its path, a C string, valid during the call.
        let path = Path::new(OsStr::from_bytes(
            unsafe { CStr::from_ptr(path) }.to_bytes(),
        ));
        // SAFETY: the caller keeps its options valid during the call.
        let store = Store::open(path, unsafe { store_options(options) }?)?;
        let path = c_text(store.path().as_os_str().as_bytes());
        out.set(STORES.open(StoreHandle {
            store,
            path,
            id: OnceLock::new(),
        })?);
        Ok(())
    })
}

/// Leaves a store. Close all topics, groups, consumers and readers before; batches may be freed
/// later.
///
/// store: the store; NULL is fine.
///
/// Returns: LQ_OK; LQ_BUSY (handles are open: the message names them, and the store stays open);
/// LQ_INVALID_ARGUMENT (it was closed before); or how leaving failed, with the handle closed:
/// LQ_IO, LQ_DISK_FULL, LQ_INTERNAL.
/// Memory: the handle is no longer valid, unless LQ_BUSY was returned.
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_store_close(store: *mut lq_store) -> lq_status {
    call(|| {
        STORES.close(store, |handle| match handle.store.close() {
            Err(error) if error.kind() == ErrorKind::Busy => Closing::Refused(error),
            done => Closing::Done(done),
        })
    })
}

/// Puts on disk all that was sent, by any process, to the topics that this process has open.
///
/// store: the store.
///
/// Returns: LQ_OK; LQ_INVALID_ARGUMENT (no open store); LQ_READ_ONLY; LQ_POISONED (a sync failed);
/// LQ_DISK_FULL, LQ_IO, LQ_CLOSED, LQ_INTERNAL.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_store_sync(store: *mut lq_store) -> lq_status {
    call(|| STORES.enter(store)?.store.sync())
}

/// The store's id, which stays the same wherever its folder is moved.
///
/// store: the store.
/// id: gets the id as text.
///
/// Returns: LQ_OK; LQ_INVALID_ARGUMENT (NULL, no open store); LQ_CLOSED; in the child of a fork all
/// that lq_store_open returns.
/// Memory: the text belongs to the store; valid until it is closed.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_store_id(store: *mut lq_store, id: *mut *const c_char) -> lq_status {
    call(|| {
        // SAFETY: the caller gives room for an address.
        let out = unsafe { Out::new(id, "id") }?;
        let handle = STORES.enter(store)?;
        let id = handle.store.id()?;
        out.set(handle.id.get_or_init(|| c_text(id)).as_ptr());
        Ok(())
    })
}

/// The store's folder as an absolute path.
///
/// store: the store.
/// path: gets the path.
///
/// Returns: LQ_OK; LQ_INVALID_ARGUMENT (NULL, no open store); LQ_INTERNAL.
/// Memory: the text belongs to the store; valid until it is closed.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_store_path(
    store: *mut lq_store,
    path: *mut *const c_char,
) -> lq_status {
    call(|| {
        // SAFETY: the caller gives room for an address.
        let out = unsafe { Out::new(path, "path") }?;
        out.set(STORES.enter(store)?.path.as_ptr());
        Ok(())
    })
}

/// The names of the store's topics, sorted.
///
/// store: the store.
/// names: gets the list.
///
/// Returns: LQ_OK; LQ_INVALID_ARGUMENT (NULL, no open store); LQ_PERMISSION_DENIED, LQ_IO,
/// LQ_CLOSED, LQ_INTERNAL.
/// Memory: free the list with lq_names_free.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_store_topics(
    store: *mut lq_store,
    names: *mut *mut lq_names,
) -> lq_status {
    call(|| {
        // SAFETY: the caller gives room for a handle.
        let out = unsafe { Out::new(names, "names") }?;
        let topics = STORES.enter(store)?.store.topics()?;
        out.set(names::list(topics)?);
        Ok(())
    })
}
