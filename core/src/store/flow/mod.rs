//! What a topic with limits does about them (P14): how much is not settled, who may send, who
//! waits, who is slowed, and what makes room.
//!
//! - `room`: the words of a topic's block. Who sends holds one lock from taking room until the
//!   records are in the log, so that nothing is sent that nobody counted.
//! - `count`: how much is not settled by some group. Counted only when the room is used up. What
//!   is settled meanwhile errs to the safe side.
//! - `open`: which messages of the windows those are, followed from count to count.
//! - `admit`: what a send does, by what the topic is configured to do where there is no room.
//! - `waiting`: the order of those who wait, which the dead and the stopped do not hold up.
//! - `pace`: how fast senders may go between the marks of a topic that throttles.
//! - `oldest`: making room by settling what is oldest.
//! - `own`: what a transaction settles in the topic to which it sends.
//! - `pressure`: how full the topic is, read without a lock.

mod admit;
mod count;
mod groups;
mod oldest;
mod open;
#[cfg(test)]
mod open_tests;
mod own;
mod pace;
mod places;
mod pressure;
mod room;
mod waiting;

pub(super) use admit::{Beat, Patience, Through, Way};
pub(super) use groups::FlowGroups;
pub(super) use own::Own;
pub(super) use room::Pass;

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::topic::TopicInner;
use crate::error::{ErrorKind, Result};
use crate::format::control::flow as at;
use crate::log::{Draft, Gate, Room};
use crate::shm::{Acquired, EventCount, Held, OwnerLock, Word};
use room::{Want, Words};

/// Long enough to see that the one who has a lock died.
const GLANCE: Duration = Duration::from_millis(20);

impl TopicInner {
    /// How many wait for room to send, as far as they have a place in the order of those who do.
    pub(super) fn waiting_senders(&self) -> u64 {
        waiting::count(self.words(), &*self.store.env.live)
    }

    #[inline]
    fn words(&self) -> Words<'_> {
        Words(self.block.flow.as_ref())
    }

    /// The lock of those who send. From one that died it is had once all is there that he had sent:
    /// of a transaction that has happened he may not have published everything, and what is not
    /// published is not counted (P8, P14).
    fn hold_flow<'a>(&self, lock: &'a Word) -> Result<Held<'a>> {
        let env = &*self.store.env;
        let (live, slept) = (&*env.live, |time| self.partitions[0].count_wait(time));
        let (held, how) = OwnerLock::hold_told(lock, env.me, live, env.lock_timeout, &slept)?;
        if how != Acquired::Clean
            && let Err(error) = self.find_sent()
        {
            held.abandon();
            return Err(error);
        }
        Ok(held)
    }

    /// Whoever gets a log's lock from one that died publishes what that had sent. One that somebody
    /// who lives has was not left by that one.
    #[cold]
    fn find_sent(&self) -> Result<()> {
        for log in &self.partitions {
            match log.wait_for_lock(GLANCE) {
                Err(error) if error.kind() == ErrorKind::Stuck => {}
                done => done?,
            }
        }
        Ok(())
    }

    /// Whether settling is to be told to those who wait for room. One load.
    #[inline]
    pub(super) fn tells_settled(&self) -> bool {
        self.block
            .flow
            .as_ref()
            .is_some_and(|flow| flow.get(at::LIMITED) != 0)
    }

    /// Something was settled, or is about to be looked at again: wakes those who wait for room.
    pub(super) fn tell_room(&self) {
        if let Some(flow) = &self.block.flow {
            EventCount::notify(flow.word32(at::EVENT), u32::MAX);
        }
    }

    /// There may be more that is not settled, or less, without anybody having sent or settled:
    /// another group, or one less. The next sender counts.
    pub(super) fn count_anew(&self) {
        if let Some(flow) = &self.block.flow {
            flow.add(at::NEWS, 1);
        }
        self.tell_room();
    }

    /// After the settings were taken.
    pub(super) fn set_limited(&self, limited: bool) {
        if let Some(flow) = &self.block.flow
            && flow.get(at::LIMITED) != u64::from(limited)
        {
            flow.store(at::LIMITED, u64::from(limited), Ordering::Release);
        }
    }

    /// To one partition, whatever the limit is: dead letters are not refused for it (P12), and
    /// count.
    pub(super) fn append_unlimited(
        &self,
        partition: u32,
        drafts: &[Draft<'_>],
        room: Room,
    ) -> Result<u64> {
        let log = &self.partitions[partition as usize];
        if !self.tells_settled() {
            return log.append_in(drafts, room);
        }
        let gate = Unlimited {
            topic: self,
            want: Want::of(drafts),
        };
        log.append_through(drafts, room, &gate)
    }
}

/// Takes what room there is, and goes on where there is none.
struct Unlimited<'a> {
    topic: &'a TopicInner,
    want: Want,
}

impl<'a> Gate for Unlimited<'a> {
    type Pass = Pass<'a>;

    fn enter(&self) -> Result<Pass<'a>> {
        let words = self.topic.words();
        let Some(lock) = words.lock() else {
            return Ok(Pass::nothing());
        };
        let held = self.topic.hold_flow(lock)?;
        Ok(Pass::taken(
            held,
            words,
            words.take_what_there_is(self.want),
        ))
    }

    fn enter_since(&self, _: Instant) -> Result<Pass<'a>> {
        self.enter()
    }

    fn leave(&self, pass: Pass<'a>, done: bool) {
        pass.end(done);
    }
}

#[cfg(test)]
pub(super) mod testing {
    use super::oldest::BITE;
    use super::{Want, waiting};
    use crate::shm::Owner;
    use crate::store::Topic;

    /// A place in the order of those who wait, for one who does not go on, and wants to send so
    /// many messages.
    pub(in crate::store) fn join(topic: &Topic, owner: Owner, messages: u64) -> Option<u64> {
        let want = Want { messages, bytes: 1 };
        waiting::join(topic.inner.words(), owner, want)
    }

    /// Drops so many messages at most, as one that sends does with the lock of who counts held; how
    /// many are dropped at once.
    pub(in crate::store) fn drop_some(topic: &Topic, messages: u64) -> usize {
        let (inner, need) = (&topic.inner, Want { messages, bytes: 0 });
        let mut known = topic.flow.known.lock().expect("nobody panicked");
        known.follow(inner, inner.words().news()).expect("groups");
        inner.drop_oldest(&mut known, need, &[]).expect("dropped");
        BITE
    }

    pub(in crate::store) fn anybody_waits(topic: &Topic) -> bool {
        waiting::first(topic.inner.words()).is_some()
    }
}
