//! One producer process and one consumer process: rate at full speed, latency when paced.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use libqueue::{ConsumerOptions, Message, Store, StoreOptions, TopicOptions};

use crate::report::{Row, Table};
use crate::{Outcome, Scale};

const PACE: u32 = 10_000;

/// Full speed, then paced at 10,000 messages a second.
pub(crate) fn run(folder: &Path, scale: Scale, table: &mut Table) -> Outcome<()> {
    let (took, _) = measure(folder, scale.messages, 0)?;
    table.rate(
        "one producer, one consumer, 100 B",
        "Rust",
        scale.messages,
        took,
        None,
    );
    let paced = scale.messages / 20;
    let (_, mut waits) = measure(folder, paced, PACE)?;
    waits.sort_unstable();
    for (name, part) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
        let at = ((waits.len() as f64 * part) as usize).min(waits.len() - 1);
        table.push(Row {
            name: format!("one-way latency at 10,000/s, {name}"),
            who: "Rust",
            value: waits[at] as f64 / 1000.0,
            unit: "us",
            ratio: None,
        });
    }
    Ok(())
}

fn measure(folder: &Path, count: usize, pace: u32) -> Outcome<(Duration, Vec<u64>)> {
    let path = folder.join("store");
    let store = Store::open(&path, StoreOptions::default())?;
    let topic = store.topic("bench", &TopicOptions::default())?;
    let consumer = topic.consumer("work", &ConsumerOptions::default())?;
    let mut producer = Command::new(std::env::current_exe()?)
        .args(["child", "pair"])
        .arg(&path)
        .args([count.to_string(), pace.to_string()])
        .stdout(Stdio::null())
        .spawn()?;
    let mut waits = Vec::with_capacity(count);
    let mut began = None;
    let mut receipts = Vec::new();
    while waits.len() < count {
        let deliveries = consumer.receive(100, Some(Duration::from_secs(30)))?;
        let now = now_ns();
        if deliveries.is_empty() {
            return Err(format!("only {} of {count} messages came", waits.len()).into());
        }
        began.get_or_insert_with(Instant::now);
        receipts.clear();
        for delivery in &deliveries {
            let sent = delivery
                .payload()
                .first_chunk()
                .map_or(now, |b| u64::from_le_bytes(*b));
            waits.push(now.saturating_sub(sent));
            receipts.push(delivery.receipt());
        }
        consumer.ack(&receipts)?;
    }
    let took = began.map_or(Duration::ZERO, |at| at.elapsed());
    if !producer.wait()?.success() {
        return Err("the producer process failed".into());
    }
    consumer.close()?;
    drop((consumer, topic));
    store.close()?;
    std::fs::remove_dir_all(path)?;
    Ok((took, waits))
}

/// The producer: store, count, messages a second (0 for as fast as it goes).
pub(crate) fn child(args: &[String]) -> Outcome<()> {
    let [path, count, pace] = args else {
        return Err("pair takes PATH COUNT PACE".into());
    };
    let (count, pace): (usize, u32) = (count.parse()?, pace.parse()?);
    let store = Store::open(Path::new(path), StoreOptions::default())?;
    let topic = store.topic("bench", &TopicOptions::default())?;
    let mut payload = [b'x'; 100];
    let began = Instant::now();
    for number in 0..count {
        if pace > 0 {
            let due = Duration::from_secs_f64(number as f64 / f64::from(pace));
            while let Some(left) = due.checked_sub(began.elapsed()) {
                if left > Duration::from_micros(60) {
                    std::thread::sleep(left - Duration::from_micros(55));
                } else {
                    std::hint::spin_loop();
                }
            }
        }
        payload[..8].copy_from_slice(&now_ns().to_le_bytes());
        topic.send(&Message::new(&payload))?;
    }
    drop(topic);
    store.close()?;
    Ok(())
}

fn now_ns() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos() as u64)
}
