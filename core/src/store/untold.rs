//! What went wrong beside messages that were returned: kept by the consumer, told by a later call.

use std::collections::VecDeque;
use std::sync::PoisonError;

use super::consumer::Consumer;
use crate::error::{Error, ErrorKind};

/// So many damaged places are kept; of more only the number.
const MOST: usize = 1000;

/// What a consumer has still to tell.
#[derive(Default)]
pub(super) struct Untold {
    /// Each is told once, by the next call, whatever that would find: a flow that never runs dry
    /// must not keep it (P3).
    damage: VecDeque<Error>,
    /// Damaged places of which nothing else is known any more.
    more: u64,
    /// Told by a call that finds nothing: what it is about is tried again at each.
    other: Option<Error>,
}

impl Consumer {
    fn untold<T>(&self, with: impl FnOnce(&mut Untold) -> T) -> T {
        with(&mut self.untold.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Damage of which nobody was told yet.
    pub(super) fn untold_damage(&self) -> Option<Error> {
        self.untold(|untold| {
            let next = untold.damage.pop_front();
            if next.is_some() || untold.more == 0 {
                return next;
            }
            let message = format!(
                "{} more messages of group {:?} were damaged; `libqueue verify` lists all damage",
                std::mem::take(&mut untold.more),
                self.group.name
            );
            Some(Error::new(ErrorKind::Damaged, message))
        })
    }

    /// Anything that was not told yet.
    pub(crate) fn pending(&self) -> Option<Error> {
        self.untold_damage()
            .or_else(|| self.untold(|untold| untold.other.take()))
    }

    /// To be told later.
    pub(super) fn keep_pending(&self, error: Error) {
        self.untold(|untold| {
            if error.kind() != ErrorKind::Damaged {
                untold.other.get_or_insert(error);
            } else if untold.damage.len() < MOST {
                untold.damage.push_back(error);
            } else {
                untold.more += 1;
            }
        });
    }
}
