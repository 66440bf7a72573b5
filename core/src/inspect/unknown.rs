//! Names in a store's folders that the format does not know.

use std::path::Path;

use super::plan::{Plan, folder_names};
use crate::error::Result;
use crate::format::names;

/// A file that was being written when its writer died.
fn is_temporary(name: &str) -> bool {
    name.starts_with('.') && name.ends_with(".new")
}

/// Lists what is in the folders of the store and has no name of the format.
pub(super) fn list(store: &Path, plan: &mut Plan) -> Result<()> {
    let mut unknown = Vec::new();
    let mut look = |folder: &Path, known: &dyn Fn(&str) -> bool| -> Result<()> {
        for name in folder_names(folder)?.unwrap_or_default() {
            if !known(&name) && !is_temporary(&name) {
                unknown.push(folder.join(name));
            }
        }
        Ok(())
    };
    let of_store = [
        names::STORE_META,
        names::LOCK,
        names::CONTROL,
        names::BALLAST,
        names::TRANSACTIONS,
        names::TOPICS,
    ];
    look(store, &|name| of_store.contains(&name))?;
    let topics = store.join(names::TOPICS);
    look(&topics, &|name| {
        names::check("topic", name).is_ok() && topics.join(name).is_dir()
    })?;
    for topic in &plan.topics {
        look(&topic.folder, &|name| {
            let partition = names::parse_partition(name).is_some();
            let known = [
                names::TOPIC_META,
                names::GROUPS,
                names::PRIORITIES,
                names::DEDUP,
                names::PRODUCERS,
            ];
            partition || known.contains(&name)
        })?;
        look(&topic.folder.join(names::DEDUP), &|name| {
            name == names::DEDUP_MARK || names::parse_table(name).is_some()
        })?;
        let producers = topic.folder.join(names::PRODUCERS);
        look(&producers, &|name| {
            names::check("producer", name).is_ok() && producers.join(name).is_dir()
        })?;
        for name in folder_names(&producers)?.unwrap_or_default() {
            look(&producers.join(name), &|name| {
                [names::PRODUCER_META, names::RING].contains(&name)
            })?;
        }
        for partition in &topic.partitions {
            look(&partition.folder, &|name| {
                let numbered = names::parse_segment(name).or_else(|| names::parse_index(name));
                let others = [names::RESERVE, names::NEXT_SEGMENT, names::COMPACTED];
                numbered.is_some() || others.contains(&name)
            })?;
        }
        let groups = topic.folder.join(names::GROUPS);
        look(&groups, &|name| {
            names::check("group", name).is_ok() && groups.join(name).is_dir()
        })?;
        for group in &topic.groups {
            look(&group.folder, &|name| {
                let meta = [names::GROUP_META, names::GROUP_DELETED];
                let file =
                    names::parse_window(name).is_some() || names::parse_snapshot(name).is_some();
                file || meta.contains(&name)
            })?;
        }
    }
    plan.unknown = unknown;
    Ok(())
}
