//! What a fork does to this library.
//!
//! A child inherits the parent's descriptors and with them its kernel locks: as long as the child
//! keeps its copies open, the kernel would not tell anyone that the parent died. So the child
//! closes them at once, in a fork handler; closing a copy does not unlock, unlocking would. Handles
//! of the parent then see that they are older than the fork and join anew on first use (P17).

use std::sync::Once;
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

const DESCRIPTORS_MAX: usize = 1024;
static GENERATION: AtomicU64 = AtomicU64::new(0);
static DESCRIPTORS: [AtomicI32; DESCRIPTORS_MAX] = [const { AtomicI32::new(-1) }; DESCRIPTORS_MAX];
static INSTALLED: Once = Once::new();
/// Forks under way (high half) and threads that hold forks off (low half).
static GATE: AtomicU32 = AtomicU32::new(0);
const FORKING: u32 = 1 << 16;

/// How many forks lie between this process and the one that first used the library.
#[inline]
pub fn generation() -> u64 {
    GENERATION.load(Ordering::Relaxed)
}

/// As long as it lives no fork begins in this process.
pub(super) struct HeldOff(());

/// Holds forks off while a descriptor is on its way into or out of the table. Never nested, and
/// never held across anything but opening or closing one file.
pub(super) fn hold_off() -> HeldOff {
    INSTALLED.call_once(|| {
        // SAFETY: the handlers are plain functions that use atomics, `nanosleep` and `close` only.
        unsafe { libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child)) };
    });
    loop {
        let seen = GATE.load(Ordering::Relaxed);
        let free = seen < FORKING;
        let enter = seen.wrapping_add(1);
        if free
            && GATE
                .compare_exchange(seen, enter, Ordering::SeqCst, Ordering::Relaxed)
                .is_ok()
        {
            return HeldOff(());
        }
        pause();
    }
}

impl Drop for HeldOff {
    fn drop(&mut self) {
        GATE.fetch_sub(1, Ordering::SeqCst);
    }
}

fn pause() {
    thread::sleep(Duration::from_micros(20));
}

extern "C" fn before() {
    GATE.fetch_add(FORKING, Ordering::SeqCst);
    while GATE.load(Ordering::SeqCst) & (FORKING - 1) != 0 {
        pause();
    }
}

extern "C" fn in_parent() {
    GATE.fetch_sub(FORKING, Ordering::SeqCst);
}

extern "C" fn in_child() {
    // The forking thread is the only one here: other forks under way stayed with the parent.
    GATE.store(0, Ordering::SeqCst);
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
pub(super) fn register_descriptor(_: &HeldOff, descriptor: i32) -> bool {
    DESCRIPTORS.iter().any(|place| {
        place
            .compare_exchange(-1, descriptor, Ordering::SeqCst, Ordering::Relaxed)
            .is_ok()
    })
}

/// The descriptor is about to be closed by its owner.
pub(super) fn unregister_descriptor(_: &HeldOff, descriptor: i32) {
    for place in &DESCRIPTORS {
        if place
            .compare_exchange(descriptor, -1, Ordering::SeqCst, Ordering::Relaxed)
            .is_ok()
        {
            return;
        }
    }
}

/// Runs `child` in a child of a fork, which ends with what it returns. Only for tests.
#[cfg(test)]
pub(crate) fn fork_in_test(child: impl FnOnce() -> i32) -> u32 {
    // SAFETY: the tests that do this run in a process of their own in which no other thread holds a
    // lock that the child needs; the child never returns to the caller's frames.
    unsafe {
        match libc::fork() {
            0 => {
                let run = std::panic::AssertUnwindSafe(child);
                libc::_exit(std::panic::catch_unwind(run).unwrap_or(101))
            }
            id => u32::try_from(id).expect("fork"),
        }
    }
}

/// A process as it is between its start by this one and its first own instruction, where it has
/// copies of all descriptors and no fork handler was asked. Ends when this is dropped. Only for
/// tests.
///
/// It opens two named pipes before its program: by the first it tells that it has come so far, at
/// the second it waits.
#[cfg(test)]
pub(crate) struct Starting {
    folder: tempfile::TempDir,
    started: Option<thread::JoinHandle<()>>,
}

#[cfg(test)]
impl Starting {
    pub(crate) fn now() -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let [first, second] = ["first", "second"].map(|name| named_pipe(folder.path(), name));
        let started = thread::spawn(move || {
            // SAFETY: a zeroed one is only a place for `init`.
            let mut steps: libc::posix_spawn_file_actions_t = unsafe { std::mem::zeroed() };
            let program = c"/bin/true";
            let words = [program.as_ptr().cast_mut(), std::ptr::null_mut()];
            // SAFETY: names, steps and words outlive the calls, which keep none of them.
            let (made, id) = unsafe {
                libc::posix_spawn_file_actions_init(&raw mut steps);
                for name in [&first, &second] {
                    let (steps, name) = (&raw mut steps, name.as_ptr());
                    libc::posix_spawn_file_actions_addopen(steps, 0, name, libc::O_RDONLY, 0);
                }
                let mut id = 0;
                let (no_attributes, words) = (std::ptr::null(), words.as_ptr());
                let name = program.as_ptr();
                let made = libc::posix_spawn(
                    &raw mut id,
                    name,
                    &raw const steps,
                    no_attributes,
                    words,
                    words.add(1),
                );
                libc::posix_spawn_file_actions_destroy(&raw mut steps);
                (made, id)
            };
            assert_eq!(made, 0, "starting a process: error {made}");
            // SAFETY: the child is this thread's, and no one else waits for it.
            unsafe { libc::waitpid(id, std::ptr::null_mut(), 0) };
        });
        let this = Self {
            folder,
            started: Some(started),
        };
        assert!(this.meets("first"), "no process starts");
        this
    }

    /// Opens a pipe for writing once the other one opens it for reading. False if it does not.
    fn meets(&self, name: &str) -> bool {
        use std::os::unix::fs::OpenOptionsExt;
        let path = self.folder.path().join(name);
        let end = std::time::Instant::now() + Duration::from_secs(60);
        let mut options = std::fs::OpenOptions::new();
        options.write(true).custom_flags(libc::O_NONBLOCK);
        while options.open(&path).is_err() {
            if std::time::Instant::now() > end {
                return false;
            }
            pause();
        }
        true
    }
}

#[cfg(test)]
fn named_pipe(folder: &std::path::Path, name: &str) -> std::ffi::CString {
    use std::os::unix::ffi::OsStrExt;
    let path = folder.join(name);
    let path = std::ffi::CString::new(path.as_os_str().as_bytes()).expect("a path");
    // SAFETY: the path outlives the call.
    let made = unsafe { libc::mkfifo(path.as_ptr(), 0o600) };
    assert_eq!(made, 0, "mkfifo: {}", std::io::Error::last_os_error());
    path
}

#[cfg(test)]
impl Drop for Starting {
    fn drop(&mut self) {
        let ends = self.meets("second");
        if !thread::panicking() {
            assert!(ends, "the process does not go on");
            let started = self.started.take().expect("only once");
            started.join().expect("a process that ended");
        }
    }
}
