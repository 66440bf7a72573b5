//! The life after a crash: what its user knows, a power loss in it, and those who lived on when
//! another process died.

use std::sync::Arc;
use std::time::Instant;

use super::check::{self, Opened, probe, told};
use super::crash::{Crash, Depth, Sim, Tally, add};
use super::groups;
use super::history::History;
use super::ids;
use super::kept;
use super::life::{Life, open};
use super::model::{Group, Log, Model, Sent, There};
use super::shapes::Shape;
use crate::storage::Twin;
use crate::{Store, Topic};

impl Opened<'_> {
    /// What is known after all was read, received and acknowledged.
    fn learned(&self) -> Result<Model, String> {
        let mut model = self.model.clone();
        "a life after a crash".clone_into(&mut model.doing);
        for (number, known) in model.topics.iter_mut().enumerate() {
            let Some(topic) = &self.life.topics[number] else {
                continue;
            };
            known.there = There::Yes;
            known.ids = self.known_ids(number);
            let durable = topic.durable_offsets();
            for (partition, log) in known.logs.iter_mut().enumerate() {
                let contents = &self.contents[number][partition];
                let probe = probe(number, partition);
                log.known.insert(probe.number, probe);
                ids::learn(log, contents);
                let first = topic.first_kept(partition);
                let before = &self.model.topics[number];
                let is_gone = |sent: &Sent| {
                    let compacted =
                        || kept::may_be_compacted(before, partition, sent, self.crashes);
                    sent.offset < first || compacted()
                };
                let is_there = |offset: u64| contents.iter().any(|one| one.0 == offset);
                let is_missing = |sent: &&Sent| is_gone(sent) && !is_there(sent.offset);
                let missing: Vec<Sent> = log.sent.iter().filter(is_missing).cloned().collect();
                *log = Log {
                    missing: missing.iter().map(|sent| sent.offset).collect(),
                    sent: sent(log, missing, contents),
                    compacted: std::mem::take(&mut log.compacted),
                    durable: durable[partition],
                    known: std::mem::take(&mut log.known),
                    ..Log::default()
                };
            }
            for (group, letters) in known.groups.iter_mut().zip(&self.letters[number]) {
                group.letters.clone_from(letters);
                learn_group(topic, group, &known.logs)?;
            }
        }
        Ok(model)
    }

    /// The power is lost once more: what this life did is kept as far as it was promised.
    pub fn second_loss(&self, sim: &Sim, image: &Twin) -> Result<(), String> {
        let model = self.learned()?;
        let seed = sim.draw(1 << 40) as u64;
        let lost = image.power_loss(seed).map_err(|e| e.to_string())?;
        add(&sim.tally.images);
        check::image(sim, &model, &lost, (Crash::Power, self.crashes + 1), false)
            .map_err(|e| format!("a power loss (seed {seed}) in the life after it: {e}"))
    }
}

/// Those that retention hides, or compaction took, come back where the power goes before its word
/// of them is on disk.
fn sent(log: &Log, missing: Vec<Sent>, contents: &[(u64, u64)]) -> Vec<Sent> {
    let found = contents.iter().filter_map(|(offset, number)| {
        let one = log.known.get(number)?.clone();
        Some(Sent {
            offset: *offset,
            ..one
        })
    });
    let mut all: Vec<Sent> = missing.into_iter().chain(found).collect();
    all.sort_unstable_by_key(|one| one.offset);
    all
}

/// All was acknowledged or is a dead letter; a power loss may take acknowledgements back.
fn learn_group(topic: &Topic, group: &mut Group, logs: &[Log]) -> Result<(), String> {
    let listed = topic.groups().map_err(told("listing groups"))?;
    if !listed.iter().any(|name| name == group.name) {
        return Ok(());
    }
    let of = topic.group(group.name).map_err(told("opening it"))?;
    let letters = of.dead_letters(usize::MAX).map_err(told("dead letters"))?;
    let mut known = Group::new(group.name, group.ordering, group.max_attempts);
    known.late_die = group.late_die;
    known.filtered = group.filtered;
    known.there = There::Yes;
    known.doubtful = true;
    known.once = group.once;
    known.hold = group.hold;
    known.letters_to = group.letters_to;
    known.letters = std::mem::take(&mut group.letters);
    known.left = std::mem::take(&mut group.left);
    known.learn_letters(&letters)?;
    for (partition, log) in (0..).zip(logs) {
        let all = log.sent.iter().map(|sent| (partition, sent.offset));
        known
            .acked
            .extend(all.filter(|at| !known.dead.contains(at)));
    }
    let ended = known.letters.all();
    known
        .acked
        .extend(ended.filter(|at| !known.dead.contains(at)));
    *group = known;
    Ok(())
}

/// A process died in the middle of something; another one, which has the same store open, goes on
/// with it, and then the power is lost (P1, P2, P10, P17).
pub fn lives_on(sim: &Sim, model: &Model, twin: &Twin, other: &Store) -> Result<(), String> {
    add(&sim.tally.images);
    if model.transaction.is_some() {
        // Who only reads may see a part of it until somebody goes on with it (P8).
        let inner = other.inner().map_err(told("looking around"))?;
        inner.look_around();
    }
    let life = Life::new(other.clone(), &model.topics);
    let mut opened = Opened::of(model, (Crash::Killed, 1), sim.clock.clone(), life)?;
    opened.goes_on()?;
    groups::drain(&mut opened, sim)?;
    opened.second_loss(sim, twin)
}

/// Runs the history of a seed until its process dies at some event, and another goes on.
pub fn run_until_a_death(seed: u64, deadline: Instant, tally: &Arc<Tally>) -> Result<(), String> {
    let sim = Sim::new(seed, Depth::NOWHERE, deadline, tally.clone());
    let shape = [Shape::Long, Shape::Exact, Shape::Sought][seed as usize % 3];
    let mut history = History::begin(seed, shape, sim, Twin::new())?;
    let other = open(&history.twin, &history.clock).map_err(|e| format!("joining: {e}"))?;
    let dying = history.chance.pick(40);
    for step in 0..100 {
        if step == dying {
            history.sim.dies(&history.twin, other.clone());
        }
        let done = history.step();
        if let Some(failure) = history.sim.failure() {
            return Err(format!("step {step}: {failure}"));
        }
        if history.sim.has_died() {
            break;
        }
        let doing = history.sim.know(|model| model.doing.clone());
        done.map_err(|e| format!("step {step}, {doing}: {e}"))?;
    }
    history.twin.watch(None);
    add(&tally.histories);
    Ok(())
}
