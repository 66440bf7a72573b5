//! Removing a folder with all that is in it.

use std::fs;
use std::path::Path;

use super::Storage;
use crate::error::{Error, ErrorKind, Result};

/// Removes a folder of the disk with all that is in it; links are removed, not followed.
pub fn remove_tree(folder: &Path) -> Result<()> {
    fs::remove_dir_all(folder).map_err(|e| Error::io("remove the folder", folder, e))
}

/// As `remove_tree`, on any storage. A folder that is not there is fine, and so is who removes the
/// same at the same time.
pub fn remove_all(storage: &dyn Storage, folder: &Path) -> Result<()> {
    remove_all_but_last(storage, folder, &[])
}

/// As `remove_all`; files of these names go when all else in the folder is gone, on disk too.
pub fn remove_all_but_last(storage: &dyn Storage, folder: &Path, last: &[&str]) -> Result<()> {
    let mut inside = match storage.list(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        inside => inside?,
    };
    inside.sort_by_key(|name| last.contains(&name.as_str()));
    for name in inside {
        if last.contains(&name.as_str()) {
            absent_is_fine(storage.sync_dir(folder))?;
        }
        let path = folder.join(name);
        // A link is removed, whatever it leads to.
        match storage.unlink(&path) {
            Err(_) if storage.list(&path).is_ok() => remove_all(storage, &path)?,
            done => absent_is_fine(done)?,
        }
    }
    absent_is_fine(storage.remove_dir(folder))
}

fn absent_is_fine(done: Result<()>) -> Result<()> {
    match done {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Disk;

    #[test]
    fn p17_a_folder_goes_with_all_that_is_in_it_and_links_are_not_followed() {
        let place = tempfile::tempdir().expect("folder");
        let (folder, elsewhere) = (place.path().join("f"), place.path().join("elsewhere"));
        for path in [&folder, &folder.join("below"), &elsewhere] {
            fs::create_dir(path).expect("folder");
        }
        for file in ["a", "z", "below/b"] {
            fs::write(folder.join(file), b"x").expect("file");
        }
        fs::write(elsewhere.join("kept"), b"x").expect("file");
        std::os::unix::fs::symlink(&elsewhere, folder.join("link")).expect("link");
        remove_all_but_last(&Disk, &folder, &["a"]).expect("remove");
        assert!(!folder.exists() && elsewhere.join("kept").exists());
        remove_all(&Disk, &folder).expect("it is gone already");
    }
}
