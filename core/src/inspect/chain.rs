//! Segments one after the other, and the reserve against them.

use std::ops::Range;
use std::path::Path;

use super::partition::{Ending, NONE, Partition, Seen};
use super::plan::SegmentPlan;
use super::reserve;
use super::verify::Run;
use crate::error::{ErrorKind, Result};
use crate::format::names;
use crate::format::record::{Header, MESSAGE};
use crate::format::reserve::{Reserve, taken_by};

impl Partition<'_> {
    /// Before a segment is looked at: the one before must end with a record that names it, if it
    /// holds anything. An empty one behind an open one is left of a roll that was interrupted.
    pub(super) fn enter(&mut self, run: &mut Run<'_>, segment: &SegmentPlan) {
        let base = segment.base;
        if let Some(&Seen {
            ending: Ending::Open(end),
            records,
            ref path,
            ..
        }) = self.seen.last()
            && segment.filled
            && records > 0
        {
            let what = format!("the records end here, without one that names segment {base}");
            self.damaged(run, &path.clone(), end, what);
        }
        match self.named.take() {
            Some((_, _, next)) if next < base => self.missing(run, next),
            Some((path, at, next)) if next > base && segment.filled => {
                let what = format!("it names segment {next}, but segment {base} has records");
                self.damaged(run, &path, at, what);
            }
            Some(named) if named.2 > base => self.named = Some(named),
            _ => {}
        }
        self.arrive(run, base);
    }

    /// The segment that the one before names was not met.
    fn missing(&mut self, run: &mut Run<'_>, base: u64) {
        let path = self.path(base);
        let last = self.seen.last().map_or(NONE, |last| last.base);
        let gone = !path.exists() && !self.may_be_torn(last, u64::MAX);
        if gone && !self.is_taken_by_now(base) {
            let what = "the segment that the one before names is missing";
            self.damaged(run, &path, 0, what.into());
        }
    }

    /// What the durable mark says of the record at a place.
    pub(super) fn check_mark_in(
        &self,
        run: &mut Run<'_>,
        base: u64,
        place: Range<u64>,
        header: &Header,
    ) {
        let Some(mark) = self.reserved.newest.filter(|r| r.mark_segment == base) else {
            return;
        };
        let path = self.plan.folder.join(names::RESERVE);
        let at = mark.mark_position;
        if place.start < at && at < place.end {
            let what = format!(
                "its mark is byte {at} of segment {base}, inside of the record from {} to {}",
                place.start, place.end
            );
            run.report.damaged(&path, 0, what);
        } else if place.start == at && header.kind == MESSAGE && header.offset < mark.mark_offset {
            let what = format!(
                "offset {} is behind its mark, which says {}",
                header.offset, mark.mark_offset
            );
            run.report.damaged(&path, 0, what);
        }
    }

    /// Whether the reserve was written since it was read.
    pub(super) fn has_moved_on(&self) -> Result<bool> {
        let now = newest(&self.plan.folder.join(names::RESERVE))?;
        Ok(now.map(|slot| slot.generation) != self.reserved.generation)
    }

    /// Below which offset retention took all by now.
    pub(super) fn taken_by_now(&self) -> Result<u64> {
        let now = newest(&self.plan.folder.join(names::RESERVE))?;
        Ok(now.as_ref().map_or(0, taken_by).max(self.reserved.taken))
    }

    fn is_taken_by_now(&self, base: u64) -> bool {
        self.taken_by_now().is_ok_and(|taken| base < taken)
    }

    /// Behind the last segment.
    pub(super) fn end(&mut self, run: &mut Run<'_>) -> Result<()> {
        if let Some((_, _, next)) = self.named.take() {
            self.missing(run, next);
        }
        self.check_mark(run);
        if self.is_behind_damage() {
            // Where the end is not known, at least what is damaged was there.
            let marked = self.reserved.newest.map_or(0, |mark| mark.mark_offset);
            let some = marked.max(self.log.next + 1);
            self.arrive(run, self.reserved.exact_end().unwrap_or(some));
        }
        let used = !self.plan.segments.is_empty() || !self.plan.folder.is_dir();
        self.log.end = self.reserved.end(self.log.next, used);
        self.check_limit(run)
    }

    /// What the durable mark speaks of must be there.
    fn check_mark(&mut self, run: &mut Run<'_>) {
        let Some(mark) = self.reserved.newest.filter(|r| r.mark_segment != NONE) else {
            return;
        };
        let path = self.path(mark.mark_segment);
        let seen = self.seen.iter().find(|one| one.base == mark.mark_segment);
        match seen.map(|one| one.ending) {
            None if self.is_taken_by_now(mark.mark_segment) => {}
            None if !path.exists() && !self.is_behind_damage() => {
                let what = "the segment in which the durable mark lies is missing";
                self.damaged(run, &path, 0, what.into());
            }
            Some(Ending::Open(end)) if end < mark.mark_position => {
                let what = format!(
                    "the records end here, but those up to byte {} were on disk",
                    mark.mark_position
                );
                self.damaged(run, &path, end, what);
            }
            _ => {}
        }
        if mark.mark_offset > mark.limit {
            let what = format!(
                "its mark is offset {}, but only offsets below {} are covered",
                mark.mark_offset, mark.limit
            );
            let reserve = self.plan.folder.join(names::RESERVE);
            run.report.damaged(&reserve, 0, what);
        }
    }

    /// No offset may be in the log that the reserve has not covered. Read again, after the records:
    /// it is raised before offsets are used.
    fn check_limit(&self, run: &mut Run<'_>) -> Result<()> {
        let used = self.log.used;
        if used == 0 {
            return Ok(());
        }
        let path = self.plan.folder.join(names::RESERVE);
        let last = used - 1;
        match limit(&path)? {
            Some(limit) if limit < used => {
                let what = format!("offsets below {limit} are covered, {last} is in use");
                run.report.damaged(&path, 0, what);
            }
            None => {
                let what = format!("no whole slot covers offset {last}, which is in use");
                run.report.damaged(&path, 0, what);
            }
            Some(_) => {}
        }
        Ok(())
    }
}

/// The limit of the slot that counts now.
pub(super) fn limit(path: &Path) -> Result<Option<u64>> {
    Ok(newest(path)?.map(|newest| newest.limit))
}

fn newest(path: &Path) -> Result<Option<Reserve>> {
    match reserve::look(path) {
        Ok((slots, _)) => Ok(reserve::newest(&slots)),
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::Io) => Ok(None),
        Err(e) if e.kind() == ErrorKind::PermissionDenied => Ok(None),
        Err(e) => Err(e),
    }
}
