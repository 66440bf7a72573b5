//! A snapshot: where a group stood in each partition, to be sought later. One checksum over all of
//! it; what it says is believed only if it can be true.

use super::checksum::{crc32, crc32_from};
use super::record::OFFSET_MAX;
use super::{VERSION, put, u32_at, u64_at};

/// First bytes of the file.
pub const MAGIC: [u8; 8] = *b"LQSNAPS\0";
/// `u32`: format version.
pub const VERSION_AT: usize = 8;
/// `u32`: number of partitions.
pub const PARTITIONS: usize = 12;
/// `u64`: id of the group.
pub const GROUP: usize = 16;
/// `i64`: when it was taken, in ns since the epoch.
pub const TAKEN: usize = 24;
/// `u32`: CRC of bytes 0 to 32 and of all behind the header.
pub const CRC: usize = 32;
/// Bytes of the header; the partitions follow.
pub const HEADER: usize = 64;
/// Bytes at the head of each partition: floor, end and number of open messages, `u64` each.
pub const PART: usize = 24;
/// Bytes of an open message, which follow: `u64` offset; `u64` with the first failure in ms since
/// the epoch in bits 63-16 and the failures below; `u32` attempts; 4 bytes of 0.
pub const OPEN: usize = 24;
/// Most open messages of a snapshot.
pub const OPEN_MAX: u64 = 4_194_304;
/// Most bytes of the file.
pub const BYTES_MAX: u64 = HEADER as u64 + 1024 * PART as u64 + OPEN_MAX * OPEN as u64;

/// A message that was not settled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Open {
    /// Its offset.
    pub offset: u64,
    /// How often it was handed out.
    pub attempts: u32,
    /// How many of those failed.
    pub failures: u16,
    /// When it first failed, in ms since the epoch; else 0.
    pub first_failed_ms: u64,
}

/// Where the group stood in a partition: all below the floor was settled, nobody had looked at what
/// is from the end on, and in between those were open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// First offset that was not settled.
    pub floor: u64,
    /// First offset that was never looked at.
    pub end: u64,
    /// What was not settled in between, by rising offsets.
    pub open: Vec<Open>,
}

impl Part {
    /// The open message with this offset.
    #[must_use]
    pub fn find(&self, offset: u64) -> Option<&Open> {
        let place = self.open.binary_search_by_key(&offset, |one| one.offset);
        place.ok().map(|place| &self.open[place])
    }

    /// How many were open from one offset up to another.
    #[must_use]
    pub fn count(&self, from: u64, to: u64) -> u64 {
        let place = |offset| self.open.partition_point(|one| one.offset < offset);
        place(to).saturating_sub(place(from)) as u64
    }
}

/// A group's state at one point of each partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Id of the group.
    pub group: u64,
    /// When it was taken, in ns since the epoch.
    pub taken_ns: i64,
    /// Each partition.
    pub parts: Vec<Part>,
}

impl Snapshot {
    /// Number of open messages.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.parts.iter().map(|part| part.open.len() as u64).sum()
    }

    /// The file's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; HEADER];
        put(&mut bytes, 0, &MAGIC);
        put(&mut bytes, VERSION_AT, &VERSION.to_le_bytes());
        let partitions = self.parts.len() as u32;
        put(&mut bytes, PARTITIONS, &partitions.to_le_bytes());
        put(&mut bytes, GROUP, &self.group.to_le_bytes());
        put(&mut bytes, TAKEN, &self.taken_ns.to_le_bytes());
        for part in &self.parts {
            for word in [part.floor, part.end, part.open.len() as u64] {
                bytes.extend(word.to_le_bytes());
            }
            for one in &part.open {
                bytes.extend(one.offset.to_le_bytes());
                let failed = one.first_failed_ms << 16 | u64::from(one.failures);
                bytes.extend(failed.to_le_bytes());
                bytes.extend(u64::from(one.attempts).to_le_bytes());
            }
        }
        let crc = sum(&bytes);
        put(&mut bytes, CRC, &crc.to_le_bytes());
        bytes
    }

    /// What the bytes say, or what is wrong with them and at which of them.
    pub fn decode(bytes: &[u8]) -> Result<Self, (u64, String)> {
        if bytes.len() < HEADER {
            let len = bytes.len();
            return Err((0, format!("it has {len} bytes, a header has {HEADER}")));
        }
        if bytes[..8] != MAGIC {
            return Err((0, "its magic bytes are wrong".into()));
        }
        let version = u32_at(bytes, VERSION_AT);
        if version != VERSION {
            let what = format!("its version is {version}, expected {VERSION}");
            return Err((VERSION_AT as u64, what));
        }
        let (found, stored) = (sum(bytes), u32_at(bytes, CRC));
        if found != stored {
            let what = format!("its checksum is {found:#010x}, stored is {stored:#010x}");
            return Err((CRC as u64, what));
        }
        if bytes[CRC + 4..HEADER].iter().any(|byte| *byte != 0) {
            let what = "a reserved byte of the header is not zero";
            return Err((CRC as u64 + 4, what.into()));
        }
        let (mut rest, mut parts) = (&bytes[HEADER..], Vec::new());
        for _ in 0..u32_at(bytes, PARTITIONS) {
            let at = (bytes.len() - rest.len()) as u64;
            let found = part(&mut rest);
            parts.push(found.ok_or_else(|| (at, "the partition here cannot be one".to_owned()))?);
        }
        if !rest.is_empty() {
            let at = (bytes.len() - rest.len()) as u64;
            return Err((at, "the file does not end here".into()));
        }
        Ok(Self {
            group: u64_at(bytes, GROUP),
            taken_ns: u64_at(bytes, TAKEN) as i64,
            parts,
        })
    }
}

fn sum(bytes: &[u8]) -> u32 {
    crc32_from(crc32(&bytes[..CRC]), &bytes[HEADER..])
}

/// Takes a partition off the bytes.
fn part(bytes: &mut &[u8]) -> Option<Part> {
    let (head, rest) = bytes.split_at_checked(PART)?;
    let (floor, end) = (u64_at(head, 0), u64_at(head, 8));
    let length = usize::try_from(u64_at(head, 16)).ok()?.checked_mul(OPEN)?;
    let (open, rest) = rest.split_at_checked(length)?;
    *bytes = rest;
    let mut found = Vec::with_capacity(length / OPEN);
    let mut least = floor;
    for one in open.chunks_exact(OPEN) {
        let (offset, failed, attempts) = (u64_at(one, 0), u64_at(one, 8), u64_at(one, 16));
        if offset < least || offset >= end || attempts > 0x7FFF_FFFF {
            return None;
        }
        least = offset + 1;
        found.push(Open {
            offset,
            attempts: attempts as u32,
            failures: failed as u16,
            first_failed_ms: failed >> 16,
        });
    }
    let sane = floor <= end && end <= OFFSET_MAX;
    sane.then_some(Part {
        floor,
        end,
        open: found,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Snapshot {
        let open = |offset, attempts, failures| Open {
            offset,
            attempts,
            failures,
            first_failed_ms: 1_700_000_000_000,
        };
        Snapshot {
            group: 7,
            taken_ns: -1,
            parts: vec![
                Part {
                    floor: 3,
                    end: 9,
                    open: vec![open(3, 1, 0), open(8, 0x7FFF_FFFF, u16::MAX)],
                },
                Part::default(),
            ],
        }
    }

    #[test]
    fn p16_what_is_encoded_is_decoded_and_each_changed_byte_is_seen() {
        let bytes = some().encode();
        assert_eq!(Snapshot::decode(&bytes), Ok(some()));
        for place in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[place] ^= 1;
            Snapshot::decode(&damaged).expect_err("a changed byte");
            Snapshot::decode(&bytes[..place]).expect_err("cut");
        }
        let part = &some().parts[0];
        assert_eq!(
            (part.count(0, 8), part.count(3, 9), part.count(4, 8)),
            (1, 2, 0)
        );
        assert_eq!(part.find(8).map(|one| one.failures), Some(u16::MAX));
        assert_eq!(part.find(4), None);
    }

    #[test]
    fn p18_what_cannot_be_true_is_refused_under_a_good_checksum() {
        let changes: [fn(&mut Snapshot); 5] = [
            |one| one.parts[0].end = 8,
            |one| one.parts[0].floor = 4,
            |one| one.parts[0].open.swap(0, 1),
            |one| one.parts[0].open[0].attempts = 0x8000_0000,
            |one| one.parts[1].end = OFFSET_MAX + 1,
        ];
        for change in changes {
            let mut bad = some();
            change(&mut bad);
            Snapshot::decode(&bad.encode()).expect_err("cannot be true");
        }
        let mut more = some().encode();
        more.extend([0; 8]);
        let crc = sum(&more);
        put(&mut more, CRC, &crc.to_le_bytes());
        assert!(
            Snapshot::decode(&more)
                .expect_err("longer")
                .1
                .contains("end")
        );
        let mut many = some().encode();
        put(&mut many, HEADER + 16, &u64::MAX.to_le_bytes());
        let crc = sum(&many);
        put(&mut many, CRC, &crc.to_le_bytes());
        Snapshot::decode(&many).expect_err("more than the file holds");
    }
}
