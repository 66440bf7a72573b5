//! What was sent and is not to be sent twice: dedup ids of a topic, and named producers (P8).
//!
//! The truth is in the log: each such record says under which id, or as which message of which
//! producer, it was sent (`format/origin.rs`). Beside it stand ledgers, mapped files that name the
//! place of each: the tables of a topic's dedup ids (`tables.rs`), and the ring of a producer
//! (`ring.rs`). They know also what retention removed from the log.
//!
//! - One lock, an owner word in `control`, is held around look-up, append and entry. It is taken
//!   before the append lock. Whoever appends with it says first where: the *intent*. Who dies
//!   before the entry is written leaves it, and the next one with the lock finds the record there
//!   and writes the entry (P17).
//! - A new life of the store makes the ledger anew, unless it was closed cleanly: from the entries
//!   that are whole, and the records from a *mark* on. Below the mark all entries are known to be
//!   on disk, and all records that they name; above it an entry without its record is dropped,
//!   since a power loss took what it speaks of (P2).
//! - What is slow (scans, files, syncs) is done under a second lock, by one at a time.

mod checked;
mod copy;
mod ground;
mod keep;
mod ledger;
mod mark;
mod producer;
mod restore;
mod ring;
mod room;
mod scan;
mod tables;
mod tables_begin;
mod tables_tend;
mod turn;
mod unique;
mod unique_one;

pub use producer::Producer;

pub(super) use ground::Ground;
pub(crate) use mark::Mark;
pub(super) use ring::Ring;
pub(super) use tables::Tables;
