//! Every decoder of `format`: any bytes give an answer, and what is taken for whole is encoded to
//! the same bytes again.

use super::input::Input;
use crate::format::checksum::{crc32, crc32_from};
use crate::format::headers::{Headers, encode};
use crate::format::journal;
use crate::format::record::{HEADER, Header, MESSAGE};
use crate::format::reserve::{Reserve, SLOT};
use crate::format::segment::{COVERED, SegmentHeader};
use crate::format::snapshot::{self as kept, Snapshot};
use crate::format::sums::Sums;
use crate::format::window::{CAPACITY_MIN, ENTRY_WORDS, Parts};
use crate::format::{index as sparse, meta as text, names as files, record as log, u32_at, u64_at};
use crate::options::Filter;

/// Salt, then a record as it may stand in a segment.
pub(super) fn record(data: &[u8]) {
    let mut input = Input(data);
    let salt = input.u32();
    let bytes = input.0;
    let whole = log::verify(bytes, salt);
    let Some((head, body)) = bytes.split_first_chunk::<HEADER>() else {
        return assert!(!whole, "a record is at least its header");
    };
    let header = Header::decode(head);
    let length = u32_at(head, log::LENGTH);
    let covered = if header.kind == MESSAGE { body } else { &[] };
    let again = header.encode(length, salt, crc32(covered));
    assert_eq!(whole, again == *head && takes(&header, length, bytes));
    // As one that was written with these fields: whole if they can be true at all.
    let mut forged = bytes.to_vec();
    forged[..HEADER].copy_from_slice(&again);
    assert_eq!(log::verify(&forged, salt), takes(&header, length, bytes));
}

fn takes(header: &Header, length: u32, bytes: &[u8]) -> bool {
    header.plausible(length) && length as usize == bytes.len()
}

/// A segment's header page.
pub(super) fn segment_header(data: &[u8]) {
    if let Ok(header) = SegmentHeader::decode(data) {
        let again = header.encode();
        assert_eq!(SegmentHeader::decode(&again), Ok(header));
    }
    let mut forged = data.to_vec();
    if forged.len() >= COVERED + 4 {
        forged[..8].copy_from_slice(&crate::format::segment::MAGIC);
        let crc = crc32(&forged[..COVERED]);
        forged[COVERED..COVERED + 4].copy_from_slice(&crc.to_le_bytes());
        let version = u32_at(&forged, crate::format::segment::VERSION_AT);
        let read = SegmentHeader::decode(&forged).is_ok();
        assert_eq!(read, version == crate::format::VERSION);
    }
    sums(data);
}

/// What the same header page says of what came before.
fn sums(data: &[u8]) {
    let salt = data.len() as u32;
    if let Some(sums) = Sums::decode(data, salt) {
        assert_eq!(Sums::decode(&sums.encode(salt), salt), Some(sums));
    }
    let word = |number: usize| u64_at(data, number * 8);
    let said = Sums {
        first: word(0),
        messages: word(1),
        bytes: word(2),
        files: word(3),
        kept_messages: word(4),
        kept_bytes: word(5),
    };
    let mut bytes = said.encode(salt);
    assert_eq!(Sums::decode(&bytes, salt), Some(said));
    bytes[data.len() % bytes.len()] ^= 1;
    assert_eq!(Sums::decode(&bytes, salt), None);
}

/// Salt, then a sparse index.
pub(super) fn index(data: &[u8]) {
    let mut input = Input(data);
    let salt = input.u32();
    if let Some(entries) = sparse::decode(input.0, salt) {
        let again = sparse::encode(salt, &entries);
        assert_eq!(sparse::decode(&again, salt), Some(entries));
    }
    let entries: Vec<_> = input
        .0
        .chunks_exact(sparse::ENTRY)
        .map(|entry| sparse::Entry {
            offset: u64_at(entry, 0),
            timestamp_ns: u64_at(entry, 8) as i64,
            position: u64_at(entry, 16),
        })
        .collect();
    let bytes = sparse::encode(salt, &entries);
    assert_eq!(sparse::decode(&bytes, salt), Some(entries));
}

/// A limit, then words as a window's header and entries have them.
pub(super) fn window(data: &[u8]) {
    let mut input = Input(data);
    let limit = input.u32() % (crate::options::WINDOW_MAX + 1);
    let parts = Parts::of(limit);
    assert!(parts.most.is_power_of_two() && parts.most >= limit as usize);
    assert!(parts.most as u64 >= CAPACITY_MIN);
    assert!(parts.bitmap + parts.bitmap_words * 8 <= parts.bucket_at);
    assert!(parts.bucket_at + parts.buckets * 8 <= parts.entries);
    assert!(parts.bytes(parts.most as u64) > parts.entries as u64);
    let words = input.0;
    let word = |at: usize| u64_at(words, at.saturating_mul(8));
    let before = crate::format::window::sum_header(word);
    let mut sum = before;
    for entry in 0..words.len() / 8 / ENTRY_WORDS {
        sum = crate::format::window::sum_entry(sum, |at| word(entry * ENTRY_WORDS + at));
    }
    // The same words, the same sum: the sum of a clean close is compared with that of the next use.
    assert_eq!(before, crate::format::window::sum_header(word));
}

/// A slot of the reserve.
pub(super) fn reserve(data: &[u8]) {
    let mut bytes = [0; SLOT];
    let len = data.len().min(SLOT);
    bytes[..len].copy_from_slice(&data[..len]);
    if let Some(slot) = Reserve::decode(&bytes) {
        assert_eq!(Reserve::decode(&slot.encode()), Some(slot));
    }
    let mut input = Input(data);
    let slot = Reserve {
        generation: input.u64(),
        limit: input.u64(),
        mark_segment: input.u64(),
        mark_position: input.u64(),
        mark_offset: input.u64(),
        mark_timestamp: input.u64() as i64,
        clean: input.byte() & 1 == 1,
        boot: std::array::from_fn(|_| input.byte()),
        owner: input.u64(),
        first: input.u64(),
    };
    let read = Reserve::decode(&slot.encode());
    assert!(read.is_none_or(|read| read == slot));
}

/// A salt and a number, then a record of the journal; then header and slot of one.
pub(super) fn journal(data: &[u8]) {
    let mut input = Input(data);
    let (salt, number) = (input.u32(), input.u64());
    if let Some(record) = journal::Record::decode(input.0, number, salt) {
        let again = record.encode(number, salt);
        assert_eq!(journal::Record::decode(&again, number, salt), Some(record));
    }
    // The same bytes under a checksum that fits, as an attacker would have it.
    let sends = (0..input.pick(4)).map(|_| journal::Send {
        topic: input.u64(),
        partition: input.u32(),
        segment: input.u64(),
        position: input.u64(),
        offset: input.u64(),
        count: input.u32(),
        first: input.u32(),
        bytes: input.u32(),
    });
    let record = journal::Record {
        sends: sends.collect(),
        ..journal::Record::default()
    };
    for send in &record.sends {
        assert!(send.end() >= send.offset && send.end_position() >= send.position);
    }
    let read = journal::Record::decode(&record.encode(number, salt), number, salt);
    assert_eq!(read, Some(record));
    let place = journal::Place::of(number);
    assert!(place.is_none_or(|place| place.word() == number));
    let mut slot = [0; journal::SLOT];
    let len = data.len().min(journal::SLOT);
    slot[..len].copy_from_slice(&data[..len]);
    if let Some(found) = journal::Slot::decode(&slot) {
        assert_eq!(found.encode(), slot);
    }
    if let Some(header) = data.first_chunk() {
        let salt = journal::decode_header(header);
        assert!(salt.is_err() || journal::encode_header(salt.unwrap_or(0)) == *header);
    }
}

/// A kind, then a meta file.
pub(super) fn meta(data: &[u8]) {
    let mut input = Input(data);
    let kind = ["store", "topic", "group"][input.pick(3)];
    let bytes = input.0;
    if let Ok(fields) = text::decode(kind, bytes) {
        let pairs: Vec<_> = fields.iter().map(|(k, v)| (&**k, v.clone())).collect();
        let again = text::encode(kind, &pairs);
        assert_eq!(text::decode(kind, again.as_bytes()), Ok(fields));
    }
    // The same lines with a checksum that is right.
    let mut forged = bytes.to_vec();
    forged.extend_from_slice(format!("crc={:08x}\n", crc32(bytes)).as_bytes());
    let sum =
        |bad: &text::Bad| matches!(bad, text::Bad::Damaged(what) if what.contains("checksum"));
    let told = text::decode(kind, &forged);
    assert!(!told.is_err_and(|bad| sum(&bad)), "the sum is right");
}

/// The name of a file, and of a topic or group.
pub(super) fn names(data: &[u8]) {
    let name = String::from_utf8_lossy(data);
    let parsed = [files::parse_segment(&name), files::parse_index(&name)];
    let built = [files::segment as fn(u64) -> String, files::index];
    for (base, build) in parsed.into_iter().zip(built) {
        if let Some(base) = base {
            assert_eq!(build(base), name);
        }
    }
    if let Some(number) = files::parse_window(&name) {
        assert_eq!(files::window(number), name);
    }
    if let Some(snapshot) = files::parse_snapshot(&name) {
        assert_eq!(files::snapshot(snapshot), name);
    }
    if files::check("topic", &name).is_ok() {
        let path = files::topic_folder(std::path::Path::new("/store"), &name);
        assert_eq!(path.parent(), Some(std::path::Path::new("/store/topics")));
        assert_eq!(path.file_name(), Some(std::ffi::OsStr::new(&*name)));
    }
}

/// A filter's text: what is taken for one is written in a way that parses to the same, and judges
/// any message without a panic, as one does that is read again.
pub(super) fn filter(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Ok(filter) = Filter::parse(&text) else {
        return;
    };
    let stored = filter.as_str();
    assert!(!stored.contains(['\n', '\r']), "a line of group.meta");
    let again = Filter::parse(stored).expect("what was stored parses");
    assert_eq!(again.as_str(), stored);
    let not = Filter::parse(&format!("{{\"not\":{stored}}}"));
    let half = data.len() / 2;
    for key in [
        None,
        Some(&data[..half]),
        Some(&data[half..]),
        Some(&b""[..]),
    ] {
        let headers = Headers::new(data);
        let takes = filter.matches(key, headers.clone());
        assert_eq!(takes, again.matches(key, headers.clone()));
        // One more around it may be too long, or too deep.
        if let Ok(not) = &not {
            assert_ne!(takes, not.matches(key, headers));
        }
    }
}

/// A snapshot: what is taken for one is written to the same bytes, and also what is only under a
/// good checksum.
pub(super) fn snapshot(data: &[u8]) {
    let looks_at = |bytes: &[u8]| {
        if let Ok(snapshot) = Snapshot::decode(bytes) {
            assert_eq!(Snapshot::decode(&snapshot.encode()), Ok(snapshot.clone()));
            for part in &snapshot.parts {
                let all = part.count(part.floor, part.end);
                assert_eq!(all, part.open.len() as u64);
                assert!(
                    part.open
                        .iter()
                        .all(|one| part.find(one.offset) == Some(one))
                );
            }
        }
    };
    looks_at(data);
    let mut forged = data.to_vec();
    if forged.len() >= kept::HEADER {
        forged[..8].copy_from_slice(&kept::MAGIC);
        let sum = crc32_from(crc32(&forged[..kept::CRC]), &forged[kept::HEADER..]);
        forged[kept::CRC..kept::CRC + 4].copy_from_slice(&sum.to_le_bytes());
        looks_at(&forged);
    }
}

/// A headers block.
pub(super) fn headers(data: &[u8]) {
    let found: Vec<_> = Headers::new(data).collect();
    let bytes: usize = found.iter().map(|(n, v)| 6 + n.len() + v.len()).sum();
    assert!(bytes + 2 <= data.len().max(2), "more than there is");
    let mut again = Vec::new();
    encode(&found, &mut again).expect("what was decoded fits");
    assert!(Headers::new(&again).eq(found));
}
