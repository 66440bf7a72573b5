//! The reserve of a partition: the offset below which offsets may have been handed out (P4), and up
//! to where the log is known to be on disk. Two slots in two sectors, written in turn; the newer
//! whole one counts.

use super::checksum::{crc32, crc32_from};
use super::record::OFFSET_MAX;
use super::{VERSION, put, u32_at, u64_at};

/// Bytes of a slot.
pub const SLOT: usize = 112;
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
/// `u64`: id of the topic plus the partition.
pub const OWNER: usize = 80;
/// Where a slot's CRC is; it covers what is before.
pub const CRC: usize = 88;
/// `u64`: offsets below it were taken by retention, whatever segments are left of them.
pub const FIRST: usize = 96;
/// Where the CRC of that is; it covers what the slot's CRC covers, and that. An earlier build
/// writes neither.
pub const FIRST_CRC: usize = 104;

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
    /// Whose it is, see [`owner`]; 0 where an earlier build wrote it, which did not say.
    pub owner: u64,
    /// Offsets below this one were taken by retention: the base of a segment, or 0.
    pub first: u64,
}

/// Below which offset retention took all, as a reserve says. What is not before its mark cannot be:
/// the mark's segment never goes.
#[must_use]
pub fn taken_by(reserve: &Reserve) -> u64 {
    match reserve.mark_segment {
        u64::MAX => 0,
        mark => reserve.first.min(mark),
    }
}

/// Whose a reserve is: no two partitions of a store have the same.
#[must_use]
pub fn owner(topic: u64, partition: u32) -> u64 {
    topic.wrapping_add(u64::from(partition))
}

/// Without the CRC in between: a CRC over its own is the same for all bytes before it.
fn first_crc(bytes: &[u8; SLOT]) -> u32 {
    crc32_from(crc32(&bytes[..CRC]), &bytes[FIRST..FIRST_CRC])
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
        put(&mut bytes, OWNER, &self.owner.to_le_bytes());
        let crc = crc32(&bytes[..CRC]);
        put(&mut bytes, CRC, &crc.to_le_bytes());
        if self.first > 0 {
            put(&mut bytes, FIRST, &self.first.to_le_bytes());
            let crc = first_crc(&bytes);
            put(&mut bytes, FIRST_CRC, &crc.to_le_bytes());
        }
        bytes
    }

    /// Whether what the slot says of retention is whole, or was never written. Where it is not, as
    /// after an earlier build wrote the rest of the slot, nothing counts as taken.
    #[must_use]
    pub fn is_first_whole(bytes: &[u8; SLOT]) -> bool {
        bytes[FIRST..].iter().all(|byte| *byte == 0)
            || (first_crc(bytes) == u32_at(bytes, FIRST_CRC)
                && bytes[FIRST_CRC + 4..].iter().all(|byte| *byte == 0))
    }

    /// Whether it is the one of this partition, as far as it says.
    #[must_use]
    pub fn is_of(&self, topic: u64, partition: u32) -> bool {
        [0, owner(topic, partition)].contains(&self.owner)
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
            owner: u64_at(bytes, OWNER),
            first: match Self::is_first_whole(bytes) {
                true => u64_at(bytes, FIRST),
                false => 0,
            },
        };
        let numbers = [
            slot.generation,
            slot.limit,
            slot.mark_position,
            slot.mark_offset,
            slot.first,
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

    #[test]
    fn p15_what_was_taken_is_believed_only_with_the_slot_that_it_was_written_with() {
        let slot = Reserve {
            generation: 3,
            limit: 4096,
            first: 1024,
            ..Reserve::default()
        };
        let bytes = slot.encode();
        assert_eq!(Reserve::decode(&bytes), Some(slot));
        let nothing = Reserve { first: 0, ..slot };
        for bit in FIRST * 8..SLOT * 8 {
            let mut damaged = bytes;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(!Reserve::is_first_whole(&damaged), "bit {bit}");
            assert_eq!(Reserve::decode(&damaged), Some(nothing), "bit {bit}");
        }
        // An earlier build wrote another slot over the beginning.
        let mut mixed = bytes;
        let later = Reserve {
            generation: 4,
            ..nothing
        };
        mixed[..FIRST].copy_from_slice(&later.encode()[..FIRST]);
        assert_eq!(Reserve::decode(&mixed), Some(later));
    }
}
