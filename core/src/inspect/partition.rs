//! One partition: every record of every segment, and which offsets can be read.

use std::ops::Range;
use std::path::{Path, PathBuf};

use super::bytes::Bytes;
use super::log::{Log, Reserved};
use super::message;
use super::plan::{PartitionPlan, TopicPlan};
use super::records::{Bounds, Item, Records};
use super::verify::Run;
use super::{PartitionReport, opened, ranges};
use crate::error::{ErrorKind, Result};
use crate::format::names;
use crate::format::record::{END, Header, MESSAGE, MORE, PADDING, RESERVED};

/// No segment.
pub(super) const NONE: u64 = u64::MAX;

/// Is given each whole message in the order of offsets: its file, position and header.
pub(super) type Take<'a> = dyn FnMut(&Path, &mut Bytes, u64, &Header) -> Result<()> + 'a;

/// How the records of a segment end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
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
pub(super) struct Seen {
    pub(super) base: u64,
    pub(super) path: PathBuf,
    pub(super) records: u64,
    pub(super) ending: Ending,
}

/// A partition that is being looked at.
pub(super) struct Partition<'a> {
    pub(super) plan: &'a PartitionPlan,
    pub(super) reserved: Reserved,
    pub(super) log: Log,
    pub(super) seen: Vec<Seen>,
    /// The first damage since the last record that was whole: what it costs is known at the next.
    cause: Option<usize>,
    /// What an END record named that was not met yet: where that is, and the base.
    pub(super) named: Option<(PathBuf, u64, u64)>,
    /// Timestamp of the last record.
    timestamp_ns: i64,
    /// What stands behind the place where a power loss tore the log is looked at as well.
    beyond: bool,
}

/// Looks at a partition; gives its whole messages to `take`.
pub(super) fn look(
    run: &mut Run<'_>,
    topic: &TopicPlan,
    plan: &PartitionPlan,
    take: &mut Take<'_>,
) -> Result<Log> {
    // Before the records: the log only grows, so what the mark says now stands for all of the walk.
    let reserved = Reserved::of(run, topic, plan)?;
    let mut partition = Partition {
        plan,
        reserved,
        log: Log::default(),
        seen: Vec::new(),
        cause: None,
        named: None,
        timestamp_ns: i64::MIN,
        beyond: run.beyond,
    };
    for (place, segment) in plan.segments.iter().enumerate() {
        if segment.base < partition.reserved.taken {
            // Of what retention took any part may still be there: nobody reads it.
            run.pass(&segment.listed)?;
            continue;
        }
        let torn = |last: &Seen| last.ending == Ending::Torn;
        if partition.seen.last().is_some_and(torn) {
            run.pass(&segment.listed)?;
            continue;
        }
        if let Some(what) = &segment.misplaced {
            run.report.damaged(&segment.listed.path, 0, what.clone());
        }
        partition.enter(run, segment);
        partition.segment(run, place, take)?;
    }
    for stranger in &plan.strangers {
        let what = match &stranger.misplaced {
            Some(what) => format!("{what}; there is no place for it, so it is not read"),
            None => "its header is damaged".to_owned(),
        };
        run.report.damaged(&stranger.listed.path, 0, what);
        run.pass(&stranger.listed)?;
    }
    partition.end(run)?;
    for listed in &plan.indexes {
        let segments = &plan.segments;
        run.look_at(listed, |path| super::cached::look_at_index(path, segments))?;
    }
    plan.others.iter().try_for_each(|listed| run.pass(listed))?;
    run.report.partitions.push(PartitionReport {
        topic: topic.name.clone(),
        partition: plan.number,
        messages: partition.log.messages,
        readable: partition.log.readable.clone(),
        lost: partition.log.lost.clone(),
    });
    Ok(partition.log)
}

impl Partition<'_> {
    pub(super) fn path(&self, base: u64) -> PathBuf {
        let mut segments = self.plan.segments.iter();
        let found = segments.find(|one| one.base == base);
        found.map_or_else(
            || self.plan.folder.join(names::segment(base)),
            |one| one.listed.path.clone(),
        )
    }

    /// Whether a place lies behind what was on disk for sure when the host went down.
    pub(super) fn may_be_torn(&self, base: u64, position: u64) -> bool {
        let mark = self.reserved.newest;
        let mark = mark.map(|r| (r.mark_segment, r.mark_position));
        self.reserved.lost
            && !self.beyond
            && mark.is_none_or(|(at, end)| at == NONE || (base, position) >= (at, end))
    }

    /// Reports damage that may cost the offsets up to the next whole record.
    pub(super) fn damaged(&mut self, run: &mut Run<'_>, path: &Path, at: u64, what: String) {
        if self.beyond && self.reserved.lost {
            self.log.torn.get_or_insert_with(|| (path.to_owned(), at));
        }
        self.cause.get_or_insert(run.report.damage.len());
        run.report.damaged(path, at, what);
    }

    /// What stands behind damage begins with this offset.
    pub(super) fn arrive(&mut self, run: &mut Run<'_>, offset: u64) {
        let gone = self.log.next..offset;
        if let Some(cause) = self.cause.take()
            && !gone.is_empty()
        {
            ranges::add(&mut self.log.lost, gone.clone());
            run.report.damage[cause].lost = Some(gone);
        }
        self.log.next = self.log.next.max(offset);
    }

    /// Whether damage was met since the last whole record.
    pub(super) fn is_behind_damage(&self) -> bool {
        self.cause.is_some()
    }

    fn segment(&mut self, run: &mut Run<'_>, place: usize, take: &mut Take<'_>) -> Result<()> {
        let plan = self.plan;
        let segment = &plan.segments[place];
        let (began, path) = (run.done(), segment.listed.path.clone());
        self.seen.push(Seen {
            base: segment.base,
            path: path.clone(),
            records: 0,
            ending: Ending::Damaged,
        });
        let looked = self.records(run, place, take);
        if run.stopped() {
            return looked;
        }
        run.finish(&segment.listed, began)?;
        match looked {
            Err(e) if matches!(e.kind(), ErrorKind::Io | ErrorKind::PermissionDenied) => {
                self.ends(Ending::Damaged);
                self.damaged(run, &path, 0, e.message().to_owned());
                Ok(())
            }
            // Removed since it was listed: by retention, or by a recovery.
            Err(e) if e.kind() == ErrorKind::NotFound => {
                if self.taken_by_now()? > segment.base {
                    self.seen.pop();
                } else {
                    self.ends(Ending::Torn);
                }
                Ok(())
            }
            looked => looked,
        }
    }

    fn ends(&mut self, ending: Ending) {
        if let Some(last) = self.seen.last_mut() {
            last.ending = ending;
        }
    }

    /// What is known before of the records of a segment.
    fn bounds(&self, place: usize) -> Bounds {
        let segments = &self.plan.segments;
        let (base, later) = (segments[place].base, &segments[place + 1..]);
        let mark = self.reserved.newest.filter(|r| r.mark_segment == base);
        let exact = self.reserved.is_end_known() && later.is_empty();
        let closed = later.iter().any(|one| one.filled);
        let torn_from = match self.reserved.newest {
            Some(mark) if mark.mark_segment == base => mark.mark_position,
            _ => 0,
        };
        Bounds {
            from: self.log.next,
            below: later.first().map_or(u64::MAX, |next| next.base),
            filled_to: match mark {
                _ if closed => u64::MAX,
                Some(mark) => mark.mark_position,
                None => 0,
            },
            end: mark
                .filter(|_| exact)
                .map_or(u64::MAX, |mark| mark.mark_position),
            beyond: self.beyond && self.reserved.lost,
            whole_to: match self.may_be_torn(base, torn_from) {
                true => torn_from,
                false => u64::MAX,
            },
        }
    }

    fn records(&mut self, run: &mut Run<'_>, place: usize, take: &mut Take<'_>) -> Result<()> {
        let (segment, bounds) = (&self.plan.segments[place], self.bounds(place));
        let (base, path) = (segment.base, &segment.listed.path);
        let opened = opened::open(path, base, bounds)?;
        if !opened.wrong.is_empty() && self.may_be_torn(base, 0) {
            self.ends(Ending::Torn);
            return Ok(());
        }
        let Some(mut records) = opened.records else {
            for (place, what) in opened.wrong {
                self.damaged(run, path, place, what);
            }
            return Ok(());
        };
        // Of a header page that is damaged the records may be whole.
        run.report_all(path, opened.wrong);
        let (began, mut batch) = (run.done(), Vec::new());
        while let Some(item) = records.next()? {
            run.at(began + records.position())?;
            let ending = match item {
                Item::Record {
                    position, header, ..
                } => {
                    batch.push((position..records.position(), header));
                    let more = header.kind == MESSAGE && header.flags & MORE != 0;
                    if more && self.may_be_torn(base, position) {
                        continue;
                    }
                    for (span, header) in batch.drain(..) {
                        self.record(run, base, span.clone(), &header);
                        if header.kind == MESSAGE {
                            self.message(run, path, &mut records, span.start, &header, take)?;
                        }
                    }
                    match header.kind {
                        END => Ending::Sealed(position, header.offset),
                        _ => Ending::Open(records.position()),
                    }
                }
                Item::Nothing { position } | Item::Damaged { position, .. }
                    if !batch.is_empty()
                        || matches!(item, Item::Damaged { .. })
                            && self.may_be_torn(base, position) =>
                {
                    // Of a batch that is not whole recovery cuts all (P2).
                    let from = batch.first().map_or(position, |(span, _)| span.start);
                    self.log.torn = Some((path.clone(), from));
                    self.ends(Ending::Torn);
                    return Ok(());
                }
                Item::Nothing { position } => Ending::Open(position),
                // Somebody came back and sends: the log goes on.
                Item::Damaged { position, .. }
                    if position == bounds.end && self.has_moved_on()? =>
                {
                    Ending::Open(position)
                }
                Item::Damaged { position, what } => {
                    self.damaged(run, path, position, what);
                    Ending::Damaged
                }
            };
            if let Ending::Sealed(position, next) = ending {
                self.named = Some((path.clone(), position, next));
            }
            self.ends(ending);
        }
        Ok(())
    }

    /// A whole message: what is wrong with what it says, and on to who takes it.
    fn message(
        &mut self,
        run: &mut Run<'_>,
        path: &Path,
        records: &mut Records,
        position: u64,
        header: &Header,
        take: &mut Take<'_>,
    ) -> Result<()> {
        let (last, closed) = (self.timestamp_ns, self.reserved.is_end_known());
        if let Some(what) = message::check(&mut records.bytes, position, header, last, closed)? {
            run.report.damaged(path, position, what);
        }
        self.timestamp_ns = last.max(header.timestamp_ns);
        run.hand_over(|| take(path, &mut records.bytes, position, header))
    }

    /// Which offsets a whole record stands for.
    fn record(&mut self, run: &mut Run<'_>, base: u64, span: Range<u64>, header: &Header) {
        self.check_mark_in(run, base, span, header);
        let offset = header.offset;
        self.arrive(run, offset);
        if header.kind == END {
            return;
        }
        let many = match header.kind {
            RESERVED => u64::from(header.payload_len).max(1),
            _ => 1,
        };
        if let Some(last) = self.seen.last_mut() {
            last.records += 1;
        }
        if header.kind == MESSAGE {
            run.report.messages += 1;
            self.log.messages += 1;
            self.log.beyond += u64::from(self.log.torn.is_some());
            ranges::add(&mut self.log.readable, offset..offset + 1);
            self.log.used = offset + 1;
        } else if header.kind == PADDING {
            self.log.used = self.log.used.max(offset + 1);
        }
        self.log.next = offset.saturating_add(many);
    }
}
