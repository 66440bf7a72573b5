//! Groups of an export: where they stand, what is open in them, and their snapshots.

use std::collections::HashMap;

use super::entries::{can_be, entry_of, place_of};
use super::import::{GroupName, Import, ImportStats};
use crate::error::Result;
use crate::format::export::{Open, Standing, read_named};
use crate::format::snapshot::{BYTES_MAX, Snapshot};
use crate::format::{meta, names, u64_at};
use crate::group::{Captured, Counter, Policy};
use crate::store::group_meta::{GroupMeta, dead_letters_of, parse as parse_group};
use crate::store::topic::unique_id;

/// A group that is being read.
pub(super) struct Being {
    name: String,
    /// Its id in the export.
    told: u64,
    meta: GroupMeta,
    windows: Vec<(Standing, Vec<Open>)>,
    snapshots: Vec<(String, Vec<u8>)>,
}

impl Import<'_> {
    pub(super) fn begin_group(&mut self, body: &[u8], stats: &mut ImportStats) -> Result<()> {
        self.end_group()?;
        let topic = self.topics.last().ok_or_else(|| self.cannot_be())?;
        if topic.ends.len() != topic.config.partitions as usize {
            return Err(self.cannot_be());
        }
        let (name, text) = read_named(body).ok_or_else(|| self.cannot_be())?;
        let read = meta::decode("group", text).map_err(|bad| format!("{bad:?}"));
        let read = read.and_then(|fields| parse_group(&fields));
        let mut meta = read.map_err(|what| self.reader.damaged(&what))?;
        let partitions = if meta.lane_of.is_some() {
            1
        } else {
            topic.ends.len()
        };
        let fits = meta.starts.len() == partitions
            && (meta.sought.is_empty() || meta.sought.len() == partitions)
            && meta.id != 0;
        if !fits {
            return Err(self.cannot_be());
        }
        let of = match &meta.lane_of {
            None => {
                names::check_group(name)?;
                topic.topic.check_dead_letters_of(name, &meta)?;
                (topic.name.clone(), name.to_owned())
            }
            Some(of) if names::parse_redrive_lane(name) == Some(self.id_of(of).0) => of.clone(),
            Some(of) if self.appended(&of.0) || topic.appended => of.clone(),
            Some(_) => return Err(self.cannot_be()),
        };
        if meta.lane_of.is_none() {
            self.counts[1] += 1;
            if self.ids.contains_key(&of) {
                return Err(self.reader.damaged("a group is there twice"));
            }
        }
        if meta.lane_of.is_none() && !topic.appended {
            let target = dead_letters_of(&topic.name, name, &meta.config.dead_letter_topic);
            let from = topic.name.clone();
            self.leads.extend(target.map(|target| (from, target)));
        }
        let (mut name, told) = (name.to_owned(), meta.id);
        if !self.taken.is_free(self.store, told)? || !self.used.insert(told) {
            meta.id = unique_id();
        }
        if meta.lane_of.is_some() {
            name = names::redrive_lane(self.id_of(&of).1);
        } else if !topic.appended {
            self.ids.insert(of, (told, meta.id));
            stats.groups += 1;
        }
        self.group = Some(Being {
            name,
            told,
            meta,
            windows: Vec::new(),
            snapshots: Vec::new(),
        });
        Ok(())
    }

    /// Its id in the export and here; 0 where it is not made.
    fn id_of(&self, group: &GroupName) -> (u64, u64) {
        self.ids.get(group).copied().unwrap_or((0, 0))
    }

    fn appended(&self, topic: &str) -> bool {
        let named = self.topics.iter().find(|one| one.name == topic);
        named.is_some_and(|one| one.appended)
    }

    pub(super) fn standing(&mut self, body: &[u8]) -> Result<()> {
        let standing = Standing::decode(body).ok_or_else(|| self.cannot_be())?;
        let ends = self.topics.last().map(|topic| topic.ends.clone());
        let end = ends.and_then(|ends| ends.get(standing.partition as usize).copied());
        let whole = |group: &Being| {
            group
                .windows
                .last()
                .is_none_or(|(of, open)| of.open == open.len() as u64)
        };
        match self.group.as_mut() {
            Some(group)
                if whole(group)
                    && group.snapshots.is_empty()
                    && group.windows.len() < group.meta.starts.len()
                    && standing.partition as usize == group.windows.len()
                    && end.is_some_and(|end| standing.next <= end) =>
            {
                group.windows.push((standing, Vec::new()));
                Ok(())
            }
            _ => Err(self.cannot_be()),
        }
    }

    pub(super) fn open(&mut self, body: &[u8]) -> Result<()> {
        let all = Open::decode_all(body).ok_or_else(|| self.cannot_be())?;
        let lane = self
            .group
            .as_ref()
            .is_some_and(|group| group.meta.lane_of.is_some());
        let windows = self.group.as_mut().map(|group| &mut group.windows);
        let Some((standing, known)) = windows.and_then(|windows| windows.last_mut()) else {
            return Err(self.cannot_be());
        };
        let mut least = known.last().map_or(standing.floor, |last| last.offset + 1);
        for one in all {
            let fits = one.offset >= least && one.offset < standing.next && can_be(&one, lane);
            if !fits || known.len() as u64 >= standing.open {
                return Err(self.cannot_be());
            }
            least = one.offset + 1;
            known.push(one);
        }
        Ok(())
    }

    pub(super) fn begin_snapshot(&mut self, body: &[u8]) -> Result<()> {
        let (name, rest) = read_named(body).ok_or_else(|| self.cannot_be())?;
        names::check_snapshot(name)?;
        let known = self.group.as_ref().filter(|group| {
            let twice = group.snapshots.iter().any(|(known, _)| known == name);
            group.windows.len() == group.meta.starts.len() && !twice
        });
        if known.is_none() || rest.len() != 8 || u64_at(rest, 0) > BYTES_MAX {
            return Err(self.cannot_be());
        }
        self.snapshot = Some((name.to_owned(), Vec::new(), u64_at(rest, 0)));
        self.part(&[])
    }

    pub(super) fn part(&mut self, body: &[u8]) -> Result<()> {
        let Some((name, mut bytes, length)) = self.snapshot.take() else {
            return Err(self.cannot_be());
        };
        bytes.extend_from_slice(body);
        if bytes.len() as u64 > length {
            return Err(self.cannot_be());
        }
        if (bytes.len() as u64) < length {
            self.snapshot = Some((name, bytes, length));
            return Ok(());
        }
        let group = self.group.as_ref().ok_or_else(|| self.cannot_be())?;
        let found = Snapshot::decode(&bytes)
            .ok()
            .filter(|one| one.group == group.told && one.parts.len() == group.meta.starts.len());
        let mut found = found.ok_or_else(|| {
            self.reader
                .damaged("the snapshot that ends here is not whole")
        })?;
        found.group = group.meta.id;
        let bytes = found.encode();
        if let Some(group) = self.group.as_mut() {
            group.snapshots.push((name, bytes));
        }
        Ok(())
    }

    /// The group that was read is whole, and is made.
    pub(super) fn end_group(&mut self) -> Result<()> {
        let Some(group) = self.group.take() else {
            return Ok(());
        };
        let topic = self.topics.last().ok_or_else(|| self.cannot_be())?;
        let last = group.windows.last();
        let whole = last.is_none_or(|(of, open)| of.open == open.len() as u64);
        if !whole || group.windows.len() != group.meta.starts.len() {
            return Err(self
                .reader
                .damaged_group("a group ends before all of it was there"));
        }
        let lane = group.meta.lane_of.is_some();
        let stranger = group
            .meta
            .lane_of
            .as_ref()
            .is_some_and(|of| self.id_of(of).1 == 0);
        if topic.appended || stranger {
            return Ok(());
        }
        let policy = Policy::of(&group.meta.config);
        let mut truths = Vec::new();
        for (standing, open) in &group.windows {
            let mut places = HashMap::new();
            let span = (standing.floor, standing.next);
            topic.topic.places(standing.partition, span, |one| {
                places.insert(one.offset, place_of(&policy, one));
                true
            })?;
            let mut window = Captured {
                epoch: standing.epoch,
                floor: standing.floor,
                next: standing.next,
                dead_from: standing.dead_from,
                boot: [u64_at(&self.boot, 0), u64_at(&self.boot, 8)],
                counters: standing.counters.clone(),
                open: Vec::new(),
            };
            window.counters.resize(Captured::COUNTERS, 0);
            for counter in Counter::DERIVED {
                window.counters[counter as usize] = 0;
            }
            for one in open {
                // One that the log does not have was taken, and nobody waits for it.
                if let Some(place) = places.get(&one.offset) {
                    let entry = entry_of(one, standing.epoch, *place, lane, self.now);
                    window.open.push((one.offset, entry));
                }
            }
            window.settle_front();
            let truth = window.truth(group.meta.config.window)?;
            truths.push(truth.ok_or_else(|| {
                self.reader
                    .damaged_group("a group is further apart than its window is wide")
            })?);
        }
        topic
            .topic
            .restore_group(&group.name, group.meta, &truths)?;
        for (name, bytes) in &group.snapshots {
            topic.topic.restore_snapshot(&group.name, name, bytes)?;
        }
        Ok(())
    }
}
