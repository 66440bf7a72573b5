//! What compaction takes, and what it leaves: of each key the last message, for readers and groups
//! that are at work meanwhile (P3, P6, P14, P15, P16).

use super::retention::{LARGE, NOW, Scene, numbers, settle, take};
use super::*;
use crate::log::Next;
use crate::{
    Group, GroupOptions, Message, Ordering, Reader, ReaderOptions, Retention, Start, TopicOptions,
};

/// A topic that keeps the last of each key.
pub(super) fn table() -> Scene {
    Scene::with(TopicOptions {
        compaction: Some(true),
        ..TopicOptions::default()
    })
}

/// Messages of which three fill the first segment, six the next, with these keys; each tells its
/// offset.
pub(super) fn put(scene: &Scene, keys: &str) {
    for key in keys.bytes() {
        let number = scene.topic.stats().expect("stats").partitions[0].next_offset;
        let payload = vec![number as u8; LARGE];
        let message = Message::new(&payload);
        let key = [key];
        let message = match key[0] {
            b'-' => message,
            _ => message.key(&key),
        };
        scene.topic.send(&message).expect("send");
    }
}

pub(super) fn end(scene: &Scene, key: &str) {
    let tombstone = Message::new(b"").key(key.as_bytes());
    scene.topic.send(&tombstone).expect("send");
}

pub(super) fn compact(scene: &Scene) {
    scene.topic.compact_all_now().expect("compact");
}

/// One that hands out all that there is at once.
pub(super) fn group(scene: &Scene, name: &str) -> Group {
    let options = GroupOptions {
        ordering: Some(Ordering::None),
        ..GroupOptions::default()
    };
    scene.topic.create_group(name, &options).expect("group")
}

pub(super) fn reader(topic: &Topic) -> Reader {
    topic.reader(&ReaderOptions::default()).expect("reader")
}

/// All that a reader has yet to see: offsets, each of which its message tells unless it is empty.
pub(super) fn read(reader: &mut Reader) -> Vec<u64> {
    let got = reader.receive(1000, NOW).expect("read");
    for one in &got {
        let told = one
            .payload()
            .first()
            .is_none_or(|first| u64::from(*first) == one.id().offset);
        assert!(told, "{:?} is another one's", one.id());
    }
    got.iter().map(|one| one.id().offset).collect()
}

fn all(topic: &Topic) -> Vec<u64> {
    read(&mut reader(topic))
}

#[test]
fn p15_the_last_message_of_each_key_is_kept_where_it_was_and_what_has_no_key() {
    let scene = table();
    put(&scene, "aab-bccab-");
    scene.topic.inner.partitions[0]
        .seal_older(i64::MAX)
        .expect("seal");
    let before = scene.topic.stats().expect("stats");
    compact(&scene);
    assert_eq!(all(&scene.topic), [3, 6, 7, 8, 9]);
    let after = scene.topic.stats().expect("stats");
    assert_eq!(after.messages, before.messages, "offsets stay");
    assert_eq!(after.compacted_messages, 5);
    assert!(after.compacted_bytes > 5 * LARGE as u64, "{after:?}");
    assert!(
        after.bytes + 1_400_000 < before.bytes,
        "{before:?} {after:?}"
    );
    // From any offset on, and from a time on, with and without an index.
    for from in 0..10 {
        let left: Vec<u64> = [3, 6, 7, 8, 9]
            .into_iter()
            .filter(|one| *one >= from)
            .collect();
        let mut reader = reader(&scene.topic);
        reader.seek(Start::Offset(from)).expect("seek");
        assert_eq!(read(&mut reader), left);
        reader.seek(Start::Time(0)).expect("seek");
        assert_eq!(read(&mut reader).len(), 5);
    }
    put(&scene, "ab");
    assert_eq!(all(&scene.topic).last(), Some(&11));
    // In the next life as well, after a clean close and after a death.
    let Scene {
        twin,
        clock,
        store,
        topic,
    } = scene;
    drop(topic);
    store.close().expect("close");
    let (store, topic) = open_by(&twin, &clock);
    assert_eq!(all(&topic), [3, 6, 7, 8, 9, 10, 11]);
    assert_eq!(topic.stats().expect("stats").compacted_messages, 5);
    store.die();
    let (_store, topic) = open_by(&twin, &clock);
    assert_eq!(all(&topic), [3, 6, 7, 8, 9, 10, 11]);
}

#[test]
fn p6_p13_a_segment_is_compacted_only_once_every_group_is_done_with_it() {
    let scene = table();
    group(&scene, "fast");
    group(&scene, "slow");
    put(&scene, "aaabbbcccaaa");
    settle(&scene.topic, "fast", 12);
    settle(&scene.topic, "slow", 2);
    compact(&scene);
    assert_eq!(
        all(&scene.topic).len(),
        12,
        "one of the first segment is left"
    );
    settle(&scene.topic, "slow", 1);
    compact(&scene);
    // The first segment alone.
    assert_eq!(all(&scene.topic), [2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
    assert_eq!(
        numbers(&take(&scene.topic, "slow", 9)),
        [3, 4, 5, 6, 7, 8, 9, 10, 11]
    );
    settle(&scene.topic, "slow", 9);
    compact(&scene);
    assert_eq!(all(&scene.topic), [5, 8, 11]);
    for name in ["fast", "slow"] {
        let stats = scene
            .topic
            .group(name)
            .expect("group")
            .stats()
            .expect("stats");
        assert_eq!((stats.lost_messages, stats.lag_messages), (0, 0));
    }
}

#[test]
fn p16_a_group_that_goes_back_and_one_that_begins_see_what_is_kept() {
    let scene = table();
    let group = group(&scene, "g");
    group.snapshot("before").expect("snapshot");
    put(&scene, "aaabbbccca");
    let (_other, beside) = scene.beside();
    // Mapped by another process before.
    assert_eq!(all(&beside).len(), 10);
    settle(&beside, "g", 10);
    compact(&scene);
    let kept = [5, 8, 9];
    for to in [Start::Earliest, Start::Offset(1)] {
        group.seek(to, None).expect("seek");
        for topic in [&beside, &scene.topic] {
            assert_eq!(numbers(&take(topic, "g", 99)), kept);
        }
        settle(&beside, "g", 3);
        let stats = group.stats().expect("stats");
        assert_eq!((stats.lag_messages, stats.lost_messages), (0, 0));
    }
    group.seek("before", None).expect("restore");
    assert_eq!(numbers(&take(&beside, "g", 99)), kept);
    let options = GroupOptions {
        start: Some(Start::Earliest),
        ..GroupOptions::default()
    };
    beside.create_group("late", &options).expect("group");
    assert_eq!(numbers(&take(&beside, "late", 99)), kept);
    assert_eq!(numbers(&take(&scene.topic, "late", 99)), kept);
}

#[test]
fn p3_who_reads_meanwhile_goes_on_in_what_he_has_mapped_and_then_in_what_is_kept() {
    let scene = table();
    put(&scene, "aaabbbcccaaadddeee");
    let (_other, beside) = scene.beside();
    let mut readers = Vec::new();
    for topic in [&scene.topic, &beside] {
        for first in 0..10 {
            let mut reader = reader(topic);
            let got = match first {
                0 => Vec::new(),
                most => reader.receive(most, NOW).expect("read"),
            };
            readers.push((reader, got));
        }
    }
    compact(&scene);
    let kept = [5, 8, 11, 14, 17];
    for (reader, before) in &mut readers {
        // What he holds stays as it was.
        let next = before.last().map_or(0, |last| last.id().offset + 1);
        assert!(
            before
                .iter()
                .all(|one| one.payload() == vec![one.id().offset as u8; LARGE])
        );
        let got = read(reader);
        assert!(got.windows(2).all(|pair| pair[0] < pair[1]), "{got:?}");
        assert!(got.iter().all(|one| *one >= next), "{next}: {got:?}");
        let wanted = kept.iter().filter(|one| **one >= next);
        assert!(
            wanted.clone().all(|one| got.contains(one)),
            "{next}: {got:?}"
        );
        reader.seek(Start::Earliest).expect("seek");
        assert_eq!(read(reader)[..2], kept[..2]);
    }
}

#[test]
fn p15_a_tombstone_goes_after_its_time_and_what_it_ends_does_not_come_back() {
    let scene = table();
    let hour = Duration::from_secs(3600);
    let options = TopicOptions {
        tombstone_grace: Some(hour),
        ..TopicOptions::default()
    };
    scene.topic.configure(&options).expect("configure");
    put(&scene, "ab");
    end(&scene, "a");
    put(&scene, "cb");
    compact(&scene);
    assert_eq!(all(&scene.topic), [2, 3, 4], "a's end is told of");
    scene.clock.advance_ms(3_599_000);
    put(&scene, "dddddd");
    compact(&scene);
    assert_eq!(all(&scene.topic), [2, 3, 4, 10]);
    scene.clock.advance_ms(1_000);
    put(&scene, "eeeeee");
    compact(&scene);
    assert_eq!(all(&scene.topic), [3, 4, 10, 16]);
    // An empty payload without a key ends nothing.
    scene.topic.send(&Message::new(b"")).expect("send");
    scene.clock.advance_ms(9_000_000);
    put(&scene, "ffffff");
    compact(&scene);
    assert!(all(&scene.topic).contains(&17));
}

#[test]
fn p3_a_segment_that_is_damaged_stays_as_it_is_and_so_does_what_a_tombstone_ends() {
    let scene = table();
    let grace = TopicOptions {
        tombstone_grace: Some(Duration::ZERO),
        ..TopicOptions::default()
    };
    scene.topic.configure(&grace).expect("configure");
    let other = table();
    other.topic.configure(&grace).expect("configure");
    for one in [&scene, &other] {
        put(one, "axbc");
        end(one, "a");
        put(one, "bbbbbbb");
    }
    // The second message, of the first segment.
    let path = Path::new("/store/topics/t/0").join(crate::format::names::segment(0));
    let access = crate::storage::Access::ReadWrite;
    let file = other.twin.open(&path, access, 0).expect("open");
    file.write_at(&[0xff], 4096 + LARGE as u64 + 200)
        .expect("damage");
    compact(&scene);
    compact(&other);
    assert_eq!(all(&scene.topic)[..2], [1, 3], "a is over");
    let mut reader = reader(&other.topic);
    let (mut got, mut told) = (Vec::new(), 0);
    loop {
        match reader.receive(99, NOW) {
            Ok(some) if some.is_empty() => break,
            Ok(some) => got.extend(some.iter().map(|one| one.id().offset)),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Damaged);
                told += 1;
            }
        }
    }
    assert_eq!(
        (told, &got[..4]),
        (1, &[0, 2, 3, 4][..]),
        "and so is a's end"
    );
    assert!(got.len() < 11, "{got:?}");
}

#[test]
fn p6_p16_a_group_that_goes_back_while_a_segment_is_written_keeps_the_old_one() {
    for late in [false, true] {
        let scene = table();
        let group = group(&scene, "g");
        put(&scene, "aaabbbccca");
        settle(&scene.topic, "g", 10);
        let inner = &scene.topic.inner;
        let begun = inner.begin_pass(0, &scene.topic.config()).expect("begin");
        let (mut pass, mut on_disk) = begun.expect("there is something to do");
        let end = loop {
            match pass.next() {
                Next::Put(end) => break end,
                Next::Make => pass.make().expect("make"),
                _ => pass.work().expect("work"),
            }
        };
        if late {
            let options = GroupOptions {
                start: Some(Start::Earliest),
                ..GroupOptions::default()
            };
            scene.topic.create_group("late", &options).expect("group");
        } else {
            group.seek(Start::Earliest, None).expect("seek");
        }
        assert!(
            !inner
                .put((0, end), &mut pass, &mut on_disk)
                .expect("looked at"),
            "late: {late}"
        );
        pass.give_up();
        assert_eq!(all(&scene.topic).len(), 10);
    }
}

#[test]
fn p14_a_limit_counts_what_is_kept_where_there_is_no_group_and_what_is_open_where_there_is() {
    for grouped in [false, true] {
        let scene = Scene::with(TopicOptions {
            compaction: Some(true),
            max_messages: Some(12),
            ..TopicOptions::default()
        });
        if grouped {
            group(&scene, "g");
        }
        put(&scene, "aaabbbcccaa");
        if grouped {
            settle(&scene.topic, "g", 10);
        }
        compact(&scene);
        let kept = all(&scene.topic).len();
        let open = if grouped { 1 } else { kept };
        for _ in open..12 {
            scene.topic.send(&Message::new(b"x")).expect("room");
        }
        let error = scene.topic.send(&Message::new(b"x")).expect_err("full");
        assert_eq!(error.kind(), ErrorKind::Full, "grouped: {grouped}");
    }
}

#[test]
fn p15_compaction_is_asked_for_once_and_goes_with_a_time_but_not_with_settled() {
    let scene = table();
    let config = scene.topic.config();
    assert_eq!(
        (config.compaction, config.retention),
        (true, Retention::Forever)
    );
    let settled = TopicOptions {
        retention: Some(Retention::Settled),
        ..TopicOptions::default()
    };
    let error = scene.topic.configure(&settled).expect_err("both");
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.message().contains("forever"), "{error}");
    let both = TopicOptions {
        compaction: Some(true),
        ..settled.clone()
    };
    let error = scene.store.create_topic("u", &both).err().expect("both");
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    let hour = Retention::Time(Duration::from_secs(3600));
    let timed = TopicOptions {
        retention: Some(hour),
        ..TopicOptions::default()
    };
    scene.topic.configure(&timed).expect("configure");
    put(&scene, "aaabbbccc");
    compact(&scene);
    assert_eq!(all(&scene.topic), [2, 5, 8]);
    scene.clock.advance_ms(3_600_001);
    scene.retain();
    assert_eq!(all(&scene.topic), [0; 0]);
    let off = TopicOptions {
        compaction: Some(false),
        retention: Some(Retention::Settled),
        ..TopicOptions::default()
    };
    scene.topic.configure(&off).expect("configure");
    assert!(!scene.topic.config().compaction);
}

#[test]
fn p15_what_is_clean_is_not_looked_at_again_before_there_is_as_much_that_is_not() {
    let scene = table();
    put(&scene, "abcdefghijklm");
    compact(&scene);
    let compacted = |scene: &Scene| scene.topic.inner.partitions[0].compacted().expect("said");
    let below = compacted(&scene).below;
    assert_eq!(below, 13);
    put(&scene, "ab");
    compact(&scene);
    assert_eq!(compacted(&scene).below, below, "less than half is dirty");
    put(&scene, "abababababababababab");
    compact(&scene);
    assert!(compacted(&scene).below > below);
    assert_eq!(all(&scene.topic).len(), 13);
}
