//! The folder that a store is copied out into. It becomes a store in one step, when all is there:
//! until then the copy is in a folder of its own in it.

use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};
use crate::format::names;
use crate::storage::{Disk, Storage, remove_tree};

const MODE: u32 = 0o770;

/// Where the new store is made.
pub(super) struct Target {
    path: PathBuf,
    /// The folder in it.
    inner: PathBuf,
    /// Whether the folder was made for this.
    made: bool,
}

impl Target {
    /// An empty folder at `to`, which is made if there is none. [`ErrorKind::AlreadyExists`] if
    /// something else is there, [`ErrorKind::InvalidArgument`] if it is inside of the source.
    pub(super) fn begin(from: &Path, to: &Path) -> Result<Self> {
        let absolute =
            |path: &Path| std::path::absolute(path).map_err(|e| Error::io("find", path, e));
        let (path, source) = (absolute(to)?, absolute(from)?);
        let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let parent = path.parent().map(real).unwrap_or_default();
        if parent.starts_with(real(&source)) || real(&path) == real(&source) {
            let message = format!(
                "{} is inside of {}, which is not to be changed; give another folder",
                path.display(),
                source.display()
            );
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        let made = !Disk.exists(&path)?;
        if made {
            Disk.create_dir(&path, MODE)?;
        } else {
            expect_empty(&path)?;
        }
        let inner = path.join(names::RECOVERING);
        let target = Self { path, inner, made };
        match Disk.create_dir(&target.inner, MODE) {
            Ok(()) => Ok(target),
            Err(error) => Err(target.give_up(error)),
        }
    }

    /// The folder to fill.
    pub(super) fn folder(&self) -> &Path {
        &self.inner
    }

    /// All is there and on disk: makes it a store. `store.meta` comes last; a death before leaves a
    /// folder that is none.
    pub(super) fn finish(&self) -> Result<()> {
        let mut names = Disk.list(&self.inner)?;
        names.sort_by_key(|name| name == names::STORE_META);
        for name in &names {
            if name == names::STORE_META {
                Disk.sync_dir(&self.path)?;
            }
            Disk.rename(&self.inner.join(name), &self.path.join(name))?;
        }
        remove_tree(&self.inner)?;
        Disk.sync_dir(&self.path)?;
        match self.path.parent() {
            Some(parent) => Disk.sync_dir(parent),
            None => Ok(()),
        }
    }

    /// Removes what was copied so far; the error, with where that is if it could not be removed.
    pub(super) fn give_up(&self, error: Error) -> Error {
        let mut removed = Ok(());
        // The store may have been about to become one.
        for name in [names::STORE_META, names::TOPICS, names::RECOVERING] {
            let path = self.path.join(name);
            if path.is_dir() {
                removed = removed.and(remove_tree(&path));
            } else if path.exists() {
                removed = removed.and(Disk.unlink(&path));
            }
        }
        for name in [
            names::LOCK,
            names::CONTROL,
            names::BALLAST,
            names::TRANSACTIONS,
        ] {
            let path = self.path.join(name);
            if path.exists() {
                removed = removed.and(Disk.unlink(&path));
            }
        }
        if self.made && removed.is_ok() {
            removed = remove_tree(&self.path);
        }
        match removed {
            Ok(()) => error,
            Err(_) => error.context(format!(
                "what was copied so far is left in {}, which is no store; remove it",
                self.path.display()
            )),
        }
    }
}

fn expect_empty(path: &Path) -> Result<()> {
    let found = if path.is_dir() {
        Disk.list(path)?
    } else {
        vec!["a file".to_owned()]
    };
    let Some(first) = found.first() else {
        return Ok(());
    };
    let what = match first.as_str() {
        names::RECOVERING => "it holds what an interrupted recovery left: remove it".to_owned(),
        _ if !path.is_dir() => "it is a file; give a new path".to_owned(),
        _ => format!("it holds {first:?}; give an empty folder or a new path"),
    };
    let message = format!("cannot recover into {}: {what}", path.display());
    Err(Error::new(ErrorKind::AlreadyExists, message))
}
