//! Messages that stand where they are expected and say nothing of their delivery, as most do:
//! looked at for what a hand-out needs, without a header being put together. What else there is
//! `read.rs` tells.

use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use super::Partition;
use super::cursor::Cursor;
use super::near::Near;
use super::record::Record;
use super::segment::{Segment, length_and_kind};
use crate::format::record::{self, HEADER, Header, KIND, LENGTH, MESSAGE};

/// Records of at most so many bytes are fetched into the processor's cache before they are looked
/// at, so many records ahead.
const SMALL: u64 = 256;
const AHEAD: u64 = 16;

impl Segment {
    /// Length of the message with this offset, and whether it has a key; its checksum is not looked
    /// at.
    #[inline]
    fn plain_at(&self, offset: u64, position: u64) -> Option<(u32, bool)> {
        let at = usize::try_from(position).ok()?;
        let (length, kind) = length_and_kind(&self.map().peek_all(at)?);
        if kind != MESSAGE {
            return None;
        }
        let header = self.map().bytes(at, length as usize)?.first_chunk()?;
        Header::has_key_if_plain(header, offset, length).map(|has_key| (length, has_key))
    }

    /// Whether the message with this offset stands there; see [`Record::is_whole`].
    #[inline]
    pub fn is_plain(&self, offset: u64, position: u64) -> bool {
        self.plain_at(offset, position).is_some()
    }
}

impl Record {
    /// The record at a position where `is_plain` found one.
    #[inline]
    pub fn plain(segment: Arc<Segment>, position: u64) -> Self {
        let bytes = segment.map().bytes(position as usize, HEADER);
        let header = bytes.and_then(<[u8]>::first_chunk).map(Header::decode);
        Self::new(segment, position, &header.unwrap_or_default())
    }

    /// Whether it is the message with this offset, put together from bytes that had their sum.
    ///
    /// Who makes padding of a message whose sync failed waits for no reader, and never takes that
    /// back (`Segment::pad`): lengths become 0, then the kind is stored. So what is a message still
    /// when its sum was taken was one before; and what had its lengths is no padding, also where a
    /// body has the sum of no bytes (P3).
    #[inline]
    pub fn is_whole(&self, offset: u64) -> bool {
        let (segment, at) = (self.segment(), self.position());
        let Some(length) = segment.map().load_u32(at + LENGTH, Ordering::Acquire) else {
            return false;
        };
        let bytes = segment.map().bytes(at, length as usize);
        let sum = |bytes| record::has_sum_of_message(bytes, segment.salt());
        let same = (self.offset, self.length()) == (offset, length.into());
        if !same || !bytes.is_some_and(sum) {
            return false;
        }
        // All of the bytes were looked at before the kind is.
        fence(Ordering::Acquire);
        let kind = segment.map().load_u32(at + KIND, Ordering::Relaxed);
        kind.is_some_and(|kind| kind as u8 == MESSAGE)
    }
}

impl Partition {
    /// As `scan_near` for at most so many, as long as they are such messages of the segment where
    /// it was last: offset, position, and whether it has a key.
    #[inline]
    pub fn run_near(
        &self,
        near: &Near,
        cursor: &mut Cursor,
        most: usize,
        mut take: impl FnMut(u64, u64, bool) -> bool,
    ) -> Option<Arc<Segment>> {
        let segment = near.find(self, cursor)?;
        let (end, sent) = (
            cursor.offset.saturating_add(most as u64),
            self.next_offset(),
        );
        while cursor.offset < end
            && let Some((length, has_key)) = segment.plain_at(cursor.offset, cursor.position)
            && take(cursor.offset, cursor.position, has_key)
        {
            let size = record::padded(u64::from(length));
            // Where a message is only the one before tells, so each would be waited for. As a rule
            // they are of one size; of larger ones the processor sees by itself what comes next.
            // What is about to be written is left to who writes it.
            if size <= SMALL && cursor.offset + AHEAD < sent {
                let ahead = cursor.position.saturating_add(AHEAD * size);
                segment.map().soon(ahead as usize, size as usize);
            }
            cursor.position += size;
            cursor.offset += 1;
        }
        Some(segment)
    }
}
