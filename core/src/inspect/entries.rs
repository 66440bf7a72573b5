//! The entries of a window: what each says by itself, what they say together with the counters, and
//! whether the log has the messages that they speak of.
//!
//! Of a window that was in use when everyone died no checksum tells, so this is all there is. What
//! a kill at any store leaves is no damage: a counter falls before an entry leaves a state and
//! rises after one has come to it, so that it is never above the number of such entries. After a
//! power loss header and entries may be of different age, and only what one entry says counts.

use std::ops::Range;

use super::bytes::Bytes;
use super::plan::SegmentPlan;
use super::window::Words;
use super::{Wrong, ranges};
use crate::error::{ErrorKind, Result};
use crate::format::extension::PRIORITY_MAX;
use crate::format::record::{HAS_KEY, HEADER as RECORD_HEADER, Header, MESSAGE};
use crate::format::u64_at;
use crate::format::window::{
    CAPACITY_MIN, ENTRY, ENTRY_WORDS, Parts, cause, entry as at, header, salt, state, tag,
};
use crate::group::{Counter, Policy};
use crate::shm::boot_id;

/// Words of an entry.
type Entry = [u64; ENTRY_WORDS];

const LOW32: u64 = 0xFFFF_FFFF;

/// States that are counted, with their counters and names.
const COUNTED: [(u64, Counter, &str); 8] = [
    (state::READY, Counter::Ready, "ready"),
    (state::DELAYED, Counter::Delayed, "delayed"),
    (state::LEASED, Counter::Leased, "leased"),
    (state::HELD, Counter::Held, "held"),
    (state::DYING, Counter::Dying, "dying"),
    (state::HOLDING, Counter::Holding, "holding their keys"),
    (state::COMMITTING, Counter::Committing, "in a transaction"),
    (
        state::SCHEDULED,
        Counter::Scheduled,
        "waiting for their time",
    ),
];

/// What the log holds of the messages that a window speaks of.
pub(super) struct InLog<'a> {
    /// The partition's segments, by base.
    pub(super) segments: &'a [SegmentPlan],
    /// Offsets of whole messages, as they were seen before the window is looked at.
    pub(super) readable: &'a [Range<u64>],
    /// How the group hands out; `None` where that is not known.
    pub(super) policy: Option<Policy>,
    /// Whether it is a redrive lane, which has dead letters in its window.
    pub(super) lane: bool,
}

/// Above so many bits of a dying message's LEASE stands why it is.
const CAUSE: u32 = 60;
/// Why messages die that failed.
const FAILURES: [u64; 5] = [
    cause::NACK,
    cause::LEASE_ENDED,
    cause::DIED,
    cause::ALL_ENDED,
    cause::HOST_RESTARTED,
];

/// Whether it is a message that died since it failed. Others were too late for anybody, were given
/// up, perhaps before anybody was handed them, or about to be taken; of some nobody knows: who had
/// them die was killed before he wrote down why.
fn has_failed(state: u64, entry: &Entry) -> bool {
    let dead = matches!(state, state::DYING | state::HOLDING);
    dead && FAILURES.contains(&(entry[at::LEASE] >> CAUSE))
}

/// The walk over a window's entries.
struct Walk<'a, 'b> {
    words: &'a Words,
    /// Last rebuilt in this start of the host: no power was lost since, and header and entries are
    /// of one age.
    one_age: bool,
    log: Option<Messages<'b>>,
    /// Entries in each state.
    counts: [u64; state::COMMITTING as usize + 1],
    /// The first offset that no entry speaks of.
    silent: Option<(u64, u64)>,
}

/// Looks at all entries from floor to end, which lie inside of the file.
pub(super) fn check(
    bytes: &mut Bytes,
    words: &Words,
    parts: &Parts,
    log: Option<&InLog<'_>>,
    wrong: &mut Vec<Wrong>,
) -> Result<()> {
    let mut walk = Walk {
        words,
        one_age: boot_of(words) == boot_id(),
        log: log.map(Messages::of),
        counts: [0; _],
        silent: None,
    };
    let mask = words[header::CAPACITY] - 1;
    let mut read = |offset: u64| -> Result<Option<(u64, Entry)>> {
        let place = parts.entries as u64 + (offset & mask) * ENTRY as u64;
        let entry = bytes.get(place, ENTRY as u64)?;
        let words = |entry: &[u8]| std::array::from_fn(|word| u64_at(entry, word * 8));
        Ok(entry.map(|entry| (place, words(entry))))
    };
    let next = words[header::NEXT];
    for offset in words[header::FLOOR]..next {
        let Some((place, entry)) = read(offset)? else {
            return Ok(());
        };
        if let Some(what) = walk.entry(offset, place, &entry)? {
            wrong.push((place, format!("the entry of offset {offset} {what}")));
        }
    }
    // One that is held, waits for its time, or came too late, is counted before the end is moved
    // behind it.
    let next_tag = tag(words[header::EPOCH], next);
    if let Some((_, entry)) = read(next)?
        && entry[at::STATE] >> 32 == next_tag
        && let state @ (state::HELD | state::SCHEDULED | state::DYING) = entry[at::STATE] & 0xFF
    {
        walk.counts[state as usize] += 1;
    }
    if walk.one_age && wrong.is_empty() {
        walk.together(wrong);
    }
    Ok(())
}

fn boot_of(words: &Words) -> [u8; 16] {
    let mut boot = [0; 16];
    boot[..8].copy_from_slice(&words[header::BOOT].to_le_bytes());
    boot[8..].copy_from_slice(&words[header::BOOT + 1].to_le_bytes());
    boot
}

impl Walk<'_, '_> {
    /// What is wrong with one entry.
    fn entry(&mut self, offset: u64, place: u64, entry: &Entry) -> Result<Option<String>> {
        let tag = tag(self.words[header::EPOCH], offset);
        let (word, hand_out) = (entry[at::STATE], entry[at::HAND_OUT]);
        if word >> 32 != tag {
            self.silent.get_or_insert((offset, place));
            return Ok(None);
        }
        let (state, failures, attempts) = (word & 0xFF, word >> 16 & 0xFFFF, hand_out >> 1);
        if state > state::COMMITTING {
            return Ok(Some(format!("has state {state}, expected 0 to 10")));
        }
        if state == state::DEAD && self.log.as_ref().is_some_and(|log| !log.log.lane) {
            return Ok(Some(
                "is a dead letter, in a group that is no redrive lane".into(),
            ));
        }
        let priority = word >> 8 & 0xF;
        if priority > u64::from(PRIORITY_MAX) {
            return Ok(Some(format!("has priority {priority}, expected 0 to 9")));
        }
        self.counts[state as usize] += 1;
        if hand_out >> 32 != tag {
            let told = hand_out >> 32;
            let salt = salt(self.words[header::EPOCH]);
            let of = (told as u32).wrapping_sub(salt);
            let what = format!("has state {state} and speaks of offset {of} when handed out");
            return Ok((!self.may_be_next_round(tag, told)).then_some(what));
        }
        let failed = has_failed(state, entry);
        let without = failed && failures == 0;
        if state == state::HOLDING && (without || entry[at::KEY_HASH] == 0) {
            return Ok(Some("holds its key without a failure, or a key".into()));
        }
        if state == state::DYING && without {
            return Ok(Some("is dying without a failure".into()));
        }
        let attempts = attempts & (LOW32 >> 1);
        if self.one_age
            && let Some(what) = self.history(offset, state, (failures, failed), attempts)
        {
            return Ok(Some(what));
        }
        match (&mut self.log, state) {
            (
                Some(log),
                state::READY..=state::DYING
                | state::SCHEDULED
                | state::DEAD
                | state::HOLDING
                | state::COMMITTING,
            ) => log.look(offset, entry),
            _ => Ok(None),
        }
    }

    /// What cannot have happened to a message. After a power loss an entry may be one that was
    /// being filled anew for its own offset: then it has no attempts yet.
    fn history(
        &self,
        offset: u64,
        state: u64,
        (failures, failed): (u64, bool),
        attempts: u64,
    ) -> Option<String> {
        let handed = match state {
            state::LEASED | state::COMMITTING => true,
            state::DYING | state::HOLDING => failed,
            _ => failures > 0,
        };
        if handed && attempts == 0 {
            return Some(format!(
                "has state {state} and {failures} failures, and was never handed out"
            ));
        }
        // Taken in last, by one that died before the message went anywhere.
        let last = offset + 1 == self.words[header::NEXT];
        (state == state::FRESH && !last).then(|| "says that nobody looked at it".into())
    }

    /// A power loss may keep an entry that was being filled for a later round, and take the floor
    /// back: that was past the offset, so that it is settled.
    fn may_be_next_round(&self, tag: u64, told: u64) -> bool {
        let ahead = told.wrapping_sub(tag) & LOW32;
        !self.one_age && ahead < 1 << 31 && ahead.is_multiple_of(CAPACITY_MIN)
    }

    /// Entries and counters. While anything is open each offset has an entry; an empty window's
    /// jump over a gap, cut short, leaves some that have none.
    fn together(&self, wrong: &mut Vec<Wrong>) {
        let mut counted = 0_u64;
        for (state, counter, name) in COUNTED {
            let word = header::COUNTERS + counter as usize;
            let (count, entries) = (self.words[word], self.counts[state as usize]);
            counted = count.saturating_add(counted);
            if count > entries {
                let what = format!("it counts {count} messages that are {name}, {entries} are");
                wrong.push((word as u64 * 8, what));
            }
        }
        if counted > 0
            && let Some((offset, place)) = self.silent
        {
            let what = format!("no entry speaks of offset {offset}, which is in the window");
            wrong.push((place, what));
        }
    }
}

/// Looks for messages where a window says that they are.
struct Messages<'a> {
    log: &'a InLog<'a>,
    /// The segment that was looked into last.
    opened: Option<(usize, Option<Bytes>)>,
}

impl<'a> Messages<'a> {
    fn of(log: &'a InLog<'a>) -> Self {
        Self { log, opened: None }
    }

    /// What does not fit between an open entry and its message; of one that is not there as a whole
    /// the log's damage tells, or it was taken back.
    fn look(&mut self, offset: u64, entry: &Entry) -> Result<Option<String>> {
        let log = self.log;
        if !ranges::contains(log.readable, offset) {
            return Ok(None);
        }
        let behind = log.segments.partition_point(|one| one.base <= offset);
        let Some(number) = behind.checked_sub(1) else {
            return Ok(None);
        };
        if self.opened.as_ref().is_none_or(|(of, _)| *of != number) {
            self.opened = Some((number, readable(&log.segments[number])?));
        }
        let Some((_, Some(bytes))) = &mut self.opened else {
            return Ok(None);
        };
        let position = entry[at::PLACE] & LOW32;
        let head = bytes.get(position, RECORD_HEADER as u64);
        let head = match head {
            Err(error) if error.kind() == ErrorKind::Io => return Ok(None),
            head => head?.and_then(|head| head.first_chunk().map(Header::decode)),
        };
        let Some(header) = head.filter(|header| header.offset == offset) else {
            return Ok(Some(format!(
                "says that its message is at byte {position} of segment {}, where it is not",
                log.segments[number].base
            )));
        };
        let key = (header.flags & HAS_KEY != 0).then_some(header.key_hash);
        let wanted = log.policy.map(|policy| policy.chain_of(key));
        let found = entry[at::KEY_HASH];
        // Nothing waits for one that came too late.
        let late = entry[at::STATE] & 0xFF == state::DYING && found == 0;
        Ok(wanted
            .filter(|wanted| header.kind == MESSAGE && *wanted != found && !late)
            .map(|wanted| format!("has the key hash {found:#018x}, expected {wanted:#018x}")))
    }
}

/// A segment's bytes, if they can be read.
fn readable(segment: &SegmentPlan) -> Result<Option<Bytes>> {
    match Bytes::open(&segment.listed.path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::Io) => Ok(None),
        Err(e) if e.kind() == ErrorKind::PermissionDenied => Ok(None),
        Err(e) => Err(e),
    }
}
