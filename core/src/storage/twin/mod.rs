//! A disk in memory that can fail on demand and forget as a power loss does.
//!
//! For each 512-byte sector it keeps the versions since the file's last sync; for each folder the
//! names since the folder's last sync. `power_loss` builds the disk that a host might find after
//! the power came back: each sector is any of its versions, each length and each name the one
//! before or the one after. A watcher is told of each store, write, sync and change of a name, and
//! may build images there: so a simulation crashes at every one of them.

mod choices;
mod files;
mod inode;
mod loss;
mod moves;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use choices::Choices;
use inode::Inode;

const SECTOR: usize = 512;
/// Sectors of a page.
const PAGE: usize = 8;
const CAPACITY: usize = 64 << 20;
const FAULTS: usize = 8;

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
    /// `read_at`.
    Read,
    /// `map`, as when a process has no address space left.
    Map,
    /// `rename` and `unlink`.
    Name,
}

/// What a watcher is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Bytes were stored through a mapping, or written.
    Stored,
    /// A file was created or grew.
    Grew,
    /// A file is about to be synced.
    Syncing,
    /// A file was synced.
    Synced,
    /// A folder is about to be synced.
    SyncingFolder,
    /// A folder was synced.
    SyncedFolder,
    /// A name was created, changed or removed.
    Named,
}

/// Called at each event, by the thread that does it.
pub type Watcher = Arc<dyn Fn(&Twin, Event) + Send + Sync>;

/// The disk in memory. Clones are the same disk.
#[derive(Clone)]
pub struct Twin(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    countdown: [AtomicI64; FAULTS],
    watched: AtomicBool,
    tracked: Arc<AtomicBool>,
    watcher: Mutex<Option<Watcher>>,
    boot: [u8; 16],
}

#[derive(Default)]
struct State {
    names: BTreeMap<PathBuf, Arc<Inode>>,
    durable_names: BTreeMap<PathBuf, Arc<Inode>>,
    folders: BTreeSet<PathBuf>,
    durable_folders: BTreeSet<PathBuf>,
    locks: HashMap<PathBuf, std::fs::File>,
    /// Folders that were renamed, from and to, of which the name is not on disk yet.
    moves: Vec<(PathBuf, PathBuf)>,
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
    /// An empty disk of this host.
    #[must_use]
    pub fn new() -> Self {
        Self::of(State::default(), crate::shm::boot_id())
    }

    /// An empty disk of another host.
    #[must_use]
    pub fn elsewhere() -> Self {
        Self::of(State::default(), [0xE; 16])
    }

    /// Whether it is a disk of that other host, in whatever start.
    #[must_use]
    pub fn is_elsewhere(&self) -> bool {
        self.0.boot[1..] == [0xE; 15]
    }

    /// Whether it is a disk of this start of this host.
    #[must_use]
    pub fn is_here(&self) -> bool {
        self.0.boot == crate::shm::boot_id()
    }

    fn of(state: State, boot: [u8; 16]) -> Self {
        Self(Arc::new(Shared {
            state: Mutex::new(state),
            countdown: [const { AtomicI64::new(i64::MAX) }; FAULTS],
            watched: AtomicBool::new(false),
            tracked: Arc::new(AtomicBool::new(true)),
            watcher: Mutex::default(),
            boot,
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
            Fault::Map => libc::ENOMEM,
            Fault::Write | Fault::Sync | Fault::SyncFolder | Fault::Read | Fault::Name => libc::EIO,
        };
        Some(std::io::Error::from_raw_os_error(code))
    }

    /// Has somebody told of all events from now on, or nobody.
    pub fn watch(&self, watcher: Option<Watcher>) {
        self.0.watched.store(watcher.is_some(), Ordering::SeqCst);
        *lock(&self.0.watcher) = watcher;
    }

    /// Keeps no versions from now on: no power loss of this disk is asked for, and it is much
    /// faster.
    pub fn forget_versions(&self) {
        self.0.tracked.store(false, Ordering::SeqCst);
    }

    /// With no lock of the twin held: a watcher looks at all of it.
    fn tell(&self, event: Event) {
        if self.0.watched.load(Ordering::SeqCst) {
            let watcher = lock(&self.0.watcher).clone();
            if let Some(watcher) = watcher {
                watcher(self, event);
            }
        }
    }
}
