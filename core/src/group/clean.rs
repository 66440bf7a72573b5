//! A clean close: the window's truth under a checksum, so that damage done to the file while nobody
//! had it open is an error that names it, not a message skipped (P3, P6).

use super::window::{Window, damaged};
use crate::error::Result;
use crate::format::window::{CLOSED, ENTRY_WORDS, OPENING, header, sum_entry, sum_header};

impl Window {
    /// CRC-32 of what is truth in the header and in the entries from floor to next.
    pub fn checksum(&self) -> u32 {
        let mut sum = sum_header(|word| self.head.get(word));
        for offset in self.floor()..self.end() {
            let first = self.index(offset) as usize * ENTRY_WORDS;
            sum = sum_entry(sum, |word| self.entries.region.get(first + word));
        }
        sum
    }

    /// By the last member that leaves: everything on disk, the checksum after what it covers, the
    /// word that says so last. A death in between leaves a window that is taken as not closed. One
    /// that nobody used, or whose checksum was wrong, keeps the one it has: a new one would make
    /// whole what is damaged.
    pub fn close_clean(&self) -> Result<()> {
        if self.head.get(header::CLEAN) != 0 {
            return Ok(());
        }
        self.check_span()?;
        self.syncer().sync()?;
        self.head.set(header::CRC, u64::from(self.checksum()));
        self.head.set(header::CLEAN, CLOSED);
        self.syncer().sync()
    }

    /// After `check`, before the first change in a new life. That the checksum counts no more is on
    /// disk before anything else changes, or a power loss could leave a mixture under a checksum
    /// that says whole. Whoever dies or fails before that leaves `OPENING`, and the next one syncs.
    pub fn open_clean(&self) -> Result<()> {
        if self.head.get(header::CLEAN) == 0 {
            return Ok(());
        }
        self.head.set(header::CLEAN, OPENING);
        self.syncer().sync()?;
        self.head.set(header::CLEAN, 0);
        Ok(())
    }

    /// Before its entries are believed in a new life: whether floor and end can be true (P18), and,
    /// if it was closed cleanly, whether it is as it was then.
    pub fn check(&self) -> Result<()> {
        self.check_span()?;
        if self.head.get(header::CLEAN) != CLOSED {
            return Ok(());
        }
        let (found, expected) = (self.checksum(), self.head.get(header::CRC));
        if u64::from(found) != expected {
            let what = format!("its checksum is {found:#010x}, expected {expected:#010x}");
            return Err(damaged(self.path(), what));
        }
        Ok(())
    }
}
