//! The store as its users see it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::forked::Forkable;
use super::inner::{StoreInner, locked};
use super::open::{self, World};
use crate::clock::SystemClock;
use crate::error::Result;
use crate::format::names;
use crate::options::StoreOptions;
use crate::storage::{Disk, Storage};

/// A store: a folder of topics that this process has open. Clones are the same store.
///
/// Dropping the last handle of a store leaves it; [`Store::close`] does so and tells of errors. In
/// the child of a fork the handle joins the store anew on its first use.
#[derive(Clone)]
pub struct Store {
    path: PathBuf,
    opened: Arc<Forkable<Arc<StoreInner>>>,
}

/// What a store holds at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreStats {
    /// Number of topics.
    pub topics: u64,
    /// Members now: openings of the store, in all processes. 0 in a store that is only read.
    pub members: u64,
    /// Bytes of all its files.
    pub disk_bytes: u64,
}

fn world() -> World {
    World {
        storage: Arc::new(Disk),
        clock: Arc::new(SystemClock::ready()),
        housekeeping: true,
    }
}

impl Store {
    /// Opens the store at `path`, creates it where there is none (see [`StoreOptions::create`]).
    ///
    /// Errors: `NotFound`, `NotAStore` (a file, or a folder with other things), `Incompatible` (a
    /// newer format), `NetworkFilesystem`, `PermissionDenied`, `ReadOnly`, `Damaged`, `Stuck`
    /// (another process was laying it out all the time), `TooMany`. A store that cannot be opened
    /// is not changed.
    pub fn open(path: impl AsRef<Path>, options: StoreOptions) -> Result<Self> {
        let inner = open::open(path.as_ref(), &options, &world())?;
        let path = inner.path.clone();
        Ok(Self {
            path,
            opened: Arc::new(Forkable::new(inner)),
        })
    }

    /// On another storage than the disk.
    #[cfg(test)]
    pub(crate) fn open_on(
        storage: Arc<dyn Storage>,
        path: &Path,
        options: &StoreOptions,
    ) -> Result<Self> {
        let world = World { storage, ..world() };
        Self::open_in(&world, path, options)
    }

    /// On another storage, and by another clock.
    pub(crate) fn open_in(world: &World, path: &Path, options: &StoreOptions) -> Result<Self> {
        let inner = open::open(path, options, world)?;
        let path = inner.path.clone();
        Ok(Self {
            path,
            opened: Arc::new(Forkable::new(inner)),
        })
    }

    /// As the end of the process does: its kernel locks are gone, and nothing is tidied up. They
    /// are gone, for the kernel, only once no process that this one is starting, for another test,
    /// has copies of its descriptors: with one that still looks alive nobody finds anything to do.
    #[cfg(test)]
    pub(crate) fn die(&self) {
        let Some(inner) = self.opened.peek() else {
            return;
        };
        let Some(lock) = inner.lock.as_ref() else {
            return;
        };
        lock.close();
        let (env, path) = (&*inner.env, inner.path.join(names::LOCK));
        let look = env.storage.lock_file(&path, false, env.mode).expect("look");
        let byte = crate::format::control::lock::MEMBER_BYTES + u64::from(env.me.slot);
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        // Whoever found it dead already may have given its place away.
        while look.held_by_other(byte) && env.check_fence().is_ok() {
            assert!(std::time::Instant::now() < deadline, "it does not die");
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }

    /// What this process has open; in the child of a fork it joins anew first (P17).
    #[inline]
    pub(crate) fn inner(&self) -> Result<&Arc<StoreInner>> {
        let inner = self.opened.get(|parents| {
            let options = StoreOptions {
                create: false,
                ..parents.options.clone()
            };
            open::open(&parents.path, &options, &world())
        })?;
        inner.check_open()?;
        Ok(inner)
    }

    /// The store's folder, absolute.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The store's id, which stays the same wherever its folder is moved.
    pub fn id(&self) -> Result<String> {
        Ok(self.inner()?.id.clone())
    }

    /// The names of its topics, sorted.
    pub fn topics(&self) -> Result<Vec<String>> {
        let inner = self.inner()?;
        let storage = &*inner.env.storage;
        let mut topics = Vec::new();
        for name in storage.list(&inner.path.join(names::TOPICS))? {
            // A topic is one once its configuration stands; before, its creator may have died.
            let folder = names::topic_folder(&inner.path, &name);
            if inner.has_topic(&folder)? {
                topics.push(name);
            } else if !inner.is_read_only() {
                // What fails is done by the next one.
                let _ = inner.try_finish_topic_deletion(&folder);
            }
        }
        if !inner.is_read_only() {
            let _ = inner.clear_away();
        }
        Ok(topics)
    }

    /// Numbers of the store. Walks its folders: not for a hot path.
    pub fn stats(&self) -> Result<StoreStats> {
        let inner = self.inner()?;
        Ok(StoreStats {
            topics: self.topics()?.len() as u64,
            members: inner.member_count() as u64,
            disk_bytes: disk_bytes(&*inner.env.storage, &inner.path),
        })
    }

    /// Puts on disk all that was sent, by any process, to the topics that this one has open.
    pub fn sync(&self) -> Result<()> {
        let inner = self.inner()?;
        inner.check_writable("sync")?;
        let tended: Vec<_> = locked(&inner.tended).values().cloned().collect();
        // Each part is synced even if one before it failed; the first failure is told.
        let mut done = Ok(());
        for part in tended {
            done = done.and(part.sync());
        }
        done
    }

    /// Leaves the store, in all clones of this handle. Errors with `Busy`, naming them, while
    /// topics, consumers or readers are open. Closing twice is fine.
    pub fn close(&self) -> Result<()> {
        // A child that never used its handle is no member and has nothing to leave.
        self.opened.peek().map_or(Ok(()), |inner| inner.close())
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("path", &self.path).finish()
    }
}

/// Bytes of the files in a folder and those below it. What vanishes meanwhile counts nothing.
fn disk_bytes(storage: &dyn Storage, folder: &Path) -> u64 {
    let Ok(found) = storage.list(folder) else {
        return 0;
    };
    let of = |name: &String| {
        let path = folder.join(name);
        let file = storage.open(&path, crate::storage::Access::Read, 0);
        match storage.list(&path) {
            Ok(_) => disk_bytes(storage, &path),
            Err(_) => file.and_then(|opened| opened.len()).unwrap_or(0),
        }
    };
    found.iter().map(of).sum()
}
