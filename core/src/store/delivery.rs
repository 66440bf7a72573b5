//! A message that a consumer was handed, and one that a reader reads.

use std::fmt;
use std::sync::Arc;

use super::group::GroupInner;
use super::leases::Held;
use super::message::{MessageId, Receipt};
use crate::format::headers::Headers;
use crate::log::Record;

/// A message in the mapped log. Payload, key and headers are not copied: they stay valid for as
/// long as this value lives, also after the store was closed.
#[derive(Clone)]
pub struct ReadMessage {
    pub(super) record: Record,
    pub(super) topic_id: u64,
    pub(super) partition: u32,
}

impl ReadMessage {
    /// The payload.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        self.record.payload()
    }

    /// The file that the payload is in and its position there, for those who map it themselves. The
    /// bytes never change; the file may be removed, by retention, while this value lives.
    pub fn place(&self) -> (&std::path::Path, u64) {
        self.record.place()
    }

    /// The key, if it has one.
    #[inline]
    pub fn key(&self) -> Option<&[u8]> {
        self.record.key()
    }

    /// Names and values of the headers.
    pub fn headers(&self) -> Headers<'_> {
        self.record.headers()
    }

    /// Nanoseconds since the Unix epoch; never falls within a partition.
    pub fn timestamp_ns(&self) -> i64 {
        self.record.timestamp_ns
    }

    /// The partition.
    pub fn partition(&self) -> u32 {
        self.partition
    }

    /// The number in the partition.
    pub fn offset(&self) -> u64 {
        self.record.offset
    }

    /// The message's id.
    #[inline]
    pub fn id(&self) -> MessageId {
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
            .field("partition", &self.partition)
            .field("offset", &self.offset())
            .field("payload_len", &self.payload().len())
            .finish()
    }
}

/// A message handed to a consumer until its deadline; for good, where its group hands out at most
/// once.
#[derive(Clone)]
pub struct Delivery {
    pub(super) message: ReadMessage,
    pub(super) group: Arc<GroupInner>,
    pub(super) attempt: u32,
    pub(super) epoch: u32,
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

    /// What settles it.
    #[inline]
    pub fn receipt(&self) -> Receipt {
        Receipt {
            id: self.message.id(),
            attempt: self.attempt,
            epoch: self.epoch,
        }
    }

    /// Says that work on it begins: if this process dies, only started deliveries of a batch are
    /// charged with a failure, or all of it if none was started. Nothing where the group hands out
    /// at most once.
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
        self.group
            .start(self.partition, self.offset(), self.attempt);
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
