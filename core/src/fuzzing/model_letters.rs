//! Redriving and purging of dead letters, as the plain model says.

use super::input::Input;
use super::model::{MESSAGES, World, name};
use super::model_check::Place;
use super::steps::in_time;
use crate::error::ErrorKind;
use crate::store::{DeadLetterEntry, Group, MessageId, RedriveOptions};

fn places(letters: &[DeadLetterEntry]) -> Vec<Place> {
    let all = letters.iter();
    all.map(|one| (one.source_partition, one.source_offset))
        .collect()
}

fn ids(letters: &[DeadLetterEntry]) -> Vec<MessageId> {
    letters.iter().map(|one| one.message.id()).collect()
}

/// Those that had been dead letters are none now: each is refused, and nothing becomes of any.
fn all_are_refused(what: &str, done: Result<u64, crate::Error>, ids: &[MessageId]) {
    if ids.is_empty() {
        return assert_eq!(done.expect("none"), 0);
    }
    let error = done.expect_err(what);
    assert_eq!(error.kind(), ErrorKind::NotFound, "{what}: {error}");
    let all: Vec<usize> = (0..ids.len()).collect();
    assert_eq!(error.refused_places(), all, "{what}");
}

impl World {
    /// A group that was opened once and keeps its dead letters, and some of these.
    fn some_letters(&self, input: &mut Input<'_>) -> Option<(usize, Group, Vec<DeadLetterEntry>)> {
        let number = input.pick(self.groups.len());
        let group = match self.topic.group(&name(number)) {
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            opened => opened.expect("group"),
        };
        self.check_letters(number, &group);
        let mut letters = group.dead_letters(2 * MESSAGES).expect("letters");
        let wanted = input.byte();
        let mut place = 0;
        letters.retain(|_| {
            place += 1;
            wanted >> (place % 8) & 1 == 1
        });
        Some((number, group, letters))
    }

    /// Some by their ids, or the oldest.
    pub(super) fn redrive(&mut self, input: &mut Input<'_>) {
        let Some((number, group, mut letters)) = self.some_letters(input) else {
            return;
        };
        let (named, limit) = (ids(&letters), letters.len() as u64);
        let oldest = input.byte() & 1 == 1;
        if oldest {
            letters = group.dead_letters(letters.len()).expect("letters");
        }
        let done = in_time("redrive", || {
            group.redrive(RedriveOptions {
                ids: (!oldest).then_some(&named),
                limit: oldest.then_some(limit),
                ..RedriveOptions::default()
            })
        });
        assert_eq!(done.expect("redrive"), letters.len() as u64, "P12");
        let model = &mut self.groups[number].1;
        model.redrive(&self.log, &places(&letters));
        self.check_letters(number, &group);
        let named = ids(&letters);
        let again = group.redrive(RedriveOptions {
            ids: Some(&named),
            ..RedriveOptions::default()
        });
        all_are_refused("redriven twice", again, &named);
        all_are_refused("purged", group.purge_dead_letters(Some(&named)), &named);
    }

    pub(super) fn purge(&mut self, input: &mut Input<'_>) {
        let Some((number, group, letters)) = self.some_letters(input) else {
            return;
        };
        let named = ids(&letters);
        let done = in_time("purge", || group.purge_dead_letters(Some(&named)));
        assert_eq!(done.expect("purge"), letters.len() as u64, "P12");
        self.groups[number].1.purge(&places(&letters));
        self.check_letters(number, &group);
        let again = group.purge_dead_letters(Some(&named));
        all_are_refused("purged twice", again, &named);
    }

    /// All that there are; they are handed out again.
    pub(super) fn redrive_all(&mut self, number: usize, group: &Group) {
        let letters = group.dead_letters(2 * MESSAGES).expect("letters");
        let done = in_time("redrive", || group.redrive(RedriveOptions::default()));
        assert_eq!(done.expect("redrive"), letters.len() as u64, "P12");
        let model = &mut self.groups[number].1;
        model.redrive(&self.log, &places(&letters));
        self.check_letters(number, group);
    }

    /// Each once, with what the model knows of it (P12).
    pub(super) fn check_letters(&self, number: usize, group: &Group) {
        let letters = group.dead_letters(2 * MESSAGES).expect("dead letters");
        let known = |one: &DeadLetterEntry| {
            let place = (one.source_partition, one.source_offset);
            (place, one.attempts, one.failures, one.cycles)
        };
        let mut found: Vec<_> = letters.iter().map(known).collect();
        found.sort_unstable();
        let (options, model) = &self.groups[number];
        let kept = options.dead_letter_topic.is_none();
        let wanted = if kept { model.dead() } else { Vec::new() };
        assert_eq!(found, wanted, "the dead letters of group {number}");
        for letter in &letters {
            let sent = &self.log[&(letter.source_partition, letter.source_offset)];
            assert!(letter.message.payload() == sent.payload);
            assert_eq!(letter.message.key(), sent.key.as_deref());
        }
    }
}
