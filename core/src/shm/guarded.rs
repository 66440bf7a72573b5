//! Process-local data that a lock in shared memory guards.
//!
//! The lock word excludes the threads of one process from each other as well as other processes, so
//! what only its holder touches needs no second lock on the hot path.

use std::cell::UnsafeCell;

use super::lock::Held;
use super::sync::AtomicU32;

/// Data of this process that only the holder of one lock word may touch.
pub struct Guarded<T> {
    word: usize,
    data: UnsafeCell<T>,
}

// SAFETY: `with` gives access only to the holder of the lock word, of which there is one.
unsafe impl<T: Send> Sync for Guarded<T> {}

impl<T> Guarded<T> {
    /// Data that the lock at `word` guards.
    pub fn new(word: &AtomicU32, data: T) -> Self {
        Self {
            word: word.as_ptr() as usize,
            data: UnsafeCell::new(data),
        }
    }

    /// Access for as long as the lock is held. Panics when another lock is shown.
    #[inline]
    pub fn with<'a>(&'a self, held: &'a mut Held<'_>) -> &'a mut T {
        assert_eq!(held.address(), self.word, "another lock guards this data");
        // SAFETY: the held word is the one named at creation, one holder has it at a time, and the
        // exclusive borrow of the guard keeps this holder from a second reference.
        unsafe { &mut *self.data.get() }
    }
}
