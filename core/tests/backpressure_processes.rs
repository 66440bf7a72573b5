//! No limit of a topic is passed by processes that send, wait and are killed while others settle
//! (P14, P17).

#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use common::{NOW, WAIT, consumer, open, receipts};
use libqueue::{ErrorKind, Message, OnFull, Ordering, Topic, TopicOptions};
use tempfile::TempDir;

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(50);
const ROLE: &str = "LIBQUEUE_TEST_SENDER";

fn limits(messages: u64, on_full: OnFull) -> TopicOptions {
    TopicOptions {
        max_messages: Some(messages),
        on_full: Some(on_full),
        ..TopicOptions::default()
    }
}

fn send(topic: &Topic, payload: &[u8]) -> libqueue::Result<libqueue::MessageId> {
    topic.send(&Message::new(payload))
}

fn fill(topic: &Topic, count: u64) {
    for number in 0..count {
        send(topic, format!("{number}").as_bytes()).expect("room");
    }
}

fn take(worker: &libqueue::Consumer, most: usize) -> Vec<libqueue::Receipt> {
    receipts(&worker.receive(most, WAIT).expect("receive"))
}

fn worker(topic: &Topic, group: &str) -> libqueue::Consumer {
    consumer(topic, group, Ordering::None, 3)
}

/// Sends until it is told to stop; what `the_sender` runs in another process.
fn send_all(folder: &Path) {
    let store = open(folder);
    let topic = store.open_topic("orders").unwrap();
    let mut number = 0_u64;
    loop {
        let count = number % 5;
        let big = vec![1; if number.is_multiple_of(7) { 40_000 } else { 10 }];
        let batch: Vec<Message<'_>> = (0..=count)
            .map(|n| Message {
                partition: Some((n % 2) as u32),
                ..Message::new(&big)
            })
            .collect();
        let sent = match number % 2 {
            0 => topic.send_many(&batch),
            _ => topic.send(&batch[0]).map(|id| vec![id]),
        };
        match sent {
            Err(error) if error.kind() == ErrorKind::Full => std::thread::yield_now(),
            other => drop(other.expect("send")),
        }
        number += 1;
    }
}

#[test]
fn the_sender() {
    if let Some(folder) = std::env::var_os(ROLE) {
        send_all(Path::new(&folder));
    }
}

struct Sender(Child);

impl Sender {
    fn start(folder: &Path) -> Self {
        let sender = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "the_sender", "--nocapture"])
            .env(ROLE, folder)
            .spawn();
        Self(sender.unwrap())
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Counts by itself: what the log has, less what this consumer, which is alone, has settled.
fn never_over(on_full: OnFull) {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let most = 20;
    let options = TopicOptions {
        partitions: Some(2),
        ..limits(most, on_full)
    };
    let topic = store.topic("orders", &options).unwrap();
    let worker = worker(&topic, "g");
    let mut senders: Vec<Sender> = (0..3).map(|_| Sender::start(folder.path())).collect();
    let mut settled = 0;
    let sent = |topic: &Topic| {
        let partitions = topic.stats().unwrap().partitions;
        partitions.iter().map(|one| one.next_offset).sum::<u64>()
    };
    let until = Instant::now() + Duration::from_secs(4);
    let (mut round, mut had) = (0, Vec::new());
    while Instant::now() < until {
        let now = sent(&topic);
        // Offsets that a killed sender's batch took, and that became padding, are fewer.
        assert!(now <= settled + most, "{now} sent, {settled} settled");
        had.extend(
            worker
                .receive(7, Some(SHORT))
                .unwrap()
                .iter()
                .map(|d| d.receipt()),
        );
        if round % 3 != 0 {
            settled += had.len() as u64;
            worker.ack(&std::mem::take(&mut had)).unwrap();
        }
        round += 1;
        if round % 40 == 0 {
            let victim = (round / 40) % senders.len();
            senders[victim] = Sender::start(folder.path());
        }
        // What is padding is settled as well once nobody sends: told by the stats.
        settled = settled.max(now - now.min(lag(&topic)));
    }
    drop(senders);
    // Whatever died inside: the topic goes on.
    let topic_options = TopicOptions {
        send_timeout: Some(LONG),
        ..TopicOptions::default()
    };
    topic.configure(&topic_options).unwrap();
    worker.ack(&had).unwrap();
    for _ in 0..60 {
        while send(&topic, b"after").is_err() {
            let had = take(&worker, 100);
            worker.ack(&had).unwrap();
        }
        worker.ack(&take(&worker, 100)).unwrap();
    }
    loop {
        let had = receipts(&worker.receive(100, NOW).unwrap());
        if had.is_empty() {
            break;
        }
        worker.ack(&had).unwrap();
    }
    assert_eq!(topic.pressure().unwrap(), 0.0);
    fill(&topic, most);
}

fn lag(topic: &Topic) -> u64 {
    let stats = topic.group("g").unwrap().stats().unwrap();
    stats.lag_messages
}

#[test]
fn p14_p17_no_limit_is_passed_by_processes_that_send_and_are_killed_while_others_settle() {
    never_over(OnFull::Reject);
}

#[test]
fn p14_p17_no_limit_is_passed_by_processes_that_wait_and_are_killed() {
    never_over(OnFull::Block);
}
