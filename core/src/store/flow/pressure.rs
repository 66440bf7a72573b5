//! How full a topic is, read without a lock and without a system call (P14).

use std::sync::atomic::Ordering;

use super::super::topic::Topic;
use super::groups::Known;
use super::room::{Limits, Want, Words};
use crate::format::control::{flow as at, group_partition};
use crate::format::window::header;
use crate::group::Counter;
use crate::log::Counted;

impl Topic {
    /// How full the topic is, from 0.0 to 1.0: what is not settled as a part of the limit, of the
    /// one that is nearer where there are two; 0.0 without a limit. 1.0 where the topic takes
    /// nothing, also where it is over its limit since that was lowered.
    ///
    /// It is read from shared memory, so that it can be asked before each message. What was sent
    /// and settled since somebody last counted is counted by its number: between two counts the
    /// bytes are what the messages have on average. The first call of a handle, and the first after
    /// the topic has another group, looks at the groups' files.
    ///
    /// ```
    /// # use libqueue::{Message, Store, StoreOptions, TopicOptions};
    /// # let folder = tempfile::TempDir::new().unwrap();
    /// # let store = Store::open(folder.path(), StoreOptions::default())?;
    /// let max_messages = Some(4);
    /// let jobs = store.topic("jobs", &TopicOptions { max_messages, ..TopicOptions::default() })?;
    /// jobs.send(&Message::new(b"one"))?;
    /// assert_eq!(jobs.pressure()?, 0.25);
    /// # Ok::<(), libqueue::Error>(())
    /// ```
    pub fn pressure(&self) -> crate::Result<f64> {
        let topic = &self.inner;
        topic.store.check_open()?;
        topic.follow()?;
        if !topic.settings.is_limited() {
            return Ok(0.0);
        }
        topic.store.check_writable("count what is not settled")?;
        let limits = topic.settings.limits();
        let words = topic.words();
        let fill = |used| Ok(limits.fill(used).clamp(0.0, 1.0));
        for _ in 0..2 {
            // Whoever has it counts just now.
            let Ok(known) = self.flow.known.try_lock() else {
                return fill(words.used());
            };
            if known.is_of(words.news()) && known.is_read() && words.get(at::ERA) != 0 {
                return fill(estimate(self, &known, words));
            }
            drop(known);
            topic.count_room(&self.flow, &limits, Want::NOTHING, &[])?;
        }
        fill(words.used())
    }
}

impl Known {
    fn is_read(&self) -> bool {
        let read = |group: &super::groups::KnownGroup| group.read.iter().all(Option::is_some);
        self.groups.iter().all(read)
    }
}

/// From how far ends and groups were counted, and how far they are now by their offsets.
fn estimate(topic: &Topic, known: &Known, words: Words<'_>) -> Counted {
    let topic = &topic.inner;
    let (mut least, mut most) = (0_u64, 0_u64);
    for (number, log) in topic.partitions.iter().enumerate() {
        let end_at = at::COUNTED + 2 * number * at::COUNTED_WORDS;
        let ahead = |offset: u64, then: u64| (offset.wrapping_sub(then) as i64).max(0) as u64;
        let counted = words.get(end_at + 3);
        let end = words
            .get(end_at + 4)
            .wrapping_add(ahead(log.next_offset(), counted));
        if known.groups.is_empty() {
            let begin = words.get(end_at + at::COUNTED_WORDS + 4);
            least = least.saturating_add(ahead(end, begin));
            most = least;
            continue;
        }
        let (mut fresh, mut open, mut larger) = (0, 0_u64, 0);
        for group in &known.groups {
            let Some(read) = &group.read[number] else {
                continue;
            };
            let region = &group.inner.block.partitions[number];
            let at_place = group_partition::COUNTED;
            // Before the counts, as in `Run::end`.
            let next = read.head.load(header::NEXT, Ordering::Acquire);
            let next = ahead(next, region.get(at_place + 3));
            let behind = ahead(end, region.get(at_place + 4).wrapping_add(next));
            let counts = Counter::DERIVED.iter();
            let taken_in = counts.fold(0_u64, |sum, counter| {
                sum.saturating_add(read.head.get(header::COUNTERS + *counter as usize))
            });
            fresh = behind.max(fresh);
            open = open.saturating_add(taken_in);
            larger = larger.max(behind.saturating_add(taken_in));
        }
        least = least.saturating_add(larger);
        most = most.saturating_add(fresh.saturating_add(open));
    }
    // With several groups the union is in between, and was counted exactly where it mattered.
    let used = words.used();
    let messages = used.messages.clamp(least, most.max(least));
    let bytes = match used.messages {
        0 => 0.0,
        counted => used.bytes as f64 / counted as f64 * messages as f64,
    };
    Counted {
        messages,
        bytes: bytes as u64,
    }
}

impl super::super::topic_settings::TopicSettings {
    /// The limits that were taken last.
    pub(super) fn limits(&self) -> Limits {
        Limits::of(&self.known_now())
    }
}
