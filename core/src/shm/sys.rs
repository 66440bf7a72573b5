//! The system calls that have no safe wrapper elsewhere: futex, who and where we are, and stepping
//! back.

use std::sync::OnceLock;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

/// Sleeps while `*word == expected`, at most `bound`. Spurious returns are allowed.
pub(crate) fn futex_wait(word: &AtomicU32, expected: u32, bound: Duration) {
    let bound = libc::timespec {
        tv_sec: bound.as_secs().min(3600) as libc::time_t,
        tv_nsec: libc::c_long::from(bound.subsec_nanos() as i32),
    };
    // SAFETY: the word outlives the call by the borrow, the timespec is on this stack; without
    // FUTEX_PRIVATE the kernel keys on the shared page, so that other processes are reached.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAIT,
            expected,
            &raw const bound,
            std::ptr::null::<u32>(),
            0_u32,
        );
    }
}

/// Wakes at most `most` sleepers on the word; how many were woken.
pub(crate) fn futex_wake(word: &AtomicU32, most: u32) -> u32 {
    let most = most.min(i32::MAX as u32);
    // SAFETY: as above; the kernel only uses the address as a key.
    let woken = unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAKE,
            most,
            std::ptr::null::<libc::timespec>(),
            std::ptr::null::<u32>(),
            0_u32,
        )
    };
    u32::try_from(woken).unwrap_or(0)
}

/// The id that the kernel draws at each start of the host; zero where it cannot be read, which
/// counts as "another start" and so makes recovery assume a power loss, the careful side.
pub fn boot_id() -> [u8; 16] {
    static ID: OnceLock<[u8; 16]> = OnceLock::new();
    *ID.get_or_init(|| {
        let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let digits: Vec<u8> = text
            .chars()
            .filter_map(|c| c.to_digit(16))
            .map(|d| d as u8)
            .collect();
        let mut id = [0; 16];
        for (byte, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = pair[0] << 4 | pair[1];
        }
        id
    })
}

/// Has the calling thread step back for all others, on the processors and on the disk, where the
/// system lets it. Not to where it would get nothing at all: it takes locks for moments, and others
/// wait for those.
pub fn step_back() {
    const THIS_THREAD: i64 = 0;
    const LAST: i64 = 19;
    const OF_A_PROCESS: i64 = 1;
    // Best effort, the last level of it.
    const DISK: i64 = (2 << 13) | 7;
    // SAFETY: two calls that take numbers only; on Linux both are about the calling thread.
    unsafe {
        libc::syscall(libc::SYS_setpriority, libc::PRIO_PROCESS, THIS_THREAD, LAST);
        libc::syscall(libc::SYS_ioprio_set, OF_A_PROCESS, THIS_THREAD, DISK);
    }
}

/// This process as its own PID namespace numbers it.
pub fn process_id() -> u32 {
    std::process::id()
}
