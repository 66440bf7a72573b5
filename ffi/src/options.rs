//! The structs of options.

use std::ffi::c_char;
use std::ptr::null;

pub use crate::choices::*;
use crate::measured::Measured;

/// How a store is opened. Begin with LQ_STORE_OPTIONS_INIT, which has the defaults.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct lq_store_options {
    /// sizeof(lq_store_options).
    pub size: usize,
    /// 1 creates the store where there is none (the default); 0 does not.
    pub create: i32,
    /// 1 only reads: no member is entered and nothing is ever written; 0 is the default.
    pub read_only: i32,
    /// The durability of topics that have none of their own: one of LQ_DURABILITY_.
    pub durability: i32,
    /// Permission bits of files that are created, as in 0660, which is what 0 stands for.
    pub mode: u32,
    /// With LQ_DURABILITY_INTERVAL: the interval in milliseconds. 0: 10. Else to be left at 0.
    pub sync_interval_ms: i64,
    /// How long to wait for a lock that a live process holds, in milliseconds. 0: 10000.
    pub lock_timeout_ms: i64,
}

/// Configuration of a topic. Begin with LQ_TOPIC_OPTIONS_INIT, which leaves everything out: what is
/// left out takes the stored value where the topic exists, and the default where it is created.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct lq_topic_options {
    /// sizeof(lq_topic_options).
    pub size: usize,
    /// Number of partitions, 1 to 1024; fixed once the topic exists. 0: left out, default 1.
    pub partitions: u32,
    /// Overrides the store's durability: one of LQ_DURABILITY_. 0: left out.
    pub durability: i32,
    /// With LQ_DURABILITY_INTERVAL: the interval in milliseconds. 0: 10. Else to be left at 0.
    pub sync_interval_ms: i64,
    /// Largest message in bytes: key, headers and payload. 0: left out, default 1 GiB, the most.
    pub max_message_bytes: u64,
    /// Most messages that some group has not settled; without groups, that are kept. Those that are
    /// handed out or delayed count. 0 takes the limit off. -1: left out, default no limit.
    pub max_messages: i64,
    /// As max_messages, in bytes of their records in the log: with headers, key and 48 bytes.
    pub max_bytes: i64,
    /// What becomes of messages for which there is no room: one of LQ_ON_FULL_. 0: left out.
    pub on_full: i32,
    /// With LQ_ON_FULL_THROTTLE: where senders begin to be slowed, in percent of the limit. 0: left
    /// out, default 50.
    pub low_mark: u32,
    /// With LQ_ON_FULL_THROTTLE: where they block, in percent of the limit. 0: left out, default
    /// 90.
    pub high_mark: u32,
    /// How long a send waits for room, in milliseconds. -1: left out, default as long as it takes.
    pub send_timeout_ms: i64,
    /// Sends return LQ_DISK_FULL where the log would have to grow and fewer bytes than this would
    /// be left free on the file system; consumers and dead letters go on. 0 takes it off. -1: left
    /// out, default 0.
    pub min_free_bytes: i64,
    /// When segments go: one of LQ_RETENTION_. 0: left out.
    pub retention: i32,
    /// What becomes of messages that a time or retention_bytes takes from a group that has not
    /// settled them: one of LQ_ON_LOST_. 0: left out.
    pub on_lost: i32,
    /// With LQ_RETENTION_TIME: that time in milliseconds, 1 or more. Else to be left at 0.
    pub retention_ms: i64,
    /// Bytes of segments that are kept in all partitions together, settled or not: beyond them the
    /// oldest go. LQ_NO_LIMIT takes the limit off. 0: left out, default LQ_NO_LIMIT.
    pub retention_bytes: u64,
    /// For how many milliseconds after its first send a dedup_id keeps its message from being sent
    /// again; LQ_DEDUP_UNTIL_SETTLED or LQ_DEDUP_OFF. 0: left out, default LQ_DEDUP_OFF.
    pub dedup_window_ms: i64,
    /// How long after it was sent a tombstone, a message with a key and an empty payload, is kept
    /// where the topic is compacted, in milliseconds. -1: left out, default 24 hours.
    pub tombstone_grace_ms: i64,
    /// Whether of each key only the last message is kept: one of LQ_COMPACTION_. Segments are
    /// compacted once every group has settled all in them. With LQ_COMPACTION_ON retention is
    /// LQ_RETENTION_FOREVER unless a time is given; LQ_RETENTION_SETTLED is refused. 0: left out.
    pub compaction: i32,
}

/// How a send waits. Begin with LQ_SEND_OPTIONS_INIT, which waits as the topic is configured.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct lq_send_options {
    /// sizeof(lq_send_options).
    pub size: usize,
    /// How long to wait for room in a topic that has none, in milliseconds; 0 does not wait.
    /// LQ_FOREVER, or LQ_TIMEOUT_STORED, the default.
    pub timeout_ms: i64,
}

/// Configuration of a group. Begin with LQ_GROUP_OPTIONS_INIT, which leaves everything out: what is
/// left out takes the stored value where the group exists, and the default where it is created.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct lq_group_options {
    /// sizeof(lq_group_options).
    pub size: usize,
    /// In which order messages are handed out: one of LQ_ORDERING_. 0: left out.
    pub ordering: i32,
    /// After how many failures a message is a dead letter, 1 to 60000. 0: left out, default 5.
    pub max_attempts: u32,
    /// How long a message is handed out for, in milliseconds. 0: left out, default 30000.
    pub lease_ms: i64,
    /// How long a message waits after its first failure, in milliseconds. -1: left out, default
    /// 1000. Where one of the three numbers of the backoff is given, the others take the default.
    pub backoff_first_ms: i64,
    /// The longest that it waits, in milliseconds. -1: left out, default 300000.
    pub backoff_longest_ms: i64,
    /// What each further failure multiplies the wait by, 1 to 1000. 0: left out, default 2.
    pub backoff_factor: f64,
    /// Where messages go that failed too often: one of LQ_DEAD_LETTERS_. 0: left out.
    pub dead_letters: i32,
    /// Where the group starts, used only when it is created: one of LQ_START_. 0: the earliest.
    pub start: i32,
    /// With LQ_START_OFFSET the offset, with LQ_START_TIME nanoseconds since the Unix epoch. Else
    /// to be left at 0.
    pub start_at: i64,
    /// With LQ_DEAD_LETTERS_TOPIC: the name of the topic, read during the call only. Else NULL.
    pub dead_letter_topic: *const c_char,
    /// How many messages the group may run ahead of its oldest unsettled one, 256 to 16777216.
    /// 0: left out, default 65536.
    pub window: u32,
    /// What becomes of messages that nobody was handed in time: one of LQ_ON_EXPIRED_. 0: left out.
    pub on_expired: i32,
    /// How long a message may be leased in total since its hand-out, extensions included, in
    /// milliseconds, at least lease_ms. 0: left out, default no bound.
    pub max_lease_ms: i64,
    /// Which messages the group takes, by key and headers, as an object of JSON with key,
    /// key_prefix, headers, any, all and not, all of which must hold, as in
    /// {"key_prefix": "eu-", "headers": {"kind": "sale", "test": false}}: a header is equal to a
    /// text, begins with one ({"prefix": "..."}), is there (true) or is not (false). The others are
    /// settled for the group, and nobody is handed them. A changed one holds for messages that the
    /// group has not looked at yet. Read during the call only. NULL: left out, default all
    /// messages; "" and "{}" are all messages, and take a stored filter off.
    pub filter: *const c_char,
    /// When messages are settled: one of LQ_DELIVERY_; fixed once the group exists. 0: left out.
    pub delivery: i32,
    /// Pauses the group when more than so many of its messages die within brake_within_ms, 1 to
    /// 10000. 0: no brake, the default. -1: left out.
    pub brake_messages: i64,
    /// With brake_messages of 1 or more: that time in milliseconds, 1 or more. Else to be left at
    /// 0.
    pub brake_within_ms: i64,
    /// What becomes of a key whose message became a dead letter: one of LQ_ON_DEAD_LETTER_. 0: left
    /// out.
    pub on_dead_letter: i32,
}

/// How a consumer is opened. Begin with LQ_CONSUMER_OPTIONS_INIT, which has the defaults.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct lq_consumer_options {
    /// sizeof(lq_consumer_options).
    pub size: usize,
    /// The group's configuration; NULL takes what is stored, or the defaults.
    pub group: *const lq_group_options,
    /// Shown in statistics and dead letters, in UTF-8. NULL: the program's name and process id.
    pub name: *const c_char,
    /// How long what this consumer receives is handed out for, in milliseconds. 0: the group's
    /// lease.
    pub lease_ms: i64,
    /// 1 extends the leases of messages that were got with lq_batch_get, each at half of its lease,
    /// until they are settled or their batch is freed, at most for the group's max_lease_ms in
    /// total: a thread of the library does it, so one that hangs keeps its message until then, or
    /// for ever. 0 does not (the default).
    pub auto_extend: i32,
}

/// What a receive waits for, and what it returns at most. Begin with LQ_RECEIVE_OPTIONS_INIT, which
/// has the defaults.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct lq_receive_options {
    /// sizeof(lq_receive_options).
    pub size: usize,
    /// How many messages at most, 1 or more. Default: 1.
    pub max_messages: usize,
    /// How many messages to wait for, at most for timeout_ms; then what there is is returned. More
    /// than 1 needs a timeout, since those that came first wait with the call. Default: 1.
    pub min_messages: usize,
    /// How many bytes at most: keys, headers and payloads. The first message is returned whatever
    /// its size; a batch that another message would not fit in is full. 0: no limit, the default.
    pub max_bytes: u64,
    /// How long to wait, in milliseconds; 0 does not wait. Default: LQ_FOREVER.
    pub timeout_ms: i64,
    /// How long the messages are handed out for, in milliseconds. 0: the consumer's lease, else the
    /// group's.
    pub lease_ms: i64,
}

/// How a reader is opened. Begin with LQ_READER_OPTIONS_INIT, which has the defaults.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct lq_reader_options {
    /// sizeof(lq_reader_options).
    pub size: usize,
    /// Where it starts: one of LQ_START_. 0: the earliest.
    pub start: i32,
    /// With LQ_START_OFFSET the offset, with LQ_START_TIME nanoseconds since the Unix epoch. Else
    /// to be left at 0.
    pub start_at: i64,
    /// The partitions to read; NULL reads all.
    pub partitions: *const u32,
    /// How many partitions are named; 0 reads all.
    pub partitions_len: usize,
}

// SAFETY: repr(C), begins with its size, and integers may hold any bytes.
unsafe impl Measured for lq_store_options {
    const NAME: &'static str = "lq_store_options";
    const INIT: Self = Self {
        size: size_of::<Self>(),
        create: 1,
        read_only: 0,
        durability: LQ_DURABILITY_DEFAULT,
        mode: 0,
        sync_interval_ms: 0,
        lock_timeout_ms: 0,
    };
}

// SAFETY: repr(C), begins with its size, and integers may hold any bytes.
unsafe impl Measured for lq_topic_options {
    const NAME: &'static str = "lq_topic_options";
    const INIT: Self = Self {
        size: size_of::<Self>(),
        partitions: 0,
        durability: LQ_DURABILITY_DEFAULT,
        sync_interval_ms: 0,
        max_message_bytes: 0,
        max_messages: -1,
        max_bytes: -1,
        on_full: LQ_ON_FULL_DEFAULT,
        low_mark: 0,
        high_mark: 0,
        send_timeout_ms: -1,
        min_free_bytes: -1,
        retention: LQ_RETENTION_DEFAULT,
        on_lost: LQ_ON_LOST_DEFAULT,
        retention_ms: 0,
        retention_bytes: 0,
        dedup_window_ms: 0,
        tombstone_grace_ms: -1,
        compaction: LQ_COMPACTION_DEFAULT,
    };
}

// SAFETY: repr(C), begins with its size, and integers may hold any bytes.
unsafe impl Measured for lq_send_options {
    const NAME: &'static str = "lq_send_options";
    const INIT: Self = Self {
        size: size_of::<Self>(),
        timeout_ms: LQ_TIMEOUT_STORED,
    };
}

// SAFETY: repr(C), begins with its size, and numbers and pointers may hold any bytes.
unsafe impl Measured for lq_group_options {
    const NAME: &'static str = "lq_group_options";
    const INIT: Self = Self {
        size: size_of::<Self>(),
        ordering: LQ_ORDERING_DEFAULT,
        max_attempts: 0,
        lease_ms: 0,
        backoff_first_ms: -1,
        backoff_longest_ms: -1,
        backoff_factor: 0.0,
        dead_letters: LQ_DEAD_LETTERS_DEFAULT,
        start: LQ_START_DEFAULT,
        start_at: 0,
        dead_letter_topic: null(),
        window: 0,
        on_expired: LQ_ON_EXPIRED_DEFAULT,
        max_lease_ms: 0,
        filter: null(),
        delivery: LQ_DELIVERY_DEFAULT,
        brake_messages: -1,
        brake_within_ms: 0,
        on_dead_letter: LQ_ON_DEAD_LETTER_DEFAULT,
    };
}

// SAFETY: repr(C), begins with its size, and pointers may hold any bytes.
unsafe impl Measured for lq_consumer_options {
    const NAME: &'static str = "lq_consumer_options";
    const INIT: Self = Self {
        size: size_of::<Self>(),
        group: null(),
        name: null(),
        lease_ms: 0,
        auto_extend: 0,
    };
}

// SAFETY: repr(C), begins with its size, and integers may hold any bytes.
unsafe impl Measured for lq_receive_options {
    const NAME: &'static str = "lq_receive_options";
    const INIT: Self = Self {
        size: size_of::<Self>(),
        max_messages: 1,
        min_messages: 1,
        max_bytes: 0,
        timeout_ms: LQ_FOREVER,
        lease_ms: 0,
    };
}

// SAFETY: repr(C), begins with its size, and integers and a pointer may hold any bytes.
unsafe impl Measured for lq_reader_options {
    const NAME: &'static str = "lq_reader_options";
    const INIT: Self = Self {
        size: size_of::<Self>(),
        start: LQ_START_DEFAULT,
        start_at: 0,
        partitions: null(),
        partitions_len: 0,
    };
}
