//! Taking messages out of a window, with its lock held: what is ready, then what nobody has seen.

use crate::group::{Admit, Fresh, Now, Policy, Taken, Window};
use crate::log::{Cursor, Partition, Step};

/// So many messages are looked at for their priority with the lock held once.
const AHEAD: usize = 1024;

/// What has to be done outside the window's lock before more can be taken.
#[derive(Default)]
pub(super) enum Need {
    #[default]
    Nothing,
    /// The lock, again.
    More,
    Map(Cursor),
    Damage(Cursor),
    Room,
}

/// What is wanted.
pub(super) struct Ask {
    pub(super) wanted: usize,
    pub(super) due_ms: u64,
    pub(super) slot: u16,
    pub(super) batch: u16,
    pub(super) now: Now,
    /// Whether what nobody has seen is for this group.
    pub(super) fresh: bool,
    /// All that the window has room for is looked at before anything is taken.
    pub(super) look_ahead: bool,
}

/// What was found.
#[derive(Default)]
pub(super) struct Filled {
    pub(super) taken: Vec<Taken>,
    pub(super) need: Need,
    /// Whether any was too late to be handed out.
    pub(super) late: bool,
    /// Offsets of those that are dead letters for that.
    pub(super) dying: Vec<u64>,
}

/// Under the lock: ready ones first, by priority and offset, then fresh ones from the log. Nothing
/// while the group is paused.
pub(super) fn fill(
    window: &mut Window,
    policy: &Policy,
    partition: &Partition,
    ask: &Ask,
) -> Filled {
    let mut filled = Filled::default();
    if policy.paused {
        return filled;
    }
    if !ask.look_ahead {
        take_ready(window, ask, &mut filled.taken);
        if filled.taken.len() >= ask.wanted {
            return filled;
        }
    }
    let mut cursor = window.cursor();
    if ask.fresh && cursor.offset < partition.next_offset() {
        look_at_fresh(window, policy, partition, ask, &mut cursor, &mut filled);
    }
    if ask.look_ahead && matches!(filled.need, Need::Nothing) {
        take_ready(window, ask, &mut filled.taken);
    }
    filled
}

#[inline]
fn take_ready(window: &Window, ask: &Ask, taken: &mut Vec<Taken>) {
    while taken.len() < ask.wanted {
        let Some(one) = window.take_ready(ask.due_ms, ask.slot, ask.batch) else {
            return;
        };
        taken.push(one);
    }
}

#[inline]
fn look_at_fresh(
    window: &mut Window,
    policy: &Policy,
    partition: &Partition,
    ask: &Ask,
    cursor: &mut Cursor,
    filled: &mut Filled,
) {
    let mut ahead = 0;
    partition.scan(cursor, |at, step| match step {
        Step::Record {
            offset,
            position,
            key_hash: key,
            attributes,
            next,
            ..
        } => {
            if offset > window.next() && !window.settle_gap(offset) {
                filled.need = Need::Room;
                return false;
            }
            let fresh = Fresh {
                offset,
                position,
                key,
                attributes,
            };
            match window.admit(policy, &fresh, ask.now) {
                Admit::Full => {
                    filled.need = Need::Room;
                    return false;
                }
                Admit::Held | Admit::Scheduled => window.set_cursor(next),
                Admit::Expired => {
                    window.set_cursor(next);
                    window.raise_floor();
                    filled.late = true;
                    if policy.expired_die {
                        filled.dying.push(offset);
                    }
                }
                Admit::Ready(index) => {
                    window.set_cursor(next);
                    if ask.look_ahead {
                        window.make_ready(index);
                    } else {
                        let one = window.lease(index, ask.due_ms, ask.slot, ask.batch);
                        filled.taken.push(one);
                    }
                }
            }
            ahead += 1;
            if ask.look_ahead && ahead >= AHEAD {
                filled.need = Need::More;
                return false;
            }
            filled.taken.len() < ask.wanted
        }
        Step::End => false,
        // The end of a segment may be the end of a gap as well.
        Step::NotMapped | Step::Damaged if !window.settle_gap(at.offset) => {
            filled.need = Need::Room;
            false
        }
        Step::NotMapped => {
            window.set_cursor(at);
            filled.need = Need::Map(at);
            false
        }
        Step::Damaged => {
            window.set_cursor(at);
            filled.need = Need::Damage(at);
            false
        }
    });
}
