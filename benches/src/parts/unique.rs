//! What it costs to send under a dedup id, and by a named producer, beside plain sends of the same
//! run; among few ids that are known, and among many.

use std::path::Path;
use std::time::{Duration, Instant};

use libqueue::{DedupWindow, Message, Store, StoreOptions, Topic, TopicOptions};

use crate::report::{Row, Table};
use crate::{Outcome, Scale};

const PAYLOAD: [u8; 100] = [b'x'; 100];
const HOUR: Duration = Duration::from_secs(3600);

/// How the messages are sent.
#[derive(Clone, Copy)]
enum How {
    Plain,
    Ids,
    /// So many ids are known already.
    IdsAmong(usize),
    Repeats,
    Producer,
}

pub(crate) fn run(folder: &Path, scale: Scale, table: &mut Table) -> Outcome<()> {
    let count = scale.cost;
    let best = |how| -> Outcome<(f64, u64)> {
        let (mut least, mut bytes) = (f64::MAX, 0);
        for _ in 0..scale.rounds.min(3) {
            let (took, size) = send(folder, count, how)?;
            least = least.min(took.as_nanos() as f64 / count as f64);
            bytes = size;
        }
        Ok((least, bytes))
    };
    let (base, _) = best(How::Plain)?;
    let rows = [
        ("plain (the base)", How::Plain),
        ("each with a new dedup id", How::Ids),
        ("the same, 10^6 ids are known", How::IdsAmong(count * 10)),
        ("each a repeat of an id", How::Repeats),
        ("by a named producer", How::Producer),
    ];
    for (name, how) in rows {
        let (value, bytes) = best(how)?;
        table.push(Row {
            name: format!("send one by one, {name}"),
            who: "Rust".into(),
            value,
            unit: "ns each",
            ratio: Some((value / base, "the base".into())),
        });
        if let How::IdsAmong(known) = how {
            table.push(Row {
                name: format!("tables of {} ids", known + count),
                who: "Rust".into(),
                value: bytes as f64 / (known + count) as f64,
                unit: "bytes an id",
                ratio: None,
            });
        }
    }
    Ok(())
}

fn send(folder: &Path, count: usize, how: How) -> Outcome<(Duration, u64)> {
    let path = folder.join("store");
    let store = Store::open(&path, StoreOptions::default())?;
    let options = TopicOptions {
        dedup_window: Some(DedupWindow::Time(HOUR)),
        ..TopicOptions::default()
    };
    let topic = store.topic("bench", &options)?;
    let took = match how {
        How::Plain => {
            let began = Instant::now();
            for _ in 0..count {
                topic.send(&Message::new(&PAYLOAD))?;
            }
            began.elapsed()
        }
        How::Ids => with_ids(&topic, 0..count)?,
        How::IdsAmong(known) => {
            with_ids(&topic, count..count + known)?;
            with_ids(&topic, 0..count)?
        }
        How::Repeats => {
            with_ids(&topic, 0..count)?;
            with_ids(&topic, 0..count)?
        }
        How::Producer => {
            let producer = topic.producer("bench")?;
            let began = Instant::now();
            for _ in 0..count {
                producer.send(&Message::new(&PAYLOAD), None)?;
            }
            began.elapsed()
        }
    };
    drop(topic);
    store.close()?;
    let tables = path.join("topics/bench/dedup");
    let bytes = match tables.exists() {
        true => std::fs::read_dir(tables)?
            .map(|entry| Ok(entry?.metadata()?.len()))
            .sum::<Outcome<u64>>()?,
        false => 0,
    };
    std::fs::remove_dir_all(path)?;
    Ok((took, bytes))
}

fn with_ids(topic: &Topic, numbers: std::ops::Range<usize>) -> Outcome<Duration> {
    let began = Instant::now();
    for number in numbers {
        let id = (number as u64).to_le_bytes();
        topic.send(&Message::new(&PAYLOAD).dedup_id(&id))?;
    }
    Ok(began.elapsed())
}
