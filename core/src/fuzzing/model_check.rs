//! The plain model of a topic and its groups: what may be handed out, and what a receipt is good
//! for.

use std::collections::BTreeMap;

use crate::store::{Delivery, MessageId, ReadMessage, Receipt};

/// Partition and offset.
pub(super) type Place = (u32, u64);

/// What was sent.
pub(super) struct Sent {
    pub(super) key: Option<Vec<u8>>,
    pub(super) payload: Vec<u8>,
    pub(super) header: Option<Vec<u8>>,
}

/// All messages of the topic.
pub(super) type Log = BTreeMap<Place, Sent>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Waiting,
    Leased,
    Acked,
    Dead,
}

/// A message as a group sees it.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) state: State,
    /// The attempt of the last hand-out.
    pub(super) attempt: u32,
    pub(super) failures: u32,
    /// It waits for a time that is now, or about now.
    delayed: bool,
    /// How often it was redriven.
    cycles: u32,
    /// Since it was redriven last it is handed out of its letter, in this turn.
    pub(super) turn: Option<u64>,
    /// What the receipt of its last hand-out names, if one is good.
    named: Option<MessageId>,
    /// And the epoch in it: of one from before a seek nothing is good.
    epoch: Option<u32>,
}

/// What a snapshot knows of each message.
pub(super) type Memory = BTreeMap<Place, Entry>;

impl Entry {
    pub(super) fn waiting(attempt: u32, failures: u32) -> Self {
        Self {
            state: State::Waiting,
            attempt,
            failures,
            delayed: false,
            cycles: 0,
            turn: None,
            named: None,
            epoch: None,
        }
    }

    pub(super) fn acked() -> Self {
        Self {
            state: State::Acked,
            ..Self::waiting(0, 0)
        }
    }
}

/// What is done with a receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settle {
    Ack,
    NackNow,
    Nack,
    Release,
    Extend,
    Give,
}

/// Which messages a group takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    All,
    WithHeader,
    LongKeys,
    NeitherKeyNorHeader,
}

impl Takes {
    /// As a filter's text.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::All => "{}",
            Self::WithHeader => r#"{"headers": {"h": true}}"#,
            Self::LongKeys => r#"{"key_prefix": "k"}"#,
            Self::NeitherKeyNorHeader => {
                r#"{"not": {"any": [{"key": true}, {"headers": {"h": true}}]}}"#
            }
        }
    }

    fn takes(self, sent: &Sent) -> bool {
        match self {
            Self::All => true,
            Self::WithHeader => sent.header.is_some(),
            Self::LongKeys => sent.key.as_ref().is_some_and(|key| !key.is_empty()),
            Self::NeitherKeyNorHeader => sent.key.is_none() && sent.header.is_none(),
        }
    }
}

/// A group.
pub(super) struct Model {
    pub(super) takes: Takes,
    pub(super) keyed: bool,
    pub(super) max_attempts: u32,
    /// Each message is settled before it is handed out (P7).
    once: bool,
    /// Dead letters hold their keys (P11).
    pub(super) hold: bool,
    /// How many were redriven.
    turns: u64,
    pub(super) entries: BTreeMap<Place, Entry>,
    /// The newest message without a key that was handed out for the first time, by partition.
    pub(super) newest: BTreeMap<u32, u64>,
}

/// A message is byte for byte what was sent (P3), and where it is handed out of its letter says how
/// often it had been one before (P12).
pub(super) fn judge(log: &Log, message: &ReadMessage, cycles: Option<u32>) {
    let place = (message.partition(), message.offset());
    let sent = log.get(&place).expect("a message that was sent");
    assert!(
        sent.payload == message.payload(),
        "other bytes at {place:?}"
    );
    assert_eq!(sent.key.as_deref(), message.key(), "key at {place:?}");
    let headers: Vec<_> = message.headers().collect();
    let header = sent.header.as_deref().map(|value| ("h", value));
    let cycles = cycles.map(|cycles| cycles.to_string());
    let cycles = cycles.iter().map(|text| ("lq-cycles", text.as_bytes()));
    assert_eq!(
        headers,
        header.into_iter().chain(cycles).collect::<Vec<_>>()
    );
}

impl Model {
    pub(super) fn new(keyed: bool, max_attempts: u32, takes: Takes) -> Self {
        let (entries, newest) = (BTreeMap::new(), BTreeMap::new());
        Self {
            takes,
            keyed,
            max_attempts,
            once: false,
            hold: false,
            turns: 0,
            entries,
            newest,
        }
    }

    /// The same, handing out at most once.
    pub(super) fn at_most_once(mut self) -> Self {
        self.once = true;
        self
    }

    /// The same, with dead letters that hold their keys.
    pub(super) fn holding(mut self, holds: bool) -> Self {
        self.hold = holds;
        self
    }

    /// Whether settling in this way has no sense here.
    pub(super) fn refuses(&self, how: Settle) -> bool {
        self.once && matches!(how, Settle::Release | Settle::Extend | Settle::Give)
    }

    pub(super) fn entry(&mut self, place: Place) -> &mut Entry {
        self.entries
            .entry(place)
            .or_insert_with(|| Entry::waiting(0, 0))
    }

    fn state(&self, place: &Place) -> State {
        self.entries.get(place).map_or(State::Waiting, |e| e.state)
    }

    pub(super) fn is_open(&self, place: &Place) -> bool {
        matches!(self.state(place), State::Waiting | State::Leased)
    }

    fn turn(&self, place: &Place) -> Option<u64> {
        self.entries.get(place)?.turn
    }

    /// Whether it is a dead letter that holds its key.
    pub(super) fn holds(&self, place: &Place) -> bool {
        self.hold && self.state(place) == State::Dead
    }

    /// An earlier message of its key that is not settled, or is dead and holds it (P11). What is
    /// handed out of letters has an order of its own, in which it was redriven.
    fn blocked_by(&self, log: &Log, place: Place) -> Option<Place> {
        let key = log.get(&place)?.key.as_ref().filter(|_| self.keyed)?;
        let same = |other: &Place| log.get(other).and_then(|sent| sent.key.as_ref()) == Some(key);
        if let Some(turn) = self.turn(&place) {
            let earlier = |other: &Place| self.turn(other).is_some_and(|other| other < turn);
            let mut all = self.entries.keys();
            let found = all.find(|other| self.is_open(other) && same(other) && earlier(other));
            return found.copied();
        }
        let earlier = log.range((place.0, 0)..place);
        earlier
            .filter(|(earlier, sent)| same(earlier) && self.takes.takes(sent))
            .map(|(earlier, _)| *earlier)
            .find(|earlier| {
                self.is_open(earlier) && self.turn(earlier).is_none() || self.holds(earlier)
            })
    }

    /// Whether it waits for a dead letter that holds its key.
    fn is_held_back(&self, log: &Log, place: Place) -> bool {
        let mut first = place;
        while let Some(earlier) = self.blocked_by(log, first) {
            first = earlier;
        }
        self.holds(&first)
    }

    /// Whether a receive must find something now.
    pub(super) fn must_find(&self, log: &Log) -> Option<Place> {
        let waits = |place: &&Place| {
            let entry = self.entries.get(*place);
            entry.is_none_or(|entry| entry.state == State::Waiting && !entry.delayed)
                && self.blocked_by(log, **place).is_none()
        };
        self.taken(log).find(|place| waits(&place))
    }

    /// Whether anything is not settled yet, and need not wait for a dead letter.
    pub(super) fn open(&self, log: &Log) -> Option<Place> {
        self.taken(log)
            .find(|place| self.is_open(place) && !self.is_held_back(log, *place))
    }

    fn taken<'a>(&self, log: &'a Log) -> impl Iterator<Item = Place> + use<'a> {
        let takes = self.takes;
        log.iter()
            .filter(move |(_, sent)| takes.takes(sent))
            .map(|(place, _)| *place)
    }

    /// How many messages are settled without anybody being handed them.
    pub(super) fn filtered(&self, log: &Log) -> usize {
        log.len() - self.taken(log).count()
    }

    /// A message is handed out.
    pub(super) fn hand_out(&mut self, log: &Log, delivery: &Delivery) {
        let place = (delivery.partition(), delivery.offset());
        let receipt = delivery.receipt();
        let entry = self.entry(place);
        let cycles = entry.turn.map(|_| entry.cycles - 1);
        let of_letter = receipt.id != delivery.id();
        assert_eq!(of_letter, cycles.is_some(), "out of a letter: {place:?}");
        (entry.named, entry.epoch) = (Some(receipt.id), Some(receipt.epoch));
        judge(log, delivery, cycles);
        assert!(self.takes.takes(&log[&place]), "{place:?} is filtered");
        assert_eq!(self.state(&place), State::Waiting, "handed out: {place:?}");
        let blocked = self.blocked_by(log, place);
        assert_eq!(blocked, None, "{place:?} passes an earlier one of its key");
        let entry = self.entry(place);
        assert_eq!(
            delivery.attempt(),
            entry.attempt + 1,
            "attempt of {place:?}"
        );
        entry.attempt += 1;
        (entry.state, entry.delayed) = (State::Leased, false);
        if self.once {
            self.entry(place).state = State::Acked;
        }
        if delivery.attempt() == 1 && delivery.key().is_none() {
            let last = self.newest.insert(place.0, place.1);
            assert!(last < Some(place.1), "{place:?} comes after {last:?}");
        }
    }

    /// A receipt is used; whether it is good.
    pub(super) fn settle(&mut self, place: Place, receipt: &Receipt, how: Settle) -> bool {
        let attempt = receipt.attempt;
        if self.once {
            let entry = self.entry(place);
            return entry.attempt == attempt && entry.epoch == Some(receipt.epoch);
        }
        let most = self.max_attempts;
        let open = self.is_open(&place);
        let entry = self.entry(place);
        let named = (Some(receipt.id), Some(receipt.epoch));
        if !open || entry.attempt != attempt || (entry.named, entry.epoch) != named {
            return false;
        }
        let leased = entry.state == State::Leased;
        let fail = |entry: &mut Entry| {
            // Of one that is late the failure was counted when its lease ended.
            entry.failures += u32::from(leased);
            let dead = entry.failures >= most || how == Settle::Give;
            entry.state = if dead { State::Dead } else { State::Waiting };
            entry.delayed = true;
        };
        match how {
            Settle::Ack => entry.state = State::Acked,
            Settle::Extend => entry.state = State::Leased,
            Settle::Give => fail(entry),
            Settle::Nack | Settle::NackNow if leased => fail(entry),
            // The message waits already; only a time that is named is news.
            Settle::NackNow => entry.delayed = true,
            Settle::Release if leased => {
                (entry.state, entry.delayed) = (State::Waiting, false);
            }
            Settle::Nack | Settle::Release => {}
        }
        true
    }

    /// Whether a delivery is the last of its message.
    pub(super) fn is_last(&self, one: &Delivery) -> bool {
        let entry = self.entries.get(&(one.partition(), one.offset()));
        let receipt = one.receipt();
        let named = (Some(receipt.id), Some(receipt.epoch));
        let last =
            |entry: &Entry| entry.attempt == one.attempt() && (entry.named, entry.epoch) == named;
        entry.is_some_and(last)
    }

    /// A consumer closes: what it holds comes back at once, uncounted (P10).
    pub(super) fn give_back(&mut self, places: impl Iterator<Item = Place>) {
        for place in places {
            let entry = self.entry(place);
            if entry.state == State::Leased {
                (entry.state, entry.delayed) = (State::Waiting, false);
            }
        }
    }

    /// Dead letters are redriven, in this order (P12). Those that hold their keys stay where they
    /// are in their order.
    pub(super) fn redrive(&mut self, log: &Log, places: &[Place]) {
        for place in places {
            let held = self.holds(place) && log[place].key.is_some();
            self.turns += 1;
            let turn = (!held).then_some(self.turns);
            let entry = self.entry(*place);
            assert_eq!(entry.state, State::Dead, "redriven: {place:?}");
            (entry.state, entry.delayed) = (State::Waiting, false);
            (entry.failures, entry.turn) = (0, turn);
            entry.cycles += 1;
            if !held {
                entry.named = None;
            }
        }
    }

    /// Dead letters are given up on.
    pub(super) fn purge(&mut self, places: &[Place]) {
        for place in places {
            let entry = self.entry(*place);
            assert_eq!(entry.state, State::Dead, "purged: {place:?}");
            entry.state = State::Acked;
        }
    }

    /// Those that must be in the dead letters: place, attempts, failures, cycles.
    pub(super) fn dead(&self) -> Vec<(Place, u32, u32, u32)> {
        let dead = |(_, entry): &(&Place, &Entry)| entry.state == State::Dead;
        let all = self.entries.iter().filter(dead);
        all.map(|(place, entry)| (*place, entry.attempt, entry.failures, entry.cycles))
            .collect()
    }
}
