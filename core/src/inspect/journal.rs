//! The journal of transactions: what is wrong with it, and as text.
//!
//! Of its ring only what follows on the first record that is still needed means anything.

use std::path::Path;

use super::Wrong;
use super::bytes::Bytes;
use super::dump::Lines;
use crate::error::{ErrorKind, Result};
use crate::format::journal::{
    FILE, HEADER, Place, RECORDS, Record, SLOT, SLOTS, Slot, UNIT, decode_header, record,
};
use crate::format::u32_at;
use crate::shm::boot_id;

/// How often it is read before what is wrong with it is believed.
const TRIES: usize = 2;

/// What stands in it.
struct Journal {
    salt: u32,
    slots: [Option<Slot>; 2],
    records: Vec<(Place, Record, bool)>,
    /// Where the next one goes, and whether bytes stand there that are none.
    end: Place,
    strange: bool,
}

impl Journal {
    fn read(bytes: &[u8]) -> std::result::Result<Self, Wrong> {
        if bytes.len() as u64 != FILE {
            let what = format!("it has {} bytes, expected {FILE}", bytes.len());
            return Err((0, what));
        }
        let header = bytes.first_chunk::<HEADER>().unwrap_or(&[0; HEADER]);
        let salt = decode_header(header).map_err(|what| (0, what))?;
        let slots = SLOTS.map(|at| {
            let bytes = bytes.get(at as usize..)?.first_chunk::<SLOT>()?;
            Slot::decode(bytes)
        });
        let newest = slots.iter().flatten().max_by_key(|slot| slot.generation);
        let none = || (SLOTS[0], "neither of its slots is whole".to_owned());
        let mut place = newest.ok_or_else(none)?.head;
        let mut records = Vec::new();
        for _ in 0..FILE / UNIT {
            let Some((found, length, applied)) = record_at(bytes, place, salt) else {
                break;
            };
            let end = match found.wrap {
                true => Place {
                    number: place.number + 1,
                    position: RECORDS,
                },
                false => place.behind(length),
            };
            records.push((place, found, applied));
            place = end;
        }
        let strange = u32_at(bytes, place.position as usize) != 0;
        Ok(Self {
            salt,
            slots,
            records,
            end: place,
            strange,
        })
    }
}

fn record_at(bytes: &[u8], place: Place, salt: u32) -> Option<(Record, u64, bool)> {
    let at = usize::try_from(place.position).ok()?;
    let length = u32_at(bytes, at) as usize;
    let found = bytes.get(at..at.checked_add(length)?)?;
    let record = Record::decode(found, place.number, salt)?;
    Some((record, length as u64, u32_at(found, record::APPLIED) != 0))
}

/// What is wrong with the journal.
pub(super) fn look(path: &Path) -> Result<Vec<Wrong>> {
    // One that is in use may go round while it is read.
    for _ in 0..TRIES {
        let found = look_once(path)?;
        if found.is_empty() {
            return Ok(found);
        }
    }
    look_once(path)
}

fn look_once(path: &Path) -> Result<Vec<Wrong>> {
    let bytes = Bytes::open(path)?.head(FILE + 1)?;
    let journal = match Journal::read(&bytes) {
        Ok(journal) => journal,
        Err(wrong) => return Ok(vec![wrong]),
    };
    // After a power loss the end is where nothing whole stands.
    let here = journal
        .slots
        .iter()
        .flatten()
        .any(|slot| slot.boot == boot_id());
    if !journal.strange || !here {
        return Ok(Vec::new());
    }
    let what = format!(
        "the record with the number {} is not whole; expected one, or a length of 0",
        journal.end.number
    );
    Ok(vec![(journal.end.position, what)])
}

/// The transactions that have happened and may not be applied everywhere; `None` where it is
/// damaged.
pub(super) fn open_ones(path: &Path) -> Result<Option<Vec<Record>>> {
    let bytes = match Bytes::open(path).and_then(|mut file| file.head(FILE + 1)) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Some(Vec::new())),
        Err(error) if matches!(error.kind(), ErrorKind::Io | ErrorKind::PermissionDenied) => {
            return Ok(None);
        }
        bytes => bytes?,
    };
    let Ok(journal) = Journal::read(&bytes) else {
        return Ok(None);
    };
    let records = journal.records.into_iter();
    let open = records.filter(|(_, record, applied)| !record.wrap && !applied);
    Ok(Some(open.map(|(_, record, _)| record).collect()))
}

/// As text.
pub(super) fn dump(bytes: &mut Bytes, lines: &mut Lines<'_>) -> Result<()> {
    let bytes = bytes.head(FILE + 1)?;
    let journal = match Journal::read(&bytes) {
        Ok(journal) => journal,
        Err((place, what)) => return lines.line(format!("{place}  DAMAGED journal: {what}")),
    };
    lines.line(format!(
        "journal of transactions: {} bytes, salt {:#010x}",
        bytes.len(),
        journal.salt
    ))?;
    for (slot, at) in journal.slots.iter().zip(SLOTS) {
        lines.line(match slot {
            Some(slot) => format!(
                "{at}  slot: generation {}, needed from record {} at byte {}",
                slot.generation, slot.head.number, slot.head.position
            ),
            None => format!("{at}  slot: not whole"),
        })?;
    }
    for (place, record, applied) in &journal.records {
        let at = place.position;
        if record.wrap {
            lines.line(format!("{at}  goes on at byte {RECORDS}"))?;
            continue;
        }
        lines.line(format!(
            "{at}  transaction {:016x}, number {}{}{}",
            record.id,
            place.number,
            if record.sync { ", sync" } else { "" },
            if *applied { "" } else { ", not settled yet" },
        ))?;
        for send in &record.sends {
            lines.line(format!(
                "    sent {} from offset {} to partition {} of topic {:016x}, at byte {} of the \
                 segment of offset {}",
                send.count, send.offset, send.partition, send.topic, send.position, send.segment
            ))?;
        }
        for settle in &record.settles {
            lines.line(format!(
                "    settled offset {} of partition {} of topic {:016x} in group {:016x}, attempt \
                 {}",
                settle.offset, settle.partition, settle.topic, settle.group, settle.attempt
            ))?;
        }
    }
    if journal.strange {
        let at = journal.end.position;
        lines.line(format!("{at}  DAMAGED: no whole record"))?;
    }
    Ok(())
}
