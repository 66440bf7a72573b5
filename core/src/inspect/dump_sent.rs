//! Decoding for a person what says which messages were sent under an id or by a producer.

use super::bytes::Bytes;
use super::clock_text::utc;
use super::dump::Lines;
use crate::error::Result;
use crate::format::ledger::{ENTRY, HEADER, Slot, decode_header, header};
use crate::format::origin::Origin;
use crate::format::u64_at;

/// How a message says that it was sent.
pub(super) fn origin(extension: &[u8]) -> String {
    match Origin::of(extension) {
        None => String::new(),
        Some(Origin::Dedup { hash, .. }) => {
            format!(", dedup id of hash {:016x}{:016x}", hash[0], hash[1])
        }
        Some(Origin::Producer { id, sequence }) => format!(
            ", sequence {sequence} of the producer with id {:016x}{:016x}",
            id[0], id[1]
        ),
    }
}

/// The header, and every place that is taken.
pub(super) fn ledger(bytes: &mut Bytes, lines: &mut Lines<'_>) -> Result<()> {
    let len = bytes.len();
    let head = bytes.head(HEADER as u64)?;
    let words = [0, 1, 2, 3, 4, 5].map(|word| u64_at(&head, word * 8));
    let Some((topic, owner, capacity)) = decode_header(&words) else {
        return lines.line(format!(
            "ledger of {len} bytes: DAMAGED header, it is made anew from the log when it is next \
             needed"
        ));
    };
    lines.line(format!(
        "ledger: of the topic with id {topic:016x}, owner {owner:#x}, {capacity} places, {} of \
         them counted as taken",
        u64_at(&head, header::USED * 8)
    ))?;
    for place in 0..capacity {
        let at = HEADER as u64 + place * ENTRY as u64;
        let Some(found) = bytes.get(at, ENTRY as u64)? else {
            return lines.line(format!("{at}  DAMAGED: the file ends here"));
        };
        let words = [0, 1, 2, 3, 4].map(|word| u64_at(found, word * 8));
        match Slot::decode(words) {
            Slot::Empty => {}
            Slot::Bad => lines.line(format!("{at}  not whole"))?,
            Slot::Taken(entry) => lines.line(format!(
                "{at}  key {:016x}{:016x}: partition {}, offset {}, sent {}",
                entry.key[0],
                entry.key[1],
                entry.partition,
                entry.offset,
                match entry.stamp_ms {
                    0 => "by a producer, as the sequence that the key begins with".to_owned(),
                    ms => utc(i64::try_from(ms)
                        .unwrap_or(i64::MAX)
                        .saturating_mul(1_000_000)),
                }
            ))?,
        }
    }
    Ok(())
}
