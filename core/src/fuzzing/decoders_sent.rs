//! The decoders of what says how a message was sent: extensions, ledgers and marks.

use super::input::Input;
use crate::format::checksum::crc32;
use crate::format::extension::CRC_BYTES;
use crate::format::ledger::{Entry, Slot, decode_header, encode_header};
use crate::format::meta;
use crate::format::origin::Origin;
use crate::store::Mark;

/// Words of a header and of an entry, then an extension, which is also a mark's text.
pub(super) fn sent(data: &[u8]) {
    let mut input = Input(data);
    let words = std::array::from_fn(|_| input.u64());
    if let Some((topic, owner, capacity)) = decode_header(&words) {
        assert_eq!(encode_header(topic, owner, capacity), words);
    }
    let entry = Entry {
        key: [words[0].max(1), words[1]],
        partition: words[2] as u32,
        offset: words[3],
        stamp_ms: words[4],
    };
    assert_eq!(Slot::decode(entry.encode()), Slot::Taken(entry));
    if let Slot::Taken(entry) = Slot::decode(std::array::from_fn(|_| input.u64())) {
        assert_eq!(Slot::decode(entry.encode()), Slot::Taken(entry));
    }
    let bytes = input.0;
    if let Some(origin) = Origin::of(bytes) {
        let mut again = Vec::new();
        origin.add_to(&mut again);
        assert_eq!(Origin::of(&again), Some(origin));
    }
    // The same fields with a checksum that is right.
    let mut forged = vec![0; CRC_BYTES];
    forged.extend_from_slice(bytes);
    let crc = crc32(&forged[CRC_BYTES..]);
    forged[..CRC_BYTES].copy_from_slice(&crc.to_le_bytes());
    let _ = Origin::of(&forged);
    if let Ok(fields) = meta::decode("dedup", bytes)
        && let Ok(mark) = Mark::parse(&fields, 1)
    {
        let again = meta::decode("dedup", mark.encode("dedup").as_bytes());
        assert_eq!(Mark::parse(&again.expect("fields"), 1), Ok(mark));
    }
}
