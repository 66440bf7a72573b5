//! What housekeeping does for a partition before anybody has to wait for it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{NONE, Partition, Room};
use crate::error::Result;
use crate::format::segment::SIZE_MAX;
use crate::shm::Mapping;
use crate::storage::File;

/// A segment that was filled in less than this is followed by another one soon.
const BUSY: Duration = Duration::from_secs(1);
/// Sealed segments are synced at the latest when they have waited for so long.
const LONG: Duration = Duration::from_secs(5);

/// Who writes so many bytes a millisecond gets pages that are there already. For who is slower the
/// kernel's own faults are quick enough, and pages that are made too early are written to disk
/// twice.
const FAST: u64 = 32 << 10;
/// So far ahead pages are made: what is written in this time, but no less and no more.
const LEAD_MS: u64 = 20;
const LEAD_MIN: u64 = 1 << 20;
const LEAD_MAX: u64 = 32 << 20;
/// They are made so many bytes at a time, and the first ones not so close to where others write.
const CHUNK: u64 = 1 << 20;
const APART: u64 = 64 << 10;
/// For so long one look goes on with it: others wait for housekeeping too, also while the kernel
/// has to write something before it makes another page.
const PATIENCE: Duration = Duration::from_millis(5);
/// Two looks at where the log ends that are closer than this say nothing of its speed.
const MOMENT: Duration = Duration::from_micros(200);

/// The next segment's file, mapped in this process.
struct Mapped {
    id: (u64, u64),
    map: Arc<Mapping>,
    /// The active segment while it was made.
    after: u64,
    /// Up to where its pages are there.
    populated: u64,
}

/// Where the log ended, and how fast that moves.
struct Tail {
    base: u64,
    position: u64,
    at: Instant,
    /// Bytes a millisecond.
    speed: u64,
    /// How many marks this process had passed.
    passed: u64,
    /// Up to where the pages of this segment are there.
    populated: u64,
    /// The same of the one that became the active segment since.
    ready: u64,
}

/// What housekeeping remembers of a partition from one look to the next.
pub(super) struct Ahead {
    next: Option<Mapped>,
    /// The active segment that was last seen, and since when it is.
    active: (u64, Instant),
    /// How long the one before it was.
    before: Duration,
    /// Since when there is something sealed that is not synced.
    sealed: Option<Instant>,
    tail: Tail,
}

impl Default for Ahead {
    fn default() -> Self {
        Self {
            next: None,
            active: (NONE, Instant::now()),
            before: Duration::MAX,
            sealed: None,
            tail: Tail {
                base: NONE,
                position: 0,
                at: Instant::now(),
                speed: 0,
                passed: 0,
                populated: 0,
                ready: 0,
            },
        }
    }
}

impl Tail {
    /// How far ahead of the log's end pages are to be there, now that it ends here: 0 where it
    /// moves slowly, or others move it.
    fn lead(&mut self, base: u64, position: u64, passed: u64) -> u64 {
        let elapsed = self.at.elapsed();
        if self.base != base {
            // As fast as before, until that is seen: what was left of the one before is not known.
            (self.base, self.position, self.at) = (base, position, Instant::now());
            self.populated = std::mem::take(&mut self.ready);
        } else if elapsed >= MOMENT {
            let moved = position.saturating_sub(self.position);
            self.speed = moved.saturating_mul(1000) / (elapsed.as_micros() as u64).max(1);
            (self.position, self.at) = (position, Instant::now());
        }
        let mine = std::mem::replace(&mut self.passed, passed) != passed;
        match mine && self.speed >= FAST {
            true => (self.speed.saturating_mul(LEAD_MS)).clamp(LEAD_MIN, LEAD_MAX),
            false => 0,
        }
    }
}

impl Ahead {
    pub(super) fn has_next(&self) -> bool {
        self.next.is_some()
    }

    pub(super) fn forget_next(&mut self) {
        self.next = None;
    }

    /// Whether segments are filled one after the other.
    fn is_busy(&mut self, active: u64) -> bool {
        if self.active.0 != active {
            // The first segment proves nothing: a topic that is used once has no other (P19).
            let first = self.active.0 == NONE;
            self.before = if first {
                Duration::MAX
            } else {
                self.active.1.elapsed()
            };
            self.active = (active, Instant::now());
        }
        self.before < BUSY && self.active.1.elapsed() < BUSY
    }
}

impl Partition {
    /// The next segment when the active one is half full, or will be soon; offsets ahead of their
    /// use; syncs of what was sealed, once there is time. Whether there was something to do.
    pub fn prepare_ahead(&self) -> Result<bool> {
        let copied = self.tend_large();
        self.forget_taken();
        self.drop_compacted();
        let base = self.block.segment();
        let mut ahead = super::locked(&self.ahead);
        let busy = ahead.is_busy(base);
        // None of them waits for another: a full disk does not keep what is there from being
        // synced, nor a partition whose sync failed from being healed.
        let prepared = self.prepare_next(&mut ahead, base, busy);
        let raised = self.raise_ahead();
        let sealed = base != NONE && self.block.synced() < base;
        let since = *ahead.sealed.get_or_insert_with(Instant::now);
        if !sealed {
            ahead.sealed = None;
        }
        drop(ahead);
        let populated = self.populate_ahead(base);
        // A sync takes long, and who fills segments needs the next one more.
        if self.block.poisoned() || (sealed && (!busy || since.elapsed() > LONG)) {
            self.sync_sealed()?;
        }
        copied?;
        Ok(prepared? | raised? || busy || sealed || populated)
    }

    /// Between two beats of housekeeping, for who appended more than a little since the last one:
    /// pages, and the next segment where that is soon wanted.
    pub fn hurry(&self) {
        let base = self.block.segment();
        let rest = self.peek(base).map_or(u64::MAX, |active| {
            active.capacity().saturating_sub(self.block.position())
        });
        let mut ahead = super::locked(&self.ahead);
        let soon = ahead.tail.speed.saturating_mul(BUSY.as_millis() as u64) >= rest;
        // What is wrong with the disk the next look comes upon too, and who needs the segment.
        let _ = self.prepare_next(&mut ahead, base, soon);
        drop(ahead);
        self.populate_ahead(base);
    }

    /// Has the kernel make the pages that a fast sender comes to next, so that it does not have to
    /// at each of them; whether the sender is a fast one. No more than a little ahead of it, since
    /// each such page is written to disk.
    fn populate_ahead(&self, base: u64) -> bool {
        let Some(active) = self.peek(base).filter(|_| base != NONE) else {
            return false;
        };
        let until = Instant::now() + PATIENCE;
        let mut position = self.block.position();
        let (lead, mut from) = {
            let (mut ahead, passed) = (
                super::locked(&self.ahead),
                self.passed.load(Ordering::Relaxed),
            );
            let lead = ahead.tail.lead(base, position, passed);
            (lead, ahead.tail.populated)
        };
        if lead == 0 {
            return false;
        }
        // Not with the lock held: who rolls wants the next segment's mapping meanwhile.
        while self.block.segment() == base && Instant::now() < until {
            from = from.max((position + APART).next_multiple_of(4096));
            if from >= (position + lead).min(active.capacity()) {
                break;
            }
            active.map().populate(from as usize, CHUNK as usize);
            from += CHUNK;
            position = self.block.position();
        }
        {
            let mut ahead = super::locked(&self.ahead);
            if ahead.tail.base == base {
                ahead.tail.populated = from;
            }
        }
        let over = (position + lead).saturating_sub(active.capacity());
        // The time first: what is named counts as made.
        while Instant::now() < until
            && let Some((map, from)) = self.next_pages(base, over)
        {
            map.populate(from as usize, CHUNK as usize);
        }
        true
    }

    /// The next pages to be made of the segment behind this one, of which so many bytes are to have
    /// some; they count as made.
    fn next_pages(&self, base: u64, over: u64) -> Option<(Arc<Mapping>, u64)> {
        let mut ahead = super::locked(&self.ahead);
        let next = ahead.next.as_mut()?;
        // One that was prepared behind another segment may be the active one by now.
        if next.after != base || next.populated >= over {
            return None;
        }
        let from = next.populated;
        next.populated += CHUNK;
        Some((next.map.clone(), from))
    }

    fn prepare_next(&self, ahead: &mut Ahead, base: u64, busy: bool) -> Result<bool> {
        let Some(active) = self.peek(base) else {
            return Ok(false);
        };
        if base == NONE || !(busy || self.block.position() >= active.capacity() / 2) {
            return Ok(false);
        }
        if ahead.next.as_ref().is_some_and(|next| next.after == base) {
            return Ok(false);
        }
        let Some(slow) = self.try_hold_slow()? else {
            return Ok(false);
        };
        // Another process may have prepared the file; the pages are this one's to map.
        let file = self.next_file(0, Room::Ordinary, SIZE_MAX)?.1;
        drop(slow);
        let id = file.id()?;
        if let Some(next) = ahead.next.as_mut().filter(|next| next.id == id) {
            next.after = base;
            return Ok(false);
        }
        let len = usize::try_from(file.len()?).unwrap_or(usize::MAX);
        let map = file.map(len, true)?;
        ahead.next = Some(Mapped {
            id,
            map,
            after: base,
            populated: 0,
        });
        Ok(true)
    }

    /// The mapping of the next segment's file, with its first pages if housekeeping got to it.
    pub(super) fn take_ahead(&self, file: &dyn File) -> Result<Arc<Mapping>> {
        let id = file.id()?;
        let mapped = self.ahead.try_lock().ok().and_then(|mut ahead| {
            let next = ahead.next.take().filter(|next| next.id == id);
            ahead.tail.ready = next.as_ref().map_or(0, |next| next.populated);
            next
        });
        match mapped {
            Some(mapped) => Ok(mapped.map),
            _ => {
                let len = usize::try_from(file.len()?).unwrap_or(usize::MAX);
                file.map(len, true)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::super::append::STEP;
    use super::super::tests::{draft, env_on, open};
    use super::*;
    use crate::format::control::partition::WORDS;
    use crate::log::Env;
    use crate::options::Durability;
    use crate::shm::{OwnerLock, Region};
    use crate::storage::Disk;

    #[test]
    fn p19_pages_are_made_for_who_is_fast_and_no_more_than_a_little_ahead() {
        let folder = tempfile::tempdir().expect("folder");
        let log = open(Arc::new(Disk), &folder.path().join("0"));
        let more = |until: u64| {
            while log.block.position() < until {
                log.append(&[draft(&[1; 30_000])]).expect("append");
            }
        };
        while log
            .mapped(log.block.segment())
            .is_none_or(|one| one.capacity() < 8 << 20)
        {
            log.append(&[draft(&[1; 30_000])]).expect("append");
        }
        let (base, capacity) = (log.block.segment(), 8 << 20);
        // It passed a mark, and looks that are so close to each other leave the speed as it was.
        let goes = |speed| {
            log.passed.fetch_add(1, Ordering::Relaxed);
            let mut ahead = super::super::locked(&log.ahead);
            (ahead.tail.base, ahead.tail.speed) = (base, speed);
            ahead.tail.at = Instant::now() + Duration::from_secs(3600);
        };
        let populated = || super::super::locked(&log.ahead).tail.populated;
        goes(FAST - 1);
        more(2 * STEP);
        assert!(!log.populate_ahead(base), "a slow one");
        goes(FAST);
        assert!(log.populate_ahead(base));
        assert!(!log.populate_ahead(base), "it appended nothing since");
        let tail = log.block.position();
        let ahead = tail + LEAD_MIN..tail + LEAD_MIN + CHUNK;
        assert!(ahead.contains(&populated()), "{} of {ahead:?}", populated());
        // What is to be there behind the end of the segment is there in the next one.
        assert!(log.prepare_ahead().is_ok());
        more(capacity - LEAD_MIN / 2);
        goes(FAST);
        assert!(log.populate_ahead(base));
        let next = super::super::locked(&log.ahead)
            .next
            .as_ref()
            .map(|next| next.populated);
        assert!(
            next.is_some_and(|next| (1..=LEAD_MIN).contains(&next)),
            "{next:?}"
        );
        // And known as such once that is the active one.
        while log.block.segment() == base {
            log.append(&[draft(&[1; 30_000])]).expect("append");
        }
        let mut ahead = super::super::locked(&log.ahead);
        let (base, position) = (log.block.segment(), log.block.position());
        let _ = ahead.tail.lead(base, position, 0);
        assert_eq!(Some(ahead.tail.populated), next);
    }

    #[test]
    fn p19_who_appends_much_hurries_now_and_then_and_holds_no_lock_meanwhile() {
        let folder = tempfile::tempdir().expect("folder");
        let control = Arc::new(Mapping::anonymous(4096).expect("memory"));
        let block = Region::new(&control, 0, WORDS * 8).expect("block");
        let count = Arc::new(AtomicU64::new(0));
        let counted = count.clone();
        let env = Env {
            hurry: Box::new(move |log| {
                let log = log.upgrade().expect("open");
                assert!(OwnerLock::is_free(log.block.lock()), "others wait");
                counted.fetch_add(1, Ordering::Relaxed);
                log.hurry();
            }),
            ..env_on(Arc::new(Disk))
        };
        let log = Partition::open(
            Arc::new(env),
            folder.path().to_owned(),
            block,
            (7, 0),
            Durability::Process,
            Arc::new(|_| ()),
        );
        let log = log.expect("open");
        let sent = |bytes: u64| {
            let before = count.load(Ordering::Relaxed);
            for _ in 0..bytes / 30_000 {
                log.append(&[draft(&[1; 30_000])]).expect("append");
            }
            count.load(Ordering::Relaxed) - before
        };
        assert_eq!(sent(STEP / 4), 0, "a topic that is seldom used");
        // Through some segments, of which the first are smaller than the step.
        let marks = 20;
        let hurried = sent(marks * STEP);
        assert!((marks / 2..=marks).contains(&hurried), "{hurried}");
    }
}
