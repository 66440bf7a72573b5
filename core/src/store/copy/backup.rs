//! A backup: a store of its own, made of the bytes of one that is in use.
//!
//! Segments are copied as they are, up to the end that the log had: what is behind is nothing yet
//! in the copy. A segment that nobody writes into any more is copied by the kernel, which on some
//! file systems costs no room at all; one in use is not, since a store to a block that it shares
//! with the copy would need room, and end its writer on a full disk (P5). Nothing is linked: a
//! segment that is not sealed for good may still become padding in place.
//!
//! Windows and `reserve` are written anew, for a store that was closed: `reserve` says where the
//! log ends, and nothing is walked or cut.

use std::path::Path;

use super::shot::{GroupShot, Shot, TopicShot};
use super::target::Target;
use crate::error::{Error, ErrorKind, Result};
use crate::format::meta;
use crate::format::names;
use crate::format::reserve::{FILE, Reserve, SLOTS, owner};
use crate::group::Window;
use crate::log::{NONE, Partition, Pinned, PinnedSegment};
use crate::storage::{Access, File, Storage, put_file};
use crate::store::Store;
use crate::store::group_meta::write_meta;
use crate::store::inner::StoreInner;
use crate::store::open::folder_mode;
use crate::store::topic_meta;

/// Bytes that are copied between two calls of `progress`.
const STEP: u64 = 4 << 20;
/// How often a log is copied again of which something was taken back meanwhile.
const TRIES: usize = 100;

/// Called with the bytes that are done and those there are; an error ends the work.
pub(super) type Progress<'a> = dyn FnMut(u64, u64) -> Result<()> + 'a;

/// What [`Store::backup`] made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackupStats {
    /// Topics in it.
    pub topics: u64,
    /// Groups in it.
    pub groups: u64,
    /// Bytes of messages in it.
    pub bytes: u64,
}

impl Store {
    /// Makes a copy of the store at `to` while it is in use: a store of its own, with the same ids,
    /// offsets, configuration, positions and dead letters. Nobody waits for it: senders, consumers
    /// and retention go on.
    ///
    /// It holds what had been sent when the call began, and of each partition all up to one offset;
    /// no group in it is ahead of its messages. What consumers settle while the call runs may come
    /// once more in the copy; nothing is lost. Nobody has a lease there: what was handed out is
    /// ready, and has not failed. What is sent to the store afterwards and what is sent to the copy
    /// gets the same offsets.
    ///
    /// It is on disk, and gets its name, once it is whole: after an error or a death nothing is
    /// there, and the next backup to the same place removes what is left beside it. `progress` is
    /// called now and then with how many bytes are done of how many; an error that it returns ends
    /// the backup and is returned.
    ///
    /// [`ErrorKind::AlreadyExists`] if something is there that is no empty folder;
    /// [`ErrorKind::InvalidArgument`] for a folder inside of the store; [`ErrorKind::NotFound`] if
    /// the folder above is missing; [`ErrorKind::Busy`] while another backup to the same place is
    /// under way; [`ErrorKind::Damaged`] if the configuration, a window or the header of a segment
    /// is: `inspect::recover` copies what can be read. Damage within messages is copied as it is.
    ///
    /// ```
    /// # use libqueue::{Message, Store, StoreOptions, TopicOptions};
    /// # let folder = tempfile::TempDir::new().unwrap();
    /// # let (path, copy) = (folder.path().join("queue"), folder.path().join("copy"));
    /// let store = Store::open(&path, StoreOptions::default())?;
    /// let orders = store.topic("orders", &TopicOptions::default())?;
    /// orders.send(&Message::new(b"paid"))?;
    /// let made = store.backup(&copy, &mut |_done, _total| Ok(()))?;
    /// assert_eq!(made.topics, 1);
    /// assert_eq!(Store::open(&copy, StoreOptions::default())?.topics()?, ["orders"]);
    /// # Ok::<(), libqueue::Error>(())
    /// ```
    pub fn backup(
        &self,
        to: impl AsRef<Path>,
        progress: &mut dyn FnMut(u64, u64) -> Result<()>,
    ) -> Result<BackupStats> {
        let inner = self.inner()?;
        inner.check_writable("back up a store whose groups nobody looks after")?;
        let (storage, mode) = (&*inner.env.storage, inner.env.mode);
        let target = Target::begin(storage, &inner.path, to.as_ref(), mode)?;
        let shot = Shot::take(inner, None);
        let made = shot.and_then(|shot| copy(inner, &shot, &target.folder, progress));
        match made {
            Ok(stats) => target.finish().map(|()| stats),
            Err(error) => Err(target.give_up(error)),
        }
    }
}

/// A copy that is under way.
struct Copy<'a> {
    storage: &'a dyn Storage,
    mode: u32,
    done: u64,
    total: u64,
    progress: &'a mut Progress<'a>,
}

fn copy<'a>(
    store: &'a StoreInner,
    shot: &Shot,
    folder: &Path,
    progress: &'a mut Progress<'a>,
) -> Result<BackupStats> {
    let mut copy = Copy {
        storage: &*store.env.storage,
        mode: store.env.mode,
        done: 0,
        total: shot.bytes(),
        progress,
    };
    let topics = folder.join(names::TOPICS);
    copy.folder(&topics)?;
    for topic in &shot.topics {
        copy.topic(topic, &names::topic_folder(folder, &topic.inner.name))?;
    }
    copy.storage.sync_dir(&topics)?;
    let text = meta::encode("store", &[("id", store.id.clone())]);
    copy.file(&folder.join(names::STORE_META), text.as_bytes())?;
    (copy.progress)(copy.total, copy.total)?;
    Ok(BackupStats {
        topics: shot.topics.len() as u64,
        groups: shot.groups(),
        bytes: copy.total,
    })
}

impl Copy<'_> {
    fn folder(&self, path: &Path) -> Result<()> {
        self.storage.create_dir(path, folder_mode(self.mode))
    }

    fn file(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        put_file(self.storage, path, bytes, self.mode)
    }

    fn topic(&mut self, topic: &TopicShot, folder: &Path) -> Result<()> {
        self.folder(folder)?;
        let uid = topic.inner.uid;
        for (number, log) in (0..).zip(&topic.logs) {
            let partition = &topic.inner.partitions[number as usize];
            let path = names::partition_folder(folder, number);
            self.folder(&path)?;
            self.log(partition, log, &path)?;
            self.reserve(log, owner(uid, number), &path)?;
            self.storage.sync_dir(&path)?;
        }
        let groups = folder.join(names::GROUPS);
        self.folder(&groups)?;
        for group in &topic.groups {
            self.group(topic, group, &groups.join(&group.name))?;
        }
        self.storage.sync_dir(&groups)?;
        let ends: Vec<u64> = topic.logs.iter().map(|log| log.end).collect();
        let start = |log: &Pinned| log.segments.first().map_or(log.end, PinnedSegment::base);
        let starts: Vec<u64> = topic.logs.iter().map(start).collect();
        topic.inner.copy_ledgers(folder, &starts, &ends)?;
        if topic.priorities {
            self.file(&folder.join(names::PRIORITIES), b"")?;
        }
        let text = topic_meta::write(uid, &topic.config);
        self.file(&folder.join(names::TOPIC_META), text.as_bytes())?;
        self.storage.sync_dir(folder)
    }

    fn log(&mut self, partition: &Partition, log: &Pinned, folder: &Path) -> Result<()> {
        let mut voids = log.voids();
        for one in &log.segments {
            self.segment(partition, one, &folder.join(names::segment(one.base())))?;
        }
        // What a failed sync takes back becomes padding in place, of which a part may be copied.
        for _ in 0..TRIES {
            if partition.voids() == voids {
                return Ok(());
            }
            voids = partition.settled_voids()?;
            for one in log.segments.iter().filter(|one| !one.sealed) {
                let path = folder.join(names::segment(one.base()));
                self.storage.unlink(&path)?;
                self.done -= one.used;
                self.segment(partition, one, &path)?;
            }
        }
        let message = format!(
            "syncs of {} fail all the time; check the disk, then call again",
            partition.folder().display()
        );
        Err(Error::new(ErrorKind::Busy, message))
    }

    fn segment(&mut self, from: &Partition, one: &PinnedSegment, path: &Path) -> Result<()> {
        let file = self.storage.open(path, Access::CreateNew, self.mode)?;
        let source = one.file(from).filter(|_| one.sealed);
        if !self.by_kernel(&*file, source.as_deref(), one)? {
            // Real blocks behind every byte, as of any segment (P5).
            file.allocate(one.capacity())?;
            let mut at = 0;
            while at < one.used {
                let some = STEP.min(one.used - at);
                file.write_at(one.bytes(at, some as usize)?, at)?;
                at += some;
                self.tick(some)?;
            }
        }
        file.sync()
    }

    /// Whether the kernel copied it.
    fn by_kernel(
        &mut self,
        file: &dyn File,
        source: Option<&dyn File>,
        one: &PinnedSegment,
    ) -> Result<bool> {
        let Some(source) = source else {
            return Ok(false);
        };
        let (done, mut at) = (self.done, 0);
        while at < one.used {
            let some = STEP.min(one.used - at);
            if !file.copy_from(source, at, some)? {
                self.done = done;
                return Ok(false);
            }
            at += some;
            self.tick(some)?;
        }
        Ok(true)
    }

    fn tick(&mut self, bytes: u64) -> Result<()> {
        self.done += bytes;
        (self.progress)(self.done.min(self.total), self.total)
    }

    /// As the last member that leaves writes it. Of a partition that nothing was ever sent to there
    /// is none.
    fn reserve(&self, log: &Pinned, owner: u64, folder: &Path) -> Result<()> {
        if log.end == 0 {
            return Ok(());
        }
        let none = log.segment == NONE;
        let reserve = Reserve {
            generation: 1,
            limit: log.end,
            mark_segment: log.segment,
            mark_position: if none { 0 } else { log.position },
            mark_offset: log.end,
            mark_timestamp: log.timestamp_ns,
            clean: true,
            boot: self.storage.boot_id(),
            owner,
            first: log.first,
        };
        let mut bytes = vec![0; FILE as usize];
        let slot = SLOTS[0] as usize;
        let encoded = reserve.encode();
        bytes[slot..slot + encoded.len()].copy_from_slice(&encoded);
        self.file(&folder.join(names::RESERVE), &bytes)
    }

    fn group(&self, topic: &TopicShot, group: &GroupShot, folder: &Path) -> Result<()> {
        self.folder(folder)?;
        let (id, limit) = (group.meta.id, group.meta.config.window);
        for (number, window) in (0..).zip(&group.windows) {
            let path = folder.join(names::window(number));
            let truth = window
                .truth(limit)?
                .ok_or_else(|| too_wide(group, number))?;
            Window::restore(self.storage, &path, self.mode, (id, number), limit, &truth)?;
        }
        group.each_snapshot(self.storage, &topic.logs, |name, bytes| {
            self.file(&folder.join(names::snapshot(name)), bytes)
        })?;
        let text = write_meta(&group.meta);
        self.file(&folder.join(names::GROUP_META), text.as_bytes())?;
        self.storage.sync_dir(folder)
    }
}

#[cold]
fn too_wide(group: &GroupShot, partition: u32) -> Error {
    let message = format!(
        "the window of group {:?} over partition {partition} is wider than its configuration says, \
         so it is damaged; `libqueue recover` copies what can be read",
        group.name
    );
    Error::new(ErrorKind::Damaged, message)
}
