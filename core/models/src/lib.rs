//! The protocols between processes under model checkers.
//!
//! `shm/lock.rs`, `shm/event.rs`, `shm/guarded.rs` and all of `log/` are the core's own files,
//! taken in by path. What they stand on is modelled here: atomics and fences ([`shm::sync`]), the
//! futex, the kernel's word on who lives, the death of a process at any store ([`world`]), mapped
//! files and a disk that has what was synced ([`disk`]). loom tries every order of steps within a
//! bound on preemptions, and of relaxed accesses every outcome; with the feature `shuttle` the same
//! models run with random orders, which reach further but know no weak memory.
//!
//! A model that cannot fail shows nothing: each is run with [`world::Mutation`]s as well, planted
//! errors that it has to find.
#![allow(
    dead_code,
    unused_imports,
    reason = "the sources of another crate, used in parts"
)]

#[path = "../../src/clock.rs"]
mod clock;
pub mod disk;
#[path = "../../src/error.rs"]
mod error;
#[path = "../../src/format/mod.rs"]
mod format;
#[path = "../../src/log/mod.rs"]
pub mod log;
mod memory;
#[path = "../../src/options/mod.rs"]
pub mod options;
pub mod party;
pub mod shm;
#[path = "../../src/storage/mod.rs"]
mod storage;
pub mod world;
