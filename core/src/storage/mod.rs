//! The only door to the file system, behind two small traits, so that a twin in memory can stand in
//! for the disk and forget, as a power loss does, what was not synced.

mod disk;
mod kept;
mod remove;
mod replace;
#[cfg(test)]
mod twin;

use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::Arc;

pub use disk::Disk;
pub use kept::kept_mapped;
pub use remove::{remove_all, remove_all_but_last, remove_tree};
pub use replace::{put_file, replace_file, replace_file_by};
#[cfg(test)]
pub use twin::{Choices, Event, Fault, Twin, Watcher};

use crate::error::Result;
use crate::shm::{LockFile, Mapping};

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// An existing file, to read.
    Read,
    /// An existing file, to read and write.
    ReadWrite,
    /// An existing or a new file, to read and write.
    Create,
    /// A new file; an existing one is an error.
    CreateNew,
}

/// Folders and names.
pub trait Storage: Send + Sync {
    /// Opens a file. `mode` is for one that is created.
    fn open(&self, path: &Path, access: Access, mode: u32) -> Result<Arc<dyn File>>;
    /// Renames a file, replacing what had the name, or a folder with all that is in it, which
    /// replaces nothing. Durable after `sync_dir`.
    fn rename(&self, from: &Path, to: &Path) -> Result<()>;
    /// Removes a file's name; whoever has it mapped keeps its bytes.
    fn unlink(&self, path: &Path) -> Result<()>;
    /// Creates a folder; one that exists is fine.
    fn create_dir(&self, path: &Path, mode: u32) -> Result<()>;
    /// Removes an empty folder. Durable after `sync_dir` of the one that it is in.
    fn remove_dir(&self, path: &Path) -> Result<()>;
    /// The names in a folder, sorted.
    fn list(&self, folder: &Path) -> Result<Vec<String>>;
    /// Whether the path exists.
    fn exists(&self, path: &Path) -> Result<bool>;
    /// Makes created, renamed and removed names in the folder durable.
    fn sync_dir(&self, folder: &Path) -> Result<()>;
    /// Which start of the host this is: drawn by the kernel each time. What was not synced in
    /// another one may be lost.
    fn boot_id(&self) -> [u8; 16];
    /// Bytes that are free for this process on the file system that the path lies on.
    fn free_bytes(&self, path: &Path) -> Result<u64>;
    /// The kind of network file system the path lies on, if it does.
    fn network_kind(&self, path: &Path) -> Result<Option<&'static str>>;
    /// Opens a file for kernel locks.
    fn lock_file(&self, path: &Path, read_only: bool, mode: u32) -> Result<LockFile>;
}

/// One opened file.
pub trait File: Send + Sync {
    /// Its length in bytes.
    fn len(&self) -> Result<u64>;
    /// Whether it is empty.
    fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Fills `buffer` from a position; an error if the file ends before.
    fn read_at(&self, buffer: &mut [u8], at: u64) -> Result<()>;
    /// Writes all of `bytes` at a position.
    fn write_at(&self, bytes: &[u8], at: u64) -> Result<()>;
    /// Makes the file at least `len` bytes long, with real blocks behind every byte: a sparse file
    /// that meets a full disk would end its writer with SIGBUS (P5).
    fn allocate(&self, len: u64) -> Result<()>;
    /// Makes contents and length durable, those stored through mappings included.
    fn sync(&self) -> Result<()>;
    /// Copies bytes of another file to the same place of this one within the kernel, which may have
    /// both share their blocks; false where it cannot. Only of a file that nobody writes into any
    /// more: a store to a shared block needs room, and on a full disk ends its writer (P5).
    fn copy_from(&self, _from: &dyn File, _at: u64, _len: u64) -> Result<bool> {
        Ok(false)
    }
    /// Its descriptor, if the kernel has it open.
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }
    /// Maps `len` bytes, which may reach past the end; the limit is the file's present length.
    fn map(&self, len: usize, write: bool) -> Result<Arc<Mapping>>;
    /// The same file for who keeps it mapped for long: one that needs no descriptor for as long as
    /// nothing but a sync is asked of it. `None` where this one is as good.
    fn while_mapped(&self, _map: &Arc<Mapping>) -> Option<Arc<dyn File>> {
        None
    }
    /// Device and inode: two openings of one file have the same.
    fn id(&self) -> Result<(u64, u64)>;
    /// Where the file is, for messages.
    fn path(&self) -> &Path;
}
