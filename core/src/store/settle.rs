//! Settling deliveries: all that are good, and word of those that are stale.

use std::time::Duration;

use super::consumer::Consumer;
use super::dying;
use super::group::GroupInner;
use super::message::Receipt;
use crate::error::{Error, ErrorKind, Result};
use crate::group::{Counter, Policy, Settled, Settling, Window};
use crate::log::Partition;

/// What a settle call came to.
struct Done {
    /// Places of receipts that were stale.
    stale: Vec<usize>,
    /// Why some were not settled.
    failed: Option<Error>,
    /// Whether all were to be settled with one lock: where that could not be had none is. Of a
    /// damaged window some may be, which the next call names as stale.
    whole: bool,
    /// What is to be told of moves to the dead letters.
    buried: Result<()>,
}

impl Default for Done {
    fn default() -> Self {
        Self {
            stale: Vec::new(),
            failed: None,
            whole: true,
            buried: Ok(()),
        }
    }
}

impl Consumer {
    /// The messages are done. Stale receipts are named by an error of kind
    /// [`ErrorKind::StaleReceipt`]; the others are settled all the same.
    ///
    /// Where the group hands out at most once they were settled before: then it does nothing.
    pub fn ack(&self, receipts: &[Receipt]) -> Result<()> {
        if self.group.once {
            return self.answer(receipts, false);
        }
        self.end(receipts, "", |settling, _, receipt| {
            settling.ack(receipt.id.offset, receipt.attempt)
        })
    }

    /// The messages failed: they come back after `delay`, or the group's backoff; after the group's
    /// `max_attempts` failures they become dead letters. `error` says why.
    ///
    /// Where the group hands out at most once nothing comes back: a failure is counted.
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
        if self.group.once {
            return self.answer(receipts, true);
        }
        let clock = &self.group.topic.store.env.clock;
        let (now, wall) = (clock.boot_ms(), clock.wall_ms());
        let delay = delay.map(|delay| delay.as_millis() as u64);
        let reason = error.unwrap_or("nack without an error text");
        let done = self.end(receipts, reason, |settling, policy, receipt| {
            settling.window().nack(
                policy,
                (receipt.id.offset, receipt.attempt),
                delay,
                now,
                wall,
            )
        });
        self.stir_watch();
        done
    }

    /// Hands the messages back, uncounted; they are ready at once.
    /// [`ErrorKind::InvalidArgument`] where the group hands out at most once.
    pub fn release(&self, receipts: &[Receipt]) -> Result<()> {
        self.check_settles_later("hand back")?;
        self.end(receipts, "", |settling, _, receipt| {
            (settling.window()).release(receipt.id.offset, receipt.attempt)
        })
    }

    /// Gives up on the messages now: they become dead letters.
    /// [`ErrorKind::InvalidArgument`] where the group hands out at most once.
    pub fn dead_letter(&self, receipts: &[Receipt], reason: &str) -> Result<()> {
        self.check_settles_later("give up on")?;
        let clock = &self.group.topic.store.env.clock;
        let (now, wall) = (clock.boot_ms(), clock.wall_ms());
        self.end(receipts, reason, |settling, _, receipt| {
            (settling.window()).give_up(receipt.id.offset, receipt.attempt, now, wall)
        })
    }

    /// Settles, and tells who keeps account of what is out.
    pub(super) fn end(
        &self,
        receipts: &[Receipt],
        reason: &str,
        one: impl Fn(&mut Settling<'_>, &Policy, &Receipt) -> Settled,
    ) -> Result<()> {
        let done = self.settle(receipts, reason, one);
        // After another error some may be out still, and are to be extended.
        let stale = |error: &Error| error.kind() == ErrorKind::StaleReceipt;
        if let Some(leases) = &self.leases
            && done.as_ref().err().is_none_or(stale)
        {
            leases.forget(receipts);
        }
        self.tell_drain(receipts.len());
        done
    }

    /// One lock for each partition that the receipts name. Where one cannot be had the receipts of
    /// that partition are not settled, which is what the error says then: that others were stale
    /// would say that these are done (P9).
    pub(super) fn settle(
        &self,
        receipts: &[Receipt],
        reason: &str,
        one: impl Fn(&mut Settling<'_>, &Policy, &Receipt) -> Settled,
    ) -> Result<()> {
        self.check()?;
        let group = &*self.group;
        let mut done = Done::default();
        // As a rule all are of one partition.
        if let Some(partition) = self.one_partition(receipts) {
            let these = receipts.iter().enumerate();
            self.settle_of(group, partition, these, (&one, reason), &mut done);
        } else {
            self.settle_mixed(receipts, reason, &one, &mut done);
        }
        if let Some(error) = done.failed {
            return Err(match done.whole {
                true => error,
                false => error.context(
                    "some of the receipts were not settled, those of other partitions were; \
                     settle all again, and those that are done by then are named as stale",
                ),
            });
        }
        if done.stale.is_empty() {
            return done.buried;
        }
        if let Err(error) = done.buried {
            self.keep_pending(error);
        }
        done.stale.sort_unstable();
        Err(Error::stale(done.stale, receipts.len()))
    }

    /// Those of one window, and what of them is to be moved to the dead letters.
    fn settle_of<'a>(
        &self,
        group: &GroupInner,
        partition: u32,
        receipts: impl Iterator<Item = (usize, &'a Receipt)>,
        (one, reason): (
            &impl Fn(&mut Settling<'_>, &Policy, &Receipt) -> Settled,
            &str,
        ),
        done: &mut Done,
    ) {
        match settle_in(group, partition, receipts, one, &mut done.stale) {
            Ok(dying) => {
                let buried = self.bury(group, partition, &dying, reason);
                if done.buried.is_ok() {
                    done.buried = buried;
                }
            }
            Err(error) => drop(done.failed.get_or_insert(error)),
        }
    }

    /// The partition of the group's topic that all these receipts are of, if there is one.
    #[inline]
    fn one_partition(&self, receipts: &[Receipt]) -> Option<u32> {
        let (topic, first) = (&self.group.topic, receipts.first()?.id.partition);
        let mine = |r: &Receipt| r.id.topic_id == topic.uid && r.id.partition == first;
        let known = (first as usize) < topic.partitions.len();
        (known && receipts.iter().all(mine)).then_some(first)
    }

    /// Of several partitions, or of redriven messages, or of none that are known.
    fn settle_mixed(
        &self,
        receipts: &[Receipt],
        reason: &str,
        one: &impl Fn(&mut Settling<'_>, &Policy, &Receipt) -> Settled,
        done: &mut Done,
    ) {
        done.whole = false;
        let group = &*self.group;
        let letters = self.settle_redriven(receipts, reason, one, done);
        let known = group.topic.partitions.len() as u32;
        let good = |r: &Receipt| r.id.topic_id == group.topic.uid && r.id.partition < known;
        let mut places = Vec::with_capacity(receipts.len());
        for (place, receipt) in receipts.iter().enumerate() {
            if good(receipt) {
                places.push(place);
            } else if letters != Some(receipt.id.topic_id) {
                // Those of letters are done already.
                done.stale.push(place);
            }
        }
        // Those of a partition stay in the call's order.
        places.sort_by_key(|place| receipts[*place].id.partition);
        let same = |a: &usize, b: &usize| receipts[*a].id.partition == receipts[*b].id.partition;
        for mine in places.chunk_by(same) {
            let partition = receipts[mine[0]].id.partition;
            let these = mine.iter().map(|place| (*place, &receipts[*place]));
            // The receipts of other partitions are settled all the same.
            self.settle_of(group, partition, these, (one, reason), done);
        }
    }

    /// Settles those of redriven messages, whose receipts name their letters; the id of the topic
    /// that these are in.
    fn settle_redriven(
        &self,
        receipts: &[Receipt],
        reason: &str,
        one: &impl Fn(&mut Settling<'_>, &Policy, &Receipt) -> Settled,
        done: &mut Done,
    ) -> Option<u64> {
        let strange = |receipt: &&Receipt| receipt.id.topic_id != self.group.topic.uid;
        let topic_id = receipts.iter().find(strange)?.id.topic_id;
        let lane = match self.group.lane() {
            Ok(lane) => lane?,
            Err(error) => {
                // Whether they are stale nobody can say.
                done.failed = Some(error);
                return Some(topic_id);
            }
        };
        let mut these = Vec::new();
        for (place, receipt) in receipts.iter().enumerate() {
            match (receipt.id.topic_id == lane.topic.uid, receipt.id.partition) {
                (true, 0) => these.push((place, receipt)),
                (true, _) => done.stale.push(place),
                _ => {}
            }
        }
        if !these.is_empty() {
            self.settle_of(&lane, 0, these.into_iter(), (one, reason), done);
        }
        Some(lane.topic.uid)
    }

    /// Messages that failed for the last time go to the dead letters, with the reason.
    fn bury(&self, group: &GroupInner, partition: u32, dying: &[u64], reason: &str) -> Result<()> {
        if dying.is_empty() {
            return Ok(());
        }
        for offset in dying {
            let reason = (reason.to_owned(), self.name.clone());
            group.remember_reason(partition, *offset, reason);
        }
        dying::move_dying(group, partition, dying::PATIENCE).map_err(|error| {
            error.context(
                "settled; what is still to be done for its dead letters is left to the next call",
            )
        })
    }
}

/// With one lock for all of them; the offsets of those that failed for the last time.
fn settle_in<'a>(
    group: &GroupInner,
    partition: u32,
    receipts: impl Iterator<Item = (usize, &'a Receipt)>,
    one: &impl Fn(&mut Settling<'_>, &Policy, &Receipt) -> Settled,
    stale: &mut Vec<usize>,
) -> Result<Vec<u64>> {
    let (mut dying, log) = (Vec::new(), &group.topic.partitions[partition as usize]);
    let ready = group.with_policy(partition, |window, policy| {
        let full = window.is_full(window.cursor().offset);
        let (epoch, mut settling) = (group.mark(window.epoch()), window.settling());
        for (place, receipt) in receipts {
            let current = receipt.epoch == epoch;
            match if current {
                one(&mut settling, policy, receipt)
            } else {
                Settled::Stale
            } {
                Settled::Done => {}
                Settled::Dying => dying.push(receipt.id.offset),
                Settled::Stale => stale.push(place),
            }
        }
        settling.end();
        group.may_come(window, log, full)
    })?;
    if ready > 0 {
        group.wake(u32::try_from(ready).unwrap_or(u32::MAX));
    }
    Ok(dying)
}

impl GroupInner {
    /// How many messages may be handed out now that some were settled, where the window was full
    /// before or was not.
    pub(super) fn may_come(&self, window: &Window, log: &Partition, was_full: bool) -> u64 {
        let (ready, next) = (window.counter(Counter::Ready), window.cursor().offset);
        if !was_full || self.is_lane() || window.is_full(next) {
            return ready;
        }
        // What was never looked at waited for room in the window.
        ready.saturating_add(log.next_offset().saturating_sub(next))
    }
}
