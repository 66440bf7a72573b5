//! Looking at a store without joining it: checking every byte, and decoding a file for a person.
//! Nothing is ever written, and a store may be in use by others meanwhile.

mod dump;
mod files;
mod segments;
#[cfg(test)]
mod tests;
mod verify;

pub use dump::dump;
pub use verify::{Damage, Report, verify};
