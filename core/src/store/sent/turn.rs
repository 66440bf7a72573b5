//! Turns of threads that share a handle: one at a time, and nobody waits longer for his than he
//! said.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::error::Result;
use crate::store::inner::locked;

/// At which those who wait look whether they are to go on.
const BEAT: Duration = Duration::from_millis(20);

#[derive(Default)]
pub(super) struct Turns {
    taken: Mutex<bool>,
    free: Condvar,
}

/// The turn of this thread.
pub(super) struct Turn<'a>(&'a Turns);

impl Turns {
    /// Waits until it is this one's turn, or `on` errors, which is asked at each beat.
    pub(super) fn take(&self, on: impl Fn() -> Result<()>) -> Result<Turn<'_>> {
        let mut taken = locked(&self.taken);
        while *taken {
            let waited = self.free.wait_timeout(taken, BEAT);
            let (now, late) = waited.unwrap_or_else(PoisonError::into_inner);
            taken = now;
            if *taken && late.timed_out() {
                // Others are not to wait for what is asked there.
                drop(taken);
                on()?;
                taken = locked(&self.taken);
            }
        }
        *taken = true;
        Ok(Turn(self))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *locked(&self.0.taken) = false;
        self.0.free.notify_one();
    }
}
