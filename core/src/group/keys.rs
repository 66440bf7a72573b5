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

    /// Appends the message to its key's chain. Whether it is the first of it.
    pub(super) fn join(&self, entries: &Entries, index: u32, hash: u64) -> bool {
        let bucket = self.bucket(hash);
        let mut at = self.region.get(bucket) as u32;
        while at != 0 {
            let first = at - 1;
            if entries.key_hash(first) == hash {
                let tail = entries.key_tail(first);
                entries.set_key_next(tail - 1, index + 1);
                entries.set_key_tail(first, index + 1);
                return false;
            }
            at = entries.hash_next(first);
        }
        entries.set_key_tail(index, index + 1);
        entries.set_hash_next(index, self.region.get(bucket) as u32);
        self.region.set(bucket, u64::from(index) + 1);
        true
    }

    /// The first of its chain is done: the next one takes its place, and is returned.
    pub(super) fn leave(&self, entries: &Entries, index: u32) -> Option<u32> {
        let bucket = self.bucket(entries.key_hash(index));
        let next = entries.key_next(index);
        let (replacement, behind) = if next == 0 {
            (entries.hash_next(index), None)
        } else {
            entries.set_key_tail(next - 1, entries.key_tail(index));
            entries.set_hash_next(next - 1, entries.hash_next(index));
            (next, Some(next - 1))
        };
        let mut at = self.region.get(bucket) as u32;
        if at == index + 1 {
            self.region.set(bucket, u64::from(replacement));
            return behind;
        }
        while at != 0 {
            let before = at - 1;
            at = entries.hash_next(before);
            if at == index + 1 {
                entries.set_hash_next(before, replacement);
                break;
            }
        }
        behind
    }
}
