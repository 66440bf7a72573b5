//! The file that a segment is compacted into, and what stands in segments that may be.

use std::sync::Arc;

use super::segment::{Found, Segment};
use super::{Partition, Sealed};
use crate::error::Result;
use crate::format::checksum::crc32;
use crate::format::names;
use crate::format::record::{ALIGN, END, HAS_KEY, HEADER, Header, MESSAGE, PADDING};
use crate::format::segment::{RECORDS, SegmentHeader};
use crate::format::sums::{self, Sums};
use crate::storage::File;

/// Bytes that are written at once.
const CHUNK: usize = 128 << 10;

/// What becomes of a record.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Kept,
    /// It was a message.
    Goes,
    /// It says only that offsets are passed over.
    Passed,
}

/// What goes of a segment, and what stays.
#[derive(Clone, Copy, Default)]
pub(super) struct Weighed {
    /// Messages that go.
    pub(super) messages: u64,
    /// Bytes of their records.
    pub(super) bytes: u64,
    /// Bytes of what stays, PADDING for each run of those that go included.
    pub(super) kept: u64,
    /// Whether the last record goes, so that its run is counted already.
    in_run: bool,
}

impl Weighed {
    /// The next record, with so many bytes.
    pub(super) fn add(&mut self, fate: Fate, bytes: u64) {
        if fate == Fate::Goes {
            self.messages += 1;
            self.bytes += bytes;
        }
        if fate == Fate::Kept {
            (self.kept, self.in_run) = (self.kept + bytes, false);
        } else if !self.in_run {
            (self.kept, self.in_run) = (self.kept + HEADER as u64, true);
        }
    }
}

/// The file that is being written.
pub(super) struct Copied {
    file: Arc<dyn File>,
    pub(super) header: SegmentHeader,
    /// What the old one's header page says of what came before it, and what is kept in this one.
    sums: Option<Sums>,
    position: u64,
    buffer: Vec<u8>,
    /// Last offset and timestamp of those that go, and are not written as PADDING yet.
    pub(super) run: Option<(u64, i64)>,
}

impl Partition {
    /// Segments of which all may be compacted where groups have settled all below an offset: how
    /// many bytes have the files of those that were not compacted yet, and of the others.
    pub fn dirty(&self, bound: u64) -> Result<(u64, u64)> {
        let below = self.compacted()?.below;
        let (mut dirty, mut clean) = (0, 0);
        for one in self.compactable(bound)? {
            let bytes = self.file_bytes(one.base)?;
            *(if one.end > below {
                &mut dirty
            } else {
                &mut clean
            }) += bytes;
        }
        Ok((dirty, clean))
    }

    pub(super) fn compactable(&self, bound: u64) -> Result<Vec<Sealed>> {
        let mut sealed = self.sealed()?;
        let first = self.first_kept();
        sealed.retain(|one| one.base >= first && one.end <= bound);
        Ok(sealed)
    }

    /// Removes what passes left that ended in the middle. With the lock of who makes and removes
    /// files.
    pub(super) fn remove_rewritten(&self) -> Result<()> {
        let storage = &*self.env.storage;
        for name in storage.list(&self.folder)? {
            if names::parse_rewritten(&name).is_some() {
                storage.unlink(&self.folder.join(name))?;
            }
        }
        Ok(())
    }
}

impl Copied {
    /// Nothing yet.
    pub(super) fn new(file: Arc<dyn File>, header: SegmentHeader, sums: Option<Sums>) -> Self {
        let sums = sums.map(|sums| Sums {
            kept_messages: 0,
            kept_bytes: 0,
            ..sums
        });
        Self {
            file,
            header,
            sums,
            position: RECORDS as u64,
            buffer: Vec::with_capacity(CHUNK),
            run: None,
        }
    }

    fn write(&mut self, bytes: &[u8], padded: usize) -> Result<()> {
        self.buffer.extend_from_slice(bytes);
        let gap = padded - bytes.len();
        self.buffer.extend_from_slice(&[0; ALIGN][..gap.min(ALIGN)]);
        match self.buffer.len() >= CHUNK {
            true => self.flush(),
            false => Ok(()),
        }
    }

    fn flush(&mut self) -> Result<()> {
        self.file.write_at(&self.buffer, self.position)?;
        self.position += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// A record as it is, behind PADDING for what went before it.
    pub(super) fn keep(&mut self, record: &[u8], padded: usize) -> Result<()> {
        if let Some((offset, timestamp_ns)) = self.run.take() {
            let header = Header {
                offset,
                timestamp_ns,
                kind: PADDING,
                ..Header::default()
            };
            let bytes = header.encode(HEADER as u32, self.header.salt, crc32(b""));
            self.write(&bytes, HEADER)?;
        }
        self.write(record, padded)
    }

    /// As `keep`, of a message.
    pub(super) fn keep_message(&mut self, record: &[u8], padded: usize) -> Result<()> {
        if let Some(sums) = &mut self.sums {
            sums.kept_messages += 1;
            sums.kept_bytes += padded as u64;
        }
        self.keep(record, padded)
    }

    /// The header page, and all of it on disk.
    pub(super) fn finish(&mut self) -> Result<()> {
        self.flush()?;
        self.file.write_at(&self.header.encode(), 0)?;
        if let Some(sums) = &self.sums {
            let bytes = sums.encode(self.header.salt);
            self.file.write_at(&bytes, sums::FIRST as u64)?;
        }
        self.file.sync()
    }
}

/// The whole record at a position, its checksum included.
pub(super) fn whole_at(segment: &Segment, position: u64) -> Option<(Header, u32)> {
    match segment.at(position) {
        Found::Record(header, length)
            if matches!(header.kind, MESSAGE | PADDING | END)
                && segment.whole(position, length) =>
        {
            Some((header, length))
        }
        _ => None,
    }
}

/// The key of a message that was found whole, if it has one.
pub(super) fn key_of<'a>(segment: &'a Segment, position: u64, header: &Header) -> Option<&'a [u8]> {
    if header.kind != MESSAGE || header.flags & HAS_KEY == 0 {
        return None;
    }
    let at = position as usize + HEADER + usize::from(header.extension_len);
    segment.map().bytes(at, header.key_len as usize)
}
