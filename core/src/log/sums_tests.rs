//! What is behind a place is told as a walk over the log tells it, and without one (P19).

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::segment::{Found, LOOKS};
use super::tests::{draft, open, open_to_sync, unboot};
use super::*;
use crate::shm::{Owner, OwnerLock};
use crate::storage::{Choices, Disk, Fault, Twin};

/// All messages by a walk: where each stands, and its bytes.
fn walked(log: &Partition) -> Vec<(Cursor, u64)> {
    let (mut cursor, mut found) = (Cursor::at_offset(0), Vec::new());
    cursor.offset = log.earliest_offset().expect("earliest");
    loop {
        match log.look(&mut cursor).expect("look") {
            Step::Record { next, length, .. } => {
                found.push((cursor, crate::format::record::padded(length.into())));
                cursor = next;
            }
            Step::Damaged => panic!("{}", log.skip_damage(&cursor).expect("damage").1),
            Step::End | Step::NotMapped => return found,
        }
    }
}

fn sum(of: &[(Cursor, u64)]) -> Counted {
    Counted {
        messages: of.len() as u64,
        bytes: of.iter().map(|one| one.1).sum(),
    }
}

/// Whether what is told fits what is there, from each place on, however it is known.
pub(super) fn agrees(log: &Partition, what: &str) {
    let all = walked(log);
    for (number, (cursor, _)) in all.iter().enumerate() {
        let expected = sum(&all[number..]);
        let found = log.behind(*cursor, None).expect("behind");
        assert_eq!(found, expected, "{what}: from {cursor:?}");
        let unknown = Cursor::at_offset(cursor.offset);
        let hint = number.checked_sub(1).map(|last| all[last].0.position);
        for hint in [None, hint, Some(cursor.position), Some(7)] {
            let found = log.behind(unknown, hint).expect("behind");
            assert_eq!(found, expected, "{what}: from {}", cursor.offset);
        }
        let to = all[number / 2..][..(all.len() - number / 2).div_ceil(2)].to_vec();
        if let Some((end, _)) = to.last() {
            let begin = all[number / 2].0;
            let found = log
                .counted_between((begin, None), (*end, None))
                .expect("from to");
            assert_eq!(
                found,
                sum(&to[..to.len() - 1]),
                "{what}: {begin:?} to {end:?}"
            );
        }
    }
    let end = Cursor::at_offset(log.next_offset());
    assert_eq!(log.behind(end, None).expect("end"), Counted::default());
}

/// What the segments say before each of them, against what is there.
fn sums_are_true(log: &Partition, what: &str) {
    let all = walked(log);
    for base in log.bases().expect("bases") {
        let segment = log.segment(base).expect("open").expect("there");
        let before: Vec<_> = all
            .iter()
            .filter(|one| one.0.offset < base)
            .copied()
            .collect();
        let expected = sum(&before);
        let sums = segment
            .sums()
            .unwrap_or_else(|| panic!("{what}: {base} says nothing"));
        let found = (sums.messages, sums.bytes);
        assert_eq!(found, (expected.messages, expected.bytes), "{what}: {base}");
    }
    assert_eq!(log.sent().expect("sent"), sum(&all), "{what}");
}

fn big(byte: u8) -> Vec<u8> {
    vec![byte; 300_000]
}

#[test]
fn p19_what_is_behind_a_place_is_what_a_walk_finds() {
    let folder = tempfile::tempdir().expect("folder");
    let log = open(Arc::new(Disk), folder.path());
    assert_eq!(log.sent().expect("sent"), Counted::default());
    log.set_segment_max(1 << 20);
    for number in 0..90_u64 {
        let payload = vec![number as u8; 1000 + number as usize * 1777];
        log.append(&[draft(&payload), draft(b"two")])
            .expect("append");
    }
    assert!(log.bases().expect("bases").len() > 4);
    agrees(&log, "without gaps");
    sums_are_true(&log, "without gaps");
    let again = open(Arc::new(Disk), folder.path());
    agrees(&again, "in the next life");
    let (segments, bytes) = again.disk_use().expect("disk");
    let files: u64 = (again.bases().expect("bases").iter())
        .map(|base| again.file_bytes(*base).expect("file"))
        .sum();
    assert_eq!(
        (segments, bytes),
        (again.bases().expect("bases").len() as u64, files)
    );
    assert_eq!(
        again.removed_by_retention().expect("none"),
        Counted::default()
    );
    let first = again.bases().expect("bases")[2];
    again.sync().expect("sync");
    again.take_below(first);
    again.remove_below(first).expect("remove");
    let gone = again.removed_by_retention().expect("removed");
    assert_eq!(gone.messages, first, "each offset is a message");
    let left = again.behind(Cursor::at_offset(0), None).expect("behind");
    assert_eq!(left.plus(gone), again.sent().expect("sent"));
    agrees(&again, "after retention");
}

#[test]
fn p19_offsets_that_are_no_messages_are_not_counted() {
    let folder = tempfile::tempdir().expect("folder");
    let log = open(Arc::new(Disk), folder.path());
    log.set_segment_max(1 << 20);
    for number in 0..14 {
        log.append(&[draft(&big(number))]).expect("append");
        if number % 3 == 0 {
            log.skip_to(log.next_offset() + 5).expect("skip");
            log.append(&[draft(b"behind a gap")]).expect("append");
        }
    }
    agrees(&log, "passed over");
    sums_are_true(&log, "passed over");
    let again = open(Arc::new(Disk), folder.path());
    agrees(&again, "passed over, in the next life");
    again.append(&[draft(&big(1))]).expect("append");
    again.append(&[draft(&big(2))]).expect("append");
    again.append(&[draft(&big(3))]).expect("append");
    sums_are_true(&again, "passed over, in the next life");
}

#[test]
fn p17_p19_a_large_batch_whose_writer_died_is_not_counted_also_where_the_log_went_on() {
    a_writer_dies(|_| {});
}

#[test]
fn p17_p19_nor_where_the_next_one_died_before_the_sums_were_said_again() {
    a_writer_dies(|log| {
        let (base, position, _) = log.block.large().expect("it is copied");
        let segment = log.segment(base).expect("open").expect("there");
        let Found::Record(header, length) = segment.at(position) else {
            panic!("nothing is reserved");
        };
        log.forget_sums_behind(base).expect("forget");
        segment.end_reserved(position, &header, length, log.next_offset());
    });
}

/// While it copies; then `heir` does something, and dies as well.
fn a_writer_dies(heir: impl FnOnce(&Partition)) {
    let folder = tempfile::tempdir().expect("folder");
    let log = open(Arc::new(Disk), folder.path());
    log.set_segment_max(1 << 20);
    log.append(&[draft(b"before")]).expect("append");
    let batch = big(7);
    let dead = Owner {
        slot: 5,
        generation: 5,
    };
    log.make_room(&[draft(&batch)]).expect("room");
    assert!(OwnerLock::try_acquire(log.block.large_lock(), dead));
    log.take_place_in_test(&[draft(&batch), draft(&batch)]);
    assert_eq!(
        log.behind(Cursor::at_offset(0), None)
            .expect("behind")
            .messages,
        1
    );
    // Small ones go on behind it, into the next segments.
    for _ in 0..100 {
        log.append(&[draft(&[1; 30_000])]).expect("append");
    }
    let bases = log.bases().expect("bases");
    assert!(bases.len() > 2, "{bases:?}");
    assert_eq!(
        log.behind(Cursor::at_offset(0), None)
            .expect("behind")
            .messages,
        1
    );
    heir(&log);
    log.tend_large().expect("tend");
    agrees(&log, "padded");
    sums_are_true(&log, "padded");
    assert_eq!(log.sent().expect("sent").messages, 101);
}

#[test]
fn p1_p19_when_all_died_at_a_large_batch_the_next_life_counts_what_is_there() {
    let folder = tempfile::tempdir().expect("folder");
    let log = open(Arc::new(Disk), folder.path());
    log.set_segment_max(1 << 20);
    let batch = big(7);
    log.make_room(&[draft(&batch)]).expect("room");
    log.take_place_in_test(&[draft(&batch)]);
    for _ in 0..60 {
        log.append(&[draft(&[1; 30_000])]).expect("append");
    }
    let again = open(Arc::new(Disk), folder.path());
    agrees(&again, "the next life");
    sums_are_true(&again, "the next life");
    assert_eq!(again.sent().expect("sent").messages, 60);
}

#[test]
fn p5_p19_what_a_failed_sync_takes_back_is_counted_nowhere() {
    let twin = Twin::new();
    let log = open_to_sync(Arc::new(twin.clone()), Path::new("/p"));
    log.set_segment_max(1 << 20);
    for _ in 0..3 {
        log.append(&[draft(&big(1))]).expect("append");
    }
    log.sync().expect("sync");
    for _ in 0..9 {
        log.append(&[draft(&big(2))]).expect("append");
    }
    let last = log.bases().expect("bases").len();
    assert!(last > 3);
    twin.fail(Fault::Sync, 1);
    log.ensure_durable(12, Duration::from_secs(1))
        .expect_err("fails");
    twin.heal();
    agrees(&log, "taken back");
    sums_are_true(&log, "taken back");
    log.sync().expect("the disk is back");
    for _ in 0..6 {
        log.append(&[draft(&big(3))]).expect("append");
    }
    agrees(&log, "gone on");
    sums_are_true(&log, "gone on");
    assert_eq!(log.sent().expect("sent").messages, 9);
}

#[test]
fn p2_p19_after_a_power_loss_what_is_there_is_counted() {
    for seed in 0..40 {
        let (twin, path) = (Twin::new(), Path::new("/p"));
        let log = open(Arc::new(twin.clone()), path);
        log.set_segment_max(1 << 20);
        let mut chance = Choices::seeded(seed);
        for number in 0..20 {
            let payload = vec![number; 1 + chance.pick(200_000)];
            log.append(&[draft(&payload)]).expect("append");
            if chance.pick(7) == 0 {
                log.sync().expect("sync");
            }
        }
        let mut after = twin.power_loss(seed * 77 + 1).expect("image");
        for crash in 0..2 {
            unboot(&after, path);
            let again = open(Arc::new(after.clone()), path);
            again.set_segment_max(1 << 20);
            let what = format!("seed {seed} crash {crash}");
            agrees(&again, &what);
            again.append(&[draft(b"goes on")]).expect("append");
            for _ in 0..4 {
                again.append(&[draft(&big(3))]).expect("append");
            }
            agrees(&again, &what);
            after = after.power_loss(seed * 31 + 7).expect("image");
        }
    }
}

#[test]
fn p18_p19_sums_that_are_damaged_or_missing_are_not_believed_and_are_said_again() {
    let folder = tempfile::tempdir().expect("folder");
    let log = open(Arc::new(Disk), folder.path());
    log.set_segment_max(1 << 20);
    for number in 0..12 {
        log.append(&[draft(&big(number))]).expect("append");
    }
    let bases = log.bases().expect("bases");
    // As one that died while it said them anew: the last ones say nothing.
    for base in &bases[2..] {
        log.segment(*base)
            .expect("open")
            .expect("there")
            .forget_sums();
    }
    agrees(&log, "some say nothing");
    for number in 0..4 {
        log.append(&[draft(&big(number))]).expect("append");
    }
    agrees(&log, "said again");
    sums_are_true(&log, "said again");
    // Any bytes.
    let one = log.segment(bases[1]).expect("open").expect("there");
    one.map()
        .copy_in(crate::format::sums::MESSAGES, &[0xFF; 8])
        .expect("inside");
    agrees(&log, "damaged");
}

#[test]
fn p19_two_hundred_thousand_messages_are_counted_by_looking_at_a_few() {
    let folder = tempfile::tempdir().expect("folder");
    let log = open(Arc::new(Disk), folder.path());
    log.set_segment_max(1 << 20);
    let batch = [draft(b"x"); 500];
    for _ in 0..400 {
        log.append(&batch).expect("append");
    }
    assert!(log.bases().expect("bases").len() > 8);
    // As one that begins now.
    let log = open(Arc::new(Disk), folder.path());
    let looks = || LOOKS.with(std::cell::Cell::get);
    let before = looks();
    let known = Cursor::at_offset(0);
    assert_eq!(log.behind(known, None).expect("behind").messages, 200_000);
    assert_eq!(log.sent().expect("sent").messages, 200_000);
    log.disk_use().expect("disk");
    log.timestamp_behind(known, None).expect("oldest");
    assert!(looks() - before < 20, "{} headers", looks() - before);
    // In the middle of a segment, known by the message before.
    let mut at = Cursor::at_offset(123_456);
    log.resolve(&mut at).expect("place");
    let resolved = looks();
    let last = Cursor::at_offset(123_457);
    let left = log.behind(last, Some(at.position)).expect("behind");
    assert_eq!(left.messages, 200_000 - 123_457);
    assert!(looks() - resolved < 10, "{} headers", looks() - resolved);
}
