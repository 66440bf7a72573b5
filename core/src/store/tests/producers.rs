//! Named producers: sequences, fencing, and what a restart knows of them (P8).

use super::dedup::{all, clock, store_on};
use super::*;
use crate::options::DedupWindow;
use crate::storage::{Fault, Twin};
use crate::store::{Message, MessageId, Producer};
use crate::{Durability, TopicOptions};

fn send(producer: &Producer, sequence: u64) -> MessageId {
    try_send(producer, sequence).expect("send")
}

fn try_send(producer: &Producer, sequence: u64) -> Result<MessageId> {
    let text = format!("{sequence:05}");
    producer.send(&Message::new(text.as_bytes()), Some(sequence))
}

fn topic_on(store: &Store) -> Topic {
    let options = TopicOptions {
        partitions: Some(2),
        ..TopicOptions::default()
    };
    store.topic("t", &options).expect("topic")
}

#[test]
fn p8_a_repeated_sequence_returns_the_first_id_and_appends_nothing() {
    let (twin, clock) = (Twin::new(), clock());
    let store = store_on(&twin, &clock);
    let topic = topic_on(&store);
    let producer = topic.producer("p").expect("producer");
    assert_eq!(producer.last_sequence().expect("last"), 0);
    let first = send(&producer, 1);
    assert_eq!(send(&producer, 1), first);
    let gap = send(&producer, 5);
    assert_eq!((send(&producer, 5), send(&producer, 1)), (gap, first));
    assert_eq!(producer.last_sequence().expect("last"), 5);
    let next = producer.send(&Message::new(b"auto"), None).expect("send");
    assert_eq!(producer.last_sequence().expect("last"), 6);
    assert_eq!(send(&producer, 6), next);
    assert_eq!(all(&topic), ["00001", "00005", "auto"]);
    // Another name counts for itself.
    let other = topic.producer("q").expect("producer");
    assert_eq!(other.last_sequence().expect("last"), 0);
    assert_ne!(send(&other, 1), first);
}

#[test]
fn p8_sequences_that_cannot_be_are_refused() {
    let (twin, clock) = (Twin::new(), clock());
    twin.forget_versions();
    let store = store_on(&twin, &clock);
    let topic = topic_on(&store);
    let producer = topic.producer("p").expect("producer");
    let refused = |sequence, told: &str| {
        let error = try_send(&producer, sequence).expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.message().contains(told), "{error}");
    };
    refused(0, "the first one is 1");
    let ids: Vec<_> = (2..=1101).map(|number| send(&producer, number)).collect();
    refused(1, "older than the last 1,000");
    refused(2, "older than the last 1,000");
    for number in 102..=1101_u64 {
        assert_eq!(send(&producer, number), ids[number as usize - 2]);
    }
    send(&producer, 2000);
    refused(1500, "passed over; expected one above 2000");
    assert_eq!(all(&topic).len(), 1101);
    send(&producer, u64::MAX);
    let error = producer.send(&Message::new(b""), None).expect_err("full");
    assert!(error.message().contains("all sequences"), "{error}");
    let with_id = Message::new(b"").dedup_id(b"a");
    let error = producer.send(&with_id, None).expect_err("both");
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    for name in ["", "a/b", "."] {
        let error = topic.producer(name).expect_err("a bad name");
        assert_eq!(error.kind(), ErrorKind::InvalidName);
    }
    topic.producer(&"x".repeat(249)).expect("the longest name");
}

#[test]
fn p8_opening_a_name_again_fences_the_older_handle_before_anything_is_sent() {
    let (twin, clock) = (Twin::new(), clock());
    let store = store_on(&twin, &clock);
    let topic = topic_on(&store);
    let older = topic.producer("p").expect("producer");
    send(&older, 1);
    let second = store_on(&twin, &clock);
    let newer = second
        .open_topic("t")
        .expect("topic")
        .producer("p")
        .expect("producer");
    for sequence in [Some(1), Some(2), None] {
        let error = older
            .send(&Message::new(b"late"), sequence)
            .expect_err("fenced");
        assert_eq!(error.kind(), ErrorKind::Fenced);
        assert!(error.message().contains("producer \"p\""), "{error}");
    }
    assert_eq!(newer.last_sequence().expect("last"), 1);
    send(&newer, 2);
    let newest = topic.producer("p").expect("producer");
    assert_eq!(
        try_send(&newer, 3).expect_err("fenced").kind(),
        ErrorKind::Fenced
    );
    send(&newest, 3);
    assert_eq!(all(&topic), ["00001", "00002", "00003"]);
}

#[test]
fn p8_a_producer_is_known_across_restarts_deaths_and_damage() {
    let (twin, clock) = (Twin::new(), clock());
    let mut ids: Vec<MessageId> = Vec::new();
    for life in 0..6_u64 {
        let store = store_on(&twin, &clock);
        let topic = topic_on(&store);
        let producer = topic.producer("p").expect("producer");
        let last = producer.last_sequence().expect("last");
        assert_eq!(last, ids.len() as u64, "life {life}");
        for (number, id) in (1..).zip(&ids) {
            assert_eq!(send(&producer, number), *id, "life {life}");
        }
        for number in last + 1..=last + 150 {
            ids.push(send(&producer, number));
        }
        assert_eq!(all(&topic).len(), ids.len());
        if life % 2 == 1 {
            store.die();
            continue;
        }
        drop((producer, topic));
        store.close().expect("close");
        let folder = Path::new("/store/topics/t/producers/p");
        let storage: &dyn Storage = &twin;
        let name = match life {
            2 => "ring",
            4 => "producer.meta",
            _ => continue,
        };
        let path = folder.join(name);
        let access = crate::storage::Access::ReadWrite;
        let file = storage.open(&path, access, 0).expect("open");
        file.write_at(&[0x5A; 100], 0).expect("write");
    }
}

#[test]
fn p5_p8_what_a_failed_sync_took_back_is_sent_again_under_its_sequence() {
    let (twin, clock) = (Twin::new(), clock());
    let store = store_on(&twin, &clock);
    let options = TopicOptions {
        durability: Some(Durability::Sync),
        dedup_window: Some(DedupWindow::UntilSettled),
        ..TopicOptions::default()
    };
    let topic = store.topic("t", &options).expect("topic");
    let producer = topic.producer("p").expect("producer");
    let kept = send(&producer, 1);
    twin.fail(Fault::Sync, 1);
    try_send(&producer, 2).expect_err("the disk fails");
    twin.heal();
    let _ = store.sync();
    assert_eq!(producer.last_sequence().expect("last"), 1);
    let second = send(&producer, 2);
    assert_eq!((send(&producer, 1), send(&producer, 2)), (kept, second));
    assert_eq!(producer.last_sequence().expect("last"), 2);
    assert_eq!(all(&topic), ["00001", "00002"]);
}

#[test]
fn p8_threads_that_share_a_producer_take_turns() {
    let folder = tempfile::tempdir().expect("folder");
    let store = Store::open(folder.path(), options()).expect("open");
    let topic = topic_on(&store);
    let producer = topic.producer("p").expect("producer");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..250 {
                    producer.send(&Message::new(b"x"), None).expect("send");
                }
            });
        }
    });
    assert_eq!(producer.last_sequence().expect("last"), 1000);
    assert_eq!(all(&topic).len(), 1000);
    drop(topic);
    assert_eq!(store.close().expect_err("open").kind(), ErrorKind::Busy);
    drop(producer);
    store.close().expect("close");
}
