//! A copy of a damaged store: what it is to know of ids and producers is made from its log.

use crate::error::Result;
use crate::format::names;
use crate::store::open::folder_mode;
use crate::store::topic::Topic;

impl Topic {
    /// Has the first use look through the whole log for messages that were sent under ids, and by
    /// producers of these names: a folder without a mark says so.
    pub(crate) fn restore_sent(&self, ids: bool, producers: &[String]) -> Result<()> {
        let (env, folder) = (&*self.inner.store.env, &self.inner.folder);
        let (storage, mode) = (&*env.storage, folder_mode(env.mode));
        if ids {
            storage.create_dir(&folder.join(names::DEDUP), mode)?;
        }
        let all = folder.join(names::PRODUCERS);
        if !producers.is_empty() {
            storage.create_dir(&all, mode)?;
        }
        for name in producers
            .iter()
            .filter(|name| names::check("producer", name).is_ok())
        {
            storage.create_dir(&all.join(name), mode)?;
        }
        if !producers.is_empty() {
            storage.sync_dir(&all)?;
        }
        storage.sync_dir(folder)
    }
}
