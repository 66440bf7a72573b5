//! Looking at a message for the first time.

use super::policy::{Now, Policy};
use super::window::{Counter, Window};
use crate::format::extension::Attributes;
use crate::format::window::{header, state};

/// A message that nobody of the group has looked at.
#[derive(Clone, Copy, Debug)]
pub struct Fresh {
    /// Its offset.
    pub offset: u64,
    /// Its position in its segment.
    pub position: u64,
    /// The hash of its key, if it has one.
    pub key: Option<u64>,
    /// What it says of its delivery.
    pub attributes: Attributes,
}

/// What became of a message that was looked at for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admit {
    /// It may be handed out now: lease the entry, or give it to the ready ones.
    Ready(u32),
    /// An earlier message of its key is not settled.
    Held,
    /// Its time has not come.
    Scheduled,
    /// It is too late for it: it is done, or dying.
    Expired,
    /// There is no room for more unsettled messages: grow, or settle.
    Full,
}

impl Window {
    /// Takes in the message at the window's end. A death before the end is moved on leaves an entry
    /// that nobody looks at; it was never handed out, so it is taken in again.
    #[inline]
    pub fn admit(&self, policy: &Policy, fresh: &Fresh, now: Now) -> Admit {
        let offset = fresh.offset;
        // One below the floor, which somebody else has raised, counts as far behind.
        if offset.wrapping_sub(self.floor()) >= self.room() {
            return Admit::Full;
        }
        let index = self.index(offset);
        let Ok(position) = u32::try_from(fresh.position) else {
            return Admit::Full;
        };
        let hash = policy.chain_of(fresh.key);
        let priority = u64::from(fresh.attributes.priority) << 8;
        (self.entries).fill(index, offset, position, hash, priority | state::FRESH);
        self.recall(policy, index, offset);
        if !fresh.attributes.is_plain()
            && let Some(other) = self.admit_timed(policy, index, &fresh.attributes, now)
        {
            return other;
        }
        if self.joins(index) {
            Admit::Ready(index)
        } else {
            Admit::Held
        }
    }

    /// A message that says when it is to be handed out, unless that is now.
    #[cold]
    fn admit_timed(
        &self,
        policy: &Policy,
        index: u32,
        attributes: &Attributes,
        now: Now,
    ) -> Option<Admit> {
        if attributes.is_expired(now.wall_ms as i64) {
            // Nothing of its key ever waits for it.
            self.entries.forget_key(index);
            self.expire_one(policy, index, now);
            return Some(Admit::Expired);
        }
        let due = attributes.deliver_at_ms?.max(0) as u64;
        if due <= now.wall_ms {
            return None;
        }
        self.schedule(index, due);
        Some(Admit::Scheduled)
    }

    /// The message takes its place in its key's order. Whether it is the first, which the caller
    /// then makes ready, or hands out; else it waits.
    #[inline]
    pub(super) fn joins(&self, index: u32) -> bool {
        let hash = self.entries.key_hash(index);
        if hash == 0 || self.keys.join(&self.entries, index, hash) {
            return true;
        }
        // Its place in the order when that is derived anew.
        let turn = self.head.get(header::JOINS).wrapping_add(1);
        self.head.set(header::JOINS, turn);
        self.entries.set_turn(index, turn);
        self.entries.set_state(index, state::HELD);
        self.count(Counter::Held, 1);
        false
    }

    /// How far from the floor messages may be taken in.
    #[inline]
    pub(super) fn room(&self) -> u64 {
        self.usable().min(self.head.get(header::LIMIT))
    }

    /// Whether a message at this offset would be further from the floor than the group may run.
    #[inline]
    pub fn is_full(&self, offset: u64) -> bool {
        offset.wrapping_sub(self.floor()) >= self.head.get(header::LIMIT)
    }

    /// Puts an admitted or returned message among the ready ones.
    pub fn make_ready(&self, index: u32) {
        self.list_as_ready(index);
        self.count(Counter::Ready, 1);
    }

    /// As `make_ready`, and does not count it.
    #[inline]
    pub(super) fn list_as_ready(&self, index: u32) {
        self.entries.set_state(index, state::READY);
        self.ready.set(index, self.entries.priority(index));
    }

    /// The message at this offset, the next one of the log, is none that the group takes: it is
    /// done without having been in any order. False if there is no room for its entry; with an
    /// empty window it takes none. A death in between leaves it settled, perhaps not counted, or
    /// behind the end, where it is judged again (P6).
    #[inline]
    pub fn pass(&self, offset: u64) -> bool {
        let empty = self.floor() == self.next();
        let lost = self.lost_up_to(offset);
        if (!empty && self.is_full(offset)) || !self.settle_to(offset + 1) {
            return false;
        }
        self.count(Counter::Lost, lost as i64);
        self.count(Counter::Filtered, 1);
        true
    }

    /// Offsets that do not exist, or are passed over, count as settled. With an empty window the
    /// floor jumps; otherwise each gets an entry. False if there is no room for them.
    pub fn settle_gap(&self, to: u64) -> bool {
        let lost = self.lost_up_to(to);
        let done = self.settle_to(to);
        if done {
            self.count(Counter::Lost, lost as i64);
        }
        done
    }

    pub(super) fn settle_to(&self, to: u64) -> bool {
        let from = self.next();
        if self.floor() == from {
            // A stop between the two: the window ends at the floor, and the gap is found again.
            self.head.set(header::NEXT, to.max(from));
            self.head.set(header::FLOOR, to.max(from));
            return true;
        }
        if to > from && (to - self.floor() > self.usable()) {
            return false;
        }
        for offset in from..to {
            self.entries
                .fill(self.index(offset), offset, 0, 0, state::SETTLED);
        }
        self.head.set(header::NEXT, to.max(from));
        self.raise_floor();
        true
    }
}
