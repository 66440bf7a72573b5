//! The reserve of a partition: the offset below which offsets may have been handed out (P4), and up
//! to where the log is known to be on disk. Two slots in two sectors, written in turn; the newer
//! whole one counts.

use super::checksum::crc32;
use super::{VERSION, put, u32_at, u64_at};

/// Bytes of a slot.
pub const SLOT: usize = 96;
/// Where the two slots are.
pub const SLOTS: [u64; 2] = [0, 512];
/// Bytes of the file.
pub const FILE: u64 = 1024;
/// First bytes of a slot.
pub const MAGIC: [u8; 8] = *b"LQRESRV\0";
/// Where a slot's CRC is; it covers what is before.
pub const CRC: usize = 88;

/// One slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reserve {
    /// The slot with the higher one counts.
    pub generation: u64,
    /// No offset at or above this one was ever handed out.
    pub limit: u64,
    /// Base of the segment in which the durable mark lies.
    pub mark_segment: u64,
    /// Position of the mark in its segment: all before it is on disk.
    pub mark_position: u64,
    /// Offset of the first record behind the mark.
    pub mark_offset: u64,
    /// Timestamp of the last record before the mark.
    pub mark_timestamp: i64,
    /// The mark is the exact end, and nothing was appended since.
    pub clean: bool,
    /// The start of the host in which this was written.
    pub boot: [u8; 16],
}

impl Reserve {
    /// The slot's bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; SLOT] {
        let mut bytes = [0; SLOT];
        put(&mut bytes, 0, &MAGIC);
        put(&mut bytes, 8, &VERSION.to_le_bytes());
        put(&mut bytes, 12, &u32::from(self.clean).to_le_bytes());
        put(&mut bytes, 16, &self.generation.to_le_bytes());
        put(&mut bytes, 24, &self.limit.to_le_bytes());
        put(&mut bytes, 32, &self.mark_segment.to_le_bytes());
        put(&mut bytes, 40, &self.mark_position.to_le_bytes());
        put(&mut bytes, 48, &self.mark_offset.to_le_bytes());
        put(&mut bytes, 56, &self.mark_timestamp.to_le_bytes());
        put(&mut bytes, 64, &self.boot);
        let crc = crc32(&bytes[..CRC]);
        put(&mut bytes, CRC, &crc.to_le_bytes());
        bytes
    }

    /// The slot, if its bytes are whole.
    #[must_use]
    pub fn decode(bytes: &[u8; SLOT]) -> Option<Self> {
        let whole = bytes[..8] == MAGIC
            && crc32(&bytes[..CRC]) == u32_at(bytes, CRC)
            && u32_at(bytes, 8) == VERSION;
        let mut boot = [0; 16];
        boot.copy_from_slice(&bytes[64..80]);
        whole.then(|| Self {
            generation: u64_at(bytes, 16),
            limit: u64_at(bytes, 24),
            mark_segment: u64_at(bytes, 32),
            mark_position: u64_at(bytes, 40),
            mark_offset: u64_at(bytes, 48),
            mark_timestamp: u64_at(bytes, 56) as i64,
            clean: u32_at(bytes, 12) == 1,
            boot,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p4_a_torn_slot_is_not_taken_for_a_whole_one() {
        let slot = Reserve {
            generation: 3,
            limit: 4096,
            clean: true,
            ..Reserve::default()
        };
        let bytes = slot.encode();
        assert_eq!(Reserve::decode(&bytes), Some(slot));
        for bit in 0..(CRC + 4) * 8 {
            let mut damaged = bytes;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Reserve::decode(&damaged), None, "bit {bit}");
        }
    }
}
