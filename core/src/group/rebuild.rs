//! Deriving everything from the entries again: after a holder of the lock died, and in a new life
//! of the store. May die anywhere and be done again.

use std::collections::HashSet;

use super::entry::NOBODY;
use super::policy::Now;
use super::window::{Counter, Window};
use crate::format::window::{header, state};
use crate::log::Cursor;

/// What happened to the window since it was last whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// A holder of the lock died; other consumers go on with their leases.
    Same,
    /// Everyone had left: all leases are void, and still to be returned.
    New,
    /// The host was started anew: besides, the tail of the log may be gone, and sectors of this
    /// file may be old.
    NewBoot,
}

impl Window {
    /// Rebuilds. Leases stay as they are; in a new life it is for who began it to return them.
    /// `exists` says whether the log has this offset at this position; it is asked only after a new
    /// start of the host, of rising offsets.
    pub fn rebuild(&mut self, life: Life, now: Now, exists: &mut dyn FnMut(u64, u64) -> bool) {
        if life == Life::NewBoot {
            self.skip_settled_rounds();
        }
        self.trim(life, exists);
        self.wheel.reset(now.boot_ms);
        self.head.set(header::SKEW, now.skew() as u64);
        self.derive();
        self.raise_floor();
        // A stop between the words of the cursor: found again from the offset.
        self.set_cursor(Cursor::at_offset(self.next()));
    }

    /// An entry is given to an offset one round later only when the floor is past the earlier one.
    /// So where a power loss kept the later entry and took the floor back, all up to there is
    /// settled: taken for lost instead, dead letters would be delivered again (P12).
    fn skip_settled_rounds(&self) {
        let ring = self.mask + 1;
        let later = |offset: &u64| {
            self.entries
                .is_of_later_round(self.index(*offset), *offset, ring)
        };
        if let Some(last) = (self.floor()..self.end()).rev().find(later) {
            self.head.store(
                header::FLOOR,
                last + 1,
                std::sync::atomic::Ordering::Release,
            );
        }
    }

    /// Ends the window before the first offset that no entry speaks of: from there on messages are
    /// looked at again, which may deliver some once more, and skips none (P6).
    fn trim(&self, life: Life, exists: &mut dyn FnMut(u64, u64) -> bool) {
        let entries = &self.entries;
        let mut keys = HashSet::new();
        let end = self.end();
        for offset in self.floor()..end {
            let index = self.index(offset);
            if life == Life::NewBoot {
                self.fetch_from_old_place(offset);
            }
            if !entries.is_of(index, offset) || entries.state(index) == state::FRESH {
                if life == Life::Same && entries.is_of(index, offset) {
                    // Admitted, and the holder died before it went anywhere.
                    entries.set_state(index, state::READY);
                    continue;
                }
                self.head.set(header::NEXT, offset);
                return;
            }
            if entries.state(index) == state::LEASED && entries.consumer(index) == NOBODY {
                // Somebody took it from its consumer, to have it wait, and died before it did: it
                // is no lease, and nobody failed (P9).
                entries.set_state(index, state::DELAYED);
            }
            if life != Life::Same && self.is_given(index) {
                // Nobody is left who knows whether it was handed over (P7).
                entries.set_state(index, state::SETTLED);
                self.count(Counter::Lost, 1);
            }
            if life == Life::NewBoot && entries.is_open(index) {
                if !exists(offset, u64::from(entries.position(index))) {
                    entries.set_state(index, state::SETTLED);
                    self.count(Counter::Lost, 1);
                } else if entries.state(index) == state::DELAYED {
                    // The boot clock began anew: the wait is over. Whose it was is still asked for.
                    entries.set_lease(index, 0, entries.consumer(index));
                } else if entries.state(index) == state::DYING {
                    // Others have the slots of that start of the host, and its times.
                    entries.set_dying(index, 0, entries.cause(index), NOBODY);
                } else if entries.state(index) == state::HELD {
                    // They follow in the order of their offsets: their places may be old.
                    entries.set_turn(index, 0);
                }
                let waits_alone = [state::SCHEDULED, state::DEAD].contains(&entries.state(index));
                if entries.is_open(index) && !waits_alone {
                    self.hold_behind(&mut keys, index);
                }
            }
        }
        self.head.set(header::NEXT, end);
    }

    /// The ring was doubled, and the power was lost before it was on disk as a whole: an entry may
    /// still be known in the place only that it had before. It stays there until the doubled ring
    /// is on disk. Taken for unknown, a dead letter would be delivered again (P12).
    fn fetch_from_old_place(&self, offset: u64) {
        let (index, before) = (self.index(offset), self.usable());
        if before.is_power_of_two() && before <= self.mask && !self.entries.is_of(index, offset) {
            let old = (offset & (before - 1)) as u32;
            if self.entries.is_of(old, offset) {
                self.entries.copy(old, index);
            }
        }
    }

    /// A power loss may take the end of an earlier message of the key back, and leave that this one
    /// was handed out: it waits again (P11).
    fn hold_behind(&self, keys: &mut HashSet<u64>, index: u32) {
        let hash = self.entries.key_hash(index);
        let waits = matches!(
            self.entries.state(index),
            state::READY | state::LEASED | state::DELAYED
        );
        if hash != 0 && !keys.insert(hash) && waits {
            self.entries.set_turn(index, 0);
            self.entries.set_state(index, state::HELD);
        }
    }

    /// Bitmap, chains, timers, list of the dying and counts, from the entries' states. The counts
    /// stand as they were until all are known: who reads them without the lock finds at no time
    /// that less is open than there is (P19).
    pub(super) fn derive(&mut self) {
        self.ready.clear_all();
        self.keys.clear_all();
        let now = self.wheel.region.get(0);
        self.wheel.reset(now);
        self.head.set(header::DYING, 0);
        let (mut dying, mut held) = (Vec::new(), Vec::new());
        let mut counts = Counter::DERIVED.map(|counter| (counter, 0));
        let mut derive_one = |index| {
            let found = self.derive_one(index);
            let count = counts.iter_mut().find(|(counter, _)| *counter == found);
            count.into_iter().for_each(|(_, count)| *count += 1);
        };
        for offset in self.floor()..self.next() {
            let index = self.index(offset);
            if !self.entries.is_of(index, offset) || !self.entries.is_open(index) {
                continue;
            }
            match self.entries.state(index) {
                state::DEAD => {}
                state::DYING => dying.push(index),
                state::HELD => held.push((self.entries.turn(index), offset)),
                _ => derive_one(index),
            }
        }
        // Those that are out, or may be, go before what waits for them; what waits, in the order
        // in which it began to. What is dying is not waited for by those that are out.
        dying.into_iter().for_each(&mut derive_one);
        held.sort_unstable();
        for (_, offset) in held {
            derive_one(self.index(offset));
        }
        // Those that grow first: their sum is not less in between either.
        counts.sort_by_key(|(counter, count)| *count <= self.counter(*counter));
        for (counter, count) in counts {
            self.head.set(header::COUNTERS + counter as usize, count);
        }
    }

    /// As what it counts.
    fn derive_one(&self, index: u32) -> Counter {
        let entries = &self.entries;
        entries.set_key_next(index, 0);
        entries.set_key_tail(index, 0);
        entries.set_hash_next(index, 0);
        if entries.state(index) == state::SCHEDULED {
            self.wait_for_its_time(index);
            return Counter::Scheduled;
        }
        let hash = entries.key_hash(index);
        let first = hash == 0 || self.keys.join(entries, index, hash);
        let timed = match entries.state(index) {
            state::LEASED => Counter::Leased,
            state::DELAYED => Counter::Delayed,
            state::COMMITTING => Counter::Committing,
            state::DYING => {
                self.list_as_dying(index);
                return Counter::Dying;
            }
            state::HOLDING => return Counter::Holding,
            _ if first => {
                self.list_as_ready(index);
                return Counter::Ready;
            }
            _ => {
                entries.set_state(index, state::HELD);
                return Counter::Held;
            }
        };
        self.wheel.insert(entries, index, entries.due_ms(index));
        timed
    }
}
