//! How much work a run does.

use std::time::Duration;

/// The sizes, counts and times of a run.
#[derive(Clone, Copy)]
pub(crate) struct Scale {
    /// Messages of a workload in memory, at most.
    pub(crate) messages: usize,
    /// Bytes that a round of a workload moves, about.
    pub(crate) bytes: usize,
    /// Bytes of a message, one workload after the other.
    pub(crate) sizes: &'static [usize],
    /// Messages a second where the time of each counts.
    pub(crate) paces: &'static [u32],
    /// How long such a round lasts.
    pub(crate) paced: Duration,
    /// Bytes of a topic that is read from disk.
    pub(crate) cold: usize,
    /// Messages whose cost is measured beside up to 100 times as many others.
    pub(crate) cost: usize,
    /// Messages of a workload that waits for the disk.
    pub(crate) synced: usize,
    /// Bytes of the store that is recovered.
    pub(crate) recovered: usize,
    /// Topics of a store, ten times as many as groups of a topic.
    pub(crate) topics: usize,
    /// Gigabytes of a topic, one size after the other.
    pub(crate) large: &'static [f64],
    /// Alternating rounds of limit and libqueue; the best of each counts.
    pub(crate) rounds: usize,
    /// How long a peer's round is to last.
    pub(crate) peer: Duration,
}

pub(crate) const FULL: Scale = Scale {
    messages: 1_000_000,
    bytes: 256 << 20,
    sizes: &[10, 100, 1024, 64 << 10, 16 << 20],
    paces: &[1_000, 10_000, 100_000],
    paced: Duration::from_secs(2),
    cold: 1 << 30,
    cost: 100_000,
    synced: 2_000,
    recovered: 10_000_000_000,
    topics: 10_000,
    large: &[1.0, 20.0, 100.0],
    rounds: 5,
    peer: Duration::from_secs(1),
};

/// Every kind of row, and none of it long.
pub(crate) const SHORT: Scale = Scale {
    messages: 20_000,
    bytes: 4 << 20,
    sizes: &[1024],
    paces: &[10_000],
    paced: Duration::from_millis(100),
    cold: 16 << 20,
    cost: 1_000,
    synced: 50,
    recovered: 20_000_000,
    topics: 100,
    large: &[0.02],
    rounds: 1,
    peer: Duration::ZERO,
};

/// A batch of the workloads.
pub(crate) const BATCH: usize = 100;
/// Of the largest messages a hundred are no batch that anybody sends.
const BATCH_BYTES: usize = 16 << 20;

impl Scale {
    /// How many messages of a size; full batches wherever there are some.
    pub(crate) fn count(&self, size: usize) -> usize {
        whole((self.bytes / size).min(self.messages))
    }

    /// How many messages of a size that each wait for the disk.
    pub(crate) fn synced(&self, size: usize) -> usize {
        (self.bytes / 4 / size).clamp(4, self.synced)
    }

    /// Whether batches of this size are a workload.
    pub(crate) fn has_batches(size: usize) -> bool {
        BATCH * size <= BATCH_BYTES
    }

    /// Rounds of a workload of several processes, which take their time to start.
    pub(crate) fn few(&self) -> usize {
        self.rounds.min(3)
    }
}

/// A number of messages that batches divide, or a handful.
pub(crate) fn whole(count: usize) -> usize {
    match count {
        0..BATCH => count.max(4),
        _ => count / BATCH * BATCH,
    }
}
