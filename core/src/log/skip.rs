//! Passing over offsets that were given to messages which are gone, so that they are never given to
//! others (P4), and telling where a log is written anew with the offsets it had.

use std::sync::atomic::Ordering;

use super::roll::mark;
use super::{NONE, Partition, Room};
use crate::error::Result;
use crate::format::record::{ALIGN, HEADER, PADDING};

impl Partition {
    /// Has the next record get this offset, if it would get a lower one. What is passed over stands
    /// as PADDING in the log; where there is no segment yet, the next one is named after it, and
    /// until then only a clean close keeps it.
    pub fn skip_to(&self, offset: u64) -> Result<()> {
        loop {
            let mut held = self.lock()?;
            self.env.check_fence()?;
            if self.block.poisoned() {
                return Err(self.poisoned());
            }
            let next = self.block.next_offset();
            if offset <= next {
                return Ok(());
            }
            let (base, position) = (self.block.segment(), self.block.position());
            let last = self.block.last_timestamp();
            if offset > self.block.limit() {
                drop(held);
                self.raise_reserve(offset - next)?;
                continue;
            }
            if base == NONE {
                self.block.set_tail(NONE, offset, position, last);
                return Ok(());
            }
            let local = self.local.with(&mut held);
            if local.active.as_ref().is_none_or(|one| one.base() != base) {
                local.active = self.mapped(base);
            }
            let end = position + HEADER as u64;
            match &local.active {
                // As for any record: the next length word, and an END record behind it.
                Some(segment) if end + (HEADER + ALIGN) as u64 <= segment.capacity() => {
                    // Before it is published: what an append that died left would be taken for a
                    // header.
                    let behind = usize::try_from(end).unwrap_or(usize::MAX);
                    segment.map().store_u32(behind, 0, Ordering::Relaxed);
                    mark(segment, position, PADDING, offset - 1, last)?;
                    self.block.set_tail(base, offset, end, last);
                    return Ok(());
                }
                Some(_) => {
                    drop(held);
                    self.roll(HEADER as u64, Room::Ordinary)?;
                }
                None => {
                    drop(held);
                    self.make_way(&super::append::Outcome::Map(base), &[], Room::Ordinary)?;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::tests::{draft, open, payloads};
    use crate::format::names;
    use crate::format::segment::SIZE_MIN;
    use crate::storage::Disk;

    #[test]
    fn p4_what_is_passed_over_is_never_given_out_and_readers_pass_over_it() {
        let folder = tempfile::tempdir().expect("folder");
        let partition = open(Arc::new(Disk), folder.path());
        partition.skip_to(7).expect("before the first");
        assert_eq!(partition.append(&[draft(b"a")]).expect("append"), 7);
        partition.skip_to(7).expect("nothing to pass over");
        partition.skip_to(1_000_000).expect("in between");
        assert_eq!(partition.append(&[draft(b"b")]).expect("append"), 1_000_000);
        partition.skip_to(1_000_005).expect("at the end");
        let expected = [(7, b"a".to_vec()), (1_000_000, b"b".to_vec())];
        assert_eq!(payloads(&partition), expected);
        // Killed, and closed cleanly.
        for close in [false, true] {
            let again = open(Arc::new(Disk), folder.path());
            assert_eq!(again.next_offset(), 1_000_005);
            assert_eq!(payloads(&again), expected);
            if close {
                again.close_clean().expect("close");
            }
        }
    }

    #[test]
    fn p4_offsets_are_passed_over_where_a_segment_is_full() {
        let folder = tempfile::tempdir().expect("folder");
        let partition = open(Arc::new(Disk), folder.path());
        // Room is left for nothing but END.
        let body = vec![1; SIZE_MIN as usize - 4096 - 48 - 56];
        assert_eq!(partition.append(&[draft(&body)]).expect("append"), 0);
        partition.skip_to(9).expect("skip");
        assert!(folder.path().join(names::segment(1)).exists());
        assert_eq!(partition.append(&[draft(b"b")]).expect("append"), 9);
        assert_eq!(payloads(&partition), [(0, body), (9, b"b".to_vec())]);
    }
}
