//! Every file name of a store, built and parsed here alone; and the rules for names of things.

use std::path::{Path, PathBuf};

use super::record::OFFSET_MAX;
use crate::error::{Error, ErrorKind, Result};

/// Options of the store, written once.
pub const STORE_META: &str = "store.meta";
/// Kernel locks.
pub const LOCK: &str = "lock";
/// Shared memory, rebuilt by whoever is alone.
pub const CONTROL: &str = "control";
/// Room that is given up for dead letters on a full disk.
pub const BALLAST: &str = "ballast";
/// The journal of transactions.
pub const TRANSACTIONS: &str = "transactions.log";
/// Folder in which a store is copied out, before it is one.
pub const RECOVERING: &str = ".recovering";
/// Folder of the topics.
pub const TOPICS: &str = "topics";
/// Configuration of a topic.
pub const TOPIC_META: &str = "topic.meta";
/// Beside the configuration of a topic: it was deleted, and its files are being removed.
pub const TOPIC_DELETED: &str = "topic.deleted";
/// In a topic's folder, empty: there may be messages with a priority.
pub const PRIORITIES: &str = "priorities";
/// Folder of the tables of a topic's dedup ids.
pub const DEDUP: &str = "dedup";
/// In that folder: which tables are whole on disk, and up to where they know the log.
pub const DEDUP_MARK: &str = "mark";
/// Folder of a topic's named producers.
pub const PRODUCERS: &str = "producers";
/// Which opening of a producer may send, and up to where its ring knows the log.
pub const PRODUCER_META: &str = "producer.meta";
/// A producer's last messages.
pub const RING: &str = "ring";
/// Folder of a topic's groups.
pub const GROUPS: &str = "groups";
/// Configuration of a group.
pub const GROUP_META: &str = "group.meta";
/// Beside the configuration of a group: it was deleted, and its files are being removed.
pub const GROUP_DELETED: &str = "group.deleted";
/// Offsets that may have been handed out, and the durable mark.
pub const RESERVE: &str = "reserve";
/// The next segment, prepared ahead.
pub const NEXT_SEGMENT: &str = "next";
/// Up to where a partition was compacted, and what that took.
pub const COMPACTED: &str = "compacted";
/// What the names of redrive lanes begin with, which no other group's may.
const LANE_PREFIX: &str = "lq.redrive.";
/// Longest name of a topic or group.
pub const NAME_MAX: usize = 249;

/// Longest name of a snapshot.
pub const SNAPSHOT_NAME_MAX: usize = 64;

const IMPORTING: &str = ".import-";
const PUT_AWAY: &str = ".deleted-";
const TEMPORARY: &str = ".new";

const SNAPSHOT_SUFFIX: &str = ".snapshot";
const SEGMENT_SUFFIX: &str = ".log";
const INDEX_SUFFIX: &str = ".index";
const WINDOW_SUFFIX: &str = ".window";
const TABLE_SUFFIX: &str = ".table";

/// Errors with [`ErrorKind::InvalidName`] unless the name can be a topic's or group's.
pub fn check(what: &str, name: &str) -> Result<()> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let fits = (1..=NAME_MAX).contains(&name.len());
    if fits && name.chars().all(allowed) && name != "." && name != ".." {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::InvalidName,
        format!(
            "{what} name {name:?} has {} bytes; expected 1 to {NAME_MAX} of the characters \
             A-Z a-z 0-9 . _ - and neither \".\" nor \"..\"",
            name.len()
        ),
    ))
}

/// The folder of a topic.
#[must_use]
pub fn topic_folder(store: &Path, topic: &str) -> PathBuf {
    store.join(TOPICS).join(topic)
}

/// The sparse index of a segment.
#[must_use]
pub fn index(base: u64) -> String {
    format!("{base:020}{INDEX_SUFFIX}")
}

/// The name of a sparse index while the member in this slot writes it: several may at once.
#[must_use]
pub fn unfinished_index(base: u64, slot: u16) -> String {
    format!(".{}.{slot}{TEMPORARY}", index(base))
}

/// The partition whose folder this is the name of.
#[must_use]
pub fn parse_partition(name: &str) -> Option<u32> {
    // As `partition_folder` writes it, so not "01".
    let number = name.parse::<u32>().ok()?;
    (number.to_string() == name).then_some(number)
}

/// The folder of a partition.
#[must_use]
pub fn partition_folder(topic: &Path, partition: u32) -> PathBuf {
    topic.join(partition.to_string())
}

/// The folder of a group.
#[must_use]
pub fn group_folder(topic: &Path, group: &str) -> PathBuf {
    topic.join(GROUPS).join(group)
}

/// A segment's file name.
#[must_use]
pub fn segment(base: u64) -> String {
    format!("{base:020}{SEGMENT_SUFFIX}")
}

/// The base offset of a segment's file name; `None` for any other name.
#[must_use]
pub fn parse_segment(name: &str) -> Option<u64> {
    parse_base(name, SEGMENT_SUFFIX)
}

/// The name of a segment's file while it is written anew.
#[must_use]
pub fn rewritten(base: u64) -> String {
    format!(".{}.new", segment(base))
}

/// The base offset of the segment that a file of this name was to be put in the place of.
#[must_use]
pub fn parse_rewritten(name: &str) -> Option<u64> {
    parse_segment(name.strip_prefix('.')?.strip_suffix(".new")?)
}

/// The base offset of the segment whose sparse index has this name; `None` for any other name.
#[must_use]
pub fn parse_index(name: &str) -> Option<u64> {
    parse_base(name, INDEX_SUFFIX)
}

/// The base offset of the segment whose sparse index was to be in a file of this name, whoever
/// wrote it.
#[must_use]
pub fn parse_unfinished_index(name: &str) -> Option<u64> {
    let (index, slot) = name
        .strip_prefix('.')?
        .strip_suffix(TEMPORARY)?
        .rsplit_once('.')?;
    slot.parse::<u16>().ok().and_then(|_| parse_index(index))
}

/// File of a table of dedup ids.
#[must_use]
pub fn table(number: u64) -> String {
    format!("{number:020}{TABLE_SUFFIX}")
}

/// The number that a table's file name states.
#[must_use]
pub fn parse_table(name: &str) -> Option<u64> {
    parse_base(name, TABLE_SUFFIX)
}

fn parse_base(name: &str, suffix: &str) -> Option<u64> {
    let digits = name.strip_suffix(suffix)?;
    let plain = digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit());
    let base = if plain { digits.parse().ok() } else { None };
    base.filter(|base| *base <= OFFSET_MAX)
}

/// A delivery window's file name.
#[must_use]
pub fn window(partition: u32) -> String {
    format!("{partition}{WINDOW_SUFFIX}")
}

/// The partition of a delivery window's file name; `None` for any other name.
#[must_use]
pub fn parse_window(name: &str) -> Option<u32> {
    let number = name.strip_suffix(WINDOW_SUFFIX)?.parse().ok()?;
    (window(number) == name).then_some(number)
}

/// Errors with [`ErrorKind::InvalidName`] unless the name can be a snapshot's: one that nobody
/// takes for an offset, a time, or an end of the log.
pub fn check_snapshot(name: &str) -> Result<()> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let fits = name.len() <= SNAPSHOT_NAME_MAX && name.chars().all(allowed);
    let begins = name.starts_with(|c: char| c.is_ascii_alphabetic());
    if fits && begins && !["earliest", "latest"].contains(&name) {
        return Ok(());
    }
    let message = format!(
        "snapshot name {name:?} has {} bytes; expected a letter and up to {} more of the \
         characters A-Z a-z 0-9 . _ -, and neither \"earliest\" nor \"latest\"",
        name.len(),
        SNAPSHOT_NAME_MAX - 1
    );
    Err(Error::new(ErrorKind::InvalidName, message))
}

/// A snapshot's file name.
#[must_use]
pub fn snapshot(name: &str) -> String {
    format!("{name}{SNAPSHOT_SUFFIX}")
}

/// The name of the snapshot whose file has this name; `None` for any other name.
#[must_use]
pub fn parse_snapshot(file: &str) -> Option<&str> {
    let name = file.strip_suffix(SNAPSHOT_SUFFIX)?;
    check_snapshot(name).is_ok().then_some(name)
}

/// Who writes a snapshot under another name: this life of `control`, and a member's slot and
/// generation in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Writer {
    /// LAID_OUT of `control`.
    pub life: u64,
    /// The member's slot.
    pub slot: u16,
    /// The slot's generation.
    pub generation: u32,
}

/// The name of a snapshot's file while it is written; `draw` tells those of one writer apart.
#[must_use]
pub fn unfinished_snapshot(name: &str, writer: Writer, draw: u64) -> String {
    let Writer {
        life,
        slot,
        generation,
    } = writer;
    let file = snapshot(name);
    format!(".{file}.{life:016x}-{slot:04x}-{generation:08x}-{draw:016x}{TEMPORARY}")
}

/// Who was writing a snapshot in a file of this name; `None` for any other name.
#[must_use]
pub fn parse_unfinished_snapshot(file: &str) -> Option<Writer> {
    let inner = file.strip_prefix('.')?.strip_suffix(TEMPORARY)?;
    let (snapshot, writer) = inner.rsplit_once('.')?;
    let name = parse_snapshot(snapshot)?;
    let mut parts = writer.split('-').map(|part| u64::from_str_radix(part, 16));
    let mut part = || parts.next()?.ok();
    let found = Writer {
        life: part()?,
        slot: part()?.try_into().ok()?,
        generation: part()?.try_into().ok()?,
    };
    let draw = part()?;
    (unfinished_snapshot(name, found, draw) == file).then_some(found)
}

/// The folder of a store in which the files of a deleted topic or group are, out of the way, until
/// they are removed.
#[must_use]
pub fn put_away(draw: u64) -> String {
    format!("{PUT_AWAY}{draw:016x}{TEMPORARY}")
}

/// Whether a name is that of such a folder.
#[must_use]
pub fn is_put_away(name: &str) -> bool {
    name.starts_with(PUT_AWAY) && name.ends_with(TEMPORARY)
}

/// The folder beside it in which a backup of this name is made.
#[must_use]
pub fn being_backed_up(name: &str) -> String {
    format!(".{name}.backup")
}

/// The folder of a store in which topics are written that are being imported.
#[must_use]
pub fn being_imported(draw: u64) -> String {
    format!("{IMPORTING}{draw:016x}{TEMPORARY}")
}

/// Whether a name is that of such a folder.
#[must_use]
pub fn is_being_imported(name: &str) -> bool {
    name.starts_with(IMPORTING) && name.ends_with(TEMPORARY)
}

/// The default dead-letter topic of a group.
#[must_use]
pub fn dead_letter_topic(topic: &str, group: &str) -> String {
    format!("{topic}.{group}.dlq")
}

/// The group, of a group's dead-letter topic, that is the redrive lane of the one with this id.
#[must_use]
pub fn redrive_lane(group: u64) -> String {
    format!("{LANE_PREFIX}{group:016x}")
}

/// The id of the group whose redrive lane has this name; `None` for any other name.
#[must_use]
pub fn parse_redrive_lane(name: &str) -> Option<u64> {
    let group = u64::from_str_radix(name.strip_prefix(LANE_PREFIX)?, 16).ok()?;
    (redrive_lane(group) == name).then_some(group)
}

/// Whether a group's name is kept for redrive lanes.
#[must_use]
pub fn is_reserved(name: &str) -> bool {
    name.starts_with(LANE_PREFIX)
}

/// As `check`, of a group that users name: lanes are the library's.
pub fn check_group(name: &str) -> Result<()> {
    check("group", name)?;
    if !is_reserved(name) {
        return Ok(());
    }
    let message = format!(
        "group name {name:?} begins with {LANE_PREFIX:?}, which is kept for the redrive of dead \
         letters; take another name"
    );
    Err(Error::new(ErrorKind::InvalidName, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_lanes_round_trip_and_are_nobody_elses() {
        assert_eq!(parse_redrive_lane(&redrive_lane(0xab)), Some(0xab));
        assert_eq!(redrive_lane(u64::MAX), "lq.redrive.ffffffffffffffff");
        for stranger in [
            "lq.redrive.",
            "lq.redrive.ab",
            "lq.redrive.00000000000000AB",
        ] {
            assert_eq!(parse_redrive_lane(stranger), None, "{stranger}");
            let error = check_group(stranger).expect_err("reserved");
            assert_eq!(error.kind(), ErrorKind::InvalidName);
        }
        check_group("lq.redriven").expect("a plain name");
    }

    #[test]
    fn p16_a_snapshot_has_no_name_that_is_an_end_an_offset_or_a_time() {
        assert_eq!(parse_snapshot(&snapshot("before-5")), Some("before-5"));
        let long = "x".repeat(65);
        for bad in [
            "",
            "earliest",
            "latest",
            "12",
            "2026-11-26",
            "-1",
            ".a",
            "a b",
            "a/b",
            &long,
        ] {
            let error = check_snapshot(bad).expect_err(bad);
            assert_eq!(error.kind(), ErrorKind::InvalidName);
            assert_eq!(parse_snapshot(&snapshot(bad)), None);
        }
        check_snapshot("latest2").expect("a plain name");
    }

    #[test]
    fn p17_of_a_snapshot_that_is_being_written_the_name_says_by_whom() {
        let writer = Writer {
            life: u64::MAX,
            slot: 2045,
            generation: 7,
        };
        let file = unfinished_snapshot("a.snapshot-b", writer, 5);
        assert_eq!(parse_unfinished_snapshot(&file), Some(writer));
        assert_eq!(parse_snapshot(&file), None);
        for stranger in [
            ".a.snapshot.new",
            "a.snapshot",
            ".a.snapshot.1-2-3-4.new",
            ".a.snapshot.00000000000000g1-0001-00000001-0000000000000001.new",
            ".latest.snapshot.0000000000000001-0001-00000001-0000000000000001.new",
            "..snapshot.0000000000000001-0001-00000001-0000000000000001.new",
        ] {
            assert_eq!(parse_unfinished_snapshot(stranger), None, "{stranger}");
        }
        assert!(is_put_away(&put_away(7)) && !is_put_away(&being_imported(7)));
    }

    #[test]
    fn names_round_trip_and_strangers_are_not_segments() {
        assert_eq!(parse_segment(&segment(OFFSET_MAX)), Some(OFFSET_MAX));
        assert_eq!(parse_segment(&segment(u64::MAX)), None, "no such offset");
        assert_eq!(parse_segment(&segment(0)), Some(0));
        assert_eq!(parse_index(&index(7)), Some(7));
        assert_eq!(parse_unfinished_index(&unfinished_index(7, 2)), Some(7));
        assert_eq!(parse_index(&unfinished_index(7, 2)), None);
        assert_eq!(parse_rewritten(&rewritten(7)), Some(7));
        assert_eq!(parse_segment(&rewritten(7)), None);
        assert_eq!(parse_index(&segment(7)), None);
        assert_eq!(parse_window(&window(7)), Some(7));
        assert_eq!(parse_window("07.window"), None);
        for stranger in [
            "next",
            "1.log",
            "+0000000000000000001.log",
            "99999999999999999999.log",
        ] {
            assert_eq!(parse_segment(stranger), None, "{stranger}");
        }
    }

    #[test]
    fn hostile_names_are_refused() {
        for name in [
            "",
            ".",
            "..",
            "a/b",
            "a b",
            "\u{e9}",
            "a\0",
            &"x".repeat(250),
        ] {
            let error = check("topic", name).expect_err(name);
            assert_eq!(error.kind(), ErrorKind::InvalidName);
        }
        check("topic", "orders.billing.dlq").expect("a plain name");
    }
}
