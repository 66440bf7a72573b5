//! Finding the dead and cleaning up after them (P10, P17).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::cleanup::Groups;
use super::consumer_table::ConsumerEntry;
use super::group::GroupInner;
use super::inner::StoreInner;
use crate::error::{Error, ErrorKind, Result};
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

    /// Looks for dead members as `find_dead`, returns what they had of this group, and leaves the
    /// rest to housekeeping. Called by receive calls and sleepers' beats.
    pub(crate) fn notice_dead(self: &Arc<Self>, beat_ms: u64, group: &GroupInner) {
        let dead = self.look_for_dead(beat_ms);
        if dead.is_empty() {
            return;
        }
        let at = group.block.at();
        // What fails is tried again by housekeeping.
        let _ = self.return_consumers(&dead, |consumer| consumer.group == at);
        self.find_dead_now.store(true, Ordering::Release);
        self.nudge();
    }

    /// Cleans up after the dead if some were noticed.
    pub(super) fn clean_up_noticed(self: &Arc<Self>) {
        if self.find_dead_now.load(Ordering::Acquire) {
            let _ = self.find_dead(0);
        }
    }

    /// Looks for dead members, unless anyone did in the last `beat_ms`, and cleans up after them;
    /// how many there were. Called by housekeeping and before leaving.
    pub(crate) fn find_dead(self: &Arc<Self>, beat_ms: u64) -> Result<usize> {
        let noticed = self.find_dead_now.swap(false, Ordering::AcqRel);
        let dead = self.look_for_dead(if noticed { 0 } else { beat_ms });
        let Some(members) = self.members.as_ref().filter(|_| !dead.is_empty()) else {
            return Ok(0);
        };
        // What is waited for first: leases of all of them, before anything is synced. One that
        // cannot be cleaned up after does not keep the others from it.
        let mut done = match self.return_consumers(&dead, |_| true) {
            Ok(false) => return Ok(0),
            returned => returned.map(|_| ()),
        };
        let cleanup = self.cleanup();
        for owner in &dead {
            match cleanup.member_died(self) {
                // A partition whose sync failed is healed by housekeeping, a damaged one by nobody.
                Err(error) if !is_final(&error) => done = done.and(Err(error)),
                // The slot last: if this process dies before, the member is found again.
                _ if self.control.consumers_of_member(*owner).is_empty() => members.bury(*owner),
                _ => {}
            }
        }
        done.map(|()| dead.len())
    }

    fn cleanup(&self) -> &Arc<dyn Cleanup> {
        self.cleanup.get_or_init(|| Arc::new(Groups))
    }

    /// Gives back what consumers of dead members had leased; false if another process is at it.
    /// One whose leases could not be returned stays in the table, to be found again, except where
    /// the window is damaged: those leases come back when it is repaired, with all others.
    fn return_consumers(
        self: &Arc<Self>,
        dead: &[Owner],
        wanted: impl Fn(&ConsumerEntry) -> bool,
    ) -> Result<bool> {
        let lock = self.control.header().word32(header::DEATH_LOCK);
        let _held = match OwnerLock::hold(lock, self.env.me, &*self.env.live, PATIENCE) {
            Err(error) if error.kind() == ErrorKind::Stuck => return Ok(false),
            held => held?,
        };
        let mut done = Ok(());
        let consumers = dead
            .iter()
            .flat_map(|owner| self.control.consumers_of_member(*owner));
        for consumer in consumers.filter(wanted) {
            let mut returned = Ok(());
            if consumer.group != 0 {
                returned = self.cleanup().consumer_died(self, &consumer);
            }
            match returned {
                Err(error) if error.kind() != ErrorKind::Damaged => done = done.and(Err(error)),
                _ => self.control.free_consumer(consumer.slot),
            }
        }
        done.map(|()| true)
    }
}

/// Whether trying again now would change nothing.
fn is_final(error: &Error) -> bool {
    let kinds = [ErrorKind::Damaged, ErrorKind::Io, ErrorKind::Poisoned];
    kinds.contains(&error.kind())
}
