//! Receiving and acknowledging a preloaded topic, one by one and in batches of 100.

use std::path::Path;
use std::time::{Duration, Instant};

use libqueue::{ConsumerOptions, Store, StoreOptions, TopicOptions};

use crate::report::Table;
use crate::{Outcome, Scale, append, probe};

/// The limit is the probe's append of the same messages one by one.
pub(crate) fn run(folder: &Path, scale: Scale, size: usize, table: &mut Table) -> Outcome<()> {
    for batch in [1, 100] {
        let (mut limit, mut ours) = (Duration::MAX, Duration::MAX);
        for _ in 0..scale.rounds {
            limit = limit.min(probe::append(folder, size, scale.messages, 1)?);
            ours = ours.min(libqueue(folder, size, scale.messages, batch)?);
        }
        let how = if batch == 1 {
            "one by one"
        } else {
            "batches of 100"
        };
        let limit = Some((limit, "probe's append"));
        table.rate(
            format!("receive and ack {how}, {size} B"),
            "Rust",
            scale.messages,
            ours,
            limit,
        );
    }
    Ok(())
}

fn libqueue(folder: &Path, size: usize, count: usize, batch: usize) -> Outcome<Duration> {
    let path = folder.join("store");
    let store = Store::open(&path, StoreOptions::default())?;
    let topic = store.topic("bench", &TopicOptions::default())?;
    append::fill(&topic, &vec![b'x'; size], count, 100)?;
    let consumer = topic.consumer("work", &ConsumerOptions::default())?;
    let (began, mut seen, mut bytes) = (Instant::now(), 0, 0);
    while seen < count / 100 * 100 {
        let deliveries = consumer.receive(batch, Some(Duration::from_secs(10)))?;
        if deliveries.is_empty() {
            return Err(format!("only {seen} of {count} messages came").into());
        }
        bytes += deliveries.iter().map(|d| d.payload().len()).sum::<usize>();
        seen += deliveries.len();
        let receipts: Vec<_> = deliveries.iter().map(|d| d.receipt()).collect();
        consumer.ack(&receipts)?;
    }
    let took = began.elapsed();
    assert_eq!(bytes, seen * size, "a row counts only if every byte came");
    consumer.close()?;
    drop((consumer, topic));
    store.close()?;
    std::fs::remove_dir_all(path)?;
    Ok(took)
}
