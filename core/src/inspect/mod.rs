//! Looking at a store's files without joining it: checking all that carries something, decoding one
//! file for a person, and copying what can be read of a damaged store into a new one.
//!
//! Nothing here writes to the store that is looked at, or maps it; only a copy locks it. Files are
//! read with plain reads, so that one that is cut while it is looked at is an error and not a
//! signal. A store that others have in use may be looked at: what looks wrong is read again before
//! it is called damage.

mod bytes;
mod cached;
mod chain;
mod clock_text;
mod dump;
mod dump_sent;
mod dump_small;
mod entries;
mod journal;
mod ledgers;
mod letters;
mod log;
mod message;
mod opened;
mod partition;
mod placing;
mod plan;
mod ranges;
mod records;
mod recover;
mod reserve;
mod snapshot;
mod text;
mod unknown;
mod verify;
mod window;

#[cfg(test)]
mod tests;

use std::ops::Range;
use std::path::{Path, PathBuf};

pub use dump::dump;
pub use recover::{RecoverOptions, Recovered, recover, recover_with};
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
    /// Offsets of the messages that are lost with it, as far as they are known.
    pub lost: Option<Range<u64>>,
}

/// What can be read of a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartitionReport {
    /// The topic's name.
    pub topic: String,
    /// The partition's number.
    pub partition: u32,
    /// Messages that can be read.
    pub messages: u64,
    /// Their offsets, in order.
    pub readable: Vec<Range<u64>>,
    /// Offsets whose messages are lost, in order. Offsets in neither list were never used, or what
    /// had them was taken back, as after a power loss.
    pub lost: Vec<Range<u64>>,
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
    /// What can be read of each partition that is there.
    pub partitions: Vec<PartitionReport>,
    /// All damage, in the order of topics, partitions, groups and positions.
    pub damage: Vec<Damage>,
    /// Files and folders in the store that have no name of the format. Nobody looks into them, and
    /// they do no harm.
    pub unknown: Vec<PathBuf>,
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
            lost: None,
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
