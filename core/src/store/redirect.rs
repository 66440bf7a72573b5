//! Another dead-letter topic for a group: letters go to one or the other, never to both (P12).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::dead_letter::{held_attempts, walk};
use super::dying::finish;
use super::group::GroupInner;
use super::group_meta::dead_letters_of;
use super::source::letter_of;
use super::topic::TopicInner;
use crate::error::{Error, ErrorKind, Result};
use crate::format::control::group_partition as at;
use crate::log::Cursor;
use crate::options::DeadLetter;

/// With the mover's lock held, before the letters go elsewhere, and while no message holds its key:
/// the group has none in the topic that they go to now, where nobody would list or redrive them any
/// more (P12). What dies meanwhile waits for the lock, and goes where its letter is to go then.
/// Changes nothing: a death behind it leaves all as it is.
pub(super) fn check_no_letters(group: &GroupInner, wanted: &DeadLetter) -> Result<()> {
    let next = dead_letters_of(&group.topic.name, &group.name, wanted);
    let Some(target) = group.letters_topic()? else {
        return Ok(());
    };
    let name = &target.name;
    if next.as_ref() == Some(name) {
        return Ok(());
    }
    // Behind the end of the lane's window all are dead.
    let (from, end, dead) = match group.lane()? {
        None => (0, 0, Vec::new()),
        Some(lane) => lane.with_window(0, |window| {
            (window.floor(), window.next(), window.dead(0, usize::MAX))
        })?,
    };
    let is_dead = |offset| {
        offset >= end || (dead.binary_search_by_key(&offset, |letter| letter.offset)).is_ok()
    };
    let mut left = 0_u64;
    walk(
        &target,
        Cursor::at_offset(from),
        |offset, record| {
            // One with this mark is what is left of one that held its key.
            let mine = letter_of(group, record).is_some() && held_attempts(record).is_none();
            left += u64::from(mine && is_dead(offset));
            true
        },
        // Nobody's letter any more, of which whoever lists them is told.
        |_| true,
    )?;
    if left == 0 {
        return Ok(());
    }
    let message = format!(
        "group {:?} of topic {:?} has {left} dead letters in topic {name:?}, which nobody would \
         list or redrive any more; redrive or purge them, and set dead_letter_topic then",
        group.name, group.topic.name
    );
    Err(Error::new(ErrorKind::Busy, message))
}

/// With the mover's lock held since `finish_moves`, before the letters go to another topic: what is
/// in this one is settled, on disk, and nobody looks for it any more. Whoever looks, in whichever
/// topic, begins at the start, until `enter_topic` says better. Only once nothing can refuse the
/// change any more: in the former topic letters from before a seek would be taken for those of what
/// dies again.
pub(super) fn leave_topic(group: &GroupInner, partition: u32) -> Result<()> {
    look_from(group, partition, 0)
}

/// With the mover's lock held: what is in the dead-letter topic is settled, or holds its key, as
/// its letter says.
pub(super) fn finish_moves(group: &GroupInner, partition: u32) -> Result<()> {
    let words = &group.block.partitions[partition as usize];
    if words.load(at::MOVED, Ordering::Acquire) == 0
        && let Some(target) = group.letters_topic()?
    {
        finish(group, partition, &target)?;
    }
    Ok(())
}

/// With the mover's lock held, once the letters go to the topic that is in force now: none of those
/// that are in it is of a message that still waits.
pub(super) fn enter_topic(group: &GroupInner, partition: u32) -> Result<()> {
    match group.letters_topic()? {
        Some(target) => look_from(group, partition, target.partitions[0].next_offset()),
        None => Ok(()),
    }
}

impl GroupInner {
    /// The topic that its dead letters go to, if there is one.
    pub(super) fn letters_topic(&self) -> Result<Option<Arc<TopicInner>>> {
        let Some(name) = self.dead_letter_topic() else {
            return Ok(None);
        };
        match self.topic.store.topic_inner(&name) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            opened => opened.map(Some),
        }
    }
}

fn look_from(group: &GroupInner, partition: u32, offset: u64) -> Result<()> {
    group.with_window(partition, |window| window.set_dead_from(offset))?;
    group.sync_window(partition)
}
