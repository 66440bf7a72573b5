//! Redriving and purging dead letters: in a history, and in what a crash left of one.

use super::check::{Opened, told};
use super::crash::Sim;
use super::history::History;
use super::letters::Chosen;
use super::model::{At, Group as Known, Topic as TopicModel};
use super::shapes::Shape;
use crate::{DeadLetterEntry, Delivery, Error, Group, MessageId, RedriveOptions, Topic};

fn chosen(letters: &[DeadLetterEntry]) -> Vec<Chosen> {
    let each = letters.iter();
    each.map(|one| ((one.source_partition, one.source_offset), one.cycles))
        .collect()
}

fn ids(letters: &[DeadLetterEntry]) -> Vec<MessageId> {
    letters.iter().map(|one| one.message.id()).collect()
}

/// All that there are, or these of them; how many.
fn redrive(group: &Group, ids: Option<&[MessageId]>, limit: Option<u64>) -> Result<u64, Error> {
    group.redrive(RedriveOptions {
        ids,
        limit,
        ..RedriveOptions::default()
    })
}

fn is_all(what: &str, done: u64, of: usize) -> Result<(), String> {
    if done == of as u64 {
        return Ok(());
    }
    Err(format!("P12: {done} of {of} dead letters were {what}"))
}

impl Known {
    /// P11, P12, P13: what a receive returned is nothing that has to wait for an earlier message of
    /// its order, and of what was redriven only what this group's letters are of.
    pub fn hands_out(&self, topic: &TopicModel, found: &[Delivery]) -> Result<(), String> {
        self.are_of_different_orders(found)?;
        for one in found {
            let at = (one.partition(), one.offset());
            let what = format!("{at:?}, attempt {},", one.attempt());
            if self.letters.is_purged(at) || self.dead.contains(&at) && !self.may_come_back(at) {
                return Err(format!("P12: {what} is handed out, and is a dead letter"));
            }
            if is_redriven(one) {
                self.is_known(topic, one)?;
            } else if let Some(first) =
                self.passed_over(&topic.logs[at.0 as usize], (at, one.key()))
            {
                return Err(format!("P11: {what} is handed out before {first:?}"));
            }
        }
        Ok(())
    }

    fn may_come_back(&self, at: At) -> bool {
        self.letters.may_be_redriven(at)
    }

    /// P11: of an order only one is handed out at a time; what was redriven has one of its own.
    pub fn are_of_different_orders(&self, found: &[Delivery]) -> Result<(), String> {
        let mut seen = std::collections::BTreeSet::new();
        for one in found {
            let chain = self.chain_of(one.key()).map(<[u8]>::to_vec);
            // In the lane of a group there is no order but that of keys.
            let redriven = is_redriven(one);
            let partition = if redriven { 0 } else { one.partition() };
            if chain.is_some_and(|chain| !seen.insert((redriven, partition, chain))) {
                let at = (one.partition(), one.offset());
                return Err(format!("P11: {at:?} is handed out with another of its key"));
            }
        }
        Ok(())
    }

    /// P12, P13: what is handed out of a letter is the message that died here.
    pub fn is_known(&self, topic: &TopicModel, one: &Delivery) -> Result<(), String> {
        let at = (one.partition(), one.offset());
        if self.letters.cycles(at).1 == 0 {
            return Err(format!("P13: {at:?} comes again, and nobody redrove it"));
        }
        let number = crate::format::u64_at(one.payload(), 0);
        let sent = topic.logs[at.0 as usize].known.get(&number);
        let same = sent.is_some_and(|sent| {
            let key = sent.key.map(|key| vec![key]);
            super::model::payload(sent) == one.payload() && one.key() == key.as_deref()
        });
        if same {
            return Ok(());
        }
        Err(format!("P12: {at:?} comes again with other bytes"))
    }
}

/// Whether it is handed out of its letter.
pub fn is_redriven(one: &Delivery) -> bool {
    one.receipt().id != one.id()
}

impl History {
    /// Those groups that are open and have dead letters.
    fn with_dead(&self) -> Vec<(usize, usize)> {
        let mut found = Vec::new();
        let open = |topic: usize, group: usize| self.life.consumers[topic][group].is_some();
        self.sim.know(|model| {
            for (number, topic) in model.topics.iter().enumerate() {
                for (place, group) in topic.groups.iter().enumerate() {
                    if !group.dead.is_empty() && open(number, place) {
                        found.push((number, place));
                    }
                }
            }
        });
        found
    }

    pub fn any_dead(&self) -> bool {
        !self.with_dead().is_empty()
    }

    /// All dead letters of a group, some of them by their ids, or the oldest of them.
    pub fn redrive_or_purge(&mut self) -> Result<(), Error> {
        let groups = self.with_dead();
        let (topic, place) = groups[self.chance.pick(groups.len())];
        let consumer = self.life.consumers[topic][place].as_ref().expect("open");
        let opened = self.life.topics[topic].as_ref().expect("open");
        let group = opened.group(consumer.group())?;
        let mut letters = group.dead_letters(usize::MAX)?;
        // Each recovery after a redrive takes long, since a lane is large.
        let crashes = self.shape == Shape::Sought && self.sim.depth.seeds > 0;
        let (purges, mut way) = (self.chance.pick(3) == 0 || crashes, self.chance.pick(4));
        let known = self
            .sim
            .know(|model| model.topics[topic].groups[place].clone());
        // What was redriven out of a lane could come twice after a seek; and a letter of before one
        // is of the message that another one may be of, too.
        let all = letters.len();
        letters.retain(|one| {
            let at = (one.source_partition, one.source_offset);
            let held = known.chain_of(one.message.key()).is_some() && known.hold;
            known.left_of(at) == 0 && (purges || held || self.shape != Shape::Sought)
        });
        if letters.is_empty() {
            return Ok(());
        }
        if letters.len() < all {
            way = 1;
        }
        let most = 1 + self.chance.pick(letters.len().max(1));
        match way {
            0 => letters.truncate(most),
            1 => letters.retain(|_| self.chance.pick(2) == 0),
            _ => {}
        }
        let (named, chosen) = (ids(&letters), chosen(&letters));
        let wanted = (way <= 1).then_some(&named[..]);
        self.sim.know(|model| {
            let what = if purges { "purging" } else { "redriving" };
            model.doing = format!("{what} {chosen:?} of topic {topic}, group {place}, way {way}");
            let group = &mut model.topics[topic].groups[place];
            for one in &chosen {
                match purges {
                    true => group.letters.begin_purge(one.0),
                    false => group.letters.begin_redrive(*one),
                }
            }
        });
        // The oldest of all are those that are named.
        let done = match (purges, way) {
            (true, _) => group.purge_dead_letters(wanted)?,
            (false, 0) => redrive(&group, None, Some(most as u64))?,
            (false, _) => redrive(&group, wanted, None)?,
        };
        let what = if purges { "purged" } else { "redriven" };
        self.sim.wants(is_all(what, done, chosen.len()));
        self.sim.know(|model| {
            let group = &mut model.topics[topic].groups[place];
            for one in &chosen {
                group.dead.remove(&one.0);
                match purges {
                    true => group.letters.end_purge(one.0),
                    false => {
                        group.letters.end_redrive(*one);
                        group.failures.remove(&one.0);
                    }
                }
            }
        });
        Ok(())
    }
}

/// What became of a group's dead letters after a crash.
pub struct Ended {
    pub redriven: Vec<At>,
    pub purged: Vec<At>,
}

impl Opened<'_> {
    /// Gives up on some of a group's dead letters, and has the others handed out again.
    pub fn end_letters(
        &mut self,
        sim: &Sim,
        (number, place): (usize, usize),
        topic: &Topic,
    ) -> Result<Ended, String> {
        let name = self.model.topics[number].groups[place].name;
        let group = topic.group(name).map_err(told("looking at it"))?;
        let mut letters = group.dead_letters(usize::MAX).map_err(told("letters"))?;
        // Which of the letters of a message would be named, where one is of before a seek?
        let left = &self.model.topics[number].groups[place].left;
        letters.retain(|one| !left.contains_key(&(one.source_partition, one.source_offset)));
        let purges = [0, letters.len(), sim.draw(letters.len() + 1)][sim.draw(3)];
        let (gone, again) = letters.split_at(purges);
        if !gone.is_empty() {
            let purged = group.purge_dead_letters(Some(&ids(gone)));
            is_all("purged", purged.map_err(told("purging"))?, gone.len())?;
        }
        // A purge is on disk without a redrive behind it.
        let redriven = match again {
            [] => 0,
            _ => {
                let named = ids(again);
                let wanted = (!left.is_empty()).then_some(&named[..]);
                redrive(&group, wanted, None).map_err(told("redriving"))?
            }
        };
        is_all("redriven", redriven, again.len())?;
        let known = &mut self.letters[number][place];
        letters.iter().try_for_each(|one| known.see(one))?;
        for one in chosen(gone) {
            known.begin_purge(one.0);
            known.end_purge(one.0);
        }
        for one in chosen(again) {
            known.end_redrive(one);
        }
        let places = |of: &[DeadLetterEntry]| chosen(of).into_iter().map(|one| one.0).collect();
        Ok(Ended {
            redriven: places(again),
            purged: places(gone),
        })
    }
}
