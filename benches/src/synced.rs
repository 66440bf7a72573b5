//! Durable sends: one process and eight, against append plus `fdatasync`.

use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use libqueue::{Durability, Message, Store, StoreOptions, TopicOptions};

use crate::report::Table;
use crate::{Outcome, Scale, probe};

/// One sender against the probe, then eight processes against one.
pub(crate) fn run(folder: &Path, scale: Scale, table: &mut Table) -> Outcome<()> {
    let count = scale.synced;
    let (mut limit, mut one, mut eight) = (Duration::MAX, Duration::MAX, Duration::MAX);
    for _ in 0..scale.rounds.min(3) {
        limit = limit.min(probe::synced(folder, 100, count)?);
        one = one.min(libqueue(folder, 1, count)?);
        eight = eight.min(libqueue(folder, 8, count)?);
    }
    table.rate(
        "limit: append and fdatasync, 100 B",
        "probe",
        count,
        limit,
        None,
    );
    let limit = Some((limit, "append and fdatasync"));
    table.rate("sync send, 1 process, 100 B", "Rust", count, one, limit);
    table.rate(
        "sync send, 8 processes, 100 B",
        "Rust",
        count * 8,
        eight,
        None,
    );
    Ok(())
}

fn options() -> StoreOptions {
    StoreOptions {
        durability: Durability::Sync,
        ..StoreOptions::default()
    }
}

fn libqueue(folder: &Path, processes: usize, count: usize) -> Outcome<Duration> {
    let path = folder.join("store");
    let store = Store::open(&path, options())?;
    let topic = store.topic("bench", &TopicOptions::default())?;
    topic.send(&Message::new(b"warm"))?;
    let began = Instant::now();
    let mut children = Vec::new();
    for _ in 0..processes {
        let child = Command::new(std::env::current_exe()?)
            .args(["child", "synced"])
            .arg(&path)
            .arg(count.to_string())
            .stdout(std::process::Stdio::piped())
            .spawn()?;
        children.push(child);
    }
    let slowest = children
        .into_iter()
        .map(took)
        .collect::<Outcome<Vec<_>>>()?;
    let slowest = slowest.into_iter().max().unwrap_or_else(|| began.elapsed());
    drop(topic);
    store.close()?;
    std::fs::remove_dir_all(path)?;
    Ok(slowest)
}

fn took(child: Child) -> Outcome<Duration> {
    let output = child.wait_with_output()?;
    if !output.status.success() {
        return Err("a sender process failed".into());
    }
    Ok(Duration::from_nanos(
        String::from_utf8(output.stdout)?.trim().parse()?,
    ))
}

/// A sender: store, count. Prints the nanoseconds it took.
pub(crate) fn child(args: &[String]) -> Outcome<()> {
    let [path, count] = args else {
        return Err("synced takes PATH COUNT".into());
    };
    let store = Store::open(Path::new(path), options())?;
    let topic = store.topic("bench", &TopicOptions::default())?;
    let payload = [b'x'; 100];
    let began = Instant::now();
    for _ in 0..count.parse::<usize>()? {
        topic.send(&Message::new(&payload))?;
    }
    println!("{}", began.elapsed().as_nanos());
    drop(topic);
    store.close()?;
    Ok(())
}
