//! Sending and receiving while a topic of the same store is compacted, beside the same without.

use std::path::Path;
use std::time::{Duration, Instant};

use libqueue::{ConsumerOptions, Message, Store, StoreOptions, Topic, TopicOptions};

use crate::report::Table;
use crate::{Outcome, Scale};

const SIZE: usize = 1024;
const KEYS: usize = 1000;
const BATCH: usize = 100;
/// Housekeeping looks once a second.
const BOUND: Duration = Duration::from_secs(60);

/// The limit is the same work in the same store before anything is compacted.
pub(crate) fn run(folder: &Path, scale: Scale, table: &mut Table) -> Outcome<()> {
    let path = folder.join("store");
    let store = Store::open(&path, StoreOptions::default())?;
    let prices = store.topic("prices", &TopicOptions::default())?;
    let payload = vec![b'x'; SIZE];
    let keys: Vec<[u8; 8]> = (0..KEYS as u64).map(u64::to_le_bytes).collect();
    for first in (0..scale.messages).step_by(BATCH) {
        let each = (first..first + BATCH).map(|number| &keys[number % KEYS]);
        let messages: Vec<_> = each.map(|key| Message::new(&payload).key(key)).collect();
        prices.send_many(&messages)?;
    }
    let alone = work(&store, "alone", scale.messages)?;
    let began = Instant::now();
    prices.configure(&TopicOptions {
        compaction: Some(true),
        ..TopicOptions::default()
    })?;
    // From when it is at it; the short form may be over by then.
    while !is_under_way(&path, &prices)? {
        if began.elapsed() > BOUND {
            return Err("nothing was compacted".into());
        }
    }
    let beside = work(&store, "beside", scale.messages)?;
    while prices.stats()?.compacted_messages == 0 {
        if began.elapsed() > BOUND {
            return Err("nothing was compacted".into());
        }
    }
    table.rate(
        format!("send, receive and ack beside compaction, {SIZE} B"),
        "Rust",
        scale.messages,
        beside,
        Some((alone, "the same without")),
    );
    drop(prices);
    store.close()?;
    std::fs::remove_dir_all(path)?;
    Ok(())
}

fn is_under_way(path: &Path, topic: &Topic) -> Outcome<bool> {
    let names = std::fs::read_dir(path.join("topics/prices/0"))?;
    let written = names
        .filter_map(Result::ok)
        .any(|name| name.file_name().to_string_lossy().ends_with(".log.new"));
    Ok(written || topic.stats()?.compacted_messages > 0)
}

fn work(store: &Store, name: &str, count: usize) -> Outcome<Duration> {
    let topic = store.topic(name, &TopicOptions::default())?;
    let consumer = topic.consumer("work", &ConsumerOptions::default())?;
    let payload = vec![b'x'; SIZE];
    let messages: Vec<_> = (0..BATCH).map(|_| Message::new(&payload)).collect();
    let (began, mut seen) = (Instant::now(), 0);
    while seen < count {
        topic.send_many(&messages)?;
        let got = consumer.receive(BATCH, Some(Duration::ZERO))?;
        let receipts: Vec<_> = got.iter().map(|one| one.receipt()).collect();
        consumer.ack(&receipts)?;
        seen += got.len();
    }
    let took = began.elapsed();
    consumer.close()?;
    Ok(took)
}
