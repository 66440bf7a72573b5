//! What retention and compaction take of a history (P15).

use super::check::{Contents, contents, told};
use super::model::{At, Group, Sent, There, Topic as Model};
use super::transact::Transaction;
use crate::Topic;

/// The first offset that is kept of a partition: all before it every group may have settled, and
/// there is one.
pub fn first(topic: &Topic, model: &Model, partition: usize, crashes: u32) -> Result<u64, String> {
    let first = topic.first_kept(partition);
    let gone = model.logs[partition].sent.iter();
    // A group that was made since begins behind what was gone before.
    let taken = model.logs[partition].taken;
    for sent in gone.filter(|sent| (taken..first).contains(&sent.offset)) {
        let at = (partition as u32, sent.offset);
        if model.groups.iter().all(|group| group.there == There::No) {
            return Err(format!("{at:?} is gone, and there is no group"));
        }
        let there = model
            .groups
            .iter()
            .filter(|group| group.there == There::Yes);
        for group in there {
            if !is_settled(group, sent, at, crashes) {
                let name = group.name;
                return Err(format!("{at:?} is gone, and {name} had not settled it"));
            }
        }
    }
    Ok(first)
}

/// Whether the group may have settled it.
fn is_settled(group: &Group, sent: &Sent, at: At, crashes: u32) -> bool {
    !group.takes(Some(sent))
        || group.acked.contains(&at)
        || group.is_done_as_a_letter(at)
        || group.may_be_dead(at, crashes)
        || group.may_be_settled(at)
        || group.giving + group.may_be_lost > 0
        || sent.times.late.is_some()
}

/// Whether compaction may have taken it: all groups that there are had settled it, and there is a
/// later one of its key.
pub fn may_be_compacted(model: &Model, partition: usize, sent: &Sent, crashes: u32) -> bool {
    let at = (partition as u32, sent.offset);
    let mut groups = model
        .groups
        .iter()
        .filter(|group| group.there == There::Yes);
    let later = |one: &Sent| one.offset > sent.offset && one.key == sent.key;
    model.compacts
        && sent.key.is_some()
        && model.logs[partition].sent.iter().any(later)
        && groups.all(|group| is_settled(group, sent, at, crashes))
}

/// What there has to be of what was sent to a partition: all from the first offset that is kept on,
/// but for what was not found and compaction may have taken, or a power loss with the record of a
/// transaction that nobody was told of.
pub fn kept(
    (model, under_way): (&Model, Option<&Transaction>),
    partition: usize,
    (first, found): (u64, &Contents),
    crashes: u32,
) -> Contents {
    let is_there = |offset: u64| found.iter().any(|one| one.0 == offset);
    let sent = model.logs[partition].sent.iter();
    let sent = sent.filter(|one| one.offset >= first);
    sent.filter(|one| {
        let untold = under_way.is_some_and(|of| of.sends(one.number));
        let log = &model.logs[partition];
        let missing = log.missing.contains(&one.offset) || log.compacted.contains(&one.offset);
        let may_be_gone = untold || missing || may_be_compacted(model, partition, one, crashes);
        is_there(one.offset) || !may_be_gone
    })
    .map(|one| (one.offset, one.number))
    .collect()
}

/// What was taken up to now.
pub fn learn(topic: &Topic, model: &mut Model) -> Result<(), String> {
    for partition in 0..model.logs.len() {
        let first = first(topic, model, partition, 0)?;
        model.logs[partition].taken = first;
        if model.compacts {
            learn_compacted(topic, model, partition, first)?;
        }
    }
    Ok(())
}

fn learn_compacted(
    topic: &Topic,
    model: &mut Model,
    partition: usize,
    first: u64,
) -> Result<(), String> {
    let found = contents(topic, partition as u32).map_err(told("reading"))?;
    let is_there = |offset: u64| found.iter().any(|one| one.offset() == offset);
    let log = &model.logs[partition];
    let kept = log.sent.iter().filter(|one| one.offset >= first);
    let mut gone = std::collections::BTreeSet::new();
    for one in kept.filter(|one| !is_there(one.offset)) {
        let known = log.compacted.contains(&one.offset);
        if !known && !may_be_compacted(model, partition, one, 0) {
            return Err(format!("{} is gone, and was to be kept", one.offset));
        }
        gone.insert(one.offset);
    }
    model.logs[partition].compacted = gone;
    Ok(())
}
