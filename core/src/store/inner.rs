//! What a process holds of an opened store, shared by all its handles.

use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::bridge::Bridge;
use super::compact::Compacting;
use super::consumer_table::ConsumerEntry;
use super::control::Control;
use super::death::Cleanup;
use super::group::GroupInner;
use super::housekeeping::{Housekeeper, Tended};
use super::member::Members;
use super::retain::Retaining;
use super::transactions::Journal;
use crate::error::{Error, ErrorKind, Result};
use crate::format::control::lock::STORE_BYTE;
use crate::log::Env;
use crate::options::StoreOptions;
use crate::shm::{LockFile, fork_generation};

const NAP: Duration = Duration::from_micros(100);

/// A number that nobody drew before, as far as chance goes, and never 0.
pub(crate) fn draw() -> u64 {
    RandomState::new().build_hasher().finish().max(1)
}

/// What is inside stays usable after a panic of a caller's thread: each change is one step.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An opened store.
pub(crate) struct StoreInner {
    /// Its folder, absolute.
    pub(crate) path: PathBuf,
    /// Its id, from `store.meta`.
    pub(crate) id: String,
    /// How it was opened.
    pub(crate) options: StoreOptions,
    /// What partitions need.
    pub(crate) env: Arc<Env>,
    /// The shared memory.
    pub(crate) control: Control,
    /// Topics of this process by id; each entry is the topic's own type.
    pub(crate) topics: Mutex<HashMap<u64, Weak<dyn Any + Send + Sync>>>,
    /// What to do after a dead member; tests set their own.
    pub(crate) cleanup: OnceLock<Arc<dyn Cleanup>>,
    /// `None` in a store that is only read.
    pub(super) members: Option<Arc<Members>>,
    pub(super) lock: Option<Arc<LockFile>>,
    /// `None` in a store that is only read.
    pub(super) journal: Option<Arc<Journal>>,
    pub(super) tended: Mutex<BTreeMap<PathBuf, Arc<dyn Tended>>>,
    pub(super) housekeeper: Mutex<Option<Housekeeper>>,
    pub(super) bridge: Mutex<Option<Bridge>>,
    /// A receive call saw a dead member, which housekeeping is to clean up after.
    pub(super) find_dead_now: AtomicBool,
    /// Where it saw that what the dead one had is to go to the dead letters.
    pub(super) noticed_moves: Mutex<Vec<(Weak<GroupInner>, u32)>>,
    /// Consumers of this process that closed and could not hand back all that they had.
    pub(super) unreturned: Mutex<Vec<ConsumerEntry>>,
    /// What housekeeping knows of the topics that retention is looked for in.
    pub(super) retaining: Mutex<Retaining>,
    /// The thread that compacts, while there is anything to.
    pub(super) compacting: Mutex<Compacting>,
    /// Partitions that were opened since what nobody uses was released.
    pub(super) opened: AtomicUsize,
    handles: Arc<Handles>,
    left: AtomicBool,
    born: u64,
}

#[derive(Default)]
struct Handles {
    next: AtomicU64,
    open: Mutex<BTreeMap<u64, String>>,
}

/// The entry of an open handle, which keeps the store from being closed; dropping it takes it off.
pub(crate) struct Handle {
    number: u64,
    of: Arc<Handles>,
    born: u64,
}

impl Drop for Handle {
    fn drop(&mut self) {
        // The parent's list in a child of a fork: its lock may be held by a thread that is not
        // here.
        if self.born == fork_generation() {
            locked(&self.of.open).remove(&self.number);
        }
    }
}

/// The parts that opening puts together.
pub(super) struct Parts {
    pub(super) path: PathBuf,
    pub(super) id: String,
    pub(super) options: StoreOptions,
    pub(super) env: Arc<Env>,
    pub(super) control: Control,
    pub(super) members: Option<Arc<Members>>,
    pub(super) lock: Option<Arc<LockFile>>,
    pub(super) journal: Option<Arc<Journal>>,
}

impl StoreInner {
    pub(super) fn new(parts: Parts) -> Self {
        let Parts {
            path,
            id,
            options,
            env,
            control,
            members,
            lock,
            journal,
        } = parts;
        Self {
            path,
            id,
            options,
            env,
            control,
            topics: Mutex::default(),
            cleanup: OnceLock::new(),
            members,
            lock,
            journal,
            tended: Mutex::default(),
            housekeeper: Mutex::default(),
            bridge: Mutex::default(),
            find_dead_now: AtomicBool::new(false),
            noticed_moves: Mutex::default(),
            unreturned: Mutex::default(),
            retaining: Mutex::default(),
            compacting: Mutex::default(),
            opened: AtomicUsize::new(0),
            handles: Arc::default(),
            left: AtomicBool::new(false),
            born: fork_generation(),
        }
    }

    /// Whether nothing may be written.
    pub(crate) fn is_read_only(&self) -> bool {
        self.options.read_only
    }

    /// Errors with [`ErrorKind::ReadOnly`] in a store that is only read.
    pub(crate) fn check_writable(&self, doing: &str) -> Result<()> {
        if !self.is_read_only() {
            return Ok(());
        }
        let at = self.path.display();
        let message = format!("cannot {doing}: {at} was opened with read_only; open it without");
        Err(Error::new(ErrorKind::ReadOnly, message))
    }

    /// Errors with [`ErrorKind::Closed`] once the store is closed, with [`ErrorKind::Forked`] in a
    /// child of the process that opened it, which must join by itself first.
    #[inline]
    pub(crate) fn check_open(&self) -> Result<()> {
        if self.born != fork_generation() {
            return Err(self.unusable(ErrorKind::Forked, "was opened before a fork"));
        }
        if self.left.load(Ordering::Relaxed) {
            return Err(self.unusable(ErrorKind::Closed, "is closed"));
        }
        Ok(())
    }

    #[cold]
    fn unusable(&self, kind: ErrorKind, why: &str) -> Error {
        let message = format!("the store {} {why}; open it again", self.path.display());
        Error::new(kind, message)
    }

    /// Enters an open handle, as in `topic "orders"`.
    pub(crate) fn register_handle(&self, name: impl Into<String>) -> Handle {
        let number = self.handles.next.fetch_add(1, Ordering::Relaxed);
        locked(&self.handles.open).insert(number, name.into());
        Handle {
            number,
            of: self.handles.clone(),
            born: fork_generation(),
        }
    }

    /// How many members the store has now.
    pub(super) fn member_count(&self) -> usize {
        self.members.as_ref().map_or(0, |members| members.count())
    }

    /// Closes the store in this process. Errors with [`ErrorKind::Busy`] while handles are open.
    pub(super) fn close(self: &Arc<Self>) -> Result<()> {
        let open: Vec<String> = locked(&self.handles.open).values().cloned().collect();
        if !open.is_empty() {
            let at = self.path.display();
            let message = format!(
                "the store {at} has open handles: {}; close them first",
                open.join(", ")
            );
            return Err(Error::new(ErrorKind::Busy, message));
        }
        if self.left.load(Ordering::Relaxed) {
            return Ok(());
        }
        let buried = self.find_dead(0).map(|_| ());
        let _ = self.hand_back_rest();
        if self.member_count() == 1 {
            // What fails is done by the next life, which finds the journal as it is.
            let _ = self.make_room_for_transactions(self.options.lock_timeout);
        }
        buried.and(self.leave())
    }

    /// Keeps other threads of this process, which may be in the middle of a send, out of critical
    /// sections, and waits for those that are inside: once the slot is free others would take their
    /// locks over.
    fn keep_out(&self) -> Result<()> {
        self.env.leaving.store(true, Ordering::SeqCst);
        let deadline = Instant::now() + self.options.lock_timeout;
        while self.control.holds_any_lock()? {
            if Instant::now() >= deadline {
                let at = self.path.display();
                let message = format!(
                    "another thread of this process has held a lock of the store {at} for {:?}; \
                     end it before the store is closed",
                    self.options.lock_timeout
                );
                return Err(Error::new(ErrorKind::Stuck, message));
            }
            std::thread::sleep(NAP);
        }
        Ok(())
    }

    /// Leaves the store, once. Whoever can get the store's lock exclusively is the last one and
    /// leaves it clean, so that the next open starts without a walk. A death in the middle leaves
    /// some parts clean and some to be recovered: each says of itself which.
    fn leave(&self) -> Result<()> {
        if self.left.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        let housekeeper = locked(&self.housekeeper).take();
        if let Some(housekeeper) = housekeeper {
            housekeeper.stop();
        }
        // Which the one that is stopped would have begun.
        let mut compacting = std::mem::take(&mut *locked(&self.compacting));
        compacting.stop();
        let bridge = locked(&self.bridge).take();
        if let Some(bridge) = bridge {
            bridge.stop();
        }
        let tended = std::mem::take(&mut *locked(&self.tended));
        let (Some(members), Some(lock)) = (&self.members, &self.lock) else {
            return Ok(());
        };
        let fenced = self.env.check_fence().is_err();
        // One that is stuck inside keeps its slot until the process ends.
        self.keep_out()?;
        let mut done = Ok(());
        if !fenced && lock.try_exclusive(STORE_BYTE)? {
            // Who gets the lock shared the moment it is given back, or waits for a child of this
            // process that has a copy of it until its program begins, must not go on with a life
            // that the files say is over: what is sent then would be cut (P1).
            self.control.end_life();
            for part in tended.values() {
                done = done.and(part.close_clean());
            }
        } else if !fenced {
            // Those who stay may not have these topics open, and nobody would sync them (P2).
            for part in tended.values() {
                done = done.and(part.leave());
            }
        }
        // Where a closed consumer still has leases the slot is left as a dead one's, so that others
        // give them back.
        if locked(&self.unreturned).is_empty() {
            done = done.and(members.leave());
        }
        // With it goes the store's byte.
        lock.close();
        done
    }
}

impl Drop for StoreInner {
    fn drop(&mut self) {
        if self.born == fork_generation() {
            // Nobody is left to tell; what is not clean now is recovered by the next open.
            let _ = self.leave();
            return;
        }
        // In a child: the parent's membership, threads and channel are the parent's. The threads do
        // not run here, and their handles and channel may be in any state, so they are left alone.
        let housekeeper = self
            .housekeeper
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::forget(housekeeper.take());
        let compacting = self.compacting.get_mut();
        compacting.unwrap_or_else(PoisonError::into_inner).forget();
        let bridge = self.bridge.get_mut();
        std::mem::forget(bridge.unwrap_or_else(PoisonError::into_inner).take());
    }
}
