//! Seeking in a history: to an end, to an offset, and to a snapshot that was taken before (P16).
//! While the call is under way each message is as it was or as it is to be; from then on it is as
//! it is to be, also behind a power loss.

use std::collections::{BTreeMap, BTreeSet};

use super::history::History;
use super::model::At;
use crate::options::Start;
use crate::{Error, SeekTo};

/// The one snapshot that a group has at a time.
const NAME: &str = "kept";

/// What a snapshot knows.
pub struct Kept {
    acked: BTreeSet<At>,
    failures: BTreeMap<At, u32>,
}

/// What is to be settled, of all that was sent.
type Settled<'a> = &'a dyn Fn(At) -> bool;

impl History {
    /// Those groups that are open, and in which a message is settled or open and nothing else: it
    /// may be both where it is a dead letter and comes again.
    fn may_be_sought(&self) -> Vec<(usize, usize)> {
        let mut found = Vec::new();
        let open = |topic: usize, group: usize| self.life.consumers[topic][group].is_some();
        self.sim.know(|model| {
            for (number, topic) in model.topics.iter().enumerate() {
                for (place, group) in topic.groups.iter().enumerate() {
                    let plain = !group.once && !group.hold && !group.late_die && !group.doubtful;
                    let letters = group.dead.len() + group.letters.all().count();
                    let dies = group
                        .failures
                        .values()
                        .any(|one| *one >= group.max_attempts);
                    let sure = group.unsure.is_empty() && letters == 0 && !dies;
                    if plain && sure && open(number, place) {
                        found.push((number, place));
                    }
                }
            }
        });
        found
    }

    pub fn any_sought(&self) -> bool {
        self.sound && !self.may_be_sought().is_empty()
    }

    /// Seeks a group, or takes a snapshot of it.
    pub fn seek(&mut self) -> Result<(), Error> {
        let groups = self.may_be_sought();
        let (topic, place) = groups[self.chance.pick(groups.len())];
        let way = self.chance.pick(5);
        if way >= 3 {
            return self.keep_or_restore(topic, place);
        }
        let ends = self.sim.know(|model| {
            let logs = &model.topics[topic].logs;
            logs.iter()
                .map(super::model::Log::seen)
                .collect::<Vec<u64>>()
        });
        let partition = self.chance.pick(ends.len());
        let offset = self.chance.pick(ends[partition] as usize + 1) as u64;
        let (to, only) = match way {
            0 => (Start::Earliest, None),
            1 => (Start::Latest, None),
            _ => (Start::Offset(offset), Some(partition as u32)),
        };
        let settled = |at: At| match to {
            Start::Earliest => false,
            Start::Latest => true,
            _ => at.1 < offset,
        };
        self.sought((topic, place), to.into(), only, &settled, BTreeMap::new())
    }

    fn keep_or_restore(&mut self, topic: usize, place: usize) -> Result<(), Error> {
        let opened = self.life.topics[topic].as_ref().expect("open");
        let consumer = self.life.consumers[topic][place].as_ref().expect("open");
        let group = opened.group(consumer.group())?;
        let Some(kept) = self.snapshots.remove(&(topic, place)) else {
            self.doing(format!("a snapshot of topic {topic}, group {place}"));
            group.snapshot(NAME)?;
            let kept = self.sim.know(|model| {
                let group = &model.topics[topic].groups[place];
                Kept {
                    acked: group.acked.clone(),
                    failures: group.failures.clone(),
                }
            });
            self.snapshots.insert((topic, place), kept);
            return Ok(());
        };
        if self.chance.pick(3) == 0 {
            self.doing(format!(
                "deleting a snapshot of topic {topic}, group {place}"
            ));
            return group.delete_snapshot(NAME);
        }
        let settled = |at: At| kept.acked.contains(&at);
        let to = SeekTo::Snapshot(NAME);
        self.sought((topic, place), to, None, &settled, kept.failures.clone())?;
        self.snapshots.insert((topic, place), kept);
        Ok(())
    }

    fn sought(
        &mut self,
        (topic, place): (usize, usize),
        to: SeekTo<'_>,
        only: Option<u32>,
        settled: Settled<'_>,
        failures: BTreeMap<At, u32>,
    ) -> Result<(), Error> {
        let concerned = |at: At| only.is_none_or(|only| only == at.0);
        // What retention took does not come again.
        let taken = self.sim.know(|model| {
            let logs = &model.topics[topic].logs;
            logs.iter().map(|log| log.taken).collect::<Vec<u64>>()
        });
        let settled = |at: At| settled(at) || at.1 < taken[at.0 as usize];
        let all = self.sim.know(|model| {
            model.doing = format!("seeking topic {topic}, group {place} to {to:?} of {only:?}");
            let logs = (0_u32..).zip(&model.topics[topic].logs);
            let sent =
                logs.flat_map(|(number, log)| log.sent.iter().map(move |one| (number, one.offset)));
            let all: Vec<At> = sent.filter(|at| concerned(*at)).collect();
            let group = &mut model.topics[topic].groups[place];
            for at in &all {
                if group.acked.contains(at) != settled(*at) {
                    group.acked.remove(at);
                    group.settling.insert(*at);
                }
                group.attempts.remove(at);
                group.firm.remove(at);
            }
            group.receiving = true;
            all
        });
        let opened = self.life.topics[topic].as_ref().expect("open");
        let consumer = self.life.consumers[topic][place].as_ref().expect("open");
        opened.group(consumer.group())?.seek(to, only)?;
        let mine = |at: At| concerned(at);
        self.leases
            .retain(|one| (one.topic, one.group) != (topic, place) || !mine(one.at));
        self.sim.know(|model| {
            let group = &mut model.topics[topic].groups[place];
            for at in &all {
                match settled(*at) {
                    true => group.acked.insert(*at),
                    false => group.acked.remove(at),
                };
                match failures.get(at) {
                    Some(failures) => group.failures.insert(*at, *failures),
                    None => group.failures.remove(at),
                };
            }
            group.settling.clear();
        });
        Ok(())
    }
}
