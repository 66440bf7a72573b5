//! Seeking, to places and to snapshots, as the plain model says (P16).

use super::input::Input;
use super::model::{World, name};
use super::model_check::{Entry, Log, Memory, Model, Place, State, Takes};
use super::steps::in_time;
use crate::error::ErrorKind;
use crate::options::Start;
use crate::store::{Group, SeekPlan, SeekTo};

/// The one snapshot that a group has at a time.
const SNAPSHOT: &str = "s";

impl World {
    /// A group that was opened once and that the model can seek: it says one thing of a message, so
    /// that none may be a dead letter, or redriven, and come again as well; nor is it to count what
    /// is left out twice.
    fn sought_group(&self, input: &mut Input<'_>) -> Option<(usize, Group)> {
        let number = input.pick(self.groups.len());
        let (options, model) = &self.groups[number];
        let drops = options.dead_letter_topic == Some(crate::options::DeadLetter::Drop);
        if !model.can_seek(&self.log, drops) {
            return None;
        }
        match self.topic.group(&name(number)) {
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            opened => Some((number, opened.expect("group"))),
        }
    }

    /// To an end, or to an offset of one partition.
    pub(super) fn seek(&mut self, input: &mut Input<'_>) {
        let Some((number, group)) = self.sought_group(input) else {
            return;
        };
        let partition = u32::from(input.byte()) % self.topic.partitions();
        let (how, near) = (input.byte(), u64::from(input.byte()));
        let sent = self.log.range((partition, 0)..=(partition, u64::MAX));
        let end = sent.last().map_or(0, |(place, _)| place.1 + 1);
        let all = 0..self.topic.partitions();
        let (to, partition, targets) = match how % 4 {
            0 => (Start::Earliest, None, all.map(|one| (one, 0)).collect()),
            1 => (
                Start::Latest,
                None,
                all.map(|one| (one, u64::MAX)).collect(),
            ),
            _ => {
                let offset = near % (end + 1);
                (
                    Start::Offset(offset),
                    Some(partition),
                    vec![(partition, offset)],
                )
            }
        };
        let plan = self.sought(&group, to.into(), partition);
        let model = &mut self.groups[number].1;
        let counted = model.seek(&self.log, &targets);
        let found = (plan.sum(|one| one.again), plan.sum(|one| one.passed_over));
        assert_eq!(found, counted, "to {to:?} of {partition:?}");
    }

    /// Takes a snapshot, or goes back to the one there is.
    pub(super) fn snapshot(&mut self, input: &mut Input<'_>) {
        let Some((number, group)) = self.sought_group(input) else {
            return;
        };
        let known: Option<Memory> = self.snapshots.remove(&number);
        match known {
            Some(memory) if input.byte() & 1 == 0 => {
                let plan = self.sought(&group, SNAPSHOT.into(), None);
                let model = &mut self.groups[number].1;
                let counted = model.restore(&self.log, &memory);
                let found = (plan.sum(|one| one.again), plan.sum(|one| one.passed_over));
                assert_eq!(found, counted, "to a snapshot");
                self.snapshots.insert(number, memory);
            }
            Some(_) => group.delete_snapshot(SNAPSHOT).expect("delete"),
            None => {
                in_time("snapshot", || group.snapshot(SNAPSHOT)).expect("snapshot");
                let memory = self.groups[number].1.memory();
                self.snapshots.insert(number, memory);
            }
        }
    }

    fn sought(&self, group: &Group, to: SeekTo<'_>, partition: Option<u32>) -> SeekPlan {
        let before = group.preview_seek(to, partition).expect("preview");
        let done = in_time("seek", || group.seek(to, partition)).expect("seek");
        assert_eq!(before, done, "a preview says what is done");
        done
    }
}

impl Model {
    /// Whether nothing is dead, or redriven, that could come again as well.
    pub(super) fn can_seek(&self, log: &Log, drops: bool) -> bool {
        let free = |(place, entry): (&Place, &Entry)| match entry.state {
            State::Dead => drops || self.hold && log[place].key.is_some(),
            State::Acked => true,
            State::Waiting | State::Leased => entry.turn.is_none(),
        };
        self.takes == Takes::All && self.entries.iter().all(free)
    }

    /// Each partition that is named is set to an offset; how many come again, and are passed over.
    pub(super) fn seek(&mut self, log: &Log, targets: &[(u32, u64)]) -> (u64, u64) {
        let (mut again, mut passed) = (0, 0);
        for place in log.keys() {
            let Some((_, target)) = targets.iter().find(|one| one.0 == place.0) else {
                continue;
            };
            let open = self.is_open(place) || self.holds(place);
            if place.1 < *target {
                passed += u64::from(open);
                *self.entry(*place) = Entry::acked();
            } else {
                again += u64::from(!open);
                self.entries.remove(place);
            }
        }
        for (partition, _) in targets {
            self.newest.remove(partition);
        }
        (again, passed)
    }

    /// What a snapshot knows.
    pub(super) fn memory(&self) -> Memory {
        self.entries.clone()
    }

    /// All is as it was then, and what was handed out comes again; counts as of `seek`.
    pub(super) fn restore(&mut self, log: &Log, memory: &Memory) -> (u64, u64) {
        let (mut again, mut passed) = (0, 0);
        for place in log.keys() {
            let then = memory.get(place).cloned();
            let held = self.hold && log[place].key.is_some();
            let open = self.is_open(place) || self.holds(place);
            let entry = match then.map(|then| (then.state, then)) {
                None => None,
                // As one that was redriven.
                Some((State::Dead, then)) if held => Some(Entry::waiting(then.attempt, 0)),
                Some((State::Acked | State::Dead, _)) => Some(Entry::acked()),
                Some((_, then)) => {
                    let failures = then.failures.min(self.max_attempts - 1);
                    Some(Entry::waiting(then.attempt, failures))
                }
            };
            let opens = entry.as_ref().is_none_or(|one| one.state == State::Waiting);
            again += u64::from(opens && !open);
            passed += u64::from(!opens && open);
            match entry {
                None => drop(self.entries.remove(place)),
                Some(entry) => drop(self.entries.insert(*place, entry)),
            }
        }
        self.newest.clear();
        (again, passed)
    }
}
