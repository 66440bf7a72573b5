//! A disk in memory: files are mappings, and it has of each what was there when it was last synced.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Error, ErrorKind, Result};
use crate::shm::{LockFile, Mapping};
use crate::storage::{Access, File, Storage};
use crate::world::{Mutation, is_on, thread};

const MOST: usize = 1 << 21;

/// One folder.
#[derive(Default)]
pub struct Disk {
    files: Mutex<BTreeMap<PathBuf, Arc<Node>>>,
    made: AtomicUsize,
    failing: Arc<AtomicUsize>,
}

struct Node {
    number: u64,
    map: Arc<Mapping>,
    durable: Mutex<BTreeMap<usize, u32>>,
    failing: Arc<AtomicUsize>,
}

struct Opened(Arc<Node>, PathBuf);

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Disk {
    /// The next so many syncs of segments fail.
    pub fn fail_syncs(&self, count: usize) {
        self.failing.store(count, Ordering::Relaxed);
    }

    /// The words of a file that survive a power loss now.
    pub fn durable(&self, name: &str) -> BTreeMap<usize, u32> {
        let files = locked(&self.files);
        let found = files.iter().find(|(path, _)| path.ends_with(name));
        found.map_or_else(BTreeMap::new, |(_, node)| locked(&node.durable).clone())
    }
}

fn missing(path: &Path) -> Error {
    Error::new(ErrorKind::NotFound, format!("no {}", path.display()))
}

impl Storage for Disk {
    fn free_bytes(&self, _: &Path) -> Result<u64> {
        Ok(u64::MAX)
    }

    fn open(&self, path: &Path, access: Access, _mode: u32) -> Result<Arc<dyn File>> {
        let mut files = locked(&self.files);
        let node = match (files.get(path), access) {
            (Some(node), _) => node.clone(),
            (None, Access::Create | Access::CreateNew) => {
                let node = Arc::new(Node {
                    number: self.made.fetch_add(1, Ordering::Relaxed) as u64,
                    map: Arc::new(Mapping::anonymous(MOST)?.emptied()),
                    durable: Mutex::default(),
                    failing: self.failing.clone(),
                });
                files.insert(path.to_owned(), node.clone());
                node
            }
            (None, _) => return Err(missing(path)),
        };
        Ok(Arc::new(Opened(node, path.to_owned())))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        let mut files = locked(&self.files);
        let node = files.remove(from).ok_or_else(|| missing(from))?;
        files.insert(to.to_owned(), node);
        Ok(())
    }

    fn unlink(&self, path: &Path) -> Result<()> {
        locked(&self.files).remove(path);
        Ok(())
    }

    fn create_dir(&self, _path: &Path, _mode: u32) -> Result<()> {
        Ok(())
    }

    fn remove_dir(&self, _: &Path) -> Result<()> {
        Ok(())
    }

    fn list(&self, _folder: &Path) -> Result<Vec<String>> {
        let files = locked(&self.files);
        let name = |path: &PathBuf| path.file_name().map(|n| n.to_string_lossy().into_owned());
        Ok(files.keys().filter_map(name).collect())
    }

    fn exists(&self, path: &Path) -> Result<bool> {
        Ok(locked(&self.files).contains_key(path))
    }

    fn sync_dir(&self, _folder: &Path) -> Result<()> {
        Ok(())
    }

    fn boot_id(&self) -> [u8; 16] {
        [1; 16]
    }

    fn network_kind(&self, _path: &Path) -> Result<Option<&'static str>> {
        Ok(None)
    }

    fn lock_file(&self, path: &Path, _read_only: bool, _mode: u32) -> Result<LockFile> {
        Err(missing(path))
    }
}

impl Node {
    fn put_on_disk(&self) {
        let seen = self.map.snapshot();
        locked(&self.durable).extend(seen);
    }
}

impl File for Opened {
    fn len(&self) -> Result<u64> {
        Ok(self.0.map.limit() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> Result<()> {
        let bytes = self.0.map.bytes(at as usize, buffer.len());
        buffer.copy_from_slice(bytes.ok_or_else(|| missing(&self.1))?);
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> Result<()> {
        let written = self.0.map.copy_in(at as usize, bytes);
        written.ok_or_else(|| missing(&self.1))
    }

    fn allocate(&self, len: u64) -> Result<()> {
        self.0.map.set_limit(len as usize);
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        let failing = &self.0.failing;
        // A segment keeps the name that it was made under.
        let segment = !self.1.ends_with("reserve");
        if segment && failing.load(Ordering::Relaxed) > 0 {
            failing.fetch_sub(1, Ordering::Relaxed);
            return Err(Error::new(ErrorKind::Io, "the disk failed"));
        }
        if is_on(Mutation::EarlySync) {
            let node = self.0.clone();
            thread::spawn(move || node.put_on_disk());
            return Ok(());
        }
        self.0.put_on_disk();
        Ok(())
    }

    fn map(&self, _len: usize, _write: bool) -> Result<Arc<Mapping>> {
        Ok(self.0.map.clone())
    }

    fn id(&self) -> Result<(u64, u64)> {
        Ok((0, self.0.number))
    }

    fn path(&self) -> &Path {
        &self.1
    }
}
