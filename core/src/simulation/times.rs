//! What messages of a history say of their delivery, and what must be true of it.

use std::time::Duration;

use super::model::{Group, Sent, Topic};
use super::redrive::is_redriven;
use crate::storage::Choices;
use crate::{Delivery, Message};

/// When a message may be handed out, in ms since the epoch, and before which others.
#[derive(Clone, Copy, Debug, Default)]
pub struct Times {
    /// Not before it.
    pub due: Option<u64>,
    /// From then on nobody is handed it.
    pub late: Option<u64>,
    pub priority: u8,
}

impl Times {
    /// Most messages say nothing of it. No delay is longer than what goes by before everything has
    /// to have come.
    pub fn drawn(chance: &mut Choices, now: u64) -> Self {
        if chance.pick(3) > 0 {
            return Self::default();
        }
        let wait = [500, 20_000, 60_000][chance.pick(3)];
        match chance.pick(4) {
            0 => Self {
                late: Some(now + wait),
                ..Self::default()
            },
            1 => Self {
                due: Some(now + wait),
                late: Some(now + 2 * wait),
                ..Self::default()
            },
            2 => Self {
                priority: 1 + chance.pick(9) as u8,
                ..Self::default()
            },
            _ => Self {
                due: Some(now + wait),
                priority: chance.pick(3) as u8,
                ..Self::default()
            },
        }
    }

    /// The message, saying so at this time.
    pub fn said_by<'a>(&self, message: Message<'a>, now: u64) -> Message<'a> {
        Message {
            deliver_at_ns: self.due.map(|at| at as i64 * 1_000_000),
            ttl: self.late.map(|at| Duration::from_millis(at - now)),
            priority: self.priority,
            ..message
        }
    }
}

/// What was sent as the message of a delivery.
pub fn sent<'a>(topic: &'a Topic, one: &Delivery) -> Option<&'a Sent> {
    let number = crate::format::u64_at(one.payload(), 0);
    topic.logs[one.partition() as usize].known.get(&number)
}

/// P6: nothing is handed out before its time, nor after it; a dead letter has none any more. Nor
/// has one that held its key, which nobody is handed for the first time.
pub fn check_all(topic: &Topic, group: &Group, found: &[Delivery], now: u64) -> Result<(), String> {
    let wrong = |one: &Delivery, times: &Times| {
        let may_be_late = group.hold && one.attempt() > 1;
        times.due.is_some_and(|due| due > now)
            || (!may_be_late && times.late.is_some_and(|late| late <= now))
    };
    let each = found
        .iter()
        .filter(|one| !is_redriven(one))
        .filter_map(|one| Some((one, sent(topic, one)?.times)));
    match each.into_iter().find(|(one, times)| wrong(one, times)) {
        None => Ok(()),
        Some((one, times)) => {
            let at = (one.partition(), one.offset());
            Err(format!("P6: {at:?} is handed out at {now}, with {times:?}"))
        }
    }
}
