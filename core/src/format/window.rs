//! Layout of a delivery window file: header, timer wheel, ready bitmap, key buckets, entries.
//!
//! Truth is the floor and, of each entry, state, hand-out, lease, key hash, first failure and
//! position; all else is derived and rebuilt from the entries.

use super::checksum::crc32_from;

/// First word: "LQWINDOW".
pub const MAGIC: u64 = u64::from_le_bytes(*b"LQWINDOW");
/// Entries that a new window has room for; it doubles up to the group's limit.
pub const CAPACITY_MIN: u64 = 1024;
/// Bytes of the header.
pub const HEADER: usize = 4096;
/// Bytes of the timer wheel.
pub const WHEEL: usize = 4096;
/// Words of an entry.
pub const ENTRY_WORDS: usize = 8;
/// Bytes of an entry.
pub const ENTRY: usize = ENTRY_WORDS * 8;

/// By how much the tag of an offset's entry is higher in the next epoch. Odd, so that among any
/// 1024 epochs in a row no two give the entries in one place the same tags.
pub const EPOCH_STEP: u32 = 0x9E37_79B1;

/// Number of ready bitmaps, one for each priority.
pub const LEVELS: usize = 10;

/// Value of `header::CLEAN`: the checksum is that of what stands here.
pub const CLOSED: u64 = 1;
/// Value of `header::CLEAN`: somebody is about to change what stands here.
pub const OPENING: u64 = 2;

/// Words of the header.
pub mod header {
    /// `MAGIC`.
    pub const MAGIC: usize = 0;
    /// Format version.
    pub const VERSION: usize = 1;
    /// Id of the group.
    pub const GROUP: usize = 2;
    /// Partition.
    pub const PARTITION: usize = 3;
    /// Most entries.
    pub const LIMIT: usize = 4;
    /// Raised by each seek; receipts of an older one are stale, and entries of one speak of
    /// nothing.
    pub const EPOCH: usize = 5;
    /// Entries there is room for now, a power of two.
    pub const CAPACITY: usize = 6;
    /// First offset that is not settled for good.
    pub const FLOOR: usize = 7;
    /// First offset that was never looked at.
    pub const NEXT: usize = 8;
    /// Where it is: segment.
    pub const CURSOR_SEGMENT: usize = 9;
    /// Where it is: position.
    pub const CURSOR_POSITION: usize = 10;
    /// First of the list of entries that are to be moved to the dead letters, plus 1.
    pub const DYING: usize = 11;
    /// Bits: the priorities of which any message may be ready.
    pub const READY_LEVELS: usize = 12;
    /// Counters begin here; see `group::Counter`.
    pub const COUNTERS: usize = 16;
    /// The start of the host in which leases were last given, two words.
    pub const BOOT: usize = 40;
    /// `CLOSED` after a clean close, with the checksum in the next word; `OPENING` while that is
    /// taken back; else 0.
    pub const CLEAN: usize = 42;
    /// CRC-32 of floor, next and entries at a clean close.
    pub const CRC: usize = 43;
    /// Offset of the dead-letter topic from which a search for moved messages begins.
    pub const DEAD_FROM: usize = 44;
    /// Entries that may be in use: `CAPACITY` once that is on disk.
    pub const USABLE: usize = 45;
    /// By how many ms the wall clock was ahead of the boot clock when messages that wait for a time
    /// were last put into the timer wheel.
    pub const SKEW: usize = 46;
    /// How many messages took a place behind others of their key.
    pub const JOINS: usize = 47;
    /// Words of the header in use.
    pub const WORDS: usize = 64;
}

/// Words of an entry. Those from `STATE` to `PLACE` are truth, the rest is derived.
pub mod entry {
    /// Tag 32, failures 16, how often redriven 4, priority 4, state 8: published last.
    pub const STATE: usize = 0;
    /// Tag 32, attempts 31, started 1.
    pub const HAND_OUT: usize = 1;
    /// When the lease or the wait ends, in ms of the boot clock, 48; consumer slot 16. Of a message
    /// that waits for its key: its place in that order.
    pub const LEASE: usize = 2;
    /// Hash of the key, 0 without one.
    pub const KEY_HASH: usize = 3;
    /// First failure in ms since the epoch 48; batch 16. Of a message that waits for its own time:
    /// that time instead.
    pub const FAILED: usize = 4;
    /// Next of the key + 1, 32; position in the segment 32, which alone of this word is truth.
    pub const PLACE: usize = 5;
    /// Next in the bucket + 1, 32; last of the key + 1 (in the first) 32.
    pub const CHAIN: usize = 6;
    /// Where it hangs 32; next + 1, 32.
    pub const TIMER: usize = 7;
}

/// States of an entry.
pub mod state {
    /// Never looked at.
    pub const FRESH: u64 = 0;
    /// May be handed out.
    pub const READY: u64 = 1;
    /// Waits for its time.
    pub const DELAYED: u64 = 2;
    /// Handed out.
    pub const LEASED: u64 = 3;
    /// Waits for an earlier message of its key.
    pub const HELD: u64 = 4;
    /// On its way to the dead letters.
    pub const DYING: u64 = 5;
    /// Done.
    pub const SETTLED: u64 = 6;
    /// Waits for the time with which it was sent, in no order with others.
    pub const SCHEDULED: u64 = 7;
    /// In a redrive lane: a dead letter, which nobody is handed and which hangs in nothing.
    pub const DEAD: u64 = 8;
    /// A dead letter that holds its key.
    pub const HOLDING: u64 = 9;
    /// Handed out, and about to be settled by a transaction.
    pub const COMMITTING: u64 = 10;
}

/// Why a message is dying: bits 63-60 of its LEASE.
pub mod cause {
    /// Whoever had it die was killed before he wrote it, or an earlier build did not write it.
    pub const UNKNOWN: u64 = 0;
    /// Its consumer said so.
    pub const NACK: u64 = 1;
    /// Somebody gave it up.
    pub const GIVEN_UP: u64 = 2;
    /// Its lease ran out.
    pub const LEASE_ENDED: u64 = 3;
    /// Its consumer's process died.
    pub const DIED: u64 = 4;
    /// All processes of the store ended.
    pub const ALL_ENDED: u64 = 5;
    /// The host was started anew.
    pub const HOST_RESTARTED: u64 = 6;
    /// It was too late to be handed out.
    pub const TOO_LATE: u64 = 7;
    /// Retention was about to take it.
    pub const RETENTION: u64 = 8;
}

/// What is added to the low half of an offset for its tag in an epoch.
#[must_use]
pub fn salt(epoch: u64) -> u32 {
    (epoch as u32).wrapping_mul(EPOCH_STEP)
}

/// What the entry of an offset is known by in an epoch, in 32 bits: one of an earlier round of the
/// ring has another, and so has one from before a seek.
#[must_use]
pub fn tag(epoch: u64, offset: u64) -> u64 {
    u64::from((offset as u32).wrapping_add(salt(epoch)))
}

/// Where the parts of a window with this limit begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts {
    /// Words of the ready bitmap of one priority.
    pub bitmap_words: usize,
    /// Number of key buckets, one word each.
    pub buckets: usize,
    /// Position of the bitmap.
    pub bitmap: usize,
    /// Position of the buckets.
    pub bucket_at: usize,
    /// Position of the entries.
    pub entries: usize,
    /// Most entries, a power of two.
    pub most: usize,
}

impl Parts {
    /// The parts of a window with this limit.
    #[must_use]
    pub fn of(limit: u32) -> Self {
        let most = (limit as usize)
            .next_power_of_two()
            .max(CAPACITY_MIN as usize);
        let (mut bitmap_words, mut level) = (0, most);
        while level > 1 {
            level = level.div_ceil(64);
            bitmap_words += level;
        }
        let buckets = most / 2;
        let bitmap = HEADER + WHEEL;
        let bucket_at = (bitmap + LEVELS * bitmap_words * 8).next_multiple_of(4096);
        let entries = (bucket_at + buckets * 8).next_multiple_of(4096);
        Self {
            bitmap_words,
            buckets,
            bitmap,
            bucket_at,
            entries,
            most,
        }
    }

    /// Bytes of a file with room for this many entries.
    #[must_use]
    pub fn bytes(&self, capacity: u64) -> u64 {
        self.entries as u64 + capacity * ENTRY as u64
    }
}

/// Words of the header that the checksum of a clean close covers, in this order.
const COVERED: [usize; 5] = [
    header::FLOOR,
    header::NEXT,
    header::EPOCH,
    header::CAPACITY,
    header::DEAD_FROM,
];

/// Begins the checksum of a clean close with the header's words.
pub fn sum_header(word: impl Fn(usize) -> u64) -> u32 {
    let sum = |before, at: usize| crc32_from(before, &word(at).to_le_bytes());
    COVERED.into_iter().fold(0, sum)
}

/// Goes on with the entry of the next offset from the floor on, as far as it is truth.
pub fn sum_entry(before: u32, word: impl Fn(usize) -> u64) -> u32 {
    let sum = |before, at: usize| {
        let truth = match at {
            entry::PLACE => word(at) & 0xFFFF_FFFF,
            _ => word(at),
        };
        crc32_from(before, &truth.to_le_bytes())
    };
    (entry::STATE..=entry::PLACE).fold(before, sum)
}
