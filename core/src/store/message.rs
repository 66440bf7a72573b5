//! What is sent, and the names of what was sent and handed out.

use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::format::extension::{Attributes, PRIORITY_MAX};

/// A message to send. Borrows everything; nothing is kept after the call.
///
/// ```
/// let message = libqueue::Message::new(b"paid").key(b"user-12345");
/// assert_eq!(message.key, Some(&b"user-12345"[..]));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Message<'a> {
    /// The payload, 0 bytes to the topic's `max_message_bytes`.
    pub payload: &'a [u8],
    /// The key; messages of one key keep their order. The empty key is a key.
    pub key: Option<&'a [u8]>,
    /// Names and values.
    pub headers: &'a [(&'a str, &'a [u8])],
    /// The partition; `None` takes the key's, or without a key each in turn.
    pub partition: Option<u32>,
    /// Nanoseconds since the Unix epoch; `None` takes the clock's. Raised to the timestamp of the
    /// partition's last message if it is below.
    pub timestamp_ns: Option<i64>,
    /// For so long no group hands it out; then it joins its key's order. No upper limit.
    pub delay: Option<Duration>,
    /// As `delay`, until a time: nanoseconds since the Unix epoch. Give one of the two.
    pub deliver_at_ns: Option<i64>,
    /// After so long nobody is handed it any more: it is settled, and counted as expired.
    pub ttl: Option<Duration>,
    /// 0 to 9: of the messages that are ready in a group those with the highest priority
    /// come first, but for the order within a key. Default: 0.
    pub priority: u8,
    /// 1 to 255 bytes under which it is sent once: within the topic's `dedup_window` another send
    /// with the same id returns the first one's id and appends nothing.
    pub dedup_id: Option<&'a [u8]>,
}

impl<'a> Message<'a> {
    /// A message with this payload and nothing else.
    #[must_use]
    pub fn new(payload: &'a [u8]) -> Self {
        Self {
            payload,
            ..Self::default()
        }
    }

    /// With a key.
    #[must_use]
    pub fn key(mut self, key: &'a [u8]) -> Self {
        self.key = Some(key);
        self
    }

    /// With headers.
    #[must_use]
    pub fn headers(mut self, headers: &'a [(&'a str, &'a [u8])]) -> Self {
        self.headers = headers;
        self
    }

    /// To this partition.
    #[must_use]
    pub fn partition(mut self, partition: u32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// With this timestamp.
    #[must_use]
    pub fn timestamp_ns(mut self, timestamp_ns: i64) -> Self {
        self.timestamp_ns = Some(timestamp_ns);
        self
    }

    /// Handed out after this time.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = Some(delay);
        self
    }

    /// Handed out from this time on, in nanoseconds since the Unix epoch.
    #[must_use]
    pub fn deliver_at_ns(mut self, deliver_at_ns: i64) -> Self {
        self.deliver_at_ns = Some(deliver_at_ns);
        self
    }

    /// Handed out no more after this time.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// With a priority of 0 to 9.
    #[must_use]
    pub fn priority(mut self, priority: u8) -> Self {
        self.priority = priority;
        self
    }

    /// Sent once under this id, in a topic that has a `dedup_window`.
    #[must_use]
    pub fn dedup_id(mut self, dedup_id: &'a [u8]) -> Self {
        self.dedup_id = Some(dedup_id);
        self
    }

    /// Whether a record of it is no more than its key and its payload.
    #[inline]
    pub(super) fn is_bare(&self) -> bool {
        self.headers.is_empty()
            && self.delay.is_none()
            && self.deliver_at_ns.is_none()
            && self.ttl.is_none()
            && self.priority == 0
            && self.dedup_id.is_none()
    }

    /// What it says of its delivery when it is sent at this time.
    #[inline]
    pub(super) fn attributes(&self, now_ns: impl FnOnce() -> i64) -> Result<Attributes> {
        let plain = self.delay.is_none() && self.deliver_at_ns.is_none() && self.ttl.is_none();
        if plain && self.priority == 0 {
            return Ok(Attributes::default());
        }
        self.attributes_at(now_ns())
    }

    #[cold]
    fn attributes_at(&self, now_ns: i64) -> Result<Attributes> {
        let invalid = |message: String| Err(Error::new(ErrorKind::InvalidArgument, message));
        if self.priority > PRIORITY_MAX {
            let found = self.priority;
            return invalid(format!("priority is {found}; expected 0 to {PRIORITY_MAX}"));
        }
        if self.delay.is_some() && self.deliver_at_ns.is_some() {
            return invalid("both a delay and a time of delivery; give one of them".to_owned());
        }
        // Whole milliseconds of the sum: delivered never early, handed out never after the ttl. No
        // time that can be said is beyond these numbers.
        let whole = |ms: i128| i64::try_from(ms).unwrap_or(i64::MAX);
        let up = |ns: i128| whole(-(-ns).div_euclid(1_000_000));
        let down = |ns: i128| whole(ns.div_euclid(1_000_000));
        let after = |wait: Duration| i128::from(now_ns) + wait.as_nanos() as i128;
        let at = self.deliver_at_ns.map(i128::from).or(self.delay.map(after));
        Ok(Attributes {
            priority: self.priority,
            deliver_at_ms: at.map(up),
            expires_at_ms: self.ttl.map(after).map(down),
        })
    }
}

/// Names a message for ever: an id is never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId {
    /// Id of the topic.
    pub topic_id: u64,
    /// Partition of the topic.
    pub partition: u32,
    /// Number of the message in its partition.
    pub offset: u64,
}

/// Settles one delivery: names the message and which of its hand-outs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Receipt {
    /// The message.
    pub id: MessageId,
    /// The hand-out's number, from 1.
    pub attempt: u32,
    /// Which group handed it out, and since which of its seeks.
    pub epoch: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p6_a_part_of_a_millisecond_is_waited_for_and_never_lived_beyond() {
        let parts = [
            (7_000_001, 3_000_000, 11, 10),
            (7_000_000, 3_000_000, 10, 10),
            // Of the wait as of the time.
            (7_000_000, 1_900_000, 9, 8),
            (7_900_000, 1_900_000, 10, 9),
            (7_100_000, 1_900_000, 9, 9),
            (-1, 0, 0, -1),
        ];
        for (now_ns, wait_ns, deliver_at_ms, expires_at_ms) in parts {
            let wait = Duration::from_nanos(wait_ns);
            let message = Message::new(b"").delay(wait).ttl(wait);
            let found = message.attributes_at(now_ns).unwrap();
            assert_eq!(found.deliver_at_ms, Some(deliver_at_ms));
            assert_eq!(found.expires_at_ms, Some(expires_at_ms));
        }
        let ever = Message::new(b"").delay(Duration::MAX).ttl(Duration::MAX);
        let found = ever.attributes_at(i64::MAX).unwrap();
        assert_eq!(found.deliver_at_ms, Some(i64::MAX));
        assert_eq!(found.expires_at_ms, Some(i64::MAX));
    }
}
