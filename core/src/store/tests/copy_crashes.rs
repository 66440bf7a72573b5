//! Deaths, power losses and full disks while a store is backed up, and while topics are imported:
//! what has its name is whole, and what is left is removed by the next one.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::options::{Durability, ReaderOptions, TopicOptions};
use crate::storage::{Event, Fault, Watcher, remove_all};
use crate::store::{ConsumerOptions, ImportOptions, Message};

const NOW: Option<Duration> = Some(Duration::ZERO);
const FOLDER: &str = "/backups";
const COPY: &str = "/backups/copy";

fn open_on(twin: &Twin, path: &str) -> Store {
    let world = World {
        storage: Arc::new(twin.clone()),
        clock: Arc::new(SystemClock),
        housekeeping: false,
    };
    Store::open_in(&world, Path::new(path), &options()).expect("open")
}

/// A store with eight messages, of which the group has settled three and moved one to the dead
/// letters; all of it on disk.
fn made(twin: &Twin) -> Store {
    twin.create_dir(Path::new(FOLDER), 0o770).expect("folder");
    twin.sync_dir(Path::new("/")).expect("sync");
    let store = open_on(twin, "/store");
    let options = TopicOptions {
        durability: Some(Durability::Sync),
        ..TopicOptions::default()
    };
    let topic = store.topic("t", &options).expect("topic");
    for number in 0..8_u8 {
        topic.send(&Message::new(&[number])).expect("send");
    }
    let consumer = topic
        .consumer("g", &ConsumerOptions::default())
        .expect("consumer");
    let batch = consumer.receive(4, NOW).expect("receive");
    let receipts: Vec<_> = batch.iter().map(|one| one.receipt()).collect();
    consumer.ack(&receipts[..3]).expect("ack");
    consumer.dead_letter(&receipts[3..], "no").expect("dead");
    drop(batch);
    consumer.close().expect("close");
    topic
        .group("g")
        .expect("group")
        .inner
        .sync_window(0)
        .expect("sync");
    store
}

/// All of it is there, and the group goes on where it was.
fn is_whole(store: &Store) -> std::result::Result<(), String> {
    let told = |error: crate::Error| error.to_string();
    let topics = store.topics().map_err(told)?;
    if topics != ["t", "t.g.dlq"] {
        return Err(format!("it has {topics:?}"));
    }
    let topic = store.open_topic("t").map_err(told)?;
    let mut reader = topic.reader(&ReaderOptions::default()).map_err(told)?;
    let read = reader.receive(99, NOW).map_err(told)?;
    let found: Vec<u8> = read.iter().map(|one| one.payload()[0]).collect();
    if found != [0, 1, 2, 3, 4, 5, 6, 7] {
        return Err(format!("it has {found:?}"));
    }
    let group = topic.group("g").map_err(told)?;
    let dead = group.dead_letters(9).map_err(told)?.len();
    let consumer = topic
        .consumer("g", &ConsumerOptions::default())
        .map_err(told)?;
    let batch = consumer.receive(99, NOW).map_err(told)?;
    let left: Vec<u8> = batch.iter().map(|one| one.payload()[0]).collect();
    if left != [4, 5, 6, 7] || dead != 1 {
        return Err(format!("{left:?} are left, {dead} dead"));
    }
    Ok(())
}

/// A disk as it is left at each event of `work`, by a power loss, and now and then by a death.
fn images(twin: &Twin, work: impl FnOnce()) -> Vec<Twin> {
    let found: Arc<Mutex<Vec<Twin>>> = Arc::default();
    let (into, seed) = (found.clone(), AtomicU64::new(1));
    let watcher: Watcher = Arc::new(move |twin: &Twin, event| {
        let seed = seed.fetch_add(1, Ordering::Relaxed);
        let keep = |image: Twin| {
            image.forget_versions();
            into.lock().expect("lock").push(image);
        };
        if event != Event::Stored || seed % 97 == 0 {
            keep(twin.power_loss(seed).expect("image"));
            if seed % 3 == 0 {
                keep(twin.all_die().expect("image"));
            }
        }
    });
    twin.watch(Some(watcher));
    work();
    twin.watch(None);
    std::mem::take(&mut *found.lock().expect("lock"))
}

#[test]
fn p2_p5_p17_at_every_event_of_a_backup_it_is_whole_or_not_there() {
    let twin = Twin::new();
    let store = made(&twin);
    let images = images(&twin, || {
        store.backup(COPY, &mut |_, _| Ok(())).expect("backup");
    });
    drop(store);
    assert!(images.len() > 60, "only {} images", images.len());
    let mut there = 0;
    for (number, image) in images.iter().enumerate() {
        if image.exists(Path::new(COPY)).expect("look") {
            there += 1;
            is_whole(&open_on(image, COPY)).unwrap_or_else(|what| panic!("{number}: {what}"));
            continue;
        }
        let store = open_on(image, "/store");
        store
            .backup(COPY, &mut |_, _| Ok(()))
            .expect("the next one");
        assert_eq!(image.list(Path::new(FOLDER)).expect("list"), ["copy"]);
        is_whole(&open_on(image, COPY)).unwrap_or_else(|what| panic!("{number}: {what}"));
    }
    assert!(there > 0 && there < images.len(), "{there}");
}

/// An export in the native format, and as JSON lines.
fn exports(store: &Store) -> [Vec<u8>; 2] {
    let (mut native, mut lines) = (Vec::new(), Vec::new());
    store
        .export(&[], &mut native, &mut |_, _| Ok(()))
        .expect("export");
    store
        .export_lines(&[], &mut lines, &mut |_, _| Ok(()))
        .expect("export");
    [native, lines]
}

#[test]
fn p2_p5_p17_at_every_event_of_an_import_each_topic_is_whole_or_not_there() {
    let twin = Twin::new();
    let [native, _] = exports(&made(&twin));
    at_every_event(&twin, &native);
}

#[test]
fn p2_p5_p17_at_every_event_of_an_import_of_lines_each_topic_is_whole_or_not_there() {
    let twin = Twin::new();
    let [_, lines] = exports(&made(&twin));
    at_every_event(&twin, &lines);
}

fn at_every_event(twin: &Twin, bytes: &[u8]) {
    let store = open_on(twin, "/other");
    let images = images(twin, || import(&store, bytes).expect("import"));
    drop(store);
    assert!(images.len() > 60, "only {} images", images.len());
    let (mut none, mut some) = (0, 0);
    for (number, image) in images.iter().enumerate() {
        let store = open_on(image, "/other");
        let topics = store.topics().expect("topics");
        match topics.len() {
            0 => {
                none += 1;
                import(&store, bytes).expect("the next one");
            }
            // The group is there before its dead letters are, which come as a whole as well.
            1 => {
                some += 1;
                assert_eq!(topics, ["t"], "{number}");
                continue;
            }
            _ => {}
        }
        is_whole(&store).unwrap_or_else(|what| panic!("{number}: {what}"));
        if topics.is_empty() {
            let left = image.list(Path::new("/other")).expect("list");
            assert!(left.iter().all(|name| !name.starts_with('.')), "{left:?}");
        }
    }
    assert!(none > 0 && some > 0, "{none} {some}");
}

fn import(store: &Store, mut bytes: &[u8]) -> Result<()> {
    let options = ImportOptions::default();
    let done = match bytes.first() {
        Some(b'{') => store.import_lines(&mut bytes, &options, &mut |_, _| Ok(())),
        _ => store.import(&mut bytes, &options, &mut |_, _| Ok(())),
    };
    done.map(|_| ())
}

#[test]
fn p5_a_disk_that_fails_anywhere_leaves_nothing_of_a_backup_or_an_import() {
    let faults = [
        Fault::Write,
        Fault::Sync,
        Fault::Allocate,
        Fault::Open,
        Fault::SyncFolder,
        Fault::Name,
    ];
    let twin = Twin::new();
    let store = made(&twin);
    let both = exports(&store);
    let other = open_on(&twin, "/other");
    let mut failed = 0;
    for fault in faults {
        for nth in [1, 2, 3, 5, 9, 14, 22] {
            twin.fail(fault, nth);
            let made = store.backup(COPY, &mut |_, _| Ok(()));
            twin.heal();
            failed += usize::from(made.is_err());
            match made {
                Ok(_) => is_whole(&open_on(&twin, COPY)).expect("whole"),
                // Where only the folder's sync failed it is there, and whole.
                Err(_) if twin.exists(Path::new(COPY)).expect("look") => {
                    is_whole(&open_on(&twin, COPY)).expect("whole");
                }
                Err(_) => {}
            }
            remove_all(&twin, Path::new(COPY)).expect("remove");
            for bytes in &both {
                twin.fail(fault, nth);
                let done = import(&other, bytes);
                twin.heal();
                failed += usize::from(done.is_err());
                if done.is_ok() {
                    is_whole(&other).expect("whole");
                }
                for topic in ["t", "t.g.dlq"] {
                    if other.topics().expect("topics").contains(&topic.to_owned()) {
                        other.delete_topic(topic).expect("delete");
                    }
                }
            }
        }
    }
    assert!(failed > 45, "only {failed} failed");
    store.backup(COPY, &mut |_, _| Ok(())).expect("backup");
    is_whole(&open_on(&twin, COPY)).expect("whole");
    is_whole(&store).expect("the store goes on");
}
