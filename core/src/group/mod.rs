//! Delivery: a group's window over one partition.
//!
//! Pure logic over a mapped file. The caller holds the window's lock, reads the log and the clock.
//! Entries are the truth; the ready bitmap, the timer wheel, the key chains and the counts are
//! derived from them and rebuilt in one pass when a holder of the lock died.

mod admit;
mod at_once;
mod bitmap;
mod by_hand;
mod capture;
mod cause;
mod clean;
mod commit;
#[cfg(test)]
mod death_tests;
mod entry;
mod gather;
mod glance;
mod gone;
mod grow;
mod hold;
mod keys;
mod letters;
mod lost;
mod make;
#[cfg(test)]
mod model;
mod oldest;
mod once;
#[cfg(test)]
mod once_tests;
mod policy;
#[cfg(test)]
mod power_tests;
mod ready;
mod rebuild;
mod recall;
mod restore;
mod schedule;
mod seek;
#[cfg(test)]
mod seek_tests;
mod seen;
mod settle;
mod settle_at_once;
#[cfg(test)]
mod settle_at_once_tests;
mod sync;
mod take;
mod tally;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod transact_tests;
mod wheel;
mod window;

pub use admit::{Admit, Fresh};
pub use by_hand::ByHand;
pub use capture::Captured;
pub use cause::Cause;
pub use gather::GATHERED;
pub use glance::Glance;
pub use gone::Batches;
pub use letters::Dead;
pub use lost::{Fate, Taken as TakenAway};
pub use make::OnDisk;
#[cfg(test)]
pub(crate) use model::Dice;
pub use oldest::Oldest;
pub use policy::{Now, Policy};
pub use rebuild::Life;
pub use recall::{Recalled, Standing};
pub use restore::Truth;
pub use seek::Target;
pub use seen::Seen;
pub use settle::Settled;
pub use settle_at_once::Settling;
pub use take::{Dying, Hand, Taken};
pub use window::{Counter, Window};
