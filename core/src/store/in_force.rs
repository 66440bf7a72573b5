//! Which state of a meta file is in force, in all processes.
//!
//! The file is the truth. A word of the block in `control` says which state of it is in force; it
//! is raised with each change. Whoever goes by the file compares the word with the one that he went
//! by last: one load, and only after a change a look at the file.
//!
//! Who changes the file sets CHANGING before and raises the word after. In between others go by the
//! file as it is and remember nothing of it. One that died in between leaves the bit, and the next
//! one to see it raises the word: then either the old file or the new one is in force for all.

use std::sync::atomic::Ordering as Memory;
use std::time::Duration;

use super::StoreInner;
use crate::error::{Error, ErrorKind, Result};
use crate::format::control::block::{CHANGE, CHANGED, CHANGING, GONE, HOLDING};
use crate::format::control::header;
use crate::shm::{Acquired, Held, OwnerLock, Region};

/// No word in force is this one.
pub(super) const NEVER: u64 = GONE - 1;
/// How often a file that changes while it is read is read again.
const TRIES: usize = 1000;
/// How long to wait for one who is about to change it, before he is taken for alive.
pub(super) const GLANCE: Duration = Duration::from_millis(1);

/// The word after the next change.
pub(super) fn raised(word: u64) -> u64 {
    let next = (word & !(CHANGING | HOLDING)).wrapping_add(CHANGE);
    if next >= NEVER & !(CHANGING | HOLDING) {
        0
    } else {
        next
    }
}

impl StoreInner {
    /// The lock of those who create, and change what was created.
    pub(super) fn hold_create_lock(&self) -> Result<Held<'_>> {
        self.hold_create_lock_within(self.env.lock_timeout)
    }

    /// As `hold_create_lock`; [`ErrorKind::Stuck`] where somebody who lives has it for longer than
    /// this.
    pub(super) fn hold_create_lock_within(&self, patience: Duration) -> Result<Held<'_>> {
        let env = &*self.env;
        let lock = self.control.header().word32(header::CREATE_LOCK);
        let (held, how) = OwnerLock::hold(lock, env.me, &*env.live, patience)?;
        env.check_fence()?;
        if how != Acquired::Clean {
            // Who died may have put a compacted segment in its place and told nobody. Nobody goes
            // back before this is held once more, so that all are told in time.
            self.tell_of_compaction()?;
        }
        Ok(held)
    }
}

/// What goes by a meta file that may change while it is open.
pub(super) trait InForce {
    /// What the file says.
    type Meta;
    /// What is remembered of it.
    type Known;

    /// The head of the block with the word.
    fn governed_by(&self) -> &Region;
    /// The store.
    fn of_store(&self) -> &StoreInner;
    /// The file; [`ErrorKind::NotFound`] where it is gone, or another one's.
    fn read_meta(&self) -> Result<Self::Meta>;
    /// What was read with this word, if that is remembered.
    fn known_with(&self, word: u64) -> Option<Self::Known>;
    /// Remembers what was read, as in force with this word.
    fn remember(&self, meta: Self::Meta, word: u64) -> Result<Self::Known>;
    /// What has to be on disk before a change goes on of which the one who made it died.
    fn make_last(&self, _: &Self::Meta) -> Result<()> {
        Ok(())
    }
    /// As in `group "billing" of topic "orders"`.
    fn what(&self) -> String;
    /// The error of who uses it although it was deleted.
    fn gone(&self) -> Error;

    /// Tells all processes that it is gone.
    fn end(&self) -> Result<()>;

    /// Which state of the file is in force.
    #[inline]
    fn changed(&self) -> u64 {
        self.governed_by().load(CHANGED, Memory::Acquire)
    }

    /// Has all go by it.
    fn set_changed(&self, word: u64) {
        self.governed_by().store(CHANGED, word, Memory::Release);
    }

    /// What is in force with the word that is returned beside it: remembered, or read.
    #[cold]
    fn in_force(&self) -> Result<(u64, Self::Known)> {
        for _ in 0..TRIES {
            let word = self.changed();
            if word == GONE {
                return Err(self.gone());
            }
            if let Some(known) = self.known_with(word) {
                return Ok((word, known));
            }
            if word & CHANGING != 0 && self.finish_change(word)? {
                continue;
            }
            let read = self.read_meta();
            if self.changed() != word {
                continue;
            }
            let steady = word & CHANGING == 0;
            return Ok((
                word,
                self.remember(read?, if steady { word } else { NEVER })?,
            ));
        }
        let message = format!(
            "the configuration of {} changed {TRIES} times while it was read; call again",
            self.what()
        );
        Err(Error::new(ErrorKind::Stuck, message))
    }

    /// Where the one who was changing it died: its file, old or new, is in force from here on.
    /// False while he is alive and at it.
    fn finish_change(&self, word: u64) -> Result<bool> {
        let held = match self.of_store().hold_create_lock_within(GLANCE) {
            Err(error) if error.kind() == ErrorKind::Stuck => return Ok(false),
            held => held?,
        };
        if self.changed() == word {
            self.end_change(word)?;
        }
        drop(held);
        Ok(true)
    }

    /// With the lock of those who create held.
    fn end_change(&self, word: u64) -> Result<()> {
        self.of_store().env.check_fence()?;
        match self.read_meta() {
            Err(error) if error.kind() == ErrorKind::NotFound => self.end(),
            read => {
                if let Ok(meta) = read {
                    self.make_last(&meta)?;
                }
                self.set_changed(raised(word));
                Ok(())
            }
        }
    }

    /// With that lock held: what is in force, after one who died while he changed it.
    fn word_to_change(&self) -> Result<u64> {
        let word = self.changed();
        if word & CHANGING != 0 && word != GONE {
            self.end_change(word)?;
        }
        match self.changed() {
            GONE => Err(self.gone()),
            word => Ok(word),
        }
    }
}
