//! The real file system.

use std::fs;
use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FallocateFlags, copy_file_range, fallocate, fdatasync, statfs};
use rustix::io::{Errno, ReadWriteFlags, pwritev2};

use super::kept::MappedFile;
use super::{Access, File, Storage};
use crate::error::{Error, Result};
use crate::shm::{LockFile, Mapping, boot_id};

/// File systems whose locks or mappings are not kept by one kernel, by the magic number of statfs.
const NETWORK_KINDS: [(u64, &str); 19] = [
    (0x6969, "NFS"),
    (0xFF53_4D42, "CIFS"),
    (0xFE53_4D42, "SMB2"),
    (0x517B, "SMB"),
    (0x0102_1997, "9p"),
    (0x6573_5546, "FUSE"),
    (0x00C3_6400, "Ceph"),
    (0x0BD0_0BD0, "Lustre"),
    (0x5346_414F, "AFS"),
    (0x6B41_4653, "kAFS"),
    (0x7375_7245, "Coda"),
    (0x0116_1970, "GFS2"),
    (0x7461_636F, "OCFS2"),
    (0x564C, "NCP"),
    (0x4750_4653, "GPFS"),
    (0x1983_0326, "BeeGFS"),
    (0xAAD7_AAEA, "PanFS"),
    (0x2003_0528, "OrangeFS"),
    (0x786F_4256, "VirtualBox shared folder"),
];

/// The file system of this host.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

fn options(access: Access, mode: u32) -> fs::OpenOptions {
    let mut options = fs::OpenOptions::new();
    options.read(true).write(access != Access::Read).mode(mode);
    match access {
        Access::Create => options.create(true),
        Access::CreateNew => options.create_new(true),
        Access::Read | Access::ReadWrite => &mut options,
    };
    options
}

impl Storage for Disk {
    fn open(&self, path: &Path, access: Access, mode: u32) -> Result<Arc<dyn File>> {
        let file = options(access, mode)
            .open(path)
            .map_err(|e| Error::io("open", path, e))?;
        Ok(Arc::new(DiskFile {
            file,
            path: path.to_owned(),
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        fs::rename(from, to).map_err(|e| Error::io("rename", from, e))
    }

    fn unlink(&self, path: &Path) -> Result<()> {
        fs::remove_file(path).map_err(|e| Error::io("remove", path, e))
    }

    fn create_dir(&self, path: &Path, mode: u32) -> Result<()> {
        match fs::DirBuilder::new().mode(mode).create(path) {
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
            made => made.map_err(|e| Error::io("create the folder", path, e)),
        }
    }

    fn remove_dir(&self, path: &Path) -> Result<()> {
        fs::remove_dir(path).map_err(|e| Error::io("remove the folder", path, e))
    }

    fn list(&self, folder: &Path) -> Result<Vec<String>> {
        let failed = |e| Error::io("list", folder, e);
        let mut names = Vec::new();
        for entry in fs::read_dir(folder).map_err(failed)? {
            names.push(
                entry
                    .map_err(failed)?
                    .file_name()
                    .to_string_lossy()
                    .into_owned(),
            );
        }
        names.sort();
        Ok(names)
    }

    fn exists(&self, path: &Path) -> Result<bool> {
        match path.try_exists() {
            Err(e) if e.kind() == std::io::ErrorKind::NotADirectory => Ok(false),
            looked => looked.map_err(|e| Error::io("look at", path, e)),
        }
    }

    fn sync_dir(&self, folder: &Path) -> Result<()> {
        fs::File::open(folder)
            .and_then(|opened| opened.sync_all())
            .map_err(|e| Error::io("sync the folder", folder, e))
    }

    fn boot_id(&self) -> [u8; 16] {
        boot_id()
    }

    fn free_bytes(&self, path: &Path) -> Result<u64> {
        let found = statfs(path).map_err(|e| Error::io("look at", path, e.into()))?;
        let size = u64::try_from(found.f_bsize).unwrap_or(0);
        Ok(found.f_bavail.saturating_mul(size))
    }

    fn network_kind(&self, path: &Path) -> Result<Option<&'static str>> {
        let found = statfs(path).map_err(|e| Error::io("look at", path, e.into()))?;
        Ok(network_name(found.f_type as u64 & 0xFFFF_FFFF))
    }

    fn lock_file(&self, path: &Path, read_only: bool, mode: u32) -> Result<LockFile> {
        let access = if read_only {
            Access::Read
        } else {
            Access::Create
        };
        // The standard library opens with close-on-exec.
        LockFile::open(path, || options(access, mode).open(path))
    }
}

/// The network file system that has this magic number.
fn network_name(magic: u64) -> Option<&'static str> {
    let known = NETWORK_KINDS.iter().find(|(known, _)| *known == magic);
    known.map(|(_, name)| *name)
}

struct DiskFile {
    file: fs::File,
    path: PathBuf,
}

impl DiskFile {
    fn failed(&self, doing: &str, error: impl Into<std::io::Error>) -> Error {
        Error::io(doing, &self.path, error.into())
    }

    /// For file systems without `fallocate`: zeros, written, so that every byte has its block. They
    /// are appended, wherever the end is by then: another process may have grown the file and
    /// stored something since, and that must not be overwritten. Racing calls make it longer than
    /// asked for, which harms nobody. A stop halfway leaves it shorter, with blocks behind all of
    /// it.
    fn append_zeros(&self, len: u64, doing: &str) -> Result<()> {
        static ZEROS: [u8; 65_536] = [0; 65_536];
        loop {
            let left = len.saturating_sub(self.len()?);
            if left == 0 {
                return Ok(());
            }
            let some = left.min(ZEROS.len() as u64) as usize;
            let piece = [IoSlice::new(&ZEROS[..some])];
            match pwritev2(&self.file, &piece, 0, ReadWriteFlags::APPEND) {
                Ok(1..) | Err(Errno::INTR) => {}
                Ok(0) => return Err(self.failed(doing, Errno::NOSPC)),
                Err(e) => return Err(self.failed(doing, e)),
            }
        }
    }
}

impl File for DiskFile {
    fn len(&self) -> Result<u64> {
        let known = self
            .file
            .metadata()
            .map_err(|e| self.failed("look at", e))?;
        Ok(known.len())
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> Result<()> {
        self.file
            .read_exact_at(buffer, at)
            .map_err(|e| self.failed("read", e))
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> Result<()> {
        self.file
            .write_all_at(bytes, at)
            .map_err(|e| self.failed("write", e))
    }

    fn allocate(&self, len: u64) -> Result<()> {
        if self.len()? >= len {
            return Ok(());
        }
        let doing = format!("allocate {len} bytes for");
        // The blocks before the length: a file system that is full half way would else leave a
        // length with nothing behind it, and who maps that dies of SIGBUS (P5).
        for flags in [FallocateFlags::KEEP_SIZE, FallocateFlags::empty()] {
            loop {
                match fallocate(&self.file, flags, 0, len) {
                    Ok(()) => break,
                    Err(Errno::INTR) => {}
                    Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
                        return self.append_zeros(len, &doing);
                    }
                    Err(e) => return Err(self.failed(&doing, e)),
                }
            }
        }
        Ok(())
    }

    fn copy_from(&self, from: &dyn File, at: u64, len: u64) -> Result<bool> {
        let Some(source) = from.descriptor() else {
            return Ok(false);
        };
        let (mut read, mut written) = (at, at);
        while read < at + len {
            let left = usize::try_from(at + len - read).unwrap_or(usize::MAX);
            match copy_file_range(
                source,
                Some(&mut read),
                &self.file,
                Some(&mut written),
                left,
            ) {
                Ok(1..) | Err(Errno::INTR) => {}
                // Another file system, or one that cannot: whoever asks copies by himself.
                Ok(0)
                | Err(
                    Errno::XDEV
                    | Errno::OPNOTSUPP
                    | Errno::NOSYS
                    | Errno::INVAL
                    | Errno::PERM
                    | Errno::TXTBSY,
                ) => return Ok(false),
                Err(e) => return Err(self.failed("copy into", e)),
            }
        }
        Ok(true)
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.file.as_fd())
    }

    fn sync(&self) -> Result<()> {
        fdatasync(&self.file).map_err(|e| self.failed("sync", e))
    }

    fn map(&self, len: usize, write: bool) -> Result<Arc<Mapping>> {
        let limit = usize::try_from(self.len()?).unwrap_or(usize::MAX);
        Ok(Arc::new(Mapping::of_file(
            &self.file, len, limit, write, &self.path,
        )?))
    }

    fn while_mapped(&self, map: &Arc<Mapping>) -> Option<Arc<dyn File>> {
        // Who cannot ask which file it is keeps the descriptor.
        let id = self.id().ok()?;
        Some(Arc::new(MappedFile::new(map, id, &self.path)))
    }

    fn id(&self) -> Result<(u64, u64)> {
        let known = self
            .file
            .metadata()
            .map_err(|e| self.failed("look at", e))?;
        Ok((known.dev(), known.ino()))
    }

    fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn p5_allocated_bytes_have_blocks() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("file");
        let file = Disk.open(&path, Access::CreateNew, 0o660).expect("create");
        file.allocate(1 << 20).expect("allocate");
        let known = fs::metadata(&path).expect("metadata");
        assert_eq!(known.len(), 1 << 20);
        assert!(
            known.blocks() * 512 >= 1 << 20,
            "only {} blocks",
            known.blocks()
        );
    }

    #[test]
    fn missing_files_say_so_with_their_path() {
        let Err(error) = Disk.open(Path::new("/nonexistent/file"), Access::Read, 0) else {
            panic!("opened a file that does not exist");
        };
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.message().contains("/nonexistent/file"));
    }

    #[test]
    fn p5_without_fallocate_zeros_are_appended_and_never_overwrite() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("f");
        let file = options(Access::CreateNew, 0o660)
            .open(&path)
            .expect("create");
        let file = DiskFile { file, path };
        file.write_at(b"kept", 10_000).expect("write");
        file.append_zeros(9_000, "allocate")
            .expect("is longer already");
        assert_eq!(file.len().expect("length"), 10_004);
        file.append_zeros(200_000, "allocate").expect("grow");
        assert_eq!(file.len().expect("length"), 200_000);
        let mut read = [0; 4];
        file.read_at(&mut read, 10_000).expect("read");
        assert_eq!(&read, b"kept");
    }

    #[test]
    fn network_file_systems_are_known_by_their_numbers_and_local_ones_are_none() {
        assert_eq!(network_name(0x6969), Some("NFS"));
        assert_eq!(network_name(0xFF53_4D42), Some("CIFS"));
        for local in [0xEF53, 0x0102_1994, 0x9123_683E, 0x5846_5342] {
            assert_eq!(network_name(local), None);
        }
        assert_eq!(Disk.network_kind(Path::new("/proc")).expect("look"), None);
    }

    #[test]
    fn a_mapping_sees_the_growth_of_its_file() {
        let folder = tempfile::tempdir().expect("folder");
        let file = Disk
            .open(&folder.path().join("f"), Access::CreateNew, 0o660)
            .expect("create");
        file.allocate(4096).expect("allocate");
        let map = file.map(1 << 20, true).expect("map");
        assert!(map.copy_in(4096, b"x").is_none());
        file.allocate(8192).expect("allocate");
        map.set_limit(8192);
        map.copy_in(4096, b"x").expect("inside now");
        let mut read = [0];
        file.read_at(&mut read, 4096).expect("read");
        assert_eq!(&read, b"x");
    }
}
