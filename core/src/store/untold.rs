//! What went wrong beside messages that were returned: kept by the consumer, told by a later call.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use super::consumer::Consumer;
use super::inner::locked;
use crate::error::{Error, ErrorKind};

/// So many damaged places are kept; of more only the number.
const MOST: usize = 1000;

/// What a consumer has still to tell.
#[derive(Default)]
pub(super) struct Untold {
    /// Whether any of it is damage, so that a receive pays one load for asking.
    damaged: AtomicBool,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// Each is told once, by the next call, whatever that would find: a flow that never runs dry
    /// must not keep it (P3).
    damage: VecDeque<Error>,
    /// Damaged places of which nothing else is known any more.
    more: u64,
    /// Told by a call that finds nothing: what it is about is tried again at each.
    other: Option<Error>,
}

impl Consumer {
    /// Damage of which nobody was told yet.
    #[inline]
    pub(super) fn untold_damage(&self) -> Option<Error> {
        let any = self.untold.damaged.load(Ordering::Acquire);
        any.then(|| self.next_damage()).flatten()
    }

    #[cold]
    fn next_damage(&self) -> Option<Error> {
        let mut kept = locked(&self.untold.kept);
        let next = kept.damage.pop_front().or_else(|| {
            let more = std::mem::take(&mut kept.more);
            let message = format!(
                "{more} more messages of group {:?} were damaged; `libqueue verify` lists all \
                 damage",
                self.group.name
            );
            (more > 0).then(|| Error::new(ErrorKind::Damaged, message))
        });
        let left = !kept.damage.is_empty() || kept.more > 0;
        self.untold.damaged.store(left, Ordering::Release);
        next
    }

    /// Anything that was not told yet.
    pub(crate) fn pending(&self) -> Option<Error> {
        self.untold_damage()
            .or_else(|| locked(&self.untold.kept).other.take())
    }

    /// To be told later.
    pub(super) fn keep_pending(&self, error: Error) {
        let mut kept = locked(&self.untold.kept);
        if error.kind() != ErrorKind::Damaged {
            kept.other.get_or_insert(error);
            return;
        }
        if kept.damage.len() < MOST {
            kept.damage.push_back(error);
        } else {
            kept.more += 1;
        }
        self.untold.damaged.store(true, Ordering::Release);
    }
}
