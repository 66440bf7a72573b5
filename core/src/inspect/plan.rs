//! Which files a store has, listed before they are looked at, so that progress has a total.

use std::path::{Path, PathBuf};

use super::ledgers::LedgerPlan;
use super::{opened, placing, unknown};
use crate::error::{Error, ErrorKind, Result};
use crate::format::names;
use crate::format::segment::SegmentHeader;
use crate::storage::{Access, Disk, Storage};

const NOT_A_FOLDER: i32 = 20;

/// A segment's file.
pub(super) struct SegmentPlan {
    /// The offset of its first record: what its header says, else its name.
    pub(super) base: u64,
    pub(super) listed: Listed,
    pub(super) header: Option<SegmentHeader>,
    /// Whether a record stands in it.
    pub(super) filled: bool,
    /// Why it is not the one that its name and folder say, if so.
    pub(super) misplaced: Option<String>,
}

/// A file and its length when it was listed.
pub(super) struct Listed {
    pub(super) path: PathBuf,
    pub(super) len: u64,
}

/// What was found in the folder of a store.
#[derive(Default)]
pub(super) struct Plan {
    /// Files and folders that have no name of the format; nobody looks into them.
    pub(super) unknown: Vec<PathBuf>,
    /// Files of the store's folder, sorted by name.
    pub(super) files: Vec<Listed>,
    pub(super) topics: Vec<TopicPlan>,
}

/// What was found in a topic's folder.
pub(super) struct TopicPlan {
    pub(super) name: String,
    pub(super) folder: PathBuf,
    /// What `topic.meta` says, else what most segments do.
    pub(super) id: Option<u64>,
    pub(super) files: Vec<Listed>,
    /// By number.
    pub(super) partitions: Vec<PartitionPlan>,
    pub(super) groups: Vec<GroupPlan>,
    /// Of what was sent under dedup ids and by producers.
    pub(super) ledgers: Vec<LedgerPlan>,
}

/// What was found in a partition's folder.
pub(super) struct PartitionPlan {
    pub(super) number: u32,
    pub(super) folder: PathBuf,
    /// By base, those that were found in other folders included.
    pub(super) segments: Vec<SegmentPlan>,
    /// Segments of no topic here, or of which there is another.
    pub(super) strangers: Vec<SegmentPlan>,
    pub(super) indexes: Vec<Listed>,
    pub(super) reserve: Option<Listed>,
    /// The prepared next segment, and temporary files.
    pub(super) others: Vec<Listed>,
}

/// What was found in a group's folder.
pub(super) struct GroupPlan {
    pub(super) name: String,
    pub(super) folder: PathBuf,
    pub(super) files: Vec<Listed>,
}

impl Plan {
    /// Lists a store. [`ErrorKind::NotFound`] or [`ErrorKind::NotAStore`] if it is none.
    pub(super) fn of(store: &Path) -> Result<Self> {
        if !Disk.exists(store)? {
            let message = format!(
                "there is no store at {}; give the folder's path",
                store.display()
            );
            return Err(Error::new(ErrorKind::NotFound, message));
        }
        let not_a_store = |what: &str| {
            let message = format!("{} is not a store: {what}", store.display());
            Error::new(ErrorKind::NotAStore, message)
        };
        let names = folder_names(store)?.ok_or_else(|| {
            not_a_store("it is a file, a store is a folder; to decode it, dump it")
        })?;
        let mut plan = Self {
            files: files_of(store, &names)?,
            ..Self::default()
        };
        let topics = store.join(names::TOPICS);
        for name in folder_names(&topics)?.unwrap_or_default() {
            let folder = topics.join(&name);
            if let Some(names) = folder_names(&folder)?
                && !names.iter().any(|name| name == names::TOPIC_DELETED)
            {
                plan.topics.push(TopicPlan::of(name, folder, &names)?);
            }
        }
        placing::place(&mut plan.topics);
        // Without it what is there may still be copied out.
        let meta = names.iter().any(|name| name == names::STORE_META);
        if !meta && !plan.topics.iter().any(TopicPlan::is_one) {
            let what = format!(
                "it has no {}; give the folder of a store",
                names::STORE_META
            );
            return Err(not_a_store(&what));
        }
        unknown::list(store, &mut plan)?;
        Ok(plan)
    }

    /// All that was listed.
    pub(super) fn all(&self) -> Vec<&Listed> {
        let mut all: Vec<&Listed> = self.files.iter().collect();
        for topic in &self.topics {
            all.extend(&topic.files);
            for partition in &topic.partitions {
                all.extend(partition.files());
            }
            for group in &topic.groups {
                all.extend(&group.files);
            }
            all.extend(topic.ledgers.iter().flat_map(|ledger| &ledger.files));
        }
        all
    }
}

impl TopicPlan {
    /// Whether it is a topic: one whose creator died has no configuration and no messages.
    pub(super) fn is_one(&self) -> bool {
        let filled = |one: &PartitionPlan| !one.segments.is_empty();
        named(&self.files, names::TOPIC_META).is_some() || self.partitions.iter().any(filled)
    }

    fn of(name: String, folder: PathBuf, names: &[String]) -> Result<Self> {
        let mut partitions = Vec::new();
        for name in names {
            let number = names::parse_partition(name);
            let inside = folder.join(name);
            if let (Some(number), Some(names)) = (number, folder_names(&inside)?) {
                partitions.push(PartitionPlan::of(number, inside, &names)?);
            }
        }
        partitions.sort_by_key(|partition| partition.number);
        let mut groups = Vec::new();
        let all = folder.join(names::GROUPS);
        for name in folder_names(&all)?.unwrap_or_default() {
            let inside = all.join(&name);
            if let Some(names) = folder_names(&inside)? {
                let files = files_of(&inside, &names)?;
                groups.push(GroupPlan {
                    name,
                    folder: inside,
                    files,
                });
            }
        }
        let files = files_of(&folder, names)?;
        let id = placing::id_of(&files, &partitions);
        Ok(Self {
            name,
            ledgers: LedgerPlan::all_of(&folder)?,
            folder,
            id,
            files,
            partitions,
            groups,
        })
    }
}

impl PartitionPlan {
    /// One of which nothing was found.
    pub(super) fn empty(number: u32, folder: PathBuf) -> Self {
        Self {
            number,
            folder,
            segments: Vec::new(),
            strangers: Vec::new(),
            indexes: Vec::new(),
            reserve: None,
            others: Vec::new(),
        }
    }

    /// All that was listed.
    pub(super) fn files(&self) -> impl Iterator<Item = &Listed> {
        let segments = self.segments.iter().chain(&self.strangers);
        let others = self.indexes.iter().chain(&self.reserve).chain(&self.others);
        segments.map(|one| &one.listed).chain(others)
    }

    fn of(number: u32, folder: PathBuf, names: &[String]) -> Result<Self> {
        let mut plan = Self::empty(number, folder.clone());
        for listed in files_of(&folder, names)? {
            let name = name_of(&listed.path);
            if let Some(base) = names::parse_segment(&name) {
                // What cannot be read is told of when the rest of it is looked at.
                let (header, filled) = opened::peek(&listed.path).unwrap_or_default();
                plan.segments.push(SegmentPlan {
                    base,
                    listed,
                    header,
                    filled,
                    misplaced: None,
                });
            } else if names::parse_index(&name).is_some() {
                plan.indexes.push(listed);
            } else if name == names::RESERVE {
                plan.reserve = Some(listed);
            } else {
                plan.others.push(listed);
            }
        }
        Ok(plan)
    }
}

/// The last part of a path.
pub(super) fn name_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// The file of that name among these.
pub(super) fn named<'a>(files: &'a [Listed], name: &str) -> Option<&'a Listed> {
    files.iter().find(|listed| name_of(&listed.path) == name)
}

/// The names in a folder; `None` if it is no folder, or gone.
pub(super) fn folder_names(path: &Path) -> Result<Option<Vec<String>>> {
    match Disk.list(path) {
        Ok(names) => Ok(Some(names)),
        Err(e) if e.os_code() == Some(NOT_A_FOLDER) || e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Those of the names that are files still, with their lengths.
pub(super) fn files_of(folder: &Path, names: &[String]) -> Result<Vec<Listed>> {
    let mut files = Vec::new();
    for name in names {
        let path = folder.join(name);
        if path.is_dir() {
            continue;
        }
        match Disk
            .open(&path, Access::Read, 0)
            .and_then(|file| file.len())
        {
            Ok(len) => files.push(Listed { path, len }),
            // Renamed or removed by others since it was listed.
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    Ok(files)
}
