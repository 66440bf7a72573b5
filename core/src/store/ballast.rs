//! Room that is kept for dead letters: a file that is given up when the disk is full, so that
//! consumers can go on settling (P5), and laid in again when there is room.

use std::sync::atomic::Ordering;

use super::inner::StoreInner;
use crate::error::{ErrorKind, Result};
use crate::format::control::header;
use crate::format::names;
use crate::log::Env;
use crate::shm::Region;
use crate::storage::Access;

const BYTES: u64 = 4 << 20;
/// So long the room that was given up is left to those it was given up for.
const PAUSE_MS: u64 = 10_000;
/// Others may be quicker at taking what was given up.
const TRIES: usize = 3;

/// Lays the ballast in unless it is there or was given up just now. Without room there is none: the
/// next look tries again. A death in the middle leaves a smaller file, which is given up as well.
pub(super) fn lay_in(env: &Env, store: &std::path::Path, header: &Region) -> Result<()> {
    let path = store.join(names::BALLAST);
    if env.clock.boot_ms() < header.get(header::BALLAST_AFTER) || env.storage.exists(&path)? {
        return Ok(());
    }
    let file = env.storage.open(&path, Access::Create, env.mode)?;
    if file.allocate(BYTES).is_err() {
        env.storage.unlink(&path)?;
    }
    Ok(())
}

impl StoreInner {
    /// Does work that must not fail on a full disk; gives the ballast up for it if need be.
    pub(super) fn with_ballast<T>(&self, work: impl Fn() -> Result<T>) -> Result<T> {
        let mut tries = TRIES;
        loop {
            match work() {
                Err(error) if error.kind() == ErrorKind::DiskFull && tries > 0 => {
                    tries -= 1;
                    let until = self.env.clock.boot_ms() + PAUSE_MS;
                    let header = self.control.header();
                    header.store(header::BALLAST_AFTER, until, Ordering::Relaxed);
                    match self.env.storage.unlink(&self.path.join(names::BALLAST)) {
                        Err(gone) if gone.kind() == ErrorKind::NotFound => return Err(error),
                        given_up => given_up?,
                    }
                }
                done => return done,
            }
        }
    }
}
