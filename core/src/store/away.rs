//! The files of deleted topics and groups, out of the way.
//!
//! To remove many files takes long, and those who create are not to wait for it. So with their lock
//! held the folder is only renamed, into the store's own folder and under a name of nobody's, and
//! that is put on disk; what is in it is removed without a lock. Who dies in between leaves it to
//! who finds the dead, to the next one who deletes or lists the topics, and to who opens the store
//! first. Any number may remove the same at once: nobody looks into it any more.

use std::path::Path;

use super::StoreInner;
use super::inner::draw;
use crate::error::Result;
use crate::format::names;
use crate::storage::remove_all_but_last;

/// These go last, when the rest is gone on disk too: however far it came, what a power loss, or who
/// could not put the new name on disk, brings back under the old one is marked as deleted, or
/// empty.
const LAST: [&str; 2] = [names::TOPIC_DELETED, names::GROUP_DELETED];
/// What the kernel says of a folder that cannot be renamed where it is: one that another file
/// system is mounted on, or that lies in a lower layer of an overlay, as that of a container's
/// image.
const STAYS: [i32; 2] = [16, 18];

impl StoreInner {
    /// With the lock of those who create held: takes the folder of a deleted topic or group out of
    /// the way, on disk. Its name is free from here on. An error leaves it where it was, marked.
    pub(super) fn put_away(&self, folder: &Path) -> Result<()> {
        let storage = &*self.env.storage;
        let away = self.path.join(names::put_away(draw()));
        match storage.rename(folder, &away) {
            Err(error) if error.os_code().is_some_and(|code| STAYS.contains(&code)) => {
                // Then others wait, or the name would not be free.
                remove_all_but_last(storage, folder, &LAST)?;
                return folder.parent().map_or(Ok(()), |of| storage.sync_dir(of));
            }
            done => done?,
        }
        // Before anybody takes the name: a power loss must not mix his files with these.
        let on_disk = storage
            .sync_dir(&self.path)
            .and_then(|()| folder.parent().map_or(Ok(()), |of| storage.sync_dir(of)));
        on_disk.inspect_err(|_| {
            // Where this fails too nothing is left to try: the name is free, for now.
            let _ = storage.rename(&away, folder);
        })
    }

    /// Removes what was put away, by whomever; with no lock held.
    pub(super) fn clear_away(&self) -> Result<()> {
        let storage = &*self.env.storage;
        let mut found = storage.list(&self.path)?;
        found.retain(|name| names::is_put_away(name));
        if found.is_empty() {
            return Ok(());
        }
        // Who put it away may have died before that was on disk.
        storage.sync_dir(&self.path)?;
        let mut done = Ok(());
        for name in found {
            done = done.and(remove_all_but_last(storage, &self.path.join(name), &LAST));
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::storage::{Access, Event, Fault, Storage, Twin};
    use crate::store::Store;

    const FOLDER: &str = "/store/topics/t";

    /// A store in which a topic is marked as deleted.
    fn marked(twin: &Twin) -> Store {
        let store = Store::open_on(
            Arc::new(twin.clone()),
            Path::new("/store"),
            &Default::default(),
        );
        let store = store.expect("open");
        store.create_topic("t", &Default::default()).expect("topic");
        let mark = Path::new(FOLDER).join(names::TOPIC_DELETED);
        twin.open(&mark, Access::CreateNew, 0o660).expect("mark");
        store
    }

    #[test]
    fn p2_p17_the_mark_of_a_deletion_is_there_for_as_long_as_anything_else_is() {
        let twin = Twin::new();
        let store = marked(&twin);
        let inner = store.inner().expect("open");
        inner.put_away(Path::new(FOLDER)).expect("put away");
        assert!(!twin.exists(Path::new(FOLDER)).expect("look"));
        let looked = Arc::new(AtomicU32::new(0));
        let count = looked.clone();
        twin.watch(Some(Arc::new(move |twin, event| {
            let inside = twin.list(Path::new("/store")).expect("list");
            let away = inside.iter().find(|name| names::is_put_away(name));
            if let (Event::Named, Some(away)) = (event, away) {
                let left = twin.list(&Path::new("/store").join(away)).expect("list");
                let mark = left.iter().any(|name| name == names::TOPIC_DELETED);
                assert!(mark || left.is_empty(), "{left:?}");
                count.fetch_add(1, Ordering::SeqCst);
            }
        })));
        inner.clear_away().expect("clear");
        twin.watch(None);
        assert!(looked.load(Ordering::SeqCst) > 3);
    }

    #[test]
    fn p5_a_name_that_is_not_known_to_be_on_disk_is_nobodys_and_the_folder_is_back_marked() {
        let twin = Twin::new();
        let store = marked(&twin);
        let inner = store.inner().expect("open");
        twin.fail(Fault::SyncFolder, 1);
        inner.put_away(Path::new(FOLDER)).expect_err("refused");
        twin.heal();
        let mark = Path::new(FOLDER).join(names::TOPIC_DELETED);
        assert!(twin.exists(&mark).expect("look"));
        inner.put_away(Path::new(FOLDER)).expect("the next one");
        inner.clear_away().expect("clear");
        assert!(store.topics().expect("topics").is_empty());
    }
}
