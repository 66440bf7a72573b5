//! Looking at a store's files without joining it: checking every byte, and decoding one file for a
//! person.
//!
//! Nothing here writes, locks or maps. Files are read with plain reads, so that one that is cut
//! while it is looked at is an error and not a signal. A store that others have in use may be
//! looked at: what looks wrong is read again before it is called damage.

mod bytes;
mod cached;
mod clock_text;
mod dump;
mod dump_small;
mod partition;
mod plan;
mod records;
mod reserve;
mod text;
mod verify;
mod window;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

pub use dump::dump;
pub use verify::{Progress, verify};

/// A place in a file whose bytes are not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub file: PathBuf,
    /// Where in it, in bytes from its start; 0 where the file as a whole is wrong or missing.
    pub position: u64,
    /// What was found, and what was expected.
    pub what: String,
}

/// What [`verify`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Files that were looked at.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Topics.
    pub topics: u64,
    /// Groups of all topics.
    pub groups: u64,
    /// Messages that are whole.
    pub messages: u64,
    /// All damage, in the order of topics, partitions, groups and positions.
    pub damage: Vec<Damage>,
}

impl Report {
    /// Whether nothing is damaged.
    #[must_use]
    pub fn is_intact(&self) -> bool {
        self.damage.is_empty()
    }

    fn damaged(&mut self, file: &Path, position: u64, what: impl Into<String>) {
        self.damage.push(Damage {
            file: file.to_owned(),
            position,
            what: what.into(),
        });
    }
}

/// A place and what is wrong there, before it is known which file it is in.
type Wrong = (u64, String);

/// How often something that looks wrong is read again: others may be at work on it.
const LOOKS: usize = 4;

/// Looks until nothing is wrong, at most a few times; what the last look found. Whole files of a
/// store in use are so told from damaged ones: damage stays.
fn settled<T, E>(
    mut look: impl FnMut() -> std::result::Result<(T, Vec<Wrong>), E>,
) -> std::result::Result<(T, Vec<Wrong>), E> {
    let mut found = look()?;
    for _ in 1..LOOKS {
        if found.1.is_empty() {
            break;
        }
        found = look()?;
    }
    Ok(found)
}
