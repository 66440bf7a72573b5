//! A receive call from its options to its batch: gathering, waiting, handing on.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::consumer::Consumer;
use super::death::PROBE_MS;
use super::delivery::Delivery;
use super::receive_options::ReceiveOptions;
use crate::error::Result;
use crate::format::control::block as words;
use crate::group::{GATHERED, Settled};
use crate::shm::EventCount;

/// The beat at which a sleeper looks for the dead and for what fell due.
const BEAT: Duration = Duration::from_millis(50);
/// How many messages are taken at a time while nothing is known of their size.
const FIRST_CHUNK: usize = 8;

/// A receive call in steps, for those who wait elsewhere, as event loops do: made by
/// [`Consumer::receiving`], driven by [`Consumer::gather`]. Dropping it hands back what it gathered
/// and did not return, as if it had never been handed out.
pub struct Receiving {
    pub(super) wanted: Wanted,
    pub(super) gathered: Gathered,
    timeout: Option<Duration>,
    /// When it found nothing for the first time, from which on its timeout runs: who finds what it
    /// asked for at once does not ask for the time.
    began: Option<Instant>,
    leased_ms: u64,
}

/// What is wanted.
#[derive(Clone, Copy)]
pub(super) struct Wanted {
    most: usize,
    least: usize,
    pub(super) bytes: Option<u64>,
    /// The call's own, or the consumer's; else that of the group.
    pub(super) lease: Option<Duration>,
    pub(super) batch: u16,
}

impl Wanted {
    /// Whether it is one message, which is handed out as it is taken.
    #[inline]
    pub(super) fn is_alone(&self) -> bool {
        self.most == 1 && self.batch != GATHERED
    }
}

/// What there is of it.
#[derive(Default)]
pub(super) struct Gathered {
    pub(super) found: Vec<Delivery>,
    /// The lease of those that were found last.
    pub(super) lease: Duration,
    bytes: u64,
    /// When it was looked for last, in ms of the boot clock.
    pub(super) now_ms: u64,
    /// Whether somebody has messages of what was looked into, who may be dead.
    pub(super) others: bool,
    /// The next message would not fit.
    full: bool,
    /// The highest priority of what is left ready in the partition that was looked into last.
    pub(super) urgency: Option<usize>,
    /// Where each partition hands out one message at a time, how many of them are this call's.
    pub(super) share: Option<usize>,
    /// The last round stopped among messages that the group's filter leaves out.
    pub(super) sifting: bool,
}

impl Gathered {
    pub(super) fn is_full(&self, wanted: &Wanted) -> bool {
        let share = self.share.unwrap_or(usize::MAX).max(wanted.least);
        self.full || self.found.len() >= wanted.most.min(share)
    }

    /// How many messages to take next: with a limit in bytes about as many as fit.
    pub(super) fn chunk(&self, wanted: &Wanted) -> usize {
        let (count, rest) = (self.found.len(), wanted.most - self.found.len());
        let Some(most) = wanted.bytes else {
            return rest;
        };
        if count == 0 {
            return rest.min(FIRST_CHUNK);
        }
        let each = (self.bytes / count as u64).max(1);
        let fit = most.saturating_sub(self.bytes) / each;
        rest.min(usize::try_from(fit).unwrap_or(rest).max(1))
    }
}

impl Receiving {
    /// When it began, and when it ends.
    fn span(&mut self) -> (Instant, Option<Instant>) {
        let began = *self.began.get_or_insert_with(Instant::now);
        let deadline = self.timeout.and_then(|timeout| began.checked_add(timeout));
        (began, deadline)
    }

    /// After how long to go on with it at the latest, whatever comes: half of the lease, once there
    /// is something that waits for the rest of its batch.
    #[must_use]
    pub fn poll_within(&self) -> Option<Duration> {
        (!self.gathered.found.is_empty()).then(|| self.gathered.lease / 2)
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        if !self.gathered.found.is_empty() {
            give_back(std::mem::take(&mut self.gathered.found));
        }
    }
}

fn bytes_of(delivery: &Delivery) -> u64 {
    let record = &delivery.message.record;
    let key = record.key().map_or(0, <[u8]>::len);
    (key + record.headers_block().len() + record.payload().len()) as u64
}

/// Takes hand-outs back that nobody was told of. In a child of a fork they are the parent's.
fn give_back(unseen: Vec<Delivery>) {
    let Some(group) = unseen.first().map(|delivery| delivery.group.clone()) else {
        return;
    };
    if group.topic.store.check_open().is_err() {
        return;
    }
    let mut count = 0;
    let _ = each_partition(&unseen, |window, delivery| {
        if window.take_back(delivery.place_id().offset, delivery.attempt) == Settled::Done {
            count += 1;
        }
    });
    if count > 0 {
        group.wake(count);
    }
}

/// Shows those whose epoch is still the window's, with one lock for each partition: of the group,
/// and of its redrive lane.
fn each_partition(
    deliveries: &[Delivery],
    mut one: impl FnMut(&crate::group::Window, &Delivery),
) -> Result<()> {
    let place = |d: &Delivery| (d.group.block.at(), d.message.partition);
    let mut places: Vec<(u64, u32)> = deliveries.iter().map(place).collect();
    places.sort_unstable();
    places.dedup();
    let mut done = Ok(());
    for (at, number) in places {
        let mine = deliveries.iter().filter(|d| place(d) == (at, number));
        let Some(group) = mine.clone().next().map(|first| &first.group) else {
            continue;
        };
        let held = group.with_window(number, |window| {
            let epoch = group.mark(window.epoch());
            mine.filter(|d| d.epoch == epoch)
                .for_each(|d| one(window, d));
        });
        done = done.and(held);
    }
    done
}

impl Consumer {
    /// Up to `max` messages, waiting for the first at most `timeout` (`None`: for ever; zero: not
    /// at all). Empty after the timeout. Each is leased from now on. Each damaged message is
    /// settled, and raised once, by the next call if this one returns others (P3).
    ///
    /// What a group's filter leaves out is passed over for as long as that may take until the
    /// timeout, and for 50 ms where it is shorter: the next call goes on from there.
    pub fn receive(&self, max: usize, timeout: Option<Duration>) -> Result<Vec<Delivery>> {
        self.receive_with(&ReceiveOptions {
            max_messages: max,
            timeout,
            ..ReceiveOptions::default()
        })
    }

    /// As [`Consumer::receive`], with all that can be asked for; see [`ReceiveOptions`].
    pub fn receive_with(&self, options: &ReceiveOptions) -> Result<Vec<Delivery>> {
        let mut receiving = self.receiving(options)?;
        let batch = self.gather(&mut receiving, None)?;
        Ok(batch.unwrap_or_default())
    }

    /// Begins a receive call that is driven by [`Consumer::gather`]. Its timeout runs from when
    /// that first finds that there is not enough.
    #[inline]
    pub fn receiving(&self, options: &ReceiveOptions) -> Result<Receiving> {
        options.check()?;
        let lease = match options.lease {
            None => self.lease,
            Some(lease) => Some(self.group.allowed_lease(lease)?),
        };
        // What is settled before it is handed out is of no batch.
        let gathers = options.min_messages > 1 || self.group.once;
        Ok(Receiving {
            wanted: Wanted {
                most: options.max_messages,
                least: options.min_messages,
                bytes: options.max_bytes,
                lease,
                batch: if gathers { GATHERED } else { self.next_batch() },
            },
            gathered: Gathered::default(),
            timeout: options.timeout,
            began: None,
            leased_ms: 0,
        })
    }

    /// Goes on with a receive call for at most `wait` (`None`: until it is done; zero: not at
    /// all). The batch once it is done, also by its timeout, which may leave it empty; `None` if it
    /// is to go on. A call that is done is not to be gone on with.
    pub fn gather(
        &self,
        receiving: &mut Receiving,
        wait: Option<Duration>,
    ) -> Result<Option<Vec<Delivery>>> {
        let nothing = |done: &Result<Option<Vec<Delivery>>>| match done {
            Ok(batch) => batch.as_ref().is_none_or(Vec::is_empty),
            Err(_) => false,
        };
        let done = self.gather_now(receiving, wait);
        let Some(print) = self.tell_watch(nothing(&done)) else {
            return done;
        };
        let again = self.gather_now(receiving, Some(Duration::ZERO));
        if nothing(&again) {
            self.tell_watch_in_vain(print);
        } else {
            self.tell_watch(false);
        }
        again
    }

    fn gather_now(
        &self,
        receiving: &mut Receiving,
        wait: Option<Duration>,
    ) -> Result<Option<Vec<Delivery>>> {
        let until = wait.and_then(|wait| Instant::now().checked_add(wait));
        // From the first sleep on, for as long as this waits.
        let (mut asleep, mut looked_again) = (None, false);
        let store = &self.group.topic.store;
        if receiving.gathered.found.is_empty()
            && let Some(error) = self.untold_damage()
        {
            return Err(error);
        }
        loop {
            self.check_hands_out()?;
            self.take(receiving)?;
            let (now_ms, others) = (receiving.gathered.now_ms, receiving.gathered.others);
            if let Some(batch) = self.complete(receiving)? {
                if others {
                    store.notice_overdue(now_ms, &self.group);
                }
                return Ok(Some(batch));
            }
            if self.has_pending() {
                // What was gathered first; the next call tells.
                let batch = self.hand_on(receiving)?;
                if !batch.is_empty() {
                    return Ok(Some(batch));
                }
                if let Some(error) = self.pending() {
                    return Err(error);
                }
            }
            // Leases at once; housekeeping cleans up the rest: this group does not wait for what
            // that has to wait for (P10, P13).
            store.notice_dead(PROBE_MS, &self.group);
            self.group.topic.follow()?;
            let mut freed = false;
            for partition in &self.group.topic.partitions {
                freed |= partition.tend_large()?;
            }
            if freed {
                continue;
            }
            let ((began, deadline), now) = (receiving.span(), Instant::now());
            let sifting = receiving.gathered.sifting;
            if deadline.is_some_and(|deadline| now >= deadline) {
                if sifting && now < began + BEAT {
                    continue;
                }
                // Another one may have made padding of what hid it, after the look (P1).
                if !std::mem::replace(&mut looked_again, true) && self.group.is_behind() {
                    continue;
                }
                return self.hand_on(receiving).map(Some);
            }
            self.keep_leased(receiving)?;
            if until.is_some_and(|until| now >= until) {
                return Ok(None);
            }
            if sifting || self.spin() {
                continue;
            }
            let group_event = self.group.block.head.word32(words::EVENT);
            // The sleeper before the flag that says that there are any: who sees the flag sees it.
            let token = EventCount::prepare(group_event);
            EventCount::prepare(self.group.topic.block.head.word32(words::GROUPS_EVENT));
            let due = self.take(receiving)?;
            if let Some(batch) = self.complete(receiving)? {
                return Ok(Some(batch));
            }
            if receiving.gathered.sifting {
                continue;
            }
            let ends = [deadline, until].into_iter().flatten().min();
            let now = Instant::now();
            let left = ends.map_or(BEAT, |at| at.saturating_duration_since(now));
            let due = due.map_or(BEAT, |at| {
                Duration::from_millis(at.saturating_sub(store.env.clock.boot_ms()).max(1))
            });
            let renew = receiving.poll_within().unwrap_or(BEAT);
            asleep.get_or_insert_with(|| store.control.asleep(self.slot));
            EventCount::wait(group_event, token, BEAT.min(left).min(due).min(renew));
            self.spin.slept(now.elapsed());
        }
    }

    /// The batch, if it need not wait for more.
    fn complete(&self, receiving: &mut Receiving) -> Result<Option<Vec<Delivery>>> {
        let (wanted, gathered) = (&receiving.wanted, &receiving.gathered);
        if gathered.found.len() < wanted.least && !gathered.is_full(wanted) {
            return Ok(None);
        }
        let batch = self.hand_on(receiving)?;
        // All that was gathered may be gone by a seek.
        Ok((!batch.is_empty()).then_some(batch))
    }

    /// From here on the messages are the caller's. Leases of those that waited begin now (P9).
    pub(super) fn hand_on(&self, receiving: &mut Receiving) -> Result<Vec<Delivery>> {
        let gathered = std::mem::take(&mut receiving.gathered);
        let (mut found, lease) = (gathered.found, gathered.lease);
        if self.group.once {
            return self.settle_and_hand_on(found, lease);
        }
        if receiving.wanted.batch == GATHERED && !found.is_empty() {
            let batch = self.next_batch();
            if let Err(error) = self.lease_anew(&mut found, lease, batch) {
                // They come back uncounted, when the lease ends at the latest.
                give_back(found);
                return Err(error);
            }
        }
        if let Some(leases) = self.leases.as_ref().filter(|_| !found.is_empty()) {
            let now = self.group.topic.store.env.clock.boot_ms();
            leases.hand_out(&mut found, now, lease);
        }
        Ok(found)
    }

    /// What waits for the rest of its batch does not lose its lease by that.
    fn keep_leased(&self, receiving: &mut Receiving) -> Result<()> {
        let (now, lease) = (
            self.group.topic.store.env.clock.boot_ms(),
            receiving.gathered.lease,
        );
        let found = &mut receiving.gathered.found;
        let half = (lease.as_millis() / 2) as u64;
        if found.is_empty() {
            receiving.leased_ms = now;
        } else if now.saturating_sub(receiving.leased_ms) >= half {
            receiving.leased_ms = now;
            self.lease_anew(found, lease, GATHERED)?;
        }
        Ok(())
    }

    /// Leases anew, and leaves those out whose hand-out is not the last one any more.
    fn lease_anew(&self, found: &mut Vec<Delivery>, lease: Duration, batch: u16) -> Result<()> {
        let clock = &self.group.topic.store.env.clock;
        let deadline_ns = clock.wall_ns().saturating_add(lease.as_nanos() as i64);
        let due = clock.boot_ms() + lease.as_millis() as u64;
        let mut kept = std::collections::HashSet::new();
        each_partition(found, |window, delivery| {
            // What a close gave back is not leased to nobody.
            if self.is_closed() {
                return;
            }
            let place = (delivery.place_id().offset, delivery.attempt);
            if window.lease_anew(place, due, self.slot, batch) == Settled::Done {
                kept.insert(delivery.hand_out());
            }
        })?;
        self.check()?;
        // A message whose lease ran out while it waited may be here twice: only its last hand-out
        // is this call's (P9).
        found.retain(|delivery| kept.remove(&delivery.hand_out()));
        for delivery in found {
            delivery.deadline_ns = deadline_ns;
        }
        Ok(())
    }

    /// A number for a batch; not that of what is only gathered.
    fn next_batch(&self) -> u16 {
        loop {
            let batch = self.batch.fetch_add(1, Ordering::Relaxed);
            if batch != GATHERED {
                return batch;
            }
        }
    }

    /// Looks for a moment whether something is sent; whether it was.
    fn spin(&self) -> bool {
        let sent = || {
            let partitions = self.group.topic.partitions.iter();
            partitions
                .map(|p| p.next_offset())
                .fold(0, u64::wrapping_add)
        };
        let before = sent();
        self.spin.finds(|| sent() != before)
    }

    /// After messages of a partition were taken: counts their bytes, and takes back those that are
    /// too many.
    pub(super) fn fit(&self, wanted: &Wanted, gathered: &mut Gathered, from: usize) {
        let Some(most) = wanted.bytes else {
            return;
        };
        let mut fit = from;
        while fit < gathered.found.len() {
            let bytes = bytes_of(&gathered.found[fit]);
            if fit > 0 && gathered.bytes.saturating_add(bytes) > most {
                break;
            }
            gathered.bytes = gathered.bytes.saturating_add(bytes);
            fit += 1;
        }
        gathered.full = gathered.bytes >= most || fit < gathered.found.len();
        give_back(gathered.found.split_off(fit));
    }
}
