//! Messages that kill their consumers: the dead letter says who died.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;

use common::worker::{self, Worker};
use common::{NOW, WAIT, consumer, number, open, receipts, send_numbers, topic};
use libqueue::{Consumer, DeadLetterEntry, Message, Ordering, Topic};
use tempfile::TempDir;

#[test]
fn the_other_process() {
    worker::obey();
}

/// Receives until there is a dead letter, which is what the message becomes.
fn letter(topic: &Topic, mine: &Consumer) -> DeadLetterEntry {
    let group = topic.group("g").unwrap();
    let began = std::time::Instant::now();
    loop {
        let mut letters = group.dead_letters(9).unwrap();
        if let Some(letter) = letters.pop() {
            assert!(letters.is_empty());
            return letter;
        }
        assert!(began.elapsed() < WAIT.unwrap(), "no letter");
        let short = Some(std::time::Duration::from_millis(20));
        assert!(mine.receive(1, short).unwrap().is_empty());
    }
}

#[test]
fn p10_p12_a_message_that_kills_three_consumers_is_a_letter_that_names_the_last() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let topic = topic(&store, 1);
    let mine = consumer(&topic, "g", Ordering::Key, 3);
    topic.send(&Message::new(b"poison").key(b"k")).unwrap();
    topic.send(&Message::new(b"good").key(b"k")).unwrap();
    let mut last = 0;
    for name in ["first", "second", "third"] {
        let mut victim = Worker::start(name, folder.path());
        assert_eq!(victim.ask("wait"), "1");
        last = victim.process.id();
    }
    // The key goes on, and nobody else has to die of it.
    let got = mine.receive(1, WAIT).unwrap();
    assert_eq!(got[0].payload(), b"good");
    let letter = letter(&topic, &mine);
    assert_eq!((letter.attempts, letter.failures), (3, 3));
    assert_eq!(letter.consumer, "third");
    let told = format!("consumer \"third\" (process {last}) died while it had the message");
    assert!(letter.error.starts_with(&told), "{}", letter.error);
    let headers: Vec<_> = letter.message.headers().collect();
    assert!(headers.contains(&("lq-consumer", b"third")));
}

#[test]
fn p10_p12_where_all_processes_ended_the_letter_says_that() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let orders = topic(&store, 1);
    drop(consumer(&orders, "g", Ordering::Key, 1));
    orders.send(&Message::new(b"poison")).unwrap();
    let mut victim = Worker::start("only", folder.path());
    drop(orders);
    store.close().unwrap();
    assert_eq!(victim.ask("wait"), "1");
    drop(victim);
    let store = open(folder.path());
    let orders = topic(&store, 1);
    let mine = consumer(&orders, "g", Ordering::Key, 1);
    let letter = letter(&orders, &mine);
    assert!(
        letter.error.starts_with("all processes"),
        "{}",
        letter.error
    );
    assert_eq!(letter.consumer, "");
}

/// Batches are told apart by numbers that come again: after 65,535 calls one has that of the first.
/// What was merely fetched of a batch that was begun comes back uncharged; a message that was asked
/// for alone was begun when it was handed out, and is not taken for one of those.
#[test]
fn p10_a_message_that_was_asked_for_alone_is_charged_with_a_death_though_nobody_began_with_it() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let topic = topic(&store, 1);
    let mine = consumer(&topic, "g", Ordering::None, 2);
    send_numbers(&topic, 0..2);
    // One that comes again and one that nobody had yet.
    mine.release(&receipts(&mine.receive(1, NOW).unwrap()))
        .unwrap();
    let mut victim = Worker::start("victim", folder.path());
    assert_eq!(victim.ask("take 1"), "1");
    assert_eq!(victim.ask("take 1"), "2");
    assert_eq!(victim.ask("idle 65530"), "nothing");
    for first in (2..22).step_by(2) {
        send_numbers(&topic, first..first + 2);
        assert_eq!(victim.ask("take 2"), (first + 2).to_string());
        assert_eq!(victim.ask(&format!("start {first}")), "started");
    }
    drop(victim);
    let mut back = Vec::new();
    while back.len() < 22 {
        let batch = mine.receive(22, WAIT).unwrap();
        assert!(!batch.is_empty(), "only {} came back", back.len());
        back.extend(batch);
    }
    // One more failure for each: for what was charged with the death it is the last.
    mine.nack(&receipts(&back), None, None).unwrap();
    let letters = topic.group("g").unwrap().dead_letters(30).unwrap();
    let charged = letters.iter().map(|one| number(one.message.payload()));
    let charged: BTreeSet<u64> = charged.collect();
    let begun = (2..22).step_by(2);
    assert_eq!(charged, [0, 1].into_iter().chain(begun).collect());
}

#[test]
fn p12_a_lease_that_runs_out_names_who_had_it() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let topic = topic(&store, 1);
    let mine = consumer(&topic, "g", Ordering::Key, 1);
    topic.send(&Message::new(b"slow")).unwrap();
    let short = libqueue::ReceiveOptions {
        lease: Some(std::time::Duration::from_millis(1)),
        timeout: NOW,
        ..Default::default()
    };
    let got = mine.receive_with(&short).unwrap();
    let letter = letter(&topic, &mine);
    let (name, process) = (mine.name(), std::process::id());
    let told = format!("its lease ran out in the hands of consumer {name:?} (process {process})");
    assert_eq!(letter.error, told);
    assert_eq!(letter.consumer, name);
    assert!(mine.ack(&receipts(&got)).is_err());
}
