//! The reserve of a partition: two slots, and what they say of the log.

use std::path::Path;

use super::bytes::Bytes;
use super::{Wrong, settled};
use crate::error::Result;
use crate::format::reserve::{CRC, FILE, FIRST, Reserve, SLOT, SLOTS};

/// The two slots, and what is wrong with them. A slot that was never written is of zeros; each lies
/// in a sector of its own, so that a crash leaves it as it was or whole.
pub(super) fn look(path: &Path) -> Result<([Option<Reserve>; 2], Vec<Wrong>)> {
    settled(|| {
        let mut bytes = Bytes::open(path)?;
        let mut wrong = Vec::new();
        if bytes.len() < FILE {
            // Being created: nothing relies on it before it has its length.
            if let Some(place) = bytes.not_zero(0, FILE)? {
                wrong.push((
                    place,
                    format!("it has {} bytes, expected {FILE}", bytes.len()),
                ));
            }
            return Ok(([None, None], wrong));
        }
        let mut slots = [None, None];
        for (number, at) in SLOTS.into_iter().enumerate() {
            let mut slot = [0; SLOT];
            slot.copy_from_slice(bytes.get(at, SLOT as u64)?.unwrap_or(&[0; SLOT]));
            slots[number] = Reserve::decode(&slot);
            if slots[number].is_none() && slot.iter().any(|byte| *byte != 0) {
                let what =
                    format!("slot {number} is not whole: magic, version or checksum is wrong");
                wrong.push((at, what));
            }
            if slots[number].is_some() && !Reserve::is_first_whole(&slot) {
                let what = format!("of slot {number} the part that says what retention took");
                wrong.push((at + FIRST as u64, what + " is not whole"));
            }
            let end = SLOTS.get(number + 1).copied().unwrap_or(FILE);
            let unused = [
                (at + (CRC + 4) as u64, at + FIRST as u64),
                (at + SLOT as u64, end),
            ];
            for (from, to) in unused {
                if let Some(place) = bytes.not_zero(from, to)? {
                    wrong.push((place, "a byte that has no meaning is not zero".into()));
                }
            }
        }
        Ok((slots, wrong))
    })
}

/// The slot that counts.
pub(super) fn newest(slots: &[Option<Reserve>; 2]) -> Option<Reserve> {
    slots
        .iter()
        .flatten()
        .max_by_key(|slot| slot.generation)
        .copied()
}
