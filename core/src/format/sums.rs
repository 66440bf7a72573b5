//! What a segment's header page says of all that came before it, so that nobody has to walk the log
//! to know how much stands in it. Derived from the records: what is not there is counted.

use super::checksum::crc32;
use super::{put, u32_at, u64_at};

/// `u64`: base of the segment with which these sums began.
pub const FIRST: usize = 128;
/// `u64`: messages since then, before this segment.
pub const MESSAGES: usize = 136;
/// `u64`: bytes of their records.
pub const BYTES: usize = 144;
/// `u64`: bytes of the files of the segments since then.
pub const FILES: usize = 152;
/// `u64`: of a segment that was compacted, messages in it; else 0.
pub const KEPT_MESSAGES: usize = 160;
/// `u64`: and bytes of their records.
pub const KEPT_BYTES: usize = 168;
/// `u32`: CRC of the segment's salt and of bytes 128 to 176, 1 where that is 0; 0 for no sums.
pub const CRC: usize = 176;
/// Behind the last byte of them.
pub const END: usize = 180;
/// `u32`: not 0 once an offset, or bytes, of this segment may be no message's.
pub const GAPS: usize = 512;

/// The sums of a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Base of the segment with which they began: only those of one beginning can be compared.
    pub first: u64,
    /// Messages before this segment.
    pub messages: u64,
    /// Bytes of their records.
    pub bytes: u64,
    /// Bytes of the files before it.
    pub files: u64,
    /// Of a compacted segment: messages in it.
    pub kept_messages: u64,
    /// And bytes of their records.
    pub kept_bytes: u64,
}

impl Sums {
    /// Those of a segment that begins to count.
    #[must_use]
    pub fn beginning(base: u64) -> Self {
        Self {
            first: base,
            ..Self::default()
        }
    }

    /// Bytes `FIRST` to `END` of the header page.
    #[must_use]
    pub fn encode(&self, salt: u32) -> [u8; END - FIRST] {
        let mut bytes = [0; END - FIRST];
        for (at, word) in [
            (FIRST, self.first),
            (MESSAGES, self.messages),
            (BYTES, self.bytes),
            (FILES, self.files),
            (KEPT_MESSAGES, self.kept_messages),
            (KEPT_BYTES, self.kept_bytes),
        ] {
            put(&mut bytes, at - FIRST, &word.to_le_bytes());
        }
        let crc = checksum(&bytes, salt);
        put(&mut bytes, CRC - FIRST, &crc.to_le_bytes());
        bytes
    }

    /// What these bytes say; `None` where they say nothing, or are not whole.
    #[must_use]
    pub fn decode(bytes: &[u8], salt: u32) -> Option<Self> {
        if bytes.len() < END - FIRST || u32_at(bytes, CRC - FIRST) != checksum(bytes, salt) {
            return None;
        }
        let word = |at: usize| u64_at(bytes, at - FIRST);
        Some(Self {
            first: word(FIRST),
            messages: word(MESSAGES),
            bytes: word(BYTES),
            files: word(FILES),
            kept_messages: word(KEPT_MESSAGES),
            kept_bytes: word(KEPT_BYTES),
        })
    }

    /// Whether there are any, whole or not.
    #[must_use]
    pub fn are_kept(bytes: &[u8]) -> bool {
        u32_at(bytes, CRC - FIRST) != 0
    }
}

fn checksum(bytes: &[u8], salt: u32) -> u32 {
    let mut covered = [0; 4 + CRC - FIRST];
    put(&mut covered, 0, &salt.to_le_bytes());
    put(&mut covered, 4, &bytes[..CRC - FIRST]);
    crc32(&covered).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p3_sums_round_trip_and_every_flipped_bit_is_seen() {
        let sums = Sums {
            first: 1,
            messages: 2,
            bytes: 3,
            files: 4,
            kept_messages: 5,
            kept_bytes: 6,
        };
        let bytes = sums.encode(7);
        assert_eq!(Sums::decode(&bytes, 7), Some(sums));
        assert_eq!(Sums::decode(&bytes, 8), None, "another segment's");
        assert!(Sums::are_kept(&bytes) && !Sums::are_kept(&[0; END - FIRST]));
        assert_eq!(Sums::decode(&[0; END - FIRST], 7), None, "none");
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Sums::decode(&damaged, 7), None, "bit {bit}");
        }
    }
}
