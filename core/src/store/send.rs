//! Sending: partition, checksum, append, and the wait that the durability asks for.

use std::cell::RefCell;
use std::time::Duration;

use super::draft::RoomForOne;
use super::flow::{Beat, Patience, Through, Way};
use super::message::{Message, MessageId};
use super::topic::{Topic, TopicInner};
use crate::error::{Error, Result};
use crate::log::{Draft, Gate, Room};
use crate::options::Durability;

/// How long a `sync` send waits for the disk.
pub(super) const SYNC_TIMEOUT: Duration = Duration::from_secs(60);

impl Topic {
    /// Sends one message. Once it returns, the message survives `kill -9` of any process (P1), and
    /// power loss as the durability says (P2). On an error it is not in the log, except for
    /// [`Timeout`](crate::ErrorKind::Timeout) while waiting for the disk.
    ///
    /// In a topic with a limit that it has reached (P14): [`Full`](crate::ErrorKind::Full), or a
    /// wait for room and [`Timeout`](crate::ErrorKind::Timeout) after the topic's `send_timeout`,
    /// or the oldest messages are dropped, as its `on_full` says.
    /// [`TooLarge`](crate::ErrorKind::TooLarge) for more than the limit itself.
    #[inline]
    pub fn send(&self, message: &Message<'_>) -> Result<MessageId> {
        let inner = &self.inner;
        inner.store.check_send()?;
        inner.follow()?;
        if let Some(id) = message.dedup_id {
            return inner.send_unique_one(message, id, &self.way(Patience::Stored, None));
        }
        let number = inner.choose(message)?;
        let mut room = RoomForOne::default();
        let draft = inner.draft_one(message, &mut room)?;
        let offset = if inner.settings.is_limited() {
            self.append_limited(number, &[draft], &Wait::stored())?
        } else {
            inner.append(number, &[draft])?
        };
        Ok(inner.id(number, offset))
    }

    /// As `send`, waiting for room no longer than this: zero waits not at all.
    ///
    /// ```
    /// # use libqueue::{ErrorKind, Message, OnFull, Store, StoreOptions, TopicOptions};
    /// # use std::time::Duration;
    /// # let folder = tempfile::TempDir::new().unwrap();
    /// # let store = Store::open(folder.path(), StoreOptions::default())?;
    /// let jobs = store.topic("jobs", &TopicOptions {
    ///     max_messages: Some(1),
    ///     on_full: Some(OnFull::Block),
    ///     ..TopicOptions::default()
    /// })?;
    /// jobs.send(&Message::new(b"one"))?;
    /// let late = jobs.send_within(&Message::new(b"two"), Duration::from_millis(20));
    /// assert_eq!(late.unwrap_err().kind(), ErrorKind::Timeout);
    /// # Ok::<(), libqueue::Error>(())
    /// ```
    pub fn send_within(&self, message: &Message<'_>, timeout: Duration) -> Result<MessageId> {
        let messages = std::slice::from_ref(message);
        let ids = self.send_all(messages, &Wait::of(Some(timeout), None))?;
        Ok(ids[0])
    }

    /// As `send_many`, waiting for room no longer than this.
    pub fn send_many_within(
        &self,
        messages: &[Message<'_>],
        timeout: Duration,
    ) -> Result<Vec<MessageId>> {
        self.send_all(messages, &Wait::of(Some(timeout), None))
    }

    /// As `send_many`, waiting for room no longer than `timeout`, or where there is none as the
    /// topic is configured, and for as long as `go_on` says so, which is asked some fifty times a
    /// second: for languages in which a signal ends a wait. It then errors as after the timeout.
    pub fn send_while(
        &self,
        messages: &[Message<'_>],
        timeout: Option<Duration>,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Vec<MessageId>> {
        let go_on = RefCell::new(go_on);
        let beat = || (go_on.borrow_mut())();
        self.send_all(messages, &Wait::of(timeout, Some(&beat)))
    }

    /// As `send`, but `None` where it would have to wait for a lock, for room or for the disk.
    #[inline]
    pub fn try_send(&self, message: &Message<'_>) -> Result<Option<MessageId>> {
        let inner = &*self.inner;
        inner.store.check_send()?;
        inner.follow()?;
        if inner.durability() == Durability::Sync || message.dedup_id.is_some() {
            return Ok(None);
        }
        let number = inner.choose(message)?;
        let mut room = RoomForOne::default();
        let draft = inner.draft_one(message, &mut room)?;
        let sent = if inner.settings.is_limited() {
            self.try_append_limited(number, &[draft])?
        } else {
            inner.partitions[number as usize].try_append(&[draft])?
        };
        Ok(sent.map(|offset| inner.id(number, offset)))
    }

    /// Sends all or, on an error, none: one lock and one publish for each partition. The ids come
    /// in the order of the messages. Messages without key and partition go to one partition
    /// together.
    ///
    /// A batch for several partitions is whole in each of them. A death in the middle of the call
    /// may leave the parts of some partitions in the log and not the others', and a failed sync may
    /// take some back and not others: then the error names the partitions whose part is in the log.
    /// In a topic with a limit there is room for all of them, or none is sent (P14).
    pub fn send_many(&self, messages: &[Message<'_>]) -> Result<Vec<MessageId>> {
        self.send_all(messages, &Wait::stored())
    }

    fn send_all(&self, messages: &[Message<'_>], wait: &Wait<'_>) -> Result<Vec<MessageId>> {
        let inner = &self.inner;
        inner.store.check_send()?;
        inner.follow()?;
        if messages.is_empty() {
            return Ok(Vec::new());
        }
        if messages.iter().any(|message| message.dedup_id.is_some()) {
            return inner.send_unique(messages, &self.way(wait.patience, wait.beat));
        }
        let together = inner.next_turn();
        let full = messages.iter().filter(|message| !message.is_bare()).count();
        let mut rooms = vec![RoomForOne::default(); full];
        let (mut rooms, mut drafts) = (rooms.iter_mut(), Vec::with_capacity(messages.len()));
        for message in messages {
            drafts.push(if message.is_bare() {
                inner.draft_bare(message)?
            } else {
                let (block, extension) = rooms.next().expect("one for each of these");
                inner.draft(message, block, extension)?
            });
        }
        let limited = inner.settings.is_limited();
        // None where all go to the only one anyway.
        let numbers = match inner.count() == 1 && messages.iter().all(|m| m.partition.is_none()) {
            true => Vec::new(),
            false => inner.numbers(messages, together)?,
        };
        let number = numbers.first().copied().unwrap_or(0);
        let ids = if numbers.iter().all(|other| *other == number) {
            let first = match limited {
                true => self.append_limited(number, &drafts, wait)?,
                false => inner.append(number, &drafts)?,
            };
            (0..messages.len() as u64)
                .map(|place| inner.id(number, first + place))
                .collect()
        } else {
            let gate = self.way(wait.patience, wait.beat).gate(&drafts);
            inner.append_parted(&drafts, &numbers, gate.as_ref())?
        };
        Ok(ids)
    }

    fn way<'a>(&'a self, patience: Patience, beat: Option<Beat<'a>>) -> Way<'a> {
        Way {
            topic: &self.inner,
            groups: &self.flow,
            patience,
            beat,
            own: &[],
        }
    }

    fn gate<'a>(&'a self, drafts: &[Draft<'_>], wait: &Wait<'a>) -> Through<'a> {
        self.way(wait.patience, wait.beat).through(drafts)
    }

    #[cold]
    fn append_limited<'a>(
        &'a self,
        number: u32,
        drafts: &[Draft<'_>],
        wait: &Wait<'a>,
    ) -> Result<u64> {
        let inner = &*self.inner;
        let gate = self.gate(drafts, wait);
        let partition = &inner.partitions[number as usize];
        if inner.durability() == Durability::Sync {
            partition.append_durably_through(drafts, Room::Ordinary, SYNC_TIMEOUT, &gate)
        } else {
            partition.append_through(drafts, Room::Ordinary, &gate)
        }
    }

    #[cold]
    fn try_append_limited(&self, number: u32, drafts: &[Draft<'_>]) -> Result<Option<u64>> {
        let gate = self.way(Patience::Never, None).through(drafts);
        let pass = match gate.try_pass(None, false)? {
            Some(pass) => Some(pass),
            None => gate.wait()?,
        };
        let Some(pass) = pass else {
            return Ok(None);
        };
        let sent = self.inner.partitions[number as usize].try_append(drafts);
        // An error leaves nothing in the log.
        gate.leave(pass, matches!(sent, Ok(Some(_))));
        sent
    }
}

/// How long a call waits for room.
struct Wait<'a> {
    patience: Patience,
    beat: Option<Beat<'a>>,
}

impl<'a> Wait<'a> {
    fn stored() -> Self {
        Self::of(None, None)
    }

    fn of(timeout: Option<Duration>, beat: Option<Beat<'a>>) -> Self {
        let patience = timeout.map_or(Patience::Stored, Patience::For);
        Self { patience, beat }
    }
}

impl TopicInner {
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
    /// the first publish, so that a full disk leaves nothing; and then in the topic, where it has a
    /// limit, so that a full one does not either.
    fn append_parted(
        &self,
        drafts: &[Draft<'_>],
        numbers: &[u32],
        gate: Option<&Through<'_>>,
    ) -> Result<Vec<MessageId>> {
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
        let pass = gate.map(|gate| gate.enter()).transpose()?;
        let (mut ids, mut done) = (vec![self.id(0, 0); drafts.len()], Vec::new());
        for (number, places) in parts
            .iter()
            .enumerate()
            .filter(|(_, places)| !places.is_empty())
        {
            let first = self.partitions[number].append(&part(places));
            let first = match first {
                Ok(first) => first,
                Err(error) => {
                    if let Some(pass) = pass {
                        pass.end(!done.is_empty());
                    }
                    return Err(sent_in_part(error, &done));
                }
            };
            done.push(number);
            for (turn, place) in places.iter().enumerate() {
                ids[*place] = self.id(number as u32, first + turn as u64);
            }
        }
        if let Some((gate, pass)) = gate.zip(pass) {
            gate.leave(pass, true);
        }
        if self.durability() == Durability::Sync {
            self.wait_for(&ids, &voids)?;
        }
        Ok(ids)
    }

    pub(super) fn wait_for(&self, ids: &[MessageId], voids: &[u64]) -> Result<()> {
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
pub(super) fn sent_in_part(error: Error, done: &[usize]) -> Error {
    if done.is_empty() {
        return error;
    }
    let numbers: Vec<String> = done.iter().map(usize::to_string).collect();
    error.context(format!(
        "the batch's messages for the partitions {} are in the log; do not send those again",
        numbers.join(", ")
    ))
}
