//! Dedup ids and named producers in topics with limits (P8, P14), and where retention takes what
//! they speak of (P8, P15).

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::dedup::{all, clock, send, store_on, try_send};
use super::*;
use crate::options::{DedupWindow, OnFull};
use crate::storage::{Fault, Storage, Twin};
use crate::store::{Consumer, ConsumerOptions, Message, Receipt};
use crate::{Durability, TopicOptions};

const HOUR: DedupWindow = DedupWindow::Time(Duration::from_secs(3600));
const NOW: Option<Duration> = Some(Duration::ZERO);

fn topic_of(store: &Store, most: u64, on_full: OnFull) -> (Topic, Consumer) {
    let options = TopicOptions {
        dedup_window: Some(HOUR),
        max_messages: Some(most),
        on_full: Some(on_full),
        durability: Some(Durability::Sync),
        ..TopicOptions::default()
    };
    let topic = store.topic("t", &options).expect("topic");
    let worker = topic.consumer("g", &ConsumerOptions::default());
    (topic, worker.expect("consumer"))
}

fn settle(worker: &Consumer, count: usize) {
    let batch = worker.receive(count, NOW).expect("receive");
    let receipts: Vec<Receipt> = batch.iter().map(|one| one.receipt()).collect();
    assert_eq!(receipts.len(), count);
    worker.ack(&receipts).expect("ack");
}

fn many(topic: &Topic, ids: &[&str]) -> Result<Vec<crate::store::MessageId>> {
    let of = |id: &&'static str| Message::new(id.as_bytes()).dedup_id(id.as_bytes());
    let ids: Vec<&'static str> = ids.iter().map(|id| &*id.to_string().leak()).collect();
    let messages: Vec<Message<'_>> = ids.iter().map(of).collect();
    topic.send_many(&messages)
}

#[test]
fn p8_p14_a_full_topic_refuses_new_ids_and_still_knows_the_old_ones() {
    let (twin, clock) = (Twin::new(), clock());
    let store = store_on(&twin, &clock);
    let (topic, worker) = topic_of(&store, 3, OnFull::Reject);
    let (first, second) = (send(&topic, "a"), send(&topic, "b"));
    // Of a batch only what is new needs room.
    let ids = many(&topic, &["a", "c", "b"]).expect("room for one");
    assert_eq!((ids[0], ids[2]), (first, second));
    let error = try_send(&topic, "d").expect_err("full");
    assert_eq!(error.kind(), ErrorKind::Full, "{error}");
    let error = many(&topic, &["a", "d"]).expect_err("full");
    assert_eq!(error.kind(), ErrorKind::Full, "{error}");
    assert_eq!(send(&topic, "a"), first);
    assert_eq!(all(&topic), ["a", "b", "c"]);
    settle(&worker, 1);
    let fourth = send(&topic, "d");
    assert_eq!(send(&topic, "d"), fourth);
    let error = many(&topic, &["e", "f", "g", "h"]).expect_err("more than there ever is");
    assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
    assert_eq!(all(&topic).len(), 4);
}

#[test]
fn p8_p14_threads_that_share_a_producer_wait_for_room_no_longer_than_each_of_them_said() {
    let (twin, clock) = (Twin::new(), clock());
    let store = store_on(&twin, &clock);
    let (topic, worker) = topic_of(&store, 1, OnFull::Block);
    let producer = topic.producer("p").expect("producer");
    let first = producer.send(&Message::new(b"a"), Some(1)).expect("room");
    let asked = AtomicUsize::new(0);
    let ends = AtomicBool::new(false);
    let mut go_on = || {
        // Far longer than the other one waits, and not for ever.
        let beats = asked.fetch_add(1, Ordering::Relaxed);
        beats < 500 && !ends.load(Ordering::Relaxed)
    };
    let message = Message::new(b"b");
    std::thread::scope(|scope| {
        let patient = scope.spawn(|| producer.send_while(&message, None, None, &mut go_on));
        while asked.load(Ordering::Relaxed) == 0 {
            std::thread::yield_now();
        }
        // The other one has the turn, and waits for as long as he likes.
        let brief = Duration::from_millis(30);
        let late = producer.send_within(&Message::new(b"c"), None, brief);
        assert_eq!(late.expect_err("no room").kind(), ErrorKind::Timeout);
        assert!(!patient.is_finished(), "it waited no longer than it said");
        ends.store(true, Ordering::Relaxed);
        let ended = patient.join().expect("thread").expect_err("was ended");
        assert_eq!(ended.kind(), ErrorKind::Timeout, "{ended}");
    });
    assert_eq!(producer.last_sequence().expect("last"), 1);
    let soon = Duration::from_millis(30);
    let again = producer.send_within(&Message::new(b"a"), Some(1), soon);
    assert_eq!(again.expect("a repeat needs no room"), first);
    settle(&worker, 1);
    let second = producer.send_within(&Message::new(b"b"), Some(2), soon);
    assert_ne!(second.expect("room"), first);
    assert_eq!(all(&topic), ["a", "b"]);
}

#[test]
fn p8_p14_a_producer_counts_for_the_limit_and_a_repeat_does_not() {
    let (twin, clock) = (Twin::new(), clock());
    let store = store_on(&twin, &clock);
    let (topic, worker) = topic_of(&store, 2, OnFull::Reject);
    let producer = topic.producer("p").expect("producer");
    let send = |sequence| producer.send(&Message::new(b"x"), Some(sequence));
    let first = send(1).expect("room");
    send(2).expect("room");
    let error = send(3).expect_err("full");
    assert_eq!(error.kind(), ErrorKind::Full, "{error}");
    assert_eq!(producer.last_sequence().expect("last"), 2);
    assert_eq!(send(1).expect("sent"), first);
    settle(&worker, 1);
    let third = send(3).expect("room");
    assert_eq!(send(3).expect("sent"), third);
    let error = topic.send(&Message::new(b"plain")).expect_err("full");
    assert_eq!(error.kind(), ErrorKind::Full, "{error}");
}

#[test]
fn p8_p14_what_waits_for_room_is_sent_once_when_there_is_some() {
    let folder = tempfile::TempDir::new().expect("folder");
    let store = Store::open(folder.path(), options()).expect("open");
    let (topic, worker) = topic_of(&store, 1, OnFull::Block);
    send(&topic, "a");
    let message = Message::new(b"b").dedup_id(b"b");
    let error = topic.send_within(&message, Duration::from_millis(20));
    assert_eq!(error.expect_err("no room").kind(), ErrorKind::Timeout);
    let bound = Duration::from_secs(20);
    std::thread::scope(|scope| {
        let one = scope.spawn(|| topic.send_within(&message, bound).expect("room"));
        let other = scope.spawn(|| topic.send_within(&message, bound).expect("room"));
        settle(&worker, 1);
        assert_eq!(one.join().expect("one"), other.join().expect("other"));
    });
    assert_eq!(all(&topic), ["a", "b"]);
}

/// Seals and removes all that is settled, and looks at the disk at each event.
#[test]
fn p8_p15_what_retention_took_is_still_known_behind_a_power_loss_at_any_event() {
    let (twin, clock) = (Twin::new(), clock());
    let store = store_on(&twin, &clock);
    let (topic, worker) = topic_of(&store, 100, OnFull::Reject);
    let producer = topic.producer("p").expect("producer");
    let first = send(&topic, "a");
    let sent = producer.send(&Message::new(b"x"), Some(7)).expect("send");
    settle(&worker, 2);
    let found = retention_crashes::images(&twin, || topic.retain_all_now().expect("retain"));
    assert!(topic.first_kept(0) > sent.offset, "it is gone");
    assert_eq!(send(&topic, "a"), first);
    let mut gone = 0;
    for (place, (event, power, image)) in found.iter().enumerate() {
        let at = format!("{place}: {event:?}, power lost: {power}");
        let store = store_on(image, &clock);
        let topic = store.open_topic("t").expect("topic");
        gone += u32::from(topic.first_kept(0) > sent.offset);
        assert_eq!(send(&topic, "a"), first, "{at}");
        let producer = topic.producer("p").expect("producer");
        let again = producer.send(&Message::new(b"x"), Some(7));
        assert_eq!(again.expect("sent"), sent, "{at}");
    }
    assert!(gone > 0, "no image in which anything was gone");
}

fn until_full(topic: &Topic, key: Option<&[u8]>) -> u32 {
    let message = Message {
        key,
        ..Message::new(&[7; 100])
    };
    let mut sent = 0;
    loop {
        match topic.send(&message) {
            Ok(_) => sent += 1,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Full, "{error}");
                return sent;
            }
        }
    }
}

#[test]
fn p14_p15_what_retention_and_compaction_took_makes_room() {
    let (twin, clock) = (Twin::new(), clock());
    let store = store_on(&twin, &clock);
    let options = TopicOptions {
        max_bytes: Some(4_000),
        ..TopicOptions::default()
    };
    let topic = store.topic("t", &options).expect("topic");
    let worker = topic.consumer("g", &ConsumerOptions::default());
    let worker = worker.expect("consumer");
    let count = until_full(&topic, None);
    for round in 0..3 {
        settle(&worker, count as usize);
        topic.retain_all_now().expect("retain");
        assert_eq!(until_full(&topic, None), count, "round {round}");
    }
    let options = TopicOptions {
        max_messages: Some(10),
        compaction: Some(true),
        ..TopicOptions::default()
    };
    let table = store.topic("table", &options).expect("topic");
    assert_eq!(until_full(&table, Some(b"k")), 10);
    for round in 0..3 {
        table.compact_all_now().expect("compact");
        assert_eq!(
            until_full(&table, Some(b"k")),
            9,
            "round {round}: one of the key is kept"
        );
    }
}

/// A ledger that was lost, as in a copy of a damaged store: it is made from the log before that
/// goes.
#[test]
fn p8_p15_a_ledger_without_a_mark_is_made_before_the_log_goes() {
    let (twin, clock) = (Twin::new(), clock());
    let store = store_on(&twin, &clock);
    let (topic, worker) = topic_of(&store, 100, OnFull::Reject);
    let producer = topic.producer("p").expect("producer");
    let first = send(&topic, "a");
    let sent = producer.send(&Message::new(b"x"), Some(7)).expect("send");
    drop((producer, worker, topic));
    store.close().expect("close");
    let folder = Path::new("/store/topics/t");
    for name in [
        "dedup/mark",
        "producers/p/producer.meta",
        "producers/p/ring",
    ] {
        twin.unlink(&folder.join(name)).expect("it is there");
    }
    let store = store_on(&twin, &clock);
    let topic = store.open_topic("t").expect("topic");
    let worker = topic.consumer("g", &ConsumerOptions::default());
    settle(&worker.expect("consumer"), 2);
    topic.retain_all_now().expect("retain");
    assert!(topic.first_kept(0) > sent.offset, "it is gone");
    assert_eq!(send(&topic, "a"), first);
    let producer = topic.producer("p").expect("producer");
    let again = producer.send(&Message::new(b"x"), Some(7));
    assert_eq!(again.expect("sent"), sent);
}

/// Its entry stays in the ledger; below a mark it would be believed in the next life.
#[test]
fn p5_p8_what_a_failed_sync_took_back_is_sent_again_also_where_retention_came_in_between() {
    let (twin, clock) = (Twin::new(), clock());
    let store = store_on(&twin, &clock);
    let (topic, worker) = topic_of(&store, 100, OnFull::Reject);
    send(&topic, "a");
    twin.fail(Fault::Sync, 1);
    try_send(&topic, "b").expect_err("the disk is away");
    twin.heal();
    topic.sync().expect("it is back");
    send(&topic, "c");
    settle(&worker, 2);
    topic.retain_all_now().expect("retain");
    drop((worker, topic));
    store.close().expect("close");
    let store = store_on(&twin, &clock);
    let topic = store.open_topic("t").expect("topic");
    send(&topic, "b");
    assert!(all(&topic).contains(&"b".to_owned()), "it is in the log");
}
