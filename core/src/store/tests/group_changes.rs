//! A death at every step of changing and of deleting a group: another process, which was at work in
//! it, sees the old state or the new one, whole, and so does whoever opens the store afterwards.

use std::sync::Mutex;

use super::create_lock::put_away;
use super::*;
use crate::format::control::block::{CHANGE, CHANGING, HOLDING};
use crate::format::control::header;
use crate::options::GroupOptions;
use crate::shm::OwnerLock;
use crate::storage::{Event, Fault, Twin, Watcher};
use crate::store::in_force::InForce;
use crate::{ConsumerOptions, Group, Message, Topic, TopicOptions};

const STEPS: u32 = 90;

pub(super) fn prepared(folder: &Path) -> (Store, Topic, Group) {
    let store = Store::open(folder, options()).expect("open");
    let topics = TopicOptions {
        partitions: Some(3),
        ..TopicOptions::default()
    };
    let topic = store.topic("t", &topics).expect("topic");
    for payload in [&b"0"[..], b"1", b"2"] {
        topic.send(&Message::new(payload)).expect("send");
    }
    let group = topic.create_group("g", &Default::default()).expect("group");
    (store, topic, group)
}

/// Runs `check` after a death at each step, in a store of its own each; until a process got through
/// alive. How many died.
pub(super) fn at_each_step(what: &str, check: impl Fn(&Path, &Store, &Topic, &Group)) -> u32 {
    for step in 1..STEPS {
        let folder = tempfile::tempdir().expect("folder");
        let (store, topic, group) = prepared(folder.path());
        let mut actor = Actor::start(&format!("changes {step} {what}"), folder.path());
        assert_eq!(actor.hear(), "opened");
        actor.go();
        let mut said = String::new();
        let _ = std::io::Read::read_to_string(&mut actor.lines, &mut said);
        actor.process.wait().expect("wait");
        check(folder.path(), &store, &topic, &group);
        if said.contains("@done") {
            return step - 1;
        }
    }
    panic!("{STEPS} steps were not enough");
}

#[test]
fn p17_a_death_at_any_step_of_configuring_leaves_the_old_or_the_new_one_in_force_for_all() {
    let seen = Mutex::new((0, 0));
    let died = at_each_step("configure", |path, store, topic, group| {
        let worker = topic
            .consumer("g", &ConsumerOptions::default())
            .expect("consumer");
        let got = worker.receive(1, Some(BOUND)).expect("receive");
        assert_eq!(got.len(), 1);
        let before = group.config();
        let (lease, attempts) = (before.lease.as_secs(), before.max_attempts);
        assert!(
            [(30, 5), (77, 7)].contains(&(lease, attempts)),
            "{before:?}"
        );
        let mut seen = seen.lock().expect("lock");
        if lease == 30 {
            seen.0 += 1
        } else {
            seen.1 += 1
        }
        // It can be changed by the next one.
        let changes = GroupOptions {
            max_attempts: Some(9),
            ..GroupOptions::default()
        };
        group.configure(&changes).expect("configure");
        let other = Store::open(path, options()).expect("open");
        let other = other
            .open_topic("t")
            .expect("topic")
            .group("g")
            .expect("group");
        assert_eq!(
            (other.config().lease.as_secs(), other.config().max_attempts),
            (lease, 9)
        );
        drop((got, worker));
        let _ = store;
    });
    let seen = seen.into_inner().expect("lock");
    assert!(
        died > 4 && seen.0 > 2 && seen.1 > 1,
        "{died} deaths, {seen:?}"
    );
}

#[test]
fn p17_a_death_at_any_step_of_deleting_leaves_the_group_or_none() {
    let seen = Mutex::new((0, 0));
    let died = at_each_step("delete", |path, store, topic, group| {
        let mut seen = seen.lock().expect("lock");
        let id = group.inner.uid;
        let looked = group.stats();
        let there = topic.groups().expect("groups");
        match &looked {
            Ok(stats) => {
                seen.0 += 1;
                assert_eq!((stats.lag_messages, there.len()), (3, 1));
                group.delete().expect("deleted by the next one");
            }
            Err(error) => {
                seen.1 += 1;
                assert_eq!(error.kind(), ErrorKind::NotFound);
                assert!(error.message().contains("deleted"), "{error}");
                assert!(there.is_empty(), "{there:?}");
            }
        }
        let left = snapshot(&path.join("topics/t/groups"));
        assert!(looked.is_err() || left.len() == 1, "{left:?}");
        // Who finds the dead one removes what that was about to remove.
        until("nothing is left of it", || put_away(&Disk, path) == 0);
        // Another one of the name begins anew, for those who knew the old one as well.
        let worker = topic
            .consumer("g", &ConsumerOptions::default())
            .expect("consumer");
        assert_ne!(worker.group.uid, id);
        assert_eq!(worker.receive(9, Some(BOUND)).expect("receive").len(), 3);
        assert_eq!(
            group.stats().expect_err("the old one").kind(),
            ErrorKind::NotFound
        );
        worker.close().expect("close");
        topic
            .group("g")
            .expect("the new one")
            .delete()
            .expect("delete");
        let _ = store;
    });
    let seen = seen.into_inner().expect("lock");
    assert!(
        died > 6 && seen.0 > 1 && seen.1 > 4,
        "{died} deaths, {seen:?}"
    );
}

#[test]
fn p17_what_a_dead_one_left_of_a_deletion_is_gone_once_the_topic_is_opened() {
    for step in 1..STEPS {
        let folder = tempfile::tempdir().expect("folder");
        drop(prepared(folder.path()));
        let mut actor = Actor::start(&format!("changes {step} delete"), folder.path());
        assert_eq!(actor.hear(), "opened");
        actor.go();
        let mut said = String::new();
        let _ = std::io::Read::read_to_string(&mut actor.lines, &mut said);
        let store = Store::open(folder.path(), options()).expect("open");
        let topic = store.open_topic("t").expect("topic");
        let groups = folder.path().join("topics/t/groups");
        let left: Vec<_> = snapshot(&groups)
            .into_iter()
            .map(|(path, _)| path)
            .collect();
        match topic.group("g") {
            Ok(group) => assert_eq!(group.stats().expect("whole").lag_messages, 3),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::NotFound);
                assert!(
                    !left.iter().any(|path| path.extension().is_some()),
                    "{left:?}"
                );
            }
        }
        if said.contains("@done") {
            return;
        }
    }
}

/// Sync errors: the group is as it was, or is deleted and says so; never something in between.
#[test]
fn p5_a_deletion_that_the_disk_refuses_leaves_the_group_or_says_that_it_is_deleted() {
    for (fault, nth) in [
        (Fault::Open, 1),
        (Fault::Sync, 1),
        (Fault::SyncFolder, 1),
        (Fault::SyncFolder, 2),
        (Fault::Name, 1),
        (Fault::Name, 2),
        (Fault::Name, 3),
    ] {
        let twin = Twin::new();
        let path = Path::new("/store");
        let opened = || Store::open_on(Arc::new(twin.clone()), path, &options());
        let store = opened().expect("open");
        let topic = store.topic("t", &Default::default()).expect("topic");
        topic.send(&Message::new(b"0")).expect("send");
        let group = topic.create_group("g", &Default::default()).expect("group");
        twin.fail(fault, nth);
        let done = group.delete();
        twin.heal();
        let error = done.expect_err("refused");
        let deleted = error.message().contains("is deleted");
        let kept = group.stats().is_ok();
        assert_ne!(kept, deleted, "{fault:?} {nth}: {error}");
        assert_eq!(topic.groups().expect("groups").len(), usize::from(kept));
        drop((group, topic, store));
        let store = opened().expect("open again");
        let topic = store.open_topic("t").expect("topic");
        assert_eq!(topic.group("g").is_ok(), kept, "{fault:?} {nth}");
    }
}

/// Disks that a power loss may leave at each event of `work`, some for each.
fn images(twin: &Twin, work: impl FnOnce()) -> Vec<Twin> {
    let found: Arc<Mutex<Vec<Twin>>> = Arc::default();
    let into = found.clone();
    let seed = std::sync::atomic::AtomicU64::new(1);
    let watcher: Watcher = Arc::new(move |twin: &Twin, event| {
        if event == Event::Stored {
            return;
        }
        for _ in 0..3 {
            let seed = seed.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let image = twin.power_loss(seed).expect("image");
            image.forget_versions();
            into.lock().expect("lock").push(image);
        }
    });
    twin.watch(Some(watcher));
    work();
    twin.watch(None);
    std::mem::take(&mut *found.lock().expect("lock"))
}

#[test]
fn p2_p6_a_power_loss_while_a_group_is_changed_or_deleted_leaves_it_whole_or_gone() {
    for what in ["configure", "pause", "delete", "make anew"] {
        let (twin, path) = (Twin::new(), Path::new("/store"));
        // Without a thread that changes files of its own accord.
        let world = |twin: &Twin| World {
            storage: Arc::new(twin.clone()),
            clock: Arc::new(SystemClock),
            housekeeping: false,
        };
        let open = |twin: &Twin| Store::open_in(&world(twin), path, &options());
        let store = open(&twin).expect("open");
        let topic = store.topic("t", &Default::default()).expect("topic");
        topic.send(&Message::new(b"0")).expect("send");
        topic.sync().expect("sync");
        let group = topic.create_group("g", &Default::default()).expect("group");
        let lease = Some(Duration::from_secs(77));
        let changes = GroupOptions {
            lease,
            ..GroupOptions::default()
        };
        if what == "make anew" {
            group.delete().expect("delete");
        }
        let images = images(&twin, || {
            match what {
                "configure" => group.configure(&changes),
                "pause" => group.pause(),
                "delete" => group.delete(),
                _ => topic.create_group("g", &changes).map(drop),
            }
            .expect(what);
        });
        assert!(images.len() > 12, "only {} images", images.len());
        let (mut old, mut new) = (0, 0);
        for image in images {
            let store = open(&image).expect("open an image");
            let topic = store.open_topic("t").expect("topic");
            let group = match topic.group("g") {
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::NotFound, "{what}: {error}");
                    assert!(["delete", "make anew"].contains(&what));
                    if what == "delete" {
                        new += 1
                    } else {
                        old += 1
                    }
                    let again = topic.create_group("g", &Default::default());
                    again.expect("another one of the name")
                }
                opened => {
                    let group = opened.expect("whole");
                    let changed =
                        group.config().lease.as_secs() == 77 || group.is_paused().expect("whole");
                    if changed {
                        new += 1
                    } else {
                        old += 1
                    }
                    group
                }
            };
            group.resume().expect("resume");
            assert_eq!(group.stats().expect("whole").lag_messages, 1, "{what}");
            let worker = topic
                .consumer("g", &ConsumerOptions::default())
                .expect("consumer");
            assert_eq!(worker.receive(9, Some(BOUND)).expect("receive").len(), 1);
        }
        assert!(
            old > 0 && new > 0,
            "{what}: {old} as before, {new} as after"
        );
    }
}

/// One that is stopped in the middle of a change is alive: others go by what the file says.
#[test]
fn p17_one_who_is_stopped_while_he_changes_a_group_stops_nobody_and_a_dead_one_is_made_up_for() {
    let folder = tempfile::tempdir().expect("folder");
    let (store, topic, group) = prepared(folder.path());
    let worker = topic
        .consumer("g", &ConsumerOptions::default())
        .expect("consumer");
    let other = Store::open(folder.path(), options()).expect("another member");
    let env = &other.inner().expect("open").env;
    let lock = group
        .inner
        .topic
        .store
        .control
        .header()
        .word32(header::CREATE_LOCK);
    let (held, _) = OwnerLock::hold(lock, env.me, &*env.live, BOUND).expect("lock");
    let word = group.inner.changed();
    group.inner.set_changed(word | CHANGING);
    for _ in 0..2 {
        let got = worker.receive(1, Some(Duration::ZERO)).expect("receive");
        worker.ack(&[got[0].receipt()]).expect("ack");
        assert_eq!(group.inner.changed(), word | CHANGING, "he is alive");
    }
    // Where nothing is to be handed out while he is at it, nothing is.
    group.inner.set_changed(word | CHANGING | HOLDING);
    assert!(
        worker
            .receive(1, Some(Duration::ZERO))
            .expect("receive")
            .is_empty()
    );
    drop(held);
    let got = worker.receive(1, Some(Duration::ZERO)).expect("receive");
    assert_eq!(got.len(), 1);
    assert_eq!(group.inner.changed(), word + CHANGE, "he is dead");
    drop(store);
}

/// Whatever stands in the word, a call ends, with a result or an error (P18).
#[test]
fn p18_no_word_of_a_group_keeps_a_call_from_ending() {
    let folder = tempfile::tempdir().expect("folder");
    let (_store, topic, group) = prepared(folder.path());
    let worker = topic
        .consumer("g", &ConsumerOptions::default())
        .expect("consumer");
    for word in (0..64)
        .map(|bit| 1_u64 << bit)
        .chain([u64::MAX - 1, u64::MAX - 4, 3, 7])
    {
        group.inner.set_changed(word);
        let _ = worker.receive(1, Some(Duration::ZERO));
        let _ = group.stats();
        group.inner.set_changed(word);
        let _ = group.configure(&GroupOptions::default());
    }
    group.inner.set_changed(0);
    assert!(group.stats().is_ok());
}
