//! What is remembered of a partition's compaction: text as of the meta files, replaced whole. A
//! cache and a statistic: without it all is looked at again, and counting begins anew.

use super::meta;
use super::record::OFFSET_MAX;

/// The first word of the file behind the library's name.
pub const KIND: &str = "compacted";

/// What the file says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Below this offset no message has a later one of its key that is below it as well.
    pub below: u64,
    /// Messages that compaction took so far.
    pub messages: u64,
    /// Bytes of their records.
    pub bytes: u64,
}

impl Compacted {
    /// The file's text; `owner` as in the partition's reserve.
    #[must_use]
    pub fn encode(&self, owner: u64) -> String {
        let fields = [
            ("owner", format!("{owner:016x}")),
            ("below", self.below.to_string()),
            ("messages", self.messages.to_string()),
            ("bytes", self.bytes.to_string()),
        ];
        meta::encode(KIND, &fields)
    }

    /// What whole bytes of this partition say; `None` for any others.
    #[must_use]
    pub fn decode(bytes: &[u8], owner: u64) -> Option<Self> {
        let fields = meta::decode(KIND, bytes).ok()?;
        let number = |key: &str| fields.get(key)?.parse::<u64>().ok();
        let whose = u64::from_str_radix(fields.get("owner")?, 16).ok()?;
        let found = Self {
            below: number("below")?,
            messages: number("messages")?,
            bytes: number("bytes")?,
        };
        (whose == owner && found.below <= OFFSET_MAX).then_some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p18_what_is_damaged_or_of_another_partition_says_nothing() {
        let said = Compacted {
            below: 7,
            messages: 5,
            bytes: 300,
        };
        let text = said.encode(0xab).into_bytes();
        assert_eq!(Compacted::decode(&text, 0xab), Some(said));
        assert_eq!(Compacted::decode(&text, 0xac), None);
        for bit in 0..text.len() * 8 {
            let mut damaged = text.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let found = Compacted::decode(&damaged, 0xab);
            assert!(found.is_none_or(|one| one == said), "bit {bit}: {found:?}");
        }
        let beyond = Compacted {
            below: OFFSET_MAX + 1,
            ..said
        };
        assert_eq!(Compacted::decode(beyond.encode(1).as_bytes(), 1), None);
    }
}
