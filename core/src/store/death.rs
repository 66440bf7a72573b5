//! Finding the dead and cleaning up after them (P10, P17).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::cleanup::Groups;
use super::consumer_table::ConsumerEntry;
use super::inner::StoreInner;
use crate::error::{ErrorKind, Result};
use crate::format::control::header;
use crate::shm::{Owner, OwnerLock};

/// How long to wait for another process that is cleaning up already.
const PATIENCE: Duration = Duration::from_millis(5);

/// What topics and groups do after a dead member. All of it may be done twice, or begun by one that
/// died in the middle.
pub(crate) trait Cleanup: Send + Sync {
    /// Returns the leases of a dead member's consumer; `group` is its group's block.
    fn consumer_died(&self, store: &Arc<StoreInner>, consumer: &ConsumerEntry) -> Result<()>;
    /// Puts on disk what a member that synced at intervals can sync no more.
    fn member_died(&self, store: &Arc<StoreInner>) -> Result<()>;
}

impl StoreInner {
    /// The dead among the members, fenced, unless anyone looked in the last `beat_ms`.
    fn look_for_dead(&self, beat_ms: u64) -> Vec<Owner> {
        let Some(members) = &self.members else {
            return Vec::new();
        };
        let now = self.env.clock.boot_ms();
        let probed = self.control.header().get(header::LAST_PROBE);
        if now.saturating_sub(probed) < beat_ms && probed <= now {
            return Vec::new();
        }
        self.control
            .header()
            .store(header::LAST_PROBE, now, Ordering::Relaxed);
        members.fence_dead()
    }

    /// Looks for dead members as `find_dead`, and leaves what is to be done to housekeeping. Called
    /// by receive calls and sleepers' beats.
    pub(crate) fn notice_dead(&self, beat_ms: u64) {
        if !self.look_for_dead(beat_ms).is_empty() {
            self.find_dead_now.store(true, Ordering::Release);
            self.nudge();
        }
    }

    /// Looks for dead members, unless anyone did in the last `beat_ms`, and cleans up after them;
    /// how many there were. Called by housekeeping and before leaving.
    pub(crate) fn find_dead(self: &Arc<Self>, beat_ms: u64) -> Result<usize> {
        let noticed = self.find_dead_now.swap(false, Ordering::AcqRel);
        let dead = self.look_for_dead(if noticed { 0 } else { beat_ms });
        if dead.is_empty() {
            return Ok(0);
        }
        let lock = self.control.header().word32(header::DEATH_LOCK);
        let held = match OwnerLock::hold(lock, self.env.me, &*self.env.live, PATIENCE) {
            // Someone is at it.
            Err(error) if error.kind() == ErrorKind::Stuck => return Ok(0),
            held => held?,
        };
        // One that cannot be cleaned up after does not keep the others from it.
        let mut done = Ok(());
        for owner in &dead {
            done = done.and(self.returned(*owner));
        }
        drop(held);
        done.map(|()| dead.len())
    }

    /// Gives back everything of a dead member, its slot last: if this process dies in the middle,
    /// the member is found again. So it is if something fails, except for what is damaged: leases
    /// of a window that cannot be read come back when it is repaired, with all others.
    fn returned(self: &Arc<Self>, dead: Owner) -> Result<()> {
        let Some(members) = &self.members else {
            return Ok(());
        };
        let cleanup = self.cleanup.get_or_init(|| Arc::new(Groups));
        let mut done = Ok(());
        for consumer in self.control.consumers_of_member(dead) {
            let mut returned = Ok(());
            if consumer.group != 0 {
                returned = cleanup.consumer_died(self, &consumer);
            }
            match returned {
                Err(error) if error.kind() != ErrorKind::Damaged => done = done.and(Err(error)),
                _ => self.control.free_consumer(consumer.slot),
            }
        }
        done?;
        cleanup.member_died(self)?;
        members.bury(dead);
        Ok(())
    }
}
