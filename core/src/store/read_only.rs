//! A file system that is only read: what a store opened with `read_only` stands on, so that nothing
//! above it can write, whatever it tries.

use std::path::Path;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::shm::{LockFile, Mapping};
use crate::storage::{Access, File, Storage};

pub(super) struct ReadOnly(pub(super) Arc<dyn Storage>);

struct ReadOnlyFile(Arc<dyn File>);

#[cold]
fn refused<T>(doing: &str, path: &Path) -> Result<T> {
    let message = format!(
        "cannot {doing} {}: the store was opened with read_only; open it without",
        path.display()
    );
    Err(Error::new(ErrorKind::ReadOnly, message))
}

impl Storage for ReadOnly {
    fn open(&self, path: &Path, access: Access, mode: u32) -> Result<Arc<dyn File>> {
        if access == Access::CreateNew || (access == Access::Create && !self.0.exists(path)?) {
            return refused("create", path);
        }
        Ok(Arc::new(ReadOnlyFile(self.0.open(
            path,
            Access::Read,
            mode,
        )?)))
    }

    fn rename(&self, from: &Path, _: &Path) -> Result<()> {
        refused("rename", from)
    }

    fn unlink(&self, path: &Path) -> Result<()> {
        refused("remove", path)
    }

    fn create_dir(&self, path: &Path, _: u32) -> Result<()> {
        if self.0.exists(path)? {
            Ok(())
        } else {
            refused("create the folder", path)
        }
    }

    fn remove_dir(&self, path: &Path) -> Result<()> {
        refused("remove the folder", path)
    }

    fn list(&self, folder: &Path) -> Result<Vec<String>> {
        self.0.list(folder)
    }

    fn exists(&self, path: &Path) -> Result<bool> {
        self.0.exists(path)
    }

    fn sync_dir(&self, _: &Path) -> Result<()> {
        Ok(())
    }

    fn boot_id(&self) -> [u8; 16] {
        self.0.boot_id()
    }

    fn free_bytes(&self, path: &Path) -> Result<u64> {
        self.0.free_bytes(path)
    }

    fn network_kind(&self, path: &Path) -> Result<Option<&'static str>> {
        self.0.network_kind(path)
    }

    fn lock_file(&self, path: &Path, _: bool, mode: u32) -> Result<LockFile> {
        self.0.lock_file(path, true, mode)
    }
}

impl File for ReadOnlyFile {
    fn len(&self) -> Result<u64> {
        self.0.len()
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> Result<()> {
        self.0.read_at(buffer, at)
    }

    fn write_at(&self, _: &[u8], _: u64) -> Result<()> {
        refused("write", self.path())
    }

    fn allocate(&self, len: u64) -> Result<()> {
        if self.0.len()? >= len {
            Ok(())
        } else {
            refused("grow", self.path())
        }
    }

    /// Nothing was written, so there is nothing to sync.
    fn sync(&self) -> Result<()> {
        Ok(())
    }

    fn map(&self, len: usize, _: bool) -> Result<Arc<Mapping>> {
        self.0.map(len, false)
    }

    fn while_mapped(&self, map: &Arc<Mapping>) -> Option<Arc<dyn File>> {
        Some(Arc::new(Self(self.0.while_mapped(map)?)))
    }

    fn id(&self) -> Result<(u64, u64)> {
        self.0.id()
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}
