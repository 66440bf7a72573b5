//! Layout of `control`, the shared memory of a store: words of 8 bytes, by number.
//!
//! It is rebuilt by whoever is alone, so it has a signature instead of a stable format: builds that
//! lay it out differently refuse to share a store.

/// First word: what lays it out this way. Changed with every change of layout.
pub const SIGNATURE: u64 = u64::from_le_bytes(*b"LQCTRL11");
/// Bytes that are mapped; the file grows below this.
pub const MAPPED: usize = 1 << 30;
/// Steps in which the file grows.
pub const GROWTH: u64 = 256 * 1024;

/// Bytes of the file `lock`.
pub mod lock {
    /// Shared by all members; exclusive for whoever is alone.
    pub const STORE_BYTE: u64 = 0;
    /// Shared by all that only read. Not the store's: they must not keep a member from laying
    /// `control` out, which they do not use.
    pub const READER_BYTE: u64 = 1;
    /// Of member slot 0; the others follow.
    pub const MEMBER_BYTES: u64 = 16;
}

/// Words of the header, at the start of the file.
pub mod header {
    /// `SIGNATURE`.
    pub const SIGNATURE: usize = 0;
    /// Drawn anew at each laying out; stored last; 0 while it is being laid out.
    pub const LAID_OUT: usize = 1;
    /// The start of the host, first and second half.
    pub const BOOT: usize = 2;
    /// Bytes handed out to blocks.
    pub const ALLOCATED: usize = 4;
    /// Lock of the block list.
    pub const REGISTRY_LOCK: usize = 5;
    /// Lock of those who create topics and groups.
    pub const CREATE_LOCK: usize = 6;
    /// First block of the list, 0 for none.
    pub const FIRST_BLOCK: usize = 7;
    /// When dead members were last looked for, in ms of the boot clock.
    pub const LAST_PROBE: usize = 8;
    /// Lock of who returns the leases of dead members: nobody waits for it for long.
    pub const DEATH_LOCK: usize = 9;
    /// 1 once the ballast was given up in this life of `control`.
    pub const BALLAST_GIVEN_UP: usize = 10;
    /// Lock of the one for whom it is given up, or who lays it in.
    pub const BALLAST_LOCK: usize = 11;
    /// The consumer slot at which to look for a free one: behind the one that was given last, so
    /// that a slot says for long who had it.
    pub const NEXT_CONSUMER: usize = 12;
    /// Lock of the one who writes into the journal of transactions.
    pub const TRANSACTION_LOCK: usize = 13;
    /// Lock of the one who puts transactions on disk, or makes room in their journal.
    pub const TRANSACTION_SYNC_LOCK: usize = 14;
    /// 1 once the journal was read in this life of `control`: the words that follow hold.
    pub const TRANSACTIONS_READY: usize = 15;
    /// Place of the next record; the one that stands there may not be wholly published.
    pub const TRANSACTIONS_END: usize = 16;
    /// Place of the first record that is still needed.
    pub const TRANSACTIONS_HEAD: usize = 17;
    /// Number behind the last record that must be on disk before it is settled.
    pub const TRANSACTIONS_PROMISED: usize = 18;
    /// Number below which all of those are on disk.
    pub const TRANSACTIONS_SYNCED: usize = 19;
    /// All locks of the header.
    pub const LOCKS: [usize; 6] = [
        REGISTRY_LOCK,
        CREATE_LOCK,
        DEATH_LOCK,
        BALLAST_LOCK,
        TRANSACTION_LOCK,
        TRANSACTION_SYNC_LOCK,
    ];
    /// Words of the header.
    pub const WORDS: usize = 64;
}

/// The table of members.
pub mod member {
    /// Where it begins in the file.
    pub const AT: usize = 512;
    /// Number of slots.
    pub const SLOTS: usize = 1024;
    /// Words of a slot.
    pub const WORDS: usize = 8;
    /// Generation, and above it the state: 0 free, 1 in use.
    pub const STATE: usize = 0;
    /// Process id, as its own namespace numbers it.
    pub const PROCESS: usize = 1;
    /// Event word of its thread that makes descriptors readable.
    pub const BELL: usize = 2;
}

/// The table of consumers.
pub mod consumer {
    /// Where it begins in the file.
    pub const AT: usize = super::member::AT + super::member::SLOTS * super::member::WORDS * 8;
    /// Number of slots.
    pub const SLOTS: usize = 4096;
    /// Words of a slot.
    pub const WORDS: usize = 24;
    /// 0 free, else the member's slot + 1 and, above bit 16, the member's generation.
    pub const MEMBER: usize = 0;
    /// Position of the group's block.
    pub const GROUP: usize = 1;
    /// Name in UTF-8, zero padded.
    pub const NAME: usize = 2;
    /// Bytes of the name.
    pub const NAME_BYTES: usize = 96;
    /// Messages that it was handed.
    pub const DELIVERED: usize = 16;
    /// Those of them that were acknowledged while it had them.
    pub const ACKED: usize = 17;
    /// Those of them that failed in its hands: nacks, expired leases, given up, its death.
    pub const FAILED: usize = 18;
    /// Process id of its member, as its own namespace numbers it.
    pub const PROCESS: usize = 19;
    /// Since when it has the slot, in ms of the boot clock; 0 while it is entered.
    pub const SINCE: usize = 20;
    /// How many threads sleep in a receive of it, or are about to.
    pub const WAITING: usize = 21;
}

/// Where blocks begin.
pub const BLOCKS: usize = consumer::AT + consumer::SLOTS * consumer::WORDS * 8;

/// Words that every block of the list begins with.
pub mod block {
    /// Position of the next block, 0 for none.
    pub const NEXT: usize = 0;
    /// Id of the topic or group.
    pub const ID: usize = 1;
    /// Number of partitions.
    pub const PARTITIONS: usize = 2;
    /// 1 topic, 2 group, 3 named producer.
    pub const KIND: usize = 3;
    /// Event word: readers of a topic, consumers of a group.
    pub const EVENT: usize = 4;
    /// Of a group or producer: id of its topic.
    pub const TOPIC: usize = 5;
    /// Of a topic: event word that says whether any group sleeps.
    pub const GROUPS_EVENT: usize = 6;
    /// Of a group: lock of the one who moves messages to the dead letters.
    pub const MOVER_LOCK: usize = 8;
    /// Of a group: lock of the one who rebuilds its windows in a new life.
    pub const LIFE_LOCK: usize = 9;
    /// 1 once the names that lead to its files are known to be on disk in this life of `control`.
    pub const NAMED: usize = 10;
    /// Of a topic: 1 once it is known that there may be messages with a priority.
    pub const PRIORITIES: usize = 11;
    /// Of a group: 0 until a member's bell was to be rung for it, then odd and raised by 2 with
    /// each ringing.
    pub const NEWS: usize = 12;
    /// Of a group: which configuration is in force; raised with each change of `group.meta`.
    pub const CHANGED: usize = 13;
    /// Bit of `CHANGED`: somebody is changing it, or died while he was.
    pub const CHANGING: u64 = 1;
    /// Bit of `CHANGED`, with `CHANGING`: until he is done nothing is handed out.
    pub const HOLDING: u64 = 2;
    /// By how much it is raised.
    pub const CHANGE: u64 = 4;
    /// Value of `CHANGED`: the group was deleted.
    pub const GONE: u64 = u64::MAX;
    /// Of a group: 0 while it has no redrive lane; raised by who makes one, or finds it first in
    /// this life of `control`.
    pub const LANE: usize = 14;
    /// Of a group: a bit for each member slot whose bell is to be rung, 64 in a word.
    pub const WATCHERS: usize = 16;
    /// Of a topic: lock of the one who removes what retention takes.
    pub const RETAIN_LOCK: usize = 20;
    /// Of a topic: from when on that is looked for again, in ms of the boot clock.
    pub const RETAIN_DUE: usize = 21;
    /// Of a topic: 0 until somebody looked whether dead letters come here, then `NO_LETTERS` or
    /// `SOME_LETTERS`.
    pub const LETTERS: usize = 22;
    /// Of a topic: from when on compaction is looked for again, in ms of the boot clock. Who is at
    /// it puts it off, again and again.
    pub const COMPACT_DUE: usize = 23;
    /// Value of `LETTERS`: no group's dead letters went here so far.
    pub const NO_LETTERS: u64 = 1;
    /// Value of `LETTERS`: there may be dead letters.
    pub const SOME_LETTERS: u64 = 2;
    /// Words before the partitions' blocks.
    pub const WORDS: usize = 32;
}

/// Words of a topic's block for its dedup ids, and of a producer's block.
pub mod sent {
    /// Lock around look-up, append and entry.
    pub const LOCK: usize = 31;
    /// Lock of the one who begins a life, makes files or writes marks.
    pub const SLOW_LOCK: usize = 30;
    /// 0 until the files were made ready in this life of `control`; raised whenever others are to
    /// look which there are.
    pub const READY: usize = 29;
    /// The partition that is being appended to, plus 1, until its entries are written; else 0.
    pub const INTENT: usize = 28;
    /// Its next offset before that.
    pub const INTENT_OFFSET: usize = 27;
    /// Of dedup ids: number of the table that takes entries.
    pub const TABLE: usize = 26;
    /// Of a producer: which opening of the name may send.
    pub const EPOCH: usize = 26;
    /// Of a producer: the highest sequence that was sent.
    pub const SEQUENCE: usize = 25;
    /// Of a producer: the place of the next entry in its ring.
    pub const PLACE: usize = 24;
}

/// A topic's partition.
pub mod partition {
    /// Append lock.
    pub const LOCK: usize = 0;
    /// Lock of the one who syncs.
    pub const SYNC_LOCK: usize = 1;
    /// Lock for rolling, preparing, raising the reserve.
    pub const SLOW_LOCK: usize = 2;
    /// 1 once recovered in this life of `control`.
    pub const RECOVERED: usize = 3;
    /// Offset of the next record.
    pub const NEXT_OFFSET: usize = 4;
    /// Base of the active segment.
    pub const SEGMENT: usize = 5;
    /// Position of the next record in it.
    pub const POSITION: usize = 6;
    /// Timestamp of the last record.
    pub const LAST_TIMESTAMP: usize = 7;
    /// Offsets below may be handed out (P4).
    pub const LIMIT: usize = 8;
    /// By how much the limit was last raised.
    pub const STEP: usize = 9;
    /// Offsets below are on disk.
    pub const SYNCED: usize = 10;
    /// How often the mark was set; its lowest bit says which of the two marks is whole.
    pub const MARK: usize = 11;
    /// How often what was not on disk was taken back.
    pub const VOIDS: usize = 12;
    /// Event word of those who wait for a sync.
    pub const SYNC_EVENT: usize = 13;
    /// After a failed sync: `REWRITE` until its pages were written anew, `REWRITTEN` from then on.
    pub const POISONED: usize = 14;
    /// Which of the two tails that follow is whole: 0 or 1.
    pub const TAIL: usize = 15;
    /// The two tails: segment, position, offset, timestamp of each.
    pub const TAILS: usize = 16;
    /// Lock of the one who copies a large batch outside the append lock.
    pub const LARGE_LOCK: usize = 24;
    /// Where that is: position, stored last and cleared first; 0 for none.
    pub const LARGE_POSITION: usize = 25;
    /// Segment.
    pub const LARGE_SEGMENT: usize = 26;
    /// First offset.
    pub const LARGE_OFFSET: usize = 27;
    /// The durabilities it was opened with: `PROMISED_INTERVAL`, `PROMISED_SYNC`.
    pub const PROMISED: usize = 28;
    /// The segment that was closed last.
    pub const SEALED_SEGMENT: usize = 29;
    /// Where its END record is.
    pub const SEALED_POSITION: usize = 30;
    /// The two marks: where what is on disk ends, as segment, position, offset of each, one more.
    pub const MARKS: usize = 32;
    /// In the first one's unused word: 1 once the topic was deleted.
    pub const DELETED: usize = 35;
    /// Offsets below were taken by retention; only ever raised.
    pub const FIRST_KEPT: usize = 40;
    /// Below this offset no sealed segment is left that could go; only ever raised.
    pub const REMOVED: usize = 41;
    /// How often a segment was compacted: what is mapped may be the file of before.
    pub const COMPACTED: usize = 42;
    /// How often somebody slept for a lock, of those of the group or partition that are counted,
    /// then for how many ns; how often it was put on disk, in how many ns, and the most of one.
    pub const TIMES: usize = 43;
    /// Value of `POISONED`.
    pub const REWRITTEN: u64 = 1;
    /// Value of `POISONED`.
    pub const REWRITE: u64 = 2;
    /// Somebody sends with durability `interval`.
    pub const PROMISED_INTERVAL: u64 = 1;
    /// Somebody sends with durability `sync`.
    pub const PROMISED_SYNC: u64 = 2;
    /// Words of the block.
    pub const WORDS: usize = 48;
}

/// A group's partition.
pub mod group_partition {
    /// Lock of the window.
    pub const LOCK: usize = 0;
    /// 1 once the window was rebuilt in this life of `control`.
    pub const REBUILT: usize = 1;
    /// 1 while no move to the dead letters is half done.
    pub const MOVED: usize = 2;
    /// Lock of the one who puts the window on disk, where messages are handed over on that.
    pub const SYNC_LOCK: usize = 3;
    /// How far the group was counted, as `flow::COUNTED` has it.
    pub const COUNTED: usize = 4;
    /// Of locks and syncs, as `partition::TIMES` has it.
    pub const TIMES: usize = 12;
    /// Words of the block.
    pub const WORDS: usize = 24;
}

/// What a topic has of its limits, behind its partitions' words.
pub mod flow {
    /// Lock of the one who takes room and appends.
    pub const LOCK: usize = 0;
    /// Lock of the one who counts what is not settled.
    pub const COUNT_LOCK: usize = 1;
    /// Raised when there may be more that is not settled without a message: another group.
    pub const NEWS: usize = 2;
    /// 1 while there is a limit: settling then tells those who wait for room.
    pub const LIMITED: usize = 3;
    /// Event word of those who wait for room.
    pub const EVENT: usize = 4;
    /// Messages that may be sent before anybody counts again.
    pub const ROOM_MESSAGES: usize = 5;
    /// Bytes that may be.
    pub const ROOM_BYTES: usize = 6;
    /// `NEWS` when the room was counted; else there is none.
    pub const ROOM_NEWS: usize = 7;
    /// `block::CHANGED` of the topic when the room was counted; else there is none.
    pub const ROOM_CHANGED: usize = 8;
    /// Messages that were not settled when the room was counted.
    pub const USED_MESSAGES: usize = 9;
    /// Their bytes.
    pub const USED_BYTES: usize = 10;
    /// Which counts belong together; raised where they begin anew.
    pub const ERA: usize = 11;
    /// Nobody is given room before this time, in ns of the boot clock.
    pub const PACE: usize = 12;
    /// What consumers settle in a second, in thousandths.
    pub const RATE: usize = 13;
    /// When that was last looked at, in ns of the boot clock.
    pub const RATE_AT: usize = 14;
    /// How much was settled until then, as the counts have it.
    pub const RATE_SETTLED: usize = 15;
    /// The first ticket that may still wait.
    pub const HEAD: usize = 16;
    /// The ticket that is given next.
    pub const TAIL: usize = 17;
    /// Since when there is room for the first that waits, in ms of the boot clock + 1; else 0.
    pub const SINCE: usize = 18;
    /// Those who wait: of each the ticket + 1, its member, messages and bytes that it wants.
    pub const WAITING: usize = 32;
    /// How many there is room for.
    pub const WAITING_SLOTS: usize = 32;
    /// Words of each.
    pub const WAITING_WORDS: usize = 4;
    /// Of each partition: how far its end was counted, and its beginning: era, segment, position,
    /// offset, messages, bytes, the partition's `VOIDS`, one unused.
    pub const COUNTED: usize = 160;
    /// Words of one such count.
    pub const COUNTED_WORDS: usize = 8;
    /// Words with those of this many partitions.
    pub const fn words(partitions: usize) -> usize {
        COUNTED + 2 * COUNTED_WORDS * partitions
    }
}
