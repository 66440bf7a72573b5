//! Writing a snapshot (P16). What is slow, and may be 96 MiB, is done with no lock held, so that
//! nobody waits who creates or changes something; under the lock of those who change a group the
//! file only gets its name.
//!
//! Until then its name says who writes it. One that died leaves it, and whoever takes the next
//! snapshot, or opens the group first in a life of `control`, removes it.

use std::path::Path;

use super::group::GroupInner;
use super::in_force::InForce;
use super::inner::draw;
use crate::error::{Error, ErrorKind, Result};
use crate::format::control::block::CHANGING;
use crate::format::control::header::LAID_OUT;
use crate::format::names::{self, Writer};
use crate::format::snapshot::Part;
use crate::shm::Owner;
use crate::storage::put_file;

/// How often all windows are looked at while others change the group.
const TRIES: usize = 4;

impl GroupInner {
    /// Where the group stands in all partitions, by one state of `group.meta`: of a seek that comes
    /// meanwhile either all of them know, or none. With no lock but each window's, unless somebody
    /// changes the group all the time.
    pub(super) fn standing_in_all(&self) -> Result<Vec<Part>> {
        for turn in 0..=TRIES {
            let mut held = None;
            if turn == TRIES {
                held = Some(self.topic.store.hold_create_lock()?);
            }
            let word = match held {
                Some(_) => self.word_to_change()?,
                None => self.in_force()?.0,
            };
            let mut parts = Vec::new();
            for number in 0..self.windows.len() as u32 {
                let standing = self.with_window(number, |window| window.standing())?;
                parts.push(standing.part);
            }
            // Who seeks sets CHANGING before, and raises the word before any window follows.
            if word & CHANGING == 0 && self.changed() == word {
                return Ok(parts);
            }
        }
        let what = self.what();
        let message = format!("{what} was changed all the time while a snapshot was taken; again");
        Err(Error::new(ErrorKind::Stuck, message))
    }

    /// Puts a snapshot on disk, and gives it its name. A death before leaves a file of nobody's,
    /// and none of the name.
    pub(super) fn write_snapshot(&self, name: &str, path: &Path, bytes: &[u8]) -> Result<()> {
        let env = &*self.topic.store.env;
        let (storage, folder) = (&*env.storage, self.folder());
        let unfinished = folder.join(names::unfinished_snapshot(name, self.writer(), draw()));
        let named = put_file(storage, &unfinished, bytes, env.mode)
            .and_then(|()| self.name_snapshot(name, &unfinished, path));
        if let Err(error) = named {
            // Its room is given back; if that fails, another one does it.
            let _ = storage.unlink(&unfinished);
            return Err(error);
        }
        // Whoever seeks to it before puts this folder on disk as well, with `group.meta` (P16).
        storage.sync_dir(&folder)
    }

    fn name_snapshot(&self, name: &str, unfinished: &Path, path: &Path) -> Result<()> {
        let held = self.topic.store.hold_create_lock()?;
        self.word_to_change()?;
        self.check_new_snapshot(name, path)?;
        self.topic.store.env.storage.rename(unfinished, path)?;
        drop(held);
        // What fails is done by the next one.
        let _ = self.clear_unfinished_snapshots();
        Ok(())
    }

    fn writer(&self) -> Writer {
        let store = &*self.topic.store;
        Writer {
            life: store.control.header().get(LAID_OUT),
            slot: store.env.me.slot,
            generation: store.env.me.generation,
        }
    }

    /// Removes what those left who died while they wrote a snapshot of this group; of those who
    /// live nothing, so that no lock is needed.
    pub(super) fn clear_unfinished_snapshots(&self) -> Result<()> {
        let (env, folder, mine) = (&*self.topic.store.env, self.folder(), self.writer());
        for name in env.storage.list(&folder)? {
            let Some(writer) = names::parse_unfinished_snapshot(&name) else {
                continue;
            };
            let owner = Owner {
                slot: writer.slot,
                generation: writer.generation,
            };
            if writer.life != mine.life || !env.live.is_alive(owner) {
                match env.storage.unlink(&folder.join(name)) {
                    Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
        }
        Ok(())
    }
}
