//! The limit of a one-way trip between two processes: a word in shared memory, and a futex for the
//! one that sleeps. No record, no checksum, no lock.

use std::fs::{File, OpenOptions};
use std::hint::spin_loop;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use memmap2::{MmapOptions, MmapRaw};
use rustix::fs::{MemfdFlags, memfd_create};

use crate::Outcome;
use crate::workers::{Pace, now_ns};

/// Where the words are: how many were handed over, whether the other one sleeps, and when each
/// hand-over began.
const HANDED: usize = 0;
const SLEEPS: usize = 8;
const SLOTS: usize = 64;

/// Nothing came for so long: something is wrong.
const LONG: Duration = Duration::from_secs(60);

/// How the one who waits does so.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Hand {
    Futex,
    Spin,
}

/// Nanoseconds that each of `count` hand-overs at this pace took.
pub(crate) fn hand_over(how: Hand, count: usize, pace: u32) -> Outcome<Vec<u64>> {
    let (page, path) = Page::new(count)?;
    let mut producer = Command::new(std::env::current_exe()?)
        .args(["child", "hand", &path])
        .args([count.to_string(), pace.to_string()])
        .stdin(Stdio::null())
        .spawn()?;
    let mut waits = Vec::with_capacity(count);
    for number in 0..count as u32 {
        match how {
            Hand::Spin => {
                let mut turns = 0_u32;
                while page.word(HANDED).load(Ordering::Acquire) == number {
                    spin_loop();
                    turns = turns.wrapping_add(1);
                    if turns == 0 && producer.try_wait()?.is_some() {
                        return Err("the process that hands over ended early".into());
                    }
                }
            }
            Hand::Futex => page.sleep(number)?,
        }
        let sent = page.slot(number).load(Ordering::Relaxed);
        waits.push(now_ns().saturating_sub(sent));
    }
    if !producer.wait()?.success() {
        return Err("the process that hands over failed".into());
    }
    Ok(waits)
}

/// The one who hands over: file, count, pace.
pub(crate) fn child(args: &[String]) -> Outcome<()> {
    let [path, count, pace] = args else {
        return Err("hand takes FILE COUNT PACE".into());
    };
    let page = Page::open(Path::new(path), count.parse()?)?;
    let mut pace = Pace::of(pace.parse()?);
    for number in 0..page.count as u32 {
        pace.wait();
        page.slot(number).store(now_ns(), Ordering::Relaxed);
        // Pairs with the load in `sleep`: one of the two sees the other's store.
        page.word(HANDED).store(number + 1, Ordering::SeqCst);
        if page.word(SLEEPS).load(Ordering::SeqCst) == 1 {
            wake(page.word(HANDED));
        }
    }
    Ok(())
}

/// The shared memory, which is on no disk: nobody waits for it to be written back.
struct Page {
    map: MmapRaw,
    count: usize,
    /// The other process opens it by its number in this one.
    file: File,
}

impl Page {
    /// One for so many, and its name for the other process.
    fn new(count: usize) -> Outcome<(Self, String)> {
        let file = File::from(memfd_create("hand", MemfdFlags::CLOEXEC)?);
        file.set_len((SLOTS + count * 8) as u64)?;
        let page = Self::of(file, count)?;
        let path = format!("/proc/{}/fd/{}", std::process::id(), page.file.as_raw_fd());
        Ok((page, path))
    }

    fn open(path: &Path, count: usize) -> Outcome<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        Self::of(file, count)
    }

    fn of(file: File, count: usize) -> Outcome<Self> {
        let map = MmapOptions::new().len(SLOTS + count * 8).map_raw(&file)?;
        Ok(Self { map, count, file })
    }

    fn word(&self, at: usize) -> &AtomicU32 {
        assert!(at.is_multiple_of(4) && at + 4 <= SLOTS);
        // SAFETY: in bounds and aligned by the assertion above; the mapping is writable, lives as
        // long as `self`, and both processes only ever reach the word as an atomic. Nobody
        // truncates the memory, which has no name that others know.
        unsafe { AtomicU32::from_ptr(self.map.as_mut_ptr().add(at).cast()) }
    }

    /// When the hand-over of this number began.
    fn slot(&self, number: u32) -> &AtomicU64 {
        assert!((number as usize) < self.count);
        let at = SLOTS + number as usize * 8;
        // SAFETY: in bounds by the assertion above, and a multiple of 8 in a mapping that begins
        // with a page; the rest as in `word`.
        unsafe { AtomicU64::from_ptr(self.map.as_mut_ptr().add(at).cast()) }
    }

    /// Until more than so many were handed over.
    fn sleep(&self, number: u32) -> Outcome<()> {
        let began = Instant::now();
        while self.word(HANDED).load(Ordering::Acquire) == number {
            self.word(SLEEPS).store(1, Ordering::SeqCst);
            if self.word(HANDED).load(Ordering::SeqCst) == number {
                wait(self.word(HANDED), number);
            }
            self.word(SLEEPS).store(0, Ordering::SeqCst);
            if began.elapsed() > LONG {
                return Err("nothing was handed over".into());
            }
        }
        Ok(())
    }
}

/// Sleeps while the word is this one; or less long, so that the caller looks again.
fn wait(word: &AtomicU32, is: u32) {
    let limit = libc::timespec {
        tv_sec: 1,
        tv_nsec: 0,
    };
    // SAFETY: the word and the time outlive the call, which only reads them. What it returns does
    // not matter: the caller looks at the word.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAIT,
            is,
            &raw const limit,
        );
    }
}

/// Wakes the one that sleeps on the word.
fn wake(word: &AtomicU32) {
    // SAFETY: the word outlives the call, which reads nothing of it.
    unsafe {
        libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, 1);
    }
}

#[cfg(test)]
mod tests {
    use super::{HANDED, Ordering, Page, wait, wake};

    #[test]
    fn two_mappings_are_one_memory_and_a_word_that_is_another_does_not_sleep() {
        let (one, path) = Page::new(4).expect("memory");
        let other = Page::open(path.as_ref(), 4).expect("open");
        one.slot(3).store(7, Ordering::Relaxed);
        one.word(HANDED).store(1, Ordering::SeqCst);
        assert_eq!(other.slot(3).load(Ordering::Relaxed), 7);
        wait(other.word(HANDED), 0);
        other.sleep(0).expect("it was handed over");
        wake(one.word(HANDED));
    }
}
