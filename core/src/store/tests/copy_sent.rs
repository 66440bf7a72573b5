//! Copies of a store in which messages are sent once only: ids, producers, transactions (P8).

use std::sync::atomic::{AtomicBool, Ordering};

use super::dedup::{all, clock, send, store_on, with_window};
use super::*;
use crate::options::DedupWindow;
use crate::storage::{Storage, Twin};
use crate::store::{Consumer, Message};
use crate::{Durability, TopicOptions};

const NOW: Option<Duration> = Some(Duration::ZERO);
const HOUR: DedupWindow = DedupWindow::Time(Duration::from_secs(3600));

#[test]
fn p8_a_backup_knows_what_was_sent_under_ids_and_by_producers() {
    let (twin, clock) = (Twin::new(), clock());
    twin.create_dir(Path::new("/copies"), 0o700)
        .expect("folder");
    let store = store_on(&twin, &clock);
    let options = TopicOptions {
        durability: Some(Durability::Sync),
        ..with_window(HOUR)
    };
    let topic = store.topic("t", &options).expect("topic");
    let worker = topic.consumer("g", &Default::default()).expect("consumer");
    let till = topic.producer("till").expect("producer");
    let gone = send(&topic, "gone");
    let sent = till.send(&Message::new(b"5"), Some(5)).expect("send");
    let got = worker.receive(9, NOW).expect("receive");
    let receipts: Vec<_> = got.iter().map(|one| one.receipt()).collect();
    worker.ack(&receipts).expect("ack");
    topic.retain_all_now().expect("retain");
    assert!(all(&topic).is_empty(), "only the ledgers know of it");
    let kept = send(&topic, "kept");
    let next = till.send(&Message::new(b"6"), Some(6)).expect("send");
    let made = store.backup("/copies/one", &mut |_, _| Ok(()));
    assert_eq!(made.expect("backup").topics, 1);
    send(&topic, "late");
    till.send(&Message::new(b"7"), Some(7)).expect("send");

    let world = World {
        storage: Arc::new(twin.clone()),
        clock: clock.clone(),
        housekeeping: false,
    };
    let copy = Store::open_in(&world, Path::new("/copies/one"), &super::options()).expect("open");
    let topic = copy.open_topic("t").expect("topic");
    assert_eq!((send(&topic, "gone"), send(&topic, "kept")), (gone, kept));
    let till = topic.producer("till").expect("producer");
    assert_eq!(till.last_sequence().expect("last"), 6);
    let again = |sequence| till.send(&Message::new(b"x"), Some(sequence));
    assert_eq!(again(5).expect("sent"), sent);
    assert_eq!(again(6).expect("sent"), next);
    assert_eq!(all(&topic), ["6", "kept"]);
    // What came after the copy was made is sent there as for the first time.
    send(&topic, "late");
    again(7).expect("send");
    assert_eq!(all(&topic), ["6", "kept", "late", "x"]);
}

#[test]
fn p8_p16_what_goes_on_while_a_backup_is_made_is_not_in_it() {
    let (twin, clock) = (Twin::new(), clock());
    twin.create_dir(Path::new("/copies"), 0o700)
        .expect("folder");
    let store = store_on(&twin, &clock);
    let topic = store.topic("t", &Default::default()).expect("topic");
    let group = topic.create_group("g", &Default::default()).expect("group");
    group.snapshot("before").expect("snapshot");
    let till = topic.producer("till").expect("producer");
    let send = |sequence| till.send(&Message::new(b"x"), Some(sequence));
    let sent = send(5).expect("send");
    let mut once = true;
    let made = store.backup("/copies/one", &mut |_, _| {
        // More than the ring knows, and its mark is moved behind them.
        if std::mem::take(&mut once) {
            for sequence in 6..1_200 {
                send(sequence)?;
            }
            let worker = topic.consumer("g", &Default::default())?;
            drained(&worker);
            topic.inner.partitions[0].seal_older(i64::MAX)?;
            topic.sync()?;
            store.inner()?.look_around();
            group.snapshot("after")?;
        }
        Ok(())
    });
    made.expect("backup");
    assert!(!once, "it was told");
    let world = World {
        storage: Arc::new(twin.clone()),
        clock: clock.clone(),
        housekeeping: false,
    };
    let copy = Store::open_in(&world, Path::new("/copies/one"), &super::options());
    let copy = copy.expect("open");
    let topic = copy.open_topic("t").expect("topic");
    let till = topic.producer("till").expect("producer");
    assert_eq!(till.last_sequence().expect("last"), 5);
    assert_eq!(till.send(&Message::new(b"x"), Some(5)).expect("it"), sent);
    let group = topic.group("g").expect("group");
    let names = group.snapshots().expect("snapshots");
    let names: Vec<&str> = names.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["before"]);
}

fn drained(worker: &Consumer) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    loop {
        let got = worker.receive(50, NOW).expect("receive");
        if got.is_empty() {
            return found;
        }
        let receipts: Vec<_> = got.iter().map(|one| one.receipt()).collect();
        found.extend(got.iter().map(|one| one.payload().to_vec()));
        worker.ack(&receipts).expect("ack");
    }
}

/// Moves what comes from one topic to the other, until it is told to stop.
fn moves(store: &Store, from: &Topic, to: &Topic, done: &AtomicBool) {
    let worker = from.consumer("g", &Default::default()).expect("consumer");
    while !done.load(Ordering::Acquire) {
        for one in worker.receive(3, NOW).expect("receive") {
            let mut tx = store.transaction().expect("begin");
            tx.send(to, &Message::new(one.payload())).expect("send");
            tx.ack(&one).expect("ack");
            tx.commit().expect("commit");
        }
    }
}

#[test]
fn p8_in_a_copy_a_transaction_has_happened_as_a_whole_or_not_at_all() {
    const COUNT: u32 = 20;
    const COPIES: u32 = 40;
    let folder = tempfile::tempdir().expect("folder");
    let store = Store::open(folder.path().join("s"), options()).expect("open");
    let topic = |name| {
        let topic = store.topic(name, &Default::default()).expect("topic");
        topic.create_group("g", &Default::default()).expect("group");
        topic
    };
    let (left, right) = (topic("left"), topic("right"));
    for number in 0..COUNT {
        left.send(&Message::new(&number.to_le_bytes()))
            .expect("send");
    }
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| moves(&store, &left, &right, &done));
        scope.spawn(|| moves(&store, &right, &left, &done));
        for number in 0..COPIES {
            let path = folder.path().join(format!("copy-{number}"));
            store.backup(&path, &mut |_, _| Ok(())).expect("backup");
        }
        done.store(true, Ordering::Release);
    });
    for number in 0..COPIES {
        let path = folder.path().join(format!("copy-{number}"));
        let copy = Store::open(&path, options()).expect("open");
        let mut found = Vec::new();
        for topic in ["left", "right"] {
            let topic = copy.open_topic(topic).expect("topic");
            let worker = topic.consumer("g", &Default::default());
            found.extend(drained(&worker.expect("consumer")));
        }
        found.sort();
        let all: Vec<Vec<u8>> = (0..COUNT).map(|n| n.to_le_bytes().to_vec()).collect();
        assert_eq!(found, all, "copy {number}: each is somewhere, once");
        copy.close().expect("close");
    }
}
