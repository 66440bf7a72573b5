//! Who does something slow keeps nobody from creating topics and groups (P17): at each event of it
//! another process creates one, and waits for nobody while it does so.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::seek::Scene;
use super::*;
use crate::format::control::block::{CHANGING, HOLDING};
use crate::format::control::group_partition;
use crate::format::names;
use crate::options::{GroupOptions, Ordering as Order, TopicOptions};
use crate::shm::OwnerLock;
use crate::storage::Event;
use crate::store::Message;
use crate::store::in_force::InForce;

const WAITERS: u32 = 1 << 31;
pub(super) const ROOT: &str = "/store";

/// Another member, who waits for no lock for long.
pub(super) struct Other(pub(super) Store, AtomicU64);

impl Other {
    pub(super) fn on(twin: &Twin) -> Arc<Self> {
        let world = World {
            storage: Arc::new(twin.clone()),
            clock: Arc::new(ManualClock::new(1_700_000_000_000_000_000, 1_000_000)),
            housekeeping: false,
        };
        let hasty = StoreOptions {
            lock_timeout: Duration::from_millis(20),
            ..options()
        };
        let store = Store::open_in(&world, Path::new(ROOT), &hasty).expect("open");
        Arc::new(Self(store, AtomicU64::new(0)))
    }

    /// Whether it could create a topic now.
    fn creates(&self) -> bool {
        let number = self.1.fetch_add(1, Ordering::SeqCst);
        let name = format!("meanwhile-{number}");
        match self.0.create_topic(&name, &TopicOptions::default()) {
            Err(error) if error.kind() == ErrorKind::Stuck => false,
            made => made.map(|_| true).expect("made"),
        }
    }
}

/// What became of another one's creating at each event of `work` that `at` chooses.
pub(super) fn at_events(
    twin: &Twin,
    other: &Arc<Other>,
    at: impl Fn(u64, Event) -> bool + Send + Sync + 'static,
    work: impl FnOnce(),
) -> Vec<(Event, bool)> {
    let seen: Arc<Mutex<Vec<(Event, bool)>>> = Arc::default();
    let (into, other, count) = (seen.clone(), other.clone(), AtomicU64::new(0));
    let busy = AtomicBool::new(false);
    twin.watch(Some(Arc::new(move |_, event| {
        // Not at events of its own.
        if busy.swap(true, Ordering::SeqCst) {
            return;
        }
        let number = count.fetch_add(1, Ordering::SeqCst);
        if at(number, event) {
            let made = other.creates();
            into.lock().expect("lock").push((event, made));
        }
        busy.store(false, Ordering::SeqCst);
    })));
    work();
    twin.watch(None);
    std::mem::take(&mut *seen.lock().expect("lock"))
}

/// How many files there are in a folder and below it.
fn files(twin: &Twin, folder: &Path) -> usize {
    let Ok(inside) = twin.list(folder) else {
        return 0;
    };
    let count = |name: &String| match twin.list(&folder.join(name)) {
        Ok(_) => files(twin, &folder.join(name)),
        Err(_) => 1,
    };
    inside.iter().map(count).sum()
}

/// Folders of what was deleted that are still to be removed.
pub(super) fn put_away(storage: &dyn Storage, store: &Path) -> usize {
    let inside = storage.list(store).expect("list");
    let away = inside.iter().filter(|name| names::is_put_away(name));
    away.count()
}

#[test]
fn p17_while_the_files_of_a_deleted_topic_are_removed_others_create_also_one_of_its_name() {
    let twin = Twin::new();
    let scene = Scene::on(&twin, 8, GroupOptions::default());
    (0..8).for_each(|partition| scene.send(partition, 1));
    scene.group().snapshot("before").expect("snapshot");
    let (other, again) = (Other::on(&twin), Mutex::new(None));
    let again = Arc::new(again);
    let there = files(&twin, Path::new("/store/topics/t"));
    assert!(there > 16, "{there}");
    let (maker, made, watched) = (other.clone(), again.clone(), twin.clone());
    let at = move |_, event| {
        // Once it is out of the way the name is free, before its files are gone.
        let mut made = made.lock().expect("lock");
        let left = put_away(&watched, Path::new(ROOT)) > 0;
        if made.is_none() && left && event == Event::Named {
            let hasty = maker.0.topic("t", &TopicOptions::default());
            if let Ok(topic) = hasty {
                topic.send(&Message::new(b"new")).expect("send");
                *made = Some(topic);
            }
        }
        event != Event::Stored
    };
    let seen = at_events(&twin, &other, at, || {
        scene.store.delete_topic("t").expect("delete");
    });
    let free = |event| seen.iter().filter(|one| **one == (event, true)).count();
    assert!(free(Event::Named) >= there, "{there} files: {seen:?}");
    let again = again.lock().expect("lock").take().expect("made meanwhile");
    assert_eq!(super::transactions::payloads(&again), [b"new"]);
    assert_eq!(put_away(&twin, Path::new(ROOT)), 0);
    let error = scene.topic.send(&Message::new(b"late")).expect_err("gone");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
}

#[test]
fn p17_while_the_files_of_a_deleted_group_are_removed_others_create() {
    let twin = Twin::new();
    let scene = Scene::on(&twin, 8, GroupOptions::default());
    (0..8).for_each(|partition| scene.send(partition, 1));
    let group = scene.group();
    for number in 0..8 {
        group.snapshot(&format!("s{number}")).expect("snapshot");
    }
    let other = Other::on(&twin);
    let there = files(&twin, Path::new("/store/topics/t/groups/g"));
    assert!(there > 16, "{there}");
    let seen = at_events(
        &twin,
        &other,
        |_, event| event != Event::Stored,
        || {
            group.delete().expect("delete");
        },
    );
    let free = |event| seen.iter().filter(|one| **one == (event, true)).count();
    assert!(free(Event::Named) >= there, "{there} files: {seen:?}");
    assert_eq!(put_away(&twin, Path::new(ROOT)), 0);
    assert_eq!(scene.topic.groups().expect("groups"), [""; 0]);
}

#[test]
fn p17_one_who_is_about_to_name_a_file_of_a_deleted_topic_keeps_nobody_from_creating() {
    let twin = Twin::new();
    let scene = Scene::on(&twin, 2, GroupOptions::default());
    let (other, stopped) = (Other::on(&twin), Other::on(&twin));
    let me = stopped.0.inner().expect("open").env.me;
    let block = &scene.topic.inner.block;
    let locks = [
        block.partitions[1].word32(crate::format::control::partition::SLOW_LOCK),
        block
            .head
            .word32(crate::format::control::block::RETAIN_LOCK),
    ];
    let topics = scene.store.topics().expect("topics");
    std::thread::scope(|scope| {
        let held = locks.map(|lock| OwnerLock::try_hold(lock, me).expect("free"));
        let deletes = scope.spawn(|| scene.store.delete_topic("t"));
        for (lock, held) in locks.iter().zip(held).rev() {
            until("it waits for him", || {
                lock.load(Ordering::SeqCst) & WAITERS != 0
            });
            assert!(other.creates());
            assert!(!deletes.is_finished());
            drop(held);
        }
        deletes.join().expect("thread").expect("deleted");
    });
    let left = scene.store.topics().expect("topics");
    assert_eq!(left.len(), topics.len() - 1 + 2);
}

#[test]
fn p16_p17_while_a_snapshot_is_written_and_put_on_disk_others_create() {
    let twin = Twin::new();
    let scene = Scene::on(&twin, 2, GroupOptions::default());
    scene.send(0, 50);
    assert_eq!(scene.take(40).len(), 40);
    let (group, other) = (scene.group(), Other::on(&twin));
    group.snapshot("warm").expect("snapshot");
    let seen = at_events(
        &twin,
        &other,
        |_, _| true,
        || {
            group.snapshot("s").expect("snapshot");
        },
    );
    // Only while it gets its name it is held.
    let expected = [
        (Event::Named, true),
        (Event::Stored, true),
        (Event::Syncing, true),
        (Event::Synced, true),
        (Event::Named, false),
        (Event::SyncingFolder, true),
        (Event::SyncedFolder, true),
    ];
    assert_eq!(seen, expected);
    let listed = group.snapshots().expect("list");
    assert!(listed.len() == 2 && listed.iter().all(|one| one.whole));
}

/// Two take snapshots of one name at the same time: one of them has it, and it is whole.
#[test]
fn p16_of_two_snapshots_of_one_name_one_is_refused_and_leaves_nothing() {
    let twin = Twin::new();
    let scene = Scene::on(&twin, 1, GroupOptions::default());
    scene.send(0, 3);
    let (group, other) = (scene.group(), Other::on(&twin));
    let there = other.0.open_topic("t").expect("topic").group("g");
    let there = there.expect("group");
    let first = AtomicBool::new(true);
    twin.watch(Some(Arc::new(move |_, event| {
        if event == Event::Synced && first.swap(false, Ordering::SeqCst) {
            there.snapshot("s").expect("it was quicker");
        }
    })));
    let error = group.snapshot("s").expect_err("it has the name");
    twin.watch(None);
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
    let folder = Path::new("/store/topics/t/groups/g");
    let left = twin.list(folder).expect("list");
    assert_eq!(left, ["0.window", "group.meta", "s.snapshot"]);
    assert!(group.snapshots().expect("list")[0].whole);
}

/// What a seek does while a snapshot is being taken concerns all of it or nothing.
#[test]
fn p16_a_snapshot_that_meets_a_seek_is_of_before_it_or_of_after_it_in_all_partitions() {
    let twin = Twin::new();
    let scene = Scene::on(&twin, 2, GroupOptions::default());
    scene.send(0, 3);
    scene.send(1, 3);
    assert_eq!(scene.manage(99).len(), 6);
    let group = scene.group();
    let inner = &group.inner;
    // Between the look at the first window and that at the second one the group is sought.
    let env = &scene.store.inner().expect("open").env;
    let second = inner.block.partitions[1].word32(group_partition::LOCK);
    let other = Other::on(&twin);
    let there = other.0.open_topic("t").expect("topic").group("g");
    let there = there.expect("group");
    let stopped = Other::on(&twin);
    let me = stopped.0.inner().expect("open").env.me;
    std::thread::scope(|scope| {
        let held = OwnerLock::try_hold(second, me).expect("free");
        let takes = scope.spawn(|| group.snapshot("s"));
        until("it waits for the second", || {
            second.load(Ordering::SeqCst) & WAITERS != 0
        });
        // As far as it goes before it takes the second window's lock.
        let changed = there.inner.change(|of, meta| {
            let epoch = of.with_window(0, |window| window.epoch())? + 1;
            let sought = |_| crate::store::group_meta::Sought {
                epoch,
                ..Default::default()
            };
            meta.sought = (0..2).map(sought).collect();
            Ok(())
        });
        assert_eq!(changed.expect_err("stuck").kind(), ErrorKind::Stuck);
        drop(held);
        takes.join().expect("thread").expect("taken");
    });
    assert!(env.check_fence().is_ok());
    let snapshot = inner.load_snapshot("s").expect("snapshot");
    let floors: Vec<u64> = snapshot.parts.iter().map(|part| part.floor).collect();
    assert_eq!(floors, [0, 0], "the seek is in force");
}

#[test]
fn p17_while_messages_are_taken_in_for_a_seek_or_a_settle_by_id_others_create() {
    let twin = Twin::new();
    let scene = Scene::on(&twin, 1, GroupOptions::default());
    let messages = vec![Message::new(b"x"); 900];
    let ids = scene.topic.send_many(&messages).expect("send");
    let (group, other) = (scene.group(), Other::on(&twin));
    let some = |number, event| number % 64 == 7 && event == Event::Stored;
    let seen = at_events(&twin, &other, some, || {
        group.settle(ids[899]).expect("settle");
    });
    assert!(seen.len() > 10, "{seen:?}");
    assert!(seen.iter().all(|one| one.1), "{seen:?}");
    // All of it is open, and taken in again by who seeks.
    group.snapshot("s").expect("snapshot");
    assert_eq!(scene.manage(999).len(), 899);
    let seen = at_events(&twin, &other, some, || {
        group.seek("s", None).expect("seek");
    });
    assert!(seen.len() > 10, "{seen:?}");
    // What is written of `group.meta`, twice, is the lock's.
    let held = seen.iter().filter(|one| !one.1).count();
    assert!(held <= 2, "{seen:?}");
    assert_eq!(scene.manage(999).len(), 899);
}

/// Who gives a group another order counts what was taken in by the one that was: meanwhile nothing
/// is, and nobody waits for ever (P11, P18).
#[test]
fn p11_p18_nothing_is_taken_in_by_an_order_that_is_about_to_be_another_one() {
    let twin = Twin::new();
    let scene = Scene::on(&twin, 1, GroupOptions::default());
    let ids = [0; 9].map(|_| scene.topic.send(&Message::new(b"x")).expect("send"));
    let (group, other) = (scene.group(), Other::on(&twin));
    let inner = &group.inner;
    let there = other.0.open_topic("t").expect("topic").group("g");
    let there = there.expect("group");
    let taken_in = || {
        inner
            .with_window(0, |window| window.next())
            .expect("window")
    };
    assert_eq!(taken_in(), 0);
    let store = &inner.topic.store;
    let held = store.hold_create_lock().expect("free");
    let word = inner.changed();
    inner.set_changed(word | CHANGING | HOLDING);
    let error = there.settle(ids[8]).expect_err("it waits for who is at it");
    assert_eq!(error.kind(), ErrorKind::Stuck, "{error}");
    inner.set_changed(crate::store::in_force::raised(word));
    drop(held);
    assert_eq!(taken_in(), 0);
    there.settle(ids[8]).expect("settled");
    assert_eq!(taken_in(), 9);
    let error = group
        .configure(&GroupOptions {
            ordering: Some(Order::Partition),
            ..GroupOptions::default()
        })
        .expect_err("it was taken in");
    assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
    // Of one who died while he said so, and of nobody who ever did.
    for (number, word) in [CHANGING | HOLDING, HOLDING].into_iter().enumerate() {
        let id = scene.topic.send(&Message::new(b"y")).expect("send");
        inner.set_changed(inner.changed() | word);
        group.settle(id).expect("settle");
        assert_eq!(taken_in(), 10 + number as u64);
    }
}
