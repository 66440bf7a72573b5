//! What a log needs of the process that has it open, and whether that may still write.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use super::{Partition, Transactions};
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::shm::{Liveness, Owner, Region};
use crate::storage::Storage;

/// Whether an ordinary segment may be allocated; see [`Env::may_take_room`].
pub type MayTakeRoom = Box<dyn Fn(&dyn Storage) -> Result<()> + Send + Sync>;

/// Has pages made for who sends to a partition; see [`Env::hurry`].
pub type Hurry = Box<dyn Fn(&Weak<Partition>) + Send + Sync>;

/// What a partition needs of the process that opened the store.
pub struct Env {
    /// The file system.
    pub storage: Arc<dyn Storage>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Who lives.
    pub live: Arc<dyn Liveness>,
    /// This member.
    pub me: Owner,
    /// How long to wait for a live holder of a lock.
    pub lock_timeout: Duration,
    /// Permission bits of created files.
    pub mode: u32,
    /// This member's word in the member table and what it must hold; a member that was taken for
    /// dead finds another value there and may not write any more.
    pub fence: Option<(Region, u64)>,
    /// Set when this member is about to leave: no critical section begins any more.
    pub leaving: AtomicBool,
    /// Held by the thread of this member that writes an index.
    pub indexing: Mutex<()>,
    /// Asked before an ordinary segment is allocated: errors with [`ErrorKind::DiskFull`] while the
    /// room there is must be left to dead letters.
    pub may_take_room: MayTakeRoom,
    /// Has housekeeping look around now; never waits.
    pub nudge: Box<dyn Fn() + Send + Sync>,
    /// Has housekeeping make pages for who sends to this partition; never waits.
    pub hurry: Hurry,
    /// What is known of transactions; `None` where nobody can have any.
    pub transactions: Option<Arc<dyn Transactions>>,
}

/// Whose room a segment is allocated from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// Everyone's.
    Ordinary,
    /// That which is kept for what must not fail on a full disk.
    Kept,
}

impl Env {
    /// Errors with [`ErrorKind::Fenced`] when this member was taken for dead, with
    /// [`ErrorKind::Closed`] when it leaves. Looked at with a lock held.
    #[inline]
    pub fn check_fence(&self) -> Result<()> {
        // Pairs with the leaver, which sets it before it looks at the locks: either this is seen,
        // or the lock, which was taken before.
        if self.leaving.load(Ordering::SeqCst) {
            return Err(left());
        }
        self.check_alive()
    }

    /// As `check_fence`, also for what has to be done while this member leaves.
    #[inline]
    pub(super) fn check_alive(&self) -> Result<()> {
        match &self.fence {
            Some((word, mine)) if word.get(0) != *mine => Err(fenced()),
            _ => Ok(()),
        }
    }
}

#[cold]
fn left() -> Error {
    let message = "the store was closed by another thread meanwhile; open it again";
    Error::new(ErrorKind::Closed, message)
}

#[cold]
fn fenced() -> Error {
    Error::new(
        ErrorKind::Fenced,
        "this process was taken for dead, since its lock file was closed behind the library's \
         back, and others repaired after it; open the store again",
    )
}
