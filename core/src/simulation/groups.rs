//! What must be true of the groups after a crash.

use std::collections::BTreeMap;
use std::time::Duration;

use super::check::{Opened, RECEIVED, told};
use super::crash::Crash;
use super::life::LEASE;
use super::model::{At, Group, Topic as TopicModel, payload};
use super::times;
use crate::clock::Clock;
use crate::options::{Durability, Ordering};
use crate::{Consumer, Delivery, Topic};

/// What a group handed out, in order.
#[derive(Default)]
struct Handed {
    times: BTreeMap<At, u32>,
    attempts: BTreeMap<At, u32>,
    last_of_key: BTreeMap<(u32, Vec<u8>), u64>,
}

/// Has every group receive and acknowledge all that it has to, and looks at each message's end.
pub fn drain(opened: &mut Opened<'_>) -> Result<(), String> {
    for (number, topic) in opened.model.topics.iter().enumerate() {
        for (place, group) in topic.groups.iter().enumerate() {
            let received = std::mem::take(&mut opened.received[number][place]);
            let consumer = opened.life.consumers[number][place].take();
            let (Some(consumer), Some(of)) = (&consumer, &opened.life.topics[number]) else {
                continue;
            };
            let name = format!("topic {} group {}", topic.name, group.name);
            let handed = receive_all(opened, (topic, group), consumer, received);
            let handed = handed.map_err(|e| format!("{name}: {e}"))?;
            check(opened, (number, topic, of), group, &handed)
                .map_err(|e| format!("{name}: {e}"))?;
        }
    }
    Ok(())
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
        for one in &batch {
            handed.note(topic, group, one)?;
        }
        let receipts: Vec<_> = batch.iter().map(Delivery::receipt).collect();
        consumer.ack(&receipts).map_err(told("acknowledging"))?;
        batch = consumer
            .receive(60, Some(Duration::ZERO))
            .map_err(told("receiving"))?;
        times::check_all(topic, &batch, opened.clock.wall_ms())?;
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
        let chain = match group.ordering {
            Ordering::None => None,
            Ordering::Key => one.key(),
            Ordering::Partition => Some(&[][..]),
        };
        // One that was sent with a delay has its place by when it fell due.
        let delayed = times::sent(topic, one).is_some_and(|sent| sent.times.due.is_some());
        if let Some(key) = chain.filter(|_| !delayed) {
            let last = self.last_of_key.insert((at.0, key.to_vec()), at.1);
            if last.is_some_and(|last| last >= at.1) {
                return Err(format!("P11: {at:?} comes after {last:?} of its key"));
            }
        }
        Ok(())
    }
}

fn check(
    opened: &Opened<'_>,
    (number, model, topic): (usize, &TopicModel, &Topic),
    group: &Group,
    handed: &Handed,
) -> Result<(), String> {
    let of = topic.group(group.name).map_err(told("looking at it"))?;
    let now = opened.clock.wall_ms();
    // Whether it may have been settled, or died, for being late.
    let late = |partition: u32, number: u64| {
        let sent = model.logs[partition as usize].known.get(&number);
        let limit = sent.and_then(|sent| sent.times.late);
        limit.is_some_and(|limit| limit <= now)
    };
    let mut letters: BTreeMap<At, u32> = BTreeMap::new();
    for letter in of.dead_letters(usize::MAX).map_err(told("dead letters"))? {
        let at = (letter.source_partition, letter.source_offset);
        *letters.entry(at).or_default() += 1;
        is_what_was_sent(model, at, letter.message.payload())?;
        let number = crate::format::u64_at(letter.message.payload(), 0);
        let late = group.late_die && late(at.0, number);
        if !group.dead.contains(&at) && !late && !group.may_be_dead(at, opened.crashes) {
            return Err(format!(
                "P12: {at:?} is a dead letter, and never failed so often"
            ));
        }
    }
    for (partition, contents) in opened.contents[number].iter().enumerate() {
        for (offset, number) in contents {
            let takes = group.takes(model.logs[partition].known.get(number));
            let at = (partition as u32, *offset);
            let count = |of: &BTreeMap<At, u32>| of.get(&at).copied().unwrap_or(0);
            let ended = [count(&handed.times), count(&letters)];
            if !takes && ended != [0, 0] {
                return Err(format!(
                    "{at:?} is handed out, and the filter leaves it out"
                ));
            }
            if takes {
                let kept = model.durability != Durability::Process;
                let gone = !group.late_die && late(at.0, *number);
                is_ended(opened, (group, kept, gone), at, ended)?;
            }
            let (is, was) = (handed.attempts.get(&at), group.attempts.get(&at));
            if opened.crash == Crash::Killed && is.zip(was).is_some_and(|(is, was)| is <= was) {
                return Err(format!(
                    "P6: {at:?} comes as attempt {is:?}, {was:?} was seen"
                ));
            }
        }
    }
    for at in handed.times.keys() {
        let known = &opened.contents[number][at.0 as usize];
        if !known.iter().any(|(offset, _)| *offset == at.1) {
            return Err(format!("P6: {at:?} is handed out and not in the log"));
        }
    }
    // Dead letters stay where a power loss took the message that they were made of.
    let gone = group.dead.iter().find(|at| letters.get(at) != Some(&1));
    if let Some(at) = gone {
        return Err(format!(
            "P12: the dead letter of {at:?} is there {:?} times",
            letters.get(at)
        ));
    }
    let missing = |at: &At| {
        !group.acked.contains(at) && !handed.times.contains_key(at) && !letters.contains_key(at)
    };
    let all = (0..).zip(&opened.contents[number]);
    let all = all.flat_map(|(partition, contents)| {
        let there = contents
            .iter()
            .filter(move |(_, number)| !late(partition, *number));
        there.map(move |(offset, _)| (partition, *offset))
    });
    let gone = if group.once {
        all.filter(missing).count()
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
    let lag = of.stats().map_err(told("statistics"))?.lag_messages;
    if lag != 0 {
        return Err(format!(
            "P6: {lag} messages are neither handed out nor settled"
        ));
    }
    Ok(())
}

/// P6, P12: each message was handed out once more, or is a dead letter, or was settled before, or,
/// where it was late, settled for that.
fn is_ended(
    opened: &Opened<'_>,
    (group, durable, late): (&Group, bool, bool),
    at: At,
    [times, letters]: [u32; 2],
) -> Result<(), String> {
    let ways = times + letters;
    let acked = group.acked.contains(&at);
    let wrong = if group.dead.contains(&at) {
        times != 0 || letters != 1
    } else if acked && (opened.crash == Crash::Killed || group.once && durable) {
        ways != 0
    } else if group.once {
        // How many may be missing is for all of them together.
        ways > 1
    } else if acked || late || group.may_be_settled(at) {
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
