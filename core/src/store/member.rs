//! Members: a slot, its generation, and a byte of the lock file that the kernel gives back when the
//! process dies.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::control::Shared;
use crate::error::{Error, ErrorKind, Result};
use crate::format::control::{lock::MEMBER_BYTES, member};
use crate::shm::{Liveness, LockFile, Owner, Region, process_id};

const IN_USE: u64 = 1 << 32;
/// Found dead, being cleaned up after; fenced.
const DYING: u64 = 2 << 32;
/// Lock words hold this much of a generation.
const GENERATION_IN_LOCKS: u32 = (1 << 20) - 1;

fn byte(slot: usize) -> u64 {
    MEMBER_BYTES + slot as u64
}

/// The table of members and the lock file that tells who of them lives.
pub(super) struct Members {
    shared: Arc<Shared>,
    lock: Arc<LockFile>,
    me: Owner,
}

impl Members {
    /// Joins: takes a free slot. `None` if all are taken.
    pub(super) fn join(shared: &Arc<Shared>, lock: &Arc<LockFile>) -> Result<Option<Self>> {
        for slot in 0..member::SLOTS {
            let word = slot * member::WORDS + member::STATE;
            let state = shared.members.load(word, Ordering::Acquire);
            if state >= IN_USE || !lock.try_exclusive(byte(slot))? {
                continue;
            }
            // Byte before state: a slot in use without its byte is a dead one's. A death between
            // the two leaves a free slot.
            let generation = (state as u32).wrapping_add(1).max(1);
            shared.members.set(
                slot * member::WORDS + member::PROCESS,
                u64::from(process_id()),
            );
            if shared
                .members
                .cas(word, state, IN_USE | u64::from(generation))
                .is_ok()
            {
                let me = Owner {
                    slot: slot as u16,
                    generation,
                };
                let (shared, lock) = (shared.clone(), lock.clone());
                return Ok(Some(Self { shared, lock, me }));
            }
            lock.unlock(byte(slot))?;
        }
        Ok(None)
    }

    pub(super) fn me(&self) -> Owner {
        self.me
    }

    fn word(slot: usize) -> usize {
        slot * member::WORDS + member::STATE
    }

    fn state(&self, slot: usize) -> u64 {
        self.shared
            .members
            .load(Self::word(slot), Ordering::Acquire)
    }

    /// This member's word and what it must hold (see `log::Env`).
    pub(super) fn fence(&self) -> Option<(Region, u64)> {
        let at = member::AT + usize::from(self.me.slot) * member::WORDS * 8;
        let word = Region::new(self.shared.members.mapping(), at, member::WORDS * 8)?;
        Some((word, IN_USE | u64::from(self.me.generation)))
    }

    /// Leaves: the slot is free for the next generation. State before byte: a death between the two
    /// leaves a free slot whose byte the kernel gives back.
    pub(super) fn leave(&self) -> Result<()> {
        let slot = usize::from(self.me.slot);
        let generation = u64::from(self.me.generation);
        // A failure means that this member was taken for dead: its slot is not its own any more.
        let _ = self
            .shared
            .members
            .cas(Self::word(slot), IN_USE | generation, generation);
        self.lock.unlock(byte(slot))
    }

    /// How many are in.
    pub(super) fn count(&self) -> usize {
        (0..member::SLOTS)
            .filter(|slot| self.state(*slot) & IN_USE != 0)
            .count()
    }

    /// The dead ones, fenced by this call: from now on they write nothing, should they come back.
    pub(super) fn fence_dead(&self) -> Vec<Owner> {
        let mut dead = Vec::new();
        for slot in (0..member::SLOTS).filter(|slot| *slot != usize::from(self.me.slot)) {
            let state = self.state(slot);
            let owner = Owner {
                slot: slot as u16,
                generation: state as u32,
            };
            if state & DYING != 0 {
                // Whoever found it died as well: the cleaning up begins again.
                dead.push(owner);
            } else if state & IN_USE != 0 && !self.lock.held_by_other(byte(slot)) {
                // The exact word: it may have left, and another joined, since it was read.
                let fenced = DYING | u64::from(owner.generation);
                if self
                    .shared
                    .members
                    .cas(Self::word(slot), state, fenced)
                    .is_ok()
                {
                    dead.push(owner);
                }
            }
        }
        dead
    }

    /// After everything of the dead one was returned: the slot is free.
    pub(super) fn bury(&self, dead: Owner) {
        let generation = u64::from(dead.generation);
        // Lost only if someone else buried it.
        let _ = self.shared.members.cas(
            Self::word(usize::from(dead.slot)),
            DYING | generation,
            generation,
        );
    }
}

impl Liveness for Members {
    fn is_alive(&self, owner: Owner) -> bool {
        if owner.slot == self.me.slot {
            return owner.generation & GENERATION_IN_LOCKS
                == self.me.generation & GENERATION_IN_LOCKS;
        }
        let slot = usize::from(owner.slot);
        if slot >= member::SLOTS {
            return false;
        }
        let state = self.state(slot);
        let same = (state as u32 ^ owner.generation) & GENERATION_IN_LOCKS == 0;
        state & IN_USE != 0 && same && self.lock.held_by_other(byte(slot))
    }

    fn describe(&self, owner: Owner) -> String {
        let slot = usize::from(owner.slot);
        let (number, generation) = (owner.slot, owner.generation);
        if slot >= member::SLOTS {
            return format!("a member that cannot be (slot {number})");
        }
        let process = self
            .shared
            .members
            .get(slot * member::WORDS + member::PROCESS);
        format!("process {process} (member {number}.{generation}; its own container's numbering)")
    }
}

/// Of a store that is only read, where nobody else shares the memory.
pub(super) struct Nobody;

impl Liveness for Nobody {
    fn is_alive(&self, owner: Owner) -> bool {
        usize::from(owner.slot) < member::SLOTS
    }

    fn describe(&self, _: Owner) -> String {
        "another thread of this process".to_owned()
    }
}

/// All slots are taken, by the living.
#[cold]
pub(super) fn too_many() -> Error {
    let message = format!(
        "all {} members of the store are taken; close it in some of the processes",
        member::SLOTS
    );
    Error::new(ErrorKind::TooMany, message)
}
