//! The windows of a group: one holder at a time, repaired after a dead one, rebuilt in a new life.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering as Memory;

use super::group::GroupInner;
use super::settings::GuardedWindow;
use crate::error::{ErrorKind, Result};
use crate::format::control::{block as words, group_partition as at};
use crate::group::{Batches, Life, Policy, Window};
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
        if !self.is_rebuilt(partition) {
            self.begin_life(partition)?;
        }
        self.hold_window(partition, work)
    }

    /// As `with_policy`, whether or not the window was rebuilt in this life.
    #[inline]
    fn hold_window<T>(
        &self,
        partition: u32,
        work: impl FnOnce(&mut Window, &Policy) -> T,
    ) -> Result<T> {
        let env = &*self.topic.store.env;
        let lock = self.block.partitions[partition as usize].word32(at::LOCK);
        let mut read = None;
        let (mut held, how) = loop {
            let (mut held, how) = OwnerLock::hold(lock, env.me, &*env.live, env.lock_timeout)?;
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
            read = Some(self.read_settings()?);
        };
        let GuardedWindow { window, policy, .. } = self.windows[partition as usize].with(&mut held);
        if let Err(error) = self.make_ready(window, policy, partition, how) {
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
                Ok(done)
            }
            Err(panic) => {
                let error = window.damage_by(&panic);
                held.abandon();
                Err(error)
            }
        }
    }

    #[inline]
    fn make_ready(
        &self,
        window: &mut Window,
        policy: &Policy,
        partition: u32,
        how: Acquired,
    ) -> Result<()> {
        self.topic.store.env.check_fence()?;
        window.refresh()?;
        // One that was not rebuilt in this life yet is not repaired either: that does it all.
        let begun = self.is_rebuilt(partition);
        if how == Acquired::Clean || !begun {
            return Ok(());
        }
        window.check_span()?;
        self.rebuild(partition, (window, policy), Life::Same, &Batches::new())
    }

    fn rebuild(
        &self,
        partition: u32,
        (window, policy): (&mut Window, &Policy),
        life: Life,
        started: &Batches,
    ) -> Result<()> {
        let clock = &self.topic.store.env.clock;
        let log = &self.topic.partitions[partition as usize];
        let (mut presence, mut done) = (log.presence(), Ok(()));
        // What cannot be asked for is there: whoever is handed it is told why it cannot be read.
        let mut exists = |offset, position| {
            presence.has(offset, position).unwrap_or_else(|error| {
                done = Err(error);
                true
            })
        };
        let times = (clock.boot_ms(), clock.wall_ms());
        window.rebuild(policy, life, started, times, &mut exists);
        done
    }

    #[inline]
    fn is_rebuilt(&self, partition: u32) -> bool {
        let region = &self.block.partitions[partition as usize];
        region.load(at::REBUILT, Memory::Acquire) != 0
    }

    /// The first use of the group in this life of the store: all leases are void, and what their
    /// holders had started is charged. A batch may come from several partitions, so all are asked
    /// what was started of it before any is rebuilt (P10). One at a time; one that dies in between
    /// leaves the rest to the next. Damage is told of for the partition that is asked for, and
    /// keeps no other from being used.
    #[cold]
    fn begin_life(&self, wanted: u32) -> Result<()> {
        let env = &*self.topic.store.env;
        let lock = self.block.head.word32(words::LIFE_LOCK);
        let (_life, _) = OwnerLock::hold(lock, env.me, &*env.live, env.lock_timeout)?;
        self.hold_window(wanted, |window, _| window.check())??;
        let others = |number: &u32| !self.is_rebuilt(*number);
        let left: Vec<u32> = (0..self.windows.len() as u32).filter(others).collect();
        let mut started = Batches::new();
        for number in &left {
            let asked = self.hold_window(*number, |window, _| {
                window.check()?;
                started.extend(window.started_batches(|_| true));
                Ok(())
            });
            unless_damaged(asked.and_then(|asked| asked))?;
        }
        for number in &left {
            let rebuilt = self
                .hold_window(*number, |window, policy| {
                    self.revive(*number, (window, policy), &started)
                })
                .and_then(|done| done);
            if *number == wanted {
                rebuilt?;
            } else {
                unless_damaged(rebuilt)?;
            }
        }
        Ok(())
    }

    fn revive(
        &self,
        partition: u32,
        (window, policy): (&mut Window, &Policy),
        started: &Batches,
    ) -> Result<()> {
        if self.is_rebuilt(partition) {
            return Ok(());
        }
        let boot = self.topic.store.env.storage.boot_id();
        let life = if window.boot() == boot {
            Life::New
        } else {
            Life::NewBoot
        };
        window.check()?;
        window.open_clean()?;
        self.rebuild(partition, (window, policy), life, started)?;
        window.set_boot(boot);
        // Last: a death before has the next one do it again.
        let region = &self.block.partitions[partition as usize];
        region.store(at::REBUILT, 1, Memory::Release);
        Ok(())
    }

    pub(super) fn start(&self, partition: u32, offset: u64, attempt: u32) {
        // Without the lock there is nothing to say that a later death could be charged by.
        let _ = self
            .topic
            .store
            .check_open()
            .and_then(|()| self.with_window(partition, |window| window.start(offset, attempt)));
    }
}

/// Whoever uses the window is told of its damage.
fn unless_damaged(done: Result<()>) -> Result<()> {
    match done {
        Err(error) if error.kind() == ErrorKind::Damaged => Ok(()),
        other => other,
    }
}
