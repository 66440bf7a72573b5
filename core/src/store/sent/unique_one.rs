//! Sending one message under a dedup id: as `unique.rs`, without what a batch needs.

use std::cell::Cell;
use std::sync::Arc;

use super::room::Room;
use super::tables::{Lookup, insert};
use super::tables_tend::is_past;
use super::unique::SYNC_TIMEOUT;
use crate::error::Result;
use crate::format::ledger::Entry;
use crate::format::origin::{Origin, dedup_hash};
use crate::options::Durability;
use crate::store::flow::Way;
use crate::store::message::{Message, MessageId};
use crate::store::topic::TopicInner;

impl TopicInner {
    /// The message's id, or that of the first send with its dedup id.
    pub(in crate::store) fn send_unique_one(
        self: &Arc<Self>,
        message: &Message<'_>,
        id: &[u8],
        way: &Way<'_>,
    ) -> Result<MessageId> {
        self.check_dedup_id(id)?;
        let now_ms = self.store.env.clock.wall_ms();
        let hash = dedup_hash(self.uid, id);
        let origin = Origin::Dedup {
            hash,
            sent_ms: now_ms,
        };
        let (mut block, mut extension) = (Vec::new(), Vec::with_capacity(32));
        let draft = self.draft_from(message, &mut block, &mut extension, Some(origin))?;
        let number = self.choose(message)?;
        self.tend_tables();
        let (tables, log) = (&*self.tables, &self.partitions[number as usize]);
        let voids = log.voids();
        let seen = Cell::new(0);
        let is_sent = || self.tables.count(&[hash]) > seen.get();
        let go_on = || !is_sent() && way.goes_on();
        let way = Way {
            beat: Some(&go_on),
            ..*way
        };
        let (gate, mut room) = (way.gate(&[draft]), Room::default());
        let mut spent: Vec<Entry> = Vec::new();
        let (partition, offset) = loop {
            let (held, known) = tables.enter()?;
            // Who waited for room has followed what was configured meanwhile.
            let window = self.settings.dedup_window();
            let Lookup::Found(found) = known.find(hash) else {
                drop(held);
                room.give_back();
                tables.rebuild(&known)?;
                continue;
            };
            let counts =
                |entry: &&Entry| !is_past(entry.stamp_ms, now_ms, window) && !spent.contains(entry);
            if let Some(entry) = found.iter().find(counts) {
                drop(held);
                room.give_back();
                if self.still_counts(entry, window)? {
                    break (entry.partition, entry.offset);
                }
                spent.push(*entry);
                continue;
            }
            if known.room() == 0 {
                drop(held);
                room.give_back();
                tables.grow(&known, 1)?;
                continue;
            }
            if let Some(gate) = gate.as_ref().filter(|_| !room.is_taken()) {
                drop(held);
                seen.set(found.len());
                room.take(gate, &is_sent)?;
                continue;
            }
            tables.ground.intend(number);
            room.is_used(true);
            // A death, or an error, from here on: the next holder looks what became of it.
            let Some(offset) = log.append_if_room(&[draft], room.was_made())? else {
                tables.ground.intend_nothing();
                drop(held);
                room.is_used(false);
                room.give_back();
                log.make_room(&[draft])?;
                room.is_made();
                continue;
            };
            let entry = Entry {
                key: hash,
                partition: number,
                offset,
                stamp_ms: now_ms,
            };
            if let Some(newest) = known.newest() {
                insert(newest, &entry);
            }
            tables.ground.intend_nothing();
            break (number, offset);
        };
        room.give_back();
        if self.durability() == Durability::Sync {
            let log = &self.partitions[partition as usize];
            let since = if partition == number {
                voids
            } else {
                log.voids()
            };
            log.ensure_durable_since(offset + 1, since, SYNC_TIMEOUT)?;
        }
        Ok(self.id(partition, offset))
    }
}
