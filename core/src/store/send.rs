//! Sending: partition, checksum, append, and the wait that the durability asks for.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::message::{Message, MessageId};
use super::topic::{Topic, TopicInner};
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::body_crc;
use crate::format::{headers, murmur2};
use crate::log::{Draft, Room};
use crate::options::Durability;

/// How long a `sync` send waits for the disk.
const SYNC_TIMEOUT: Duration = Duration::from_secs(60);

impl Topic {
    /// Sends one message. Once it returns, the message survives `kill -9` of any process (P1), and
    /// power loss as the durability says (P2). On an error it is not in the log, except for
    /// [`ErrorKind::Timeout`] while waiting for the disk.
    #[inline]
    pub fn send(&self, message: &Message<'_>) -> Result<MessageId> {
        let inner = &*self.inner;
        inner.store.check_send()?;
        inner.follow()?;
        let (mut block, mut extension) = (Vec::new(), Vec::new());
        let draft = inner.draft(message, &mut block, &mut extension)?;
        let number = inner.choose(message)?;
        let offset = inner.append(number, &[draft])?;
        Ok(inner.id(number, offset))
    }

    /// As `send`, but `None` where it would have to wait for a lock, for room or for the disk.
    #[inline]
    pub fn try_send(&self, message: &Message<'_>) -> Result<Option<MessageId>> {
        let inner = &*self.inner;
        inner.store.check_send()?;
        inner.follow()?;
        if inner.durability() == Durability::Sync {
            return Ok(None);
        }
        let (mut block, mut extension) = (Vec::new(), Vec::new());
        let draft = inner.draft(message, &mut block, &mut extension)?;
        let number = inner.choose(message)?;
        let sent = inner.partitions[number as usize].try_append(&[draft])?;
        Ok(sent.map(|offset| inner.id(number, offset)))
    }

    /// Sends all or, on an error, none: one lock and one publish for each partition. The ids come
    /// in the order of the messages. Messages without key and partition go to one partition
    /// together.
    ///
    /// A batch for several partitions is whole in each of them. A death in the middle of the call
    /// may leave the parts of some partitions in the log and not the others', and a failed sync may
    /// take some back and not others: then the error names the partitions whose part is in the log.
    pub fn send_many(&self, messages: &[Message<'_>]) -> Result<Vec<MessageId>> {
        let inner = &*self.inner;
        inner.store.check_send()?;
        inner.follow()?;
        if messages.is_empty() {
            return Ok(Vec::new());
        }
        let mut blocks: Vec<Vec<u8>> = vec![Vec::new(); messages.len()];
        let mut extensions: Vec<Vec<u8>> = vec![Vec::new(); messages.len()];
        let mut drafts = Vec::with_capacity(messages.len());
        let mut numbers = Vec::with_capacity(messages.len());
        let together = inner.next_turn();
        let rooms = blocks.iter_mut().zip(&mut extensions);
        for (message, (block, extension)) in messages.iter().zip(rooms) {
            drafts.push(inner.draft(message, block, extension)?);
            numbers.push(inner.choose_or(message, together)?);
        }
        let ids = if numbers.iter().all(|number| *number == numbers[0]) {
            let first = inner.append(numbers[0], &drafts)?;
            (0..messages.len() as u64)
                .map(|place| inner.id(numbers[0], first + place))
                .collect()
        } else {
            inner.append_parted(&drafts, &numbers)?
        };
        Ok(ids)
    }
}

impl TopicInner {
    #[inline]
    pub(super) fn draft<'a>(
        &self,
        message: &Message<'a>,
        block: &'a mut Vec<u8>,
        extension: &'a mut Vec<u8>,
    ) -> Result<Draft<'a>> {
        headers::encode(message.headers, block)?;
        let attributes = message.attributes(|| self.store.env.clock.wall_ns())?;
        if !attributes.is_plain() {
            *extension = attributes.encode();
            if attributes.priority > 0 {
                self.note_priorities()?;
            }
        }
        let key = message.key.unwrap_or_default();
        let bytes = (key.len() + block.len() + message.payload.len()) as u64;
        if bytes > self.settings.max_message_bytes() {
            return Err(self.too_large(bytes));
        }
        Ok(Draft {
            extension,
            key: message.key,
            headers: block,
            payload: message.payload,
            timestamp_ns: message.timestamp_ns,
            body_crc: body_crc([extension, key, block, message.payload]),
            key_hash: message.key.map_or(0, murmur2::key_hash),
        })
    }

    #[cold]
    fn too_large(&self, bytes: u64) -> Error {
        let message = format!(
            "a message of {bytes} bytes (key, headers and payload) for topic {:?}; expected at \
             most {}",
            self.name,
            self.settings.max_message_bytes()
        );
        Error::new(ErrorKind::TooLarge, message)
    }

    #[inline]
    fn next_turn(&self) -> u32 {
        if self.count() == 1 {
            return 0;
        }
        self.turn.fetch_add(1, Ordering::Relaxed) % self.count()
    }

    #[inline]
    pub(super) fn choose(&self, message: &Message<'_>) -> Result<u32> {
        if self.count() == 1 && message.partition.is_none() {
            return Ok(0);
        }
        let keyed = message.key.is_some() || message.partition.is_some();
        self.choose_or(message, if keyed { 0 } else { self.next_turn() })
    }

    fn choose_or(&self, message: &Message<'_>, turn: u32) -> Result<u32> {
        match (message.partition, message.key) {
            (Some(number), _) => self.partition(number).map(|_| number),
            (None, Some(key)) => Ok(murmur2::partition_of(key, self.count())),
            (None, None) => Ok(turn),
        }
    }

    /// To one partition, as durably as the topic's durability says.
    #[inline]
    fn append(&self, number: u32, drafts: &[Draft<'_>]) -> Result<u64> {
        let partition = &self.partitions[number as usize];
        if self.durability() == Durability::Sync {
            partition.append_durably(drafts, Room::Ordinary, SYNC_TIMEOUT)
        } else {
            partition.append(drafts)
        }
    }

    /// Several partitions: each gets its part with one publish. Room is made in all of them before
    /// the first publish, so that a full disk leaves nothing.
    fn append_parted(&self, drafts: &[Draft<'_>], numbers: &[u32]) -> Result<Vec<MessageId>> {
        let mut parts: Vec<Vec<usize>> = vec![Vec::new(); self.partitions.len()];
        for (place, number) in numbers.iter().enumerate() {
            parts[*number as usize].push(place);
        }
        let part = |places: &[usize]| places.iter().map(|at| drafts[*at]).collect::<Vec<_>>();
        for (number, places) in parts
            .iter()
            .enumerate()
            .filter(|(_, places)| !places.is_empty())
        {
            self.partitions[number].make_room(&part(places))?;
        }
        let voids: Vec<u64> = self.partitions.iter().map(|log| log.voids()).collect();
        let (mut ids, mut done) = (vec![self.id(0, 0); drafts.len()], Vec::new());
        for (number, places) in parts
            .iter()
            .enumerate()
            .filter(|(_, places)| !places.is_empty())
        {
            let first = self.partitions[number].append(&part(places));
            let first = first.map_err(|error| sent_in_part(error, &done))?;
            done.push(number);
            for (turn, place) in places.iter().enumerate() {
                ids[*place] = self.id(number as u32, first + turn as u64);
            }
        }
        if self.durability() == Durability::Sync {
            self.wait_for(&ids, &voids)?;
        }
        Ok(ids)
    }

    fn wait_for(&self, ids: &[MessageId], voids: &[u64]) -> Result<()> {
        let (mut done, mut failed) = (Vec::new(), None);
        for (number, partition) in self.partitions.iter().enumerate() {
            let mine = ids.iter().filter(|id| id.partition == number as u32);
            let Some(last) = mine.map(|id| id.offset).max() else {
                continue;
            };
            match partition.ensure_durable_since(last + 1, voids[number], SYNC_TIMEOUT) {
                Ok(()) => done.push(number),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(()), |error| Err(sent_in_part(error, &done)))
    }
}

/// The error of a batch of which a part is in the log.
#[cold]
fn sent_in_part(error: Error, done: &[usize]) -> Error {
    if done.is_empty() {
        return error;
    }
    let numbers: Vec<String> = done.iter().map(usize::to_string).collect();
    error.context(format!(
        "the batch's messages for the partitions {} are in the log; do not send those again",
        numbers.join(", ")
    ))
}
