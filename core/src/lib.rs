//! A durable message queue without a server.
//!
//! Processes of one host open the same folder and share topics, consumer groups, acknowledgements
//! and dead letters. Nothing that [`Topic::send`] returned for is lost when a process is killed at
//! any instruction; what a power loss may cost is the [`Durability`].
//!
//! ```
//! use libqueue::{ConsumerOptions, Message, Store, StoreOptions, TopicOptions};
//! use std::time::Duration;
//!
//! # let folder = tempfile::TempDir::new().unwrap();
//! # let path = folder.path().join("queue");
//! let store = Store::open(&path, StoreOptions::default())?;
//! let orders = store.topic("orders", &TopicOptions::default())?;
//! orders.send(&Message::new(b"paid").key(b"user-12345"))?;
//!
//! let billing = orders.consumer("billing", &ConsumerOptions::default())?;
//! for delivery in billing.receive(100, Some(Duration::from_secs(1)))? {
//!     delivery.start(); // if this process dies now, the message is charged with a failure
//!     assert_eq!(delivery.payload(), b"paid");
//!     billing.ack(&[delivery.receipt()])?;
//! }
//! # Ok::<(), libqueue::Error>(())
//! ```
//!
//! A [`Store`], a [`Topic`], a [`Group`] and a [`Consumer`] may be used from several threads at
//! once; a [`Reader`] by one at a time. After a fork the child's [`Store`] joins by itself, all
//! other handles say that they are the parent's ([`ErrorKind::Forked`]). Linux on x86-64 and
//! aarch64.
#![deny(unsafe_code)]
mod clock;
pub mod error;
mod format;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod group;
pub mod inspect;
mod log;
pub mod options;
#[allow(unsafe_code)]
mod shm;
#[cfg(test)]
mod simulation;
mod storage;
mod store;

pub use error::{Error, ErrorKind, Result};
pub use options::{
    Backoff, Brake, DeadLetter, DedupWindow, DeliveryMode, Durability, Filter, GroupConfig,
    GroupOptions, OnDeadLetter, OnExpired, OnFull, OnLost, Ordering, ReaderOptions, Retention,
    Start, StoreOptions, TopicConfig, TopicOptions,
};
pub use store::{
    BackupStats, Consumer, ConsumerOptions, ConsumerStats, DeadLetterEntry, Delivery, ExportStats,
    Group, GroupStats, ImportOptions, ImportStats, LetterFilter, Message, MessageId, MessageState,
    PartitionStats, PausedBy, Peeked, PinnedBy, Producer, ReadMessage, Reader, Receipt,
    ReceiveOptions, Receiving, RedriveOptions, RedriveProgress, SeekPartition, SeekPlan, SeekTo,
    SnapshotInfo, Store, StoreStats, Topic, TopicStats, Transaction,
};
