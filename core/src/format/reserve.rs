//! The reserve of a partition: the offset below which offsets may have been handed out (P4), and up
//! to where the log is known to be on disk. Two slots in two sectors, written in turn; the newer
//! whole one counts.

use super::checksum::crc32;
use super::record::OFFSET_MAX;
use super::{VERSION, put, u32_at, u64_at};

/// Bytes of a slot.
pub const SLOT: usize = 96;
/// Where the two slots are.
pub const SLOTS: [u64; 2] = [0, 512];
/// Bytes of the file.
pub const FILE: u64 = 1024;
/// First bytes of a slot.
pub const MAGIC: [u8; 8] = *b"LQRESRV\0";
/// `u32`: format version.
pub const VERSION_AT: usize = 8;
/// `u32`: 1 if the mark is the exact end and nothing was appended since.
pub const CLEAN: usize = 12;
/// `u64`: generation.
pub const GENERATION: usize = 16;
/// `u64`: no offset at or above it was handed out.
pub const LIMIT: usize = 24;
/// `u64`: segment of the durable mark.
pub const MARK_SEGMENT: usize = 32;
/// `u64`: its position.
pub const MARK_POSITION: usize = 40;
/// `u64`: offset of the first record behind it.
pub const MARK_OFFSET: usize = 48;
/// `i64`: timestamp of the last record before it.
pub const MARK_TIMESTAMP: usize = 56;
/// 16 bytes: id of the start of the host.
pub const BOOT: usize = 64;
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
        put(&mut bytes, VERSION_AT, &VERSION.to_le_bytes());
        put(&mut bytes, CLEAN, &u32::from(self.clean).to_le_bytes());
        put(&mut bytes, GENERATION, &self.generation.to_le_bytes());
        put(&mut bytes, LIMIT, &self.limit.to_le_bytes());
        put(&mut bytes, MARK_SEGMENT, &self.mark_segment.to_le_bytes());
        put(&mut bytes, MARK_POSITION, &self.mark_position.to_le_bytes());
        put(&mut bytes, MARK_OFFSET, &self.mark_offset.to_le_bytes());
        put(
            &mut bytes,
            MARK_TIMESTAMP,
            &self.mark_timestamp.to_le_bytes(),
        );
        put(&mut bytes, BOOT, &self.boot);
        let crc = crc32(&bytes[..CRC]);
        put(&mut bytes, CRC, &crc.to_le_bytes());
        bytes
    }

    /// The slot, if its bytes are whole and say what can be.
    #[must_use]
    pub fn decode(bytes: &[u8; SLOT]) -> Option<Self> {
        let whole = bytes[..8] == MAGIC
            && crc32(&bytes[..CRC]) == u32_at(bytes, CRC)
            && u32_at(bytes, VERSION_AT) == VERSION;
        let mut boot = [0; 16];
        boot.copy_from_slice(&bytes[BOOT..BOOT + 16]);
        let slot = Self {
            generation: u64_at(bytes, GENERATION),
            limit: u64_at(bytes, LIMIT),
            mark_segment: u64_at(bytes, MARK_SEGMENT),
            mark_position: u64_at(bytes, MARK_POSITION),
            mark_offset: u64_at(bytes, MARK_OFFSET),
            mark_timestamp: u64_at(bytes, MARK_TIMESTAMP) as i64,
            clean: u32_at(bytes, CLEAN) == 1,
            boot,
        };
        let numbers = [
            slot.generation,
            slot.limit,
            slot.mark_position,
            slot.mark_offset,
        ];
        let known = slot.mark_segment <= OFFSET_MAX || slot.mark_segment == u64::MAX;
        let can_be = known && numbers.into_iter().all(|number| number <= OFFSET_MAX);
        (whole && can_be).then_some(slot)
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
