//! A store as one process has it open: opening, members, deaths, forks, housekeeping.

mod advance;
mod aside;
mod away;
mod ballast;
mod bell;
mod brake;
mod bridge;
mod by_hand;
mod circles;
mod cleanup;
mod compact;
mod compact_standing;
mod configure;
mod consumer;
mod consumer_table;
mod consumers;
mod control;
mod control_block;
mod control_known;
mod copy;
mod dead_letter;
mod death;
mod delete;
mod delivery;
mod draft;
mod drain;
mod dying;
mod extend;
mod fill;
mod flow;
mod forked;
mod gone;
mod group;
mod group_look;
mod group_meta;
mod group_open;
mod housekeeping;
mod in_force;
mod inner;
mod lane;
mod leases;
mod letter;
mod letters_in;
mod member;
mod message;
mod once;
mod open;
mod priorities;
mod read_only;
mod reader;
mod receive;
mod receive_options;
mod receiving;
mod redirect;
mod redrive;
mod redriven;
mod restore;
mod retain;
mod retain_groups;
mod retain_lost;
mod retain_stats;
mod seek;
mod send;
mod sent;
mod settings;
mod settle;
mod share;
mod sieve;
mod snapshot_write;
mod snapshots;
mod source;
mod stats;
#[allow(clippy::module_inception)]
mod store;
mod story;
mod tended_group;
mod tended_topic;
#[cfg(test)]
mod tests;
mod topic;
mod topic_create;
mod topic_delete;
mod topic_meta;
mod topic_settings;
mod transactions;
mod untold;
mod urgency;
mod watch;
mod windows;

pub use brake::PausedBy;
pub use by_hand::{MessageState, Peeked};
pub use consumer::{Consumer, ConsumerOptions};
pub use consumers::ConsumerStats;
pub use copy::{BackupStats, ExportStats, ImportOptions, ImportStats};
pub use dead_letter::DeadLetterEntry;
pub use delivery::{Delivery, ReadMessage};
pub use group::Group;
pub use message::{Message, MessageId, Receipt};
pub use reader::Reader;
pub use receive_options::ReceiveOptions;
pub use receiving::Receiving;
pub use redrive::{LetterFilter, RedriveOptions, RedriveProgress};
pub use retain_stats::PinnedBy;
pub use seek::{SeekPartition, SeekPlan, SeekTo};
pub use sent::Producer;
pub use snapshots::SnapshotInfo;
pub use stats::{GroupStats, PartitionStats, TopicStats};
pub use store::{Store, StoreStats};
pub use topic::Topic;
pub use transactions::Transaction;

// What a simulation opens a store with.
#[cfg(test)]
pub(crate) use open::World;

// What inspection reads and writes stores with.
pub(crate) use group_meta::{GroupMeta, dead_letters_of, parse as parse_group_meta};
pub(crate) use restore::{Parts, Restorer};
pub(crate) use sent::Mark;
pub(crate) use topic_meta::parse as parse_topic_meta;

// What the topics, groups and readers of a store build on.
use consumer_table::ConsumerSlot;
use control_block::Block;
use death::Cleanup;
use inner::{Handle, StoreInner};
