//! What a send does in a topic with limits: takes room, makes some, waits for it, or is refused.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::in_force::InForce;
use super::super::topic::TopicInner;
use super::count::Grant;
use super::groups::FlowGroups;
use super::own::Own;
use super::room::{Limits, Pass, Want, Words};
use super::{pace, waiting};
use crate::error::{Error, ErrorKind, Result};
use crate::log::{Counted, Draft, Gate};
use crate::options::OnFull;
use crate::shm::{EventCount, OwnerLock};

/// At which those who wait look for the first that died, or that the store was closed.
const BEAT: Duration = Duration::from_millis(20);

/// How long a send waits for room.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in super::super) enum Patience {
    /// Not at all.
    Never,
    /// As the topic is configured.
    Stored,
    /// For so long.
    For(Duration),
}

/// Asked at each beat of a wait, without any lock: whether to go on.
pub(in super::super) type Beat<'a> = &'a dyn Fn() -> bool;

/// How a call comes by the gate, whatever it is to send.
pub(in super::super) struct Way<'a> {
    pub(in super::super) topic: &'a Arc<TopicInner>,
    pub(in super::super) groups: &'a FlowGroups,
    pub(in super::super) patience: Patience,
    pub(in super::super) beat: Option<Beat<'a>>,
    /// What is settled with what is sent, sorted.
    pub(in super::super) own: &'a [Own],
}

impl<'a> Way<'a> {
    pub(in super::super) fn through(&self, drafts: &[Draft<'_>]) -> Through<'a> {
        Through {
            topic: self.topic,
            groups: self.groups,
            want: Want::of(drafts),
            patience: self.patience,
            beat: self.beat,
            own: self.own,
            lent: Cell::new(None),
        }
    }

    /// Whether who waits is to go on waiting.
    pub(in super::super) fn goes_on(&self) -> bool {
        self.beat.is_none_or(|beat| beat())
    }

    /// The gate, where the topic has a limit.
    pub(in super::super) fn gate(&self, drafts: &[Draft<'_>]) -> Option<Through<'a>> {
        let limited = self.topic.settings.is_limited();
        limited.then(|| self.through(drafts))
    }
}

/// The gate of a topic that had a limit when the send began.
#[derive(Clone)]
pub(in super::super) struct Through<'a> {
    pub(in super::super) topic: &'a Arc<TopicInner>,
    pub(in super::super) groups: &'a FlowGroups,
    pub(in super::super) want: Want,
    pub(in super::super) patience: Patience,
    pub(in super::super) beat: Option<Beat<'a>>,
    own: &'a [Own],
    /// What is lent for that, for as long as there is no news but these.
    lent: Cell<Option<(Want, u64)>>,
}

impl<'a> Gate for Through<'a> {
    type Pass = Pass<'a>;

    #[inline]
    fn enter(&self) -> Result<Pass<'a>> {
        match self.try_pass(None, false)? {
            Some(pass) => Ok(pass),
            None => self.wait()?.ok_or_else(would_wait),
        }
    }

    fn enter_since(&self, began: Instant) -> Result<Pass<'a>> {
        match self.try_pass(None, false)? {
            Some(pass) => Ok(pass),
            None => self.wait_since(began)?.ok_or_else(would_wait),
        }
    }

    #[inline]
    fn leave(&self, pass: Pass<'a>, done: bool) {
        pass.end(done);
    }
}

/// Nobody waits who said that he would not.
#[cold]
fn would_wait() -> Error {
    Error::new(ErrorKind::Timeout, "there is no room; nothing was sent")
}

/// Gives the place up, whichever way the wait ends.
struct Ticket<'a> {
    topic: &'a TopicInner,
    number: Option<u64>,
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        let (topic, words) = (self.topic, self.topic.words());
        let (Some(ticket), Some(lock)) = (self.number, words.lock()) else {
            return;
        };
        // Where the lock cannot be had, those behind pass by after a while.
        if let Ok(held) = topic.hold_flow(lock)
            && topic.store.env.check_fence().is_ok()
        {
            waiting::leave(words, ticket);
            drop(held);
            topic.tell_room();
        }
    }
}

impl<'a> Through<'a> {
    /// Takes room that was counted, if it is this one's turn, or if nobody waits in this topic.
    #[inline]
    pub(in super::super) fn try_pass(
        &self,
        ticket: Option<u64>,
        alone: bool,
    ) -> Result<Option<Pass<'a>>> {
        let (env, words) = (&*self.topic.store.env, self.topic.words());
        let Some(lock) = words.lock() else {
            return Ok(Some(Pass::nothing()));
        };
        let held = match self.patience {
            Patience::Never => match OwnerLock::try_hold(lock, env.me) {
                Some(held) => held,
                None => return Ok(None),
            },
            _ => self.topic.hold_flow(lock)?,
        };
        env.check_fence()?;
        let changed = Words::changed_of(&self.topic.block.head);
        let turn = alone || waiting::may_go(words, ticket);
        let lent = (self.lent.get()).filter(|(_, news)| *news == words.news());
        let less = lent.map(|(lent, _)| self.want.less(lent));
        let wants = [Some(self.want), less].into_iter().flatten();
        let taken = |want: &Want| turn && words.take(*want, changed);
        let Some(taken) = wants.into_iter().find(taken) else {
            return Ok(None);
        };
        if let Some(ticket) = ticket {
            waiting::leave(words, ticket);
        }
        Ok(Some(Pass::taken(held, words, taken)))
    }

    /// Counts, and does what the topic is configured to do until there is room. `None` where that
    /// would be to wait, and nobody is to.
    #[cold]
    pub(in super::super) fn wait(&self) -> Result<Option<Pass<'a>>> {
        self.wait_since(Instant::now())
    }

    /// As `enter`, but without counting, or waiting, even for the lock: for who has passes of other
    /// topics, whose senders wait meanwhile.
    pub(in super::super) fn enter_beside(&self) -> Result<Option<Pass<'a>>> {
        let patience = Patience::Never;
        let gate = Self {
            patience,
            ..self.clone()
        };
        gate.try_pass(None, self.topic.known_limits().alone())
    }

    #[cold]
    fn wait_since(&self, began: Instant) -> Result<Option<Pass<'a>>> {
        let (topic, words) = (self.topic, self.topic.words());
        let mut ticket = Ticket {
            topic,
            number: None,
        };
        let (mut waits, mut woken) = (false, true);
        loop {
            // Announced before anything is looked at: what is settled from here on wakes.
            let token = (words.event())
                .filter(|_| waits)
                .map(|event| (event, EventCount::prepare(event)));
            topic.store.check_send()?;
            topic.follow()?;
            let config = topic.in_force()?.1;
            if !config.is_limited() {
                return Ok(Some(Pass::nothing()));
            }
            let limits = Limits::of(&config);
            self.check_possible(&limits)?;
            let mut bound = BEAT;
            // Those who still wait where nobody does any more are about to be told.
            let alone = limits.alone();
            if alone || waiting::may_go(words, ticket.number) {
                // What another one left of the room that he was given.
                if waits && let Some(pass) = self.try_pass(ticket.number, alone)? {
                    ticket.number = None;
                    return Ok(Some(pass));
                }
                let grant = topic.count_room(self.groups, &limits, self.want, self.own)?;
                if let Grant::Lent(lent, news) = grant {
                    self.lent.set(Some((lent, news)));
                }
                match grant {
                    Grant::Given | Grant::Lent(..) => match self.try_pass(ticket.number, alone)? {
                        Some(pass) => {
                            ticket.number = None;
                            return Ok(Some(pass));
                        }
                        // Another one was quicker.
                        None => bound = Duration::ZERO,
                    },
                    Grant::Paced(until) => {
                        let left = until.saturating_sub(topic.store.env.clock.boot_ns());
                        bound = bound.min(Duration::from_nanos(left));
                    }
                    Grant::Short(used, _) => match limits.on_full {
                        OnFull::Reject | OnFull::DropOldest => return Err(self.full(&limits, used)),
                        OnFull::Block | OnFull::Throttle => {}
                    },
                }
            } else if !woken {
                self.tend_first(&limits)?;
            }
            if self.patience == Patience::Never {
                return Ok(None);
            }
            let left = self.left(&limits, began)?;
            if ticket
                .number
                .is_none_or(|number| !waiting::waits(words, number))
            {
                ticket.number = self.join()?;
            }
            woken = match token {
                Some((event, token)) if !bound.is_zero() => {
                    EventCount::wait(event, token, left.map_or(bound, |left| left.min(bound)))
                }
                _ => true,
            };
            waits = true;
        }
    }

    /// How long may be waited still, where that is bounded; the error of who has waited too long.
    fn left(&self, limits: &Limits, began: Instant) -> Result<Option<Duration>> {
        let timeout = match self.patience {
            Patience::For(time) => Some(time),
            _ => limits.timeout,
        };
        let left = timeout.map(|time| time.saturating_sub(began.elapsed()));
        if left.is_some_and(|left| left.is_zero()) || self.beat.is_some_and(|go_on| !go_on()) {
            return Err(self.late(limits, began));
        }
        Ok(left)
    }

    /// The error of who has waited too long, although he may have been given room now and then.
    pub(in super::super) fn check_time(&self, began: Instant) -> Result<()> {
        self.left(&self.topic.known_limits(), began).map(drop)
    }

    /// A place in the order of those who wait, if there is one.
    fn join(&self) -> Result<Option<u64>> {
        let (env, words) = (&*self.topic.store.env, self.topic.words());
        let Some(lock) = words.lock() else {
            return Ok(None);
        };
        let _held = self.topic.hold_flow(lock)?;
        env.check_fence()?;
        Ok(waiting::join(words, env.me, self.want))
    }

    /// Looks after the first of those who wait, who may be gone, or stopped.
    fn tend_first(&self, limits: &Limits) -> Result<()> {
        let (env, words) = (&*self.topic.store.env, self.topic.words());
        let (Some(lock), Some(first)) = (words.lock(), waiting::first(words)) else {
            return Ok(());
        };
        let want = waiting::wanted(words, first);
        // What will never have room any more, since the limit was lowered, is told so when its turn
        // comes; one that is stopped then is passed as any other (P17).
        let room = !limits.hold(want) || {
            let given = self.topic.count_room(self.groups, limits, want, &[])? == Grant::Given;
            let now = env.clock.boot_ns();
            given && pace::until(words, now) <= now
        };
        let held = self.topic.hold_flow(lock)?;
        env.check_fence()?;
        let who = (env.me, &*env.live);
        let passed = waiting::tend_first(words, first, who, room, env.clock.boot_ms());
        drop(held);
        if passed {
            self.topic.tell_room();
        }
        Ok(())
    }

    /// What is larger than the limit itself never has room.
    fn check_possible(&self, limits: &Limits) -> Result<()> {
        let Want { messages, bytes } = self.want;
        let name = &self.topic.name;
        let (what, found, name_of, limit) = if messages > limits.messages {
            ("messages", messages, "max_messages", limits.messages)
        } else if bytes > limits.bytes {
            ("bytes in the log", bytes, "max_bytes", limits.bytes)
        } else {
            return Ok(());
        };
        Err(Error::new(
            ErrorKind::TooLarge,
            format!(
                "{found} {what} at once for topic {name:?}; expected at most its {name_of}, \
                 {limit}: send less at once, or raise it with configure; nothing was sent"
            ),
        ))
    }

    #[cold]
    fn full(&self, limits: &Limits, used: Counted) -> Error {
        let mut why = String::new();
        if limits.on_full == OnFull::DropOldest {
            why.push_str(
                ", and there is nothing that can be dropped: only what a group has not settled \
                 can be, and not what is a dead letter or becomes one",
            );
        }
        let message = format!(
            "topic {:?} is full: {}{why}; let consumers settle some, or raise the limit with \
             configure; nothing was sent",
            self.topic.name,
            self.state(limits, used)
        );
        Error::new(ErrorKind::Full, message)
    }

    fn state(&self, limits: &Limits, used: Counted) -> String {
        let mut parts = Vec::new();
        if limits.limits_messages() {
            let (used, most) = (used.messages, limits.messages);
            parts.push(format!("{used} of max_messages {most} are not settled"));
        }
        if limits.limits_bytes() {
            let (used, most) = (used.bytes, limits.bytes);
            parts.push(format!("{used} bytes of max_bytes {most} are not settled"));
        }
        let Want { messages, bytes } = self.want;
        format!(
            "{}, and {messages} of {bytes} bytes were to be sent",
            parts.join(", ")
        )
    }

    #[cold]
    fn late(&self, limits: &Limits, began: Instant) -> Error {
        let words = self.topic.words();
        let used = words.used();
        let message = format!(
            "topic {:?} had no room within {:?}: {}; nothing was sent",
            self.topic.name,
            began.elapsed(),
            self.state(limits, used)
        );
        Error::new(ErrorKind::Timeout, message)
    }
}
