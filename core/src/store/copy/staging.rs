//! The folder in which topics are written that are being imported: a store of its own in a folder
//! of the one that they are for, which nobody looks into. When all of them are there and on disk,
//! their folders are moved (`publish.rs`), each in one step.
//!
//! Whoever imports holds a kernel lock in it. What one that died left is removed by the next one.

use std::path::PathBuf;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::format::names;
use crate::shm::LockFile;
use crate::storage::{Access, File, remove_all};
use crate::store::StoreInner;
use crate::store::inner::draw;
use crate::store::open::folder_mode;
use crate::store::restore::Restorer;

/// Its kernel lock.
const CLAIM: &str = "claim";
const CLAIM_BYTE: u64 = 0;
/// The store in it.
const STORE: &str = "store";
/// What is put aside of lines until all were read.
const ASIDE: &str = "aside";

pub(super) struct Staging {
    store: Arc<StoreInner>,
    folder: PathBuf,
    claim: LockFile,
}

impl Staging {
    /// A new one, and a store in it. What dead ones left is put away, with the lock of those who
    /// create held: so nobody's is, who is about to lock it. It is removed without that lock, as it
    /// may be much.
    pub(super) fn begin(store: &Arc<StoreInner>) -> Result<(Self, Restorer)> {
        let (storage, mode) = (&*store.env.storage, store.env.mode);
        let held = store.hold_create_lock()?;
        for name in storage.list(&store.path)? {
            if !names::is_being_imported(&name) {
                continue;
            }
            let folder = store.path.join(name);
            let claim = match storage.lock_file(&folder.join(CLAIM), false, mode) {
                // Whoever made it removes it just now.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                opened => opened?,
            };
            if claim.try_exclusive(CLAIM_BYTE)? {
                store.put_away(&folder)?;
            }
            claim.close();
        }
        let folder = store.path.join(names::being_imported(draw()));
        storage.create_dir(&folder, folder_mode(mode))?;
        let claim = storage.lock_file(&folder.join(CLAIM), false, mode)?;
        claim.try_exclusive(CLAIM_BYTE)?;
        drop(held);
        // What fails is done by the next one.
        let _ = store.clear_away();
        let staging = Self {
            store: store.clone(),
            folder,
            claim,
        };
        let inside = staging.inside();
        let made = storage
            .create_dir(&inside, folder_mode(mode))
            .and_then(|()| Restorer::make_beside(store, &inside));
        match made {
            Ok(restorer) => Ok((staging, restorer)),
            Err(error) => Err(staging.give_up(error)),
        }
    }

    /// The folder of the store in it.
    pub(super) fn inside(&self) -> PathBuf {
        self.folder.join(STORE)
    }

    /// A file in it, for what has to wait until all was read.
    pub(super) fn aside(&self) -> Result<Arc<dyn File>> {
        let env = &self.store.env;
        env.storage
            .open(&self.folder.join(ASIDE), Access::CreateNew, env.mode)
    }

    /// Removes what is left in it.
    pub(super) fn end(self) -> Result<()> {
        let removed = remove_all(&*self.store.env.storage, &self.folder);
        self.claim.close();
        removed
    }

    /// The error, once it is removed; if that fails too the next import does it.
    pub(super) fn give_up(self, error: Error) -> Error {
        let _ = self.end();
        error
    }
}
