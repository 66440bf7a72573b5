//! One partition: every record of every segment, and the reserve against them.

use std::path::Path;

use super::plan::{Listed, PartitionPlan};
use super::records::{Item, Records};
use super::reserve;
use super::verify::Run;
use crate::error::{ErrorKind, Result};
use crate::format::names;
use crate::format::record::{END, MESSAGE};
use crate::format::reserve::Reserve;
use crate::format::segment::SegmentHeader;
use crate::shm::boot_id;

/// No segment.
const NONE: u64 = u64::MAX;

/// How the records of a segment end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// With nothing, at a position.
    Open(u64),
    /// With an END record at a position that names the next segment.
    Sealed(u64, u64),
    /// In damage, which was reported.
    Damaged,
    /// In what a power loss left behind the durable mark; recovery cuts it.
    Torn,
}

/// What was seen of a segment.
struct Seen {
    base: u64,
    records: u64,
    ending: Ending,
}

/// What is looked at, and what was known before.
struct Partition<'a> {
    plan: &'a PartitionPlan,
    topic: Option<u64>,
    reserve: Option<Reserve>,
    /// The host was started anew and nobody has recovered the log since.
    lost: bool,
    /// One more than the highest offset seen.
    next: u64,
}

/// Looks at a partition.
pub(super) fn look(run: &mut Run<'_>, plan: &PartitionPlan, topic: Option<u64>) -> Result<()> {
    // Before the records: the log only grows, so what the mark says now stands for all of the walk.
    let reserve = look_at_reserve(run, plan, true)?;
    let mut partition = Partition {
        plan,
        topic,
        reserve,
        lost: reserve.is_some_and(|r| !r.clean && r.boot != boot_id()),
        next: 0,
    };
    let mut seen = Vec::new();
    for (base, listed) in &plan.segments {
        if seen
            .last()
            .is_some_and(|last: &Seen| last.ending == Ending::Torn)
        {
            run.pass(listed)?;
            continue;
        }
        seen.push(partition.segment(run, *base, listed)?);
    }
    partition.check_chain(run, &seen);
    partition.check_mark(run, &seen);
    partition.check_limit(run)?;
    for listed in &plan.indexes {
        run.look_at(listed, super::cached::look_at_index)?;
    }
    plan.others.iter().try_for_each(|listed| run.pass(listed))
}

/// The slot that counts. Damage is reported the first time.
fn look_at_reserve(
    run: &mut Run<'_>,
    plan: &PartitionPlan,
    first: bool,
) -> Result<Option<Reserve>> {
    let path = plan.folder.join(names::RESERVE);
    match reserve::look(&path) {
        Ok((slots, wrong)) => {
            if first {
                run.report_all(&path, wrong);
                if let Some(listed) = &plan.reserve {
                    run.pass(listed)?;
                }
            }
            Ok(reserve::newest(&slots))
        }
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) if e.kind() == ErrorKind::Io => {
            run.report.damaged(&path, 0, e.message());
            Ok(None)
        }
        Err(e) => Err(e),
    }
}

impl Partition<'_> {
    fn path(&self, base: u64) -> std::path::PathBuf {
        self.plan.folder.join(names::segment(base))
    }

    /// Whether a place lies behind what was on disk for sure when the host went down.
    fn may_be_torn(&self, base: u64, position: u64) -> bool {
        let mark = self.reserve.map(|r| (r.mark_segment, r.mark_position));
        self.lost && mark.is_none_or(|(at, end)| at == NONE || (base, position) >= (at, end))
    }

    fn segment(&mut self, run: &mut Run<'_>, base: u64, listed: &Listed) -> Result<Seen> {
        let began = run.done();
        let looked = self.records(run, base, &listed.path);
        if run.stopped() {
            return looked;
        }
        run.finish(listed, began)?;
        let ending = |ending| Seen {
            base,
            records: 0,
            ending,
        };
        match looked {
            Err(e) if e.kind() == ErrorKind::Io => {
                run.report.damaged(&listed.path, 0, e.message());
                Ok(ending(Ending::Damaged))
            }
            // Removed by a recovery since it was listed.
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(ending(Ending::Torn)),
            looked => looked,
        }
    }

    fn records(&mut self, run: &mut Run<'_>, base: u64, path: &Path) -> Result<Seen> {
        let mut seen = Seen {
            base,
            records: 0,
            ending: Ending::Damaged,
        };
        let (header, mut records) = match Records::open(path)? {
            Ok(opened) => opened,
            Err(_) if self.may_be_torn(base, 0) => {
                seen.ending = Ending::Torn;
                return Ok(seen);
            }
            Err((place, what)) => {
                run.report.damaged(path, place, what);
                return Ok(seen);
            }
        };
        self.check_identity(run, base, path, &header);
        let began = run.done();
        while let Some(item) = records.next()? {
            run.at(began + records.position())?;
            seen.ending = match item {
                Item::Record {
                    position, header, ..
                } => {
                    seen.records += u64::from(header.kind != END);
                    run.report.messages += u64::from(header.kind == MESSAGE);
                    if header.kind == END {
                        Ending::Sealed(position, header.offset)
                    } else {
                        if header.kind == MESSAGE {
                            self.next = self.next.max(header.offset.saturating_add(1));
                        }
                        Ending::Open(records.position())
                    }
                }
                Item::Nothing { position } => Ending::Open(position),
                Item::Damaged { position, .. } if self.may_be_torn(base, position) => {
                    seen.ending = Ending::Torn;
                    return Ok(seen);
                }
                Item::Damaged { position, what } => {
                    run.report.damaged(path, position, what);
                    Ending::Damaged
                }
            };
        }
        Ok(seen)
    }

    fn check_identity(&self, run: &mut Run<'_>, base: u64, path: &Path, header: &SegmentHeader) {
        let number = self.plan.number;
        let topic = self.topic.unwrap_or(header.topic);
        if (header.topic, header.partition, header.base) != (topic, number, base) {
            let what = format!(
                "it is the segment of topic {:016x}, partition {}, offset {}; its name and folder \
                 say topic {topic:016x}, partition {number}, offset {base}",
                header.topic, header.partition, header.base
            );
            run.report.damaged(path, 0, what);
        }
    }

    /// Each segment must end with a record that names the next one that holds anything. An empty
    /// one behind an open one is left of a roll that was interrupted.
    fn check_chain(&self, run: &mut Run<'_>, seen: &[Seen]) {
        for (place, segment) in seen.iter().enumerate() {
            let later = &seen[place + 1..];
            let path = self.path(segment.base);
            match segment.ending {
                Ending::Open(end) => {
                    let filled = later.iter().find(|next| next.records > 0);
                    if let Some(next) = filled.filter(|_| segment.records > 0) {
                        let what = format!(
                            "the records end here, without one that names segment {}",
                            next.base
                        );
                        run.report.damaged(&path, end, what);
                    }
                }
                Ending::Sealed(at, next) => {
                    let there = later.iter().any(|one| one.base == next)
                        || self.path(next).exists()
                        || self.may_be_torn(segment.base, at);
                    let between = later
                        .iter()
                        .find(|one| one.base < next && one.records > 0)
                        .map(|one| one.base);
                    if !there {
                        let what = "the segment that the one before names is missing";
                        run.report.damaged(&self.path(next), 0, what);
                    } else if let Some(base) = between {
                        let what =
                            format!("it names segment {next}, but segment {base} has records");
                        run.report.damaged(&path, at, what);
                    }
                }
                Ending::Damaged | Ending::Torn => {}
            }
        }
    }

    /// What the durable mark speaks of must be there.
    fn check_mark(&self, run: &mut Run<'_>, seen: &[Seen]) {
        let Some(mark) = self.reserve.filter(|r| r.mark_segment != NONE) else {
            return;
        };
        let path = self.path(mark.mark_segment);
        match seen.iter().find(|one| one.base == mark.mark_segment) {
            None if !path.exists() => {
                let what = "the segment in which the durable mark lies is missing";
                run.report.damaged(&path, 0, what);
            }
            Some(Seen {
                ending: Ending::Open(end),
                ..
            }) if *end < mark.mark_position => {
                let what = format!(
                    "the records end here, but those up to byte {} were on disk",
                    mark.mark_position
                );
                run.report.damaged(&path, *end, what);
            }
            _ => {}
        }
    }

    /// No offset may be in the log that the reserve has not covered. Read again, after the records:
    /// it is raised before offsets are used.
    fn check_limit(&self, run: &mut Run<'_>) -> Result<()> {
        if self.next == 0 {
            return Ok(());
        }
        let path = self.plan.folder.join(names::RESERVE);
        let last = self.next - 1;
        match look_at_reserve(run, self.plan, false)? {
            Some(now) if now.limit < self.next => {
                let what = format!("offsets below {} are covered, {last} is in use", now.limit);
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
