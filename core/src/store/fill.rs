//! Taking messages out of a window, with its lock held: what is ready, then what nobody has seen.

use std::sync::Arc;

use smallvec::SmallVec;

use super::sieve::{Sieve, Verdict};
use crate::group::{Admit, Fresh, Hand, Now, Policy, Taken, Window};
use crate::log::{Cursor, Partition, Segment, Step};

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
    /// Messages from here on, judged by the group's filter.
    Sieve(Cursor),
}

/// What is wanted.
pub(super) struct Ask<'a> {
    pub(super) wanted: usize,
    /// Where the call asks for one message, which is a batch by itself, its consumer is charged for
    /// it whether or not he says that he started: so work on it is begun with the hand-out, and
    /// nobody needs the lock again to say so (P10).
    pub(super) hand: Hand,
    pub(super) now: Now,
    /// Whether what nobody has seen is for this group.
    pub(super) fresh: bool,
    /// All that the window has room for is looked at before anything is taken.
    pub(super) look_ahead: bool,
    /// The least priority of what is ready that is taken.
    pub(super) least: usize,
    /// What the group's filter says of those that come next; not asked where it has none.
    pub(super) sieve: &'a Sieve,
}

/// For so few no memory is asked for, and for so many at most at once.
const FEW: usize = 2;
const SOME: usize = 256;

/// Those that were taken.
pub(super) type Takes = SmallVec<[Taken; FEW]>;

/// What was found.
#[derive(Default)]
pub(super) struct Filled {
    pub(super) taken: Takes,
    /// The one that the last of them is in, if it is known.
    pub(super) segment: Option<Arc<Segment>>,
    pub(super) need: Need,
    /// Whether to look again: some were too late to be handed out, or left those that waited behind
    /// them.
    pub(super) again: bool,
    /// Offsets of those that are dead letters for that.
    pub(super) dying: Vec<u64>,
}

/// Under the lock: ready ones first, by priority and offset, then fresh ones from the log. Nothing
/// while the group is paused.
pub(super) fn fill(
    window: &mut Window,
    policy: &Policy,
    partition: &Partition,
    ask: &Ask<'_>,
    filled: &mut Filled,
) {
    if policy.paused {
        return;
    }
    if !ask.look_ahead {
        take_ready(window, ask, &mut filled.taken);
        if filled.taken.len() >= ask.wanted {
            return;
        }
    }
    if ask.fresh && window.cursor().offset < partition.next_offset() {
        fill_fresh(window, policy, partition, ask, filled);
    }
    if ask.look_ahead && matches!(filled.need, Need::Nothing) {
        take_ready(window, ask, &mut filled.taken);
    }
}

#[inline]
fn take_ready(window: &Window, ask: &Ask<'_>, taken: &mut Takes) {
    while taken.len() < ask.wanted {
        let Some(one) = window.take_urgent(ask.least, &ask.hand) else {
            return;
        };
        taken.push(one);
    }
}

#[inline]
fn fill_fresh(
    window: &mut Window,
    policy: &Policy,
    partition: &Partition,
    ask: &Ask<'_>,
    filled: &mut Filled,
) {
    if !ask.look_ahead {
        filled.segment = take_run(window, policy, partition, ask, &mut filled.taken);
        if filled.taken.len() >= ask.wanted {
            return;
        }
    }
    let (mut ahead, mut more) = (0, false);
    let log = (partition, u64::MAX);
    let (need, segment) = look_at_fresh(
        window,
        (policy, ask.now),
        log,
        ask.sieve,
        |window, offset, met| {
            match met {
                Met::Passed => return true,
                Met::Waits => {}
                Met::Expired => {
                    filled.again = true;
                    if policy.expired_die {
                        filled.dying.push(offset);
                    }
                }
                Met::Ready(index) if ask.look_ahead => window.make_ready(index),
                Met::Ready(index) => filled.taken.push(window.hand_out(index, &ask.hand)),
            }
            ahead += 1;
            more = ask.look_ahead && ahead >= AHEAD;
            !more && (ask.look_ahead || filled.taken.len() < ask.wanted)
        },
    );
    filled.need = if more { Need::More } else { need };
    filled.segment = segment;
}

/// At once, and not step by step as one after the other comes. Apart from who takes one at a time,
/// who never needs it.
#[inline(never)]
fn make_room(taken: &mut Takes, most: usize) {
    taken.reserve(most.min(SOME));
}

/// Those that come next and that nothing keeps from being handed out, as far as they are in one
/// segment.
#[inline]
fn take_run(
    window: &Window,
    policy: &Policy,
    partition: &Partition,
    ask: &Ask<'_>,
    taken: &mut Takes,
) -> Option<Arc<Segment>> {
    let mut run = window.run(policy, ask.hand)?;
    let mut cursor = window.cursor();
    let (near, most) = (&window.near, ask.wanted - taken.len());
    if most > FEW {
        let there = partition.next_offset().saturating_sub(cursor.offset);
        make_room(taken, most.min(usize::try_from(there).unwrap_or(most)));
    }
    let segment = partition.run_near(near, &mut cursor, most, |offset, position, has_key| {
        run.take(offset, position, has_key)
            .map(|one| taken.push(one))
            .is_some()
    });
    run.end(cursor);
    segment
}

/// What became of a message that nobody had seen.
pub(super) enum Met {
    /// It may be handed out: lease the entry, or give it to the ready ones.
    Ready(u32),
    /// It waits for others, or for its time.
    Waits,
    /// It was too late for it: it is done, or a dead letter.
    Expired,
    /// The group's filter leaves it out: it is settled.
    Passed,
}

/// Takes in messages that nobody has seen, up to an offset, for as long as `each` goes on; what has
/// to be done outside the lock before there can be more, and the segment that they are in.
#[inline]
pub(super) fn look_at_fresh(
    window: &mut Window,
    (policy, now): (&Policy, Now),
    (log, until): (&Partition, u64),
    sieve: &Sieve,
    mut each: impl FnMut(&mut Window, u64, Met) -> bool,
) -> (Need, Option<Arc<Segment>>) {
    let (mut cursor, mut need) = (window.cursor(), Need::Nothing);
    let filtered = policy.filter != 0;
    let mut near = std::mem::take(&mut window.near);
    let segment = log.scan_near(&mut near, &mut cursor, |at, step| match *step {
        // Settled when the snapshot was taken that is being restored.
        Step::Record { offset, next, .. } if window.was_settled(offset) => {
            if !window.settle_gap(offset) || !window.pass_settled(offset) {
                need = Need::Room;
                return false;
            }
            window.set_cursor(next);
            each(window, offset, Met::Passed)
        }
        Step::Record {
            offset,
            position,
            key_hash: key,
            attributes,
            next,
            ..
        } => {
            if filtered {
                match sieve.verdict(policy, offset) {
                    Verdict::Takes => {}
                    Verdict::Passes if window.pass(offset) => {
                        window.set_cursor(next);
                        return each(window, offset, Met::Passed);
                    }
                    Verdict::Passes => {
                        need = Need::Room;
                        return false;
                    }
                    Verdict::Unknown => {
                        need = Need::Sieve(at);
                        return false;
                    }
                }
            }
            if offset > window.next() && !window.settle_gap(offset) {
                need = Need::Room;
                return false;
            }
            if offset > until {
                return false;
            }
            let fresh = Fresh {
                offset,
                position,
                key,
                attributes,
            };
            let admitted = window.admit(policy, &fresh, now);
            if admitted == Admit::Full {
                need = Need::Room;
                return false;
            }
            window.set_cursor(next);
            let met = match admitted {
                Admit::Ready(index) => Met::Ready(index),
                Admit::Expired => {
                    window.expired_at_end();
                    Met::Expired
                }
                _ => Met::Waits,
            };
            each(window, offset, met)
        }
        Step::End => false,
        // The end of a segment may be the end of a gap as well.
        Step::NotMapped | Step::Damaged if !window.settle_gap(at.offset) => {
            need = Need::Room;
            false
        }
        Step::NotMapped => {
            window.set_cursor(at);
            need = Need::Map(at);
            false
        }
        Step::Damaged => {
            window.set_cursor(at);
            need = Need::Damage(at);
            false
        }
    });
    window.near = near;
    (need, segment)
}
