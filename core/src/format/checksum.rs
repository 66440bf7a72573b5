//! CRC-32 (the one of zip and Ethernet).

use std::sync::LazyLock;

use crc32fast::Hasher;

/// One that nothing went into. A new one asks what the processor can do, which takes longer than
/// the sum of a short text; so it is asked for once.
static NEW: LazyLock<Hasher> = LazyLock::new(Hasher::new);

/// CRC-32 of the bytes.
#[inline]
#[must_use]
pub fn crc32(bytes: &[u8]) -> u32 {
    let mut hasher = NEW.clone();
    hasher.update(bytes);
    hasher.finalize()
}

/// CRC-32 of the parts one after the other.
#[inline]
#[must_use]
pub fn crc32_parts(parts: &[&[u8]]) -> u32 {
    let mut hasher = NEW.clone();
    for part in parts {
        if !part.is_empty() {
            hasher.update(part);
        }
    }
    hasher.finalize()
}

/// Goes on from the CRC-32 of what came before with so few bytes that how to begin costs as much as
/// their sum. Who begins anew begins with all bits set, and who goes on with the complement of what
/// came before: what is between them goes into the first four bytes.
#[inline]
#[must_use]
pub fn crc32_behind<const LEN: usize>(before: u32, mut bytes: [u8; LEN]) -> u32 {
    const { assert!(LEN >= 4) };
    let first = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) ^ before;
    bytes[..4].copy_from_slice(&first.to_le_bytes());
    crc32(&bytes)
}

/// Goes on from the CRC-32 of what came before.
#[inline]
#[must_use]
pub fn crc32_from(before: u32, bytes: &[u8]) -> u32 {
    let mut hasher = Hasher::new_with_initial(before);
    hasher.update(bytes);
    hasher.finalize()
}

const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let (mut word, mut bit) = (index as u32, 0);
        while bit < 8 {
            word = (word >> 1) ^ ((word & 1) * 0xEDB8_8320);
            bit += 1;
        }
        table[index] = word;
        index += 1;
    }
    table
};

/// The four bytes between what has the CRC-32 `before` and `behind`, if all together have `whole`:
/// there is exactly one answer.
#[must_use]
pub fn crc32_between(before: u32, behind: &[u8], whole: u32) -> u32 {
    let mut state = !whole;
    let back = |state: u32, byte: u8| {
        // The upper byte of an entry names it.
        let entry = TABLE.iter().position(|word| word >> 24 == state >> 24);
        let index = entry.unwrap_or(0);
        (state ^ TABLE[index]) << 8 | (index as u32 ^ u32::from(byte))
    };
    for byte in behind.iter().rev() {
        state = back(state, *byte);
    }
    for _ in 0..4 {
        state = back(state, 0);
    }
    state ^ !before
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_check_value() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        assert_eq!(crc32_from(crc32(b"1234"), b"56789"), 0xCBF4_3926);
        assert_eq!(crc32_parts(&[b"123", b"", b"456789"]), 0xCBF4_3926);
        assert_eq!(crc32_behind(crc32(b"12345"), *b"6789"), 0xCBF4_3926);
        assert_eq!(crc32_behind(crc32(b""), *b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn four_bytes_are_found_from_the_checksum_of_the_whole() {
        let found = crc32_between(crc32(b"12"), b"789", crc32(b"123456789"));
        assert_eq!(found.to_le_bytes(), *b"3456");
    }
}
