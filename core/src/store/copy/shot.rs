//! A store at one moment, to be copied while others go on with it.
//!
//! With the lock of those who create held: first where all groups stand, then where all logs end.
//! So no group is beyond what is copied of its log, a message that is settled in between may come
//! once more in the copy, and none is lost: what a consumer sent before it settled is in the copy
//! where the settling is, and so is a dead letter (P6, P12). Configuration does not change
//! meanwhile, no group is sought, and retention does not decide what goes; what it decided before
//! every group was done with.
//!
//! What is held costs memory by what is open in the groups, not by what is stored. Nothing is
//! written and nothing synced under the lock: as long as segments are opened and windows are looked
//! through; where logs end is taken first, under the journal's lock, and that is quick. Who copies
//! a large batch meanwhile, which may be stopped, is waited for without any lock.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::format::journal::Settle;
use crate::format::{names, snapshot};
use crate::group::Captured;
use crate::log::{Partition, Pinned};
use crate::options::TopicConfig;
use crate::storage::{Access, Storage};
use crate::store::StoreInner;
use crate::store::group::GroupInner;
use crate::store::group_meta::{GroupMeta, dead_letters_of, read_meta};
use crate::store::in_force::InForce;
use crate::store::topic::TopicInner;

/// How often it is begun anew where topics or groups came or went meanwhile.
const TRIES: usize = 100;
/// How often one who copies a large batch is waited for without any lock. From then on he is with
/// them, or others might be quicker each time.
const POLITE: usize = 10;

/// What is copied.
pub(super) struct Shot {
    /// A topic comes before those that the dead letters of its groups are in.
    pub(super) topics: Vec<TopicShot>,
}

pub(super) struct TopicShot {
    pub(super) inner: Arc<TopicInner>,
    pub(super) config: TopicConfig,
    /// Whether there may be messages with a priority.
    pub(super) priorities: bool,
    /// By name; redrive lanes of groups that are copied among them.
    pub(super) groups: Vec<GroupShot>,
    /// Each partition.
    pub(super) logs: Vec<Pinned>,
}

pub(super) struct GroupShot {
    pub(super) name: String,
    pub(super) meta: GroupMeta,
    /// Each partition; of a lane one.
    pub(super) windows: Vec<Captured>,
    /// Snapshots that are being restored, which nobody can do without: names and bytes.
    pub(super) needed: Vec<(String, Vec<u8>)>,
    folder: PathBuf,
}

/// What came of a try.
enum Taken {
    Shot(Shot),
    /// Something is there that was not opened.
    Changed,
    /// A large batch is copied to this partition.
    Copies(Arc<Partition>),
}

struct Opened {
    topic: Arc<TopicInner>,
    groups: Vec<(String, Arc<GroupInner>)>,
}

impl Shot {
    /// These topics, and those that the dead letters of their groups are in, or all.
    pub(super) fn take(store: &Arc<StoreInner>, wanted: Option<&[String]>) -> Result<Self> {
        for turn in 0..TRIES {
            let opened = open(store, wanted)?;
            let held = store.hold_create_lock()?;
            let taken = take(store, wanted, &opened, turn >= POLITE);
            drop(held);
            match taken {
                Ok(Taken::Shot(shot)) => return Ok(shot),
                Ok(Taken::Changed) => {}
                Ok(Taken::Copies(log)) => log.wait_for_large()?,
                // Deleted since it was opened; who asked for it is told when it is opened again.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        let message = "topics or groups were created and deleted all the time; call again once \
                       that is over";
        Err(Error::new(ErrorKind::Busy, message))
    }

    /// Bytes of all logs.
    pub(super) fn bytes(&self) -> u64 {
        let logs = self.topics.iter().flat_map(|topic| &topic.logs);
        let segments = logs.flat_map(|log| &log.segments);
        segments.map(|segment| segment.used).sum()
    }

    /// Number of groups, lanes not counted.
    pub(super) fn groups(&self) -> u64 {
        let groups = self.topics.iter().flat_map(|topic| &topic.groups);
        groups.filter(|group| group.meta.lane_of.is_none()).count() as u64
    }
}

/// All topics that there are.
fn all_topics(store: &StoreInner) -> Result<Vec<String>> {
    let mut found = store.env.storage.list(&store.path.join(names::TOPICS))?;
    let mut failed = Ok(());
    found.retain(|name| {
        let there = store.has_topic(&names::topic_folder(&store.path, name));
        there.unwrap_or_else(|error| {
            failed = Err(error);
            false
        })
    });
    failed.map(|()| found)
}

/// The groups of a topic that users named.
fn groups_of(topic: &TopicInner) -> Result<Vec<String>> {
    let folder = topic.folder.join(names::GROUPS);
    let mut found = Vec::new();
    for name in topic.store.env.storage.list(&folder)? {
        if !names::is_reserved(&name) && topic.has_group(&name)? {
            found.push(name);
        }
    }
    Ok(found)
}

/// Opens what is to be copied, without any lock: recovers and rebuilds what nobody used in this
/// life of the store.
fn open(store: &Arc<StoreInner>, wanted: Option<&[String]>) -> Result<Vec<Opened>> {
    let mut left: VecDeque<String> = match wanted {
        Some(wanted) => wanted.iter().cloned().collect(),
        None => all_topics(store)?.into(),
    };
    let mut opened: Vec<Opened> = Vec::new();
    while let Some(name) = left.pop_front() {
        if opened.iter().any(|one| one.topic.name == name) {
            continue;
        }
        let topic = match store.topic_inner(&name) {
            Err(error) if error.kind() == ErrorKind::NotFound && wanted.is_none() => continue,
            topic => topic?,
        };
        let mut groups = Vec::new();
        for group in groups_of(&topic)? {
            let inner = match topic.group_inner(&group) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                inner => inner?,
            };
            let target = inner.dead_letter_topic();
            let there =
                |target: &String| store.has_topic(&names::topic_folder(&store.path, target));
            if let Some(target) = target.filter(|target| there(target).unwrap_or(true)) {
                left.push_back(target);
            }
            inner.find_lane()?;
            groups.push((group, inner));
        }
        opened.push(Opened { topic, groups });
    }
    Ok(opened)
}

/// With the lock of those who create held. `waits`: also for one who copies a large batch.
fn take(
    store: &Arc<StoreInner>,
    wanted: Option<&[String]>,
    opened: &[Opened],
    waits: bool,
) -> Result<Taken> {
    let known = |name: &str| opened.iter().position(|one| one.topic.name == name);
    if wanted.is_none() && all_topics(store)?.len() != opened.len() {
        return Ok(Taken::Changed);
    }
    // What a transaction settled and sent is in the copy, all of it or nothing (P8).
    let still = store.hold_still()?;
    let (mut topics, mut lanes, mut leads) =
        (Vec::new(), Vec::new(), vec![Vec::new(); opened.len()]);
    for (number, one) in opened.iter().enumerate() {
        let topic = &one.topic;
        topic.check_there()?;
        let names: Vec<&String> = one.groups.iter().map(|(name, _)| name).collect();
        if groups_of(topic)?.iter().collect::<Vec<_>>() != names {
            return Ok(Taken::Changed);
        }
        let mut groups = Vec::new();
        for (name, group) in &one.groups {
            // A seek or a change whose maker died is ended first.
            group.word_to_change()?;
            let meta = group.read_meta()?;
            let target = dead_letters_of(&topic.name, name, &meta.config.dead_letter_topic);
            if let Some(target) = target {
                match known(&target) {
                    Some(target) => leads[number].push(target),
                    None if store.has_topic(&names::topic_folder(&store.path, &target))? => {
                        return Ok(Taken::Changed);
                    }
                    None => {}
                }
            }
            groups.push(of_group(group, meta, &still.settles)?);
            if let Some(lane) = group.find_lane()? {
                let meta = read_meta(store, &lane.folder().join(names::GROUP_META))?;
                let of_lane = of_group(&lane, meta, &still.settles)?;
                lanes.push((lane.topic.name.clone(), of_lane));
            }
        }
        topics.push((topic, groups));
    }
    let mut shot = Shot { topics: Vec::new() };
    let mut taken: Vec<Option<TopicShot>> = Vec::new();
    for (topic, mut groups) in topics {
        let of_this = lanes.iter().position(|(name, _)| *name == topic.name);
        let mut next = of_this;
        while let Some(place) = next {
            groups.push(lanes.swap_remove(place).1);
            next = lanes.iter().position(|(name, _)| *name == topic.name);
        }
        groups.sort_by(|a, b| a.name.cmp(&b.name));
        let folder = topic.folder.join(names::PRIORITIES);
        let priorities = store.env.storage.exists(&folder)?;
        let mut logs = Vec::new();
        for partition in &topic.partitions {
            match partition.pin_end(waits)? {
                Some(pinned) => logs.push(pinned),
                None => return Ok(Taken::Copies(partition.clone())),
            }
        }
        taken.push(Some(TopicShot {
            config: topic.read_meta()?,
            inner: topic.clone(),
            priorities,
            groups,
            logs,
        }));
    }
    drop(still);
    for topic in taken.iter_mut().flatten() {
        for (log, partition) in topic.logs.iter_mut().zip(&topic.inner.partitions) {
            partition.pin_segments(log)?;
        }
    }
    for number in in_order(&leads) {
        shot.topics.extend(taken[number].take());
    }
    Ok(Taken::Shot(shot))
}

/// Each before those that it leads to; by name otherwise, as they come. Dead letters lead in no
/// circle, so that all are reached.
fn in_order(leads: &[Vec<usize>]) -> Vec<usize> {
    let mut left: Vec<usize> = (0..leads.len()).collect();
    let mut order = Vec::new();
    while !left.is_empty() {
        let waits = |one: &usize| left.iter().any(|other| leads[*other].contains(one));
        let place = left.iter().position(|one| !waits(one)).unwrap_or(0);
        order.push(left.remove(place));
    }
    order
}

fn of_group(group: &GroupInner, meta: GroupMeta, settles: &[Settle]) -> Result<GroupShot> {
    let mut windows = Vec::new();
    for number in 0..group.windows.len() as u32 {
        let mut window = group.with_window(number, |window| window.capture())?;
        let mine = |one: &&Settle| (one.group, one.partition) == (meta.id, number);
        for one in settles.iter().filter(mine) {
            window.settle(one.offset, one.attempt, one.epoch);
        }
        windows.push(window);
    }
    let folder = group.folder();
    let storage = &*group.topic.store.env.storage;
    let mut needed: Vec<(String, Vec<u8>)> = Vec::new();
    for (name, _) in meta.sought.iter().filter_map(|one| one.snapshot.as_ref()) {
        if needed.iter().all(|(known, _)| known != name)
            && let Some(bytes) = read_snapshot(storage, &folder.join(names::snapshot(name)))?
        {
            needed.push((name.clone(), bytes));
        }
    }
    Ok(GroupShot {
        name: group.name.clone(),
        meta,
        windows,
        needed,
        folder,
    })
}

impl GroupShot {
    /// Its snapshots, one after the other. One that was deleted since is none, and one that was
    /// taken since may know more than these logs, of which copies are (P16).
    pub(super) fn each_snapshot(
        &self,
        storage: &dyn Storage,
        logs: &[Pinned],
        mut each: impl FnMut(&str, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let listed = match storage.list(&self.folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            listed => listed?,
        };
        let mut found: Vec<&str> = listed
            .iter()
            .filter_map(|file| names::parse_snapshot(file))
            .chain(self.needed.iter().map(|(name, _)| name.as_str()))
            .collect();
        found.sort_unstable();
        found.dedup();
        for name in found {
            if let Some((_, bytes)) = self.needed.iter().find(|(known, _)| known == name) {
                each(name, bytes)?;
                continue;
            }
            if let Some(bytes) = read_snapshot(storage, &self.folder.join(names::snapshot(name)))?
                && snapshot::Snapshot::decode(&bytes).is_ok_and(|one| {
                    let mut parts = one.parts.iter().zip(logs);
                    one.group == self.meta.id && parts.all(|(part, log)| part.end <= log.end)
                })
            {
                each(name, &bytes)?;
            }
        }
        Ok(())
    }
}

fn read_snapshot(storage: &dyn Storage, path: &std::path::Path) -> Result<Option<Vec<u8>>> {
    let file = match storage.open(path, Access::Read, 0) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let len = file.len()?.min(snapshot::BYTES_MAX);
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
    file.read_at(&mut bytes, 0)?;
    Ok(Some(bytes))
}
