//! Snapshots of a group: where it stands in each partition, in a file of its own, to be sought
//! later.
//!
//! The file is written and put on disk under another name, with no lock held (`snapshot_write.rs`),
//! and gets its own under the lock of those who change a group. It is never changed. While a seek
//! to it is not done with, `group.meta` names it, and it stays: whoever takes in a message up to
//! its end asks it (`group/recall.rs`). The one who seeks takes them in at once; when that is on
//! disk the name is taken out of `group.meta`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::group::{Group, GroupInner};
use super::group_meta::GroupMeta;
use super::in_force::InForce;
use super::settings::Settings;
use crate::error::{Error, ErrorKind, Result};
use crate::format::names;
use crate::format::snapshot::{BYTES_MAX, OPEN_MAX, Snapshot};
use crate::storage::{Access, File};

/// Most snapshots of a group.
const MOST: usize = 100;

/// A snapshot of a group, as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SnapshotInfo {
    /// Its name.
    pub name: String,
    /// When it was taken, in nanoseconds since the Unix epoch.
    pub taken_ns: i64,
    /// Messages that the group had taken in and not settled then.
    pub open: u64,
    /// Bytes of its file.
    pub bytes: u64,
    /// Whether it can be sought; false where its file is damaged, and then all but name and bytes
    /// is 0.
    pub whole: bool,
}

impl Group {
    /// Takes a snapshot: which messages of each partition are settled, and the attempts and
    /// failures of those that are not, at one point of each partition. [`Group::seek`] goes back to
    /// it. On disk before the call returns; what it holds is at most 96 MiB, and 24 bytes for each
    /// message that is taken in and not settled. Deleted with the group.
    ///
    /// [`ErrorKind::AlreadyExists`] for a name that is taken; [`ErrorKind::InvalidName`] for one
    /// that does not begin with a letter, has more than 64 characters or others than `A-Z a-z 0-9 .
    /// _ -`, or is `earliest` or `latest`; [`ErrorKind::TooMany`] for more than 100 of a group;
    /// [`ErrorKind::TooLarge`] with more than 4,194,304 messages that are taken in and not settled.
    ///
    /// ```
    /// # use libqueue::{ConsumerOptions, Message, Store, StoreOptions, TopicOptions};
    /// # use std::time::Duration;
    /// # let folder = tempfile::TempDir::new().unwrap();
    /// # let store = Store::open(folder.path(), StoreOptions::default())?;
    /// # let orders = store.topic("orders", &TopicOptions::default())?;
    /// # orders.send(&Message::new(b"paid"))?;
    /// let consumer = orders.consumer("billing", &ConsumerOptions::default())?;
    /// let billing = orders.group("billing")?;
    /// billing.snapshot("before-deploy")?;
    /// let batch = consumer.receive(1, Some(Duration::ZERO))?;
    /// consumer.ack(&[batch[0].receipt()])?;
    /// billing.seek("before-deploy", None)?;
    /// assert_eq!(consumer.receive(1, Some(Duration::ZERO))?.len(), 1);
    /// # Ok::<(), libqueue::Error>(())
    /// ```
    pub fn snapshot(&self, name: &str) -> Result<SnapshotInfo> {
        let group = &*self.inner;
        group.topic.store.check_send()?;
        let path = group.snapshot_path(name)?;
        group.check_new_snapshot(name, &path)?;
        let snapshot = Snapshot {
            group: group.uid,
            taken_ns: group.topic.store.env.clock.wall_ns(),
            parts: group.standing_in_all()?,
        };
        if snapshot.open() > OPEN_MAX {
            let message = format!(
                "group {:?} of topic {:?} has {} messages that are taken in and not settled; a \
                 snapshot holds {OPEN_MAX}: settle some first",
                group.name,
                group.topic.name,
                snapshot.open()
            );
            return Err(Error::new(ErrorKind::TooLarge, message));
        }
        let bytes = snapshot.encode();
        group.write_snapshot(name, &path, &bytes)?;
        Ok(info(name, bytes.len() as u64, Some(&snapshot)))
    }

    /// The snapshots of the group, by name. One whose file is damaged is listed as such.
    pub fn snapshots(&self) -> Result<Vec<SnapshotInfo>> {
        let group = &*self.inner;
        group.topic.store.check_open()?;
        group.settings()?;
        let mut found = Vec::new();
        for name in group.snapshot_names()? {
            let path = group.snapshot_path(&name)?;
            let storage = &*group.topic.store.env.storage;
            let bytes = match storage
                .open(&path, Access::Read, 0)
                .and_then(|file| file.len())
            {
                // Deleted since it was listed.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                len => len?,
            };
            match group.load_snapshot(&name) {
                Ok(snapshot) => found.push(info(&name, bytes, Some(&snapshot))),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) if error.kind() == ErrorKind::Damaged => {
                    found.push(info(&name, bytes, None));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    /// Deletes a snapshot, durably. [`ErrorKind::NotFound`] where there is none of the name;
    /// [`ErrorKind::Busy`] while a seek to it cannot be done with, as on a full disk.
    pub fn delete_snapshot(&self, name: &str) -> Result<()> {
        let group = &*self.inner;
        group.topic.store.check_send()?;
        let path = group.snapshot_path(name)?;
        let storage = &*group.topic.store.env.storage;
        if !storage.exists(&path)? {
            return Err(group.no_snapshot(name));
        }
        let done = group.finish_restoring();
        let _held = group.topic.store.hold_create_lock()?;
        group.word_to_change()?;
        let named = |meta: &GroupMeta| {
            let mut all = meta
                .sought
                .iter()
                .filter_map(|sought| sought.snapshot.as_ref());
            all.any(|(of, _)| of == name)
        };
        if named(&group.read_meta()?) {
            let what = format!(
                "group {:?} of topic {:?} was sought to snapshot {name:?}, and not all messages \
                 that it speaks of are taken in yet; have its consumers receive, then delete it",
                group.name, group.topic.name
            );
            return Err(match done {
                Err(error) => error.context(what),
                Ok(()) => Error::new(ErrorKind::Busy, what),
            });
        }
        if !storage.exists(&path)? {
            return Err(group.no_snapshot(name));
        }
        storage.unlink(&path)?;
        storage.sync_dir(&group.folder())
    }
}

impl GroupInner {
    pub(super) fn snapshot_path(&self, name: &str) -> Result<PathBuf> {
        names::check_snapshot(name)?;
        Ok(self.folder().join(names::snapshot(name)))
    }

    /// Whether a snapshot of the name, of this path, may be taken: of a group that is there, under
    /// the lock of those who change it; before that, without it, what is refused at once.
    pub(super) fn check_new_snapshot(&self, name: &str, path: &Path) -> Result<()> {
        self.read_meta()?;
        if self.topic.store.env.storage.exists(path)? {
            let message = format!(
                "group {:?} of topic {:?} has a snapshot {name:?}; delete it, or take another name",
                self.name, self.topic.name
            );
            return Err(Error::new(ErrorKind::AlreadyExists, message));
        }
        let known = self.snapshot_names()?.len();
        if known >= MOST {
            let message = format!(
                "group {:?} of topic {:?} has {known} snapshots; expected fewer than {MOST}: \
                 delete one",
                self.name, self.topic.name
            );
            return Err(Error::new(ErrorKind::TooMany, message));
        }
        Ok(())
    }

    fn snapshot_names(&self) -> Result<Vec<String>> {
        let files = self.topic.store.env.storage.list(&self.folder())?;
        let known = files.iter().filter_map(|file| names::parse_snapshot(file));
        Ok(known.map(str::to_owned).collect())
    }

    #[cold]
    pub(super) fn no_snapshot(&self, name: &str) -> Error {
        let message = format!(
            "group {:?} of topic {:?} has no snapshot {name:?}; `snapshots` lists those it has",
            self.name, self.topic.name
        );
        Error::new(ErrorKind::NotFound, message)
    }

    fn open_snapshot(&self, name: &str) -> Result<Arc<dyn File>> {
        let path = self.snapshot_path(name)?;
        match self.topic.store.env.storage.open(&path, Access::Read, 0) {
            Err(error) if error.kind() == ErrorKind::NotFound => Err(self.no_snapshot(name)),
            opened => opened,
        }
    }

    /// Reads a snapshot of this group, whole.
    pub(super) fn load_snapshot(&self, name: &str) -> Result<Snapshot> {
        self.load_snapshot_kept(name).map(|(_, snapshot)| snapshot)
    }

    /// As `load_snapshot`, and the file, by which `is_still_snapshot` knows it.
    pub(super) fn load_snapshot_kept(&self, name: &str) -> Result<(Arc<dyn File>, Snapshot)> {
        let path = self.snapshot_path(name)?;
        let read = self.open_snapshot(name)?;
        let len = read.len()?;
        if len > BYTES_MAX {
            let what = format!("it has {len} bytes, expected {BYTES_MAX} at most");
            return Err(damaged(&path, 0, &what));
        }
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        read.read_at(&mut bytes, 0)?;
        let snapshot = Snapshot::decode(&bytes);
        let snapshot = snapshot.map_err(|(at, what)| damaged(&path, at, &what))?;
        let (found, wanted) = (snapshot.parts.len(), self.windows.len());
        if snapshot.group != self.uid || found != wanted {
            let what = format!(
                "it is of group {:016x} with {found} partitions, expected {:016x} with {wanted}",
                snapshot.group, self.uid
            );
            return Err(damaged(&path, 0, &what));
        }
        Ok((read, snapshot))
    }

    /// Whether the file that was read, and is still open, so that no other one can be taken for it,
    /// is the snapshot of this name: then that is as it was read.
    pub(super) fn is_still_snapshot(&self, name: &str, read: &Arc<dyn File>) -> Result<bool> {
        Ok(self.open_snapshot(name)?.id()? == read.id()?)
    }

    /// The snapshots that `group.meta` says are still being restored, as far as they can be read:
    /// what is not known of one comes again (`group/recall.rs`).
    pub(super) fn snapshots_of(
        &self,
        meta: &GroupMeta,
        known: &Settings,
    ) -> Result<HashMap<String, Arc<Snapshot>>> {
        let mut found = HashMap::new();
        if self.is_lane() {
            return Ok(found);
        }
        // The same seek, the same file: one that is being restored is not deleted.
        let same = known.sought == meta.sought;
        for (name, _) in meta.sought.iter().filter_map(|one| one.snapshot.as_ref()) {
            if found.contains_key(name) {
                continue;
            }
            let read = known.snapshots.get(name).filter(|_| same).cloned();
            let read = match read {
                Some(read) => Some(read),
                None => match self.load_snapshot(name) {
                    Err(error)
                        if [ErrorKind::Damaged, ErrorKind::NotFound].contains(&error.kind()) =>
                    {
                        None
                    }
                    loaded => Some(Arc::new(loaded?)),
                },
            };
            found.extend(read.map(|snapshot| (name.clone(), snapshot)));
        }
        Ok(found)
    }

    /// Takes in what a seek to a snapshot has left to take in, puts it on disk, and then says in
    /// `group.meta` that this is done. A death before leaves it to the next one, or to who
    /// receives.
    pub(super) fn finish_restoring(&self) -> Result<()> {
        let settings = self.settings()?;
        let mut done = Vec::new();
        for (number, sought) in (0..).zip(&settings.sought) {
            let Some((_, end)) = sought.snapshot else {
                continue;
            };
            let log = self.topic.partition(number)?;
            if self.with_window(number, |window| window.is_recalling())? {
                self.take_in(log, end.saturating_sub(1))?;
            }
            if !self.with_window(number, |window| window.is_recalling())? {
                self.sync_window(number)?;
                done.push((number, sought.epoch));
            }
        }
        if done.is_empty() {
            return Ok(());
        }
        self.change(|_, meta| {
            for (number, epoch) in done {
                let sought = meta.sought.get_mut(number as usize);
                if let Some(sought) = sought.filter(|sought| sought.epoch == epoch) {
                    sought.snapshot = None;
                }
            }
            Ok(())
        })
    }
}

fn info(name: &str, bytes: u64, snapshot: Option<&Snapshot>) -> SnapshotInfo {
    SnapshotInfo {
        name: name.to_owned(),
        taken_ns: snapshot.map_or(0, |snapshot| snapshot.taken_ns),
        open: snapshot.map_or(0, Snapshot::open),
        bytes,
        whole: snapshot.is_some(),
    }
}

fn damaged(path: &Path, at: u64, what: &str) -> Error {
    let message = format!(
        "{} at byte {at}: {what}; the snapshot cannot be sought: delete it",
        path.display()
    );
    Error::new(ErrorKind::Damaged, message)
}
