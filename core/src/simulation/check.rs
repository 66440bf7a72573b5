//! What must be true of a store after a crash, whatever the crash.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::crash::{Crash, Sim, add};
use super::faults::{FAULTS, says_where};
use super::groups;
use super::kept;
use super::letters::Letters;
use super::life::{Life, PLACE, consumer_options, open, topic_options};
use super::model::{Log, Model, Sent, There, Topic as TopicModel, payload};
use super::times::{self, Times};
use crate::clock::{Clock, ManualClock};
use crate::options::ReaderOptions;
use crate::storage::Twin;
use crate::{Delivery, Error, ErrorKind, Message, ReadMessage, Store, Topic};

const AN_HOUR_NS: i64 = 3_600_000_000_000;

/// So many messages each group receives right after a recovery.
pub const RECEIVED: usize = 3;

/// What there is to read of a partition: offsets and numbers.
pub type Contents = Vec<(u64, u64)>;

/// An image in which a store was opened.
pub struct Opened<'a> {
    pub model: &'a Model,
    pub crash: Crash,
    /// How often the store was crashed so far.
    pub crashes: u32,
    pub clock: Arc<ManualClock>,
    pub life: Life,
    /// By topic and partition.
    pub contents: Vec<Vec<Contents>>,
    /// By topic and group: what was received while it might crash again.
    pub received: Vec<Vec<Vec<Delivery>>>,
    /// By topic and group, with what became of them in this life.
    pub letters: Vec<Vec<Letters>>,
    /// Whether the transaction that was being committed has happened, where that is known.
    pub happened: Option<bool>,
}

pub fn told(doing: &str) -> impl Fn(Error) -> String + '_ {
    move |error| format!("{doing}: {error}")
}

/// Recovers an image and checks it, to the end of its use; with `twice`, also a power loss right
/// behind the recovery and one in the life after it.
pub fn image(
    sim: &Sim,
    model: &Model,
    image: &Twin,
    (crash, crashes): (Crash, u32),
    twice: bool,
) -> Result<(), String> {
    let verified = sim.draw(48) == 0 && can_verify(image, crash);
    if verified {
        verify(sim, image).map_err(|e| format!("before recovery: {e}"))?;
    }
    if twice && sim.draw(2) == 0 {
        stumble(sim, model, image, crash)?;
    }
    let mut opened = Opened::recover(sim, model, image, crash, crashes)?;
    image.watch(None);
    if twice {
        opened.is_a_fixed_point(image, sim.draw(1 << 30) as u64)?;
    }
    opened.goes_on()?;
    groups::drain(&mut opened, sim)?;
    if twice {
        opened.second_loss(sim, image)?;
    }
    match sim.draw(8) {
        0 => {
            opened.closes_cleanly(image)?;
            if verified {
                verify(sim, image).map_err(|e| format!("after a clean close: {e}"))?;
            }
        }
        1 => opened.room_is_counted()?,
        _ => {}
    }
    Ok(())
}

/// `verify` asks the real host when it was started: an image of this start of this host was not
/// lost, all others were.
fn can_verify(image: &Twin, crash: Crash) -> bool {
    match crash {
        Crash::Killed => image.is_here(),
        Crash::Power => image.is_elsewhere(),
    }
}

/// P3: what a crash leaves is not damage.
fn verify(sim: &Sim, image: &Twin) -> Result<(), String> {
    add(&sim.tally.verified);
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    let copied = image.copy_to(Path::new(PLACE), folder.path());
    copied.map_err(|e| e.to_string())?;
    if !folder
        .path()
        .join(crate::format::names::STORE_META)
        .exists()
    {
        return Ok(());
    }
    let report = crate::inspect::verify(folder.path(), &mut |_, _| Ok(()));
    let report = report.map_err(told("verifying"))?;
    match report.damage.first() {
        Some(damage) => Err(format!("verify calls it damage: {damage:?}")),
        None => Ok(()),
    }
}

/// The clocks of the life after a crash.
fn clock_after(sim: &Sim, crash: Crash) -> Arc<ManualClock> {
    match crash {
        Crash::Killed => sim.clock.copy(),
        // The boot clock begins anew with the host.
        Crash::Power => Arc::new(ManualClock::new(sim.clock.wall_ns() + AN_HOUR_NS, 5_000)),
    }
}

/// The disk fails while somebody recovers, who says so and dies; then it is well again (P5).
fn stumble(sim: &Sim, model: &Model, image: &Twin, crash: Crash) -> Result<(), String> {
    let fault = FAULTS[sim.draw(FAULTS.len())];
    image.fail(fault, 1 + sim.draw(5) as i64);
    let opened = open(image, &clock_after(sim, crash));
    if let Ok(store) = &opened {
        for topic in &model.topics {
            if let Err(error) = store.open_topic(topic.name)
                && error.kind() != ErrorKind::NotFound
            {
                says_where(&error)?;
            }
        }
        store.die();
    }
    image.heal();
    opened.map_or_else(|error| says_where(&error), |_| Ok(()))
}

impl<'a> Opened<'a> {
    /// Opens the store of an image, and all in it.
    fn recover(
        sim: &Sim,
        model: &'a Model,
        image: &Twin,
        crash: Crash,
        crashes: u32,
    ) -> Result<Self, String> {
        let clock = clock_after(sim, crash);
        let store = open(image, &clock).map_err(told("opening"))?;
        let life = Life::new(store, &model.topics);
        Self::of(model, (crash, crashes), clock, life)
    }

    /// Opens all, reads all, and lets each group receive something, in an opened store.
    pub fn of(
        model: &'a Model,
        (crash, crashes): (Crash, u32),
        clock: Arc<ManualClock>,
        life: Life,
    ) -> Result<Self, String> {
        let mut opened = Self {
            model,
            crash,
            crashes,
            clock,
            life,
            contents: Vec::new(),
            received: Vec::new(),
            letters: (model.topics.iter())
                .map(|topic| topic.groups.iter().map(|one| one.letters.clone()).collect())
                .collect(),
            happened: None,
        };
        for (number, topic) in model.topics.iter().enumerate() {
            opened.open_topic(number, topic)?;
        }
        opened.happened = opened.is_all_or_nothing()?;
        for (number, topic) in model.topics.iter().enumerate() {
            opened.open_groups(number, topic)?;
        }
        Ok(opened)
    }

    fn open_topic(&mut self, number: usize, model: &TopicModel) -> Result<(), String> {
        let opened = match self.life.store.open_topic(model.name) {
            Err(e) if e.kind() == ErrorKind::NotFound && model.there != There::Yes => None,
            opened => Some(opened.map_err(told("opening a topic"))?),
        };
        let mut all = Vec::new();
        for (partition, log) in model.logs.iter().enumerate() {
            let place = format!("topic {} partition {partition}", model.name);
            let found = match &opened {
                Some(topic) => contents(topic, partition as u32).map_err(told(&place))?,
                None => Vec::new(),
            };
            let found = numbers(log, &found, self.crash).map_err(|e| format!("{place}: {e}"))?;
            let first = match &opened {
                Some(topic) => kept::first(topic, model, partition, self.crashes),
                None => Ok(0),
            };
            let first = first.map_err(|e| format!("{place}: {e}"))?;
            let kept = kept::kept(
                (model, self.model.transaction.as_ref()),
                partition,
                (first, &found),
                self.crashes,
            );
            is_a_prefix(log, &kept, &found, self.crash).map_err(|e| format!("{place}: {e}"))?;
            all.push(found);
        }
        self.contents.push(all);
        self.life.topics[number] = opened;
        Ok(())
    }

    fn open_groups(&mut self, number: usize, model: &TopicModel) -> Result<(), String> {
        let mut all = vec![Vec::new(); model.groups.len()];
        if let Some(topic) = &self.life.topics[number] {
            let there = topic.groups().map_err(told("listing groups"))?;
            for (place, group) in model.groups.iter().enumerate() {
                if !there.iter().any(|name| name == group.name) {
                    if group.there == There::Yes {
                        return Err(format!("group {} of {} is gone", group.name, model.name));
                    }
                    continue;
                }
                let doing = format!("group {} of {}", group.name, model.name);
                let options = consumer_options(group);
                let consumer = topic.consumer(group.name, &options).map_err(told(&doing))?;
                let received = consumer.receive(RECEIVED, Some(Duration::ZERO));
                all[place] = received.map_err(told(&doing))?;
                times::check_all(model, group, &all[place], self.clock.wall_ms())?;
                self.life.consumers[number][place] = Some(consumer);
            }
        }
        self.received.push(all);
        Ok(())
    }

    /// Recovery is a fixed point: all that it found is on disk, and a crash right behind it changes
    /// nothing.
    fn is_a_fixed_point(&self, image: &Twin, seed: u64) -> Result<(), String> {
        let again = image.power_loss(seed).map_err(|e| e.to_string())?;
        let store = open(&again, &self.clock.copy()).map_err(told("opening once more"))?;
        for (number, model) in self.model.topics.iter().enumerate() {
            if self.life.topics[number].is_none() {
                continue;
            }
            let topic = store
                .open_topic(model.name)
                .map_err(told("opening once more"))?;
            for (partition, log) in model.logs.iter().enumerate() {
                let found =
                    contents(&topic, partition as u32).map_err(told("reading once more"))?;
                let (found, before) = (
                    numbers(log, &found, self.crash)?,
                    &self.contents[number][partition],
                );
                // Of a transaction that nobody was told of the record may not be on disk yet.
                let rest = |all: &Contents| -> Contents {
                    let of = self.model.transaction.as_ref();
                    let mine = |number| of.is_some_and(|one| one.sends(number));
                    all.iter().copied().filter(|one| !mine(one.1)).collect()
                };
                // What retention hid comes back where its word of that was not on disk.
                let first = self.life.topics[number].as_ref();
                let first = first.map_or(0, |topic| topic.first_kept(partition));
                let found: Contents = found.into_iter().filter(|one| one.0 >= first).collect();
                if rest(&found) != rest(before) {
                    return Err(format!(
                        "topic {} partition {partition}: recovery found {} messages, and after a \
                         power loss behind it {}",
                        model.name,
                        before.len(),
                        found.len()
                    ));
                }
            }
        }
        Ok(())
    }

    /// P4: the log goes on, with offsets that nobody was ever told.
    pub fn goes_on(&mut self) -> Result<(), String> {
        for (number, model) in self.model.topics.iter().enumerate() {
            let Some(topic) = &self.life.topics[number] else {
                continue;
            };
            for (partition, log) in model.logs.iter().enumerate() {
                let body = payload(&probe(number, partition));
                let message = Message::new(&body).partition(partition as u32);
                let id = topic.send(&message).map_err(told("sending again"))?;
                let contents = &mut self.contents[number][partition];
                let last = contents.last().map_or(0, |(offset, _)| offset + 1);
                if id.offset < log.seen().max(last) {
                    return Err(format!(
                        "topic {} partition {partition}: offset {} is given out again, {} had been",
                        model.name,
                        id.offset,
                        log.seen().max(last)
                    ));
                }
                contents.push((id.offset, probe(number, partition).number));
            }
        }
        self.repeats()
    }

    /// A clean close keeps everything as it is; what retention only hides comes back.
    fn closes_cleanly(&mut self, image: &Twin) -> Result<(), String> {
        let store = self.life.store.clone();
        let kept = |topic: &Option<Topic>, partition: usize| {
            topic
                .as_ref()
                .map_or(0, |topic| topic.first_kept(partition))
        };
        let topics = self.life.topics.iter().zip(&self.model.topics);
        let first: Vec<Vec<u64>> = topics
            .map(|(topic, model)| (0..model.logs.len()).map(|log| kept(topic, log)).collect())
            .collect();
        self.life = Life::new(store.clone(), &self.model.topics);
        self.received.clear();
        store.close().map_err(told("closing"))?;
        let store: Store = open(image, &self.clock).map_err(told("opening after a close"))?;
        for (number, model) in self.model.topics.iter().enumerate() {
            if self.contents[number].iter().all(Vec::is_empty) {
                continue;
            }
            let options = topic_options(model);
            let topic = store
                .topic(model.name, &options)
                .map_err(told("opening again"))?;
            for (partition, before) in self.contents[number].iter().enumerate() {
                let found = contents(&topic, partition as u32).map_err(told("reading again"))?;
                let offsets = found.iter().map(ReadMessage::offset);
                let offsets = offsets.filter(|offset| *offset >= first[number][partition]);
                if !offsets.eq(before.iter().map(|(offset, _)| *offset)) {
                    return Err(format!("topic {}: a clean close changed it", model.name));
                }
            }
        }
        Ok(())
    }
}

/// What is sent after a recovery.
pub fn probe(topic: usize, partition: usize) -> Sent {
    Sent {
        offset: 0,
        number: 1 << 40 | (topic as u64) << 8 | partition as u64,
        len: 50,
        key: None,
        times: Times::default(),
        id: None,
    }
}

/// All that a reader finds in a partition.
pub fn contents(topic: &Topic, partition: u32) -> Result<Vec<ReadMessage>, Error> {
    let options = ReaderOptions {
        partitions: Some(vec![partition]),
        ..ReaderOptions::default()
    };
    let mut reader = topic.reader(&options)?;
    let mut all = Vec::new();
    loop {
        let some = reader.receive(500, Some(Duration::ZERO))?;
        if some.is_empty() {
            return Ok(all);
        }
        all.extend(some);
    }
}

/// Offsets and numbers of what was found; an error where a byte is not what was sent (P3).
fn numbers(log: &Log, found: &[ReadMessage], crash: Crash) -> Result<Contents, String> {
    let mut contents = Vec::new();
    for one in found {
        let number = crate::format::u64_at(one.payload(), 0);
        if crash == Crash::Power && log.taken_back.contains(&number) {
            contents.push((one.offset(), number));
            continue;
        }
        if log.refused.contains(&number) || log.taken_back.contains(&number) {
            return Err(format!("P5: offset {} was refused", one.offset()));
        }
        let Some(sent) = log.known.get(&number) else {
            return Err(format!("offset {} was never sent", one.offset()));
        };
        let key = sent.key.map(|key| vec![key]);
        if one.payload() != payload(sent) || one.key() != key.as_deref() {
            return Err(format!("offset {} has other bytes", one.offset()));
        }
        contents.push((one.offset(), number));
    }
    Ok(contents)
}

/// P1, P2: what is left is a prefix of what was sent and is kept, with all that was
/// promised; a batch is there as a whole or not at all.
fn is_a_prefix(log: &Log, sent: &Contents, found: &Contents, crash: Crash) -> Result<(), String> {
    let promised = match crash {
        Crash::Killed => sent.len(),
        Crash::Power => sent
            .iter()
            .filter(|(offset, _)| *offset < log.durable)
            .count(),
    };
    let found: Contents = (found.iter().copied())
        .filter(|(_, number)| !log.taken_back.contains(number))
        .collect();
    if found.len() < promised {
        let (is, of) = (found.len(), sent.len());
        return Err(format!(
            "{is} of {of} messages are there, {promised} were promised"
        ));
    }
    let (old, new) = found.split_at(found.len().min(sent.len()));
    if old != &sent[..old.len()] {
        return Err(format!("a hole: found {old:?} of {sent:?}"));
    }
    let pending: Vec<u64> = log.pending.iter().map(|one| one.number).collect();
    if !new.is_empty() && !new.iter().map(|(_, number)| *number).eq(pending) {
        return Err(format!("a part of a batch is there: {new:?}"));
    }
    let rises = found.windows(2).all(|pair| pair[0].0 < pair[1].0);
    if !rises || new.first().is_some_and(|(offset, _)| *offset < log.seen()) {
        return Err(format!("offsets do not rise: {found:?}"));
    }
    Ok(())
}
