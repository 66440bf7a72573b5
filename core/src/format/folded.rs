//! The CRC-32 of a record's header out of registers, alone or behind its body.
//!
//! A header is put together from words of 8 and 4 bytes a moment before its sum is taken. A general
//! CRC loads 16 bytes at a time, and a processor cannot load what it stored in smaller parts until
//! all of these have reached its cache: that takes longer than the sum. So the words go into the
//! registers that are folded, by the processor's multiplication without carry (Gopal et al., "Fast
//! CRC Computation for Generic Polynomials Using PCLMULQDQ Instruction", Intel 2009). Behind a
//! short body they are folded on from where that ended, and what is left is divided by the
//! polynomial once. `checksum.rs` is the twin that this agrees with for any bytes and words, and
//! takes its place on all other processors.

use std::arch::x86_64::{
    __m128i, _mm_and_si128, _mm_blendv_epi8, _mm_clmulepi64_si128, _mm_cvtsi32_si128,
    _mm_extract_epi32, _mm_or_si128, _mm_set_epi32, _mm_set_epi64x, _mm_setzero_si128,
    _mm_shuffle_epi8, _mm_srli_si128, _mm_xor_si128,
};

/// What 16 bytes are multiplied with to stand 16 bytes further on: for their first and last eight.
const ON_16: (i64, i64) = (0x1_7519_97d0, 0x0_ccaa_009e);
/// The same for 4 bytes that are to stand 8 bytes further on.
const ON_8: i64 = 0x1_63cd_6124;
/// The polynomial, and 2^64 divided by it: both with their bits the other way round.
const POLYNOMIAL: (i64, i64) = (0x1_DB71_0641, 0x1_F701_1641);

/// Longer bodies are summed by themselves, several parts at once.
const SHORT: usize = 255;
/// From n on: where the first n of 16 bytes go that are moved behind all others, and from 16 + n on
/// where the others go that are moved to their place. What comes from nowhere is 0.
const MOVES: [u8; 48] = {
    let mut moves = [0x80; 48];
    let mut at = 0;
    while at < 16 {
        moves[16 + at] = at as u8;
        at += 1;
    }
    moves
};

/// Whether the processor has what the functions below are compiled for.
#[inline]
fn is_able() -> bool {
    is_x86_feature_detected!("pclmulqdq") && is_x86_feature_detected!("sse4.1")
}

/// CRC-32 of the words' bytes from the lowest on, behind what has the CRC-32 `before`; `None` where
/// the processor has no such multiplication.
#[inline]
pub(super) fn crc32(before: u32, words: [u64; 6]) -> Option<u32> {
    if !is_able() {
        return None;
    }
    let [a, b, c, d, e, f] = words;
    // SAFETY: the processor was asked for both features that `fold` is compiled for.
    Some(unsafe { fold(before, a, b, c, d, e, f) })
}

/// As `crc32` behind bytes; `None` also where these are so few or so many that it takes longer.
#[inline]
pub(super) fn crc32_behind(bytes: &[u8], words: [u64; 6]) -> Option<u32> {
    if !(16..=SHORT).contains(&bytes.len()) || !is_able() {
        return None;
    }
    let [a, b, c, d, e, f] = words;
    // SAFETY: the processor was asked for both features that `fold_behind` is compiled for.
    Some(unsafe { fold_behind(bytes, a, b, c, d, e, f) })
}

/// Six words rather than an array of them, or they would go through memory after all.
#[target_feature(enable = "pclmulqdq,sse4.1")]
fn fold(before: u32, a: u64, b: u64, c: u64, d: u64, e: u64, f: u64) -> u32 {
    let begin = _mm_xor_si128(pair(a, b), _mm_cvtsi32_si128(!before as i32));
    divide(further(further(begin, pair(c, d)), pair(e, f)))
}

/// At least 16 bytes.
#[target_feature(enable = "pclmulqdq,sse4.1")]
fn fold_behind(bytes: &[u8], a: u64, b: u64, c: u64, d: u64, e: u64, f: u64) -> u32 {
    let (blocks, rest) = bytes.as_chunks::<16>();
    let (first, blocks) = blocks.split_first().unwrap_or((&[0; 16], &[]));
    let mut sum = _mm_xor_si128(load(first), _mm_cvtsi32_si128(!0));
    for block in blocks {
        sum = further(sum, load(block));
    }
    if let (false, Some(last)) = (rest.is_empty(), bytes.last_chunk::<16>()) {
        // So many of the 16 bytes go 16 further on, and the others make room for the rest.
        let first = load_from(&MOVES, rest.len());
        let others = _mm_shuffle_epi8(sum, load_from(&MOVES, 16 + rest.len()));
        let rest = _mm_blendv_epi8(load(last), _mm_setzero_si128(), first);
        sum = further(_mm_shuffle_epi8(sum, first), _mm_or_si128(others, rest));
    }
    divide(further(
        further(further(sum, pair(a, b)), pair(c, d)),
        pair(e, f),
    ))
}

#[target_feature(enable = "sse4.1")]
fn load(bytes: &[u8; 16]) -> __m128i {
    let both = u128::from_le_bytes(*bytes);
    pair(both as u64, (both >> 64) as u64)
}

/// 16 of them, from one on that is at most 32.
#[target_feature(enable = "sse4.1")]
fn load_from(bytes: &[u8; 48], from: usize) -> __m128i {
    let rest = bytes.get(from..).and_then(<[u8]>::first_chunk);
    rest.map_or_else(|| _mm_setzero_si128(), |some| load(some))
}

#[target_feature(enable = "sse4.1")]
fn pair(low: u64, high: u64) -> __m128i {
    _mm_set_epi64x(high as i64, low as i64)
}

/// What came so far, 16 bytes further on, where these are next.
#[target_feature(enable = "pclmulqdq,sse4.1")]
fn further(sum: __m128i, next: __m128i) -> __m128i {
    let on_16 = _mm_set_epi64x(ON_16.1, ON_16.0);
    let (first, last) = (
        _mm_clmulepi64_si128::<0x00>(sum, on_16),
        _mm_clmulepi64_si128::<0x11>(sum, on_16),
    );
    _mm_xor_si128(_mm_xor_si128(first, last), next)
}

/// 16 bytes to 12, 12 to 8, and what 8 leave when they are divided by the polynomial.
#[target_feature(enable = "pclmulqdq,sse4.1")]
fn divide(sum: __m128i) -> u32 {
    let low_4 = _mm_set_epi32(0, 0, 0, !0);
    let (on_16, on_8) = (_mm_set_epi64x(ON_16.1, ON_16.0), _mm_set_epi64x(0, ON_8));
    let whole = _mm_set_epi64x(POLYNOMIAL.1, POLYNOMIAL.0);
    let sum = _mm_xor_si128(
        _mm_clmulepi64_si128::<0x10>(sum, on_16),
        _mm_srli_si128::<8>(sum),
    );
    let sum = _mm_xor_si128(
        _mm_clmulepi64_si128::<0x00>(_mm_and_si128(sum, low_4), on_8),
        _mm_srli_si128::<4>(sum),
    );
    let times = _mm_clmulepi64_si128::<0x10>(_mm_and_si128(sum, low_4), whole);
    let taken = _mm_clmulepi64_si128::<0x00>(_mm_and_si128(times, low_4), whole);
    !(_mm_extract_epi32::<1>(_mm_xor_si128(sum, taken)) as u32)
}
