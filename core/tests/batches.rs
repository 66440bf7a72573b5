//! What a receive asks for, and how consumers end: batches, leases, draining.

#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use common::{NOW, consumer, open, receipts, send_numbers, topic};
use libqueue::{
    Backoff, Consumer, ConsumerOptions, Delivery, ErrorKind, GroupOptions, Message, Ordering,
    ReceiveOptions, Topic,
};
use tempfile::TempDir;

const CHILD: &str = "LIBQUEUE_TEST_BATCHES_CHILD";
const MS: fn(u64) -> Duration = Duration::from_millis;

fn ask(max: usize) -> ReceiveOptions {
    ReceiveOptions {
        max_messages: max,
        timeout: NOW,
        ..ReceiveOptions::default()
    }
}

fn offsets(batch: &[Delivery]) -> Vec<u64> {
    batch.iter().map(|delivery| delivery.offset()).collect()
}

/// A consumer of a group with this lease and this bound.
fn worker(topic: &Topic, lease: u64, max_lease: Option<u64>, options: ConsumerOptions) -> Consumer {
    let quick = Backoff {
        first: MS(1),
        longest: MS(1),
        factor: 1.0,
    };
    let group = GroupOptions {
        lease: Some(MS(lease)),
        max_lease: max_lease.map(MS),
        backoff: Some(quick),
        ..GroupOptions::default()
    };
    topic
        .consumer("g", &ConsumerOptions { group, ..options })
        .expect("consumer")
}

#[test]
fn p6_a_batch_has_at_most_so_many_bytes_and_what_did_not_fit_was_never_handed_out() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let topic = topic(&store, 1);
    for size in [100, 100, 100, 5000, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10] {
        topic.send(&Message::new(&vec![b'x'; size])).unwrap();
    }
    let worker = consumer(&topic, "g", Ordering::Key, 5);
    let limited = |bytes| ReceiveOptions {
        max_bytes: Some(bytes),
        ..ask(1000)
    };
    let mut all = Vec::new();
    for (bytes, expected) in [
        (250, vec![0, 1]),
        (300, vec![2]),
        (300, vec![3]), // the first one whatever its size
        (35, vec![4, 5, 6]),
        (1, vec![7]),
        (1 << 40, vec![8, 9, 10, 11, 12, 13]),
    ] {
        let batch = worker.receive_with(&limited(bytes)).expect("receive");
        assert_eq!(offsets(&batch), expected, "{bytes} bytes");
        assert!(batch.iter().all(|delivery| delivery.attempt() == 1));
        all.extend(batch);
    }
    let stats = topic.group("g").unwrap().stats().unwrap();
    assert_eq!((stats.delivered, stats.redelivered), (14, 0));
    worker.ack(&receipts(&all)).expect("ack");
    // Of what was in other hands before.
    for _ in 0..40 {
        topic.send(&Message::new(&[b'y'; 50])).unwrap();
    }
    let batch = worker.receive(40, NOW).expect("receive");
    worker.release(&receipts(&batch)).expect("release");
    for _ in 0..20 {
        let batch = worker.receive_with(&limited(100)).expect("receive");
        assert_eq!(batch.len(), 2);
        assert!(batch.iter().all(|delivery| delivery.attempt() == 2));
        worker.ack(&receipts(&batch)).expect("ack");
    }
    assert_eq!(topic.group("g").unwrap().stats().unwrap().lag_messages, 0);
}

#[test]
fn p9_a_batch_waits_for_its_least_and_its_leases_begin_when_it_is_handed_out() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let topic = topic(&store, 2);
    let worker = worker(&topic, 200, None, ConsumerOptions::default());
    let waiting = |least, timeout| ReceiveOptions {
        min_messages: least,
        timeout: Some(MS(timeout)),
        ..ask(10)
    };
    send_numbers(&topic, 0..3);
    let began = Instant::now();
    let batch = worker.receive_with(&waiting(4, 700)).expect("receive");
    assert_eq!(batch.len(), 3, "what there is after the timeout");
    assert!(began.elapsed() >= MS(700));
    assert!(
        batch.iter().all(|delivery| delivery.attempt() == 1),
        "waiting for others costs no lease, though it took several"
    );
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let left = batch[0].deadline_ns() - now.unwrap().as_nanos() as i64;
    assert!(left > 50_000_000, "{left} ns of the lease are left");
    worker.ack(&receipts(&batch)).expect("none is stale");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 3..9 {
                send_numbers(&topic, number..number + 1);
                std::thread::sleep(MS(30));
            }
        });
        let batch = worker.receive_with(&waiting(4, 60_000)).expect("receive");
        assert!(batch.len() >= 4, "got {}", batch.len());
        worker.ack(&receipts(&batch)).expect("ack");
    });
    assert_eq!(topic.group("g").unwrap().stats().unwrap().failed, 0);
    let wrong = |options: ReceiveOptions| worker.receive_with(&options).unwrap_err();
    let no_timeout = ReceiveOptions {
        timeout: None,
        ..waiting(2, 0)
    };
    for options in [waiting(11, 0), waiting(0, 0), no_timeout] {
        assert_eq!(wrong(options).kind(), ErrorKind::InvalidArgument);
    }
}

#[test]
fn p10_what_a_receive_gathered_and_did_not_return_was_never_handed_out() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let topic = topic(&store, 1);
    let worker = consumer(&topic, "g", Ordering::Key, 5);
    send_numbers(&topic, 0..3);
    let options = ReceiveOptions {
        min_messages: 5,
        timeout: Some(Duration::from_secs(60)),
        ..ask(10)
    };
    let mut receiving = worker.receiving(&options).expect("receiving");
    assert!(
        worker
            .gather(&mut receiving, NOW)
            .expect("gather")
            .is_none()
    );
    let leased = || topic.group("g").unwrap().stats().unwrap().leased;
    assert_eq!(leased(), 3);
    drop(receiving);
    assert_eq!(leased(), 0);
    let batch = worker.receive(10, NOW).expect("receive");
    assert_eq!(offsets(&batch), [0, 1, 2]);
    assert!(batch.iter().all(|delivery| delivery.attempt() == 1));
}

/// What another process does with the store; not a test of its own.
#[test]
fn child() {
    let Ok(folder) = std::env::var(CHILD) else {
        return;
    };
    let store = open(Path::new(&folder));
    let topic = topic(&store, 1);
    let worker = consumer(&topic, "g", Ordering::Key, 1);
    let options = ReceiveOptions {
        min_messages: 5,
        timeout: Some(Duration::from_secs(600)),
        ..ask(10)
    };
    worker.receive_with(&options).expect("is killed before");
}

#[test]
fn p10_a_death_while_a_batch_is_gathered_is_no_failure_of_its_messages() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let topic = topic(&store, 1);
    // One failure and they would be dead letters.
    let worker = consumer(&topic, "g", Ordering::Key, 1);
    send_numbers(&topic, 0..3);
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["child", "--exact", "--nocapture"])
        .env(CHILD, folder.path())
        .stdout(Stdio::null())
        .spawn()
        .expect("spawn");
    let until = Instant::now() + Duration::from_secs(60);
    while topic.group("g").unwrap().stats().unwrap().leased < 3 {
        assert!(Instant::now() < until, "it takes them");
        std::thread::sleep(MS(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let mut all = Vec::new();
    while all.len() < 3 {
        all.extend(worker.receive(10, common::WAIT).expect("receive"));
    }
    worker.ack(&receipts(&all)).expect("ack");
    let stats = topic.group("g").unwrap().stats().unwrap();
    assert_eq!((stats.failed, stats.dead_lettered), (0, 0));
}

#[test]
fn p9_a_lease_is_the_receives_else_the_consumers_else_the_groups() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let topic = topic(&store, 1);
    let plain = worker(&topic, 60_000, Some(600_000), ConsumerOptions::default());
    let own = ConsumerOptions {
        lease: Some(MS(5_000)),
        ..ConsumerOptions::default()
    };
    let own = worker(&topic, 60_000, Some(600_000), own);
    send_numbers(&topic, 0..3);
    let left = |batch: Vec<Delivery>| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let left = batch[0].deadline_ns() - now.unwrap().as_nanos() as i64;
        left.unsigned_abs().div_ceil(1_000_000_000)
    };
    let short = ReceiveOptions {
        lease: Some(MS(2_000)),
        ..ask(1)
    };
    assert_eq!(left(plain.receive(1, NOW).unwrap()), 60);
    assert_eq!(left(own.receive(1, NOW).unwrap()), 5);
    assert_eq!(left(own.receive_with(&short).unwrap()), 2);
    let long = ReceiveOptions {
        lease: Some(MS(600_001)),
        ..ask(1)
    };
    let error = own.receive_with(&long).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.message().contains("max_lease"), "{error}");
}

#[test]
fn p9_no_lease_is_extended_beyond_the_groups_max_lease() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let topic = topic(&store, 1);
    let one = worker(&topic, 5_000, Some(20_000), ConsumerOptions::default());
    let other = worker(&topic, 5_000, Some(20_000), ConsumerOptions::default());
    send_numbers(&topic, 0..3);
    let batch = one.receive(3, NOW).unwrap();
    let all = receipts(&batch);
    one.extend(&all, MS(15_000)).expect("within the bound");
    assert!(batch[0].deadline_ns() > 0);
    let error = one.extend(&all, MS(20_100)).expect_err("beyond");
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert_eq!(error.refused_places(), &[0, 1, 2]);
    assert!(error.message().contains("at most 19.") || error.message().contains("at most 20s"));
    one.ack(&all[1..2]).unwrap();
    let error = one.extend(&all, MS(30_000)).expect_err("beyond, and stale");
    assert_eq!(error.kind(), ErrorKind::StaleReceipt);
    assert_eq!(error.stale_places(), &[1]);
    assert_eq!(error.refused_places(), &[0, 2]);
    // Nobody else knows since when it is out.
    let error = other.extend(&all[..1], MS(10)).expect_err("another's");
    assert_eq!(error.refused_places(), &[0]);
    assert!(error.message().contains("did not receive"), "{error}");
    one.ack(&[all[0], all[2]]).expect("they are still its own");
    let stored = topic.group("g").unwrap().config().max_lease;
    assert_eq!(stored, Some(MS(20_000)));
    let group = GroupOptions {
        max_lease: Some(MS(10)),
        ..GroupOptions::default()
    };
    let small = topic.create_group("small", &group).map(|_| ()).unwrap_err();
    assert!(small.message().contains("at least the lease"), "{small}");
}

#[test]
fn p9_started_deliveries_are_extended_up_to_the_max_lease_and_others_are_not() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let topic = topic(&store, 1);
    let extending = ConsumerOptions {
        auto_extend: true,
        ..ConsumerOptions::default()
    };
    let one = worker(&topic, 400, Some(2_500), extending);
    let other = worker(&topic, 400, Some(2_500), ConsumerOptions::default());
    send_numbers(&topic, 0..3);
    let began = Instant::now();
    let mut batch = one.receive(3, NOW).unwrap();
    assert_eq!(batch.len(), 3);
    batch[0].start();
    batch[1].start();
    let deadline = batch[0].deadline_ns();
    drop(batch.remove(1)); // nobody works on it any more
    let mut lost = Vec::new();
    while began.elapsed() < MS(1_500) {
        let found = other.receive(3, Some(MS(50))).unwrap();
        other.ack(&receipts(&found)).unwrap();
        lost.extend(offsets(&found));
    }
    lost.sort_unstable();
    assert_eq!(lost, [1, 2], "the ones that nobody works on");
    assert!(batch[0].deadline_ns() > deadline, "it can be seen");
    let found = other.receive(3, Some(Duration::from_secs(20))).unwrap();
    assert_eq!(offsets(&found), [0], "not for ever");
    assert!(began.elapsed() >= MS(2_500));
    let stale = one.ack(&[batch[0].receipt()]).unwrap_err();
    assert_eq!(stale.kind(), ErrorKind::StaleReceipt);
}

/// Any consumer of the group may settle what one received. Who extends by himself does not know of
/// it, and does not take the message back.
#[test]
fn p6_p9_what_somebody_handed_back_or_failed_is_not_extended_by_who_had_it() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let topic = topic(&store, 1);
    let extending = ConsumerOptions {
        auto_extend: true,
        ..ConsumerOptions::default()
    };
    let one = worker(&topic, 400, None, extending);
    let other = worker(&topic, 400, None, ConsumerOptions::default());
    send_numbers(&topic, 0..1);
    let held = one.receive(1, NOW).unwrap();
    held[0].start();
    // It comes back after the time at which its lease would have been extended.
    let later = Some(MS(500));
    other.nack(&receipts(&held), later, None).unwrap();
    let again = other.receive(1, Some(Duration::from_secs(10))).unwrap();
    assert_eq!(again.len(), 1, "it is leased to who works on it no more");
    assert_eq!(again[0].attempt(), 2);
    let stale = one.ack(&receipts(&held)).unwrap_err();
    assert_eq!(stale.kind(), ErrorKind::StaleReceipt);
    other.ack(&receipts(&again)).unwrap();
}

/// A drain that finds nothing out, while another thread is between its look at the consumer and its
/// look at the messages.
#[test]
fn p10_what_drained_is_handed_nothing_by_a_call_that_was_under_way() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let topic = topic(&store, 1);
    send_numbers(&topic, 0..1);
    for _ in 0..600 {
        let worker = consumer(&topic, "g", Ordering::Key, 5);
        let (drained, ready) = (AtomicBool::new(false), AtomicBool::new(false));
        let late = std::thread::scope(|scope| {
            let receives = scope.spawn(|| {
                loop {
                    ready.store(true, SeqCst);
                    // Before the call: one that returns a message began when this was false.
                    let late = drained.load(SeqCst);
                    match worker.receive(1, NOW) {
                        Ok(batch) if batch.is_empty() => {}
                        Ok(batch) => {
                            // Still there where the drain had found nothing out.
                            let lost = drained.load(SeqCst);
                            worker.release(&receipts(&batch)).unwrap();
                            if late || lost {
                                return true;
                            }
                        }
                        Err(_) => return false,
                    }
                }
            });
            while !ready.load(SeqCst) {
                std::hint::spin_loop();
            }
            if worker.drain(NOW).is_ok() {
                drained.store(true, SeqCst);
            }
            receives.join().unwrap()
        });
        assert!(!late, "it was drained, and is handed a message");
        worker.close().unwrap();
    }
}

#[test]
fn p10_a_consumer_that_drains_takes_nothing_and_waits_for_what_it_has_out() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let topic = topic(&store, 2);
    let worker = consumer(&topic, "g", Ordering::Key, 5);
    send_numbers(&topic, 0..4);
    let batch = worker.receive(4, NOW).unwrap();
    assert_eq!(batch.len(), 4);
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| worker.receive(1, None).map(|_| ()).unwrap_err());
        std::thread::sleep(MS(50));
        let late = worker.drain(Some(MS(20))).unwrap_err();
        assert_eq!(late.kind(), ErrorKind::Timeout);
        assert!(late.message().contains("4 messages"), "{late}");
        assert_eq!(waits.join().unwrap().kind(), ErrorKind::Closed);
        send_numbers(&topic, 4..5);
        assert_eq!(
            worker.receive(1, NOW).unwrap_err().kind(),
            ErrorKind::Closed
        );
        assert!(worker.is_draining() && !worker.is_closed());
        let handler = scope.spawn(|| {
            for delivery in &batch {
                std::thread::sleep(MS(30));
                worker
                    .ack(&[delivery.receipt()])
                    .expect("it is not handed back");
            }
        });
        worker.drain(None).expect("drained");
        assert_eq!(topic.group("g").unwrap().stats().unwrap().acked, 4);
        handler.join().unwrap();
    });
    worker.close().unwrap();
    assert_eq!(worker.drain(None).unwrap_err().kind(), ErrorKind::Closed);
    let next = consumer(&topic, "g", Ordering::Key, 5);
    assert_eq!(next.receive(9, NOW).unwrap().len(), 1);
}
