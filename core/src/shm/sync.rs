//! What the lock and the event count are made of, in one place: `core/models` compiles both from
//! the same sources with atomics, a futex and a time that a model checker drives.

pub use std::sync::atomic::{AtomicU32, Ordering, fence};
pub use std::time::Instant;

pub(super) use std::hint::spin_loop;

pub(super) use super::sys::{futex_wait, futex_wake};

/// How many pauses there are before each look at a lock; then its waiter sleeps.
pub(super) const PAUSES: [u32; 3] = [64, 128, 256];

/// A sync that is shorter is not worth a wait for others who are to send; in a model none is.
pub const WORTH_A_WAIT: std::time::Duration = std::time::Duration::from_micros(30);

/// Whether a swap may succeed, which takes the cache line from its holder also where it fails.
#[inline]
pub(super) fn looks_free(word: &AtomicU32) -> bool {
    word.load(Ordering::Relaxed) == 0
}
