//! What a process takes by what there is: time to open, memory, descriptors and mappings of one
//! that uses many topics, partitions or groups, or reads through a large topic.
//!
//! Each is measured by a process of its own, of itself. None of the figures is to rise with the
//! size of the store but where it says so; no limit of the hardware stands beside them.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use libqueue::{
    Consumer, ConsumerOptions, Message, ReaderOptions, Receipt, Start, Store, StoreOptions, Topic,
    TopicOptions,
};

use crate::report::{Row, Table};
use crate::{Outcome, Scale};

/// Of a message in a large topic; its header comes to it.
const PAYLOAD: usize = 64 * 1024;
/// So much of it is written before its pages of zeros are given back to the disk.
const STEP: u64 = 10_000_000_000;
/// As many as a topic can have.
const PARTITIONS: u64 = 1024;
/// As long as housekeeping needs to let go of what is not used, where that is much.
const REST: Duration = Duration::from_secs(5);
const SHORT_REST: Duration = Duration::from_millis(1500);
/// So much it is from here on.
const MUCH: u64 = 1000;

pub(crate) fn run(folder: &Path, scale: Scale, table: &mut Table) -> Outcome<()> {
    let (topics, groups) = (scale.topics as u64, scale.topics as u64 / 10);
    let many = folder.join("many");
    measure(&many, &[("make", topics)], "", table)?;
    let name = format!("{topics} topics, one used");
    measure(&many, &[("one", topics)], &name, table)?;
    let name = format!("{topics} topics, sent to");
    measure(&many, &[("dropped", topics)], &name, table)?;
    let name = format!("{topics} topics, held");
    measure(&many, &[("held", topics)], &name, table)?;
    std::fs::remove_dir_all(&many)?;

    let partitions = PARTITIONS.min(scale.topics as u64);
    let name = format!("{partitions} partitions consumed");
    measure(&folder.join("wide"), &[("wide", partitions)], &name, table)?;
    std::fs::remove_dir_all(folder.join("wide"))?;
    for role in ["groups-dropped", "groups-held"] {
        let path = folder.join(role);
        let name = format!("{groups} {}", role.replace('-', ", "));
        measure(&path, &[(role, groups)], &name, table)?;
        std::fs::remove_dir_all(path)?;
    }
    let large = folder.join("large");
    let (mut filled, mut given_back) = (0, HashSet::new());
    for gigabytes in scale.large {
        let bytes = (gigabytes * 1e9) as u64;
        while filled < bytes {
            let more = STEP.min(bytes - filled);
            measure(&large, &[("fill", more)], "", table)?;
            filled += more;
            if bytes > STEP {
                give_back(&large.join("topics/t0/0"), &mut given_back)?;
            }
        }
        let name = format!("{gigabytes} GB, 1,000 consumed");
        measure(&large, &[("some", 0)], &name, table)?;
        let name = format!("{gigabytes} GB, read through");
        measure(&large, &[("read", 0)], &name, table)?;
    }
    std::fs::remove_dir_all(large)?;
    Ok(())
}

/// Gives the pages of zeros back to the disk, but for those of the segment that grows, so that a
/// topic may be larger than the disk. What is read stays what it was.
fn give_back(partition: &Path, done_with: &mut HashSet<PathBuf>) -> Outcome<()> {
    let mut files = Vec::new();
    for file in std::fs::read_dir(partition)? {
        files.push(file?.path());
    }
    files.retain(|file| file.extension().is_some_and(|kind| kind == "log"));
    files.sort();
    files.pop();
    for file in files {
        if done_with.insert(file.clone()) {
            let done = Command::new("fallocate")
                .arg("--dig-holes")
                .arg(&file)
                .status()?;
            if !done.success() {
                return Err(format!("fallocate --dig-holes {}: {done}", file.display()).into());
            }
        }
    }
    Ok(())
}

/// Has a process do it and enters what it says of itself; without a name nothing is entered.
fn measure(path: &Path, work: &[(&str, u64)], name: &str, table: &mut Table) -> Outcome<()> {
    for (role, count) in work {
        let done = Command::new(std::env::current_exe()?)
            .args(["child", "sizes", role])
            .arg(path)
            .arg(count.to_string())
            .output()?;
        let said = String::from_utf8(done.stdout)?;
        if !done.status.success() {
            let errors = String::from_utf8_lossy(&done.stderr);
            return Err(format!("{role}: {said}{errors}").into());
        }
        for line in said.lines().filter(|_| !name.is_empty()) {
            let mut words = line.split(' ');
            let (Some(what), Some(value)) = (words.next(), words.next()) else {
                return Err(format!("{role} said {line:?}").into());
            };
            let unit = match what {
                "open" => "ms",
                "memory" | "peak" => "MiB",
                _ => "",
            };
            table.push(Row {
                name: format!("{name}: {what}"),
                who: "Rust".into(),
                value: value.parse()?,
                unit,
                ratio: None,
            });
        }
    }
    Ok(())
}

/// A process that is measured: role, store, number.
pub(crate) fn child(args: &[String]) -> Outcome<()> {
    let [role, path, count] = args else {
        return Err("sizes takes ROLE PATH COUNT".into());
    };
    let (path, count) = (Path::new(path), count.parse::<u64>()?);
    let began = Instant::now();
    let store = Store::open(path, StoreOptions::default())?;
    match role.as_str() {
        "make" | "dropped" => {
            for number in 0..count {
                named(&store, number)?.send(&Message::new(b"message"))?;
            }
            if role == "dropped" {
                rest(count);
            }
        }
        "one" => {
            named(&store, count / 2)?.send(&Message::new(b"message"))?;
            println!("open {}", began.elapsed().as_secs_f64() * 1e3);
        }
        "held" => {
            let topics: Outcome<Vec<Topic>> = (0..count).map(|one| named(&store, one)).collect();
            let topics = topics?;
            for topic in &topics {
                topic.send(&Message::new(b"message"))?;
            }
            rest(count);
            tell()?;
            std::process::exit(0);
        }
        "wide" => wide(&store, count)?,
        "groups-dropped" | "groups-held" => groups(&store, count, role == "groups-held")?,
        "fill" => fill(&named(&store, 0)?, count)?,
        "some" => {
            let worker = worker(&named(&store, 0)?, "some")?;
            println!("open {}", began.elapsed().as_secs_f64() * 1e3);
            for _ in 0..10 {
                settle(&worker, 100)?;
            }
        }
        "read" => through(&named(&store, 0)?)?,
        other => return Err(format!("unknown role {other:?}").into()),
    }
    tell()?;
    Ok(store.close()?)
}

fn rest(count: u64) {
    std::thread::sleep(if count < MUCH { SHORT_REST } else { REST });
}

fn named(store: &Store, number: u64) -> Outcome<Topic> {
    Ok(store.topic(&format!("t{number}"), &TopicOptions::default())?)
}

fn worker(topic: &Topic, group: &str) -> Outcome<Consumer> {
    Ok(topic.consumer(group, &ConsumerOptions::default())?)
}

/// Receives and acknowledges at most so many; how many there were.
fn settle(worker: &Consumer, most: usize) -> Outcome<usize> {
    let batch = worker.receive(most, Some(Duration::ZERO))?;
    let receipts: Vec<Receipt> = batch.iter().map(libqueue::Delivery::receipt).collect();
    worker.ack(&receipts)?;
    Ok(batch.len())
}

/// A message to each partition, and all of them to one consumer.
fn wide(store: &Store, partitions: u64) -> Outcome<()> {
    let options = TopicOptions {
        partitions: Some(partitions as u32),
        ..TopicOptions::default()
    };
    let topic = store.topic("wide", &options)?;
    let worker = worker(&topic, "g")?;
    for _ in 0..partitions {
        topic.send(&Message::new(b"message"))?;
    }
    let mut got = 0;
    while got < partitions as usize {
        got += match settle(&worker, 100)? {
            0 => return Err(format!("{got} of {partitions} messages came").into()),
            some => some,
        };
    }
    rest(partitions);
    tell()?;
    std::process::exit(0);
}

fn groups(store: &Store, count: u64, held: bool) -> Outcome<()> {
    let topic = named(store, 0)?;
    topic.send(&Message::new(b"message"))?;
    let mut workers = Vec::new();
    for number in 0..count {
        let worker = worker(&topic, &format!("g{number}"))?;
        if settle(&worker, 10)? != 1 {
            return Err("a group did not get the message".into());
        }
        if held {
            workers.push(worker);
        }
    }
    rest(count);
    tell()?;
    std::process::exit(0);
}

fn fill(topic: &Topic, bytes: u64) -> Outcome<()> {
    let payload = vec![0; PAYLOAD];
    let message = Message::new(&payload);
    let batch = vec![message; 16];
    for _ in 0..bytes / (PAYLOAD * batch.len()) as u64 {
        topic.send_many(&batch)?;
    }
    Ok(())
}

/// Reads from the first message to the last.
fn through(topic: &Topic) -> Outcome<()> {
    let mut reader = topic.reader(&ReaderOptions {
        start: Start::Earliest,
        ..ReaderOptions::default()
    })?;
    let (mut count, mut most) = (0, (0, 0));
    loop {
        let some = reader.receive(100, Some(Duration::ZERO))?;
        if some.is_empty() {
            break;
        }
        count += some.len();
        if count % 10_000 == 0 {
            most = (most.0.max(mappings()?), most.1.max(memory("VmRSS")?));
        }
    }
    println!("messages {count}");
    println!("most-mappings {}", most.0.max(mappings()?));
    println!("peak {}", most.1.max(memory("VmRSS")?) / 1024);
    Ok(())
}

fn mappings() -> Outcome<usize> {
    Ok(std::fs::read_to_string("/proc/self/maps")?.lines().count())
}

/// In KiB.
fn memory(what: &str) -> Outcome<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with(what));
    let words = line.ok_or("no such line in /proc/self/status")?;
    Ok(words.split_whitespace().nth(1).ok_or("a number")?.parse()?)
}

/// What this process takes now.
fn tell() -> Outcome<()> {
    println!("memory {:.1}", memory("VmRSS")? as f64 / 1024.0);
    println!(
        "descriptors {}",
        std::fs::read_dir("/proc/self/fd")?.count()
    );
    println!("mappings {}", mappings()?);
    Ok(())
}
