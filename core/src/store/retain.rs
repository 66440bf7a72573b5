//! Retention: when it is looked for, by whom, and in which order it is done.
//!
//! Housekeeping of every process looks after all topics that any process opened in this life of
//! `control`, also after those that it has not opened itself; one of them has its turn at a time. A
//! look at words says as a rule that there is nothing to do.
//!
//! What a time or `retention_bytes` takes is ended first in each group that has not settled it
//! (`retain_lost.rs`). From there on there is one rule: a segment goes once all groups are done
//! with it. That is decided under the lock of those who create, so that no group begins meanwhile
//! at what is about to go, and the first offset that is kept is published with that lock held: from
//! then on nobody begins before it (`retain_decide.rs`). Before that what would go is put on disk,
//! and ledgers of dedup ids and producers know there what they knew by the log (`sent/keep.rs`):
//! syncs leave out what is hidden, and so does who makes a ledger anew. What is slow besides comes
//! after, without the lock:
//!
//! - the journal of transactions lets go of what it says, which may be of these messages;
//! - the windows of all groups are put on disk, or a power loss would bring messages back as
//!   unsettled that are gone;
//! - the ledger in `reserve` says what was taken, then the files go (`log/retain.rs`).
//!
//! Who dies in between leaves segments that are hidden or not, and all that is needed to decide the
//! same again: the next one does. Whoever removes files of the topic, or makes any of them, holds
//! RETAIN_LOCK, and waits for no lock of those who create while he does.

use std::any::Any;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::death::PROBE_MS;
use super::in_force::NEVER;
use super::inner::locked;
use super::topic::{TopicInner, read_meta};
use super::{Block, StoreInner};
use crate::error::{ErrorKind, Result};
use crate::format::control::block::{CHANGED, CHANGING, GONE, RETAIN_DUE, RETAIN_LOCK};
use crate::format::names;
use crate::group::Fate;
use crate::log::{Sealed, may_have_sealed};
use crate::options::{OnLost, Retention, TopicConfig};
use crate::shm::{Held, OwnerLock};

/// How long a lock is waited for that another one has, before it is another time's.
pub(super) const GLANCE: Duration = Duration::from_millis(5);
/// A topic is looked at so often, by whatever process.
pub(super) const EVERY_MS: u64 = 1000;
/// And no more seldom, whatever a look costs.
pub(super) const LATEST_MS: u64 = 60_000;
/// After a look the topic is left alone for so many times as long as it took.
pub(super) const SHARE: u64 = 20;
/// How often this process walks the topics.
const WALK_MS: u64 = 500;

/// What a process remembers of the topics that it looks after.
#[derive(Default)]
pub(super) struct Retaining {
    due_ms: u64,
    topics: HashMap<u64, Known>,
}

/// A topic, and what was read of it with which word.
#[derive(Clone)]
pub(super) struct Known {
    name: String,
    folder: PathBuf,
    pub(super) word: u64,
    pub(super) config: TopicConfig,
}

/// The last timestamp with which messages are old, where they grow old.
pub(super) fn old_before(config: &TopicConfig, wall_ns: i64) -> Option<i64> {
    match config.retention {
        Retention::Time(time) => {
            let ns = i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
            Some(wall_ns.saturating_sub(ns))
        }
        Retention::Settled | Retention::Forever => None,
    }
}

impl StoreInner {
    /// Housekeeping: removes what retention takes, of all topics that are in use. What fails is
    /// tried again at a later beat, by this process or another one.
    pub(super) fn retain(self: &Arc<Self>) {
        if self.is_read_only() {
            return;
        }
        let now = self.env.clock.boot_ms();
        {
            let mut looked = locked(&self.retaining);
            if now < looked.due_ms && looked.due_ms - now <= WALK_MS {
                return;
            }
            looked.due_ms = now + WALK_MS;
        }
        for block in self.control.opened_topics().unwrap_or_default() {
            let _ = self.retain_topic(&block);
            let _ = self.find_dead(PROBE_MS);
        }
    }

    pub(super) fn retain_topic(self: &Arc<Self>, block: &Block) -> Result<()> {
        let Some(known) = self.topic_known(block)? else {
            return Ok(());
        };
        let config = &known.config;
        if config.retention == Retention::Forever && config.retention_bytes == 0 {
            return Ok(());
        }
        let before = old_before(config, self.env.clock.wall_ns());
        let may = |part| may_have_sealed(part, before);
        if !block.partitions.iter().any(may) || !self.has_turn(block) {
            return Ok(());
        }
        let Some(topic) = self.topic_to_retain(block.id(), known.clone())? else {
            return Ok(());
        };
        let began = Instant::now();
        let done = topic.retain(config, known.word);
        let took = began.elapsed().as_millis() as u64;
        let wait = (took * SHARE).clamp(EVERY_MS, LATEST_MS);
        let due = self.env.clock.boot_ms() + wait;
        block.head.store(RETAIN_DUE, due, Ordering::Release);
        done.map(|_| ())
    }

    /// Whether the topic was not looked at a moment ago, by whatever process; then it is this one's
    /// to look at. One that dies at it, or a word that cannot be, costs a while.
    fn has_turn(&self, block: &Block) -> bool {
        let now = self.env.clock.boot_ms();
        let due = block.head.load(RETAIN_DUE, Ordering::Acquire);
        let waits = now < due && due - now <= LATEST_MS;
        !waits && block.head.cas(RETAIN_DUE, due, now + EVERY_MS).is_ok()
    }

    /// Name and configuration of a topic that any process has open; `None` where it is gone.
    pub(super) fn topic_known(&self, block: &Block) -> Result<Option<Known>> {
        let (uid, word) = (block.id(), block.head.load(CHANGED, Ordering::Acquire));
        if word == GONE {
            locked(&self.retaining).topics.remove(&uid);
            return Ok(None);
        }
        let known = locked(&self.retaining).topics.get(&uid).cloned();
        if known.as_ref().is_some_and(|known| known.word == word) {
            return Ok(known);
        }
        if word & CHANGING != 0 {
            // Whoever uses the topic ends what one that died left.
            return Ok(None);
        }
        if let Some(known) = known
            && let Ok((found, config)) = read_meta(self, &known.folder.join(names::TOPIC_META))
            && found == uid
        {
            return Ok(self.remember_topic(
                uid,
                Known {
                    word,
                    config,
                    ..known
                },
                block,
            ));
        }
        let mut wanted = None;
        for name in self.env.storage.list(&self.path.join(names::TOPICS))? {
            let folder = names::topic_folder(&self.path, &name);
            let Ok((found, config)) = read_meta(self, &folder.join(names::TOPIC_META)) else {
                continue;
            };
            let known = Known {
                name,
                folder,
                word: if found == uid { word } else { NEVER },
                config,
            };
            if found == uid {
                wanted = Some(known);
            } else {
                // By name, for when it is asked for.
                let mut looked = locked(&self.retaining);
                looked.topics.entry(found).or_insert(known);
            }
        }
        Ok(wanted.and_then(|known| self.remember_topic(uid, known, block)))
    }

    /// Unless it was changed while it was read.
    fn remember_topic(&self, uid: u64, known: Known, block: &Block) -> Option<Known> {
        if block.head.load(CHANGED, Ordering::Acquire) != known.word {
            return None;
        }
        let mut looked = locked(&self.retaining);
        looked.topics.insert(uid, known.clone());
        Some(known)
    }

    /// The topic as this process has it open; else for as long as it is looked after. `None` while
    /// somebody opens one.
    pub(super) fn topic_to_retain(
        self: &Arc<Self>,
        uid: u64,
        known: Known,
    ) -> Result<Option<Arc<TopicInner>>> {
        let Ok(topics) = self.topics.try_lock() else {
            return Ok(None);
        };
        let open: Option<Arc<dyn Any + Send + Sync>> = topics.get(&uid).and_then(Weak::upgrade);
        drop(topics);
        if let Some(open) = open.and_then(|any| any.downcast::<TopicInner>().ok()) {
            return Ok(Some(open));
        }
        let Known {
            name,
            folder,
            config,
            ..
        } = known;
        self.assemble(&name, (uid, config), folder, false).map(Some)
    }

    /// A topic by its name, as `topic_to_retain` has it.
    pub(super) fn topic_beside(self: &Arc<Self>, name: &str) -> Result<Option<Arc<TopicInner>>> {
        let folder = names::topic_folder(&self.path, name);
        if !self.has_topic(&folder)? {
            return Ok(None);
        }
        let (uid, config) = read_meta(self, &folder.join(names::TOPIC_META))?;
        let known = Known {
            name: name.to_owned(),
            folder,
            word: NEVER,
            config,
        };
        self.topic_to_retain(uid, known)
    }
}

/// What a look is about, for each partition.
pub(super) struct Scope {
    pub(super) sealed: Vec<Vec<Sealed>>,
    /// What a time, or the bytes, take: all below it, settled or not; 0 for nothing.
    pub(super) caps: Vec<u64>,
    /// What may go once it is settled.
    pub(super) bounds: Vec<u64>,
}

impl Scope {
    /// The last place up to an offset at which a segment ends that could go; 0 if there is none.
    pub(super) fn end_below(&self, number: usize, offset: u64) -> u64 {
        let ends = self.sealed[number].iter().map(|one| one.end);
        ends.filter(|end| *end <= offset).max().unwrap_or(0)
    }
}

impl TopicInner {
    /// Removes what retention takes, as the configuration says that was in force with this word;
    /// how many bytes. Nothing where somebody else is at it.
    pub(super) fn retain(self: &Arc<Self>, config: &TopicConfig, word: u64) -> Result<u64> {
        let Some(retaining) = self.hold_retention(word)? else {
            return Ok(0);
        };
        let before = old_before(config, self.store.env.clock.wall_ns());
        if let Some(before) = before {
            for partition in &self.partitions {
                // On a full disk what is sealed goes first.
                let _ = partition.seal_older(before);
            }
        }
        let scope = self.scope(config, before)?;
        drop(retaining);
        if scope.sealed.iter().all(Vec::is_empty) {
            return Ok(0);
        }
        let fate = match config.on_lost {
            OnLost::Count => Fate::Lost,
            OnLost::DeadLetter => Fate::Dead,
        };
        // Which may make a topic of dead letters, and waits for who creates.
        self.end_unsettled(&scope, fate)?;
        // Which waits for who writes them, and for the disk.
        self.ready_ledgers(&scope.bounds)?;
        let Some(retaining) = self.hold_retention(word)? else {
            return Ok(0);
        };
        let goes = self.decide((config, &scope), word, None)?;
        drop(retaining);
        if !self.may_be_hidden(&goes)? {
            return Ok(0);
        }
        let Some(retaining) = self.hold_retention(word)? else {
            return Ok(0);
        };
        let first = self.decide((config, &scope), word, Some(&goes))?;
        if first.iter().all(|first| *first == 0) {
            return Ok(0);
        }
        // No transaction is to speak of what is gone: what it did is done, and on disk where that
        // counts. Others' locks are waited for, so not with this one.
        drop(retaining);
        if !self.store.forget_transactions(GLANCE)? {
            return Ok(0);
        }
        let Some(_retaining) = self.hold_retention(word)? else {
            return Ok(0);
        };
        self.sync_windows(&first)?;
        let mut bytes = 0;
        for (partition, first) in self.partitions.iter().zip(first) {
            if first > 0 {
                bytes += partition.remove_below(first)?;
            }
        }
        // Where there is no group, what was removed counted for the topic's limit (P14).
        self.count_anew();
        Ok(bytes)
    }

    /// The lock of who removes files of the topic; `None` where somebody else has it, or where
    /// another configuration is in force by now, or none.
    pub(super) fn hold_retention(&self, word: u64) -> Result<Option<Held<'_>>> {
        let env = &*self.store.env;
        let lock = self.block.head.word32(RETAIN_LOCK);
        let held = match OwnerLock::hold(lock, env.me, &*env.live, GLANCE) {
            Err(error) if error.kind() == ErrorKind::Stuck => return Ok(None),
            held => held?.0,
        };
        env.check_fence()?;
        let same = self.block.head.load(CHANGED, Ordering::Acquire) == word;
        Ok(same.then_some(held))
    }

    /// What could go, and what goes whether it is settled or not.
    pub(super) fn scope(&self, config: &TopicConfig, before: Option<i64>) -> Result<Scope> {
        let mut sealed = Vec::new();
        for partition in &self.partitions {
            sealed.push(partition.sealed()?);
        }
        let mut taken = vec![0; sealed.len()];
        if let Some(before) = before {
            for (number, partition) in self.partitions.iter().enumerate() {
                for one in &sealed[number] {
                    if !partition.is_older(*one, before)? {
                        break;
                    }
                    taken[number] += 1;
                }
            }
        }
        if config.retention_bytes > 0 {
            self.take_beyond(config.retention_bytes, &sealed, &mut taken)?;
        }
        let caps: Vec<u64> = (taken.iter().zip(&sealed))
            .map(|(count, sealed)| count.checked_sub(1).map_or(0, |last| sealed[last].end))
            .collect();
        let bounds = match config.retention {
            Retention::Settled => {
                let last = |sealed: &Vec<Sealed>| sealed.last().map_or(0, |one| one.end);
                sealed.iter().map(last).collect()
            }
            Retention::Forever | Retention::Time(_) => caps.clone(),
        };
        Ok(Scope {
            sealed,
            caps,
            bounds,
        })
    }

    /// Adds to the number of segments that go from each partition, until what is left takes no more
    /// than so many bytes: those first whose last message is the oldest.
    fn take_beyond(&self, most: u64, sealed: &[Vec<Sealed>], taken: &mut [usize]) -> Result<()> {
        let (mut left, mut bytes) = (0_u64, Vec::new());
        for (number, partition) in self.partitions.iter().enumerate() {
            let mut each = Vec::new();
            for (place, one) in sealed[number].iter().enumerate() {
                let found = partition.file_bytes(one.base)?;
                left += if place < taken[number] { 0 } else { found };
                each.push(found);
            }
            left += partition.active_bytes()?;
            bytes.push(each);
        }
        while left > most {
            let mut oldest: Option<(i64, usize)> = None;
            for (number, partition) in self.partitions.iter().enumerate() {
                if let Some(one) = sealed[number].get(taken[number]) {
                    let age = (partition.last_timestamp_of(*one)?, number);
                    oldest = Some(oldest.map_or(age, |found| found.min(age)));
                }
            }
            let Some((_, number)) = oldest else { break };
            left -= bytes[number][taken[number]];
            taken[number] += 1;
        }
        Ok(())
    }
}
