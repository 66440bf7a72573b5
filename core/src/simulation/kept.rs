//! What retention takes of a history (P15).

use super::model::{There, Topic as Model};
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
            let settled = !group.takes(Some(sent))
                || group.acked.contains(&at)
                || group.is_done_as_a_letter(at)
                || group.may_be_dead(at, crashes)
                || group.may_be_settled(at)
                || group.giving + group.may_be_lost > 0
                || sent.times.late.is_some();
            if !settled {
                let name = group.name;
                return Err(format!("{at:?} is gone, and {name} had not settled it"));
            }
        }
    }
    Ok(first)
}

/// What was taken up to now.
pub fn learn(topic: &Topic, model: &mut Model) -> Result<(), String> {
    for partition in 0..model.logs.len() {
        let first = first(topic, model, partition, 0)?;
        model.logs[partition].taken = first;
    }
    Ok(())
}
