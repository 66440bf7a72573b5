//! CRC-32 (the one of zip and Ethernet).

use crc32fast::Hasher;

/// CRC-32 of the bytes.
#[must_use]
pub fn crc32(bytes: &[u8]) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(bytes);
    hasher.finalize()
}

/// CRC-32 of the parts one after the other.
#[inline]
#[must_use]
pub fn crc32_parts(parts: &[&[u8]]) -> u32 {
    let mut hasher = Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize()
}

/// Goes on from the CRC-32 of what came before.
#[inline]
#[must_use]
pub fn crc32_from(before: u32, bytes: &[u8]) -> u32 {
    let mut hasher = Hasher::new_with_initial(before);
    hasher.update(bytes);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_check_value() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        assert_eq!(crc32_from(crc32(b"1234"), b"56789"), 0xCBF4_3926);
        assert_eq!(crc32_parts(&[b"123", b"", b"456789"]), 0xCBF4_3926);
    }
}
