//! Descriptors through the public surface: readable exactly while a receive may return something.

#![allow(clippy::unwrap_used)]

mod common;

use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{NOW, WAIT, consumer, open, receipts, send_numbers, topic};
use libqueue::{Consumer, ConsumerOptions, ErrorKind, GroupOptions, Ordering, Store};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tempfile::TempDir;

const CHILD: &str = "LIBQUEUE_TEST_DESCRIPTORS_CHILD";
/// Longer than the slowest beat that what follows may wait for.
const LONG: Duration = Duration::from_secs(20);

/// Whether the descriptor becomes readable in this time.
fn readable(consumer: &Consumer, within: Duration) -> bool {
    let fd = consumer.fd().expect("fd");
    let mut polled = [PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN)];
    let bound = Timespec::try_from(within).unwrap();
    poll(&mut polled, Some(&bound)).expect("poll") == 1
}

/// Receives and acknowledges until there is nothing.
fn empty(consumer: &Consumer) -> usize {
    let mut count = 0;
    loop {
        let batch = consumer.receive(100, NOW).expect("receive");
        if batch.is_empty() {
            return count;
        }
        count += batch.len();
        consumer.ack(&receipts(&batch)).expect("ack");
    }
}

#[test]
fn p10_a_descriptor_is_readable_from_a_send_to_the_receive_that_empties() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let topic = topic(&store, 3);
    let worker = consumer(&topic, "g", Ordering::Key, 5);
    assert!(!readable(&worker, Duration::from_millis(120)), "of nothing");
    for round in 0..200 {
        send_numbers(&topic, round * 3..round * 3 + 3);
        assert!(readable(&worker, LONG), "round {round}: slept through it");
        let first = worker.receive(1, NOW).expect("receive");
        assert_eq!(first.len(), 1);
        assert!(readable(&worker, Duration::ZERO), "two are left");
        worker.ack(&receipts(&first)).expect("ack");
        let rest = worker.receive(2, NOW).expect("receive");
        assert_eq!(rest.len(), 2);
        assert!(!readable(&worker, Duration::ZERO), "emptied");
        worker.ack(&receipts(&rest)).expect("ack");
        assert!(!readable(&worker, Duration::ZERO), "an ack gives nothing");
    }
}

#[test]
fn p10_a_descriptor_tells_of_what_falls_due_and_of_what_comes_back() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let topic = topic(&store, 1);
    let worker = consumer(&topic, "g", Ordering::Key, 50);
    let other = consumer(&topic, "g", Ordering::Key, 50);
    let fd = worker.fd().expect("fd");
    let same = worker.fd().unwrap().as_raw_fd() == fd.as_raw_fd();
    assert!(same, "one for each consumer");
    send_numbers(&topic, 0..1);
    let batch = worker.receive(1, WAIT).expect("receive");
    // A delay that ends.
    let wait = Duration::from_millis(300);
    let nacked = Instant::now();
    worker.nack(&receipts(&batch), Some(wait), None).unwrap();
    assert!(!readable(&worker, Duration::from_millis(100)), "delayed");
    assert!(readable(&worker, LONG));
    // Times are in whole milliseconds.
    assert!(nacked.elapsed() + Duration::from_millis(1) >= wait, "early");
    // A lease that ends: the failure comes back after a millisecond.
    let batch = worker.receive(1, NOW).expect("receive");
    worker.extend(&receipts(&batch), wait).unwrap();
    assert!(!readable(&worker, Duration::from_millis(100)), "leased");
    assert!(readable(&worker, LONG), "the lease has ended");
    // What another one takes is not there any more.
    let batch = other.receive(1, NOW).expect("receive");
    assert_eq!(batch.len(), 1);
    let until = Instant::now() + LONG;
    while readable(&worker, Duration::ZERO) {
        assert!(Instant::now() < until, "readable of nothing");
        std::thread::sleep(Duration::from_millis(5));
    }
    other.release(&receipts(&batch)).unwrap();
    assert!(readable(&worker, LONG), "released");
    let batch = other.receive(1, NOW).expect("receive");
    assert_eq!(batch.len(), 1);
    assert_eq!(empty(&worker), 0);
    other.close().unwrap();
    assert!(readable(&worker, LONG), "handed back by a close");
    assert_eq!(empty(&worker), 1);
}

#[test]
fn p11_what_waits_for_an_earlier_message_of_its_key_makes_nothing_readable() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let topic = topic(&store, 1);
    let worker = consumer(&topic, "g", Ordering::Key, 5);
    assert!(!readable(&worker, Duration::ZERO));
    for _ in 0..3 {
        topic
            .send(&libqueue::Message::new(b"x").key(b"k"))
            .expect("send");
    }
    for _ in 0..3 {
        assert!(readable(&worker, LONG));
        let batch = worker.receive(10, NOW).expect("receive");
        assert_eq!(batch.len(), 1);
        assert!(!readable(&worker, Duration::from_millis(60)), "held back");
        worker.ack(&receipts(&batch)).expect("ack");
    }
    assert!(!readable(&worker, Duration::from_millis(60)));
}

#[test]
fn p6_a_full_window_makes_nothing_readable_and_an_ack_makes_room() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let topic = topic(&store, 1);
    let options = ConsumerOptions {
        group: GroupOptions {
            window: Some(256),
            ..GroupOptions::default()
        },
        ..ConsumerOptions::default()
    };
    let worker = topic.consumer("g", &options).expect("consumer");
    send_numbers(&topic, 0..300);
    assert!(readable(&worker, LONG));
    let mut batch = Vec::new();
    while batch.len() < 256 {
        batch.extend(worker.receive(300, NOW).expect("receive"));
    }
    assert!(worker.receive(300, NOW).expect("receive").is_empty());
    assert!(!readable(&worker, Duration::from_millis(120)), "no room");
    let other = topic.consumer("g", &options).expect("consumer");
    other.ack(&receipts(&batch[..1])).expect("ack");
    assert!(readable(&worker, LONG), "there is room for one");
    assert_eq!(worker.receive(300, NOW).expect("receive").len(), 1);
    assert!(!readable(&worker, Duration::from_millis(120)), "no room");
}

#[test]
fn p9_a_closed_consumers_descriptor_is_readable() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let topic = topic(&store, 1);
    let worker = consumer(&topic, "g", Ordering::Key, 5);
    let fd = worker.fd().expect("fd").try_clone_to_owned().unwrap();
    worker.close().expect("close");
    let mut polled = [PollFd::new(&fd, PollFlags::IN)];
    let none = Timespec::try_from(Duration::ZERO).unwrap();
    assert_eq!(poll(&mut polled, Some(&none)).unwrap(), 1, "who waits sees");
    assert_eq!(worker.fd().unwrap_err().kind(), ErrorKind::Closed);
    drop((worker, topic));
    store.close().expect("close");
}

/// How often the thread for descriptors of this process went to sleep, if there is one.
fn naps() -> Option<u64> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let mut folders = tasks.map(|task| task.unwrap().path());
    let comm = |folder: &Path| std::fs::read_to_string(folder.join("comm")).unwrap_or_default();
    let folder = folders.find(|folder| comm(folder).trim() == "libqueue-fd")?;
    let status = std::fs::read_to_string(folder.join("status")).unwrap();
    let line = status.lines().find(|l| l.starts_with("voluntary_ctxt"));
    line?.split_whitespace().last()?.parse().ok()
}

/// In a process of its own, where no other test has threads.
fn one_thread_that_sleeps(store: Store) {
    let topic = topic(&store, 1);
    assert_eq!(naps(), None, "no thread before there is a descriptor");
    let workers: Vec<Consumer> = (0..100)
        .map(|n| consumer(&topic, &format!("g{}", n % 20), Ordering::Key, 5))
        .collect();
    for worker in &workers {
        assert!(!readable(worker, Duration::ZERO));
    }
    std::thread::sleep(Duration::from_millis(100));
    let before = naps().expect("one thread");
    std::thread::sleep(Duration::from_secs(3));
    let idle = naps().expect("one thread") - before;
    assert!(idle < 10, "woke {idle} times in 3 seconds of nothing");
    drop((workers, topic));
    store.close().expect("close");
    assert_eq!(naps(), None, "it ends with the store");
}

/// What another process does with the store; not a test of its own.
#[test]
fn child() {
    let Ok(job) = std::env::var(CHILD) else {
        return;
    };
    let (what, folder) = job.split_once(' ').unwrap();
    let store: Store = open(Path::new(folder));
    if what == "sleep" {
        return one_thread_that_sleeps(store);
    }
    let topic = topic(&store, 1);
    if what == "send" {
        send_numbers(&topic, 0..1);
        return;
    }
    let worker = consumer(&topic, "g", Ordering::Key, 5);
    let batch = worker.receive(1, WAIT).unwrap();
    assert_eq!(batch.len(), 1);
    println!("got it");
    std::thread::sleep(Duration::from_secs(600));
}

fn spawn(what: &str, folder: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["child", "--exact", "--nocapture"])
        .env(CHILD, format!("{what} {}", folder.display()))
        .stdout(Stdio::piped())
        .spawn()
        .expect("spawn")
}

#[test]
fn p10_one_thread_serves_all_descriptors_and_sleeps_while_nothing_happens() {
    let folder = TempDir::new().unwrap();
    assert!(spawn("sleep", folder.path()).wait().unwrap().success());
}

#[test]
fn p10_p17_a_descriptor_tells_of_other_processes_sends_and_deaths() {
    use std::io::{BufRead, BufReader};
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let topic = topic(&store, 1);
    let worker = consumer(&topic, "g", Ordering::Key, 5);
    let others: Vec<Consumer> = (0..3)
        .map(|n| consumer(&topic, &format!("g{n}"), Ordering::Key, 5))
        .collect();
    for other in &others {
        assert!(!readable(other, Duration::ZERO));
    }
    assert!(!readable(&worker, Duration::ZERO));
    assert!(spawn("send", folder.path()).wait().unwrap().success());
    for each in others.iter().chain([&worker]) {
        assert!(
            readable(each, LONG),
            "one thread, {} groups",
            others.len() + 1
        );
    }
    let mut child = spawn("take", folder.path());
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    while !lines
        .next()
        .expect("it says so")
        .unwrap()
        .contains("got it")
    {}
    let until = Instant::now() + LONG;
    while readable(&worker, Duration::ZERO) {
        assert!(Instant::now() < until, "another process has taken it");
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(readable(&worker, LONG), "its lease comes back");
    assert_eq!(empty(&worker), 1);
}

#[test]
fn p10_many_senders_and_receivers_lose_no_wake_up() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let topic = topic(&store, 2);
    let workers: Vec<Consumer> = (0..3)
        .map(|_| consumer(&topic, "g", Ordering::None, 5))
        .collect();
    for worker in &workers {
        worker.fd().unwrap();
    }
    let (total, got) = (6_000, std::sync::atomic::AtomicUsize::new(0));
    let relaxed = std::sync::atomic::Ordering::SeqCst;
    std::thread::scope(|scope| {
        for worker in &workers {
            let got = &got;
            scope.spawn(move || {
                let until = Instant::now() + Duration::from_secs(100);
                while got.load(relaxed) < total {
                    assert!(Instant::now() < until, "got {} only", got.load(relaxed));
                    if readable(worker, Duration::from_millis(500)) {
                        let batch = worker.receive(7, NOW).expect("receive");
                        worker.ack(&receipts(&batch)).expect("ack");
                        got.fetch_add(batch.len(), relaxed);
                    }
                }
            });
        }
        for part in 0..2 {
            let topic = &topic;
            scope.spawn(move || {
                for number in 0..total as u64 / 2 {
                    send_numbers(topic, part * 10_000 + number..part * 10_000 + number + 1);
                    if number % 7 == 0 {
                        std::thread::sleep(Duration::from_micros(150));
                    }
                }
            });
        }
    });
    assert_eq!(got.into_inner(), total);
}
