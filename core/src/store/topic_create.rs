//! Creating topics.

use super::StoreInner;
use super::open::folder_mode;
use super::topic::{damaged_meta, unique_id};
use super::topic_meta;
use crate::error::Result;
use crate::format::names;
use crate::options::{TopicConfig, TopicOptions};
use crate::storage::replace_file;

impl StoreInner {
    /// A folder without `topic.meta` that holds messages is no topic of a creator that died.
    pub(super) fn refuse_headless(&self, folder: &std::path::Path) -> Result<()> {
        let storage = &*self.env.storage;
        if !storage.exists(folder)? {
            return Ok(());
        }
        let numbers = storage.list(folder)?;
        for number in numbers
            .iter()
            .filter_map(|name| names::parse_partition(name))
        {
            let partition = names::partition_folder(folder, number);
            let found = storage.list(&partition)?;
            let meta = folder.join(names::TOPIC_META);
            // Looked at last: it may have been created meanwhile.
            if found
                .iter()
                .any(|name| names::parse_segment(name).is_some())
                && !storage.exists(&meta)?
                && !storage.exists(&folder.join(names::TOPIC_DELETED))?
            {
                return Err(damaged_meta(&meta, "it is missing beside messages"));
            }
        }
        Ok(())
    }

    /// Creates a topic; false if there was one. Under one lock for all processes; a creator that
    /// dies leaves folders without `topic.meta`, which the next one fills.
    pub(super) fn create(&self, name: &str, options: &TopicOptions) -> Result<bool> {
        self.create_as(name, unique_id(), &TopicConfig::from_options(options))
    }

    /// As `create`, with an id that was drawn already.
    pub(super) fn create_as(&self, name: &str, uid: u64, config: &TopicConfig) -> Result<bool> {
        self.check_send()?;
        names::check("topic", name)?;
        config.check()?;
        let (env, storage) = (&*self.env, &*self.env.storage);
        let folder = names::topic_folder(&self.path, name);
        let path = folder.join(names::TOPIC_META);
        let _held = self.hold_create_lock_over(std::slice::from_ref(&folder))?;
        if storage.exists(&path)? {
            return Ok(false);
        }
        self.refuse_headless(&folder)?;
        let mode = folder_mode(env.mode);
        storage.create_dir(&folder, mode)?;
        storage.create_dir(&folder.join(names::GROUPS), mode)?;
        for number in 0..config.partitions {
            storage.create_dir(&names::partition_folder(&folder, number), mode)?;
        }
        // What makes it a topic comes after what a topic has, also on disk.
        storage.sync_dir(&folder)?;
        let text = topic_meta::write(uid, config);
        replace_file(storage, &path, text.as_bytes(), env.mode)?;
        storage.sync_dir(&self.path.join(names::TOPICS))?;
        Ok(true)
    }
}
