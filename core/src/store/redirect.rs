//! Another dead-letter topic for a group: letters go to one or the other, never to both (P12).

use std::sync::atomic::Ordering;

use super::dying::finish;
use super::group::GroupInner;
use crate::error::{ErrorKind, Result};
use crate::format::control::group_partition as at;

/// With the mover's lock held, before the letters go to another topic: what is in this one is
/// settled, on disk, and nobody looks for it any more. Whoever looks, in whichever topic, begins at
/// the start, until `enter_topic` says better.
pub(super) fn leave_topic(group: &GroupInner, partition: u32) -> Result<()> {
    finish_moves(group, partition)?;
    look_from(group, partition, 0)
}

/// With the mover's lock held: what is in the dead-letter topic is settled, or holds its key, as
/// its letter says.
pub(super) fn finish_moves(group: &GroupInner, partition: u32) -> Result<()> {
    let words = &group.block.partitions[partition as usize];
    if words.load(at::MOVED, Ordering::Acquire) == 0
        && let Some(name) = group.dead_letter_topic()
    {
        match group.topic.store.topic_inner(&name) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            opened => finish(group, partition, &*opened?)?,
        }
    }
    Ok(())
}

/// With the mover's lock held, once the letters go to the topic that is in force now: none of those
/// that are in it is of a message that still waits.
pub(super) fn enter_topic(group: &GroupInner, partition: u32) -> Result<()> {
    let Some(name) = group.dead_letter_topic() else {
        return Ok(());
    };
    match group.topic.store.topic_inner(&name) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        opened => look_from(group, partition, opened?.partitions[0].next_offset()),
    }
}

fn look_from(group: &GroupInner, partition: u32, offset: u64) -> Result<()> {
    group.with_window(partition, |window| window.set_dead_from(offset))?;
    group.sync_window(partition)
}
