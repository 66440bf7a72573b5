//! Why a message failed for the last time, in words.
//!
//! Who has it fail says why, and remembers that until the letter is written. Where another process
//! writes it, as after one that died, the message's entry says in which way it failed, and the
//! table of consumers who had it: a slot is not given away again soon (P10, P12).

use super::consumer_table::ConsumerEntry;
use super::group::{GroupInner, Reason};
use crate::group::{Cause, Dying};

/// Name and process, or 0 where that is not known.
type Who = (String, u32);

const TOO_LATE: &str = "it expired before anybody was handed it";
const TAKEN: &str = "the topic's retention was about to take it, and the group had not settled it";

fn named(who: Option<&Who>) -> String {
    match who {
        Some((name, 0)) => format!("consumer {name:?}"),
        Some((name, process)) => format!("consumer {name:?} (process {process})"),
        None => "a consumer whose name is not known any more".to_owned(),
    }
}

/// Of a process that is gone nobody but its parent learns how it ended.
fn died(who: Option<&Who>) -> String {
    format!(
        "{} died while it had the message: its process was killed, crashed, or ended without \
         closing the store",
        named(who)
    )
}

fn ran_out(who: Option<&Who>) -> String {
    format!("its lease ran out in the hands of {}", named(who))
}

impl GroupInner {
    /// What can be said of a message by whoever moves it to the dead letters.
    pub(super) fn reason_of(&self, dead: &Dying) -> Reason {
        let control = &self.topic.store.control;
        let who = control.held(dead.consumer, self.front(), dead.since_ms);
        let hands = named(who.as_ref());
        let error = match dead.cause {
            Cause::Died => died(who.as_ref()),
            Cause::LeaseEnded => ran_out(who.as_ref()),
            Cause::Nack => format!(
                "it failed in the hands of {hands}, whose process did not come to write down why"
            ),
            Cause::GivenUp => format!(
                "it was given up, last in the hands of {hands}, by a process that did not come to \
                 write down why"
            ),
            Cause::TooLate => return (TOO_LATE.to_owned(), String::new()),
            Cause::Retention => return (TAKEN.to_owned(), String::new()),
            // The slots are those of others by now.
            Cause::AllEnded => {
                let error = "all processes of the store ended while one of them had the message: \
                             they were killed, crashed, or ended without closing the store";
                return (error.to_owned(), String::new());
            }
            Cause::HostRestarted => {
                let error = "the host was started anew while a consumer had the message";
                return (error.to_owned(), String::new());
            }
            Cause::Unknown => "unknown: the process that knew the reason ended".to_owned(),
        };
        (error, who.map(|(name, _)| name).unwrap_or_default())
    }

    /// The process of a consumer died with its last try of a message.
    pub(super) fn remember_death(&self, partition: u32, offset: u64, gone: &ConsumerEntry) {
        let control = &self.topic.store.control;
        let held = control.held(gone.slot.0, self.front(), u64::MAX);
        let process = held.filter(|(name, _)| *name == gone.name);
        let process = process.map_or(0, |(_, process)| process);
        let error = died(Some(&(gone.name.clone(), process)));
        self.remember_reason(partition, offset, (error, gone.name.clone()));
    }

    /// A message that was too late for anybody.
    pub(super) fn remember_late(&self, partition: u32, offset: u64) {
        let reason = (TOO_LATE.to_owned(), String::new());
        self.remember_reason(partition, offset, reason);
    }

    /// A message that retention was about to take.
    pub(super) fn remember_taken(&self, partition: u32, offset: u64) {
        let reason = (TAKEN.to_owned(), String::new());
        self.remember_reason(partition, offset, reason);
    }

    /// Leases that ran out for the last time: offsets and slots of their consumers.
    #[cold]
    pub(super) fn remember_expired(&self, partition: u32, dying: &[(u64, u16)]) {
        let (control, now) = (
            &self.topic.store.control,
            self.topic.store.env.clock.boot_ms(),
        );
        for (offset, consumer) in dying {
            let who = control.held(*consumer, self.front(), now);
            let error = ran_out(who.as_ref());
            let name = who.map(|(name, _)| name).unwrap_or_default();
            self.remember_reason(partition, *offset, (error, name));
        }
    }
}
