//! A group's position where its window is damaged.
//!
//! An entry names its offset twice and stands in the place that follows from it, so that one which
//! does not is seen. What entries say together is where the floor was at least, since none is given
//! to an offset one round later before the floor is past the earlier one. From there on the first
//! message that is not settled for sure is where the group begins again: what is behind it is
//! delivered once more, and nothing is skipped (P6). The floor that is written is believed only
//! where it is lower. Attempts and failures are kept of entries that can be believed. A message
//! whose dead letter is there is settled, whatever the window says: it is never in both places
//! (P12).
//!
//! A group that hands out at most once gets nothing again of what may have been handed over, so far
//! as the window reached: what is settled or was given stays settled, and so does what no entry
//! tells of; that may lose some, and hands out none twice (P7).

use std::collections::{BTreeSet, HashMap};

use super::truth::{Entry, Raw};
use crate::error::Result;
use crate::format::window::{
    CAPACITY_MIN, ENTRY_WORDS, Parts, entry as at, header, salt, state, tag,
};
use crate::group::{Fresh, Policy, Truth};
use crate::store::Topic;

const LOW32: u64 = 0xFFFF_FFFF;
const FAILURES: u64 = 0xFFFF;
/// Of the word of hand-outs: the attempts without what says that the last one was begun with.
const ATTEMPTS: u64 = 0xFFFF_FFFE;

/// What is known of a group's partition besides its window.
pub(super) struct Around<'a> {
    pub(super) topic: &'a Topic,
    pub(super) partition: u32,
    /// Where the group began, or was sought last.
    pub(super) start: u64,
    /// The epoch since then; 0 where it was never sought.
    pub(super) epoch: u32,
    /// Where the log ends.
    pub(super) end: u64,
    /// How the group hands out.
    pub(super) policy: Policy,
    /// The group's limit.
    pub(super) limit: u32,
    /// Whether the group hands out at most once.
    pub(super) once: bool,
    /// Whether it is a redrive lane, which waits in the order of its group.
    pub(super) lane: bool,
    /// Offsets whose dead letters are there.
    pub(super) dead: BTreeSet<u64>,
}

/// The window of a group that begins again.
pub(super) fn rebuild(raw: Option<&Raw>, around: &Around<'_>) -> Result<Truth> {
    // One that was sought, and did not know of it yet, begins where it was sought.
    let raw = raw.filter(|raw| raw.own && epoch_of(raw) >= u64::from(around.epoch));
    let known = raw.map_or_else(HashMap::new, |raw| believed(raw, around.end));
    let written = raw.map_or(around.start, |raw| raw.words[header::FLOOR]);
    let ring = raw.map_or(CAPACITY_MIN, Raw::capacity);
    let last = known.keys().max();
    let low = last.map_or(0, |last| (last + 1).saturating_sub(ring));
    let low = low.max(around.start);
    let is_settled = |offset| {
        let entry: Option<&Entry> = known.get(&offset);
        around.dead.contains(&offset) || entry.is_some_and(|entry| is_done(entry, around.once))
    };
    let (topic, number) = (around.topic, around.partition);
    let mut unsettled = around.end;
    topic.places(number, (low, around.end), |one| {
        let settled = is_settled(one.offset);
        if !settled {
            unsettled = one.offset;
        }
        settled
    })?;
    let floor = unsettled.min(written).max(low);
    // The last dead letter's message has to be in the window, or it would be delivered.
    let last_dead = around.dead.last().copied().filter(|last| *last >= floor);
    let most = Parts::of(around.limit).most as u64;
    let wanted = last_dead.map_or(0, |last| (last - floor + 1).next_power_of_two());
    let capacity = ring.max(wanted).min(most);
    let room = capacity.min(u64::from(around.limit));
    let reached = raw.map_or(0, Raw::end);
    let epoch = (raw.map_or(u64::from(around.epoch), epoch_of) + 1) & LOW32;
    let mut truth = Truth {
        epoch,
        usable: capacity,
        entries: vec![[0; ENTRY_WORDS]; usize::try_from(capacity).unwrap_or(0)],
        ..Truth::beginning_at(floor)
    };
    topic.places(number, (floor, around.end), |one| {
        let offset = one.offset;
        let entry = known.get(&offset).copied();
        let inside = entry.is_some()
            || last_dead.is_some_and(|last| offset <= last)
            || around.once && offset < reached;
        let done = around.once && entry.is_none_or(|entry| is_done(&entry, true));
        if !inside || offset - floor >= room {
            return false;
        }
        for gap in truth.next..offset {
            *slot(&mut truth.entries, gap) = settled(epoch, gap);
        }
        *slot(&mut truth.entries, offset) = if done || around.dead.contains(&offset) {
            settled(epoch, offset)
        } else {
            let entry = entry.unwrap_or_else(|| settled(epoch, offset));
            open(epoch, &entry, one, &around.policy)
        };
        truth.next = offset + 1;
        true
    })?;
    Ok(truth)
}

/// Whether the entry says that its message is settled, or may have been handed over by a group that
/// hands out at most once.
fn is_done(entry: &Entry, once: bool) -> bool {
    let given = once && entry[at::HAND_OUT] & 1 == 1;
    match entry[at::STATE] & 0xFF {
        state::SETTLED => true,
        state::LEASED => given,
        _ => false,
    }
}

/// Entries that name their offset twice, are where it belongs, and have a state.
fn believed(raw: &Raw, end: u64) -> HashMap<u64, Entry> {
    let mask = raw.capacity() - 1;
    let fits = |(number, entry): (usize, &Entry)| {
        let tag = entry[at::STATE] >> 32;
        let low = (tag as u32).wrapping_sub(salt(raw.words[header::EPOCH]));
        let offset = whole_offset(u64::from(low), end)?;
        let state = entry[at::STATE] & 0xFF;
        let fits = entry[at::HAND_OUT] >> 32 == tag
            && offset & mask == number as u64
            && ((state::READY..=state::SCHEDULED).contains(&state)
                || matches!(state, state::HOLDING | state::COMMITTING));
        fits.then_some((offset, *entry))
    };
    raw.entries.iter().enumerate().filter_map(fits).collect()
}

/// How often the window was sought.
fn epoch_of(raw: &Raw) -> u64 {
    raw.words[header::EPOCH] & LOW32
}

/// The last offset below the end of the log whose low half this is.
fn whole_offset(low: u64, end: u64) -> Option<u64> {
    let offset = end & !LOW32 | low;
    match offset < end {
        true => Some(offset),
        false => offset.checked_sub(1 << 32),
    }
}

/// The entry of an offset.
fn slot(entries: &mut [Entry], offset: u64) -> &mut Entry {
    let mask = entries.len() as u64 - 1;
    &mut entries[(offset & mask) as usize]
}

/// The entry of an offset that nobody waits for.
pub(super) fn settled(epoch: u64, offset: u64) -> Entry {
    let (mut entry, tag) = ([0; ENTRY_WORDS], tag(epoch, offset) << 32);
    entry[at::STATE] = tag | state::SETTLED;
    entry[at::HAND_OUT] = tag;
    entry
}

/// The entry of a message that may be handed out once its time has come, with its attempts and
/// failures. One failure is left to it: a message does not die of what may be damage.
fn open(epoch: u64, entry: &Entry, message: &Fresh, policy: &Policy) -> Entry {
    let tag = tag(epoch, message.offset) << 32;
    let most = u64::from(policy.max_attempts.saturating_sub(1));
    let failures = (entry[at::STATE] >> 16 & FAILURES).min(most);
    let attempts = entry[at::HAND_OUT] & ATTEMPTS;
    let waits = message.attributes.deliver_at_ms.filter(|_| attempts == 0);
    let (state, since) = match waits {
        Some(time) => (state::SCHEDULED, (time.max(0) as u64) << 16),
        None => (state::READY, entry[at::FAILED] & !0xFFFF),
    };
    let priority = u64::from(message.attributes.priority) << 8;
    let mut open = [0; ENTRY_WORDS];
    open[at::STATE] = tag | failures << 16 | priority | state;
    open[at::HAND_OUT] = tag | attempts;
    open[at::KEY_HASH] = policy.chain_of(message.key);
    open[at::FAILED] = since;
    open[at::PLACE] = message.position & LOW32;
    open
}
