//! What a message says of its delivery: when it is due, when it is too late, how urgent it is; and
//! groups that hand a partition out in order.

use super::*;
use crate::clock::ManualClock;
use crate::options::{GroupOptions, OnExpired, Ordering, TopicOptions};
use crate::storage::Twin;
use crate::store::{Consumer, ConsumerOptions, Message, ReceiveOptions, Topic};

const NOW: Option<Duration> = Some(Duration::ZERO);
const BEGIN_NS: i64 = 1_700_000_000_000_000_000;
const BOOT_MS: u64 = 1_000_000;
const SECOND: Duration = Duration::from_secs(1);

/// A store whose clocks the test sets.
struct Scene {
    twin: Twin,
    clock: Arc<ManualClock>,
    store: Store,
    topic: Topic,
}

impl Scene {
    fn new() -> Self {
        Self::on(Twin::new(), BOOT_MS, BEGIN_NS)
    }

    fn on(twin: Twin, boot_ms: u64, wall_ns: i64) -> Self {
        let clock = Arc::new(ManualClock::new(wall_ns, boot_ms));
        let (store, topic) = open_by(&twin, &clock);
        Self {
            twin,
            clock,
            store,
            topic,
        }
    }

    fn group(&self, group: GroupOptions) -> Consumer {
        let with = ConsumerOptions {
            group,
            ..ConsumerOptions::default()
        };
        self.topic.consumer("g", &with).expect("consumer")
    }

    fn plain(&self) -> Consumer {
        self.group(GroupOptions {
            lease: Some(SECOND * 7200),
            ..GroupOptions::default()
        })
    }

    fn send(&self, message: &Message<'_>) -> u64 {
        self.topic.send(message).expect("send").offset
    }

    fn advance(&self, time: Duration) {
        self.clock.advance_ms(time.as_millis() as u64);
    }
}

fn offsets(consumer: &Consumer, most: usize) -> Vec<u64> {
    let batch = consumer.receive(most, NOW).expect("receive");
    batch.iter().map(|one| one.offset()).collect()
}

fn ack_all(consumer: &Consumer, most: usize) -> Vec<u64> {
    let batch = consumer.receive(most, NOW).expect("receive");
    let receipts: Vec<_> = batch.iter().map(|one| one.receipt()).collect();
    consumer.ack(&receipts).expect("ack");
    batch.iter().map(|one| one.offset()).collect()
}

#[test]
fn p6_p11_a_delayed_message_joins_its_key_when_it_falls_due_and_others_flow_past() {
    let scene = Scene::new();
    let consumer = scene.plain();
    scene.send(&Message::new(b"0").key(b"k").delay(SECOND * 60));
    scene.send(&Message::new(b"1").key(b"k"));
    scene.send(&Message::new(b"2").key(b"k"));
    scene.send(&Message::new(b"3"));
    let batch = consumer.receive(9, NOW).expect("receive");
    let receipts: Vec<_> = batch.iter().map(|one| one.receipt()).collect();
    assert_eq!(batch.len(), 2, "1 and 3");
    let stats = scene.topic.group("g").expect("group").stats();
    assert_eq!(stats.expect("stats").delayed, 1);
    scene.advance(SECOND * 60 - Duration::from_millis(1));
    assert_eq!(offsets(&consumer, 9), [0; 0]);
    scene.advance(Duration::from_millis(1));
    assert_eq!(
        offsets(&consumer, 9),
        [0; 0],
        "behind 1, which is out, and 2"
    );
    consumer.ack(&receipts).expect("ack");
    assert_eq!(ack_all(&consumer, 9), [2]);
    assert_eq!(ack_all(&consumer, 9), [0]);
}

/// Also behind messages that nothing keeps back, in a segment where the consumer was before.
#[test]
fn p6_a_message_waits_or_is_too_late_among_others_that_go_at_once() {
    let scene = Scene::new();
    let consumer = scene.plain();
    scene.send(&Message::new(b"0"));
    assert_eq!(ack_all(&consumer, 9), [0]);
    scene.send(&Message::new(b"1"));
    scene.send(&Message::new(b"2").delay(SECOND));
    scene.send(&Message::new(b"3"));
    scene.send(&Message::new(b"4").ttl(SECOND));
    scene.send(&Message::new(b"5"));
    assert_eq!(ack_all(&consumer, 2), [1, 3]);
    scene.advance(SECOND);
    assert_eq!(ack_all(&consumer, 9), [2, 5]);
    let stats = scene.topic.group("g").expect("group").stats();
    assert_eq!(stats.expect("stats").expired, 1);
}

#[test]
fn p6_a_time_of_delivery_has_no_upper_limit_and_follows_the_wall_clock() {
    let scene = Scene::new();
    let consumer = scene.plain();
    let year = 31_557_600_000_000_000_i64;
    scene.send(&Message::new(b"0").deliver_at_ns(BEGIN_NS + 150 * year));
    scene.send(&Message::new(b"1").deliver_at_ns(i64::MAX));
    scene.send(&Message::new(b"2").delay(Duration::MAX));
    scene.send(&Message::new(b"3").deliver_at_ns(BEGIN_NS - year));
    scene.send(&Message::new(b"4").deliver_at_ns(i64::MIN));
    assert_eq!(ack_all(&consumer, 9), [3, 4]);
    scene.advance(SECOND * 86_400 * 365);
    assert_eq!(offsets(&consumer, 9), [0; 0]);
    scene.clock.set_wall_ns(BEGIN_NS + 150 * year);
    assert_eq!(ack_all(&consumer, 9), [0]);
    // Set back: nothing that is handed out is taken back, and the rest waits on.
    scene.clock.set_wall_ns(BEGIN_NS);
    scene.advance(SECOND * 86_400 * 365);
    assert_eq!(offsets(&consumer, 9), [0; 0]);
}

#[test]
fn p6_a_delay_outlives_everyone_and_a_new_start_of_the_host() {
    let scene = Scene::new();
    drop(scene.plain());
    scene.send(&Message::new(b"0").delay(SECOND * 3600).priority(7));
    scene.send(&Message::new(b"1"));
    let consumer = scene.plain();
    assert_eq!(ack_all(&consumer, 9), [1]);
    scene.store.sync().expect("sync");
    for lost in [false, true] {
        let image = match lost {
            false => scene.twin.all_die(),
            true => scene.twin.power_loss(4),
        };
        // The host's clock goes on, the boot clock begins anew.
        let boot_ms = if lost { 500 } else { BOOT_MS };
        let later = Scene::on(image.expect("image"), boot_ms, BEGIN_NS + 1_800_000_000_000);
        let consumer = later.plain();
        assert!(!offsets(&consumer, 9).contains(&0), "lost {lost}: early");
        later.advance(SECOND * 1801);
        assert!(offsets(&consumer, 9).contains(&0), "lost {lost}: late");
    }
}

#[test]
fn p6_what_nobody_was_handed_in_time_is_counted_and_settled_or_a_dead_letter() {
    for on_expired in [OnExpired::Drop, OnExpired::DeadLetter] {
        let scene = Scene::new();
        let consumer = scene.group(GroupOptions {
            on_expired: Some(on_expired),
            lease: Some(SECOND * 7200),
            ..GroupOptions::default()
        });
        // One expires unseen, one behind another of its key, one while it waits for its time.
        scene.send(&Message::new(b"0").ttl(SECOND * 5));
        scene.send(&Message::new(b"1").key(b"k"));
        scene.send(&Message::new(b"2").key(b"k").ttl(SECOND * 20));
        scene.send(&Message::new(b"3").delay(SECOND * 30).ttl(SECOND * 29));
        scene.send(&Message::new(b"4").ttl(SECOND * 3600));
        scene.advance(SECOND * 5);
        let batch = consumer.receive(9, NOW).expect("receive");
        assert_eq!(batch.len(), 2);
        scene.advance(SECOND * 16);
        consumer.ack(&[batch[0].receipt()]).expect("ack");
        scene.advance(SECOND * 8);
        assert_eq!(offsets(&consumer, 9), [0; 0]);
        scene.advance(SECOND);
        consumer.ack(&[batch[1].receipt()]).expect("ack");
        let group = scene.topic.group("g").expect("group");
        scene.advance(SECOND * 2);
        assert_eq!(offsets(&consumer, 9), [0; 0]);
        let stats = group.stats().expect("stats");
        assert_eq!((stats.expired, stats.lag_messages), (3, 0), "{stats:?}");
        let letters = group.dead_letters(9).expect("letters");
        let dead: Vec<u64> = letters.iter().map(|one| one.source_offset).collect();
        match on_expired {
            OnExpired::Drop => assert_eq!(dead, [0; 0]),
            OnExpired::DeadLetter => {
                assert_eq!(dead, [0, 2, 3]);
                assert!(letters[0].error.contains("expired"), "{letters:?}");
            }
        }
    }
}

#[test]
fn p11_the_most_urgent_of_a_backlog_comes_first_but_for_the_order_within_a_key() {
    let scene = Scene::new();
    let consumer = scene.plain();
    let low = [Message::new(b"low"); 100];
    for _ in 0..50 {
        scene.topic.send_many(&low).expect("send");
    }
    let urgent = scene.send(&Message::new(b"urgent").priority(9));
    let key = scene.send(&Message::new(b"a").key(b"k").priority(1));
    scene.send(&Message::new(b"b").key(b"k").priority(9));
    let middle = scene.send(&Message::new(b"middle").priority(5));
    assert_eq!(offsets(&consumer, 1), [urgent]);
    assert_eq!(offsets(&consumer, 2), [middle, key], "its second waits");
    assert_eq!(offsets(&consumer, 3), [0, 1, 2]);
    let later = scene.send(&Message::new(b"later").priority(2));
    assert_eq!(offsets(&consumer, 2), [later, 3]);
}

#[test]
fn p6_p11_the_most_urgent_of_all_partitions_comes_first_however_many_are_asked_for() {
    let bytes = |max_bytes| ReceiveOptions {
        max_messages: 7,
        max_bytes,
        timeout: NOW,
        ..ReceiveOptions::default()
    };
    let one = ReceiveOptions {
        timeout: NOW,
        ..ReceiveOptions::default()
    };
    for ask in [one, bytes(None), bytes(Some(3))] {
        let scene = Scene::new();
        let options = TopicOptions {
            partitions: Some(4),
            ..TopicOptions::default()
        };
        let topic = scene.store.topic("four", &options).expect("topic");
        let consumer = topic.consumer("g", &ConsumerOptions::default());
        let consumer = consumer.expect("consumer");
        let send = |number: u32| {
            let priority = (number * 7 % 10) as u8;
            let message = Message::new(b"x").partition(number % 4).priority(priority);
            topic.send(&message).expect("send");
        };
        (0..40).for_each(send);
        let mut urgencies = Vec::new();
        for turn in 0..80 {
            let batch = consumer.receive_with(&ask).expect("receive");
            let receipts: Vec<_> = batch.iter().map(|one| one.receipt()).collect();
            let priority =
                |one: &crate::Delivery| (one.offset() * 4 + u64::from(one.partition())) * 7;
            urgencies.extend(batch.iter().map(|one| priority(one) % 10));
            match turn {
                // One that comes back goes before what is less urgent.
                3 if batch.len() == 1 => consumer.release(&receipts).expect("release"),
                _ => consumer.ack(&receipts).expect("ack"),
            }
        }
        assert!(urgencies.len() >= 40, "{urgencies:?}");
        assert!(
            urgencies.is_sorted_by(|a, b| a >= b),
            "{ask:?}: {urgencies:?}"
        );
        let group = topic.group("g").expect("group");
        assert_eq!(group.stats().expect("stats").lag_messages, 0);
    }
}

#[test]
fn p11_a_group_ordered_by_partition_hands_out_one_at_a_time() {
    let scene = Scene::new();
    let consumer = scene.group(GroupOptions {
        ordering: Some(Ordering::Partition),
        ..GroupOptions::default()
    });
    for key in [&b"a"[..], b"b", b"c"] {
        scene.send(&Message::new(b"x").key(key));
    }
    let first = consumer.receive(9, NOW).expect("receive");
    assert_eq!(first.len(), 1);
    assert_eq!(offsets(&consumer, 9), [0; 0]);
    let delay = Some(SECOND * 5);
    let receipts = [first[0].receipt()];
    consumer.nack(&receipts, delay, None).expect("nack");
    assert_eq!(offsets(&consumer, 9), [0; 0], "a retry holds the rest");
    scene.advance(SECOND * 5);
    for offset in 0..3 {
        assert_eq!(ack_all(&consumer, 9), [offset]);
    }
}

#[test]
fn times_and_priorities_that_cannot_be_are_refused_and_nothing_is_sent() {
    let scene = Scene::new();
    let (good, bad) = (Message::new(b"good"), Message::new(b"bad"));
    let both = bad.delay(SECOND).deliver_at_ns(BEGIN_NS);
    for (bad, expected) in [(bad.priority(10), "0 to 9"), (both, "one of them")] {
        let error = scene.topic.send(&bad).expect_err("bad");
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.message().contains(expected), "{error}");
        scene.topic.send_many(&[good, bad]).expect_err("bad");
    }
    assert_eq!(scene.topic.stats().expect("stats").messages, 0);
}

#[test]
fn p6_p11_late_messages_and_their_letters_hide_none_that_wait_behind_them_from_one_receive() {
    for on_expired in [OnExpired::Drop, OnExpired::DeadLetter] {
        let scene = Scene::new();
        let options = GroupOptions {
            ordering: Some(Ordering::Partition),
            on_expired: Some(on_expired),
            ..GroupOptions::default()
        };
        let worker = scene.group(options.clone());
        let first = scene.send(&Message::new(b"first"));
        for _ in 0..5 {
            scene.send(&Message {
                ttl: Some(SECOND),
                ..Message::new(b"late")
            });
        }
        let last = scene.send(&Message::new(b"last"));
        let got = worker.receive(1, NOW).expect("receive");
        assert_eq!(got[0].offset(), first);
        // All of them wait for the first by now.
        assert!(offsets(&worker, 10).is_empty());
        worker.ack(&[got[0].receipt()]).expect("ack");
        worker.close().expect("close");
        let (twin, clock) = (scene.twin.clone(), scene.clock.clone());
        drop((got, worker, scene.topic));
        scene.store.close().expect("close");
        // In a new life the window's end is to be found again, and nothing is behind it.
        let wall = crate::clock::Clock::wall_ns(&*clock) + 2_000_000_000;
        let scene = Scene::on(twin, BOOT_MS + 2_000, wall);
        let worker = scene.group(options);
        assert_eq!(offsets(&worker, 1), [last], "{on_expired:?}");
    }
}
