//! Decoding one file of a store for a person: which kind it is, and segments.

use std::io::Write;
use std::path::Path;

use super::bytes::Bytes;
use super::clock_text::utc;
use super::dump_sent;
use super::dump_small;
use super::journal;
use super::opened;
use super::plan::name_of;
use super::records::{Bounds, Item, Records};
use crate::error::{Error, ErrorKind, Result};
use crate::format::extension::{Attributes, letter_group};
use crate::format::headers::Headers;
use crate::format::journal::MAGIC as JOURNAL_MAGIC;
use crate::format::record::{END, HAS_KEY, HEADER, Header, MESSAGE, MORE, RESERVED};
use crate::format::{control, index, ledger, names, reserve, segment, snapshot, window};
use crate::storage::{Disk, Storage};

/// Bytes of a key or payload that are shown.
const PREVIEW: u64 = 48;
/// More than the headers block of a sensible message has; of a larger one the names are not shown.
const HEADERS_MAX: u64 = 1 << 20;

/// Where the lines go. An error of the writer is one of the dump.
pub(super) struct Lines<'a> {
    out: &'a mut dyn Write,
    path: &'a Path,
}

impl Lines<'_> {
    pub(super) fn line(&mut self, text: impl AsRef<str>) -> Result<()> {
        let text = text.as_ref().as_bytes();
        let written = self
            .out
            .write_all(text)
            .and_then(|()| self.out.write_all(b"\n"));
        written.map_err(|e| Error::io("write the dump of", self.path, e))
    }
}

/// What a file is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Segment,
    Window,
    Reserve,
    Control,
    Index,
    Snapshot,
    Ledger,
    Meta(&'static str),
    Lock,
    Ballast,
    Journal,
    Prepared,
}

/// Decodes one file of a store as text. Damage is told in its place, and what can be found behind
/// it follows; a file that is cut or damaged beyond that is still shown as far as it goes.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`] if the file is nothing of libqueue's, [`ErrorKind::NotFound`],
/// [`ErrorKind::PermissionDenied`] and [`ErrorKind::Io`] if it cannot be read or `out` not written.
///
/// # Examples
/// ```
/// # let folder = std::env::temp_dir().join(format!("libqueue-dump-{}", std::process::id()));
/// # let store = libqueue::Store::open(&folder, libqueue::StoreOptions::default())?;
/// let mut text = Vec::new();
/// libqueue::inspect::dump(&folder.join("store.meta"), &mut text)?;
/// assert!(String::from_utf8_lossy(&text).contains("id = "));
/// # store.close()?;
/// # std::fs::remove_dir_all(folder).ok();
/// # Ok::<(), libqueue::Error>(())
/// ```
pub fn dump(path: &Path, out: &mut dyn Write) -> Result<()> {
    if path.is_dir() {
        let message = format!(
            "{} is a folder; give one file of a store, or verify a store as a whole",
            path.display()
        );
        return Err(Error::new(ErrorKind::InvalidArgument, message));
    }
    if !Disk.exists(path)? {
        let message = format!(
            "there is no file {}; give one file of a store",
            path.display()
        );
        return Err(Error::new(ErrorKind::NotFound, message));
    }
    let mut bytes = Bytes::open(path)?;
    let kind = kind_of(path, &mut bytes)?;
    let len = bytes.len();
    let mut lines = Lines { out, path };
    match kind {
        Kind::Segment => dump_segment(bytes, &mut lines),
        Kind::Window => dump_small::window(&mut bytes, &mut lines),
        Kind::Reserve => dump_small::reserve(path, &mut lines),
        Kind::Control => dump_small::control(&mut bytes, &mut lines),
        Kind::Ledger => dump_sent::ledger(&mut bytes, &mut lines),
        Kind::Index => dump_small::index(&mut bytes, &mut lines),
        Kind::Snapshot => super::snapshot::dump(path, &mut lines),
        Kind::Journal => journal::dump(&mut bytes, &mut lines),
        Kind::Meta(kind) => dump_small::meta(kind, &mut bytes, &mut lines),
        Kind::Lock => lines.line("lock: kernel locks are taken on it, its contents mean nothing"),
        Kind::Ballast => lines.line(format!(
            "ballast: {len} bytes that are given up for dead letters on a full disk"
        )),
        Kind::Prepared => lines.line(format!(
            "the next segment, prepared ahead: {len} bytes without records"
        )),
    }
}

/// By what the file begins with; by its name where that is damaged or means nothing.
fn kind_of(path: &Path, bytes: &mut Bytes) -> Result<Kind> {
    let head = bytes.head(reserve::FILE)?;
    let begins = |magic: &[u8]| head.starts_with(magic);
    let second = usize::try_from(reserve::SLOTS[1]).unwrap_or(0);
    let metas = [
        ("store", names::STORE_META),
        ("topic", names::TOPIC_META),
        ("group", names::GROUP_META),
        ("producer", names::PRODUCER_META),
        ("dedup", names::DEDUP_MARK),
    ];
    let name = name_of(path);
    let meta = metas
        .into_iter()
        .find(|(kind, called)| begins(format!("libqueue {kind} ").as_bytes()) || name == *called);
    Ok(match name.as_str() {
        names::NEXT_SEGMENT if !head.is_empty() => Kind::Prepared,
        _ if begins(&segment::MAGIC) => Kind::Segment,
        _ if begins(&window::MAGIC.to_le_bytes()) => Kind::Window,
        _ if begins(&control::SIGNATURE.to_le_bytes()) => Kind::Control,
        _ if begins(&index::MAGIC.to_le_bytes()) => Kind::Index,
        _ if begins(&snapshot::MAGIC) => Kind::Snapshot,
        _ if begins(&ledger::MAGIC.to_le_bytes()) => Kind::Ledger,
        _ if begins(&JOURNAL_MAGIC) => Kind::Journal,
        _ if begins(&reserve::MAGIC)
            || head
                .get(second..)
                .is_some_and(|b| b.starts_with(&reserve::MAGIC)) =>
        {
            Kind::Reserve
        }
        _ if names::parse_segment(&name).is_some() => Kind::Segment,
        _ if names::parse_index(&name).is_some() => Kind::Index,
        _ if names::parse_window(&name).is_some() => Kind::Window,
        _ if names::parse_snapshot(&name).is_some() => Kind::Snapshot,
        _ if names::parse_table(&name).is_some() => Kind::Ledger,
        names::RING => Kind::Ledger,
        names::RESERVE => Kind::Reserve,
        names::CONTROL => Kind::Control,
        names::LOCK if head.is_empty() => Kind::Lock,
        names::BALLAST => Kind::Ballast,
        names::TRANSACTIONS => Kind::Journal,
        _ => match meta {
            Some((kind, _)) => Kind::Meta(kind),
            None => return Err(nothing_of_ours(path, &head)),
        },
    })
}

#[cold]
fn nothing_of_ours(path: &Path, head: &[u8]) -> Error {
    let found = match head.get(..8.min(head.len())) {
        None | Some([]) => "it is empty".to_owned(),
        Some(first) => format!("it begins with \"{}\"", first.escape_ascii()),
    };
    let message = format!(
        "{} is no file of libqueue: {found}; expected a segment, index, window, snapshot, reserve, \
         control, journal or meta file of a store",
        path.display()
    );
    Error::new(ErrorKind::InvalidArgument, message)
}

fn dump_segment(mut bytes: Bytes, lines: &mut Lines<'_>) -> Result<()> {
    let len = bytes.len();
    let header = match opened::header(&mut bytes)? {
        Ok(header) => header,
        Err((place, what)) => {
            lines.line(format!("segment of {len} bytes"))?;
            lines.line(format!("{place}  DAMAGED header: {what}"))?;
            // Everything but the reserved bytes may be in order.
            let head = bytes.head(segment::RECORDS as u64)?;
            match segment::SegmentHeader::decode(&head) {
                Ok(header) => header,
                Err(_) => {
                    let why = "without the header's salt no record's checksum can be checked";
                    return lines.line(format!(
                        "{}  records are not shown: {why}",
                        segment::RECORDS
                    ));
                }
            }
        }
    };
    lines.line(format!(
        "segment: topic {:016x}, partition {}, first offset {}, salt {:#010x}, {} bytes",
        header.topic, header.partition, header.base, header.salt, header.capacity
    ))?;
    lines.line("position  what")?;
    let mut records = Records::begin(bytes, header.salt, header.base, Bounds::default());
    while let Some(item) = records.next()? {
        let text = match item {
            Item::Record {
                position, header, ..
            } if header.kind == MESSAGE => message(&mut records.bytes, position, &header)?,
            Item::Record {
                position, header, ..
            } if header.kind == END => {
                format!(
                    "{position}  end: goes on in the segment of offset {}",
                    header.offset
                )
            }
            Item::Record {
                position, header, ..
            } if header.kind == RESERVED => format!(
                "{position}  being copied: {} messages from offset {}",
                header.payload_len, header.offset
            ),
            Item::Record {
                position,
                header,
                length,
            } => format!(
                "{position}  padding: offset {}, {length} bytes, nothing to read",
                header.offset
            ),
            Item::Damaged { position, what } => format!("{position}  DAMAGED: {what}"),
            Item::Nothing { position } => format!("{position}  nothing here yet"),
        };
        lines.line(text)?;
    }
    Ok(())
}

fn message(bytes: &mut Bytes, position: u64, header: &Header) -> Result<String> {
    let key_at = position + HEADER as u64 + u64::from(header.extension_len);
    let headers_at = key_at + u64::from(header.key_len);
    let payload_at = headers_at + u64::from(header.headers_len);
    let key = if header.flags & HAS_KEY != 0 {
        format!("key {}", preview(bytes, key_at, header.key_len)?)
    } else {
        "no key".to_owned()
    };
    let extension = bytes.get(position + HEADER as u64, header.extension_len.into())?;
    let extension = extension.unwrap_or_default();
    let attributes = match (Attributes::decode(extension), letter_group(extension)) {
        (_, Some(group)) => format!(", dead letter of the group with id {group:016x}"),
        (Some(says), None) => attributes(&says),
        (None, None) => ", DAMAGED extension".to_owned(),
    };
    let sent = dump_sent::origin(extension);
    let more = if header.flags & MORE != 0 {
        ", batch goes on"
    } else {
        ""
    };
    Ok(format!(
        "{position}  message: offset {}, {}, {key}, headers [{}], payload of {} bytes \
         {}{attributes}{sent}{more}",
        header.offset,
        utc(header.timestamp_ns),
        header_names(bytes, headers_at, header.headers_len)?,
        header.payload_len,
        preview(bytes, payload_at, header.payload_len)?,
    ))
}

/// What a message says of its delivery.
fn attributes(says: &Attributes) -> String {
    let mut text = String::new();
    let time = |ms: i64| utc(ms.saturating_mul(1_000_000));
    if says.priority != 0 {
        text += &format!(", priority {}", says.priority);
    }
    if let Some(at) = says.deliver_at_ms {
        text += &format!(", not before {}", time(at));
    }
    if let Some(at) = says.expires_at_ms {
        text += &format!(", expires {}", time(at));
    }
    text
}

/// The first bytes, escaped so that they stay on their line.
fn preview(bytes: &mut Bytes, at: u64, len: u32) -> Result<String> {
    let shown = u64::from(len).min(PREVIEW);
    let first = bytes.get(at, shown)?.unwrap_or_default();
    let dots = if u64::from(len) > shown { "..." } else { "" };
    Ok(format!("\"{}\"{dots}", first.escape_ascii()))
}

fn header_names(bytes: &mut Bytes, at: u64, len: u32) -> Result<String> {
    if u64::from(len) > HEADERS_MAX {
        return Ok(format!("{len} bytes"));
    }
    let block = bytes.get(at, u64::from(len))?.unwrap_or_default();
    let names: Vec<String> = Headers::new(block)
        .map(|(name, _)| name.escape_default().to_string())
        .collect();
    Ok(names.join(", "))
}
