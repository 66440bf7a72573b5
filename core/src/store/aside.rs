//! Messages that should become dead letters and cannot for now, and partitions of which none can.
//!
//! They stay dying, which keeps them from being handed out and loses nothing, and are tried again
//! after a while. Each is told of once by a process, until it fails in another way: a receive call
//! that raised the same error each time would never hand out what comes behind (P12). Who asks for
//! a move by settling is told in any case why nothing can be moved.

use std::collections::HashMap;
use std::sync::MutexGuard;

use super::group::GroupInner;
use super::inner::locked;
use crate::error::{Error, ErrorKind, Result};

/// After so long it is tried again.
pub(super) const AGAIN_MS: u64 = 1000;

struct Failed {
    at_ms: u64,
    kind: ErrorKind,
}

/// By partition, and offset or, for all that are dying in it, none.
#[derive(Default)]
pub(super) struct Aside(HashMap<(u32, Option<u64>), Failed>);

impl Aside {
    /// Whether it failed a moment ago.
    pub(super) fn waits(&self, partition: u32, offset: Option<u64>, now_ms: u64) -> bool {
        let waits = |failed: &Failed| now_ms.saturating_sub(failed.at_ms) < AGAIN_MS;
        self.0.get(&(partition, offset)).is_some_and(waits)
    }

    /// Notes that it failed; whether it had not before, in this way.
    pub(super) fn put(
        &mut self,
        partition: u32,
        offset: Option<u64>,
        now_ms: u64,
        kind: ErrorKind,
    ) -> bool {
        let failed = Failed {
            at_ms: now_ms,
            kind,
        };
        let before = self.0.insert((partition, offset), failed);
        before.is_none_or(|before| before.kind != kind)
    }

    /// Keeps of a partition's messages those that are still waiting for their move.
    pub(super) fn keep(&mut self, partition: u32, waits: impl Fn(u64) -> bool) {
        self.0
            .retain(|(of, offset), _| *of != partition || offset.is_none_or(&waits));
    }

    /// What is dying in the partition can be moved.
    pub(super) fn forget(&mut self, partition: u32) {
        self.0.remove(&(partition, None));
    }
}

/// What failed for single messages in one move.
#[derive(Default)]
pub(super) struct Failures {
    first: Option<(u64, Error)>,
    more: usize,
    /// Bytes of the smallest letter for which the disk had no room.
    no_room_for: Option<usize>,
}

impl Failures {
    /// Whether there is no sense in trying a letter of so many bytes.
    pub(super) fn has_no_room(&self, bytes: usize) -> bool {
        self.no_room_for.is_some_and(|least| bytes >= least)
    }

    /// A message that there was no sense in trying.
    pub(super) fn skip(&mut self, group: &GroupInner, partition: u32, offset: u64) {
        if put(group, partition, Some(offset), ErrorKind::DiskFull) {
            let what = "there was no room for a smaller one";
            self.note(offset, Error::new(ErrorKind::DiskFull, what));
        }
    }

    pub(super) fn add(
        &mut self,
        group: &GroupInner,
        partition: u32,
        (offset, bytes): (u64, usize),
        error: Error,
    ) {
        if error.kind() == ErrorKind::DiskFull {
            self.no_room_for = Some(bytes);
        }
        if put(group, partition, Some(offset), error.kind()) {
            self.note(offset, error);
        }
    }

    fn note(&mut self, offset: u64, error: Error) {
        match self.first {
            None => self.first = Some((offset, error)),
            Some(_) => self.more += 1,
        }
    }

    /// The error that tells of them, if any was not told of before.
    pub(super) fn told(self, group: &GroupInner, partition: u32) -> Result<()> {
        let Some((offset, error)) = self.first else {
            return Ok(());
        };
        let others = match self.more {
            0 => String::new(),
            more => format!(", and {more} more of the partition"),
        };
        let what = match error.kind() {
            ErrorKind::DiskFull => "; make room on the disk",
            _ => "",
        };
        Err(error.context(format!(
            "the message with offset {offset} in partition {partition} of topic {:?}{others} \
             failed for the last time in group {:?} and cannot become a dead letter now; it is \
             kept, not handed out, and tried again each second{what}",
            group.topic.name,
            group.source().1
        )))
    }
}

pub(super) fn put(
    group: &GroupInner,
    partition: u32,
    offset: Option<u64>,
    kind: ErrorKind,
) -> bool {
    let now = group.topic.store.env.clock.boot_ms();
    of(group).put(partition, offset, now, kind)
}

pub(super) fn of(group: &GroupInner) -> MutexGuard<'_, Aside> {
    locked(&group.aside)
}
