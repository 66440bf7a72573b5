//! Power losses and failed syncs around the change from one segment to the next.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::tests::{draft, open, open_to_sync, payloads, try_open, unboot};
use super::*;
use crate::format::control::partition::WORDS;
use crate::shm::{Mapping, Owner};
use crate::storage::{Access, Fault, Storage, Twin};

const FOLDER: &str = "/p";

/// A payload that tells its number and is as long as it likes.
fn payload(number: u64, len: usize) -> Vec<u8> {
    let mut payload = vec![number as u8; len.max(8)];
    payload[..8].copy_from_slice(&number.to_le_bytes());
    payload
}

fn dice(state: &mut u64, below: u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state >> 11) % below
}

/// What is there after a power loss: a prefix, whole, with all that was synced.
fn check(partition: &Partition, place: &str, synced: u64, sent: &[(u64, usize)]) {
    let found = payloads(partition);
    assert!(
        found.len() as u64 >= synced,
        "{place}: {} of {synced}",
        found.len()
    );
    for (got, (offset, len)) in found.iter().zip(sent) {
        assert_eq!(got.0, *offset, "{place}: a hole");
        assert_eq!(got.1, payload(*offset, *len), "{place}: other bytes");
    }
}

#[test]
fn p2_p4_p19_a_power_loss_around_a_roll_leaves_a_prefix_that_goes_on() {
    let path = Path::new(FOLDER);
    for seed in 1..120_u64 {
        let twin = Twin::new();
        let partition = open(Arc::new(twin.clone()), path);
        let (mut state, mut synced, mut sent) = (seed * 77 + 3, 0, Vec::new());
        for _ in 0..4 + dice(&mut state, 14) {
            let len = [100, 30_000, 200_000, 400_000][dice(&mut state, 4) as usize];
            let offset = partition.next_offset();
            let body = payload(offset, len);
            assert_eq!(partition.append(&[draft(&body)]).expect("append"), offset);
            sent.push((offset, len.max(8)));
            match dice(&mut state, 8) {
                0 => partition.sync().expect("sync"),
                1 | 2 => partition.sync_sealed().expect("sync"),
                _ => {}
            }
            synced = partition.durable_offset();
        }
        let mut after = twin.power_loss(seed * 31 + 1).expect("image");
        for crash in 0..3 {
            unboot(&after, path);
            let again = open(Arc::new(after.clone()), path);
            let place = format!("seed {seed} crash {crash}");
            check(&again, &place, synced, &sent);
            let next = again.next_offset();
            assert!(
                next >= sent.len() as u64,
                "{place}: an offset is used twice"
            );
            if crash == 1 {
                // The log goes on, and into further segments.
                for _ in 0..4 {
                    again
                        .append(&[draft(&payload(next, 900_000))])
                        .expect("append");
                }
                let found = payloads(&again);
                assert!(
                    found.len() >= 4 && found[found.len() - 4].0 == next,
                    "{place}"
                );
            }
            after = after.power_loss(seed * 91 + crash).expect("image");
        }
    }
}

#[test]
fn p2_where_the_first_segment_never_reached_the_disk_nothing_behind_it_stays() {
    let (path, mut lacking) = (Path::new(FOLDER), 0);
    for seed in 1..200_u64 {
        let twin = Twin::new();
        let partition = open(Arc::new(twin.clone()), path);
        let mut sent = Vec::new();
        let mut send = |len| {
            let offset = partition.next_offset();
            let body = payload(offset, len);
            partition.append(&[draft(&body)]).expect("append");
            sent.push((offset, len));
        };
        // Of large ones hardly any is whole behind a power loss that found none on disk.
        send(24);
        partition.roll(4 << 20, Room::Ordinary).expect("roll");
        send(24);
        let after = twin.power_loss(seed).expect("image");
        let first = after.exists(&path.join(names::segment(0))).expect("look");
        lacking += u32::from(!first);
        unboot(&after, path);
        let again = open(Arc::new(after.clone()), path);
        let place = format!("seed {seed}, first segment: {first}");
        check(&again, &place, 0, &sent);
        assert!(again.next_offset() >= sent.len() as u64, "{place}");
        assert!(first || payloads(&again).is_empty(), "{place}");
        again.append(&[draft(b"goes on")]).expect("append");
        assert_eq!(payloads(&again).last().expect("it").1, b"goes on");
    }
    assert!(lacking > 5, "the name of the first segment was always kept");
}

#[test]
fn p19_what_is_sealed_is_synced_and_no_recovery_walks_it_again() {
    let (twin, path) = (Twin::new(), Path::new(FOLDER));
    let partition = open(Arc::new(twin.clone()), path);
    while partition.bases().expect("bases").len() < 4 {
        partition.append(&[draft(&[1; 30_000])]).expect("append");
    }
    partition.sync_sealed().expect("sync");
    let bases = partition.bases().expect("bases");
    assert_eq!(partition.durable_offset(), bases[3]);
    let reserve = partition.read_reserve().expect("read").expect("there");
    assert_eq!(
        (reserve.mark_segment, reserve.mark_offset),
        (bases[2], bases[3])
    );
    let count = partition.next_offset();
    drop(partition);
    // Not one byte of the first segment's records is looked at.
    let first = twin
        .open(&path.join(names::segment(bases[0])), Access::ReadWrite, 0)
        .expect("open");
    first.write_at(&[0xFF; 4096], 4096).expect("write");
    let again = open(Arc::new(twin.clone()), path);
    assert_eq!(again.next_offset(), count);
}

#[test]
fn p3_after_a_power_loss_a_damaged_segment_that_was_synced_is_an_error_and_stays() {
    let (twin, path) = (Twin::new(), Path::new(FOLDER));
    let partition = open(Arc::new(twin.clone()), path);
    partition.append(&[draft(b"kept")]).expect("append");
    partition.sync().expect("sync");
    partition.write_reserve(4096, false).expect("write");
    drop(partition);
    let after = twin.power_loss(1).expect("image");
    unboot(&after, path);
    let name = path.join(names::segment(0));
    let file = after.open(&name, Access::ReadWrite, 0).expect("open");
    file.write_at(b"!", 16).expect("write");
    let control = Arc::new(crate::shm::Mapping::anonymous(4096).expect("memory"));
    let block = Region::new(&control, 0, crate::format::control::partition::WORDS * 8);
    let opened = super::tests::try_open(Arc::new(after.clone()), path, block.expect("block"));
    let error = opened.err().expect("damaged");
    assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
    assert!(
        after.exists(&name).expect("look"),
        "a damaged file was removed"
    );
}

#[test]
fn p1_p2_p5_a_failed_sync_takes_nothing_back_that_was_sent_with_durability_process() {
    let (twin, path) = (Twin::new(), Path::new(FOLDER));
    let partition = open(Arc::new(twin.clone()), path);
    partition.append(&[draft(b"0")]).expect("append");
    partition.sync().expect("sync");
    partition.append(&[draft(b"1")]).expect("append");
    twin.fail(Fault::Sync, 1);
    let error = partition.sync().expect_err("the disk failed");
    assert!(error.message().contains("kept"), "{error}");
    let error = partition
        .append(&[draft(b"refused")])
        .expect_err("poisoned");
    assert_eq!(error.kind(), ErrorKind::Poisoned);
    twin.heal();
    // As housekeeping does at its next look.
    partition.sync_sealed().expect("the disk is back");
    assert_eq!(partition.durable_offset(), 2);
    // The kernel took the pages for clean: the good sync has them only if they were written again.
    for seed in 1..20 {
        let after = twin.power_loss(seed).expect("image");
        unboot(&after, path);
        let kept = payloads(&open(Arc::new(after), path));
        assert_eq!(
            kept,
            [(0, b"0".to_vec()), (1, b"1".to_vec())],
            "seed {seed}"
        );
    }
    assert_eq!(partition.append(&[draft(b"2")]).expect("append"), 2);
    assert_eq!(payloads(&partition).len(), 3);
}

#[test]
fn p5_where_anyone_sends_with_sync_a_failed_sync_takes_back_what_is_not_on_disk() {
    let (twin, path) = (Twin::new(), Path::new(FOLDER));
    let partition = open_to_sync(Arc::new(twin.clone()), path);
    for _ in 0..6 {
        partition.append(&[draft(&[1; 300_000])]).expect("append");
    }
    assert!(partition.bases().expect("bases").len() > 1, "no roll");
    twin.fail(Fault::Sync, 1);
    partition
        .ensure_durable(6, Duration::from_secs(1))
        .expect_err("the disk failed");
    assert!(payloads(&partition).is_empty());
    twin.heal();
    partition.sync().expect("the disk is back");
    assert_eq!(partition.append(&[draft(b"x")]).expect("append"), 6);
    assert_eq!(payloads(&partition), [(6, b"x".to_vec())]);
}

/// A log of three segments that was closed cleanly; their bases.
fn three_segments(twin: &Twin, path: &Path) -> Vec<u64> {
    let partition = open(Arc::new(twin.clone()), path);
    while partition.bases().expect("bases").len() < 3 {
        let body = payload(partition.next_offset(), 100_000);
        partition.append(&[draft(&body)]).expect("append");
    }
    partition.sync().expect("sync");
    partition.close_clean().expect("close");
    partition.bases().expect("bases")
}

#[test]
fn p3_where_the_segment_of_the_mark_is_gone_nothing_is_cut_and_it_is_named() {
    let (twin, path) = (Twin::new(), Path::new(FOLDER));
    let bases = three_segments(&twin, path);
    let partition = open(Arc::new(twin.clone()), path);
    partition.append(&[draft(b"unclean")]).expect("append");
    drop(partition);
    unboot(&twin, path);
    let gone = path.join(names::segment(bases[2]));
    twin.unlink(&gone).expect("remove");
    let block = Region::new(
        &Arc::new(crate::shm::Mapping::anonymous(4096).expect("memory")),
        0,
        512,
    );
    let error = super::tests::try_open(Arc::new(twin.clone()), path, block.expect("block"))
        .map(|_| ())
        .expect_err("where the log ends cannot be told");
    assert_eq!(error.kind(), ErrorKind::Damaged);
    assert!(
        error.message().contains(&gone.display().to_string()),
        "{error}"
    );
    // As the error says.
    twin.unlink(&path.join(names::RESERVE)).expect("remove");
    let again = open(Arc::new(twin.clone()), path);
    assert_eq!(again.next_offset(), bases[2]);
    assert_eq!(payloads(&again).len() as u64, bases[2]);
}

fn readable(partition: &Partition) -> usize {
    let mut cursor = partition
        .seek(crate::options::Start::Earliest)
        .expect("seek");
    let (mut found, mut damaged) = (0, 0);
    loop {
        match partition.look(&mut cursor).expect("look") {
            Step::Record { next, .. } => {
                found += 1;
                cursor = next;
            }
            Step::Damaged => {
                damaged += 1;
                assert!(damaged < 10, "the same damage again and again");
                cursor = partition.skip_damage(&cursor).expect("skip").0;
            }
            _ => return found,
        }
    }
}

#[test]
fn p2_p3_what_was_on_disk_before_a_damaged_last_segment_stays_through_a_power_loss() {
    for gone in [false, true] {
        let (twin, path) = (Twin::new(), Path::new(FOLDER));
        let bases = three_segments(&twin, path);
        let last = path.join(names::segment(bases[2]));
        if gone {
            twin.unlink(&last).expect("unlink");
            twin.sync_dir(path).expect("sync");
        } else {
            let file = twin.open(&last, Access::ReadWrite, 0).expect("open");
            file.write_at(&[0xAA; 64], 0).expect("write");
            file.sync().expect("sync");
        }
        let again = open(Arc::new(twin.clone()), path);
        let before = readable(&again);
        assert_eq!(before as u64, bases[2], "gone: {gone}");
        again.append(&[draft(b"goes on")]).expect("append");
        let after = open(Arc::new(twin.power_loss(3).expect("image")), path);
        assert!(readable(&after) >= before, "gone: {gone}");
    }
}

#[test]
fn p4_a_clean_close_behind_a_roll_is_one_though_nothing_was_appended() {
    let (twin, path) = (Twin::new(), Path::new(FOLDER));
    let partition = open(Arc::new(twin.clone()), path);
    partition.append(&[draft(&[1; 600_000])]).expect("append");
    // One that rolled, and died or failed before it appended.
    partition.make_room(&[draft(&[1; 600_000])]).expect("roll");
    partition.sync_sealed().expect("sync");
    partition.close_clean().expect("close");
    let reserve = partition.read_reserve().expect("read").expect("there");
    assert!(reserve.clean, "{reserve:?}");
    drop(partition);
    unboot(&twin, path);
    assert_eq!(open(Arc::new(twin), path).next_offset(), 1);
}

#[test]
fn p2_what_a_failed_sync_takes_back_of_a_half_written_header_takes_no_offset_of_others() {
    let (twin, path) = (Twin::new(), Path::new(FOLDER));
    let partition = open_to_sync(Arc::new(twin.clone()), path);
    let big = vec![7; 100_000];
    partition.make_room(&[draft(&big)]).expect("room");
    partition.append(&[draft(b"0")]).expect("append");
    partition.publish_lengths_in_test(&[draft(&big)]);
    twin.fail(Fault::Sync, 1);
    let error = partition.sync().expect_err("the disk is away");
    assert!(error.message().contains(&names::segment(0)), "{error}");
    twin.heal();
    partition.tend_large().expect("tend");
    partition.sync().expect("well");
    assert_eq!(partition.append(&[draft(b"behind")]).expect("append"), 2);
    partition.sync().expect("sync");
    let again = open(Arc::new(twin.power_loss(1).expect("image")), path);
    assert_eq!(payloads(&again), [(2, b"behind".to_vec())]);
}

#[test]
fn p2_p5_a_recovery_whose_sync_failed_is_not_taken_for_done_by_the_next_one() {
    let path = Path::new(FOLDER);
    let control = Arc::new(Mapping::anonymous(4096).expect("memory"));
    let sent: Vec<(u64, usize)> = (0..20).map(|offset| (offset, 600)).collect();
    for seed in 1..20 {
        let twin = Twin::new();
        let partition = open(Arc::new(twin.clone()), path);
        for (offset, len) in &sent {
            partition
                .append(&[draft(&payload(*offset, *len))])
                .expect("append");
        }
        let dead = twin.all_die().expect("image");
        dead.fail(Fault::Sync, 1);
        let block = Region::new(&control, 0, WORDS * 8).expect("block");
        let opened = try_open(Arc::new(dead.clone()), path, block);
        assert!(opened.is_err(), "the disk is away");
        dead.heal();
        let next = open(Arc::new(dead.clone()), path);
        next.sync().expect("it is back");
        assert_eq!(next.durable_offset(), 20);
        let after = dead.power_loss(seed).expect("image");
        unboot(&after, path);
        check(&open(Arc::new(after), path), "recovered", 20, &sent);
    }
}

#[test]
fn p19_p17_housekeeping_goes_on_where_another_ones_died_at_its_sync() {
    let path = Path::new(FOLDER);
    let twin = Twin::new();
    let partition = open(Arc::new(twin), path);
    let dead = Owner {
        slot: 5,
        generation: 5,
    };
    assert!(OwnerLock::try_acquire(partition.block.sync_lock(), dead));
    let body = payload(0, 400_000);
    while partition.block.segment() == NONE || partition.block.segment() == 0 {
        partition.append(&[draft(&body)]).expect("append");
    }
    partition.sync_sealed().expect("housekeeping");
    assert_eq!(partition.durable_offset(), partition.block.segment());
}

#[test]
fn p2_p5_a_segment_that_cannot_be_opened_now_is_not_cut_after_a_power_loss() {
    let path = Path::new(FOLDER);
    let control = Arc::new(Mapping::anonymous(4096).expect("memory"));
    for fault in [Fault::Open, Fault::Map, Fault::Read] {
        let twin = Twin::new();
        let partition = open(Arc::new(twin.clone()), path);
        partition.append(&[draft(b"kept")]).expect("append");
        partition.sync().expect("sync");
        let after = twin.power_loss(3).expect("image");
        unboot(&after, path);
        for nth in 1..6 {
            after.fail(fault, nth);
            let block = Region::new(&control, 0, WORDS * 8).expect("block");
            let _ = try_open(Arc::new(after.clone()), path, block);
            after.heal();
        }
        let found = payloads(&open(Arc::new(after), path));
        assert_eq!(found, [(0, b"kept".to_vec())], "{fault:?}");
    }
}
