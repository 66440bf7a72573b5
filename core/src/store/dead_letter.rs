//! Dead letters: finding them again, and what their headers say.

use std::sync::Arc;

use super::delivery::ReadMessage;
use super::group::{Group, GroupInner};
use super::letter::HELD;
use super::topic::TopicInner;
use crate::error::{Error, ErrorKind, Result};
use crate::group::Window;
use crate::log::{Cursor, Record, Step};

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

/// Calls `each` for the records of a dead-letter topic, and `damaged` for what is none any more,
/// until one of them says that it is enough.
pub(super) fn walk(
    target: &TopicInner,
    from: u64,
    mut each: impl FnMut(u64, &Record) -> bool,
    mut damaged: impl FnMut(Error) -> bool,
) -> Result<()> {
    let log = &target.partitions[0];
    let mut cursor = Cursor::at_offset(from.max(log.earliest_offset()?));
    loop {
        match log.look(&mut cursor)? {
            Step::Record {
                offset,
                position,
                next,
                ..
            } => {
                let more = match log.record(offset, position) {
                    Ok(record) => each(offset, &record),
                    Err(error) if error.kind() == ErrorKind::Damaged => damaged(error),
                    Err(error) => return Err(error),
                };
                if !more {
                    return Ok(());
                }
                cursor = next;
            }
            Step::Damaged => {
                let (next, error) = log.skip_damage(&cursor)?;
                cursor = next;
                if !damaged(error) {
                    return Ok(());
                }
            }
            Step::End | Step::NotMapped => return Ok(()),
        }
    }
}

/// Where a dead letter came from.
pub(super) struct Source<'a> {
    pub(super) topic: &'a str,
    pub(super) group: &'a str,
    pub(super) partition: u32,
    pub(super) offset: u64,
}

fn text<'a>(record: &'a Record, name: &str) -> &'a str {
    let found = record.headers().find(|(known, _)| *known == name);
    found
        .and_then(|(_, value)| std::str::from_utf8(value).ok())
        .unwrap_or_default()
}

pub(super) fn source_of(record: &Record) -> Option<Source<'_>> {
    Some(Source {
        topic: text(record, "lq-source-topic"),
        group: text(record, "lq-group"),
        partition: text(record, "lq-source-partition").parse().ok()?,
        offset: text(record, "lq-source-offset").parse().ok()?,
    })
}

/// How many hand-outs of a dead letter's message failed.
pub(super) fn failures_of(record: &Record) -> u32 {
    text(record, "lq-failures").parse().unwrap_or(0)
}

/// Of a letter whose message holds its key: in which hand-out it died. The letter is dead exactly
/// while the message's entry says that it holds its key since that hand-out; else it is what is left
/// of one that was redriven or purged.
pub(super) fn held_attempts(record: &Record) -> Option<u32> {
    let held = record.headers().any(|(name, _)| name == HELD);
    held.then(|| text(record, "lq-attempts").parse().unwrap_or(0))
}

impl GroupInner {
    /// Whether a letter of this group is dead: as a rule yes.
    pub(super) fn is_dead(&self, source: &Source<'_>, record: &Record) -> Result<bool> {
        let (partition, offset) = (source.partition, source.offset);
        match held_attempts(record) {
            Some(_) if partition as usize >= self.windows.len() => Ok(false),
            Some(attempts) => {
                self.with_window(partition, |window| window.is_holding(offset, attempts))
            }
            None => Ok(true),
        }
    }

    /// Hands a message out again that holds its key, before all that waits for it, with its failures
    /// from 0; durable before it returns. False where it does not hold it since this hand-out.
    pub(super) fn redrive_held(&self, partition: u32, offset: u64, attempts: u32) -> Result<bool> {
        self.end_holding(partition, |window| window.redrive_held(offset, attempts))
    }

    /// Settles a message that holds its key, which goes on; otherwise as `redrive_held`.
    pub(super) fn purge_held(&self, partition: u32, offset: u64, attempts: u32) -> Result<bool> {
        self.end_holding(partition, |window| window.purge_held(offset, attempts))
    }

    fn end_holding(&self, partition: u32, end: impl FnOnce(&Window) -> bool) -> Result<bool> {
        if partition as usize >= self.windows.len() {
            return Ok(false);
        }
        let ended = self.with_window(partition, |window| end(window).then(|| window.syncer()))?;
        let Some(window) = ended else {
            return Ok(false);
        };
        self.wake(u32::MAX);
        window.sync()?;
        Ok(true)
    }
}

impl Group {
    /// Up to `most` dead letters of this group, oldest first; none where they are dropped. A
    /// damaged one is told of once by each process (P3), then passed over.
    pub fn dead_letters(&self, most: usize) -> Result<Vec<DeadLetterEntry>> {
        let group = &*self.inner;
        let store = &group.topic.store;
        store.check_open()?;
        let mut found = Vec::new();
        let Some(name) = group.dead_letter_topic().filter(|_| most > 0) else {
            return Ok(found);
        };
        let target: Arc<TopicInner> = match store.topic_inner(&name) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(found),
            opened => opened?,
        };
        let (mut untold, mut failed) = (None, None);
        let each = |_, record: &Record| {
            if let Some(source) = source_of(record)
                && source.topic == group.topic.name
                && source.group == group.name
            {
                match group.is_dead(&source, record) {
                    Ok(true) => {}
                    Ok(false) => return true,
                    Err(error) => {
                        failed = Some(error);
                        return false;
                    }
                }
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
                    failures: failures_of(record),
                    error: text(record, "lq-error").to_owned(),
                    consumer: text(record, "lq-consumer").to_owned(),
                });
            }
            found.len() < most
        };
        walk(&target, 0, each, |error| {
            let mut told = super::inner::locked(&group.told);
            if told.insert(error.message().to_owned()) {
                untold = Some(error);
            }
            untold.is_none()
        })?;
        failed.or(untold).map_or(Ok(found), Err)
    }
}
