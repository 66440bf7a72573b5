//! What one who takes messages without a look at each finds where he was last, and where he stops.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::segment::Found;
use super::tests::{draft, open};
use super::*;
use crate::format::extension::Attributes;
use crate::format::record::{KIND, PADDING, RESERVED, body_crc};
use crate::storage::Disk;

/// A log of six messages, and a place behind the first, where somebody was.
fn begun(folder: &Path, third: &Draft<'_>) -> (Arc<Partition>, Near, Cursor) {
    let log = open(Arc::new(Disk), folder);
    for number in 0..6 {
        let plain = draft(b"plain");
        let one = if number == 3 { third } else { &plain };
        log.append(std::slice::from_ref(one)).expect("append");
    }
    let (near, cursor) = behind_first(&log);
    (log, near, cursor)
}

fn behind_first(log: &Partition) -> (Near, Cursor) {
    let (mut near, mut cursor) = (Near::default(), Cursor::at_offset(0));
    assert_eq!(log.resolve(&mut cursor).expect("resolve"), Place::Mapped);
    log.scan_near(&mut near, &mut cursor, |_, step| {
        matches!(step, Step::Record { offset: 0, .. })
    });
    assert_eq!(cursor.offset, 1);
    (near, cursor)
}

/// Offsets of at most so many that are found, and whether each has a key.
fn run(log: &Partition, near: &Near, cursor: &mut Cursor, most: usize) -> Vec<(u64, bool)> {
    let mut found = Vec::new();
    let segment = log.run_near(near, cursor, most, |offset, position, has_key| {
        let record = log.record(offset, position).expect("whole");
        assert_eq!(record.key().is_some(), has_key);
        found.push((offset, has_key));
        true
    });
    assert_eq!(segment.is_none(), found.is_empty() && cursor.life > 0);
    found
}

#[test]
fn p2_a_run_finds_plain_messages_in_a_row_and_as_many_as_are_wanted() {
    let folder = tempfile::tempdir().expect("folder");
    let keyed = Draft {
        key: Some(b"key"),
        key_hash: 7,
        body_crc: body_crc([b"", b"key", b"", b"plain"]),
        ..draft(b"plain")
    };
    let (log, near, mut cursor) = begun(folder.path(), &keyed);
    assert_eq!(run(&log, &near, &mut cursor, 0), []);
    assert_eq!(run(&log, &near, &mut cursor, 2), [(1, false), (2, false)]);
    let rest = [(3, true), (4, false), (5, false)];
    assert_eq!(run(&log, &near, &mut cursor, 99), rest);
    assert_eq!(run(&log, &near, &mut cursor, 99), [], "the end");
    log.append(&[draft(b"more")]).expect("append");
    assert_eq!(run(&log, &near, &mut cursor, 99), [(6, false)]);
    // The next one has no room in the segment.
    log.append(&[draft(&[1; 900_000])]).expect("append");
    log.append(&[draft(&[2; 900_000])]).expect("append");
    assert_eq!(run(&log, &near, &mut cursor, 99), [(7, false)]);
}

#[test]
fn p3_p11_a_run_stops_before_what_has_to_be_looked_at_by_itself() {
    let attributes = Attributes {
        expires_at_ms: Some(1),
        ..Attributes::default()
    };
    let extension = attributes.encode();
    let timed = Draft {
        extension: &extension,
        body_crc: body_crc([&extension, b"", b"", b"plain"]),
        ..draft(b"plain")
    };
    let before = [(1, false), (2, false)];
    let folder = tempfile::tempdir().expect("folder");
    let (log, near, mut cursor) = begun(folder.path(), &timed);
    assert_eq!(
        run(&log, &near, &mut cursor, 99),
        before,
        "it is too late for 3"
    );
    for kind in [PADDING, RESERVED, 77] {
        let folder = tempfile::tempdir().expect("folder");
        let (log, near, mut cursor) = begun(folder.path(), &draft(b"plain"));
        let mut third = cursor;
        run(&log, &near, &mut third, 2);
        let segment = log.segment(0).expect("segment").expect("there");
        let at = third.position as usize + KIND;
        segment
            .map()
            .store_u32(at, kind.into(), Ordering::Release)
            .expect("inside");
        assert_eq!(run(&log, &near, &mut cursor, 99), before, "kind {kind}");
        assert_eq!(cursor, third);
    }
}

#[test]
fn p2_p9_a_run_is_of_the_place_and_the_life_that_the_cursor_means() {
    let folder = tempfile::tempdir().expect("folder");
    let (log, near, cursor) = begun(folder.path(), &draft(b"plain"));
    let mut gap = Cursor {
        offset: 2,
        ..cursor
    };
    assert_eq!(
        run(&log, &near, &mut gap, 99),
        [],
        "another offset stands there"
    );
    let mut later = Cursor { life: 1, ..cursor };
    assert_eq!(
        run(&log, &near, &mut later, 99),
        [],
        "a compacted segment's place"
    );
    let mut none = cursor;
    let never = |_, _, _| panic!("nobody was there");
    let found = log.run_near(&Near::default(), &mut none, 99, never);
    assert!(found.is_none() && none == cursor);
}

#[test]
fn p3_what_becomes_padding_while_it_is_looked_at_is_not_handed_out_without_its_bytes() {
    // The last but one has the checksum of no bytes, as padding has.
    for payload in [&b"the last one"[..], b"\x9d\x0a\xd9\x6d", b""] {
        let folder = tempfile::tempdir().expect("folder");
        let (log, near, mut cursor) = begun(folder.path(), &draft(payload));
        let mut places = Vec::new();
        let segment = log.run_near(&near, &mut cursor, 99, |offset, position, _| {
            places.push((offset, position));
            true
        });
        let segment = segment.expect("near");
        assert_eq!(places.len(), 5);
        for (offset, position) in places {
            assert!(segment.is_plain(offset, position));
            let before = Record::plain(segment.clone(), position);
            assert!(before.is_whole(offset) && !before.is_whole(offset + 1));
            let Found::Record(header, length) = segment.at(position) else {
                panic!("{offset} is there");
            };
            // As it is done to what could not be put on disk, by one whom no reader waits for.
            segment.pad(position, &header, length, offset);
            assert!(!segment.is_plain(offset, position));
            let between = Record::plain(segment.clone(), position);
            assert!(between.payload().is_empty() && !between.is_whole(offset));
            assert!(!before.is_whole(offset));
        }
    }
}
