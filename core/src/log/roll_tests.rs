//! Deaths, damage and races around the change from one segment to the next.

use std::path::Path;
use std::sync::Arc;

use super::tests::{draft, open, open_beside, payloads};
use super::*;
use crate::format::record::HEADER;
use crate::format::segment::{RECORDS, SIZE_MIN, SegmentHeader};
use crate::options::Start;
use crate::shm::Owner;
use crate::storage::{Disk, Fault, Twin};

/// What a roller leaves that dies after it gave the new segment its name.
fn name_segment(folder: &Path, base: u64) {
    let header = SegmentHeader {
        salt: 5,
        base,
        topic: 7,
        partition: 0,
        capacity: SIZE_MIN,
        life: 0,
    };
    let mut bytes = header.encode().to_vec();
    bytes.resize(SIZE_MIN as usize, 0);
    std::fs::write(folder.join(names::segment(base)), bytes).expect("write");
}

/// Every message is found from the start and by its offset.
fn all_found(partition: &Partition, expected: &[(u64, Vec<u8>)]) {
    assert_eq!(payloads(partition), expected);
    for (offset, payload) in expected {
        let mut cursor = partition.seek(Start::Offset(*offset)).expect("seek");
        assert_eq!(
            partition.resolve(&mut cursor).expect("resolve"),
            Place::Mapped
        );
        let step = partition.step(&mut cursor);
        let Step::Record { position, .. } = step else {
            panic!("offset {offset} is not found");
        };
        let record = partition.record(*offset, position).expect("whole");
        assert_eq!(record.payload(), payload);
    }
}

fn numbered(count: u8) -> Vec<(u64, Vec<u8>)> {
    (0..count).map(|n| (u64::from(n), vec![n; 9])).collect()
}

fn dead() -> Owner {
    Owner {
        slot: 5,
        generation: 5,
    }
}

#[test]
fn p5_a_roll_whose_renaming_failed_leaves_the_log_as_it_was() {
    let (twin, path) = (Twin::new(), Path::new("/p"));
    let partition = open(Arc::new(twin.clone()), path);
    let body = vec![1; 300_000];
    partition.append(&[draft(&body)]).expect("append");
    twin.fail(Fault::Name, 1);
    let error = loop {
        if let Err(error) = partition.append(&[draft(&body)]) {
            break error;
        }
    };
    assert_eq!(error.kind(), ErrorKind::Io, "{error}");
    twin.heal();
    let next = partition.next_offset();
    assert_eq!(partition.append(&[draft(&body)]).expect("append"), next);
    assert_eq!(payloads(&partition).len() as u64, next + 1);
}

#[test]
fn p1_p17_a_roller_that_died_halfway_hides_no_later_message() {
    for survivor in [true, false] {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("0");
        let mut partition = open(Arc::new(Disk), &path);
        for number in 0..3_u8 {
            partition.append(&[draft(&[number; 9])]).expect("append");
        }
        name_segment(&path, 3);
        // A reader that came in between.
        let mut early = partition.seek(Start::Offset(3)).expect("seek");
        assert_eq!(
            partition.resolve(&mut early).expect("resolve"),
            Place::Mapped
        );
        if survivor {
            assert!(OwnerLock::try_acquire(partition.block.lock(), dead()));
        } else {
            partition = open(Arc::new(Disk), &path);
        }
        for number in 3..6_u8 {
            partition.append(&[draft(&[number; 9])]).expect("append");
        }
        all_found(&partition, &numbered(6));
        assert_eq!(
            partition.resolve(&mut early).expect("resolve"),
            Place::Mapped
        );
        let step = partition.step(&mut early);
        assert!(matches!(step, Step::Record { offset: 3, .. }));
        drop(partition);
        all_found(&open(Arc::new(Disk), &path), &numbered(6));
    }
}

#[test]
fn p1_an_empty_segment_that_is_too_small_is_not_replaced_under_those_who_have_it_mapped() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("0");
    let one = open(Arc::new(Disk), &path);
    one.roll(10, Room::Ordinary).expect("roll");
    assert_eq!(one.bases().expect("list"), [0]);
    let other = open_beside(&one, &path);
    let large = vec![7; 3 << 20];
    other.append(&[draft(&large)]).expect("append");
    one.append(&[draft(b"small")]).expect("append");
    let found: Vec<Vec<u8>> = payloads(&one).into_iter().map(|(_, p)| p).collect();
    assert_eq!(found, [large.clone(), b"small".to_vec()]);
    assert_eq!(payloads(&other), payloads(&one));
    drop((one, other));
    let later = open(Arc::new(Disk), &path);
    let found: Vec<Vec<u8>> = payloads(&later).into_iter().map(|(_, p)| p).collect();
    assert_eq!(found, [large, b"small".to_vec()]);
}

/// Three segments, 300 KiB a message.
fn three_segments(path: &Path) -> (Arc<Partition>, Vec<u64>) {
    let partition = open(Arc::new(Disk), path);
    let payload = vec![1; 300 << 10];
    while partition.bases().expect("list").len() < 3 {
        partition.append(&[draft(&payload)]).expect("append");
    }
    let bases = partition.bases().expect("list");
    (partition, bases)
}

/// Where the END record of a segment is.
fn end_of(partition: &Partition, base: u64) -> u64 {
    let segment = partition.segment(base).expect("open").expect("there");
    let mut at = RECORDS as u64;
    while let segment::Found::Record(header, length) = segment.at(at) {
        if header.kind == crate::format::record::END {
            return at;
        }
        at += crate::format::record::padded(u64::from(length));
    }
    panic!("segment {base} has no END");
}

fn write(path: &Path, at: u64, bytes: &[u8]) {
    use std::os::unix::fs::FileExt;
    let file = std::fs::OpenOptions::new().write(true).open(path);
    file.and_then(|file| file.write_all_at(bytes, at))
        .expect("write");
}

/// Offsets of all records that can be found, damage passed over.
fn offsets(partition: &Partition) -> Vec<u64> {
    let (mut found, mut cursor) = (Vec::new(), Cursor::at_offset(0));
    loop {
        match partition.look(&mut cursor).expect("look") {
            Step::Record { offset, next, .. } => {
                found.push(offset);
                cursor = next;
            }
            Step::Damaged => cursor = partition.skip_damage(&cursor).expect("behind").0,
            Step::End | Step::NotMapped => return found,
        }
    }
}

#[test]
fn p3_p4_a_damaged_end_of_a_segment_hides_no_later_one_and_no_offset_is_used_again() {
    // An END record that is gone, or is no record any more.
    for garbage in [&[0_u8; 4][..], &[0xFF; HEADER][..]] {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("0");
        let (partition, bases) = three_segments(&path);
        let (count, at) = (partition.next_offset(), end_of(&partition, 0));
        drop(partition);
        write(&path.join(names::segment(0)), at, garbage);
        let later = open(Arc::new(Disk), &path);
        assert_eq!(later.append(&[draft(b"later")]).expect("append"), count);
        assert_eq!(later.bases().expect("list"), bases);
        assert_eq!(offsets(&later), (0..=count).collect::<Vec<u64>>());
    }
}

#[test]
fn p3_nothing_in_the_middle_of_a_closed_segment_is_damage_and_not_the_end() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("0");
    let (partition, _) = three_segments(&path);
    let count = partition.next_offset();
    // The length of the second message.
    let second = RECORDS as u64 + crate::format::record::padded((HEADER + (300 << 10)) as u64);
    write(&path.join(names::segment(0)), second, &[0; 4]);
    let mut cursor = partition.seek(Start::Offset(1)).expect("seek");
    cursor.segment = 0;
    cursor.position = second;
    assert!(matches!(partition.step(&mut cursor), Step::Damaged));
    let mut damaged = false;
    partition.scan(&mut cursor, |_, step| {
        damaged = matches!(step, Step::Damaged);
        false
    });
    assert!(damaged);
    let (next, error) = partition.skip_damage(&cursor).expect("behind");
    assert_eq!((next.offset, error.kind()), (2, ErrorKind::Damaged));
    drop(partition);
    // In a new life, the walk passes over it as well.
    let later = open(Arc::new(Disk), &path);
    assert_eq!(later.append(&[draft(b"later")]).expect("append"), count);
}

#[test]
fn p4_offsets_go_on_where_one_died_between_the_reserve_and_the_first_segment() {
    use crate::format::reserve::{FILE, Reserve};
    let folder = tempfile::tempdir().expect("folder");
    // All that was in the log was cut after a power loss, and the store closed.
    let closed = Reserve {
        generation: 1,
        limit: 100,
        mark_segment: NONE,
        mark_offset: 100,
        clean: true,
        boot: crate::shm::boot_id(),
        ..Reserve::default()
    };
    let mut bytes = closed.encode().to_vec();
    bytes.resize(FILE as usize, 0);
    std::fs::write(folder.path().join(names::RESERVE), bytes).expect("write");
    let partition = open(Arc::new(Disk), folder.path());
    assert_eq!(partition.next_offset(), 100);
    partition.raise_reserve(1).expect("raise");
    drop(partition);
    let partition = open(Arc::new(Disk), folder.path());
    assert_eq!(partition.append(&[draft(b"new")]).expect("append"), 100);
}
