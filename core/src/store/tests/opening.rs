//! Who lays a store out, who joins it, and what cannot be opened.

use super::*;
use crate::format::control::header;
use crate::format::{meta, names};
use crate::storage::Access;
use crate::store::control::Shared;

#[test]
fn p17_openers_at_one_moment_agree_on_one_store() {
    let folder = tempfile::tempdir().expect("folder");
    let place = folder.path().join("store");
    let mut actors: Vec<Actor> = (0..4).map(|_| Actor::start("member", &place)).collect();
    let said: Vec<String> = actors.iter_mut().map(Actor::hear).collect();
    let words = |at: usize| {
        said.iter()
            .map(move |s| s.split(' ').nth(at).expect("word"))
    };
    assert!(
        words(0).all(|id| id == words(0).next().expect("one")),
        "ids differ: {said:?}"
    );
    assert!(
        words(1).all(|life| life == words(1).next().expect("one")),
        "two lives: {said:?}"
    );
    let slots: std::collections::BTreeSet<&str> = words(2).collect();
    assert_eq!(slots.len(), 4, "a slot was given twice: {said:?}");
}

#[test]
fn p17_an_opener_that_dies_at_any_step_leaves_a_store_that_opens() {
    for step in 1.. {
        let folder = tempfile::tempdir().expect("folder");
        let place = folder.path().join("store");
        let mut actor = Actor::start(&format!("dies-at {step}"), &place);
        let ended = actor.process.wait().expect("wait");
        let meta = place.join(names::STORE_META);
        let before = std::fs::read(&meta).ok();
        let store = enter(&place).unwrap_or_else(|e| panic!("after a death at step {step}: {e}"));
        if let Some(before) = before {
            assert_eq!(
                std::fs::read(&meta).expect("meta"),
                before,
                "the id changed"
            );
        }
        store.close().expect("close");
        if ended.success() {
            assert!(step > 8, "only {step} steps were tried");
            return;
        }
    }
}

#[test]
fn p17_one_who_waited_takes_over_when_the_one_laying_out_is_killed() {
    let folder = tempfile::tempdir().expect("folder");
    let mut actor = Actor::start("laying-out", folder.path());
    assert_eq!(actor.hear(), "half");
    // A control of nobody's in a folder without a store: the opener refuses until it is one.
    let meta = meta::encode("store", &[("id", "ab".into())]);
    std::fs::write(folder.path().join(names::STORE_META), meta).expect("meta");
    let short = StoreOptions {
        lock_timeout: Duration::from_millis(30),
        ..options()
    };
    let Err(error) = open(folder.path(), &short, &world()) else {
        panic!("joined half a store")
    };
    assert_eq!(error.kind(), ErrorKind::Stuck);
    let waiting = {
        let place = folder.path().to_owned();
        std::thread::spawn(move || enter(&place).map(|store| store.id.clone()))
    };
    actor.kill();
    assert_eq!(waiting.join().expect("thread").expect("open"), "ab");
}

#[test]
fn p17_a_control_of_another_start_of_the_host_is_never_joined() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join(names::CONTROL);
    let shared = Shared::lay_out(&Disk, &path, 0o660).expect("lay out");
    assert!(Shared::join(&Disk, &path).expect("join").is_some());
    shared
        .header
        .set(header::BOOT, shared.header.get(header::BOOT) ^ 1);
    assert!(Shared::join(&Disk, &path).expect("look").is_none());
    shared
        .header
        .set(header::BOOT, shared.header.get(header::BOOT) ^ 1);
    shared.header.set(header::SIGNATURE, 1);
    let Err(error) = Shared::join(&Disk, &path) else {
        panic!("joined another layout")
    };
    assert_eq!(error.kind(), ErrorKind::Incompatible);
    shared.header.set(header::LAID_OUT, 0);
    assert!(Shared::join(&Disk, &path).expect("look").is_none());
}

fn refused(place: &Path, options: &StoreOptions, kind: ErrorKind) {
    let before = snapshot(place);
    let Err(error) = open(place, options, &world()) else {
        panic!("opened {place:?}")
    };
    assert_eq!(error.kind(), kind, "{error}");
    assert!(
        error.message().contains(&*place.to_string_lossy()),
        "no place in: {error}"
    );
    assert_eq!(snapshot(place), before, "{place:?} was changed by: {error}");
}

#[test]
fn what_cannot_be_opened_says_why_and_stays_byte_for_byte() {
    let folder = tempfile::tempdir().expect("folder");
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("file"), b"text").expect("file");
    refused(&at("file"), &options(), ErrorKind::NotAStore);
    std::fs::create_dir(at("photos")).expect("folder");
    std::fs::write(at("photos").join("cat.jpg"), b"meow").expect("file");
    refused(&at("photos"), &options(), ErrorKind::NotAStore);
    std::fs::create_dir(at("newer")).expect("folder");
    std::fs::write(
        at("newer").join(names::STORE_META),
        "libqueue store 2\ncrc=0\n",
    )
    .expect("meta");
    refused(&at("newer"), &options(), ErrorKind::Incompatible);
    std::fs::create_dir(at("torn")).expect("folder");
    std::fs::write(at("torn").join(names::STORE_META), "libqueue store 1\nid=").expect("meta");
    refused(&at("torn"), &options(), ErrorKind::Damaged);
    let only = StoreOptions {
        create: false,
        ..options()
    };
    std::fs::create_dir(at("empty")).expect("folder");
    refused(&at("empty"), &only, ErrorKind::NotFound);
    let Err(error) = open(&at("none"), &only, &world()) else {
        panic!("opened nothing")
    };
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(!at("none").exists());
}

#[test]
fn reading_only_takes_no_slot_and_changes_nothing() {
    let folder = tempfile::tempdir().expect("folder");
    let place = folder.path().join("store");
    let read = StoreOptions {
        read_only: true,
        ..options()
    };
    let Err(error) = Store::open(&place, read.clone()) else {
        panic!("opened nothing")
    };
    assert_eq!(error.kind(), ErrorKind::NotFound);
    Store::open(&place, options())
        .expect("create")
        .close()
        .expect("close");
    let before = snapshot(&place);
    let store = Store::open(&place, read).expect("read");
    assert_eq!(store.topics().expect("topics"), Vec::<String>::new());
    assert_eq!(store.sync().expect_err("sync").kind(), ErrorKind::ReadOnly);
    let inner = store.inner().expect("open");
    let made = inner
        .env
        .storage
        .open(&place.join("new"), Access::Create, 0o660);
    assert_eq!(
        made.map(|_| ()).expect_err("create").kind(),
        ErrorKind::ReadOnly
    );
    assert_eq!(
        inner
            .control
            .topic_block(1, 3)
            .expect("private block")
            .partitions
            .len(),
        3
    );
    store.close().expect("close");
    assert_eq!(snapshot(&place), before);
}

#[test]
fn closing_names_what_is_open_and_a_closed_store_says_so() {
    let folder = tempfile::tempdir().expect("folder");
    let store = Store::open(folder.path(), options()).expect("open");
    let handle = store
        .inner()
        .expect("open")
        .register_handle("topic \"orders\"");
    let error = store.close().expect_err("busy");
    assert_eq!(error.kind(), ErrorKind::Busy);
    assert!(error.message().contains("topic \"orders\""), "{error}");
    drop(handle);
    store.close().expect("close");
    store.close().expect("closing twice is fine");
    assert_eq!(
        store.topics().expect_err("closed").kind(),
        ErrorKind::Closed
    );
}

#[test]
fn blocks_are_found_by_every_member_and_outgrow_the_first_size() {
    let folder = tempfile::tempdir().expect("folder");
    let (one, two) = (
        enter(folder.path()).expect("open"),
        enter(folder.path()).expect("open"),
    );
    for topic in 1..=4 {
        let made = one.control.topic_block(topic, 1024).expect("block");
        made.partitions[1023].set(0, topic);
    }
    for topic in 1..=4 {
        let found = two.control.topic_block(topic, 1024).expect("block");
        assert_eq!(found.partitions[1023].get(0), topic);
    }
    let group = two.control.group_block(1, 9, 1024).expect("block");
    assert_eq!(
        one.control.groups_of(1).expect("groups")[0].at(),
        group.at()
    );
    assert_eq!(one.control.group_at(group.at()).expect("group").id(), 9);
    let error = one
        .control
        .topic_block(1, 5)
        .map(|_| ())
        .expect_err("other count");
    assert_eq!(error.kind(), ErrorKind::Damaged);
    one.control.header().set(header::FIRST_BLOCK, 1 << 29);
    let error = two
        .control
        .topic_block(1, 1024)
        .map(|_| ())
        .expect_err("outside, P18");
    assert_eq!(error.kind(), ErrorKind::Damaged);
}

#[test]
fn a_network_file_system_is_refused_and_left_as_it_was() {
    let folder = tempfile::tempdir().expect("folder");
    let place = folder.path().join("store");
    let world = World {
        storage: Arc::new(roles::Dying {
            network: Some("NFS"),
            ..roles::Dying::default()
        }),
        clock: Arc::new(SystemClock),
        housekeeping: true,
    };
    for read_only in [false, true] {
        let options = StoreOptions {
            read_only,
            ..options()
        };
        if read_only {
            // What is there already is refused as well.
            drop(enter(&place).expect("made on a local disk"));
        }
        let error = open(&place, &options, &world).err().expect("refused");
        assert_eq!(error.kind(), ErrorKind::NetworkFilesystem);
        assert!(error.message().contains("NFS"), "{error}");
        assert_eq!(place.exists(), read_only);
    }
}

#[test]
fn p1_p17_nobody_goes_on_with_a_life_that_was_closed_cleanly() {
    let folder = tempfile::tempdir().expect("folder");
    let control = folder.path().join(names::CONTROL);
    let store = enter(folder.path()).expect("open");
    let other = enter(folder.path()).expect("open");
    other.close().expect("close");
    let joined = Shared::join(&Disk, &control).expect("look");
    assert!(joined.is_some(), "one is there still");
    store.close().expect("close");
    // As one does that got the lock shared in the moment in which the last one gave it back, or
    // while a child that was just being started still had a copy of it.
    let joined = Shared::join(&Disk, &control).expect("look");
    assert!(
        joined.is_none(),
        "what it sends would be cut by the next life"
    );
}
