//! Settling deliveries: all that are good, and word of those that are stale.

use std::time::Duration;

use super::consumer::Consumer;
use super::dead_letter;
use super::group::GroupInner;
use super::message::Receipt;
use crate::error::{Error, ErrorKind, Result};
use crate::group::{Counter, Settled, Window};

impl Consumer {
    /// The messages are done. Stale receipts are named by an error of kind
    /// [`ErrorKind::StaleReceipt`]; the others are settled all the same.
    pub fn ack(&self, receipts: &[Receipt]) -> Result<()> {
        self.settle(receipts, |window, receipt| {
            window.ack(receipt.id.offset, receipt.attempt)
        })
    }

    /// The messages failed: they come back after `delay`, or the group's backoff; after the group's
    /// `max_attempts` failures they become dead letters. `error` says why.
    pub fn nack(
        &self,
        receipts: &[Receipt],
        delay: Option<Duration>,
        error: Option<&str>,
    ) -> Result<()> {
        if let Some(delay) = delay.filter(|delay| *delay > crate::options::TIME_MAX) {
            let message = format!("delay is {delay:?}; expected at most 365 days");
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        self.note(receipts, error.unwrap_or("nack without an error text"));
        let (clock, policy) = (&self.group.topic.store.env.clock, &self.group.policy);
        let (now, wall) = (clock.boot_ms(), clock.wall_ms());
        let delay = delay.map(|delay| delay.as_millis() as u64);
        self.settle(receipts, |window, receipt| {
            window.nack(
                policy,
                (receipt.id.offset, receipt.attempt),
                delay,
                now,
                wall,
            )
        })
    }

    /// Hands the messages back, uncounted; they are ready at once.
    pub fn release(&self, receipts: &[Receipt]) -> Result<()> {
        self.settle(receipts, |window, receipt| {
            window.release(receipt.id.offset, receipt.attempt)
        })
    }

    /// The leases end `lease` from now on.
    pub fn extend(&self, receipts: &[Receipt], lease: Duration) -> Result<()> {
        if lease.is_zero() || lease > crate::options::TIME_MAX {
            let message = format!("lease is {lease:?}; expected more than 0, at most 365 days");
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        let now = self.group.topic.store.env.clock.boot_ms();
        let due = now + (lease.as_millis() as u64).max(1);
        self.settle(receipts, |window, receipt| {
            window.extend(receipt.id.offset, receipt.attempt, due, self.slot)
        })
    }

    /// Gives up on the messages now: they become dead letters.
    pub fn dead_letter(&self, receipts: &[Receipt], reason: &str) -> Result<()> {
        self.note(receipts, reason);
        let wall = self.group.topic.store.env.clock.wall_ms();
        self.settle(receipts, |window, receipt| {
            window.give_up(receipt.id.offset, receipt.attempt, wall)
        })
    }

    fn note(&self, receipts: &[Receipt], error: &str) {
        for receipt in receipts {
            let reason = (error.to_owned(), self.name.clone());
            self.group
                .remember_reason(receipt.id.partition, receipt.id.offset, reason);
        }
    }

    /// One lock for each partition that the receipts name.
    fn settle(
        &self,
        receipts: &[Receipt],
        one: impl Fn(&Window, &Receipt) -> Settled,
    ) -> Result<()> {
        self.check()?;
        let group = &*self.group;
        let mut stale = Vec::new();
        let known = group.topic.partitions.len() as u32;
        let good = |r: &Receipt| r.id.topic_id == group.topic.uid && r.id.partition < known;
        for (place, receipt) in receipts.iter().enumerate() {
            if !good(receipt) {
                stale.push(place);
            }
        }
        for partition in 0..known {
            let mine = |(_, receipt): &(usize, &Receipt)| {
                receipt.id.partition == partition && receipt.id.topic_id == group.topic.uid
            };
            if receipts.iter().enumerate().any(|r| mine(&r)) {
                let these = receipts.iter().enumerate().filter(mine);
                settle_in(group, partition, these, &one, &mut stale)?;
            }
        }
        if stale.is_empty() {
            return Ok(());
        }
        stale.sort_unstable();
        Err(Error::stale(stale, receipts.len()))
    }
}

fn settle_in<'a>(
    group: &GroupInner,
    partition: u32,
    receipts: impl Iterator<Item = (usize, &'a Receipt)>,
    one: &impl Fn(&Window, &Receipt) -> Settled,
    stale: &mut Vec<usize>,
) -> Result<()> {
    let (ready, dying) = group.with_window(partition, |window| {
        for (place, receipt) in receipts {
            let current = receipt.epoch == window.epoch();
            if !current || one(window, receipt) == Settled::Stale {
                stale.push(place);
            }
        }
        (
            window.counter(Counter::Ready),
            window.counter(Counter::Dying),
        )
    })?;
    if ready > 0 {
        group.wake(u32::try_from(ready).unwrap_or(u32::MAX));
    }
    if dying > 0 {
        dead_letter::move_dying(group, partition)?;
    }
    Ok(())
}
