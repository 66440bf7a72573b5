//! Compaction: when it is looked for, by whom, and what it waits for.
//!
//! Housekeeping of every process looks after all topics that any process opened, as it does for
//! retention. A partition is compacted when the files that never were have at least as many bytes
//! as those that were, of the segments that may be: closed ones in which every group, opened or
//! not, has settled all, and no group has a dead letter that it may still want. Without groups that
//! is every closed one.
//!
//! The work is done by a thread of its own, which lives while there is any and steps back for all
//! others. COMPACT_DUE says whose turn it is: who is at it puts it off with each step, and finds at
//! the next that another one came if he was stopped for long; then he gives up. So no lock is held
//! over the work, and who is killed or stopped in it keeps nobody from anything (P10, P17).
//! RETAIN_LOCK is taken for the moments in which files get or lose names, so that retention and
//! who deletes the topic are never in between.
//!
//! That no group has anything to settle in a segment is so on disk before the pass begins, and is
//! looked at again, with the lock of those who create held, when the segment is put in its place:
//! nobody is moved back meanwhile, and no group is made (P6, P16). A group that went back and forth
//! again since, or is new, is done with it, but perhaps not on disk: its window is put there first
//! (`compact_standing.rs`).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::compact_standing::Standing;
use super::inner::locked;
use super::retain::{EVERY_MS, GLANCE, Known, LATEST_MS, SHARE};
use super::topic::TopicInner;
use super::{Block, StoreInner};
use crate::clock::Clock;
use crate::error::{ErrorKind, Result};
use crate::format::control::block::{CHANGED, COMPACT_DUE};
use crate::log::{KEYS_MAX, Next, Partition, Pass, may_have_sealed};
use crate::options::TopicConfig;
use crate::shm::{Region, step_back};

/// Who is at it and was not heard of for so long has lost his turn.
const TURN_MS: u64 = 10_000;
/// How often a lock that others have is tried before the pass is given up.
const TRIES: usize = 200;
const NAP: Duration = Duration::from_millis(5);

/// The running thread, if there is one.
#[derive(Default)]
pub(super) struct Compacting {
    thread: Option<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
}

impl Compacting {
    /// Ends the thread and waits for it, unless this is the thread: it may have dropped the last
    /// handle of the store.
    pub(super) fn stop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != thread::current().id()
        {
            let _ = thread.join();
        }
    }

    /// Until the thread is done.
    #[cfg(test)]
    pub(super) fn wait(&mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }

    /// In a child of a fork: the thread is not here.
    pub(super) fn forget(&mut self) {
        std::mem::forget(self.thread.take());
    }
}

/// A turn at the compaction of a topic.
pub(super) struct Turn {
    head: Region,
    due: u64,
    lost: bool,
}

impl Turn {
    /// If nobody else has it, and it is time.
    pub(super) fn take(block: &Block, clock: &dyn Clock, at_once: bool) -> Option<Self> {
        let (head, now) = (block.head.clone(), clock.boot_ms());
        let due = head.load(COMPACT_DUE, Ordering::Acquire);
        // A word that cannot be costs a while.
        if !at_once && now < due && due - now <= LATEST_MS {
            return None;
        }
        let mine = now + TURN_MS;
        head.cas(COMPACT_DUE, due, mine).ok()?;
        Some(Self {
            head,
            due: mine,
            lost: false,
        })
    }

    /// Whether it still is this one's; then it is for a while.
    fn put_off(&mut self, now: u64, by: u64) -> bool {
        // Once lost it stays so: another one's word may be the one that would be next here.
        if !self.lost && self.head.cas(COMPACT_DUE, self.due, now + by).is_ok() {
            self.due = now + by;
            return true;
        }
        self.lost = true;
        false
    }
}

/// A topic to be compacted, held by nothing that would keep the store open.
pub(super) struct Work {
    store: Weak<StoreInner>,
    uid: u64,
    known: Known,
    turn: Turn,
    stop: Arc<AtomicBool>,
}

/// The last timestamp with which tombstones go.
fn tombstones_before(config: &TopicConfig, wall_ns: i64) -> i64 {
    let grace = i64::try_from(config.tombstone_grace.as_nanos()).unwrap_or(i64::MAX);
    wall_ns.saturating_sub(grace)
}

impl StoreInner {
    /// Housekeeping: has what is due compacted. What fails is tried again at a later beat, by this
    /// process or another one.
    pub(super) fn compact(self: &Arc<Self>) {
        if self.is_read_only() {
            return;
        }
        let mut compacting = locked(&self.compacting);
        if compacting.thread.as_ref().is_some_and(|t| !t.is_finished()) {
            return;
        }
        if let Some(done) = compacting.thread.take() {
            let _ = done.join();
        }
        for block in self.control.opened_topics().unwrap_or_default() {
            let stop = compacting.stop.clone();
            let Ok(Some(work)) = self.compaction_due(&block, stop) else {
                continue;
            };
            let begun = thread::Builder::new().name("libqueue-idle".to_owned());
            // Where no thread can be made another process, or a later beat, will.
            compacting.thread = begun.spawn(move || work.run()).ok();
            return;
        }
    }

    /// What is to be done for a topic now, if it is this process's turn.
    fn compaction_due(
        self: &Arc<Self>,
        block: &Block,
        stop: Arc<AtomicBool>,
    ) -> Result<Option<Work>> {
        let Some(known) = self.topic_known(block)? else {
            return Ok(None);
        };
        let may = |part| may_have_sealed(part, None);
        if !known.config.compaction || !block.partitions.iter().any(may) {
            return Ok(None);
        }
        let clock = &*self.env.clock;
        let Some(mut turn) = Turn::take(block, clock, false) else {
            return Ok(None);
        };
        let began = Instant::now();
        let due = match self.topic_to_retain(block.id(), known.clone())? {
            Some(topic) => topic.is_compaction_due(),
            None => Ok(false),
        };
        if due.as_ref().is_ok_and(|due| *due) {
            return Ok(Some(self.compaction_of(block, known, turn, stop)));
        }
        turn.put_off(clock.boot_ms(), wait_after(began));
        due.map(|_| None)
    }

    pub(super) fn compaction_of(
        self: &Arc<Self>,
        block: &Block,
        known: Known,
        turn: Turn,
        stop: Arc<AtomicBool>,
    ) -> Work {
        Work {
            store: Arc::downgrade(self),
            uid: block.id(),
            known,
            turn,
            stop,
        }
    }

    /// By who takes the lock of who creates over from one that died: he may have put a segment in
    /// its place and told nobody.
    pub(super) fn tell_of_compaction(&self) -> Result<()> {
        for block in self.control.opened_topics()? {
            for words in &block.partitions {
                Partition::tell_compacted_in(words);
            }
        }
        Ok(())
    }
}

/// For how long a topic is left alone.
fn wait_after(began: Instant) -> u64 {
    let took = began.elapsed().as_millis() as u64;
    (took * SHARE).clamp(EVERY_MS, LATEST_MS)
}

impl Work {
    fn run(mut self) {
        step_back();
        let began = Instant::now();
        // Who needs what failed fails himself, with the same error and someone to tell it to.
        let _ = self.compact_topic();
        if let Some(store) = self.store.upgrade() {
            self.turn
                .put_off(store.env.clock.boot_ms(), wait_after(began));
        }
    }

    /// The topic, while it is this one's turn, and as long as the store is open.
    fn topic(&mut self) -> Result<Option<Arc<TopicInner>>> {
        for _ in 0..TRIES {
            let store = self.store.upgrade();
            let Some(store) = store.filter(|_| !self.stop.load(Ordering::Acquire)) else {
                return Ok(None);
            };
            if !self.turn.put_off(store.env.clock.boot_ms(), TURN_MS) {
                return Ok(None);
            }
            if let Some(topic) = store.topic_to_retain(self.uid, self.known.clone())? {
                return Ok(Some(topic));
            }
            drop(store);
            thread::sleep(NAP);
        }
        Ok(None)
    }

    pub(super) fn compact_topic(&mut self) -> Result<()> {
        let Some(topic) = self.topic()? else {
            return Ok(());
        };
        let count = topic.partitions.len();
        drop(topic);
        for number in 0..count {
            loop {
                let pass = match self.topic()? {
                    Some(topic) => topic.begin_pass(number, &self.known.config)?,
                    None => return Ok(()),
                };
                let Some(pass) = pass else { break };
                let (mut pass, mut on_disk) = pass;
                let done = self.go_through(&mut pass, &mut on_disk);
                if !matches!(done, Ok(true)) {
                    self.locked(|_| {
                        pass.give_up();
                        Ok(true)
                    })?;
                    return done.map(drop);
                }
                if !pass.is_short() {
                    break;
                }
            }
        }
        Ok(())
    }

    /// All steps of a pass; false where it ended before.
    fn go_through(&mut self, pass: &mut Pass, on_disk: &mut Standing) -> Result<bool> {
        let number = pass.log().number() as usize;
        loop {
            let on = match pass.next() {
                Next::Nothing => return Ok(true),
                Next::Work => {
                    let mine = self.topic()?.is_some();
                    if mine {
                        pass.work()?;
                    }
                    mine
                }
                Next::Make => self.locked(|_| pass.make().map(|()| true))?,
                Next::End => self.locked(|_| pass.end().map(|()| true))?,
                Next::Put(end) => self.locked(|topic| topic.put((number, end), pass, on_disk))?,
            };
            if !on {
                return Ok(false);
            }
        }
    }

    /// With the lock of who makes and removes the topic's files, if it is still this one's turn:
    /// what `step` says; false where the configuration has changed, or somebody has the lock for
    /// long. An error of [`ErrorKind::Stuck`] has it tried again.
    fn locked(&mut self, mut step: impl FnMut(&Arc<TopicInner>) -> Result<bool>) -> Result<bool> {
        for _ in 0..TRIES {
            let Some(topic) = self.topic()? else {
                return Ok(false);
            };
            let held = topic.hold_retention(self.known.word)?;
            let same = topic.block.head.load(CHANGED, Ordering::Acquire) == self.known.word;
            match held {
                // Once more, with the lock: another one may have come before it was had.
                Some(_held) => {
                    let now = topic.store.env.clock.boot_ms();
                    if !self.turn.put_off(now, TURN_MS) {
                        return Ok(false);
                    }
                    match step(&topic) {
                        Err(error) if error.kind() == ErrorKind::Stuck => {}
                        done => return done,
                    }
                }
                None if !same => return Ok(false),
                None => {}
            }
            thread::sleep(NAP);
        }
        Ok(false)
    }
}

impl TopicInner {
    /// Up to where all groups have settled everything in a partition's closed segments, and no
    /// letter is wanted; 0 where a group's position cannot be read.
    fn settled_by_all(&self, number: usize) -> Result<u64> {
        let partition = &self.partitions[number];
        let sealed = partition.sealed()?;
        let (Some(oldest), Some(last)) = (sealed.first(), sealed.last()) else {
            return Ok(0);
        };
        let mut bound = last.end;
        for group in self.kept_groups()?.iter().filter(|one| one.has(number)) {
            let floor = self.floor_of(group, partition, oldest.end)?;
            bound = bound.min(floor.unwrap_or(0));
        }
        if number == 0 {
            bound = bound.min(self.first_letter(bound)?);
        }
        Ok(bound)
    }

    fn is_compaction_due(&self) -> Result<bool> {
        for (number, partition) in self.partitions.iter().enumerate() {
            let (dirty, clean) = partition.dirty(self.settled_by_all(number)?)?;
            if dirty > 0 && dirty >= clean {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// A pass over a partition, if it is due, and which groups' windows are on disk for it. What
    /// groups settled is there before it begins: or a power loss would bring messages back as
    /// unsettled that are gone (P6).
    pub(super) fn begin_pass(
        self: &Arc<Self>,
        number: usize,
        config: &TopicConfig,
    ) -> Result<Option<(Pass, Standing)>> {
        let partition = &self.partitions[number];
        let standing = self.standing(number)?;
        let bound = self.settled_by_all(number)?;
        let (dirty, clean) = partition.dirty(bound)?;
        if dirty == 0 || dirty < clean {
            return Ok(None);
        }
        let mut bounds = vec![0; self.partitions.len()];
        bounds[number] = bound;
        self.sync_windows(&bounds)?;
        // Nor may anything else speak of them that goes by the log (P8).
        self.ready_ledgers(&bounds)?;
        if !self.store.forget_transactions(GLANCE)? || !self.ledgers_know(&bounds)? {
            return Ok(None);
        }
        let before = tombstones_before(config, self.store.env.clock.wall_ns());
        let begun = partition.begin_pass(bound, before, KEYS_MAX)?;
        Ok(begun.map(|pass| (pass, standing)))
    }

    /// Puts a compacted segment in its place, with the lock of who makes and removes files held,
    /// and with that of those who create; false where a group went back meanwhile, or was made, and
    /// is not done with it.
    pub(super) fn put(
        &self,
        (number, end): (usize, u64),
        pass: &mut Pass,
        on_disk: &mut Standing,
    ) -> Result<bool> {
        let Some(held) = self.hold_settled(number, end, on_disk)? else {
            return Ok(false);
        };
        pass.put()?;
        drop(held);
        // Where there is no group, what is gone counted for the topic's limit; and places up to
        // which was counted are of the file before (P14).
        self.count_anew();
        pass.count()?;
        Ok(true)
    }

    pub(super) fn settled_by_all_groups(&self, number: usize) -> Result<u64> {
        let (partition, mut bound) = (&self.partitions[number], u64::MAX);
        for group in self.kept_groups()?.iter().filter(|one| one.has(number)) {
            let floor = self.floor_of(group, partition, u64::MAX)?;
            bound = bound.min(floor.unwrap_or(0));
        }
        Ok(bound)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{COMPACT_DUE, TURN_MS, Turn};
    use crate::shm::{Mapping, Region};

    #[test]
    fn p17_who_lost_his_turn_has_lost_it_whatever_the_next_one_says() {
        let memory = Arc::new(Mapping::anonymous(4096).expect("memory"));
        let head = Region::new(&memory, 0, 256).expect("region");
        let mut stopped = Turn {
            head: head.clone(),
            due: 7,
            lost: false,
        };
        head.set(COMPACT_DUE, 7);
        assert!(stopped.put_off(10, TURN_MS));
        // Another one takes it, in the same moment in which this one comes back.
        head.set(COMPACT_DUE, 50_000 + TURN_MS);
        assert!(!stopped.put_off(50_000, TURN_MS));
        assert!(!stopped.put_off(50_000, TURN_MS), "it is the other's");
        assert_eq!(head.get(COMPACT_DUE), 50_000 + TURN_MS);
    }
}
