//! One file of a partition, mapped.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::cursor::LIFE_MAX;
use super::idle;
use crate::error::{Error, ErrorKind, Result};
use crate::format::checksum::crc32;
use crate::format::extension::{self, Attributes};
use crate::format::record::{self, HEADER, Header, KIND, LENGTH, OFFSET_MAX, PADDING, RESERVED};
use crate::format::segment::{COVERED, RECORDS, SegmentHeader};
use crate::format::sums::{self, Sums};
use crate::format::u32_at;
use crate::shm::{Mapping, Peek};
use crate::storage::{Access, File, Storage, kept_mapped};

#[cfg(test)]
thread_local! {
    /// How many headers of records this thread looked at.
    pub(crate) static LOOKS: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// A mapped segment. It stays mapped, and its bytes stay, for as long as anyone holds it.
pub struct Segment {
    header: SegmentHeader,
    map: Arc<Mapping>,
    /// What syncs it, which keeps no descriptor; `None` of one that is only read from.
    file: Option<Arc<dyn File>>,
    path: PathBuf,
    /// When it was used last, as `idle` counts time.
    used: AtomicU32,
}

/// Length and kind of a record, by the words of its header: 0 of both where nothing stands yet.
#[inline]
pub(super) fn length_and_kind(words: &Peek<'_, { HEADER / 4 }>) -> (u32, u8) {
    #[cfg(test)]
    LOOKS.with(|looks| looks.set(looks.get() + 1));
    // Acquire pairs with the release of the length word in `append`: all of the record is seen.
    let length = words.load(LENGTH / 4, Ordering::Acquire);
    if length == 0 {
        return (0, 0);
    }
    // Acquire pairs with the release of the kind in `large.rs`: who does not see RESERVED sees the
    // header that took its place, and its length.
    let kind = words.load(KIND / 4, Ordering::Acquire) as u8;
    match kind {
        RESERVED => (length, kind),
        _ => (words.load(LENGTH / 4, Ordering::Acquire), kind),
    }
}

/// What stands at a position.
pub(crate) enum Found {
    /// Nothing yet.
    Nothing,
    /// A record of this length; its checksum was not looked at.
    Record(Header, u32),
    /// Bytes that cannot be a record.
    Bad,
}

impl Segment {
    /// Opens an existing segment and checks that it is the one that its name says.
    pub(crate) fn open(
        storage: &dyn Storage,
        path: &Path,
        topic: u64,
        partition: u32,
        base: u64,
    ) -> Result<Arc<Self>> {
        let file = match storage.open(path, Access::ReadWrite, 0) {
            Err(e) if matches!(e.kind(), ErrorKind::ReadOnly | ErrorKind::PermissionDenied) => {
                storage.open(path, Access::Read, 0)
            }
            opened => opened,
        }?;
        let damaged = |what: String| {
            let message = format!(
                "{}: {what}; expected the segment of partition {partition} that begins with \
                 offset {base}; `libqueue verify` lists what is damaged",
                path.display()
            );
            Error::new(ErrorKind::Damaged, message)
        };
        let len = file.len()?;
        if len < RECORDS as u64 {
            return Err(damaged(format!("it has {len} bytes")));
        }
        let mut bytes = [0; COVERED + 4];
        file.read_at(&mut bytes, 0)?;
        let header = SegmentHeader::decode(&bytes).map_err(damaged)?;
        if (header.topic, header.partition, header.base) != (topic, partition, base) {
            return Err(damaged(format!(
                "it belongs to topic {:016x}, partition {}, offset {}",
                header.topic, header.partition, header.base
            )));
        }
        if header.life > LIFE_MAX {
            return Err(damaged(format!(
                "it was compacted {} times, which cannot be",
                header.life
            )));
        }
        if header.capacity > len {
            return Err(damaged(format!(
                "it has {len} of {} bytes",
                header.capacity
            )));
        }
        let len = usize::try_from(header.capacity).unwrap_or(usize::MAX);
        let map = file.map(len, true).or_else(|e| match e.kind() {
            ErrorKind::PermissionDenied => file.map(len, false),
            _ => Err(e),
        })?;
        Self::of(file, map, header, path)
    }

    /// As `open`, to be read alone: the mapping keeps its bytes, and no descriptor is kept.
    pub(crate) fn pinned(
        storage: &dyn Storage,
        path: &Path,
        topic: u64,
        partition: u32,
        base: u64,
    ) -> Result<Arc<Self>> {
        let opened = Self::open(storage, path, topic, partition, base)?;
        Ok(Arc::new(Self {
            header: opened.header,
            map: opened.map.clone(),
            file: None,
            path: path.to_owned(),
            used: AtomicU32::new(idle::turn()),
        }))
    }

    /// A file that has this header, mapped.
    pub(crate) fn of(
        file: Arc<dyn File>,
        map: Arc<Mapping>,
        header: SegmentHeader,
        path: &Path,
    ) -> Result<Arc<Self>> {
        Ok(Arc::new(Self {
            header,
            file: Some(kept_mapped(file, &map)),
            map,
            path: path.to_owned(),
            used: AtomicU32::new(idle::turn()),
        }))
    }

    /// Offset of its first record.
    pub fn base(&self) -> u64 {
        self.header.base
    }

    /// It is used now. A store only where time went on: readers of one segment share the word.
    #[inline]
    pub(super) fn touch(&self) {
        let now = idle::turn();
        if self.used.load(Ordering::Relaxed) != now {
            self.used.store(now, Ordering::Relaxed);
        }
    }

    pub(super) fn used(&self) -> u32 {
        self.used.load(Ordering::Relaxed)
    }

    /// Bytes of the file.
    pub fn capacity(&self) -> u64 {
        self.header.capacity
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    #[inline]
    pub(crate) fn salt(&self) -> u32 {
        self.header.salt
    }

    /// How often it was compacted: its positions are of that life.
    #[inline]
    pub(super) fn life(&self) -> u32 {
        self.header.life
    }

    pub(super) fn header(&self) -> SegmentHeader {
        self.header
    }

    pub(super) fn index_salt(&self) -> u32 {
        self.header.index_salt()
    }

    #[inline]
    pub(crate) fn map(&self) -> &Mapping {
        &self.map
    }

    /// What its header page says of all that came before it.
    pub(super) fn sums(&self) -> Option<Sums> {
        let bytes = self.map.bytes(sums::FIRST, sums::END - sums::FIRST)?;
        Sums::decode(bytes, self.header.salt)
    }

    /// Says it anew. The checksum is taken away first and comes last: a death in between leaves
    /// none, and what it would have said is counted.
    pub(super) fn set_sums(&self, said: &Sums) {
        let bytes = said.encode(self.header.salt);
        let (map, covered) = (&self.map, sums::CRC - sums::FIRST);
        if map.is_writable() {
            map.store_u32(sums::CRC, 0, Ordering::Release);
            map.copy_in(sums::FIRST, &bytes[..covered]);
            map.store_u32(sums::CRC, u32_at(&bytes, covered), Ordering::Release);
        }
    }

    /// It says nothing of it from here on.
    pub(super) fn forget_sums(&self) {
        if self.map.is_writable() {
            self.map.store_u32(sums::CRC, 0, Ordering::Release);
        }
    }

    /// Whether an offset or bytes of it may be no message's.
    pub(super) fn has_gaps(&self) -> bool {
        self.header.life > 0 || self.map.load_u32(sums::GAPS, Ordering::Acquire) != Some(0)
    }

    /// Before it gets such: a death in between costs those who count a walk. After a power loss
    /// that kept the gap and not this, the recovery that comes upon the gap notes it again.
    pub(super) fn note_gap(&self) {
        if self.map.is_writable() && !self.has_gaps() {
            self.map.store_u32(sums::GAPS, 1, Ordering::Release);
        }
    }

    /// Makes the kernel write these bytes again, and the header page, at the next sync.
    pub(super) fn write_again(&self, from: u64, end: u64) {
        self.map.dirty(0, RECORDS);
        self.map
            .dirty(from as usize, end.saturating_sub(from) as usize);
    }

    /// Puts it on disk. Whoever named it opened it under the name it had before, which an error is
    /// not to tell of (P5).
    pub(crate) fn sync(&self) -> Result<()> {
        // Who only reads has stored nothing.
        let Some(file) = &self.file else {
            return Ok(());
        };
        file.sync().map_err(|error| match error.os_code() {
            Some(code) => Error::io("sync", &self.path, std::io::Error::from_raw_os_error(code)),
            None => error,
        })
    }

    /// What stands at a position. Lengths are checked against the mapping (P18).
    #[inline(always)]
    pub(crate) fn at(&self, position: u64) -> Found {
        let Ok(at) = usize::try_from(position) else {
            return Found::Bad;
        };
        let Some(words) = self.map.peek_all(at) else {
            return self.at_end(at);
        };
        let (length, kind) = length_and_kind(&words);
        if length == 0 {
            return Found::Nothing;
        }
        let bytes = self.map.bytes(at, length as usize);
        let header = bytes.and_then(<[u8]>::first_chunk).map(Header::decode);
        let header = header.map(|header| Header { kind, ..header });
        match header {
            Some(header) if header.plausible(length) => Found::Record(header, length),
            _ => Found::Bad,
        }
    }

    /// What stands where no header has room.
    #[cold]
    fn at_end(&self, at: usize) -> Found {
        match self.map.load_u32(at, Ordering::Acquire) {
            Some(0) => Found::Nothing,
            None if at.saturating_add(4) as u64 > self.header.capacity => Found::Nothing,
            _ => Found::Bad,
        }
    }

    /// Header and length at a position, unless nothing is there; whether they can be true was not
    /// looked at, but that they lie inside.
    pub(super) fn raw(&self, position: u64) -> Option<(Header, u32)> {
        let at = usize::try_from(position).ok()?;
        let length = self.map.load_u32(at, Ordering::Acquire)?;
        let header = self.map.bytes(at, HEADER)?.first_chunk()?;
        self.map.bytes(at, length as usize)?;
        (length as usize >= HEADER).then(|| (Header::decode(header), length))
    }

    /// What the message of this header at a position says of its delivery. Nothing where that is
    /// damaged: whoever then reads the record sees that it is (P3).
    #[inline]
    pub(super) fn attributes(&self, position: u64, header: &Header) -> Attributes {
        if header.extension_len == 0 {
            return Attributes::default();
        }
        let bytes = (self.map).bytes(position as usize + HEADER, header.extension_len.into());
        bytes.and_then(Attributes::decode).unwrap_or_default()
    }

    /// The transaction that the message of this header at a position was sent in, where its log
    /// says so.
    pub(super) fn transaction(&self, position: u64, header: &Header) -> Option<u64> {
        let at = usize::try_from(position).ok()?.checked_add(HEADER)?;
        extension::transaction(self.map.bytes(at, header.extension_len.into())?)
    }

    /// Whether the record of this length at a position has its checksum.
    pub(crate) fn whole(&self, position: u64, length: u32) -> bool {
        let bytes = self.map.bytes(position as usize, length as usize);
        bytes.is_some_and(|bytes| record::verify(bytes, self.header.salt))
    }

    /// The same, where the header was found there.
    #[inline]
    pub(super) fn is_whole(&self, position: u64, header: &Header, length: u32) -> bool {
        let bytes = self.map.bytes(position as usize, length as usize);
        bytes.is_some_and(|bytes| header.is_of(bytes, self.header.salt))
    }

    /// The offset behind a RESERVED record. Its count may be half overwritten by who died while
    /// publishing, so what stands behind it decides; else what can fit at most.
    pub(super) fn behind_reserved(&self, position: u64, header: &Header, length: u32) -> u64 {
        let most = (u64::from(length) / HEADER as u64).min(u64::from(header.payload_len));
        let counted = header.offset.saturating_add(most.max(1));
        match self.at(position + record::padded(u64::from(length))) {
            Found::Record(next, _) if next.kind == PADDING => counted.min(next.offset),
            Found::Record(next, _) => next.offset,
            _ => counted,
        }
    }

    /// By whoever comes after the one that copied a RESERVED record: if all but its kind was
    /// published, it is published now, or part of the batch would be seen; else it becomes padding.
    ///
    /// No offset from `below` on was given out: a half overwritten count must not reach further, or
    /// what is appended next would seem to go back (P2).
    pub(super) fn end_reserved(&self, position: u64, header: &Header, length: u32, below: u64) {
        for first in header.as_published(length) {
            if first.plausible(length)
                && let Some(bytes) = self.map.bytes(position as usize, length as usize)
            {
                let encoded = first.encode(length, self.salt(), crc32(&bytes[HEADER..]));
                if encoded[record::CRC..KIND] == bytes[record::CRC..KIND] {
                    return self.store_kind(position as usize, &encoded);
                }
            }
        }
        let behind = self.behind_reserved(position, header, length).min(below);
        let last = behind.max(header.offset.saturating_add(1)) - 1;
        self.pad(position, header, length, last);
    }

    /// Makes padding of a record, up to and including an offset. The kind last: whoever sees it
    /// sees the rest; a death before leaves what it was.
    pub(super) fn pad(&self, position: u64, header: &Header, length: u32, last: u64) {
        self.note_gap();
        let padding = Header {
            offset: last,
            timestamp_ns: header.timestamp_ns,
            kind: PADDING,
            ..Header::default()
        };
        let bytes = padding.encode(length, self.salt(), crc32(b""));
        let at = position as usize;
        self.map.copy_in(at + 4, &bytes[4..KIND]);
        self.map.copy_in(at + KIND + 4, &bytes[KIND + 4..]);
        self.store_kind(at, &bytes);
    }

    /// The word that holds the kind, with release.
    pub(super) fn store_kind(&self, at: usize, header: &[u8; HEADER]) {
        let word = u32_at(header, KIND);
        self.map.store_u32(at + KIND, word, Ordering::Release);
    }

    /// The first position behind `from` at which a whole record stands whose offset is at least
    /// `offset`: where reading can go on behind damage (P3). Not looked for from `end` on.
    pub(crate) fn resync(&self, from: u64, offset: u64, end: u64) -> Option<(u64, Header)> {
        let mut at = record::padded(from.min(OFFSET_MAX) + 1);
        while at + HEADER as u64 <= self.header.capacity.min(end) {
            if let Found::Record(header, length) = self.at(at)
                && header.offset >= offset
                && header.kind != record::PADDING
                && self.whole(at, length)
            {
                return Some((at, header));
            }
            at += record::ALIGN as u64;
        }
        None
    }

    /// An error that names this file and a position in it.
    #[cold]
    pub(crate) fn damage(&self, position: u64, what: &str) -> Error {
        Error::new(
            ErrorKind::Damaged,
            format!(
                "{} at byte {position}: {what}; the records behind it that can be found are kept; \
                 `libqueue verify` lists all damage",
                self.path.display()
            ),
        )
    }
}
