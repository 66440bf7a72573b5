//! Groups: their configuration, or what stands in its place, and their positions.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::Copy;
use super::rebuild::{Around, rebuild, settled};
use super::truth::{Entry, Raw, Wanted};
use crate::error::Result;
use crate::format::names;
use crate::format::window::{CLOSED, entry as at, header, state, tag};
use crate::group::{Counter, Policy, Truth};
use crate::inspect::Damage;
use crate::inspect::log::Log;
use crate::inspect::plan::{GroupPlan, TopicPlan, name_of, named};
use crate::inspect::verify::is_deleted;
use crate::inspect::{ranges, window};
use crate::options::{GroupConfig, GroupOptions, WINDOW_MAX, WINDOW_MIN};
use crate::store::{GroupMeta, PausedBy, Topic, dead_letters_of};

const LOW32: u64 = 0xFFFF_FFFF;

impl Copy<'_> {
    /// Copies a group. One whose creator died, and whose windows nobody used, is none.
    pub(super) fn group(
        &mut self,
        of: &TopicPlan,
        plan: &GroupPlan,
        topic: &Topic,
        logs: &[Log],
    ) -> Result<()> {
        let partitions = logs.len() as u64;
        if is_deleted(plan)? {
            return Ok(());
        }
        if names::is_reserved(&plan.name) {
            return self.lane(of, plan, topic, logs);
        }
        let meta = self.run.group_meta(plan, Some(partitions))?;
        let log_of = |number| logs.get(number as usize);
        self.run
            .windows(of, plan, meta.as_ref(), Some(partitions), &log_of)?;
        let path = plan.folder.join(names::GROUP_META);
        let known = named(&plan.files, names::GROUP_META).is_some();
        let mut windows = plan.files.iter().filter(|listed| is_window(&listed.path));
        let used = windows.any(|listed| window::was_used(&listed.path).unwrap_or(true));
        if !known && !used {
            return Ok(());
        }
        if names::check("group", &plan.name).is_err() {
            let what = format!("{:?} can be no group's name; it is not copied", plan.name);
            self.lost(&plan.folder, what);
            return Ok(());
        }
        let (id, mut meta) = match meta {
            Some(meta) => (Some(meta.id), meta),
            None => {
                let (id, config) = from_windows(plan);
                let what = format!(
                    "the group's configuration is lost; it has the defaults and a window of {}",
                    config.window
                );
                self.lost(&path, what);
                let meta = GroupMeta {
                    id: id.unwrap_or(0),
                    config,
                    starts: vec![0; logs.len()],
                    paused_by: PausedBy::Nobody,
                    paused_at_ns: 0,
                    brake_from: 0,
                    lane_of: None,
                    sought: Vec::new(),
                };
                (id, meta)
            }
        };
        let snapshots = self.snapshots(plan, meta.id, logs.len());
        // One that is lost cannot be gone back to: what it spoke of comes again.
        for sought in &mut meta.sought {
            let there = |(name, _): &(String, u64)| snapshots.iter().any(|one| one.0 == *name);
            sought.snapshot = sought.snapshot.take().filter(there);
        }
        let target = dead_letters_of(&of.name, &plan.name, &meta.config.dead_letter_topic);
        let dead = match target {
            Some(target) => {
                let named = (of.name.as_str(), plan.name.as_str());
                let (known, dead) = self
                    .restorer
                    .dead_letters(&target, named, id, &meta.sought)?;
                meta.id = known.unwrap_or(meta.id);
                dead
            }
            None => HashSet::new(),
        };
        let (config, starts) = (&meta.config, &meta.starts);
        let mut truths = Vec::new();
        for (number, log) in (0..).zip(logs) {
            let start = starts.get(number as usize).copied().unwrap_or(0);
            let sought = meta.sought.get(number as usize);
            let sought = sought.filter(|sought| sought.epoch > 0);
            let around = Around {
                topic,
                partition: number,
                start: sought.map_or(start, |sought| sought.offset),
                epoch: sought.map_or(0, |sought| sought.epoch),
                end: log.end,
                policy: Policy::of(config),
                limit: config.window,
                once: config.is_at_most_once(),
                lane: false,
                dead: dead
                    .iter()
                    .filter(|of| of.0 == number)
                    .map(|of| of.1)
                    .collect(),
            };
            truths.push(self.window(of, plan, id, log, &around)?);
        }
        for (sought, truth) in meta.sought.iter_mut().zip(&truths) {
            // A window that was written anew is where it is to be.
            if sought.epoch > 0 {
                sought.epoch = sought.epoch.max(truth.epoch as u32);
            }
        }
        topic.restore_group(&plan.name, meta, &truths)?;
        for (name, bytes) in snapshots {
            topic.restore_snapshot(&plan.name, &name, &bytes)?;
        }
        self.done.groups += 1;
        Ok(())
    }

    /// The window of a group in one partition.
    fn window(
        &mut self,
        of: &TopicPlan,
        plan: &GroupPlan,
        id: Option<u64>,
        log: &Log,
        around: &Around<'_>,
    ) -> Result<Truth> {
        let path = plan.folder.join(names::window(around.partition));
        let wanted = Wanted {
            group: id,
            partition: around.partition,
            limit: Some(around.limit),
            end: log.end,
        };
        let found = Raw::read(&path, &wanted)?;
        if let Some(raw) = found.as_ref().filter(|raw| self.believes(&path, raw)) {
            return self.copied(&path, raw, log, around);
        }
        // It may have another's name, as that one may have its.
        for other in id.iter().flat_map(|_| windows_of(of)) {
            if let Some(raw) = Raw::read(&other, &wanted)?
                && self.believes(&other, &raw)
            {
                return self.copied(&path, &raw, log, around);
            }
        }
        let truth = rebuild(found.as_ref(), around)?;
        let again = match around.once {
            true => "misses what it may have been handed from there on",
            false => "gets what it had settled from there on once more",
        };
        let what = format!(
            "the group's position is lost; it begins again at offset {} of partition {} and \
             {again}",
            truth.floor, around.partition
        );
        self.lost(&path, what);
        Ok(truth)
    }

    /// Whether a window is whole. Where no checksum tells whether it is what was written, what was
    /// found of it does.
    pub(super) fn believes(&self, file: &Path, raw: &Raw) -> bool {
        // One with another's name was not looked into.
        let name = [header::GROUP, header::PARTITION].map(|word| word as u64 * 8);
        let of = |one: &Damage| one.file == file && !name.contains(&one.position);
        let damage = &self.run.report.damage;
        let fits = raw.words[header::CLEAN] == CLOSED || !damage.iter().any(of);
        raw.whole && raw.own && raw.words[header::MAGIC] != 0 && fits
    }

    pub(super) fn copied(
        &mut self,
        path: &Path,
        raw: &Raw,
        log: &Log,
        around: &Around<'_>,
    ) -> Result<Truth> {
        let (truth, missing) = copied(raw, log, around)?;
        if missing > 0 {
            let what = format!(
                "{missing} messages of partition {} that the group had not settled are in no \
                 segment that is there",
                around.partition
            );
            self.lost(path, what);
        }
        Ok(truth)
    }
}

fn is_window(path: &Path) -> bool {
    names::parse_window(&name_of(path)).is_some()
}

/// All windows of a topic's groups.
fn windows_of(topic: &TopicPlan) -> impl Iterator<Item = PathBuf> {
    let files = topic.groups.iter().flat_map(|group| &group.files);
    let paths = files.map(|listed| listed.path.clone());
    paths.filter(|path| is_window(path))
}

/// Id and configuration of a group of which only the windows tell.
fn from_windows(plan: &GroupPlan) -> (Option<u64>, GroupConfig) {
    let mut config = GroupConfig::from_options(&GroupOptions::default());
    let mut counts: HashMap<(u64, u64), usize> = HashMap::new();
    for listed in plan.files.iter().filter(|listed| is_window(&listed.path)) {
        if let Some(words) = window::words_of(&listed.path) {
            let told = (words[header::GROUP], words[header::LIMIT]);
            *counts.entry(told).or_default() += 1;
        }
    }
    let most = counts
        .into_iter()
        .max_by_key(|(told, count)| (*count, *told));
    let Some(((id, limit), _)) = most else {
        return (None, config);
    };
    if let Ok(limit) = u32::try_from(limit)
        && (WINDOW_MIN..=WINDOW_MAX).contains(&limit)
    {
        config.window = limit;
    }
    (Some(id).filter(|id| *id != 0), config)
}

/// A window that is whole, with its messages where they are in the new log; how many that were not
/// settled are in no segment, without damage to say so. For those that are gone nobody waits.
fn copied(raw: &Raw, log: &Log, around: &Around<'_>) -> Result<(Truth, u64)> {
    let words = &raw.words;
    let (floor, next) = (words[header::FLOOR], raw.end());
    let mut truth = Truth {
        epoch: words[header::EPOCH],
        floor,
        next,
        dead_from: words[header::DEAD_FROM],
        boot: [words[header::BOOT], words[header::BOOT + 1]],
        counters: words[header::COUNTERS..header::BOOT].to_vec(),
        usable: raw.usable(),
        entries: raw.entries.clone(),
    };
    // Counted anew by whoever uses it first.
    for counter in Counter::DERIVED {
        truth.counters[counter as usize] = 0;
    }
    around.topic.pass_over(around.partition, next)?;
    let (mut places, mut missing) = (HashMap::new(), 0);
    let span = (floor, next);
    around.topic.places(around.partition, span, |one| {
        let hash = around.policy.chain_of(one.key);
        places.insert(one.offset, (one.position, hash));
        true
    })?;
    for offset in floor..next {
        let tag = tag(words[header::EPOCH], offset);
        let is_of = |number: &usize| truth.entries[*number][at::STATE] >> 32 == tag;
        // Where it is, else where it was before the ring was doubled.
        let numbers = [raw.capacity(), truth.usable].map(|ring| (offset & (ring - 1)) as usize);
        let Some(number) = numbers.into_iter().find(is_of) else {
            continue;
        };
        let entry = &mut truth.entries[number];
        let open = !matches!(entry[at::STATE] & 0xFF, state::FRESH | state::SETTLED);
        match places.get(&offset) {
            Some((place, hash)) => {
                entry[at::PLACE] = place & LOW32;
                if open && !around.lane {
                    give_key(entry, *hash);
                }
            }
            None => {
                *entry = settled(words[header::EPOCH], offset);
                if open {
                    truth.counters[Counter::Lost as usize] += 1;
                    missing += u64::from(!ranges::contains(&log.lost, offset));
                }
            }
        }
        entry[at::CHAIN] = 0;
        entry[at::TIMER] = 0;
    }
    Ok((truth, missing))
}

/// The hash of a message's key, as the group's ordering wants it. Where it was another, as behind a
/// configuration that was lost, the message waits for those of its key before it (P11).
fn give_key(entry: &mut Entry, hash: u64) {
    if entry[at::KEY_HASH] == hash {
        return;
    }
    entry[at::KEY_HASH] = hash;
    if matches!(
        entry[at::STATE] & 0xFF,
        state::LEASED | state::DELAYED | state::HELD | state::COMMITTING
    ) {
        entry[at::STATE] = entry[at::STATE] & !0xFF | state::READY;
    }
}
