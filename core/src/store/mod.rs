//! A store as one process has it open: opening, members, deaths, forks, housekeeping.

mod control;
mod death;
mod forked;
mod housekeeping;
mod inner;
mod member;
mod open;
mod read_only;
#[allow(clippy::module_inception)]
mod store;
#[cfg(test)]
mod tests;

pub use store::{Store, StoreStats};

// What the topics, groups and readers of a store build on.
pub(crate) use control::{Block, ConsumerSlot, Control};
pub(crate) use death::Cleanup;
pub(crate) use forked::Forkable;
pub(crate) use housekeeping::{Pace, Tended};
pub(crate) use inner::{Handle, StoreInner};
