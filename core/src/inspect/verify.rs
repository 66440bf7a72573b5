//! Checking every byte of a store.

use std::path::Path;

use super::plan::{GroupPlan, Listed, Plan, TopicPlan, name_of, named};
use super::text::{self, Fields};
use super::window::{self, Expected};
use super::{Report, Wrong, cached, partition};
use crate::error::{ErrorKind, Result};
use crate::format::names;
use crate::storage::{Disk, Storage};

const TOPIC_FIELDS: [&str; 4] = ["id", "partitions", "max_message_bytes", "durability"];
const GROUP_FIELDS: [&str; 9] = [
    "id",
    "ordering",
    "lease_us",
    "max_attempts",
    "backoff_first_us",
    "backoff_longest_us",
    "backoff_factor",
    "dead_letter_topic",
    "window",
];

/// Progress is told at most once for so many bytes.
const STEP: u64 = 1 << 20;

/// Checks every byte of the store in a folder, without joining it or changing anything, and lists
/// all damage by file and position. `progress` is called now and then with how many bytes of how
/// many are done; an error that it returns ends the check and is returned.
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
    let all = plan.all();
    let total = all.iter().map(|listed| listed.len).sum();
    let mut run = Run {
        report: Report {
            files: all.len() as u64,
            bytes: total,
            ..Report::default()
        },
        progress,
        done: 0,
        told: 0,
        total,
        stopped: false,
    };
    (run.progress)(0, total)?;
    for listed in &plan.files {
        match name_of(&listed.path).as_str() {
            names::STORE_META => {
                run.meta("store", listed, &["id"])?;
            }
            names::CONTROL => run.look_at(listed, cached::look_at_control)?,
            _ => run.pass(listed)?,
        }
    }
    for topic in &plan.topics {
        run.topic(topic)?;
    }
    (run.progress)(total, total)?;
    Ok(run.report)
}

/// Is told how many bytes of how many are done; an error ends the check.
pub type Progress<'a> = dyn FnMut(u64, u64) -> Result<()> + 'a;

/// A check that is under way.
pub(super) struct Run<'a> {
    pub(super) report: Report,
    progress: &'a mut Progress<'a>,
    done: u64,
    told: u64,
    total: u64,
    stopped: bool,
}

impl Run<'_> {
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

    fn meta(&mut self, kind: &str, listed: &Listed, needed: &[&str]) -> Result<Fields> {
        let mut fields = Fields::new();
        self.look_at(listed, |path| {
            let (found, wrong) = text::look(kind, path, needed)?;
            fields = found;
            Ok(wrong)
        })?;
        Ok(fields)
    }

    fn topic(&mut self, topic: &TopicPlan) -> Result<()> {
        let mut fields = None;
        for listed in &topic.files {
            if name_of(&listed.path) == names::TOPIC_META {
                fields = Some(self.meta("topic", listed, &TOPIC_FIELDS)?);
            } else {
                self.pass(listed)?;
            }
        }
        let written = topic.partitions.iter().any(|one| !one.segments.is_empty());
        let path = topic.folder.join(names::TOPIC_META);
        match &fields {
            Some(fields) => {
                self.report.topics += 1;
                let count = text::number(fields, "partitions").unwrap_or(0);
                for number in 0..u32::try_from(count).unwrap_or(0) {
                    if !topic.partitions.iter().any(|one| one.number == number) {
                        let folder = names::partition_folder(&topic.folder, number);
                        self.report
                            .damaged(&folder, 0, "the partition's folder is missing");
                    }
                }
            }
            // A topic whose creator died has no messages yet.
            None if written => {
                let what = "it is missing, but the topic has messages";
                self.report.damaged(&path, 0, what);
            }
            None => {}
        }
        let id = fields.as_ref().and_then(text::id);
        let partitions = fields.as_ref().and_then(|f| text::number(f, "partitions"));
        for one in &topic.partitions {
            partition::look(self, one, id)?;
        }
        for group in &topic.groups {
            self.group(group, partitions)?;
        }
        Ok(())
    }

    fn group(&mut self, group: &GroupPlan, partitions: Option<u64>) -> Result<()> {
        let path = group.folder.join(names::GROUP_META);
        let fields = match named(&group.files, names::GROUP_META) {
            Some(listed) => {
                self.report.groups += 1;
                self.meta("group", listed, &GROUP_FIELDS)?
            }
            None => Fields::new(),
        };
        let mut used = false;
        for listed in &group.files {
            let name = name_of(&listed.path);
            if let Some(partition) = names::parse_window(&name) {
                used |= window::was_used(&listed.path)?;
                let expected = Expected {
                    group: text::id(&fields),
                    partition,
                    limit: text::number(&fields, "window"),
                };
                self.look_at(listed, |path| window::look(path, &expected))?;
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
