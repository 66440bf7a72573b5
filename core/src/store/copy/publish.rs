//! Topics that were imported get their names.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use super::import::{GroupName, exists};
use crate::error::{Error, ErrorKind, Result};
use crate::format::names;
use crate::shm::Held;
use crate::storage::remove_all;
use crate::store::StoreInner;
use crate::store::group_meta::{dead_letters_of, read_meta as read_group};
use crate::store::topic::read_meta;

/// What there is already.
#[derive(Default)]
pub(super) struct Known {
    ids: HashSet<u64>,
    /// A topic, and one that dead letters of a group of it go to.
    leads: Vec<(String, String)>,
}

impl Known {
    /// What cannot be read has no id that anybody goes by.
    pub(super) fn of(store: &StoreInner) -> Result<Self> {
        let (storage, mut known) = (&*store.env.storage, Self::default());
        let readable = |error: Error| match error.kind() {
            ErrorKind::Io => Err(error),
            _ => Ok(()),
        };
        for topic in storage.list(&store.path.join(names::TOPICS))? {
            let folder = names::topic_folder(&store.path, &topic);
            if !store.has_topic(&folder)? {
                continue;
            }
            match read_meta(store, &folder.join(names::TOPIC_META)) {
                Ok((id, _)) => drop(known.ids.insert(id)),
                Err(error) => readable(error)?,
            }
            for name in storage.list(&folder.join(names::GROUPS))? {
                let path = names::group_folder(&folder, &name).join(names::GROUP_META);
                match read_group(store, &path) {
                    Ok(meta) => {
                        let dead = &meta.config.dead_letter_topic;
                        if meta.lane_of.is_none()
                            && let Some(to) = dead_letters_of(&topic, &name, dead)
                        {
                            known.leads.push((topic.clone(), to));
                        }
                        known.ids.insert(meta.id);
                    }
                    Err(error) => readable(error)?,
                }
            }
        }
        Ok(known)
    }
}

impl Known {
    /// Whether no topic and no group has this id, nor had it in this life of the store: who had one
    /// open that was deleted would take the other one for it.
    pub(super) fn is_free(&self, store: &StoreInner, id: u64) -> Result<bool> {
        Ok(!self.ids.contains(&id) && !store.control.knows(id)?)
    }
}

/// What is to get its name.
pub(super) struct Wanted {
    /// Topics, by name and id.
    pub(super) topics: Vec<(String, u64)>,
    /// A topic, and one that dead letters of a group of it go to.
    pub(super) leads: Vec<(String, String)>,
    /// The id of each group, in the export and here.
    pub(super) groups: HashMap<GroupName, (u64, u64)>,
}

impl Wanted {
    /// The lock of those who create, while none of the names is one of a deleted topic.
    fn hold<'a>(&self, store: &'a StoreInner) -> Result<Held<'a>> {
        let named = self.topics.iter().map(|(name, _)| name);
        let folders: Vec<_> = named
            .map(|name| names::topic_folder(&store.path, name))
            .collect();
        store.hold_create_lock_over(&folders)
    }
}

/// Errors where they cannot get their names as things are now.
pub(super) fn check(store: &Arc<StoreInner>, wanted: &Wanted) -> Result<()> {
    let _held = wanted.hold(store)?;
    check_held(store, wanted)
}

/// Moves the folders of these topics out of a store that was closed. With the lock of those who
/// create held all is looked at first; then each gets its name in one step, those before
/// which dead letters come first, so that no redrive lane is there without its group, which whoever
/// opens the topic would remove. A death in between leaves the rest without a name.
pub(super) fn publish(store: &Arc<StoreInner>, from: &Path, wanted: &Wanted) -> Result<()> {
    let storage = &*store.env.storage;
    let _held = wanted.hold(store)?;
    check_held(store, wanted)?;
    for (name, _) in &wanted.topics {
        let folder = names::topic_folder(&store.path, name);
        // What a creator that died left.
        remove_all(storage, &folder)?;
        storage.rename(&names::topic_folder(from, name), &folder)?;
        storage.sync_dir(&store.path.join(names::TOPICS))?;
    }
    Ok(())
}

/// With the lock of those who create held.
fn check_held(store: &Arc<StoreInner>, wanted: &Wanted) -> Result<()> {
    let known = Known::of(store)?;
    for (name, id) in &wanted.topics {
        let folder = names::topic_folder(&store.path, name);
        if store.has_topic(&folder)? {
            return Err(exists(name));
        }
        store.refuse_headless(&folder)?;
        if !known.is_free(store, *id)? {
            return Err(taken());
        }
    }
    for (_, id) in wanted.groups.values() {
        if !known.is_free(store, *id)? {
            return Err(taken());
        }
    }
    check_circles(&wanted.topics, known.leads.iter().chain(&wanted.leads))
}

#[cold]
fn taken() -> Error {
    let message = "a topic or a group with an id of the import was made meanwhile; import again";
    Error::new(ErrorKind::Busy, message)
}

/// Refuses topics from which dead letters would lead back to them (P12).
fn check_circles<'a>(
    topics: &[(String, u64)],
    leads: impl Iterator<Item = &'a (String, String)>,
) -> Result<()> {
    let mut next: HashMap<&str, Vec<&str>> = HashMap::new();
    for (from, to) in leads {
        next.entry(from).or_default().push(to);
    }
    for (name, _) in topics {
        let (mut open, mut seen) = (vec![name.as_str()], HashSet::new());
        while let Some(one) = open.pop() {
            for to in next.get(one).into_iter().flatten() {
                if *to == name {
                    let message = format!(
                        "the dead letters of topic {name:?} would lead back to it, where what \
                         failed would come again; configure the groups of the topics that exist, \
                         or import into another store"
                    );
                    return Err(Error::new(ErrorKind::InvalidArgument, message));
                }
                if seen.insert(*to) {
                    open.push(to);
                }
            }
        }
    }
    Ok(())
}
