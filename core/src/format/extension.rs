//! What a record's extension says: when the message is due, when it is too late, how urgent it is.
//!
//! Fields of a tag, a length and a value, behind a checksum of their own: groups go by them before
//! anybody looks at the whole record, and a flipped bit must not make a message wait for ever (P3).

use std::borrow::Cow;

use super::checksum::crc32;
use super::u64_at;

/// Bytes of the checksum; the fields follow.
pub const CRC_BYTES: usize = 4;
/// Tag: `u8`, 0 to 9.
pub const PRIORITY: u8 = 1;
/// Tag: `i64`, ms since the Unix epoch before which the message is handed out to no group.
pub const DELIVER_AT: u8 = 2;
/// Tag: `i64`, ms since the Unix epoch from which on it is handed out no more.
pub const EXPIRES_AT: u8 = 3;
/// Tag: `u64`, the id of the group whose move to the dead letters wrote it; nobody sent it.
pub const LETTER: u8 = 4;
/// Tag: `u64`, the transaction that it was sent in, where a power loss must not halve that.
pub const TRANSACTION: u8 = 5;
/// Tag: 16 bytes, the id of the named producer that sent it, and `u64`, its sequence.
pub const PRODUCER: u8 = 6;
/// Tag: 16 bytes, the hash of its dedup id, and `u64`, when it was sent in ms since the Unix epoch.
pub const DEDUP: u8 = 7;
/// The highest priority.
pub const PRIORITY_MAX: u8 = 9;

/// What a message says of its delivery.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// 0 to 9, the most urgent.
    pub priority: u8,
    /// Ms since the Unix epoch before which it is not handed out.
    pub deliver_at_ms: Option<i64>,
    /// Ms since the Unix epoch from which on it is not handed out any more.
    pub expires_at_ms: Option<i64>,
}

impl Attributes {
    /// Whether this says nothing, so that the record has no extension.
    #[inline]
    #[must_use]
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the message is too late.
    #[inline]
    #[must_use]
    pub fn is_expired(&self, wall_ms: i64) -> bool {
        self.expires_at_ms.is_some_and(|at| at <= wall_ms)
    }

    /// The extension's bytes, none if this says nothing.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        if self.is_plain() {
            return bytes;
        }
        bytes.extend_from_slice(&[0; CRC_BYTES]);
        let mut field = |tag: u8, value: &[u8]| {
            bytes.extend_from_slice(&[tag, value.len() as u8]);
            bytes.extend_from_slice(value);
        };
        if self.priority != 0 {
            field(PRIORITY, &[self.priority]);
        }
        if let Some(at) = self.deliver_at_ms {
            field(DELIVER_AT, &at.to_le_bytes());
        }
        if let Some(at) = self.expires_at_ms {
            field(EXPIRES_AT, &at.to_le_bytes());
        }
        let crc = crc32(&bytes[CRC_BYTES..]);
        bytes[..CRC_BYTES].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// What an extension says; `None` if it is damaged. Tags of later versions are passed over.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut found = Self::default();
        if bytes.is_empty() {
            return Some(found);
        }
        let (crc, mut rest) = bytes.split_first_chunk::<CRC_BYTES>()?;
        if u32::from_le_bytes(*crc) != crc32(rest) {
            return None;
        }
        while let Some(([tag, length], behind)) = rest.split_first_chunk::<2>() {
            let (value, next) = behind.split_at_checked(usize::from(*length))?;
            let time = || (value.len() == 8).then(|| u64_at(value, 0) as i64);
            match *tag {
                PRIORITY => found.priority = (*value.first()?).min(PRIORITY_MAX),
                DELIVER_AT => found.deliver_at_ms = Some(time()?),
                EXPIRES_AT => found.expires_at_ms = Some(time()?),
                _ => {}
            }
            rest = next;
        }
        rest.is_empty().then_some(found)
    }
}

/// The extension of a dead letter of the group with this id, which says nothing of its delivery.
#[must_use]
pub fn of_letter(group: u64) -> Vec<u8> {
    let mut bytes = vec![0; CRC_BYTES];
    bytes.extend_from_slice(&[LETTER, size_of::<u64>() as u8]);
    bytes.extend_from_slice(&group.to_le_bytes());
    let crc = crc32(&bytes[CRC_BYTES..]);
    bytes[..CRC_BYTES].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// The same extension, or one where there was none, of a message of this transaction.
#[must_use]
pub fn of_transaction(extension: &[u8], id: u64) -> Vec<u8> {
    let mut bytes = vec![0; CRC_BYTES];
    bytes.extend_from_slice(extension.get(CRC_BYTES..).unwrap_or_default());
    bytes.extend_from_slice(&[TRANSACTION, 8]);
    bytes.extend_from_slice(&id.to_le_bytes());
    let crc = crc32(&bytes[CRC_BYTES..]);
    bytes[..CRC_BYTES].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// The same extension without what it says of how its message was sent, which is so in its own log
/// only; as it is where it says nothing of that, or is damaged.
#[must_use]
pub fn without_origin(bytes: &[u8]) -> Cow<'_, [u8]> {
    let mut kept = vec![0; CRC_BYTES];
    let mut rest = bytes.get(CRC_BYTES..).unwrap_or_default();
    while let Some(([tag, length], behind)) = rest.split_first_chunk::<2>() {
        let Some((value, next)) = behind.split_at_checked(usize::from(*length)) else {
            return Cow::Borrowed(bytes);
        };
        if ![TRANSACTION, PRODUCER, DEDUP].contains(tag) {
            kept.extend_from_slice(&[*tag, *length]);
            kept.extend_from_slice(value);
        }
        rest = next;
    }
    if kept.len() == bytes.len() || !rest.is_empty() || Attributes::decode(bytes).is_none() {
        return Cow::Borrowed(bytes);
    }
    if kept.len() == CRC_BYTES {
        return Cow::Borrowed(&[]);
    }
    let crc = crc32(&kept[CRC_BYTES..]);
    kept[..CRC_BYTES].copy_from_slice(&crc.to_le_bytes());
    Cow::Owned(kept)
}

/// The transaction that an extension names, if it names one and is whole.
#[must_use]
pub fn transaction(bytes: &[u8]) -> Option<u64> {
    tagged(bytes, TRANSACTION)
}

/// Of the extension of a dead letter the id of its group, which no later group of the name has.
/// What is sent can have any headers, and never this, so that nobody's message is taken for a
/// letter (P12, P18).
#[must_use]
pub fn letter_group(bytes: &[u8]) -> Option<u64> {
    tagged(bytes, LETTER)
}

/// The id behind a tag, if the extension has one and is whole.
fn tagged(bytes: &[u8], wanted: u8) -> Option<u64> {
    let (crc, mut rest) = bytes.split_first_chunk::<CRC_BYTES>()?;
    if u32::from_le_bytes(*crc) != crc32(rest) {
        return None;
    }
    while let Some(([tag, length], behind)) = rest.split_first_chunk::<2>() {
        let (value, next) = behind.split_at_checked(usize::from(*length))?;
        if *tag == wanted {
            return value.try_into().ok().map(u64::from_le_bytes);
        }
        rest = next;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Vec<Attributes> {
        let times = [None, Some(0), Some(-5), Some(i64::MAX), Some(i64::MIN)];
        let mut found = Vec::new();
        for priority in [0, 1, PRIORITY_MAX] {
            for deliver_at_ms in times {
                found.extend(times.map(|expires_at_ms| Attributes {
                    priority,
                    deliver_at_ms,
                    expires_at_ms,
                }));
            }
        }
        found
    }

    #[test]
    fn attributes_round_trip_and_take_no_room_where_there_are_none() {
        assert!(Attributes::default().encode().is_empty());
        for one in samples() {
            assert_eq!(Attributes::decode(&one.encode()), Some(one));
        }
    }

    #[test]
    fn how_it_was_sent_is_left_out_and_nothing_else() {
        for one in samples() {
            let plain = one.encode();
            assert_eq!(without_origin(&plain), plain);
            assert_eq!(without_origin(&of_transaction(&plain, 7)), plain);
            let mut damaged = of_transaction(&plain, 7);
            damaged[0] ^= 1;
            assert_eq!(without_origin(&damaged), damaged);
        }
        assert_eq!(without_origin(&of_letter(9)), of_letter(9));
    }

    #[test]
    fn p3_p18_every_flipped_bit_and_every_cut_is_seen() {
        for one in samples() {
            let bytes = one.encode();
            for bit in 0..bytes.len() * 8 {
                let mut damaged = bytes.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(Attributes::decode(&damaged), None, "{one:?}, bit {bit}");
            }
            for cut in 1..bytes.len() {
                assert_eq!(Attributes::decode(&bytes[..cut]), None, "{one:?}, {cut}");
            }
        }
    }

    #[test]
    fn p12_p18_a_letter_is_told_apart_from_all_that_can_be_sent_and_says_nothing_else() {
        let group = 0x0123_4567_89AB_CDEF;
        let letter = of_letter(group);
        assert_eq!(letter_group(&letter), Some(group));
        assert_eq!(Attributes::decode(&letter), Some(Attributes::default()));
        for one in samples() {
            assert_eq!(letter_group(&one.encode()), None, "{one:?}");
        }
        for bit in 0..letter.len() * 8 {
            let mut damaged = letter.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(letter_group(&damaged), None, "bit {bit}");
        }
        for cut in 0..letter.len() {
            assert_eq!(letter_group(&letter[..cut]), None, "{cut}");
        }
        // Behind what says more, and with lengths that are none.
        let mut more = Attributes {
            priority: 7,
            ..Attributes::default()
        };
        more.deliver_at_ms = Some(i64::from(LETTER));
        let mut beside = vec![9, 200];
        beside.extend_from_slice(&letter[CRC_BYTES..]);
        for (tail, of) in [
            (&letter[CRC_BYTES..], Some(group)),
            (&beside, None),
            (&[LETTER, 0], None),
            (&[LETTER, 7, 0, 0, 0, 0, 0, 0, 0], None),
            (&[LETTER, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0], None),
        ] {
            let mut bytes = more.encode();
            bytes.extend_from_slice(tail);
            let crc = crc32(&bytes[CRC_BYTES..]);
            bytes[..CRC_BYTES].copy_from_slice(&crc.to_le_bytes());
            assert_eq!(letter_group(&bytes), of, "{tail:?}");
        }
    }

    #[test]
    fn p8_the_transaction_of_a_message_stands_beside_what_it_says_of_its_delivery() {
        for one in samples() {
            let bytes = of_transaction(&one.encode(), 77);
            assert_eq!(transaction(&bytes), Some(77));
            assert_eq!(Attributes::decode(&bytes), Some(one));
            assert_eq!(transaction(&one.encode()), None);
            for bit in 0..bytes.len() * 8 {
                let mut damaged = bytes.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(transaction(&damaged), None, "{one:?}, bit {bit}");
            }
        }
    }

    #[test]
    fn a_tag_of_a_later_version_is_passed_over() {
        let mut bytes = Attributes {
            priority: 7,
            ..Attributes::default()
        }
        .encode();
        bytes.extend_from_slice(&[200, 3, 1, 2, 3]);
        let crc = crc32(&bytes[CRC_BYTES..]);
        bytes[..CRC_BYTES].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(Attributes::decode(&bytes).map(|one| one.priority), Some(7));
    }
}
