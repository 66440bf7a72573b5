//! Receiving and settling in a history.

use std::time::Duration;

use super::history::{History, Lease};
use super::life::LEASE;
use super::model::At;
use super::times;
use crate::clock::Clock;
use crate::{Error, ErrorKind, Receipt};

impl History {
    pub fn receive(&mut self, topic: usize, group: usize) -> Result<(), Error> {
        self.open_consumer(topic, group)?;
        self.doing(format!("receiving from topic {topic}, group {group}"));
        self.may_bury(|number| number == topic);
        let most = (1 + self.chance.pick(6)) * self.breadth();
        let once = self.sim.know(|model| {
            let group = &mut model.topics[topic].groups[group];
            group.giving = if group.once { most } else { 0 };
            group.once
        });
        let consumer = self.life.consumers[topic][group].as_ref().expect("open");
        let found = consumer.receive(most, Some(Duration::ZERO))?;
        let now = self.clock.wall_ms();
        let seen = self.sim.know(|model| {
            let of = &model.topics[topic];
            let mut seen = times::check_all(of, &of.groups[group], &found, now)
                .and_then(|()| of.groups[group].hands_out(of, &found));
            let group = &mut model.topics[topic].groups[group];
            group.giving = 0;
            for one in &found {
                let at = (one.partition(), one.offset());
                group.attempts.insert(at, one.attempt());
                if group.once && !group.acked.insert(at) {
                    seen = Err(format!("P7: {at:?} is handed out twice"));
                }
            }
            seen
        });
        self.sim.wants(seen);
        if once {
            let receipts: Vec<Receipt> = found.iter().map(|one| one.receipt()).collect();
            return consumer.ack(&receipts);
        }
        self.leases.extend(found.iter().map(|one| Lease {
            topic,
            group,
            at: (one.partition(), one.offset()),
            receipt: one.receipt(),
        }));
        Ok(())
    }

    /// Settles some deliveries of one group in one way.
    pub fn settle(&mut self) -> Result<(), Error> {
        let first = self.chance.pick(self.leases.len());
        let (topic, group) = (self.leases[first].topic, self.leases[first].group);
        let most = (1 + self.chance.pick(4)) * self.breadth();
        let mut some = Vec::new();
        while let Some(place) = (self.leases.iter())
            .position(|one| (one.topic, one.group) == (topic, group))
            .filter(|_| some.len() < most)
        {
            some.push(self.leases.remove(place));
        }
        let way = self.shape.settles(self.chance.pick(10));
        let ats: Vec<At> = some.iter().map(|one| one.at).collect();
        self.sim.know(|model| {
            model.doing = format!("settling {ats:?} of topic {topic}, group {group}, way {way}");
            let group = &mut model.topics[topic].groups[group];
            if way != 7 {
                group.settling.extend(&ats);
            }
            if matches!(way, 5 | 6) {
                ats.iter().for_each(|at| group.fail(*at));
            }
        });
        let consumer = self.life.consumers[topic][group].as_ref().expect("open");
        let receipts: Vec<Receipt> = some.iter().map(|one| one.receipt).collect();
        let done = match way {
            0..5 => consumer.ack(&receipts),
            5 | 6 => consumer.nack(&receipts, None, Some("no use")),
            7 => consumer.release(&receipts),
            8 => consumer.extend(&receipts, LEASE * 2),
            _ => consumer.dead_letter(&receipts, "given up"),
        };
        let stale: Vec<usize> = match done {
            Err(e) if e.kind() == ErrorKind::StaleReceipt => e.stale_places().to_vec(),
            done => done.map(|()| Vec::new())?,
        };
        let good = |(place, _): &(usize, &At)| !stale.contains(place);
        self.sim.know(|model| {
            let group = &mut model.topics[topic].groups[group];
            if way < 5 {
                let acked = ats.iter().enumerate().filter(good).map(|(_, at)| *at);
                group.acked.extend(acked);
            }
            group.settling.clear();
        });
        if way == 8 {
            self.leases.extend(some);
        }
        Ok(())
    }
}
