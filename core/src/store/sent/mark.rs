//! The mark of a ledger: up to where it is known to be on disk and to know the log. A small text
//! file, replaced as a whole.

use std::collections::BTreeMap;
use std::path::Path;

use crate::error::{Error, ErrorKind, Result};
use crate::format::{VERSION, meta};
use crate::log::Env;
use crate::storage::{Access, replace_file};

const MOST: u64 = 1 << 20;

/// What the file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Nothing was sent since: all that there is is known.
    pub(crate) clean: bool,
    /// For each partition: all records below are on disk, and so are their entries.
    pub(crate) ends: Vec<u64>,
    /// Of dedup ids: the tables that are whole on disk and take no more entries.
    pub(crate) sealed: Vec<u64>,
    /// Of a producer: which opening of its name was the last.
    pub(crate) epoch: u64,
    /// The start of the host in which this was written.
    pub(crate) boot: String,
}

/// This start of the host.
pub(super) fn boot_of(env: &Env) -> String {
    let id = env.storage.boot_id();
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn list(numbers: &[u64]) -> String {
    let texts: Vec<String> = numbers.iter().map(u64::to_string).collect();
    texts.join(" ")
}

impl Mark {
    /// The file's text.
    pub(crate) fn encode(&self, kind: &str) -> String {
        let state = if self.clean { "clean" } else { "open" };
        meta::encode(
            kind,
            &[
                ("state", state.to_owned()),
                ("boot", self.boot.clone()),
                ("epoch", self.epoch.to_string()),
                ("sealed", list(&self.sealed)),
                ("ends", list(&self.ends)),
            ],
        )
    }

    /// What the fields say, or what is wrong with them.
    pub(crate) fn parse(
        fields: &BTreeMap<String, String>,
        partitions: usize,
    ) -> std::result::Result<Self, String> {
        let get = |key: &str| {
            let found = fields.get(key).map(String::as_str);
            found.ok_or_else(|| format!("it has no {key}"))
        };
        let numbers = |key: &str| -> std::result::Result<Vec<u64>, String> {
            let parsed: std::result::Result<_, _> =
                get(key)?.split_whitespace().map(str::parse).collect();
            parsed.map_err(|_| format!("its {key} are no numbers"))
        };
        let found = Self {
            clean: get("state")? == "clean",
            ends: numbers("ends")?,
            sealed: numbers("sealed")?,
            epoch: numbers("epoch")?.first().copied().unwrap_or(0),
            boot: get("boot")?.to_owned(),
        };
        match found.ends.len() {
            count if count == partitions => Ok(found),
            count => Err(format!(
                "it speaks of {count} partitions, expected {partitions}"
            )),
        }
    }

    /// Reads the file; `None` if it is missing or damaged: then the whole log is looked at.
    pub(super) fn read(
        env: &Env,
        path: &Path,
        kind: &str,
        partitions: usize,
    ) -> Result<Option<Self>> {
        let file = match env.storage.open(path, Access::Read, 0) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let mut bytes = vec![0; usize::try_from(file.len()?.min(MOST)).unwrap_or(0)];
        file.read_at(&mut bytes, 0)?;
        match meta::decode(kind, &bytes) {
            Ok(fields) => Ok(Self::parse(&fields, partitions).ok()),
            Err(meta::Bad::Damaged(_)) => Ok(None),
            Err(meta::Bad::Version(found)) => {
                let message = format!(
                    "{} has version {found}, this library knows {VERSION}; use the newer library",
                    path.display()
                );
                Err(Error::new(ErrorKind::Incompatible, message))
            }
        }
    }

    /// Replaces the file, on disk when this returns.
    pub(super) fn write(&self, env: &Env, path: &Path, kind: &str) -> Result<()> {
        let text = self.encode(kind);
        replace_file(&*env.storage, path, text.as_bytes(), env.mode)
    }
}
