//! Sending without syncs, one by one and in batches of 100, against the bare probe.

use std::path::Path;
use std::time::{Duration, Instant};

use libqueue::{Message, Store, StoreOptions, Topic, TopicOptions};

use crate::report::Table;
use crate::{Outcome, Scale, probe};

/// Alternates probe and libqueue; the best round of each counts.
pub(crate) fn run(folder: &Path, scale: Scale, size: usize, table: &mut Table) -> Outcome<()> {
    for batch in [1, 100] {
        let (mut limit, mut ours) = (Duration::MAX, Duration::MAX);
        for _ in 0..scale.rounds {
            limit = limit.min(probe::append(folder, size, scale.messages, batch)?);
            ours = ours.min(libqueue(folder, size, scale.messages, batch)?);
        }
        let how = if batch == 1 {
            "one by one"
        } else {
            "batches of 100"
        };
        let name = format!("append {how}, {size} B");
        table.rate(
            format!("limit: {name}"),
            "probe",
            scale.messages,
            limit,
            None,
        );
        table.rate(name, "Rust", scale.messages, ours, Some((limit, "probe")));
    }
    Ok(())
}

fn libqueue(folder: &Path, size: usize, count: usize, batch: usize) -> Outcome<Duration> {
    let path = folder.join("store");
    let store = Store::open(&path, StoreOptions::default())?;
    let topic = store.topic("bench", &TopicOptions::default())?;
    let payload = vec![b'x'; size];
    let began = Instant::now();
    fill(&topic, &payload, count, batch)?;
    let took = began.elapsed();
    drop(topic);
    store.close()?;
    std::fs::remove_dir_all(path)?;
    Ok(took)
}

/// Sends `count` messages, `batch` at a time.
pub(crate) fn fill(topic: &Topic, payload: &[u8], count: usize, batch: usize) -> Outcome<()> {
    if batch == 1 {
        for _ in 0..count {
            topic.send(&Message::new(payload))?;
        }
        return Ok(());
    }
    let messages = vec![Message::new(payload); batch];
    for _ in 0..count / batch {
        topic.send_many(&messages)?;
    }
    Ok(())
}
