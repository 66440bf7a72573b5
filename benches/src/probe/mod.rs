//! The limits: the least that any durable queue in shared memory has to do, and what the hardware
//! gives, with nothing around it.

mod append;
mod disk;
mod hand;
mod steps;

pub(crate) use append::{append, synced};
pub(crate) use disk::{copy, drop_cached, fdatasync, read};
pub(crate) use hand::{Hand, child as hand_child, hand_over};
pub(crate) use steps::{count_steps, steps_child};
