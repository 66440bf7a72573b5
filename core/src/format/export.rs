//! The native format of an export: a head, then blocks, each with a number of its own and a
//! checksum, then one that says how much there was. It is written and read from the front to the
//! back, so that a pipe will do.

use super::checksum::{crc32, crc32_from};
use super::record::OFFSET_MAX;
use super::{VERSION, put, u32_at, u64_at};

/// First bytes of an export.
pub const MAGIC: [u8; 8] = *b"LQEXPORT";
/// `u32`: format version.
pub const VERSION_AT: usize = 8;
/// `u32`: CRC of bytes 0 to 12.
pub const HEAD_CRC: usize = 12;
/// Bytes of the head; the first block follows.
pub const HEAD: usize = 16;

/// Of a block, `u32`: what it is.
pub const KIND: usize = 0;
/// `u32`: bytes of its body.
pub const LENGTH: usize = 4;
/// `u32`: its number, from 0 on.
pub const NUMBER: usize = 8;
/// `u32`: CRC of bytes 0 to 12 and of the body.
pub const CRC: usize = 12;
/// Bytes before the body.
pub const BLOCK: usize = 16;
/// Most bytes of a body: a message of the largest size, with all that belongs to it.
pub const BODY_MAX: u64 = (1 << 30) + (1 << 20);

/// Kind: a topic: name, then the text of `topic.meta`.
pub const TOPIC: u32 = 1;
/// Kind: messages of a partition: `u32` partition, `u32` how many, then these.
pub const MESSAGES: u32 = 2;
/// Kind: the end of a partition: `u32` partition, 4 bytes of 0, `u64` offset of the next record.
pub const LOG_END: u32 = 3;
/// Kind: a group of the topic: name, then the text of `group.meta`.
pub const GROUP: u32 = 4;
/// Kind: where the group stands in a partition; see `Standing`.
pub const STANDING: u32 = 5;
/// Kind: messages that are open in it, by rising offsets; see `Open`.
pub const OPEN: u32 = 6;
/// Kind: a snapshot of the group: name, then `u64` bytes of its file.
pub const SNAPSHOT: u32 = 7;
/// Kind: a part of the snapshot's file.
pub const PART: u32 = 8;
/// Kind: the end: `u64` topics, groups, messages.
pub const END: u32 = 9;

/// Bytes before each message: `u64` offset, `i64` timestamp, `u32` bytes of the payload, of the key
/// and of the headers block, `u16` bytes of the extension, `u8` 1 with a key, `u8` 0. Extension,
/// key, headers block and payload follow.
pub const MESSAGE: usize = 32;
/// Bytes of a standing: `u32` partition, `u32` number of counters, `u64` epoch, floor, end,
/// `dead_from`, number of open messages; the counters follow, `u64` each.
pub const STANDING_HEAD: usize = 48;
/// Most counters.
pub const COUNTERS_MAX: u32 = 1024;
/// Bytes of an open message: `u64` offset, `u8` state, `u8` how often redriven, `u16` failures,
/// `u32` attempts, `u64` key hash (in a redrive lane), `u64` a time or a place, `u64` first failure
/// in ms since the epoch.
pub const OPEN_BYTES: usize = 40;

/// A block's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// What it is.
    pub kind: u32,
    /// Bytes of its body.
    pub length: u32,
    /// Its number.
    pub number: u32,
    /// Its checksum.
    pub crc: u32,
}

/// The head of an export.
#[must_use]
pub fn head() -> [u8; HEAD] {
    let mut bytes = [0; HEAD];
    put(&mut bytes, 0, &MAGIC);
    put(&mut bytes, VERSION_AT, &VERSION.to_le_bytes());
    let crc = crc32(&bytes[..HEAD_CRC]);
    put(&mut bytes, HEAD_CRC, &crc.to_le_bytes());
    bytes
}

/// The version of a head; or what is wrong with it.
pub fn read_head(bytes: &[u8; HEAD]) -> Result<u32, &'static str> {
    if bytes[..8] != MAGIC {
        return Err("it does not begin as an export does");
    }
    if crc32(&bytes[..HEAD_CRC]) != u32_at(bytes, HEAD_CRC) {
        return Err("the checksum of its head is wrong");
    }
    Ok(u32_at(bytes, VERSION_AT))
}

impl Block {
    /// The header of a block with this body.
    #[must_use]
    pub fn of(kind: u32, number: u32, body: &[u8]) -> [u8; BLOCK] {
        let mut bytes = [0; BLOCK];
        put(&mut bytes, KIND, &kind.to_le_bytes());
        put(&mut bytes, LENGTH, &(body.len() as u32).to_le_bytes());
        put(&mut bytes, NUMBER, &number.to_le_bytes());
        let crc = crc32_from(crc32(&bytes[..CRC]), body);
        put(&mut bytes, CRC, &crc.to_le_bytes());
        bytes
    }

    /// What a header says.
    #[must_use]
    pub fn decode(bytes: &[u8; BLOCK]) -> Self {
        Self {
            kind: u32_at(bytes, KIND),
            length: u32_at(bytes, LENGTH),
            number: u32_at(bytes, NUMBER),
            crc: u32_at(bytes, CRC),
        }
    }

    /// Whether the body is the one that was written.
    #[must_use]
    pub fn is_whole(&self, body: &[u8]) -> bool {
        let bytes = Self::of(self.kind, self.number, body);
        u32_at(&bytes, CRC) == self.crc && body.len() as u64 == u64::from(self.length)
    }
}

/// A name and what follows it.
#[must_use]
pub fn named(name: &str, rest: &[u8]) -> Vec<u8> {
    let mut bytes = (name.len() as u16).to_le_bytes().to_vec();
    bytes.extend_from_slice(name.as_bytes());
    bytes.extend_from_slice(rest);
    bytes
}

/// As `named`, taken apart.
#[must_use]
pub fn read_named(body: &[u8]) -> Option<(&str, &[u8])> {
    let (len, rest) = body.split_first_chunk::<2>()?;
    let (name, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*len)))?;
    Some((std::str::from_utf8(name).ok()?, rest))
}

/// A message of an export.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exported<'a> {
    /// Its offset.
    pub offset: u64,
    /// Nanoseconds since the Unix epoch.
    pub timestamp_ns: i64,
    /// What it says of its delivery, encoded.
    pub extension: &'a [u8],
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The encoded headers.
    pub headers: &'a [u8],
    /// The payload.
    pub payload: &'a [u8],
}

impl<'a> Exported<'a> {
    /// Puts it behind others.
    pub fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.offset.to_le_bytes());
        bytes.extend_from_slice(&self.timestamp_ns.to_le_bytes());
        let key = self.key.unwrap_or_default();
        for part in [self.payload, key, self.headers] {
            bytes.extend_from_slice(&(part.len() as u32).to_le_bytes());
        }
        bytes.extend_from_slice(&(self.extension.len() as u16).to_le_bytes());
        bytes.extend_from_slice(&[u8::from(self.key.is_some()), 0]);
        for part in [self.extension, key, self.headers, self.payload] {
            bytes.extend_from_slice(part);
        }
    }

    /// Takes one off the bytes; `None` where they hold none.
    pub fn decode(bytes: &mut &'a [u8]) -> Option<Self> {
        let (head, mut rest) = bytes.split_at_checked(MESSAGE)?;
        let lens = [16, 20, 24].map(|at| u32_at(head, at) as usize);
        let has_key = head[30] == 1;
        let mut cut = |len: usize| {
            let (part, behind) = rest.split_at_checked(len)?;
            rest = behind;
            Some(part)
        };
        let extension = cut(usize::from(u16::from_le_bytes([head[28], head[29]])))?;
        let (key, headers, payload) = (cut(lens[1])?, cut(lens[2])?, cut(lens[0])?);
        *bytes = rest;
        let known = head[31] == 0 && head[30] <= 1 && (has_key || key.is_empty());
        let offset = u64_at(head, 0);
        (known && offset < OFFSET_MAX).then_some(Self {
            offset,
            timestamp_ns: u64_at(head, 8) as i64,
            extension,
            key: has_key.then_some(key),
            headers,
            payload,
        })
    }
}

/// Where a group stands in a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The partition.
    pub partition: u32,
    /// Raised by each seek.
    pub epoch: u64,
    /// First offset that is not settled.
    pub floor: u64,
    /// First offset that was never looked at.
    pub next: u64,
    /// Offset of the dead-letter topic from which to look for moved messages.
    pub dead_from: u64,
    /// How many messages are open; they follow.
    pub open: u64,
    /// The counters of the window.
    pub counters: Vec<u64>,
}

impl Standing {
    /// The body of its block.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.partition.to_le_bytes().to_vec();
        bytes.extend_from_slice(&(self.counters.len() as u32).to_le_bytes());
        let words = [self.epoch, self.floor, self.next, self.dead_from, self.open];
        for word in words.iter().chain(&self.counters) {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// What a body says, if it can be true.
    #[must_use]
    pub fn decode(body: &[u8]) -> Option<Self> {
        let (head, rest) = body.split_at_checked(STANDING_HEAD)?;
        let word = |number: usize| u64_at(head, 8 + number * 8);
        let count = u32_at(head, 4);
        if count > COUNTERS_MAX || rest.len() != count as usize * 8 {
            return None;
        }
        let found = Self {
            partition: u32_at(head, 0),
            epoch: word(0),
            floor: word(1),
            next: word(2),
            dead_from: word(3),
            open: word(4),
            counters: rest.chunks_exact(8).map(|one| u64_at(one, 0)).collect(),
        };
        let sane = found.floor <= found.next
            && found.next <= OFFSET_MAX
            && found.dead_from <= OFFSET_MAX
            && found.epoch <= u64::from(u32::MAX)
            && found.open <= found.next - found.floor;
        sane.then_some(found)
    }
}

/// A message that is open in a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Open {
    /// Its offset.
    pub offset: u64,
    /// As `window::state` names it.
    pub state: u8,
    /// How often it was redriven while it held its key.
    pub redriven: u8,
    /// How many hand-outs failed.
    pub failures: u16,
    /// How often it was handed out.
    pub attempts: u32,
    /// In a redrive lane the order that it waits in; else 0.
    pub key_hash: u64,
    /// DELAYED, SCHEDULED: until when, in ms since the epoch; HELD: its place among those waiting;
    /// DYING: why, as `window::cause` names it; else 0.
    pub time: u64,
    /// When it first failed, in ms since the epoch; else 0.
    pub first_failed_ms: u64,
}

impl Open {
    /// Puts it behind others.
    pub fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.offset.to_le_bytes());
        bytes.extend_from_slice(&[self.state, self.redriven]);
        bytes.extend_from_slice(&self.failures.to_le_bytes());
        bytes.extend_from_slice(&self.attempts.to_le_bytes());
        for word in [self.key_hash, self.time, self.first_failed_ms] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
    }

    /// All that a body holds; `None` where it holds something else.
    #[must_use]
    pub fn decode_all(body: &[u8]) -> Option<Vec<Self>> {
        let all = body.chunks_exact(OPEN_BYTES);
        if !all.remainder().is_empty() {
            return None;
        }
        Some(
            all.map(|one| Self {
                offset: u64_at(one, 0),
                state: one[8],
                redriven: one[9],
                failures: u16::from_le_bytes([one[10], one[11]]),
                attempts: u32_at(one, 12),
                key_hash: u64_at(one, 16),
                time: u64_at(one, 24),
                first_failed_ms: u64_at(one, 32),
            })
            .collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p18_what_is_encoded_is_decoded_and_what_cannot_be_is_not() {
        let one = Exported {
            offset: 7,
            timestamp_ns: -1,
            extension: b"ext",
            key: Some(b""),
            headers: b"head",
            payload: b"payload",
        };
        let mut bytes = Vec::new();
        one.encode(&mut bytes);
        Exported::default().encode(&mut bytes);
        let mut rest = &bytes[..];
        assert_eq!(Exported::decode(&mut rest), Some(one));
        assert_eq!(Exported::decode(&mut rest), Some(Exported::default()));
        assert!(rest.is_empty());
        for cut in 0..MESSAGE + 14 {
            assert_eq!(Exported::decode(&mut &bytes[..cut]), None, "{cut}");
        }
        let standing = Standing {
            partition: 3,
            epoch: 1,
            floor: 5,
            next: 9,
            dead_from: 2,
            open: 4,
            counters: vec![1, 2],
        };
        assert_eq!(Standing::decode(&standing.encode()), Some(standing.clone()));
        for bad in [
            Standing {
                open: 5,
                ..standing.clone()
            },
            Standing {
                floor: 10,
                ..standing.clone()
            },
            Standing {
                next: u64::MAX,
                ..standing.clone()
            },
            Standing {
                epoch: 1 << 32,
                ..standing.clone()
            },
        ] {
            assert_eq!(Standing::decode(&bad.encode()), None, "{bad:?}");
        }
        let open = Open {
            offset: 5,
            state: 1,
            redriven: 2,
            failures: 3,
            attempts: 4,
            key_hash: 5,
            time: 6,
            first_failed_ms: 7,
        };
        let mut bytes = Vec::new();
        open.encode(&mut bytes);
        assert_eq!(bytes.len(), OPEN_BYTES);
        assert_eq!(Open::decode_all(&bytes), Some(vec![open]));
        assert_eq!(Open::decode_all(&bytes[1..]), None);
    }

    #[test]
    fn p18_each_changed_byte_of_a_block_is_seen() {
        let body = named("orders", b"text");
        assert_eq!(read_named(&body), Some(("orders", &b"text"[..])));
        let header = Block::of(TOPIC, 5, &body);
        assert!(Block::decode(&header).is_whole(&body));
        for place in 0..BLOCK {
            let mut changed = header;
            changed[place] ^= 1;
            assert!(!Block::decode(&changed).is_whole(&body), "{place}");
        }
        for place in 0..body.len() {
            let mut changed = body.clone();
            changed[place] ^= 1;
            assert!(!Block::decode(&header).is_whole(&changed), "{place}");
        }
        assert_eq!(read_head(&head()), Ok(VERSION));
        for place in 0..HEAD {
            let mut changed = head();
            changed[place] ^= 1;
            read_head(&changed).expect_err("changed");
        }
    }
}
