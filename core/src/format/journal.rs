//! Layout of `transactions.log`: a header page, then a ring of records, one for each transaction.
//!
//! A record holds no message: these stand in the logs already, whole but for the length word of the
//! first of each partition, which publishes them. Its own length is stored last, and is the step at
//! which all of it has happened.

use super::checksum::{crc32, crc32_parts};
use super::{put, u32_at, u64_at};
use crate::format::VERSION;

/// First bytes of the file.
pub const MAGIC: [u8; 8] = *b"LQTRANS\0";
/// `MAGIC`.
pub const MAGIC_AT: usize = 0;
/// `u32`: format version.
pub const VERSION_AT: usize = 8;
/// `u32`: the file's own salt, never 0, which all sums of records begin with.
pub const SALT: usize = 12;
/// `u64`: bytes of the file.
pub const CAPACITY: usize = 16;
/// `u32`: CRC-32 of what is before.
pub const CRC: usize = 24;
/// Bytes of the header that mean anything.
pub const HEADER: usize = 28;

/// Positions of the two slots that say where the first record is that is still needed.
pub const SLOTS: [u64; 2] = [512, 1024];
/// Bytes of a slot.
pub const SLOT: usize = 36;
/// Where records begin.
pub const RECORDS: u64 = 4096;
/// Records begin at multiples of this.
pub const UNIT: u64 = 64;
/// Bytes of the file.
pub const FILE: u64 = 4 << 20;

/// Fields of a slot.
pub mod slot {
    /// `u64`: generation; the whole slot with the higher one counts.
    pub const GENERATION: usize = 0;
    /// `u64`: place of the first record that is still needed.
    pub const HEAD: usize = 8;
    /// 16 bytes: id of the start of the host.
    pub const BOOT: usize = 16;
    /// `u32`: CRC-32 of what is before.
    pub const CRC: usize = 32;
}

/// Fields of a record.
pub mod record {
    /// `u32`: bytes of the record, stored last; 0 is "nothing here".
    pub const LENGTH: usize = 0;
    /// `u32`: CRC-32 of salt, of bytes 8 to 36, of all behind `HEADER`, and of the length.
    pub const CRC: usize = 4;
    /// `u64`: its number: one more than that of the record before.
    pub const NUMBER: usize = 8;
    /// `u64`: drawn; the tag of its messages, where power loss must not halve it.
    pub const ID: usize = 16;
    /// `u32`: bits.
    pub const FLAGS: usize = 24;
    /// `u32`: how many parts of logs follow.
    pub const SENDS: usize = 28;
    /// `u32`: how many settled deliveries follow those.
    pub const SETTLES: usize = 32;
    /// `u32`: 1 once all is settled; not covered by the CRC.
    pub const APPLIED: usize = 36;
    /// Bytes before the lists.
    pub const HEADER: usize = 40;
    /// Flag: it is on disk, with what it did, before anything is settled.
    pub const SYNC: u32 = 1;
    /// Flag: no transaction; the next record is the first of the ring.
    pub const WRAP: u32 = 2;
}

/// What it appended to one partition.
pub mod send {
    /// `u64`: id of the topic.
    pub const TOPIC: usize = 0;
    /// `u64`: base of the segment.
    pub const SEGMENT: usize = 8;
    /// `u64`: position of the first record there.
    pub const POSITION: usize = 16;
    /// `u64`: offset of the first message.
    pub const OFFSET: usize = 24;
    /// `u32`: partition.
    pub const PARTITION: usize = 32;
    /// `u32`: number of messages.
    pub const COUNT: usize = 36;
    /// `u32`: length word of the first record.
    pub const FIRST: usize = 40;
    /// `u32`: bytes of all of them.
    pub const BYTES: usize = 44;
    /// Bytes of an element.
    pub const SIZE: usize = 48;
}

/// A delivery that it settled.
pub mod settle {
    /// `u64`: id of the group.
    pub const GROUP: usize = 0;
    /// `u64`: id of the topic that the group is in.
    pub const TOPIC: usize = 8;
    /// `u64`: offset.
    pub const OFFSET: usize = 16;
    /// `u32`: partition.
    pub const PARTITION: usize = 24;
    /// `u32`: number of the hand-out.
    pub const ATTEMPT: usize = 28;
    /// `u32`: epoch of the window in which it was handed out.
    pub const EPOCH: usize = 32;
    /// Bytes of an element.
    pub const SIZE: usize = 36;
}

/// A record's number and position in one word: number 48, position in units 16.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// The record's number.
    pub number: u64,
    /// Where it begins.
    pub position: u64,
}

impl Place {
    /// Of the first record of a new file.
    #[must_use]
    pub const fn first() -> Self {
        Self {
            number: 1,
            position: RECORDS,
        }
    }

    /// As one word.
    #[must_use]
    pub fn word(self) -> u64 {
        (self.number << 16) | (self.position / UNIT)
    }

    /// Of a word; `None` where it can be no place (P18).
    #[must_use]
    pub fn of(word: u64) -> Option<Self> {
        let place = Self {
            number: word >> 16,
            position: (word & 0xFFFF) * UNIT,
        };
        (place.number > 0 && (RECORDS..FILE).contains(&place.position)).then_some(place)
    }

    /// Behind a record of this length.
    #[must_use]
    pub fn behind(self, length: u64) -> Self {
        let end = self.position + length.next_multiple_of(UNIT);
        Self {
            number: self.number + 1,
            position: if end >= FILE { RECORDS } else { end },
        }
    }
}

/// The header's bytes.
#[must_use]
pub fn encode_header(salt: u32) -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    put(&mut bytes, MAGIC_AT, &MAGIC);
    put(&mut bytes, VERSION_AT, &VERSION.to_le_bytes());
    put(&mut bytes, SALT, &salt.to_le_bytes());
    put(&mut bytes, CAPACITY, &FILE.to_le_bytes());
    let crc = crc32(&bytes[..CRC]);
    put(&mut bytes, CRC, &crc.to_le_bytes());
    bytes
}

/// The salt of a header, or what is wrong with it.
pub fn decode_header(bytes: &[u8; HEADER]) -> Result<u32, String> {
    if bytes[..8] != MAGIC {
        return Err("its first bytes are not those of a journal".to_owned());
    }
    let (crc, expected) = (u32_at(bytes, CRC), crc32(&bytes[..CRC]));
    if crc != expected {
        return Err(format!(
            "the checksum of its header is {crc:#010x}, expected {expected:#010x}"
        ));
    }
    let (version, capacity) = (u32_at(bytes, VERSION_AT), u64_at(bytes, CAPACITY));
    match (version, capacity, u32_at(bytes, SALT)) {
        (VERSION, FILE, salt) if salt != 0 => Ok(salt),
        _ => Err(format!(
            "it has version {version} and {capacity} bytes, expected version {VERSION} and {FILE}"
        )),
    }
}

/// What a slot says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// The higher one counts.
    pub generation: u64,
    /// The first record that is still needed.
    pub head: Place,
    /// The start of the host in which that was written.
    pub boot: [u8; 16],
}

impl Slot {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; SLOT] {
        let mut bytes = [0; SLOT];
        put(&mut bytes, slot::GENERATION, &self.generation.to_le_bytes());
        put(&mut bytes, slot::HEAD, &self.head.word().to_le_bytes());
        put(&mut bytes, slot::BOOT, &self.boot);
        let crc = crc32(&bytes[..slot::CRC]);
        put(&mut bytes, slot::CRC, &crc.to_le_bytes());
        bytes
    }

    /// Of its bytes; `None` if they are not whole.
    #[must_use]
    pub fn decode(bytes: &[u8; SLOT]) -> Option<Self> {
        if u32_at(bytes, slot::CRC) != crc32(&bytes[..slot::CRC]) {
            return None;
        }
        let mut boot = [0; 16];
        boot.copy_from_slice(&bytes[slot::BOOT..slot::CRC]);
        Some(Self {
            generation: u64_at(bytes, slot::GENERATION),
            head: Place::of(u64_at(bytes, slot::HEAD))?,
            boot,
        })
    }
}

/// What a transaction appended to one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Send {
    /// Id of the topic.
    pub topic: u64,
    /// Partition.
    pub partition: u32,
    /// Base of the segment.
    pub segment: u64,
    /// Position of the first record in it.
    pub position: u64,
    /// Offset of the first message.
    pub offset: u64,
    /// Number of messages.
    pub count: u32,
    /// Length word of the first record.
    pub first: u32,
    /// Bytes of all of them.
    pub bytes: u32,
}

/// A delivery that a transaction settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settle {
    /// Id of the group.
    pub group: u64,
    /// Id of the topic that the group is in.
    pub topic: u64,
    /// Partition.
    pub partition: u32,
    /// Offset.
    pub offset: u64,
    /// Number of the hand-out.
    pub attempt: u32,
    /// Epoch of the window in which that was: a seek ends it (P16).
    pub epoch: u32,
}

/// One transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Drawn; the tag of its messages.
    pub id: u64,
    /// Whether it is on disk before anything is settled.
    pub sync: bool,
    /// Whether it is none, and the next record is the first of the ring.
    pub wrap: bool,
    /// What it appended.
    pub sends: Vec<Send>,
    /// What it settled.
    pub settles: Vec<Settle>,
}

/// Bytes of a record with so many elements.
#[must_use]
pub const fn length_of(sends: usize, settles: usize) -> u64 {
    (record::HEADER + sends * send::SIZE + settles * settle::SIZE) as u64
}

fn sum(bytes: &[u8], salt: u32) -> u32 {
    crc32_parts(&[
        &salt.to_le_bytes(),
        &bytes[record::NUMBER..record::APPLIED],
        &bytes[record::HEADER..],
        &bytes[..record::CRC],
    ])
}

impl Record {
    /// Its bytes, with the length.
    #[must_use]
    pub fn encode(&self, number: u64, salt: u32) -> Vec<u8> {
        let length = length_of(self.sends.len(), self.settles.len());
        let mut bytes = Vec::with_capacity(length as usize);
        bytes.resize(record::HEADER, 0);
        let flags = (u32::from(self.sync) * record::SYNC) | (u32::from(self.wrap) * record::WRAP);
        put(&mut bytes, record::LENGTH, &(length as u32).to_le_bytes());
        put(&mut bytes, record::NUMBER, &number.to_le_bytes());
        put(&mut bytes, record::ID, &self.id.to_le_bytes());
        put(&mut bytes, record::FLAGS, &flags.to_le_bytes());
        let counts = [self.sends.len() as u32, self.settles.len() as u32];
        put(&mut bytes, record::SENDS, &counts[0].to_le_bytes());
        put(&mut bytes, record::SETTLES, &counts[1].to_le_bytes());
        for one in &self.sends {
            for word in [one.topic, one.segment, one.position, one.offset] {
                bytes.extend_from_slice(&word.to_le_bytes());
            }
            for half in [one.partition, one.count, one.first, one.bytes] {
                bytes.extend_from_slice(&half.to_le_bytes());
            }
        }
        for one in &self.settles {
            for word in [one.group, one.topic, one.offset] {
                bytes.extend_from_slice(&word.to_le_bytes());
            }
            for half in [one.partition, one.attempt, one.epoch] {
                bytes.extend_from_slice(&half.to_le_bytes());
            }
        }
        let crc = sum(&bytes, salt);
        put(&mut bytes, record::CRC, &crc.to_le_bytes());
        bytes
    }

    /// The record of this number whose bytes these are, all of them; `None` if they are not whole.
    #[must_use]
    pub fn decode(bytes: &[u8], number: u64, salt: u32) -> Option<Self> {
        if bytes.len() < record::HEADER || u32_at(bytes, record::LENGTH) as usize != bytes.len() {
            return None;
        }
        let (sends, settles) = (u32_at(bytes, record::SENDS), u32_at(bytes, record::SETTLES));
        let expected = u64::from(sends)
            .checked_mul(send::SIZE as u64)?
            .checked_add(u64::from(settles) * settle::SIZE as u64)?;
        if (bytes.len() - record::HEADER) as u64 != expected
            || u64_at(bytes, record::NUMBER) != number
            || u32_at(bytes, record::CRC) != sum(bytes, salt)
        {
            return None;
        }
        let flags = u32_at(bytes, record::FLAGS);
        let (sent, settled) =
            bytes[record::HEADER..].split_at_checked(sends as usize * send::SIZE)?;
        Some(Self {
            id: u64_at(bytes, record::ID),
            sync: flags & record::SYNC != 0,
            wrap: flags & record::WRAP != 0,
            sends: sent.chunks_exact(send::SIZE).map(Send::of).collect(),
            settles: settled.chunks_exact(settle::SIZE).map(Settle::of).collect(),
        })
    }
}

impl Send {
    fn of(bytes: &[u8]) -> Self {
        Self {
            topic: u64_at(bytes, send::TOPIC),
            partition: u32_at(bytes, send::PARTITION),
            segment: u64_at(bytes, send::SEGMENT),
            position: u64_at(bytes, send::POSITION),
            offset: u64_at(bytes, send::OFFSET),
            count: u32_at(bytes, send::COUNT),
            first: u32_at(bytes, send::FIRST),
            bytes: u32_at(bytes, send::BYTES),
        }
    }

    /// The offset behind the last message.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(self.count.into())
    }

    /// The position behind the last record.
    #[must_use]
    pub fn end_position(&self) -> u64 {
        self.position.saturating_add(self.bytes.into())
    }
}

impl Settle {
    fn of(bytes: &[u8]) -> Self {
        Self {
            group: u64_at(bytes, settle::GROUP),
            topic: u64_at(bytes, settle::TOPIC),
            partition: u32_at(bytes, settle::PARTITION),
            offset: u64_at(bytes, settle::OFFSET),
            attempt: u32_at(bytes, settle::ATTEMPT),
            epoch: u32_at(bytes, settle::EPOCH),
        }
    }
}

#[cfg(test)]
mod tests;
