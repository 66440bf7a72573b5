//! A disk whose syncs wait at a gate until the test opens it.

use std::sync::{Condvar, Mutex};

use super::*;
use crate::shm::{LockFile, Mapping};
use crate::storage::{Access, File};

#[derive(Default)]
struct State {
    closed: bool,
    waiting: usize,
}

/// Open at first.
#[derive(Default)]
pub(super) struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

impl Gate {
    pub(super) fn set_closed(&self, closed: bool) {
        self.state.lock().expect("gate").closed = closed;
        self.changed.notify_all();
    }

    /// Until somebody wants to sync while it is closed.
    pub(super) fn until_one_waits(&self) {
        let state = self.state.lock().expect("gate");
        let waits = self
            .changed
            .wait_timeout_while(state, BOUND, |state| state.waiting == 0);
        assert!(!waits.expect("gate").1.timed_out(), "nobody syncs");
    }

    fn pass(&self) {
        let mut state = self.state.lock().expect("gate");
        state.waiting += 1;
        self.changed.notify_all();
        // A test that failed does not open it again.
        let passed = self
            .changed
            .wait_timeout_while(state, BOUND, |state| state.closed);
        passed.expect("gate").0.waiting -= 1;
    }
}

/// The real disk behind a gate.
pub(super) struct Gated(pub(super) Arc<Gate>);

struct GatedFile(Arc<dyn File>, Arc<Gate>);

impl Storage for Gated {
    fn open(&self, path: &Path, access: Access, mode: u32) -> Result<Arc<dyn File>> {
        let file = Disk.open(path, access, mode)?;
        Ok(Arc::new(GatedFile(file, self.0.clone())))
    }
    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        Disk.rename(from, to)
    }
    fn unlink(&self, path: &Path) -> Result<()> {
        Disk.unlink(path)
    }
    fn remove_dir(&self, path: &Path) -> Result<()> {
        Disk.remove_dir(path)
    }
    fn create_dir(&self, path: &Path, mode: u32) -> Result<()> {
        Disk.create_dir(path, mode)
    }
    fn list(&self, folder: &Path) -> Result<Vec<String>> {
        Disk.list(folder)
    }
    fn exists(&self, path: &Path) -> Result<bool> {
        Disk.exists(path)
    }
    fn sync_dir(&self, folder: &Path) -> Result<()> {
        self.0.pass();
        Disk.sync_dir(folder)
    }
    fn boot_id(&self) -> [u8; 16] {
        Disk.boot_id()
    }
    fn free_bytes(&self, path: &Path) -> Result<u64> {
        Disk.free_bytes(path)
    }

    fn network_kind(&self, path: &Path) -> Result<Option<&'static str>> {
        Disk.network_kind(path)
    }
    fn lock_file(&self, path: &Path, read_only: bool, mode: u32) -> Result<LockFile> {
        Disk.lock_file(path, read_only, mode)
    }
}

impl File for GatedFile {
    fn len(&self) -> Result<u64> {
        self.0.len()
    }
    fn read_at(&self, buffer: &mut [u8], at: u64) -> Result<()> {
        self.0.read_at(buffer, at)
    }
    fn write_at(&self, bytes: &[u8], at: u64) -> Result<()> {
        self.0.write_at(bytes, at)
    }
    fn allocate(&self, len: u64) -> Result<()> {
        self.0.allocate(len)
    }
    fn sync(&self) -> Result<()> {
        self.1.pass();
        self.0.sync()
    }
    fn map(&self, len: usize, write: bool) -> Result<Arc<Mapping>> {
        self.0.map(len, write)
    }
    fn id(&self) -> Result<(u64, u64)> {
        self.0.id()
    }
    fn path(&self) -> &Path {
        self.0.path()
    }
}
