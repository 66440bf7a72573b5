//! What is sent, and the names of what was sent and handed out.

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
