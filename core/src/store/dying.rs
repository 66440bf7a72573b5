//! The move to the dead letters, atomic through any kill and power loss (P12).
//!
//! A message that failed for the last time is in the state dying, and never handed out again. One
//! mover at a time appends such messages to the dead-letter topic, syncs it (the log before a
//! settle), and settles them in the window. A word of the group's block says that no move is half
//! done; where it does not, the next mover first looks which of the dying are in the topic already
//! and only settles those. The window keeps, on disk, the offset from which it has to look. So a
//! death between any two steps loses nothing and doubles nothing.
//!
//! A power loss may take the window back to what was last synced. It is therefore put on disk, with
//! the messages dying in it, before the append.

use std::collections::HashMap;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::aside::{self, Failures};
use super::dead_letter::{held_attempts, walk};
use super::group::{GroupInner, Reason};
use super::letter::append;
use super::source::letter_of;
use super::topic::TopicInner;
use crate::error::{Error, ErrorKind, Result};
use crate::format::control::{block as words, group_partition as at};
use crate::group::Dying;
use crate::log::{Cursor, Record};
use crate::options::{OnDeadLetter, TopicOptions};
use crate::shm::OwnerLock;

const BATCH: usize = 256;
/// For so long a dying message is left to the process that knows why it failed.
const FIRST_RIGHT_MS: u64 = 200;
/// How long those who only pass by wait for a mover.
const GLANCE: Duration = Duration::from_millis(1);
/// How long those wait who know a reason.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);
/// Dead letters after which the place to look from is raised, which costs a sync of the window.
const LOOK_BACK: u64 = 1024;

/// By who passes by: as `move_dying`, and where nothing could be moved a moment ago, nothing is
/// tried. What keeps a partition's letters from being moved is told once. Whether any was moved,
/// behind which others may have waited.
pub(super) fn move_passing(group: &GroupInner, partition: u32) -> Result<bool> {
    let now = group.topic.store.env.clock.boot_ms();
    if aside::of(group).waits(partition, None, now) {
        return Ok(false);
    }
    match move_now(group, partition, GLANCE)? {
        Moved::All(any, told) => told.map(|()| any),
        Moved::Stopped(error, true) => Err(error),
        Moved::Stopped(_, false) => Ok(false),
    }
}

/// Moves what is dying in a partition, as far as it is this process's turn. One that is stopped in
/// the middle of a move is waited for no longer than `patience`: what is dying stays so, and the
/// next call looks again.
pub(super) fn move_dying(group: &GroupInner, partition: u32, patience: Duration) -> Result<()> {
    match move_now(group, partition, patience)? {
        Moved::All(_, told) => told,
        Moved::Stopped(error, _) => Err(error),
    }
}

enum Moved {
    /// All but those that were set aside; whether any was, and what is to be told of the others.
    All(bool, Result<()>),
    /// Why none can be moved, and whether that is new.
    Stopped(Error, bool),
}

fn move_now(group: &GroupInner, partition: u32, patience: Duration) -> Result<Moved> {
    let any = group.with_window(partition, |window| window.any_dying(mine(group, partition)))?;
    if !any {
        return Ok(Moved::All(false, Ok(())));
    }
    let env = &*group.topic.store.env;
    let lock = group.front().head.word32(words::MOVER_LOCK);
    let held = match OwnerLock::hold(lock, env.me, &*env.live, patience) {
        Err(error) if error.kind() == ErrorKind::Stuck => return Ok(Moved::All(false, Ok(()))),
        held => held?,
    };
    let (mut damage, mut failures) = (Ok(()), Failures::default());
    let known = |group: &GroupInner| {
        group.with_window(partition, |window| window.dying(mine(group, partition)))
    };
    let moved = move_all(group, partition, &known, &mut damage, &mut failures);
    drop(held);
    let braked = group.brake();
    match moved {
        Ok(any) => {
            aside::of(group).forget(partition);
            let told = damage.and(failures.told(group, partition));
            Ok(Moved::All(any, told.and(braked)))
        }
        Err(error) => {
            // Those that were set aside in it are told of when the others can be moved.
            aside::of(group).keep(partition, |_| false);
            let new = aside::put(group, partition, None, error.kind());
            let error = error.context(format!(
                "what failed for the last time in group {:?}, partition {partition} of topic {:?}, \
                 cannot become dead letters now; it is kept, not handed out, and tried again",
                group.source().1,
                group.topic.name
            ));
            Ok(Moved::Stopped(error, new))
        }
    }
}

/// With the mover's lock held: moves all that is dying, whoever knows why, as far as it can be.
pub(super) fn move_rest(group: &GroupInner, partition: u32) -> Result<()> {
    if !group.with_window(partition, |window| window.any_dying(|_, _| true))? {
        return Ok(());
    }
    let (mut damage, mut failures) = (Ok(()), Failures::default());
    let every =
        |group: &GroupInner| group.with_window(partition, |window| window.dying(|_, _| true));
    let moved = move_all(group, partition, &every, &mut damage, &mut failures);
    moved.and(damage).and(failures.told(group, partition))
}

/// With the mover's lock held; whether any was moved. Until a round moves none: those that are left
/// are set aside.
fn move_all(
    group: &GroupInner,
    partition: u32,
    dying: &dyn Fn(&GroupInner) -> Result<Vec<Dying>>,
    damage: &mut Result<()>,
    failures: &mut Failures,
) -> Result<bool> {
    let mut any = false;
    loop {
        let mut moved = 0;
        let dying = dying(group)?;
        for some in dying.chunks(BATCH) {
            let offsets: Vec<u64> = some.iter().map(|dead| dead.offset).collect();
            moved += match group.dead_letter_topic() {
                Some(name) => move_to(group, partition, some, &name, (damage, failures))?,
                None => {
                    group.with_policy(partition, |window, policy| {
                        window.settle_dead(policy, &offsets);
                    })?;
                    some.len()
                }
            };
        }
        if moved == 0 {
            break;
        }
        any = true;
    }
    forget_moved(group, partition)?;
    Ok(any)
}

/// By offset and since when they are dying: those whose reason this process knows, and those that
/// nobody moved who did; none that could not be moved a moment ago.
fn mine(group: &GroupInner, partition: u32) -> impl Fn(u64, u64) -> bool {
    let now = group.topic.store.env.clock.boot_ms();
    let (reasons, aside) = (locked_reasons(group), aside::of(group));
    move |offset, since| {
        let known = reasons.contains_key(&(partition, offset));
        (known || since > now || since + FIRST_RIGHT_MS <= now)
            && !aside.waits(partition, Some(offset), now)
    }
}

pub(super) fn locked_reasons(
    group: &GroupInner,
) -> std::sync::MutexGuard<'_, std::collections::HashMap<(u32, u64), Reason>> {
    group.reasons.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What another process moved needs no reason here any more.
fn forget_moved(group: &GroupInner, partition: u32) -> Result<()> {
    group.with_window(partition, |window| {
        let waits = |offset| window.is_dying(offset);
        locked_reasons(group).retain(|(of, offset), _| *of != partition || waits(*offset));
        aside::of(group).keep(partition, waits);
    })
}

/// With the mover's lock held; how many are done here.
fn move_to(
    group: &GroupInner,
    partition: u32,
    dying: &[Dying],
    name: &str,
    (damage, failures): (&mut Result<()>, &mut Failures),
) -> Result<usize> {
    let store = &group.topic.store;
    let target = match store.topic_inner(name) {
        Err(e) if e.kind() == ErrorKind::NotFound => {
            store.with_ballast(|| store.create(name, &TopicOptions::default()))?;
            store.topic_inner(name)?
        }
        opened => opened?,
    };
    target.tell_of_letters();
    let words = &group.block.partitions[partition as usize];
    if words.load(at::MOVED, Ordering::Acquire) == 0 {
        finish(group, partition, &target)?;
    }
    let still: Vec<Dying> = group.with_window(partition, |window| {
        let still = |dead: &Dying| window.is_dying(dead.offset);
        dying.iter().copied().filter(still).collect()
    })?;
    group.sync_window(partition)?;
    keep_what_holds(group, partition, &still)?;
    // From here to the settling a death leaves some in the topic and still dying.
    words.store(at::MOVED, 0, Ordering::Release);
    let voids = target.partitions[0].voids();
    let appended = append(group, partition, &target, &still, failures);
    settle(group, partition, &target, &appended.done, voids)?;
    if let Some(error) = appended.stopped {
        return Err(error);
    }
    words.store(at::MOVED, 1, Ordering::Release);
    let (end, from) = (
        target.partitions[0].next_offset(),
        group.with_window(partition, |window| window.dead_from())?,
    );
    // A place behind the end is what is left of damage: it is set anew (P3).
    if end
        .checked_sub(from)
        .is_none_or(|behind| behind > LOOK_BACK)
    {
        // The settled entries are on disk before the place to look from is beyond their letters.
        group.sync_window(partition)?;
        group.with_window(partition, |window| window.set_dead_from(end))?;
    }
    let gone = dying.len() - still.len();
    let settled = gone + appended.done.len() + appended.damage.len();
    if let Err(error) = bury_damaged(group, partition, appended.damage) {
        // What could not be settled is another thing than damage that was.
        if error.kind() != ErrorKind::Damaged {
            return Err(error);
        }
        *damage = std::mem::replace(damage, Ok(())).and(Err(error));
    }
    Ok(settled)
}

/// What is to hold its key is handed out of the log again when its letter is redriven: it is on
/// disk before the letter is, whatever the topic's durability. Else a power loss would take the
/// message, and leave a letter that nobody lists (P12).
fn keep_what_holds(group: &GroupInner, partition: u32, dying: &[Dying]) -> Result<()> {
    if group.is_lane() || group.settings()?.config.on_dead_letter != OnDeadLetter::HoldKey {
        return Ok(());
    }
    let holding = dying.iter().filter(|dead| dead.may_hold);
    let Some(last) = holding.map(|dead| dead.offset).max() else {
        return Ok(());
    };
    let timeout = group.topic.store.env.lock_timeout;
    group.topic.partitions[partition as usize].ensure_durable(last + 1, timeout)
}

/// Those whose bytes are damaged have nothing to be moved: they are settled, counted as damaged,
/// and told of (P3).
fn bury_damaged(group: &GroupInner, partition: u32, damage: Vec<(u64, Error)>) -> Result<()> {
    let mut told = Ok(());
    for (offset, error) in damage {
        group.with_window(partition, |window| window.settle_damaged_dying(offset))?;
        told = told.and(Err(error));
    }
    told
}

/// A mover died, or this is a new life: all that is in the topic already is settled, whoever made
/// it dying, or the next one would append it again.
pub(super) fn finish(group: &GroupInner, partition: u32, target: &TopicInner) -> Result<()> {
    let log = &target.partitions[0];
    let voids = log.voids();
    // Also waits for what is still being copied there, behind which nothing would be found.
    log.ensure_durable(log.next_offset(), group.topic.store.env.lock_timeout)?;
    let from = group.with_window(partition, |window| window.dead_from())?;
    let there = already_there(target, from, group, partition)?;
    settle(group, partition, target, &there, voids)
}

/// Once these dead letters are on disk their messages are done. Where a failed sync took any back
/// the move stays half done, for the next mover to look at again.
fn settle(
    group: &GroupInner,
    partition: u32,
    target: &TopicInner,
    done: &[u64],
    voids: u64,
) -> Result<()> {
    let log = &target.partitions[0];
    let timeout = group.topic.store.env.lock_timeout;
    log.ensure_kept_since(voids, timeout)?;
    group.with_policy(partition, |window, policy| {
        // What was redriven by a lane holds no key: that went on before.
        let mut policy = *policy;
        policy.hold_key &= !group.is_lane();
        window.settle_dead(&policy, done);
    })
}

/// Offsets of this group's messages whose letters are in the dead-letter topic from an offset on:
/// in the partition that they came from, or, for a lane, of the letters that they were redriven
/// from.
fn already_there(
    target: &TopicInner,
    from: u64,
    group: &GroupInner,
    partition: u32,
) -> Result<Vec<u64>> {
    let mut found = Vec::new();
    let each = |_, record: &Record| {
        if let Some(source) = letter_of(group, record) {
            let of = match group.is_lane() {
                true => source.redriven_from,
                false => (source.partition == partition).then_some(source.offset),
            };
            found.extend(of.map(|offset| (offset, held_attempts(record))));
        }
        true
    };
    // A damaged letter may be appended once more, which loses nothing.
    walk(target, Cursor::at_offset(from), each, |_| true)?;
    // One that holds its key may have died before, been redriven, and died again.
    let dying = group.with_window(partition, |window| window.dying(|_, _| true))?;
    let attempts: HashMap<u64, u32> = dying.iter().map(|one| (one.offset, one.attempts)).collect();
    let mut there = Vec::new();
    for (offset, held) in found {
        if held.is_none() || held == attempts.get(&offset).copied() {
            there.push(offset);
        }
    }
    Ok(there)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ConsumerOptions, Message, Store, StoreOptions};
    use std::time::Duration;

    fn append_all(group: &GroupInner, target: &TopicInner, dead: &[Dying]) {
        let appended = append(group, 0, target, dead, &mut Failures::default());
        assert!(appended.stopped.is_none() && appended.done.len() == dead.len());
    }

    #[test]
    fn p12_what_a_mover_that_died_had_appended_is_settled_by_the_next_and_not_appended_again() {
        let folder = tempfile::TempDir::new().expect("folder");
        let store = Store::open(folder.path(), StoreOptions::default()).expect("open");
        let topic = store.topic("t", &TopicOptions::default()).expect("topic");
        for payload in [&b"0"[..], b"1"] {
            topic.send(&Message::new(payload)).expect("send");
        }
        let worker = topic
            .consumer("g", &ConsumerOptions::default())
            .expect("consumer");
        let got = worker.receive(2, Some(Duration::ZERO)).expect("receive");
        // A process had message 0 fail for the last time, appended it, and died before it settled.
        let group = topic.group("g").expect("group");
        let inner = &group.inner;
        let clock = &inner.topic.store.env.clock;
        let dead = inner.with_window(0, |window| {
            window.give_up(0, 1, clock.boot_ms(), clock.wall_ms());
            window.dying(|_, _| true)
        });
        let name = inner.dead_letter_topic().expect("a topic");
        let created = inner.topic.store.create(&name, &TopicOptions::default());
        assert!(created.expect("create"));
        let target = inner.topic.store.topic_inner(&name).expect("open");
        append_all(inner, &target, &dead.expect("dying"));
        worker
            .dead_letter(&[got[1].receipt()], "no use")
            .expect("dead letter");
        let stats = group.stats().expect("stats");
        assert_eq!((stats.dead_lettered, stats.lag_messages), (2, 0));
        let letters = group.dead_letters(9).expect("letters");
        let offsets: Vec<u64> = letters.iter().map(|dead| dead.source_offset).collect();
        assert_eq!(offsets, [0, 1], "each once");
    }

    #[test]
    fn p12_a_letter_that_a_failed_sync_took_back_settles_nothing() {
        let twin = crate::storage::Twin::new();
        let path = std::path::Path::new("/store");
        let store = Store::open_on(std::sync::Arc::new(twin.clone()), path, &Default::default());
        let store = store.expect("open");
        let topic = store.topic("t", &TopicOptions::default()).expect("topic");
        topic.send(&Message::new(b"0")).expect("send");
        let worker = topic
            .consumer("g", &ConsumerOptions::default())
            .expect("consumer");
        worker.receive(1, Some(Duration::ZERO)).expect("receive");
        let group = topic.group("g").expect("group");
        let inner = &group.inner;
        let dead = inner.with_window(0, |window| {
            window.give_up(0, 1, 1, 1);
            window.dying(|_, _| true)
        });
        let durable = TopicOptions {
            durability: Some(crate::Durability::Sync),
            ..TopicOptions::default()
        };
        let name = inner.dead_letter_topic().expect("a topic");
        let letters = store.topic(&name, &durable).expect("create");
        let target = inner.topic.store.topic_inner(&name).expect("open");
        let voids = target.partitions[0].voids();
        append_all(inner, &target, &dead.expect("dying"));
        // The sync of somebody else's letter fails, and takes back all that was not on disk.
        twin.fail(crate::storage::Fault::Sync, 1);
        letters
            .send(&Message::new(b"another"))
            .expect_err("the disk is away");
        twin.heal();
        target.partitions[0].sync().expect("it is back");
        letters.send(&Message::new(b"a third")).expect("send");
        let error = settle(inner, 0, &target, &[0], voids).expect_err("it was taken back");
        assert_eq!(error.kind(), ErrorKind::Poisoned);
        move_dying(inner, 0, PATIENCE).expect("not its turn yet");
        std::thread::sleep(Duration::from_millis(FIRST_RIGHT_MS));
        move_dying(inner, 0, PATIENCE).expect("move");
        let found = group.dead_letters(9).expect("letters");
        assert_eq!(found.len(), 1, "lost, or there twice");
    }
}
