//! Room for what a transaction sends, in topics with limits (P14): in all of them, or in none.
//!
//! Whoever sends to such a topic holds its lock from taking room until the messages are in the log.
//! A commit takes these locks before all others, in no order: it waits for one, for its turn in the
//! topic and for room, only while it has no other, and takes the others as they stand or gives up
//! what it has. So nobody waits in one topic for what another one lacks.

use std::collections::BTreeMap;
use std::time::Instant;

use super::transaction::Gathered;
use crate::error::Result;
use crate::log::{Draft, Gate};
use crate::store::flow::{Beat, Own, Pass, Patience, Through, Way};

/// How one commit waits for room, through all its tries.
pub(super) struct Room {
    since: Option<Instant>,
}

impl Gathered {
    /// What is settled in each topic, by its id, as those who count want it.
    pub(super) fn own(&self) -> BTreeMap<u64, Vec<Own>> {
        let mut own: BTreeMap<u64, Vec<Own>> = BTreeMap::new();
        for (group, receipt) in &self.acks {
            own.entry(receipt.id.topic_id).or_default().push(Own {
                group: group.uid,
                partition: receipt.id.partition,
                offset: receipt.id.offset,
            });
        }
        own.values_mut().for_each(|own| own.sort_unstable());
        own
    }

    /// The gates of the topics that have a limit now, by their ids.
    pub(super) fn gates<'a>(
        &'a self,
        drafts: &[Draft<'_>],
        own: &'a BTreeMap<u64, Vec<Own>>,
        beat: Option<Beat<'a>>,
    ) -> Vec<Through<'a>> {
        let mut topics: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        for (place, owned) in self.sends.iter().enumerate() {
            if owned.topic.settings.is_limited() {
                topics.entry(owned.topic.uid).or_default().push(place);
            }
        }
        let gate = |places: Vec<usize>| {
            let owned = &self.sends[*places.first()?];
            let mine: Vec<Draft<'_>> = places.iter().map(|place| drafts[*place]).collect();
            let way = Way {
                topic: &owned.topic,
                groups: &owned.flow,
                patience: Patience::Stored,
                beat,
                own: own.get(&owned.topic.uid).map_or(&[], Vec::as_slice),
            };
            Some(way.through(&mine))
        };
        topics.into_values().filter_map(gate).collect()
    }
}

impl Room {
    pub(super) fn new() -> Self {
        Self { since: None }
    }

    /// Takes room in all of them, as each topic is configured; on an error in none.
    pub(super) fn enter<'a>(&mut self, gates: &[Through<'a>]) -> Result<Vec<Pass<'a>>> {
        if gates.is_empty() {
            return Ok(Vec::new());
        }
        let since = *self.since.get_or_insert_with(Instant::now);
        if let [only] = gates {
            return Ok(vec![only.enter_since(since)?]);
        }
        let mut given: Option<(usize, Pass<'a>)> = None;
        for turn in 0.. {
            let missing = match beside(gates, given.take())? {
                Ok(all) => return Ok(all),
                Err(missing) => missing,
            };
            let gate = &gates[missing];
            if turn > gates.len() {
                // What is given in one topic may have to be given up for another one, for ever.
                gate.check_time(since)?;
            }
            given = Some((missing, gate.enter_since(since)?));
        }
        Ok(Vec::new())
    }
}

/// With this one's pass those of all others, as they stand; else none, and which is missing.
fn beside<'a>(
    gates: &[Through<'a>],
    mut given: Option<(usize, Pass<'a>)>,
) -> Result<std::result::Result<Vec<Pass<'a>>, usize>> {
    let mut passes = Vec::with_capacity(gates.len());
    for (number, gate) in gates.iter().enumerate() {
        let pass = match given.take_if(|(mine, _)| *mine == number) {
            Some((_, pass)) => Ok(Some(pass)),
            None => gate.enter_beside(),
        };
        match pass {
            Ok(Some(pass)) => passes.push(pass),
            missing => {
                let rest = given.into_iter().map(|(_, pass)| pass);
                let all = passes.into_iter().chain(rest);
                all.for_each(|pass| pass.end(false));
                return missing.map(|_| Err(number));
            }
        }
    }
    Ok(Ok(passes))
}
