//! Which messages of a partition some group has taken in and not settled, each message once.
//!
//! Every process that counts keeps this for itself, and has it follow the windows: with a window's
//! lock held it takes in what is new there, and lets go of what was settled since. How many those
//! are the window's counts say; where they are is looked for in likely places first: before the
//! floor, where this process dropped some, and beside those that were found last. Only what is not
//! found there is looked for among all. So a count costs what has changed, and not what is open.
//!
//! Nothing of it is believed for long: what is settled stays settled until a seek, which has
//! another epoch; a window that is shorter than before, or has more open than is known, is walked
//! anew; and some are looked at again each time, whatever the counts say (P14, P18). What nobody
//! has found yet counts as not settled, which lets in less, never more. A process that dies takes
//! its own with it, and no other goes by that.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::group::{Counter, Window};
use crate::log::Counted;

/// How many places are remembered near which some were settled: one for each who settles.
const PLACES: usize = 16;
/// How many are looked at on each side of such a place.
const NEAR: usize = 8;
/// How many are looked at again each time without a reason.
const AGAIN: usize = 8;

/// What is asked of a window, with its lock held.
pub(super) trait View {
    fn epoch(&self) -> u32;
    fn floor(&self) -> u64;
    fn next(&self) -> u64;
    /// How many are open, as the window counts.
    fn counted(&self) -> u64;
    fn is_unsettled(&self, offset: u64) -> bool;
    /// Those from an offset on: offset, position, and bytes where these are known.
    fn open_from(&self, offset: u64) -> Vec<(u64, u64, Option<u64>)>;
}

impl View for Window {
    fn epoch(&self) -> u32 {
        self.epoch()
    }

    fn floor(&self) -> u64 {
        self.floor()
    }

    fn next(&self) -> u64 {
        self.next()
    }

    fn counted(&self) -> u64 {
        let open = Counter::DERIVED
            .iter()
            .map(|counter| self.counter(*counter));
        open.fold(0, u64::saturating_add)
    }

    fn is_unsettled(&self, offset: u64) -> bool {
        self.is_unsettled(offset)
    }

    fn open_from(&self, offset: u64) -> Vec<(u64, u64, Option<u64>)> {
        self.open_from(offset)
    }
}

/// What the groups of a topic have not settled of one partition.
#[derive(Default)]
pub(super) struct Open {
    messages: BTreeMap<u64, Message>,
    /// Before which offset `sum` goes.
    from: u64,
    sum: Counted,
    groups: Vec<Seen>,
}

struct Message {
    bytes: u64,
    /// In how many groups it is open.
    groups: usize,
}

/// What one group's window said.
#[derive(Default)]
struct Seen {
    /// Epoch, floor and end then; nothing before it was walked.
    at: Option<(u32, u64, u64)>,
    open: BTreeSet<u64>,
    bytes: u64,
    /// How many more were found by a walk of all than the window counted: none, if it is whole.
    surplus: i64,
    /// Near which some were settled, the last first.
    places: VecDeque<u64>,
    /// What this process has dropped since.
    dropped: Vec<u64>,
    /// Where looking at all goes on.
    turn: u64,
}

impl Open {
    pub(super) fn of(groups: usize) -> Self {
        Self {
            groups: (0..groups).map(|_| Seen::default()).collect(),
            ..Self::default()
        }
    }

    /// Whether it is as the group's window was when that ended here.
    pub(super) fn is_at(&self, group: usize, next: u64) -> bool {
        self.groups[group].at.is_some_and(|(_, _, end)| end == next)
    }

    /// Bytes of what a group has open, at most: exactly once what was settled was looked for.
    pub(super) fn bytes(&self, group: usize) -> u64 {
        self.groups[group].bytes
    }

    /// What is open before an offset, each message once.
    pub(super) fn sum_before(&mut self, from: u64) -> Counted {
        let some = |one: u64, end: u64| {
            let range = self.messages.range(one..end);
            range.fold(Counted::default(), |sum, (_, message)| {
                sum.plus(message.counted())
            })
        };
        if from > self.from {
            self.sum = self.sum.plus(some(self.from, from));
        } else {
            self.sum = self.sum.since(some(from, self.from));
        }
        self.from = from;
        self.sum
    }

    /// This process dropped it for a group.
    pub(super) fn note_dropped(&mut self, group: usize, offset: u64) {
        self.groups[group].dropped.push(offset);
    }

    /// Knows nothing of a group any more.
    pub(super) fn forget(&mut self, group: usize) {
        for offset in std::mem::take(&mut self.groups[group].open) {
            self.close(offset);
        }
        self.groups[group] = Seen::default();
    }

    /// Follows a group's window; what is new there, to be added with `add` once its bytes are
    /// known. What was settled behind the floor is looked for if `search` says so.
    pub(super) fn follow(
        &mut self,
        group: usize,
        view: &impl View,
        search: bool,
    ) -> Vec<(u64, u64, Option<u64>)> {
        let (epoch, floor, next) = (view.epoch(), view.floor(), view.next());
        let same = |(was, from, end)| was == epoch && from <= floor && end <= next;
        let Some((_, _, end)) = self.groups[group].at.filter(|at| same(*at)) else {
            return self.walk(group, view);
        };
        while let Some(offset) = self.groups[group].open.first().copied()
            && offset < floor
        {
            self.settle(group, offset);
        }
        let new = view.open_from(end.max(floor));
        self.groups[group].at = Some((epoch, floor, next));
        let known = self.groups[group].open.len() + new.len();
        let missing = apart(known, view.counted()).wrapping_sub(self.groups[group].surplus);
        if missing < 0 {
            return self.walk(group, view);
        }
        if search {
            self.find(group, view, missing);
        }
        new
    }

    /// Of new ones, their bytes.
    pub(super) fn add(&mut self, group: usize, offset: u64, bytes: u64) {
        let message = self
            .messages
            .entry(offset)
            .or_insert(Message { bytes, groups: 0 });
        let seen = &mut self.groups[group];
        if !seen.open.insert(offset) {
            return;
        }
        seen.bytes = seen.bytes.saturating_add(message.bytes);
        message.groups += 1;
        if message.groups == 1 && offset < self.from {
            self.sum = self.sum.plus(message.counted());
        }
    }

    fn walk(&mut self, group: usize, view: &impl View) -> Vec<(u64, u64, Option<u64>)> {
        self.forget(group);
        let all = view.open_from(view.floor());
        let seen = &mut self.groups[group];
        seen.at = Some((view.epoch(), view.floor(), view.next()));
        seen.surplus = apart(all.len(), view.counted());
        all
    }

    /// Looks for so many that were settled.
    fn find(&mut self, group: usize, view: &impl View, missing: i64) {
        let mut left = missing;
        for offset in std::mem::take(&mut self.groups[group].dropped) {
            left -= i64::from(self.settle_if(group, view, offset));
        }
        for place in self.groups[group].places.clone() {
            let mut near = Some(place);
            while let Some(place) = near
                && left > 0
            {
                near = None;
                let open = &self.groups[group].open;
                let (before, behind) = (open.range(..place).rev(), open.range(place..));
                let some: Vec<u64> = before
                    .take(NEAR)
                    .chain(behind.take(NEAR))
                    .copied()
                    .collect();
                for offset in some {
                    if self.settle_if(group, view, offset) {
                        (left, near) = (left - 1, Some(offset));
                    }
                }
            }
        }
        let mut looked_at_all = false;
        let seen = &self.groups[group];
        let (mut settled, mut looked, mut turn) = (Vec::new(), 0, seen.turn);
        let rest = seen.open.range(seen.turn..);
        for offset in rest.chain(seen.open.range(..seen.turn)) {
            if looked >= AGAIN && left <= 0 {
                break;
            }
            turn = offset + 1;
            looked += 1;
            looked_at_all = looked == seen.open.len();
            if !view.is_unsettled(*offset) {
                left -= 1;
                settled.push(*offset);
            }
        }
        self.groups[group].turn = turn;
        for offset in settled {
            self.settle(group, offset);
            self.remember(group, offset);
        }
        if left < 0 || looked_at_all {
            let seen = &mut self.groups[group];
            seen.surplus = seen.surplus.wrapping_add(left);
        }
    }

    fn settle_if(&mut self, group: usize, view: &impl View, offset: u64) -> bool {
        let settled = self.groups[group].open.contains(&offset) && !view.is_unsettled(offset);
        if settled {
            self.settle(group, offset);
            self.remember(group, offset);
        }
        settled
    }

    /// Near which the next one may be settled; in the place of one that was as near.
    fn remember(&mut self, group: usize, offset: u64) {
        let seen = &mut self.groups[group];
        let near = 2 * NEAR as u64;
        let known = |place: &u64| place.abs_diff(offset) <= near;
        if let Some(at) = seen.places.iter().position(known) {
            seen.places.remove(at);
        }
        seen.places.push_front(offset);
        seen.places.truncate(PLACES);
    }

    fn settle(&mut self, group: usize, offset: u64) {
        let seen = &mut self.groups[group];
        if seen.open.remove(&offset) {
            let bytes = self.messages.get(&offset).map_or(0, |one| one.bytes);
            seen.bytes = seen.bytes.saturating_sub(bytes);
            self.close(offset);
        }
    }

    /// It is open in one group less.
    fn close(&mut self, offset: u64) {
        let Some(message) = self.messages.get_mut(&offset) else {
            return;
        };
        message.groups -= 1;
        if message.groups == 0 {
            if offset < self.from {
                self.sum = self.sum.since(message.counted());
            }
            self.messages.remove(&offset);
        }
    }
}

impl Message {
    fn counted(&self) -> Counted {
        Counted {
            messages: 1,
            bytes: self.bytes,
        }
    }
}

/// How many more are known than were counted. Whatever the word says (P18).
fn apart(known: usize, counted: u64) -> i64 {
    (known as u64).wrapping_sub(counted) as i64
}
