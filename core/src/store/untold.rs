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
        let told = self.take_damage();
        if told.is_some() {
            self.force_readable();
        }
        told
    }

    fn take_damage(&self) -> Option<Error> {
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
        let told = self
            .take_damage()
            .or_else(|| self.untold(|untold| untold.other.take()));
        let told = told.or_else(|| self.watch.get()?.take_failed());
        if told.is_some() {
            self.force_readable();
        }
        told
    }

    /// Whether there is anything to tell, but for what its descriptor's looks met.
    pub(super) fn has_untold(&self) -> bool {
        self.untold(|untold| untold.more > 0 || !untold.damage.is_empty() || untold.other.is_some())
    }

    /// Whether there is anything to tell.
    pub(super) fn has_pending(&self) -> bool {
        self.has_untold() || self.watch.get().is_some_and(|watch| watch.has_failed())
    }

    /// To be told later. Its descriptor is readable until it is.
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
        self.force_readable();
    }
}
