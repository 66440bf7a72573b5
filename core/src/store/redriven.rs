//! What a redrive or a purge came to, and what is told of it.

use std::collections::{BTreeSet, HashSet};

use super::group::GroupInner;
use super::message::MessageId;
use crate::error::{Error, ErrorKind, Result};

/// What a call came to.
#[derive(Default)]
pub(super) struct Done {
    pub(super) count: u64,
    /// Places in the call's ids of those that are no dead letter of the group now.
    pub(super) refused: BTreeSet<usize>,
    /// Offsets of letters that were found to be none any more, as where somebody was faster, or
    /// settled the message that held its key.
    pub(super) gone: HashSet<u64>,
    /// The first damage that was met.
    damage: Option<Error>,
}

impl Done {
    /// A letter was done with, or was none any more.
    pub(super) fn count(&mut self, letter: u64, done: bool) {
        match done {
            true => self.count += 1,
            false => drop(self.gone.insert(letter)),
        }
    }

    pub(super) fn met(&mut self, damage: Error) {
        self.damage.get_or_insert(damage);
    }

    /// The count, or the error that tells of what was not done.
    pub(super) fn told(
        mut self,
        group: &GroupInner,
        ids: Option<&[MessageId]>,
        what: &str,
    ) -> Result<u64> {
        let (topic, name) = group.source();
        for (place, id) in ids.unwrap_or_default().iter().enumerate() {
            // One of another topic is refused already.
            if self.gone.contains(&id.offset) {
                self.refused.insert(place);
            }
        }
        if !self.refused.is_empty() {
            let message = format!(
                "{} of the ids are no dead letters of group {name:?} of topic {topic:?} now: they \
                 were redriven or purged before, or are of something else; {} others were {what}; \
                 list the dead letters for those that are left",
                self.refused.len(),
                self.count
            );
            let refused = self.refused.into_iter().collect();
            return Err(Error::new(ErrorKind::NotFound, message).with_refused(refused));
        }
        match self.damage {
            Some(damage) => Err(damage.context(format!(
                "{} dead letters of group {name:?} of topic {topic:?} were {what}, and what is \
                 damaged was passed over",
                self.count
            ))),
            None => Ok(self.count),
        }
    }
}
