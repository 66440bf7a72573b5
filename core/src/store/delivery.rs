//! A message that a consumer was handed, and one that a reader reads.

use std::fmt;
use std::sync::Arc;

use super::group::GroupInner;
use super::leases::Held;
use super::message::{MessageId, Receipt};
use super::source::{letter_of, original_headers};
use crate::error::Result;
use crate::format::headers::Headers;
use crate::log::Record;

/// A message in the mapped log. Payload, key and headers are not copied: they stay valid for as
/// long as this value lives, also after the store was closed.
#[derive(Clone)]
pub struct ReadMessage {
    pub(super) record: Record,
    pub(super) topic_id: u64,
    pub(super) partition: u32,
    /// Of a redriven message, what it was before it died: all but payload and key.
    pub(super) origin: Option<Arc<Origin>>,
}

/// What a redriven message was where it came from.
pub(super) struct Origin {
    id: MessageId,
    timestamp_ns: i64,
    headers: Vec<u8>,
}

impl Origin {
    /// Of a letter in the lane of a group.
    pub(super) fn of(lane: &GroupInner, record: &Record) -> Result<Option<Arc<Self>>> {
        let (Some(of), Some(source)) = (&lane.lane_of, letter_of(lane, record)) else {
            return Ok(None);
        };
        Ok(Some(Arc::new(Self {
            id: MessageId {
                topic_id: of.topic_id,
                partition: source.partition,
                offset: source.offset,
            },
            timestamp_ns: source.timestamp_ns.unwrap_or(record.timestamp_ns),
            headers: original_headers(record, source.cycles)?,
        })))
    }
}

impl ReadMessage {
    /// The payload.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        self.record.payload()
    }

    /// The file that the payload is in and its position there, for those who map it themselves. The
    /// bytes never change; the file may be removed, by retention, or another one take its name, by
    /// compaction, while this value lives. See [`ReadMessage::mark`].
    pub fn place(&self) -> (&std::path::Path, u64) {
        self.record.place()
    }

    /// Bytes of the file by which the message is known again, and their position: where they stand,
    /// the payload is where `place` says.
    pub fn mark(&self) -> (&[u8], u64) {
        self.record.mark()
    }

    /// The key, if it has one.
    #[inline]
    pub fn key(&self) -> Option<&[u8]> {
        self.record.key()
    }

    /// Names and values of the headers. A redriven message has those that it was sent with, and,
    /// unless it held its key as a dead letter, `lq-cycles`, how often it came back dead from a
    /// redrive before.
    pub fn headers(&self) -> Headers<'_> {
        match &self.origin {
            None => self.record.headers(),
            Some(origin) => Headers::new(&origin.headers),
        }
    }

    /// Nanoseconds since the Unix epoch; never falls within a partition. A redriven message has the
    /// one that it was sent with.
    pub fn timestamp_ns(&self) -> i64 {
        let origin = self.origin.as_ref();
        origin.map_or(self.record.timestamp_ns, |origin| origin.timestamp_ns)
    }

    /// The partition; of a redriven message the one that it was sent to.
    pub fn partition(&self) -> u32 {
        self.id().partition
    }

    /// The number in the partition; of a redriven message the one that it was sent with.
    pub fn offset(&self) -> u64 {
        self.id().offset
    }

    /// The message's id; of a redriven message the one that it was sent with.
    #[inline]
    pub fn id(&self) -> MessageId {
        match &self.origin {
            None => self.place_id(),
            Some(origin) => origin.id,
        }
    }

    /// The id of the record that it is in, which settles it: of a redriven message its letter's.
    #[inline]
    pub(super) fn place_id(&self) -> MessageId {
        MessageId {
            topic_id: self.topic_id,
            partition: self.partition,
            offset: self.record.offset,
        }
    }
}

impl fmt::Debug for ReadMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadMessage")
            .field("partition", &self.partition())
            .field("offset", &self.offset())
            .field("payload_len", &self.payload().len())
            .finish()
    }
}

/// The record that a message is in, and which of its hand-outs, in which epoch: a call in whose
/// middle the group was sought may have had it before and after (P9, P16).
pub(super) type HandOut = (MessageId, u32, u32);

/// A message handed to a consumer until its deadline; for good, where its group hands out at most
/// once.
#[derive(Clone)]
pub struct Delivery {
    pub(super) message: ReadMessage,
    pub(super) group: Arc<GroupInner>,
    pub(super) attempt: u32,
    pub(super) epoch: u32,
    /// Its work began with the hand-out.
    pub(super) started: bool,
    pub(super) deadline_ns: i64,
    /// Where its consumer has to know of it (`leases.rs`).
    pub(super) held: Option<Arc<Held>>,
}

impl std::ops::Deref for Delivery {
    type Target = ReadMessage;
    fn deref(&self) -> &ReadMessage {
        &self.message
    }
}

impl Delivery {
    /// Its consumer's account of what is out, where it keeps one.
    pub(super) fn leases(&self) -> Option<std::sync::Arc<super::leases::Leases>> {
        self.held.as_ref()?.of.upgrade()
    }

    #[inline]
    pub(super) fn hand_out(&self) -> HandOut {
        (self.message.place_id(), self.attempt, self.epoch)
    }

    /// The number of this hand-out, from 1; counts released ones too, and those that ended before
    /// the message was returned to anybody.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// When the lease ends, in nanoseconds since the Unix epoch, if the wall clock does not jump.
    /// Follows extensions where the group has a `max_lease` or the consumer `auto_extend`; else it
    /// stays as it was at the hand-out. The end of time (`i64::MAX`) where the group hands out at
    /// most once: nobody takes the message back.
    pub fn deadline_ns(&self) -> i64 {
        self.held
            .as_ref()
            .map_or(self.deadline_ns, |held| held.deadline_ns())
    }

    /// Whether `deadline_ns` follows extensions.
    pub fn follows_extensions(&self) -> bool {
        self.held.is_some()
    }

    /// What settles it. That of a redriven message names its dead letter.
    #[inline]
    pub fn receipt(&self) -> Receipt {
        Receipt {
            id: self.message.place_id(),
            attempt: self.attempt,
            epoch: self.epoch,
        }
    }

    /// Says that work on it begins: if this process dies, only started deliveries of a batch are
    /// charged with a failure, or all of it if none was started. Nothing where the group hands out
    /// at most once, or where the receive call asked for one message: its work began then.
    pub fn start(&self) {
        if self.group.once {
            return;
        }
        // In the child of a fork its locks may be held by threads that are not there.
        if let Some(held) = &self.held
            && self.group.topic.store.check_open().is_ok()
        {
            held.start();
        }
        if self.started {
            return;
        }
        let place = self.message.place_id();
        self.group
            .start(place.partition, (place.offset, self.attempt), self.epoch);
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("message", &self.message)
            .field("attempt", &self.attempt)
            .finish()
    }
}
