//! Dedup ids in a history (P8): a repeat of one returns the first send's id and appends nothing;
//! what a crash took may be sent again.

use super::check::{Opened, told};
use super::history::History;
use super::kept;
use super::model::{At, Log, Sent, Topic, payload};
use super::times::Times;
use crate::Message;

/// A history draws from so many.
const IDS: u8 = 8;
/// Numbers of what is sent under an id after a crash begin here.
const REPEATS: u64 = 1 << 41;

fn bytes(id: u8) -> [u8; 3] {
    [b'i', b'd', id]
}

/// The message, with its id.
pub fn named<'a>(message: Message<'a>, id: Option<&'a [u8; 3]>) -> Message<'a> {
    match id {
        Some(id) => message.dedup_id(id),
        None => message,
    }
}

/// The bytes of a message's id.
pub fn id_of(sent: &Sent) -> Option<[u8; 3]> {
    sent.id.map(bytes)
}

pub fn is_the_first(id: Option<u8>, found: At, first: At) -> Result<(), String> {
    if found == first {
        return Ok(());
    }
    Err(format!(
        "P8: id {id:?} was sent as {first:?}, and again as {found:?}"
    ))
}

impl Topic {
    /// Which of the messages of a batch are no repeats.
    pub fn first_sends<'a>(&self, batch: impl Iterator<Item = &'a Sent>) -> Vec<bool> {
        let mut known: Vec<u8> = self.ids.keys().copied().collect();
        let is_first = |sent: &Sent| {
            let new = sent.id.is_none_or(|id| !known.contains(&id));
            known.extend(sent.id);
            new
        };
        batch.map(is_first).collect()
    }
}

impl History {
    pub fn draw_id(&mut self) -> Option<u8> {
        (self.chance.pick(2) == 0).then(|| self.chance.pick(IDS.into()) as u8)
    }
}

/// What is sent after a recovery under an id.
fn repeat(topic: usize, partition: usize, id: u8) -> Sent {
    Sent {
        offset: 0,
        number: REPEATS | (topic as u64) << 16 | (partition as u64) << 8 | u64::from(id),
        len: 60,
        key: None,
        times: Times::default(),
        id: Some(id),
    }
}

/// What was sent after a recovery is known in the life after it.
pub fn learn(log: &mut Log, contents: &[(u64, u64)]) {
    for (offset, number) in contents.iter().filter(|(_, number)| *number >= REPEATS) {
        let one = Sent {
            offset: *offset,
            ..repeat(0, 0, *number as u8)
        };
        let number = *number;
        log.known.insert(number, Sent { number, ..one });
    }
}

/// Where a message of an id was sent first.
enum First {
    At(At),
    /// It is in the log no more, which nobody was told: compaction may have taken it.
    Unknown,
    Nowhere,
}

impl Opened<'_> {
    /// Where the message of an id is, or was before retention or compaction took it; an error if it
    /// is there twice.
    fn first_send(&self, number: usize, id: u8) -> Result<First, String> {
        let model = &self.model.topics[number];
        let mut found = Vec::new();
        for (partition, log) in model.logs.iter().enumerate() {
            for (offset, number) in &self.contents[number][partition] {
                let sent = log.known.get(number);
                let of = sent.and_then(|sent| sent.id);
                let again = (*number >= REPEATS).then_some(*number as u8);
                if of.or(again) == Some(id) {
                    found.push((partition as u32, *offset));
                }
            }
        }
        let topic = self.life.topics[number].as_ref();
        let taken = model.ids.get(&id).filter(|at| {
            let first = topic.map_or(0, |topic| topic.first_kept(at.0 as usize));
            at.1 < first && !found.contains(at)
        });
        found.extend(taken);
        match found[..] {
            [] => Ok(self.compacted(number, id)),
            [at] => Ok(First::At(at)),
            _ => Err(format!("P8: id {id} is there as {found:?}")),
        }
    }

    fn compacted(&self, number: usize, id: u8) -> First {
        let model = &self.model.topics[number];
        let Some(at) = model.ids.get(&id) else {
            return First::Nowhere;
        };
        let log = &model.logs[at.0 as usize];
        let sent = log.sent.iter().find(|sent| sent.offset == at.1);
        let gone = |sent| kept::may_be_compacted(model, at.0 as usize, sent, self.crashes);
        if log.compacted.contains(&at.1) {
            First::At(*at)
        } else if sent.is_some_and(gone) {
            First::Unknown
        } else {
            First::Nowhere
        }
    }

    /// By id, what a repeat returns.
    pub fn known_ids(&self, number: usize) -> std::collections::BTreeMap<u8, At> {
        let first = |id| match self.first_send(number, id) {
            Ok(First::At(at)) => Some((id, at)),
            _ => None,
        };
        (0..IDS).filter_map(first).collect()
    }

    /// P8: each id is sent once more.
    pub fn repeats(&mut self) -> Result<(), String> {
        for (number, model) in self.model.topics.iter().enumerate() {
            let Some(topic) = self.life.topics[number].clone() else {
                continue;
            };
            for id in (0..IDS).filter(|_| model.knows_ids) {
                let place = |e: String| format!("topic {}: {e}", model.name);
                let first = self.first_send(number, id).map_err(place)?;
                let partition = usize::from(id) % model.logs.len();
                let sent = repeat(number, partition, id);
                let (body, name) = (payload(&sent), bytes(id));
                let message = Message::new(&body).partition(partition as u32);
                let again = topic.send(&message.dedup_id(&name));
                let again = again.map_err(told("sending an id again"))?;
                let at = (again.partition, again.offset);
                match first {
                    First::At(first) => {
                        is_the_first(Some(id), at, first).map_err(place)?;
                        continue;
                    }
                    First::Unknown if at.1 < self.next(number, at.0) => continue,
                    First::Unknown | First::Nowhere => {}
                }
                if at.0 as usize != partition || at.1 < self.next(number, at.0) {
                    return Err(place(format!(
                        "P8: id {id} is not in the log, and a send of it returned {at:?}"
                    )));
                }
                self.contents[number][partition].push((at.1, sent.number));
            }
        }
        Ok(())
    }

    /// The offset behind all that was found in a partition.
    fn next(&self, number: usize, partition: u32) -> u64 {
        let contents = &self.contents[number][partition as usize];
        contents.last().map_or(0, |(offset, _)| offset + 1)
    }
}
