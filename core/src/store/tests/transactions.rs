//! Transactions (P8) while nobody dies: all or nothing, and each wrong use its own error.

use super::*;
use crate::format::names;
use crate::options::{DeliveryMode, GroupOptions, TopicOptions};
use crate::{Consumer, ConsumerOptions, Durability, Message, ReaderOptions};

/// Payloads with their offsets, by partition.
pub(super) fn contents(topic: &Topic) -> Vec<(u32, u64, Vec<u8>)> {
    let mut reader = topic.reader(&ReaderOptions::default()).expect("reader");
    let mut all = Vec::new();
    loop {
        let read = reader.receive(1_000, Some(Duration::ZERO)).expect("read");
        if read.is_empty() {
            break;
        }
        let one =
            |one: &crate::ReadMessage| (one.partition(), one.offset(), one.payload().to_vec());
        all.extend(read.iter().map(one));
    }
    all.sort();
    all
}

pub(super) fn payloads(topic: &Topic) -> Vec<Vec<u8>> {
    contents(topic).into_iter().map(|one| one.2).collect()
}

struct Bench {
    store: Store,
    from: Topic,
    to: Topic,
    worker: Consumer,
    _folder: tempfile::TempDir,
}

fn bench(durability: Durability) -> Bench {
    let folder = tempfile::tempdir().expect("folder");
    let store = Store::open(
        folder.path(),
        StoreOptions {
            durability,
            ..options()
        },
    )
    .expect("open");
    let from = store.topic("from", &Default::default()).expect("topic");
    let two = TopicOptions {
        partitions: Some(2),
        ..TopicOptions::default()
    };
    let to = store.topic("to", &two).expect("topic");
    let worker = from.consumer("g", &Default::default()).expect("consumer");
    for payload in [&b"0"[..], b"1", b"2"] {
        from.send(&Message::new(payload)).expect("send");
    }
    Bench {
        store,
        from,
        to,
        worker,
        _folder: folder,
    }
}

#[test]
fn p8_a_transaction_sends_and_settles_and_returns_the_ids_in_the_order_of_its_sends() {
    for durability in [Durability::Process, Durability::Sync] {
        let bench = bench(durability);
        let got = bench.worker.receive(2, Some(BOUND)).expect("receive");
        let mut tx = bench.store.transaction().expect("begin");
        tx.send(&bench.to, &Message::new(b"a").partition(1))
            .expect("send");
        tx.ack(&got[0]).expect("ack");
        let more = [
            Message::new(b"b").partition(0),
            Message::new(b"c").partition(1),
        ];
        tx.send_many(&bench.to, &more).expect("send");
        tx.ack_receipts(&bench.worker, &[got[1].receipt()])
            .expect("ack");
        assert_eq!((tx.sends(), tx.acks()), (3, 2));
        assert!(payloads(&bench.to).is_empty(), "nothing is shared before");
        let ids = tx.commit().expect("commit");
        let places: Vec<_> = ids.iter().map(|id| (id.partition, id.offset)).collect();
        assert_eq!(places, [(1, 0), (0, 0), (1, 1)]);
        let expected = [
            (0, 0, b"b".to_vec()),
            (1, 0, b"a".to_vec()),
            (1, 1, b"c".to_vec()),
        ];
        assert_eq!(contents(&bench.to), expected);
        let stats = bench
            .from
            .group("g")
            .expect("group")
            .stats()
            .expect("stats");
        assert_eq!((stats.lag_messages, stats.leased), (1, 0));
        let error = bench.worker.ack(&[got[0].receipt()]).expect_err("settled");
        assert_eq!(error.kind(), ErrorKind::StaleReceipt);
        let journal = bench
            .store
            .inner()
            .expect("open")
            .journal
            .clone()
            .expect("journal");
        use crate::log::Transactions;
        assert!(journal.on_disk());
        assert_eq!(journal.happened().expect("read").len(), 1);
    }
}

#[test]
fn p8_what_is_dropped_aborted_or_empty_does_nothing() {
    let bench = bench(Durability::Process);
    let got = bench.worker.receive(1, Some(BOUND)).expect("receive");
    for abort in [true, false] {
        let mut tx = bench.store.transaction().expect("begin");
        tx.send(&bench.to, &Message::new(b"x")).expect("send");
        tx.ack(&got[0]).expect("ack");
        if abort {
            tx.abort();
        }
    }
    assert!(
        bench
            .store
            .transaction()
            .expect("begin")
            .commit()
            .expect("empty")
            .is_empty()
    );
    assert!(payloads(&bench.to).is_empty());
    let journal = bench.store.path().join(names::TRANSACTIONS);
    assert!(!journal.exists(), "nothing was ever written");
    bench.worker.ack(&[got[0].receipt()]).expect("still leased");
}

#[test]
fn p8_p9_a_stale_receipt_fails_all_of_it_and_leaves_the_others_as_they_were() {
    let bench = bench(Durability::Process);
    let got = bench.worker.receive(3, Some(BOUND)).expect("receive");
    bench.worker.ack(&[got[1].receipt()]).expect("ack");
    let mut tx = bench.store.transaction().expect("begin");
    tx.send(&bench.to, &Message::new(b"x")).expect("send");
    for one in &got {
        tx.ack(one).expect("ack");
    }
    tx.ack(&got[2]).expect("twice");
    let error = tx.commit().expect_err("stale");
    assert_eq!(error.kind(), ErrorKind::StaleReceipt);
    assert_eq!(error.stale_places(), [1, 3]);
    assert!(
        error.message().contains("nothing of the transaction"),
        "{error}"
    );
    assert!(payloads(&bench.to).is_empty());
    let stats = bench
        .from
        .group("g")
        .expect("group")
        .stats()
        .expect("stats");
    assert_eq!((stats.lag_messages, stats.leased), (2, 2));
    // The good ones still are.
    let mut tx = bench.store.transaction().expect("begin");
    tx.ack(&got[0]).expect("ack");
    tx.ack(&got[2]).expect("ack");
    tx.commit().expect("commit");
    assert_eq!(
        bench
            .from
            .group("g")
            .expect("g")
            .stats()
            .expect("stats")
            .lag_messages,
        0
    );
}

#[test]
fn p8_each_wrong_use_has_its_own_error_and_adds_nothing() {
    let (bench, other) = (bench(Durability::Process), bench(Durability::Process));
    let got = bench.worker.receive(1, Some(BOUND)).expect("receive");
    let mut tx = bench.store.transaction().expect("begin");
    let strange = tx
        .send(&other.to, &Message::new(b"x"))
        .expect_err("another store");
    assert_eq!(strange.kind(), ErrorKind::InvalidArgument);
    let theirs = other.worker.receive(1, Some(BOUND)).expect("receive");
    let strange = tx.ack(&theirs[0]).expect_err("another store");
    assert_eq!(strange.kind(), ErrorKind::InvalidArgument);
    let large = vec![0; (16 << 20) + 1];
    let error = tx
        .send(&bench.to, &Message::new(&large))
        .expect_err("too large");
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    let many = vec![Message::new(b"x"); 10_001];
    let error = tx.send_many(&bench.to, &many).expect_err("too many");
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert!(error.message().contains("10000"), "{error}");
    let once = GroupOptions {
        delivery: Some(DeliveryMode::AtMostOnce),
        ..GroupOptions::default()
    };
    let once = ConsumerOptions {
        group: once,
        ..ConsumerOptions::default()
    };
    let once = bench.from.consumer("once", &once).expect("consumer");
    let handed = once.receive(1, Some(BOUND)).expect("receive");
    let error = tx.ack(&handed[0]).expect_err("at most once");
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.message().contains("at most once"), "{error}");
    assert_eq!((tx.sends(), tx.acks()), (0, 0));
    // A topic that is deleted meanwhile.
    tx.ack(&got[0]).expect("ack");
    tx.send(&bench.to, &Message::new(b"x")).expect("send");
    bench.store.delete_topic("to").expect("delete");
    let error = tx.commit().expect_err("deleted");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    bench.worker.ack(&[got[0].receipt()]).expect("still leased");
}

#[test]
fn p8_a_full_journal_makes_room_and_segments_roll_in_the_middle_of_a_chain() {
    for durability in [Durability::Process, Durability::Sync] {
        let folder = tempfile::tempdir().expect("folder");
        let twin = Twin::new();
        twin.forget_versions();
        let clock = Arc::new(ManualClock::new(1_000_000, 1_000));
        let world = World {
            storage: Arc::new(twin),
            clock,
            housekeeping: false,
        };
        let with = StoreOptions {
            durability,
            ..options()
        };
        let store = Store::open_in(&world, Path::new("/store"), &with).expect("open");
        let from = store.topic("from", &Default::default()).expect("topic");
        let to = store.topic("to", &Default::default()).expect("topic");
        let worker = from.consumer("g", &Default::default()).expect("consumer");
        let mut sent = 0_u64;
        for round in 0..90 {
            let some: Vec<Vec<u8>> = (0..1000_u64)
                .map(|n| (sent + n).to_le_bytes().into())
                .collect();
            let some: Vec<_> = some.iter().map(|one| Message::new(one)).collect();
            from.send_many(&some).expect("send");
            sent += 1000;
            let got = worker.receive(1000, Some(Duration::ZERO)).expect("receive");
            assert_eq!(got.len(), 1000);
            let mut tx = store.transaction().expect("begin");
            for one in &got {
                tx.send(&to, &Message::new(one.payload())).expect("send");
                tx.ack(one).expect("ack");
            }
            let ids = tx
                .commit()
                .unwrap_or_else(|error| panic!("round {round}: {error}"));
            assert_eq!(ids.last().expect("ids").offset, sent - 1);
        }
        let journal = store
            .inner()
            .expect("open")
            .journal
            .clone()
            .expect("journal");
        assert!(journal.used_in_test() < 4 << 20);
        assert_eq!(
            from.group("g")
                .expect("g")
                .stats()
                .expect("stats")
                .lag_messages,
            0
        );
        drop(folder);
    }
}

#[test]
fn p8_transactions_of_many_threads_in_any_topics_each_happen_once_and_lock_in_one_order() {
    let bench = bench(Durability::Process);
    let far = bench
        .store
        .topic("far", &Default::default())
        .expect("topic");
    std::thread::scope(|scope| {
        for thread in 0_u8..4 {
            let (store, to, far) = (&bench.store, &bench.to, &far);
            scope.spawn(move || {
                for number in 0_u8..50 {
                    let payload = [thread, number];
                    let mut tx = store.transaction().expect("begin");
                    let one = Message::new(&payload).partition(u32::from(thread % 2));
                    if thread % 2 == 0 {
                        tx.send(to, &one).expect("send");
                        tx.send(far, &Message::new(&payload)).expect("send");
                    } else {
                        tx.send(far, &Message::new(&payload)).expect("send");
                        tx.send(to, &one).expect("send");
                    }
                    tx.commit().expect("commit");
                }
            });
        }
    });
    let (mut there, mut mirrored) = (payloads(&bench.to), payloads(&far));
    there.sort();
    mirrored.sort();
    assert_eq!((there.len(), &there), (200, &mirrored));
}

#[test]
fn p8_what_is_deleted_keeps_no_transaction_of_others_from_happening() {
    for durability in [Durability::Process, Durability::Sync] {
        let bench = bench(durability);
        let far = bench
            .store
            .topic("far", &Default::default())
            .expect("topic");
        let got = bench.worker.receive(3, Some(BOUND)).expect("receive");
        let mut tx = bench.store.transaction().expect("begin");
        tx.send(&bench.to, &Message::new(b"x")).expect("send");
        tx.ack(&got[0]).expect("ack");
        tx.commit().expect("commit");
        bench.store.delete_topic("to").expect("delete");
        for one in &got[1..] {
            let mut tx = bench.store.transaction().expect("begin");
            tx.send(&far, &Message::new(one.payload())).expect("send");
            tx.ack(one).expect("ack");
            tx.commit().expect("commit");
            let inner = bench.store.inner().expect("open");
            inner.make_room_for_transactions(BOUND).expect("room");
        }
        assert_eq!(payloads(&far).len(), 2);
        drop(bench.worker);
        bench.store.delete_topic("from").expect("delete");
        let mut tx = bench.store.transaction().expect("begin");
        tx.send(&far, &Message::new(b"y")).expect("send");
        tx.commit().expect("commit");
        bench.store.sync().expect("sync");
    }
}

/// In place: a store that died has it mapped still.
fn put(path: &Path, bytes: &[u8]) {
    use std::os::unix::fs::FileExt;
    let file = std::fs::File::options()
        .write(true)
        .open(path)
        .expect("open");
    file.write_all_at(bytes, 0).expect("write");
}

#[test]
fn p18_a_damaged_journal_is_an_error_that_names_it() {
    let bench = bench(Durability::Process);
    let mut tx = bench.store.transaction().expect("begin");
    tx.send(&bench.to, &Message::new(b"x")).expect("send");
    tx.commit().expect("commit");
    let (path, place) = (
        bench.store.path().to_owned(),
        bench.store.path().join(names::TRANSACTIONS),
    );
    bench.store.die();
    std::mem::forget(bench.worker);
    let mut bytes = std::fs::read(&place).expect("read");
    for at in [0, 13, 20, 4096 + 20] {
        bytes[at] ^= 1;
        put(&place, &bytes);
        let store = Store::open(&path, options()).expect("open");
        let error = store.open_topic("to").map(drop).expect_err("damaged");
        assert_eq!(error.kind(), ErrorKind::Damaged, "{at}");
        assert!(error.message().contains(names::TRANSACTIONS), "{error}");
        bytes[at] ^= 1;
    }
    put(&place, &bytes);
    let store = Store::open(&path, options()).expect("open");
    assert_eq!(payloads(&store.open_topic("to").expect("topic")), [b"x"]);
    drop(store);
    // Taken away, while nobody has it open, it costs what was going on.
    std::fs::remove_file(&place).expect("remove");
    let store = Store::open(&path, options()).expect("open");
    assert_eq!(payloads(&store.open_topic("to").expect("topic")), [b"x"]);
}

#[test]
fn p8_a_dedup_id_in_a_transaction_is_refused_and_adds_nothing() {
    let bench = bench(Durability::Process);
    let mut tx = bench.store.transaction().expect("begin");
    let message = Message::new(b"x").dedup_id(b"id");
    let error = tx.send(&bench.to, &message).expect_err("an id");
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
    let many = [Message::new(b"y"), message];
    tx.send_many(&bench.to, &many).expect_err("an id");
    assert!(tx.commit().expect("commit").is_empty());
    assert!(payloads(&bench.to).is_empty());
}
