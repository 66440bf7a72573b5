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

/// CRC-32 of the bytes of these words, each from its lowest on, behind what has the CRC-32
/// `before`.
#[inline]
#[must_use]
pub fn crc32_of_words(before: u32, words: [u64; 6]) -> u32 {
    #[cfg(target_arch = "x86_64")]
    if let Some(sum) = super::folded::crc32(before, words) {
        return sum;
    }
    crc32_of_stored(before, words)
}

/// CRC-32 of the bytes, and of those of these words behind them, each from its lowest on.
#[inline]
#[must_use]
pub fn crc32_behind(bytes: &[u8], words: [u64; 6]) -> u32 {
    #[cfg(target_arch = "x86_64")]
    if let Some(sum) = super::folded::crc32_behind(bytes, words) {
        return sum;
    }
    crc32_of_words(crc32(bytes), words)
}

fn crc32_of_stored(before: u32, words: [u64; 6]) -> u32 {
    let mut bytes = [0; 48];
    for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    crc32_from(before, &bytes)
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
    }

    #[test]
    fn p3_six_words_have_the_sum_of_their_bytes_whether_or_not_they_are_stored_first() {
        let mut state = 7_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005) ^ (state >> 29);
            state
        };
        let mut cases = vec![
            (0, [0; 6]),
            (u32::MAX, [u64::MAX; 6]),
            (1, [1, 0, 0, 0, 0, 0]),
        ];
        // Each bit alone, and any.
        cases.extend((0..384).map(|bit| {
            let mut words = [0; 6];
            words[bit / 64] = 1_u64 << (bit % 64);
            (0, words)
        }));
        cases.extend((0..1000).map(|_| (next() as u32, [(); 6].map(|()| next()))));
        for (before, words) in cases {
            let sum = crc32_of_words(before, words);
            assert_eq!(sum, crc32_of_stored(before, words), "{before} {words:?}");
        }
        let bytes = *b"a header of 48 bytes, as it stands in the log...";
        let words: Vec<u64> = bytes
            .chunks_exact(8)
            .map(|word| u64::from_le_bytes(word.try_into().expect("eight")))
            .collect();
        let sum = crc32_of_words(crc32(b"before"), words.try_into().expect("six"));
        assert_eq!(sum, crc32_parts(&[b"before", &bytes]));
    }

    #[test]
    fn p3_words_behind_a_body_of_any_length_have_the_sum_of_all_bytes() {
        let words = [1, u64::MAX, 0x0123_4567_89ab_cdef, 0, 1 << 63, 77];
        let stored: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let mut state = 3_u64;
        let body: Vec<u8> = (0..600)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005) ^ (state >> 29);
                (state >> 40) as u8
            })
            .collect();
        for length in 0..300 {
            // From odd places as well.
            for part in [&body[..length], &body[length..2 * length]] {
                let sum = crc32_behind(part, words);
                assert_eq!(sum, crc32_parts(&[part, &stored]), "{length} bytes");
            }
        }
        for (length, bit) in [(16, 0), (100, 799), (200, 900)] {
            let mut flipped = body[..length].to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let sums = [&flipped, &body[..length]].map(|one| crc32_behind(one, words));
            assert_ne!(sums[0], sums[1], "bit {bit} of {length} bytes");
        }
    }

    #[test]
    fn four_bytes_are_found_from_the_checksum_of_the_whole() {
        let found = crc32_between(crc32(b"12"), b"789", crc32(b"123456789"));
        assert_eq!(found.to_le_bytes(), *b"3456");
    }
}
