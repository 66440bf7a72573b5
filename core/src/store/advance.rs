//! Moving on the end of a group's window, behind which nobody has looked yet.

use super::group::GroupInner;
use super::sieve::{Sieve, Verdict};
use crate::error::{Error, ErrorKind, Result};
use crate::group::{Admit, Fresh, Now, Policy, Window};
use crate::log::{Cursor, Partition, Place, Step};

/// Messages that are taken in with one lock.
const SOME: u32 = 1024;

/// What became of a window's move to a place.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Moved {
    Now,
    ByAnother,
    NoRoom,
}

enum Need {
    Nothing,
    More,
    Map(Cursor),
    Damage(Cursor),
    Room,
    Sieve(Cursor),
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

    /// Room for more unsettled messages, if the group's limit allows.
    pub(super) fn grow(&self, partition: u32) -> Result<bool> {
        let Some(grower) = self.with_window(partition, |window| window.grower())? else {
            return Ok(false);
        };
        // Both syncs are of the whole window.
        let _one = self.hold_sync(partition)?;
        self.topic.store.with_ballast(|| grower.allocate())?;
        self.with_window(partition, |window| window.double(&grower))??;
        grower.sync()?;
        self.with_window(partition, |window| window.allow(&grower))?;
        Ok(true)
    }

    /// Takes in all messages up to this one, without handing any out: they are ready, or wait for
    /// their keys. Under the lock of those who change a group, whose order they are taken in by.
    pub(super) fn take_in(&self, log: &Partition, offset: u64) -> Result<()> {
        let _held = self.hold_create_lock()?;
        let (number, mut sieve) = (log.number(), Sieve::default());
        loop {
            let (now, mut dying) = (Now::by(&*self.topic.store.env.clock), Vec::new());
            let need = self.with_policy(number, |window, policy| {
                take_in_some(window, (policy, now), log, offset, (&sieve, &mut dying))
            })?;
            for late in dying {
                self.remember_late(number, late);
            }
            match need {
                Need::Nothing => break,
                Need::More => {}
                Need::Sieve(cursor) => sieve = self.sift(log, cursor, usize::MAX)?,
                Need::Room => {
                    if !self.grow(number)? {
                        return Err(self.too_far(offset));
                    }
                }
                Need::Map(cursor) => {
                    let mut found = cursor;
                    match log.resolve(&mut found)? {
                        Place::Nothing => break,
                        Place::Broken => return Err(log.skip_damage(&found)?.1),
                        Place::Mapped => {
                            if self.go_on(log, cursor, found, false)? == Moved::NoRoom
                                && !self.grow(number)?
                            {
                                return Err(self.too_far(offset));
                            }
                        }
                    }
                }
                // The next receive passes over it, and tells of it.
                Need::Damage(cursor) => return Err(log.skip_damage(&cursor)?.1),
            }
        }
        self.wake(u32::MAX);
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

fn take_in_some(
    window: &mut Window,
    (policy, now): (&Policy, Now),
    log: &Partition,
    offset: u64,
    (sieve, dying): (&Sieve, &mut Vec<u64>),
) -> Need {
    let mut cursor = window.cursor();
    let (mut need, mut count) = (Need::Nothing, 0);
    if cursor.offset > offset {
        return need;
    }
    log.scan(&mut cursor, |at, step| match step {
        Step::Record {
            offset: found,
            position,
            key_hash: key,
            attributes,
            next,
            ..
        } => {
            if found > window.next() && !window.settle_gap(found) {
                need = Need::Room;
                return false;
            }
            if found > offset {
                return false;
            }
            if policy.filter != 0 {
                match sieve.verdict(policy, found) {
                    Verdict::Takes => {}
                    Verdict::Passes if window.pass(found) => {
                        window.set_cursor(next);
                        return found < offset;
                    }
                    Verdict::Passes => {
                        need = Need::Room;
                        return false;
                    }
                    Verdict::Unknown => {
                        need = Need::Sieve(at);
                        return false;
                    }
                }
            }
            let fresh = Fresh {
                offset: found,
                position,
                key,
                attributes,
            };
            match window.admit(policy, &fresh, now) {
                Admit::Full => {
                    need = Need::Room;
                    return false;
                }
                Admit::Held | Admit::Scheduled => window.set_cursor(next),
                Admit::Expired => {
                    window.set_cursor(next);
                    window.raise_floor();
                    if policy.expired_die {
                        dying.push(found);
                    }
                }
                Admit::Ready(index) => {
                    window.set_cursor(next);
                    window.make_ready(index);
                }
            }
            count += 1;
            if count >= SOME && found < offset {
                need = Need::More;
            }
            found < offset && count < SOME
        }
        Step::End => false,
        Step::NotMapped | Step::Damaged if !window.settle_gap(at.offset) => {
            need = Need::Room;
            false
        }
        Step::NotMapped => {
            window.set_cursor(at);
            need = Need::Map(at);
            false
        }
        Step::Damaged => {
            window.set_cursor(at);
            need = Need::Damage(at);
            false
        }
    });
    need
}
