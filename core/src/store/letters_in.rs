//! Taking dead letters into the window of a redrive lane, as those that they are.

use super::group::GroupInner;
use super::lane;
use super::redrive::SOME;
use super::redriven::Done;
use super::source::letter_of;
use crate::error::{Error, ErrorKind, Result};
use crate::group::{Dead, Window};
use crate::log::{Cursor, Step};

/// What is next in a topic of letters.
enum Next {
    Mine(Dead),
    /// Nothing for the lane, up to this offset.
    Other(u64),
}

impl GroupInner {
    /// Takes the letters below `end` into the window. Who dies in the middle leaves some that are
    /// not taken in, which is as good.
    pub(super) fn take_in_letters(&self, end: u64, done: &mut Done) -> Result<()> {
        loop {
            let from = self.with_window(0, |window| window.cursor())?;
            if from.offset >= end {
                return Ok(());
            }
            let mut damage = Vec::new();
            let steps = self.next_letters(from, end, &mut damage)?;
            if steps.is_empty() {
                return Ok(());
            }
            let mut moved = false;
            let room = self.with_window(0, |window| {
                // Somebody else took them in meanwhile.
                moved = window.cursor() == from;
                !moved || take_in(window, &steps, damage.len())
            })?;
            if moved {
                damage.into_iter().for_each(|error| done.met(error));
            }
            if !room && !self.grow(0)? {
                return Err(self.too_many_letters());
            }
        }
    }

    /// Outside of any lock: some of what is there from a place on, each with where the next one is.
    fn next_letters(
        &self,
        from: Cursor,
        end: u64,
        damage: &mut Vec<Error>,
    ) -> Result<Vec<(Next, Cursor)>> {
        let log = &self.topic.partitions[0];
        let (mut cursor, mut steps) = (from, Vec::new());
        while steps.len() < SOME && cursor.offset < end {
            match log.look(&mut cursor)? {
                Step::Record {
                    offset,
                    position,
                    next,
                    ..
                } => {
                    let mine = match log.record(offset, position) {
                        Ok(record) => letter_of(self, &record).is_some(),
                        Err(error) if error.kind() == ErrorKind::Damaged => {
                            damage.push(error);
                            false
                        }
                        Err(error) => return Err(error),
                    };
                    let step = match mine {
                        true => Next::Mine(Dead { offset, position }),
                        false => Next::Other(next.offset),
                    };
                    steps.push((step, next));
                    cursor = next;
                }
                Step::Damaged => {
                    let (next, error) = log.skip_damage(&cursor)?;
                    if error.kind() != ErrorKind::Removed {
                        damage.push(error);
                    }
                    steps.push((Next::Other(next.offset), next));
                    cursor = next;
                }
                Step::End | Step::NotMapped => break,
            }
        }
        Ok(steps)
    }

    #[cold]
    fn too_many_letters(&self) -> Error {
        let (topic, name) = self.source();
        let message = format!(
            "the oldest dead letter of group {name:?} of topic {topic:?}, or the oldest message \
             that was redriven and is not settled, is more than {} before the last one in topic \
             {:?}; redrive, settle or purge the oldest first, by their ids",
            lane::WINDOW,
            self.topic.name
        );
        Error::new(ErrorKind::Full, message)
    }
}

/// With the window's lock held: takes in what was found; false where there is no room for more.
fn take_in(window: &mut Window, steps: &[(Next, Cursor)], damaged: usize) -> bool {
    for (step, next) in steps {
        let room = match step {
            Next::Mine(dead) => window.settle_gap(dead.offset) && window.admit_dead(*dead),
            Next::Other(to) => window.settle_gap(*to),
        };
        if !room {
            return false;
        }
        window.set_cursor(*next);
    }
    (0..damaged).for_each(|_| window.count_damage());
    true
}
