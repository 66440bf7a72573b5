//! Bells: how the one thread of a process that makes descriptors readable is woken.
//!
//! Each member has one event word, its bell, whatever it watches; each group has a bit for each
//! member that watches it. So a thread sleeps on one futex for any number of groups, and a
//! notification reaches every process that watches, beside the sleeping receive calls, of which it
//! wakes only as many as there are messages.

use std::sync::atomic::Ordering;

use super::control::{Control, GROUP};
use super::control_block::HEAD_BYTES;
use crate::error::Result;
use crate::format::control::{block, member};
use crate::shm::{EventCount, Region, Word};

const WORDS: usize = member::SLOTS / 64;
/// Somebody watched once.
const WATCHED: u32 = 1;
/// One ringing, which leaves `WATCHED` where it is also when the count goes round.
const RUNG: u32 = 2;

/// A member's bell, kept mapped.
#[derive(Clone)]
pub(super) struct Bell(Region, usize);

impl Bell {
    pub(super) fn word(&self) -> &Word {
        self.0.word32(self.1)
    }
}

impl Control {
    /// This member's bell.
    pub(super) fn bell(&self) -> Bell {
        let word = usize::from(self.me.slot) * member::WORDS + member::BELL;
        Bell(self.shared.members.clone(), word)
    }

    fn bell_of(&self, slot: usize) -> &Word {
        self.shared
            .members
            .word32(slot * member::WORDS + member::BELL)
    }

    /// What the blocks of a topic's groups begin with, for who wakes those that sleep on them: with
    /// the words of all partitions each send would pay for those of a topic that has many.
    pub(super) fn heads_of_groups(&self, topic: u64) -> Result<Vec<Region>> {
        let places = self.with_known(|known| known.groups_of(topic).to_vec())?;
        let heads = places.into_iter().filter_map(|at| {
            let head = self.shared.region(usize::try_from(at).ok()?, HEAD_BYTES);
            // Nobody is told by writing into another block (P18).
            head.ok().filter(|head| head.get(block::KIND) == GROUP)
        });
        Ok(heads.collect())
    }

    /// Has this member's bell rung for the group, or no more. The bit of a member that died costs a
    /// load with each ringing, until the slot's next member takes it off or all have left.
    pub(super) fn set_watcher(&self, head: &Region, watches: bool) {
        let slot = usize::from(self.me.slot);
        let (word, bit) = (block::WATCHERS + slot / 64, 1_u64 << (slot % 64));
        if watches {
            head.word32(block::NEWS).fetch_or(WATCHED, Ordering::SeqCst);
        }
        let mut seen = head.load(word, Ordering::Acquire);
        loop {
            let wanted = if watches { seen | bit } else { seen & !bit };
            match head.cas(word, seen, wanted) {
                Ok(_) => return,
                Err(found) => seen = found,
            }
        }
    }

    /// Wakes all who watch a group's descriptors. The caller has published what they look for. One
    /// load while nobody ever did.
    #[inline]
    pub(super) fn ring(&self, head: &Region) {
        // The fence of `EventCount::notify`, which all callers do first, pairs with that of who
        // announced that it sleeps on its bell, after it had set its bit.
        if head.word32(block::NEWS).load(Ordering::SeqCst) != 0 {
            self.ring_all(head);
        }
    }

    #[cold]
    fn ring_all(&self, head: &Region) {
        // Before the bells: who is woken sees that there is news.
        head.word32(block::NEWS).fetch_add(RUNG, Ordering::SeqCst);
        for word in 0..WORDS {
            let mut bits = head.load(block::WATCHERS + word, Ordering::SeqCst);
            while bits != 0 {
                let slot = word * 64 + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                EventCount::notify(self.bell_of(slot), u32::MAX);
            }
        }
    }

    /// Differs after each ringing.
    pub(super) fn news(&self, head: &Region) -> u32 {
        head.word32(block::NEWS).load(Ordering::SeqCst)
    }
}
