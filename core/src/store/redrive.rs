//! Redriving and purging dead letters.
//!
//! The letter is the copy: to redrive it is to have the group's lane hand it out, which is one word
//! of the lane's window (`lane.rs`, `group/letters.rs`). All letters up to the end that the topic
//! has when the call begins are taken into that window first; what comes later stays as it is. The
//! topic is on disk before any of them is redriven, the window before the call returns.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::dead_letter::{DeadLetterEntry, HeldMessage, held_attempts};
use super::group::{Group, GroupInner};
use super::message::MessageId;
use super::redriven::Done;
use super::source::letter_of;
use super::topic::TopicInner;
use crate::error::{Error, ErrorKind, Result};
use crate::format::control::block::MOVER_LOCK;
use crate::format::murmur2;
use crate::group::{Counter, Dead, Window};
use crate::shm::OwnerLock;

/// Letters that are looked at, taken in, or redriven with one lock.
pub(super) const SOME: usize = 256;
/// The beat at which a redrive that waits for its rate asks whether to go on.
const BEAT: Duration = Duration::from_millis(50);

/// Which letters are wanted.
pub type LetterFilter<'a> = &'a dyn Fn(&DeadLetterEntry) -> bool;
/// Told how many are done, and of how many; says whether to go on.
pub type RedriveProgress<'a> = &'a mut dyn FnMut(u64, u64) -> bool;

/// Which dead letters to redrive, and how.
#[derive(Default)]
pub struct RedriveOptions<'a> {
    /// These, by their ids as [`Group::dead_letters`] shows them. Default: all that are there when
    /// the call begins.
    pub ids: Option<&'a [MessageId]>,
    /// At most so many, the oldest first. Default: no limit.
    pub limit: Option<u64>,
    /// Those of them that this says yes to. Default: all.
    pub filter: Option<LetterFilter<'a>>,
    /// At most so many in a second, which is waited for between them. Default: no limit.
    pub rate: Option<f64>,
    /// Called after some were redriven, and every 50 ms while a rate is waited for; where it says
    /// no the call ends early, and returns how many were redriven.
    pub progress: Option<RedriveProgress<'a>>,
}

impl fmt::Debug for RedriveOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedriveOptions")
            .field("ids", &self.ids)
            .field("limit", &self.limit)
            .field("rate", &self.rate)
            .finish_non_exhaustive()
    }
}

impl RedriveOptions<'_> {
    fn check(&self) -> Result<()> {
        match self.rate {
            Some(rate) if !(rate.is_finite() && rate > 0.0) => {
                let message = format!("rate is {rate}; expected more than 0 messages in a second");
                Err(Error::new(ErrorKind::InvalidArgument, message))
            }
            _ => Ok(()),
        }
    }
}

/// What ends the holding of a message in its window, and what that counts as.
type EndHolding = (fn(&Window, u64, u32) -> bool, Counter);

/// A letter, and what the window has to know of it.
struct Chosen {
    offset: u64,
    attempts: u32,
    key: Option<u64>,
    /// The message, where it holds its key.
    held: Option<HeldMessage>,
}

impl Group {
    /// Hands dead letters of this group out again, to its consumers and to nobody else (P13),
    /// before what is fresh; how many. Each is the message that it was, with its own id, key,
    /// headers, payload and time, and `lq-cycles` beside its headers, unless it held its key
    /// ([`crate::OnDeadLetter::HoldKey`]): that one has its own headers alone. Its failures begin
    /// at 0, its attempts go on. It is no dead letter from here on, and becomes another one, with
    /// `lq-cycles` one higher, where it fails for the last time again. In the order of their keys
    /// redriven messages wait for each other; the key itself went on when the message died, where
    /// it was not held. Durable before the call returns.
    ///
    /// Ids that are no dead letter of the group now, as after an earlier redrive, are named by
    /// [`Error::refused_places`] of an error of kind [`ErrorKind::NotFound`]; the others are
    /// redriven all the same. A damaged letter is an error once, and redriven never (P3).
    /// [`ErrorKind::Full`] where the oldest letter that is dead or open is more than 1,048,576
    /// before the others.
    ///
    /// ```
    /// # use libqueue::{ConsumerOptions, Message, RedriveOptions, Store};
    /// # use libqueue::{StoreOptions, TopicOptions};
    /// # use std::time::Duration;
    /// # let folder = tempfile::TempDir::new().unwrap();
    /// # let store = Store::open(folder.path(), StoreOptions::default())?;
    /// # let orders = store.topic("orders", &TopicOptions::default())?;
    /// # let sent = orders.send(&Message::new(b"paid"))?;
    /// let billing = orders.consumer("billing", &ConsumerOptions::default())?;
    /// let batch = billing.receive(1, Some(Duration::ZERO))?;
    /// billing.dead_letter(&[batch[0].receipt()], "no such account")?;
    /// // Once the account is there:
    /// let group = orders.group("billing")?;
    /// assert_eq!(group.redrive(RedriveOptions::default())?, 1);
    /// let again = billing.receive(1, Some(Duration::ZERO))?;
    /// assert_eq!(again[0].id(), sent);
    /// billing.ack(&[again[0].receipt()])?;
    /// assert!(group.dead_letters(10)?.is_empty());
    /// # Ok::<(), libqueue::Error>(())
    /// ```
    pub fn redrive(&self, mut options: RedriveOptions<'_>) -> Result<u64> {
        options.check()?;
        let group = &*self.inner;
        group.topic.store.check_send()?;
        let ids = options.ids;
        let mut done = Done::default();
        if let Some((lane, target, end)) = self.letters(ids)? {
            let ended = lane
                .choose(end, ids, &mut done)
                .and_then(|dead| group.read(&lane, dead, &options, &mut done))
                .and_then(|chosen| {
                    group.redrive_all(&lane, &target, chosen, &mut options, &mut done)
                });
            // What was redriven is on disk, whatever came after it.
            lane.sync_window(0).and(ended)?;
        } else {
            done.refused = (0..ids.map_or(0, <[_]>::len)).collect();
        }
        done.told(group, ids, "redriven")
    }

    /// Gives up on dead letters for good; how many. They stay in their topic, for who reads that,
    /// and are none of this group's any more. Where a letter is damaged its message goes on holding
    /// the key that it held: [`Group::settle`] ends that, by the message's id. `ids` as
    /// [`Group::dead_letters`] shows them; `None` for all that are there when the call begins. What
    /// was redriven is left alone. Durable before the call returns; errors as [`Group::redrive`].
    pub fn purge_dead_letters(&self, ids: Option<&[MessageId]>) -> Result<u64> {
        let group = &*self.inner;
        group.topic.store.check_send()?;
        let mut done = Done::default();
        if let Some((lane, _, end)) = self.letters(ids)? {
            let ended = lane
                .choose(end, ids, &mut done)
                .and_then(|dead| group.purge_all(&lane, &dead, &mut done));
            lane.sync_window(0).and(ended)?;
        } else {
            done.refused = (0..ids.map_or(0, <[_]>::len)).collect();
        }
        done.told(group, ids, "purged")
    }

    /// The lane, its topic, and where that ends now, on disk; nothing where there are no letters,
    /// or none is asked for.
    #[allow(clippy::type_complexity)]
    fn letters(
        &self,
        ids: Option<&[MessageId]>,
    ) -> Result<Option<(Arc<GroupInner>, Arc<TopicInner>, u64)>> {
        let group = &*self.inner;
        let store = &group.topic.store;
        group.settings()?;
        let Some(name) = group.dead_letter_topic() else {
            return Ok(None);
        };
        let target = match store.topic_inner(&name) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let log = &target.partitions[0];
        let end = log.next_offset();
        if end == 0 || ids.is_some_and(<[_]>::is_empty) {
            return Ok(None);
        }
        // A letter that a power loss takes is not redriven: its message would be dying again.
        log.ensure_durable(end, store.env.lock_timeout)?;
        let lane = match group.lane()? {
            Some(lane) => lane,
            None => group.make_lane(&target)?,
        };
        Ok(Some((lane, target, end)))
    }
}

impl GroupInner {
    /// The dead letters below `end`, or those of them that the ids name; places of others are added
    /// to the refused.
    fn choose(&self, end: u64, ids: Option<&[MessageId]>, done: &mut Done) -> Result<Vec<Dead>> {
        self.take_in_letters(end, done)?;
        let mut dead = Vec::new();
        let mut from = 0;
        loop {
            let some = self.with_window(0, |window| window.dead(from, SOME))?;
            let Some(last) = some.last() else { break };
            from = last.offset + 1;
            dead.extend(some.iter().copied().filter(|one| one.offset < end));
        }
        let Some(ids) = ids else {
            return Ok(dead);
        };
        let there: HashSet<u64> = dead.iter().map(|one| one.offset).collect();
        let mut wanted = HashSet::new();
        for (place, id) in ids.iter().enumerate() {
            let known = id.topic_id == self.topic.uid && id.partition == 0;
            if !known || !there.contains(&id.offset) {
                done.refused.insert(place);
            } else {
                wanted.insert(id.offset);
            }
        }
        dead.retain(|one| wanted.contains(&one.offset));
        Ok(dead)
    }

    /// By the group: reads letters of its lane, and leaves those out that are not wanted. Damaged
    /// ones are settled, and so is what is left of those whose messages were settled while they
    /// held their keys.
    fn read(
        &self,
        lane: &GroupInner,
        dead: Vec<Dead>,
        options: &RedriveOptions<'_>,
        done: &mut Done,
    ) -> Result<Vec<Chosen>> {
        let log = &lane.topic.partitions[0];
        let limit = options.limit.unwrap_or(u64::MAX);
        let mut chosen = Vec::new();
        for one in dead {
            if chosen.len() as u64 >= limit {
                break;
            }
            let record = match log.record(one.offset, one.position) {
                Err(error) if error.kind() == ErrorKind::Damaged => {
                    let by = Counter::Damaged;
                    if lane.with_window(0, |window| window.end_dead(one.offset, by))? {
                        done.met(error);
                    }
                    continue;
                }
                found => found?,
            };
            let Some(letter) = DeadLetterEntry::of(lane, &lane.topic, &record) else {
                continue;
            };
            if !self.is_dead(letter.source_partition, letter.source_offset, &record)? {
                lane.with_window(0, |window| window.end_dead(one.offset, None))?;
                done.gone.insert(one.offset);
                continue;
            }
            if options.filter.is_some_and(|wanted| !wanted(&letter)) {
                continue;
            }
            chosen.push(Chosen {
                offset: one.offset,
                attempts: letter.attempts,
                key: record.key().map(murmur2::key_hash),
                held: held_attempts(&record)
                    .map(|died_in| (letter.source_partition, letter.source_offset, died_in)),
            });
        }
        Ok(chosen)
    }

    /// By the group: gives these up in its lane, and settles the messages that hold their keys.
    fn purge_all(&self, lane: &GroupInner, dead: &[Dead], done: &mut Done) -> Result<()> {
        for some in dead.chunks(SOME) {
            let (mut free, mut held) = (Vec::new(), Vec::new());
            for one in some {
                match lane.held_message(one) {
                    Ok(None) => free.push(*one),
                    Ok(Some(message)) => held.push((one.offset, message)),
                    // Which message it was of is not known any more; where that holds its key it
                    // goes on doing so, until it is settled by its id.
                    Err(error) if error.kind() == ErrorKind::Damaged => {
                        let by = Counter::Damaged;
                        if lane.with_window(0, |window| window.end_dead(one.offset, by))? {
                            done.met(error);
                        }
                    }
                    Err(error) => return Err(error),
                }
            }
            self.end_held(lane, &held, (Window::purge_held, Counter::Purged), done)?;
            lane.with_window(0, |window| {
                for one in &free {
                    done.count(one.offset, window.end_dead(one.offset, Counter::Purged));
                }
            })?;
        }
        Ok(())
    }

    /// By the group: ends the holding of messages, and then their letters, which these name. A
    /// death in between leaves a letter that is dead in the lane, and that nobody is shown, since
    /// its message holds no key.
    fn end_held(
        &self,
        lane: &GroupInner,
        letters: &[(u64, HeldMessage)],
        (end, by): EndHolding,
        done: &mut Done,
    ) -> Result<()> {
        let held: Vec<HeldMessage> = letters.iter().map(|(_, message)| *message).collect();
        let ended = self.end_holding(&held, end)?;
        lane.with_window(0, |window| {
            for ((letter, _), ended) in letters.iter().zip(&ended) {
                window.end_dead(*letter, ended.then_some(by));
                done.count(*letter, *ended);
            }
        })
    }

    /// By the lane: the message that holds its key for as long as this letter is dead.
    fn held_message(&self, letter: &Dead) -> Result<Option<HeldMessage>> {
        let log = &self.topic.partitions[0];
        let record = log.record(letter.offset, letter.position)?;
        let source = letter_of(self, &record);
        let held = held_attempts(&record).zip(source);
        Ok(held.map(|(attempts, source)| (source.partition, source.offset, attempts)))
    }

    /// By the group: has its lane hand these out, as fast as is wanted.
    fn redrive_all(
        &self,
        lane: &GroupInner,
        target: &TopicInner,
        chosen: Vec<Chosen>,
        options: &mut RedriveOptions<'_>,
        done: &mut Done,
    ) -> Result<()> {
        let of = chosen.len() as u64;
        // With a rate as many as fall due in a beat.
        let some = options.rate.map_or(SOME, |rate| {
            ((rate * BEAT.as_secs_f64()) as usize).clamp(1, SOME)
        });
        let (began, mut tried) = (Instant::now(), 0);
        for some in chosen.chunks(some) {
            let due = options.rate.map_or(Duration::ZERO, |rate| {
                Duration::try_from_secs_f64(tried as f64 / rate).unwrap_or(Duration::MAX)
            });
            while let Some(left) = due
                .checked_sub(began.elapsed())
                .filter(|left| !left.is_zero())
            {
                std::thread::sleep(left.min(BEAT));
                self.topic.store.check_open()?;
                if !goes_on(options, done.count, of) {
                    return Ok(());
                }
            }
            tried += some.len();
            self.redrive_some(lane, target, some, done)?;
            if !goes_on(options, done.count, of) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Under the mover's lock: while it is held the letters go nowhere else, and this lane is the
    /// one that consumers look into.
    fn redrive_some(
        &self,
        lane: &GroupInner,
        target: &TopicInner,
        some: &[Chosen],
        done: &mut Done,
    ) -> Result<()> {
        let before = done.count;
        let env = &*self.topic.store.env;
        let lock = self.block.head.word32(MOVER_LOCK);
        let (mover, _) = OwnerLock::hold(lock, env.me, &*env.live, env.lock_timeout)?;
        if self.dead_letter_topic().as_deref() != Some(&target.name) {
            return Err(self.letters_moved(target));
        }
        lane.with_policy(0, |window, policy| {
            for one in some.iter().filter(|one| one.held.is_none()) {
                let redriven = window.redrive(policy, one.offset, one.attempts, one.key);
                done.count(one.offset, redriven);
            }
        })?;
        let held = some.iter().filter_map(|one| Some((one.offset, one.held?)));
        let held: Vec<_> = held.collect();
        let ended: EndHolding = (Window::redrive_held, Counter::Redriven);
        self.end_held(lane, &held, ended, done)?;
        drop(mover);
        let redriven = done.count - before;
        if redriven > 0 {
            self.wake(u32::try_from(redriven).unwrap_or(u32::MAX));
        }
        Ok(())
    }
}

fn goes_on(options: &mut RedriveOptions<'_>, count: u64, of: u64) -> bool {
    let progress = options.progress.as_mut();
    progress.is_none_or(|progress| progress(count, of))
}
