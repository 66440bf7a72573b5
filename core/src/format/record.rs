//! A record of the log: 48 bytes of header, then extension, key, headers and payload.
//!
//! The CRC covers body, salt, header and length in this order, so that the sum of the body is taken
//! before the partition's lock. The salt is the segment's own, and the offset is covered: bytes of
//! an earlier life of the file never look valid.

use super::checksum::{crc32_behind, crc32_between, crc32_of_words, crc32_parts};
use super::{u32_at, u64_at};

/// Bytes of a record's header.
pub const HEADER: usize = 48;
/// Records begin at multiples of this.
pub const ALIGN: usize = 8;
/// No offset and no position is above this, so that no sum of two overflows, whatever a file says.
pub const OFFSET_MAX: u64 = 1 << 62;
/// `u32`: bytes of the record without padding to `ALIGN`; stored last; 0 is "nothing here yet".
pub const LENGTH: usize = 0;
/// `u32`: CRC-32.
pub const CRC: usize = 4;
/// `u64`: offset.
pub const OFFSET: usize = 8;
/// `i64`: nanoseconds since the Unix epoch.
pub const TIMESTAMP: usize = 16;
/// `u64`: CRC-32 of the key above, murmur2 below; 0 without a key.
pub const KEY_HASH: usize = 24;
/// `u8`: kind.
pub const KIND: usize = 32;
/// `u8`: flags.
pub const FLAGS: usize = 33;
/// `u16`: bytes of the extension.
pub const EXTENSION_LEN: usize = 34;
/// `u32`: bytes of the key.
pub const KEY_LEN: usize = 36;
/// `u32`: bytes of the headers block.
pub const HEADERS_LEN: usize = 40;
/// `u32`: bytes of the payload.
pub const PAYLOAD_LEN: usize = 44;

/// Kind: a message.
pub const MESSAGE: u8 = 1;
/// Kind: nothing; its bytes are passed over.
pub const PADDING: u8 = 2;
/// Kind: the end of the segment; its offset is the base of the next one.
pub const END: u8 = 3;

/// Kind: a large batch that is being copied; its payload length is the number of its records.
pub const RESERVED: u8 = 4;

/// Flag: has a key, which may be empty.
pub const HAS_KEY: u8 = 1;
/// Flag: more records of the same batch follow; recovery keeps a batch whole or not at all.
pub const MORE: u8 = 2;

/// The fields of a header, without length and CRC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The message's number in its partition.
    pub offset: u64,
    /// Nanoseconds since the Unix epoch.
    pub timestamp_ns: i64,
    /// Hash of the key, 0 without one.
    pub key_hash: u64,
    /// `MESSAGE`, `PADDING` or `END`.
    pub kind: u8,
    /// `HAS_KEY`, `MORE`.
    pub flags: u8,
    /// Bytes of the extension.
    pub extension_len: u16,
    /// Bytes of the key.
    pub key_len: u32,
    /// Bytes of the headers block.
    pub headers_len: u32,
    /// Bytes of the payload.
    pub payload_len: u32,
}

impl Header {
    /// Bytes of the whole record without padding.
    #[inline]
    #[must_use]
    pub fn len(&self) -> u64 {
        HEADER as u64 + self.body_len()
    }

    /// Bytes behind the header.
    #[inline]
    #[must_use]
    pub fn body_len(&self) -> u64 {
        u64::from(self.extension_len)
            + u64::from(self.key_len)
            + u64::from(self.headers_len)
            + u64::from(self.payload_len)
    }

    /// Whether the record in `bytes`, header and body, which these are the fields of, has its CRC.
    /// The body of `PADDING` is not covered: nobody reads it.
    #[inline]
    #[must_use]
    pub fn is_of(&self, bytes: &[u8], salt: u32) -> bool {
        match (self.kind, bytes.get(..HEADER)) {
            (MESSAGE, _) => has_sum_of_message(bytes, salt),
            (_, Some(header)) => has_sum(header, bytes.len(), salt),
            (_, None) => false,
        }
    }

    /// The header's bytes with length and CRC.
    ///
    /// They are put together from whole words, which a caller that copies them on can keep in
    /// registers: what is stored in small parts is waited for by who loads it in larger ones.
    #[inline(always)]
    #[must_use]
    pub fn encode(&self, length: u32, salt: u32, body_crc: u32) -> [u8; HEADER] {
        let crc = self.crc(length, salt, body_crc);
        let words = [
            pair(length, crc),
            self.offset,
            self.timestamp_ns as u64,
            self.key_hash,
            pair(self.small(), self.key_len),
            pair(self.headers_len, self.payload_len),
        ];
        let mut bytes = [0; HEADER];
        for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// Kind, flags and the length of the extension.
    #[inline]
    fn small(&self) -> u32 {
        u32::from(self.kind) | u32::from(self.flags) << 8 | u32::from(self.extension_len) << 16
    }

    /// The CRC of a record of this length: behind the body come the salt, the header from its
    /// offset on, and the length.
    #[inline]
    fn crc(&self, length: u32, salt: u32, body_crc: u32) -> u32 {
        // They stand four bytes further on than in the header.
        let across = |low: u64, high: u64| low >> 32 | high << 32;
        let timestamp = self.timestamp_ns as u64;
        let words = [
            pair(salt, self.offset as u32),
            across(self.offset, timestamp),
            across(timestamp, self.key_hash),
            pair((self.key_hash >> 32) as u32, self.small()),
            pair(self.key_len, self.headers_len),
            pair(self.payload_len, length),
        ];
        crc32_of_words(body_crc, words)
    }

    /// The fields of a header's bytes; lengths are not checked.
    #[inline]
    #[must_use]
    pub fn decode(bytes: &[u8; HEADER]) -> Self {
        Self {
            offset: u64_at(bytes, OFFSET),
            timestamp_ns: u64_at(bytes, TIMESTAMP) as i64,
            key_hash: u64_at(bytes, KEY_HASH),
            kind: bytes[KIND],
            flags: bytes[FLAGS],
            extension_len: u16::from_le_bytes([bytes[EXTENSION_LEN], bytes[EXTENSION_LEN + 1]]),
            key_len: u32_at(bytes, KEY_LEN),
            headers_len: u32_at(bytes, HEADERS_LEN),
            payload_len: u32_at(bytes, PAYLOAD_LEN),
        }
    }

    /// Whether it has a key, where these are the header of a message of `length` bytes that has
    /// this offset and no extension; `None` of anything else.
    #[inline]
    #[must_use]
    pub fn has_key_if_plain(bytes: &[u8; HEADER], offset: u64, length: u32) -> Option<bool> {
        let (kind, parts) = (u64_at(bytes, KIND), u64_at(bytes, HEADERS_LEN));
        let body = (kind >> 32) + (parts & u64::from(u32::MAX)) + (parts >> 32);
        let plain = kind & 0xFFFF_00FF == u64::from(MESSAGE)
            && body + HEADER as u64 == u64::from(length)
            && u64_at(bytes, OFFSET) == offset
            && offset <= OFFSET_MAX;
        plain.then_some(bytes[FLAGS] & HAS_KEY != 0)
    }

    /// What a record of `length` bytes can be whose kind is not published yet, while all else of it
    /// is: its flags and the length of its extension stand in the word of the kind.
    pub fn as_published(self, length: u32) -> impl Iterator<Item = Self> {
        let fields = Self {
            kind: MESSAGE,
            extension_len: 0,
            ..self
        };
        let left = u64::from(length).checked_sub(fields.len());
        let extension_len = left.and_then(|left| u16::try_from(left).ok());
        extension_len.into_iter().flat_map(move |extension_len| {
            [0, HAS_KEY, MORE, HAS_KEY | MORE].map(|flags| Self {
                flags,
                extension_len,
                ..fields
            })
        })
    }

    /// Whether kind and lengths can be those of a record of `length` bytes.
    #[inline]
    #[must_use]
    pub fn plausible(&self, length: u32) -> bool {
        if self.offset > OFFSET_MAX {
            return false;
        }
        if self.kind == MESSAGE {
            return self.len() == u64::from(length);
        }
        match self.kind {
            END => length as usize == HEADER,
            PADDING | RESERVED => length as usize >= HEADER,
            _ => false,
        }
    }
}

/// Whether the record in `bytes`, header and body, has its CRC if it is a message: whether it is
/// one is not looked at, and padding has that of a message whose body has the CRC of no bytes.
#[inline]
#[must_use]
pub fn has_sum_of_message(bytes: &[u8], salt: u32) -> bool {
    has_sum(bytes, bytes.len(), salt)
}

/// Whether a header and the body behind it, of a record of this length, have the CRC that it names.
#[inline]
fn has_sum(bytes: &[u8], length: usize, salt: u32) -> bool {
    let Some((header, body)) = bytes.split_first_chunk::<HEADER>() else {
        return false;
    };
    // The words of `crc`, as they stand there.
    let words = [
        pair(salt, u32_at(header, OFFSET)),
        u64_at(header, OFFSET + 4),
        u64_at(header, TIMESTAMP + 4),
        u64_at(header, KEY_HASH + 4),
        u64_at(header, KEY_LEN),
        pair(u32_at(header, PAYLOAD_LEN), length as u32),
    ];
    crc32_behind(body, words) == u32_at(header, CRC)
}

/// CRC-32 of a body: extension, key, headers and payload; taken before the lock.
#[inline]
#[must_use]
pub fn body_crc(parts: [&[u8]; 4]) -> u32 {
    crc32_parts(&parts)
}

/// The record's CRC from the CRC of its body.
#[inline]
#[must_use]
pub fn crc_of(header: &[u8; HEADER], salt: u32, body_crc: u32) -> u32 {
    Header::decode(header).crc(u32_at(header, LENGTH), salt, body_crc)
}

/// The salt with which the record has its CRC. Any record gives one: it is the segment's only where
/// several agree.
#[must_use]
pub fn salt_of(header: &[u8; HEADER], body_crc: u32) -> u32 {
    let mut behind = [0; 44];
    behind[..40].copy_from_slice(&header[OFFSET..]);
    behind[40..].copy_from_slice(&header[..4]);
    crc32_between(body_crc, &behind, u32_at(header, CRC))
}

#[inline]
fn pair(low: u32, high: u32) -> u64 {
    u64::from(low) | u64::from(high) << 32
}

/// Bytes that a record of this length takes up, padding to `ALIGN` included.
#[inline]
#[must_use]
pub const fn padded(length: u64) -> u64 {
    length.next_multiple_of(ALIGN as u64)
}

/// Whether the whole record in `bytes` (header and body, `length` bytes) has its CRC.
#[must_use]
pub fn verify(bytes: &[u8], salt: u32) -> bool {
    let Some(header) = bytes.first_chunk() else {
        return false;
    };
    let (fields, length) = (Header::decode(header), u32_at(header, LENGTH));
    length as usize == bytes.len() && fields.plausible(length) && fields.is_of(bytes, salt)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> (Header, Vec<u8>) {
        let header = Header {
            offset: 77,
            timestamp_ns: 1_700_000_000_000_000_000,
            key_hash: 5,
            kind: MESSAGE,
            flags: HAS_KEY,
            key_len: 3,
            payload_len: 5,
            ..Header::default()
        };
        let sum = body_crc([b"", b"key", b"", b"hello"]);
        let mut bytes = header.encode(header.len() as u32, 42, sum).to_vec();
        bytes.extend_from_slice(b"keyhello");
        (header, bytes)
    }

    #[test]
    fn a_record_round_trips() {
        let (header, bytes) = sample();
        assert!(verify(&bytes, 42));
        assert_eq!(Header::decode(bytes.first_chunk().expect("header")), header);
        // The words whose sum is taken are the bytes that stand there.
        let salt = 42_u32.to_le_bytes();
        let parts: [&[u8]; 4] = [b"keyhello", &salt, &bytes[OFFSET..HEADER], &bytes[..4]];
        assert_eq!(crc32_parts(&parts), u32_at(&bytes, CRC));
    }

    #[test]
    fn p3_every_flipped_bit_is_seen() {
        let (_, bytes) = sample();
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(!verify(&damaged, 42), "bit {bit}");
        }
        assert!(!verify(&bytes, 43), "another segment's salt");
    }

    #[test]
    fn p18_no_bytes_make_the_decoder_panic() {
        let mut state = 9_u64;
        for len in 0..200 {
            let bytes: Vec<u8> = (0..len)
                .map(|_| {
                    state = state
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1);
                    (state >> 33) as u8
                })
                .collect();
            assert!(!verify(&bytes, 0));
        }
    }
}
