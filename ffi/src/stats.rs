//! Statistics. Names are the same in every language.

use std::ffi::c_char;

use crate::args::invalid;
use crate::error::lq_status;
use crate::group::{GROUPS, lq_group};
use crate::measured::{Measured, Room};
use crate::options::{LQ_PAUSED_BY_NOBODY, LQ_PINNED_BY_NOTHING};
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
    /// Messages that were sent, those included that are gone since.
    pub sent: u64,
    /// Bytes of their records.
    pub sent_bytes: u64,
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
        sent: 0,
        sent_bytes: 0,
        removed_messages: 0,
        removed_bytes: 0,
        waiting_senders: 0,
        lock_waits: 0,
        lock_wait_seconds: 0.0,
        syncs: 0,
        sync_seconds: 0.0,
        sync_longest_seconds: 0.0,
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
        sent: 0,
        sent_bytes: 0,
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
        dying: 0,
        waiting_receivers: 0,
        window_used: 0.0,
        lock_waits: 0,
        lock_wait_seconds: 0.0,
        syncs: 0,
        sync_seconds: 0.0,
        sync_longest_seconds: 0.0,
    };
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

/// Looks at a topic. Waits for nobody who lives, and costs the same however much it holds.
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

/// Looks at a group. Waits for nobody who lives, and costs the same however far it is behind.
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
