//! Files of the disk that stay mapped: they keep no descriptor.
//!
//! A process may have as many segments, windows and ledgers mapped as memory maps allow, which are
//! far more than descriptors. The kernel keeps an opened file for as long as it is mapped, and
//! syncs it through the mapping, with the errors that this opening has not been told of yet. All
//! else opens the file anew by its name, and goes on only if it still is the same one.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Access, Disk, File, Storage};
use crate::error::{Error, ErrorKind, Result};
use crate::shm::Mapping;

/// What to keep of a file that is kept mapped.
pub fn kept_mapped(file: Arc<dyn File>, map: &Arc<Mapping>) -> Arc<dyn File> {
    file.while_mapped(map).unwrap_or(file)
}

pub(super) struct MappedFile {
    map: Arc<Mapping>,
    id: (u64, u64),
    path: PathBuf,
}

impl MappedFile {
    pub(super) fn new(map: &Arc<Mapping>, id: (u64, u64), path: &Path) -> Self {
        Self {
            map: map.clone(),
            id,
            path: path.to_owned(),
        }
    }

    /// Opens it anew for one call. What is mapped cannot have given its number to another file.
    fn open(&self, access: Access) -> Result<Arc<dyn File>> {
        let file = Disk.open(&self.path, access, 0)?;
        match file.id()? == self.id {
            true => Ok(file),
            false => Err(self.replaced()),
        }
    }

    #[cold]
    fn replaced(&self) -> Error {
        let message = format!(
            "{} was replaced by another file while this process had it mapped; open the store \
             again",
            self.path.display()
        );
        Error::new(ErrorKind::NotFound, message)
    }
}

impl File for MappedFile {
    /// Without a descriptor: it is asked for with locks held.
    fn len(&self) -> Result<u64> {
        let known = fs::metadata(&self.path).map_err(|e| Error::io("look at", &self.path, e))?;
        match (known.dev(), known.ino()) == self.id {
            true => Ok(known.len()),
            false => Err(self.replaced()),
        }
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> Result<()> {
        self.open(Access::Read)?.read_at(buffer, at)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> Result<()> {
        self.open(Access::ReadWrite)?.write_at(bytes, at)
    }

    fn allocate(&self, len: u64) -> Result<()> {
        self.open(Access::ReadWrite)?.allocate(len)
    }

    fn sync(&self) -> Result<()> {
        // The kernel syncs nothing through a mapping that cannot be written to, and what others
        // stored is to be synced all the same (P2).
        if !self.map.is_writable() {
            return self.open(Access::Read)?.sync();
        }
        self.map
            .sync()
            .map_err(|e| Error::io("sync", &self.path, e))
    }

    fn map(&self, len: usize, write: bool) -> Result<Arc<Mapping>> {
        let access = if write {
            Access::ReadWrite
        } else {
            Access::Read
        };
        self.open(access)?.map(len, write)
    }

    fn id(&self) -> Result<(u64, u64)> {
        Ok(self.id)
    }

    fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p19_a_file_that_is_kept_mapped_has_no_descriptor_and_is_synced_all_the_same() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("f");
        let file = Disk.open(&path, Access::CreateNew, 0o660).expect("create");
        file.allocate(8192).expect("allocate");
        let map = file.map(1 << 20, true).expect("map");
        let file = kept_mapped(file, &map);
        assert!(file.descriptor().is_none());
        map.copy_in(0, b"stored").expect("inside");
        file.sync().expect("sync");
        file.allocate(16_384).expect("grows by its name");
        assert_eq!(file.len().expect("length"), 16_384);
        let mut read = [0; 6];
        file.read_at(&mut read, 0).expect("read");
        assert_eq!(&read, b"stored");
    }

    #[test]
    fn p18_another_file_of_the_name_is_not_taken_for_the_one_that_is_mapped() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("f");
        let file = Disk.open(&path, Access::CreateNew, 0o660).expect("create");
        file.allocate(4096).expect("allocate");
        let map = file.map(4096, true).expect("map");
        let file = kept_mapped(file, &map);
        fs::remove_file(&path).expect("remove");
        let error = file.len().expect_err("no name");
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        fs::write(&path, b"another").expect("write");
        let error = file.allocate(8192).expect_err("another file");
        assert!(error.message().contains("replaced"), "{error}");
        file.sync().expect("what is mapped is synced nonetheless");
        assert_eq!(fs::read(&path).expect("read"), b"another");
    }
}
