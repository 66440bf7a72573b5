//! A durable message queue without a server.
#![deny(unsafe_code)]
pub mod clock;
pub mod error;
pub mod options;
pub mod format;
#[allow(unsafe_code)]
pub mod shm;
pub mod storage;
pub mod log;
pub mod group;
pub mod store;
