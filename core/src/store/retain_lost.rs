//! What retention is about to take and a group has not settled: it is ended in the group's window,
//! counted as lost, or moved to the dead letters, before its segment goes.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::advance::Moved;
use super::dying;
use super::fill::{Met, Need, look_at_fresh};
use super::group::GroupInner;
use super::inner::locked;
use super::retain::Scope;
use super::retain_groups::KeptGroup;
use super::sieve::Sieve;
use super::topic::TopicInner;
use crate::error::{ErrorKind, Result};
use crate::group::{Counter, Fate, Now, Policy, TakenAway, Window};
use crate::log::{Cursor, Partition, Place};

/// Messages that are ended with one lock.
const SOME: usize = 256;
/// How long a mover is waited for.
const PATIENCE: Duration = Duration::from_millis(100);

/// Messages that became dying under one lock: offset, and whether that was for their time.
type Ended = Vec<(u64, bool)>;

impl TopicInner {
    /// In all groups, what is below the caps. A group that cannot be read, or that somebody is
    /// stopped in, ends nothing; whether that keeps a segment is decided later.
    pub(super) fn end_unsettled(self: &Arc<Self>, scope: &Scope, fate: Fate) -> Result<()> {
        if scope.caps.iter().all(|cap| *cap == 0) {
            return Ok(());
        }
        for group in self.kept_groups()? {
            let mut opened: Option<Arc<GroupInner>> = None;
            for (number, cap) in scope.caps.iter().enumerate() {
                let partition = &self.partitions[number];
                if *cap == 0 || !group.has(number) {
                    continue;
                }
                let floor = self.floor_of(&group, partition, u64::MAX)?;
                if floor.is_some_and(|floor| floor >= *cap) {
                    continue;
                }
                if opened.is_none() {
                    opened = self.group_to_end(&group).unwrap_or_default();
                }
                let Some(inner) = &opened else { break };
                // The others do not wait for what is wrong with one (P13).
                let _ = inner.end_below(partition, *cap, fate);
            }
        }
        Ok(())
    }

    /// The group as this process has it open; else for as long as it is needed.
    fn group_to_end(self: &Arc<Self>, group: &KeptGroup) -> Result<Option<Arc<GroupInner>>> {
        let lane_of = group.meta.as_ref().and_then(|meta| meta.lane_of.clone());
        let Some((topic, name)) = lane_of else {
            return self.group_beside(&group.name).map(Some);
        };
        match self.store.topic_beside(&topic)? {
            Some(topic) => topic.group_beside(&name)?.lane(),
            None => Ok(None),
        }
    }

    fn group_beside(self: &Arc<Self>, name: &str) -> Result<Arc<GroupInner>> {
        let known = locked(&self.groups).get(name).and_then(Weak::upgrade);
        match known {
            Some(group) if group.is_there()? => Ok(group),
            _ => self.open_files(name, None).map(Arc::new),
        }
    }
}

impl GroupInner {
    /// Ends all messages below an offset that are not settled, whether or not the group has come to
    /// them. What its filter leaves out, and what was too late, is counted as that.
    fn end_below(&self, log: &Partition, below: u64, fate: Fate) -> Result<()> {
        let number = log.number();
        let any_dying = self.with_window(number, |window| window.counter(Counter::Dying) > 0)?;
        if any_dying {
            // Those that failed for the last time become letters where they can.
            let moved = dying::move_dying(self, number, PATIENCE);
            if fate == Fate::Dead {
                moved?;
            }
        }
        let (mut sieve, mut from) = (Sieve::default(), 0);
        loop {
            let (now, mut ended) = (Now::by(&*self.topic.store.env.clock), Ended::new());
            let need = self.with_policy(number, |window, policy| {
                let what = (fate, below, self.is_lane());
                end_some(
                    window,
                    (policy, now),
                    log,
                    what,
                    &sieve,
                    &mut from,
                    &mut ended,
                )
            })?;
            for (offset, late) in &ended {
                match late {
                    true => self.remember_late(number, *offset),
                    false => self.remember_taken(number, *offset),
                }
            }
            if !ended.is_empty() {
                dying::move_dying(self, number, PATIENCE)?;
            }
            match need {
                Need::Nothing => break,
                Need::More => {}
                Need::Sieve(cursor) => sieve = self.sift(log, cursor, usize::MAX)?,
                Need::Room if self.grow(number)? => {}
                // What is in the way waits for its letters.
                Need::Room => break,
                Need::Damage(cursor) => self.end_damage(log, cursor, cursor)?,
                Need::Map(cursor) => {
                    let mut found = cursor;
                    match log.resolve(&mut found)? {
                        Place::Nothing => break,
                        Place::Broken => self.end_damage(log, cursor, found)?,
                        Place::Mapped => {
                            let moved = self.go_on(log, cursor, found, false)?;
                            if moved == Moved::NoRoom && !self.grow(number)? {
                                break;
                            }
                        }
                    }
                }
            }
        }
        self.wake(u32::MAX);
        Ok(())
    }

    /// What cannot be read is counted as damaged; nobody is to be told of what is about to go.
    fn end_damage(&self, log: &Partition, from: Cursor, at: Cursor) -> Result<()> {
        let (next, error) = log.skip_damage(&at)?;
        let moved = match error.kind() {
            ErrorKind::Removed => self.go_on_behind_taken(log, from, next.offset)?,
            _ => self.go_on(log, from, next, true)?,
        };
        if moved == Moved::NoRoom {
            self.grow(log.number())?;
        }
        Ok(())
    }
}

/// With the window's lock held: ends some of what is not settled; what has to be done before there
/// can be more.
fn end_some(
    window: &mut Window,
    (policy, now): (&Policy, Now),
    log: &Partition,
    (fate, below, is_lane): (Fate, u64, bool),
    sieve: &Sieve,
    from: &mut u64,
    ended: &mut Ended,
) -> Need {
    let mut count = 0;
    while let Some(offset) = window.next_to_take(*from, fate).filter(|one| *one < below) {
        if window.end_taken(offset, fate, now) == TakenAway::Dying {
            ended.push((offset, false));
        }
        (*from, count) = (offset + 1, count + 1);
        if count >= SOME {
            return Need::More;
        }
    }
    if window.next() >= below {
        return Need::Nothing;
    }
    if is_lane {
        // Of letters that nobody redrove none is counted.
        if window.floor() == window.next() {
            pass(window, below);
        }
        return Need::Nothing;
    }
    let mut more = false;
    let until = (log, below - 1);
    let (need, _) = look_at_fresh(
        window,
        (policy, now),
        until,
        sieve,
        |window, offset, met| {
            match met {
                Met::Passed => {}
                Met::Expired if policy.expired_die => ended.push((offset, true)),
                Met::Expired => {}
                Met::Waits | Met::Ready(_) => {
                    if window.end_taken(offset, fate, now) == TakenAway::Dying {
                        ended.push((offset, false));
                    }
                }
            }
            count += 1;
            more = count >= SOME;
            !more && offset + 1 < below
        },
    );
    match need {
        Need::Nothing if more => Need::More,
        Need::Nothing => {
            // There is no message any more up to there: offsets that were passed over.
            if window.next() < below && !pass(window, below) {
                return Need::Room;
            }
            Need::Nothing
        }
        need => need,
    }
}

fn pass(window: &Window, to: u64) -> bool {
    let passed = window.settle_gap(to);
    if passed {
        window.set_cursor(Cursor::at_offset(to));
    }
    passed
}
