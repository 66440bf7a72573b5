//! A file's bytes, read in large pieces.

use std::path::Path;
use std::sync::Arc;

use crate::error::Result;
use crate::format::checksum::crc32_from;
use crate::storage::{Access, Disk, File, Storage};

/// Bytes that are read at once: few at first, since many files are looked at for their head alone.
const PIECE_MIN: u64 = 16 << 10;
const PIECE_MAX: u64 = 1 << 20;

/// An opened file with the piece of it that was read last.
pub(super) struct Bytes {
    file: Arc<dyn File>,
    len: u64,
    start: u64,
    piece: Vec<u8>,
    next_piece: u64,
}

impl Bytes {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = Disk.open(path, Access::Read, 0)?;
        let len = file.len()?;
        Ok(Self {
            file,
            len,
            start: 0,
            piece: Vec::new(),
            next_piece: PIECE_MIN,
        })
    }

    /// Length of the file when it was opened.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Forgets what was read: others may have written since.
    pub(super) fn forget(&mut self) {
        self.piece.clear();
    }

    /// `count` bytes from `at`; `None` if the file ends before.
    pub(super) fn get(&mut self, at: u64, count: u64) -> Result<Option<&[u8]>> {
        let Some(end) = at.checked_add(count).filter(|end| *end <= self.len) else {
            return Ok(None);
        };
        if at < self.start || end > self.start + self.piece.len() as u64 {
            let some = self.next_piece.max(count).min(self.len - at);
            self.next_piece = PIECE_MAX.min(self.next_piece * 2);
            self.piece.clear();
            self.piece.resize(some as usize, 0);
            self.start = at;
            if let Err(error) = self.file.read_at(&mut self.piece, at) {
                self.forget();
                return Err(error);
            }
        }
        let from = (at - self.start) as usize;
        Ok(self.piece.get(from..from + count as usize))
    }

    /// The whole file, if it has at most `most` bytes, else its beginning.
    pub(super) fn head(&mut self, most: u64) -> Result<Vec<u8>> {
        let count = self.len.min(most);
        Ok(self.get(0, count)?.unwrap_or_default().to_vec())
    }

    /// CRC-32 of `count` bytes from `at`, going on from `before`; `None` if the file ends before.
    pub(super) fn crc(&mut self, at: u64, count: u64, before: u32) -> Result<Option<u32>> {
        let (mut sum, mut at, mut left) = (before, at, count);
        while left > 0 {
            // What is read already first, so that records are not read twice.
            let known = (self.start + self.piece.len() as u64).saturating_sub(at);
            let inside = at >= self.start && known > 0;
            let some = left.min(if inside { known } else { PIECE_MAX });
            let Some(bytes) = self.get(at, some)? else {
                return Ok(None);
            };
            sum = crc32_from(sum, bytes);
            (at, left) = (at + some, left - some);
        }
        Ok(Some(sum))
    }

    /// The first byte that is not zero in a part of the file, as far as the file reaches.
    pub(super) fn not_zero(&mut self, from: u64, to: u64) -> Result<Option<u64>> {
        let (mut at, to) = (from, to.min(self.len));
        while at < to {
            let some = PIECE_MIN.min(to - at);
            let bytes = self.get(at, some)?.unwrap_or_default();
            if let Some(place) = bytes.iter().position(|byte| *byte != 0) {
                return Ok(Some(at + place as u64));
            }
            at += some;
        }
        Ok(None)
    }
}
