//! How fast senders may go in a topic that throttles (P14).
//!
//! Up to the low mark as they like. Between the marks so fast as consumers settle at the middle,
//! twice that at the low mark, and ever slower towards the high one: with consumers that keep their
//! pace the backlog settles in the middle, and whatever they do it stays below the high mark. Where
//! nobody settles anything senders go as if all between the marks were settled in ten seconds, so
//! that they come to the high mark, and block there.

use super::room::{Limits, UNLIMITED, Want, Words};
use crate::format::control::flow as at;
use crate::log::Counted;

/// Room is given for so long at a time.
const QUANTUM_NS: f64 = 5e6;
/// Nobody is held up for longer by the pace alone, whatever stands in the words (P18).
const LONGEST_NS: u64 = 1_000_000_000;
/// In which all between the marks is taken to be settled at least.
const SLOWEST_S: f64 = 10.0;
/// Rates are looked at in steps of this.
const STEP_NS: u64 = 20_000_000;
/// Over which they are levelled out.
const LEVEL_NS: f64 = 5e8;

/// With the lock of those who send held: what may be sent now, or until when nothing may.
pub(super) fn room(
    words: Words<'_>,
    limits: &Limits,
    (used, sent): (Counted, Counted),
    want: Want,
    now: u64,
) -> Result<Counted, u64> {
    let (low, high) = (limits.part(limits.marks.0), limits.part(limits.marks.1));
    let by_messages = limits.limits_messages();
    let of = |one: Counted| if by_messages { one.messages } else { one.bytes };
    let rate = settled_per_second(words, of(sent).wrapping_sub(of(used)), now);
    let left = |mark: Counted| Counted {
        messages: mark.messages.saturating_sub(used.messages),
        bytes: mark.bytes.saturating_sub(used.bytes),
    };
    let wanted = Counted {
        messages: want.messages,
        bytes: want.bytes,
    };
    // One that is larger than all up to the mark goes alone.
    let alone = used.messages == 0;
    if !alone && !within(wanted, left(high)) {
        return Ok(Counted::default());
    }
    if within(wanted, left(low)) {
        return Ok(left(low));
    }
    if alone {
        return Ok(wanted);
    }
    let until = words.get(at::PACE).min(now.saturating_add(LONGEST_NS));
    if now < until {
        return Err(until);
    }
    let range = of(high).saturating_sub(of(low)).max(1) as f64;
    let (lowest, highest) = (limits.marks.0 as f64 / 100.0, limits.marks.1 as f64 / 100.0);
    let place = ((limits.fill(used) - lowest) / (highest - lowest)).clamp(0.0, 0.999);
    let pace = 2.0 * (1.0 - place) * rate.max(range / SLOWEST_S);
    let cost = (of(wanted) as f64).max(pace * QUANTUM_NS / 1e9).ceil();
    let given = (cost as u64).min(of(left(high)));
    let rest = left(high);
    let room = match by_messages {
        true => Counted {
            messages: given,
            bytes: rest.bytes,
        },
        false => Counted {
            messages: rest.messages,
            bytes: given,
        },
    };
    let takes = (given as f64 * 1e9 / pace).min(LONGEST_NS as f64) as u64;
    words.set(at::PACE, now.saturating_add(takes));
    Ok(room)
}

fn within(wanted: Counted, room: Counted) -> bool {
    wanted.messages <= room.messages && wanted.bytes <= room.bytes
}

/// What consumers settle in a second, levelled out. The words are those of whoever looked last, in
/// any process; whatever stands in them gives a number that can be.
fn settled_per_second(words: Words<'_>, settled: u64, now: u64) -> f64 {
    let (before, then) = (words.get(at::RATE_SETTLED), words.get(at::RATE_AT));
    let rate = words.get(at::RATE).min(UNLIMITED) as f64 / 1e3;
    let (passed, more) = (
        now.wrapping_sub(then) as i64,
        settled.wrapping_sub(before) as i64,
    );
    if then == 0 || passed < 0 || more < 0 {
        words.set(at::RATE_SETTLED, settled);
        words.set(at::RATE_AT, now);
        return rate;
    }
    if (passed as u64) < STEP_NS {
        return rate;
    }
    let seen = more as f64 * 1e9 / passed as f64;
    let weight = 1.0 - (-(passed as f64) / LEVEL_NS).exp();
    let level = rate + weight * (seen - rate);
    words.set(at::RATE, (level * 1e3) as u64);
    words.set(at::RATE_SETTLED, settled);
    words.set(at::RATE_AT, now);
    level
}

/// When nobody may be given room before.
pub(super) fn until(words: Words<'_>, now: u64) -> u64 {
    words.get(at::PACE).min(now.saturating_add(LONGEST_NS))
}
