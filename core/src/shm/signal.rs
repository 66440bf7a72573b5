//! A descriptor that is readable exactly while it is set, for `poll`, `epoll` and event loops.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::event::{EventfdFlags, eventfd};

use crate::error::{Error, Result};

/// An eventfd as a level: the kernel keeps whether it is set, so that no copy of it can differ.
/// It holds no lock, so a child of a fork may keep its copy.
pub struct Signal(OwnedFd);

impl Signal {
    /// One that is not set.
    pub fn new() -> Result<Self> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let made = eventfd(0, flags).map_err(|code| {
            let source = io::Error::from_raw_os_error(code.raw_os_error());
            Error::io("make a descriptor, as", Path::new("eventfd"), source)
        })?;
        Ok(Self(made))
    }

    /// Makes it readable.
    pub fn set(&self) {
        // Fails only where the count is at its end, and then it is readable.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }

    /// Makes it unreadable; whether it was readable.
    pub fn clear(&self) -> bool {
        rustix::io::read(&self.0, &mut [0; 8]).is_ok()
    }

    /// The descriptor.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_readable_from_the_first_set_to_the_next_clear() {
        let signal = Signal::new().expect("eventfd");
        assert!(!signal.clear());
        signal.set();
        signal.set();
        assert!(signal.clear());
        assert!(!signal.clear());
    }
}
