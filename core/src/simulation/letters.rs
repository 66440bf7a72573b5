//! What the user of a history knows of dead letters that were redriven or purged, and of keys that
//! they hold.

use std::collections::{BTreeMap, BTreeSet};

use super::model::{At, Group, Log, Sent};
use crate::DeadLetterEntry;
use crate::options::Ordering;

/// Which letters a call is about: of what message, and its cycles.
pub type Chosen = (At, u32);

/// Of one group.
#[derive(Clone, Debug, Default)]
pub struct Letters {
    /// How often a message was redriven: at least, as calls returned, and at most, as they began.
    cycles: BTreeMap<At, (u32, u32)>,
    /// What a purge gives up on that is under way, or that returned an error.
    purging: BTreeSet<At>,
    /// What a purge gave up on that returned.
    purged: BTreeSet<At>,
}

impl Letters {
    /// At least, and at most.
    pub fn cycles(&self, at: At) -> (u32, u32) {
        self.cycles.get(&at).copied().unwrap_or((0, 0))
    }

    /// Whether a redrive of it began that has not returned, or returned an error.
    pub fn may_be_redriven(&self, at: At) -> bool {
        let (least, most) = self.cycles(at);
        least < most
    }

    pub fn may_be_purged(&self, at: At) -> bool {
        self.purging.contains(&at)
    }

    pub fn is_purged(&self, at: At) -> bool {
        self.purged.contains(&at)
    }

    /// All that a redrive or a purge was called for.
    pub fn all(&self) -> impl Iterator<Item = At> + use<'_> {
        let called = self.cycles.keys().chain(&self.purging).chain(&self.purged);
        called.copied()
    }

    pub fn all_purged(&self) -> impl Iterator<Item = At> + use<'_> {
        self.purged.iter().copied()
    }

    pub fn begin_redrive(&mut self, (at, cycles): Chosen) {
        let known = self.cycles.entry(at).or_default();
        known.1 = known.1.max(cycles + 1);
    }

    pub fn end_redrive(&mut self, (at, cycles): Chosen) {
        self.cycles.insert(at, (cycles + 1, cycles + 1));
    }

    pub fn begin_purge(&mut self, at: At) {
        self.purging.insert(at);
    }

    pub fn end_purge(&mut self, at: At) {
        self.purging.remove(&at);
        self.purged.insert(at);
    }

    /// A seek began that may bring its message back as it was sent.
    pub fn begin_seek(&mut self, at: At) {
        if let Some(known) = self.cycles.get_mut(&at) {
            known.0 = 0;
        }
        self.purging.remove(&at);
        self.purged.remove(&at);
    }

    /// Its message is as it was sent.
    pub fn end_seek(&mut self, at: At) {
        self.cycles.remove(&at);
    }

    /// A letter is seen between two calls: nobody purged it, and the redrives before it are on disk
    /// with it.
    pub fn see(&mut self, letter: &DeadLetterEntry) -> Result<(), String> {
        let at = (letter.source_partition, letter.source_offset);
        self.check(at, letter.cycles)?;
        self.purging.remove(&at);
        let most = self.cycles(at).1;
        if letter.cycles > 0 {
            self.cycles.insert(at, (letter.cycles, most));
        }
        Ok(())
    }

    /// P12: what was purged does not come back, nor what was redriven before it died again.
    pub fn check(&self, at: At, cycles: u32) -> Result<(), String> {
        if self.is_purged(at) {
            return Err(format!("P12: {at:?} is a dead letter, and was purged"));
        }
        let (least, most) = self.cycles(at);
        if (least..=most).contains(&cycles) {
            return Ok(());
        }
        Err(format!(
            "P12: {at:?} is a dead letter of cycle {cycles}; it was redriven {least} to {most} \
             times"
        ))
    }
}

impl Group {
    /// In which order a message of this key waits.
    pub fn chain_of<'a>(&self, key: Option<&'a [u8]>) -> Option<&'a [u8]> {
        match self.ordering {
            Ordering::None => None,
            Ordering::Key => key,
            Ordering::Partition => Some(&[]),
        }
    }

    /// P12, P16: which messages are dead letters by now, of those that there are, besides those of
    /// before a seek, all of which stay.
    pub fn learn_letters(&mut self, letters: &[DeadLetterEntry]) -> Result<(), String> {
        self.dead.clear();
        let mut times: BTreeMap<At, u32> = self.left.keys().map(|at| (*at, 0)).collect();
        for one in letters {
            let at = (one.source_partition, one.source_offset);
            *times.entry(at).or_default() += 1;
            if self.left_of(at) == 0 {
                self.letters.see(one)?;
            }
        }
        for (at, times) in times {
            match times.checked_sub(self.left_of(at)) {
                None => return Err(format!("P16: a dead letter of {at:?} went with a seek")),
                Some(0) => {}
                Some(1) => drop(self.dead.insert(at)),
                Some(more) => return Err(format!("P12: {at:?} is a dead letter {more} times")),
            }
        }
        Ok(())
    }

    /// Whether its letter, or what became of that, is all that the group needs of a message. One
    /// that holds its key is handed out of the log again.
    pub fn is_done_as_a_letter(&self, at: At) -> bool {
        let purged = self.letters.is_purged(at) || self.letters.may_be_purged(at);
        let left = self.dead.contains(&at) || self.letters.cycles(at).1 > 0;
        purged || left && !self.hold
    }

    /// The order that this message may hold as a dead letter. Of one that may have come too late
    /// before it died nobody knows whether it does.
    pub fn held_by(&self, sent: &Sent) -> Option<Vec<u8>> {
        let key = sent.key.map(|key| vec![key]);
        let chain = self.chain_of(key.as_deref()).filter(|_| self.hold);
        chain.map(<[u8]>::to_vec)
    }

    /// P11: an earlier message of its order that is not done with, behind which this one would have
    /// to wait. What joined its order when its time came, or left it when that was over, is passed
    /// over, and what may have died in the call that handed this one out.
    pub fn passed_over(&self, log: &Log, (at, key): (At, Option<&[u8]>)) -> Option<At> {
        let chain = self.chain_of(key)?;
        // A group that was made since does not see what retention or compaction took before.
        let gone = |sent: &Sent| sent.offset < log.taken || log.compacted.contains(&sent.offset);
        let kept = log.sent.iter().filter(|sent| !gone(sent));
        let earlier = kept.take_while(|sent| sent.offset < at.1);
        let same = earlier.filter(|sent| {
            let key = sent.key.map(|key| [key]);
            let plain = sent.times.due.is_none() && sent.times.late.is_none();
            plain && self.chain_of(key.as_ref().map(|key| &key[..])) == Some(chain)
        });
        let mut open = same.map(|sent| (sent, (at.0, sent.offset)));
        let found = open.find(|(sent, at)| {
            if !self.takes(Some(sent)) || self.acked.contains(at) || self.letters.is_purged(*at) {
                return false;
            }
            if self.letters.may_be_purged(*at) || self.may_be_settled(*at) {
                return false;
            }
            if self.hold {
                return true;
            }
            let dead = self.dead.contains(at) || self.letters.cycles(*at).1 > 0;
            !dead && !self.may_be_dead(*at, 0)
        });
        found.map(|(_, at)| at)
    }
}
