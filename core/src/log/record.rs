//! A record that was found whole.

use std::sync::Arc;

use super::segment::Segment;
use crate::format::extension::Attributes;
use crate::format::headers::Headers;
use crate::format::record::{HAS_KEY, HEADER, Header};

/// A message as it stands in the log; keeps its segment mapped.
#[derive(Clone)]
pub struct Record {
    pub(super) segment: Arc<Segment>,
    /// Its offset.
    pub offset: u64,
    /// Nanoseconds since the Unix epoch.
    pub timestamp_ns: i64,
    /// Where its body begins: extension, key, headers, payload.
    body: usize,
    key_len: u32,
    headers_len: u32,
    payload_len: u32,
    extension_len: u16,
    has_key: bool,
}

impl Record {
    /// The record with this header at a position, all of which lies in the segment.
    #[inline]
    pub(super) fn new(segment: Arc<Segment>, position: u64, header: &Header) -> Self {
        Self {
            segment,
            offset: header.offset,
            timestamp_ns: header.timestamp_ns,
            body: position as usize + HEADER,
            key_len: header.key_len,
            headers_len: header.headers_len,
            payload_len: header.payload_len,
            extension_len: header.extension_len,
            has_key: header.flags & HAS_KEY != 0,
        }
    }

    /// The segment that it is in.
    #[inline]
    pub fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    /// Where it begins.
    #[inline]
    pub(super) fn position(&self) -> usize {
        self.body - HEADER
    }

    #[inline]
    fn bytes(&self, at: usize, len: u32) -> &[u8] {
        let bytes = self.segment.map().bytes(at, len as usize);
        bytes.unwrap_or_default()
    }

    #[inline]
    fn key_at(&self) -> usize {
        self.body + usize::from(self.extension_len)
    }

    #[inline]
    fn headers_at(&self) -> usize {
        self.key_at() + self.key_len as usize
    }

    #[inline]
    fn payload_at(&self) -> usize {
        self.headers_at() + self.headers_len as usize
    }

    /// The key, if it has one.
    #[inline]
    pub fn key(&self) -> Option<&[u8]> {
        self.has_key
            .then(|| self.bytes(self.key_at(), self.key_len))
    }

    /// The encoded extension.
    pub fn extension(&self) -> &[u8] {
        self.bytes(self.body, u32::from(self.extension_len))
    }

    /// What the message says of its delivery.
    #[inline]
    pub fn attributes(&self) -> Attributes {
        if self.extension_len == 0 {
            return Attributes::default();
        }
        Attributes::decode(self.extension()).unwrap_or_default()
    }

    /// The encoded headers block.
    pub fn headers_block(&self) -> &[u8] {
        self.bytes(self.headers_at(), self.headers_len)
    }

    /// Names and values of the headers.
    pub fn headers(&self) -> Headers<'_> {
        Headers::new(self.headers_block())
    }

    /// Bytes of the whole record in the log.
    pub fn length(&self) -> u64 {
        (self.payload_at() + self.payload_len as usize - self.position()) as u64
    }

    /// File and position of the payload.
    pub fn place(&self) -> (&std::path::Path, u64) {
        (self.segment.path(), self.payload_at() as u64)
    }

    /// The header as it stands in the file, with offset and checksum, and its position.
    pub fn mark(&self) -> (&[u8], u64) {
        let at = self.position();
        (self.bytes(at, HEADER as u32), at as u64)
    }

    /// The payload.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        self.bytes(self.payload_at(), self.payload_len)
    }
}
