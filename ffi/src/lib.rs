//! The C library: `libqueue.so` and `libqueue.a`, declared in `include/libqueue.h`.
//!
//! What every function keeps to:
//! - each entry point runs inside [`panic::call`] or [`panic::value`], so that no panic crosses;
//! - every pointer goes through [`args`], every handle through [`handle`], before it is used;
//! - outputs are written last, and only on success.
//!
//! The comments of the exported items are the documentation of the header: they speak to C.
#![allow(
    non_camel_case_types,
    reason = "types have the names that C programs use"
)]
#![allow(
    clippy::missing_safety_doc,
    reason = "what a caller must keep to is said once, at the top of the header, and per parameter"
)]

mod args;
pub mod batch;
pub mod choices;
pub mod consumer;
pub mod consumers;
mod convert;
mod convert_topic;
pub mod copy;
pub mod copy_lines;
pub mod dead_letters;
pub mod error;
pub mod group;
mod handle;
pub mod manage;
mod measured;
pub mod message;
pub mod names;
pub mod options;
mod panic;
pub mod peek;
pub mod producer;
pub mod reader;
pub mod receive;
pub mod redrive;
pub mod seek;
pub mod settle;
pub mod snapshots;
pub mod stats;
mod stats_of;
pub mod store;
pub mod topic;
pub mod transaction;
pub mod version;
