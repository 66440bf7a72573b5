//! Backups.

use super::*;
use libqueue::{Error, ErrorKind, StoreOptions};
use tempfile::TempDir;

#[test]
fn p1_p6_p12_a_backup_holds_all_that_the_store_holds_and_groups_go_on() {
    let folder = TempDir::new().unwrap();
    let store = make(&folder.path().join("a"));
    let copy = folder.path().join("b");
    // Somebody is at work meanwhile.
    let orders = store.open_topic("orders").unwrap();
    let worker = consumer(&orders, "billing", Ordering::Key, 2);
    let leased = worker.receive(3, NOW).unwrap();
    leased[0].start();
    backup(&store, &copy);
    verified(&copy);
    let other = open(&copy);
    assert_eq!(other.id().unwrap(), store.id().unwrap());
    assert_eq!(contents(&other), contents(&store));
    assert_eq!(
        other.open_topic("orders").unwrap().config(),
        orders.config()
    );
    // Nothing failed: what was handed out comes once more, with its attempt.
    worker.release(&receipts(&leased)).unwrap();
    drop(leased);
    worker.close().unwrap();
    for group in ["billing", "keeper", "fresh"] {
        let (mut ours, mut theirs) = (
            standing(&store, "orders", group),
            standing(&other, "orders", group),
        );
        // What was handed out, and back, since.
        for stats in [&mut ours.0, &mut theirs.0] {
            (stats.ready, stats.held, stats.delivered, stats.redelivered) = (0, 0, 0, 0);
        }
        assert_eq!(ours, theirs, "{group}");
        let handed: [BTreeMap<_, _>; 2] = [&store, &other].map(|one| drain(one, "orders", group));
        assert!(!handed[0].is_empty());
        assert_eq!(
            handed[0].keys().collect::<Vec<_>>(),
            handed[1].keys().collect::<Vec<_>>()
        );
    }
    // Each goes its own way from here on.
    let new = other.open_topic("orders").unwrap();
    new.send(&Message::new(b"theirs").partition(0)).unwrap();
    assert!(
        contents(&store)
            .values()
            .all(|(_, _, _, payload)| payload != b"theirs")
    );
    new.group("billing").unwrap().seek("before", None).unwrap();
}

#[test]
fn p5_a_backup_that_is_stopped_leaves_nothing_and_the_next_one_removes_what_is_left() {
    let folder = TempDir::new().unwrap();
    let store = make(&folder.path().join("a"));
    let copy = folder.path().join("copies/b");
    let missing = store
        .backup(&copy, &mut |_, _| Ok(()))
        .expect_err("no folder");
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    fs::create_dir(folder.path().join("copies")).unwrap();
    let stop = |_, _| Err(Error::new(ErrorKind::Timeout, "enough"));
    let stopped = store.backup(&copy, &mut { stop }).expect_err("stopped");
    assert_eq!(stopped.kind(), ErrorKind::Timeout);
    assert_eq!(names(&folder.path().join("copies")), Vec::<String>::new());
    // What one that died left.
    let left = folder.path().join("copies/.b.backup");
    fs::create_dir_all(left.join("topics/orders/0")).unwrap();
    fs::write(
        left.join("topics/orders/0/00000000000000000000.log"),
        b"half",
    )
    .unwrap();
    fs::write(left.join("lock"), b"").unwrap();
    backup(&store, &copy);
    assert_eq!(names(&folder.path().join("copies")), ["b"]);
    verified(&copy);
    for (place, kind) in [
        (copy.clone(), ErrorKind::AlreadyExists),
        (folder.path().join("a/inside"), ErrorKind::InvalidArgument),
        (folder.path().join("a"), ErrorKind::AlreadyExists),
    ] {
        let refused = store
            .backup(&place, &mut |_, _| Ok(()))
            .expect_err("refused");
        assert_eq!(refused.kind(), kind, "{refused}");
    }
    // An empty folder will do.
    let empty = folder.path().join("empty");
    fs::create_dir(&empty).unwrap();
    backup(&store, &empty);
    verified(&empty);
    let options = StoreOptions {
        read_only: true,
        ..StoreOptions::default()
    };
    let reader = Store::open(&copy, options).unwrap();
    let refused = reader
        .backup(folder.path().join("c"), &mut |_, _| Ok(()))
        .expect_err("read");
    assert_eq!(refused.kind(), ErrorKind::ReadOnly);
}

#[test]
fn two_backups_to_one_place_do_not_wait_for_each_other() {
    let folder = TempDir::new().unwrap();
    let store = make(&folder.path().join("a"));
    let copy = folder.path().join("b");
    let mut second = None;
    store
        .backup(&copy, &mut |_, _| {
            second.get_or_insert_with(|| store.backup(&copy, &mut |_, _| Ok(())));
            Ok(())
        })
        .unwrap();
    let second = second.unwrap().expect_err("under way");
    assert_eq!(second.kind(), ErrorKind::Busy);
    verified(&copy);
}

#[test]
fn p15_a_backup_of_what_retention_takes_meanwhile_is_whole() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder.path().join("a"));
    let orders = store.topic("orders", &TopicOptions::default()).unwrap();
    let worker = consumer(&orders, "g", Ordering::Key, 2);
    let payload = vec![7; 100_000];
    for _ in 0..60 {
        orders.send(&Message::new(&payload)).unwrap();
    }
    let mut taken = false;
    let copy = folder.path().join("b");
    let before = orders.stats().unwrap().partitions[0].earliest_offset;
    store
        .backup(&copy, &mut |_, _| {
            if !std::mem::replace(&mut taken, true) {
                let deadline = std::time::Instant::now() + Duration::from_secs(20);
                while orders.stats().unwrap().partitions[0].earliest_offset <= before + 40 {
                    orders.send(&Message::new(&payload)).unwrap();
                    let batch = worker.receive(100, NOW).unwrap();
                    worker.ack(&receipts(&batch)).unwrap();
                    assert!(std::time::Instant::now() < deadline, "nothing was taken");
                }
            }
            Ok(())
        })
        .unwrap();
    assert!(taken);
    verified(&copy);
    let other = open(&copy);
    let log = &other
        .open_topic("orders")
        .unwrap()
        .stats()
        .unwrap()
        .partitions[0];
    let ends = (log.earliest_offset, log.next_offset);
    assert_eq!(ends, (before, 60));
    assert_eq!(drain(&other, "orders", "g").len(), 60);
}
