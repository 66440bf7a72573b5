//! Bytes to structs and back: pure, without files, clocks or threads.
//!
//! `core/docs/format.md` is the specification; a test compares its tables with the constants here.

pub mod checksum;
pub mod compacted;
pub mod control;
#[cfg(test)]
mod doc_tests;
pub mod export;
pub mod extension;
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod folded;
pub mod headers;
pub mod index;
pub mod journal;
pub mod ledger;
pub mod meta;
pub mod murmur2;
pub mod names;
pub mod origin;
pub mod record;
pub mod reserve;
pub mod segment;
pub mod siphash;
pub mod snapshot;
pub mod sums;
pub mod window;

/// Version of everything on disk.
pub const VERSION: u32 = 1;

/// Reads a little-endian `u32`; the caller has checked the bounds of a fixed-size block.
#[inline]
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..at + 4)
        .map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
}

/// Reads a little-endian `u64`.
#[inline]
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

/// Puts bytes at a place of a block that is large enough.
pub(crate) fn put(block: &mut [u8], at: usize, bytes: &[u8]) {
    block[at..at + bytes.len()].copy_from_slice(bytes);
}
