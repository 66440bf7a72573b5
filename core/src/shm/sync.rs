//! What the lock and the event count are made of, in one place: `core/models` compiles both from
//! the same sources with atomics, a futex and a time that a model checker drives.

pub use std::sync::atomic::{AtomicU32, Ordering, fence};
pub use std::time::Instant;

pub(super) use std::hint::spin_loop;

pub(super) use super::sys::{futex_wait, futex_wake};

/// How often a lock is tried before its waiter sleeps.
pub(super) const SPINS: u32 = 100;
