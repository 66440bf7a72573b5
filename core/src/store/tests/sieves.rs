//! What a filter said of messages is kept for the receive calls that come next.

use super::*;
use crate::clock::ManualClock;
use crate::options::{Filter, GroupOptions};
use crate::storage::Twin;
use crate::store::{Consumer, ConsumerOptions, Message, Topic};

const NOW: Option<Duration> = Some(Duration::ZERO);

fn consumer(topic: &Topic) -> Consumer {
    let options = ConsumerOptions {
        group: GroupOptions {
            filter: Some(Filter::parse(r#"{"headers": {"take": true}}"#).expect("filter")),
            ..GroupOptions::default()
        },
        ..ConsumerOptions::default()
    };
    topic.consumer("g", &options).expect("consumer")
}

/// Of so many every other one is taken.
fn send(topic: &Topic, count: u64) {
    for number in 0..count {
        let (payload, takes) = (number.to_string(), number % 2 == 1);
        let mut message = Message::new(payload.as_bytes());
        message.headers = if takes { &[("take", b"")] } else { &[] };
        topic.send(&message).expect("send");
    }
}

fn next(worker: &Consumer) -> Option<u64> {
    let got = worker.receive(1, NOW).expect("receive");
    let one = got.first()?;
    worker.ack(&[one.receipt()]).expect("ack");
    Some(one.offset())
}

#[test]
fn p6_messages_received_one_by_one_are_judged_many_at_a_time_and_each_comes_once() {
    let clock = Arc::new(ManualClock::new(1_700_000_000_000_000_000, 1_000_000));
    let (_store, topic) = open_by(&Twin::new(), &clock);
    send(&topic, 400);
    let worker = consumer(&topic);
    let (mut judged, mut last) = (0, std::ptr::null());
    for number in 0..200 {
        assert_eq!(next(&worker), Some(number * 2 + 1));
        let kept = worker.group.sieves.kept(0).expect("a filter was asked");
        judged += u32::from(Arc::as_ptr(&kept) != last);
        last = Arc::as_ptr(&kept);
    }
    assert!(judged < 20, "judged {judged} times");
    assert_eq!(next(&worker), None);
}

#[test]
fn p6_consumers_of_two_processes_are_each_handed_what_the_other_is_not() {
    let (twin, clock) = (
        Twin::new(),
        Arc::new(ManualClock::new(1_700_000_000_000_000_000, 1_000_000)),
    );
    let (_one, topic) = open_by(&twin, &clock);
    send(&topic, 100);
    let (_two, other) = open_by(&twin, &clock);
    let workers = [consumer(&topic), consumer(&other)];
    // What one of them judged is taken by the other, as often as they take turns.
    let mut came = Vec::new();
    for turn in [3, 1, 2, 5].iter().cycle().enumerate() {
        let worker = &workers[turn.0 % 2];
        let some: Vec<u64> = (0..*turn.1).map_while(|_| next(worker)).collect();
        if some.is_empty() {
            break;
        }
        came.extend(some);
    }
    let expected: Vec<u64> = (0..50).map(|number| number * 2 + 1).collect();
    assert_eq!(came, expected);
}
