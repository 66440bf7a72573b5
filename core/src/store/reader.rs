//! Readers: a cursor without a group; sees everything, settles nothing.

use std::time::{Duration, Instant};

use super::Handle;
use super::delivery::ReadMessage;
use super::topic::Topic;
use crate::error::{Error, ErrorKind, Result};
use crate::format::control::block as words;
use crate::log::{Cursor, Step};
use crate::options::{ReaderOptions, Start};
use crate::shm::EventCount;

const BEAT: Duration = Duration::from_millis(50);

/// Reads a topic. One thread at a time.
pub struct Reader {
    topic: Topic,
    cursors: Vec<(u32, Cursor)>,
    turn: usize,
    pending: Option<Error>,
    _handle: Handle,
}

impl Topic {
    /// A reader of the topic. Where it starts at an offset and the topic has several partitions,
    /// one partition must be named.
    pub fn reader(&self, options: &ReaderOptions) -> Result<Reader> {
        self.inner.store.check_open()?;
        let all = || (0..self.partitions()).collect();
        let numbers: Vec<u32> = options.partitions.clone().unwrap_or_else(all);
        if numbers.is_empty() {
            let message = "partitions is empty; name at least one, or leave it out for all";
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        let mut cursors = Vec::new();
        for number in numbers {
            self.inner.partition(number)?;
            if cursors.iter().any(|(named, _)| *named == number) {
                let message = format!("partition {number} is named twice; name each once");
                return Err(Error::new(ErrorKind::InvalidArgument, message));
            }
            cursors.push((number, Cursor::at_offset(0)));
        }
        let handle = self
            .inner
            .store
            .register_handle(format!("reader of topic {:?}", self.name()));
        let mut reader = Reader {
            topic: self.clone(),
            cursors,
            turn: 0,
            pending: None,
            _handle: handle,
        };
        reader.seek(options.start)?;
        Ok(reader)
    }
}

impl Reader {
    /// Moves all its partitions to a place; an offset only where there is one partition.
    pub fn seek(&mut self, start: Start) -> Result<()> {
        if matches!(start, Start::Offset(_)) && self.cursors.len() != 1 {
            let message = format!(
                "an offset means a place in one partition, this reader has {}; name one partition",
                self.cursors.len()
            );
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        for (number, cursor) in &mut self.cursors {
            *cursor = self.topic.inner.partition(*number)?.seek(start)?;
        }
        self.pending = None;
        Ok(())
    }

    /// Up to `max` messages, waiting for the first at most `timeout` (`None`: for ever; zero: not
    /// at all). Empty at the end. Damage is raised once, then passed over (P3).
    pub fn receive(&mut self, max: usize, timeout: Option<Duration>) -> Result<Vec<ReadMessage>> {
        if max == 0 {
            let message = "max is 0; expected at least 1";
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let (mut found, mut looked_again) = (Vec::new(), false);
        loop {
            self.topic.inner.store.check_open()?;
            self.topic.inner.follow()?;
            if let Some(error) = self.pending.take() {
                return Err(error);
            }
            self.collect(max, &mut found)?;
            if !found.is_empty() {
                return Ok(found);
            }
            if self.pending.is_some() {
                continue;
            }
            let mut freed = false;
            for (number, _) in &self.cursors {
                freed |= self.topic.inner.partition(*number)?.tend_large()?;
            }
            if freed {
                continue;
            }
            let left = deadline.map_or(BEAT, |at| at.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                // Another one may have made padding of what hid it, after the look (P1).
                if std::mem::replace(&mut looked_again, true) || !self.is_behind()? {
                    return Ok(found);
                }
                continue;
            }
            let head = self.topic.inner.block.head.clone();
            let token = EventCount::prepare(head.word32(words::EVENT));
            EventCount::prepare(head.word32(words::GROUPS_EVENT));
            self.collect(max, &mut found)?;
            if !found.is_empty() {
                return Ok(found);
            }
            EventCount::wait(head.word32(words::EVENT), token, BEAT.min(left));
        }
    }

    /// Whether there is more than was read.
    fn is_behind(&self) -> Result<bool> {
        for (number, cursor) in &self.cursors {
            if cursor.offset < self.topic.inner.partition(*number)?.next_offset() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn collect(&mut self, max: usize, found: &mut Vec<ReadMessage>) -> Result<()> {
        let count = self.cursors.len();
        self.turn = self.turn.wrapping_add(1);
        for turn in 0..count {
            let at = (self.turn + turn) % count.max(1);
            let (number, mut cursor) = self.cursors[at];
            let read = self.read(number, &mut cursor, max, found);
            self.cursors[at].1 = cursor;
            read?;
        }
        Ok(())
    }

    fn read(
        &mut self,
        number: u32,
        cursor: &mut Cursor,
        max: usize,
        found: &mut Vec<ReadMessage>,
    ) -> Result<()> {
        let topic = &self.topic.inner;
        let log = topic.partition(number)?;
        while found.len() < max {
            match log.look(cursor)? {
                Step::Record {
                    offset,
                    position,
                    next,
                    ..
                } => {
                    match log.record(offset, position) {
                        Ok(record) => {
                            *cursor = next;
                            let topic_id = topic.uid;
                            found.push(ReadMessage {
                                record,
                                topic_id,
                                partition: number,
                                origin: None,
                            });
                        }
                        Err(error) => {
                            // Anything else may be gone another time, and costs no message.
                            if error.kind() == ErrorKind::Damaged {
                                *cursor = next;
                            }
                            self.pending = Some(error);
                            return Ok(());
                        }
                    }
                }
                Step::Damaged => {
                    let (next, error) = log.skip_damage(cursor)?;
                    *cursor = next;
                    self.pending = Some(error);
                    return Ok(());
                }
                Step::End | Step::NotMapped => return Ok(()),
            }
        }
        Ok(())
    }

    /// The topic it reads.
    #[must_use]
    pub fn topic(&self) -> &Topic {
        &self.topic
    }
}
