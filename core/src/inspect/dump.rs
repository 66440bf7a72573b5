//! Decoding one file of a store for a person.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::Path;

use super::files;
use crate::error::{Error, ErrorKind, Result};
use crate::format::headers::Headers;
use crate::format::record::{self, END, HAS_KEY, HEADER, Header, MESSAGE, MORE, PADDING};
use crate::format::segment::{COVERED, RECORDS, SegmentHeader};
use crate::format::window::{ENTRY_WORDS, Parts, header, state};
use crate::format::{control, index, names, reserve, segment, u64_at, window};
use crate::log::{Found, Segment};

/// Bytes of a key or payload that are shown.
const SHOWN: usize = 40;

fn failed(error: io::Error) -> Error {
    let message = format!("cannot write what was decoded: {error}");
    Error::new(ErrorKind::Io, message)
}

/// Writes what a file of a store says, a line for each thing in it. The kind of file is told by its
/// first bytes and its name.
///
/// Errors with [`ErrorKind::InvalidArgument`] for a file that is none of a store's, with
/// [`ErrorKind::Damaged`] where it cannot be decoded at all; damage within a segment is a line.
pub fn dump(file: &Path, out: &mut dyn Write) -> Result<()> {
    let bytes = files::head(file, 64 * 1024)?;
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let word = if bytes.len() >= 8 {
        u64_at(&bytes, 0)
    } else {
        0
    };
    let text = if bytes.starts_with(b"libqueue ") {
        String::from_utf8_lossy(&bytes).into_owned()
    } else if bytes.starts_with(&segment::MAGIC) {
        return dump_segment(file, &bytes, out);
    } else if bytes.starts_with(&reserve::MAGIC) || name == names::RESERVE {
        dump_reserve(file)?
    } else if word == window::MAGIC {
        dump_window(file)?
    } else if word == index::MAGIC {
        dump_index(file)?
    } else if word == control::SIGNATURE {
        dump_control(&bytes)
    } else {
        let message = format!(
            "{} is not a file of a store that says anything: expected a segment (.log), an .index, \
             a .window, a .meta, reserve or control",
            file.display()
        );
        return Err(Error::new(ErrorKind::InvalidArgument, message));
    };
    out.write_all(text.as_bytes()).map_err(failed)
}

fn shown(bytes: &[u8]) -> String {
    let cut = &bytes[..bytes.len().min(SHOWN)];
    let more = if bytes.len() > SHOWN { "..." } else { "" };
    format!("\"{}\"{more}", cut.escape_ascii())
}

fn dump_segment(file: &Path, bytes: &[u8], out: &mut dyn Write) -> Result<()> {
    let damaged =
        |what: String| Error::new(ErrorKind::Damaged, format!("{}: {what}", file.display()));
    let short = || damaged("it is shorter than a segment's header".to_owned());
    let head = SegmentHeader::decode(bytes.get(..COVERED + 4).ok_or_else(short)?);
    let head = head.map_err(damaged)?;
    let (topic, number, base) = (head.topic, head.partition, head.base);
    let segment = Segment::open(&files::disk(), file, topic, number, base)?;
    writeln!(
        out,
        "segment of topic {topic:016x} partition {number}, first offset {base}, {} bytes, salt \
         {:08x}",
        head.capacity, head.salt
    )
    .map_err(failed)?;
    let mut position = RECORDS as u64;
    let mut offset = base;
    loop {
        let line = match segment.at(position) {
            Found::Nothing => break,
            Found::Record(header, length) if segment.whole(position, length) => {
                let line = line_of(&segment, position, &header);
                position += record::padded(u64::from(length));
                offset = offset.max(header.offset);
                line
            }
            _ => {
                let at = position;
                let Some((next, _)) = segment.resync(position, offset) else {
                    writeln!(out, "{at:>10}  DAMAGED to the end").map_err(failed)?;
                    return Ok(());
                };
                position = next;
                format!("{at:>10}  DAMAGED, {} bytes passed over", next - at)
            }
        };
        writeln!(out, "{line}").map_err(failed)?;
    }
    writeln!(out, "{position:>10}  nothing yet").map_err(failed)
}

fn line_of(segment: &Segment, position: u64, header: &Header) -> String {
    let mut line = format!("{position:>10}  ");
    match header.kind {
        END => return line + &format!("END, goes on with offset {}", header.offset),
        PADDING => return line + &format!("padding up to offset {}", header.offset),
        MESSAGE => {}
        other => return line + &format!("kind {other}"),
    }
    let at = position as usize + HEADER + usize::from(header.extension_len);
    let part = |at: usize, len: u32| segment.map().bytes(at, len as usize).unwrap_or_default();
    let key = part(at, header.key_len);
    let headers = part(at + key.len(), header.headers_len);
    let payload = part(at + key.len() + headers.len(), header.payload_len);
    let _ = write!(
        line,
        "offset {} at {} ns",
        header.offset, header.timestamp_ns
    );
    if header.flags & HAS_KEY != 0 {
        let _ = write!(line, " key {}", shown(key));
    }
    for (name, value) in Headers::new(headers) {
        let _ = write!(line, " {name}={}", shown(value));
    }
    let more = if header.flags & MORE != 0 {
        " (batch goes on)"
    } else {
        ""
    };
    let _ = write!(
        line,
        " payload {} bytes {}{more}",
        payload.len(),
        shown(payload)
    );
    line
}

fn dump_reserve(file: &Path) -> Result<String> {
    let Some(found) = files::reserve(file)? else {
        let message = format!("{}: neither of its two slots is whole", file.display());
        return Err(Error::new(ErrorKind::Damaged, message));
    };
    let closed = if found.clean {
        "closed cleanly"
    } else {
        "not closed"
    };
    let mut text = format!("reserve, generation {}, {closed}\n", found.generation);
    let _ = writeln!(
        text,
        "offsets below {} may have been handed out",
        found.limit
    );
    let _ = writeln!(
        text,
        "on disk up to offset {}, position {} of segment {}",
        found.mark_offset, found.mark_position, found.mark_segment
    );
    Ok(text)
}

fn dump_index(file: &Path) -> Result<String> {
    let bytes = files::head(file, usize::MAX)?;
    let salt = crate::format::u32_at(&bytes, index::SALT);
    let Some(entries) = index::decode(&bytes, salt) else {
        let message = format!("{}: it is not a whole index", file.display());
        return Err(Error::new(ErrorKind::Damaged, message));
    };
    let mut text = format!("index of the segment with salt {salt:08x}\n");
    for entry in entries {
        let _ = writeln!(
            text,
            "{:>10}  offset {} at {} ns",
            entry.position, entry.offset, entry.timestamp_ns
        );
    }
    Ok(text)
}

fn dump_window(file: &Path) -> Result<String> {
    let bytes = files::head(file, usize::MAX)?;
    let head = |word: usize| u64_at(&bytes, word * 8);
    let limit = u32::try_from(head(header::LIMIT)).unwrap_or(0);
    let parts = Parts::of(limit.clamp(1, crate::options::WINDOW_MAX));
    let (floor, next) = (head(header::FLOOR), head(header::NEXT));
    let capacity = head(header::CAPACITY);
    let mut text = format!(
        "window of group {:016x} partition {}, offsets {floor} to {next}, {capacity} of at most \
         {limit} entries, {}\n",
        head(header::GROUP),
        head(header::PARTITION),
        if head(header::CLEAN) == 1 {
            "closed cleanly"
        } else {
            "not closed"
        }
    );
    let whole = capacity.is_power_of_two() && parts.bytes(capacity) <= bytes.len() as u64;
    if !whole || next < floor || next - floor > capacity {
        text.push_str("DAMAGED: the entries cannot be read\n");
        return Ok(text);
    }
    for offset in floor..next {
        let at = parts.entries + (offset & (capacity - 1)) as usize * ENTRY_WORDS * 8;
        let word = |number: usize| u64_at(&bytes, at + number * 8);
        let state = match word(0) & 0xFF {
            state::FRESH => "fresh",
            state::READY => "ready",
            state::DELAYED => "delayed",
            state::LEASED => "leased",
            state::HELD => "held",
            state::DYING => "dying",
            state::SETTLED => "settled",
            _ => "DAMAGED",
        };
        let _ = writeln!(
            text,
            "offset {offset} {state}, attempts {}, failures {}, due {} ms, consumer {}",
            word(1) >> 1 & 0x7FFF_FFFF,
            word(0) >> 16 & 0xFFFF,
            word(2) >> 16,
            word(2) & 0xFFFF
        );
    }
    Ok(text)
}

fn dump_control(bytes: &[u8]) -> String {
    let word = |number: usize| {
        bytes
            .get(number * 8..)
            .map_or(0, |_| u64_at(bytes, number * 8))
    };
    let mut text = format!(
        "control, laid out as {:016x}, {} bytes in use\n",
        word(control::header::LAID_OUT),
        word(control::header::ALLOCATED)
    );
    for slot in 0..control::member::SLOTS {
        let at = control::member::AT / 8 + slot * control::member::WORDS;
        let used = word(at + control::member::STATE);
        if (at + control::member::WORDS) * 8 <= bytes.len() && used >> 32 != 0 {
            let process = word(at + control::member::PROCESS);
            let _ = writeln!(text, "member {slot}: process {process}, state {used:#x}");
        }
    }
    text
}
