//! The open protocol: who is alone lays the store out, everyone else joins.
//!
//! A member holds the store's byte of `lock` shared for as long as it has the store open. Whoever
//! gets it exclusively is alone: it discards `control`, lays it out afresh, says so last, and steps
//! down to shared. One that had to wait looks whether `control` was laid out: the one that was at
//! it may have died, and then it tries to be alone again.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::ballast::Ballast;
use super::control::{Control, Shared};
use super::housekeeping::{Housekeeper, Tasks};
use super::inner::{Parts, StoreInner, draw, locked};
use super::member::{Members, Nobody, too_many};
use super::read_only::ReadOnly;
use super::transactions::Journal;
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::format::control::lock::{READER_BYTE, STORE_BYTE};
use crate::format::meta::{self, Bad};
use crate::format::{VERSION, names};
use crate::log::Env;
use crate::options::StoreOptions;
use crate::shm::{LockFile, Owner};
use crate::storage::{Access, Storage, replace_file};

const NAP: Duration = Duration::from_millis(1);
const META_MAX: u64 = 64 * 1024;
const NOT_A_FOLDER: i32 = 20;

/// What a store is opened with besides its path and options.
pub(crate) struct World {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Whether a thread keeps house: not in a simulation, which replays.
    pub(crate) housekeeping: bool,
}

/// Permission bits of a folder: who may read or write a file may search the folder too.
pub(super) fn folder_mode(mode: u32) -> u32 {
    mode | (mode & 0o444) >> 2
}

/// Opens the store and joins it.
pub(super) fn open(path: &Path, options: &StoreOptions, world: &World) -> Result<Arc<StoreInner>> {
    options.check()?;
    let path = std::path::absolute(path).map_err(|e| Error::io("find", path, e))?;
    let storage = &*world.storage;
    let present = look(storage, &path, options)?;
    if options.read_only {
        return open_to_read(path, options, world);
    }
    if !present {
        storage.create_dir(&path, folder_mode(options.mode))?;
    }
    let lock = storage.lock_file(&path.join(names::LOCK), false, options.mode)?;
    let lock = Arc::new(lock);
    let deadline = Instant::now() + options.lock_timeout;
    let (shared, first) = enter(storage, &path, options, &lock, deadline)?;
    let id = read_meta(storage, &path)?;
    let store = join(path, id, options, world, shared, lock, deadline)?;
    if first {
        // Left by those of the life before, who died while they removed it; what fails is done by
        // the next one.
        let _ = store.clear_away();
    }
    Ok(store)
}

/// Looks at the path without changing anything. Whether the folder is there; an error if it cannot
/// be, or become, a store.
fn look(storage: &dyn Storage, path: &Path, options: &StoreOptions) -> Result<bool> {
    let create = options.create && !options.read_only;
    if !storage.exists(path)? {
        let Some(parent) = path.parent().filter(|_| create) else {
            return Err(missing(path));
        };
        refuse_network(storage, parent)?;
        return Ok(false);
    }
    let found = match storage.list(path) {
        Err(error) if error.os_code() == Some(NOT_A_FOLDER) => {
            let what = "it is a file, a store is a folder; give the folder's path";
            return Err(not_a_store(path, what));
        }
        found => found?,
    };
    refuse_network(storage, path)?;
    if found.iter().any(|name| name == names::STORE_META) {
        return read_meta(storage, path).map(|_| true);
    }
    if !may_become_a_store(storage, path, &found)? {
        // Others may have made it one since the folder was listed.
        if storage.exists(&path.join(names::STORE_META))? {
            return read_meta(storage, path).map(|_| true);
        }
        let what = format!(
            "the folder holds other things and no {}; give an empty folder or a new path",
            names::STORE_META
        );
        return Err(not_a_store(path, &what));
    }
    if create { Ok(true) } else { Err(missing(path)) }
}

/// An empty folder, or one whose creator died before it wrote `store.meta`.
fn may_become_a_store(storage: &dyn Storage, path: &Path, found: &[String]) -> Result<bool> {
    let temporary = format!(".{}.new", names::STORE_META);
    for name in found {
        let leftover = match name.as_str() {
            names::LOCK => storage
                .open(&path.join(name), Access::Read, 0)?
                .is_empty()?,
            names::TOPICS => storage
                .list(&path.join(name))
                .is_ok_and(|inside| inside.is_empty()),
            other => other == temporary,
        };
        if !leftover {
            return Ok(false);
        }
    }
    Ok(true)
}

fn refuse_network(storage: &dyn Storage, path: &Path) -> Result<()> {
    let Some(kind) = storage.network_kind(path)? else {
        return Ok(());
    };
    let message = format!(
        "{} lies on a network file system ({kind}), where hosts do not share locks and memory; put \
         the store on a local disk",
        path.display()
    );
    Err(Error::new(ErrorKind::NetworkFilesystem, message))
}

#[cold]
fn missing(path: &Path) -> Error {
    let message = format!(
        "there is no store at {}; open with create (and without read_only) to make one",
        path.display()
    );
    Error::new(ErrorKind::NotFound, message)
}

#[cold]
fn not_a_store(path: &Path, what: &str) -> Error {
    Error::new(
        ErrorKind::NotAStore,
        format!("{} is not a store: {what}", path.display()),
    )
}

/// The store's id from `store.meta`.
fn read_meta(storage: &dyn Storage, folder: &Path) -> Result<String> {
    let path = folder.join(names::STORE_META);
    let damaged = |what: &str| {
        let message = format!(
            "{} is damaged: {what}; restore it from a backup of the store",
            path.display()
        );
        Error::new(ErrorKind::Damaged, message)
    };
    let file = storage.open(&path, Access::Read, 0)?;
    let len = file.len()?;
    if len > META_MAX {
        return Err(damaged(&format!(
            "it has {len} bytes, expected at most {META_MAX}"
        )));
    }
    let mut bytes = vec![0; len as usize];
    file.read_at(&mut bytes, 0)?;
    match meta::decode("store", &bytes) {
        Ok(fields) => fields
            .get("id")
            .cloned()
            .ok_or_else(|| damaged("it names no id")),
        Err(Bad::Damaged(what)) => Err(damaged(&what)),
        Err(Bad::Version(found)) => {
            let message = format!(
                "{} has format {found}, this build reads format {VERSION}; use a version of \
                 libqueue that knows format {found}",
                path.display()
            );
            Err(Error::new(ErrorKind::Incompatible, message))
        }
    }
}

/// Takes the store's lock, alone or with others, until `control` stands; whether this one laid it
/// out.
fn enter(
    storage: &dyn Storage,
    path: &Path,
    options: &StoreOptions,
    lock: &LockFile,
    deadline: Instant,
) -> Result<(Arc<Shared>, bool)> {
    let control = path.join(names::CONTROL);
    loop {
        if lock.try_exclusive(STORE_BYTE)? {
            create(storage, path, options)?;
            let shared = Shared::lay_out(storage, &control, options.mode)?;
            lock.downgrade(STORE_BYTE)?;
            return Ok((Arc::new(shared), true));
        }
        if lock.try_shared(STORE_BYTE)? {
            match Shared::join(storage, &control)? {
                Some(shared) => return Ok((Arc::new(shared), false)),
                // Who was laying it out died. Nobody gets the lock exclusively as long as any that
                // found the same holds it shared.
                None => lock.unlock(STORE_BYTE)?,
            }
        }
        if Instant::now() >= deadline {
            return Err(stuck(path, options.lock_timeout));
        }
        thread::sleep(NAP);
    }
}

#[cold]
fn stuck(path: &Path, waited: Duration) -> Error {
    let message = format!(
        "the store {} was being laid out by another process for {waited:?}; look for a stopped \
         process that has {} open, or raise lock_timeout",
        path.display(),
        names::LOCK
    );
    Error::new(ErrorKind::Stuck, message)
}

/// Alone: writes what a store has from its first moment on. `store.meta` comes last and makes it
/// one; a death before it leaves what `may_become_a_store` knows.
fn create(storage: &dyn Storage, path: &Path, options: &StoreOptions) -> Result<()> {
    if storage.exists(&path.join(names::STORE_META))? {
        return name_durably(storage, path);
    }
    create_as(storage, path, options.mode, new_id())
}

/// A store's id, drawn now.
pub(super) fn new_id() -> String {
    format!("{:016x}{:016x}", draw(), draw())
}

pub(super) fn create_as(storage: &dyn Storage, path: &Path, mode: u32, id: String) -> Result<()> {
    storage.create_dir(&path.join(names::TOPICS), folder_mode(mode))?;
    // What makes it a store comes after what a store has, also on disk.
    storage.sync_dir(path)?;
    let text = meta::encode("store", &[("id", id)]);
    replace_file(
        storage,
        &path.join(names::STORE_META),
        text.as_bytes(),
        mode,
    )?;
    match path.parent() {
        Some(parent) => storage.sync_dir(parent),
        None => Ok(()),
    }
}

/// Whoever made the store may have died before its name was on disk, and all that is promised in it
/// is found by that name after a power loss (P2).
fn name_durably(storage: &dyn Storage, path: &Path) -> Result<()> {
    storage.sync_dir(path)?;
    match path.parent().map(|parent| storage.sync_dir(parent)) {
        // Of a folder that may not be read the store is not the newest entry.
        Some(Err(error)) if error.kind() != ErrorKind::PermissionDenied => Err(error),
        _ => Ok(()),
    }
}

/// Takes a member slot and starts housekeeping.
fn join(
    path: PathBuf,
    id: String,
    options: &StoreOptions,
    world: &World,
    shared: Arc<Shared>,
    lock: Arc<LockFile>,
    deadline: Instant,
) -> Result<Arc<StoreInner>> {
    let members = loop {
        match Members::join(&shared, &lock)? {
            Some(members) => break Arc::new(members),
            // The dead among them are found by the living.
            None if Instant::now() >= deadline => return Err(too_many()),
            None => thread::sleep(NAP),
        }
    };
    let tasks = Tasks::default();
    let journal = Journal::of(
        &path,
        (world.storage.clone(), world.clock.clone()),
        shared.header.clone(),
        (members.me(), members.clone()),
        options.lock_timeout,
        options.mode,
    );
    let env = Arc::new(Env {
        storage: world.storage.clone(),
        clock: world.clock.clone(),
        live: members.clone(),
        me: members.me(),
        lock_timeout: options.lock_timeout,
        mode: options.mode,
        fence: members.fence(),
        leaving: AtomicBool::new(false),
        indexing: Default::default(),
        may_take_room: Ballast::of(
            &path,
            shared.header.clone(),
            members.me(),
            members.clone(),
            options.mode,
        )
        .guard(),
        nudge: tasks.nudge(),
        hurry: tasks.hurry(),
        transactions: Some(journal.clone()),
    });
    let control = control_of(&env, shared);
    let (options, lock, members) = (options.clone(), Some(lock), Some(members));
    let journal = Some(journal);
    let store = Arc::new(StoreInner::new(Parts {
        path,
        id,
        options,
        env,
        control,
        members,
        lock,
        journal,
    }));
    store.tend_transactions();
    if world.housekeeping {
        *locked(&store.housekeeper) = Some(Housekeeper::start(&store, tasks)?);
    }
    Ok(store)
}

fn control_of(env: &Arc<Env>, shared: Arc<Shared>) -> Control {
    Control {
        shared,
        me: env.me,
        live: env.live.clone(),
        timeout: env.lock_timeout,
        known: Mutex::default(),
    }
}

/// Opens to read: no slot, no thread, memory of its own in the place of `control`, and a file
/// system that refuses to write.
fn open_to_read(path: PathBuf, options: &StoreOptions, world: &World) -> Result<Arc<StoreInner>> {
    let storage: Arc<dyn Storage> = Arc::new(ReadOnly(world.storage.clone()));
    let id = read_meta(&*storage, &path)?;
    let lock_path = path.join(names::LOCK);
    let lock = match storage.lock_file(&lock_path, true, 0) {
        // A copy of a store needs no lock file to be read.
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        opened => Some(Arc::new(opened?)),
    };
    if let Some(lock) = &lock {
        // Shared by all that read; nobody takes it exclusively, it only shows that they are there.
        lock.try_shared(READER_BYTE)?;
    }
    let env = Arc::new(Env {
        storage,
        clock: world.clock.clone(),
        live: Arc::new(Nobody),
        me: Owner {
            slot: 0,
            generation: 1,
        },
        lock_timeout: options.lock_timeout,
        mode: options.mode,
        fence: None,
        leaving: AtomicBool::new(false),
        indexing: Default::default(),
        may_take_room: Box::new(|_| Ok(())),
        nudge: Box::new(|| ()),
        hurry: Box::new(|_| ()),
        transactions: None,
    });
    let control = control_of(&env, Arc::new(Shared::private()?));
    let options = options.clone();
    let members = None;
    Ok(Arc::new(StoreInner::new(Parts {
        path,
        id,
        options,
        env,
        control,
        members,
        lock,
        journal: None,
    })))
}
