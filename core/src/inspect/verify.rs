//! Checking all of a store that carries a message or a position.

use std::collections::HashMap;
use std::path::Path;
use std::rc::Rc;

use super::entries::InLog;
use super::ledgers::Whose;
use super::letters::Letters;
use super::log::Log;
use super::plan::{GroupPlan, Listed, PartitionPlan, Plan, TopicPlan, name_of, named};
use super::text::{self, Fields};
use super::window::{self, Expected};
use super::{Report, Wrong, cached, journal, partition, snapshot};
use crate::error::{ErrorKind, Result};
use crate::format::names;
use crate::group::Policy;
use crate::options::TopicConfig;
use crate::storage::{Disk, Storage};
use crate::store::{GroupMeta, parse_group_meta, parse_topic_meta};

/// Progress is told at most once for so many bytes.
const STEP: u64 = 1 << 20;

/// Checks every byte that carries a message or a position in the store of a folder, without joining
/// it or changing anything, lists all damage by file and position, and says of each partition which
/// messages can be read: those that [`recover`](super::recover) would copy. So it does of what
/// tells of messages that were sent under dedup ids and by producers. `progress` is called
/// now and then with how many bytes of how many are done; an error that it returns ends the check
/// and is returned.
///
/// What is behind the end of a log and between its records, what is derived in a window, and what
/// is made anew by whoever opens the store carries nothing and is passed over;
/// `core/docs/format.md` lists it. A window is under a checksum from a clean close to the next
/// open; of one that was in use when everyone died each entry is checked by itself, against the log
/// and against the counters.
///
/// The end that a crash left is not damage: recovery takes care of it. A store that is in use may
/// be checked; what is sent meanwhile may or may not be looked at.
///
/// # Errors
/// [`ErrorKind::NotFound`] and [`ErrorKind::NotAStore`] if there is no store,
/// [`ErrorKind::Incompatible`] if another version wrote it, [`ErrorKind::PermissionDenied`] if a
/// file may not be read. Damage is no error but in the report, also bytes that the disk refuses to
/// read.
///
/// # Examples
/// ```
/// # let folder = std::env::temp_dir().join(format!("libqueue-verify-{}", std::process::id()));
/// # let store = libqueue::Store::open(&folder, libqueue::StoreOptions::default())?;
/// # store.close()?;
/// let report = libqueue::inspect::verify(&folder, &mut |done, total| {
///     assert!(done <= total);
///     Ok(())
/// })?;
/// for damage in &report.damage {
///     println!("{} at byte {}: {}", damage.file.display(), damage.position, damage.what);
/// }
/// assert!(report.is_intact());
/// # std::fs::remove_dir_all(folder).ok();
/// # Ok::<(), libqueue::Error>(())
/// ```
pub fn verify(path: &Path, progress: &mut Progress<'_>) -> Result<Report> {
    let plan = Plan::of(path)?;
    let mut run = Run::begin(&plan, progress)?;
    run.store(path, &plan)?;
    let mut letters = Letters::default();
    for topic in &plan.topics {
        let before = run.report.damage.len();
        let meta = run.topic_meta(topic)?;
        let id = meta.as_ref().map(|(id, _)| *id).or(topic.id);
        let partitions = meta.map(|(_, config)| u64::from(config.partitions));
        let mut logs = HashMap::new();
        for one in &topic.partitions {
            if partitions.is_some_and(|count| u64::from(one.number) >= count) {
                run.skip_partition(one)?;
                continue;
            }
            let log = partition::look(&mut run, topic, one, &mut |path, bytes, place, header| {
                letters.meet(&topic.name, path, bytes, place, header)
            })?;
            logs.insert(one.number, log);
        }
        let logs = Rc::new(logs);
        for group in &topic.groups {
            let meta = run.group_meta(group, partitions)?;
            run.windows(topic, group, meta.as_ref(), partitions, &|number| {
                logs.get(&number)
            })?;
            if let Some(meta) = &meta {
                letters.group(topic, group, meta, &logs);
            }
        }
        run.ledgers(topic, Whose::of(id, partitions))?;
        if is_deleted_topic(topic)? {
            // Files that were listed went while they were looked at.
            run.report.damage.truncate(before);
        }
    }
    letters.check(&mut run)?;
    run.end()
}

/// Is told how many bytes of how many are done; an error ends the check.
pub type Progress<'a> = dyn FnMut(u64, u64) -> Result<()> + 'a;

/// Gives what was found of a partition's log, if it was looked at.
pub(super) type LogOf<'a> = &'a dyn Fn(u32) -> Option<&'a Log>;

/// A check that is under way.
pub(super) struct Run<'a> {
    pub(super) report: Report,
    progress: &'a mut Progress<'a>,
    done: u64,
    told: u64,
    total: u64,
    stopped: bool,
    /// Another version's meta file is an error only if it is whole.
    pub(super) lenient: bool,
    /// What stands behind the place where a power loss tore a log is looked at as well.
    pub(super) beyond: bool,
}

impl<'a> Run<'a> {
    /// Begins with what was listed.
    pub(super) fn begin(plan: &Plan, progress: &'a mut Progress<'a>) -> Result<Self> {
        let all = plan.all();
        let total = all.iter().map(|listed| listed.len).sum();
        let report = Report {
            files: all.len() as u64,
            bytes: total,
            unknown: plan.unknown.clone(),
            ..Report::default()
        };
        progress(0, total)?;
        Ok(Self {
            report,
            progress,
            done: 0,
            told: 0,
            total,
            stopped: false,
            lenient: false,
            beyond: false,
        })
    }

    /// All was looked at.
    pub(super) fn end(self) -> Result<Report> {
        (self.progress)(self.total, self.total)?;
        Ok(self.report)
    }

    /// Hands something on; an error of whoever takes it ends the check.
    pub(super) fn hand_over(&mut self, take: impl FnOnce() -> Result<()>) -> Result<()> {
        let taken = take();
        self.stopped |= taken.is_err();
        taken
    }

    /// Bytes that are done.
    pub(super) fn done(&self) -> u64 {
        self.done
    }

    /// Whether `progress` ended the check.
    pub(super) fn stopped(&self) -> bool {
        self.stopped
    }

    /// So many bytes are done.
    pub(super) fn at(&mut self, done: u64) -> Result<()> {
        self.done = done.clamp(self.done, self.total);
        if self.done >= self.told + STEP {
            self.told = self.done;
            let told = (self.progress)(self.done, self.total);
            self.stopped = told.is_err();
            return told;
        }
        Ok(())
    }

    /// A file that began at `began` is done.
    pub(super) fn finish(&mut self, listed: &Listed, began: u64) -> Result<()> {
        self.at(began + listed.len)
    }

    /// A file whose bytes mean nothing is done.
    pub(super) fn pass(&mut self, listed: &Listed) -> Result<()> {
        self.at(self.done + listed.len)
    }

    /// A partition that the topic does not have is done.
    pub(super) fn skip_partition(&mut self, plan: &PartitionPlan) -> Result<()> {
        plan.files().try_for_each(|listed| self.pass(listed))
    }

    /// All but the own files of a folder that is no topic's are done.
    pub(super) fn skip_topic(&mut self, plan: &TopicPlan) -> Result<()> {
        for partition in &plan.partitions {
            self.skip_partition(partition)?;
        }
        let of_groups = plan.groups.iter().flat_map(|group| &group.files);
        let of_ledgers = plan.ledgers.iter().flat_map(|ledger| &ledger.files);
        let mut files = of_groups.chain(of_ledgers);
        files.try_for_each(|listed| self.pass(listed))
    }

    pub(super) fn report_all(&mut self, path: &Path, wrong: Vec<Wrong>) {
        for (place, what) in wrong {
            self.report.damaged(path, place, what);
        }
    }

    /// Looks at one small file.
    pub(super) fn look_at(
        &mut self,
        listed: &Listed,
        look: impl FnOnce(&Path) -> Result<Vec<Wrong>>,
    ) -> Result<()> {
        let wrong = look(&listed.path);
        self.pass(listed)?;
        match wrong {
            Ok(wrong) => self.report_all(&listed.path, wrong),
            // Replaced or removed since it was listed, as a control file is.
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            // What cannot be read is told of, and the rest looked at.
            Err(e) if matches!(e.kind(), ErrorKind::Io | ErrorKind::PermissionDenied) => {
                self.report.damaged(&listed.path, 0, e.message());
            }
            Err(e) => return Err(e),
        }
        Ok(())
    }

    /// Looks at a meta file, whose fields `parse` understands.
    pub(super) fn meta<T>(
        &mut self,
        kind: &str,
        listed: &Listed,
        parse: impl Fn(&Fields) -> std::result::Result<T, String>,
    ) -> Result<Option<T>> {
        let (mut parsed, lenient) = (None, self.lenient);
        self.look_at(listed, |path| {
            let (fields, mut wrong) = match text::look(kind, path, &[]) {
                Err(e) if e.kind() == ErrorKind::Incompatible && lenient && !text::whole(path)? => {
                    return Ok(vec![(0, "its checksum is wrong".to_owned())]);
                }
                looked => looked?,
            };
            if !fields.is_empty() {
                match parse(&fields) {
                    Ok(found) => parsed = Some(found),
                    Err(what) => wrong.push((0, what)),
                }
            }
            Ok(wrong)
        })?;
        Ok(parsed)
    }

    /// The files of the store's own folder; its id.
    pub(super) fn store(&mut self, path: &Path, plan: &Plan) -> Result<Option<String>> {
        let mut id = None;
        for listed in &plan.files {
            match name_of(&listed.path).as_str() {
                names::STORE_META => id = self.meta("store", listed, store_id)?,
                names::CONTROL => self.look_at(listed, cached::look_at_control)?,
                names::TRANSACTIONS => self.look_at(listed, journal::look)?,
                names::LOCK if listed.len > 0 => {
                    let what = format!("it has {} bytes, expected none", listed.len);
                    self.report.damaged(&listed.path, 0, what);
                    self.pass(listed)?;
                }
                _ => self.pass(listed)?,
            }
        }
        if named(&plan.files, names::STORE_META).is_none() {
            let what = "it is missing, and with it the store's id";
            self.report.damaged(&path.join(names::STORE_META), 0, what);
        }
        Ok(id)
    }

    /// A topic's own files: its id and configuration.
    pub(super) fn topic_meta(&mut self, topic: &TopicPlan) -> Result<Option<(u64, TopicConfig)>> {
        let (mut found, mut there) = (None, false);
        for listed in &topic.files {
            if name_of(&listed.path) == names::TOPIC_META {
                there = true;
                self.report.topics += 1;
                found = self.meta("topic", listed, parse_topic_meta)?;
            } else {
                self.pass(listed)?;
            }
        }
        // A topic whose creator died has no messages yet.
        if !there && topic.is_one() {
            let what = "it is missing, but the topic has messages";
            self.report
                .damaged(&topic.folder.join(names::TOPIC_META), 0, what);
        }
        let Some((_, config)) = &found else {
            return Ok(None);
        };
        for number in 0..config.partitions {
            let folder = names::partition_folder(&topic.folder, number);
            if !folder.is_dir() {
                self.report
                    .damaged(&folder, 0, "the partition's folder is missing");
            }
        }
        for one in &topic.partitions {
            let empty = one.segments.is_empty() && one.strangers.is_empty();
            if one.number >= config.partitions && !empty {
                let what = format!(
                    "it has messages; the topic has {} partitions",
                    config.partitions
                );
                self.report.damaged(&one.folder, 0, what);
            }
        }
        Ok(found)
    }

    /// A group's configuration.
    pub(super) fn group_meta(
        &mut self,
        group: &GroupPlan,
        partitions: Option<u64>,
    ) -> Result<Option<GroupMeta>> {
        let Some(listed) = named(&group.files, names::GROUP_META) else {
            return Ok(None);
        };
        if is_deleted(group)? {
            self.pass(listed)?;
            return Ok(None);
        }
        // A redrive lane is part of its group.
        let partitions = match names::is_reserved(&group.name) {
            true => Some(1),
            false => {
                self.report.groups += 1;
                partitions
            }
        };
        self.meta("group", listed, |fields| {
            let meta = parse_group_meta(fields)?;
            let (starts, wanted) = (meta.starts.len() as u64, partitions);
            match wanted.filter(|wanted| *wanted != starts) {
                Some(wanted) => Err(format!(
                    "it has starts for {starts} partitions, the topic has {wanted}"
                )),
                None => Ok(meta),
            }
        })
    }

    /// A group's windows.
    pub(super) fn windows(
        &mut self,
        topic: &TopicPlan,
        group: &GroupPlan,
        meta: Option<&GroupMeta>,
        partitions: Option<u64>,
        log_of: LogOf<'_>,
    ) -> Result<()> {
        if is_deleted(group)? {
            let of_windows = |listed: &&Listed| name_of(&listed.path) != names::GROUP_META;
            return group
                .files
                .iter()
                .filter(of_windows)
                .try_for_each(|listed| self.pass(listed));
        }
        let path = group.folder.join(names::GROUP_META);
        let lane = names::is_reserved(&group.name);
        let partitions = if lane { Some(1) } else { partitions };
        let mut used = false;
        for listed in &group.files {
            let name = name_of(&listed.path);
            if let Some(partition) = names::parse_window(&name) {
                used |= window::was_used(&listed.path).unwrap_or(false);
                let folder = names::partition_folder(&topic.folder, partition);
                let expected = Expected {
                    group: meta.map(|meta| meta.id),
                    partition,
                    limit: meta.map(|meta| u64::from(meta.config.window)),
                    reserve: folder.join(names::RESERVE),
                };
                let plan = topic.partitions.iter().find(|one| one.number == partition);
                let log = log_of(partition).zip(plan).map(|(log, plan)| InLog {
                    segments: &plan.segments,
                    readable: &log.readable,
                    // A lane goes by the configuration of its group.
                    policy: meta.map(|meta| Policy::of(&meta.config)).filter(|_| !lane),
                    lane,
                });
                self.look_at(listed, |path| window::look(path, &expected, log.as_ref()))?;
            } else if names::parse_snapshot(&name).is_some() && !lane {
                let whose = snapshot::Whose {
                    group: meta.map(|meta| meta.id),
                    partitions,
                };
                self.look_at(listed, |path| snapshot::look(path, whose))?;
            } else if name != names::GROUP_META {
                self.pass(listed)?;
            }
        }
        let named = named(&group.files, names::GROUP_META).is_some();
        // A group whose creator is at it, or died, has windows that nobody used.
        if used && !named && !Disk.exists(&path)? {
            let what = "it is missing, but the group has windows that were in use";
            self.report.damaged(&path, 0, what);
        }
        // Windows are made before `group.meta`; those of a group just being made may not be listed.
        for number in 0..partitions.filter(|_| named).unwrap_or(0) {
            let window = group.folder.join(names::window(number as u32));
            if !Disk.exists(&window)? {
                let what = "it is missing, and with it the group's position";
                self.report.damaged(&window, 0, what);
            }
        }
        Ok(())
    }
}

/// Whether the topic was deleted since it was listed.
fn is_deleted_topic(topic: &TopicPlan) -> Result<bool> {
    Ok(!Disk.exists(&topic.folder)? || Disk.exists(&topic.folder.join(names::TOPIC_DELETED))?)
}

/// Whether the group was deleted, also just now.
pub(super) fn is_deleted(group: &GroupPlan) -> Result<bool> {
    let listed = |name| named(&group.files, name).is_some();
    let there = |name| Disk.exists(&group.folder.join(name));
    Ok(listed(names::GROUP_DELETED)
        || there(names::GROUP_DELETED)?
        || (listed(names::GROUP_META) && !there(names::GROUP_META)?))
}

fn store_id(fields: &Fields) -> std::result::Result<String, String> {
    let id = fields.get("id").ok_or("it has no id")?;
    let digits = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    let expected = || format!("its id is {id:?}, expected 32 hexadecimal digits");
    digits.then(|| id.clone()).ok_or_else(expected)
}
