//! Snapshots of a group's state: whole or not, and what they say.

use std::path::Path;

use super::Wrong;
use super::bytes::Bytes;
use super::clock_text::utc;
use super::dump::Lines;
use crate::error::Result;
use crate::format::snapshot::{BYTES_MAX, Snapshot};

/// What a snapshot's file says, with its bytes; or what is wrong with it.
pub(super) fn read(path: &Path) -> Result<std::result::Result<(Snapshot, Vec<u8>), Wrong>> {
    let mut bytes = Bytes::open(path)?;
    let len = bytes.len();
    if len > BYTES_MAX {
        let what = format!("it has {len} bytes, expected {BYTES_MAX} at most");
        return Ok(Err((BYTES_MAX, what)));
    }
    let all = bytes.head(len)?;
    Ok(Snapshot::decode(&all).map(|snapshot| (snapshot, all)))
}

/// Whose a snapshot is to be, as far as that is known.
#[derive(Clone, Copy)]
pub(super) struct Whose {
    pub(super) group: Option<u64>,
    pub(super) partitions: Option<u64>,
}

/// What is wrong with a snapshot's file.
pub(super) fn look(path: &Path, whose: Whose) -> Result<Vec<Wrong>> {
    let snapshot = match read(path)? {
        Ok((snapshot, _)) => snapshot,
        Err(wrong) => return Ok(vec![wrong]),
    };
    Ok(strange(&snapshot, whose).into_iter().collect())
}

/// Why a whole snapshot cannot be this group's.
pub(super) fn strange(snapshot: &Snapshot, whose: Whose) -> Option<Wrong> {
    let (group, found) = (snapshot.group, snapshot.parts.len() as u64);
    if whose.group.is_some_and(|wanted| wanted != group) {
        let what = format!("it is of group {group:016x}, which is another one");
        return Some((crate::format::snapshot::GROUP as u64, what));
    }
    let wanted = whose.partitions.filter(|wanted| *wanted != found)?;
    let what = format!("it has {found} partitions, the topic has {wanted}");
    Some((crate::format::snapshot::PARTITIONS as u64, what))
}

/// What it says, for a person.
pub(super) fn dump(path: &Path, lines: &mut Lines<'_>) -> Result<()> {
    let snapshot = match read(path)? {
        Ok((snapshot, _)) => snapshot,
        Err((place, what)) => {
            lines.line("snapshot of a group")?;
            return lines.line(format!("{place}  DAMAGED: {what}"));
        }
    };
    lines.line(format!(
        "snapshot of group {:016x}, taken {}, {} partitions, {} open messages",
        snapshot.group,
        utc(snapshot.taken_ns),
        snapshot.parts.len(),
        snapshot.open()
    ))?;
    for (number, part) in snapshot.parts.iter().enumerate() {
        lines.line(format!(
            "partition {number}: all below offset {} settled, all from {} on not looked at",
            part.floor, part.end
        ))?;
        for one in &part.open {
            lines.line(format!(
                "  offset {}: attempts {}, failures {}",
                one.offset, one.attempts, one.failures
            ))?;
        }
    }
    Ok(())
}
