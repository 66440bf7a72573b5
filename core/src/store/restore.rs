//! Writing a store anew with the ids, offsets and positions that another one had.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use super::Store;
use super::dead_letter::{held_attempts, walk};
use super::group_meta::{GroupMeta, Sought};
use super::inner::StoreInner;
use super::open::{World, create_as, new_id};
use super::source::source_of;
use super::topic::{Topic, unique_id};
use crate::clock::SystemClock;
use crate::error::{Error, ErrorKind, Result};
use crate::format::extension::Attributes;
use crate::format::record::body_crc;
use crate::format::{murmur2, names};
use crate::group::{Fresh, Truth, Window};
use crate::log::{Cursor, Draft, Record, Step};
use crate::options::{StoreOptions, TopicConfig};
use crate::storage::Disk;
use crate::storage::replace_file;

/// Partitions and offsets.
type Places = HashSet<(u32, u64)>;

/// A new store that is being filled. It is nobody else's before it is closed.
pub(crate) struct Restorer {
    store: Store,
}

impl Restorer {
    /// Makes a store with this id, or a new one, in an empty folder.
    pub(crate) fn make(folder: &Path, id: Option<String>) -> Result<Self> {
        let options = StoreOptions::default();
        create_as(&Disk, folder, options.mode, id.unwrap_or_else(new_id))?;
        // Without a thread of its own: nothing is removed or compacted while it is being filled.
        let world = World {
            storage: Arc::new(Disk),
            clock: Arc::new(SystemClock::ready()),
            housekeeping: false,
        };
        let store = Store::open_in(&world, folder, &options)?;
        Ok(Self { store })
    }

    /// As `make`, on the storage and by the clock of another store, without a thread of its own:
    /// nothing is removed while it is being filled.
    pub(crate) fn make_beside(of: &StoreInner, folder: &Path) -> Result<Self> {
        let options = StoreOptions {
            mode: of.options.mode,
            ..StoreOptions::default()
        };
        let world = World {
            storage: of.env.storage.clone(),
            clock: of.env.clock.clone(),
            housekeeping: false,
        };
        create_as(&*world.storage, folder, options.mode, new_id())?;
        let store = Store::open_in(&world, folder, &options)?;
        Ok(Self { store })
    }

    /// The new store's id.
    pub(crate) fn id(&self) -> Result<String> {
        self.store.id()
    }

    /// Makes a topic with this id, or a new one.
    pub(crate) fn topic(&self, name: &str, id: Option<u64>, config: &TopicConfig) -> Result<Topic> {
        let id = id.unwrap_or_else(unique_id);
        self.store.inner()?.create_as(name, id, config)?;
        let topic = self.store.open_topic(name)?;
        for partition in &topic.inner.partitions {
            // What is rescued or imported is not refused for it.
            partition.set_min_free(0);
        }
        Ok(topic)
    }

    /// Partition and offset of the messages of a topic whose dead letters, of this group and of the
    /// time since it was sought, are in the topic `target`; and the group's id, where it was lost
    /// that of the last letter that names the group: those before it may be of one that was
    /// deleted.
    pub(crate) fn dead_letters(
        &self,
        target: &str,
        (topic, group): (&str, &str),
        mut id: Option<u64>,
        sought: &[Sought],
    ) -> Result<(Option<u64>, Places)> {
        let target = match self.store.inner()?.topic_inner(target) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok((id, Places::new())),
            opened => opened?,
        };
        let (known, mut found) = (id, HashMap::<u64, Places>::new());
        let each = |_, record: &Record| {
            let since = |partition: u32| {
                let sought = sought.get(partition as usize);
                sought.is_none_or(|sought| record.offset >= sought.dead_from)
            };
            let source = source_of(record)
                .filter(|of| (of.topic, of.group) == (topic, group))
                .filter(|of| known.is_none_or(|known| known == of.group_id));
            let Some(of) = source else { return true };
            id = Some(of.group_id);
            // Of one that holds its key the window tells.
            if since(of.partition) && held_attempts(record).is_none() {
                let of_group = found.entry(of.group_id).or_default();
                of_group.insert((of.partition, of.offset));
            }
            true
        };
        walk(&target, Cursor::at_offset(0), each, |_| true)?;
        let dead = id.and_then(|id| found.remove(&id));
        Ok((id, dead.unwrap_or_default()))
    }

    /// Leaves the store as the last member does: all is on disk.
    pub(crate) fn close(self) -> Result<()> {
        self.store.close()
    }
}

/// Extension, key, headers block and payload of a message.
pub(crate) type Parts<'a> = (&'a [u8], Option<&'a [u8]>, &'a [u8], &'a [u8]);

impl Topic {
    /// Appends a message, its extension, key, headers block and payload, with the offset and the
    /// time it had; offsets before it are passed over.
    pub(crate) fn restore_message(
        &self,
        partition: u32,
        offset: u64,
        timestamp_ns: i64,
        (extension, key, headers, payload): Parts<'_>,
    ) -> Result<()> {
        let log = self.inner.partition(partition)?;
        if Attributes::decode(extension).is_some_and(|one| one.priority > 0) {
            self.inner.note_priorities()?;
        }
        log.skip_to(offset)?;
        let given = log.append(&[Draft {
            extension,
            key,
            headers,
            payload,
            timestamp_ns: Some(timestamp_ns),
            body_crc: body_crc([extension, key.unwrap_or_default(), headers, payload]),
            key_hash: key.map_or(0, murmur2::key_hash),
        }])?;
        if given == offset {
            return Ok(());
        }
        let name = self.name();
        let message = format!("partition {partition} of {name} gave {given}, expected {offset}");
        Err(Error::new(ErrorKind::Internal, message))
    }

    /// The offset that the next message of a partition gets.
    pub(crate) fn next_offset_of(&self, partition: u32) -> Result<u64> {
        Ok(self.inner.partition(partition)?.next_offset())
    }

    /// Whether dead letters of a group may go where its configuration says.
    pub(crate) fn check_dead_letters_of(&self, group: &str, meta: &GroupMeta) -> Result<()> {
        let target = &meta.config.dead_letter_topic;
        self.inner.check_dead_letters(group, target)
    }

    /// No offset below this one is given out any more.
    pub(crate) fn pass_over(&self, partition: u32, offset: u64) -> Result<()> {
        self.inner.partition(partition)?.skip_to(offset)
    }

    /// Calls `each` with the messages from one offset to another, until it says that it is enough.
    pub(crate) fn places(
        &self,
        partition: u32,
        (from, to): (u64, u64),
        mut each: impl FnMut(&Fresh) -> bool,
    ) -> Result<()> {
        let log = self.inner.partition(partition)?;
        let mut cursor = Cursor::at_offset(from);
        while let Step::Record {
            offset,
            position,
            key_hash: key,
            attributes,
            next,
            ..
        } = log.look(&mut cursor)?
        {
            let fresh = Fresh {
                offset,
                position,
                key,
                attributes,
            };
            if offset >= to || (offset >= from && !each(&fresh)) {
                break;
            }
            cursor = next;
        }
        Ok(())
    }

    /// Gives a group that was made anew a snapshot, as it was.
    pub(crate) fn restore_snapshot(&self, group: &str, name: &str, bytes: &[u8]) -> Result<()> {
        names::check_snapshot(name)?;
        let (env, folder) = (&self.inner.store.env, &self.inner.folder);
        let path = names::group_folder(folder, group).join(names::snapshot(name));
        replace_file(&*env.storage, &path, bytes, env.mode)
    }

    /// Makes a group with this id, or a new one where that is 0, whose windows hold what is known,
    /// one for each partition.
    pub(crate) fn restore_group(
        &self,
        name: &str,
        mut meta: GroupMeta,
        windows: &[Truth],
    ) -> Result<()> {
        let topic = &self.inner;
        let env = &*topic.store.env;
        if meta.id == 0 {
            meta.id = unique_id();
        }
        names::check("group", name)?;
        let held = topic.store.hold_create_lock()?;
        topic.make_group(name, &meta, |folder| {
            for (number, truth) in (0..).zip(windows) {
                let path = folder.join(names::window(number));
                let (ids, limit) = ((meta.id, number), meta.config.window);
                Window::restore(&*env.storage, &path, env.mode, ids, limit, truth)?;
            }
            env.storage.sync_dir(folder)
        })?;
        drop(held);
        // Its windows are closed with the store.
        if meta.lane_of.is_some() {
            topic.tend_restored(name, &meta);
            return Ok(());
        }
        topic.group_inner(name).map(|_| ())
    }
}
