//! What is measured in Rust alone: opening, recovery, and what a message costs by what else there
//! is.

pub(crate) mod backup;
pub(crate) mod compaction;
pub(crate) mod cost;
pub(crate) mod hot;
pub(crate) mod pressure;
pub(crate) mod recovery;
pub(crate) mod sizes;
pub(crate) mod transactions;
pub(crate) mod unique;
