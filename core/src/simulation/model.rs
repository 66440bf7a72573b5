//! What the user of a history knows: what was sent, what is promised to be on disk, and what became
//! of each message in each group.

use std::collections::{BTreeMap, BTreeSet};

use super::letters::Letters;
use super::times::Times;
use super::transact::Transaction;
use crate::options::{Durability, Ordering};

/// A message's place in its topic.
pub type At = (u32, u64);

/// Whether something is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum There {
    #[default]
    No,
    /// Its creation has not returned yet.
    Maybe,
    Yes,
}

/// A message that a send returned for, or is sending.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Known once the send has returned.
    pub offset: u64,
    pub number: u64,
    pub len: usize,
    pub key: Option<u8>,
    pub times: Times,
    /// Its dedup id.
    pub id: Option<u8>,
}

/// One partition.
#[derive(Clone, Debug, Default)]
pub struct Log {
    pub sent: Vec<Sent>,
    /// What is being sent: a batch is there as a whole or not at all.
    pub pending: Vec<Sent>,
    /// Numbers of messages whose send returned an error: they are not there (P5).
    pub refused: BTreeSet<u64>,
    /// Those of which no sync has succeeded since: a power loss may find them on the disk that
    /// would not say that it had them.
    pub taken_back: BTreeSet<u64>,
    /// All that was ever sent, by number.
    pub known: BTreeMap<u64, Sent>,
    /// Everything below this offset is promised to be on disk.
    pub durable: u64,
    /// Everything below this offset was taken by retention, when all groups that there were had
    /// settled it.
    pub taken: u64,
    /// Offsets that compaction took.
    pub compacted: BTreeSet<u64>,
    /// Offsets that were not there after a crash, for retention or compaction, or for the crash.
    pub missing: BTreeSet<u64>,
}

impl Log {
    /// No offset at or above it was told to anyone.
    pub fn seen(&self) -> u64 {
        self.sent.last().map_or(0, |last| last.offset + 1)
    }
}

/// One group of a topic.
#[derive(Clone, Debug)]
pub struct Group {
    pub name: &'static str,
    pub ordering: Ordering,
    pub max_attempts: u32,
    /// Whether what is too late becomes a dead letter.
    pub late_die: bool,
    /// Whether it takes none with the key 3.
    pub filtered: bool,
    pub there: There,
    /// Acknowledged, and the call has returned.
    pub acked: BTreeSet<At>,
    /// Dead letters, after the call that made them has returned.
    pub dead: BTreeSet<At>,
    /// What a call under way may settle or give up on.
    pub settling: BTreeSet<At>,
    /// The last hand-out's number.
    pub attempts: BTreeMap<At, u32>,
    /// Failures that there may be at most.
    pub failures: BTreeMap<At, u32>,
    /// Whether a receive is under way, which may fail and bury what has run out.
    pub receiving: bool,
    /// What a settle that returned an error may have settled.
    pub unsure: BTreeSet<At>,
    /// Whether a receive returned an error, which may have handed out and failed anything.
    pub doubtful: bool,
    /// Whether it hands out at most once (P7): what a receive returned is acknowledged by that.
    pub once: bool,
    /// How many messages a receive that is under way may be handing over.
    pub giving: usize,
    /// How many may be gone with receives that did not return them.
    pub may_be_lost: usize,
    /// Whether its dead letters hold their keys (P11).
    pub hold: bool,
    /// The topic of its dead letters, where it is one of their own choice.
    pub letters_to: Option<&'static str>,
    /// What became of them.
    pub letters: Letters,
    /// Settled for good by what is promised to be on disk: a transaction, or a seek.
    pub firm: BTreeSet<At>,
    /// How many letters of a message are of before a seek: they stay, and it may come again.
    pub left: BTreeMap<At, u32>,
    /// What a seek under way changes, and whether it was settled before.
    pub seeking: BTreeMap<At, bool>,
}

impl Group {
    pub fn new(name: &'static str, ordering: Ordering, max_attempts: u32) -> Self {
        Self {
            name,
            ordering,
            max_attempts,
            late_die: false,
            filtered: false,
            there: There::No,
            acked: BTreeSet::new(),
            dead: BTreeSet::new(),
            settling: BTreeSet::new(),
            attempts: BTreeMap::new(),
            failures: BTreeMap::new(),
            receiving: false,
            unsure: BTreeSet::new(),
            doubtful: false,
            once: false,
            giving: 0,
            may_be_lost: 0,
            hold: false,
            letters_to: None,
            letters: Letters::default(),
            firm: BTreeSet::new(),
            left: BTreeMap::new(),
            seeking: BTreeMap::new(),
        }
    }

    /// The same with a filter.
    pub fn filtered(self) -> Self {
        Self {
            filtered: true,
            ..self
        }
    }

    /// Whether its filter takes a message.
    pub fn takes(&self, sent: Option<&Sent>) -> bool {
        !self.filtered || sent.and_then(|sent| sent.key) != Some(3)
    }

    /// The same, handing out at most once.
    pub fn at_most_once(mut self) -> Self {
        self.once = true;
        self
    }

    /// The same, with dead letters that hold their keys.
    pub fn holding(mut self) -> Self {
        self.hold = true;
        self
    }

    /// The same, with dead letters in a topic of this name.
    pub fn letters_to(mut self, topic: &'static str) -> Self {
        self.letters_to = Some(topic);
        self
    }

    /// How many of its letters are of before a seek.
    pub fn left_of(&self, at: At) -> u32 {
        self.left.get(&at).copied().unwrap_or(0)
    }

    pub fn fail(&mut self, at: At) {
        *self.failures.entry(at).or_default() += 1;
    }

    /// Whether a call that has not returned, or returned an error, may have settled it.
    pub fn may_be_settled(&self, at: At) -> bool {
        self.settling.contains(&at) || self.unsure.contains(&at)
    }

    /// Whether it may have become a dead letter, after so many crashes that each may have counted
    /// as a failure.
    pub fn may_be_dead(&self, at: At, crashes: u32) -> bool {
        if self.once {
            // Nothing fails.
            return false;
        }
        let failures = self.failures.get(&at).copied().unwrap_or(0);
        let handed_out = self.attempts.contains_key(&at) || self.receiving || crashes > 1;
        self.doubtful
            || self.may_be_settled(at)
            || self.letters.may_be_redriven(at)
            || (handed_out && failures + crashes + u32::from(self.receiving) >= self.max_attempts)
    }
}

/// One topic.
#[derive(Clone, Debug)]
pub struct Topic {
    pub name: &'static str,
    pub durability: Durability,
    pub there: There,
    pub logs: Vec<Log>,
    pub groups: Vec<Group>,
    /// Whether its messages may have dedup ids.
    pub knows_ids: bool,
    /// Of each of them what the first send returned.
    pub ids: BTreeMap<u8, At>,
    /// Whether of each key only the last message is kept for ever.
    pub compacts: bool,
}

/// All of a store.
#[derive(Clone, Debug, Default)]
pub struct Model {
    pub topics: Vec<Topic>,
    /// Raised whenever the user learns something.
    pub version: u64,
    /// What is being done, for the report of a failure.
    pub doing: String,
    /// The transaction that is being committed.
    pub transaction: Option<Transaction>,
}

impl Model {
    /// No call is under way.
    pub fn settle_down(&mut self) {
        for topic in &mut self.topics {
            topic.groups.iter_mut().for_each(|one| {
                one.receiving = false;
                one.giving = 0;
            });
        }
    }

    /// A sync of everything succeeded.
    pub fn synced(&mut self) {
        for log in self.topics.iter_mut().flat_map(|topic| &mut topic.logs) {
            log.refused.append(&mut log.taken_back);
        }
    }

    /// The call that was under way returned an error.
    pub fn fail(&mut self) {
        for topic in &mut self.topics {
            for log in &mut topic.logs {
                let refused = std::mem::take(&mut log.pending);
                log.taken_back.extend(refused.iter().map(|one| one.number));
            }
            for group in &mut topic.groups {
                group.unsure.append(&mut group.settling);
                group.doubtful |= group.receiving;
                group.may_be_lost += std::mem::take(&mut group.giving);
            }
        }
    }
}

/// The bytes of a message, which tell its number, its length and its key.
pub fn payload(sent: &Sent) -> Vec<u8> {
    let mut payload = vec![(sent.number as u8).wrapping_mul(31) ^ 0xA5; sent.len.max(24)];
    payload[..8].copy_from_slice(&sent.number.to_le_bytes());
    payload[8..16].copy_from_slice(&(sent.len as u64).to_le_bytes());
    payload[16..24].copy_from_slice(&u64::from(sent.key.unwrap_or(0)).to_le_bytes());
    payload
}
