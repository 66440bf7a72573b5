//! Replacing a small file as a whole.

use std::path::Path;

use super::{Access, Storage};
use crate::error::{Error, ErrorKind, Result};

/// Puts `bytes` in the place of the file at `path`, all or nothing, also through a power loss: a
/// temporary file is written and synced before it takes the name, and the folder is synced after. A
/// crash in between leaves the old file and a temporary one, which the next call overwrites. For
/// one caller at a time: another one's temporary file would be taken for this one's.
pub fn replace_file(storage: &dyn Storage, path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(no_file(path));
    };
    let temporary = folder.join(format!(".{}.new", name.to_string_lossy()));
    replace_file_by(storage, path, &temporary, bytes, mode)
}

/// As [`replace_file`], with a temporary file of this path in the same folder, which is this
/// caller's alone.
pub fn replace_file_by(
    storage: &dyn Storage,
    path: &Path,
    temporary: &Path,
    bytes: &[u8],
    mode: u32,
) -> Result<()> {
    let folder = path.parent().ok_or_else(|| no_file(path))?;
    if storage.exists(temporary)? {
        storage.unlink(temporary)?;
    }
    let put = || {
        let file = storage.open(temporary, Access::CreateNew, mode)?;
        file.write_at(bytes, 0)?;
        file.sync()?;
        storage.rename(temporary, path)
    };
    if let Err(error) = put() {
        // Room on a full disk is given back; if even that fails, the next call does it.
        let _ = storage.unlink(temporary);
        return Err(error);
    }
    storage.sync_dir(folder)
}

fn no_file(path: &Path) -> Error {
    let message = format!("{} is not the path of a file", path.display());
    Error::new(ErrorKind::InvalidArgument, message)
}

/// Writes a new file and puts it on disk; its name is there once the folder is synced.
pub fn put_file(storage: &dyn Storage, path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let file = storage.open(path, Access::CreateNew, mode)?;
    file.write_at(bytes, 0)?;
    file.sync()
}
