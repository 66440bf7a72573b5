//! A record that was found whole.

use std::ops::Range;
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
    extension: Range<usize>,
    key: Option<Range<usize>>,
    headers: Range<usize>,
    payload: Range<usize>,
}

impl Record {
    /// The record with this header at a position, all of which lies in the segment.
    #[inline]
    pub(super) fn new(segment: Arc<Segment>, position: u64, header: &Header) -> Self {
        let begin = position as usize + HEADER;
        let extension = begin..begin + usize::from(header.extension_len);
        let key = extension.end..extension.end + header.key_len as usize;
        let headers = key.end..key.end + header.headers_len as usize;
        let payload = headers.end..headers.end + header.payload_len as usize;
        Self {
            segment,
            offset: header.offset,
            timestamp_ns: header.timestamp_ns,
            extension,
            key: (header.flags & HAS_KEY != 0).then_some(key),
            headers,
            payload,
        }
    }

    #[inline]
    fn bytes(&self, range: &Range<usize>) -> &[u8] {
        self.segment
            .map()
            .bytes(range.start, range.len())
            .unwrap_or_default()
    }

    /// The key, if it has one.
    #[inline]
    pub fn key(&self) -> Option<&[u8]> {
        self.key.as_ref().map(|range| self.bytes(range))
    }

    /// The encoded extension.
    pub fn extension(&self) -> &[u8] {
        self.bytes(&self.extension)
    }

    /// What the message says of its delivery.
    #[inline]
    pub fn attributes(&self) -> Attributes {
        Attributes::decode(self.extension()).unwrap_or_default()
    }

    /// The encoded headers block.
    pub fn headers_block(&self) -> &[u8] {
        self.bytes(&self.headers)
    }

    /// Names and values of the headers.
    pub fn headers(&self) -> Headers<'_> {
        Headers::new(self.headers_block())
    }

    /// Bytes of the whole record in the log.
    pub fn length(&self) -> u64 {
        let key = self.key.as_ref().map_or(0, Range::len);
        (HEADER + self.extension.len() + key + self.headers.len() + self.payload.len()) as u64
    }

    /// File and position of the payload.
    pub fn place(&self) -> (&std::path::Path, u64) {
        (self.segment.path(), self.payload.start as u64)
    }

    /// The payload.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        self.bytes(&self.payload)
    }
}
