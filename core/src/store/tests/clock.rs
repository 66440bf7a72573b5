//! The wall clock set forwards and backwards while messages are sent, leased and delayed: leases
//! and delays follow the boot clock, timestamps never fall, and nothing waits for a time that is
//! gone.

use super::*;
use std::sync::atomic::Ordering;

use crate::clock::{Clock, ManualClock};
use crate::format::control::group_partition;
use crate::options::{Backoff, DeliveryMode, GroupOptions, ReaderOptions, Start};
use crate::storage::Twin;
use crate::store::{Consumer, ConsumerOptions, Group, Message, ReceiveOptions, Topic};

const NOW: Option<Duration> = Some(Duration::ZERO);
const HOUR_NS: i64 = 3_600_000_000_000;
const BEGIN_NS: i64 = 1_700_000_000_000_000_000;
/// To where the wall clock is set: hours away, before the epoch, to the ends of what it can say.
const WALLS: [i64; 7] = [
    BEGIN_NS + 5 * HOUR_NS,
    BEGIN_NS - 5 * HOUR_NS,
    BEGIN_NS + 100_000 * HOUR_NS,
    0,
    -HOUR_NS,
    i64::MAX,
    i64::MIN,
];
const LEASE_MS: u64 = 30_000;
const DELAY_MS: u64 = 60_000;

/// A store whose clocks the test sets.
struct Timed {
    clock: Arc<ManualClock>,
    _store: Store,
    topic: Topic,
    consumer: Consumer,
    group: Group,
}

impl Timed {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::new(BEGIN_NS, 1_000_000));
        let (store, topic) = open_by(&Twin::new(), &clock);
        let delay = Backoff {
            first: Duration::from_millis(DELAY_MS),
            longest: Duration::from_millis(DELAY_MS),
            factor: 1.0,
        };
        let group = GroupOptions {
            lease: Some(Duration::from_millis(LEASE_MS)),
            backoff: Some(delay),
            max_attempts: Some(2),
            ..GroupOptions::default()
        };
        let with = ConsumerOptions {
            group,
            ..ConsumerOptions::default()
        };
        let consumer = topic.consumer("g", &with).expect("consumer");
        let group = topic.group("g").expect("group");
        Self {
            clock,
            _store: store,
            topic,
            consumer,
            group,
        }
    }

    fn send(&self) -> u64 {
        self.topic.send(&Message::new(b"x")).expect("send").offset
    }

    /// Offsets and attempts of what is handed out now.
    fn receive(&self) -> Vec<(u64, u32)> {
        let batch = self.consumer.receive(9, NOW).expect("receive");
        batch
            .iter()
            .map(|one| (one.offset(), one.attempt()))
            .collect()
    }

    /// What is counted makes sense at every time.
    fn looks_sane(&self) {
        let stats = self.group.stats().expect("stats");
        let lag = stats.lag_seconds;
        assert!(lag >= 0.0 && lag.is_finite(), "{lag}");
        assert!(stats.lag_messages > 0 || lag == 0.0);
        let open = stats.leased + stats.delayed + stats.held + stats.ready;
        assert!(open <= stats.lag_messages, "{stats:?}");
    }
}

#[test]
fn p9_a_lease_ends_by_the_boot_clock_whatever_the_wall_clock_says() {
    for wall in WALLS {
        let timed = Timed::new();
        let offset = timed.send();
        assert_eq!(timed.receive(), [(offset, 1)]);
        timed.clock.set_wall_ns(wall);
        assert_eq!(timed.receive(), [], "no lease ends by a jump to {wall}");
        timed.looks_sane();
        timed.clock.advance_ms(LEASE_MS - 1);
        assert_eq!(timed.receive(), [], "wall {wall}");
        timed.clock.advance_ms(1);
        // It failed, and comes back after the delay.
        assert_eq!(timed.receive(), [], "wall {wall}");
        timed.looks_sane();
        timed.clock.set_wall_ns(BEGIN_NS);
        timed.clock.advance_ms(DELAY_MS);
        assert_eq!(timed.receive(), [(offset, 2)], "wall {wall}");
        let stats = timed.group.stats().expect("stats");
        assert_eq!((stats.timed_out, stats.failed), (1, 1));
    }
}

#[test]
fn p6_p9_a_delayed_retry_and_an_extension_wait_for_the_boot_clock() {
    for wall in WALLS {
        let timed = Timed::new();
        let (first, second) = (timed.send(), timed.send());
        let batch = timed.consumer.receive(2, NOW).expect("receive");
        let receipts: Vec<_> = batch.iter().map(|one| one.receipt()).collect();
        timed.clock.set_wall_ns(wall);
        let delay = Some(Duration::from_millis(DELAY_MS));
        let long = Duration::from_millis(2 * DELAY_MS);
        timed
            .consumer
            .nack(&receipts[..1], delay, None)
            .expect("nack");
        timed.consumer.extend(&receipts[1..], long).expect("extend");
        timed.clock.set_wall_ns(BEGIN_NS);
        timed.clock.advance_ms(DELAY_MS - 1);
        assert_eq!(timed.receive(), [], "wall {wall}");
        timed.clock.advance_ms(1);
        assert_eq!(timed.receive(), [(first, 2)], "wall {wall}");
        // Late, but nobody else has it: still good.
        timed.clock.advance_ms(DELAY_MS - 1);
        timed.consumer.ack(&receipts[1..]).expect("ack");
        let stats = timed.group.stats().expect("stats");
        assert_eq!((stats.acked, second), (1, 1), "wall {wall}");
    }
}

#[test]
fn p12_a_message_that_fails_at_odd_times_becomes_a_dead_letter_that_can_be_read() {
    for wall in WALLS {
        let timed = Timed::new();
        let offset = timed.send();
        for _ in 0..2 {
            let batch = timed.consumer.receive(1, NOW).expect("receive");
            timed.clock.set_wall_ns(wall);
            let now = Some(Duration::ZERO);
            let receipts = [batch[0].receipt()];
            timed
                .consumer
                .nack(&receipts, now, Some("no"))
                .expect("nack");
        }
        assert_eq!(timed.receive(), [], "wall {wall}");
        let dead = timed.group.dead_letters(9).expect("dead letters");
        assert_eq!(dead.len(), 1, "wall {wall}");
        assert_eq!((dead[0].source_offset, dead[0].attempts), (offset, 2));
        timed.looks_sane();
    }
}

#[test]
fn p11_timestamps_never_fall_and_a_start_in_time_finds_its_place() {
    for wall in WALLS {
        let timed = Timed::new();
        let mut sent = Vec::new();
        for step in 0..9 {
            // Sent before, during and after the jump.
            let now = if (3..6).contains(&step) {
                wall
            } else {
                BEGIN_NS + step * HOUR_NS
            };
            timed.clock.set_wall_ns(now);
            sent.push(timed.send());
            timed.looks_sane();
        }
        let mut reader = timed
            .topic
            .reader(&ReaderOptions::default())
            .expect("reader");
        let read = reader.receive(99, NOW).expect("receive");
        let times: Vec<i64> = read.iter().map(|one| one.timestamp_ns()).collect();
        assert_eq!(times.len(), sent.len());
        assert!(times.is_sorted(), "{times:?}");
        for wanted in times.iter().copied().chain([i64::MIN, 0, wall, i64::MAX]) {
            reader.seek(Start::Time(wanted)).expect("seek");
            let found = reader.receive(99, NOW).expect("receive");
            let expected = times.iter().filter(|time| **time >= wanted).count();
            assert_eq!(found.len(), expected, "from {wanted}, wall {wall}");
        }
        let all: Vec<u64> = timed.receive().into_iter().map(|(at, _)| at).collect();
        assert_eq!(all, sent, "wall {wall}");
    }
}

#[test]
fn p17_a_store_that_is_closed_and_opened_at_odd_times_goes_on() {
    let twin = Twin::new();
    let clock = Arc::new(ManualClock::new(BEGIN_NS, 1_000_000));
    let mut last = i64::MIN;
    for (round, wall) in WALLS.into_iter().enumerate() {
        clock.set_wall_ns(wall);
        let (store, topic) = open_by(&twin, &clock);
        topic.send(&Message::new(b"x")).expect("send");
        let consumer = topic.consumer("g", &Default::default()).expect("consumer");
        let batch = consumer.receive(9, NOW).expect("receive");
        let offsets: Vec<u64> = batch.iter().map(|one| one.offset()).collect();
        assert_eq!(offsets, [round as u64], "wall {wall}");
        assert!(batch[0].timestamp_ns() >= last, "wall {wall}");
        last = batch[0].timestamp_ns();
        consumer.ack(&[batch[0].receipt()]).expect("ack");
        assert_eq!(clock.wall_ns(), wall);
        drop((batch, consumer, topic));
        store.close().expect("close");
    }
}

/// Sees the waiters' bit of the lock of the first window, in a bounded time.
fn wait_for_a_waiter(group: &Group) {
    let lock = group.inner.block.partitions[0].word32(group_partition::LOCK);
    let until = Instant::now() + BOUND;
    while lock.load(Ordering::SeqCst) >> 31 == 0 {
        assert!(Instant::now() < until, "nobody waits for the window");
        std::thread::yield_now();
    }
}

#[test]
fn p9_p11_a_receive_that_waited_for_the_lock_goes_by_the_time_when_it_got_it() {
    let timed = Timed::new();
    // The window is in use, so that a receive waits for its lock and for nothing before.
    assert_eq!(timed.receive(), []);
    let message = Message {
        deliver_at_ns: Some(BEGIN_NS + 2_000_000_000),
        ..Message::new(b"x")
    };
    let due = timed.topic.send(&message).expect("send").offset;
    assert_eq!(timed.receive(), [], "it is not due");
    std::thread::scope(|scope| {
        let receiving = timed
            .group
            .inner
            .with_window(0, |_| {
                let receiving = scope.spawn(|| timed.consumer.receive(9, NOW).expect("receive"));
                wait_for_a_waiter(&timed.group);
                timed.clock.advance_ms(5_000);
                receiving
            })
            .expect("lock");
        let batch = receiving.join().expect("receive");
        let found: Vec<_> = batch
            .iter()
            .map(|one| (one.offset(), one.deadline_ns()))
            .collect();
        let ends = BEGIN_NS + (5_000 + LEASE_MS as i64) * 1_000_000;
        assert_eq!(found, [(due, ends)], "due meanwhile, leased from now on");
    });
}

/// Gathers a message, is as if stopped until its lease is over, takes it again, and gets the
/// others.
fn gather_again(timed: &Timed, consumer: &Consumer, others: Option<&Consumer>) -> Vec<u64> {
    let wanted = ReceiveOptions {
        max_messages: 9,
        min_messages: 3,
        timeout: Some(BOUND),
        ..ReceiveOptions::default()
    };
    let mut receiving = consumer.receiving(&wanted).expect("begin");
    timed.send();
    let found = consumer.gather(&mut receiving, NOW).expect("goes on");
    assert!(found.is_none(), "{found:?}");
    timed.clock.advance_ms(LEASE_MS);
    // Somebody else ends the lease, is handed it at once, and gives it back.
    if let Some(other) = others {
        let got = other.receive(9, NOW).expect("receive");
        assert_eq!(got.len(), 1);
        assert_eq!(timed.group.stats().expect("stats").failed, 0);
        other.release(&[got[0].receipt()]).expect("release");
    }
    timed.clock.advance_ms(DELAY_MS);
    timed.send();
    timed.send();
    let batch = consumer.gather(&mut receiving, NOW).expect("ends");
    let mut offsets: Vec<u64> = batch
        .expect("a batch")
        .iter()
        .map(|one| one.offset())
        .collect();
    offsets.sort_unstable();
    offsets
}

#[test]
fn p7_p9_what_lost_its_lease_while_it_was_gathered_is_in_the_batch_once() {
    let timed = Timed::new();
    let other = timed.topic.consumer("g", &Default::default());
    let other = other.expect("another consumer");
    assert_eq!(
        gather_again(&timed, &timed.consumer, Some(&other)),
        [0, 1, 2]
    );
    let timed = Timed::new();
    let with = ConsumerOptions {
        group: GroupOptions {
            delivery: Some(DeliveryMode::AtMostOnce),
            ..GroupOptions::default()
        },
        ..ConsumerOptions::default()
    };
    let once = timed.topic.consumer("once", &with).expect("consumer");
    assert_eq!(gather_again(&timed, &once, None), [0, 1, 2]);
}
