//! Reading back from the log what was sent under an id or by a producer.

use std::ops::Range;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::ground::Ground;
use super::mark::Mark;
use crate::error::{Error, ErrorKind, Result};
use crate::format::ledger::Entry;
use crate::format::origin::Origin;
use crate::log::{Cursor, Partition, Step};

const NAP: Duration = Duration::from_millis(1);

/// What stands in a partition from an offset on.
#[derive(Default)]
pub(super) struct Scanned {
    /// Offsets of the messages that say how they were sent, and what they say.
    pub(super) sent: Vec<(u64, Origin)>,
    /// Offsets that cannot be read (P3).
    pub(super) damaged: Vec<Range<u64>>,
}

impl Ground {
    /// All that was sent to a partition from an offset on.
    pub(super) fn scan(&self, number: u32, from: u64) -> Result<Scanned> {
        let mut found = Scanned::default();
        self.walk(number, from, |step| {
            match step {
                Seen::Message(offset, Some(origin)) => found.sent.push((offset, origin)),
                Seen::Message(..) => {}
                Seen::Damaged(range) => found.damaged.push(range),
            }
            true
        })?;
        Ok(found)
    }

    /// Whether an entry speaks of what is in the log, or was removed from it by retention or by
    /// compaction, after a failed sync that may have taken it back. What is damaged was sent.
    pub(super) fn stands(
        &self,
        entry: &Entry,
        (mark, kind): (&Path, &str),
        origin: impl Fn(Origin) -> bool,
    ) -> Result<bool> {
        let (number, offset) = (entry.partition, entry.offset);
        let Some(log) = self.partitions.get(number as usize) else {
            // Nothing that was ever written (P18).
            return Ok(false);
        };
        if offset < log.earliest_offset()? {
            return Ok(true);
        }
        let mut stands = false;
        self.walk(number, offset, |step| {
            stands = match step {
                Seen::Message(at, Some(found)) => at == offset && origin(found),
                Seen::Message(..) => false,
                Seen::Damaged(range) => range.contains(&offset),
            };
            false
        })?;
        if stands {
            return Ok(true);
        }
        // Looked at after the log: compaction takes nothing that is not below the mark of all
        // ledgers, and what a failed sync takes back never was. So below it what is not there was
        // compacted (P8), and behind it taken back (P5).
        let read = Mark::read(&self.env, mark, kind, self.partitions.len())?;
        let end = read.and_then(|mark| mark.ends.get(number as usize).copied());
        Ok(end.is_some_and(|end| offset < end))
    }

    fn walk(&self, number: u32, from: u64, mut each: impl FnMut(Seen) -> bool) -> Result<()> {
        let log = &*self.partitions[number as usize];
        let mut cursor = Cursor::at_offset(from);
        let deadline = Instant::now() + self.env.lock_timeout;
        loop {
            let seen = match log.look(&mut cursor)? {
                Step::Record {
                    offset,
                    position,
                    next,
                    ..
                } => {
                    cursor = next;
                    if offset < from {
                        continue;
                    }
                    match log.record(offset, position) {
                        Ok(record) => Seen::Message(offset, Origin::of(record.extension())),
                        Err(error) if error.kind() == ErrorKind::Damaged => {
                            Seen::Damaged(offset..offset + 1)
                        }
                        Err(error) => return Err(error),
                    }
                }
                Step::Damaged => {
                    let begin = cursor.offset;
                    cursor = log.skip_damage(&cursor)?.0;
                    Seen::Damaged(begin..cursor.offset.max(begin.saturating_add(1)))
                }
                // What is being copied hides what stands behind it; its writer may have died.
                Step::End | Step::NotMapped if log.is_copying() => {
                    wait_for_copy(log, deadline)?;
                    continue;
                }
                Step::End | Step::NotMapped => return Ok(()),
            };
            if !each(seen) {
                return Ok(());
            }
        }
    }
}

enum Seen {
    Message(u64, Option<Origin>),
    Damaged(Range<u64>),
}

fn wait_for_copy(log: &Partition, deadline: Instant) -> Result<()> {
    if log.tend_large()? {
        return Ok(());
    }
    if Instant::now() >= deadline {
        let message = format!(
            "{}: another process has been copying a large message for too long; let it continue \
             or end it, then try again",
            log.folder().display()
        );
        return Err(Error::new(ErrorKind::Stuck, message));
    }
    thread::sleep(NAP);
    Ok(())
}
