//! Statistics. Names are the same in every language; `core/docs/statistics.md` says of each what it
//! means, and when it begins anew.
//!
//! Nothing here waits for a lock that somebody has who lives, and nothing walks the log: what costs
//! is the number of partitions.

use super::brake::PausedBy;
use super::group::Group;
use super::group_look::Lag;
use super::retain_stats::PinnedBy;
use super::topic::Topic;
use crate::error::Result;
use crate::format::control::group_partition;
use crate::group::{Counter, Seen};
use crate::log::Counted;
use crate::shm::Times;

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
    /// Messages that were sent, those included that are gone since.
    pub sent: u64,
    /// Bytes of their records.
    pub sent_bytes: u64,
    /// Of those, the ones that went with the segments that retention removed.
    pub removed_messages: u64,
    /// Bytes of their records.
    pub removed_bytes: u64,
    /// Threads that wait for room to send, in all processes, as far as 32.
    pub waiting_senders: u64,
    /// How often somebody slept for a lock of the topic, since the first of those who have the
    /// store open now opened it.
    pub lock_waits: u64,
    /// How long, all together, in seconds.
    pub lock_wait_seconds: f64,
    /// How often it was put on disk, failures included, since then.
    pub syncs: u64,
    /// How long that took, all together, in seconds.
    pub sync_seconds: f64,
    /// And the longest of them.
    pub sync_longest_seconds: f64,
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
    /// Messages that were sent, those included that are gone since.
    pub sent: u64,
    /// Bytes of their records.
    pub sent_bytes: u64,
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
    /// On their way to the dead letters now.
    pub dying: u64,
    /// Threads that wait in a receive, in all processes.
    pub waiting_receivers: u64,
    /// How much of the window is in use where it is most, 0 to 1: at 1 a message that is not
    /// settled keeps all behind it from being handed out.
    pub window_used: f64,
    /// How often somebody slept for a lock of the group, since the first of those who have the
    /// store open now opened it.
    pub lock_waits: u64,
    /// How long, all together, in seconds.
    pub lock_wait_seconds: f64,
    /// How often a window of the group was put on disk by itself, failures included, since then.
    pub syncs: u64,
    /// How long that took, all together, in seconds.
    pub sync_seconds: f64,
    /// And the longest of them.
    pub sync_longest_seconds: f64,
}

impl Topic {
    /// What the topic holds now.
    pub fn stats(&self) -> Result<TopicStats> {
        self.inner.store.check_open()?;
        self.inner.follow()?;
        let mut stats = TopicStats::default();
        let (mut removed, mut times) = (Counted::default(), Times::default());
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
            // Before what was sent: of that nothing is counted as removed that is not in it.
            removed = removed.plus(partition.removed_by_retention()?);
            let sent = partition.sent()?;
            stats.sent = stats.sent.saturating_add(sent.messages);
            stats.sent_bytes = stats.sent_bytes.saturating_add(sent.bytes);
            times = times.plus(partition.times());
            stats.partitions.push(PartitionStats {
                earliest_offset,
                next_offset,
                durable_offset,
                bytes,
                segments,
                sent: sent.messages,
                sent_bytes: sent.bytes,
            });
        }
        stats.removed_messages = removed.messages;
        stats.removed_bytes = removed.bytes;
        stats.waiting_senders = self.inner.waiting_senders();
        stats.lock_waits = times.lock_waits;
        stats.lock_wait_seconds = seconds(times.lock_wait_ns);
        stats.syncs = times.syncs;
        stats.sync_seconds = seconds(times.sync_ns);
        stats.sync_longest_seconds = seconds(times.sync_longest_ns);
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
        let mut times = Times::default();
        let lane = group.lane()?;
        let own = group.topic.partitions.iter().map(|log| (group, log));
        let redriven = lane.iter().map(|lane| (&**lane, &lane.topic.partitions[0]));
        for (group, log) in own.chain(redriven) {
            let number = log.number();
            let standing = group.standing(number, &settings)?;
            add_counters(&mut stats, &standing.seen);
            let Lag { counted, oldest_ns } = group.lag(log, &standing)?;
            stats.lag_messages = stats.lag_messages.saturating_add(counted.messages);
            stats.lag_bytes = stats.lag_bytes.saturating_add(counted.bytes);
            oldest = oldest.into_iter().chain(oldest_ns).min();
            if !group.is_lane() {
                stats.window_used = stats.window_used.max(group.window_used(&standing.seen));
            }
            let words = &group.block.partitions[number as usize];
            times = times.plus(words.times(group_partition::TIMES));
        }
        let store = &group.topic.store;
        let now = store.env.clock.wall_ns();
        stats.lag_seconds = oldest.map_or(0.0, |at| now.saturating_sub(at).max(0) as f64 / 1e9);
        let consumers = store
            .control
            .count_consumers(&group.block, &*store.env.live);
        (stats.consumers, stats.waiting_receivers) = consumers;
        stats.lock_waits = times.lock_waits;
        stats.lock_wait_seconds = seconds(times.lock_wait_ns);
        stats.syncs = times.syncs;
        stats.sync_seconds = seconds(times.sync_ns);
        stats.sync_longest_seconds = seconds(times.sync_longest_ns);
        Ok(stats)
    }
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

/// Of a file that may hold any bytes (P18).
fn add_counters(stats: &mut GroupStats, seen: &Seen) {
    let of = |counter| seen.counter(counter);
    let add = |to: &mut u64, more: u64| *to = to.saturating_add(more);
    add(&mut stats.leased, of(Counter::Leased));
    add(&mut stats.leased, of(Counter::Committing));
    add(&mut stats.delayed, of(Counter::Delayed));
    add(&mut stats.delayed, of(Counter::Scheduled));
    add(&mut stats.held, of(Counter::Held));
    add(&mut stats.ready, of(Counter::Ready));
    add(&mut stats.dying, of(Counter::Dying));
    add(&mut stats.dead_lettered, of(Counter::DeadLettered));
    add(&mut stats.timed_out, of(Counter::TimedOut));
    add(&mut stats.expired, of(Counter::Expired));
    add(&mut stats.lost_messages, of(Counter::Lost));
    add(&mut stats.damaged, of(Counter::Damaged));
    add(&mut stats.delivered, of(Counter::Delivered));
    add(&mut stats.acked, of(Counter::Acked));
    add(&mut stats.failed, of(Counter::Failed));
    add(&mut stats.redelivered, of(Counter::Redelivered));
    add(&mut stats.filtered, of(Counter::Filtered));
    add(&mut stats.holding, of(Counter::Holding));
    add(&mut stats.redriven, of(Counter::Redriven));
    add(&mut stats.purged, of(Counter::Purged));
    add(&mut stats.dropped, of(Counter::Dropped));
}
