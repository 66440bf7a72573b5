//! What is open in a group, without what belongs to one store alone: places in files, tags, times
//! of the boot clock, slots of consumers.

use std::collections::HashMap;

use crate::format::export::Open;
use crate::format::extension::PRIORITY_MAX;
use crate::format::window::{ENTRY_WORDS, entry as at, state, tag as tag_of};
use crate::group::{Captured, Now, Policy};

const LOW16: u64 = 0xFFFF;
const LOW32: u64 = 0xFFFF_FFFF;
/// Ms of the boot clock have so many bits.
const MS_MAX: u64 = (1 << 48) - 1;
/// The slot of no consumer.
const NOBODY: u64 = LOW16;
/// Where in a lease's time of a dying message the cause stands.
const CAUSE: u32 = 60;
/// Where the time stands.
const DUE: u32 = 16;

/// Where a message is in a log: position, order that it waits in, priority.
pub(super) type Place = (u64, u64, u8);

/// The open messages of a window, to be written.
pub(super) fn exported(window: &Captured, lane: bool, now: Now) -> Vec<Open> {
    let held = |entry: &[u64; ENTRY_WORDS]| entry[at::STATE] & 0xFF == state::HELD;
    let mut waiting: Vec<(u64, u64)> = window
        .open
        .iter()
        .filter(|(_, entry)| held(entry))
        .map(|(offset, entry)| (entry[at::LEASE] >> DUE, *offset))
        .collect();
    waiting.sort_unstable();
    let places = waiting.iter().zip(0..);
    let places: HashMap<u64, u64> = places
        .map(|((_, offset), place)| (*offset, place))
        .collect();
    let all = window.open.iter().map(|(offset, entry)| {
        let (word, due) = (entry[at::STATE], entry[at::LEASE] >> DUE);
        let failed = entry[at::FAILED] >> DUE;
        let state = word & 0xFF;
        let (time, first_failed_ms) = match state {
            state::DELAYED => (
                due.saturating_add(now.wall_ms).saturating_sub(now.boot_ms),
                failed,
            ),
            state::SCHEDULED => (failed, 0),
            state::HELD => (places.get(offset).copied().unwrap_or(0), failed),
            state::DYING => (entry[at::LEASE] >> CAUSE, failed),
            _ => (0, failed),
        };
        Open {
            offset: *offset,
            state: state as u8,
            redriven: (word >> 12 & 0xF) as u8,
            failures: (word >> 16 & LOW16) as u16,
            attempts: (entry[at::HAND_OUT] >> 1 & 0x7FFF_FFFF) as u32,
            key_hash: if lane { entry[at::KEY_HASH] } else { 0 },
            time,
            first_failed_ms,
        }
    });
    all.collect()
}

/// Whether a message can be open like this (P18).
pub(super) fn can_be(open: &Open, lane: bool) -> bool {
    let known = match u64::from(open.state) {
        state::READY | state::DELAYED | state::HELD | state::DYING => true,
        state::SCHEDULED | state::HOLDING => !lane,
        state::DEAD => lane,
        _ => false,
    };
    known && open.redriven < 16 && open.attempts <= 0x7FFF_FFFF && open.first_failed_ms <= MS_MAX
}

/// The entry of an open message that is at this place.
pub(super) fn entry_of(
    open: &Open,
    epoch: u64,
    (position, chain, priority): Place,
    lane: bool,
    now: Now,
) -> [u64; ENTRY_WORDS] {
    let mut entry = [0; ENTRY_WORDS];
    let tag = tag_of(epoch, open.offset) << 32;
    let state = u64::from(open.state);
    let due = match state {
        state::DELAYED => open
            .time
            .saturating_add(now.boot_ms)
            .saturating_sub(now.wall_ms),
        state::HELD => open.time,
        state::DYING => (open.time & 0xF) << (CAUSE - DUE),
        _ => 0,
    };
    let failed = match state {
        state::SCHEDULED => open.time,
        _ => open.first_failed_ms,
    };
    entry[at::STATE] = tag
        | u64::from(open.failures) << 16
        | u64::from(open.redriven) << 12
        | u64::from(priority.min(PRIORITY_MAX)) << 8
        | state;
    entry[at::HAND_OUT] = tag | u64::from(open.attempts) << 1;
    entry[at::LEASE] = due.min(MS_MAX) << DUE | NOBODY;
    entry[at::KEY_HASH] = if lane { open.key_hash } else { chain };
    entry[at::FAILED] = failed.min(MS_MAX) << DUE;
    entry[at::PLACE] = position & LOW32;
    entry
}

/// The order that a message with this hash of its key waits in, and what else its entry is made of.
pub(super) fn place_of(policy: &Policy, one: &crate::group::Fresh) -> Place {
    (
        one.position,
        policy.chain_of(one.key),
        one.attributes.priority,
    )
}
