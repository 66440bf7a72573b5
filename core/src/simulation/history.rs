//! A random history: what a program does with a store, in one thread.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use super::crash::{Depth, Sim, Tally, add};
use super::ids::{id_of, is_the_first, named};
use super::kept;
use super::life::{Life, consumer_options, open, topic_options};
use super::model::{At, Sent, There, payload};
use super::seek::Kept;
use super::shapes::{Shape, TRANSACT, topics};
use super::times::Times;
use crate::clock::{Clock, ManualClock};
use crate::options::Durability;
use crate::storage::{Choices, Twin};
use crate::{Error, Message, Receipt};

/// A delivery that is not settled yet.
pub struct Lease {
    pub topic: usize,
    pub group: usize,
    pub at: At,
    pub receipt: Receipt,
}

/// A history under way.
pub struct History {
    pub sim: Arc<Sim>,
    pub twin: Twin,
    pub clock: Arc<ManualClock>,
    pub chance: Choices,
    pub shape: Shape,
    /// Whether the disk never fails.
    pub sound: bool,
    pub life: Life,
    pub leases: Vec<Lease>,
    /// The snapshot that each group has.
    pub snapshots: BTreeMap<(usize, usize), Kept>,
    numbers: u64,
}

/// Runs the history of a seed; what went wrong, if anything did.
pub fn run(
    seed: u64,
    shape: Shape,
    depth: Depth,
    deadline: Instant,
    tally: &Arc<Tally>,
) -> Result<(), String> {
    let sim = Sim::new(seed, depth, deadline, tally.clone());
    // Half of them on a host that is not this one: only so `verify` can tell a power loss.
    let twin = if seed.is_multiple_of(2) {
        Twin::new()
    } else {
        Twin::elsewhere()
    };
    sim.watch(&twin);
    let mut history = History::begin(seed, shape, sim, twin)?;
    let steps = match shape {
        Shape::Short => 4 + history.chance.pick(7),
        Shape::Dead => 10 + history.chance.pick(15),
        Shape::Sought => 15 + history.chance.pick(25),
        Shape::Long | Shape::Wide | Shape::Exact => 30 + history.chance.pick(120),
    };
    for step in (0..steps).take_while(|_| Instant::now() < deadline) {
        let done = history.step();
        if let Some(failure) = history.sim.failure() {
            return Err(format!("step {step}: {failure}"));
        }
        let doing = history.sim.know(|model| model.doing.clone());
        done.map_err(|e| format!("step {step}, {doing}: {e}"))?;
    }
    history.twin.watch(None);
    add(&tally.histories);
    Ok(())
}

impl History {
    /// Opens the store of a seed's history.
    pub fn begin(seed: u64, shape: Shape, sim: Arc<Sim>, twin: Twin) -> Result<Self, String> {
        let mut chance = Choices::seeded(seed);
        sim.know(|model| {
            model.topics = topics(shape, &mut chance);
            model.doing = "opening".to_owned();
        });
        let clock = sim.clock.clone();
        let store = open(&twin, &clock).map_err(|e| format!("opening: {e}"))?;
        sim.opened(&store);
        Ok(Self {
            life: sim.know(|model| Life::new(store, &model.topics)),
            sim,
            twin,
            clock,
            chance,
            shape,
            sound: true,
            leases: Vec::new(),
            snapshots: BTreeMap::new(),
            numbers: 0,
        })
    }

    pub fn doing(&self, what: String) {
        self.sim.know(|model| model.doing = what);
    }

    /// Does something, drawn by chance, and learns what came of it.
    pub fn step(&mut self) -> Result<(), Error> {
        self.act()?;
        self.learn()
    }

    /// Does something, drawn by chance.
    pub fn act(&mut self) -> Result<(), Error> {
        add(&self.sim.tally.operations);
        let count = self.sim.know(|model| model.topics.len());
        let topic = self.chance.pick(count);
        if self.life.topics[topic].is_none() {
            self.open_topic(topic)?;
        }
        let groups = self.life.consumers[topic].len();
        let group = self.chance.pick(groups);
        let what = self.chance.pick(100);
        match self.shape.turned(what) {
            0..35 => self.send(topic)?,
            35..55 if groups > 0 => self.receive(topic, group)?,
            55..79 if !self.leases.is_empty() => self.settle()?,
            79..85 if self.any_dead() => self.redrive_or_purge()?,
            85..87 if self.any_sought() => self.seek()?,
            85..89 => {
                self.doing("syncing a topic".to_owned());
                self.life.topics[topic].as_ref().expect("open").sync()?;
            }
            89..95 => {
                self.doing("housekeeping".to_owned());
                self.may_bury(|_| true);
                self.life.store.inner()?.look_around();
                self.interval_is_over();
                if self.numbers.is_multiple_of(3) {
                    self.doing("retention".to_owned());
                    let topic = self.life.topics[topic].as_ref().expect("open");
                    topic.retain_all_now()?;
                    topic.compact_all_now()?;
                }
                self.learn_taken();
            }
            95..98 => self.let_time_go_by(),
            98..TRANSACT => self.begin_a_new_life()?,
            TRANSACT if self.sound => self.transact()?,
            _ => self.send(topic)?,
        }
        Ok(())
    }

    fn open_topic(&mut self, number: usize) -> Result<(), Error> {
        let model = self.sim.know(|model| {
            let topic = &mut model.topics[number];
            if topic.there == There::No {
                topic.there = There::Maybe;
            }
            topic.clone()
        });
        self.doing(format!("opening topic {}", model.name));
        let topic = self.life.store.topic(model.name, &topic_options(&model))?;
        self.life.topics[number] = Some(topic);
        self.sim
            .know(|model| model.topics[number].there = There::Yes);
        Ok(())
    }

    pub fn open_consumer(&mut self, topic: usize, group: usize) -> Result<(), Error> {
        if self.life.consumers[topic][group].is_some() {
            return Ok(());
        }
        let model = self.sim.know(|model| {
            let group = &mut model.topics[topic].groups[group];
            if group.there == There::No {
                group.there = There::Maybe;
            }
            group.clone()
        });
        self.doing(format!("opening group {}", model.name));
        let opened = self.life.topics[topic].as_ref().expect("open");
        let consumer = opened.consumer(model.name, &consumer_options(&model))?;
        self.life.consumers[topic][group] = Some(consumer);
        self.sim
            .know(|model| model.topics[topic].groups[group].there = There::Yes);
        Ok(())
    }

    /// How many messages an operation is about, beside the few of a long history.
    pub fn breadth(&mut self) -> usize {
        match self.shape {
            Shape::Wide => 1 + self.chance.pick(120),
            Shape::Short | Shape::Dead | Shape::Sought | Shape::Long | Shape::Exact => 1,
        }
    }

    pub fn draw_message(&mut self) -> Sent {
        let sizes: &[usize] = match self.shape {
            Shape::Short => &[24, 40, 700],
            Shape::Wide | Shape::Dead | Shape::Sought => &[24, 40],
            Shape::Long => &[24, 100, 100, 600, 5_000, 40_000, 200_000],
            Shape::Exact => &[24, 600, 40_000, 200_000],
        };
        self.numbers += 1;
        Sent {
            offset: 0,
            number: self.numbers,
            len: sizes[self.chance.pick(sizes.len())],
            key: (self.chance.pick(3) > 0).then(|| self.chance.pick(4) as u8),
            times: Times::drawn(&mut self.chance, self.clock.wall_ms()),
            id: None,
        }
    }

    /// One message, a batch for one partition, or one over all partitions.
    fn send(&mut self, topic: usize) -> Result<(), Error> {
        let (logs, ids) = self.sim.know(|model| {
            let topic = &model.topics[topic];
            (topic.logs.len(), topic.knows_ids)
        });
        let count = [1, 1, 1, 2, 5][self.chance.pick(5)] * self.breadth();
        // Of a batch over several partitions a failure may leave the parts of some.
        let whole = self.sound || self.shape != Shape::Exact;
        let over_all = self.chance.pick(3) == 0 && whole;
        let partition = self.chance.pick(logs);
        let sent: Vec<(usize, Sent)> = (0..count)
            .map(|turn| {
                let to = if over_all { turn % logs } else { partition };
                let mut sent = self.draw_message();
                sent.id = ids.then(|| self.draw_id()).flatten();
                (to, sent)
            })
            .collect();
        self.sim.know(|model| {
            let topic = &mut model.topics[topic];
            model.doing = format!("sending {count} messages to {}", topic.name);
            let first = topic.first_sends(sent.iter().map(|(_, one)| one));
            for (to, message) in sent
                .iter()
                .zip(first)
                .filter_map(|(one, first)| first.then_some(one))
            {
                topic.logs[*to].pending.push(message.clone());
                topic.logs[*to]
                    .known
                    .insert(message.number, message.clone());
            }
        });
        let bodies: Vec<_> = sent
            .iter()
            .map(|(_, one)| (payload(one), one.key, id_of(one)))
            .collect();
        let now = self.clock.wall_ms();
        let messages: Vec<Message<'_>> = sent
            .iter()
            .zip(&bodies)
            .map(|((to, sent), (body, key, id))| {
                let message = Message::new(body).partition(*to as u32);
                let message = named(sent.times.said_by(message, now), id.as_ref());
                key.as_ref()
                    .map_or(message, |key| message.key(std::slice::from_ref(key)))
            })
            .collect();
        let opened = self.life.topics[topic].as_ref().expect("open");
        let ids = if count == 1 {
            vec![opened.send(&messages[0])?]
        } else {
            opened.send_many(&messages)?
        };
        let seen = self.sim.know(|model| {
            let topic = &mut model.topics[topic];
            let mut seen = Ok(());
            for ((to, mut message), id) in sent.into_iter().zip(ids) {
                let at = (id.partition, id.offset);
                if let Some(first) = message.id.and_then(|id| topic.ids.get(&id)) {
                    seen = seen.and(is_the_first(message.id, at, *first));
                    continue;
                }
                topic.ids.extend(message.id.map(|id| (id, at)));
                message.offset = id.offset;
                topic.logs[to].pending.clear();
                topic.logs[to].sent.push(message);
            }
            if topic.durability == Durability::Sync {
                for log in &mut topic.logs {
                    log.durable = log.durable.max(log.seen());
                }
            }
            seen
        });
        self.sim.wants(seen);
        Ok(())
    }

    /// Some call may count failures and move what failed for the last time.
    pub fn may_bury(&self, which: impl Fn(usize) -> bool) {
        self.sim.know(|model| {
            for (number, topic) in model.topics.iter_mut().enumerate() {
                for group in topic.groups.iter_mut().filter(|_| which(number)) {
                    group.receiving = true;
                }
            }
        });
    }

    /// P2: what was sent with durability `interval` before the last interval ended is on disk; on a
    /// disk that fails housekeeping has nobody to tell of it.
    fn interval_is_over(&self) {
        let open = |number: usize| self.life.topics[number].is_some();
        self.sim.know(|model| {
            for (number, topic) in model.topics.iter_mut().enumerate() {
                let ticks = matches!(topic.durability, Durability::Interval(_));
                for log in topic
                    .logs
                    .iter_mut()
                    .filter(|_| ticks && self.sound && open(number))
                {
                    log.durable = log.durable.max(log.seen());
                }
            }
        });
    }

    /// What retention took, as far as is known.
    fn learn_taken(&self) {
        let seen = self.sim.know(|model| {
            let mut topics = self.life.topics.iter().zip(&mut model.topics);
            topics.try_for_each(|(topic, model)| {
                topic
                    .as_ref()
                    .map_or(Ok(()), |topic| kept::learn(topic, model))
            })
        });
        self.sim.wants(seen);
    }

    /// Leases run out, retries fall due.
    fn let_time_go_by(&mut self) {
        let ms = [1_500, 20_000, 70_000][self.chance.pick(3)];
        self.clock.advance_ms(ms);
        self.sim.know(|model| {
            model.doing = format!("{ms} ms later");
            for lease in &self.leases {
                model.topics[lease.topic].groups[lease.group].fail(lease.at);
            }
        });
    }

    /// Closes everything and opens it again.
    fn begin_a_new_life(&mut self) -> Result<(), Error> {
        self.doing("closing".to_owned());
        let topics = self.sim.know(|model| model.topics.clone());
        let store = self.life.store.clone();
        self.life = Life::new(store.clone(), &topics);
        self.leases.clear();
        store.close()?;
        self.open_again()
    }

    /// Begins a new life, however the last one ended.
    pub fn open_again(&mut self) -> Result<(), Error> {
        self.doing("opening again".to_owned());
        let topics = self.sim.know(|model| model.topics.clone());
        self.life = Life::new(open(&self.twin, &self.clock)?, &topics);
        self.sim.opened(&self.life.store);
        self.leases.clear();
        Ok(())
    }
}
