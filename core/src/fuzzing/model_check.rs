//! The plain model of a topic and its groups: what may be handed out, and what a receipt is good
//! for.

use std::collections::BTreeMap;

use crate::store::{Delivery, ReadMessage};

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
    takes: Takes,
    pub(super) keyed: bool,
    pub(super) max_attempts: u32,
    /// Each message is settled before it is handed out (P7).
    once: bool,
    entries: BTreeMap<Place, Entry>,
    /// The newest message without a key that was handed out for the first time, by partition.
    newest: BTreeMap<u32, u64>,
}

/// A message is byte for byte what was sent (P3).
pub(super) fn judge(log: &Log, message: &ReadMessage) {
    let place = (message.partition(), message.offset());
    let sent = log.get(&place).expect("a message that was sent");
    assert!(
        sent.payload == message.payload(),
        "other bytes at {place:?}"
    );
    assert_eq!(sent.key.as_deref(), message.key(), "key at {place:?}");
    let headers: Vec<_> = message.headers().collect();
    let header = sent.header.as_deref().map(|value| ("h", value));
    assert_eq!(headers, header.into_iter().collect::<Vec<_>>());
}

impl Model {
    pub(super) fn new(keyed: bool, max_attempts: u32, takes: Takes) -> Self {
        let (entries, newest) = (BTreeMap::new(), BTreeMap::new());
        Self {
            takes,
            keyed,
            max_attempts,
            once: false,
            entries,
            newest,
        }
    }

    /// The same, handing out at most once.
    pub(super) fn at_most_once(mut self) -> Self {
        self.once = true;
        self
    }

    /// Whether settling in this way has no sense here.
    pub(super) fn refuses(&self, how: Settle) -> bool {
        self.once && matches!(how, Settle::Release | Settle::Extend | Settle::Give)
    }

    fn entry(&mut self, place: Place) -> &mut Entry {
        self.entries.entry(place).or_insert(Entry {
            state: State::Waiting,
            attempt: 0,
            failures: 0,
            delayed: false,
        })
    }

    fn state(&self, place: &Place) -> State {
        self.entries.get(place).map_or(State::Waiting, |e| e.state)
    }

    fn is_open(&self, place: &Place) -> bool {
        matches!(self.state(place), State::Waiting | State::Leased)
    }

    /// An earlier message of its key that is not settled (P11).
    fn blocked_by(&self, log: &Log, place: Place) -> Option<Place> {
        let key = log.get(&place)?.key.as_ref().filter(|_| self.keyed)?;
        let earlier = log.range((place.0, 0)..place);
        let same = |(_, sent): &(&Place, &Sent)| sent.key.as_ref() == Some(key);
        earlier
            .filter(same)
            .filter(|(_, sent)| self.takes.takes(sent))
            .map(|(earlier, _)| *earlier)
            .find(|earlier| self.is_open(earlier))
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

    /// Whether anything is not settled yet.
    pub(super) fn open(&self, log: &Log) -> Option<Place> {
        self.taken(log).find(|place| self.is_open(place))
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
        judge(log, delivery);
        let place = (delivery.partition(), delivery.offset());
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
    pub(super) fn settle(&mut self, place: Place, attempt: u32, how: Settle) -> bool {
        if self.once {
            return self.entry(place).attempt == attempt;
        }
        let most = self.max_attempts;
        let open = self.is_open(&place);
        let entry = self.entry(place);
        if !open || entry.attempt != attempt {
            return false;
        }
        let leased = entry.state == State::Leased;
        let fail = |entry: &mut Entry| {
            entry.failures += 1;
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
        entry.is_some_and(|entry| entry.attempt == one.attempt())
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

    /// Those that must be in the dead letters: place, attempts, failures.
    pub(super) fn dead(&self) -> Vec<(Place, u32, u32)> {
        let dead = |(_, entry): &(&Place, &Entry)| entry.state == State::Dead;
        let all = self.entries.iter().filter(dead);
        all.map(|(place, entry)| (*place, entry.attempt, entry.failures))
            .collect()
    }
}
