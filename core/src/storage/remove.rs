//! Removing a folder with all that is in it.

use std::fs;
use std::path::Path;

use crate::error::{Error, Result};

/// Removes a folder of the disk with all that is in it; links are removed, not followed.
pub fn remove_tree(folder: &Path) -> Result<()> {
    fs::remove_dir_all(folder).map_err(|e| Error::io("remove the folder", folder, e))
}
