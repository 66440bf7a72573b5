//! Kernel locks on bytes of a file, by open file description.
//!
//! They are the only witness of who lives: the kernel drops them when the last descriptor of the
//! opening is closed, also by SIGKILL, and they hold between PID namespaces and between two openings
//! in one process.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, IntoRawFd, RawFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::fork;
use crate::error::{Error, ErrorKind, Result};

/// An opened lock file, with the locks taken through it.
pub struct LockFile {
    descriptor: RawFd,
    born: u64,
    path: PathBuf,
}

impl LockFile {
    /// Takes over an opened file. In the child of a fork it is closed by the fork handler.
    pub fn new(file: File, path: &Path) -> Result<Self> {
        if !fork::register_descriptor(file.as_raw_fd()) {
            return Err(Error::new(
                ErrorKind::TooMany,
                format!("cannot open {}: this process has 1024 stores open", path.display()),
            ));
        }
        let born = fork::generation();
        Ok(Self { descriptor: file.into_raw_fd(), born, path: path.to_owned() })
    }

    fn lock(&self, command: libc::c_int, kind: libc::c_int, byte: u64) -> io::Result<libc::flock> {
        if self.born != fork::generation() {
            return Err(io::Error::from_raw_os_error(libc::EBADF));
        }
        // SAFETY: flock is plain data for which zero is a value.
        let mut lock: libc::flock = unsafe { std::mem::zeroed() };
        lock.l_type = kind as libc::c_short;
        lock.l_whence = libc::SEEK_SET as libc::c_short;
        lock.l_start = byte as libc::off_t;
        lock.l_len = 1;
        // SAFETY: the descriptor is open (the generation says so) and the struct is on this stack.
        if unsafe { libc::fcntl(self.descriptor, command, &raw mut lock) } == 0 {
            return Ok(lock);
        }
        Err(io::Error::last_os_error())
    }

    fn set(&self, kind: libc::c_int, byte: u64) -> Result<bool> {
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

    /// Takes the byte shared, trying until the timeout.
    pub fn shared(&self, byte: u64, timeout: Duration) -> Result<bool> {
        let deadline = Instant::now() + timeout;
        loop {
            if self.try_shared(byte)? {
                return Ok(true);
            }
            if Instant::now() >= deadline {
                return Ok(false);
            }
            // The kernel's own waiting lock call cannot be bounded, so this asks again.
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Gives the byte back.
    pub fn unlock(&self, byte: u64) -> Result<()> {
        self.set(libc::F_UNLCK, byte).map(|_| ())
    }

    /// Whether another opening holds the byte, shared or exclusively. An error counts as held: the
    /// living must never be robbed.
    pub fn held_by_other(&self, byte: u64) -> bool {
        match self.lock(libc::F_OFD_GETLK, libc::F_WRLCK, byte) {
            Ok(lock) => lock.l_type != libc::F_UNLCK as libc::c_short,
            Err(_) => true,
        }
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        if self.born == fork::generation() {
            fork::unregister_descriptor(self.descriptor);
            // SAFETY: this opening owns the descriptor, and no fork handler has closed it.
            unsafe { libc::close(self.descriptor) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &Path) -> LockFile {
        let mut options = File::options();
        let file = options.read(true).write(true).create(true).truncate(false).open(path);
        LockFile::new(file.expect("open"), path).expect("lock file")
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
}
