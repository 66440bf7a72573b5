//! The core's `shm` with its own lock, event count and guard, over modelled atomics and memory.

#[path = "../../src/shm/event.rs"]
mod event;
#[path = "../../src/shm/fork.rs"]
#[allow(unsafe_code)]
mod fork;
#[path = "../../src/shm/guarded.rs"]
mod guarded;
#[path = "../../src/shm/lock.rs"]
mod lock;
#[path = "../../src/shm/locks.rs"]
mod locks;
#[path = "atomics.rs"]
pub mod sync;
#[path = "../../src/shm/sys.rs"]
mod sys;

pub use crate::memory::{Mapping, Peek, Region};
pub use event::EventCount;
pub use guarded::Guarded;
pub use lock::{Acquired, Held, Liveness, Owner, OwnerLock};
pub use locks::LockFile;
pub use sync::{AtomicU32 as Word, WORTH_A_WAIT};
pub use sys::boot_id;

/// No model goes by the processor's counter.
pub fn ticks_count_time() -> bool {
    false
}

pub fn ticks() -> u64 {
    0
}

/// How long somebody slept or synced: nobody goes by it, so it is not modelled.
#[derive(Clone, Copy, Debug, Default)]
pub struct Times;
