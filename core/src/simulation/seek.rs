//! Seeking in a history: to an end, to an offset, and to a snapshot that was taken before (P16).
//! While the call is under way all messages are as they were or all as they are to be; from then on
//! they are as they are to be, also behind a power loss. Dead letters stay, but for those that hold
//! their keys, which are messages of the group like any other.

use std::collections::{BTreeMap, BTreeSet};

use super::crash::add;
use super::history::History;
use super::model::{At, Group, Topic};
use crate::options::Start;
use crate::{Error, SeekTo};

/// The one snapshot that a group has at a time.
const NAME: &str = "kept";

/// What a snapshot knows.
pub struct Kept {
    settled: BTreeSet<At>,
    failures: BTreeMap<At, u32>,
}

/// Whether something shows that a seek under way happened, or that it did not.
#[derive(Default)]
pub struct Halves {
    happened: bool,
    not: bool,
}

impl Halves {
    /// A message that the seek changes was settled before, or not, and was handed out so often by
    /// the one who came next, or is so often a dead letter.
    pub fn note(&mut self, was_settled: Option<&bool>, [times, letters]: [u32; 2]) {
        match was_settled {
            None => {}
            // It may have died of the crash.
            Some(false) if times == 0 && letters > 0 => {}
            Some(was) if (times > 0) == *was => self.happened = true,
            Some(_) => self.not = true,
        }
    }

    /// P16: it did, or it did not.
    pub fn are_one(&self) -> Result<(), String> {
        match self.happened && self.not {
            true => Err("P16: a part of a seek happened, and another one did not".to_owned()),
            false => Ok(()),
        }
    }
}

/// What is to be settled, of all that was sent.
type Settled<'a> = &'a dyn Fn(At) -> bool;

impl History {
    /// Those groups that are open, and of which it is known what becomes of each message.
    fn may_be_sought(&self) -> Vec<(usize, usize)> {
        let mut found = Vec::new();
        let open = |topic: usize, group: usize| self.life.consumers[topic][group].is_some();
        self.sim.know(|model| {
            for (number, topic) in model.topics.iter().enumerate() {
                for (place, group) in topic.groups.iter().enumerate() {
                    if group.can_be_sought(topic) && open(number, place) {
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
        // Of what retention has left: an offset that it took is an error of its own, `Removed`, and
        // the group stays where it was.
        let left = self.sim.know(|model| {
            let logs = &model.topics[topic].logs;
            logs.iter()
                .map(|log| (log.taken, log.seen()))
                .collect::<Vec<(u64, u64)>>()
        });
        let partition = self.chance.pick(left.len());
        let (taken, end) = left[partition];
        let offset = taken + self.chance.pick(end.saturating_sub(taken) as usize + 1) as u64;
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
            let kept = self.sim.know(|model| model.topics[topic].kept(place));
            self.snapshots.insert((topic, place), kept);
            return Ok(());
        };
        if self.chance.pick(3) == 0 {
            self.doing(format!(
                "deleting a snapshot of topic {topic}, group {place}"
            ));
            return group.delete_snapshot(NAME);
        }
        let settled = |at: At| kept.settled.contains(&at);
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
            let held = model.topics[topic].holding(place);
            let group = &mut model.topics[topic].groups[place];
            add(&self.sim.tally.seeks);
            if group.dead.len() + group.left.len() > 0 {
                add(&self.sim.tally.seeks_with_letters);
            }
            for at in &all {
                group.begin_seek(*at, settled(*at), held.contains(at));
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
                // Also behind a power loss: where it was sought is on disk.
                match settled(*at) {
                    true => group.firm.insert(*at) | group.acked.insert(*at),
                    false => group.acked.remove(at),
                };
                match failures.get(at) {
                    Some(failures) => group.failures.insert(*at, *failures),
                    None => group.failures.remove(at),
                };
                group.letters.end_seek(*at);
            }
            group.settling.clear();
            group.seeking.clear();
        });
        Ok(())
    }
}

impl Topic {
    /// Those of a group's dead letters that hold their keys.
    fn holding(&self, place: usize) -> BTreeSet<At> {
        let group = &self.groups[place];
        let logs = (0_u32..).zip(&self.logs);
        let sent = logs.flat_map(|(number, log)| log.sent.iter().map(move |one| (number, one)));
        let held = sent.filter(|(_, sent)| group.held_by(sent).is_some());
        let held = held.map(|(number, sent)| (number, sent.offset));
        held.filter(|at| group.dead.contains(at)).collect()
    }

    /// What a snapshot of a group knows: a dead letter is settled, but for one that holds its key.
    fn kept(&self, place: usize) -> Kept {
        let (group, holding) = (&self.groups[place], self.holding(place));
        let ended = group.dead.iter().chain(&group.acked).copied();
        let ended = ended.chain(group.letters.all_purged());
        let most = group.max_attempts.saturating_sub(1);
        let failures = group
            .failures
            .iter()
            .map(|(at, all)| (*at, *all.min(&most)));
        Kept {
            settled: ended.filter(|at| !holding.contains(at)).collect(),
            failures: failures.filter(|(at, _)| !holding.contains(at)).collect(),
        }
    }
}

impl Group {
    /// Whether nothing is dying, and nothing is in the lane that could come again as well.
    fn can_be_sought(&self, topic: &Topic) -> bool {
        let ended = |at: &At| {
            let known = self.acked.contains(at) || self.dead.contains(at);
            known || self.letters.is_purged(*at)
        };
        let mut failures = self.failures.iter();
        let dies = failures.any(|(at, all)| *all >= self.max_attempts && !ended(at));
        let in_order = |at: At| {
            let mut sent = topic.logs[at.0 as usize].sent.iter();
            sent.any(|sent| sent.offset == at.1 && self.held_by(sent).is_some())
        };
        let unsure = |at: At| {
            let lane = self.letters.cycles(at).1 > 0 && !in_order(at);
            lane || self.letters.may_be_redriven(at) || self.letters.may_be_purged(at)
        };
        let sure = self.unsure.is_empty() && !self.letters.all().any(unsure);
        !self.doubtful && sure && !dies
    }

    /// A seek begins after which a message is settled, or open as it was sent. A letter that does
    /// not hold its key stays a letter, and says nothing of its message any more.
    fn begin_seek(&mut self, at: At, settled: bool, holds: bool) {
        let (dead, purged) = (self.dead.remove(&at), self.letters.is_purged(at));
        if dead && !holds {
            *self.left.entry(at).or_default() += 1;
        }
        let was = self.acked.contains(&at) || dead || purged;
        if was != settled || dead || purged {
            self.acked.remove(&at);
            self.settling.insert(at);
        }
        if was != settled {
            self.seeking.insert(at, was);
        }
        self.letters.begin_seek(at);
        self.attempts.remove(&at);
        self.firm.remove(&at);
    }
}
