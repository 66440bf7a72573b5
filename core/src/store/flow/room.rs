//! The words of a topic's block that say how much may be sent.

use std::sync::atomic::Ordering;

use crate::format::control::{block, flow as at};
use crate::log::{Counted, Draft};
use crate::options::{OnFull, TopicConfig};
use crate::shm::{Held, Region, Word};

/// More than any topic holds; a sum of two of them never overflows.
pub(super) const UNLIMITED: u64 = 1 << 61;

/// What one call sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Want {
    pub(super) messages: u64,
    pub(super) bytes: u64,
}

impl Want {
    pub(super) const NOTHING: Self = Self {
        messages: 0,
        bytes: 0,
    };

    /// What is wanted where so much is lent.
    pub(super) fn less(self, lent: Self) -> Self {
        Self {
            messages: self.messages.saturating_sub(lent.messages),
            bytes: self.bytes.saturating_sub(lent.bytes),
        }
    }

    pub(in super::super) fn of(drafts: &[Draft<'_>]) -> Self {
        Self {
            messages: drafts.len() as u64,
            bytes: Draft::bytes_of(drafts),
        }
    }
}

/// What a topic is limited to, and what it does then.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in super::super) struct Limits {
    pub(super) messages: u64,
    pub(super) bytes: u64,
    pub(super) on_full: OnFull,
    pub(super) timeout: Option<std::time::Duration>,
    pub(super) marks: (u64, u64),
}

impl Limits {
    pub(in super::super) fn of(config: &TopicConfig) -> Self {
        Self {
            messages: config.max_messages.unwrap_or(UNLIMITED),
            bytes: config.max_bytes.unwrap_or(UNLIMITED),
            on_full: config.on_full,
            timeout: config.send_timeout,
            marks: (config.low_mark.into(), config.high_mark.into()),
        }
    }

    /// Whether nobody waits, so that there is no order in which those who send come.
    pub(super) fn alone(&self) -> bool {
        matches!(self.on_full, OnFull::Reject | OnFull::DropOldest)
    }

    pub(super) fn limits_messages(&self) -> bool {
        self.messages < UNLIMITED
    }

    pub(super) fn limits_bytes(&self) -> bool {
        self.bytes < UNLIMITED
    }

    /// Whether there is ever room for this.
    pub(super) fn hold(&self, want: Want) -> bool {
        want.messages <= self.messages && want.bytes <= self.bytes
    }

    /// So many percent of the limit, of which there is at least one message.
    pub(super) fn part(&self, percent: u64) -> Counted {
        let of = |limit: u64| match limit < UNLIMITED {
            true => (u128::from(limit) * u128::from(percent) / 100).max(1) as u64,
            false => UNLIMITED,
        };
        Counted {
            messages: of(self.messages),
            bytes: of(self.bytes),
        }
    }

    /// How full the topic is with this, from 0 to what may be above 1.
    pub(super) fn fill(&self, used: Counted) -> f64 {
        let part = |used: u64, limit: u64| match limit < UNLIMITED {
            true => used as f64 / limit.max(1) as f64,
            false => 0.0,
        };
        part(used.messages, self.messages).max(part(used.bytes, self.bytes))
    }
}

/// Typed access; nothing where the topic has no such words.
#[derive(Clone, Copy)]
pub(super) struct Words<'a>(pub(super) Option<&'a Region>);

impl<'a> Words<'a> {
    #[inline]
    pub(super) fn get(&self, word: usize) -> u64 {
        self.0.map_or(0, |flow| flow.get(word))
    }

    #[inline]
    pub(super) fn set(&self, word: usize, value: u64) {
        if let Some(flow) = self.0 {
            flow.set(word, value);
        }
    }

    #[inline]
    pub(super) fn lock(&self) -> Option<&'a Word> {
        self.0.map(|flow| flow.word32(at::LOCK))
    }

    pub(super) fn count_lock(&self) -> Option<&'a Word> {
        self.0.map(|flow| flow.word32(at::COUNT_LOCK))
    }

    pub(super) fn event(&self) -> Option<&'a Word> {
        self.0.map(|flow| flow.word32(at::EVENT))
    }

    pub(super) fn news(&self) -> u64 {
        self.0
            .map_or(0, |flow| flow.load(at::NEWS, Ordering::Acquire))
    }

    /// With the lock held: takes room, where it was counted for what is in force now.
    #[inline]
    pub(super) fn take(&self, want: Want, changed: u64) -> bool {
        let (messages, bytes) = (self.get(at::ROOM_MESSAGES), self.get(at::ROOM_BYTES));
        let good = self.get(at::ROOM_NEWS) == self.news() && self.get(at::ROOM_CHANGED) == changed;
        if !good || messages < want.messages || bytes < want.bytes {
            return false;
        }
        // A death from here on leaves less room than there is, until somebody counts.
        self.set(at::ROOM_MESSAGES, messages - want.messages);
        self.set(at::ROOM_BYTES, bytes - want.bytes);
        true
    }

    /// With the lock held: takes as much of it as there is.
    pub(super) fn take_what_there_is(&self, want: Want) -> Want {
        let (messages, bytes) = (self.get(at::ROOM_MESSAGES), self.get(at::ROOM_BYTES));
        let taken = Want {
            messages: messages.min(want.messages),
            bytes: bytes.min(want.bytes),
        };
        self.set(at::ROOM_MESSAGES, messages - taken.messages);
        self.set(at::ROOM_BYTES, bytes - taken.bytes);
        taken
    }

    /// What was not settled when it was last counted.
    pub(super) fn used(&self) -> Counted {
        Counted {
            messages: self.get(at::USED_MESSAGES),
            bytes: self.get(at::USED_BYTES),
        }
    }

    fn give_back(&self, want: Want) {
        let (messages, bytes) = (self.get(at::ROOM_MESSAGES), self.get(at::ROOM_BYTES));
        self.set(at::ROOM_MESSAGES, messages.saturating_add(want.messages));
        self.set(at::ROOM_BYTES, bytes.saturating_add(want.bytes));
    }

    /// With the lock held: what was counted, and what may be sent now. None of it is good before
    /// the last word.
    pub(super) fn set_room(&self, used: Counted, room: Counted, (news, changed): (u64, u64)) {
        self.set(at::ROOM_MESSAGES, 0);
        self.set(at::ROOM_BYTES, 0);
        self.set(at::ROOM_NEWS, news);
        self.set(at::ROOM_CHANGED, changed);
        self.set(at::USED_MESSAGES, used.messages);
        self.set(at::USED_BYTES, used.bytes);
        self.set(at::ROOM_BYTES, room.bytes);
        if let Some(flow) = self.0 {
            flow.store(at::ROOM_MESSAGES, room.messages, Ordering::Release);
        }
    }

    /// Whether a word of the topic that says which configuration is in force is the room's.
    pub(super) fn changed_of(head: &Region) -> u64 {
        head.load(block::CHANGED, Ordering::Acquire)
    }
}

/// Room that was taken, and the lock under which it is used.
pub(in super::super) struct Pass<'a> {
    held: Option<Held<'a>>,
    words: Words<'a>,
    taken: Want,
}

impl<'a> Pass<'a> {
    /// Of a topic without a limit.
    pub(super) fn nothing() -> Self {
        Self {
            held: None,
            words: Words(None),
            taken: Want::NOTHING,
        }
    }

    pub(super) fn taken(held: Held<'a>, words: Words<'a>, taken: Want) -> Self {
        let held = Some(held);
        Self { held, words, taken }
    }

    /// Leaves the lock as one who died would: the next one looks for what was sent and cannot be
    /// read yet.
    #[cold]
    pub(in super::super) fn abandon(self) {
        if let Some(held) = self.held {
            held.abandon();
        }
    }

    /// Gives the lock back, and the room if nothing was sent.
    pub(in super::super) fn end(self, done: bool) {
        if self.held.is_some() && !done {
            self.words.give_back(self.taken);
        }
        let waited_for = self.words.get(at::HEAD) != self.words.get(at::TAIL);
        drop(self.held);
        // What is left is for the next one.
        if waited_for && let Some(event) = self.words.event() {
            crate::shm::EventCount::notify(event, u32::MAX);
        }
    }
}
