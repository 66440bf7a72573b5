//! One message of a group: looking at it, settling it, delaying it, without a receipt.

use std::sync::Arc;
use std::time::Duration;

use super::delivery::ReadMessage;
use super::dying;
use super::group::{Group, GroupInner};
use super::message::MessageId;
use crate::error::{Error, ErrorKind, Result};
use crate::format::window::state;
use crate::group::{ByHand, Counter, Now, Window};
use crate::log::{Cursor, Partition, Record, Step};
use crate::options::TIME_MAX;

/// Where a message stands in a group.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MessageState {
    /// The group has not come to it yet.
    Fresh,
    /// It may be handed out.
    Ready,
    /// It waits for its time until then, in ns since the Unix epoch: the time with which it was
    /// sent, or that of its return, which is true if the wall clock does not jump.
    Delayed(i64),
    /// It is handed out, until this time.
    Leased(i64),
    /// It waits for an earlier message of its key.
    Held,
    /// It is on its way to the dead letters.
    Dying,
    /// It is done.
    Settled,
    /// It is a dead letter that holds its key.
    Holding,
}

/// A message, and where it stands in a group.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Peeked {
    /// The message.
    pub message: ReadMessage,
    /// Where it stands.
    pub state: MessageState,
    /// How often it was handed out, as far as the group remembers: not of one settled long ago.
    pub attempts: u32,
    /// How many of those failed.
    pub failures: u32,
    /// Name of the consumer that it is handed out to; else empty.
    pub consumer: String,
}

impl Group {
    /// Looks at a message, and at where it stands in this group, changing nothing.
    /// [`ErrorKind::NotFound`] where there is none at the offset, or one that is still being sent.
    ///
    /// ```
    /// # use libqueue::{GroupOptions, Message, MessageState, Store, StoreOptions, TopicOptions};
    /// # let folder = tempfile::TempDir::new().unwrap();
    /// # let store = Store::open(folder.path(), StoreOptions::default())?;
    /// # let orders = store.topic("orders", &TopicOptions::default())?;
    /// let id = orders.send(&Message::new(b"paid"))?;
    /// let billing = orders.create_group("billing", &GroupOptions::default())?;
    /// let peeked = billing.peek(id.partition, id.offset)?;
    /// assert_eq!(peeked.message.payload(), b"paid");
    /// assert_eq!(peeked.state, MessageState::Fresh);
    /// # Ok::<(), libqueue::Error>(())
    /// ```
    pub fn peek(&self, partition: u32, offset: u64) -> Result<Peeked> {
        let group = &*self.inner;
        group.topic.store.check_open()?;
        let log = group.topic.partition(partition)?;
        let record = group.find(log, offset)?;
        let seen = group.with_window(partition, |window| window.seen(offset))?;
        let clock = &group.topic.store.env.clock;
        let (now, wall) = (clock.boot_ms(), clock.wall_ns());
        let left = i64::try_from(i128::from(seen.due_ms) - i128::from(now)).unwrap_or(i64::MAX);
        let until = wall.saturating_add(left.saturating_mul(1_000_000));
        Ok(Peeked {
            message: ReadMessage {
                record,
                topic_id: group.topic.uid,
                partition,
                origin: None,
            },
            state: match seen.state {
                state::READY => MessageState::Ready,
                state::DELAYED => MessageState::Delayed(until),
                state::SCHEDULED => {
                    let at = i64::try_from(seen.deliver_at_ms).unwrap_or(i64::MAX);
                    MessageState::Delayed(at.saturating_mul(1_000_000))
                }
                state::LEASED | state::COMMITTING => MessageState::Leased(until),
                state::HELD => MessageState::Held,
                state::DYING => MessageState::Dying,
                state::SETTLED => MessageState::Settled,
                state::HOLDING => MessageState::Holding,
                _ => MessageState::Fresh,
            },
            attempts: seen.attempts,
            failures: seen.failures,
            consumer: match seen.state {
                state::LEASED | state::COMMITTING => group.consumer_name(seen.consumer),
                _ => String::new(),
            },
        })
    }

    /// Settles a message, whoever has it; one that was redriven by the id of its dead letter, which
    /// goes for `delay` and `dead_letter` as well. It counts as acknowledged, its key goes on, and
    /// the receipt of its consumer is stale (P9). One that the group has not come to yet takes all
    /// before it into the window, where they wait to be handed out.
    ///
    /// [`ErrorKind::StaleReceipt`] where it is settled already, [`ErrorKind::Busy`] on its way to
    /// the dead letters, [`ErrorKind::NotFound`] where it was never sent, [`ErrorKind::Full`] where
    /// it is further ahead than the group's window.
    pub fn settle(&self, id: MessageId) -> Result<()> {
        let group = self.inner.holder_of(id)?;
        self.by_hand(&group, id, |window| window.settle_by_hand(id.offset))
    }

    /// Has a message come back after `delay`, at once where that is zero, whoever has it: it is
    /// taken from its consumer, whose receipt is stale (P9), and goes on holding its key. Nothing
    /// is counted. One that waits for the time with which it was sent waits for this one instead.
    /// Errors as [`Group::settle`]; [`ErrorKind::Busy`] also where it waits for an earlier message
    /// of its key.
    pub fn delay(&self, id: MessageId, delay: Duration) -> Result<()> {
        if delay > TIME_MAX {
            let message = format!("delay is {delay:?}; expected at most 365 days");
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        let now = Now::by(&*self.inner.topic.store.env.clock);
        let due = now.boot_ms + delay.as_millis() as u64;
        let group = self.inner.holder_of(id)?;
        self.by_hand(&group, id, |window| {
            window.delay_by_hand(id.offset, due, now)
        })
    }

    /// Gives up on a message now, whoever has it: it becomes a dead letter. Errors as
    /// [`Group::settle`].
    pub fn dead_letter(&self, id: MessageId, reason: &str) -> Result<()> {
        let group = &*self.inner.holder_of(id)?;
        let clock = &group.topic.store.env.clock;
        let (now, wall) = (clock.boot_ms(), clock.wall_ms());
        let mut had = None;
        self.by_hand(group, id, |window| {
            had = Some(window.seen(id.offset).consumer);
            window.give_up_by_hand(id.offset, now, wall)
        })?;
        let name = had.map(|slot| group.consumer_name(slot));
        let reason = (reason.to_owned(), name.unwrap_or_default());
        group.remember_reason(id.partition, id.offset, reason);
        dying::move_dying(group, id.partition, dying::PATIENCE)
    }

    fn by_hand(
        &self,
        group: &GroupInner,
        id: MessageId,
        mut work: impl FnMut(&Window) -> ByHand,
    ) -> Result<()> {
        let log = group.topic.partition(id.partition)?;
        let mut look = || {
            group.with_window(id.partition, |window| {
                let done = work(window);
                (done, window.counter(Counter::Ready))
            })
        };
        let (mut done, mut ready) = look()?;
        if done == ByHand::Fresh && group.is_lane() {
            group.find(log, id.offset)?;
            done = ByHand::Dead;
        } else if done == ByHand::Fresh {
            group.find(log, id.offset)?;
            group.take_in(log, id.offset)?;
            (done, ready) = look()?;
        }
        // Also where nothing is ready: who watches descriptors is to know until when.
        group.wake(u32::try_from(ready.max(1)).unwrap_or(u32::MAX));
        group.told(id, done)
    }
}

impl GroupInner {
    /// Whose window a message stands in: the group's, or that of its lane, where the id is that of
    /// a dead letter.
    fn holder_of(self: &Arc<Self>, id: MessageId) -> Result<Arc<GroupInner>> {
        self.topic.store.check_send()?;
        if id.topic_id == self.topic.uid {
            return Ok(self.clone());
        }
        match self.lane()? {
            Some(lane) if lane.topic.uid == id.topic_id && id.partition == 0 => Ok(lane),
            _ => {
                let message = format!("the id is of another topic than {:?}", self.topic.name);
                Err(Error::new(ErrorKind::InvalidArgument, message))
            }
        }
    }

    /// The message with this offset, whole.
    fn find(&self, log: &Partition, offset: u64) -> Result<Record> {
        let name = &self.topic.name;
        let what = format!("offset {offset} of partition {} of {name:?}", log.number());
        if offset >= log.next_offset() {
            let message = format!("{what} was never sent; the next is {}", log.next_offset());
            return Err(Error::new(ErrorKind::NotFound, message));
        }
        // Asked first: one that is whole meanwhile is found.
        let (copies, mut cursor) = (log.is_copying(), Cursor::at_offset(offset));
        match log.look(&mut cursor)? {
            Step::Record {
                offset: found,
                position,
                ..
            } if found == offset => log.record(offset, position),
            Step::Damaged => Err(log.skip_damage(&cursor)?.1),
            // What is large is copied where others have sent behind it already.
            Step::End if copies => {
                let message = format!(
                    "{what} cannot be read yet: it, or a large message before it, is still being \
                     sent; look again once that has returned, or its process was found dead"
                );
                Err(Error::new(ErrorKind::NotFound, message))
            }
            _ => {
                let earliest = log.earliest_offset()?;
                let message = format!("{what} has no message any more; the earliest is {earliest}");
                Err(Error::new(ErrorKind::NotFound, message))
            }
        }
    }

    fn told(&self, id: MessageId, done: ByHand) -> Result<()> {
        let (kind, what) = match done {
            ByHand::Done => return Ok(()),
            ByHand::Settled => (ErrorKind::StaleReceipt, "is settled already"),
            ByHand::Dying => (ErrorKind::Busy, "is on its way to the dead letters"),
            ByHand::Held => (
                ErrorKind::Busy,
                "waits for an earlier message of its key; delay or settle that one",
            ),
            ByHand::Holding => (
                ErrorKind::Busy,
                "is a dead letter that holds its key; redrive or purge it",
            ),
            ByHand::Dead => (
                ErrorKind::NotFound,
                "is a dead letter that was not redriven; redrive or purge it",
            ),
            ByHand::Committing => (ErrorKind::Busy, "is being settled by a transaction"),
            ByHand::Fresh => (
                ErrorKind::NotFound,
                "has no message any more, or its bytes are damaged",
            ),
        };
        let message = format!(
            "offset {} of partition {} of {:?} {what}, in group {:?}",
            id.offset, id.partition, self.topic.name, self.name
        );
        Err(Error::new(kind, message))
    }
}
