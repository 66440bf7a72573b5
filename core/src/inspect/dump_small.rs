//! Decoding the smaller kinds of files for a person.

use std::path::Path;

use super::bytes::Bytes;
use super::cached::{block_words, control_words, in_force};
use super::dump::Lines;
use super::window::{parts, words};
use super::{clock_text, reserve as slots};
use crate::error::Result;
use crate::format::control::{SIGNATURE, block, consumer, header as control_header, member};
use crate::format::index as sparse;
use crate::format::meta::{self as text, Bad};
use crate::format::reserve::SLOTS;
use crate::format::window::{CLOSED, ENTRY, MAGIC, Parts, entry, header, state, tag};
use crate::format::{u32_at, u64_at};

const META_MAX: u64 = 1 << 20;
const INDEX_MAX: u64 = 1 << 24;
const NONE: u64 = u64::MAX;

/// The text itself, and whether its checksum is right.
pub(super) fn meta(kind: &str, bytes: &mut Bytes, lines: &mut Lines<'_>) -> Result<()> {
    let head = bytes.head(META_MAX)?;
    match text::decode(kind, &head) {
        Ok(fields) => {
            lines.line(format!("{kind}.meta: checksum right"))?;
            for (key, value) in fields {
                lines.line(format!("{key} = {}", value.escape_debug()))?;
            }
            Ok(())
        }
        Err(bad) => {
            let what = match bad {
                Bad::Damaged(what) => format!("DAMAGED: {what}"),
                Bad::Version(found) => format!("written by format version {found}"),
            };
            lines.line(format!("{kind}.meta: {what}; its text:"))?;
            for line in String::from_utf8_lossy(&head).lines() {
                lines.line(format!("  {}", line.escape_debug()))?;
            }
            Ok(())
        }
    }
}

/// Both slots, and which one counts.
pub(super) fn reserve(path: &Path, lines: &mut Lines<'_>) -> Result<()> {
    let (both, wrong) = slots::look(path)?;
    let counts = slots::newest(&both).map(|slot| slot.generation);
    lines.line("reserve: two slots")?;
    for (slot, at) in both.iter().zip(SLOTS) {
        let Some(slot) = slot else {
            if !wrong.iter().any(|(place, _)| *place == at) {
                lines.line(format!("{at}  never written"))?;
            }
            continue;
        };
        let segment = match slot.mark_segment {
            NONE => "nowhere yet".to_owned(),
            base => format!("segment {base}, byte {}", slot.mark_position),
        };
        lines.line(format!(
            "{at}  generation {}{}: offsets below {} are covered; on disk up to {segment}, offset \
             {}, {}; {}; boot id {:032x}",
            slot.generation,
            if counts == Some(slot.generation) {
                " (counts)"
            } else {
                ""
            },
            slot.limit,
            slot.mark_offset,
            clock_text::utc(slot.mark_timestamp),
            if slot.clean {
                "closed cleanly"
            } else {
                "in use or not closed cleanly"
            },
            u128::from_be_bytes(slot.boot),
        ))?;
        if slot.first > 0 {
            lines.line(format!(
                "      retention took the offsets below {}",
                slot.first
            ))?;
        }
    }
    for (place, what) in wrong {
        lines.line(format!("{place}  DAMAGED: {what}"))?;
    }
    Ok(())
}

/// Every entry of a sparse index.
pub(super) fn index(bytes: &mut Bytes, lines: &mut Lines<'_>) -> Result<()> {
    let head = bytes.head(INDEX_MAX)?;
    let salt = u32_at(&head, 8);
    let Some(entries) = sparse::decode(&head, salt) else {
        return lines.line(format!(
            "index of {} bytes: DAMAGED, it is made anew when it is next needed",
            bytes.len()
        ));
    };
    lines.line(format!(
        "index: of the segment with salt {salt:#010x}, {} entries",
        entries.len()
    ))?;
    for (number, entry) in entries.iter().enumerate() {
        lines.line(format!(
            "{}  offset {} at byte {}, {}",
            sparse::HEADER + number * sparse::ENTRY,
            entry.offset,
            entry.position,
            clock_text::utc(entry.timestamp_ns)
        ))?;
    }
    Ok(())
}

/// The header and the entries from floor to end.
pub(super) fn window(bytes: &mut Bytes, lines: &mut Lines<'_>) -> Result<()> {
    let Some(words) = words(bytes)? else {
        let len = bytes.len();
        return lines.line(format!("window of {len} bytes: no whole header"));
    };
    let word = |at: usize| words[at];
    let magic = match word(header::MAGIC) {
        MAGIC => "",
        0 => " (being created)",
        _ => " (DAMAGED: the magic word is wrong)",
    };
    lines.line(format!(
        "window{magic}: version {}, group {:016x}, partition {}, limit {}, capacity {}, epoch {}",
        word(header::VERSION),
        word(header::GROUP),
        word(header::PARTITION),
        word(header::LIMIT),
        word(header::CAPACITY),
        word(header::EPOCH)
    ))?;
    let (floor, next) = (word(header::FLOOR), word(header::NEXT));
    let closed = match word(header::CLEAN) {
        CLOSED => format!("closed cleanly, checksum {:#010x}", word(header::CRC)),
        _ => "in use or not closed cleanly".to_owned(),
    };
    lines.line(format!(
        "all below offset {floor} settled, all from {next} on not looked at; {closed}"
    ))?;
    let capacity = word(header::CAPACITY);
    let open = next.checked_sub(floor);
    let sane = capacity.is_power_of_two() && open.is_some_and(|open| open <= capacity);
    let (Some(parts), true) = (parts(&words), sane) else {
        return lines.line("DAMAGED: limit, capacity, floor and end do not fit together");
    };
    if capacity > parts.most as u64 {
        return lines.line(format!("DAMAGED: the limit allows {} entries", parts.most));
    }
    let mut behind = None;
    let epoch = word(header::EPOCH);
    for offset in floor..next {
        if let Some(text) = window_entry(bytes, &parts, (capacity, epoch), offset)? {
            tell_behind(behind.take(), offset, lines)?;
            lines.line(text)?;
        } else {
            behind.get_or_insert(offset);
        }
    }
    tell_behind(behind, next, lines)
}

/// Entries that a cut file does not hold: one line for all that follow each other, of which there
/// may be millions.
fn tell_behind(from: Option<u64>, next: u64, lines: &mut Lines<'_>) -> Result<()> {
    match from {
        Some(from) => lines.line(format!(
            "offsets {from} to {}: behind the end of the file",
            next - 1
        )),
        None => Ok(()),
    }
}

/// One entry; `None` if it is behind the end of the file.
fn window_entry(
    bytes: &mut Bytes,
    parts: &Parts,
    (capacity, epoch): (u64, u64),
    offset: u64,
) -> Result<Option<String>> {
    let at = parts.entries as u64 + (offset & (capacity - 1)) * ENTRY as u64;
    let Some(bytes) = bytes.get(at, ENTRY as u64)? else {
        return Ok(None);
    };
    let word = |at: usize| u64_at(bytes, at * 8);
    let first = word(entry::STATE);
    if first >> 32 != tag(epoch, offset) {
        return Ok(Some(format!(
            "{at}  offset {offset}: of another offset, looked at again"
        )));
    }
    let named = match first & 0xFF {
        state::FRESH => "fresh",
        state::READY => "ready",
        state::DELAYED => "delayed",
        state::LEASED => "leased",
        state::HELD => "held by its key",
        state::DYING => "on its way to the dead letters",
        state::SETTLED => "settled",
        state::SCHEDULED => "waits for its time",
        state::HOLDING => "a dead letter that holds its key",
        state::DEAD => "a dead letter, not redriven",
        state::COMMITTING => "in a transaction",
        _ => "DAMAGED state",
    };
    let handed = word(entry::HAND_OUT);
    let lease = word(entry::LEASE);
    Ok(Some(format!(
        "{at}  offset {offset}: {named}, priority {}, attempts {}{}, failures {}, due {} ms, \
         consumer {}, key hash {:#018x}, record at byte {}",
        first >> 8 & 0xF,
        handed >> 1 & 0x7FFF_FFFF,
        if handed & 1 == 1 { " (started)" } else { "" },
        first >> 16 & 0xFFFF,
        lease >> 16,
        lease & 0xFFFF,
        word(entry::KEY_HASH),
        word(entry::PLACE) & 0xFFFF_FFFF
    )))
}

/// Header, members, consumers and the list of blocks.
pub(super) fn control(bytes: &mut Bytes, lines: &mut Lines<'_>) -> Result<()> {
    let Some(words) = control_words(bytes)? else {
        let len = bytes.len();
        return lines.line(format!("control of {len} bytes: no whole header"));
    };
    let signature = words[control_header::SIGNATURE];
    let state = match (signature == SIGNATURE, in_force(&words)) {
        (false, _) => "laid out by another build, or DAMAGED",
        (true, true) => "laid out in this start of the host",
        (true, false) => "half laid out, or of an earlier start of the host: it is not used",
    };
    lines.line(format!(
        "control: signature {signature:#018x}, {state}; {} of {} bytes handed out",
        words[control_header::ALLOCATED],
        bytes.len()
    ))?;
    if signature != SIGNATURE {
        return Ok(());
    }
    members(bytes, lines)?;
    consumers(bytes, lines)?;
    let mut at = words[control_header::FIRST_BLOCK];
    // As many as can be: a list that goes in a circle ends here.
    for _ in 0..bytes.len() / (block::WORDS as u64 * 8) {
        let Some(words) = block_words(bytes, at)? else {
            break;
        };
        let (id, partitions) = (words[block::ID], words[block::PARTITIONS]);
        lines.line(match words[block::KIND] {
            1 => format!("{at}  topic {id:016x}, {partitions} partitions"),
            2 => format!(
                "{at}  group {id:016x} of topic {:016x}, {partitions} partitions",
                words[block::TOPIC]
            ),
            other => format!("{at}  DAMAGED: a block of kind {other}"),
        })?;
        at = words[block::NEXT];
    }
    Ok(())
}

fn members(bytes: &mut Bytes, lines: &mut Lines<'_>) -> Result<()> {
    for slot in 0..member::SLOTS {
        let at = (member::AT + slot * member::WORDS * 8) as u64;
        let Some(slot_bytes) = bytes.get(at, member::WORDS as u64 * 8)? else {
            return Ok(());
        };
        let state = u64_at(slot_bytes, member::STATE * 8);
        let process = u64_at(slot_bytes, member::PROCESS * 8);
        let named = match state >> 32 {
            0 => continue,
            1 => "in use",
            _ => "found dead",
        };
        lines.line(format!(
            "{at}  member {slot}.{}: {named}, process {process}",
            state & 0xFFFF_FFFF
        ))?;
    }
    Ok(())
}

fn consumers(bytes: &mut Bytes, lines: &mut Lines<'_>) -> Result<()> {
    for slot in 0..consumer::SLOTS {
        let at = (consumer::AT + slot * consumer::WORDS * 8) as u64;
        let Some(slot_bytes) = bytes.get(at, consumer::WORDS as u64 * 8)? else {
            return Ok(());
        };
        let owner = u64_at(slot_bytes, consumer::MEMBER * 8);
        if owner == 0 {
            continue;
        }
        let group = u64_at(slot_bytes, consumer::GROUP * 8);
        let name = slot_bytes.get(consumer::NAME * 8..consumer::NAME * 8 + consumer::NAME_BYTES);
        let name = String::from_utf8_lossy(name.unwrap_or_default());
        lines.line(format!(
            "{at}  consumer {slot}: {:?} of member {}.{}, group at {group}",
            name.trim_end_matches('\0'),
            (owner & 0xFFFF).saturating_sub(1),
            owner >> 16
        ))?;
    }
    Ok(())
}
