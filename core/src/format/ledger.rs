//! A ledger: what was sent, and where it stands in the log (P8). One kind of file for the tables of
//! a topic's dedup ids and for the ring of a named producer: a header, and entries of one size.
//!
//! Each entry has a sum of its own, so that one that a power loss tore is seen.

use super::VERSION;

/// First word.
pub const MAGIC: u64 = u64::from_le_bytes(*b"LQSENT\0\0");
/// Bytes of the header; the entries follow.
pub const HEADER: usize = 512;
/// Words of an entry.
pub const ENTRY_WORDS: usize = 5;
/// Bytes of an entry.
pub const ENTRY: usize = ENTRY_WORDS * 8;
/// By which the words of a sum are multiplied.
pub const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;
/// The most entries of one file.
pub const CAPACITY_MAX: u64 = 1 << 28;

/// Words of the header. The first two are `MAGIC` and the format version; behind the capacity
/// stands the sum of those before.
pub mod header {
    /// Id of the topic.
    pub const TOPIC: usize = 2;
    /// Number of the table; of a ring the first half of the producer's id.
    pub const OWNER: usize = 3;
    /// Number of entries that there is room for, a power of two.
    pub const CAPACITY: usize = 4;
    /// Of a table: entries that are taken, or a few more. Not covered.
    pub const USED: usize = 8;
}

/// One message that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The hash of its dedup id; or its sequence and the second half of its producer's id.
    pub key: [u64; 2],
    /// Its partition.
    pub partition: u32,
    /// Its offset.
    pub offset: u64,
    /// When it was sent, in ms of the wall clock; 0 in a ring.
    pub stamp_ms: u64,
}

/// What stands in the place of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// Nothing yet.
    Empty,
    /// A whole entry.
    Taken(Entry),
    /// Bytes that are no entry.
    Bad,
}

/// The upper half of all words mixed. Entries are checked by the dozen at each send, so it is a few
/// instructions long; each step can be undone, so that no change of one word is lost on the way.
#[inline]
fn sum(words: &[u64; ENTRY_WORDS]) -> u32 {
    let mix = |sum: u64, word: &u64| {
        let mixed = (sum ^ word).wrapping_mul(FACTOR);
        mixed ^ mixed >> 32
    };
    let all = words.iter().fold(FACTOR, mix);
    (all.wrapping_mul(FACTOR) >> 32) as u32
}

impl Entry {
    /// The entry's words. The first one, which is never 0, is to be stored last.
    #[inline]
    #[must_use]
    pub fn encode(&self) -> [u64; ENTRY_WORDS] {
        let partition = u64::from(self.partition);
        let words = [
            self.key[0],
            self.key[1],
            self.offset,
            self.stamp_ms,
            partition,
        ];
        let sum = u64::from(sum(&words));
        [
            words[0],
            words[1],
            words[2],
            words[3],
            partition | sum << 32,
        ]
    }
}

impl Slot {
    /// What the words say.
    #[inline]
    #[must_use]
    pub fn decode(words: [u64; ENTRY_WORDS]) -> Self {
        if words[0] == 0 {
            return Self::Empty;
        }
        let entry = Entry {
            key: [words[0], words[1]],
            offset: words[2],
            stamp_ms: words[3],
            partition: words[4] as u32,
        };
        match entry.encode() == words {
            true => Self::Taken(entry),
            false => Self::Bad,
        }
    }
}

/// The header's first words.
#[must_use]
pub fn encode_header(topic: u64, owner: u64, capacity: u64) -> [u64; 6] {
    let words = [MAGIC, u64::from(VERSION), topic, owner, capacity];
    let sum = u64::from(sum(&words));
    [words[0], words[1], words[2], words[3], words[4], sum]
}

/// Topic, owner and capacity that a header names; `None` where it is damaged, or says what cannot
/// be.
#[must_use]
pub fn decode_header(words: &[u64; 6]) -> Option<(u64, u64, u64)> {
    let [topic, owner, capacity] =
        [header::TOPIC, header::OWNER, header::CAPACITY].map(|word| words[word]);
    let can_be = capacity.is_power_of_two() && capacity <= CAPACITY_MAX;
    (can_be && encode_header(topic, owner, capacity) == *words).then_some((topic, owner, capacity))
}

/// Bytes of a file with room for so many entries.
#[must_use]
pub fn bytes(capacity: u64) -> u64 {
    HEADER as u64 + capacity * ENTRY as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY_OF_7: Entry = Entry {
        key: [7, 9],
        partition: 1023,
        offset: 5,
        stamp_ms: u64::MAX,
    };

    #[test]
    fn p8_p18_an_entry_round_trips_and_every_flipped_bit_of_it_is_seen() {
        let words = ENTRY_OF_7.encode();
        assert_eq!(Slot::decode(words), Slot::Taken(ENTRY_OF_7));
        assert_eq!(Slot::decode([0; ENTRY_WORDS]), Slot::Empty);
        for bit in 0..ENTRY_WORDS * 64 {
            let mut damaged = words;
            damaged[bit / 64] ^= 1 << (bit % 64);
            assert_eq!(Slot::decode(damaged), Slot::Bad, "bit {bit}");
        }
    }

    #[test]
    fn p18_a_header_is_believed_only_whole() {
        let words = encode_header(3, 4, 1024);
        assert_eq!(decode_header(&words), Some((3, 4, 1024)));
        for bit in 0..words.len() * 64 {
            let mut damaged = words;
            damaged[bit / 64] ^= 1 << (bit % 64);
            assert_eq!(decode_header(&damaged), None, "bit {bit}");
        }
        for capacity in [0, 3, CAPACITY_MAX * 2, u64::MAX] {
            assert_eq!(decode_header(&encode_header(3, 4, capacity)), None);
        }
    }
}
