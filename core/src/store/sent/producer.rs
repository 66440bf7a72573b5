//! Named producers: a repeated sequence returns the first send's id, and appends nothing (P8).

use std::cell::RefCell;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::ground::Ground;
use super::ledger::Ledger;
use super::ring::{PLACES, Ring, TendedRing};
use super::room::Room;
use super::turn::{Turn, Turns};
use crate::error::{Error, ErrorKind, Result};
use crate::format::control::sent as at;
use crate::format::ledger::{Entry, Slot};
use crate::format::names;
use crate::format::origin::{Origin, producer_id};
use crate::options::Durability;
use crate::store::Handle;
use crate::store::flow::{Beat, FlowGroups, Patience, Way};
use crate::store::inner::locked;
use crate::store::message::{Message, MessageId};
use crate::store::send::SYNC_TIMEOUT;
use crate::store::topic::{Topic, TopicInner};

/// A named, idempotent producer of a topic. Usable from several threads at once, which take turns.
///
/// Each message has a sequence: a number above the last one, from 1; gaps are allowed. Sending one
/// again, as after an error, a timeout or a kill, returns the first send's id and appends nothing.
/// So does whoever opens the name next, also in another process or after a restart: he asks for
/// [`Producer::last_sequence`] and goes on behind it. From then on older handles of the name get
/// [`ErrorKind::Fenced`].
pub struct Producer {
    topic: Arc<TopicInner>,
    /// What it counts a limited topic by.
    flow: Arc<FlowGroups>,
    ring: Arc<Ring>,
    name: String,
    epoch: u64,
    /// Held by the thread whose turn it is: its sequence is in the checksum of its record.
    turns: Turns,
    _handle: Option<Handle>,
}

/// What a look for a sequence came to.
enum Look {
    /// It is the next one.
    New,
    /// It was sent.
    Sent(u64, Entry),
}

impl Topic {
    /// Opens the producer of this name, creating it where there is none. Handles that were opened
    /// before, in any process, are fenced from then on.
    ///
    /// ```
    /// # use libqueue::{Message, Store, StoreOptions, TopicOptions};
    /// # let folder = tempfile::TempDir::new().unwrap();
    /// # let store = Store::open(folder.path(), StoreOptions::default())?;
    /// let orders = store.topic("orders", &TopicOptions::default())?;
    /// let till = orders.producer("till-3")?;
    /// let first = till.send(&Message::new(b"paid"), Some(1))?;
    /// // The answer was lost, say; so it is sent again.
    /// assert_eq!(till.send(&Message::new(b"paid"), Some(1))?, first);
    /// assert_eq!(till.last_sequence()?, 1);
    /// # Ok::<(), libqueue::Error>(())
    /// ```
    pub fn producer(&self, name: &str) -> Result<Producer> {
        let topic = &self.inner;
        topic.store.check_send()?;
        topic.follow()?;
        names::check("producer", name)?;
        let ring = topic.ring(name)?;
        let epoch = ring.open_anew()?;
        let handle = format!("producer {name:?} of topic {:?}", topic.name);
        Ok(Producer {
            topic: topic.clone(),
            flow: self.flow.clone(),
            ring,
            name: name.to_owned(),
            epoch,
            turns: Turns::default(),
            _handle: Some(topic.store.register_handle(handle)),
        })
    }
}

impl TopicInner {
    fn ring(self: &Arc<Self>, name: &str) -> Result<Arc<Ring>> {
        let mut known = locked(&self.rings);
        if let Some(ring) = known.get(name).and_then(Weak::upgrade) {
            return Ok(ring);
        }
        let ring = self.ring_of(name)?;
        known.retain(|_, of| of.strong_count() > 0);
        known.insert(name.to_owned(), Arc::downgrade(&ring));
        let part = TendedRing::new(self, &ring);
        self.store.tend(ring.ground.folder.clone(), Arc::new(part));
        Ok(ring)
    }

    pub(super) fn ring_of(&self, name: &str) -> Result<Arc<Ring>> {
        let id = producer_id(self.uid, name);
        let block = self.store.control.producer_block(self.uid, id[0])?;
        let folder = self.folder.join(names::PRODUCERS).join(name);
        Ok(Arc::new(Ring::new(
            Ground {
                env: self.store.env.clone(),
                topic: self.uid,
                what: format!("producer {name:?} of topic {:?}", self.name),
                partitions: self.partitions.clone(),
                folder,
                head: block.head,
                files: self.files.clone(),
            },
            id,
        )))
    }
}

impl Producer {
    /// The producer's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same handle, but one that does not keep the store from being closed: once it is, calls
    /// error with [`ErrorKind::Closed`]. For languages that end handles when they like.
    #[must_use]
    pub fn uncounted(mut self) -> Self {
        self._handle = None;
        self
    }

    /// Sends one message; `None` counts on from the last sequence. As durable as [`Topic::send`].
    ///
    /// [`ErrorKind::Fenced`] where the name was opened again: nothing was appended.
    /// [`ErrorKind::InvalidArgument`] for a sequence that is older than the last 1,000, or was
    /// passed over, and for a message with a dedup id.
    pub fn send(&self, message: &Message<'_>, sequence: Option<u64>) -> Result<MessageId> {
        self.send_by(message, sequence, Patience::Stored, None)
    }

    /// As `send`, waiting for room in a topic with a limit, and for other threads that do by this
    /// handle, no longer than this: zero waits not at all.
    ///
    /// ```
    /// # use libqueue::{ErrorKind, Message, OnFull, Store, StoreOptions, TopicOptions};
    /// # use std::time::Duration;
    /// # let folder = tempfile::TempDir::new().unwrap();
    /// # let store = Store::open(folder.path(), StoreOptions::default())?;
    /// let jobs = store.topic("jobs", &TopicOptions {
    ///     max_messages: Some(1),
    ///     on_full: Some(OnFull::Block),
    ///     ..TopicOptions::default()
    /// })?;
    /// let till = jobs.producer("till-3")?;
    /// till.send(&Message::new(b"one"), Some(1))?;
    /// let late = till.send_within(&Message::new(b"two"), Some(2), Duration::from_millis(20));
    /// assert_eq!(late.unwrap_err().kind(), ErrorKind::Timeout);
    /// assert_eq!(till.last_sequence()?, 1);
    /// # Ok::<(), libqueue::Error>(())
    /// ```
    pub fn send_within(
        &self,
        message: &Message<'_>,
        sequence: Option<u64>,
        timeout: Duration,
    ) -> Result<MessageId> {
        self.send_by(message, sequence, Patience::For(timeout), None)
    }

    /// As `send`, waiting for room no longer than `timeout`, or where there is none as the topic is
    /// configured, and for as long as `go_on` says so, as [`Topic::send_while`] does.
    pub fn send_while(
        &self,
        message: &Message<'_>,
        sequence: Option<u64>,
        timeout: Option<Duration>,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<MessageId> {
        let go_on = RefCell::new(go_on);
        let beat = || (go_on.borrow_mut())();
        let patience = timeout.map_or(Patience::Stored, Patience::For);
        self.send_by(message, sequence, patience, Some(&beat))
    }

    fn send_by(
        &self,
        message: &Message<'_>,
        sequence: Option<u64>,
        patience: Patience,
        beat: Option<Beat<'_>>,
    ) -> Result<MessageId> {
        let topic = &*self.topic;
        topic.store.check_send()?;
        topic.follow()?;
        if message.dedup_id.is_some() {
            return Err(self.invalid("a message with a dedup id; its sequence does the same"));
        }
        if sequence == Some(0) {
            return Err(self.invalid("sequence 0; the first one is 1"));
        }
        let number = topic.choose(message)?;
        let voids = topic.partitions[number as usize].voids();
        let way = Way {
            topic: &self.topic,
            groups: &self.flow,
            patience,
            beat,
            own: &[],
        };
        let mut room = Room::default();
        let turn = self.turn(message, &way, &mut room)?;
        let id = loop {
            let tried = self.try_once(message, sequence, number, (&way, &mut room))?;
            if let Some((part, offset)) = tried {
                break topic.id(part, offset);
            }
        };
        room.give_back();
        // Others go on while this one waits for the disk.
        drop(turn);
        if topic.durability() == Durability::Sync {
            let other = &topic.partitions[id.partition as usize];
            let since = if id.partition == number {
                voids
            } else {
                other.voids()
            };
            other.ensure_durable_since(id.offset + 1, since, SYNC_TIMEOUT)?;
        }
        Ok(id)
    }

    /// The turn of this thread. Who has it may wait for room, and those behind him wait for that as
    /// well: no longer than each of them would (P14).
    fn turn<'a>(
        &'a self,
        message: &Message<'_>,
        way: &Way<'a>,
        room: &mut Room<'a>,
    ) -> Result<Turn<'a>> {
        if !self.topic.settings.is_limited() {
            return self.turns.take(|| Ok(()));
        }
        let since = room.since();
        let (mut block, mut extension) = (Vec::new(), Vec::new());
        let draft = (self.topic).draft_from(message, &mut block, &mut extension, None)?;
        let drafts = [draft];
        let gate = way.through(&drafts);
        self.turns.take(|| gate.check_time(since))
    }

    /// Where the message is in the log; `None` where all is to be looked at anew.
    fn try_once<'a>(
        &'a self,
        message: &Message<'_>,
        wanted: Option<u64>,
        number: u32,
        (way, room): (&Way<'a>, &mut Room<'a>),
    ) -> Result<Option<(u32, u64)>> {
        let (topic, ring) = (&*self.topic, &*self.ring);
        let head = &ring.ground.head;
        let next = |last: u64| {
            let full = || self.invalid("all sequences are used");
            last.checked_add(1).ok_or_else(full)
        };
        let sequence = match wanted {
            Some(sequence) => sequence,
            None => next(head.load(at::SEQUENCE, Ordering::Acquire))?,
        };
        let origin = Origin::Producer {
            id: ring.id,
            sequence,
        };
        let (mut block, mut extension) = (Vec::new(), Vec::with_capacity(32));
        let draft = topic.draft_from(message, &mut block, &mut extension, Some(origin))?;
        let (held, ledger) = ring.enter()?;
        self.check_fenced()?;
        if wanted.is_none() && next(head.get(at::SEQUENCE))? != sequence {
            return Ok(None);
        }
        let mut again = None;
        match self.look(&ledger, sequence)? {
            Some(Look::New) => {}
            Some(Look::Sent(place, entry)) => {
                // A failed sync may have taken it back; it was said not to be in the log (P5).
                if !ring.ground.has_voids() || ring.stands(&entry)? {
                    return Ok(Some((entry.partition, entry.offset)));
                }
                again = Some(place);
            }
            None => {
                drop(held);
                room.give_back();
                ring.rebuild(ring.ground.ready())?;
                return Ok(None);
            }
        }
        let log = &topic.partitions[number as usize];
        if let Some(gate) = way.gate(&[draft]).filter(|_| !room.is_taken()) {
            drop(held);
            // Nobody else sends by this name.
            room.take(&gate, &|| false)?;
            return Ok(None);
        }
        ring.ground.intend(number);
        room.is_used(true);
        // A death, or an error, from here on: the next holder looks what became of it.
        let Some(offset) = log.append_if_room(&[draft], room.was_made())? else {
            ring.ground.intend_nothing();
            drop(held);
            room.is_used(false);
            room.give_back();
            log.make_room(&[draft])?;
            room.is_made();
            return Ok(None);
        };
        let entry = ring.entry(sequence, number, offset);
        match again {
            Some(place) => ledger.put(place, &entry),
            None => ring.put(&ledger, &entry),
        }
        ring.ground.intend_nothing();
        Ok(Some((number, offset)))
    }

    /// With the lock held. `None` where the ring is damaged.
    fn look(&self, ring: &Ledger, sequence: u64) -> Result<Option<Look>> {
        let last = self.ring.ground.head.get(at::SEQUENCE);
        if sequence > last {
            return Ok(Some(Look::New));
        }
        let (mut oldest, mut count) = (u64::MAX, 0);
        for place in 0..PLACES {
            match ring.get(place) {
                Slot::Taken(entry) if entry.key[0] == sequence => {
                    return Ok(Some(Look::Sent(place, entry)));
                }
                Slot::Taken(entry) => {
                    oldest = oldest.min(entry.key[0]);
                    count += 1;
                }
                Slot::Empty => {}
                Slot::Bad => return Ok(None),
            }
        }
        let what = if sequence < oldest && count >= super::ring::KEPT {
            format!(
                "sequence {sequence}, which is older than the last 1,000; whether it was sent is \
                 not known any more"
            )
        } else {
            format!("sequence {sequence}, which was passed over; expected one above {last}")
        };
        Err(self.invalid(&what))
    }

    /// The highest sequence that was sent, by any opening of the name; 0 before the first. What was
    /// sent under a call that was killed or timed out is in it, or never will be.
    pub fn last_sequence(&self) -> Result<u64> {
        let topic = &*self.topic;
        topic.store.check_send()?;
        topic.follow()?;
        let (_held, ledger) = self.ring.enter()?;
        let ground = &self.ring.ground;
        if !ground.has_voids() {
            return Ok(ground.head.get(at::SEQUENCE));
        }
        let (mut entries, _) = ledger.all();
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.key[0]));
        for entry in entries {
            if self.ring.stands(&entry)? {
                return Ok(entry.key[0]);
            }
        }
        Ok(0)
    }

    /// With the lock held: from then on nobody opens the name before this one is done.
    fn check_fenced(&self) -> Result<()> {
        if self.ring.ground.head.get(at::EPOCH) == self.epoch {
            return Ok(());
        }
        let message = format!(
            "{} was opened again, which fences this older handle; nothing was sent. Use the newer \
             handle, or open the name anew and ask for last_sequence",
            self.ring.ground.what
        );
        Err(Error::new(ErrorKind::Fenced, message))
    }

    #[cold]
    fn invalid(&self, found: &str) -> Error {
        let message = format!("{} was given {found}", self.ring.ground.what);
        Error::new(ErrorKind::InvalidArgument, message)
    }
}

#[cfg(test)]
impl Producer {
    /// As one who was about to move its mark, and is late.
    pub(in crate::store) fn tend_late_in_test(&self) -> Result<()> {
        self.ring.move_mark(true)
    }

    pub(in crate::store) fn slow_lock_in_test(&self) -> &crate::shm::Word {
        self.ring.ground.head.word32(at::SLOW_LOCK)
    }
}

impl std::fmt::Debug for Producer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Producer")
            .field("name", &self.name)
            .finish()
    }
}
