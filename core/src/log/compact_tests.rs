//! Passes over random logs, against a map of what is the last of each key (P3, P15).

use std::collections::BTreeMap;

use super::tests::{draft, open};
use super::*;
use crate::format::record::body_crc;
use crate::storage::{Choices, Twin};

const FOLDER: &str = "/p";

/// What a message of a number is: its key, if it has one, and whether it ends its key.
#[derive(Clone, Copy)]
struct Sent {
    key: Option<u8>,
    ends: bool,
}

fn payload(offset: u64, ends: bool) -> Vec<u8> {
    match ends {
        true => Vec::new(),
        false => vec![offset as u8; 20_000 + (offset as usize * 7919) % 60_000],
    }
}

fn append(log: &Partition, one: Sent) {
    let payload = payload(log.next_offset(), one.ends);
    let key = one.key.map(|key| [key]);
    let key = key.as_ref().map(|key| &key[..]);
    let one = Draft {
        timestamp_ns: Some(log.next_offset() as i64),
        key,
        key_hash: key.map_or(0, crate::format::murmur2::key_hash),
        body_crc: body_crc([b"", key.unwrap_or_default(), b"", &payload]),
        ..draft(&payload)
    };
    log.append(&[one]).expect("append");
}

fn go_through(log: &Arc<Partition>, tombstones: i64, keys: usize) -> usize {
    let mut passes = 0;
    while let Some(mut pass) = log
        .begin_pass(u64::MAX >> 2, tombstones, keys)
        .expect("begin")
    {
        loop {
            match pass.next() {
                Next::Nothing => break,
                Next::Work => pass.work().expect("work"),
                Next::Make => pass.make().expect("make"),
                Next::End => pass.end().expect("end"),
                Next::Put(_) => {
                    pass.put().expect("put");
                    pass.count().expect("count");
                }
            }
        }
        passes += 1;
        if !pass.is_short() {
            break;
        }
    }
    passes
}

/// All messages from an offset on, each compared with what was sent.
fn offsets(log: &Partition, from: u64) -> Vec<u64> {
    let (mut cursor, mut found) = (Cursor::at_offset(from), Vec::new());
    loop {
        match log.look(&mut cursor).expect("look") {
            Step::Record {
                offset,
                position,
                next,
                ..
            } => {
                let record = log.record(offset, position).expect("whole");
                let same = payload(offset, record.payload().is_empty());
                assert!(record.payload() == same, "{offset} is another one's");
                assert_eq!(record.timestamp_ns, offset as i64);
                found.push(offset);
                cursor = next;
            }
            Step::End => return found,
            Step::Damaged => panic!("{}", log.skip_damage(&cursor).expect("damage").1),
            Step::NotMapped => {}
        }
    }
}

/// What is to be there: all of what is not closed, and before it the last of each key.
fn wanted(sent: &[Sent], closed: u64, tombstones: i64) -> Vec<u64> {
    let mut last: BTreeMap<u8, u64> = BTreeMap::new();
    for (offset, one) in sent.iter().enumerate().take(closed as usize) {
        if let Some(key) = one.key {
            last.insert(key, offset as u64);
        }
    }
    let kept = sent.iter().enumerate().filter(|(offset, one)| {
        let at = *offset as u64;
        let over = one.ends && at as i64 <= tombstones;
        at >= closed || one.key.is_none_or(|key| last[&key] == at && !over)
    });
    kept.map(|(offset, _)| offset as u64).collect()
}

#[test]
fn p3_p15_random_logs_keep_the_last_of_each_key_whole_and_in_its_place() {
    for seed in 0..8 {
        let mut chance = Choices::seeded(seed);
        let twin = Twin::new();
        let log = open(Arc::new(twin.clone()), Path::new(FOLDER));
        let (mut sent, mut tombstones) = (Vec::new(), -1);
        let keys = 1 + chance.pick(40);
        for round in 0..4 {
            for _ in 0..40 + chance.pick(80) {
                let key = (chance.pick(8) > 0).then(|| chance.pick(keys) as u8);
                let ends = key.is_some() && chance.pick(6) == 0;
                sent.push(Sent { key, ends });
                append(&log, Sent { key, ends });
            }
            // Readers in the middle of it, of which some find their files replaced.
            let mut cursors = Vec::new();
            for _ in 0..6 {
                let from = chance.pick(sent.len()) as u64;
                let mut cursor = Cursor::at_offset(from);
                if let Step::Record { next, .. } = log.look(&mut cursor).expect("look") {
                    cursors.push(next);
                }
            }
            tombstones = tombstones.max(chance.pick(sent.len()) as i64);
            let most = [1, 3, 1000][chance.pick(3)];
            let passes = go_through(&log, tombstones, most);
            assert!(most == 1000 || passes >= 1, "seed {seed}");
            let closed = log
                .sealed()
                .expect("sealed")
                .last()
                .map_or(0, |one| one.end);
            let kept = wanted(&sent, closed, tombstones);
            let at = format!("seed {seed}, round {round}, {most} keys at once");
            let found = offsets(&log, 0);
            super::sums_tests::agrees(&log, &at);
            assert_eq!(
                found.iter().filter(|one| kept.contains(one)).count(),
                kept.len(),
                "{at}"
            );
            // A tombstone that was looked at before its time was over goes with a later one only.
            let beyond = found.iter().filter(|one| !kept.contains(one));
            let mut beyond = beyond.filter(|one| !sent[**one as usize].ends);
            assert_eq!(beyond.next(), None, "{at}");
            for cursor in cursors {
                let rest: Vec<u64> = found
                    .iter()
                    .filter(|at| **at >= cursor.offset)
                    .copied()
                    .collect();
                let mut place = cursor;
                let mut seen = Vec::new();
                while let Step::Record { offset, next, .. } = log.look(&mut place).expect("look") {
                    seen.push(offset);
                    place = next;
                }
                assert_eq!(seen, rest, "{at}: from {cursor:?}");
            }
            let again = log.compacted().expect("said");
            assert_eq!(again.below, closed, "{at}");
            let gone = sent.len() - found.len();
            assert_eq!(again.messages, gone as u64, "{at}");
        }
        // In another life.
        let before = offsets(&log, 0);
        let log = open(Arc::new(twin.all_die().expect("image")), Path::new(FOLDER));
        assert_eq!(offsets(&log, 0), before, "seed {seed}");
    }
}

#[test]
fn p9_an_old_file_that_somebody_holds_is_not_found_again_by_who_comes_with_a_place_in_the_new() {
    let twin = Twin::new();
    let log = open(Arc::new(twin), Path::new(FOLDER));
    for number in 0..60 {
        let key = Some(number % 7);
        append(&log, Sent { key, ends: false });
    }
    // One that remembers the first segment by a place in it, as who hands messages out does.
    let (mut near, mut cursor) = (Near::default(), Cursor::at_offset(0));
    let Step::Record { next, .. } = log.look(&mut cursor).expect("look") else {
        panic!("nothing there");
    };
    cursor = next;
    let held = log.mapped(cursor.segment).expect("mapped");
    go_through(&log, -1, 100);
    // It went on in the old file, which it had mapped, after the other one had its place.
    let _ = log.scan_near(&mut near, &mut cursor, |_, _| false);
    assert_eq!(held.life(), 0);
    // What another process says of where it goes on, in the new file.
    let mut moved = Cursor::at_offset(0);
    while moved.life == 0 {
        match log.look(&mut moved).expect("look") {
            Step::Record { next, .. } => moved = next,
            _ => panic!("no segment was compacted"),
        }
    }
    moved.segment = cursor.segment;
    let mut steps = 0;
    let mut found = None;
    while found.is_none() && steps < 10 {
        let _ = log.scan_near(&mut near, &mut moved, |_, step| {
            found = match step {
                Step::NotMapped => None,
                Step::Record { offset, .. } => Some(*offset),
                _ => Some(u64::MAX),
            };
            false
        });
        log.resolve(&mut moved).expect("resolve");
        steps += 1;
    }
    assert!(found.is_some(), "it looks in the old file again and again");
    drop(held);
}

#[test]
fn p18_a_place_is_one_word_and_any_word_is_a_place() {
    let cursor = Cursor {
        segment: 7,
        position: 4096,
        offset: 9,
        life: 3,
    };
    assert_eq!(Cursor::at_place(7, cursor.place(), 9), cursor);
    for word in [0, u64::MAX, 1 << 63, 4096] {
        let found = Cursor::at_place(1, word, 2);
        assert_eq!(Cursor::at_place(1, found.place(), 2), found);
        assert!(found.place() <= crate::format::record::OFFSET_MAX);
    }
}

#[test]
fn p5_p17_a_pass_that_ends_in_the_middle_leaves_all_and_the_next_removes_its_file() {
    let twin = Twin::new();
    let log = open(Arc::new(twin.clone()), Path::new(FOLDER));
    for number in 0..60 {
        let key = Some(number % 3);
        append(&log, Sent { key, ends: false });
    }
    let before = offsets(&log, 0);
    let mut pass = log
        .begin_pass(u64::MAX >> 2, -1, 10)
        .expect("begin")
        .expect("some");
    while !matches!(pass.next(), Next::Put(_)) {
        match pass.next() {
            Next::Make => pass.make().expect("make"),
            _ => pass.work().expect("work"),
        }
    }
    drop(pass);
    let left = |log: &Partition| {
        let names = log.env.storage.list(Path::new(FOLDER)).expect("list");
        names
            .iter()
            .filter(|name| names::parse_rewritten(name).is_some())
            .count()
    };
    assert_eq!((left(&log), offsets(&log, 0)), (1, before));
    go_through(&log, -1, 10);
    assert_eq!(left(&log), 0);
    // Another one that comes with what it had copied before finds that it was overtaken.
    let closed = log
        .sealed()
        .expect("sealed")
        .last()
        .map_or(0, |one| one.end);
    let kept = offsets(&log, 0);
    assert_eq!(kept.iter().filter(|one| **one < closed).count(), 3);
}

#[test]
fn p15_what_ended_a_message_stays_as_long_as_retention_only_hides_that() {
    let log = open(Arc::new(Twin::new()), Path::new(FOLDER));
    let one = Sent {
        key: Some(1),
        ends: false,
    };
    (0..120).for_each(|_| append(&log, one));
    let sealed = log.sealed().expect("sealed");
    assert!(sealed.len() > 1, "{sealed:?}");
    let (first, second) = (sealed[0].end, sealed[1].end);
    assert!(log.mark_behind(second).expect("sync"));
    log.take_below(first);
    let begun = log.begin_pass(u64::MAX >> 2, 0, 100).expect("begin");
    let mut pass = begun.expect("there is something to do");
    let said = log.read_reserve().expect("read").expect("written");
    assert_eq!(crate::format::reserve::taken_by(&said), first, "for good");
    while !matches!(pass.next(), Next::Put(_)) {
        match pass.next() {
            Next::Make => pass.make().expect("make"),
            _ => pass.work().expect("work"),
        }
    }
    log.take_below(second);
    let error = pass.put().expect_err("what is hidden may come back");
    assert_eq!(error.kind(), ErrorKind::Busy);
    pass.give_up();
    log.remove_below(second).expect("remove");
    assert!(!log.hides_what_may_come_back().expect("read"));
}
