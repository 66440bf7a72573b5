//! `core/docs/format.md` says what the code does: every constant in its tables is compared.

use std::collections::BTreeMap;

use super::*;

const DOCUMENT: &str = include_str!("../../docs/format.md");

/// Names and values, as the code has them.
macro_rules! constants {
    ($($constant:expr,)*) => {
        [$((stringify!($constant), $constant as u64),)*]
    };
}

#[path = "doc_control.rs"]
mod control_constants;

fn in_code() -> BTreeMap<String, u64> {
    let constants = constants![
        segment::VERSION_AT,
        segment::SALT,
        segment::BASE,
        segment::TOPIC,
        segment::PARTITION,
        segment::CAPACITY,
        segment::LIFE,
        segment::CRC,
        segment::RECORDS,
        sums::FIRST,
        sums::MESSAGES,
        sums::BYTES,
        sums::FILES,
        sums::KEPT_MESSAGES,
        sums::KEPT_BYTES,
        sums::CRC,
        sums::GAPS,
        segment::SIZE_MIN,
        segment::SIZE_MAX,
        record::LENGTH,
        record::CRC,
        record::OFFSET,
        record::TIMESTAMP,
        record::KEY_HASH,
        record::KIND,
        record::FLAGS,
        record::EXTENSION_LEN,
        record::KEY_LEN,
        record::HEADERS_LEN,
        record::PAYLOAD_LEN,
        record::HEADER,
        record::ALIGN,
        record::OFFSET_MAX,
        record::MESSAGE,
        record::PADDING,
        record::END,
        record::HAS_KEY,
        record::MORE,
        extension::CRC_BYTES,
        extension::PRIORITY,
        extension::DELIVER_AT,
        extension::EXPIRES_AT,
        extension::LETTER,
        extension::PRODUCER,
        extension::DEDUP,
        extension::PRIORITY_MAX,
        ledger::HEADER,
        ledger::ENTRY,
        ledger::CAPACITY_MAX,
        ledger::FACTOR,
        ledger::header::TOPIC,
        ledger::header::OWNER,
        ledger::header::CAPACITY,
        ledger::header::USED,
        extension::TRANSACTION,
        journal::VERSION_AT,
        journal::SALT,
        journal::CAPACITY,
        journal::CRC,
        journal::HEADER,
        journal::SLOTS[0],
        journal::SLOTS[1],
        journal::SLOT,
        journal::RECORDS,
        journal::UNIT,
        journal::FILE,
        journal::slot::GENERATION,
        journal::slot::HEAD,
        journal::slot::BOOT,
        journal::slot::CRC,
        journal::record::LENGTH,
        journal::record::CRC,
        journal::record::NUMBER,
        journal::record::ID,
        journal::record::FLAGS,
        journal::record::SENDS,
        journal::record::SETTLES,
        journal::record::APPLIED,
        journal::record::HEADER,
        journal::record::SYNC,
        journal::record::WRAP,
        journal::send::TOPIC,
        journal::send::SEGMENT,
        journal::send::POSITION,
        journal::send::OFFSET,
        journal::send::PARTITION,
        journal::send::COUNT,
        journal::send::FIRST,
        journal::send::BYTES,
        journal::send::SIZE,
        journal::settle::GROUP,
        journal::settle::TOPIC,
        journal::settle::OFFSET,
        journal::settle::PARTITION,
        journal::settle::ATTEMPT,
        journal::settle::EPOCH,
        journal::settle::SIZE,
        index::SALT,
        index::COUNT,
        index::CRC,
        index::HEADER,
        index::ENTRY,
        index::SPACING,
        export::VERSION_AT,
        export::HEAD_CRC,
        export::HEAD,
        export::KIND,
        export::LENGTH,
        export::NUMBER,
        export::CRC,
        export::BLOCK,
        export::TOPIC,
        export::MESSAGES,
        export::LOG_END,
        export::GROUP,
        export::STANDING,
        export::OPEN,
        export::SNAPSHOT,
        export::PART,
        export::END,
        export::MESSAGE,
        export::STANDING_HEAD,
        export::OPEN_BYTES,
        export::BODY_MAX,
        export::COUNTERS_MAX,
        snapshot::VERSION_AT,
        snapshot::PARTITIONS,
        snapshot::GROUP,
        snapshot::TAKEN,
        snapshot::CRC,
        snapshot::HEADER,
        snapshot::PART,
        snapshot::OPEN,
        snapshot::OPEN_MAX,
        snapshot::BYTES_MAX,
        window::EPOCH_STEP,
        reserve::SLOTS[0],
        reserve::SLOTS[1],
        reserve::SLOT,
        reserve::FILE,
        reserve::VERSION_AT,
        reserve::CLEAN,
        reserve::GENERATION,
        reserve::LIMIT,
        reserve::MARK_SEGMENT,
        reserve::MARK_POSITION,
        reserve::MARK_OFFSET,
        reserve::MARK_TIMESTAMP,
        reserve::BOOT,
        reserve::OWNER,
        reserve::CRC,
        reserve::FIRST,
        reserve::FIRST_CRC,
        window::HEADER,
        window::WHEEL,
        window::ENTRY,
        window::CAPACITY_MIN,
        window::header::MAGIC,
        window::header::VERSION,
        window::header::GROUP,
        window::header::PARTITION,
        window::header::LIMIT,
        window::header::EPOCH,
        window::header::CAPACITY,
        window::header::FLOOR,
        window::header::NEXT,
        window::header::CURSOR_SEGMENT,
        window::header::CURSOR_POSITION,
        window::header::DYING,
        window::header::COUNTERS,
        window::header::BOOT,
        window::header::CLEAN,
        window::header::CRC,
        window::header::DEAD_FROM,
        window::header::USABLE,
        window::header::SKEW,
        window::header::JOINS,
        window::header::READY_LEVELS,
        window::LEVELS,
        window::CLOSED,
        window::OPENING,
        window::entry::STATE,
        window::entry::HAND_OUT,
        window::entry::LEASE,
        window::entry::KEY_HASH,
        window::entry::FAILED,
        window::entry::PLACE,
        window::entry::CHAIN,
        window::entry::TIMER,
        window::state::FRESH,
        window::state::READY,
        window::state::DELAYED,
        window::state::LEASED,
        window::state::HELD,
        window::state::DYING,
        window::state::SETTLED,
        window::state::SCHEDULED,
        window::state::DEAD,
        window::state::HOLDING,
        window::state::COMMITTING,
        window::cause::UNKNOWN,
        window::cause::NACK,
        window::cause::GIVEN_UP,
        window::cause::LEASE_ENDED,
        window::cause::DIED,
        window::cause::ALL_ENDED,
        window::cause::HOST_RESTARTED,
        window::cause::TOO_LATE,
        window::cause::RETENTION,
        record::RESERVED,
    ];
    constants
        .into_iter()
        .chain(control_constants::in_code())
        .map(|(name, value)| (name.replace(' ', ""), value))
        .chain(
            // Where the magic bytes are is no constant: `p18_the_files_begin_with_their_magic`.
            [
                "segment", "index", "reserve", "snapshot", "journal", "export",
            ]
            .map(|file| (format!("{file}::MAGIC_AT"), 0)),
        )
        .collect()
}

/// Rows `| number | `constant` | meaning |`.
fn in_document() -> BTreeMap<String, u64> {
    let row = |line: &str| {
        let mut cells = line.strip_prefix("| ")?.split(" | ");
        let value = cells.next()?.parse().ok()?;
        let name = cells.next()?.strip_prefix('`')?.strip_suffix('`')?;
        name.contains("::").then(|| (name.to_owned(), value))
    };
    let rows: Vec<(String, u64)> = DOCUMENT.lines().filter_map(row).collect();
    let count = rows.len();
    let map: BTreeMap<String, u64> = rows.into_iter().collect();
    assert_eq!(map.len(), count, "a constant stands twice in the document");
    map
}

#[test]
fn the_documents_tables_are_the_codes_constants() {
    assert_eq!(in_document(), in_code());
}

/// Constants that are no places or values in the table of that name.
const OTHER: [&str; 3] = ["MAGIC", "SLOTS", "COVERED"];
/// Sizes in words and of what is inside, which the text around the tables says.
const IN_WORDS: [&str; 18] = [
    "ledger::ENTRY_WORDS",
    "control::header::LOCKS",
    "window::ENTRY_WORDS",
    "window::header::WORDS",
    "control::MAPPED",
    "control::GROWTH",
    "control::header::WORDS",
    "control::member::STATE",
    "control::member::PROCESS",
    "control::member::BELL",
    "control::consumer::MEMBER",
    "control::consumer::GROUP",
    "control::consumer::NAME",
    "control::consumer::NAME_BYTES",
    "control::block::WORDS",
    "control::partition::WORDS",
    "control::group_partition::WORDS",
    "control::SIGNATURE",
];

/// Constants of a source by their path, those in its public modules included.
fn constants_of(file: &str, source: &str) -> Vec<String> {
    let (mut path, mut found) = (file.to_owned(), Vec::new());
    for line in source.lines() {
        if let Some(name) = line.strip_prefix("pub mod ") {
            path = format!("{file}::{}", name.trim_end_matches(" {"));
        } else if line == "}" {
            path = file.to_owned();
        }
        let constant = line.trim_start().strip_prefix("pub const ");
        if let Some(rest) = constant.filter(|rest| !rest.starts_with("fn ")) {
            let name = rest.split(':').next().unwrap_or_default();
            found.push(format!("{path}::{name}"));
        }
    }
    found
}

#[test]
fn every_place_in_a_structure_stands_in_the_document() {
    let sources = [
        ("record", include_str!("record.rs")),
        ("extension", include_str!("extension.rs")),
        ("segment", include_str!("segment.rs")),
        ("reserve", include_str!("reserve.rs")),
        ("index", include_str!("index.rs")),
        ("snapshot", include_str!("snapshot.rs")),
        ("journal", include_str!("journal.rs")),
        ("export", include_str!("export.rs")),
        ("window", include_str!("window.rs")),
        ("ledger", include_str!("ledger.rs")),
        ("control", include_str!("control.rs")),
    ];
    let (document, mut looked_at) = (in_document(), 0);
    for (file, source) in sources {
        for full in constants_of(file, source) {
            looked_at += 1;
            let name = full.rsplit("::").next().unwrap_or_default();
            let aside = IN_WORDS.contains(&&*full)
                || (OTHER.contains(&name) && !full.contains("::header::"));
            assert!(
                aside || document.contains_key(&full),
                "{full} is not in format.md"
            );
        }
    }
    assert!(looked_at > 120, "only {looked_at} were found");
}

#[test]
fn p18_the_files_begin_with_their_magic() {
    let header = segment::SegmentHeader {
        salt: 7,
        base: 1,
        topic: 2,
        partition: 3,
        capacity: 4096,
        life: 0,
    };
    assert!(header.encode().starts_with(b"LQSEGMT\0"));
    assert!(index::encode(7, &[]).starts_with(b"LQINDEX1"));
    assert!(journal::encode_header(7).starts_with(b"LQTRANS\0"));
    assert!(
        reserve::Reserve::default()
            .encode()
            .starts_with(b"LQRESRV\0")
    );
    assert!(
        snapshot::Snapshot::default()
            .encode()
            .starts_with(b"LQSNAPS\0")
    );
    assert_eq!(window::MAGIC.to_le_bytes(), *b"LQWINDOW");
    assert_eq!(ledger::MAGIC.to_le_bytes(), *b"LQSENT\0\0");
    assert!(DOCUMENT.contains(&String::from_utf8_lossy(&control::SIGNATURE.to_le_bytes())[..]));
}
