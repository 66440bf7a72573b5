//! The order of those who wait for room (P14): who came first goes first, so that one who wants
//! much is not passed by those who want little.
//!
//! Each has a ticket in a ring; more than there are places wait outside of it. Everything is done
//! with the lock of those who send held, and the ticket word of a place is written last and taken
//! away first: a death leaves a place that is taken by one who is gone. Those behind ask the kernel
//! after him who is first. One that lives and does not go although there is room, as one that is
//! stopped, loses his place after a while, and takes another one when he goes on (P17).

use super::room::{Want, Words};
use crate::format::control::flow as at;
use crate::shm::{Liveness, Owner};

/// How long there may be room for the first before he is passed, in ms.
const TURN_MS: u64 = 200;

fn place(ticket: u64) -> usize {
    at::WAITING + (ticket % at::WAITING_SLOTS as u64) as usize * at::WAITING_WORDS
}

fn member_word(owner: Owner) -> u64 {
    u64::from(owner.generation) << 16 | u64::from(owner.slot)
}

/// Whether this ticket still has its place.
pub(super) fn waits(words: Words<'_>, ticket: u64) -> bool {
    words.get(place(ticket)) == ticket.wrapping_add(1)
}

/// The first that waits. Passes over places that were given up.
pub(super) fn first(words: Words<'_>) -> Option<u64> {
    let (mut head, tail) = (words.get(at::HEAD), words.get(at::TAIL));
    for _ in 0..at::WAITING_SLOTS {
        if head == tail {
            return None;
        }
        if waits(words, head) {
            return Some(head);
        }
        head = head.wrapping_add(1);
    }
    None
}

/// How many have a place and live.
pub(super) fn count(words: Words<'_>, live: &dyn Liveness) -> u64 {
    let (head, tail) = (words.get(at::HEAD), words.get(at::TAIL));
    let most = at::WAITING_SLOTS as u64;
    let tickets = (0..tail.wrapping_sub(head).min(most)).map(|number| head.wrapping_add(number));
    let lives = |ticket: &u64| {
        let member = words.get(place(*ticket) + 1);
        waits(words, *ticket)
            && live.is_alive(Owner {
                slot: (member & 0xFFFF) as u16,
                generation: (member >> 16) as u32,
            })
    };
    tickets.filter(lives).count() as u64
}

/// Whether who has this ticket, or none, may take room now.
#[inline]
pub(super) fn may_go(words: Words<'_>, ticket: Option<u64>) -> bool {
    if words.get(at::HEAD) == words.get(at::TAIL) {
        return true;
    }
    first(words) == ticket || first(words).is_none()
}

/// Takes a place; none where all are taken.
pub(super) fn join(words: Words<'_>, me: Owner, want: Want) -> Option<u64> {
    clear(words);
    let (head, tail) = (words.get(at::HEAD), words.get(at::TAIL));
    if tail.wrapping_sub(head) >= at::WAITING_SLOTS as u64 {
        return None;
    }
    let at_place = place(tail);
    words.set(at_place, 0);
    words.set(at_place + 1, member_word(me));
    words.set(at_place + 2, want.messages);
    words.set(at_place + 3, want.bytes);
    // The ring ends behind it before it counts: a death leaves a place that nobody has.
    words.set(at::TAIL, tail.wrapping_add(1));
    words.set(at_place, tail.wrapping_add(1));
    Some(tail)
}

/// Gives a place up.
pub(super) fn leave(words: Words<'_>, ticket: u64) {
    if waits(words, ticket) {
        words.set(place(ticket), 0);
    }
    clear(words);
}

/// Begins the ring at the first that waits. What cannot be is as if nobody waited (P18).
fn clear(words: Words<'_>) {
    let (head, tail) = (words.get(at::HEAD), words.get(at::TAIL));
    let begin = match tail.wrapping_sub(head) <= at::WAITING_SLOTS as u64 {
        true => first(words).unwrap_or(tail),
        false => tail,
    };
    if begin != head {
        words.set(at::HEAD, begin);
        words.set(at::SINCE, 0);
    }
}

/// What the first wants.
pub(super) fn wanted(words: Words<'_>, ticket: u64) -> Want {
    Want {
        messages: words.get(place(ticket) + 2),
        bytes: words.get(place(ticket) + 3),
    }
}

/// By one of those behind, who woke by himself: takes the place of the first if he is gone, or had
/// his turn for long. `room`: whether there is any for him. Whether another one is first now.
pub(super) fn tend_first(
    words: Words<'_>,
    ticket: u64,
    (me, live): (Owner, &dyn Liveness),
    room: bool,
    now_ms: u64,
) -> bool {
    if first(words) != Some(ticket) {
        return false;
    }
    let member = words.get(place(ticket) + 1);
    let owner = Owner {
        slot: (member & 0xFFFF) as u16,
        generation: (member >> 16) as u32,
    };
    // The kernel does not tell a member of its own locks.
    let is_mine = member == member_word(me);
    let gone = !is_mine && !live.is_alive(owner);
    let since = words.get(at::SINCE);
    if !gone && !room {
        words.set(at::SINCE, 0);
        return false;
    }
    if !gone && (since == 0 || since > now_ms + 1) {
        words.set(at::SINCE, now_ms + 1);
        return false;
    }
    if gone || now_ms + 1 - since >= TURN_MS {
        leave(words, ticket);
        return true;
    }
    false
}
