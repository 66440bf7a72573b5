//! The move to the dead letters, atomic through any kill and power loss (P12).
//!
//! The window keeps, on disk, an offset of the dead-letter topic below which nothing can be that is
//! not settled here. A mover (one at a time) first looks from there on for messages that a mover who
//! died had appended already, and settles those; then it appends the rest, syncs the topic (the log
//! before a settle), settles them, syncs the window, and raises the offset. A death between any two
//! steps is finished by the next mover, and no step loses or doubles a message.

use std::sync::{Arc, PoisonError};

use super::delivery::ReadMessage;
use super::group::{Group, GroupInner};
use super::topic::TopicInner;
use crate::error::{ErrorKind, Result};
use crate::format::headers;
use crate::format::record::body_crc;
use crate::group::Dying;
use crate::log::{Cursor, Draft, Record, Step};
use crate::options::TopicOptions;
use crate::shm::OwnerLock;

const BATCH: usize = 256;
/// Word of the group's block: lock of the one who moves.
const MOVER_LOCK: usize = 24;

/// A dead letter of a group.
#[derive(Clone, Debug)]
pub struct DeadLetterEntry {
    /// The dead letter itself, with its id in the dead-letter topic.
    pub message: ReadMessage,
    /// Partition it was in.
    pub source_partition: u32,
    /// Offset it had.
    pub source_offset: u64,
    /// How often it was handed out.
    pub attempts: u32,
    /// How many of those failed.
    pub failures: u32,
    /// The last error.
    pub error: String,
    /// The last consumer.
    pub consumer: String,
}

/// Moves what is dying in a partition. Returns at once if somebody else is at it.
pub(super) fn move_dying(group: &GroupInner, partition: u32) -> Result<()> {
    let store = &group.topic.store;
    let env = &*store.env;
    let lock = group.block.head.word32(MOVER_LOCK);
    let patience = std::time::Duration::from_millis(1);
    let _held = match OwnerLock::hold(lock, env.me, &*env.live, patience) {
        Ok((held, _)) => held,
        Err(error) if error.kind() == ErrorKind::Stuck => return Ok(()),
        Err(error) => return Err(error),
    };
    loop {
        let (dying, from) = group.with_window(partition, |window| {
            (window.dying(BATCH), window.dead_from())
        })?;
        if dying.is_empty() {
            return Ok(());
        }
        let offsets: Vec<u64> = dying.iter().map(|dead| dead.offset).collect();
        let Some(name) = group.dead_letter_topic() else {
            group.with_window(partition, |window| window.settle_dead(&offsets))?;
            continue;
        };
        let target = match store.topic_inner(&name) {
            Err(e) if e.kind() == ErrorKind::NotFound => {
                store.create(&name, &TopicOptions::default())?;
                store.topic_inner(&name)?
            }
            opened => opened?,
        };
        let there = already_there(&target, from, group, partition)?;
        let (moved, rest): (Vec<Dying>, Vec<Dying>) = dying
            .into_iter()
            .partition(|dead| there.contains(&dead.offset));
        append(group, partition, &target, &rest)?;
        let log = &target.partitions[0];
        log.ensure_durable(log.next_offset(), env.lock_timeout)?;
        let end = log.next_offset();
        let done: Vec<u64> = moved.iter().chain(&rest).map(|dead| dead.offset).collect();
        let syncer = group.with_window(partition, |window| {
            window.settle_dead(&done);
            window.syncer()
        })?;
        syncer.sync()?;
        group.with_window(partition, |window| window.set_dead_from(end))?;
        forget_reasons(group, partition, &done);
    }
}

fn forget_reasons(group: &GroupInner, partition: u32, done: &[u64]) {
    let mut reasons = group.reasons.lock().unwrap_or_else(PoisonError::into_inner);
    done.iter().for_each(|offset| {
        reasons.remove(&(partition, *offset));
    });
}

/// Source offsets of this group's messages in the dead-letter topic from an offset on.
fn already_there(
    target: &TopicInner,
    from: u64,
    group: &GroupInner,
    partition: u32,
) -> Result<Vec<u64>> {
    let mut found = Vec::new();
    walk(target, from, |_, record| {
        if let Some(source) = source_of(record)
            && source.topic == group.topic.name
            && source.group == group.name
            && source.partition == partition
        {
            found.push(source.offset);
        }
        true
    })?;
    Ok(found)
}

/// Calls `each` for the records of a dead-letter topic; damage is passed over.
fn walk(target: &TopicInner, from: u64, mut each: impl FnMut(u64, &Record) -> bool) -> Result<()> {
    let log = &target.partitions[0];
    let mut cursor = Cursor::at_offset(from.max(log.earliest_offset()?));
    while log.resolve(&mut cursor)? {
        match log.step(&mut cursor) {
            Step::Record {
                offset,
                position,
                next,
                ..
            } => {
                if let Ok(record) = log.record(offset, position)
                    && !each(offset, &record)
                {
                    return Ok(());
                }
                cursor = next;
            }
            Step::NotMapped => {}
            Step::Damaged => cursor = log.skip_damage(&cursor)?.0,
            Step::End => return Ok(()),
        }
    }
    Ok(())
}

struct Source<'a> {
    topic: &'a str,
    group: &'a str,
    partition: u32,
    offset: u64,
}

fn text<'a>(record: &'a Record, name: &str) -> &'a str {
    let found = record.headers().find(|(known, _)| *known == name);
    found
        .and_then(|(_, value)| std::str::from_utf8(value).ok())
        .unwrap_or_default()
}

fn source_of(record: &Record) -> Option<Source<'_>> {
    Some(Source {
        topic: text(record, "lq-source-topic"),
        group: text(record, "lq-group"),
        partition: text(record, "lq-source-partition").parse().ok()?,
        offset: text(record, "lq-source-offset").parse().ok()?,
    })
}

fn append(group: &GroupInner, partition: u32, target: &TopicInner, dying: &[Dying]) -> Result<()> {
    let log = &group.topic.partitions[partition as usize];
    for dead in dying {
        let record = match log.record(dead.offset, dead.position) {
            Err(error) if error.kind() == ErrorKind::Damaged => continue,
            read => read?,
        };
        let block = headers_of(group, partition, dead, &record)?;
        let (key, payload) = (record.key(), record.payload());
        let draft = Draft {
            key,
            headers: &block,
            payload,
            timestamp_ns: None,
            body_crc: body_crc(key.unwrap_or_default(), &block, payload),
            key_hash: key.map_or(0, crate::format::murmur2::key_hash),
        };
        target.partitions[0].append(&[draft])?;
    }
    Ok(())
}

/// The message's own headers, and where it came from.
fn headers_of(
    group: &GroupInner,
    partition: u32,
    dead: &Dying,
    record: &Record,
) -> Result<Vec<u8>> {
    let (error, consumer) = {
        let reasons = group.reasons.lock().unwrap_or_else(PoisonError::into_inner);
        let unknown = || {
            (
                "the lease ran out or the consumer died".to_owned(),
                String::new(),
            )
        };
        reasons
            .get(&(partition, dead.offset))
            .cloned()
            .unwrap_or_else(unknown)
    };
    let now = group.topic.store.env.clock.wall_ns();
    let own: [(&str, String); 10] = [
        ("lq-source-topic", group.topic.name.clone()),
        ("lq-source-partition", partition.to_string()),
        ("lq-source-offset", dead.offset.to_string()),
        ("lq-group", group.name.clone()),
        ("lq-attempts", dead.attempts.to_string()),
        ("lq-failures", dead.failures.to_string()),
        ("lq-error", error),
        ("lq-consumer", consumer),
        (
            "lq-first-failed",
            (dead.first_failed_ms * 1_000_000).to_string(),
        ),
        ("lq-last-failed", now.to_string()),
    ];
    let mut all: Vec<(&str, &[u8])> = record.headers().collect();
    all.extend(own.iter().map(|(name, value)| (*name, value.as_bytes())));
    let mut block = Vec::new();
    headers::encode(&all, &mut block)?;
    Ok(block)
}

impl Group {
    /// Up to `most` dead letters of this group, oldest first; none where they are dropped.
    pub fn dead_letters(&self, most: usize) -> Result<Vec<DeadLetterEntry>> {
        let group = &*self.inner;
        let store = &group.topic.store;
        store.check_open()?;
        let mut found = Vec::new();
        let Some(name) = group.dead_letter_topic() else {
            return Ok(found);
        };
        let target: Arc<TopicInner> = match store.topic_inner(&name) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(found),
            opened => opened?,
        };
        walk(&target, 0, |_, record| {
            if let Some(source) = source_of(record)
                && source.topic == group.topic.name
                && source.group == group.name
            {
                let message = ReadMessage {
                    record: record.clone(),
                    topic_id: target.uid,
                    partition: 0,
                };
                found.push(DeadLetterEntry {
                    message,
                    source_partition: source.partition,
                    source_offset: source.offset,
                    attempts: text(record, "lq-attempts").parse().unwrap_or(0),
                    failures: text(record, "lq-failures").parse().unwrap_or(0),
                    error: text(record, "lq-error").to_owned(),
                    consumer: text(record, "lq-consumer").to_owned(),
                });
            }
            found.len() < most
        })?;
        Ok(found)
    }
}
