//! Reading a store's files for inspection, read-only.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::format::meta::{self, Bad};
use crate::format::reserve::{self, Reserve};
use crate::storage::{Access, Disk, Storage};
use crate::store::ReadOnly;

/// Meta files, reserves and headers are far smaller; more than this is not one of ours.
const SMALL: u64 = 1 << 20;

/// The first bytes of a file, up to `most`.
pub(super) fn head(path: &Path, most: usize) -> Result<Vec<u8>> {
    let file = Disk.open(path, Access::Read, 0)?;
    let len = usize::try_from(file.len()?).unwrap_or(usize::MAX).min(most);
    let mut bytes = vec![0; len];
    file.read_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// Bytes of a file.
pub(super) fn len(path: &Path) -> Result<u64> {
    Disk.open(path, Access::Read, 0)?.len()
}

/// The fields of a meta file.
pub(super) fn meta(kind: &str, path: &Path) -> Result<BTreeMap<String, String>> {
    let bytes = head(path, SMALL as usize)?;
    meta::decode(kind, &bytes).map_err(|bad| {
        let (kind, what) = match bad {
            Bad::Damaged(what) => (ErrorKind::Damaged, what),
            Bad::Version(found) => (
                ErrorKind::Incompatible,
                format!(
                    "it has version {found}, this library knows {}",
                    crate::format::VERSION
                ),
            ),
        };
        Error::new(kind, format!("{}: {what}", path.display()))
    })
}

/// The newest whole slot of a reserve; `None` if there is no file or neither slot is whole.
pub(super) fn reserve(path: &Path) -> Result<Option<Reserve>> {
    if !Disk.exists(path)? {
        return Ok(None);
    }
    let bytes = head(path, reserve::FILE as usize)?;
    let slots = reserve::SLOTS.iter().filter_map(|at| {
        let slot = bytes.get(*at as usize..)?;
        Reserve::decode(slot.first_chunk()?)
    });
    Ok(slots.max_by_key(|slot| slot.generation))
}

/// The file system that inspection reads; it refuses to write.
pub(super) fn disk() -> ReadOnly {
    ReadOnly(Arc::new(Disk))
}
