//! Statistics while processes send, receive and are killed: what they say fits what is there (P19).

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use common::killed::{self, open, options};
use common::{NOW, WAIT};
use libqueue::{ErrorKind, Message, ReaderOptions, Topic, TopicStats};
use tempfile::TempDir;

/// As long as a worker waits that is to say something now and then.
const SOON: Option<Duration> = Some(Duration::from_millis(20));

/// Not a test by itself: what the other processes of the tests here do, until they are killed.
#[test]
fn the_other_process() {
    let Some(task) = killed::task() else {
        return;
    };
    let (task, folder) = task.split_once(':').unwrap();
    let (_store, topic) = open(Path::new(folder));
    let mut out = std::io::stdout().lock();
    if task == "send" {
        for number in 0_usize.. {
            // Now and then one that is copied outside the lock, and many at once.
            let length = if number % 31 == 3 {
                40_000
            } else {
                number % 200
            };
            let payload = vec![b'x'; length];
            let batch = vec![Message::new(&payload); 1 + number % 4];
            topic.send_many(&batch).unwrap();
            writeln!(out, "did {number}").unwrap();
        }
    }
    let consumer = topic.consumer("g", &options()).unwrap();
    for number in 0_usize.. {
        for (place, one) in consumer.receive(7, SOON).unwrap().iter().enumerate() {
            let receipt = [one.receipt()];
            match place % 3 {
                0 | 1 => consumer.ack(&receipt).unwrap(),
                _ => consumer.nack(&receipt, NOW, None).unwrap(),
            }
        }
        writeln!(out, "did {number}").unwrap();
    }
}

/// Another process, killed when this is dropped.
struct Other(Child);

impl Other {
    fn start(task: &str, folder: &Path) -> Self {
        Self(killed::start(&format!("{task}:{}", folder.display())))
    }

    /// Lets it do so many things, and kills it.
    fn kill_after(mut self, things: usize) {
        let mut lines = BufReader::new(self.0.stdout.take().unwrap()).lines();
        for number in 0..things {
            let mut said = lines.by_ref().map(|line| line.expect("a line"));
            let found = said.any(|line| line.contains("did "));
            assert!(
                found,
                "ended after {number} of {things}: {:?}",
                self.0.wait()
            );
        }
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Messages that a reader finds, and bytes of their payloads. Where retention overtakes it the next
/// one begins where the log begins then.
fn readable(topic: &Topic) -> (u64, u64) {
    loop {
        match read_all(topic) {
            Err(error) if error.kind() == ErrorKind::Removed => {}
            read => return read.unwrap(),
        }
    }
}

fn read_all(topic: &Topic) -> libqueue::Result<(u64, u64)> {
    let mut reader = topic.reader(&ReaderOptions::default())?;
    let (mut messages, mut bytes) = (0, 0);
    loop {
        let found = reader.receive(1000, NOW)?;
        if found.is_empty() {
            return Ok((messages, bytes));
        }
        messages += found.len() as u64;
        bytes += found
            .iter()
            .map(|one| one.payload().len() as u64)
            .sum::<u64>();
    }
}

#[test]
fn p1_p6_p19_after_kills_the_statistics_fit_what_is_there() {
    let folder = TempDir::new().unwrap();
    let (_store, topic) = open(folder.path());
    let consumer = topic.consumer("g", &options()).unwrap();
    let group = topic.group("g").unwrap();
    let mut kills = 0;
    for round in 0..6 {
        let children =
            ["send", "receive", "send", "receive"].map(|task| Other::start(task, folder.path()));
        for (turn, child) in children.into_iter().enumerate() {
            child.kill_after(20 + round * 7 + turn * 11);
            kills += 1;
        }
        // Whoever comes next repairs: here, who looks.
        let before = Instant::now();
        while group.stats().unwrap().leased > 0 {
            assert!(
                before.elapsed() < Duration::from_secs(20),
                "leases of the dead"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        // What one of the dead was copying is padding once somebody has looked after it.
        let left = |stats: &TopicStats| {
            (
                stats.sent - stats.removed_messages,
                stats.sent_bytes - stats.removed_bytes,
            )
        };
        let (stats, messages, bytes) = loop {
            let (messages, bytes) = readable(&topic);
            let stats = topic.stats().unwrap();
            if left(&stats).0 == messages {
                break (stats, messages, bytes);
            }
            assert!(
                before.elapsed() < Duration::from_secs(20),
                "{messages} of {stats:?}"
            );
            std::thread::sleep(Duration::from_millis(5));
        };
        let stored = left(&stats).1;
        assert!(stored >= bytes + 48 * messages, "round {round}: {stats:?}");
        assert!(stored < bytes + 56 * messages, "round {round}: {stats:?}");
        let told = group.stats().unwrap();
        let open = told.ready + told.delayed + told.held;
        assert!(open <= told.lag_messages, "round {round}: {told:?}");
        // A death may leave what one call had under way counted or not.
        let done = stats.sent - told.lag_messages;
        assert!(
            told.acked.abs_diff(done) <= kills,
            "round {round}: {done} of {told:?}"
        );
        let handed = told.delivered - told.redelivered;
        assert!(handed + kills >= done, "round {round}: {told:?}");
    }
    // What is said to be left is what comes.
    let told = group.stats().unwrap();
    let (mut left, mut bytes) = (BTreeSet::new(), 0);
    while (left.len() as u64) < told.lag_messages {
        let batch = consumer.receive(100, WAIT).unwrap();
        assert!(!batch.is_empty(), "{} of {told:?}", left.len());
        for one in &batch {
            let id = one.id();
            assert!(left.insert((id.partition, id.offset)), "twice");
            bytes += (one.payload().len() as u64 + 48).next_multiple_of(8);
            consumer.ack(&[one.receipt()]).unwrap();
        }
    }
    assert_eq!(bytes, told.lag_bytes);
    let told = group.stats().unwrap();
    assert_eq!((told.lag_messages, told.lag_bytes, told.leased), (0, 0, 0));
    assert_eq!(told.lag_seconds, 0.0);
    assert!(consumer.receive(1, NOW).unwrap().is_empty());
}

#[test]
fn p17_p19_whoever_is_stopped_wherever_he_is_keeps_nobody_from_looking() {
    let folder = TempDir::new().unwrap();
    let (_store, topic) = open(folder.path());
    let group = topic.create_group("g", &options().group).unwrap();
    let signal = |other: &Other, what: &str| {
        let id = other.0.id().to_string();
        assert!(
            Command::new("kill")
                .args([what, &id])
                .status()
                .unwrap()
                .success()
        );
    };
    let mut others = ["send", "receive"].map(|task| Other::start(task, folder.path()));
    // They are at work.
    for other in &mut others {
        let mut lines = BufReader::new(other.0.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.is_ok_and(|line| line.starts_with("did "))));
        // Nobody reads it any more: it must not fill.
        std::thread::spawn(move || lines.map_while(Result::ok).count());
    }
    for turn in 0..100 {
        let other = &others[turn % 2];
        signal(other, "-STOP");
        let before = (topic.stats().unwrap(), group.stats().unwrap());
        assert!(before.0.sent > 0 && before.1.consumers == 1);
        signal(other, "-CONT");
    }
}
