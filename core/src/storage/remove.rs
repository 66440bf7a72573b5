//! Removing a folder with all that is in it.

use std::fs;
use std::path::Path;

use super::Storage;
use crate::error::{Error, ErrorKind, Result};

/// Removes a folder of the disk with all that is in it; links are removed, not followed.
pub fn remove_tree(folder: &Path) -> Result<()> {
    fs::remove_dir_all(folder).map_err(|e| Error::io("remove the folder", folder, e))
}

/// As `remove_tree`, on any storage. A folder that is not there is fine.
pub fn remove_all(storage: &dyn Storage, folder: &Path) -> Result<()> {
    let inside = match storage.list(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        inside => inside?,
    };
    for name in inside {
        let path = folder.join(name);
        // What cannot be listed is no folder.
        match storage.list(&path) {
            Ok(_) => remove_all(storage, &path)?,
            Err(_) => storage.unlink(&path)?,
        }
    }
    storage.remove_dir(folder)
}
