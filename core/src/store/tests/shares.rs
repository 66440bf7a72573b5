//! Partitions that hand out one message at a time, and who is handed them.

use super::*;
use crate::store::{Consumer, ConsumerOptions, Delivery, Message};
use crate::{GroupOptions, Ordering, ReceiveOptions, TopicOptions};

const NOW: Option<Duration> = Some(Duration::ZERO);
const PARTITIONS: u32 = 8;

/// Eight partitions with so many messages each, and a clock that the test sets.
fn begin(messages: u32) -> (Store, Topic, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(1_700_000_000_000_000_000, 10_000_000));
    let (store, _) = open_by(&Twin::new(), &clock);
    let options = TopicOptions {
        partitions: Some(PARTITIONS),
        ..TopicOptions::default()
    };
    let topic = store.topic("eight", &options).expect("topic");
    for partition in 0..messages * PARTITIONS {
        let message = Message::new(b"x").partition(partition % PARTITIONS);
        topic.send(&message).expect("send");
    }
    (store, topic, clock)
}

fn consumer(topic: &Topic, ordering: Ordering) -> Consumer {
    let group = GroupOptions {
        ordering: Some(ordering),
        ..GroupOptions::default()
    };
    let options = ConsumerOptions {
        group,
        ..ConsumerOptions::default()
    };
    let group = format!("{ordering:?}");
    topic.consumer(&group, &options).expect("consumer")
}

/// As many as it is given, of a hundred that it asks for, and no two of a partition.
fn take(consumer: &Consumer) -> Vec<Delivery> {
    let got = consumer.receive(100, NOW).expect("receive");
    let mut partitions: Vec<u32> = got.iter().map(|one| one.partition()).collect();
    partitions.sort_unstable();
    partitions.dedup();
    assert_eq!(partitions.len(), got.len());
    got
}

fn ack(consumer: &Consumer, got: &[Delivery]) {
    let receipts: Vec<_> = got.iter().map(Delivery::receipt).collect();
    consumer.ack(&receipts).expect("ack");
}

#[test]
fn p11_partitions_are_shared_by_the_consumers_that_come_and_go() {
    let (_store, topic, clock) = begin(9);
    let first = consumer(&topic, Ordering::Partition);
    let all = take(&first);
    assert_eq!(all.len(), 8, "alone");
    let second = consumer(&topic, Ordering::Partition);
    assert_eq!(take(&second).len(), 0, "all are out");
    clock.advance_ms(50);
    ack(&first, &all);
    // However fast it comes back for more.
    let mine = take(&first);
    let theirs = take(&second);
    assert_eq!((mine.len(), theirs.len()), (4, 4));
    assert!(take(&first).is_empty());
    let third = consumer(&topic, Ordering::Partition);
    clock.advance_ms(50);
    ack(&first, &mine);
    assert_eq!(take(&first).len(), 3, "its share, of those that are ready");
    assert_eq!(take(&third).len(), 1);
    assert_eq!(take(&third).len(), 0);
    // Nobody asks for what is left: then it is for who does.
    ack(&second, &theirs);
    assert_eq!([take(&third).len(), take(&third).len()], [3, 1]);
    for gone in [first, second] {
        gone.close().expect("close");
    }
    clock.advance_ms(50);
    assert_eq!(take(&third).len(), 3, "what the first one had");
}

#[test]
fn p11_a_share_bounds_neither_who_waits_for_more_nor_groups_that_are_in_no_line() {
    let (_store, topic, _clock) = begin(1);
    let by_key = [Ordering::Key, Ordering::None].map(|ordering| {
        let others = [(); 3].map(|()| consumer(&topic, ordering));
        assert_eq!(take_any(&others[0]), 8, "{ordering:?}");
        others
    });
    drop(by_key);
    let some = [(); 4].map(|()| consumer(&topic, Ordering::Partition));
    let options = ReceiveOptions {
        max_messages: 100,
        min_messages: 5,
        timeout: NOW,
        ..ReceiveOptions::default()
    };
    assert_eq!(some[0].receive_with(&options).expect("receive").len(), 5);
    assert_eq!(take(&some[1]).len(), 2);
}

fn take_any(consumer: &Consumer) -> usize {
    consumer.receive(100, NOW).expect("receive").len()
}
