//! Deleting a topic, with all that is in it.
//!
//! One step deletes it: `topic.deleted` stands on disk in its folder. Everyone is told. Then, with
//! no lock held, those are waited for who may be about to name one of its files; with the lock of
//! those who create the folder is put out of the way (`away.rs`), and with none again the files are
//! removed. Whoever comes next does what one that died left of that: who makes another topic of the
//! name, lists the topics, or opens the store first. Files that somebody has mapped stay for him as
//! they are.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::delete::{mark, unmark};
use super::in_force::{GLANCE, InForce, raised};
use super::topic::{TopicInner, read_meta};
use super::{Store, StoreInner};
use crate::error::{Error, ErrorKind, Result};
use crate::format::control::block::{CHANGED, CHANGING, GONE, RETAIN_LOCK};
use crate::format::control::flow::EVENT;
use crate::format::control::{partition, sent};
use crate::format::names;
use crate::shm::{EventCount, Held, OwnerLock};

/// How often a name may be taken and its topic deleted again before somebody gets it.
const TRIES: usize = 100;

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
        drop(held);
        let timeout = store.env.lock_timeout;
        let removed = marked.and_then(|()| store.remove(&topic.folder, Some(topic.uid), timeout));
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
        }
        Ok(())
    }

    /// Before the folder of a topic is put away, and its name is free: whoever was about to give
    /// one of its files a name, of a log or of a ledger of what was sent, or removes by their names
    /// what retention takes, and had not seen that the topic is gone, has done so; the next one
    /// sees it. Waits for one who is stopped as for any lock: then the files are left to the next
    /// one. With no lock held: others create meanwhile.
    fn let_namers_out(&self, uid: u64) -> Result<()> {
        let Some(topic) = self.control.opened_topic(uid)? else {
            return Ok(());
        };
        let env = &*self.env;
        let let_out = |slow| OwnerLock::hold(slow, env.me, &*env.live, env.lock_timeout).map(drop);
        let_out(topic.head.word32(RETAIN_LOCK))?;
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

    /// Whether the topic of this folder is marked as deleted, and its id, as far as that can be
    /// read.
    fn marked(&self, folder: &Path) -> Result<Option<Option<u64>>> {
        if !self
            .env
            .storage
            .exists(&folder.join(names::TOPIC_DELETED))?
        {
            return Ok(None);
        }
        let meta = read_meta(self, &folder.join(names::TOPIC_META));
        Ok(Some(meta.ok().map(|(uid, _)| uid)))
    }

    /// Does what one that died left to do of a deletion; with no lock held. Gives up where somebody
    /// who lives creates or deletes for longer than this.
    fn finish_topic_deletion(&self, folder: &Path, patience: Duration) -> Result<()> {
        if self.marked(folder)?.is_none() {
            return Ok(());
        }
        let held = self.hold_create_lock_within(patience)?;
        let Some(uid) = self.marked(folder)? else {
            return Ok(());
        };
        // He may have died before he told anybody, and before it was on disk.
        let env = &*self.env;
        mark(&*env.storage, folder, names::TOPIC_DELETED, env.mode)?;
        if let Some(uid) = uid {
            self.end_topic(uid)?;
        }
        drop(held);
        self.remove(folder, uid, patience)
    }

    /// Of a topic that is marked as deleted, on disk, and everyone was told: its name is free, and
    /// its files go. With no lock held.
    fn remove(&self, folder: &Path, uid: Option<u64>, patience: Duration) -> Result<()> {
        if let Some(uid) = uid {
            self.let_namers_out(uid)?;
        }
        let held = self.hold_create_lock_within(patience)?;
        // Somebody else may have come to it since, and another topic have the name, which may be
        // deleted as well by now, by one who has not waited for all.
        if self.marked(folder)? == Some(uid) {
            self.put_away(folder)?;
        }
        drop(held);
        self.clear_away()
    }

    /// As `finish_topic_deletion`, unless somebody creates or deletes just now.
    pub(super) fn try_finish_topic_deletion(&self, folder: &Path) -> Result<()> {
        self.finish_topic_deletion(folder, GLANCE)?;
        let _held = self.hold_create_lock_within(GLANCE)?;
        let storage = &*self.env.storage;
        if !storage.exists(&folder.join(names::TOPIC_META))? {
            // Of a creator that died; one that holds anything stays.
            let _ = storage.remove_dir(folder);
        }
        Ok(())
    }

    /// The lock of those who create, while none of these folders is one of a deleted topic: what is
    /// left of such a one is done before, without it.
    pub(super) fn hold_create_lock_over(&self, folders: &[PathBuf]) -> Result<Held<'_>> {
        for _ in 0..TRIES {
            for folder in folders {
                self.finish_topic_deletion(folder, self.env.lock_timeout)?;
            }
            let held = self.hold_create_lock()?;
            let mut free = true;
            for folder in folders {
                free &= self.marked(folder)?.is_none();
            }
            if free {
                return Ok(held);
            }
        }
        let message = "topics of this name are made and deleted all the time; call again";
        Err(Error::new(ErrorKind::Busy, message))
    }
}
