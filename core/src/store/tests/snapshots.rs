//! Snapshots of a group's state (P16): taking, seeking, listing, deleting them; damage; lives.

use super::seek::Scene;
use super::*;
use crate::options::{DeliveryMode, GroupOptions, Ordering as Order, Start};
use crate::storage::Fault;
use crate::store::in_force::InForce;
use crate::store::{ConsumerOptions, Delivery, Message, MessageState};

fn by_partition() -> GroupOptions {
    GroupOptions {
        ordering: Some(Order::None),
        max_attempts: Some(3),
        ..GroupOptions::default()
    }
}

/// Offsets 0 and 2 settled, 1 failed once, 3 out, 4 died, 5 to 7 fresh.
fn mixed(scene: &Scene) -> Vec<Delivery> {
    scene.send(0, 8);
    let got = scene.take(5);
    scene.ack(&[]).expect("nothing");
    let receipt = |place: usize| got[place].receipt();
    scene.worker.ack(&[receipt(0), receipt(2)]).expect("ack");
    scene
        .worker
        .nack(&[receipt(1)], None, Some("no"))
        .expect("nack");
    scene.worker.dead_letter(&[receipt(4)], "no").expect("bury");
    got
}

#[test]
fn p16_a_snapshot_brings_back_what_was_open_then_with_attempts_and_failures_and_nothing_else() {
    let twin = Twin::new();
    let scene = Scene::on(&twin, 1, by_partition());
    mixed(&scene);
    let taken = scene.group().snapshot("before").expect("snapshot");
    assert_eq!((taken.open, taken.whole), (2, true));
    scene.clock.advance_ms(3_600_000);
    assert_eq!(scene.manage(99).len(), 4);
    scene.clock.advance_ms(3_600_000);
    assert_eq!(
        scene.manage(99).len(),
        1,
        "the lease that ran out was a failure"
    );
    assert!(scene.take(9).is_empty());
    // 1, 3, 5, 6, 7 were open.
    assert_eq!(scene.seek("before"), (5, 0, 0, 0));
    let found = scene.manage(99);
    assert_eq!(
        found,
        [(0, 1, 2), (0, 3, 2), (0, 5, 1), (0, 6, 1), (0, 7, 1)]
    );
    let meta = scene.group().inner.read_meta().expect("meta");
    assert_eq!(meta.sought[0].snapshot, None, "done with");
    // Failures are back as well: two more, and it dies.
    scene.seek("before");
    for round in 0..2 {
        let got = scene.take(1);
        assert_eq!(got[0].offset(), 1, "round {round}");
        scene
            .worker
            .nack(&[got[0].receipt()], Some(Duration::ZERO), None)
            .expect("nack");
    }
    let letters = scene.group().dead_letters(9).expect("letters");
    let dead: Vec<u64> = letters.iter().map(|one| one.source_offset).collect();
    assert_eq!(dead, [4, 1]);
    // A snapshot of the later state takes it back to what is settled by now.
    assert_eq!(scene.manage(99).len(), 4);
    scene.group().snapshot("after").expect("snapshot");
    scene.seek(Start::Earliest);
    assert_eq!(scene.seek("after"), (0, 8, 0, 0));
    assert!(scene.take(9).is_empty());
    drop((letters, scene));
    // In another life.
    let scene = Scene::on(&twin, 1, by_partition());
    let names: Vec<String> = (scene.group().snapshots().expect("list").into_iter())
        .map(|one| one.name)
        .collect();
    assert_eq!(names, ["after", "before"]);
    assert_eq!(scene.seek("before"), (5, 0, 0, 0));
    assert_eq!(scene.manage(99).len(), 5);
}

#[test]
fn p16_snapshots_are_named_once_listed_counted_and_deleted_also_with_their_group() {
    let twin = Twin::new();
    let scene = Scene::on(&twin, 2, GroupOptions::default());
    let group = scene.group();
    let kind = |done: Result<_>| {
        done.map(|_: crate::SnapshotInfo| ())
            .expect_err("refused")
            .kind()
    };
    for bad in ["earliest", "latest", "1", "2026-11-26", "a/b", ""] {
        assert_eq!(kind(group.snapshot(bad)), ErrorKind::InvalidName, "{bad}");
        assert_eq!(
            group.delete_snapshot(bad).expect_err("refused").kind(),
            ErrorKind::InvalidName
        );
    }
    for number in 0..100 {
        group.snapshot(&format!("s{number}")).expect("snapshot");
    }
    assert_eq!(kind(group.snapshot("s7")), ErrorKind::AlreadyExists);
    assert_eq!(kind(group.snapshot("more")), ErrorKind::TooMany);
    group.delete_snapshot("s7").expect("delete");
    assert_eq!(
        group.delete_snapshot("s7").expect_err("gone").kind(),
        ErrorKind::NotFound
    );
    assert_eq!(group.snapshots().expect("list").len(), 99);
    group.snapshot("s7").expect("again");
    group.delete().expect("delete");
    let storage = &*scene.store.inner().expect("open").env.storage;
    let left = storage
        .exists(Path::new("/store/topics/t/groups/g"))
        .expect("look");
    assert!(!left, "the folder is gone with all in it");
    assert_eq!(kind(group.snapshot("late")), ErrorKind::NotFound);
}

#[test]
fn p3_p16_a_damaged_snapshot_is_named_and_does_not_keep_the_group_from_work() {
    let twin = Twin::new();
    let scene = Scene::on(&twin, 1, GroupOptions::default());
    mixed(&scene);
    let group = scene.group();
    group.snapshot("bad").expect("snapshot");
    let path = Path::new("/store/topics/t/groups/g/bad.snapshot");
    let file = twin
        .open(path, crate::storage::Access::ReadWrite, 0)
        .expect("file");
    file.write_at(&[0xFF], 70).expect("damage");
    let error = group.seek("bad", None).expect_err("damaged");
    assert_eq!(error.kind(), ErrorKind::Damaged);
    assert!(error.message().contains("bad.snapshot"), "{error}");
    let listed = group.snapshots().expect("list");
    assert_eq!((listed.len(), listed[0].whole), (1, false));
    assert_eq!(scene.manage(99).len(), 3);
    group.delete_snapshot("bad").expect("delete");
}

/// While it is being restored: half taken in, with a power loss, or the file damaged meanwhile.
#[test]
fn p6_p16_who_comes_next_goes_on_with_a_snapshot_that_nobody_took_in() {
    for case in [
        "as it is",
        "again",
        "damaged",
        "damaged, at most once",
        "deleted",
    ] {
        let twin = Twin::new();
        let once = case.ends_with("once");
        let options = match once {
            true => GroupOptions {
                delivery: Some(DeliveryMode::AtMostOnce),
                ..GroupOptions::default()
            },
            false => by_partition(),
        };
        let scene = Scene::on(&twin, 1, options);
        if once {
            scene.send(0, 8);
            assert_eq!(scene.take(5).len(), 5);
        } else {
            mixed(&scene);
        }
        let group = scene.group();
        group.snapshot("before").expect("snapshot");
        let other = (case == "as it is").then(|| {
            let other = Scene::on(&twin, 1, by_partition());
            let there = other.group();
            (other, there)
        });
        // As the one leaves it who dies when `group.meta` is on disk.
        let end = 5;
        let epoch = group
            .inner
            .with_window(0, |window| window.epoch())
            .expect("window")
            + 1;
        let changed = group.inner.change(|_, meta| {
            meta.sought = vec![crate::store::group_meta::Sought {
                epoch,
                offset: if once { 0 } else { 1 },
                dead_from: 0,
                snapshot: Some(("before".into(), end)),
            }];
            Ok(())
        });
        changed.expect("change");
        assert!(
            group
                .inner
                .with_window(0, |window| window.is_recalling())
                .expect("window")
        );
        let stats = group.stats().expect("stats");
        let expected = if once { 3 } else { 5 };
        assert_eq!(
            stats.lag_messages, expected,
            "{case}: what is settled is no lag"
        );
        let seen = group.peek(0, 2).expect("peek").state;
        assert_eq!(seen, MessageState::Settled, "{case}");
        let preview = group.preview_seek("before", None).expect("preview");
        assert_eq!(preview.sum(|one| one.again + one.passed_over), 0, "{case}");
        let path = Path::new("/store/topics/t/groups/g/before.snapshot");
        if case.starts_with("damaged") {
            let file = twin
                .open(path, crate::storage::Access::ReadWrite, 0)
                .expect("file");
            file.write_at(&[0xFF], 70).expect("damage");
        }
        if let Some((_, there)) = other {
            // That it cannot be opened now says nothing of what it holds.
            twin.fail(Fault::Open, 2);
            let error = there.inner.settings().expect_err("no descriptor is left");
            assert_ne!(error.kind(), ErrorKind::Damaged, "{error}");
            twin.heal();
            there.inner.settings().expect("it is whole");
        }
        drop((group, scene));
        let scene = Scene::on(&twin, 1, GroupOptions::default());
        let group = scene.group();
        if case == "deleted" {
            group.delete_snapshot("before").expect("delete");
            assert!(group.snapshots().expect("list").is_empty());
        }
        if case == "again" {
            group.snapshot("half").expect("snapshot");
            group.seek("half", None).expect("seek");
        }
        let found: Vec<u64> = scene.manage(99).iter().map(|one| one.1).collect();
        let expected: &[u64] = match case {
            "damaged" => &[1, 2, 3, 4, 5, 6, 7],
            "damaged, at most once" => &[5, 6, 7],
            _ => &[1, 3, 5, 6, 7],
        };
        assert_eq!(found, expected, "{case}");
        if !case.starts_with("damaged") {
            group.inner.finish_restoring().expect("done with");
            assert_eq!(
                group.inner.read_meta().expect("meta").sought[0].snapshot,
                None
            );
        }
    }
}

#[test]
fn p5_a_snapshot_that_the_disk_refuses_is_none_and_one_that_it_took_is_whole() {
    for (fault, nth) in [(Fault::Open, 1), (Fault::Sync, 1), (Fault::Name, 1)] {
        let twin = Twin::new();
        let scene = Scene::on(&twin, 1, GroupOptions::default());
        scene.send(0, 3);
        let group = scene.group();
        twin.fail(fault, nth);
        group.snapshot("s").expect_err("refused");
        twin.heal();
        assert!(group.snapshots().expect("list").is_empty(), "{fault:?}");
        group.snapshot("s").expect("snapshot");
        assert_eq!(scene.manage(9).len(), 3);
    }
}

#[test]
fn p11_p16_keys_wait_for_each_other_after_a_snapshot_as_before() {
    let scene = Scene::new(1, GroupOptions::default());
    for key in [&b"a"[..], b"a", b"b", b"a"] {
        scene
            .topic
            .send(&Message::new(b"x").key(key))
            .expect("send");
    }
    let got = scene.take(9);
    assert_eq!(got.len(), 2, "0 and 2");
    scene.ack(&got[1..]).expect("ack");
    scene.group().snapshot("s").expect("snapshot");
    scene.ack(&got[..1]).expect("ack");
    while !scene.manage(9).is_empty() {}
    assert_eq!(scene.seek("s"), (3, 0, 0, 0));
    for expected in [(0, 0, 2), (0, 1, 1), (0, 3, 1)] {
        assert_eq!(scene.manage(9), [expected]);
    }
    assert!(scene.take(9).is_empty());
    let none = ConsumerOptions::default();
    drop(scene.topic.consumer("g", &none).expect("consumer"));
}
