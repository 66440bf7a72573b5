//! Where a dead letter came from, as its headers say.

use super::group::GroupInner;
use crate::error::Result;
use crate::format::{extension, headers};
use crate::log::Record;

/// Says how often the message came back dead from a redrive.
pub(super) const CYCLES: &str = "lq-cycles";
/// Says when the message was sent, in nanoseconds since the Unix epoch.
pub(super) const SENT: &str = "lq-source-timestamp";
/// Names the letter that the message was redriven from, by its offset in the same topic.
pub(super) const REDRIVEN_FROM: &str = "lq-redriven-from";
/// Says of a letter that it is dead for as long as its message holds its key.
pub(super) const HELD: &str = "lq-held";
/// The headers that a letter is given; of the same name it keeps none of the message's own.
pub(super) const OWN: [&str; 14] = [
    "lq-source-topic",
    "lq-source-partition",
    "lq-source-offset",
    SENT,
    "lq-group",
    "lq-attempts",
    "lq-failures",
    "lq-error",
    "lq-consumer",
    "lq-first-failed",
    "lq-last-failed",
    CYCLES,
    REDRIVEN_FROM,
    HELD,
];

/// Where a dead letter came from.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) topic: &'a str,
    pub(super) group: &'a str,
    /// The id of the group, which no other one of its name has.
    pub(super) group_id: u64,
    pub(super) partition: u32,
    pub(super) offset: u64,
    /// When the message was sent; letters of earlier builds do not say.
    pub(super) timestamp_ns: Option<i64>,
    /// How often it came back dead from a redrive.
    pub(super) cycles: u32,
    /// The letter that it was redriven from.
    pub(super) redriven_from: Option<u64>,
}

/// The text of a header; empty where there is none.
pub(super) fn text<'a>(record: &'a Record, name: &str) -> &'a str {
    let found = record.headers().find(|(known, _)| *known == name);
    found
        .and_then(|(_, value)| std::str::from_utf8(value).ok())
        .unwrap_or_default()
}

/// The number in a header.
pub(super) fn number<T: std::str::FromStr>(record: &Record, name: &str) -> Option<T> {
    text(record, name).parse().ok()
}

/// Where a record came from that is a dead letter. One that was sent is none, whatever its headers
/// say: it would settle messages that nobody moved (P12, P18).
pub(super) fn source_of(record: &Record) -> Option<Source<'_>> {
    let group_id = extension::letter_group(record.extension())?;
    Some(Source {
        topic: text(record, "lq-source-topic"),
        group: text(record, "lq-group"),
        group_id,
        partition: number(record, "lq-source-partition")?,
        offset: number(record, "lq-source-offset")?,
        timestamp_ns: number(record, SENT),
        cycles: number(record, CYCLES).unwrap_or(0),
        redriven_from: number(record, REDRIVEN_FROM),
    })
}

/// As `source_of`, of a letter of this group, or of the one that this is the lane of. A group of
/// the same name that was deleted had letters of its own, which are nobody's now.
pub(super) fn letter_of<'a>(group: &GroupInner, record: &'a Record) -> Option<Source<'a>> {
    source_of(record)
        .filter(|source| source.group_id == group.source_id())
        .filter(|source| (source.topic, source.group) == group.source())
}

/// Of a redriven letter the headers that the message itself had, and how often it came back dead.
pub(super) fn original_headers(record: &Record, cycles: u32) -> Result<Vec<u8>> {
    let cycles = cycles.to_string();
    let own = |(name, _): &(&str, &[u8])| !OWN.contains(name);
    let mut all: Vec<(&str, &[u8])> = record.headers().filter(own).collect();
    all.push((CYCLES, cycles.as_bytes()));
    let mut block = Vec::new();
    headers::encode(&all, &mut block)?;
    Ok(block)
}
