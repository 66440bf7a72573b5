//! Moving on the end of a group's window, behind which nobody has looked yet.

use super::fill::{Met, Need, look_at_fresh};
use super::group::GroupInner;
use super::in_force::{InForce, raised};
use super::sieve::Sieve;
use crate::error::{Error, ErrorKind, Result};
use crate::format::control::block::HOLDING;
use crate::group::{Now, Policy, Window};
use crate::log::{Cursor, Partition, Place};

/// Messages that are taken in with one lock.
const SOME: u32 = 1024;

/// What became of a window's move to a place.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Moved {
    Now,
    ByAnother,
    NoRoom,
}

impl GroupInner {
    /// Moves the window from one place to another; what is between them is settled.
    pub(super) fn go_on(
        &self,
        log: &Partition,
        from: Cursor,
        to: Cursor,
        damaged: bool,
    ) -> Result<Moved> {
        self.with_window(log.number(), |window| {
            if window.cursor() != from {
                return Moved::ByAnother;
            }
            if to.offset != from.offset && !window.settle_gap(to.offset) {
                return Moved::NoRoom;
            }
            window.set_cursor(to);
            if damaged {
                window.count_damage();
            }
            Moved::Now
        })
    }

    /// Moves the window from a place of what retention took to what is kept; what it had not come
    /// to is counted as lost.
    pub(super) fn go_on_behind_taken(
        &self,
        log: &Partition,
        from: Cursor,
        first: u64,
    ) -> Result<Moved> {
        let now = Now::by(&*self.topic.store.env.clock);
        self.with_window(log.number(), |window| {
            if window.cursor() != from {
                return Moved::ByAnother;
            }
            match window.begin_at(first, !self.is_lane(), now) {
                true => Moved::Now,
                false => Moved::NoRoom,
            }
        })
    }

    /// Room for more unsettled messages, if the group's limit allows.
    pub(super) fn grow(&self, partition: u32) -> Result<bool> {
        let Some(grower) = self.with_window(partition, |window| window.grower())? else {
            return Ok(false);
        };
        // Both syncs are of the whole window.
        let _one = self.hold_sync(partition)?;
        self.topic.store.with_ballast(|| grower.allocate())?;
        self.with_window(partition, |window| window.double(&grower))??;
        self.timed_sync(partition, || grower.sync())?;
        self.with_window(partition, |window| window.allow(&grower))?;
        Ok(true)
    }

    /// Takes in all messages up to this one, without handing any out: they are ready, or wait for
    /// their keys. With no lock but the window's, as there may be many. Who gives the group another
    /// order first says that nothing is to be taken in, and then counts in each window what was:
    /// while that is said it is waited for (P11).
    pub(super) fn take_in(&self, log: &Partition, offset: u64) -> Result<()> {
        let (number, mut sieve) = (log.number(), Sieve::default());
        loop {
            let (now, mut dying) = (Now::by(&*self.topic.store.env.clock), Vec::new());
            let need = self.with_policy(number, |window, policy| match policy.held_back {
                true => Err(()),
                false => Ok(take_in_some(
                    window,
                    (policy, now),
                    (log, offset),
                    &sieve,
                    &mut dying,
                )),
            })?;
            let Ok(need) = need else {
                self.wait_for_change()?;
                continue;
            };
            for late in dying {
                self.remember_late(number, late);
            }
            let mut full = false;
            match need {
                Need::Nothing => break,
                Need::More => {}
                Need::Sieve(cursor) => sieve = self.sift(log, cursor, usize::MAX)?,
                Need::Room => full = true,
                Need::Map(cursor) => {
                    let mut found = cursor;
                    match log.resolve(&mut found)? {
                        Place::Nothing => break,
                        Place::Broken => return Err(log.skip_damage(&found)?.1),
                        Place::Mapped => {
                            full = self.go_on(log, cursor, found, false)? == Moved::NoRoom;
                        }
                    }
                }
                // The next receive passes over it, and tells of it.
                Need::Damage(cursor) => return Err(log.skip_damage(&cursor)?.1),
            }
            if full && !self.grow(number)? {
                return Err(self.too_far(offset));
            }
        }
        self.wake(u32::MAX);
        Ok(())
    }

    /// Until whoever changes the group, and has said that nothing is to be taken in, is done.
    fn wait_for_change(&self) -> Result<()> {
        let held = self.topic.store.hold_create_lock()?;
        let word = self.word_to_change()?;
        if word & HOLDING != 0 {
            // Without one who is at it: nobody of this library says so (P18).
            self.set_changed(raised(word));
        }
        drop(held);
        Ok(())
    }

    #[cold]
    fn too_far(&self, offset: u64) -> Error {
        let message = format!(
            "offset {offset} is further ahead of the oldest unsettled message of group {:?} than \
             its window of {} allows; settle earlier ones first",
            self.name,
            self.known_settings().config.window
        );
        Error::new(ErrorKind::Full, message)
    }
}

/// With the window's lock held: takes in some of the messages up to this one.
fn take_in_some(
    window: &mut Window,
    moment: (&Policy, Now),
    (log, until): (&Partition, u64),
    sieve: &Sieve,
    dying: &mut Vec<u64>,
) -> Need {
    if window.cursor().offset > until {
        return Need::Nothing;
    }
    let (mut count, mut more) = (0, false);
    let (need, _) = look_at_fresh(
        window,
        moment,
        (log, until),
        sieve,
        |window, offset, met| {
            match met {
                Met::Passed => return offset < until,
                Met::Waits => {}
                Met::Expired if moment.0.expired_die => dying.push(offset),
                Met::Expired => {}
                Met::Ready(index) => window.make_ready(index),
            }
            count += 1;
            more = count >= SOME && offset < until;
            !more && offset < until
        },
    );
    if more { Need::More } else { need }
}
