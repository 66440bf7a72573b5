//! What can be set for a topic of how much it holds, and of what becomes of more than that.

use std::time::Duration;

use super::{MESSAGE_BYTES_MAX, TIME_MAX, TopicConfig, TopicOptions, agree, check_range, invalid};
use crate::error::Result;

/// Most messages that can be named as a topic's limit.
pub const LIMIT_MESSAGES_MAX: u64 = 1 << 48;
/// Most bytes that can be named as a topic's limit, or as what is to be left free.
pub const LIMIT_BYTES_MAX: u64 = 1 << 60;
/// The low mark of a topic that throttles, in percent of its limit, where none is named.
pub const LOW_MARK_DEFAULT: u32 = 50;
/// The high mark of a topic that throttles, in percent of its limit, where none is named.
pub const HIGH_MARK_DEFAULT: u32 = 90;

/// What a send does in a topic that has no room for it (P14).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFull {
    /// It errors with [`crate::ErrorKind::Full`] (the default).
    #[default]
    Reject,
    /// It waits for room, and errors with [`crate::ErrorKind::Timeout`] after the `send_timeout`.
    Block,
    /// As `Block`, at the high mark; from the low mark on senders are slowed so that the topic
    /// stays below the high one while consumers keep their pace.
    Throttle,
    /// The oldest messages that are not settled make room: they are settled for every group, and
    /// counted as `dropped`.
    DropOldest,
}

impl OnFull {
    /// Its name in files and in other languages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Reject => "reject",
            Self::Block => "block",
            Self::Throttle => "throttle",
            Self::DropOldest => "drop_oldest",
        }
    }

    /// The one of this name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        [Self::Reject, Self::Block, Self::Throttle, Self::DropOldest]
            .into_iter()
            .find(|one| one.name() == name)
    }
}

pub(super) fn check(options: &TopicOptions) -> Result<()> {
    if let Some(n) = options.max_messages {
        check_range("max_messages", n, 0, LIMIT_MESSAGES_MAX)?;
    }
    if let Some(n) = options.max_bytes {
        check_range("max_bytes", n, 0, LIMIT_BYTES_MAX)?;
    }
    if let Some(n) = options.min_free_bytes {
        check_range("min_free_bytes", n, 0, LIMIT_BYTES_MAX)?;
    }
    for (name, mark) in [
        ("low_mark", options.low_mark),
        ("high_mark", options.high_mark),
    ] {
        if let Some(percent) = mark {
            check_range(name, u64::from(percent), 1, 100)?;
        }
    }
    match options.send_timeout {
        Some(time) if time > TIME_MAX => Err(invalid(format!(
            "send_timeout is {time:?}; expected at most 365 days"
        ))),
        _ => Ok(()),
    }
}

impl TopicConfig {
    /// Whether there is a limit of any kind on what is not settled.
    #[must_use]
    pub fn is_limited(&self) -> bool {
        self.max_messages.is_some() || self.max_bytes.is_some()
    }

    /// Errors with [`crate::ErrorKind::InvalidArgument`] where limits contradict each other.
    pub fn check(&self) -> Result<()> {
        let (low, high) = (self.low_mark, self.high_mark);
        if low >= high {
            return Err(invalid(format!(
                "low_mark is {low} and high_mark {high}; expected a low_mark below the high_mark"
            )));
        }
        let most = self.max_message_bytes;
        match self.max_bytes {
            // The default says nothing of how large messages are.
            Some(limit) if most > limit && most != MESSAGE_BYTES_MAX => Err(invalid(format!(
                "max_bytes is {limit} and max_message_bytes {most}, so that a message may be \
                 larger than all that the topic holds; expected max_message_bytes of at most \
                 max_bytes"
            ))),
            _ => Ok(()),
        }
    }

    /// What is stored of the limits after these changes.
    pub(super) fn limits_changed_by(&mut self, changes: &TopicOptions) {
        // 0 takes a limit off.
        let limit = |wanted: Option<u64>, stored| wanted.map_or(stored, |n| (n > 0).then_some(n));
        self.max_messages = limit(changes.max_messages, self.max_messages);
        self.max_bytes = limit(changes.max_bytes, self.max_bytes);
        self.on_full = changes.on_full.unwrap_or(self.on_full);
        self.send_timeout = changes.send_timeout.or(self.send_timeout);
        self.low_mark = changes.low_mark.unwrap_or(self.low_mark);
        self.high_mark = changes.high_mark.unwrap_or(self.high_mark);
        self.min_free_bytes = changes.min_free_bytes.unwrap_or(self.min_free_bytes);
    }

    pub(super) fn check_limits_against(&self, at: &str, options: &TopicOptions) -> Result<()> {
        let stored = |limit: Option<u64>| limit.unwrap_or(0);
        agree(
            at,
            "max_messages",
            options.max_messages,
            stored(self.max_messages),
        )?;
        agree(at, "max_bytes", options.max_bytes, stored(self.max_bytes))?;
        agree(
            at,
            "on_full",
            options.on_full.map(OnFull::name),
            self.on_full.name(),
        )?;
        let timeout = options.send_timeout.map(Some);
        agree::<Option<Duration>>(at, "send_timeout", timeout, self.send_timeout)?;
        agree(at, "low_mark", options.low_mark, self.low_mark)?;
        agree(at, "high_mark", options.high_mark, self.high_mark)?;
        agree(
            at,
            "min_free_bytes",
            options.min_free_bytes,
            self.min_free_bytes,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Change = fn(&mut TopicOptions);

    #[test]
    fn p14_limits_that_contradict_or_are_out_of_range_are_refused_each_by_name() {
        let with = |change: Change| {
            let mut options = TopicOptions::default();
            change(&mut options);
            options
        };
        let cases: [(Change, &str); 7] = [
            (|o| o.max_messages = Some(u64::MAX), "max_messages"),
            (|o| o.max_bytes = Some(u64::MAX), "max_bytes"),
            (|o| o.min_free_bytes = Some(u64::MAX), "min_free_bytes"),
            (|o| o.high_mark = Some(101), "high_mark"),
            (|o| o.low_mark = Some(0), "low_mark"),
            (|o| o.low_mark = Some(95), "low_mark is 95 and high_mark 90"),
            (
                |o| (o.max_bytes, o.max_message_bytes) = (Some(10), Some(11)),
                "max_bytes is 10 and max_message_bytes 11",
            ),
        ];
        for (change, text) in cases {
            let options = with(change);
            let refused = options
                .check()
                .and_then(|()| TopicConfig::from_options(&options).check());
            let error = refused.expect_err(text);
            assert_eq!(error.kind(), crate::ErrorKind::InvalidArgument);
            assert!(error.message().contains(text), "{error}");
        }
        let options = with(|o| o.max_bytes = Some(10));
        assert!(TopicConfig::from_options(&options).check().is_ok());
        let stored = TopicConfig::from_options(&options);
        let off = stored
            .changed_by(&with(|o| o.max_bytes = Some(0)))
            .expect("off");
        assert!(stored.is_limited() && !off.is_limited());
    }
}
