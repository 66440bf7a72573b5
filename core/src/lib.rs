//! A durable message queue without a server.
#![deny(unsafe_code)]
mod clock;
pub mod error;
mod format;
mod group;
pub mod inspect;
mod log;
pub mod options;
#[allow(unsafe_code)]
mod shm;
mod storage;
mod store;

pub use error::{Error, ErrorKind, Result};
pub use options::{
    Backoff, DeadLetter, Durability, GroupConfig, GroupOptions, Ordering, ReaderOptions, Start,
    StoreOptions, TopicConfig, TopicOptions,
};
pub use store::{
    Consumer, ConsumerOptions, DeadLetterEntry, Delivery, Group, GroupStats, Message, MessageId,
    PartitionStats, ReadMessage, Reader, Receipt, Store, StoreStats, Topic, TopicStats,
};
