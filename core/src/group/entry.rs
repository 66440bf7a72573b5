//! One message's entry: 64 bytes, of which word 0 publishes the state and is written last.
//!
//! The words are laid out in `format::window::entry`.
//!
//! The tag is the low half of the offset and the window's epoch: what an earlier message left in a
//! reused entry, or this one before a seek, is seen as such, also when a power loss mixed old and
//! new sectors.

use std::sync::atomic::Ordering;

use super::take::Hand;
use crate::format::window::{ENTRY_WORDS, entry as at, state};
use crate::shm::Region;

/// The consumer of a message that was taken from the one that had it: no slot has this number, and
/// no receipt is good (P9).
pub(super) const NOBODY: u16 = u16::MAX;
const LOW16: u64 = 0xFFFF;
const LOW32: u64 = 0xFFFF_FFFF;
/// Of the state's word.
const PRIORITY: u64 = 0xF00;
const CYCLES: u64 = 0xF000;
const MS_MAX: u64 = (1 << 48) - 1;

/// The entries of a window, by index.
pub(super) struct Entries {
    pub(super) region: Region,
    /// Of the window's epoch, in all tags.
    pub(super) salt: u32,
}

/// What an entry said.
pub(super) struct Said {
    pub(super) index: u32,
    /// The word of its state.
    pub(super) word: u64,
    pub(super) attempts: u32,
    pub(super) consumer: u16,
    pub(super) key_hash: u64,
}

impl Said {
    #[inline]
    pub(super) fn state(&self) -> u64 {
        self.word & 0xFF
    }
}

#[inline]
fn attempts_of(hand_out: u64) -> u32 {
    (hand_out >> 1 & 0x7FFF_FFFF) as u32
}

#[inline]
fn lease_of(due_ms: u64, consumer: u16) -> u64 {
    due_ms.min(MS_MAX) << 16 | u64::from(consumer)
}

macro_rules! half {
    ($get:ident, $set:ident, $word:expr, $shift:expr) => {
        #[inline]
        pub(super) fn $get(&self, index: u32) -> u32 {
            (self.get(index, $word) >> $shift & LOW32) as u32
        }
        #[inline]
        pub(super) fn $set(&self, index: u32, value: u32) {
            self.change(index, $word, |word| {
                word & !(LOW32 << $shift) | u64::from(value) << $shift
            });
        }
    };
}

impl Entries {
    #[inline]
    fn get(&self, index: u32, word: usize) -> u64 {
        self.region.get(index as usize * ENTRY_WORDS + word)
    }

    #[inline]
    fn set(&self, index: u32, word: usize, value: u64) {
        self.region.set(index as usize * ENTRY_WORDS + word, value);
    }

    #[inline]
    fn change(&self, index: u32, word: usize, to: impl FnOnce(u64) -> u64) {
        self.region.change(index as usize * ENTRY_WORDS + word, to);
    }

    /// What the entry of this offset is known by.
    #[inline]
    fn tag(&self, offset: u64) -> u32 {
        (offset as u32).wrapping_add(self.salt)
    }

    /// Whether the entry speaks of this offset.
    #[inline]
    pub(super) fn is_of(&self, index: u32, offset: u64) -> bool {
        self.says(self.get(index, at::STATE), offset)
    }

    /// Whether an entry with this word of its state speaks of this offset.
    #[inline]
    pub(super) fn says(&self, word: u64, offset: u64) -> bool {
        word >> 32 == u64::from(self.tag(offset))
    }

    /// Whether the entry says that this offset is settled.
    #[inline]
    pub(super) fn is_settled(&self, index: u32, offset: u64) -> bool {
        let word = self.get(index, at::STATE);
        word & 0xFF == state::SETTLED && self.says(word, offset)
    }

    /// Most of what the entry says, with the lock held.
    #[inline]
    pub(super) fn said(&self, index: u32) -> Said {
        let words = self.region.get_all(index as usize * ENTRY_WORDS);
        let [word, hand_out, lease, key_hash] = words;
        Said {
            index,
            word,
            attempts: attempts_of(hand_out),
            consumer: lease as u16,
            key_hash,
        }
    }

    /// Publishes that what it said is settled.
    #[inline]
    pub(super) fn settle(&self, said: &Said) {
        self.publish(said.index, said.word & !0xFF | state::SETTLED);
    }

    /// The entry speaks of nothing.
    pub(super) fn forget(&self, index: u32) {
        self.publish(index, 0);
    }

    /// Whether the entry speaks of an offset that is some rounds of a ring of this size later.
    pub(super) fn is_of_later_round(&self, index: u32, offset: u64, ring: u64) -> bool {
        let word = self.get(index, at::STATE);
        if word == 0 {
            // Never used, or what a power loss left of it: it speaks of nothing (P6).
            return false;
        }
        let tag = (word >> 32) as u32;
        let ahead = tag.wrapping_sub(self.tag(offset));
        ahead != 0 && ahead < 1 << 31 && u64::from(ahead).is_multiple_of(ring)
    }

    #[inline]
    pub(super) fn state(&self, index: u32) -> u64 {
        self.get(index, at::STATE) & 0xFF
    }

    /// Publishes a state, keeping the failures.
    #[inline]
    pub(super) fn set_state(&self, index: u32, state: u64) {
        let kept = self.get(index, at::STATE) & !0xFF;
        self.publish(index, kept | state);
    }

    #[inline]
    fn publish(&self, index: u32, word: u64) {
        self.region.store(
            index as usize * ENTRY_WORDS + at::STATE,
            word,
            Ordering::Release,
        );
    }

    pub(super) fn failures(&self, index: u32) -> u32 {
        (self.get(index, at::STATE) >> 16 & LOW16) as u32
    }

    /// Publishes state and failures as one word.
    pub(super) fn set_failed(&self, index: u32, failures: u32, state: u64) {
        let kept = self.get(index, at::STATE) & (LOW32 << 32 | CYCLES | PRIORITY);
        let failures = u64::from(failures).min(LOW16);
        self.publish(index, kept | failures << 16 | state);
    }

    /// 0 to 15, the most urgent; what is above 9 is damage.
    #[inline]
    pub(super) fn priority(&self, index: u32) -> usize {
        ((self.get(index, at::STATE) & PRIORITY) >> 8) as usize
    }

    /// How often it was redriven, as far as fifteen.
    pub(super) fn cycles(&self, index: u32) -> u32 {
        ((self.get(index, at::STATE) & CYCLES) >> 12) as u32
    }

    /// Publishes as one word a state, no failures, and that it was redriven once more.
    pub(super) fn set_redriven(&self, index: u32, state: u64) {
        let kept = self.get(index, at::STATE) & (LOW32 << 32 | PRIORITY);
        let cycles = u64::from(self.cycles(index) + 1).min(CYCLES >> 12);
        self.publish(index, kept | cycles << 12 | state);
    }

    /// Fills the entry for a message that was never looked at; `word` is its state and priority.
    #[inline]
    pub(super) fn fill(&self, index: u32, offset: u64, position: u32, key: u64, word: u64) {
        let tag = u64::from(self.tag(offset)) << 32;
        let said = [
            (at::HAND_OUT, tag),
            (at::KEY_HASH, key),
            (at::PLACE, u64::from(position)),
        ];
        self.say(index, said, tag | word);
    }

    /// Each word anew, 0 where nothing is said of it, and the state last.
    #[inline]
    fn say<const COUNT: usize>(&self, index: u32, said: [(usize, u64); COUNT], state: u64) {
        let mut words = [0; ENTRY_WORDS - at::HAND_OUT];
        for (word, value) in said {
            words[word - at::HAND_OUT] = value;
        }
        let first = index as usize * ENTRY_WORDS;
        self.region.set_all(first + at::HAND_OUT, words);
        self.publish(index, state);
    }

    /// Fills the entry for a message that was never looked at, and goes to a consumer at once.
    #[inline]
    pub(super) fn fill_leased(
        &self,
        index: u32,
        (offset, position): (u64, u32),
        hand: &Hand,
        timer: u64,
    ) {
        let tag = u64::from(self.tag(offset)) << 32;
        let said = [
            (at::HAND_OUT, tag | 1 << 1 | u64::from(hand.begun)),
            (at::LEASE, lease_of(hand.due_ms, hand.consumer)),
            (at::FAILED, u64::from(hand.batch)),
            (at::PLACE, u64::from(position)),
            (at::TIMER, timer),
        ];
        self.say(index, said, tag | state::LEASED);
    }

    #[inline]
    pub(super) fn attempts(&self, index: u32) -> u32 {
        attempts_of(self.get(index, at::HAND_OUT))
    }

    /// Counts the attempt: before the state says leased (P6).
    #[inline]
    pub(super) fn count_attempt(&self, index: u32) -> u32 {
        let word = self.get(index, at::HAND_OUT);
        let attempts = (word >> 1 & 0x7FFF_FFFF).min(0x7FFF_FFFE) + 1;
        self.set(index, at::HAND_OUT, word & LOW32 << 32 | attempts << 1);
        attempts as u32
    }

    /// Of a dead letter, before its state says that it was redriven: its attempts, and its place in
    /// an order; it has not failed yet.
    pub(super) fn redrive(&self, index: u32, attempts: u32, chain: u64) {
        let tag = self.get(index, at::HAND_OUT) & LOW32 << 32;
        self.set(index, at::HAND_OUT, tag | u64::from(attempts) << 1);
        self.set(index, at::KEY_HASH, chain);
        self.set(index, at::FAILED, 0);
    }

    /// Of an entry that was filled, before its state says anything: what a snapshot knows of it. No
    /// receipt is good before it is handed out again.
    pub(super) fn recall(&self, index: u32, attempts: u32, failures: u32, first_failed_ms: u64) {
        let tag = self.get(index, at::HAND_OUT) & LOW32 << 32;
        self.set(index, at::HAND_OUT, tag | u64::from(attempts) << 1);
        self.set_lease(index, 0, NOBODY);
        self.set_first_failed_ms(index, first_failed_ms);
        self.set_failed(index, failures, self.state(index));
    }

    /// Takes the last counting of an attempt back, and that work on it began.
    pub(super) fn uncount_attempt(&self, index: u32) {
        let word = self.get(index, at::HAND_OUT);
        let attempts = (word >> 1 & 0x7FFF_FFFF).saturating_sub(1);
        self.set(index, at::HAND_OUT, word & LOW32 << 32 | attempts << 1);
    }

    /// Without the lock: says that the consumer works on this hand-out. Another hand-out of the
    /// entry, or another message in it, is left alone.
    pub(super) fn start(&self, index: u32, offset: u64, attempt: u32) {
        let word = u64::from(self.tag(offset)) << 32 | u64::from(attempt) << 1;
        let _ = self
            .region
            .cas(index as usize * ENTRY_WORDS + at::HAND_OUT, word, word | 1);
    }

    /// With the lock: the same, of the last hand-out.
    pub(super) fn mark_started(&self, index: u32) {
        let word = self.get(index, at::HAND_OUT);
        self.set(index, at::HAND_OUT, word | 1);
    }

    pub(super) fn started(&self, index: u32) -> bool {
        self.get(index, at::HAND_OUT) & 1 == 1
    }

    #[inline]
    pub(super) fn due_ms(&self, index: u32) -> u64 {
        self.get(index, at::LEASE) >> 16
    }

    /// Of a message that waits for others of its key: its place among them.
    pub(super) fn turn(&self, index: u32) -> u64 {
        self.due_ms(index)
    }

    #[inline]
    pub(super) fn set_turn(&self, index: u32, turn: u64) {
        self.set_lease(index, turn, self.consumer(index));
    }

    #[inline]
    pub(super) fn consumer(&self, index: u32) -> u16 {
        (self.get(index, at::LEASE) & LOW16) as u16
    }

    #[inline]
    pub(super) fn set_lease(&self, index: u32, due_ms: u64, consumer: u16) {
        self.set(index, at::LEASE, lease_of(due_ms, consumer));
    }

    #[inline]
    pub(super) fn key_hash(&self, index: u32) -> u64 {
        self.get(index, at::KEY_HASH)
    }

    pub(super) fn forget_key(&self, index: u32) {
        self.set(index, at::KEY_HASH, 0);
    }

    /// Of a message that waits for its own time: ms since the epoch.
    pub(super) fn deliver_at_ms(&self, index: u32) -> u64 {
        self.first_failed_ms(index)
    }

    pub(super) fn first_failed_ms(&self, index: u32) -> u64 {
        self.get(index, at::FAILED) >> 16
    }

    pub(super) fn set_first_failed_ms(&self, index: u32, ms: u64) {
        let batch = self.get(index, at::FAILED) & LOW16;
        self.set(index, at::FAILED, ms.min(MS_MAX) << 16 | batch);
    }

    pub(super) fn batch(&self, index: u32) -> u16 {
        (self.get(index, at::FAILED) & LOW16) as u16
    }

    #[inline]
    pub(super) fn set_batch(&self, index: u32, batch: u16) {
        self.change(index, at::FAILED, |word| word & !LOW16 | u64::from(batch));
    }

    /// Position of the record in its segment.
    #[inline]
    pub(super) fn position(&self, index: u32) -> u32 {
        (self.get(index, at::PLACE) & LOW32) as u32
    }

    half!(key_next, set_key_next, at::PLACE, 32);
    half!(key_tail, set_key_tail, at::CHAIN, 0);
    half!(hash_next, set_hash_next, at::CHAIN, 32);
    /// Which comes next where it hangs, and what it hangs in or behind.
    #[inline]
    pub(super) fn timer(&self, index: u32) -> (u32, u32) {
        let word = self.get(index, at::TIMER);
        (word as u32, (word >> 32) as u32)
    }

    half!(timer_next, set_timer_next, at::TIMER, 0);

    #[inline]
    pub(super) fn set_timer_back(&self, index: u32, back: u32) {
        self.change(index, at::TIMER, |word| {
            word & LOW32 | u64::from(back) << 32
        });
    }

    /// Where it hangs in the timer wheel and which comes next, as one word.
    #[inline]
    pub(super) fn set_timer(&self, index: u32, timer: u64) {
        self.set(index, at::TIMER, timer);
    }

    /// Whether the state is one that is not done and not fresh.
    pub(super) fn is_open(&self, index: u32) -> bool {
        !matches!(self.state(index), state::FRESH | state::SETTLED)
    }

    /// Copies an entry, its state last.
    pub(super) fn copy(&self, from: u32, to: u32) {
        for word in at::HAND_OUT..ENTRY_WORDS {
            self.set(to, word, self.get(from, word));
        }
        self.publish(to, self.get(from, at::STATE));
    }
}
