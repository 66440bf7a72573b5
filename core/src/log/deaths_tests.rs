//! What those who died, failed or were overtaken leave in the log, and what readers make of it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::tests::{draft, open, open_beside, open_to_sync, payloads, unboot};
use super::*;
use crate::format::control::partition::WORDS;
use crate::format::extension::Attributes;
use crate::format::record::{self, END, body_crc};
use crate::options::Start;
use crate::shm::Owner;
use crate::storage::{Disk, Fault, Storage, Twin};

const DEAD: Owner = Owner {
    slot: 5,
    generation: 5,
};

/// Runs work that may go round for ever, as a failure and not as a hang.
fn within(what: &str, work: impl FnOnce() + Send + 'static) {
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        work();
        let _ = tell.send(());
    });
    let done = told.recv_timeout(Duration::from_secs(20));
    assert!(done.is_ok(), "{what}: goes round for ever");
}

/// Offsets that are found, and how often damage was told of.
fn offsets(partition: &Partition, cursor: &mut Cursor) -> (Vec<u64>, u32) {
    let (mut found, mut damaged) = (Vec::new(), 0);
    loop {
        match partition.look(cursor).expect("look") {
            Step::Record { offset, next, .. } => {
                found.push(offset);
                *cursor = next;
            }
            Step::Damaged => {
                damaged += 1;
                *cursor = partition.skip_damage(cursor).expect("skip").0;
            }
            Step::End | Step::NotMapped => return (found, damaged),
        }
    }
}

fn all_offsets(partition: &Partition) -> (Vec<u64>, u32) {
    offsets(
        partition,
        &mut partition.seek(Start::Earliest).expect("seek"),
    )
}

fn partition() -> (tempfile::TempDir, Arc<Partition>) {
    let folder = tempfile::tempdir().expect("folder");
    let partition = open(Arc::new(Disk), &folder.path().join("0"));
    (folder, partition)
}

/// Fills segments until there are so many.
fn fill(partition: &Partition, segments: usize) {
    while partition.bases().expect("bases").len() < segments {
        partition.append(&[draft(&[1; 30_000])]).expect("append");
    }
}

#[test]
fn p17_a_batch_that_is_copied_in_a_closed_segment_is_the_end_for_readers() {
    let (_folder, partition) = partition();
    let big = vec![7; 100_000];
    partition.append(&[draft(b"before")]).expect("append");
    partition.make_room(&[draft(&big)]).expect("room");
    assert!(OwnerLock::try_acquire(partition.block.large_lock(), DEAD));
    partition.take_place_in_test(&[draft(&big)]);
    fill(&partition, 2);
    let reader = partition.clone();
    within("a copy under a roll", move || {
        assert_eq!(all_offsets(&reader), (vec![0], 0));
    });
    partition.tend_large().expect("tend");
    let (found, damaged) = all_offsets(&partition);
    assert_eq!(
        (found.len() as u64, damaged),
        (partition.next_offset() - 1, 0)
    );
}

#[test]
fn p1_a_batch_whose_writer_died_while_it_published_appears_as_a_whole() {
    let late = Attributes {
        expires_at_ms: Some(7),
        ..Attributes::default()
    };
    for extension in [&b""[..], &late.encode()] {
        let (folder, partition) = partition();
        let big = vec![7; 50_000];
        let first = Draft {
            extension,
            body_crc: body_crc([extension, b"", b"", b"first"]),
            ..draft(b"first")
        };
        let batch = [first, draft(&big), draft(&big)];
        partition.append(&[draft(b"before")]).expect("append");
        partition.make_room(&batch).expect("room");
        assert!(OwnerLock::try_acquire(partition.block.large_lock(), DEAD));
        partition.publish_all_but_the_kind_in_test(&batch);
        partition.append(&[draft(b"behind")]).expect("append");
        assert_eq!(all_offsets(&partition).0, [0]);
        // In this life, and in a new one in which everybody died.
        let files = folder.path().join("0");
        let again = open(Arc::new(Disk), &files);
        assert_eq!(all_offsets(&again), (vec![0, 1, 2, 3, 4], 0));
        partition.tend_large().expect("tend");
        assert_eq!(all_offsets(&partition), (vec![0, 1, 2, 3, 4], 0));
    }
}

#[test]
fn p3_p18_a_segment_that_is_gone_costs_its_messages_and_no_more() {
    let (folder, partition) = partition();
    fill(&partition, 4);
    let bases = partition.bases().expect("bases");
    let path = folder.path().join("0");
    std::fs::remove_file(path.join(names::segment(bases[1]))).expect("remove");
    let beside = open_beside(&partition, &path);
    within("a missing segment", move || {
        let (found, damaged) = all_offsets(&beside);
        let kept: Vec<u64> = (0..bases[1])
            .chain(bases[2]..beside.next_offset())
            .collect();
        assert_eq!((found, damaged), (kept, 1));
    });
}

#[test]
fn p18_an_end_that_names_its_own_segment_is_damage() {
    let (_folder, partition) = partition();
    partition.append(&[draft(b"x")]).expect("append");
    let segment = partition.segment(0).expect("open").expect("there");
    let at = crate::format::segment::RECORDS as u64;
    super::roll::mark(&segment, at, END, 0, 0).expect("mark");
    within("a circle of segments", move || {
        assert_eq!(all_offsets(&partition), (vec![], 1));
    });
}

#[test]
fn p3_a_flipped_bit_of_an_offset_costs_its_record_and_no_other() {
    let (folder, partition) = partition();
    for number in 0..5 {
        partition.append(&[draft(&[number])]).expect("append");
    }
    let segment = partition.segment(0).expect("open").expect("there");
    let second = crate::format::segment::RECORDS + record::padded(49) as usize;
    segment
        .map()
        .copy_in(second + record::OFFSET + 5, &[0x40])
        .expect("inside");
    assert_eq!(all_offsets(&partition), (vec![0, 2, 3, 4], 1));
    // A recovery that walks over it goes on with the next offset as well.
    drop(partition);
    let again = open(Arc::new(Disk), &folder.path().join("0"));
    assert_eq!(again.append(&[draft(b"next")]).expect("append"), 5);
}

#[test]
fn a_reader_ahead_of_the_log_waits_for_its_offset() {
    let (_folder, partition) = partition();
    let mut cursor = Cursor::at_offset(5);
    for count in [3, 5] {
        assert_eq!(offsets(&partition, &mut cursor).0, [0_u64; 0]);
        for number in 0..count {
            partition.append(&[draft(&[number])]).expect("append");
        }
    }
    assert_eq!(offsets(&partition, &mut cursor), (vec![5, 6, 7], 0));
}

#[test]
fn p2_a_mark_is_whole_however_its_writer_and_its_readers_meet() {
    let control = Arc::new(crate::shm::Mapping::anonymous(4096).expect("memory"));
    let block = Block(Region::new(&control, 0, WORDS * 8).expect("block"));
    block.set_synced(0, 0, 0);
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 1..300_000 {
                block.set_synced(number, number, number);
            }
            done.store(true, std::sync::atomic::Ordering::SeqCst);
        });
        while !done.load(std::sync::atomic::Ordering::SeqCst) {
            let (segment, position, offset) = block.mark();
            assert!(segment == position && position == offset, "torn");
        }
    });
    // A writer that died in between: the mark that is whole still is, for the next one too.
    let whole = block.mark();
    block.begin_mark_in_test();
    assert_eq!(block.mark(), whole);
    block.set_synced(7, 8, 9);
    assert_eq!(block.mark(), (7, 8, 9));
}

#[test]
fn p6_a_segment_made_of_a_file_of_an_earlier_life_begins_empty() {
    let (folder, partition) = partition();
    let path = folder.path().join("0");
    fill(&partition, 2);
    let base = partition.bases().expect("bases")[1];
    for number in 0..5 {
        partition.append(&[draft(&[number; 50])]).expect("append");
    }
    drop(partition);
    // A power loss: the second segment's bytes reached the disk, its name did not.
    let _ = std::fs::remove_file(path.join(names::NEXT_SEGMENT));
    let named = path.join(names::segment(base));
    std::fs::rename(named, path.join(names::NEXT_SEGMENT)).expect("rename");
    unboot(&Disk, &path);
    let again = open(Arc::new(Disk), &path);
    again.make_room(&[draft(&[9; 100_000])]).expect("room");
    assert_eq!(again.bases().expect("bases").len(), 2, "rolled");
    let mut cursor = again.seek(Start::Earliest).expect("seek");
    assert_eq!(offsets(&again, &mut cursor).1, 0);
    let first = again.append(&[draft(b"x")]).expect("append");
    assert_eq!(offsets(&again, &mut cursor), (vec![first], 0));
}

#[test]
fn p19_a_next_segment_is_prepared_for_who_fills_them_and_for_nobody_else() {
    let (folder, partition) = partition();
    let next = folder.path().join("0").join(names::NEXT_SEGMENT);
    partition.append(&[draft(b"once")]).expect("append");
    partition.prepare_ahead().expect("prepare");
    assert!(!next.exists(), "a topic that was used once");
    fill(&partition, 2);
    partition.prepare_ahead().expect("prepare");
    assert!(next.exists(), "a segment was filled just now");
    // Another one prepared it, and another one replaced it: the mapping is the file's.
    let beside = open_beside(&partition, &folder.path().join("0"));
    beside.prepare_ahead().expect("prepare");
    fill(&beside, 3);
    fill(&partition, 4);
    let (found, damaged) = all_offsets(&partition);
    assert_eq!((found.len() as u64, damaged), (partition.next_offset(), 0));
    assert_eq!(all_offsets(&beside), (found, 0));
}

#[test]
fn p5_a_sender_that_sleeps_through_a_failed_sync_and_the_next_good_one_is_told() {
    let twin = Twin::new();
    let partition = open_to_sync(Arc::new(twin.clone()), Path::new("/p"));
    partition.append(&[draft(b"0")]).expect("append");
    partition.sync().expect("sync");
    let voids = partition.voids();
    let offset = partition.append(&[draft(b"mine")]).expect("append");
    twin.fail(Fault::Sync, 1);
    partition.sync().expect_err("another's sync fails");
    twin.heal();
    partition.sync_sealed().expect("housekeeping");
    let error = partition
        .ensure_durable_since(offset + 1, voids, Duration::from_secs(1))
        .expect_err("it was taken back");
    assert!(error.message().contains("not in the log"), "{error}");
}

#[test]
fn p5_one_that_died_after_its_sync_failed_leaves_the_rest_to_the_next_one() {
    let twin = Twin::new();
    let partition = open_to_sync(Arc::new(twin.clone()), Path::new("/p"));
    partition.append(&[draft(b"0")]).expect("append");
    partition.sync().expect("sync");
    partition.append(&[draft(b"lost")]).expect("append");
    partition
        .block
        .set_poisoned(crate::format::control::partition::REWRITE);
    partition.sync().expect("the disk is back");
    assert_eq!(partition.append(&[draft(b"more")]).expect("append"), 2);
    assert_eq!(all_offsets(&partition), (vec![0, 2], 0));
}

#[test]
fn p5_who_is_told_that_its_message_is_not_in_the_log_finds_it_there_no_more() {
    let twin = Twin::new();
    let partition = open_to_sync(Arc::new(twin), Path::new("/p"));
    partition.append(&[draft(b"0")]).expect("append");
    partition.sync().expect("sync");
    let mine = partition.append(&[draft(b"mine")]).expect("append");
    // Another's sync failed, and it died before it took anything back.
    partition
        .block
        .set_poisoned(crate::format::control::partition::REWRITE);
    let error = partition
        .ensure_durable(mine + 1, Duration::from_secs(1))
        .expect_err("it will not be on disk");
    assert!(error.message().contains("not in the log"), "{error}");
    assert_eq!(all_offsets(&partition), (vec![0], 0));
}

#[test]
fn p4_p17_a_repair_that_failed_is_done_by_the_next_one() {
    let (twin, path) = (Twin::new(), Path::new("/p"));
    let partition = open(Arc::new(twin.clone()), path);
    partition.append(&[draft(b"zero")]).expect("append");
    let block = &partition.block.0;
    let beside = super::tests::open_shared(Arc::new(twin.clone()), path, &partition);
    let before: Vec<u64> = (0..WORDS).map(|word| block.get(word)).collect();
    partition.append(&[draft(b"published")]).expect("append");
    // As if its sender had died before it told the block.
    (4..8)
        .chain(15..24)
        .for_each(|word| block.set(word, before[word]));
    assert!(OwnerLock::try_acquire(partition.block.lock(), DEAD));
    assert_eq!(payloads(&partition).len(), 2);
    // Too many files are open in the next one: it cannot even look where the log ends.
    beside.forget(0);
    twin.fail(Fault::Open, 1);
    beside.append(&[draft(b"x")]).expect_err("no descriptors");
    twin.heal();
    let offset = partition.append(&[draft(b"mine")]).expect("append");
    assert_eq!(offset, 2, "offset 1 was published and read already");
}

#[test]
fn p3_p4_a_damaged_header_costs_its_segment_once_and_the_log_goes_on() {
    for broken in [1, 3] {
        let (folder, partition) = partition();
        fill(&partition, 4);
        let (bases, count) = (partition.bases().expect("bases"), partition.next_offset());
        partition.sync_sealed().expect("sync");
        drop(partition);
        let path = folder.path().join("0").join(names::segment(bases[broken]));
        let mut bytes = std::fs::read(&path).expect("read");
        bytes[20] ^= 1;
        std::fs::write(&path, bytes).expect("write");
        let again = open(Arc::new(Disk), &folder.path().join("0"));
        let next = again.append(&[draft(b"on")]).expect("append");
        assert!(next >= count, "an offset is used twice");
        let end = bases.get(broken + 1).copied().unwrap_or(count);
        let kept: Vec<u64> = (0..bases[broken]).chain(end..count).chain([next]).collect();
        assert_eq!(all_offsets(&again), (kept, 1), "segment {broken}");
        again.sync().expect("sync");
    }
}

#[test]
fn p1_p17_a_first_segment_whose_roller_died_is_gone_on_with() {
    let (folder, partition) = partition();
    let path = folder.path().join("0");
    let block = &partition.block.0;
    let before: Vec<u64> = (0..WORDS).map(|word| block.get(word)).collect();
    let beside = open_beside(&partition, &path);
    partition.make_room(&[draft(b"x")]).expect("room");
    // As if it had died between the name and the words of the block.
    (4..8)
        .chain(15..24)
        .for_each(|word| block.set(word, before[word]));
    assert!(OwnerLock::try_acquire(partition.block.lock(), DEAD));
    assert_eq!(beside.append(&[draft(b"one")]).expect("append"), 0);
    // The file that others have mapped is the one that was gone on with.
    assert_eq!(partition.append(&[draft(b"two")]).expect("append"), 1);
    assert_eq!(all_offsets(&beside), (vec![0, 1], 0));
    assert_eq!(
        all_offsets(&open_beside(&partition, &path)),
        (vec![0, 1], 0)
    );
}

#[test]
fn p3_a_record_that_says_it_is_being_copied_and_is_not_is_damage() {
    let (_folder, partition) = partition();
    for number in 0..4 {
        partition.append(&[draft(&[number])]).expect("append");
    }
    let segment = partition.segment(0).expect("open").expect("there");
    let second = crate::format::segment::RECORDS + record::padded(49) as usize;
    let kind = record::RESERVED.to_le_bytes();
    segment
        .map()
        .copy_in(second + record::KIND, &kind)
        .expect("inside");
    let reader = partition.clone();
    within("a copy that nobody makes", move || {
        assert_eq!(all_offsets(&reader), (vec![0, 2, 3], 1));
    });
}

#[test]
fn p2_p17_a_full_disk_keeps_no_partition_from_being_healed() {
    let (twin, path) = (Twin::new(), Path::new("/p"));
    let partition = open_to_sync(Arc::new(twin.clone()), path);
    fill(&partition, 1);
    while partition.block.position() < 800_000 {
        partition.append(&[draft(&[1; 30_000])]).expect("append");
    }
    twin.fail(Fault::Sync, 1);
    partition.sync().expect_err("the disk is away");
    twin.heal();
    twin.fail(Fault::Allocate, 1);
    let error = partition.prepare_ahead().expect_err("no room for the next");
    assert_eq!(error.kind(), ErrorKind::DiskFull);
    partition.append(&[draft(b"x")]).expect("healed");
    twin.heal();
    // One that died before it had room for the next segment left its name.
    let next = path.join(names::NEXT_SEGMENT);
    if twin.exists(&next).expect("look") {
        twin.unlink(&next).expect("remove");
    }
    let left = twin.open(&next, crate::storage::Access::CreateNew, 0);
    assert_eq!(left.expect("create").len().expect("length"), 0);
    partition.prepare_ahead().expect("made anew");
    fill(&partition, 2);
}
