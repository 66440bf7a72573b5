//! Transactions (P8): deliveries are settled and messages sent, to any topics, all or nothing.
//!
//! A transaction gathers in its process; nothing shared happens before `commit`. That holds the
//! lock of the journal (`journal.rs`) while it
//! 1. marks what is to be settled, in one window after the other (`group/commit.rs`): what is stale
//!    ends it here, with all marks taken off;
//! 2. writes its messages behind the logs' ends, whose append locks it then holds, without the
//!    words that publish them (`log/prepare.rs`);
//! 3. writes its record, whose length is stored last: with that word all of it has happened;
//! 4. publishes the messages, and moves the journal's end behind the record.
//!
//! Where any of the topics it sends to has a limit, it first takes room in all of them, which it
//! gives back where it comes to nothing (`room.rs`).
//!
//! Where any of the topics is `sync` the record is then put on disk, behind all that it speaks of
//! (`durable.rs`). At last what was marked is settled (`finish.rs`).
//!
//! Who dies before 3 has done nothing: the marks are taken off by whoever next looks at them under
//! the lock, since no record speaks of them, and what was written behind the logs is written over.
//! Who dies after it has done all: the next holder of the journal's lock, or of a log's, publishes
//! the rest, before anything else gets its offsets; who cleans up settles what is marked. The locks
//! are always taken in this order: that of syncing, those of limited topics, the journal's, a
//! window's or the logs' in the order of their topics and numbers. While it is stopped in the
//! middle others wait, as for any lock of the store, and are told whom for; with its transaction
//! merely open they do not.

mod commit;
mod durable;
mod finish;
mod journal;
mod life;
mod room;
mod still;
mod transaction;

pub(super) use journal::Journal;
pub use transaction::Transaction;
