//! The folder that a backup is made in: beside the one that it is to be, until all is there and on
//! disk. It gets its name in one step.
//!
//! Who makes it holds the store's byte of the `lock` in it, so that of two who make the same one
//! waits for none, and what one that died left is known and removed. No folder of a store is ever
//! called so, and what is in one is not the store that was asked for.

use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};
use crate::format::control::lock::STORE_BYTE;
use crate::format::names;
use crate::shm::LockFile;
use crate::storage::{Storage, remove_all};
use crate::store::open::folder_mode;

pub(super) struct Target<'a> {
    storage: &'a dyn Storage,
    path: PathBuf,
    parent: PathBuf,
    /// What is being filled.
    pub(super) folder: PathBuf,
    lock: LockFile,
}

impl<'a> Target<'a> {
    /// For a backup at `to` of the store in the folder `from`.
    pub(super) fn begin(
        storage: &'a dyn Storage,
        from: &Path,
        to: &Path,
        mode: u32,
    ) -> Result<Self> {
        let path = std::path::absolute(to).map_err(|e| Error::io("find", to, e))?;
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            let message = format!("{} cannot be a backup; give a new folder", path.display());
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        };
        let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        if real(parent).starts_with(real(from)) {
            let message = format!(
                "{} is inside of the store {}; give a folder outside of it",
                path.display(),
                from.display()
            );
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        if !storage.exists(parent)? {
            let message = format!("{} is missing; make it first", parent.display());
            return Err(Error::new(ErrorKind::NotFound, message));
        }
        expect_free(storage, &path)?;
        let folder = parent.join(names::being_backed_up(&name.to_string_lossy()));
        storage.create_dir(&folder, folder_mode(mode))?;
        let lock = storage.lock_file(&folder.join(names::LOCK), false, mode)?;
        if !lock.try_exclusive(STORE_BYTE)? {
            let message = format!(
                "another backup to {} is under way; wait for it, or give another folder",
                path.display()
            );
            return Err(Error::new(ErrorKind::Busy, message));
        }
        // One that was under way may have got its name since it was looked for.
        if let Err(error) = expect_free(storage, &path) {
            // Nobody else's: its lock is held.
            let _ = remove_all(storage, &folder);
            return Err(error);
        }
        let target = Self {
            storage,
            parent: parent.to_owned(),
            path,
            folder,
            lock,
        };
        target.clear()?;
        Ok(target)
    }

    /// Removes what an earlier one left, but for what is locked.
    fn clear(&self) -> Result<()> {
        for name in self.storage.list(&self.folder)? {
            let path = self.folder.join(&name);
            if name == names::LOCK {
                continue;
            }
            match self.storage.list(&path) {
                Ok(_) => remove_all(self.storage, &path)?,
                Err(_) => self.storage.unlink(&path)?,
            }
        }
        Ok(())
    }

    /// All is there and on disk: gives it its name. A death before leaves a folder that nobody
    /// takes for a store, and that the next backup to the same place removes.
    pub(super) fn finish(self) -> Result<()> {
        self.storage.sync_dir(&self.folder)?;
        if self.storage.exists(&self.path)? {
            self.storage.remove_dir(&self.path)?;
        }
        self.storage.rename(&self.folder, &self.path)?;
        self.storage.sync_dir(&self.parent)?;
        self.lock.close();
        Ok(())
    }

    /// Removes it; the error, with where it is left if that failed.
    pub(super) fn give_up(self, error: Error) -> Error {
        let removed = remove_all(self.storage, &self.folder);
        self.lock.close();
        match removed {
            Ok(()) => error,
            Err(_) => error.context(format!(
                "what was copied so far is left in {}, which is no store; remove it",
                self.folder.display()
            )),
        }
    }
}

fn expect_free(storage: &dyn Storage, path: &Path) -> Result<()> {
    if !storage.exists(path)? {
        return Ok(());
    }
    let what = match storage.list(path) {
        Err(_) => "it is a file".to_owned(),
        Ok(inside) => match inside.first() {
            None => return Ok(()),
            Some(first) => format!("it holds {first:?}"),
        },
    };
    let message = format!(
        "cannot back up to {}: {what}; give a new path, or an empty folder",
        path.display()
    );
    Err(Error::new(ErrorKind::AlreadyExists, message))
}
