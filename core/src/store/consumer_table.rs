//! The table of consumers in `control`: whose leases to return when a member dies.

use std::sync::atomic::Ordering;

use super::control::Control;
use super::control_block::Block;
use crate::error::{Error, ErrorKind, Result};
use crate::format::control::{consumer, header};
use crate::shm::{Liveness, Owner, Region, process_id};

/// A registered consumer's place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConsumerSlot(pub(crate) u16);

/// What a table entry says of a consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConsumerEntry {
    /// Its place.
    pub(crate) slot: ConsumerSlot,
    /// Its member, as the table names it.
    pub(crate) member: u64,
    /// Position of its group's block; 0 if its member died before it was filled in.
    pub(crate) group: u64,
    /// Its name, for people.
    pub(crate) name: String,
}

fn member_word(owner: Owner) -> u64 {
    u64::from(owner.generation) << 16 | (u64::from(owner.slot) + 1)
}

/// A thread sleeps in a receive of a consumer, for as long as this is held. Of one that dies nobody
/// takes it back: a consumer counts only while its member lives.
pub(crate) struct Asleep {
    table: Region,
    word: usize,
    member: u64,
}

impl Drop for Asleep {
    fn drop(&mut self) {
        // The slot may have been given back meanwhile, and be another consumer's.
        if self
            .table
            .load(self.word + consumer::MEMBER, Ordering::Acquire)
            == self.member
        {
            self.table.add(self.word + consumer::WAITING, u64::MAX);
        }
    }
}

impl Control {
    /// Counts this thread as one that sleeps in a receive of this consumer.
    pub(crate) fn asleep(&self, slot: u16) -> Asleep {
        let word = usize::from(slot) * consumer::WORDS;
        let table = self.shared.consumers.clone();
        table.add(word + consumer::WAITING, 1);
        Asleep {
            table,
            word,
            member: member_word(self.me),
        }
    }

    /// How many consumers of a group there are, in all processes, and how many threads sleep in
    /// their receives. Those of members that died are none, whoever has noticed that.
    pub(crate) fn count_consumers(&self, group: &Block, live: &dyn Liveness) -> (u64, u64) {
        let (mut consumers, mut asleep) = (0, 0);
        for entry in self.consumers_of_group(group) {
            let owner = Owner {
                slot: ((entry.member & 0xFFFF) as u16).wrapping_sub(1),
                generation: (entry.member >> 16) as u32,
            };
            if live.is_alive(owner) {
                let word = usize::from(entry.slot.0) * consumer::WORDS + consumer::WAITING;
                let waiting = self.shared.consumers.load(word, Ordering::Acquire);
                consumers += 1;
                // Words that anybody may have written (P18).
                asleep += waiting.min(u64::from(u16::MAX));
            }
        }
        (consumers, asleep)
    }

    /// The table's words.
    pub(crate) fn consumer_table(&self) -> &Region {
        &self.shared.consumers
    }

    /// Enters a consumer of this member into the table. Its slot goes into leases; when the member
    /// dies, whoever finds that walks the table and returns the leases (P10). Slots are given one
    /// after the other, and not the same one again soon: who had it is still to be told of
    /// (`held`).
    pub(crate) fn register_consumer(
        &self,
        group: &Block,
        name: &str,
        now_ms: u64,
    ) -> Result<ConsumerSlot> {
        let table = &self.shared.consumers;
        let first = self.header().get(header::NEXT_CONSUMER) as usize % consumer::SLOTS;
        for slot in (first..consumer::SLOTS).chain(0..first) {
            let word = slot * consumer::WORDS;
            let free = table.get(word + consumer::MEMBER) == 0;
            if free
                && table
                    .cas(word + consumer::MEMBER, 0, member_word(self.me))
                    .is_ok()
            {
                // A hint, also where several store it at once, or one dies before.
                self.header().set(header::NEXT_CONSUMER, slot as u64 + 1);
                // Of who had the slot before.
                table.store(word + consumer::GROUP, 0, Ordering::Release);
                table.store(word + consumer::SINCE, 0, Ordering::Release);
                for count in [
                    consumer::DELIVERED,
                    consumer::ACKED,
                    consumer::FAILED,
                    consumer::WAITING,
                ] {
                    table.set(word + count, 0);
                }
                let process = u64::from(process_id());
                table.set(word + consumer::PROCESS, process);
                self.set_name(word + consumer::NAME, name);
                table.store(word + consumer::SINCE, now_ms.max(1), Ordering::Release);
                // Group last: a death before it leaves an entry without leases, which is freed.
                table.store(word + consumer::GROUP, group.at(), Ordering::Release);
                return Ok(ConsumerSlot(slot as u16));
            }
        }
        Err(Error::new(
            ErrorKind::TooMany,
            format!(
                "all {} consumers of the store are taken; close some",
                consumer::SLOTS
            ),
        ))
    }

    /// Name and process of the consumer of a group that had this slot at a time of the boot clock,
    /// also where it closed or died since; `None` where that is not known any more.
    pub(crate) fn held(&self, slot: u16, group: &Block, at_ms: u64) -> Option<(String, u32)> {
        let table = &self.shared.consumers;
        let word = usize::from(slot) * consumer::WORDS;
        if usize::from(slot) >= consumer::SLOTS {
            return None;
        }
        let is_of = || {
            let since = table.load(word + consumer::SINCE, Ordering::Acquire);
            let of = table.load(word + consumer::GROUP, Ordering::Acquire);
            (of == group.at() && since > 0 && since <= at_ms).then_some(since)
        };
        let since = is_of()?;
        let process = table.load(word + consumer::PROCESS, Ordering::Acquire) as u32;
        let name = self.consumer_name(ConsumerSlot(slot));
        // Else another one took the slot meanwhile.
        (is_of() == Some(since)).then_some((name, process))
    }

    fn set_name(&self, word: usize, name: &str) {
        let mut bytes = [0_u8; consumer::NAME_BYTES];
        let mut end = name.len().min(bytes.len());
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        bytes[..end].copy_from_slice(&name.as_bytes()[..end]);
        for place in 0..consumer::NAME_BYTES / 8 {
            let eight = crate::format::u64_at(&bytes, place * 8);
            self.shared.consumers.set(word + place, eight);
        }
    }

    /// Takes a consumer off the table, after its leases were returned. The exact word: where
    /// another process did so before, the slot may have the next consumer.
    pub(crate) fn free_consumer(&self, gone: &ConsumerEntry) {
        let word = usize::from(gone.slot.0) * consumer::WORDS;
        let table = &self.shared.consumers;
        let _ = table.cas(word + consumer::MEMBER, gone.member, 0);
    }

    /// Whether the table still names this consumer. Asked with the lock of a window held, it says
    /// whether leases of this slot that are found there are its own: who has the slot next takes
    /// leases under that lock, after it entered itself here.
    pub(crate) fn names_consumer(&self, known: &ConsumerEntry) -> bool {
        let word = usize::from(known.slot.0) * consumer::WORDS;
        let member = self
            .shared
            .consumers
            .load(word + consumer::MEMBER, Ordering::Acquire);
        member == known.member
    }

    /// The entry of a consumer of this member.
    pub(crate) fn own_consumer(
        &self,
        slot: ConsumerSlot,
        group: &Block,
        name: &str,
    ) -> ConsumerEntry {
        ConsumerEntry {
            slot,
            member: member_word(self.me),
            group: group.at(),
            name: name.to_owned(),
        }
    }

    /// The name a consumer registered with.
    pub(crate) fn consumer_name(&self, slot: ConsumerSlot) -> String {
        let word = usize::from(slot.0) * consumer::WORDS + consumer::NAME;
        let words = (0..consumer::NAME_BYTES / 8).map(|at| self.shared.consumers.get(word + at));
        let bytes: Vec<u8> = words
            .flat_map(u64::to_le_bytes)
            .take_while(|b| *b != 0)
            .collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The consumers of a member, alive or dead.
    pub(crate) fn consumers_of_member(&self, owner: Owner) -> Vec<ConsumerEntry> {
        self.consumers(|found, _| found == member_word(owner))
    }

    /// The consumers of a group, in all processes.
    pub(crate) fn consumers_of_group(&self, group: &Block) -> Vec<ConsumerEntry> {
        self.consumers(|_, at| at == group.at())
    }

    /// How many consumers a group has, in all processes, those included whose death nobody has
    /// noticed yet.
    pub(crate) fn consumers_in(&self, group: &Block) -> usize {
        let word = |slot: usize, word| {
            let at = slot * consumer::WORDS + word;
            self.shared.consumers.load(at, Ordering::Relaxed)
        };
        let of_group = |slot: &usize| {
            word(*slot, consumer::GROUP) == group.at() && word(*slot, consumer::MEMBER) != 0
        };
        (0..consumer::SLOTS).filter(of_group).count()
    }

    fn consumers(&self, wanted: impl Fn(u64, u64) -> bool) -> Vec<ConsumerEntry> {
        let table = &self.shared.consumers;
        let slots = 0..consumer::SLOTS;
        let entry = |slot: usize| {
            let word = slot * consumer::WORDS;
            let group = table.load(word + consumer::GROUP, Ordering::Acquire);
            let slot = ConsumerSlot(slot as u16);
            let member = table.load(word + consumer::MEMBER, Ordering::Acquire);
            (member != 0 && wanted(member, group)).then(|| ConsumerEntry {
                slot,
                member,
                group,
                name: self.consumer_name(slot),
            })
        };
        slots.filter_map(entry).collect()
    }
}
