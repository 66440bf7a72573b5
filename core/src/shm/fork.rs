//! What a fork does to this library.
//!
//! A child inherits the parent's descriptors and with them its kernel locks: as long as the child
//! keeps its copies open, the kernel would not tell anyone that the parent died. So the child closes
//! them at once, in a fork handler; closing a copy does not unlock, unlocking would. Handles of the
//! parent then see that they are older than the fork and join anew on first use (P17).

use std::sync::Once;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

const DESCRIPTORS_MAX: usize = 1024;
static GENERATION: AtomicU64 = AtomicU64::new(0);
static DESCRIPTORS: [AtomicI32; DESCRIPTORS_MAX] = [const { AtomicI32::new(-1) }; DESCRIPTORS_MAX];
static INSTALLED: Once = Once::new();

/// How many forks lie between this process and the one that first used the library.
#[inline]
pub fn generation() -> u64 {
    GENERATION.load(Ordering::Relaxed)
}

extern "C" fn in_child() {
    GENERATION.fetch_add(1, Ordering::SeqCst);
    for place in &DESCRIPTORS {
        let descriptor = place.swap(-1, Ordering::SeqCst);
        if descriptor >= 0 {
            // SAFETY: the descriptor is this library's; its owner in the child sees by the
            // generation that it is gone and never uses or closes it. `close` is safe in a fork
            // handler.
            unsafe { libc::close(descriptor) };
        }
    }
}

/// Has the child of a fork close this descriptor. False if the table is full: then the caller must
/// not take locks on it.
#[must_use]
pub fn register_descriptor(descriptor: i32) -> bool {
    INSTALLED.call_once(|| {
        // SAFETY: the handler is a plain function that only uses atomics and `close`.
        unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    });
    DESCRIPTORS.iter().any(|place| {
        place.compare_exchange(-1, descriptor, Ordering::SeqCst, Ordering::Relaxed).is_ok()
    })
}

/// The descriptor is about to be closed by its owner.
pub fn unregister_descriptor(descriptor: i32) {
    for place in &DESCRIPTORS {
        if place.compare_exchange(descriptor, -1, Ordering::SeqCst, Ordering::Relaxed).is_ok() {
            return;
        }
    }
}
