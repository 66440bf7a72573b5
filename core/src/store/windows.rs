//! The windows of a group: one holder at a time, repaired after a dead one, rebuilt in a new life.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering as Memory;
use std::time::Duration;

use super::group::GroupInner;
use super::in_force::InForce;
use super::settings::{GuardedWindow, Settlement};
use crate::error::{ErrorKind, Result};
use crate::format::control::{block as words, group_partition as at};
use crate::format::journal::Settle;
use crate::group::{Batches, Life, Now, Policy, Window};
use crate::shm::{Acquired, OwnerLock};

impl GroupInner {
    /// Runs `work` on a partition's window with its lock held, repaired if its last holder died.
    #[inline]
    pub(super) fn with_window<T>(
        &self,
        partition: u32,
        work: impl FnOnce(&mut Window) -> T,
    ) -> Result<T> {
        self.with_policy(partition, |window, _| work(window))
    }

    /// As `with_window`, with the policy that is in force for as long as the lock is held.
    #[inline]
    pub(super) fn with_policy<T>(
        &self,
        partition: u32,
        work: impl FnOnce(&mut Window, &Policy) -> T,
    ) -> Result<T> {
        self.with_policy_within(partition, self.topic.store.env.lock_timeout, work)
    }

    /// As `with_policy`, waiting no longer than this for a live holder.
    #[inline]
    pub(super) fn with_policy_within<T>(
        &self,
        partition: u32,
        patience: Duration,
        work: impl FnOnce(&mut Window, &Policy) -> T,
    ) -> Result<T> {
        if !self.is_rebuilt(partition) {
            self.begin_life(partition)?;
            // What could not be settled yet is put on disk first. Where that cannot be now, as
            // under the journal's lock, housekeeping comes to it.
            let _ = self.topic.store.finish_promised();
        }
        self.hold_window(partition, patience, work)
    }

    /// As `with_policy`, with another patience, and only where the window was used in this life: in
    /// another one nobody has a lease.
    pub(super) fn with_used_window(
        &self,
        partition: u32,
        patience: Duration,
        work: impl FnOnce(&mut Window, &Policy),
    ) -> Result<()> {
        if !self.is_rebuilt(partition) {
            return Ok(());
        }
        self.hold_window(partition, patience, work)
    }

    /// As `with_policy`, whether or not the window was rebuilt in this life.
    #[inline]
    fn hold_window<T>(
        &self,
        partition: u32,
        patience: Duration,
        work: impl FnOnce(&mut Window, &Policy) -> T,
    ) -> Result<T> {
        let env = &*self.topic.store.env;
        let words = &self.block.partitions[partition as usize];
        let (lock, live) = (words.word32(at::LOCK), &*env.live);
        let slept = |time| words.count_wait(at::TIMES, time);
        let mut read = None;
        let (mut held, how) = loop {
            let (mut held, how) = OwnerLock::hold_told(lock, env.me, live, patience, &slept)?;
            let guarded = self.windows[partition as usize].with(&mut held);
            // Looked at with the lock held: who changes the group takes it after he has raised the
            // word, and from then on nobody is inside who goes by what was in force before.
            if guarded.is_current(self.changed(), read.take()) {
                break (held, how);
            }
            // What was not repaired is not given back as whole.
            if how == Acquired::Clean {
                drop(held);
            } else {
                held.abandon();
            }
            read = Some(self.in_force()?);
        };
        let guarded = self.windows[partition as usize].with(&mut held);
        let ready = self.make_ready(&mut guarded.window, partition, how);
        // One load in a topic without a limit. A seek may leave less that is settled.
        let before = self
            .topic
            .tells_settled()
            .then(|| guarded.window.settled_mark());
        // In a new life not before the window was rebuilt, which looks at what was closed.
        if ready.is_ok() && guarded.is_behind() && self.is_rebuilt(partition) {
            guarded.catch_up();
        }
        let GuardedWindow { window, policy, .. } = guarded;
        if let Err(error) = ready {
            // What was not repaired is not given back as whole.
            if how != Acquired::Clean {
                held.abandon();
            }
            return Err(error);
        }
        // An entry that names a place outside of the window is a damaged file, and no reason to
        // end the process (P18). The next holder derives all that can be from the entries.
        match catch_unwind(AssertUnwindSafe(|| work(window, policy))) {
            Ok(done) => {
                window.tell_tally();
                if let Some(before) = before {
                    let settled = guarded.settled_since(before);
                    drop(held);
                    self.tell_settled(settled);
                }
                Ok(done)
            }
            Err(panic) => {
                let error = window.damage_by(&panic);
                held.abandon();
                Err(error)
            }
        }
    }

    /// Of a topic with a limit: that there may be room, or that there is more that is not settled
    /// than those who send have counted (P14).
    fn tell_settled(&self, settled: Settlement) {
        match settled {
            Settlement::None => {}
            Settlement::More => self.topic.tell_room(),
            Settlement::Fewer => self.topic.count_anew(),
        }
    }

    #[inline]
    fn make_ready(&self, window: &mut Window, partition: u32, how: Acquired) -> Result<()> {
        self.topic.store.env.check_fence()?;
        window.refresh()?;
        // One that was not rebuilt in this life yet is not repaired either: that does it all.
        if how == Acquired::Clean || !self.is_rebuilt(partition) {
            return Ok(());
        }
        window.check_span()?;
        self.rebuild(partition, window, Life::Same)
    }

    fn rebuild(&self, partition: u32, window: &mut Window, life: Life) -> Result<()> {
        let log = &self.topic.partitions[partition as usize];
        let (mut presence, mut done) = (log.presence(), Ok(()));
        // What cannot be asked for is there: whoever is handed it is told why it cannot be read.
        let mut exists = |offset, position| {
            presence.has(offset, position).unwrap_or_else(|error| {
                done = Err(error);
                true
            })
        };
        let now = Now::by(&*self.topic.store.env.clock);
        window.rebuild(life, now, &mut exists);
        done
    }

    #[inline]
    pub(super) fn is_rebuilt(&self, partition: u32) -> bool {
        let region = &self.block.partitions[partition as usize];
        region.load(at::REBUILT, Memory::Acquire) != 0
    }

    /// The first use of the group in this life of the store: all leases are void, and what their
    /// holders had started is charged. A batch may come from several partitions, and from the
    /// redrive lane, so each step is done in all of them before the next one (P10,
    /// `group/gone.rs`). One at a time; one that dies in between leaves the rest to the next.
    /// Damage is told of for the partition that is asked for, and keeps no other from being used.
    #[cold]
    pub(super) fn begin_life(&self, wanted: u32) -> Result<()> {
        // Before any lock: what transactions have done is asked for below.
        self.topic.store.begin_transactions()?;
        let env = &*self.topic.store.env;
        let lock = self.front().head.word32(words::LIFE_LOCK);
        let (_life, _) = OwnerLock::hold(lock, env.me, &*env.live, env.lock_timeout)?;
        self.hold_window(wanted, env.lock_timeout, |window, _| window.check())??;
        // What keeps it from being looked into is told by who uses it.
        let lane = self.find_lane().ok().flatten();
        let mut left: Vec<(&Self, u32)> = Vec::new();
        for group in std::iter::once(self).chain(lane.as_deref()) {
            let others = |number: &u32| !group.is_rebuilt(*number);
            let numbers = (0..group.windows.len() as u32).filter(others);
            left.extend(numbers.map(|number| (group, number)));
        }
        let (mut fetched, mut started) = (Batches::new(), Batches::new());
        // One that goes on after somebody else finds windows that know this start of the host.
        let mut life = Life::New;
        self.in_each(&mut left, wanted, |(group, number), window, _| {
            if group.revive(number, window)? == Life::NewBoot {
                life = Life::NewBoot;
            }
            Ok(())
        })?;
        self.in_each(&mut left, wanted, |_, window, _| {
            fetched.extend(window.fetched_batches(|_| true));
            Ok(())
        })?;
        self.in_each(&mut left, wanted, |_, window, _| {
            started.extend(window.started_among(&fetched));
            Ok(())
        })?;
        self.in_each(&mut left, wanted, |_, window, _| {
            window.return_fetched(|_| true, &started);
            Ok(())
        })?;
        self.in_each(&mut left, wanted, |(group, number), window, policy| {
            let times = (env.clock.boot_ms(), env.clock.wall_ms());
            window.return_void_leases(policy, life, times);
            // Last: a death before has the next one do it again.
            let region = &group.block.partitions[number as usize];
            region.store(at::REBUILT, 1, Memory::Release);
            Ok(())
        })
    }

    /// One step in these partitions; those whose window is damaged are left out from then on.
    fn in_each<'a>(
        &self,
        some: &mut Vec<(&'a Self, u32)>,
        wanted: u32,
        mut step: impl FnMut((&'a Self, u32), &mut Window, &Policy) -> Result<()>,
    ) -> Result<()> {
        let (timeout, mut done) = (self.topic.store.env.lock_timeout, Ok(()));
        some.retain(|(group, number)| {
            let held = group.hold_window(*number, timeout, |window, policy| {
                step((*group, *number), window, policy)
            });
            let error = match held.and_then(|done| done) {
                Ok(()) => return true,
                Err(error) => error,
            };
            // Whoever uses the window is told of its damage.
            let is_wanted = std::ptr::eq(*group, self) && *number == wanted;
            if done.is_ok() && (is_wanted || error.kind() != ErrorKind::Damaged) {
                done = Err(error);
            }
            false
        });
        done
    }

    /// The window, derived anew; its leases are still to be returned.
    fn revive(&self, partition: u32, window: &mut Window) -> Result<Life> {
        let boot = self.topic.store.env.storage.boot_id();
        let life = if window.boot() == boot {
            Life::New
        } else {
            Life::NewBoot
        };
        window.check()?;
        window.open_clean()?;
        self.rebuild(partition, window, life)?;
        window.set_boot(boot);
        // Before what is gone is ended: what is marked is nobody's to end.
        self.settle_and_lease_marked(partition, window)?;
        let log = &self.topic.partitions[partition as usize];
        let first = log.first_kept();
        if window.floor() < first {
            let now = Now::by(&*self.topic.store.env.clock);
            window.begin_at(first, !self.is_lane(), now);
        }
        Ok(life)
    }

    /// Whether a receive would find nothing in a window that is not filled from the log, as that of
    /// a lane: without its lock, for a few loads. Not of one that is to be repaired or rebuilt.
    #[inline]
    pub(super) fn is_idle(&self, partition: u32) -> bool {
        let lock = self.block.partitions[partition as usize].word32(at::LOCK);
        self.is_rebuilt(partition)
            && OwnerLock::is_free(lock)
            && self.glances[partition as usize].is_idle()
    }

    /// Whether there is more in the topic than the group has looked at, without its locks.
    pub(super) fn is_behind(&self) -> bool {
        let mut each = self.topic.partitions.iter().zip(&self.glances);
        each.any(|(log, glance)| glance.end() < log.next_offset())
    }

    /// Does something to a hand-out, unless the group was sought since.
    pub(super) fn with_epoch(
        &self,
        partition: u32,
        epoch: u32,
        work: impl FnOnce(&mut Window, &Policy),
    ) -> Result<()> {
        self.with_policy(partition, |window, policy| {
            if self.mark(window.epoch()) == epoch {
                work(window, policy);
            }
        })
    }

    /// What transactions marked is settled where they have happened, and else leased as it was.
    /// What has to be on disk before it is settled, and is not for sure, stays marked until then: a
    /// power loss could leave what is settled, and take what was sent for it (P8).
    fn settle_and_lease_marked(&self, partition: u32, window: &Window) -> Result<()> {
        let (on_disk, promised) = self.topic.store.marks_to_settle(self.uid, partition)?;
        for mark in on_disk {
            window.settle_marked(mark.offset, (mark.attempt, mark.epoch));
        }
        let epoch = window.epoch();
        window.lease_marked(|offset, attempt| {
            let mine = |mark: &Settle| (mark.offset, mark.attempt, mark.epoch);
            promised
                .iter()
                .any(|mark| mine(mark) == (offset, attempt, epoch))
        });
        Ok(())
    }

    pub(super) fn start(&self, partition: u32, (offset, attempt): (u64, u32), epoch: u32) {
        // Without the lock there is nothing to say that a later death could be charged by.
        let start = |window: &mut Window, _: &Policy| window.start(offset, attempt);
        let _ = self
            .topic
            .store
            .check_open()
            .and_then(|()| self.with_epoch(partition, epoch, start));
    }
}
