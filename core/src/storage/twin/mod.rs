//! A disk in memory that can fail on demand and forget as a power loss does.
//!
//! For each 512-byte sector it keeps every version since the file's last sync; for each folder the
//! names since the folder's last sync. `power_loss` builds the disk that a host might find after
//! the power came back: each sector is any of its versions, each name change happened or not.

mod loss;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Access, File, Storage};
use crate::error::{Error, ErrorKind, Result};
use crate::shm::{LockFile, Mapping, Tracker};

const SECTOR: usize = 512;
/// Sectors of a page.
const PAGE: usize = 8;
const CAPACITY: usize = 64 << 20;

/// Which verb of a file fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `write_at`.
    Write,
    /// `sync`.
    Sync,
    /// `allocate`, as on a full disk.
    Allocate,
    /// `open`, as when a process has too many files open.
    Open,
    /// `sync_dir`.
    SyncFolder,
}

/// The disk in memory. Clones are the same disk.
#[derive(Clone)]
pub struct Twin(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    countdown: [AtomicI64; 5],
}

#[derive(Default)]
struct State {
    names: BTreeMap<PathBuf, Arc<Inode>>,
    durable_names: BTreeMap<PathBuf, Arc<Inode>>,
    folders: BTreeMap<PathBuf, ()>,
    locks: HashMap<PathBuf, std::fs::File>,
}

struct Inode {
    memory: Mapping,
    content: Mutex<Content>,
}

#[derive(Default)]
struct Content {
    len: usize,
    durable_len: usize,
    /// Versions of a sector since the last sync, the durable one first.
    versions: HashMap<usize, Vec<Vec<u8>>>,
    /// The last synced bytes of sectors that were ever synced; others are zero.
    synced: HashMap<usize, Vec<u8>>,
    /// Sectors that a failed sync left: their pages count as written until they are stored to.
    forgotten: HashSet<usize>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for Twin {
    fn default() -> Self {
        Self::new()
    }
}

impl Twin {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        let countdown = [const { AtomicI64::new(i64::MAX) }; 5];
        Self(Arc::new(Shared {
            state: Mutex::default(),
            countdown,
        }))
    }

    /// Lets the `nth` call (1 is the next) of this verb fail, and all behind it until `heal`.
    pub fn fail(&self, what: Fault, nth: i64) {
        self.0.countdown[what as usize].store(nth, Ordering::SeqCst);
    }

    /// Ends all faults.
    pub fn heal(&self) {
        for count in &self.0.countdown {
            count.store(i64::MAX, Ordering::SeqCst);
        }
    }

    fn fault(&self, what: Fault) -> Option<std::io::Error> {
        let count = &self.0.countdown[what as usize];
        if count.load(Ordering::SeqCst) == i64::MAX || count.fetch_sub(1, Ordering::SeqCst) > 1 {
            return None;
        }
        let code = match what {
            Fault::Allocate => libc::ENOSPC,
            Fault::Open => libc::EMFILE,
            Fault::Write | Fault::Sync | Fault::SyncFolder => libc::EIO,
        };
        Some(std::io::Error::from_raw_os_error(code))
    }
}

impl Inode {
    fn new() -> Result<Arc<Self>> {
        let memory = Mapping::anonymous(CAPACITY)?;
        Ok(Arc::new(Self {
            memory,
            content: Mutex::default(),
        }))
    }

    fn sector(&self, number: usize) -> Vec<u8> {
        self.memory
            .bytes(number * SECTOR, SECTOR)
            .unwrap_or(&[0; SECTOR])
            .to_vec()
    }

    fn record(&self, at: usize, len: usize) {
        let mut content = lock(&self.content);
        let last = (at + len.max(1) - 1) / SECTOR;
        // A store makes the whole page one that is to be written.
        for number in at / SECTOR / PAGE * PAGE..(last / PAGE + 1) * PAGE {
            content.forgotten.remove(&number);
        }
        for number in at / SECTOR..=last {
            let now = self.sector(number);
            let durable = content.synced.get(&number).cloned();
            let versions = content
                .versions
                .entry(number)
                .or_insert_with(|| vec![durable.unwrap_or_else(|| vec![0; SECTOR])]);
            if versions.last() != Some(&now) {
                versions.push(now);
            }
        }
    }

    fn sync(&self) {
        let mut content = lock(&self.content);
        let content = &mut *content;
        let Content {
            versions,
            forgotten,
            synced,
            ..
        } = content;
        versions.retain(|number, _| {
            let written = !forgotten.contains(number);
            if written {
                synced.insert(*number, self.sector(*number));
            }
            !written
        });
        content.durable_len = content.len;
    }

    /// The disk failed: nobody can tell what it has, and the pages count as written.
    fn fail_sync(&self) {
        let mut content = lock(&self.content);
        let Content {
            versions,
            forgotten,
            ..
        } = &mut *content;
        forgotten.extend(versions.keys());
    }
}

fn missing(path: &Path) -> Error {
    Error::io(
        "open",
        path,
        std::io::Error::from_raw_os_error(libc::ENOENT),
    )
}

impl Storage for Twin {
    fn open(&self, path: &Path, access: Access, _mode: u32) -> Result<Arc<dyn File>> {
        if let Some(error) = self.fault(Fault::Open) {
            return Err(Error::io("open", path, error));
        }
        let mut state = lock(&self.0.state);
        let inode = match (state.names.get(path), access) {
            (Some(_), Access::CreateNew) => {
                let exists = std::io::Error::from_raw_os_error(libc::EEXIST);
                return Err(Error::io("open", path, exists));
            }
            (Some(inode), _) => inode.clone(),
            (None, Access::Create | Access::CreateNew) => {
                let inode = Inode::new()?;
                state.names.insert(path.to_owned(), inode.clone());
                inode
            }
            (None, _) => return Err(missing(path)),
        };
        Ok(Arc::new(TwinFile {
            twin: self.clone(),
            inode,
            path: path.to_owned(),
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        let mut state = lock(&self.0.state);
        let inode = state.names.remove(from).ok_or_else(|| missing(from))?;
        state.names.insert(to.to_owned(), inode);
        Ok(())
    }

    fn unlink(&self, path: &Path) -> Result<()> {
        lock(&self.0.state)
            .names
            .remove(path)
            .map(|_| ())
            .ok_or_else(|| missing(path))
    }

    fn create_dir(&self, path: &Path, _mode: u32) -> Result<()> {
        lock(&self.0.state).folders.insert(path.to_owned(), ());
        Ok(())
    }

    fn list(&self, folder: &Path) -> Result<Vec<String>> {
        let state = lock(&self.0.state);
        let paths = state.names.keys().chain(state.folders.keys());
        let inside = paths.filter(|path| path.parent() == Some(folder));
        let mut names: Vec<String> = inside
            .filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned()))
            .collect();
        names.sort();
        Ok(names)
    }

    fn exists(&self, path: &Path) -> Result<bool> {
        let state = lock(&self.0.state);
        Ok(state.names.contains_key(path) || state.folders.contains_key(path))
    }

    fn sync_dir(&self, folder: &Path) -> Result<()> {
        if let Some(error) = self.fault(Fault::SyncFolder) {
            return Err(Error::io("sync", folder, error));
        }
        let mut state = lock(&self.0.state);
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
        Ok(())
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

struct Watch(Arc<Inode>);

impl Tracker for Watch {
    fn stored(&self, at: usize, len: usize) {
        self.0.record(at, len);
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
        let inside = at + buffer.len() as u64 <= self.len()?;
        match self.inode.memory.bytes(at as usize, buffer.len()) {
            Some(bytes) if inside => buffer.copy_from_slice(bytes),
            _ => return Err(self.out_of_range(at, buffer.len())),
        }
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> Result<()> {
        if let Some(error) = self.twin.fault(Fault::Write) {
            return Err(Error::io("write", &self.path, error));
        }
        let outside = || self.out_of_range(at, bytes.len());
        self.inode
            .memory
            .copy_in(at as usize, bytes)
            .ok_or_else(outside)?;
        self.inode.record(at as usize, bytes.len());
        let mut content = lock(&self.inode.content);
        content.len = content.len.max(at as usize + bytes.len());
        Ok(())
    }

    fn allocate(&self, len: u64) -> Result<()> {
        if self.len()? >= len {
            return Ok(());
        }
        if let Some(error) = self.twin.fault(Fault::Allocate) {
            return Err(Error::io("allocate", &self.path, error));
        }
        if len as usize > CAPACITY {
            return Err(self.out_of_range(0, len as usize));
        }
        lock(&self.inode.content).len = len as usize;
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        if let Some(error) = self.twin.fault(Fault::Sync) {
            self.inode.fail_sync();
            return Err(Error::io("sync", &self.path, error));
        }
        self.inode.sync();
        Ok(())
    }

    fn map(&self, len: usize, _write: bool) -> Result<Arc<Mapping>> {
        let watch: Arc<dyn Tracker> = Arc::new(Watch(self.inode.clone()));
        let limit = (self.len()? as usize).min(len);
        let map = self.inode.memory.another(limit, Some(watch));
        map.map(Arc::new).ok_or_else(|| self.out_of_range(0, len))
    }

    fn id(&self) -> Result<(u64, u64)> {
        Ok((0, Arc::as_ptr(&self.inode) as u64))
    }

    fn path(&self) -> &Path {
        &self.path
    }
}
