//! Layout of a sparse index: where in a segment to begin looking for an offset or a time. A cache:
//! it is made from the segment, and made again if anything about it is wrong.
//!
//! ```text
//! 0   magic "LQINDEX1"
//! 8   salt of the segment, 4 bytes; number of entries, 4 bytes
//! 16  CRC-32 of bytes 0 to 16 and of the entries, 4 bytes; 4 bytes of zeros
//! 24  entries of 24 bytes: offset, timestamp in ns, position
//! ```

use super::checksum::crc32;
use super::{u32_at, u64_at};

/// "LQINDEX1".
pub const MAGIC: u64 = u64::from_le_bytes(*b"LQINDEX1");
/// `u32`: salt of the segment.
pub const SALT: usize = 8;
/// `u32`: number of entries.
pub const COUNT: usize = 12;
/// `u32`: CRC-32 of what is before it and of the entries.
pub const CRC: usize = 16;
/// Bytes before the entries.
pub const HEADER: usize = 24;
/// Bytes of an entry.
pub const ENTRY: usize = 24;
/// Bytes of records between two entries, at least.
pub const SPACING: u64 = 64 * 1024;

/// A place in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Offset of the record there.
    pub offset: u64,
    /// Its timestamp.
    pub timestamp_ns: i64,
    /// Its position.
    pub position: u64,
}

fn checksum(head: &[u8], entries: &[u8]) -> u32 {
    crc32(&[head, entries].concat())
}

/// The file's bytes.
#[must_use]
pub fn encode(salt: u32, entries: &[Entry]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + entries.len() * ENTRY);
    bytes.extend_from_slice(&MAGIC.to_le_bytes());
    bytes.extend_from_slice(&salt.to_le_bytes());
    bytes.extend_from_slice(&(entries.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&[0; 8]);
    for entry in entries {
        bytes.extend_from_slice(&entry.offset.to_le_bytes());
        bytes.extend_from_slice(&entry.timestamp_ns.to_le_bytes());
        bytes.extend_from_slice(&entry.position.to_le_bytes());
    }
    let crc = checksum(&bytes[..CRC], &bytes[HEADER..]);
    bytes[CRC..CRC + 4].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// The entries, if these bytes are the whole index of the segment with this salt.
#[must_use]
pub fn decode(bytes: &[u8], salt: u32) -> Option<Vec<Entry>> {
    let entries = bytes.get(HEADER..)?;
    let whole = u64_at(bytes, 0) == MAGIC
        && u32_at(bytes, SALT) == salt
        && u32_at(bytes, COUNT) as usize * ENTRY == entries.len()
        && u32_at(bytes, CRC) == checksum(&bytes[..CRC], entries);
    let entry = |bytes: &[u8]| Entry {
        offset: u64_at(bytes, 0),
        timestamp_ns: u64_at(bytes, 8) as i64,
        position: u64_at(bytes, 16),
    };
    whole.then(|| entries.chunks_exact(ENTRY).map(entry).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p18_an_index_that_is_not_whole_is_none() {
        let entry = |n: u64| Entry {
            offset: n,
            timestamp_ns: -1,
            position: n * 100,
        };
        let entries = [entry(1), entry(7)];
        let bytes = encode(9, &entries);
        assert_eq!(decode(&bytes, 9).as_deref(), Some(&entries[..]));
        assert_eq!(decode(&bytes, 8), None, "of another life of the file");
        for at in 0..bytes.len() {
            assert_eq!(decode(&bytes[..at], 9), None);
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            // The four bytes behind the checksum say nothing.
            assert_eq!(
                decode(&flipped, 9).is_none(),
                !(20..24).contains(&at),
                "{at}"
            );
        }
    }
}
