//! What must hold between files, and of what has a whole checksum: each is checked (P3).

use super::*;
use crate::format::index::Entry;
use crate::format::meta;
use crate::format::record::{HEADER, Header};
use crate::format::reserve::{Reserve, SLOT, SLOTS};
use crate::format::window::{ENTRY, Parts, header, sum_entry, sum_header};
use crate::format::{checksum::crc32, index, u32_at, u64_at};

fn damage(store: &Path) -> Vec<String> {
    let all = quietly(store).damage;
    all.iter()
        .map(|one| format!("{} at {}: {}", one.file.display(), one.position, one.what))
        .collect()
}

/// Exactly one place is damaged, and what is said of it.
fn only(store: &Path, file: &Path, what: &str) {
    let found = damage(store);
    let named = found
        .first()
        .is_some_and(|one| one.starts_with(&file.display().to_string()) && one.contains(what));
    assert!(
        found.len() == 1 && named,
        "expected {what:?} of {file:?}: {found:#?}"
    );
}

/// Changes a record, and gives it the checksum that fits.
fn rewrite(segment: &Path, at: u64, change: impl Fn(&mut Header, &mut Vec<u8>)) {
    let bytes = fs::read(segment).expect("read");
    let (salt, at) = (u32_at(&bytes, 12), at as usize);
    let length = u32_at(&bytes, at) as usize;
    let head = bytes[at..at + HEADER].first_chunk().expect("header");
    let (mut header, mut body) = (
        Header::decode(head),
        bytes[at + HEADER..at + length].to_vec(),
    );
    change(&mut header, &mut body);
    let head = header.encode(length as u32, salt, crc32(&body));
    put(segment, at as u64, &[&head[..], &body].concat());
}

/// Position of the second of the records of `fill`, which are all of one length.
fn second(store: &Path) -> u64 {
    let bytes = fs::read(first_segment(store)).expect("read");
    RECORDS + u64::from(u32_at(&bytes, RECORDS as usize)).next_multiple_of(8)
}

#[test]
fn p3_times_never_fall_and_hashes_flags_and_headers_fit() {
    let folder = tempfile::tempdir().expect("folder");
    small(folder.path());
    let (segment, at) = (first_segment(folder.path()), second(folder.path()));
    type Change = fn(&mut Header, &mut Vec<u8>);
    let cases: [(&str, Change); 6] = [
        ("times never fall", |header, _| {
            header.timestamp_ns -= 1 << 40
        }),
        ("key hash", |header, _| header.key_hash ^= 1),
        ("says it has none", |header, _| header.flags = 0),
        ("flags", |header, _| header.flags |= 0x40),
        ("whole block", |header, body| {
            body[header.key_len as usize] += 1
        }),
        ("whole block", |header, body| {
            body[header.key_len as usize + 8] = 0xFF
        }),
    ];
    let intact = fs::read(&segment).expect("read");
    for (what, change) in cases {
        rewrite(&segment, at, change);
        only(folder.path(), &segment, what);
        let report = quietly(folder.path());
        assert_eq!(report.messages, 4, "it can be read all the same");
        assert_eq!(report.damage[0].lost, None);
        fs::write(&segment, &intact).expect("write");
    }
    assert_eq!(damage(folder.path()), [""; 0]);
}

#[test]
fn p3_index_entries_name_records() {
    let folder = tempfile::tempdir().expect("folder");
    rolled(folder.path());
    let path = partition(folder.path()).join("00000000000000000000.index");
    let bytes = fs::read(&path).expect("read");
    let salt = u32_at(&bytes, 8);
    let entries = index::decode(&bytes, salt).expect("whole");
    assert!(entries.len() > 2);
    let changes: [fn(&mut Entry); 3] = [
        |entry| entry.offset += 1,
        |entry| entry.timestamp_ns += 1,
        |entry| entry.position += 8,
    ];
    for change in changes {
        let mut wrong = entries.clone();
        change(&mut wrong[1]);
        fs::write(&path, index::encode(salt, &wrong)).expect("write");
        only(folder.path(), &path, "which is not so");
    }
    // Of another life of the segment: nobody believes it.
    fs::write(&path, index::encode(salt ^ 2, &entries[1..])).expect("write");
    assert_eq!(damage(folder.path()), [""; 0]);
}

fn edit_reserve(store: &Path, edit: impl Fn(&mut Reserve)) {
    let path = partition(store).join("reserve");
    let bytes = fs::read(&path).expect("read");
    let slot = |at: u64| {
        let slot = bytes[at as usize..].first_chunk::<SLOT>();
        slot.and_then(Reserve::decode)
    };
    let generation = |at: &u64| slot(*at).map(|slot| slot.generation);
    let at = SLOTS.into_iter().max_by_key(generation).expect("two");
    let mut changed = slot(at).expect("whole");
    edit(&mut changed);
    put(&path, at, &changed.encode());
}

#[test]
fn p3_the_mark_lies_between_records_and_below_the_limit() {
    let folder = tempfile::tempdir().expect("folder");
    small(folder.path());
    let path = partition(folder.path()).join("reserve");
    let intact = fs::read(&path).expect("read");
    let at = second(folder.path());
    edit_reserve(folder.path(), |slot| {
        (slot.clean, slot.mark_position) = (false, at + 8);
    });
    only(folder.path(), &path, "inside of the record");
    fs::write(&path, &intact).expect("write");
    edit_reserve(folder.path(), |slot| {
        (slot.clean, slot.mark_position, slot.mark_offset) = (false, at, 2);
    });
    only(folder.path(), &path, "behind its mark");
    fs::write(&path, &intact).expect("write");
    edit_reserve(folder.path(), |slot| slot.mark_offset = slot.limit + 1);
    only(folder.path(), &path, "are covered");
}

/// Changes a window that was closed cleanly, and gives it the checksum that fits.
pub(super) fn rewrite_window(path: &Path, change: impl Fn(&mut Vec<u8>, &Parts)) {
    let mut bytes = fs::read(path).expect("read");
    let limit = u64_at(&bytes, header::LIMIT * 8) as u32;
    let parts = Parts::of(limit);
    change(&mut bytes, &parts);
    let word = |at: usize| u64_at(&bytes, at * 8);
    let mut sum = sum_header(word);
    for offset in word(header::FLOOR)..word(header::NEXT) {
        let number = (offset & (word(header::CAPACITY) - 1)) as usize;
        let first = (parts.entries + number * ENTRY) / 8;
        sum = sum_entry(sum, |at| word(first + at));
    }
    bytes[header::CRC * 8..][..8].copy_from_slice(&u64::from(sum).to_le_bytes());
    fs::write(path, bytes).expect("write");
}

#[test]
fn p3_a_windows_end_is_in_the_log_and_its_entries_fit_together() {
    let folder = tempfile::tempdir().expect("folder");
    let store = fill(folder.path());
    let opened = store.open_topic("t").expect("topic");
    let consumer = opened
        .consumer("g", &ConsumerOptions::default())
        .expect("consumer");
    let got = consumer.receive(3, Some(Duration::ZERO)).expect("receive");
    assert!(!got.is_empty());
    drop((got, consumer, opened));
    store.close().expect("close");
    let file = window(folder.path());
    let intact = fs::read(&file).expect("read");
    let set = |bytes: &mut Vec<u8>, at: usize, value: u64| {
        bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
    };
    let floor = u64_at(&intact, header::FLOOR * 8);
    assert!(
        u64_at(&intact, header::NEXT * 8) > floor,
        "an entry is in use"
    );
    rewrite_window(&file, |bytes, _| {
        set(bytes, header::FLOOR * 8, 1000);
        set(bytes, header::NEXT * 8, 1000);
    });
    only(folder.path(), &file, "the log ends below 4");
    fs::write(&file, &intact).expect("write");
    for wrong in [0, 1000, 4096] {
        rewrite_window(&file, |bytes, _| set(bytes, header::USABLE * 8, wrong));
        only(folder.path(), &file, "entries may be in use");
        fs::write(&file, &intact).expect("write");
    }
    for (word, bits) in [(0, 0x10), (1, 1 << 33)] {
        rewrite_window(&file, |bytes, parts| {
            let at = parts.entries + floor as usize * ENTRY + word * 8;
            let old = u64_at(bytes, at);
            set(bytes, at, old ^ bits);
        });
        only(folder.path(), &file, "the entry of offset");
        fs::write(&file, &intact).expect("write");
    }
    assert_eq!(damage(folder.path()), [""; 0]);
}

#[test]
fn p3_every_field_of_a_meta_file_is_looked_at() {
    let folder = tempfile::tempdir().expect("folder");
    small(folder.path());
    let cases = [
        ("store", "store.meta", "id", "12", "32 hexadecimal digits"),
        (
            "topic",
            "topics/t/topic.meta",
            "partitions",
            "0",
            "1 to 1024",
        ),
        (
            "topic",
            "topics/t/topic.meta",
            "max_message_bytes",
            "x",
            "max_message_bytes",
        ),
        (
            "topic",
            "topics/t/topic.meta",
            "durability",
            "much",
            "durability",
        ),
        ("topic", "topics/t/topic.meta", "id", "z", "id"),
        (
            "group",
            "topics/t/groups/g/group.meta",
            "ordering",
            "any",
            "ordering",
        ),
        (
            "group",
            "topics/t/groups/g/group.meta",
            "lease_us",
            "0",
            "lease",
        ),
        (
            "group",
            "topics/t/groups/g/group.meta",
            "window",
            "1",
            "window",
        ),
        (
            "group",
            "topics/t/groups/g/group.meta",
            "starts",
            "0 0",
            "2 partitions",
        ),
        (
            "group",
            "topics/t/groups/g/group.meta",
            "starts",
            "-",
            "starts",
        ),
    ];
    for (kind, name, key, value, what) in cases {
        let path = folder.path().join(name);
        let intact = fs::read(&path).expect("read");
        let mut fields = meta::decode(kind, &intact).expect("whole");
        fields.insert(key.into(), value.into());
        let pairs: Vec<(&str, String)> = fields
            .iter()
            .map(|(k, v)| (k.as_str(), v.clone()))
            .collect();
        fs::write(&path, meta::encode(kind, &pairs)).expect("write");
        only(folder.path(), &path, what);
        fs::write(&path, intact).expect("write");
    }
    assert_eq!(damage(folder.path()), [""; 0]);
}

#[test]
fn p3_what_is_missing_too_long_or_unknown_is_told_of() {
    let folder = tempfile::tempdir().expect("folder");
    small(folder.path());
    let meta = folder.path().join("store.meta");
    let text = fs::read(&meta).expect("read");
    fs::remove_file(&meta).expect("remove");
    only(folder.path(), &meta, "missing");
    fs::write(&meta, text).expect("write");
    let lock = folder.path().join("lock");
    fs::write(&lock, "x").expect("write");
    only(folder.path(), &lock, "expected none");
    fs::write(&lock, "").expect("write");
    let segment = first_segment(folder.path());
    let file = fs::OpenOptions::new()
        .write(true)
        .open(&segment)
        .expect("open");
    file.set_len((1 << 20) + 4096).expect("longer");
    only(folder.path(), &segment, "goes on here");
    file.set_len(1 << 20).expect("as it was");
    let seven = folder.path().join("topics/t/7");
    fs::create_dir(&seven).expect("folder");
    fs::copy(&segment, seven.join("00000000000000000000.log")).expect("copy");
    let found = damage(folder.path());
    assert!(
        found
            .iter()
            .any(|one| one.contains("the topic has 1 partitions")),
        "{found:?}"
    );
    fs::remove_dir_all(&seven).expect("remove");
    let strangers = [
        "a",
        "topics/t/0/b.log",
        "topics/t/groups/g/01.window",
        "topics/c d",
    ];
    for name in strangers {
        fs::write(folder.path().join(name), "?").expect("write");
    }
    fs::write(folder.path().join("topics/t/.topic.meta.new"), "?").expect("write");
    let report = quietly(folder.path());
    let expected: Vec<PathBuf> = strangers
        .iter()
        .map(|name| folder.path().join(name))
        .collect();
    let sorted = |mut list: Vec<PathBuf>| {
        list.sort();
        list
    };
    assert_eq!(
        (report.damage, sorted(report.unknown)),
        (vec![], sorted(expected))
    );
}

#[test]
fn p3_what_can_be_read_is_told_by_partition() {
    let folder = tempfile::tempdir().expect("folder");
    rolled(folder.path());
    let readable = |path: &Path| {
        let report = quietly(path);
        assert_eq!(report.partitions.len(), 1);
        let one = report.partitions[0].clone();
        assert_eq!((one.topic.as_str(), one.partition), ("t", 0));
        assert_eq!(
            one.messages,
            one.readable
                .iter()
                .map(|some| some.end - some.start)
                .sum::<u64>()
        );
        let pairs = |all: Vec<std::ops::Range<u64>>| -> Vec<(u64, u64)> {
            all.into_iter().map(|some| (some.start, some.end)).collect()
        };
        (pairs(one.readable), pairs(one.lost))
    };
    assert_eq!(damage(folder.path()), [""; 0]);
    assert_eq!(readable(folder.path()), (vec![(0, 40)], vec![]));
    let segment = first_segment(folder.path());
    flip(&segment, RECORDS + 100, 1);
    assert_eq!(readable(folder.path()), (vec![(1, 40)], vec![(0, 1)]));
    let report = quietly(folder.path());
    assert_eq!(report.damage[0].lost, Some(0..1));
    fs::remove_file(&segment).expect("remove");
    let (found, lost) = readable(folder.path());
    assert_eq!(
        (found.len(), lost.len()),
        (1, 0),
        "where the log begins is not written"
    );
    assert_eq!(found[0].1, 40);
}
