//! Meta files: whole, of this version, and with the fields that the store needs.

use std::collections::BTreeMap;
use std::path::Path;

use super::bytes::Bytes;
use super::{Wrong, settled};
use crate::error::{Error, ErrorKind, Result};
use crate::format::VERSION;
use crate::format::meta::{self, Bad};

/// More than any meta file has.
const META_MAX: u64 = 1 << 20;
/// Bytes of the last line: `crc=`, eight digits, the line's end.
const LAST_LINE: usize = 13;

/// The fields of a meta file.
pub(super) type Fields = BTreeMap<String, String>;

/// Reads a meta file and what is wrong with it. [`ErrorKind::Incompatible`] if another version
/// wrote it: then nothing of the store can be judged.
pub(super) fn look(kind: &str, path: &Path, needed: &[&str]) -> Result<(Fields, Vec<Wrong>)> {
    settled(|| {
        let bytes = Bytes::open(path)?.head(META_MAX)?;
        match meta::decode(kind, &bytes) {
            Ok(fields) => {
                let mut wrong = Vec::new();
                if bytes
                    .rchunks(LAST_LINE)
                    .next()
                    .is_none_or(|last| !last.starts_with(b"crc=") || last.last() != Some(&b'\n'))
                {
                    wrong.push((
                        bytes.len() as u64,
                        "its last line does not end there".into(),
                    ));
                }
                let missing = needed.iter().filter(|key| !fields.contains_key(**key));
                wrong.extend(missing.map(|key| (0, format!("it has no {key}"))));
                Ok((fields, wrong))
            }
            Err(Bad::Damaged(what)) => Ok((Fields::new(), vec![(0, what)])),
            Err(Bad::Version(found)) => Err(Error::new(
                ErrorKind::Incompatible,
                format!(
                    "{} has format {found}, this build reads format {VERSION}; use a version of \
                     libqueue that knows format {found}",
                    path.display()
                ),
            )),
        }
    })
}

/// Whether a meta file has its checksum, whichever version wrote it.
pub(super) fn whole(path: &Path) -> Result<bool> {
    Ok(meta::is_whole(&Bytes::open(path)?.head(META_MAX)?))
}

/// A field that is an id, in hexadecimal digits.
pub(super) fn id(fields: &Fields) -> Option<u64> {
    u64::from_str_radix(fields.get("id")?, 16).ok()
}
