//! Deaths and power losses while a group is sought, to a place and to a snapshot: it is where it
//! was, or where it is to be, in all partitions the same (P16).

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::seek::{NOW, Scene};
use super::*;
use crate::options::{DeliveryMode, Durability, GroupOptions, Start};
use crate::storage::{Event, Watcher};
use crate::store::in_force::InForce;
use crate::store::{Delivery, Message};

/// Disks that are left at each event of `work`; of stores one of every few.
fn images(twin: &Twin, work: impl FnOnce()) -> Vec<(Event, Twin)> {
    let found: Arc<Mutex<Vec<(Event, Twin)>>> = Arc::default();
    let (into, seed) = (found.clone(), AtomicU64::new(1));
    let watcher: Watcher = Arc::new(move |twin: &Twin, event| {
        let keep = |image: Twin| {
            image.forget_versions();
            into.lock().expect("lock").push((event, image));
        };
        let seed = seed.fetch_add(1, Ordering::Relaxed);
        if event != Event::Stored {
            for more in 0..3 {
                keep(twin.power_loss(seed * 8 + more).expect("image"));
            }
        } else if seed % 297 == 0 {
            keep(twin.all_die().expect("image"));
            keep(twin.power_loss(seed * 8 + 7).expect("image"));
        }
    });
    twin.watch(Some(watcher));
    work();
    twin.watch(None);
    std::mem::take(&mut *found.lock().expect("lock"))
}

/// What is handed out, by partition.
fn all(scene: &Scene) -> [Vec<(u64, u32)>; 2] {
    let mut found = [Vec::new(), Vec::new()];
    // What was leased comes back first, and waits.
    for _ in 0..2 {
        let got = scene.take(99);
        scene.clock.advance_ms(20_000);
        for one in got {
            found[one.partition() as usize].push((one.offset(), one.attempt()));
        }
    }
    found.iter_mut().for_each(|one| one.sort_unstable());
    found
}

#[test]
fn p16_p17_at_every_event_of_a_seek_the_group_is_where_it_was_or_where_it_is_to_be() {
    for to_snapshot in [false, true] {
        let twin = Twin::new();
        let scene = Scene::on(&twin, 2, GroupOptions::default());
        scene.send(0, 6);
        scene.send(1, 6);
        let got = scene.take(6);
        let some: Vec<Delivery> = got.into_iter().filter(|one| one.offset() != 1).collect();
        scene.ack(&some).expect("ack");
        let group = scene.group();
        group.snapshot("s").expect("snapshot");
        let before = {
            scene.ack(&scene.take(99)).expect("ack");
            scene.topic.sync().expect("sync");
            for number in 0..2 {
                group.inner.sync_window(number).expect("sync");
            }
            twin.all_die().expect("image")
        };
        let images = images(&twin, || {
            match to_snapshot {
                true => group.seek("s", None),
                false => group.seek(Start::Earliest, None),
            }
            .expect("seek");
        });
        let expected = |image: &Twin| {
            let scene = Scene::on(image, 2, GroupOptions::default());
            all(&scene)
        };
        let (old, new) = (expected(&before), expected(&twin.all_die().expect("image")));
        assert_ne!(old, new);
        let mut seen = [0, 0];
        for (place, (event, image)) in images.iter().enumerate() {
            let scene = Scene::on(image, 2, GroupOptions::default());
            // Somebody looks first, and dies.
            if place % 2 == 0 {
                scene.group().stats().expect("stats");
            }
            let found = all(&scene);
            let what = format!("snapshot {to_snapshot}, image {place}, {event:?}");
            let known = [&old, &new];
            assert!(
                known.contains(&&found),
                "{what}: {found:?}, expected {known:?}"
            );
            seen[usize::from(found == new)] += 1;
            scene
                .group()
                .seek(Start::Offset(5), Some(0))
                .expect("the next one seeks");
            let after = all(&scene);
            assert_eq!(after[0], [(5, 1)], "{what}");
        }
        assert!(seen[0] > 5 && seen[1] > 5, "{seen:?}");
    }
}

#[test]
fn p7_p16_at_most_once_nothing_that_came_after_a_seek_comes_again_after_a_power_loss() {
    let twin = Twin::new();
    let scene = {
        let once = GroupOptions {
            delivery: Some(DeliveryMode::AtMostOnce),
            ..GroupOptions::default()
        };
        Scene::on(&twin, 2, once)
    };
    let durable = crate::TopicOptions {
        durability: Some(Durability::Sync),
        ..crate::TopicOptions::default()
    };
    let topic = scene.store.topic("d", &durable).expect("topic");
    let with = crate::ConsumerOptions {
        group: GroupOptions {
            delivery: Some(DeliveryMode::AtMostOnce),
            ..GroupOptions::default()
        },
        ..crate::ConsumerOptions::default()
    };
    let worker = topic.consumer("g", &with).expect("consumer");
    for _ in 0..6 {
        topic.send(&Message::new(b"x")).expect("send");
    }
    assert_eq!(worker.receive(4, NOW).expect("receive").len(), 4);
    let group = topic.group("g").expect("group");
    group.seek(Start::Offset(2), None).expect("seek");
    type Found = (AtomicU64, Mutex<Vec<(u64, Twin)>>);
    let state: Arc<Found> = Arc::default();
    let (into, seed) = (state.clone(), AtomicU64::new(1));
    let watcher: Watcher = Arc::new(move |twin: &Twin, event| {
        if event != Event::Stored {
            let seed = seed.fetch_add(1, Ordering::Relaxed);
            let image = twin.power_loss(seed).expect("image");
            image.forget_versions();
            let handed = into.0.load(Ordering::SeqCst);
            into.1.lock().expect("lock").push((handed, image));
        }
    });
    twin.watch(Some(watcher));
    for expected in 2..5 {
        let got = worker.receive(1, NOW).expect("receive");
        assert_eq!(got[0].offset(), expected);
        state.0.store(expected + 1, Ordering::SeqCst);
        let image = twin.power_loss(expected).expect("image");
        state.1.lock().expect("lock").push((expected + 1, image));
    }
    twin.watch(None);
    let images = std::mem::take(&mut *state.1.lock().expect("lock"));
    assert!(images.len() > 6, "{}", images.len());
    for (handed, image) in images {
        let scene = Scene::on(
            &image,
            2,
            GroupOptions {
                delivery: Some(DeliveryMode::AtMostOnce),
                ..GroupOptions::default()
            },
        );
        let topic = scene.store.open_topic("d").expect("topic");
        let worker = topic.consumer("g", &with).expect("consumer");
        let found = worker.receive(9, NOW).expect("receive");
        let first = found.first().map_or(6, |one| one.offset());
        assert!(
            first >= handed.max(2),
            "{first} came again, {handed} were handed over"
        );
    }
}

/// A process is killed before each of its calls to the disk while this one works on.
#[test]
fn p16_p17_a_process_killed_at_any_step_of_a_seek_leaves_it_done_or_not_begun() {
    for what in ["seek", "restore", "snapshot"] {
        let mut seen = [0, 0];
        for step in 1..80 {
            let folder = tempfile::tempdir().expect("folder");
            let store = Store::open(folder.path(), options()).expect("open");
            let topic = store.topic("t", &Default::default()).expect("topic");
            for _ in 0..4 {
                topic.send(&Message::new(b"x")).expect("send");
            }
            let worker = topic.consumer("g", &Default::default()).expect("consumer");
            let group = topic.group("g").expect("group");
            let got = worker.receive(2, NOW).expect("receive");
            worker.ack(&[got[1].receipt()]).expect("ack");
            group.snapshot("s").expect("snapshot");
            worker.ack(&[got[0].receipt()]).expect("ack");
            let out = worker.receive(1, NOW).expect("receive");
            let mut actor = Actor::start(&format!("changes {step} {what}"), folder.path());
            assert_eq!(actor.hear(), "opened");
            actor.go();
            let mut said = String::new();
            let _ = std::io::Read::read_to_string(&mut actor.lines, &mut said);
            actor.process.wait().expect("wait");
            let stale = worker.ack(&[out[0].receipt()]).is_err();
            let mut found: Vec<u64> = Vec::new();
            let rest = worker.receive(9, NOW).expect("receive");
            found.extend(rest.iter().map(|one| one.offset()));
            let expected: &[u64] = match (what, stale) {
                ("seek", true) => &[0, 1, 2, 3],
                ("restore", true) => &[0, 2, 3],
                (_, false) => &[3],
                _ => &[],
            };
            assert_eq!(found, expected, "{what}, step {step}");
            let listed = group.snapshots().expect("list");
            assert!(listed.iter().all(|one| one.whole), "{what}, step {step}");
            let new = if what == "snapshot" {
                listed.len() == 2
            } else {
                stale
            };
            seen[usize::from(new)] += 1;
            group.delete_snapshot("s").expect("deleted by the next one");
            // What was being written goes with the next one that is taken.
            group.snapshot("next").expect("taken by the next one");
            let inside = Disk.list(&folder.path().join("topics/t/groups/g"));
            let inside = inside.expect("list");
            let strays = inside
                .iter()
                .filter(|name| name.contains("snapshot.") && name.starts_with('.'));
            assert_eq!(strays.count(), 0, "{what}, step {step}: {inside:?}");
            if said.contains("@done") {
                break;
            }
            assert!(step < 79, "{what}: 79 steps were not enough");
        }
        assert!(seen[0] > 1 && seen[1] > 0, "{what}: {seen:?}");
    }
}

/// The epochs of a group's windows, and those that its file says.
fn epochs(image: &Twin) -> ([u32; 2], [u32; 2]) {
    let scene = Scene::on(image, 2, GroupOptions::default());
    let group = scene.group();
    let of = |number| group.inner.with_window(number, |window| window.epoch());
    let meta = group.inner.read_meta().expect("meta");
    let said = |number: usize| meta.sought.get(number).map_or(0, |sought| sought.epoch);
    (
        [0, 1].map(|number| of(number).expect("window")),
        [0, 1].map(said),
    )
}

/// Others are at work at each step of a seek, and the power is lost: a window is never where a file
/// says that is not on disk, or one partition would be sought and the other one not.
#[test]
fn p16_nobody_is_where_a_seek_says_before_that_is_on_disk() {
    let twin = Twin::new();
    let scene = Scene::on(&twin, 2, GroupOptions::default());
    let other = Arc::new(Scene::on(&twin, 2, GroupOptions::default()));
    scene.send(0, 3);
    scene.send(1, 3);
    other.group().stats().expect("stats");
    let busy = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let looked = Arc::new(AtomicU64::new(0));
    let (at_work, count) = (other.clone(), looked.clone());
    let watcher: Watcher = Arc::new(move |twin: &Twin, event| {
        if event == Event::Stored || busy.swap(true, Ordering::SeqCst) {
            return;
        }
        // One partition only: the other one is to follow, or not to begin.
        let inner = &at_work.group().inner;
        inner.with_window(0, |window| window.epoch()).expect("work");
        for seed in 0..8 {
            let seed = count.fetch_add(1, Ordering::Relaxed) * 8 + seed;
            let image = twin.power_loss(seed).expect("image");
            let (windows, said) = epochs(&image);
            assert_eq!(windows, said, "seed {seed}, {event:?}");
        }
        busy.store(false, Ordering::SeqCst);
    });
    twin.watch(Some(watcher));
    scene.group().seek(Start::Latest, None).expect("seek");
    twin.watch(None);
    assert!(looked.load(Ordering::Relaxed) > 24);
}

/// The folder cannot be put on disk, so that the seek fails with the new file in place; whoever
/// comes next puts it there first.
#[test]
fn p5_p16_a_seek_whose_file_is_not_known_to_be_on_disk_is_put_there_by_the_next_one() {
    let twin = Twin::new();
    let scene = Scene::on(&twin, 2, GroupOptions::default());
    scene.send(0, 3);
    scene.send(1, 3);
    scene.topic.sync().expect("sync");
    let group = scene.group();
    let got = scene.take(6);
    twin.fail(crate::storage::Fault::SyncFolder, 1);
    group
        .seek(Start::Latest, None)
        .expect_err("the disk is away");
    twin.heal();
    // One partition only.
    let epoch = group.inner.with_window(0, |window| window.epoch());
    assert_eq!(epoch.expect("the next one"), 1, "the new file is in place");
    for seed in 0..40 {
        let (windows, said) = epochs(&twin.power_loss(seed).expect("image"));
        assert_eq!((windows, said), ([1, 1], [1, 1]), "seed {seed}");
    }
    scene.ack(&got).expect_err("stale");
}
