//! Sending the messages of an imported topic to one that exists.

use std::time::Duration;

use crate::error::{Error, Result};
use crate::log::Record;
use crate::store::{Message, Store, Topic};

/// Messages of a batch, and bytes of their payloads that end one.
const MOST: usize = 512;
const BYTES: usize = 1 << 20;
const NS_PER_MS: i64 = 1_000_000;

/// Sends all messages of a topic of another store to the one of its name, as whoever sends; how
/// many. Keys find their partitions as those of any message, or the same ones where there are as
/// many.
pub(super) fn append(store: &Store, from: &Topic) -> Result<u64> {
    let to = store.open_topic(from.name())?;
    let same = to.partitions() == from.partitions();
    let mut sent = 0;
    for partition in &from.inner.partitions {
        let log = partition.pin()?;
        let number = same.then(|| partition.number());
        let (mut batch, mut bytes) = (Vec::new(), 0);
        let mut flush = |batch: &mut Vec<Record>| {
            sent += send(&to, batch, number).map_err(|error| told(error, from.name(), sent))?;
            batch.clear();
            Ok::<(), Error>(())
        };
        partition.each_pinned(&log, &mut |record| {
            bytes += record.payload().len();
            batch.push(record.clone());
            if batch.len() >= MOST || bytes >= BYTES {
                bytes = 0;
                flush(&mut batch)?;
            }
            Ok(())
        })?;
        flush(&mut batch)?;
    }
    Ok(sent)
}

fn send(to: &Topic, batch: &[Record], partition: Option<u32>) -> Result<u64> {
    let headers: Vec<Vec<(&str, &[u8])>> = batch
        .iter()
        .map(|record| record.headers().collect())
        .collect();
    let now_ms = to.inner.store.env.clock.wall_ms() as i64;
    let messages = batch.iter().zip(&headers).map(|(record, headers)| {
        let says = record.attributes();
        let left = |at: i64| Duration::from_millis(at.saturating_sub(now_ms).max(0) as u64);
        Message {
            payload: record.payload(),
            key: record.key(),
            headers,
            partition,
            timestamp_ns: Some(record.timestamp_ns),
            delay: None,
            deliver_at_ns: says.deliver_at_ms.map(|at| at.saturating_mul(NS_PER_MS)),
            ttl: says.expires_at_ms.map(left),
            priority: says.priority,
            dedup_id: None,
        }
    });
    let messages: Vec<Message<'_>> = messages.collect();
    to.send_many(&messages).map(|ids| ids.len() as u64)
}

#[cold]
fn told(error: Error, topic: &str, sent: u64) -> Error {
    error.context(format!(
        "{sent} messages were appended to topic {topic:?}, and no topic was made; import the rest \
         from the store that they are of"
    ))
}
