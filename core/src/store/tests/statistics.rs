//! Statistics: exact against a model, cheap whatever the backlog, and without a lock (P19).

use std::collections::BTreeMap;

use rustix::process::Signal;

use super::*;
use crate::format::record::{HEADER, padded};
use crate::log::LOOKS;
use crate::storage::Choices;
use crate::{ConsumerOptions, Delivery, GroupOptions, Message, TopicOptions};

const NOW: Option<Duration> = Some(Duration::ZERO);

fn looks() -> u64 {
    LOOKS.with(std::cell::Cell::get)
}

fn bytes_of(payload: usize) -> u64 {
    padded((HEADER + payload) as u64)
}

#[test]
fn p17_p19_statistics_are_told_beside_one_who_is_stopped_in_every_lock() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("q");
    let mut stopped = Actor::start("in-all-locks", &path);
    assert_eq!(stopped.hear(), "held");
    stopped.signal(Signal::STOP);
    let store = Store::open(&path, options()).expect("open");
    let topic = store.open_topic("t").expect("topic");
    for _ in 0..2 {
        let stats = topic.stats().expect("of the topic");
        assert_eq!((stats.sent, stats.messages), (10, 10));
        assert_eq!(stats.sent_bytes, 10 * bytes_of(1));
        let group = topic.group("g").expect("group");
        let stats = group.stats().expect("of the group");
        assert_eq!((stats.lag_messages, stats.leased), (9, 3));
        assert_eq!(stats.lag_bytes, 9 * bytes_of(1));
        assert_eq!((stats.delivered, stats.acked, stats.consumers), (4, 1, 1));
        assert!(stats.lag_seconds > 0.0);
    }
    stopped.signal(Signal::CONT);
    // One who dies in them is another matter: the look repairs what he left.
    stopped.kill();
    let group = topic.group("g").expect("group");
    until("its leases are back", || {
        let stats = group.stats().expect("of the group");
        (stats.leased, stats.lag_messages, stats.consumers) == (0, 9, 0)
    });
}

#[test]
fn p19_a_backlog_costs_a_look_at_a_few_messages_whatever_it_is() {
    let folder = tempfile::tempdir().expect("folder");
    let store = Store::open(folder.path().join("q"), options()).expect("open");
    let some = TopicOptions {
        partitions: Some(1),
        ..TopicOptions::default()
    };
    let topic = store.topic("t", &some).expect("topic");
    let consumer = topic
        .consumer("g", &ConsumerOptions::default())
        .expect("consumer");
    let never = topic
        .create_group("never", &GroupOptions::default())
        .expect("group");
    let batch = vec![Message::new(b"0123456789"); 1000];
    let count = 300;
    for _ in 0..count {
        topic.send_many(&batch).expect("send");
    }
    let group = topic.group("g").expect("group");
    let all = count * 1000;
    let cost = |what: &str, most: u64, lag: u64| {
        let before = looks();
        let stats = group.stats().expect("stats");
        assert_eq!(stats.lag_messages, lag, "{what}");
        assert_eq!(stats.lag_bytes, lag * bytes_of(10), "{what}");
        let cost = looks() - before;
        assert!(cost < most, "{what}: {cost} records looked at");
    };
    cost("nothing received", 20, all);
    // All of what was fetched is open; then some in the middle are not.
    let mut held: Vec<Delivery> = Vec::new();
    while held.len() < 20_000 {
        held.extend(consumer.receive(5_000, NOW).expect("receive"));
    }
    cost("all of them open", 20, all);
    let receipts: Vec<_> = held
        .iter()
        .skip(1)
        .step_by(2)
        .map(Delivery::receipt)
        .collect();
    consumer.ack(&receipts).expect("ack");
    cost("half of them open", 20, all - receipts.len() as u64);
    let before = looks();
    let stats = never.stats().expect("stats");
    assert_eq!((stats.lag_messages, stats.delivered), (all, 0));
    let stats = topic.stats().expect("stats");
    assert_eq!((stats.sent, stats.messages), (all, all));
    assert!(stats.segments > 3, "{}", stats.segments);
    assert!(looks() - before < 40, "{} looked at", looks() - before);
    let last = held.len() as f64 / 65_536.0;
    let used = group.stats().expect("stats").window_used;
    assert!((used - last).abs() < 0.1, "{used}");
}

/// What a message is at in the model.
#[derive(Clone, Copy, Debug, PartialEq)]
enum At {
    Fresh,
    Out,
    Back,
    Done,
}

#[derive(Default)]
struct Model {
    messages: BTreeMap<u64, (At, u64)>,
    delivered: u64,
    redelivered: u64,
    acked: u64,
    failed: u64,
    dead: u64,
    failures: BTreeMap<u64, u32>,
}

impl Model {
    fn compare(&self, topic: &Topic, what: &str) {
        let group = topic.group("g").expect("group");
        let (stats, of_topic) = (group.stats().expect("stats"), topic.stats().expect("stats"));
        let open = || self.messages.values().filter(|one| one.0 != At::Done);
        let at = |wanted: At| open().filter(|one| one.0 == wanted).count() as u64;
        assert_eq!(
            stats.lag_messages,
            open().count() as u64,
            "{what}: {stats:?}"
        );
        let bytes: u64 = open().map(|one| one.1).sum();
        assert_eq!(stats.lag_bytes, bytes, "{what}: {stats:?}");
        assert_eq!(stats.leased, at(At::Out), "{what}: {stats:?}");
        assert_eq!(
            stats.ready + stats.delayed,
            at(At::Back),
            "{what}: {stats:?}"
        );
        let counted = (stats.delivered, stats.redelivered, stats.acked);
        let expected = (self.delivered, self.redelivered, self.acked);
        assert_eq!(counted, expected, "{what}: {stats:?}");
        let counted = (stats.failed, stats.dead_lettered);
        assert_eq!(counted, (self.failed, self.dead), "{what}: {stats:?}");
        assert_eq!(of_topic.sent, self.messages.len() as u64, "{what}");
        let sent: u64 = self.messages.values().map(|one| one.1).sum();
        assert_eq!(of_topic.sent_bytes, sent, "{what}");
    }
}

#[test]
fn p6_p12_p19_random_histories_are_told_exactly() {
    for seed in 0..6 {
        let mut chance = Choices::seeded(seed);
        let (twin, clock) = (Twin::new(), Arc::new(ManualClock::new(1_000_000_000, 0)));
        let (store, topic) = open_by(&twin, &clock);
        let options = ConsumerOptions {
            group: GroupOptions {
                max_attempts: Some(2),
                ..GroupOptions::default()
            },
            ..ConsumerOptions::default()
        };
        let consumer = topic.consumer("g", &options).expect("consumer");
        let (mut model, mut held) = (Model::default(), Vec::<Delivery>::new());
        for step in 0..250 {
            let what = format!("seed {seed} step {step}");
            match chance.pick(6) {
                0 | 1 => {
                    let payload = vec![7; chance.pick(3_000)];
                    let id = topic.send(&Message::new(&payload)).expect("send");
                    let known = (At::Fresh, bytes_of(payload.len()));
                    model.messages.insert(id.offset, known);
                }
                2 => {
                    for one in consumer.receive(1 + chance.pick(4), NOW).expect("receive") {
                        let offset = one.id().offset;
                        let known = model.messages.get_mut(&offset).expect("sent");
                        model.redelivered += u64::from(known.0 == At::Back);
                        known.0 = At::Out;
                        model.delivered += 1;
                        held.push(one);
                    }
                }
                _ if held.is_empty() => {}
                kind => {
                    let one = held.swap_remove(chance.pick(held.len()));
                    let offset = one.id().offset;
                    let receipt = [one.receipt()];
                    let known = model.messages.get_mut(&offset).expect("sent");
                    match kind {
                        3 => {
                            consumer.ack(&receipt).expect("ack");
                            model.acked += 1;
                            known.0 = At::Done;
                        }
                        4 => {
                            consumer.release(&receipt).expect("release");
                            known.0 = At::Back;
                        }
                        _ => {
                            consumer.nack(&receipt, NOW, None).expect("nack");
                            model.failed += 1;
                            let failures = model.failures.entry(offset).or_default();
                            *failures += 1;
                            known.0 = At::Back;
                            if *failures == 2 {
                                known.0 = At::Done;
                                model.dead += 1;
                            }
                        }
                    }
                }
            }
            model.compare(&topic, &what);
        }
        drop((held, consumer, topic));
        store.close().expect("close");
    }
}

#[test]
fn p19_who_waits_is_counted_while_he_does_and_lives() {
    let folder = tempfile::tempdir().expect("folder");
    let store = Store::open(folder.path().join("q"), options()).expect("open");
    let limited = TopicOptions {
        max_messages: Some(1),
        on_full: Some(crate::OnFull::Block),
        ..TopicOptions::default()
    };
    let topic = store.topic("t", &limited).expect("topic");
    let consumer = topic
        .consumer("g", &ConsumerOptions::default())
        .expect("consumer");
    let group = topic.group("g").expect("group");
    let receivers = || group.stats().expect("stats").waiting_receivers;
    let senders = || topic.stats().expect("stats").waiting_senders;
    assert_eq!((receivers(), senders()), (0, 0));
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| consumer.receive(1, Some(BOUND)).expect("receive"));
        until("he waits", || receivers() == 1);
        topic.send(&Message::new(b"one")).expect("send");
        let one = waits.join().expect("received");
        assert_eq!((one.len(), receivers()), (1, 0));
        let sends = [(); 3].map(|()| scope.spawn(|| topic.send(&Message::new(b"more"))));
        until("they wait", || senders() == 3);
        let mut left = 4;
        consumer.ack(&[one[0].receipt()]).expect("ack");
        left -= 1;
        while left > 0 {
            for one in consumer.receive(1, Some(BOUND)).expect("receive") {
                consumer.ack(&[one.receipt()]).expect("ack");
                left -= 1;
            }
        }
        for sent in sends {
            sent.join().expect("thread").expect("sent");
        }
    });
    assert_eq!((receivers(), senders()), (0, 0));
}

#[test]
fn p19_sleeping_for_a_lock_and_syncing_are_counted_with_their_time() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("q");
    let store = Store::open(&path, options()).expect("open");
    let topic = store.topic("t", &Default::default()).expect("topic");
    let consumer = topic
        .consumer("g", &ConsumerOptions::default())
        .expect("consumer");
    topic.send(&Message::new(b"one")).expect("send");
    let before = topic.stats().expect("stats");
    topic.sync().expect("sync");
    topic.send(&Message::new(b"two")).expect("send");
    topic.sync().expect("sync");
    let after = topic.stats().expect("stats");
    assert_eq!(after.syncs - before.syncs, 2);
    assert!(after.sync_seconds > before.sync_seconds);
    assert!(after.sync_longest_seconds > 0.0);
    assert!(after.sync_longest_seconds <= after.sync_seconds);
    // Another member has the locks for a while.
    let other = enter(&path).expect("open");
    let words = [
        topic.inner.block.partitions[0].clone(),
        consumer.group.block.partitions[0].clone(),
    ];
    let group = topic.group("g").expect("group");
    let waits = || {
        let (one, two) = (topic.stats().expect("stats"), group.stats().expect("stats"));
        (one.lock_waits, two.lock_waits)
    };
    assert_eq!(waits(), (0, 0));
    std::thread::scope(|scope| {
        let held = words
            .each_ref()
            .map(|words| crate::shm::OwnerLock::try_hold(words.word32(0), other.env.me));
        let sends = scope.spawn(|| topic.send(&Message::new(b"three")).expect("send"));
        let takes = scope.spawn(|| consumer.receive(1, NOW).expect("receive"));
        // The waiters' bit says that they sleep.
        let order = std::sync::atomic::Ordering::SeqCst;
        let slept = |words: &crate::shm::Region| words.word32(0).load(order) >> 31 == 1;
        until("they sleep", || words.iter().all(slept));
        drop(held);
        sends.join().expect("sent");
        takes.join().expect("received");
    });
    let (of_topic, of_group) = (topic.stats().expect("stats"), group.stats().expect("stats"));
    assert!(of_topic.lock_waits >= 1 && of_topic.lock_wait_seconds > 0.0);
    assert!(of_group.lock_waits >= 1 && of_group.lock_wait_seconds > 0.0);
}
