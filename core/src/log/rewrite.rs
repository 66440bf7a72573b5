//! After a failed sync: what the disk may not have is taken back, or written again.

use super::segment::Segment;
use super::{Cursor, NONE, Partition, Step};
use crate::error::Result;
use crate::format::control::partition::{PROMISED_SYNC, REWRITTEN};
use crate::format::record::{self, END, HEADER, MESSAGE, PADDING, RESERVED};
use crate::format::segment::RECORDS;

impl Partition {
    /// Where somebody sends with durability `sync`, what is not on disk is taken back, so that
    /// "error" means "not in the log" (P5). Where nobody does, senders were told that it is there,
    /// and it is (P1): it is kept. In both cases all pages are written again, since the kernel
    /// takes them for clean. With the sync lock held; may die anywhere and be done again.
    pub(super) fn rewrite_unsynced(&self) -> Result<()> {
        let _held = self.lock()?;
        if !self.block.needs_rewrite() {
            return Ok(());
        }
        let take_back = self.block.promised() & PROMISED_SYNC != 0;
        if take_back {
            // Before: who waits for its message looks for it, and finds it or not.
            self.block.count_void();
        }
        let (marked, position, _) = self.block.mark();
        if take_back {
            let first = if marked == NONE { 0 } else { marked };
            self.forget_sums_behind(first)?;
        }
        for base in self.bases()? {
            let Some(segment) = self
                .usable(base)?
                .filter(|_| marked == NONE || base >= marked)
            else {
                continue;
            };
            let from = if base == marked {
                position
            } else {
                RECORDS as u64
            };
            let end = if base == self.block.segment() {
                self.block.position()
            } else {
                segment.capacity()
            };
            if take_back {
                void(&segment, from, end, self.block.next_offset());
            }
            // The segment's header as well, and the record that closes it.
            segment.write_again(from, end + HEADER as u64);
        }
        if take_back {
            self.say_sums_again()?;
        }
        self.block.set_poisoned(REWRITTEN);
        Ok(())
    }

    /// Whether the log has a message of this offset.
    pub(super) fn has(&self, offset: u64) -> Result<bool> {
        let found = self.look(&mut Cursor::at_offset(offset))?;
        Ok(matches!(found, Step::Record { offset: found, .. } if found == offset))
    }
}

/// Everything between two positions becomes padding, which takes no offset from `below` on (P2).
/// Goes by the lengths alone, which stay: one that died here left a record that is neither.
fn void(segment: &Segment, mut position: u64, end: u64, below: u64) {
    while position < end
        && let Some((header, length)) = segment.raw(position)
    {
        match header.kind {
            END | PADDING => {}
            // It has happened, in other partitions as well, and is not halved (P8): it stays, and
            // is on disk once a sync succeeds.
            MESSAGE if segment.transaction(position, &header).is_some() => {}
            RESERVED => {
                let behind = segment
                    .behind_reserved(position, &header, length)
                    .min(below);
                let last = behind.max(header.offset.saturating_add(1)) - 1;
                segment.pad(position, &header, length, last);
            }
            _ => segment.pad(position, &header, length, header.offset),
        }
        position += record::padded(u64::from(length));
    }
}
