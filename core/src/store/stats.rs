//! Statistics. Names are the same in every language.

use super::brake::PausedBy;
use super::group::Group;
use super::retain_stats::PinnedBy;
use super::topic::Topic;
use crate::error::Result;
use crate::group::{Counter, Window};
use crate::log::{Cursor, Place, Step};

/// What a topic holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TopicStats {
    /// Offsets from the earliest to the next, over all partitions.
    pub messages: u64,
    /// Bytes of the segments on disk.
    pub bytes: u64,
    /// Number of segments.
    pub segments: u64,
    /// Each partition.
    pub partitions: Vec<PartitionStats>,
    /// What keeps the oldest segment from being removed.
    pub pinned_by: PinnedBy,
    /// Age of that segment's first message in seconds.
    pub pinned_seconds: f64,
    /// Bytes of the segments that would be removed if that did not keep them.
    pub pinned_bytes: u64,
    /// Messages that compaction took so far.
    pub compacted_messages: u64,
    /// Bytes of their records.
    pub compacted_bytes: u64,
}

/// What a partition holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartitionStats {
    /// Offset of the oldest message.
    pub earliest_offset: u64,
    /// Offset that the next message gets.
    pub next_offset: u64,
    /// First offset that a power loss may take.
    pub durable_offset: u64,
    /// Bytes of the segments on disk.
    pub bytes: u64,
    /// Number of segments.
    pub segments: u64,
}

/// Where a group stands.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct GroupStats {
    /// Messages that are not settled.
    pub lag_messages: u64,
    /// Their bytes in the log.
    pub lag_bytes: u64,
    /// Age of the oldest of them in seconds.
    pub lag_seconds: f64,
    /// Handed out now.
    pub leased: u64,
    /// Waiting for their time: with a delay of their own, or after a failure.
    pub delayed: u64,
    /// Waiting for an earlier message of their key.
    pub held: u64,
    /// Ready to be handed out again.
    pub ready: u64,
    /// Became dead letters.
    pub dead_lettered: u64,
    /// Leases that ran out.
    pub timed_out: u64,
    /// Messages that were too late to be handed out.
    pub expired: u64,
    /// Messages that were gone before they were settled.
    pub lost_messages: u64,
    /// Messages whose bytes were damaged.
    pub damaged: u64,
    /// Hand-outs.
    pub delivered: u64,
    /// Acknowledged.
    pub acked: u64,
    /// Failures: nacks, expired leases, deaths.
    pub failed: u64,
    /// Hand-outs that were not a message's first.
    pub redelivered: u64,
    /// Consumers of the group, in all processes.
    pub consumers: u64,
    /// Whether nothing is handed out until somebody resumes it.
    pub paused: bool,
    /// Messages that the group's filter left out.
    pub filtered: u64,
    /// Why that is.
    pub paused_by: PausedBy,
    /// Since when it is paused, in ns since the Unix epoch; else 0.
    pub paused_at_ns: i64,
    /// Dead letters that hold their keys. They are not settled, and count as lag.
    pub holding: u64,
    /// Dead letters that were redriven.
    pub redriven: u64,
    /// Dead letters that were purged.
    pub purged: u64,
    /// Messages that were settled because they were the oldest of a topic that was full.
    pub dropped: u64,
}

impl Topic {
    /// What the topic holds now.
    pub fn stats(&self) -> Result<TopicStats> {
        self.inner.store.check_open()?;
        self.inner.follow()?;
        let mut stats = TopicStats::default();
        for partition in &self.inner.partitions {
            let (segments, bytes) = partition.disk_use()?;
            let (earliest_offset, next_offset) =
                (partition.earliest_offset()?, partition.next_offset());
            let durable_offset = partition.durable_offset();
            stats.messages += next_offset.saturating_sub(earliest_offset);
            stats.bytes += bytes;
            stats.segments += segments;
            let compacted = partition.compacted()?;
            stats.compacted_messages += compacted.messages;
            stats.compacted_bytes += compacted.bytes;
            stats.partitions.push(PartitionStats {
                earliest_offset,
                next_offset,
                durable_offset,
                bytes,
                segments,
            });
        }
        let pinned = self.inner.pinned(&self.inner.known_config())?;
        stats.pinned_by = pinned.by;
        stats.pinned_seconds = pinned.seconds;
        stats.pinned_bytes = pinned.bytes;
        Ok(stats)
    }
}

impl Group {
    /// Where the group stands now.
    pub fn stats(&self) -> Result<GroupStats> {
        let group = &*self.inner;
        group.topic.store.check_open()?;
        let settings = group.settings()?;
        let mut stats = GroupStats {
            paused: settings.paused_by != PausedBy::Nobody,
            paused_by: settings.paused_by,
            paused_at_ns: settings.paused_at_ns,
            ..GroupStats::default()
        };
        let mut oldest: Option<i64> = None;
        let lane = group.lane()?;
        let own = group.topic.partitions.iter().map(|log| (group, log));
        let redriven = lane.iter().map(|lane| (&**lane, &lane.topic.partitions[0]));
        for (group, log) in own.chain(redriven) {
            let (mut open, mut cursor) = (Vec::new(), Cursor::at_offset(0));
            let mut recalled = None;
            group.with_window(log.number(), |window| {
                add_counters(&mut stats, window);
                open = window.unsettled();
                cursor = window.cursor();
                recalled = window.recalled_now();
            })?;
            stats.lag_messages += open.len() as u64;
            let mut timestamps = Vec::new();
            for (offset, position) in &open {
                if let Ok(record) = log.record(*offset, *position) {
                    stats.lag_bytes += record.length();
                    timestamps.push(record.timestamp_ns);
                }
            }
            if !group.is_lane() {
                let open = |offset| recalled.as_ref().is_none_or(|known| known.comes(offset));
                let fresh = count_from(log, cursor, open)?;
                stats.lag_messages += fresh.0;
                stats.lag_bytes += fresh.1;
                timestamps.extend(fresh.2);
            }
            oldest = oldest.into_iter().chain(timestamps).min();
        }
        let now = group.topic.store.env.clock.wall_ns();
        stats.lag_seconds = oldest.map_or(0.0, |at| now.saturating_sub(at).max(0) as f64 / 1e9);
        stats.consumers = group
            .topic
            .store
            .control
            .consumers_of_group(&group.block)
            .len() as u64;
        Ok(stats)
    }
}

fn add_counters(stats: &mut GroupStats, window: &Window) {
    stats.leased += window.counter(Counter::Leased) + window.counter(Counter::Committing);
    stats.delayed += window.counter(Counter::Delayed);
    stats.delayed += window.counter(Counter::Scheduled);
    stats.held += window.counter(Counter::Held);
    stats.ready += window.counter(Counter::Ready);
    stats.dead_lettered += window.counter(Counter::DeadLettered);
    stats.timed_out += window.counter(Counter::TimedOut);
    stats.expired += window.counter(Counter::Expired);
    stats.lost_messages += window.counter(Counter::Lost);
    stats.damaged += window.counter(Counter::Damaged);
    stats.delivered += window.counter(Counter::Delivered);
    stats.acked += window.counter(Counter::Acked);
    stats.failed += window.counter(Counter::Failed);
    stats.redelivered += window.counter(Counter::Redelivered);
    stats.filtered += window.counter(Counter::Filtered);
    stats.holding += window.counter(Counter::Holding);
    stats.redriven += window.counter(Counter::Redriven);
    stats.purged += window.counter(Counter::Purged);
    stats.dropped += window.counter(Counter::Dropped);
}

/// Messages and bytes from a cursor on, of those that are not settled, and the first timestamp.
fn count_from(
    log: &crate::log::Partition,
    mut cursor: Cursor,
    open: impl Fn(u64) -> bool,
) -> Result<(u64, u64, Option<i64>)> {
    let (mut messages, mut bytes, mut first) = (0, 0, None);
    let end = log.next_offset();
    while cursor.offset < end {
        match log.resolve(&mut cursor)? {
            Place::Mapped => {}
            Place::Nothing => break,
            Place::Broken => {
                cursor = log.skip_damage(&cursor)?.0;
                continue;
            }
        }
        let mut stopped = None;
        log.scan(&mut cursor, |at, step| match *step {
            Step::Record { offset, .. } if !open(offset) => true,
            Step::Record {
                length,
                timestamp_ns,
                ..
            } => {
                messages += 1;
                bytes += u64::from(length);
                first.get_or_insert(timestamp_ns);
                true
            }
            other => {
                stopped = Some((at, other));
                false
            }
        });
        match stopped {
            Some((at, Step::Damaged)) => cursor = log.skip_damage(&at)?.0,
            Some((at, Step::NotMapped)) => cursor = at,
            _ => break,
        }
    }
    Ok((messages, bytes, first))
}
