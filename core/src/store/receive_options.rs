//! What a receive call is asked for.

use std::time::Duration;

use super::group::GroupInner;
use crate::error::{Error, ErrorKind, Result};
use crate::options::TIME_MAX;

/// What a receive call waits for, and what it returns at most.
///
/// ```
/// # use libqueue::{ConsumerOptions, Message, ReceiveOptions, Store, StoreOptions, TopicOptions};
/// # use std::time::Duration;
/// # let folder = tempfile::TempDir::new().unwrap();
/// # let store = Store::open(&folder.path().join("q"), StoreOptions::default())?;
/// # let orders = store.topic("orders", &TopicOptions::default())?;
/// # orders.send(&Message::new(b"paid"))?;
/// let billing = orders.consumer("billing", &ConsumerOptions::default())?;
/// let options = ReceiveOptions {
///     max_messages: 100,
///     min_messages: 10,          // wait for ten ...
///     timeout: Some(Duration::from_millis(50)), // ... or as long as this
///     max_bytes: Some(1 << 20),
///     ..ReceiveOptions::default()
/// };
/// assert_eq!(billing.receive_with(&options)?.len(), 1);
/// # Ok::<(), libqueue::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceiveOptions {
    /// How many messages at most. Default: 1.
    pub max_messages: usize,
    /// How many to wait for, at most for the timeout; then what there is is returned. More than 1
    /// needs a timeout, since those that came first wait with the call. Default: 1.
    pub min_messages: usize,
    /// How many bytes at most: keys, headers and payloads. The first message is returned whatever
    /// its size. A batch that another message would not fit in is full. Default: no limit.
    pub max_bytes: Option<u64>,
    /// How long to wait; zero does not wait. Default: `None`, for as long as it takes.
    pub timeout: Option<Duration>,
    /// How long the messages are handed out for. Default: the consumer's lease, else the group's.
    /// An error where the group hands out at most once.
    pub lease: Option<Duration>,
}

impl Default for ReceiveOptions {
    fn default() -> Self {
        Self {
            max_messages: 1,
            min_messages: 1,
            max_bytes: None,
            timeout: None,
            lease: None,
        }
    }
}

impl ReceiveOptions {
    pub(super) fn check(&self) -> Result<()> {
        let wrong = if self.max_messages == 0 {
            "max is 0; expected at least 1".to_owned()
        } else if !(1..=self.max_messages).contains(&self.min_messages) {
            let (least, most) = (self.min_messages, self.max_messages);
            format!("min_messages is {least}; expected 1 to max_messages, which is {most}")
        } else if self.max_bytes == Some(0) {
            "max_bytes is 0; expected at least 1".to_owned()
        } else if self.min_messages > 1 && self.timeout.is_none() {
            "min_messages is above 1 and there is no timeout, so that messages which came could \
             wait with the call for ever; give it a timeout"
                .to_owned()
        } else {
            return Ok(());
        };
        Err(Error::new(ErrorKind::InvalidArgument, wrong))
    }
}

impl GroupInner {
    /// A lease that the group allows.
    pub(super) fn allowed_lease(&self, lease: Duration) -> Result<Duration> {
        self.check_has_leases("lease")?;
        check_lease(lease)?;
        match self.settings()?.config.max_lease {
            Some(max) if lease > max => {
                let group = &self.name;
                let message = format!(
                    "lease is {lease:?}; expected at most the max_lease of group {group:?}, {max:?}"
                );
                Err(Error::new(ErrorKind::InvalidArgument, message))
            }
            _ => Ok(lease),
        }
    }
}

/// A lease must be a time.
pub(super) fn check_lease(lease: Duration) -> Result<Duration> {
    if lease >= Duration::from_millis(1) && lease <= TIME_MAX {
        return Ok(lease);
    }
    let message = format!("lease is {lease:?}; expected 1ms to 365 days");
    Err(Error::new(ErrorKind::InvalidArgument, message))
}
