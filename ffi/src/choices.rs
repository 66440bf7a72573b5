//! The numbers that choose, and those that stand for something else.

/// Waits for as long as it takes: a value of timeout_ms.
pub const LQ_FOREVER: i64 = -1;
/// Takes the group's backoff: a value of delay_ms.
pub const LQ_BACKOFF: i64 = -1;

/// A value of dedup_window_ms: messages with a dedup_id are refused.
pub const LQ_DEDUP_OFF: i64 = -1;
/// A value of dedup_window_ms: until every group has settled the message.
pub const LQ_DEDUP_UNTIL_SETTLED: i64 = -2;

/// The durability that is stored; for a new topic the store's; for a store LQ_DURABILITY_PROCESS.
pub const LQ_DURABILITY_DEFAULT: i32 = 0;
/// Messages survive the end of any process; a power loss takes what the kernel had not written yet.
pub const LQ_DURABILITY_PROCESS: i32 = 1;
/// As LQ_DURABILITY_PROCESS; a power loss takes at most what was sent in the last sync_interval_ms.
pub const LQ_DURABILITY_INTERVAL: i32 = 2;
/// A power loss takes nothing: each send waits for the disk, together with all that wait then.
pub const LQ_DURABILITY_SYNC: i32 = 3;

/// The ordering that is stored; for a new group LQ_ORDERING_KEY.
pub const LQ_ORDERING_DEFAULT: i32 = 0;
/// Messages are handed out in any order.
pub const LQ_ORDERING_NONE: i32 = 1;
/// A message is handed out once all earlier ones of its key are settled.
pub const LQ_ORDERING_KEY: i32 = 2;
/// A message is handed out once all earlier ones of its partition are settled.
pub const LQ_ORDERING_PARTITION: i32 = 3;

/// What is stored; for a new group LQ_ON_EXPIRED_DROP.
pub const LQ_ON_EXPIRED_DEFAULT: i32 = 0;
/// Messages that nobody was handed in time are settled, and counted as expired.
pub const LQ_ON_EXPIRED_DROP: i32 = 1;
/// They are counted as expired and become dead letters.
pub const LQ_ON_EXPIRED_DEAD_LETTER: i32 = 2;

/// The delivery that is stored; for a new group LQ_DELIVERY_AT_LEAST_ONCE.
pub const LQ_DELIVERY_DEFAULT: i32 = 0;
/// Each message comes until it is acknowledged, or is a dead letter.
pub const LQ_DELIVERY_AT_LEAST_ONCE: i32 = 1;
/// Each message is settled before it is handed out, as durably as the topic's durability says: none
/// comes twice, and what a consumer was about to be handed when it died is lost. There are no
/// leases and no failures: lease_ms, max_lease_ms, max_attempts, the backoff, the brake and
/// LQ_ON_DEAD_LETTER_HOLD_KEY are to be left out, and lq_release, lq_extend and lq_dead_letter
/// return LQ_INVALID_ARGUMENT; lq_ack does nothing, and lq_nack counts a failure.
pub const LQ_DELIVERY_AT_MOST_ONCE: i32 = 2;
/// What is stored; for a new group LQ_ON_DEAD_LETTER_CONTINUE.
pub const LQ_ON_DEAD_LETTER_DEFAULT: i32 = 0;
/// Later messages of a dead letter's key go on.
pub const LQ_ON_DEAD_LETTER_CONTINUE: i32 = 1;
/// They wait until the dead letter is redriven, and then come after it, or purged.
pub const LQ_ON_DEAD_LETTER_HOLD_KEY: i32 = 2;

/// What is stored; for a new group LQ_DEAD_LETTERS_OWN.
pub const LQ_DEAD_LETTERS_DEFAULT: i32 = 0;
/// Dead letters go to the topic TOPIC.GROUP.dlq, which is created when it is first needed.
pub const LQ_DEAD_LETTERS_OWN: i32 = 1;
/// Dead letters go to the topic that dead_letter_topic names.
pub const LQ_DEAD_LETTERS_TOPIC: i32 = 2;
/// Messages that failed too often are counted and dropped.
pub const LQ_DEAD_LETTERS_DROP: i32 = 3;

/// What is stored; for a new topic LQ_ON_FULL_REJECT.
pub const LQ_ON_FULL_DEFAULT: i32 = 0;
/// A send to a topic that is full returns LQ_FULL.
pub const LQ_ON_FULL_REJECT: i32 = 1;
/// It waits for room, and returns LQ_TIMEOUT after send_timeout_ms.
pub const LQ_ON_FULL_BLOCK: i32 = 2;
/// As LQ_ON_FULL_BLOCK, at the high mark; from the low mark on senders are slowed so that the topic
/// stays below the high one while consumers keep their pace.
pub const LQ_ON_FULL_THROTTLE: i32 = 3;
/// The oldest messages that are not settled make room: they are settled for every group, leased
/// ones too, and counted as dropped.
pub const LQ_ON_FULL_DROP_OLDEST: i32 = 4;

/// Of a send: to wait for room as the topic is configured.
pub const LQ_TIMEOUT_STORED: i64 = -2;
/// What is stored; for a new topic LQ_RETENTION_SETTLED.
pub const LQ_RETENTION_DEFAULT: i32 = 0;
/// A segment goes once every group has settled all that is in it. While the topic has no group
/// nothing counts as settled: messages wait for the first one.
pub const LQ_RETENTION_SETTLED: i32 = 1;
/// No segment goes for its age, or for being settled.
pub const LQ_RETENTION_FOREVER: i32 = 2;
/// A segment goes once the last message in it is older than retention_ms, settled or not.
pub const LQ_RETENTION_TIME: i32 = 3;
/// A value of retention_bytes: there is no limit.
pub const LQ_NO_LIMIT: u64 = u64::MAX;

/// What is stored; for a new topic LQ_ON_LOST_COUNT.
pub const LQ_ON_LOST_DEFAULT: i32 = 0;
/// What a time or retention_bytes takes from a group that has not settled it is counted as lost.
pub const LQ_ON_LOST_COUNT: i32 = 1;
/// It becomes a dead letter of the group first; until it can, its segment stays.
pub const LQ_ON_LOST_DEAD_LETTER: i32 = 2;

/// What is stored; for a new topic LQ_COMPACTION_OFF.
pub const LQ_COMPACTION_DEFAULT: i32 = 0;
/// Of each key only the last message is kept.
pub const LQ_COMPACTION_ON: i32 = 1;
/// All messages are kept, as retention says.
pub const LQ_COMPACTION_OFF: i32 = 2;

/// A value of pinned_by: nothing keeps the oldest segment, or it is the one that grows.
pub const LQ_PINNED_BY_NOTHING: i32 = 0;
/// A value of pinned_by: the topic's retention keeps it, or there is no group yet.
pub const LQ_PINNED_BY_RETENTION: i32 = 1;
/// A value of pinned_by: the group named by pinned_group has not settled all that is in it.
pub const LQ_PINNED_BY_GROUP: i32 = 2;
/// A value of pinned_by: dead letters are in it, of the group that pinned_group names as
/// TOPIC/GROUP; where that is not known the name is empty.
pub const LQ_PINNED_BY_DEAD_LETTERS: i32 = 3;

/// A value of paused_by: the group is not paused.
pub const LQ_PAUSED_BY_NOBODY: u64 = 0;
/// A value of paused_by: somebody paused the group.
pub const LQ_PAUSED_BY_USER: u64 = 1;
/// A value of paused_by: too many of its messages died, and its brake paused the group.
pub const LQ_PAUSED_BY_BRAKE: u64 = 2;

/// The default place to start: LQ_START_EARLIEST.
pub const LQ_START_DEFAULT: i32 = 0;
/// At the oldest message that is kept.
pub const LQ_START_EARLIEST: i32 = 1;
/// Behind the newest message.
pub const LQ_START_LATEST: i32 = 2;
/// At the offset start_at; only where one partition is meant. A reader waits for one behind the
/// end, and passes over what comes before it; a group is refused there.
pub const LQ_START_OFFSET: i32 = 3;
/// At the first message of the time start_at or later, in nanoseconds since the Unix epoch.
pub const LQ_START_TIME: i32 = 4;
