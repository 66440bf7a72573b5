//! What the user of a history learns between two calls.

use super::history::History;
use super::model::Model;
use crate::Error;

impl History {
    /// What a user can see between two calls: what is on disk, and which dead letters there are.
    pub fn learn(&mut self) -> Result<(), Error> {
        for (number, topic) in self.life.topics.iter().enumerate() {
            let Some(topic) = topic else { continue };
            let durable = topic.durable_offsets();
            self.sim.know(|model| {
                for (log, durable) in model.topics[number].logs.iter_mut().zip(&durable) {
                    log.durable = log.durable.max(*durable);
                }
            });
            for (place, consumer) in self.life.consumers[number].iter().enumerate() {
                let Some(consumer) = consumer else { continue };
                let letters = topic.group(consumer.group())?.dead_letters(usize::MAX)?;
                let seen = self.sim.know(|model| {
                    let group = &mut model.topics[number].groups[place];
                    group.receiving = false;
                    group.learn_letters(&letters)
                });
                self.sim.wants(seen);
            }
        }
        self.sim.know(Model::settle_down);
        Ok(())
    }
}
