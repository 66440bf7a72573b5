//! Files of a store that are gone or damaged: told with their name, and nothing is made in their
//! place.

#![allow(clippy::unwrap_used)]

mod common;

use std::os::unix::fs::FileExt;
use std::path::Path;

use common::{NOW, consumer, open, receipts, send_numbers, topic};
use libqueue::{ErrorKind, Ordering, Result};
use tempfile::TempDir;

/// A closed store with messages of which some are acknowledged and one is a dead letter.
fn used() -> TempDir {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let topic = topic(&store, 1);
    send_numbers(&topic, 0..10);
    let worker = consumer(&topic, "g", Ordering::None, 1);
    let batch = receipts(&worker.receive(4, NOW).unwrap());
    worker.ack(&batch[..2]).unwrap();
    worker.dead_letter(&batch[2..], "no use").unwrap();
    drop((worker, topic));
    store.close().unwrap();
    folder
}

fn refused<T>(result: Result<T>, file: &str) {
    let Err(error) = result else {
        panic!("went on without {file}");
    };
    assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
    assert!(error.message().contains(file), "{error}");
}

fn damage_at(folder: &Path) -> Vec<String> {
    let report = libqueue::inspect::verify(folder, &mut |_, _| Ok(())).unwrap();
    let names = report
        .damage
        .iter()
        .map(|one| one.file.display().to_string());
    names.collect()
}

#[test]
fn p3_a_topic_whose_configuration_is_gone_is_not_made_anew() {
    let folder = used();
    let meta = folder.path().join("topics/orders/topic.meta");
    std::fs::remove_file(&meta).unwrap();
    let store = open(folder.path());
    refused(store.topic("orders", &Default::default()), "topic.meta");
    refused(store.open_topic("orders"), "topic.meta");
    assert!(!meta.exists());
}

#[test]
fn p3_a_group_whose_configuration_is_gone_is_not_made_anew() {
    let folder = used();
    let meta = folder.path().join("topics/orders/groups/g/group.meta");
    std::fs::remove_file(&meta).unwrap();
    let store = open(folder.path());
    let topic = store.open_topic("orders").unwrap();
    refused(topic.consumer("g", &Default::default()), "group.meta");
    assert!(!meta.exists());
}

#[test]
fn p3_p6_a_window_that_is_gone_or_empty_is_told_of_and_not_begun_anew() {
    for empty in [false, true] {
        let folder = used();
        let window = folder.path().join("topics/orders/groups/g/0.window");
        if empty {
            std::fs::write(&window, b"").unwrap();
        } else {
            std::fs::remove_file(&window).unwrap();
            assert_eq!(damage_at(folder.path()), [window.display().to_string()]);
        }
        let store = open(folder.path());
        let topic = store.open_topic("orders").unwrap();
        refused(topic.consumer("g", &Default::default()), "0.window");
        refused(topic.group("g"), "0.window");
    }
}

#[test]
fn p3_a_damaged_dead_letter_is_told_of_once_and_the_others_are_listed() {
    let folder = used();
    let log = folder
        .path()
        .join("topics/orders.g.dlq/0/00000000000000000000.log");
    let mut options = std::fs::OpenOptions::new();
    let file = options.read(true).write(true).open(log).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, 4096 + 60).unwrap();
    // Another one, whatever it is: in that place stands an id.
    file.write_all_at(&[!byte[0]], 4096 + 60).unwrap();
    let store = open(folder.path());
    let group = store.open_topic("orders").unwrap().group("g").unwrap();
    refused(group.dead_letters(9), ".log at byte 4096");
    let rest = group.dead_letters(9).unwrap();
    let offsets: Vec<u64> = rest.iter().map(|dead| dead.source_offset).collect();
    assert_eq!(offsets, [3]);
}

#[test]
fn p18_nonsense_in_a_window_in_use_is_an_error_and_ends_nobody() {
    for seed in 1..20_u64 {
        let folder = TempDir::new().unwrap();
        let store = open(folder.path());
        let topic = topic(&store, 1);
        send_numbers(&topic, 0..40);
        let worker = consumer(&topic, "g", Ordering::Key, 3);
        let batch = worker.receive(20, NOW).unwrap();
        let path = folder.path().join("topics/orders/groups/g/0.window");
        let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
        // Places of lists in the entries, behind header, wheel, bitmap and buckets.
        let entries = file.metadata().unwrap().len() - 1024 * 64;
        for number in 0..40 {
            let word = if (number + seed) % 2 == 0 { 5 } else { 7 };
            let nonsense = (seed * 0x9E37_79B9 + number) & 0xFFF_FFFF | 0x100_0000;
            let bytes = (nonsense << 32 | nonsense).to_le_bytes();
            file.write_all_at(&bytes, entries + number * 64 + word * 8)
                .unwrap();
        }
        for one in &batch {
            // Any error will do; what is not one has settled it.
            let _ = worker.ack(&[one.receipt()]);
        }
        let _ = worker.receive(40, NOW);
    }
}

#[test]
fn p1_p17_a_store_that_is_closed_while_threads_send_keeps_what_they_sent() {
    for round in 0..15 {
        let folder = TempDir::new().unwrap();
        let store = open(folder.path());
        let topic = topic(&store, 2).uncounted();
        let sent = std::sync::atomic::AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for number in 0_u64.. {
                        let size = if number % 50 == 0 { 60_000 } else { 20 };
                        let payload = vec![7; size];
                        match topic.send(&libqueue::Message::new(&payload)) {
                            Ok(_) => sent.fetch_add(1, std::sync::atomic::Ordering::SeqCst),
                            Err(error) => {
                                assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
                                return;
                            }
                        };
                    }
                });
            }
            while sent.load(std::sync::atomic::Ordering::SeqCst) < 200 * (round % 4) {
                std::thread::yield_now();
            }
            store.close().unwrap();
        });
        let store = open(folder.path());
        let stats = store.open_topic("orders").unwrap().stats().unwrap();
        assert!(stats.messages >= sent.into_inner(), "{stats:?}");
        assert_eq!(damage_at(folder.path()), [""; 0]);
    }
}
