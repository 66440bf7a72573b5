//! What the copy does not know any more of what was sent once, and of transactions.
//!
//! Ledgers are made anew from the messages that were copied, and what a transaction had done and
//! had not applied everywhere stays where it was: both is told of, as far as the damaged store says
//! so (P8).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{Copied, Copy};
use crate::clock::{Clock, SystemClock};
use crate::error::Result;
use crate::format::ledger::Entry;
use crate::format::names;
use crate::inspect::ledgers::{LedgerPlan, Whose};
use crate::inspect::log::Log;
use crate::inspect::plan::TopicPlan;
use crate::inspect::{journal, ranges};
use crate::options::DedupWindow;

/// Of the messages that ledgers speak of, those that are not in the copy.
#[derive(Default)]
struct Forgotten {
    /// Partition and offset of those that were removed.
    removed: BTreeSet<(u32, u64)>,
    /// And of those that are damaged.
    damaged: BTreeSet<(u32, u64)>,
}

impl Forgotten {
    /// Whether a message is one, or is in the copy; `None` where there is no such message, as
    /// behind a place that a power loss tore.
    fn meet(&mut self, logs: &[Log], entry: &Entry) -> Option<bool> {
        let (log, place) = (
            logs.get(entry.partition as usize)?,
            (entry.partition, entry.offset),
        );
        if ranges::contains(&log.readable, entry.offset) {
            return Some(false);
        }
        if entry.offset >= log.next {
            return None;
        }
        match ranges::contains(&log.lost, entry.offset) {
            true => self.damaged.insert(place),
            false => self.removed.insert(place),
        };
        Some(true)
    }

    /// How many, and why they are not there.
    fn say(&self) -> String {
        let mut parts = Vec::new();
        if !self.removed.is_empty() {
            let count = self.removed.len();
            parts.push(format!(
                "{count} that retention or compaction removed, or that were taken back"
            ));
        }
        if !self.damaged.is_empty() {
            parts.push(format!("{} that are damaged", self.damaged.len()));
        }
        parts.join(", and of ")
    }

    fn is_empty(&self) -> bool {
        self.removed.is_empty() && self.damaged.is_empty()
    }
}

impl Copy<'_> {
    /// After the messages of a topic were copied: what its ledgers knew beside them.
    pub(super) fn sent(
        &mut self,
        plan: &TopicPlan,
        (id, window): (Option<u64>, DedupWindow),
        logs: &[Log],
    ) -> Result<()> {
        let whose = Whose {
            topic: id.or(plan.id),
            partitions: Some(logs.len() as u64),
        };
        self.run.ledgers(plan, whose)?;
        for ledger in &plan.ledgers {
            match &ledger.producer {
                None => self.ids(plan, ledger, (whose, window), logs)?,
                Some(name) => self.sequences(plan, (ledger, name), whose, logs)?,
            }
        }
        Ok(())
    }

    fn ids(
        &mut self,
        plan: &TopicPlan,
        ledger: &LedgerPlan,
        (whose, window): (Whose, DedupWindow),
        logs: &[Log],
    ) -> Result<()> {
        let now_ms = SystemClock.wall_ms();
        let is_over = |sent_ms: u64| match window {
            DedupWindow::Time(time) => {
                let time = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
                sent_ms.saturating_add(time) <= now_ms
            }
            // It may be switched on again.
            DedupWindow::Off | DedupWindow::UntilSettled => false,
        };
        let mut forgotten = Forgotten::default();
        ledger.entries(whose, |entry| {
            if !is_over(entry.stamp_ms) {
                forgotten.meet(logs, entry);
            }
        })?;
        if !forgotten.is_empty() {
            self.done.notes.push(format!(
                "topic {:?} does not know the dedup ids of messages any more that are not in the \
                 copy: of {}; what is sent again under one of them is appended again",
                plan.name,
                forgotten.say()
            ));
        }
        Ok(())
    }

    fn sequences(
        &mut self,
        plan: &TopicPlan,
        (ledger, name): (&LedgerPlan, &str),
        whose: Whose,
        logs: &[Log],
    ) -> Result<()> {
        let (mut forgotten, mut last, mut known) = (Forgotten::default(), 0, 0);
        ledger.entries(whose, |entry| {
            let sequence = entry.key[0];
            match forgotten.meet(logs, entry) {
                Some(true) => last = last.max(sequence),
                Some(false) => known = known.max(sequence),
                None => {}
            }
        })?;
        if forgotten.is_empty() {
            return Ok(());
        }
        let goes_on = match last > known {
            true => format!(
                "its last sequence was {last}, and the copy says {known}: go on behind \
                 {last}"
            ),
            false => format!("its last sequence, {known}, is known"),
        };
        self.done.notes.push(format!(
            "producer {name:?} of topic {:?} does not know the sequences of messages any more that \
             are not in the copy: of {}; {goes_on}; what is sent again is appended again",
            plan.name,
            forgotten.say()
        ));
        Ok(())
    }

    /// After all topics were copied: what transactions had done, and had not applied everywhere.
    pub(super) fn transactions(&mut self, from: &Path, copied: &[Copied<'_>]) -> Result<()> {
        let path = from.join(names::TRANSACTIONS);
        let Some(open) = journal::open_ones(&path)? else {
            let what =
                "the journal of transactions is damaged; whether any had happened and was not \
                        applied everywhere is not known: what it settled comes again, and what it \
                        sent is copied only where it was published"
                    .to_owned();
            self.lost(&path, what);
            return Ok(());
        };
        let logs: BTreeMap<u64, &[Log]> = copied
            .iter()
            .filter_map(|one| Some((one.id?, one.logs.as_slice())))
            .collect();
        let (mut sent, mut missing, mut settled) = (0_u64, 0_u64, 0);
        for record in &open {
            settled += record.settles.len();
            for send in &record.sends {
                let log = logs.get(&send.topic);
                let log = log.and_then(|logs| logs.get(send.partition as usize));
                let Some(log) = log else { continue };
                sent += u64::from(send.count);
                for offset in send.offset..send.offset.saturating_add(send.count.into()) {
                    missing += u64::from(!ranges::contains(&log.readable, offset));
                }
            }
        }
        if settled > 0 || missing > 0 {
            self.done.notes.push(format!(
                "{} transactions had happened, and may not have been applied everywhere: {settled} \
                 messages that they settled come again unless that was done, and {missing} of the \
                 {sent} that they sent are not in the copy",
                open.len()
            ));
        }
        Ok(())
    }
}
