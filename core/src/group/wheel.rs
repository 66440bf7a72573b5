//! A timer wheel of six levels of 64 slots, in ticks of 1 ms: insert and remove in one step, the
//! next due time from six bitmaps. Entries hang in doubly linked lists through their timer words.

use super::entry::Entries;
use crate::shm::Region;

const LEVELS: usize = 6;
const SPAN: u64 = (1 << (6 * LEVELS as u64)) - 1;
const NOW: usize = 0;
const BITS: usize = 1;
const HEADS: usize = 8;
/// In an entry's back word: it is the first of the slot that the low bits name.
const FIRST: u32 = 1 << 31;

/// The wheel in its region.
pub(super) struct Wheel {
    pub(super) region: Region,
}

impl Wheel {
    pub(super) fn reset(&self, now_ms: u64) {
        (0..HEADS + LEVELS * 64).for_each(|word| self.region.set(word, 0));
        self.region.set(NOW, now_ms);
    }

    fn now(&self) -> u64 {
        self.region.get(NOW)
    }

    pub(super) fn insert(&self, entries: &Entries, index: u32, due_ms: u64) {
        let slot = self.slot(due_ms);
        let head = self.first(slot);
        entries.set_timer(index, self.before(slot, head));
        if let Some(behind) = head.checked_sub(1) {
            entries.set_timer_back(behind, index);
        }
        self.set_first(slot, index + 1);
    }

    /// The slot for what is due then, by where the wheel stands.
    #[inline]
    pub(super) fn slot(&self, due_ms: u64) -> u32 {
        let now = self.now();
        let due = due_ms.clamp(now, now.saturating_add(SPAN));
        let differ = due ^ now;
        let level = if differ == 0 {
            0
        } else {
            (63 - differ.leading_zeros() as usize) / 6
        };
        let level = level.min(LEVELS - 1);
        let slot = (due >> (6 * level) & 63) as usize;
        (level * 64 + slot) as u32
    }

    /// The first entry of a slot + 1, or 0.
    #[inline]
    pub(super) fn first(&self, slot: u32) -> u32 {
        self.region.get(HEADS + slot as usize) as u32
    }

    /// The timer word of an entry that is to be the first of a slot before the one that is it.
    #[inline]
    pub(super) fn before(&self, slot: u32, head: u32) -> u64 {
        u64::from(FIRST | slot) << 32 | u64::from(head)
    }

    /// The entry at `head` - 1, whose timer word says so, is the first of the slot.
    #[inline]
    pub(super) fn set_first(&self, slot: u32, head: u32) {
        let (slot, level) = (slot as usize, BITS + slot as usize / 64);
        self.region.set(HEADS + slot, head.into());
        self.region.change(level, |bits| bits | 1 << (slot % 64));
    }

    pub(super) fn remove(&self, entries: &Entries, index: u32) {
        let (next, back) = entries.timer(index);
        self.unlink(entries, next, back);
    }

    /// Takes out what hangs between the two that these timer words name: one entry, or neighbours.
    #[inline]
    pub(super) fn unlink(&self, entries: &Entries, next: u32, back: u32) {
        if next != 0 {
            entries.set_timer_back(next - 1, back);
        }
        if back & FIRST == 0 {
            entries.set_timer_next(back, next);
            return;
        }
        let place = (back & !FIRST) as usize;
        self.region.set(HEADS + place, u64::from(next));
        if next == 0 {
            self.clear_bit(place / 64, place % 64);
        }
    }

    fn clear_bit(&self, level: usize, slot: usize) {
        self.region
            .set(BITS + level, self.region.get(BITS + level) & !(1 << slot));
    }

    /// Empties a slot; the first of its list plus 1.
    fn take(&self, level: usize, slot: usize) -> u32 {
        let head = self.region.get(HEADS + level * 64 + slot) as u32;
        self.region.set(HEADS + level * 64 + slot, 0);
        self.clear_bit(level, slot);
        head
    }

    /// Whether it was moved on to this time, and nothing was due since.
    #[inline]
    pub(super) fn is_done_at(&self, to: u64) -> bool {
        self.now() == to && self.region.get(BITS) >> (to & 63) & 1 == 0
    }

    /// Moves on to `to` and hands out, unhooked, the entries whose time has come.
    pub(super) fn advance(&self, entries: &Entries, to: u64, mut due: impl FnMut(u32)) {
        if to < self.now() {
            return;
        }
        loop {
            let now = self.now();
            let same = now >> 6 == to >> 6;
            let until = if same { to & 63 } else { 63 };
            let bits = self.region.get(BITS) & (!0 << (now & 63)) & (!0 >> (63 - until));
            if bits != 0 {
                let mut head = self.take(0, bits.trailing_zeros() as usize);
                while head != 0 {
                    let index = head - 1;
                    head = entries.timer_next(index);
                    due(index);
                }
                continue;
            }
            let next = if same { None } else { self.next_slot(now) };
            match next {
                Some((level, slot, start)) if start <= to => {
                    let mut head = self.take(level, slot);
                    self.region.set(NOW, start);
                    while head != 0 {
                        let index = head - 1;
                        head = entries.timer_next(index);
                        self.insert(entries, index, entries.due_ms(index));
                    }
                }
                _ => {
                    self.region.set(NOW, to);
                    return;
                }
            }
        }
    }

    /// The earliest slot above level 0 and the time at which it begins. Lower levels come first.
    fn next_slot(&self, now: u64) -> Option<(usize, usize, u64)> {
        (1..LEVELS).find_map(|level| {
            let current = now >> (6 * level) & 63;
            let bits = self.region.get(BITS + level);
            let later = bits & (!0 << current) & !(1 << current);
            let mut block = now >> (6 * (level + 1)) << (6 * (level + 1));
            let slots = if later == 0 && level == LEVELS - 1 {
                // The coarsest level goes round.
                block = block.saturating_add(SPAN + 1);
                bits
            } else {
                later
            };
            if slots == 0 {
                return None;
            }
            let slot = slots.trailing_zeros() as usize;
            Some((level, slot, block | (slot as u64) << (6 * level)))
        })
    }

    /// A time before which nothing is due; `None` if nothing hangs in the wheel.
    pub(super) fn next_due(&self) -> Option<u64> {
        let now = self.now();
        let bits = self.region.get(BITS) & (!0 << (now & 63));
        if bits != 0 {
            return Some(now >> 6 << 6 | u64::from(bits.trailing_zeros()));
        }
        self.next_slot(now).map(|(_, _, start)| start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shm::Mapping;
    use std::collections::BTreeMap;
    use std::sync::Arc;

    #[test]
    fn every_entry_comes_exactly_when_it_is_due() {
        let map = Arc::new(Mapping::anonymous(1 << 20).expect("memory"));
        let wheel = Wheel {
            region: Region::new(&map, 0, 4096).expect("region"),
        };
        let entries = Entries {
            salt: 0,
            region: Region::new(&map, 4096, 512 * 64).expect("region"),
        };
        for seed in 1..40_u64 {
            let mut state = seed;
            let mut dice = |below: u64| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(seed);
                (state >> 20) % below
            };
            let mut now = dice(1 << 40);
            wheel.reset(now);
            let mut model: BTreeMap<u32, u64> = BTreeMap::new();
            for _ in 0..3_000 {
                let index = dice(512) as u32;
                if let Some(_due) = model.remove(&index) {
                    wheel.remove(&entries, index);
                } else {
                    let bits = dice(34);
                    let due = now + dice(1 << bits);
                    entries.set_lease(index, due, 0);
                    wheel.insert(&entries, index, due);
                    model.insert(index, due);
                }
                let bits = dice(22);
                now += dice(1 << bits);
                if let Some(next) = wheel.next_due() {
                    assert!(model.values().all(|due| *due >= next.min(*due)));
                    assert!(next <= *model.values().min().expect("next_due of an empty wheel"));
                }
                let mut came = Vec::new();
                wheel.advance(&entries, now, |index| came.push(index));
                for index in came {
                    let due = model.remove(&index).expect("came twice or never went in");
                    assert!(due <= now, "seed {seed}: {due} came at {now}");
                }
                assert!(
                    model.values().all(|due| *due > now),
                    "seed {seed}: one is late"
                );
            }
        }
    }
}
