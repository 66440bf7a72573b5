//! Dead letters: finding them again.

use std::sync::Arc;

use super::delivery::ReadMessage;
use super::group::{Group, GroupInner};
use super::message::MessageId;
use super::source::{HELD, letter_of, number, text};
use super::topic::TopicInner;
use crate::error::{Error, ErrorKind, Result};
use crate::format::window::state;
use crate::group::Window;
use crate::log::{Cursor, Record, Step};

/// A message that holds its key: partition, offset, and the hand-out in which it died.
pub(super) type HeldMessage = (u32, u64, u32);

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
    /// Name of the topic it was in.
    pub source_topic: String,
    /// The id it had.
    pub source_id: MessageId,
    /// When it first failed, in nanoseconds since the Unix epoch; 0 if that is not known.
    pub first_failed_ns: i64,
    /// When it became a dead letter.
    pub last_failed_ns: i64,
    /// How often it came back dead from a redrive; 0 in its first dead letter.
    pub cycles: u32,
}

impl DeadLetterEntry {
    /// A record of the topic that the group's letters are in, if it is one of them.
    pub(super) fn of(group: &GroupInner, target: &TopicInner, record: &Record) -> Option<Self> {
        let source = letter_of(group, record)?;
        let message = ReadMessage {
            record: record.clone(),
            topic_id: target.uid,
            partition: 0,
            origin: None,
        };
        let topic_id = (group.lane_of.as_ref()).map_or(group.topic.uid, |of| of.topic_id);
        Some(Self {
            message,
            source_partition: source.partition,
            source_offset: source.offset,
            attempts: number(record, "lq-attempts").unwrap_or(0),
            failures: number(record, "lq-failures").unwrap_or(0),
            error: text(record, "lq-error").to_owned(),
            consumer: text(record, "lq-consumer").to_owned(),
            source_topic: source.topic.to_owned(),
            source_id: MessageId {
                topic_id,
                partition: source.partition,
                offset: source.offset,
            },
            first_failed_ns: number(record, "lq-first-failed").unwrap_or(0),
            last_failed_ns: number(record, "lq-last-failed").unwrap_or(0),
            cycles: source.cycles,
        })
    }
}

/// Calls `each` for the records of a dead-letter topic, and `damaged` for what is none any more,
/// until one of them says that it is enough; where to go on from there.
pub(super) fn walk(
    target: &TopicInner,
    from: Cursor,
    mut each: impl FnMut(u64, &Record) -> bool,
    mut damaged: impl FnMut(Error) -> bool,
) -> Result<Cursor> {
    let (log, mut cursor) = (&target.partitions[0], from);
    let earliest = log.earliest_offset()?;
    if cursor.offset < earliest {
        cursor = Cursor::at_offset(earliest);
    }
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
                cursor = next;
                if !more {
                    return Ok(cursor);
                }
            }
            Step::Damaged => {
                let (next, error) = log.skip_damage(&cursor)?;
                cursor = next;
                if error.kind() != ErrorKind::Removed && !damaged(error) {
                    return Ok(cursor);
                }
            }
            Step::End | Step::NotMapped => return Ok(cursor),
        }
    }
}

/// How many hand-outs of a dead letter's message failed.
pub(super) fn failures_of(record: &Record) -> u32 {
    number(record, "lq-failures").unwrap_or(0)
}

/// Of a letter whose message holds its key: in which hand-out it died. The letter is dead exactly
/// while the message's entry says that it holds its key since that hand-out; else it is what is
/// left of one that was redriven or purged.
pub(super) fn held_attempts(record: &Record) -> Option<u32> {
    let held = record.headers().any(|(name, _)| name == HELD);
    held.then(|| number(record, "lq-attempts").unwrap_or(0))
}

impl GroupInner {
    /// Whether a letter of this group is dead: as a rule yes.
    pub(super) fn is_dead(&self, partition: u32, offset: u64, record: &Record) -> Result<bool> {
        match held_attempts(record) {
            Some(_) if partition as usize >= self.windows.len() => Ok(false),
            Some(attempts) => {
                // One from before a seek is of a message that came again, or was passed over.
                let settings = self.settings()?;
                let sought = settings.sought.get(partition as usize);
                if sought.is_some_and(|sought| record.offset < sought.dead_from) {
                    return Ok(false);
                }
                self.with_window(partition, |window| window.is_holding(offset, attempts))
            }
            None => Ok(true),
        }
    }

    /// Ends the holding of messages, as `end` does in their windows; which of them held their keys
    /// since the hand-out that is named. On disk before it returns, with one sync for each window.
    pub(super) fn end_holding(
        &self,
        held: &[HeldMessage],
        end: fn(&Window, u64, u32) -> bool,
    ) -> Result<Vec<bool>> {
        let mut ended = vec![false; held.len()];
        for number in 0..self.windows.len() as u32 {
            if held.iter().all(|one| one.0 != number) {
                continue;
            }
            let any = self.with_window(number, |window| {
                let mut any = false;
                for (place, (_, offset, attempts)) in held.iter().enumerate() {
                    if held[place].0 == number {
                        ended[place] = end(window, *offset, *attempts);
                        any |= ended[place];
                    }
                }
                any
            })?;
            if any {
                self.wake(u32::MAX);
                self.sync_window(number)?;
            }
        }
        Ok(ended)
    }
}

impl Group {
    /// Up to `most` dead letters of this group, oldest first; none where they are dropped, and none
    /// of those that were redriven or purged. A damaged one is told of once by each process (P3),
    /// then passed over.
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
        let lane = group.lane()?;
        // Those before the floor were redriven or purged, and that was done with.
        let from = match &lane {
            Some(lane) => lane.with_window(0, |window| window.floor())?,
            None => 0,
        };
        let (mut untold, mut failed) = (None, Ok(()));
        let each = |offset, record: &Record| {
            let Some(letter) = DeadLetterEntry::of(group, &target, record) else {
                return true;
            };
            match group.is_dead(letter.source_partition, letter.source_offset, record) {
                Ok(true) => {}
                Ok(false) => return true,
                Err(error) => {
                    failed = Err(error);
                    return false;
                }
            }
            let state = match &lane {
                Some(lane) => lane.with_window(0, |window| window.seen(offset).state),
                None => Ok(state::FRESH),
            };
            match state {
                Ok(state::FRESH | state::DEAD) => found.push(letter),
                Ok(_) => {}
                Err(error) => failed = Err(error),
            }
            found.len() < most && failed.is_ok()
        };
        walk(&target, Cursor::at_offset(from), each, |error| {
            let mut told = super::inner::locked(&group.told);
            if told.insert(error.message().to_owned()) {
                untold = Some(error);
            }
            untold.is_none()
        })?;
        failed?;
        untold.map_or(Ok(found), Err)
    }
}
