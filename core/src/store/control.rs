//! Typed access to `control`, the shared memory of a store.
//!
//! Blocks are only ever appended and linked, never moved or freed, so that a reference into them is
//! good for as long as the store is open, and the list can be walked without its lock.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::control_block::{Block, HEAD_BYTES, bytes_of};
use super::control_known::Known;
use super::inner::locked;
use crate::error::{Error, ErrorKind, Result};
use crate::format::control::{
    BLOCKS, GROWTH, MAPPED, SIGNATURE, block, consumer, flow, group_partition, header, member,
    partition, sent,
};
use crate::shm::{Liveness, Mapping, Owner, OwnerLock, Region};
use crate::storage::{Access, File, Storage};

const TOPIC: u64 = 1;
pub(super) const GROUP: u64 = 2;
const PRODUCER: u64 = 3;

/// The mapped file, before anyone has joined.
pub(super) struct Shared {
    map: Arc<Mapping>,
    file: Option<Arc<dyn File>>,
    pub(super) header: Region,
    pub(super) members: Region,
    pub(super) consumers: Region,
}

fn boot_words(id: [u8; 16]) -> [u64; 2] {
    let word = |at: usize| crate::format::u64_at(&id, at);
    [word(0), word(8)]
}

impl Shared {
    fn over(map: Arc<Mapping>, file: Option<Arc<dyn File>>) -> Option<Self> {
        let part = |at, bytes| Region::new(&map, at, bytes);
        let header = part(0, header::WORDS * 8)?;
        let members = part(member::AT, member::SLOTS * member::WORDS * 8)?;
        let consumers = part(consumer::AT, consumer::SLOTS * consumer::WORDS * 8)?;
        Some(Self {
            map,
            file,
            header,
            members,
            consumers,
        })
    }

    fn of_file(file: Arc<dyn File>) -> Result<Option<Self>> {
        let map = file.map(MAPPED, true)?;
        Ok(Self::over(map, Some(file)))
    }

    /// Memory of this process alone, for a store that is only read.
    pub(super) fn private() -> Result<Self> {
        // Enough for the blocks of any store that is only read; untouched pages cost nothing.
        let map = Arc::new(Mapping::anonymous(MAPPED)?);
        let made = Self::over(map, None).ok_or_else(|| damaged("private memory is too small"))?;
        made.fill([0; 16]);
        Ok(made)
    }

    /// Lays `control` out afresh; only by who holds the store's lock exclusively. A death anywhere
    /// in here leaves a file without "laid out", which nobody joins and the next one replaces.
    pub(super) fn lay_out(storage: &dyn Storage, path: &Path, mode: u32) -> Result<Self> {
        discard(storage, path)?;
        let file = storage.open(path, Access::CreateNew, mode)?;
        file.allocate((BLOCKS as u64).next_multiple_of(GROWTH))?;
        let made = Self::of_file(file)?
            .ok_or_else(|| damaged(format!("{} is shorter than allocated", path.display())))?;
        made.fill(storage.boot_id());
        Ok(made)
    }

    fn fill(&self, boot: [u8; 16]) {
        let [low, high] = boot_words(boot);
        self.header.set(header::SIGNATURE, SIGNATURE);
        self.header.set(header::BOOT, low);
        self.header.set(header::BOOT + 1, high);
        self.header.set(header::ALLOCATED, BLOCKS as u64);
        // Last, with release order: who sees it sees all the rest.
        self.header
            .store(header::LAID_OUT, super::inner::draw(), Ordering::Release);
    }

    /// The present `control`, by who holds the store's lock shared; `None` if it must be laid out
    /// anew: missing, half done, or of another start of the host.
    pub(super) fn join(storage: &dyn Storage, path: &Path) -> Result<Option<Self>> {
        if !storage.exists(path)? {
            return Ok(None);
        }
        let file = match storage.open(path, Access::ReadWrite, 0) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let Some(found) = Self::of_file(file)? else {
            return Ok(None);
        };
        if found.header.load(header::LAID_OUT, Ordering::Acquire) == 0 {
            return Ok(None);
        }
        let signature = found.header.get(header::SIGNATURE);
        if signature != SIGNATURE {
            return Err(Error::new(
                ErrorKind::Incompatible,
                format!(
                    "{} is in use by a build of libqueue that lays it out differently \
                     ({signature:#018x}, expected {SIGNATURE:#018x}); use the same version in all \
                     processes that share a store at one time",
                    path.display()
                ),
            ));
        }
        let boot = [
            found.header.get(header::BOOT),
            found.header.get(header::BOOT + 1),
        ];
        Ok((boot == boot_words(storage.boot_id())).then_some(found))
    }

    /// Raises the mapping's limit if others have made the file longer; whether `end` is inside.
    fn reach(&self, end: usize) -> Result<bool> {
        if end > self.map.limit()
            && let Some(file) = &self.file
        {
            self.map
                .set_limit(usize::try_from(file.len()?).unwrap_or(usize::MAX));
        }
        Ok(end <= self.map.limit())
    }

    pub(super) fn region(&self, at: usize, bytes: usize) -> Result<Region> {
        let inside = at >= BLOCKS && self.reach(at.saturating_add(bytes))?;
        let found = if inside {
            Region::new(&self.map, at, bytes)
        } else {
            None
        };
        found.ok_or_else(|| {
            damaged(format!(
                "control names a block at {at}, outside of the file"
            ))
        })
    }
}

/// What a former life left is made useless before it is unlinked: a process that lost its kernel
/// locks and still has it mapped finds its member slot empty and is fenced.
fn discard(storage: &dyn Storage, path: &Path) -> Result<()> {
    if !storage.exists(path)? {
        return Ok(());
    }
    let old = storage.open(path, Access::ReadWrite, 0)?;
    if let Some(old) = Shared::of_file(old)? {
        old.header.store(header::LAID_OUT, 0, Ordering::Release);
        for slot in 0..member::SLOTS {
            old.members
                .store(slot * member::WORDS + member::STATE, 0, Ordering::Release);
        }
    }
    storage.unlink(path)
}

#[cold]
pub(super) fn circle() -> Error {
    damaged("the list of blocks of control goes in a circle")
}

#[cold]
pub(super) fn damaged(what: impl Into<String>) -> Error {
    let advice = "; close the store in all processes, the next open lays control out anew";
    Error::new(ErrorKind::Damaged, what.into() + advice)
}

/// `control`, as a member uses it.
pub(crate) struct Control {
    pub(super) shared: Arc<Shared>,
    pub(super) me: Owner,
    pub(super) live: Arc<dyn Liveness>,
    pub(super) timeout: Duration,
    /// Where the blocks are that were linked so far.
    pub(super) known: Mutex<Known>,
}

impl Control {
    /// The header's words: `format::control::header`.
    pub(crate) fn header(&self) -> &Region {
        &self.shared.header
    }

    /// By who is alone and leaves: nobody joins any more, and the next one lays it out anew.
    pub(super) fn end_life(&self) {
        self.header().store(header::LAID_OUT, 0, Ordering::Release);
    }

    /// The block of a topic and its partitions, found by id, appended if there is none.
    pub(crate) fn topic_block(&self, topic: u64, partitions: u32) -> Result<Block> {
        self.find_or_append(TOPIC, topic, 0, partitions)
    }

    /// The block of a topic that any process opened in this life of `control`.
    pub(crate) fn opened_topic(&self, topic: u64) -> Result<Option<Block>> {
        self.find(TOPIC, topic)
    }

    /// Whether a topic or a group has this id that any process opened in this life of `control`.
    pub(crate) fn knows(&self, id: u64) -> Result<bool> {
        Ok(self.find(TOPIC, id)?.is_some() || self.find(GROUP, id)?.is_some())
    }

    /// The block of a group and its partitions, found by id, appended if there is none.
    pub(crate) fn group_block(&self, topic: u64, group: u64, partitions: u32) -> Result<Block> {
        self.find_or_append(GROUP, group, topic, partitions)
    }

    /// The block of a topic's producer, found by id, appended if there is none.
    pub(crate) fn producer_block(&self, topic: u64, producer: u64) -> Result<Block> {
        self.find_or_append(PRODUCER, producer, topic, 0)
    }

    /// The blocks of a topic's groups that any process opened in this life of `control`.
    pub(crate) fn groups_of(&self, topic: u64) -> Result<Vec<Block>> {
        let places = self.with_known(|known| known.groups_of(topic).to_vec())?;
        places.into_iter().map(|at| self.group_at(at)).collect()
    }

    /// The blocks of a topic's producers that any process opened in this life of `control`.
    pub(crate) fn producers_of(&self, topic: u64) -> Result<Vec<Block>> {
        let mut producers = Vec::new();
        self.walk(|kind, found| {
            if kind == PRODUCER && found.topic() == topic {
                producers.push(found);
            }
            false
        })?;
        Ok(producers)
    }

    /// Whether this member holds any lock.
    pub(crate) fn holds_any_lock(&self) -> Result<bool> {
        let held = |region: &Region, word| OwnerLock::is_held_by(region.word32(word), self.me);
        let of_partition = [
            partition::LOCK,
            partition::SYNC_LOCK,
            partition::SLOW_LOCK,
            partition::LARGE_LOCK,
        ];
        let mut any = header::LOCKS.iter().any(|word| held(self.header(), *word));
        self.walk(|kind, found| {
            let of_head = [block::MOVER_LOCK, block::LIFE_LOCK];
            let locks = if kind == GROUP {
                &[group_partition::LOCK, group_partition::SYNC_LOCK][..]
            } else {
                &of_partition[..]
            };
            let in_partition = |part: &Region| locks.iter().any(|word| held(part, *word));
            let of_flow = [flow::LOCK, flow::COUNT_LOCK];
            any |= kind == GROUP && of_head.iter().any(|word| held(&found.head, *word));
            any |= (found.flow.iter()).any(|part| of_flow.iter().any(|word| held(part, *word)));
            any |= kind == TOPIC && held(&found.head, block::RETAIN_LOCK);
            let of_sent = [sent::LOCK, sent::SLOW_LOCK];
            any |= kind != GROUP && of_sent.iter().any(|word| held(&found.head, *word));
            any |= found.partitions.iter().any(in_partition);
            any
        })?;
        Ok(any)
    }

    /// Ids of the topics of which a partition was opened with one of these durabilities.
    pub(crate) fn topics_with(&self, promised: u64) -> Result<Vec<u64>> {
        let mut topics = Vec::new();
        self.walk(|kind, found| {
            let of = |part: &Region| part.load(partition::PROMISED, Ordering::Acquire) & promised;
            if kind == TOPIC && found.partitions.iter().any(|part| of(part) != 0) {
                topics.push(found.id());
            }
            false
        })?;
        Ok(topics)
    }

    /// The blocks of all topics that any process opened in this life of `control`.
    pub(crate) fn opened_topics(&self) -> Result<Vec<Block>> {
        let mut topics = Vec::new();
        self.walk(|kind, found| {
            if kind == TOPIC {
                topics.push(found);
            }
            false
        })?;
        Ok(topics)
    }

    /// The group's block at a position that a consumer's entry names.
    pub(crate) fn group_at(&self, at: u64) -> Result<Block> {
        let (kind, found, _) = self.block(at)?;
        let wrong = || {
            damaged(format!(
                "control names a group at {at}, another block is there"
            ))
        };
        (kind == GROUP).then_some(found).ok_or_else(wrong)
    }

    fn block(&self, at: u64) -> Result<(u64, Block, u64)> {
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        let head = self.shared.region(at, HEAD_BYTES)?;
        let (kind, count) = (head.get(block::KIND), head.get(block::PARTITIONS));
        let words = if kind == GROUP {
            group_partition::WORDS
        } else {
            partition::WORDS
        };
        if count > u64::from(crate::options::PARTITIONS_MAX) || !(TOPIC..=PRODUCER).contains(&kind)
        {
            return Err(damaged(format!(
                "the block at {at} of control is no topic's, group's or producer's"
            )));
        }
        let mut partitions = Vec::with_capacity(count as usize);
        for number in 0..count as usize {
            let start = at + HEAD_BYTES + number * words * 8;
            partitions.push(self.shared.region(start, words * 8)?);
        }
        let flow = match kind {
            GROUP => None,
            _ => {
                let start = at + HEAD_BYTES + partitions.len() * words * 8;
                Some((self.shared).region(start, flow::words(partitions.len()) * 8)?)
            }
        };
        let next = head.get(block::NEXT);
        let block = Block {
            head,
            partitions,
            flow,
        };
        Ok((kind, block, next))
    }

    /// Shows each block until `stop` says so. Needs no lock: blocks are linked when they are whole.
    fn walk(&self, mut stop: impl FnMut(u64, Block) -> bool) -> Result<()> {
        let mut at = self.header().load(header::FIRST_BLOCK, Ordering::Acquire);
        for _ in 0..MAPPED / HEAD_BYTES {
            if at == 0 {
                return Ok(());
            }
            let (kind, found, next) = self.block(at)?;
            if stop(kind, found) {
                return Ok(());
            }
            at = next;
        }
        Err(circle())
    }

    fn find(&self, kind: u64, id: u64) -> Result<Option<Block>> {
        let at = self.with_known(|known| known.place_of(kind, id))?;
        let Some((of, found, _)) = at.map(|at| self.block(at)).transpose()? else {
            return Ok(None);
        };
        match of == kind && found.id() == id {
            true => Ok(Some(found)),
            false => Err(damaged(format!(
                "the block of id {id:x} in control changed"
            ))),
        }
    }

    /// What is known of the blocks, with those that were linked since.
    pub(super) fn with_known<T>(&self, look: impl FnOnce(&Known) -> T) -> Result<T> {
        let mut known = locked(&self.known);
        let first = self.header().load(header::FIRST_BLOCK, Ordering::Acquire);
        if first != known.first() {
            known.follow(first, |at| {
                let at = usize::try_from(at).unwrap_or(usize::MAX);
                let head = self.shared.region(at, HEAD_BYTES)?;
                Ok([block::KIND, block::ID, block::TOPIC, block::NEXT].map(|word| head.get(word)))
            })?;
        }
        Ok(look(&known))
    }

    fn find_or_append(&self, kind: u64, id: u64, topic: u64, partitions: u32) -> Result<Block> {
        let bytes = bytes_of(kind, partitions as usize);
        loop {
            if let Some(found) = self.find(kind, id)? {
                return found.of_so_many(partitions);
            }
            let lock = self.header().word32(header::REGISTRY_LOCK);
            // A dead holder leaves nothing to repair: at worst room that nobody uses.
            let (held, _) = OwnerLock::hold(lock, self.me, &*self.live, self.timeout)?;
            if let Some(found) = self.find(kind, id)? {
                return found.of_so_many(partitions);
            }
            let at = self.header().get(header::ALLOCATED) as usize;
            let end = at.saturating_add(bytes);
            if end > MAPPED {
                return Err(full());
            }
            if self.shared.reach(end)? {
                return self.append(at, end, [kind, id, topic, u64::from(partitions)]);
            }
            drop(held);
            // Growing is slow, so it is done without the lock, and then looked at again.
            if let Some(file) = &self.shared.file {
                file.allocate((end as u64).next_multiple_of(GROWTH))?;
            }
        }
    }

    /// With the registry lock held. The room is taken before the block is linked: a death between
    /// the two costs the room, the other order would hand it out twice.
    fn append(&self, at: usize, end: usize, [kind, id, topic, count]: [u64; 4]) -> Result<Block> {
        // A dead one may have written here without taking the room.
        let zeroed = self.shared.map.zero(at, end - at);
        zeroed.ok_or_else(|| damaged("control cannot be written"))?;
        let head = self.shared.region(at, HEAD_BYTES)?;
        head.set(block::KIND, kind);
        head.set(block::ID, id);
        head.set(block::TOPIC, topic);
        head.set(block::PARTITIONS, count);
        head.set(block::NEXT, self.header().get(header::FIRST_BLOCK));
        self.header().set(header::ALLOCATED, end as u64);
        self.header()
            .store(header::FIRST_BLOCK, at as u64, Ordering::Release);
        Ok(self.block(at as u64)?.1)
    }
}

#[cold]
fn full() -> Error {
    let message = format!(
        "control has no room for another topic or group (all {MAPPED} bytes are taken); close the \
         store in all processes and open it again: only what is used takes room"
    );
    Error::new(ErrorKind::TooMany, message)
}
