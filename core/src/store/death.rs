//! Finding the dead and cleaning up after them (P10, P17).

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::cleanup::Groups;
use super::consumer_table::ConsumerEntry;
use super::dying;
use super::gone::{Moves, PATIENCE as WINDOW_PATIENCE};
use super::group::GroupInner;
use super::inner::{StoreInner, locked};
use crate::error::{Error, ErrorKind, Result};
use crate::format::control::header;
use crate::shm::{Owner, OwnerLock};

/// How long to leave it to another process that is cleaning up already. Nothing depends on there
/// being one only, it saves the others the work: one that is stopped while it is at it would else
/// keep all leases of all groups.
const PATIENCE: Duration = Duration::from_millis(5);
/// Members are not probed again before this time has passed, in ms, by whatever process.
pub(super) const PROBE_MS: u64 = 20;
/// Nobody looked for so long who does so at a beat: all of them may wait for one disk.
const OVERDUE_MS: u64 = 60;

/// What topics and groups do after a dead member. All of it may be done twice, or begun by one that
/// died in the middle.
pub(crate) trait Cleanup: Send + Sync {
    /// Returns the leases of a dead member's consumer. What is to be moved to the dead letters is
    /// only noted: that waits for syncs, and others for their leases.
    fn consumer_died(
        &self,
        store: &Arc<StoreInner>,
        consumer: &ConsumerEntry,
        moves: &mut Moves,
    ) -> Result<()>;
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
        if !self.is_probe_due(now, beat_ms) {
            return Vec::new();
        }
        self.control
            .header()
            .store(header::LAST_PROBE, now, Ordering::Relaxed);
        members.fence_dead()
    }

    /// Whether nobody looked for the dead in the last `beat_ms`, or in what is to come.
    #[inline]
    fn is_probe_due(&self, now_ms: u64, beat_ms: u64) -> bool {
        let probed = self.control.header().get(header::LAST_PROBE);
        now_ms.saturating_sub(probed) >= beat_ms || probed > now_ms
    }

    /// As `notice_dead`, by who found what he asked for at this time, and would else never look.
    #[inline]
    pub(crate) fn notice_overdue(self: &Arc<Self>, now_ms: u64, group: &Arc<GroupInner>) {
        if self.members.is_some() && self.is_probe_due(now_ms, OVERDUE_MS) {
            self.notice_dead(OVERDUE_MS, group);
        }
    }

    /// Looks for dead members as `find_dead`, returns what they had of this group, and then of all
    /// that are open here, and leaves the rest to housekeeping. Called by receive calls and
    /// sleepers' beats.
    pub(crate) fn notice_dead(self: &Arc<Self>, beat_ms: u64, group: &Arc<GroupInner>) {
        let dead = self.look_for_dead(beat_ms);
        if dead.is_empty() {
            return;
        }
        let at = group.block.at();
        let (mut moves, mut consumers) = (Vec::new(), self.consumers_of(&dead));
        // Others who would look find that somebody just did.
        let mut open = HashMap::from([(at, group.clone())]);
        let others: HashSet<u64> = consumers.iter().map(|consumer| consumer.group).collect();
        let others = others.into_iter().filter(|other| ![0, at].contains(other));
        open.extend(others.filter_map(|other| Some((other, self.known_group(other)?))));
        consumers.retain(|consumer| open.contains_key(&consumer.group));
        consumers.sort_by_key(|consumer| consumer.group != at);
        // What fails is tried again by housekeeping.
        let _ = self.return_consumers(&consumers, |consumer| {
            open[&consumer.group].return_consumer(consumer, true, WINDOW_PATIENCE, &mut moves)
        });
        let noticed = moves
            .iter()
            .map(|(of, number)| (Arc::downgrade(of), *number));
        locked(&self.noticed_moves).extend(noticed);
        self.find_dead_now.store(true, Ordering::Release);
        self.nudge();
    }

    /// Looks for dead members, unless anyone did in the last `beat_ms`, and cleans up after them;
    /// how many there were. Called by housekeeping, between its parts, and before leaving.
    pub(crate) fn find_dead(self: &Arc<Self>, beat_ms: u64) -> Result<usize> {
        let noticed = self.find_dead_now.swap(false, Ordering::AcqRel);
        let dead = self.look_for_dead(if noticed { 0 } else { beat_ms });
        let Some(members) = self.members.as_ref().filter(|_| !dead.is_empty()) else {
            self.move_dying(Vec::new());
            return Ok(0);
        };
        // What is waited for first: leases of all of them, before anything is synced. One that
        // cannot be cleaned up after does not keep the others from it.
        let (cleanup, mut moves) = (self.cleanup(), Vec::new());
        let mut consumers = self.consumers_of(&dead);
        // To open a group takes longer.
        consumers.sort_by_key(|consumer| self.known_group(consumer.group).is_none());
        let mut done = self.return_consumers(&consumers, |consumer| {
            cleanup.consumer_died(self, consumer, &mut moves)
        });
        self.move_dying(moves);
        for owner in &dead {
            match cleanup.member_died(self) {
                // Somebody else holds for long what that needs: as with windows, that is no error
                // of who looks, who may be about to leave, and it is looked at again soon (P17).
                Err(error) if error.kind() == ErrorKind::Stuck => {
                    self.find_dead_now.store(true, Ordering::Release);
                }
                // A partition whose sync failed is healed by housekeeping, a damaged one by nobody.
                Err(error) if !is_final(&error) => done = done.and(Err(error)),
                // The slot last: if this process dies before, the member is found again.
                _ if self.control.consumers_of_member(*owner).is_empty() => members.bury(*owner),
                _ => {}
            }
        }
        done.map(|()| dead.len())
    }

    /// What the dead had for the last time goes to the dead letters, while this process knows why.
    /// What cannot go now is moved by who uses its group next, who is also told why.
    fn move_dying(&self, mut moves: Moves) {
        let noticed = std::mem::take(&mut *locked(&self.noticed_moves));
        let open = |(of, number): (Weak<GroupInner>, u32)| Some((of.upgrade()?, number));
        moves.extend(noticed.into_iter().filter_map(open));
        for (group, number) in moves {
            let _ = dying::move_dying(&group, number, dying::PATIENCE);
        }
    }

    fn cleanup(&self) -> &Arc<dyn Cleanup> {
        self.cleanup.get_or_init(|| Arc::new(Groups))
    }

    fn consumers_of(&self, dead: &[Owner]) -> Vec<ConsumerEntry> {
        let all = dead.iter();
        all.flat_map(|owner| self.control.consumers_of_member(*owner))
            .collect()
    }

    /// Gives back what consumers of dead members had leased.
    /// One whose leases could not be returned stays in the table, to be found again, except where
    /// the window is damaged: those leases come back when it is repaired, with all others. One
    /// whose window somebody else holds for long is looked at again soon, and is no error.
    fn return_consumers(
        self: &Arc<Self>,
        consumers: &[ConsumerEntry],
        mut give_back: impl FnMut(&ConsumerEntry) -> Result<()>,
    ) -> Result<()> {
        if consumers.is_empty() {
            return Ok(());
        }
        let lock = self.control.header().word32(header::DEATH_LOCK);
        let _held = match OwnerLock::hold(lock, self.env.me, &*self.env.live, PATIENCE) {
            Err(error) if error.kind() == ErrorKind::Stuck => None,
            held => Some(held?),
        };
        let mut done = Ok(());
        for consumer in consumers {
            let mut returned = Ok(());
            if consumer.group != 0 {
                returned = give_back(consumer);
            }
            match returned {
                Err(error) if error.kind() == ErrorKind::Stuck => {
                    self.find_dead_now.store(true, Ordering::Release);
                }
                Err(error) if error.kind() != ErrorKind::Damaged => done = done.and(Err(error)),
                _ => self.control.free_consumer(consumer),
            }
        }
        done
    }
}

/// Whether trying again now would change nothing.
fn is_final(error: &Error) -> bool {
    let kinds = [ErrorKind::Damaged, ErrorKind::Io, ErrorKind::Poisoned];
    kinds.contains(&error.kind())
}
