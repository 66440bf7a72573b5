//! The paths that every message takes, a few thousand times, between two marks.
//!
//! For who counts instructions: `steps` does so in this process's child, and a profiler can be set
//! on `between_marks`.

use std::path::Path;
use std::time::Duration;

use libqueue::{Consumer, ConsumerOptions, Message, Store, StoreOptions, Topic, TopicOptions};

use crate::Outcome;
use crate::workers::fill;

/// Messages that go before the first mark, so that what happens once happened.
const WARM: usize = 200;

/// The work on `count` messages of `size` bytes in a store of its own; `mark` before and after.
pub(crate) fn run(
    folder: &Path,
    work: &str,
    size: usize,
    count: usize,
    mark: &dyn Fn(),
) -> Outcome<()> {
    let path = folder.join("hot");
    let store = Store::open(&path, StoreOptions::default())?;
    let topic = store.topic("bench", &TopicOptions::default())?;
    let consumer = topic.consumer("work", &ConsumerOptions::default())?;
    let payload = vec![b'x'; size];
    if work.starts_with("take") {
        fill(&topic, &payload, (count + WARM).next_multiple_of(100), 100)?;
    }
    between_marks(work, &topic, &consumer, &payload, WARM)?;
    mark();
    between_marks(work, &topic, &consumer, &payload, count)?;
    mark();
    consumer.close()?;
    drop((consumer, topic));
    store.close()?;
    std::fs::remove_dir_all(path)?;
    Ok(())
}

#[inline(never)]
fn between_marks(
    work: &str,
    topic: &Topic,
    consumer: &Consumer,
    payload: &[u8],
    count: usize,
) -> Outcome<()> {
    match work {
        "send" => send(topic, payload, count),
        "send 100" => fill(topic, payload, count, 100),
        "take" => take(consumer, count, 1),
        "take 100" => take(consumer, count, 100),
        other => {
            let what = format!("no work {other:?}; expected send, send 100, take or take 100");
            Err(what.into())
        }
    }
}

fn send(topic: &Topic, payload: &[u8], count: usize) -> Outcome<()> {
    for _ in 0..count {
        topic.send(&Message::new(payload))?;
    }
    Ok(())
}

fn take(consumer: &Consumer, count: usize, batch: usize) -> Outcome<()> {
    let mut receipts = Vec::with_capacity(batch);
    for _ in 0..count / batch {
        let deliveries = consumer.receive(batch, Some(Duration::from_secs(10)))?;
        if deliveries.len() != batch {
            return Err(format!("{} messages came; expected {batch}", deliveries.len()).into());
        }
        receipts.clear();
        receipts.extend(deliveries.iter().map(libqueue::Delivery::receipt));
        consumer.ack(&receipts)?;
    }
    Ok(())
}
