//! What a record's extension says of how it was sent: under a dedup id, or as which message of a
//! named producer (P8). Tables of what was sent are made anew from it.

use super::extension::{CRC_BYTES, DEDUP, PRODUCER};
use super::siphash::siphash128;
use super::{checksum::crc32, u64_at};

/// Bytes of either value: a hash of 16 bytes and a number of 8.
const VALUE: usize = 24;

/// How a message was sent that is not to be sent twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Under a dedup id.
    Dedup {
        /// [`dedup_hash`] of the id.
        hash: [u64; 2],
        /// When, in ms of the wall clock.
        sent_ms: u64,
    },
    /// By a named producer.
    Producer {
        /// [`producer_id`] of its name.
        id: [u64; 2],
        /// The message's number, from 1.
        sequence: u64,
    },
}

impl Origin {
    /// Adds this to an extension, which may be empty.
    pub fn add_to(self, extension: &mut Vec<u8>) {
        if extension.is_empty() {
            extension.extend_from_slice(&[0; CRC_BYTES]);
        }
        let (tag, hash, number) = match self {
            Self::Dedup { hash, sent_ms } => (DEDUP, hash, sent_ms),
            Self::Producer { id, sequence } => (PRODUCER, id, sequence),
        };
        extension.extend_from_slice(&[tag, VALUE as u8]);
        for word in [hash[0], hash[1], number] {
            extension.extend_from_slice(&word.to_le_bytes());
        }
        let crc = crc32(&extension[CRC_BYTES..]);
        extension[..CRC_BYTES].copy_from_slice(&crc.to_le_bytes());
    }

    /// What an extension says; `None` where it says nothing of it, or is damaged.
    #[must_use]
    pub fn of(extension: &[u8]) -> Option<Self> {
        let (crc, mut rest) = extension.split_first_chunk::<CRC_BYTES>()?;
        if u32::from_le_bytes(*crc) != crc32(rest) {
            return None;
        }
        while let Some(([tag, length], behind)) = rest.split_first_chunk::<2>() {
            let (value, next) = behind.split_at_checked(usize::from(*length))?;
            if [DEDUP, PRODUCER].contains(tag) && value.len() == VALUE {
                let hash = [u64_at(value, 0), u64_at(value, 8)];
                let number = u64_at(value, 16);
                return Some(match *tag {
                    DEDUP => Self::Dedup {
                        hash,
                        sent_ms: number,
                    },
                    _ => Self::Producer {
                        id: hash,
                        sequence: number,
                    },
                });
            }
            rest = next;
        }
        None
    }
}

fn hash(topic: u64, kind: u64, bytes: &[u8]) -> [u64; 2] {
    let [low, high] = siphash128([topic, kind], bytes);
    // No entry of a table begins with 0.
    [low.max(1), high]
}

/// By which a topic knows a dedup id again. The key is the topic's id, which was drawn: who only
/// chooses ids cannot make two of one hash, and by chance two among a thousand million have the
/// same one with a probability of 10^-21.
#[must_use]
pub fn dedup_hash(topic: u64, id: &[u8]) -> [u64; 2] {
    hash(topic, u64::from(DEDUP), id)
}

/// By which a topic knows a producer's name again.
#[must_use]
pub fn producer_id(topic: u64, name: &str) -> [u64; 2] {
    hash(topic, u64::from(PRODUCER), name.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::super::extension::{Attributes, letter_group, of_letter};
    use super::*;

    fn samples() -> [Origin; 2] {
        let hash = dedup_hash(7, b"order-1");
        let (id, sequence) = (producer_id(7, "till-3"), u64::MAX);
        [
            Origin::Dedup { hash, sent_ms: 5 },
            Origin::Producer { id, sequence },
        ]
    }

    #[test]
    fn p8_an_origin_round_trips_beside_what_else_the_extension_says() {
        for origin in samples() {
            let plain = Attributes {
                priority: 3,
                deliver_at_ms: Some(9),
                ..Attributes::default()
            };
            for (mut bytes, attributes) in
                [(Vec::new(), Attributes::default()), (plain.encode(), plain)]
            {
                assert_eq!(Origin::of(&bytes), None);
                origin.add_to(&mut bytes);
                assert_eq!(Origin::of(&bytes), Some(origin));
                assert_eq!(Attributes::decode(&bytes), Some(attributes));
                assert_eq!(letter_group(&bytes), None);
            }
        }
        assert_eq!(Origin::of(&of_letter(9)), None);
    }

    #[test]
    fn p3_p18_a_damaged_extension_names_no_origin() {
        for origin in samples() {
            let mut bytes = Vec::new();
            origin.add_to(&mut bytes);
            for bit in 0..bytes.len() * 8 {
                let mut damaged = bytes.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(Origin::of(&damaged), None, "bit {bit}");
            }
            for len in 0..bytes.len() {
                assert_eq!(Origin::of(&bytes[..len]), None, "{len} bytes");
            }
        }
    }

    #[test]
    fn p8_another_topic_knows_an_id_by_another_hash() {
        assert_ne!(dedup_hash(7, b"a"), dedup_hash(8, b"a"));
        assert_ne!(dedup_hash(7, b"a"), producer_id(7, "a"));
    }
}
