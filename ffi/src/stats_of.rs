//! The core's statistics as structs of C.

use std::ffi::c_char;

use libqueue::{GroupStats, PartitionStats, PausedBy, PinnedBy, StoreStats, TopicStats};

use crate::options::{
    LQ_PAUSED_BY_BRAKE, LQ_PAUSED_BY_NOBODY, LQ_PAUSED_BY_USER, LQ_PINNED_BY_DEAD_LETTERS,
    LQ_PINNED_BY_GROUP, LQ_PINNED_BY_NOTHING, LQ_PINNED_BY_RETENTION,
};
use crate::stats::{
    LQ_PINNED_GROUP_SIZE, lq_group_stats, lq_partition_stats, lq_store_stats, lq_topic_stats,
};

impl From<&StoreStats> for lq_store_stats {
    fn from(stats: &StoreStats) -> Self {
        Self {
            size: size_of::<Self>(),
            topics: stats.topics,
            members: stats.members,
            disk_bytes: stats.disk_bytes,
        }
    }
}

impl From<&TopicStats> for lq_topic_stats {
    fn from(stats: &TopicStats) -> Self {
        let mut pinned_group = [0; LQ_PINNED_GROUP_SIZE];
        let name = stats.pinned_by.group().bytes();
        for (to, byte) in pinned_group[..LQ_PINNED_GROUP_SIZE - 1]
            .iter_mut()
            .zip(name)
        {
            *to = byte as c_char;
        }
        Self {
            size: size_of::<Self>(),
            messages: stats.messages,
            bytes: stats.bytes,
            segments: stats.segments,
            pinned_bytes: stats.pinned_bytes,
            pinned_seconds: stats.pinned_seconds,
            pinned_by: match stats.pinned_by {
                PinnedBy::Nothing => LQ_PINNED_BY_NOTHING,
                PinnedBy::Retention => LQ_PINNED_BY_RETENTION,
                PinnedBy::Group(_) => LQ_PINNED_BY_GROUP,
                PinnedBy::DeadLetters(_) => LQ_PINNED_BY_DEAD_LETTERS,
            },
            pinned_group,
            compacted_messages: stats.compacted_messages,
            compacted_bytes: stats.compacted_bytes,
            sent: stats.sent,
            sent_bytes: stats.sent_bytes,
            removed_messages: stats.removed_messages,
            removed_bytes: stats.removed_bytes,
            waiting_senders: stats.waiting_senders,
            lock_waits: stats.lock_waits,
            lock_wait_seconds: stats.lock_wait_seconds,
            syncs: stats.syncs,
            sync_seconds: stats.sync_seconds,
            sync_longest_seconds: stats.sync_longest_seconds,
        }
    }
}

impl From<&PartitionStats> for lq_partition_stats {
    fn from(stats: &PartitionStats) -> Self {
        Self {
            size: size_of::<Self>(),
            earliest_offset: stats.earliest_offset,
            next_offset: stats.next_offset,
            durable_offset: stats.durable_offset,
            bytes: stats.bytes,
            segments: stats.segments,
            sent: stats.sent,
            sent_bytes: stats.sent_bytes,
        }
    }
}

impl From<&GroupStats> for lq_group_stats {
    fn from(stats: &GroupStats) -> Self {
        Self {
            size: size_of::<Self>(),
            lag_messages: stats.lag_messages,
            lag_bytes: stats.lag_bytes,
            lag_seconds: stats.lag_seconds,
            leased: stats.leased,
            delayed: stats.delayed,
            held: stats.held,
            ready: stats.ready,
            dead_lettered: stats.dead_lettered,
            expired: stats.expired,
            lost_messages: stats.lost_messages,
            damaged: stats.damaged,
            delivered: stats.delivered,
            acked: stats.acked,
            failed: stats.failed,
            redelivered: stats.redelivered,
            consumers: stats.consumers,
            timed_out: stats.timed_out,
            paused: u64::from(stats.paused),
            filtered: stats.filtered,
            paused_by: match stats.paused_by {
                PausedBy::User => LQ_PAUSED_BY_USER,
                PausedBy::Brake => LQ_PAUSED_BY_BRAKE,
                _ => LQ_PAUSED_BY_NOBODY,
            },
            paused_at_ns: stats.paused_at_ns,
            redriven: stats.redriven,
            purged: stats.purged,
            holding: stats.holding,
            dropped: stats.dropped,
            dying: stats.dying,
            waiting_receivers: stats.waiting_receivers,
            window_used: stats.window_used,
            lock_waits: stats.lock_waits,
            lock_wait_seconds: stats.lock_wait_seconds,
            syncs: stats.syncs,
            sync_seconds: stats.sync_seconds,
            sync_longest_seconds: stats.sync_longest_seconds,
        }
    }
}
