//! Transactions of one acknowledgement and one message, from a topic to another: one process and
//! eight, in the kernel's memory and on disk.

use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use libqueue::{
    ConsumerOptions, Durability, GroupOptions, Message, Ordering, Store, StoreOptions, TopicOptions,
};

use crate::report::{Row, Table};
use crate::workers::fill;
use crate::{Outcome, Scale, probe};

/// The limit of those on disk is one append and `fdatasync` each; of the others the probe's append
/// of as many messages.
pub(crate) fn run(folder: &Path, scale: Scale, table: &mut Table) -> Outcome<()> {
    for (name, count) in [("process", scale.cost), ("sync", scale.synced)] {
        for processes in [1, 8] {
            let (mut limit, mut ours) = (Duration::MAX, Duration::MAX);
            for _ in 0..scale.rounds.min(3) {
                limit = limit.min(match name {
                    "sync" => probe::synced(folder, 100, count)?,
                    _ => probe::append(folder, 100, count, 1)?,
                });
                ours = ours.min(libqueue(folder, name, processes, count)?);
            }
            let all = count * processes;
            let least = limit.as_secs_f64() / count as f64;
            let each = ours.as_secs_f64() / all as f64;
            let what = match name {
                "sync" => "append and fdatasync",
                _ => "probe's append",
            };
            table.push(Row {
                name: format!("transactions, {name}, processes: {processes}"),
                who: "Rust".into(),
                value: 1.0 / each,
                unit: "commits/s",
                ratio: Some((each / least, what.into())),
            });
        }
    }
    Ok(())
}

fn options(name: &str) -> StoreOptions {
    StoreOptions {
        durability: match name {
            "sync" => Durability::Sync,
            _ => Durability::Process,
        },
        ..StoreOptions::default()
    }
}

fn libqueue(folder: &Path, name: &str, processes: usize, count: usize) -> Outcome<Duration> {
    let path = folder.join("store");
    let store = Store::open(&path, options(name))?;
    let from = store.topic("from", &TopicOptions::default())?;
    store.topic("to", &TopicOptions::default())?;
    fill(&from, &[b'x'; 100], count * processes, 10)?;
    let group = GroupOptions {
        ordering: Some(Ordering::None),
        ..GroupOptions::default()
    };
    from.create_group("work", &group)?;
    let mut children = Vec::new();
    for _ in 0..processes {
        let child = Command::new(std::env::current_exe()?)
            .args(["child", "transactions", name])
            .arg(&path)
            .arg(count.to_string())
            .stdout(std::process::Stdio::piped())
            .spawn()?;
        children.push(child);
    }
    let each = children.into_iter().map(took);
    let slowest = each.collect::<Outcome<Vec<_>>>()?.into_iter().max();
    drop(from);
    store.close()?;
    std::fs::remove_dir_all(path)?;
    slowest.ok_or_else(|| "no process ran".into())
}

fn took(child: Child) -> Outcome<Duration> {
    let output = child.wait_with_output()?;
    if !output.status.success() {
        return Err("a process of the transactions failed".into());
    }
    Ok(Duration::from_nanos(
        String::from_utf8(output.stdout)?.trim().parse()?,
    ))
}

/// A process that hands on: durability, store, count. Prints the nanoseconds it took.
pub(crate) fn child(args: &[String]) -> Outcome<()> {
    let [name, path, count] = args else {
        return Err("transactions takes DURABILITY PATH COUNT".into());
    };
    let store = Store::open(Path::new(path), options(name))?;
    let (from, to) = (store.open_topic("from")?, store.open_topic("to")?);
    let worker = from.consumer("work", &ConsumerOptions::default())?;
    let began = Instant::now();
    let (mut left, total) = (count.parse::<usize>()?, Some(Duration::from_secs(10)));
    while left > 0 {
        let got = worker.receive(left.min(100), total)?;
        if got.is_empty() {
            return Err(format!("{left} did not come").into());
        }
        for delivery in &got {
            let mut transaction = store.transaction()?;
            transaction.send(&to, &Message::new(delivery.payload()))?;
            transaction.ack(delivery)?;
            transaction.commit()?;
        }
        left -= got.len();
    }
    println!("{}", began.elapsed().as_nanos());
    worker.close()?;
    drop((worker, from, to));
    store.close()?;
    Ok(())
}
