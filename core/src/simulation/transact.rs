//! Transactions in a history (P8): what one sends and what it acknowledges is there together or not
//! at all.

use super::check::Opened;
use super::crash::Crash;
use super::history::{History, Lease};
use super::model::{At, Group, Sent, payload};
use crate::options::Durability;
use crate::{Error, ErrorKind, Message};

/// One that is being committed.
#[derive(Clone, Debug, Default)]
pub struct Transaction {
    /// Topic, partition, number.
    sends: Vec<(usize, usize, u64)>,
    /// Topic, name of the group, message.
    acks: Vec<(usize, &'static str, At)>,
    /// Whether its commit returns once it is on disk.
    sync: bool,
}

impl Transaction {
    /// Whether it sends the message of this number.
    pub fn sends(&self, number: u64) -> bool {
        self.sends.iter().any(|one| one.2 == number)
    }
}

impl History {
    /// Acknowledges some deliveries of any groups, and sends some messages to any open topics.
    pub fn transact(&mut self) -> Result<(), Error> {
        let sends = self.draw_sends();
        let mut leases = Vec::new();
        for _ in 0..self.chance.pick(4).min(self.leases.len()) {
            let place = self.chance.pick(self.leases.len());
            leases.push(self.leases.swap_remove(place));
        }
        let begun = self.announce(&sends, &leases);
        let committed = self.commit(&sends, &leases);
        let (ids, stale) = match committed {
            Ok(ids) => (ids, Vec::new()),
            Err(e) if e.kind() == ErrorKind::StaleReceipt => {
                (Vec::new(), e.stale_places().to_vec())
            }
            Err(error) => return Err(error),
        };
        let happened = stale.is_empty();
        self.sim.know(|model| {
            for ((to, log, sent), id) in sends.iter().zip(&ids) {
                let log = &mut model.topics[*to].logs[*log];
                log.sent.push(Sent {
                    offset: id.offset,
                    ..sent.clone()
                });
                if begun.sync {
                    log.durable = log.durable.max(log.seen());
                }
            }
            for (to, log, sent) in &sends {
                let log = &mut model.topics[*to].logs[*log];
                log.pending.clear();
                log.refused.extend((!happened).then_some(sent.number));
            }
            for one in &leases {
                let group = &mut model.topics[one.topic].groups[one.group];
                group.settling.remove(&one.at);
                if happened {
                    group.acked.insert(one.at);
                    group.firm.extend(begun.sync.then_some(one.at));
                }
            }
            model.transaction = None;
        });
        if !happened {
            let leases = leases.into_iter().enumerate();
            let good = leases.filter(|(place, _)| !stale.contains(place));
            self.leases.extend(good.map(|(_, lease)| lease));
        }
        Ok(())
    }

    fn draw_sends(&mut self) -> Vec<(usize, usize, Sent)> {
        let open: Vec<usize> = (0..self.life.topics.len())
            .filter(|topic| self.life.topics[*topic].is_some())
            .collect();
        let count = self.chance.pick(4);
        let mut sends = Vec::new();
        for _ in 0..count {
            let topic = open[self.chance.pick(open.len())];
            let logs = self.sim.know(|model| model.topics[topic].logs.len());
            sends.push((topic, self.chance.pick(logs), self.draw_message()));
        }
        sends
    }

    fn announce(&self, sends: &[(usize, usize, Sent)], leases: &[Lease]) -> Transaction {
        self.sim.know(|model| {
            let acks: Vec<At> = leases.iter().map(|one| one.at).collect();
            model.doing = format!("a transaction of {} sends and {acks:?}", sends.len());
            let topics = sends.iter().map(|one| one.0);
            let mut topics = topics.chain(leases.iter().map(|one| one.topic));
            let mut begun = Transaction {
                sync: topics.any(|topic| model.topics[topic].durability == Durability::Sync),
                ..Transaction::default()
            };
            for (to, number, sent) in sends {
                let log = &mut model.topics[*to].logs[*number];
                log.pending.push(sent.clone());
                log.known.insert(sent.number, sent.clone());
                begun.sends.push((*to, *number, sent.number));
            }
            for one in leases {
                let group = &mut model.topics[one.topic].groups[one.group];
                // An earlier lease of it, which is stale, may be of one that is settled.
                if !group.acked.contains(&one.at) {
                    group.settling.insert(one.at);
                    begun.acks.push((one.topic, group.name, one.at));
                }
            }
            model.transaction = Some(begun.clone());
            begun
        })
    }

    fn commit(
        &self,
        sends: &[(usize, usize, Sent)],
        leases: &[Lease],
    ) -> Result<Vec<crate::MessageId>, Error> {
        let mut transaction = self.life.store.transaction()?;
        let now = crate::clock::Clock::wall_ms(&*self.clock);
        for (to, partition, sent) in sends {
            let (body, key) = (payload(sent), sent.key.map(|key| [key]));
            let mut message = Message::new(&body).partition(*partition as u32);
            if let Some(key) = &key {
                message = message.key(key);
            }
            let topic = self.life.topics[*to].as_ref().expect("open");
            transaction.send(topic, &sent.times.said_by(message, now))?;
        }
        for one in leases {
            let consumer = self.life.consumers[one.topic][one.group].as_ref();
            transaction.ack_receipts(consumer.expect("open"), &[one.receipt])?;
        }
        transaction.commit()
    }
}

impl Opened<'_> {
    /// Whether what was being committed has happened, as its messages say; an error where some of
    /// them are there and others are not.
    pub fn is_all_or_nothing(&self) -> Result<Option<bool>, String> {
        let Some(under_way) = &self.model.transaction else {
            return Ok(None);
        };
        let is_there = |one: &&(usize, usize, u64)| {
            let contents = &self.contents[one.0][one.1];
            contents.iter().any(|(_, number)| *number == one.2)
        };
        let there = under_way.sends.iter().filter(is_there).count();
        let all = there == under_way.sends.len();
        if self.crash == Crash::Power && !under_way.sync || under_way.sends.is_empty() {
            return Ok(None);
        }
        if !all && there > 0 {
            let of = under_way.sends.len();
            return Err(format!(
                "P8: {there} of {of} messages of a transaction are there"
            ));
        }
        Ok(Some(all))
    }

    /// Whether a transaction acknowledged this message of a group, where that is known.
    pub fn is_committed(&self, (topic, group): (usize, &Group), at: At) -> Option<bool> {
        if group.firm.contains(&at) {
            return Some(true);
        }
        let under_way = self.model.transaction.as_ref()?;
        let mine = under_way.acks.contains(&(topic, group.name, at));
        self.happened.filter(|_| mine)
    }
}
