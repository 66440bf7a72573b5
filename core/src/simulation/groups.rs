//! What must be true of the groups after a crash.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::check::{Opened, RECEIVED, told};
use super::crash::{Crash, Sim};
use super::life::{LEASE, WINDOW};
use super::model::{At, Group, Topic as TopicModel, payload};
use super::redrive::{Ended, is_redriven};
use super::seek::Halves;
use super::times;
use crate::clock::Clock;
use crate::options::Durability;
use crate::{Consumer, Delivery, Topic};

/// What a group handed out, in order.
#[derive(Default)]
struct Handed {
    times: BTreeMap<At, u32>,
    attempts: BTreeMap<At, u32>,
    /// Of each order the last one that had its place by its offset, and the last of all.
    last_of_key: BTreeMap<(u32, Vec<u8>), u64>,
    last: BTreeMap<(u32, Vec<u8>), u64>,
    /// Out of their letters.
    redriven: BTreeSet<At>,
}

/// The dead letters of a group.
#[derive(Default)]
struct Dead {
    times: BTreeMap<At, u32>,
    /// The orders that they may hold.
    held: BTreeSet<(u32, Vec<u8>)>,
    /// The first of them, and of those that may wait for them, in each partition.
    first: BTreeMap<u32, u64>,
}

impl Dead {
    /// Whether a message may have to wait for them: for its order, or for room in the window.
    fn holds(&self, group: &Group, at: At, key: Option<u8>) -> bool {
        let key = key.map(|key| vec![key]);
        let chain = group.chain_of(key.as_deref()).map(<[u8]>::to_vec);
        let first = self.first.get(&at.0);
        chain.is_some_and(|chain| self.held.contains(&(at.0, chain)))
            || first.is_some_and(|first| at.1 >= first + u64::from(WINDOW))
    }
}

fn count(of: &BTreeMap<At, u32>, at: At) -> u32 {
    of.get(&at).copied().unwrap_or(0)
}

/// Has every group receive and acknowledge all that it has to, and looks at each message's end;
/// then dead letters are redriven and purged.
pub fn drain(opened: &mut Opened<'_>, sim: &Sim) -> Result<(), String> {
    for (number, topic) in opened.model.topics.iter().enumerate() {
        for (place, group) in topic.groups.iter().enumerate() {
            let received = std::mem::take(&mut opened.received[number][place]);
            let consumer = opened.life.consumers[number][place].take();
            let (Some(consumer), Some(of)) = (consumer, opened.life.topics[number].clone()) else {
                continue;
            };
            let name = format!("topic {} group {}", topic.name, group.name);
            let places = (number, place);
            let one = || {
                let handed = receive_all(opened, (topic, group), &consumer, received)?;
                let dead = check(opened, (number, topic, &of), group, &handed)?;
                if !dead.times.is_empty() && (group.hold || sim.draw(3) == 0) {
                    let ended = opened.end_letters(sim, places, &of)?;
                    let group = Group {
                        letters: opened.letters[number][place].clone(),
                        ..group.clone()
                    };
                    let again = receive_all(opened, (topic, &group), &consumer, Vec::new())?;
                    check_again(
                        opened,
                        (number, topic),
                        &group,
                        (&handed, &dead),
                        (&ended, &again),
                    )
                    .map_err(|e| format!("dead letters were ended: {e}"))?;
                }
                all_is_ended(&of, group)
            };
            one().map_err(|e| format!("{name}: {e}"))?;
        }
    }
    Ok(())
}

fn all_is_ended(topic: &Topic, group: &Group) -> Result<(), String> {
    let of = topic.group(group.name).map_err(told("looking at it"))?;
    match of.stats().map_err(told("statistics"))?.lag_messages {
        0 => Ok(()),
        lag => Err(format!(
            "P6: {lag} messages are neither handed out nor settled"
        )),
    }
}

fn receive_all(
    opened: &Opened<'_>,
    (topic, group): (&TopicModel, &Group),
    consumer: &Consumer,
    received: Vec<Delivery>,
) -> Result<Handed, String> {
    let mut handed = Handed::default();
    let (mut batch, mut empty) = (received, 0);
    while empty < 3 {
        group.are_of_different_orders(&batch)?;
        for one in &batch {
            handed.note(topic, group, one)?;
        }
        let receipts: Vec<_> = batch.iter().map(Delivery::receipt).collect();
        consumer.ack(&receipts).map_err(told("acknowledging"))?;
        batch = consumer
            .receive(60, Some(Duration::ZERO))
            .map_err(told("receiving"))?;
        times::check_all(topic, group, &batch, opened.clock.wall_ms())?;
        if batch.is_empty() {
            // Retries fall due, and the dead are moved by whoever comes.
            empty += 1;
            opened.clock.advance_ms(3 * LEASE.as_millis() as u64);
        }
    }
    Ok(handed)
}

impl Handed {
    fn note(&mut self, topic: &TopicModel, group: &Group, one: &Delivery) -> Result<(), String> {
        let at = (one.partition(), one.offset());
        *self.times.entry(at).or_default() += 1;
        self.attempts.insert(at, one.attempt());
        if is_redriven(one) {
            self.redriven.insert(at);
            return group.is_known(topic, one);
        }
        let Some(key) = group.chain_of(one.key()) else {
            return Ok(());
        };
        let chain = (at.0, key.to_vec());
        let last = self.last.entry(chain.clone()).or_default();
        *last = at.1.max(*last);
        // One that was sent with a delay has its place by when it fell due.
        let delayed = times::sent(topic, one).is_some_and(|sent| sent.times.due.is_some());
        if !delayed {
            let last = self.last_of_key.insert(chain, at.1);
            if last.is_some_and(|last| last >= at.1) {
                return Err(format!("P11: {at:?} comes after {last:?} of its key"));
            }
        }
        Ok(())
    }
}

/// Whether it may have been settled, or died, for being late.
fn is_late(model: &TopicModel, partition: u32, number: u64, now: u64) -> bool {
    let sent = model.logs[partition as usize].known.get(&number);
    let limit = sent.and_then(|sent| sent.times.late);
    limit.is_some_and(|limit| limit <= now)
}

/// Looks at the letters: each is of a message that may have died so often, as it was sent, and what
/// holds its key has let nothing pass.
fn dead_letters(
    opened: &Opened<'_>,
    (model, topic): (&TopicModel, &Topic),
    group: &Group,
    handed: &Handed,
) -> Result<Dead, String> {
    let of = topic.group(group.name).map_err(told("looking at it"))?;
    let (now, mut dead) = (opened.clock.wall_ms(), Dead::default());
    for letter in of.dead_letters(usize::MAX).map_err(told("dead letters"))? {
        let at = (letter.source_partition, letter.source_offset);
        *dead.times.entry(at).or_default() += 1;
        is_what_was_sent(model, at, letter.message.payload())?;
        let number = crate::format::u64_at(letter.message.payload(), 0);
        let late = group.late_die && is_late(model, at.0, number, now);
        let was_dead = group.dead.contains(&at) || dead.times[&at] <= group.left_of(at);
        if !was_dead && !late && !group.may_be_dead(at, opened.crashes) {
            return Err(format!(
                "P12: {at:?} is a dead letter, and never failed so often"
            ));
        }
        if group.left_of(at) == 0 {
            group.letters.check(at, letter.cycles)?;
        }
        let Some(sent) = model.logs[at.0 as usize].known.get(&number) else {
            continue;
        };
        let Some(chain) = group.held_by(sent) else {
            continue;
        };
        let chain = (at.0, chain);
        let passed = handed.last.get(&chain).filter(|last| **last > at.1);
        let surely = sent.times.due.is_none() && sent.times.late.is_none();
        if let Some(passed) = passed.filter(|_| surely) {
            return Err(format!(
                "P11: {passed} of its key is handed out, and {at:?} is dead and holds it"
            ));
        }
        dead.held.insert(chain);
        let first = dead.first.entry(at.0).or_insert(at.1);
        *first = at.1.min(*first);
    }
    // One that joined its order late, when its time came, may wait for one behind it.
    for (partition, first) in &mut dead.first {
        let sent = model.logs[*partition as usize].sent.iter();
        let mut waits = sent.filter(|sent| {
            let chain = group.held_by(sent);
            chain.is_some_and(|chain| dead.held.contains(&(*partition, chain)))
        });
        *first = (*first).min(waits.next().map_or(*first, |sent| sent.offset));
    }
    Ok(dead)
}

/// What there is to say of the end of each message.
fn places(opened: &Opened<'_>, number: usize, group: &Group) -> BTreeMap<At, Option<u64>> {
    // Dead letters stay where a power loss took the message that they were made of, dead or
    // redriven.
    let dead = group.dead.iter().copied().chain(group.letters.all());
    let dead = dead.chain(group.left.keys().copied());
    let mut all: BTreeMap<At, Option<u64>> = dead.map(|at| (at, None)).collect();
    for (partition, contents) in (0..).zip(&opened.contents[number]) {
        let there = contents.iter();
        all.extend(there.map(|(offset, number)| ((partition, *offset), Some(*number))));
    }
    all
}

fn check(
    opened: &Opened<'_>,
    (topic_number, model, topic): (usize, &TopicModel, &Topic),
    group: &Group,
    handed: &Handed,
) -> Result<Dead, String> {
    let now = opened.clock.wall_ms();
    let dead = dead_letters(opened, (model, topic), group, handed)?;
    let all = places(opened, topic_number, group);
    let mut sought = Halves::default();
    for (at, number) in &all {
        let at = *at;
        let sent = number.and_then(|number| model.logs[at.0 as usize].known.get(&number));
        let left = group.left_of(at);
        let Some(letters) = count(&dead.times, at).checked_sub(left) else {
            return Err(format!("P16: a dead letter of {at:?} went with a seek"));
        };
        let ended = [count(&handed.times, at), letters];
        if number.is_none() && left > 0 && ended == [0, 0] {
            continue;
        }
        if number.is_some() && !group.takes(sent) {
            if ended != [0, 0] {
                return Err(format!(
                    "{at:?} is handed out, and the filter leaves it out"
                ));
            }
            continue;
        }
        let late = number.is_some_and(|one| is_late(model, at.0, one, now));
        let end = End {
            kept: model.durability != Durability::Process,
            late: !group.late_die && late,
            waits: dead.holds(group, at, sent.and_then(|sent| sent.key)),
            committed: opened.is_committed((topic_number, group), at),
        };
        is_ended(opened, group, &end, at, ended)?;
        // What is too late becomes a dead letter again.
        if !late && !end.waits {
            sought.note(group.seeking.get(&at), ended);
        }
        let (is, was) = (handed.attempts.get(&at), group.attempts.get(&at));
        if opened.crash == Crash::Killed && is.zip(was).is_some_and(|(is, was)| is <= was) {
            return Err(format!(
                "P6: {at:?} comes as attempt {is:?}, {was:?} was seen"
            ));
        }
    }
    // Acknowledgements from before may be lost with the power.
    if opened.crash == Crash::Killed && opened.crashes == 1 {
        sought.are_one()?;
    }
    for at in handed.times.keys() {
        let known = handed.redriven.contains(at) || all.get(at).copied().flatten().is_some();
        if !known {
            return Err(format!("P6: {at:?} is handed out and not in the log"));
        }
    }
    let missing = |at: &At| {
        let open = !group.acked.contains(at) && !group.settling.contains(at);
        open && count(&handed.times, *at) + count(&dead.times, *at) == 0
    };
    let is_there = |at: &At, number: &Option<u64>| {
        number.is_some_and(|number| !is_late(model, at.0, number, now))
    };
    let gone = if group.once {
        let gone = all.iter().filter(|(at, number)| is_there(at, number));
        gone.filter(|(at, _)| missing(at)).count()
    } else {
        0
    };
    // Of a crash inside of a recovery nobody knows what that had handed over.
    let may_be = group.giving + group.may_be_lost + RECEIVED * (opened.crashes as usize - 1);
    if gone > may_be {
        return Err(format!(
            "P7: {gone} messages were never handed out, and {may_be} were being so"
        ));
    }
    Ok(dead)
}

/// P11, P12: what was redriven is handed out, once; what was purged is not, and what waited for
/// either goes on.
fn check_again(
    opened: &Opened<'_>,
    (number, model): (usize, &TopicModel),
    group: &Group,
    (before, dead): (&Handed, &Dead),
    (ended, again): (&Ended, &Handed),
) -> Result<(), String> {
    let now = opened.clock.wall_ms();
    for (at, number) in places(opened, number, group) {
        let times = count(&again.times, at);
        let sent = number.and_then(|number| model.logs[at.0 as usize].known.get(&number));
        let late = number.is_some_and(|number| is_late(model, at.0, number, now));
        let waited = dead.holds(group, at, sent.and_then(|sent| sent.key));
        let least = if ended.purged.contains(&at) {
            0
        } else if ended.redriven.contains(&at) {
            // What waits in the order of its messages may be too late by now.
            u32::from(!(group.hold && late))
        } else if waited && group.takes(sent) && count(&before.times, at) == 0 {
            let end = End {
                late,
                ..End::default()
            };
            is_ended(opened, group, &end, at, [times, 0])?;
            continue;
        } else {
            0
        };
        let most = u32::from(ended.redriven.contains(&at));
        if !(least..=most).contains(&times) {
            let purged = ended.purged.contains(&at);
            return Err(format!(
                "P12: {at:?} is handed out {times} times; redriven: {}, purged: {purged}",
                most > 0
            ));
        }
    }
    Ok(())
}

/// What is known of how a message may have ended.
#[derive(Default)]
struct End {
    /// Whether what its group settles before it hands it out is on disk by then.
    kept: bool,
    /// It may have been settled for being too late.
    late: bool,
    /// It waits for a dead letter that holds its key.
    waits: bool,
    /// Whether a transaction that was to acknowledge it happened, where that is known.
    committed: Option<bool>,
}

/// P6, P12: each message was handed out once more, or is a dead letter, or was settled before, or,
/// where it was late, settled for that.
fn is_ended(
    opened: &Opened<'_>,
    group: &Group,
    end: &End,
    at: At,
    [times, letters]: [u32; 2],
) -> Result<(), String> {
    let ways = times + letters;
    let (acked, known) = (group.acked.contains(&at), &group.letters);
    // What is handed out of its letter is never too late.
    let lane = !group.hold && (group.dead.contains(&at) || known.cycles(at).1 > 0);
    let late = end.late && !lane;
    let wrong = if known.is_purged(at) {
        ways != 0
    } else if known.may_be_purged(at) {
        times != 0 || letters > 1
    } else if group.dead.contains(&at) && !known.may_be_redriven(at) {
        times != 0 || letters != 1
    } else if acked && (opened.crash == Crash::Killed || group.once && end.kept) {
        ways != 0
    } else if end.committed == Some(true) {
        // P8: what it sent is there.
        ways != 0
    } else if group.once {
        // How many may be missing is for all of them together.
        ways > 1
    } else if acked || late || end.waits || group.may_be_settled(at) && end.committed.is_none() {
        ways > 1
    } else {
        ways != 1
    };
    if wrong {
        return Err(format!(
            "P6, P7, P12: {at:?} was handed out {times} times and is a dead letter {letters} \
             times; it was {}",
            if acked {
                "acknowledged"
            } else {
                "not acknowledged"
            }
        ));
    }
    Ok(())
}

fn is_what_was_sent(model: &TopicModel, at: At, bytes: &[u8]) -> Result<(), String> {
    let number = crate::format::u64_at(bytes, 0);
    let sent = model.logs[at.0 as usize].known.get(&number);
    if sent.is_some_and(|sent| payload(sent) == bytes) {
        return Ok(());
    }
    Err(format!("P12: the dead letter of {at:?} has other bytes"))
}
