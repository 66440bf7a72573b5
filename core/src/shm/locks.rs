//! Kernel locks on bytes of a file, by open file description.
//!
//! They are the only witness of who lives: the kernel drops them when the last descriptor of the
//! opening is closed, also by SIGKILL, and they hold between PID namespaces and between two
//! openings in one process.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, IntoRawFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI32, Ordering};

use super::fork;
use crate::error::{Error, ErrorKind, Result};

/// An opened lock file, with the locks taken through it.
pub struct LockFile {
    /// -1 once it was closed.
    descriptor: AtomicI32,
    born: u64,
    /// Device and inode.
    identity: (u64, u64),
    path: PathBuf,
}

impl LockFile {
    /// Opens a lock file by `open`, which must set close-on-exec. The child of a fork closes it.
    pub fn open(path: &Path, open: impl FnOnce() -> io::Result<File>) -> Result<Self> {
        // No fork may come between opening and registering: the child's copy would keep the locks
        // of a dead parent held (P17).
        let no_fork = fork::hold_off();
        let file = open().map_err(|e| Error::io("open", path, e))?;
        let known = file.metadata().map_err(|e| Error::io("look at", path, e))?;
        if !fork::register_descriptor(&no_fork, file.as_raw_fd()) {
            return Err(Error::new(
                ErrorKind::TooMany,
                format!(
                    "cannot open {}: this process has 1024 stores open",
                    path.display()
                ),
            ));
        }
        let born = fork::generation();
        Ok(Self {
            descriptor: AtomicI32::new(file.into_raw_fd()),
            born,
            identity: (known.dev(), known.ino()),
            path: path.to_owned(),
        })
    }

    fn descriptor(&self) -> RawFd {
        self.descriptor.load(Ordering::Acquire)
    }

    fn lock(&self, command: libc::c_int, kind: libc::c_int, byte: u64) -> io::Result<libc::flock> {
        // SAFETY: flock is plain data for which zero is a value.
        let mut lock: libc::flock = unsafe { std::mem::zeroed() };
        lock.l_type = kind as libc::c_short;
        lock.l_whence = libc::SEEK_SET as libc::c_short;
        lock.l_start = byte as libc::off_t;
        lock.l_len = 1;
        // SAFETY: the struct is on this stack; the descriptor is this opening's, unless a fork came
        // before, which every caller asked first: a fork by another thread leaves this one out.
        if unsafe { libc::fcntl(self.descriptor(), command, &raw mut lock) } == 0 {
            return Ok(lock);
        }
        Err(io::Error::last_os_error())
    }

    /// Whether the opening was made before a fork, in the parent of this process.
    pub fn is_of_parent(&self) -> bool {
        self.born != fork::generation()
    }

    fn set(&self, kind: libc::c_int, byte: u64) -> Result<bool> {
        if self.is_of_parent() {
            let path = self.path.display();
            let message = format!("{path} was opened before a fork; open it again in the child");
            return Err(Error::new(ErrorKind::Forked, message));
        }
        match self.lock(libc::F_OFD_SETLK, kind, byte) {
            Ok(_) => Ok(true),
            Err(e) if matches!(e.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => Ok(false),
            Err(e) => Err(Error::io("lock", &self.path, e)),
        }
    }

    /// Takes the byte exclusively if nobody else has it. Converts a shared lock of this opening.
    pub fn try_exclusive(&self, byte: u64) -> Result<bool> {
        self.set(libc::F_WRLCK, byte)
    }

    /// Takes the byte shared if nobody has it exclusively. Converts an exclusive lock of this
    /// opening in one step.
    pub fn try_shared(&self, byte: u64) -> Result<bool> {
        self.set(libc::F_RDLCK, byte)
    }

    /// Turns the exclusive lock of this opening into a shared one, with no instant in between in
    /// which another could have it exclusively.
    pub fn downgrade(&self, byte: u64) -> Result<()> {
        self.set(libc::F_RDLCK, byte).map(|_| ())
    }

    /// Gives the byte back.
    pub fn unlock(&self, byte: u64) -> Result<()> {
        self.set(libc::F_UNLCK, byte).map(|_| ())
    }

    /// Whether another opening holds the byte, shared or exclusively. An error counts as held: the
    /// living must never be robbed.
    pub fn held_by_other(&self, byte: u64) -> bool {
        if self.is_of_parent() {
            return true;
        }
        match self.lock(libc::F_OFD_GETLK, libc::F_WRLCK, byte) {
            Ok(lock) if lock.l_type == libc::F_UNLCK as libc::c_short => !self.is_still_it(),
            _ => true,
        }
    }

    /// Whether the descriptor still is this file's. A program that closes all its descriptors, to
    /// become a daemon, may have opened another file under the same number, which nobody locks.
    fn is_still_it(&self) -> bool {
        // SAFETY: stat is plain data for which zero is a value.
        let mut found: libc::stat = unsafe { std::mem::zeroed() };
        // SAFETY: the struct is on this stack; a descriptor that is closed answers EBADF.
        let known = unsafe { libc::fstat(self.descriptor(), &raw mut found) };
        known == 0 && (found.st_dev, found.st_ino) == self.identity
    }
}

impl LockFile {
    /// Gives back all locks and the descriptor. Later calls fail, or take everyone for alive.
    pub fn close(&self) {
        if self.is_of_parent() {
            return;
        }
        // As when opening: a child of a fork in between would keep the locks.
        let no_fork = fork::hold_off();
        let descriptor = self.descriptor.swap(-1, Ordering::AcqRel);
        if descriptor >= 0 {
            fork::unregister_descriptor(&no_fork, descriptor);
            // SAFETY: this opening owned the descriptor until the swap, which happens once, and no
            // fork handler has closed it.
            unsafe { libc::close(descriptor) };
        }
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &Path) -> LockFile {
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false);
        LockFile::open(path, || options.open(path)).expect("lock file")
    }

    #[test]
    fn p17_two_openings_of_one_process_exclude_each_other() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("lock");
        let (one, two) = (open(&path), open(&path));
        assert!(one.try_exclusive(0).expect("lock"));
        assert!(!two.try_shared(0).expect("lock"));
        assert!(two.held_by_other(0) && !one.held_by_other(0));
        assert!(one.try_shared(0).expect("step down"));
        assert!(two.try_shared(0).expect("lock"));
        assert!(!one.try_exclusive(0).expect("lock"));
        drop(two);
        assert!(one.try_exclusive(0).expect("lock"));
    }

    #[test]
    fn p17_a_descriptor_that_is_another_files_by_now_robs_nobody() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("lock");
        let (lives, asks) = (open(&path), open(&path));
        assert!(lives.try_exclusive(16).expect("lock"));
        assert!(!asks.held_by_other(17) && asks.held_by_other(16));
        // As in a program that closes all descriptors to become a daemon, and opens others.
        let other = File::create(folder.path().join("other")).expect("file");
        // SAFETY: both are open; the one that is replaced is this test's.
        unsafe { libc::dup2(other.as_raw_fd(), asks.descriptor()) };
        assert!(asks.held_by_other(16), "nobody is dead for that");
    }
}
