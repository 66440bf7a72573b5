//! A segment's header page. Records begin behind it.

use super::checksum::crc32;
use super::{VERSION, put, u32_at, u64_at};

/// First bytes of a segment.
pub const MAGIC: [u8; 8] = *b"LQSEGMT\0";
/// Where records begin.
pub const RECORDS: usize = 4096;
/// Bytes that the header's CRC covers.
pub const COVERED: usize = 64;
/// Where the CRC of the header is.
pub const CRC: usize = 64;
/// `u32`: format version.
pub const VERSION_AT: usize = 8;
/// `u32`: the segment's own salt.
pub const SALT: usize = 12;
/// `u64`: offset of the first record.
pub const BASE: usize = 16;
/// `u64`: id of the topic.
pub const TOPIC: usize = 24;
/// `u32`: partition.
pub const PARTITION: usize = 32;
/// `u64`: bytes of the file.
pub const CAPACITY: usize = 40;
/// `u32`: how often the segment was compacted.
pub const LIFE: usize = 48;
/// Size of the first segment of a partition.
pub const SIZE_MIN: u64 = 1 << 20;
/// Size up to which segments double.
pub const SIZE_MAX: u64 = 256 << 20;

/// What a segment's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The segment's own salt.
    pub salt: u32,
    /// Offset of the first record.
    pub base: u64,
    /// Id of the topic.
    pub topic: u64,
    /// Partition.
    pub partition: u32,
    /// Bytes of the file.
    pub capacity: u64,
    /// How often it was compacted: positions of another life mean nothing in this one.
    pub life: u32,
}

impl SegmentHeader {
    /// The salt of its sparse index: one of another life is none of it.
    #[must_use]
    pub fn index_salt(&self) -> u32 {
        self.salt ^ self.life.wrapping_mul(0x9E37_79B9)
    }

    /// The header's bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; COVERED + 4] {
        let mut bytes = [0; COVERED + 4];
        put(&mut bytes, 0, &MAGIC);
        put(&mut bytes, VERSION_AT, &VERSION.to_le_bytes());
        put(&mut bytes, SALT, &self.salt.to_le_bytes());
        put(&mut bytes, BASE, &self.base.to_le_bytes());
        put(&mut bytes, TOPIC, &self.topic.to_le_bytes());
        put(&mut bytes, PARTITION, &self.partition.to_le_bytes());
        put(&mut bytes, CAPACITY, &self.capacity.to_le_bytes());
        put(&mut bytes, LIFE, &self.life.to_le_bytes());
        let crc = crc32(&bytes[..COVERED]);
        put(&mut bytes, CRC, &crc.to_le_bytes());
        bytes
    }

    /// What the bytes say, or what is wrong with them.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() < COVERED + 4 || bytes[..8] != MAGIC {
            return Err("it does not begin with a segment's magic bytes".into());
        }
        if crc32(&bytes[..COVERED]) != u32_at(bytes, CRC) {
            return Err("the checksum of its header is wrong".into());
        }
        let version = u32_at(bytes, VERSION_AT);
        if version != VERSION {
            return Err(format!(
                "it has format version {version}, expected {VERSION}"
            ));
        }
        Ok(Self {
            salt: u32_at(bytes, SALT),
            base: u64_at(bytes, BASE),
            topic: u64_at(bytes, TOPIC),
            partition: u32_at(bytes, PARTITION),
            capacity: u64_at(bytes, CAPACITY),
            life: u32_at(bytes, LIFE),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p3_a_header_round_trips_and_every_flipped_bit_is_seen() {
        let header = SegmentHeader {
            salt: 7,
            base: 99,
            topic: 3,
            partition: 2,
            capacity: SIZE_MIN,
            life: 5,
        };
        let bytes = header.encode();
        assert_eq!(SegmentHeader::decode(&bytes), Ok(header));
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(SegmentHeader::decode(&damaged).is_err(), "bit {bit}");
        }
    }
}
