//! Real processes, killed at any moment (P1, P6, P10, P17).

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use common::NOW;
use common::killed::{self, open, options, start};
use libqueue::{Delivery, Message, ReaderOptions};
use tempfile::TempDir;

fn child(task: &str, name: &str, folder: &Path) -> Child {
    start(&format!("{task}:{name}:{}", folder.display()))
}

/// Not a test by itself: what the other processes of the tests here do.
#[test]
fn the_other_process() {
    let Some(task) = killed::task() else {
        return;
    };
    let mut parts = task.splitn(3, ':');
    let (task, name) = (parts.next().unwrap(), parts.next().unwrap().to_owned());
    let (_store, topic) = open(Path::new(parts.next().unwrap()));
    let mut out = std::io::stdout().lock();
    writeln!(out, "\nready").unwrap();
    match task {
        // Says each message once its send has returned.
        "send" => {
            for number in 0_u64.. {
                // Now and then one that is copied outside the lock.
                let rest = if number % 7 == 3 { 100_000 } else { 0 };
                let payload = format!("{name} {number} {}", "x".repeat(rest));
                let message = Message::new(payload.as_bytes()).key(name.as_bytes());
                if number % 3 == 0 {
                    topic.send_many(&[message]).unwrap();
                } else {
                    topic.send(&message).unwrap();
                }
                writeln!(out, "did {number}").unwrap();
            }
        }
        // Says each message before its acknowledgement.
        _ => {
            let consumer = topic.consumer("g", &options()).unwrap();
            loop {
                let batch = consumer.receive(5, Some(Duration::from_secs(1))).unwrap();
                if batch.is_empty() {
                    return;
                }
                for delivery in batch {
                    let text = String::from_utf8_lossy(delivery.payload()).into_owned();
                    writeln!(out, "did {text}").unwrap();
                    consumer.ack(&[delivery.receipt()]).unwrap();
                }
            }
        }
    }
}

/// Lets the process do so many things, kills it, and gives what it said it had done.
fn killed_after(mut child: Child, things: usize) -> Vec<String> {
    let mut lines = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok)
        .filter_map(|line| line.strip_prefix("did ").map(str::to_owned));
    let mut said: Vec<String> = lines.by_ref().take(things).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    // What it had said and was still in the pipe.
    said.extend(lines);
    said
}

fn split(text: &str) -> (String, u64) {
    let mut parts = text.split(' ');
    let (name, number) = (parts.next().unwrap(), parts.next().unwrap());
    (name.to_owned(), number.parse().unwrap())
}

#[test]
fn p1_p17_what_killed_senders_said_is_there_in_order_and_the_living_go_on() {
    let folder = TempDir::new().unwrap();
    let (_store, topic) = open(folder.path());
    let mut said: BTreeMap<String, usize> = BTreeMap::new();
    for round in 0..12 {
        let names = [format!("a{round}"), format!("b{round}")];
        let children = names
            .clone()
            .map(|name| child("send", &name, folder.path()));
        for (turn, (name, child)) in names.into_iter().zip(children).enumerate() {
            let done = killed_after(child, 50 + round * 37 + turn * 501);
            said.insert(name, done.len());
        }
        // The locks of the dead are taken over.
        topic.send(&Message::new(b"me 0").key(b"me")).unwrap();
    }
    let mut found: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    let mut reader = topic.reader(&ReaderOptions::default()).unwrap();
    loop {
        let batch = reader.receive(1000, NOW).unwrap();
        if batch.is_empty() {
            break;
        }
        for message in batch {
            let (name, number) = split(std::str::from_utf8(message.payload()).unwrap());
            assert_eq!(message.key(), Some(name.as_bytes()));
            found.entry(name).or_default().push(number);
        }
    }
    assert_eq!(found.remove("me").map(|all| all.len()), Some(12));
    for (name, count) in said {
        let numbers = &found[&name];
        let whole: Vec<u64> = (0..numbers.len() as u64).collect();
        assert_eq!(
            numbers, &whole,
            "{name}: none lost, doubled or out of order"
        );
        // At most one send had not returned yet.
        assert!(
            (count..=count + 1).contains(&numbers.len()),
            "{name}: said {count}, found {}",
            numbers.len()
        );
    }
}

#[test]
fn p6_p10_killed_consumers_lose_nothing_and_keep_the_order_of_a_key() {
    let folder = TempDir::new().unwrap();
    let (_store, topic) = open(folder.path());
    let total = 30_000_u64;
    for number in 0..total {
        let key = format!("k{}", number % 70);
        let payload = format!("{key} {}", number / 70);
        topic
            .send(&Message::new(payload.as_bytes()).key(key.as_bytes()))
            .unwrap();
    }
    let mut said = Vec::new();
    for round in 0..10 {
        let workers = ["x", "y"].map(|name| child("work", name, folder.path()));
        for (turn, worker) in workers.into_iter().enumerate() {
            said.extend(killed_after(worker, 20 + round * 11 + turn * 70));
        }
    }
    // The rest is done here.
    let consumer = topic.consumer("g", &options()).unwrap();
    let group = topic.group("g").unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut order: BTreeMap<String, u64> = BTreeMap::new();
    while group.stats().unwrap().lag_messages > 0 {
        assert!(Instant::now() < deadline, "{:?}", group.stats());
        let batch = consumer
            .receive(50, Some(Duration::from_millis(50)))
            .unwrap();
        for delivery in &batch {
            let (key, number) = split(std::str::from_utf8(delivery.payload()).unwrap());
            let last = order.insert(key.clone(), number);
            assert!(
                last.is_none_or(|last| last < number),
                "{key}: {last:?} {number}"
            );
            said.push(format!("{key} {number}"));
        }
        let receipts: Vec<_> = batch.iter().map(Delivery::receipt).collect();
        consumer.ack(&receipts).unwrap();
    }
    let mut times: BTreeMap<(String, u64), u32> = BTreeMap::new();
    for text in &said {
        *times.entry(split(text)).or_default() += 1;
    }
    assert_eq!(times.len() as u64, total, "each message reached somebody");
    let again = times.values().filter(|count| **count > 1).count();
    assert!(again <= 20, "{again} came again; each death may cost one");
    let stats = group.stats().unwrap();
    // Each of the 20 deaths may leave the one that was just done uncounted, and counts none twice.
    assert!((total - 20..=total).contains(&stats.acked), "{stats:?}");
    assert_eq!(stats.dead_lettered, 0, "{stats:?}");
}
