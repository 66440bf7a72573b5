//! At most once (P7): what a receive gathered is settled before it is returned, as durably as the
//! topic's durability says; what that means for an entry is told in `group/once.rs`.
//!
//! With durability `process` a death alone can take anything, and the kernel keeps what a process
//! stored: settling is all. Else three steps are made for each partition: under the window's lock
//! the messages are given, without it the window is put on disk, under it again they are settled.
//!
//! - A death before the first step, or a power loss before the second one is done, has handed over
//!   nothing; after a death between them, what was given is lost, as the power loss may leave it.
//! - A sync that fails has handed over nothing either: what was given is taken back (P5). Who
//!   cannot do so, since the lock is not to be had, leaves it to be lost: it never comes twice.
//! - What was given and is on disk only this call can hand over. So it does, whatever the last step
//!   finds: others may have settled it, who took it for gone, or the group was sought or deleted.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use super::consumer::Consumer;
use super::delivery::{Delivery, HandOut};
use super::group::GroupInner;
use super::message::Receipt;
use crate::error::{Error, ErrorKind, Result};
use crate::format::control::group_partition as at;
use crate::group::{Policy, Settled, Window};
use crate::options::Durability;
use crate::shm::{Acquired, Held, OwnerLock};

/// The deadline of what was settled before it was handed out: nobody ever takes it back.
const NEVER_NS: i64 = i64::MAX;

impl Consumer {
    /// Settles what was gathered and returns it, without what is somebody else's by now.
    pub(super) fn settle_and_hand_on(
        &self,
        mut found: Vec<Delivery>,
        lease: Duration,
    ) -> Result<Vec<Delivery>> {
        let place = |one: &Delivery| (one.group.block.at(), one.message.partition);
        let mut places: Vec<(u64, u32)> = found.iter().map(place).collect();
        places.sort_unstable();
        places.dedup();
        let (mut handed, mut failed) = (HashSet::new(), None);
        for each in places {
            let mine: Vec<&Delivery> = found.iter().filter(|one| place(one) == each).collect();
            match self.hand_over(&mine, lease) {
                Ok(ids) => handed.extend(ids),
                Err(error) => {
                    failed.get_or_insert(error);
                }
            }
        }
        found.retain(|one| handed.remove(&one.hand_out()));
        for one in &mut found {
            one.deadline_ns = NEVER_NS;
        }
        match failed {
            Some(error) if found.is_empty() => Err(error),
            // What was settled in other partitions is returned, or it would be lost.
            Some(error) => {
                self.keep_pending(error);
                Ok(found)
            }
            None => Ok(found),
        }
    }

    /// Of messages of one window, the group's or its redrive lane's, those that are settled and
    /// this call's to hand over.
    fn hand_over(&self, mine: &[&Delivery], lease: Duration) -> Result<Vec<HandOut>> {
        let Some(first) = mine.first() else {
            return Ok(Vec::new());
        };
        let (group, number) = (&*first.group, first.message.partition);
        let (slot, durability) = (self.slot, self.group.topic.durability());
        let hand_out = |one: &Delivery| (one.place_id().offset, one.attempt);
        let take_back = |error: Error| {
            // What stays given for want of the lock is lost in the end; what is not comes back.
            let _ = group.each_of(number, mine, |window, _, one| {
                window.take_back(one.place_id().offset, one.attempt)
            });
            error
        };
        let paused = |window: &Window, policy: &Policy, one: &Delivery| {
            // Nothing is handed out once `pause` has returned.
            policy.paused && window.take_back(one.place_id().offset, one.attempt) == Settled::Done
        };
        if durability == Durability::Process {
            let settled = group.each_of(number, mine, |window, policy, one| {
                if paused(window, policy, one) {
                    return Settled::Stale;
                }
                window.settle_gathered(hand_out(one), slot)
            });
            return settled.map_err(take_back);
        }
        let due = group.topic.store.env.clock.boot_ms() + lease.as_millis() as u64;
        let given = group.each_of(number, mine, |window, policy, one| {
            if paused(window, policy, one) {
                return Settled::Stale;
            }
            window.give(hand_out(one), due, slot)
        });
        let given = given.map_err(take_back)?;
        if given.is_empty() {
            return Ok(given);
        }
        group.sync_window(number).map_err(take_back)?;
        let _ = group.each_of(number, mine, |window, _, one| {
            window.settle_given(hand_out(one), slot)
        });
        Ok(given)
    }

    /// What a settle call does where all was settled before: nothing, but for counting a failure.
    pub(super) fn answer(&self, receipts: &[Receipt], failed: bool) -> Result<()> {
        let failed_by = failed.then_some(self.slot);
        self.end(receipts, "", |settling, _, receipt| {
            (settling.window()).answer(receipt.id.offset, receipt.attempt, failed_by)
        })
    }

    /// Errors where the group hands out at most once: for calls that have no sense there.
    pub(super) fn check_settles_later(&self, what: &str) -> Result<()> {
        self.check()?;
        if !self.group.once {
            return Ok(());
        }
        let message = format!(
            "group {:?} hands out at most once: each message was settled before it was handed out, \
             and there is nothing to {what}; ack, or nack to count a failure, or leave it at that",
            self.group.name
        );
        Err(Error::new(ErrorKind::InvalidArgument, message))
    }
}

impl GroupInner {
    /// Errors where the group hands out at most once, for options that are about leases.
    pub(super) fn check_has_leases(&self, option: &str) -> Result<()> {
        if !self.once {
            return Ok(());
        }
        let message = format!(
            "{option} is given, and group {:?} hands out at most once: each message is settled \
             before it is handed out, so that nothing is leased; leave {option} out",
            self.name
        );
        Err(Error::new(ErrorKind::InvalidArgument, message))
    }

    /// Does one thing to what was gathered of a partition, with one lock; for which it was done.
    fn each_of(
        &self,
        number: u32,
        mine: &[&Delivery],
        one: impl Fn(&Window, &Policy, &Delivery) -> Settled,
    ) -> Result<Vec<HandOut>> {
        let (mut done, log) = (Vec::new(), &self.topic.partitions[number as usize]);
        let ready = self.with_policy(number, |window, policy| {
            let epoch = self.mark(window.epoch());
            let full = window.is_full(window.cursor().offset);
            for delivery in mine.iter().filter(|delivery| delivery.epoch == epoch) {
                if one(window, policy, delivery) == Settled::Done {
                    done.push(delivery.hand_out());
                }
            }
            self.may_come(window, log, full)
        })?;
        if ready > 0 {
            self.wake(u32::try_from(ready).unwrap_or(u32::MAX));
        }
        Ok(done)
    }

    /// Puts a window on disk, as all that its lock's last holder left.
    pub(super) fn sync_window(&self, number: u32) -> Result<()> {
        let _one = self.hold_sync(number)?;
        let syncer = self.with_window(number, |window| window.syncer())?;
        self.timed_sync(number, || syncer.sync())
    }

    /// Puts it on disk, and counts that.
    pub(super) fn timed_sync(&self, number: u32, sync: impl FnOnce() -> Result<()>) -> Result<()> {
        let began = Instant::now();
        let done = sync();
        self.block.partitions[number as usize].count_sync(at::TIMES, began.elapsed());
        done
    }

    /// Where messages are handed over on the word of a sync: the lock of who syncs the window. A
    /// sync that fails takes pages for written that are not, until they are made to be written
    /// again; no other one is to succeed in between (P5, P7). Who died at it may have failed.
    pub(super) fn hold_sync(&self, number: u32) -> Result<Option<Held<'_>>> {
        if !self.once {
            return Ok(None);
        }
        let env = &*self.topic.store.env;
        let words = &self.block.partitions[number as usize];
        let (lock, live) = (words.word32(at::SYNC_LOCK), &*env.live);
        let slept = |time| words.count_wait(at::TIMES, time);
        let (held, how) = OwnerLock::hold_told(lock, env.me, live, env.lock_timeout, &slept)?;
        if how != Acquired::Clean {
            match self.with_window(number, |window| window.syncer()) {
                Ok(syncer) => syncer.write_again(),
                Err(error) => {
                    held.abandon();
                    return Err(error);
                }
            }
        }
        Ok(Some(held))
    }
}
