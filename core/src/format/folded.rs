//! The CRC-32 of a record's header out of registers.
//!
//! A header is put together from words of 8 and 4 bytes a moment before its sum is taken. A general
//! CRC loads 16 bytes at a time, and a processor cannot load what it stored in smaller parts until
//! all of these have reached its cache: that takes longer than the sum. So the words go into the
//! registers that are folded, by the processor's multiplication without carry (Gopal et al., "Fast
//! CRC Computation for Generic Polynomials Using PCLMULQDQ Instruction", Intel 2009). `checksum.rs`
//! is the twin that this agrees with for any words, and takes its place on all other processors.

use std::arch::x86_64::{
    __m128i, _mm_and_si128, _mm_clmulepi64_si128, _mm_cvtsi32_si128, _mm_extract_epi32,
    _mm_set_epi32, _mm_set_epi64x, _mm_srli_si128, _mm_xor_si128,
};

/// What 16 bytes are multiplied with to stand 16 bytes further on: for their first and last eight.
const ON_16: (i64, i64) = (0x1_7519_97d0, 0x0_ccaa_009e);
/// The same for 4 bytes that are to stand 8 bytes further on.
const ON_8: i64 = 0x1_63cd_6124;
/// The polynomial, and 2^64 divided by it: both with their bits the other way round.
const POLYNOMIAL: (i64, i64) = (0x1_DB71_0641, 0x1_F701_1641);

/// CRC-32 of the words' bytes from the lowest on, behind what has the CRC-32 `before`; `None` where
/// the processor has no such multiplication.
#[inline]
pub(super) fn crc32(before: u32, words: [u64; 6]) -> Option<u32> {
    if !(is_x86_feature_detected!("pclmulqdq") && is_x86_feature_detected!("sse4.1")) {
        return None;
    }
    let [a, b, c, d, e, f] = words;
    // SAFETY: the processor was asked for both features that `fold` is compiled for.
    Some(unsafe { fold(before, a, b, c, d, e, f) })
}

/// Six words rather than an array of them, or they would go through memory after all.
#[target_feature(enable = "pclmulqdq,sse4.1")]
fn fold(before: u32, a: u64, b: u64, c: u64, d: u64, e: u64, f: u64) -> u32 {
    let pair = |low: u64, high: u64| _mm_set_epi64x(high as i64, low as i64);
    let low_4 = _mm_set_epi32(0, 0, 0, !0);
    let (on_16, on_8) = (_mm_set_epi64x(ON_16.1, ON_16.0), _mm_set_epi64x(0, ON_8));
    let whole = _mm_set_epi64x(POLYNOMIAL.1, POLYNOMIAL.0);
    let further = |sum: __m128i, next: __m128i| {
        let (first, last) = (
            _mm_clmulepi64_si128::<0x00>(sum, on_16),
            _mm_clmulepi64_si128::<0x11>(sum, on_16),
        );
        _mm_xor_si128(_mm_xor_si128(first, last), next)
    };
    let begin = _mm_xor_si128(pair(a, b), _mm_cvtsi32_si128(!before as i32));
    let sum = further(further(begin, pair(c, d)), pair(e, f));
    // 16 bytes to 12, 12 to 8, and what 8 leave when they are divided by the polynomial.
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
