//! Deleting a topic, with all that is in it.
//!
//! One step deletes it: `topic.deleted` stands on disk in its folder. Everyone is told, and the
//! files are removed. Whoever comes next does what one that died left of that: who asks for a topic
//! of the name, makes another one, or lists the topics. Files that somebody has mapped stay for him
//! as they are.

use std::path::Path;
use std::sync::atomic::Ordering;

use super::delete::{mark, unmark};
use super::in_force::{GLANCE, InForce, raised};
use super::topic::{TopicInner, read_meta};
use super::{Store, StoreInner};
use crate::error::{Error, ErrorKind, Result};
use crate::format::control::block::{CHANGED, CHANGING, GONE, RETAIN_LOCK};
use crate::format::control::flow::EVENT;
use crate::format::control::{partition, sent};
use crate::format::names;
use crate::shm::{EventCount, OwnerLock};
use crate::storage::Storage;

impl Store {
    /// Deletes a topic: its messages, its groups and their positions, durably. Whoever has it open
    /// in any process gets [`ErrorKind::NotFound`] from his next call on, and so does who waits for
    /// messages; views of messages stay good. Topics that its groups' dead letters are in stay. The
    /// name is free for another topic.
    ///
    /// [`ErrorKind::NotFound`] where there is none. [`ErrorKind::Busy`] where a group of another
    /// topic has its dead letters in it: delete that group first, or give it another
    /// `dead_letter_topic`.
    ///
    /// ```
    /// # use libqueue::{ErrorKind, Message, Store, StoreOptions, TopicOptions};
    /// # let folder = tempfile::TempDir::new().unwrap();
    /// # let store = Store::open(folder.path(), StoreOptions::default())?;
    /// let trial = store.topic("trial", &TopicOptions::default())?;
    /// store.delete_topic("trial")?;
    /// let error = trial.send(&Message::new(b"late")).unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::NotFound);
    /// assert!(store.topics()?.is_empty());
    /// # Ok::<(), libqueue::Error>(())
    /// ```
    pub fn delete_topic(&self, name: &str) -> Result<()> {
        let store = self.inner()?;
        store.check_send()?;
        let topic = store.topic_inner(name)?;
        let held = store.hold_create_lock()?;
        let word = topic.word_to_change()?;
        topic.read_meta()?;
        topic.check_no_letters_come()?;
        let (storage, mode) = (&*store.env.storage, store.env.mode);
        topic.set_changed(word | CHANGING);
        let marked = mark(storage, &topic.folder, names::TOPIC_DELETED, mode);
        // One that might be found after a power loss would take the topic with it, which others go
        // on with: it is one or the other, on disk, before anybody does.
        if marked.is_err() && unmark(storage, &topic.folder, names::TOPIC_DELETED, mode).is_ok() {
            topic.set_changed(raised(word));
            return marked;
        }
        // A death from here on: what is marked is gone for whoever looks.
        topic.end()?;
        let removed = marked
            .and_then(|()| store.let_namers_out(topic.uid))
            .and_then(|()| store.remove_topic(&topic.folder));
        drop(held);
        removed.map_err(|error| {
            let message = format!(
                "topic {name:?} is deleted, and its files are still to be removed, by whoever \
                 lists the topics next: {}",
                error.message()
            );
            Error::new(error.kind(), message)
        })
    }
}

impl TopicInner {
    /// Dead letters of a group of another topic are looked for in this one, and so is what became
    /// of them.
    fn check_no_letters_come(&self) -> Result<()> {
        let store = &self.store;
        for topic in store.env.storage.list(&store.path.join(names::TOPICS))? {
            if topic == self.name {
                continue;
            }
            let led = self.led_on(&topic)?;
            let Some((group, _)) = led.iter().find(|(_, to)| *to == self.name) else {
                continue;
            };
            let message = format!(
                "the dead letters of group {group:?} of topic {topic:?} are in topic {:?}; delete \
                 that group first, or give it another dead_letter_topic",
                self.name
            );
            return Err(Error::new(ErrorKind::Busy, message));
        }
        Ok(())
    }
}

impl StoreInner {
    /// Tells all processes that a topic is gone, and its groups with it.
    pub(super) fn end_topic(&self, uid: u64) -> Result<()> {
        for group in self.control.groups_of(uid)? {
            group.head.store(CHANGED, GONE, Ordering::Release);
        }
        if let Some(topic) = self.control.opened_topic(uid)? {
            for words in &topic.partitions {
                words.store(partition::DELETED, 1, Ordering::Release);
            }
            // Last: who died before leaves CHANGING, or the mark, and the next one tells again.
            topic.head.store(CHANGED, GONE, Ordering::Release);
            self.wake_topic(&topic.head, uid, u32::MAX);
            if let Some(flow) = &topic.flow {
                EventCount::notify(flow.word32(EVENT), u32::MAX);
            }
            // Whoever removes what retention takes goes by names, which may be another topic's
            // next: he is done, and the next one sees that the topic is gone. He waits for no lock
            // that is held here.
            let (env, lock) = (&*self.env, topic.head.word32(RETAIN_LOCK));
            drop(OwnerLock::hold(lock, env.me, &*env.live, env.lock_timeout)?);
        }
        Ok(())
    }

    /// Before the files of a topic go, and its name is free: whoever was about to give one of them
    /// a name, of a log or of a ledger of what was sent, and had not seen that the topic is gone,
    /// has done so; the next one sees it. Waits for one who is stopped as for any lock: then the
    /// files are left to the next one.
    fn let_namers_out(&self, uid: u64) -> Result<()> {
        let Some(topic) = self.control.opened_topic(uid)? else {
            return Ok(());
        };
        let env = &*self.env;
        let let_out = |slow| OwnerLock::hold(slow, env.me, &*env.live, env.lock_timeout).map(drop);
        for words in &topic.partitions {
            let_out(words.word32(partition::SLOW_LOCK))?;
        }
        // One that is made from here on sees that the topic is gone.
        let producers = self.control.producers_of(uid)?;
        for block in std::iter::once(&topic).chain(&producers) {
            let_out(block.head.word32(sent::SLOW_LOCK))?;
        }
        Ok(())
    }

    /// Whether there is a topic of the name.
    pub(super) fn has_topic(&self, folder: &Path) -> Result<bool> {
        let there = |name| self.env.storage.exists(&folder.join(name));
        Ok(there(names::TOPIC_META)? && !there(names::TOPIC_DELETED)?)
    }

    /// With the lock of those who create held: does what one that died left to do of a deletion.
    pub(super) fn finish_topic_deletion(&self, folder: &Path) -> Result<()> {
        let (storage, mode) = (&*self.env.storage, self.env.mode);
        if !storage.exists(&folder.join(names::TOPIC_DELETED))? {
            if !storage.exists(&folder.join(names::TOPIC_META))? {
                // He may have died before the folder went; one that holds anything stays.
                let _ = storage.remove_dir(folder);
            }
            return Ok(());
        }
        // He may have died before he told anybody, and before it was on disk.
        mark(storage, folder, names::TOPIC_DELETED, mode)?;
        if let Ok((uid, _)) = read_meta(self, &folder.join(names::TOPIC_META)) {
            self.end_topic(uid)?;
            self.let_namers_out(uid)?;
        }
        self.remove_topic(folder)
    }

    /// As `finish_topic_deletion`, unless somebody creates or deletes just now.
    pub(super) fn try_finish_topic_deletion(&self, folder: &Path) -> Result<()> {
        let _held = self.hold_create_lock_within(GLANCE)?;
        self.finish_topic_deletion(folder)
    }

    /// Of a topic that is marked as deleted. The mark goes when the rest is gone on disk too: what
    /// came back without it would be a topic, or damage.
    fn remove_topic(&self, folder: &Path) -> Result<()> {
        let storage = &*self.env.storage;
        // By what is there, and not by its number: one that died may have left any part of it. The
        // configuration goes last, so that its id is known for as long as there is anything.
        for name in names_in(storage, folder)? {
            let path = folder.join(&name);
            if [names::GROUPS, names::PRODUCERS].contains(&name.as_str()) {
                for one in names_in(storage, &path)? {
                    remove_all(storage, &path.join(one))?;
                }
                remove_folder(storage, &path)?;
            } else if name == names::DEDUP || names::parse_partition(&name).is_some() {
                remove_all(storage, &path)?;
            } else if ![names::TOPIC_META, names::TOPIC_DELETED].contains(&name.as_str()) {
                unlink(storage, &path)?;
            }
        }
        unlink(storage, &folder.join(names::TOPIC_META))?;
        storage.sync_dir(folder)?;
        unlink(storage, &folder.join(names::TOPIC_DELETED))?;
        remove_folder(storage, folder)?;
        storage.sync_dir(&self.path.join(names::TOPICS))
    }
}

fn names_in(storage: &dyn Storage, folder: &Path) -> Result<Vec<String>> {
    match storage.exists(folder)? {
        true => storage.list(folder),
        false => Ok(Vec::new()),
    }
}

/// A folder and the files in it, of which some may be gone.
fn remove_all(storage: &dyn Storage, folder: &Path) -> Result<()> {
    for name in names_in(storage, folder)? {
        unlink(storage, &folder.join(name))?;
    }
    remove_folder(storage, folder)
}

fn unlink(storage: &dyn Storage, path: &Path) -> Result<()> {
    absent_is_fine(storage.unlink(path))
}

fn remove_folder(storage: &dyn Storage, folder: &Path) -> Result<()> {
    absent_is_fine(storage.remove_dir(folder))
}

fn absent_is_fine(done: Result<()>) -> Result<()> {
    match done {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        done => done,
    }
}
