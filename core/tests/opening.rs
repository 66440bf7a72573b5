//! Opening what can and cannot be opened, and handles in places where they cannot work.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use libqueue::{
    ConsumerOptions, ErrorKind, Message, ReaderOptions, Store, StoreOptions, TopicOptions,
};
use tempfile::TempDir;

const NOW: Option<Duration> = Some(Duration::ZERO);

fn open(folder: &Path) -> Store {
    Store::open(folder, StoreOptions::default()).expect("open")
}

fn to_read() -> StoreOptions {
    StoreOptions {
        read_only: true,
        create: false,
        ..StoreOptions::default()
    }
}

fn filled(folder: &Path) -> Store {
    let store = open(folder);
    let topic = store.topic("orders", &TopicOptions::default()).unwrap();
    for payload in [&b"a"[..], b"b", b"c"] {
        topic.send(&Message::new(payload)).unwrap();
    }
    drop(topic);
    store
}

/// Every file with its bytes, but for the kernel locks and shared memory that joining uses.
fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else if !path.ends_with("control") && !path.ends_with("lock") {
            let bytes = fs::read(&path).unwrap();
            found.push((path.display().to_string(), bytes));
        }
    }
    found.sort();
    found
}

fn read_all(store: &Store) -> Vec<Vec<u8>> {
    let topic = store.open_topic("orders").unwrap();
    let mut reader = topic.reader(&ReaderOptions::default()).unwrap();
    let mut all = Vec::new();
    loop {
        let batch = reader.receive(10, NOW).unwrap();
        if batch.is_empty() {
            return all;
        }
        all.extend(batch.iter().map(|message| message.payload().to_vec()));
    }
}

#[test]
fn a_store_that_is_only_read_shows_everything_and_changes_nothing() {
    let folder = TempDir::new().unwrap();
    filled(folder.path()).close().unwrap();
    let before = contents(folder.path());
    let store = Store::open(folder.path(), to_read()).unwrap();
    assert_eq!(read_all(&store), [b"a", b"b", b"c"]);
    let topic = store.open_topic("orders").unwrap();
    let refused = [
        topic.group("g").err().expect("a window is rebuilt"),
        topic.send(&Message::new(b"d")).unwrap_err(),
        topic
            .consumer("g", &ConsumerOptions::default())
            .err()
            .expect("a group writes"),
        store
            .topic("new", &TopicOptions::default())
            .err()
            .expect("a topic is written"),
    ];
    for error in refused {
        assert_eq!(error.kind(), ErrorKind::ReadOnly, "{error}");
        assert!(error.message().contains("read_only"), "{error}");
    }
    drop(topic);
    store.close().unwrap();
    assert_eq!(contents(folder.path()), before);
}

#[test]
fn p3_a_store_that_was_not_closed_can_be_read_without_repairing_it() {
    let folder = TempDir::new().unwrap();
    // Never closed: as after a kill of its process.
    std::mem::forget(filled(folder.path()));
    let copy = TempDir::new().unwrap();
    copy_tree(folder.path(), copy.path());
    let before = contents(copy.path());
    let store = Store::open(copy.path(), to_read()).unwrap();
    assert_eq!(read_all(&store), [b"a", b"b", b"c"]);
    drop(store);
    assert_eq!(contents(copy.path()), before);
    // And beside the process that has it open.
    let store = Store::open(folder.path(), to_read()).unwrap();
    assert_eq!(read_all(&store).len(), 3);
}

fn copy_tree(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            fs::create_dir(&target).unwrap();
            copy_tree(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

#[test]
fn what_is_no_store_is_told_apart_and_left_alone() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, b"text").unwrap();
    let other = folder.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("letter.txt"), b"dear").unwrap();
    let newer = folder.path().join("newer");
    filled(&newer).close().unwrap();
    let meta = newer.join("store.meta");
    let text = fs::read_to_string(&meta).unwrap();
    let first = text.lines().next().unwrap().to_owned();
    fs::write(&meta, text.replacen(&first, "libqueue store 99", 1)).unwrap();
    let damaged = folder.path().join("damaged");
    filled(&damaged).close().unwrap();
    let meta = damaged.join("store.meta");
    let mut bytes = fs::read(&meta).unwrap();
    let last = bytes.len() / 2;
    bytes[last] ^= 1;
    fs::write(&meta, bytes).unwrap();
    let before = contents(folder.path());
    let no_create = StoreOptions {
        create: false,
        ..StoreOptions::default()
    };
    let nowhere = folder.path().join("no/where");
    let missing = folder.path().join("missing");
    let expected = [
        (&file, StoreOptions::default(), ErrorKind::NotAStore),
        (&other, StoreOptions::default(), ErrorKind::NotAStore),
        (&newer, StoreOptions::default(), ErrorKind::Incompatible),
        (&damaged, StoreOptions::default(), ErrorKind::Damaged),
        (&nowhere, StoreOptions::default(), ErrorKind::NotFound),
        (&missing, no_create, ErrorKind::NotFound),
        (&missing, to_read(), ErrorKind::NotFound),
    ];
    for (path, options, kind) in expected {
        let error = Store::open(path, options).expect_err("no store");
        assert_eq!(error.kind(), kind, "{}: {error}", path.display());
        let named = path.display().to_string();
        let place = path.parent().unwrap().display().to_string();
        assert!(
            error.message().contains(&named) || error.message().contains(&place),
            "{error}"
        );
    }
    assert_eq!(contents(folder.path()), before);
}

#[test]
fn names_sizes_and_unknown_things_are_refused_one_by_one() {
    let folder = TempDir::new().unwrap();
    let store = filled(folder.path());
    for name in ["", ".", "..", "a/b", "ä", "a b", &"x".repeat(250)] {
        let error = store.topic(name, &TopicOptions::default()).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::InvalidName, "{name:?}");
    }
    let unknown = store.open_topic("unknown").err().unwrap();
    assert_eq!(unknown.kind(), ErrorKind::NotFound);
    let small = TopicOptions {
        max_message_bytes: Some(16),
        ..TopicOptions::default()
    };
    let topic = store.topic("small", &small).unwrap();
    let error = topic.send(&Message::new(&[0; 17])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    let error = topic
        .send(&Message::new(b"x").partition(1))
        .expect_err("one partition");
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert_eq!(topic.stats().unwrap().messages, 0);
    let other = TopicOptions {
        partitions: Some(2),
        ..TopicOptions::default()
    };
    let error = store.topic("small", &other).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::ConfigMismatch);
    assert!(error.message().contains("configure"), "{error}");
    let error = topic.group("nobody").err().unwrap();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let many = TopicOptions {
        partitions: Some(1025),
        ..TopicOptions::default()
    };
    let error = store.topic("many", &many).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
}

#[test]
fn without_permission_the_error_says_so_and_nothing_changes() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("store");
    filled(&path).close().unwrap();
    let before = contents(&path);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    // The superuser may do everything: then there is nothing to see here.
    if fs::read_dir(&path).is_err() {
        let error = Store::open(&path, StoreOptions::default()).expect_err("closed to us");
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o770)).unwrap();
    assert_eq!(contents(&path), before);
}

#[test]
fn a_closed_store_says_so_to_every_handle_that_is_left() {
    let folder = TempDir::new().unwrap();
    let store = filled(folder.path());
    let other = store.clone();
    store.close().unwrap();
    store.close().expect("closing twice is fine");
    let error = other.topics().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    let again = open(folder.path());
    assert_eq!(read_all(&again).len(), 3);
}
