//! The verbs of folders and files.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use super::loss::is_volatile;
use super::{CAPACITY, Event, Fault, Inode, Shared, Twin, lock};
use crate::error::{Error, ErrorKind, Result};
use crate::shm::{LockFile, Mapping, Tracker};
use crate::storage::{Access, File, Storage};

pub(super) fn missing(path: &Path) -> Error {
    Error::io(
        "open",
        path,
        std::io::Error::from_raw_os_error(libc::ENOENT),
    )
}

impl Twin {
    fn faulty(&self, what: Fault, doing: &str, path: &Path) -> Result<()> {
        match self.fault(what) {
            Some(error) => Err(Error::io(doing, path, error)),
            None => Ok(()),
        }
    }
}

impl Storage for Twin {
    fn open(&self, path: &Path, access: Access, _mode: u32) -> Result<Arc<dyn File>> {
        self.faulty(Fault::Open, "open", path)?;
        let mut state = lock(&self.0.state);
        let mut made = false;
        let inode = match (state.names.get(path), access) {
            (Some(_), Access::CreateNew) => {
                let exists = std::io::Error::from_raw_os_error(libc::EEXIST);
                return Err(Error::io("open", path, exists));
            }
            (Some(inode), _) => inode.clone(),
            (None, Access::Create | Access::CreateNew) if state.has(path) => {
                let inode = Inode::new()?;
                state.names.insert(path.to_owned(), inode.clone());
                made = true;
                inode
            }
            (None, _) => return Err(missing(path)),
        };
        drop(state);
        if made {
            self.tell(Event::Named);
        }
        Ok(Arc::new(TwinFile {
            twin: self.clone(),
            inode,
            path: path.to_owned(),
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.faulty(Fault::Name, "rename", from)?;
        let mut state = lock(&self.0.state);
        if !state.has(to) {
            return Err(missing(to));
        }
        if state.folders.contains(from) {
            state.rename_folder(from, to)?;
        } else {
            let inode = state.names.remove(from).ok_or_else(|| missing(from))?;
            state.names.insert(to.to_owned(), inode);
        }
        drop(state);
        self.tell(Event::Named);
        Ok(())
    }

    fn unlink(&self, path: &Path) -> Result<()> {
        self.faulty(Fault::Name, "remove", path)?;
        let removed = lock(&self.0.state).names.remove(path);
        removed.ok_or_else(|| missing(path))?;
        self.tell(Event::Named);
        Ok(())
    }

    fn create_dir(&self, path: &Path, _mode: u32) -> Result<()> {
        let mut state = lock(&self.0.state);
        if !state.has(path) {
            return Err(missing(path));
        }
        let made = state.folders.insert(path.to_owned());
        drop(state);
        if made {
            self.tell(Event::Named);
        }
        Ok(())
    }

    fn remove_dir(&self, path: &Path) -> Result<()> {
        self.faulty(Fault::Name, "remove", path)?;
        let mut state = lock(&self.0.state);
        let full = state.names.keys().chain(&state.folders);
        if full.clone().any(|inside| inside.parent() == Some(path)) {
            let full = std::io::Error::from_raw_os_error(libc::ENOTEMPTY);
            return Err(Error::io("remove the folder", path, full));
        }
        // A power loss that brings it back brings an empty folder, which means nothing.
        state.folders.remove(path);
        state.durable_folders.remove(path);
        drop(state);
        self.tell(Event::Named);
        Ok(())
    }

    fn list(&self, folder: &Path) -> Result<Vec<String>> {
        let state = lock(&self.0.state);
        if !state.folders.contains(folder) && folder != Path::new("/") {
            return Err(missing(folder));
        }
        let paths = state.names.keys().chain(&state.folders);
        let inside = paths.filter(|path| path.parent() == Some(folder));
        let mut names: Vec<String> = inside
            .filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned()))
            .collect();
        names.sort();
        Ok(names)
    }

    fn exists(&self, path: &Path) -> Result<bool> {
        let state = lock(&self.0.state);
        Ok(state.names.contains_key(path) || state.folders.contains(path))
    }

    fn sync_dir(&self, folder: &Path) -> Result<()> {
        self.tell(Event::SyncingFolder);
        self.faulty(Fault::SyncFolder, "sync", folder)?;
        let mut state = lock(&self.0.state);
        state.settle_moves(|_, to| to.parent() == Some(folder));
        state
            .durable_names
            .retain(|path, _| path.parent() != Some(folder));
        let now: Vec<_> = state
            .names
            .iter()
            .filter(|(path, _)| path.parent() == Some(folder))
            .map(|(path, inode)| (path.clone(), inode.clone()))
            .collect();
        state.durable_names.extend(now);
        let inside = |path: &&PathBuf| path.parent() == Some(folder);
        let folders: Vec<_> = state.folders.iter().filter(inside).cloned().collect();
        state.durable_folders.extend(folders);
        drop(state);
        self.tell(Event::SyncedFolder);
        Ok(())
    }

    fn boot_id(&self) -> [u8; 16] {
        self.0.boot
    }

    fn free_bytes(&self, _path: &Path) -> Result<u64> {
        Ok(u64::MAX)
    }

    fn network_kind(&self, _path: &Path) -> Result<Option<&'static str>> {
        Ok(None)
    }

    fn lock_file(&self, path: &Path, _read_only: bool, _mode: u32) -> Result<LockFile> {
        use std::os::fd::AsRawFd;
        let failed = |e: std::io::Error| Error::io("open", path, e);
        let mut state = lock(&self.0.state);
        if !state.locks.contains_key(path) {
            let flags = rustix::fs::MemfdFlags::CLOEXEC;
            let made = rustix::fs::memfd_create("lock", flags).map_err(|e| failed(e.into()))?;
            state.locks.insert(path.to_owned(), made.into());
        }
        let descriptor = state.locks[path].as_raw_fd();
        let mut options = std::fs::File::options();
        options.read(true).write(true);
        LockFile::open(path, || options.open(format!("/proc/self/fd/{descriptor}")))
    }
}

struct TwinFile {
    twin: Twin,
    inode: Arc<Inode>,
    path: PathBuf,
}

struct Watch {
    inode: Arc<Inode>,
    tracked: Arc<AtomicBool>,
    /// The mapping may outlive the disk.
    twin: Weak<Shared>,
}

impl Tracker for Watch {
    fn stored(&self, at: usize, len: usize) {
        if self.tracked.load(Ordering::Relaxed) {
            self.inode.record(at, len);
            if let Some(twin) = self.twin.upgrade() {
                Twin(twin).tell(Event::Stored);
            }
        }
    }
}

impl TwinFile {
    fn out_of_range(&self, at: u64, len: usize) -> Error {
        let message = format!("{}: {len} bytes at {at} are outside", self.path.display());
        Error::new(ErrorKind::Io, message)
    }
}

impl File for TwinFile {
    fn len(&self) -> Result<u64> {
        Ok(lock(&self.inode.content).len as u64)
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> Result<()> {
        self.twin.faulty(Fault::Read, "read", &self.path)?;
        let inside = at + buffer.len() as u64 <= self.len()?;
        match self.inode.memory.bytes(at as usize, buffer.len()) {
            Some(bytes) if inside => buffer.copy_from_slice(bytes),
            _ => return Err(self.out_of_range(at, buffer.len())),
        }
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> Result<()> {
        self.twin.faulty(Fault::Write, "write", &self.path)?;
        let outside = || self.out_of_range(at, bytes.len());
        self.inode
            .memory
            .copy_in(at as usize, bytes)
            .ok_or_else(outside)?;
        self.inode.record(at as usize, bytes.len());
        let mut content = lock(&self.inode.content);
        content.len = content.len.max(at as usize + bytes.len());
        drop(content);
        self.twin.tell(Event::Stored);
        Ok(())
    }

    fn allocate(&self, len: u64) -> Result<()> {
        if self.len()? >= len {
            return Ok(());
        }
        self.twin.faulty(Fault::Allocate, "allocate", &self.path)?;
        if len as usize > CAPACITY {
            return Err(self.out_of_range(0, len as usize));
        }
        lock(&self.inode.content).len = len as usize;
        self.twin.tell(Event::Grew);
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        self.twin.tell(Event::Syncing);
        if let Err(error) = self.twin.faulty(Fault::Sync, "sync", &self.path) {
            self.inode.fail_sync();
            return Err(error);
        }
        self.inode.sync();
        self.twin.tell(Event::Synced);
        Ok(())
    }

    fn map(&self, len: usize, _write: bool) -> Result<Arc<Mapping>> {
        self.twin.faulty(Fault::Map, "map", &self.path)?;
        let watch = || -> Arc<dyn Tracker> {
            Arc::new(Watch {
                inode: self.inode.clone(),
                tracked: self.twin.0.tracked.clone(),
                twin: Arc::downgrade(&self.twin.0),
            })
        };
        let watch = (!is_volatile(&self.path)).then(watch);
        let limit = (self.len()? as usize).min(len);
        let map = self.inode.memory.another(limit, watch);
        map.map(Arc::new).ok_or_else(|| self.out_of_range(0, len))
    }

    fn id(&self) -> Result<(u64, u64)> {
        Ok((0, Arc::as_ptr(&self.inode) as u64))
    }

    fn path(&self) -> &Path {
        &self.path
    }
}
