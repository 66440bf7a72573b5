//! A durable message queue without a server.
#![deny(unsafe_code)]
pub mod clock;
pub mod error;
pub mod format;
pub mod group;
pub mod log;
pub mod options;
#[allow(unsafe_code)]
pub mod shm;
pub mod storage;
pub mod store;
