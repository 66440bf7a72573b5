//! A death at every step of changing and of deleting a group: another process, which was at work in
//! it, sees the old state or the new one, whole, and so does whoever opens the store afterwards.

use std::sync::Mutex;

use super::*;
use crate::options::GroupOptions;
use crate::{ConsumerOptions, Group, Message, Topic};

const STEPS: u32 = 60;

fn prepared(folder: &Path) -> (Store, Topic, Group) {
    let store = Store::open(folder, options()).expect("open");
    let topic = store.topic("t", &Default::default()).expect("topic");
    for payload in [&b"0"[..], b"1", b"2"] {
        topic.send(&Message::new(payload)).expect("send");
    }
    let group = topic.create_group("g", &Default::default()).expect("group");
    (store, topic, group)
}

/// Runs `check` after a death at each step, in a store of its own each; until a process got through
/// alive. How many died.
fn at_each_step(what: &str, check: impl Fn(&Path, &Store, &Topic, &Group)) -> u32 {
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
    use crate::storage::{Fault, Twin};
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
