//! The last offset of each key, in bounded memory.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};

/// Keys that one pass knows at most: the table then has 2^21 places of 25 bytes, about 50 MiB.
pub const KEYS_MAX: usize = (1 << 21) / 8 * 7;

/// Takes what is a hash already.
#[derive(Default)]
pub(super) struct Taken(u64);

impl Hasher for Taken {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = word;
    }
}

/// 128 bits of a key, by two keyed hashes whose keys are drawn for each pass: nobody can choose
/// keys that are taken for each other, and by chance none are.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Print(u64, u64);

impl std::hash::Hash for Print {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0);
    }
}

/// Which offset is the last of each key, as far as was looked.
pub(super) struct Latest {
    by: (RandomState, RandomState),
    known: HashMap<Print, u64, BuildHasherDefault<Taken>>,
    most: usize,
}

impl Latest {
    /// Of so many keys at most.
    pub(super) fn new(most: usize) -> Self {
        Self {
            by: (RandomState::new(), RandomState::new()),
            known: HashMap::default(),
            most: most.max(1),
        }
    }

    fn print(&self, key: &[u8]) -> Print {
        Print(self.by.0.hash_one(key), self.by.1.hash_one(key))
    }

    /// A later message of a key; false where there is no room for another key.
    pub(super) fn learn(&mut self, key: &[u8], offset: u64) -> bool {
        let (print, full) = (self.print(key), self.known.len() >= self.most);
        match self.known.entry(print) {
            Entry::Occupied(mut known) => {
                known.insert(offset);
                true
            }
            Entry::Vacant(_) if full => false,
            Entry::Vacant(place) => {
                place.insert(offset);
                true
            }
        }
    }

    /// Whether there is a later message of the key than this one.
    pub(super) fn has_later(&self, key: &[u8], offset: u64) -> bool {
        let found = self.known.get(&self.print(key));
        found.is_some_and(|last| *last > offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p15_the_last_of_each_key_is_known_up_to_a_bound() {
        let mut latest = Latest::new(2);
        assert!(latest.learn(b"a", 0) && latest.learn(b"b", 1) && latest.learn(b"a", 2));
        assert!(!latest.learn(b"c", 3), "no room");
        assert!(latest.learn(b"b", 4), "one that is known");
        assert!(latest.has_later(b"a", 0) && !latest.has_later(b"a", 2));
        assert!(latest.has_later(b"b", 1) && !latest.has_later(b"c", 0));
        assert!(!latest.learn(b"", 5) && !latest.has_later(b"", 0));
    }

    #[test]
    fn p19_a_full_table_has_the_size_that_is_said() {
        // As the standard library's tables grow: seven eighths of a power of two.
        let table: HashMap<Print, u64> = HashMap::with_capacity(KEYS_MAX);
        assert_eq!(table.capacity(), KEYS_MAX);
        assert_eq!(size_of::<(Print, u64)>(), 24);
    }
}
