//! Memory shared between processes: mappings, owner-word locks, event counts, kernel locks, fork.
//!
//! Together with `ffi/src` this is the only room of `unsafe`. What it hands out is safe: every
//! access is checked against the part of the mapping that was verified to lie inside the file
//! (P18), and is atomic or a copy.

mod event;
mod fork;
mod guarded;
mod lock;
mod locks;
mod map;
mod region;
mod signal;
mod sync;
mod sys;
mod ticks;
mod times;

pub use event::EventCount;
pub use fork::generation as fork_generation;
#[cfg(test)]
pub(crate) use fork::{Starting, fork_in_test};
pub use guarded::Guarded;
pub use lock::{Acquired, Held, Liveness, Owner, OwnerLock};
pub use locks::LockFile;
#[cfg(test)]
pub use map::Tracker;
pub use map::{Mapping, Peek};
pub use region::Region;
pub use signal::Signal;
pub use sync::{AtomicU32 as Word, WORTH_A_WAIT};
pub use sys::{boot_id, process_id, step_back};
pub use ticks::{ticks, ticks_count_time};
pub use times::Times;
