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
        let told = self.take_damage();
        if told.is_some() {
            self.force_readable();
        }
        told
    }

    fn take_damage(&self) -> Option<Error> {
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
        let damage = || self.take_damage();
        let other = || locked(&self.untold.kept).other.take();
        let told = damage().or_else(other);
        let told = told.or_else(|| self.watch.get()?.take_failed());
        if told.is_some() {
            self.force_readable();
        }
        told
    }

    /// Whether there is anything to tell, but for what its descriptor's looks met.
    pub(super) fn has_untold(&self) -> bool {
        self.untold.damaged.load(Ordering::Acquire) || locked(&self.untold.kept).other.is_some()
    }

    /// Whether there is anything to tell.
    pub(super) fn has_pending(&self) -> bool {
        self.has_untold() || self.watch.get().is_some_and(|watch| watch.has_failed())
    }

    /// To be told later. Its descriptor is readable until it is.
    pub(super) fn keep_pending(&self, error: Error) {
        let mut kept = locked(&self.untold.kept);
        if error.kind() != ErrorKind::Damaged {
            kept.other.get_or_insert(error);
        } else if kept.damage.len() < MOST {
            kept.damage.push_back(error);
            self.untold.damaged.store(true, Ordering::Release);
        } else {
            kept.more += 1;
            self.untold.damaged.store(true, Ordering::Release);
        }
        drop(kept);
        self.force_readable();
    }
}
