//! Statistics. Names are the same in every language.

use std::ffi::c_char;

use libqueue::{GroupStats, PartitionStats, PausedBy, PinnedBy, StoreStats, TopicStats};

use crate::args::invalid;
use crate::error::lq_status;
use crate::group::{GROUPS, lq_group};
use crate::measured::{Measured, Room};
use crate::options::{
    LQ_PAUSED_BY_BRAKE, LQ_PAUSED_BY_NOBODY, LQ_PAUSED_BY_USER, LQ_PINNED_BY_DEAD_LETTERS,
    LQ_PINNED_BY_GROUP, LQ_PINNED_BY_NOTHING, LQ_PINNED_BY_RETENTION,
};
use crate::panic::call;
use crate::store::{STORES, lq_store};
use crate::topic::{TOPICS, lq_topic};

/// What a store holds at one moment. Begin with LQ_STORE_STATS_INIT.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct lq_store_stats {
    /// sizeof(lq_store_stats).
    pub size: usize,
    /// Number of topics.
    pub topics: u64,
    /// Members now: openings of the store, in all processes. 0 in a store that is only read.
    pub members: u64,
    /// Bytes of all its files.
    pub disk_bytes: u64,
}

/// What a topic holds at one moment, over all its partitions. Begin with LQ_TOPIC_STATS_INIT.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct lq_topic_stats {
    /// sizeof(lq_topic_stats).
    pub size: usize,
    /// Offsets from the earliest to the next, over all partitions.
    pub messages: u64,
    /// Bytes of the segments on disk.
    pub bytes: u64,
    /// Number of segments.
    pub segments: u64,
    /// Bytes of the segments that would be removed if what keeps the oldest one did not.
    pub pinned_bytes: u64,
    /// Age of the oldest segment's first message in seconds.
    pub pinned_seconds: f64,
    /// What keeps the oldest segment: one of LQ_PINNED_BY_.
    pub pinned_by: i32,
    /// The group that does, ended by a zero byte; empty where it is none.
    pub pinned_group: [c_char; LQ_PINNED_GROUP_SIZE],
    /// Messages that compaction took so far.
    pub compacted_messages: u64,
    /// Bytes of their records.
    pub compacted_bytes: u64,
}

/// Bytes of pinned_group: two names, what is between them, and the zero byte.
pub const LQ_PINNED_GROUP_SIZE: usize = 508;

/// What a partition of a topic holds at one moment. Begin with LQ_PARTITION_STATS_INIT.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct lq_partition_stats {
    /// sizeof(lq_partition_stats).
    pub size: usize,
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

/// Where a group stands at one moment. Begin with LQ_GROUP_STATS_INIT.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct lq_group_stats {
    /// sizeof(lq_group_stats).
    pub size: usize,
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
    /// Leases that ran out.
    pub timed_out: u64,
    /// 1 while nothing is handed out until somebody resumes it, else 0.
    pub paused: u64,
    /// Messages that the group's filter left out.
    pub filtered: u64,
    /// Why that is: one of LQ_PAUSED_BY_.
    pub paused_by: u64,
    /// Since when it is paused, in nanoseconds since the Unix epoch; else 0.
    pub paused_at_ns: i64,
    /// Dead letters that were redriven.
    pub redriven: u64,
    /// Dead letters that were purged.
    pub purged: u64,
    /// Dead letters that hold their keys. They are not settled, and count as lag.
    pub holding: u64,
    /// Messages that were settled because they were the oldest of a topic that was full.
    pub dropped: u64,
}

// SAFETY: repr(C), begins with its size, and numbers may hold any bytes.
unsafe impl Measured for lq_store_stats {
    const NAME: &'static str = "lq_store_stats";
    const INIT: Self = Self {
        size: size_of::<Self>(),
        topics: 0,
        members: 0,
        disk_bytes: 0,
    };
}

// SAFETY: repr(C), begins with its size, and numbers may hold any bytes.
unsafe impl Measured for lq_topic_stats {
    const NAME: &'static str = "lq_topic_stats";
    const INIT: Self = Self {
        size: size_of::<Self>(),
        messages: 0,
        bytes: 0,
        segments: 0,
        pinned_bytes: 0,
        pinned_seconds: 0.0,
        pinned_by: LQ_PINNED_BY_NOTHING,
        pinned_group: [0; LQ_PINNED_GROUP_SIZE],
        compacted_messages: 0,
        compacted_bytes: 0,
    };
}

// SAFETY: repr(C), begins with its size, and numbers may hold any bytes.
unsafe impl Measured for lq_partition_stats {
    const NAME: &'static str = "lq_partition_stats";
    const INIT: Self = Self {
        size: size_of::<Self>(),
        earliest_offset: 0,
        next_offset: 0,
        durable_offset: 0,
        bytes: 0,
        segments: 0,
    };
}

// SAFETY: repr(C), begins with its size, and numbers may hold any bytes.
unsafe impl Measured for lq_group_stats {
    const NAME: &'static str = "lq_group_stats";
    const INIT: Self = Self {
        size: size_of::<Self>(),
        lag_messages: 0,
        lag_bytes: 0,
        lag_seconds: 0.0,
        leased: 0,
        delayed: 0,
        held: 0,
        ready: 0,
        dead_lettered: 0,
        expired: 0,
        lost_messages: 0,
        damaged: 0,
        delivered: 0,
        acked: 0,
        failed: 0,
        redelivered: 0,
        consumers: 0,
        timed_out: 0,
        paused: 0,
        filtered: 0,
        paused_by: LQ_PAUSED_BY_NOBODY,
        paused_at_ns: 0,
        redriven: 0,
        purged: 0,
        holding: 0,
        dropped: 0,
    };
}

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
        }
    }
}

/// Looks at a store. Walks all its files: not for a hot path.
///
/// store: the store.
/// stats: gets the numbers; begin with LQ_STORE_STATS_INIT.
///
/// Returns: LQ_OK; LQ_INVALID_ARGUMENT (NULL, no open store, a wrong size); LQ_CLOSED, LQ_IO,
/// LQ_INTERNAL.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_store_get_stats(
    store: *mut lq_store,
    stats: *mut lq_store_stats,
) -> lq_status {
    call(|| {
        // SAFETY: the caller gives a struct as long as its size says.
        let room = unsafe { Room::new(stats) }?;
        room.set((&STORES.enter(store)?.store.stats()?).into());
        Ok(())
    })
}

/// Looks at a topic.
///
/// topic: the topic.
/// stats: gets the numbers; begin with LQ_TOPIC_STATS_INIT.
///
/// Returns: LQ_OK; LQ_INVALID_ARGUMENT (NULL, no open topic, a wrong size); LQ_CLOSED, LQ_FORKED,
/// LQ_IO, LQ_INTERNAL.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_topic_get_stats(
    topic: *mut lq_topic,
    stats: *mut lq_topic_stats,
) -> lq_status {
    call(|| {
        // SAFETY: the caller gives a struct as long as its size says.
        let room = unsafe { Room::new(stats) }?;
        room.set((&TOPICS.enter(topic)?.topic.stats()?).into());
        Ok(())
    })
}

/// Looks at one partition of a topic.
///
/// topic: the topic.
/// partition: its number, from 0.
/// stats: gets the numbers; begin with LQ_PARTITION_STATS_INIT.
///
/// Returns: LQ_OK; LQ_INVALID_ARGUMENT (NULL, no open topic, no such partition, a wrong size);
/// LQ_CLOSED, LQ_FORKED, LQ_IO, LQ_INTERNAL.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_topic_get_partition_stats(
    topic: *mut lq_topic,
    partition: u32,
    stats: *mut lq_partition_stats,
) -> lq_status {
    call(|| {
        // SAFETY: the caller gives a struct as long as its size says.
        let room = unsafe { Room::new(stats) }?;
        let topic = TOPICS.enter(topic)?;
        let all = topic.topic.stats()?.partitions;
        let found = all.get(partition as usize).ok_or_else(|| {
            let count = all.len();
            invalid(format!("partition is {partition}; expected below {count}"))
        })?;
        room.set(found.into());
        Ok(())
    })
}

/// Looks at a group. Counts what it has not received yet: takes longer the further it is behind.
///
/// group: the group.
/// stats: gets the numbers; begin with LQ_GROUP_STATS_INIT.
///
/// Returns: LQ_OK; LQ_INVALID_ARGUMENT (NULL, no open group, a wrong size); LQ_NOT_FOUND (the group
/// was deleted); LQ_STUCK, LQ_CLOSED, LQ_FORKED, LQ_IO, LQ_INTERNAL.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_group_get_stats(
    group: *mut lq_group,
    stats: *mut lq_group_stats,
) -> lq_status {
    call(|| {
        // SAFETY: the caller gives a struct as long as its size says.
        let room = unsafe { Room::new(stats) }?;
        room.set((&GROUPS.enter(group)?.group.stats()?).into());
        Ok(())
    })
}
