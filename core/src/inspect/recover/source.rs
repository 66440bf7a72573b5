//! The store that is copied out: nobody may have it in use, or the copy would hold one part of it
//! as it was before a change and another as it was behind it.

use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};
use crate::format::control::header::LAID_OUT;
use crate::format::control::lock::{MEMBER_BYTES, STORE_BYTE};
use crate::format::control::member;
use crate::format::{names, u64_at};
use crate::inspect::bytes::Bytes;
use crate::shm::LockFile;
use crate::storage::{Disk, Storage};

/// A store that nobody has in use. While the lock can be held exclusively nobody joins it: who
/// wants to waits as for one that lays it out. Where its file may not be written it is only looked
/// at, before and after.
pub(super) struct Source {
    path: PathBuf,
    lock: Option<LockFile>,
    alone: bool,
    laid_out: Option<u64>,
}

impl Source {
    /// Takes the store's lock, without changing a byte. [`ErrorKind::Busy`] if others have it.
    pub(super) fn claim(path: &Path) -> Result<Self> {
        let mut source = Self {
            path: path.to_owned(),
            lock: None,
            alone: false,
            laid_out: laid_out(path),
        };
        let lock_path = path.join(names::LOCK);
        // Without it nobody is a member.
        if !Disk.exists(&lock_path)? {
            return Ok(source);
        }
        let opened = Disk.lock_file(&lock_path, false, 0o660);
        let lock = match opened {
            Ok(lock) => {
                source.alone = lock.try_exclusive(STORE_BYTE)?;
                lock
            }
            Err(e) if matches!(e.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnly) => {
                Disk.lock_file(&lock_path, true, 0)?
            }
            Err(e) => return Err(e),
        };
        if !source.alone && lock.held_by_other(STORE_BYTE) {
            return Err(in_use(path, &lock));
        }
        source.lock = Some(lock);
        Ok(source)
    }

    /// Whether nobody can join the store now.
    pub(super) fn is_alone(&self) -> bool {
        self.alone
    }

    /// After all was read: whether anyone had the store in use meanwhile.
    pub(super) fn check_unused(&self) -> Result<()> {
        let Some(lock) = self.lock.as_ref().filter(|_| !self.alone) else {
            return Ok(());
        };
        if lock.held_by_other(STORE_BYTE) {
            return Err(in_use(&self.path, lock));
        }
        if laid_out(&self.path) != self.laid_out {
            let message = format!(
                "the store {} was opened while it was copied; keep it closed, then try again",
                self.path.display()
            );
            return Err(Error::new(ErrorKind::Busy, message));
        }
        Ok(())
    }
}

/// What is drawn anew whenever `control` is laid out.
fn laid_out(path: &Path) -> Option<u64> {
    let mut bytes = Bytes::open(&path.join(names::CONTROL)).ok()?;
    let word = bytes.get(LAID_OUT as u64 * 8, 8).ok()??;
    Some(u64_at(word, 0))
}

#[cold]
fn in_use(path: &Path, lock: &LockFile) -> Error {
    let slots = (0..member::SLOTS as u64).filter(|slot| lock.held_by_other(MEMBER_BYTES + slot));
    let mut control = Bytes::open(&path.join(names::CONTROL)).ok();
    let mut process = |slot: u64| {
        let word = member::AT as u64 + (slot * member::WORDS as u64 + member::PROCESS as u64) * 8;
        let bytes = control.as_mut()?.get(word, 8).ok()??;
        Some(u64_at(bytes, 0))
    };
    let who: Vec<String> = slots
        .map(|slot| match process(slot) {
            Some(process) => process.to_string(),
            None => format!("of member slot {slot}"),
        })
        .collect();
    let who = match who.is_empty() {
        true => "another process, which is opening or copying it,".to_owned(),
        false => format!("process {} (as numbered where it runs)", who.join(", ")),
    };
    let message = format!(
        "the store {} is in use: {who} holds its file {}, so a copy would not be of one moment; \
         close it in all processes, then try again",
        path.display(),
        names::LOCK
    );
    Error::new(ErrorKind::Busy, message)
}
