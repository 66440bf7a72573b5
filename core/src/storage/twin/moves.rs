//! Folders that are renamed: one name changes, and all that is in them goes with it, also through a
//! power loss.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::files::missing;
use super::{Choices, State};
use crate::error::{Error, Result};

/// The path after a folder above it, or it, was renamed.
fn moved(path: &Path, from: &Path, to: &Path) -> Option<PathBuf> {
    let rest = path.strip_prefix(from).ok()?;
    Some(if rest.as_os_str().is_empty() {
        to.to_owned()
    } else {
        to.join(rest)
    })
}

fn move_names<V>(names: &mut BTreeMap<PathBuf, V>, from: &Path, to: &Path) {
    let all = std::mem::take(names).into_iter();
    *names = all
        .map(|(path, value)| (moved(&path, from, to).unwrap_or(path), value))
        .collect();
}

fn move_folders(folders: &mut BTreeSet<PathBuf>, from: &Path, to: &Path) {
    let all = std::mem::take(folders).into_iter();
    *folders = all
        .map(|path| moved(&path, from, to).unwrap_or(path))
        .collect();
}

impl State {
    /// Files, folders and renames, without the kernel locks.
    pub(super) fn outline(&self) -> Self {
        Self {
            names: self.names.clone(),
            durable_names: self.durable_names.clone(),
            folders: self.folders.clone(),
            durable_folders: self.durable_folders.clone(),
            moves: self.moves.clone(),
            ..Self::default()
        }
    }

    pub(super) fn rename_folder(&mut self, from: &Path, to: &Path) -> Result<()> {
        if !self.folders.contains(from) {
            return Err(missing(from));
        }
        if self.folders.contains(to) || self.names.contains_key(to) {
            let exists = std::io::Error::from_raw_os_error(libc::EEXIST);
            return Err(Error::io("rename", from, exists));
        }
        move_names(&mut self.names, from, to);
        move_folders(&mut self.folders, from, to);
        let locks = std::mem::take(&mut self.locks).into_iter();
        self.locks = locks
            .map(|(path, file)| (moved(&path, from, to).unwrap_or(path), file))
            .collect();
        self.moves.push((from.to_owned(), to.to_owned()));
        Ok(())
    }

    /// These renames are on disk.
    pub(super) fn settle_moves(&mut self, which: impl Fn(&Path, &Path) -> bool) {
        for (from, to) in std::mem::take(&mut self.moves) {
            if which(&from, &to) {
                move_names(&mut self.durable_names, &from, &to);
                move_folders(&mut self.durable_folders, &from, &to);
            } else {
                self.moves.push((from, to));
            }
        }
    }

    /// Each rename that is not on disk happened for the disk, or did not.
    pub(super) fn choose_moves(&mut self, choices: &mut Choices) {
        // What came later goes back first.
        for (from, to) in std::mem::take(&mut self.moves).into_iter().rev() {
            if choices.coin() {
                move_names(&mut self.durable_names, &from, &to);
                move_folders(&mut self.durable_folders, &from, &to);
            } else {
                move_names(&mut self.names, &to, &from);
                move_folders(&mut self.folders, &to, &from);
            }
        }
    }
}
