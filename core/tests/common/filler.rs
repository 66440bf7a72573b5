//! What takes the room of a small disk.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Takes room until it is dropped.
pub struct Filler(PathBuf);

impl Filler {
    /// Takes all room that is left.
    pub fn take(folder: &Path) -> Self {
        Self::pages(folder, "all", usize::MAX)
    }

    pub fn pages(folder: &Path, name: &str, most: usize) -> Self {
        let path = folder.join(format!("filler-{name}"));
        let mut file = File::create(&path).unwrap();
        let mut left = most;
        while left > 0 && file.write_all(&[1; 4096]).is_ok() {
            left -= 1;
        }
        Self(path)
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).unwrap();
    }
}
