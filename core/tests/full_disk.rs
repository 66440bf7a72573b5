//! A tiny file system that fills up in the middle of everything, with several processes at work,
//! and then has room again: each call has done what it says or says that the disk is full, and in
//! the end nothing is lost or there twice (P1, P5, P6, P12).

#![allow(clippy::unwrap_used)]

#[path = "common/filler.rs"]
mod filler;
#[path = "common/small_disk.rs"]
mod small_disk;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use filler::Filler;
use libqueue::{
    Backoff, Consumer, ConsumerOptions, Delivery, Error, ErrorKind, GroupOptions, Message,
    ReaderOptions, Receipt, Retention, Store, StoreOptions, Topic, TopicOptions,
};
use small_disk::{CHILD, on_a_small_disk};

const NOW: Option<Duration> = Some(Duration::ZERO);
/// Where in the file of the counts a sender's line may reach to.
const COUNT_LINE: u64 = 32;
const ROLE: &str = "LIBQUEUE_TEST_SMALL_DISK_ROLE";

/// The folder, in the process that has the small disk; else the test was run there.
fn on_disk(test: &str, mebibytes: u32) -> Option<PathBuf> {
    if let Ok(folder) = std::env::var(CHILD) {
        return Some(folder.into());
    }
    if !on_a_small_disk(test, mebibytes) {
        println!("this machine lets nobody mount a small disk; the twin's tests stand alone");
    }
    None
}

fn open(folder: &Path) -> Store {
    Store::open(folder.join("store"), StoreOptions::default()).unwrap()
}

/// Housekeeping lays the ballast in once there is a topic.
fn wait_for_ballast(folder: &Path) {
    let deadline = Instant::now() + Duration::from_secs(20);
    let laid_in = || std::fs::metadata(folder.join("store/ballast"));
    while !laid_in().is_ok_and(|file| file.len() >= 4 << 20) {
        assert!(Instant::now() < deadline, "no ballast");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn topic(store: &Store, name: &str) -> Topic {
    // All that was sent is read at the end, whatever was settled.
    let options = TopicOptions {
        retention: Some(Retention::Forever),
        ..TopicOptions::default()
    };
    store.topic(name, &options).unwrap()
}

fn consumer(topic: &Topic, window: u32) -> Result<Consumer, Error> {
    let at_once = Backoff {
        first: Duration::ZERO,
        longest: Duration::ZERO,
        factor: 1.0,
    };
    let group = GroupOptions {
        max_attempts: Some(1000),
        backoff: Some(at_once),
        window: Some(window),
        ..GroupOptions::default()
    };
    let with = ConsumerOptions {
        group,
        ..ConsumerOptions::default()
    };
    topic.consumer("g", &with)
}

fn is_full(error: &Error) {
    assert_eq!(error.kind(), ErrorKind::DiskFull, "{error}");
    assert!(error.message().contains("/store"), "{error}");
}

fn receipts(batch: &[Delivery]) -> Vec<Receipt> {
    batch.iter().map(Delivery::receipt).collect()
}

/// Everything in a topic, by what the payload begins with.
fn contents(topic: &Topic) -> BTreeMap<String, usize> {
    let mut reader = topic.reader(&ReaderOptions::default()).unwrap();
    let mut found = BTreeMap::new();
    loop {
        let batch = reader.receive(100, NOW).unwrap();
        if batch.is_empty() {
            return found;
        }
        for one in batch {
            *found.entry(name_of(one.payload())).or_default() += 1;
        }
    }
}

/// A payload that begins with a name.
fn payload(name: &str, len: usize) -> Vec<u8> {
    let mut bytes = format!("{name} ").into_bytes();
    bytes.resize(len.max(bytes.len()), b'.');
    bytes
}

fn name_of(payload: &[u8]) -> String {
    let text = std::str::from_utf8(payload).unwrap();
    text.split(' ').next().unwrap().to_owned()
}

/// Sends until the disk is full; how many there were.
fn send_until_full(topic: &Topic, from: usize, len: usize) -> usize {
    let mut number = from;
    loop {
        match topic.send(&Message::new(&payload(&number.to_string(), len))) {
            Ok(_) => number += 1,
            Err(error) => {
                is_full(&error);
                return number;
            }
        }
    }
}

#[test]
fn p1_p5_segment_rolls_settles_and_a_close_on_a_full_disk_lose_nothing() {
    let test = "p1_p5_segment_rolls_settles_and_a_close_on_a_full_disk_lose_nothing";
    let Some(folder) = on_disk(test, 24) else {
        return;
    };
    let spare = folder.join("spare");
    std::fs::write(&spare, vec![1; 4 << 20]).unwrap();
    let mut sent = 0;
    let mut acked = BTreeSet::new();
    for round in 0..4 {
        let store = open(&folder);
        let orders = topic(&store, "orders");
        let worker = consumer(&orders, 65_536).unwrap();
        wait_for_ballast(&folder);
        let filler = (round > 0).then(|| Filler::take(&folder));
        // Over several segments in the first round, to the end of what is prepared later.
        sent = send_until_full(&orders, sent, [9000, 700, 90_000, 1][round]);
        let filler = filler.unwrap_or_else(|| Filler::take(&folder));
        for step in 0..40 {
            let batch = match worker.receive(20, NOW) {
                Ok(batch) => batch,
                Err(error) => {
                    // A window that has to grow.
                    is_full(&error);
                    break;
                }
            };
            let all = receipts(&batch);
            let (back, done) = all.split_at(all.len().min(step % 3));
            worker.release(back).unwrap();
            worker.ack(done).unwrap();
            for one in batch.iter().skip(back.len()) {
                assert!(acked.insert(one.offset()), "acknowledged twice");
            }
        }
        drop((worker, orders));
        // To close without room is fine, or an error of which nothing but a walk is the price.
        if let Err(error) = store.close() {
            is_full(&error);
        }
        drop((store, filler));
    }
    std::fs::remove_file(spare).unwrap();
    let store = open(&folder);
    let orders = topic(&store, "orders");
    orders.send(&Message::new(&payload("last", 10))).unwrap();
    let found = contents(&orders);
    assert!(found.values().all(|times| *times == 1), "{found:?}");
    let expected = (0..sent).map(|number| number.to_string());
    let expected: BTreeSet<String> = expected.chain(["last".to_owned()]).collect();
    assert!(
        found.keys().eq(expected.iter()),
        "{} of {sent}",
        found.len()
    );
    let worker = consumer(&orders, 65_536).unwrap();
    loop {
        let batch = worker.receive(500, NOW).unwrap();
        if batch.is_empty() {
            break;
        }
        worker.ack(&receipts(&batch)).unwrap();
        for one in &batch {
            assert!(acked.insert(one.offset()), "acknowledged twice");
        }
    }
    assert_eq!(acked.len(), sent + 1);
}

#[test]
fn p5_p12_groups_windows_and_first_dead_letters_on_a_full_disk_are_made_or_told() {
    let test = "p5_p12_groups_windows_and_first_dead_letters_on_a_full_disk_are_made_or_told";
    let Some(folder) = on_disk(test, 32) else {
        return;
    };
    let store = open(&folder);
    let orders = topic(&store, "orders");
    const COUNT: usize = 9000;
    for number in 0..COUNT {
        orders
            .send(&Message::new(&payload(&number.to_string(), 20)))
            .unwrap();
    }
    let worker = consumer(&orders, 16_384).unwrap();
    wait_for_ballast(&folder);
    let first = worker.receive(10, NOW).unwrap();
    let filler = Filler::take(&folder);
    // A group and a topic that are not there yet.
    for name in ["late", "late"] {
        let error = orders.create_group(name, &GroupOptions::default());
        is_full(&error.map(|_| ()).expect_err("no room"));
        let error = store.topic("late", &TopicOptions::default());
        is_full(&error.map(|_| ()).expect_err("no room"));
    }
    assert_eq!(orders.groups().unwrap(), ["g"]);
    assert_eq!(store.topics().unwrap(), ["orders"]);
    // A window that is to grow: what it has room for is handed out, then it is told.
    let mut held = first;
    let full = loop {
        match worker.receive(100, NOW) {
            Ok(batch) if batch.is_empty() => break None,
            Ok(mut batch) => held.append(&mut batch),
            Err(error) => break Some(error),
        }
    };
    if let Some(error) = full {
        is_full(&error);
    }
    assert!(held.len() >= 1000, "only {}", held.len());
    // Dead letters whose topic is not there: moved into the room that is kept for them, or told.
    let all = receipts(&held);
    let moved = worker.dead_letter(&all[..5], "no use");
    if let Err(error) = &moved {
        is_full(error);
    }
    worker.ack(&all[5..]).unwrap();
    let group = orders.group("g").unwrap();
    drop(filler);
    wait_for_ballast(&folder);
    // With room, also for dead letters, everything goes on.
    orders
        .create_group("late", &GroupOptions::default())
        .unwrap();
    topic(&store, "late").send(&Message::new(b"x")).unwrap();
    let mut seen: BTreeSet<u64> = held.iter().skip(5).map(|one| one.offset()).collect();
    let deadline = Instant::now() + Duration::from_secs(20);
    while seen.len() < COUNT - 5 {
        assert!(Instant::now() < deadline, "{} of {COUNT}", seen.len());
        let batch = worker.receive(1000, NOW).unwrap();
        worker.ack(&receipts(&batch)).unwrap();
        for one in &batch {
            assert!(seen.insert(one.offset()), "acknowledged twice");
        }
    }
    // Dying messages are moved by whoever receives.
    while group.stats().unwrap().dead_lettered < 5 {
        assert!(Instant::now() < deadline, "{:?}", group.stats());
        assert_eq!(worker.receive(10, NOW).unwrap().len(), 0);
    }
    let dead = group.dead_letters(100).unwrap();
    let offsets: BTreeSet<u64> = dead.iter().map(|one| one.source_offset).collect();
    assert_eq!(dead.len(), 5, "none is there twice");
    assert!(offsets.is_disjoint(&seen));
    assert_eq!(group.stats().unwrap().lag_messages, 0);
}

/// A process that sends, or receives and settles, until it is told to stop by a file.
fn process(folder: &Path, role: &str) -> Child {
    let test = "p1_p5_p12_several_processes_on_a_disk_that_fills_up_and_has_room_again";
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads", "1"])
        .env(CHILD, folder)
        .env(ROLE, role)
        .spawn()
        .unwrap()
}

/// They end with the test, however it ends.
struct Children(Vec<Child>);

impl Children {
    fn all_end(&mut self) {
        for child in &mut self.0 {
            assert!(child.wait().unwrap().success());
        }
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        for child in &mut self.0 {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

fn sender(folder: &Path, name: &str) {
    let store = Store::open(folder.join("store"), StoreOptions::default()).unwrap();
    let orders = topic(&store, "orders");
    let (mut number, mut full) = (0, 0_u64);
    while !folder.join("stop-sending").exists() {
        match orders.send(&Message::new(&payload(&format!("{name}{number}"), 3000))) {
            Ok(_) => number += 1,
            Err(error) => {
                is_full(&error);
                full += 1;
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
    println!("{name}: {number} sent, {full} times full");
    // In a place that was allocated before: the disk may be full.
    let counts = File::options().write(true).open(folder.join("counts"));
    let at = if name == "a" { 0 } else { COUNT_LINE };
    counts
        .unwrap()
        .write_all_at(format!("{name} {number}\n").as_bytes(), at)
        .unwrap();
}

fn worker(folder: &Path) {
    let store = Store::open(folder.join("store"), StoreOptions::default()).unwrap();
    let orders = topic(&store, "orders");
    let done = topic(&store, "done");
    let worker = consumer(&orders, 65_536).unwrap();
    let mut step = 0;
    while !folder.join("stop-working").exists() {
        let batch = match worker.receive(5, Some(Duration::from_millis(5))) {
            Ok(batch) => batch,
            Err(error) => {
                is_full(&error);
                continue;
            }
        };
        for one in batch {
            step += 1;
            let name = name_of(one.payload());
            if step % 11 == 0 {
                match worker.dead_letter(&[one.receipt()], "no use") {
                    Ok(()) => {}
                    Err(error) => is_full(&error),
                }
                continue;
            }
            if let Err(error) = done.send(&Message::new(name.as_bytes())) {
                is_full(&error);
                worker.release(&[one.receipt()]).unwrap();
                continue;
            }
            // With the message still in hand: nobody else has it.
            worker.ack(&[one.receipt()]).unwrap();
        }
    }
}

#[test]
fn p1_p5_p12_several_processes_on_a_disk_that_fills_up_and_has_room_again() {
    let test = "p1_p5_p12_several_processes_on_a_disk_that_fills_up_and_has_room_again";
    let Some(folder) = on_disk(test, 128) else {
        return;
    };
    match std::env::var(ROLE).as_deref() {
        Ok("work") => return worker(&folder),
        Ok(name) => return sender(&folder, name),
        Err(_) => {}
    }
    let store = open(&folder);
    let (orders, done) = (topic(&store, "orders"), topic(&store, "done"));
    drop(consumer(&orders, 65_536).unwrap());
    wait_for_ballast(&folder);
    // The senders fill what is left of the disk; the dead letters then have this.
    let room = Filler::pages(&folder, "room", 8192);
    let counts = folder.join("counts");
    std::fs::write(&counts, [b'\n'; 2 * COUNT_LINE as usize]).unwrap();
    let mut senders = Children(["a", "b"].map(|name| process(&folder, name)).into());
    let mut workers = Children([0, 1].map(|_| process(&folder, "work")).into());
    for _ in 0..4 {
        std::thread::sleep(Duration::from_millis(150));
        let filler = Filler::take(&folder);
        std::thread::sleep(Duration::from_millis(150));
        drop(filler);
    }
    std::fs::create_dir(folder.join("stop-sending")).unwrap();
    senders.all_end();
    drop(room);
    let group = orders.group("g").unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while group.stats().unwrap().lag_messages > 0 {
        assert!(Instant::now() < deadline, "{:?}", group.stats());
        std::thread::sleep(Duration::from_millis(5));
    }
    std::fs::create_dir(folder.join("stop-working")).unwrap();
    workers.all_end();
    let mut expected = BTreeMap::new();
    for line in std::fs::read_to_string(counts).unwrap().lines() {
        let Some((name, count)) = line.split_once(' ') else {
            continue;
        };
        for number in 0..count.parse::<usize>().unwrap() {
            expected.insert(format!("{name}{number}"), 1);
        }
    }
    assert!(expected.len() > 100, "only {}", expected.len());
    assert_eq!(contents(&orders), expected, "what was sent is there, once");
    let mut settled = contents(&done);
    for dead in group.dead_letters(usize::MAX).unwrap() {
        *settled.entry(name_of(dead.message.payload())).or_default() += 1;
    }
    assert!(
        settled == expected,
        "{} of {}",
        settled.len(),
        expected.len()
    );
}
