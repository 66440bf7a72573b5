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

fn in_code() -> BTreeMap<String, u64> {
    let constants = constants![
        segment::VERSION_AT,
        segment::SALT,
        segment::BASE,
        segment::TOPIC,
        segment::PARTITION,
        segment::CAPACITY,
        segment::CRC,
        segment::RECORDS,
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
        extension::PRIORITY_MAX,
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
        window::cause::UNKNOWN,
        window::cause::NACK,
        window::cause::GIVEN_UP,
        window::cause::LEASE_ENDED,
        window::cause::DIED,
        window::cause::ALL_ENDED,
        window::cause::HOST_RESTARTED,
        window::cause::TOO_LATE,
        window::cause::RETENTION,
        control::lock::STORE_BYTE,
        control::lock::READER_BYTE,
        control::lock::MEMBER_BYTES,
        control::header::SIGNATURE,
        control::header::LAID_OUT,
        control::header::BOOT,
        control::header::ALLOCATED,
        control::header::REGISTRY_LOCK,
        control::header::CREATE_LOCK,
        control::header::FIRST_BLOCK,
        control::header::LAST_PROBE,
        control::header::DEATH_LOCK,
        control::header::BALLAST_GIVEN_UP,
        control::header::BALLAST_LOCK,
        control::header::NEXT_CONSUMER,
        control::member::AT,
        control::member::SLOTS,
        control::member::WORDS,
        control::consumer::AT,
        control::consumer::SLOTS,
        control::consumer::WORDS,
        control::consumer::DELIVERED,
        control::consumer::ACKED,
        control::consumer::FAILED,
        control::consumer::PROCESS,
        control::consumer::SINCE,
        control::BLOCKS,
        control::block::NEXT,
        control::block::ID,
        control::block::PARTITIONS,
        control::block::KIND,
        control::block::EVENT,
        control::block::TOPIC,
        control::block::GROUPS_EVENT,
        control::block::MOVER_LOCK,
        control::block::LIFE_LOCK,
        control::block::NAMED,
        control::block::PRIORITIES,
        control::block::NEWS,
        control::block::WATCHERS,
        control::block::CHANGED,
        control::block::LANE,
        control::block::CHANGING,
        control::block::HOLDING,
        control::block::CHANGE,
        control::block::GONE,
        control::block::RETAIN_LOCK,
        control::block::RETAIN_DUE,
        control::block::LETTERS,
        control::block::NO_LETTERS,
        control::block::SOME_LETTERS,
        control::partition::LOCK,
        control::partition::SYNC_LOCK,
        control::partition::SLOW_LOCK,
        control::partition::RECOVERED,
        control::partition::NEXT_OFFSET,
        control::partition::SEGMENT,
        control::partition::POSITION,
        control::partition::LAST_TIMESTAMP,
        control::partition::LIMIT,
        control::partition::STEP,
        control::partition::SYNCED,
        control::partition::MARK,
        control::partition::VOIDS,
        control::partition::SYNC_EVENT,
        control::partition::POISONED,
        control::partition::TAIL,
        control::partition::TAILS,
        control::partition::LARGE_LOCK,
        control::partition::LARGE_POSITION,
        control::partition::LARGE_SEGMENT,
        control::partition::LARGE_OFFSET,
        control::partition::PROMISED,
        control::partition::SEALED_SEGMENT,
        control::partition::SEALED_POSITION,
        control::partition::MARKS,
        control::partition::DELETED,
        control::partition::FIRST_KEPT,
        control::partition::REMOVED,
        control::partition::REWRITTEN,
        control::partition::REWRITE,
        control::partition::PROMISED_INTERVAL,
        control::partition::PROMISED_SYNC,
        record::RESERVED,
        control::group_partition::LOCK,
        control::group_partition::REBUILT,
        control::group_partition::MOVED,
        control::group_partition::SYNC_LOCK,
        control::group_partition::COUNTED,
        control::flow::LOCK,
        control::flow::COUNT_LOCK,
        control::flow::NEWS,
        control::flow::LIMITED,
        control::flow::EVENT,
        control::flow::ROOM_MESSAGES,
        control::flow::ROOM_BYTES,
        control::flow::ROOM_NEWS,
        control::flow::ROOM_CHANGED,
        control::flow::USED_MESSAGES,
        control::flow::USED_BYTES,
        control::flow::ERA,
        control::flow::PACE,
        control::flow::RATE,
        control::flow::RATE_AT,
        control::flow::RATE_SETTLED,
        control::flow::HEAD,
        control::flow::TAIL,
        control::flow::SINCE,
        control::flow::WAITING,
        control::flow::COUNTED,
        control::flow::WAITING_SLOTS,
        control::flow::WAITING_WORDS,
        control::flow::COUNTED_WORDS,
    ];
    constants
        .into_iter()
        .map(|(name, value)| (name.replace(' ', ""), value))
        .chain(
            // Where the magic bytes are is no constant: `p18_the_files_begin_with_their_magic`.
            ["segment", "index", "reserve", "snapshot", "export"]
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
const IN_WORDS: [&str; 17] = [
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
        ("export", include_str!("export.rs")),
        ("window", include_str!("window.rs")),
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
    };
    assert!(header.encode().starts_with(b"LQSEGMT\0"));
    assert!(index::encode(7, &[]).starts_with(b"LQINDEX1"));
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
    assert!(DOCUMENT.contains(&String::from_utf8_lossy(&control::SIGNATURE.to_le_bytes())[..]));
}
