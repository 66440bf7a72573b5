//! Checking every byte of a store.

use std::path::{Path, PathBuf};

use super::{files, segments};
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::{Header, MESSAGE};
use crate::format::window::{CAPACITY_MIN, MAGIC, Parts, header};
use crate::format::{names, u64_at};
use crate::group::checksum;
use crate::storage::Storage;

/// Bytes that are not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub file: PathBuf,
    /// Where in it.
    pub position: u64,
    /// What is wrong there.
    pub what: String,
}

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Files that were looked at.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Topics.
    pub topics: u64,
    /// Groups.
    pub groups: u64,
    /// Whole messages.
    pub messages: u64,
    /// All that is damaged, in order of file and position.
    pub damage: Vec<Damage>,
}

/// The report while it is made.
pub(super) struct Findings<'a> {
    report: Report,
    done: u64,
    total: u64,
    progress: &'a mut dyn FnMut(u64, u64),
}

impl Findings<'_> {
    pub(super) fn damage(&mut self, file: &Path, position: u64, what: String) {
        self.report.damage.push(Damage {
            file: file.to_owned(),
            position,
            what,
        });
    }

    /// So many bytes more were looked at.
    pub(super) fn advance(&mut self, bytes: u64) {
        const STEP: u64 = 1 << 20;
        let before = self.done;
        self.done = (self.done + bytes).min(self.total);
        if before / STEP != self.done / STEP {
            (self.progress)(self.done, self.total);
        }
    }

    /// A whole record.
    pub(super) fn count(&mut self, header: &Header, length: u32) {
        self.advance(u64::from(length));
        self.report.messages += u64::from(header.kind == MESSAGE);
    }

    /// Goes on after an error about one file; others, of the disk, end the check.
    fn pass(&mut self, file: &Path, checked: Result<()>) -> Result<()> {
        match checked {
            Err(error) if matches!(error.kind(), ErrorKind::Damaged | ErrorKind::Incompatible) => {
                self.damage(file, 0, error.message().to_owned());
                Ok(())
            }
            other => other,
        }
    }
}

/// Checks every byte of the store in a folder: every checksum, and that offsets rise. `progress` is
/// told now and then how many bytes are done, of how many.
///
/// The store is not joined and never written, and may be in use. A tail that a power loss tore, and
/// that the next open cuts, is no damage. Errors with [`ErrorKind::NotAStore`] or
/// [`ErrorKind::NotFound`] where there is no store, and with those of the disk.
pub fn verify(folder: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<Report> {
    let storage = files::disk();
    let meta = folder.join(names::STORE_META);
    if !storage.exists(&meta)? {
        let kind = if storage.exists(folder)? {
            ErrorKind::NotAStore
        } else {
            ErrorKind::NotFound
        };
        let message = format!(
            "{} holds no store: there is no {}; give the folder of a store",
            folder.display(),
            names::STORE_META
        );
        return Err(Error::new(kind, message));
    }
    let (files, total) = size(&storage, folder)?;
    let mut found = Findings {
        report: Report {
            files,
            bytes: total,
            ..Report::default()
        },
        done: 0,
        total,
        progress,
    };
    let checked = files::meta("store", &meta).map(|_| ());
    found.pass(&meta, checked)?;
    for name in storage.list(&folder.join(names::TOPICS))? {
        let topic = names::topic_folder(folder, &name);
        // A creator that died before this file leaves a folder that the next one fills.
        if storage.exists(&topic.join(names::TOPIC_META))? {
            let checked = check_topic(&topic, &mut found);
            found.pass(&topic.join(names::TOPIC_META), checked)?;
        }
    }
    (found.progress)(total, total);
    let mut report = found.report;
    report
        .damage
        .sort_by(|a, b| (&a.file, a.position).cmp(&(&b.file, b.position)));
    Ok(report)
}

fn size(storage: &dyn Storage, folder: &Path) -> Result<(u64, u64)> {
    let (mut files, mut bytes) = (0, 0);
    for name in storage.list(folder)? {
        let path = folder.join(name);
        match storage.list(&path) {
            Ok(_) => {
                let inside = size(storage, &path)?;
                (files, bytes) = (files + inside.0, bytes + inside.1);
            }
            Err(_) => (files, bytes) = (files + 1, bytes + files::len(&path).unwrap_or(0)),
        }
    }
    Ok((files, bytes))
}

fn field<T>(
    path: &Path,
    fields: &std::collections::BTreeMap<String, String>,
    name: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<T> {
    fields
        .get(name)
        .and_then(|text| parse(text))
        .ok_or_else(|| {
            let message = format!("{}: its {name} is missing or no number", path.display());
            Error::new(ErrorKind::Damaged, message)
        })
}

fn hex(text: &str) -> Option<u64> {
    u64::from_str_radix(text, 16).ok()
}

fn check_topic(topic: &Path, found: &mut Findings<'_>) -> Result<()> {
    let path = topic.join(names::TOPIC_META);
    let fields = files::meta("topic", &path)?;
    let uid = field(&path, &fields, "id", hex)?;
    let partitions: u32 = field(&path, &fields, "partitions", |text| text.parse().ok())?;
    found.report.topics += 1;
    let storage = files::disk();
    for number in 0..partitions {
        let folder = names::partition_folder(topic, number);
        if storage.exists(&folder)? {
            segments::check(&folder, uid, number, found)?;
        } else {
            found.damage(&folder, 0, "the partition's folder is missing".to_owned());
        }
    }
    for name in storage.list(&topic.join(names::GROUPS))? {
        let group = names::group_folder(topic, &name);
        let path = group.join(names::GROUP_META);
        if storage.exists(&path)? {
            let checked = check_group(&group, &path, partitions, found);
            found.pass(&path, checked)?;
        }
    }
    Ok(())
}

fn check_group(group: &Path, meta: &Path, partitions: u32, found: &mut Findings<'_>) -> Result<()> {
    let fields = files::meta("group", meta)?;
    let uid = field(meta, &fields, "id", hex)?;
    let limit: u32 = field(meta, &fields, "window", |text| text.parse().ok())?;
    found.report.groups += 1;
    for number in 0..partitions {
        let path = group.join(names::window(number));
        if files::disk().exists(&path)?
            && let Some((position, what)) = check_window(&path, uid, number, limit)?
        {
            found.damage(&path, position, what);
        }
    }
    Ok(())
}

/// What is wrong with a window, and where.
fn check_window(path: &Path, group: u64, number: u32, limit: u32) -> Result<Option<(u64, String)>> {
    let bytes = files::head(path, usize::MAX)?;
    let parts = Parts::of(limit);
    if bytes.len() < header::WORDS * 8 || u64_at(&bytes, 0) == 0 {
        // Its creator died before the magic word, which is the last; the next opening goes on.
        return Ok(None);
    }
    let head = |word: usize| u64_at(&bytes, word * 8);
    let wanted = [
        ("magic", header::MAGIC, MAGIC),
        (
            "version",
            header::VERSION,
            u64::from(crate::format::VERSION),
        ),
        ("group", header::GROUP, group),
        ("partition", header::PARTITION, u64::from(number)),
        ("limit", header::LIMIT, u64::from(limit)),
    ];
    for (name, word, wanted) in wanted {
        if head(word) != wanted {
            let what = format!("its {name} is {:#x}, expected {wanted:#x}", head(word));
            return Ok(Some((word as u64 * 8, what)));
        }
    }
    let capacity = head(header::CAPACITY);
    let fits = capacity.is_power_of_two()
        && (CAPACITY_MIN..=parts.most as u64).contains(&capacity)
        && bytes.len() as u64 >= parts.bytes(capacity);
    if !fits {
        let what = format!(
            "a capacity of {capacity} entries does not fit its {} bytes",
            bytes.len()
        );
        return Ok(Some((header::CAPACITY as u64 * 8, what)));
    }
    let (floor, next) = (head(header::FLOOR), head(header::NEXT));
    if floor > next || next - floor > capacity {
        let what = format!("it spans offsets {floor} to {next} with {capacity} entries");
        return Ok(Some((header::FLOOR as u64 * 8, what)));
    }
    if head(header::CLEAN) != 0 {
        let entries = |word: usize| u64_at(&bytes, parts.entries + word * 8);
        let sum = u64::from(checksum(&head, &entries));
        if sum != head(header::CRC) {
            let what = format!(
                "its checksum is {sum:#010x}, expected {:#010x}",
                head(header::CRC)
            );
            return Ok(Some((header::CRC as u64 * 8, what)));
        }
    }
    Ok(None)
}
