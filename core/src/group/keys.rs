//! One chain per key: its unsettled messages in the order of their offsets. Only the first of a
//! chain may be handed out (P11), however many keys there are.
//!
//! Firsts hang in hash buckets; a first knows the last of its chain, each knows the next.

use super::entry::Entries;
use crate::shm::Region;

/// The buckets.
pub(super) struct Keys {
    pub(super) region: Region,
    pub(super) buckets: usize,
}

impl Keys {
    pub(super) fn clear_all(&self) {
        (0..self.buckets).for_each(|bucket| self.region.set(bucket, 0));
    }

    fn bucket(&self, hash: u64) -> usize {
        (hash.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as usize & (self.buckets - 1)
    }

    /// The first of a key's chain, if it has one.
    fn first(&self, entries: &Entries, hash: u64) -> Option<u32> {
        let mut at = self.region.get(self.bucket(hash)) as u32;
        while at != 0 && entries.key_hash(at - 1) != hash {
            at = entries.hash_next(at - 1);
        }
        at.checked_sub(1)
    }

    /// Whether the message is the first of its key's chain.
    pub(super) fn is_first(&self, entries: &Entries, index: u32) -> bool {
        self.first(entries, entries.key_hash(index)) == Some(index)
    }

    /// Appends the message to its key's chain. Whether it is the first of it.
    pub(super) fn join(&self, entries: &Entries, index: u32, hash: u64) -> bool {
        if let Some(first) = self.first(entries, hash) {
            let tail = entries.key_tail(first);
            entries.set_key_next(tail - 1, index + 1);
            entries.set_key_tail(first, index + 1);
            return false;
        }
        let bucket = self.bucket(hash);
        entries.set_key_tail(index, index + 1);
        entries.set_hash_next(index, self.region.get(bucket) as u32);
        self.region.set(bucket, u64::from(index) + 1);
        true
    }

    /// The message is done. Where it was the first of its chain the next one takes its place, and
    /// is returned.
    pub(super) fn leave(&self, entries: &Entries, index: u32) -> Option<u32> {
        let bucket = self.bucket(entries.key_hash(index));
        let (mut before, mut at) = (None, self.region.get(bucket) as u32);
        while at != index + 1 {
            let Some(other) = at.checked_sub(1) else {
                self.leave_middle(entries, index);
                return None;
            };
            (before, at) = (Some(other), entries.hash_next(other));
        }
        let next = entries.key_next(index).checked_sub(1);
        let replacement = match next {
            Some(next) => {
                entries.set_key_tail(next, entries.key_tail(index));
                entries.set_hash_next(next, entries.hash_next(index));
                next + 1
            }
            None => entries.hash_next(index),
        };
        match before {
            Some(before) => entries.set_hash_next(before, replacement),
            None => self.region.set(bucket, u64::from(replacement)),
        }
        next
    }

    /// A dying message may be behind others: a power loss took the end of an earlier one back.
    #[cold]
    fn leave_middle(&self, entries: &Entries, index: u32) {
        let Some(first) = self.first(entries, entries.key_hash(index)) else {
            return;
        };
        let mut before = first;
        while entries.key_next(before) != index + 1 {
            let Some(next) = entries.key_next(before).checked_sub(1) else {
                return;
            };
            before = next;
        }
        entries.set_key_next(before, entries.key_next(index));
        if entries.key_tail(first) == index + 1 {
            entries.set_key_tail(first, before + 1);
        }
    }
}
