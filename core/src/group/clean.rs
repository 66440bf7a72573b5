//! A clean close: the window's truth under a checksum, so that damage done to the file while nobody
//! had it open is an error that names it, not a message skipped (P3, P6).

use super::window::{Window, damaged};
use crate::error::Result;
use crate::format::window::{ENTRY_WORDS, header};

/// Words of an entry that are truth; the rest is derived.
const TRUTH: usize = 6;

impl Window {
    fn checksum(&self) -> u32 {
        checksum(&|word| self.head.get(word), &|word| {
            self.entries.region.get(word)
        })
    }

    /// By the last member that leaves: everything on disk, the checksum after what it covers, the
    /// word that says so last. A death in between leaves a window that is taken as not closed.
    pub fn close_clean(&self) -> Result<()> {
        self.file().sync()?;
        self.head.set(header::CRC, u64::from(self.checksum()));
        self.head.set(header::CLEAN, 1);
        self.file().sync()
    }

    /// Before the first change in a new life. The word is cleared on disk before anything else
    /// changes, or a power loss could leave a mixture under a checksum that says whole.
    pub fn open_clean(&self) -> Result<()> {
        if self.head.get(header::CLEAN) == 0 {
            return Ok(());
        }
        let (found, expected) = (self.checksum(), self.head.get(header::CRC));
        if u64::from(found) != expected {
            let what = format!("its checksum is {found:#010x}, expected {expected:#010x}");
            return Err(damaged(self.file().path(), what));
        }
        self.head.set(header::CLEAN, 0);
        self.file().sync()
    }
}

/// CRC-32 of floor, next, epoch, capacity and the entries between, as far as they are truth, of a
/// window whose header and entries are read by word.
pub fn checksum(head: &dyn Fn(usize) -> u64, entries: &dyn Fn(usize) -> u64) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    for word in [
        header::FLOOR,
        header::NEXT,
        header::EPOCH,
        header::CAPACITY,
        header::DEAD_FROM,
    ] {
        crc.update(&head(word).to_le_bytes());
    }
    let mask = head(header::CAPACITY).wrapping_sub(1);
    for offset in head(header::FLOOR)..head(header::NEXT) {
        let first = (offset & mask) as usize * ENTRY_WORDS;
        for word in first..first + TRUTH {
            let value = entries(word);
            // The upper half of word 5 is a link of the key's chain.
            let truth = if word == first + 5 {
                value & 0xFFFF_FFFF
            } else {
                value
            };
            crc.update(&truth.to_le_bytes());
        }
    }
    crc.finalize()
}
