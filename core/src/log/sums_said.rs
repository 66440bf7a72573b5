//! Who says the sums of a segment's header page, and when.
//!
//! They are derived from the records, and said once, when the segment is made. Who takes records
//! back in a closed segment first takes away what the ones behind it say, and says it anew after: a
//! death in between leaves none, until the one who ends what the dead was at, the next recovery or
//! the next roll says it again; what is behind a place is counted by a walk until then.

use super::Partition;
use super::cursor::Cursor;
use super::flow::Counted;
use crate::error::Result;
use crate::format::sums::Sums;

impl Partition {
    /// What the header page of the next segment is to say; `None` where there is nothing to go on.
    /// With the slow lock held; with the append lock as well it is exact.
    pub(super) fn sums_of_next(&self) -> Result<Option<Sums>> {
        let base = self.block.segment();
        let Some(active) = self.usable(base)? else {
            return Ok(None);
        };
        let place = Cursor {
            segment: base,
            position: self.block.position(),
            offset: self.block.next_offset(),
            life: 0,
        };
        let Some(sums) = active.sums() else {
            return Ok(None);
        };
        let inside = self.counted_in(&active, &place)?;
        Ok(Some(after(&sums, inside, active.capacity())))
    }

    /// Takes away what the segments behind this one say, before something of it is taken back.
    pub(super) fn forget_sums_behind(&self, base: u64) -> Result<()> {
        for later in self.bases()?.into_iter().filter(|later| *later > base) {
            if let Some(segment) = self.usable(later)? {
                segment.forget_sums();
            }
        }
        Ok(())
    }

    /// Has the last segments say their sums that do not: after something was taken back, and where
    /// that was cut short. One look at the last segment where nothing was. With the append lock
    /// held, or the slow one.
    pub(super) fn say_sums_again(&self) -> Result<()> {
        let (bases, mut silent) = (self.bases()?, Vec::new());
        let mut known = None;
        for base in bases.into_iter().rev() {
            let Some(segment) = self.usable(base)? else {
                break;
            };
            known = segment.sums().map(|sums| (segment.clone(), sums));
            if known.is_some() {
                break;
            }
            silent.push(segment);
        }
        let Some((mut before, mut sums)) = known else {
            return Ok(());
        };
        while let Some(segment) = silent.pop() {
            let inside = match before.life() {
                0 => self.walk_from(
                    Cursor::at_base(before.base(), before.base()),
                    segment.base(),
                )?,
                _ => Counted {
                    messages: sums.kept_messages,
                    bytes: sums.kept_bytes,
                },
            };
            sums = after(&sums, inside, before.capacity());
            segment.set_sums(&sums);
            before = segment;
        }
        Ok(())
    }
}

/// The sums behind a segment with these, in which so much is.
fn after(sums: &Sums, inside: Counted, capacity: u64) -> Sums {
    Sums {
        first: sums.first,
        messages: sums.messages.saturating_add(inside.messages),
        bytes: sums.bytes.saturating_add(inside.bytes),
        files: sums.files.saturating_add(capacity),
        kept_messages: 0,
        kept_bytes: 0,
    }
}
