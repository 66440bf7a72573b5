//! Each kind of damage to segments, reserves and meta files.

use std::fs;

use super::*;

#[test]
fn p3_p4_p6_an_intact_store_is_copied_whole_with_ids_offsets_and_positions() {
    let original = Original::make();
    let case = Case::of(&original.path());
    let recovered = case.recover(&original.contents);
    assert_eq!((recovered.losses.len(), recovered.notes.len()), (0, 0));
    assert_eq!((recovered.topics, recovered.groups), (2, 2));
    assert_eq!(contents(&case.to()), original.contents);
    let id = |path: &Path| {
        let store = open(path);
        let topic = store.open_topic("orders").unwrap();
        (store.id().unwrap(), topic.id(), topic.config())
    };
    assert_eq!(id(&case.to()), id(&case.from()));
    let left = drain(&case.to(), "orders", "g");
    let offsets: BTreeSet<(u32, u64)> = left.keys().copied().collect();
    assert_eq!(offsets, original.unsettled);
    assert_eq!(
        drain(&case.from(), "orders", "g"),
        left,
        "attempts are kept"
    );
    assert_eq!(drain(&case.to(), "orders", "fresh").len(), 120);
    // Offsets go on as they would have.
    let store = open(&case.to());
    let topic = store.open_topic("orders").unwrap();
    let next = topic.send(&Message::new(b"new").partition(0)).unwrap();
    assert_eq!(next.offset, 90);
}

#[test]
fn p3_p4_a_damaged_record_costs_itself_and_its_offset_is_not_used_again() {
    let original = Original::make();
    let case = Case::of(&original.path());
    let segment = segments(&case.from(), 1).remove(0);
    let all = messages(&segment);
    let (at, offset) = all[3];
    // In its body, its length, its offset; and the last one of all.
    flip(&segment, at + 50, 1);
    flip(&segment, all[7].0, 0x20);
    flip(&segment, all[9].0 + 8, 1);
    let (last, newest) = *all.last().unwrap();
    flip(&segment, last + 60, 1);
    let recovered = case.recover(&original.contents);
    assert_eq!((offset, newest), (3, 29));
    assert_eq!(lost(&recovered), [3..4, 7..8, 9..10, 29..30]);
    assert_eq!(recovered.losses.len(), 4);
    assert_eq!(recovered.losses[0].file, segment);
    assert_eq!(recovered.losses[0].position, at);
    assert_eq!(recovered.losses[0].lost, Some(3..4));
    let mut expected = original.unsettled.clone();
    for offset in [3, 7, 9, 29] {
        expected.remove(&(1, offset));
    }
    let left = drain(&case.to(), "orders", "g");
    assert_eq!(left.into_keys().collect::<BTreeSet<_>>(), expected);
    let store = open(&case.to());
    let topic = store.open_topic("orders").unwrap();
    let next = topic.send(&Message::new(b"new").partition(1)).unwrap();
    assert_eq!(next.offset, 30, "29 was given to the message that is lost");
}

#[test]
fn p3_p18_segments_that_are_gone_cut_zeroed_or_swapped() {
    let original = Original::make();
    let all = segments(&original.path(), 0);
    assert!(all.len() >= 2, "{all:?}");
    let bases: Vec<u64> = all.iter().map(|path| messages(path)[0].1).collect();
    let gone = |number: usize| bases[number]..bases.get(number + 1).copied().unwrap_or(90);
    for number in 0..all.len() {
        let case = Case::of(&original.path());
        fs::remove_file(&segments(&case.from(), 0)[number]).unwrap();
        let recovered = case.recover(&original.contents);
        if number > 0 {
            assert_eq!(lost(&recovered), [gone(number)], "{number}");
            assert_eq!(recovered.losses.len(), 1);
        } else {
            assert!(
                recovered.notes[0].contains("begins with offset"),
                "{recovered:?}"
            );
            let what = "had not settled are in no segment";
            assert!(recovered.losses[0].what.contains(what), "{recovered:?}");
        }

        let case = Case::of(&original.path());
        let path = &segments(&case.from(), 0)[number];
        let len = fs::metadata(path).unwrap().len();
        fs::write(path, vec![0; len as usize]).unwrap();
        let recovered = case.recover(&original.contents);
        assert_eq!(lost(&recovered), [gone(number)], "{number}");

        let case = Case::of(&original.path());
        let path = &segments(&case.from(), 0)[number];
        let inside = messages(path);
        let (cut, first) = inside[inside.len() / 2];
        let file = fs::OpenOptions::new().write(true).open(path).unwrap();
        file.set_len(cut + 20).unwrap();
        let recovered = case.recover(&original.contents);
        let expected = first..gone(number).end;
        assert_eq!(lost(&recovered), [expected], "{number}");

        // Some pages in the middle.
        let case = Case::of(&original.path());
        let path = &segments(&case.from(), 0)[number];
        let page = cut / 4096 * 4096;
        put(path, page, &vec![0; 8192]);
        let recovered = case.recover(&original.contents);
        let hit = |(at, _): &&(u64, u64)| *at >= page && *at < page + 8192;
        assert!(lost(&recovered).len() <= 1, "{recovered:?}");
        let least = inside.iter().filter(hit).count();
        assert!(recovered.messages as usize <= 121 - least);
        assert!(
            recovered.messages as usize >= 121 - least - 2,
            "{number}: {recovered:?}"
        );
    }
    // Two that have each other's name.
    let case = Case::of(&original.path());
    let paths = segments(&case.from(), 0);
    let other = case.from().join("other");
    fs::rename(&paths[0], &other).unwrap();
    fs::rename(&paths[1], &paths[0]).unwrap();
    fs::rename(&other, &paths[1]).unwrap();
    let recovered = case.recover(&original.contents);
    assert_eq!((recovered.losses.len(), recovered.messages), (0, 121));
    assert_eq!(
        recovered.source.damage.len(),
        2,
        "{:?}",
        recovered.source.damage
    );
    // One that stands in the other partition, and a copy of one.
    let case = Case::of(&original.path());
    let stray = &segments(&case.from(), 1)[0];
    fs::rename(
        stray,
        partition(&case.from(), 0).join(format!("{:020}.log", 5000)),
    )
    .unwrap();
    fs::copy(
        &paths_of(&case, 0)[0],
        partition(&case.from(), 0).join(format!("{:020}.log", 77)),
    )
    .unwrap();
    let recovered = case.recover(&original.contents);
    assert_eq!(recovered.messages, 121);
}

fn paths_of(case: &Case, number: u32) -> Vec<PathBuf> {
    segments(&case.from(), number)
}

#[test]
fn p3_p18_records_are_read_without_the_segments_header() {
    let original = Original::make();
    for at in [0, 9, 12, 15, 17, 25, 33, 41, 64, 70, 4000] {
        let case = Case::of(&original.path());
        for number in 0..2 {
            for segment in segments(&case.from(), number) {
                flip(&segment, at, 0x10);
            }
        }
        let recovered = case.recover(&original.contents);
        assert_eq!(recovered.messages, 121, "byte {at}");
        assert_eq!(lost(&recovered), []);
        assert!(recovered.source.damage.len() >= 3, "byte {at}");
    }
    let case = Case::of(&original.path());
    for segment in segments(&case.from(), 0) {
        put(&segment, 0, &[0; 4096]);
    }
    assert_eq!(case.recover(&original.contents).messages, 121);
}

#[test]
fn p4_without_a_whole_reserve_offsets_go_on_far_behind_what_is_known() {
    let original = Original::make();
    for how in 0..3 {
        let case = Case::of(&original.path());
        let reserve = partition(&case.from(), 0).join("reserve");
        match how {
            0 => fs::remove_file(&reserve).unwrap(),
            1 => fs::write(&reserve, vec![0xA5; 1024]).unwrap(),
            _ => {
                flip(&reserve, 30, 1);
                flip(&reserve, 530, 1);
            }
        }
        let recovered = case.recover(&original.contents);
        assert_eq!(
            (recovered.messages, recovered.losses.len()),
            (121, 0),
            "{how}"
        );
        assert!(!recovered.source.is_intact());
        let store = open(&case.to());
        let topic = store.open_topic("orders").unwrap();
        let next = topic.send(&Message::new(b"new").partition(0)).unwrap();
        assert!(next.offset > 90 + 262_144, "{}", next.offset);
    }
}

#[test]
fn p3_meta_files_that_are_gone_or_damaged_are_made_again_and_told_of() {
    let original = Original::make();
    for name in ["store.meta", "topics/orders/topic.meta"] {
        for how in 0..3 {
            let case = Case::of(&original.path());
            let meta = case.from().join(name);
            match how {
                0 => fs::remove_file(&meta).unwrap(),
                // A digit of the version, and one of the id.
                1 => flip(&meta, 15, 3),
                _ => flip(&meta, 25, 1),
            }
            let recovered = case.recover(&original.contents);
            assert_eq!(recovered.messages, 121, "{name}, {how}");
            assert_eq!(
                recovered.losses.len(),
                1,
                "{name}, {how}: {:?}",
                recovered.losses
            );
            assert_eq!(recovered.losses[0].file, meta);
            let store = open(&case.to());
            assert_eq!(store.id().unwrap(), recovered.id);
            let topic = store.open_topic("orders").unwrap();
            let before = open(&original.path());
            let same = before.open_topic("orders").unwrap();
            assert_eq!(topic.id(), same.id(), "segments tell it");
            assert_eq!(topic.partitions(), 2);
            assert_eq!(
                store.id().unwrap() == before.id().unwrap(),
                name != "store.meta"
            );
            drop((topic, same));
            store.close().unwrap();
            let left = drain(&case.to(), "orders", "g");
            assert_eq!(
                left.into_keys().collect::<BTreeSet<_>>(),
                original.unsettled
            );
        }
    }
}

#[test]
fn p3_p4_a_partition_whose_folder_is_gone_is_empty_and_its_offsets_are_not_used_again() {
    let original = Original::make();
    let case = Case::of(&original.path());
    let folder = partition(&case.from(), 1);
    fs::remove_dir_all(&folder).unwrap();
    let recovered = case.recover(&original.contents);
    assert_eq!(recovered.messages, 91);
    assert!(
        recovered.losses.iter().any(|loss| loss.file == folder),
        "{recovered:?}"
    );
    let left = drain(&case.to(), "orders", "g");
    let mut expected = original.unsettled.clone();
    expected.retain(|(partition, _)| *partition == 0);
    assert_eq!(left.into_keys().collect::<BTreeSet<_>>(), expected);
    let store = open(&case.to());
    let topic = store.open_topic("orders").unwrap();
    let next = topic.send(&Message::new(b"new").partition(1)).unwrap();
    assert!(next.offset >= 30, "{}", next.offset);
}

#[test]
fn p1_p3_a_message_that_was_published_but_for_its_kind_counts() {
    let original = Original::make();
    let case = Case::of(&original.path());
    let segment = segments(&case.from(), 1).remove(0);
    let (at, _) = messages(&segment)[2];
    put(&segment, at + 32, &[4]);
    let recovered = case.recover(&original.contents);
    assert_eq!((recovered.messages, recovered.losses.len()), (121, 0));
    assert_eq!(
        recovered.source.damage.len(),
        1,
        "nobody died: {:?}",
        recovered.source.damage
    );
    assert_eq!(recovered.source.damage[0].position, at);
}

#[test]
fn p3_lock_control_and_ballast_are_not_needed() {
    let original = Original::make();
    let case = Case::of(&original.path());
    for name in ["lock", "control", "ballast"] {
        fs::remove_file(case.from().join(name)).unwrap();
    }
    fs::write(case.from().join("notes.txt"), "mine").unwrap();
    let recovered = case.recover(&original.contents);
    assert_eq!((recovered.losses.len(), recovered.messages), (0, 121));
    assert_eq!(recovered.source.unknown, [case.from().join("notes.txt")]);
}

#[test]
fn p1_p3_the_files_of_killed_processes_are_copied_whole() {
    let original = Original::make();
    let folder = TempDir::new().unwrap();
    let live = folder.path().join("live");
    copy(&original.path(), &live);
    let store = open(&live);
    let topic = store.open_topic("orders").unwrap();
    let sent: Vec<libqueue::MessageId> = (0..50)
        .map(|n| {
            topic
                .send(&Message::new(&vec![n; 50_000]).partition(0))
                .unwrap()
        })
        .collect();
    assert_eq!(sent[49].offset, 139);
    // As it is while its processes are killed.
    let case = Case::of(&live);
    drop(topic);
    store.close().unwrap();
    let recovered = case.recover(&contents(&live));
    assert_eq!((recovered.messages, recovered.losses.len()), (171, 0));
    let store = open(&case.to());
    let topic = store.open_topic("orders").unwrap();
    assert!(
        topic
            .send(&Message::new(b"new").partition(0))
            .unwrap()
            .offset
            >= 140
    );
}
