//! Using a store of which anything may be damaged, and looking at what it gives.

use std::time::{Duration, Instant};

use super::tree::{GROUP, Sent, TOPIC, open_consumer, open_topic};
use crate::error::Result;
use crate::options::ReaderOptions;
use crate::store::{Consumer, Message, ReadMessage, Store, Topic};

/// No call takes longer: far more than `lock_timeout`, far less than a hang.
const BOUND: Duration = Duration::from_secs(15);
const NOW: Option<Duration> = Some(Duration::ZERO);
/// A damaged store may raise an error for every piece of damage.
const ROUNDS: usize = 40;

/// Runs one call, which has to return in time.
pub(super) fn in_time<T>(what: &str, call: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let done = call();
    let took = began.elapsed();
    assert!(took < BOUND, "{what} took {took:?}");
    done
}

/// What was sent to a store, by whom the messages that come out of it are judged.
pub(super) struct Steps {
    pub(super) sent: Sent,
    /// Payloads of which it is not known whether they are in.
    maybe: Vec<Vec<u8>>,
    forged: bool,
    number: u64,
}

impl Steps {
    pub(super) fn new(sent: &Sent, forged: bool) -> Self {
        Self {
            sent: sent.clone(),
            maybe: Vec::new(),
            forged,
            number: 0,
        }
    }

    /// What is delivered is byte for byte what was sent (P3).
    pub(super) fn judge(&self, message: &ReadMessage) {
        let (key, payload) = (message.key(), message.payload());
        let headers = message.headers().count();
        assert!(headers <= payload.len() + 65_536);
        if self.forged {
            return;
        }
        let place = (message.partition(), message.offset());
        match self.sent.get(&place) {
            Some((sent_key, sent)) => {
                assert!(sent == payload, "other bytes than were sent at {place:?}");
                assert_eq!(sent_key.as_deref(), key, "another key at {place:?}");
            }
            None => assert!(
                self.maybe.iter().any(|sent| sent == payload),
                "nothing was sent at {place:?}"
            ),
        }
    }

    pub(super) fn send(&mut self, topic: &Topic, partition: u32, len: usize) -> Result<()> {
        self.number += 1;
        let mut payload = vec![7; len.max(8)];
        payload[..8].copy_from_slice(&self.number.to_le_bytes());
        let key = [b'k', (self.number % 3) as u8];
        let keyed = !self.number.is_multiple_of(4);
        let mut message = Message::new(&payload).partition(partition);
        if keyed {
            message = message.key(&key);
        }
        match in_time("send", || topic.send(&message)) {
            Ok(id) => {
                let place = (id.partition, id.offset);
                let key = keyed.then(|| key.to_vec());
                self.sent.insert(place, (key, payload));
                Ok(())
            }
            Err(error) => {
                self.maybe.push(payload);
                Err(error)
            }
        }
    }

    /// Reads all that can be read; the first error, if there was one.
    pub(super) fn read(&mut self, store: &Store) -> Result<()> {
        let topic = in_time("open a topic", || store.open_topic(TOPIC))?;
        self.read_topic(&topic, &mut |_| {})
    }

    pub(super) fn read_topic(
        &mut self,
        topic: &Topic,
        each: &mut dyn FnMut(&ReadMessage),
    ) -> Result<()> {
        let mut reader = in_time("reader", || topic.reader(&ReaderOptions::default()))?;
        let mut done = Ok(());
        for _ in 0..ROUNDS {
            match in_time("read", || reader.receive(64, NOW)) {
                Ok(found) if found.is_empty() => break,
                Ok(found) => {
                    for message in &found {
                        self.judge(message);
                        each(message);
                    }
                }
                Err(error) => done = done.and(Err(error)),
            }
        }
        done
    }

    /// Does everything once; the first error. Errors keep nothing else from being tried.
    pub(super) fn use_it(&mut self, store: &Store, plan: &[u8]) -> Result<()> {
        let step = |at: usize| plan.get(at).copied().unwrap_or(0);
        let mut done = in_time("list", || store.topics()).map(drop);
        done = done.and(in_time("look", || store.stats()).map(drop));
        let topic = in_time("open a topic", || open_topic(store))?;
        if step(0) & 1 == 1 {
            done = done.and(self.send(&topic, u32::from(step(1)) % 2, 30));
        }
        if step(0) & 2 == 2 {
            done = done.and(self.read_topic(&topic, &mut |_| {}));
        }
        match in_time("open a consumer", || open_consumer(&topic)) {
            Ok(consumer) => done = done.and(self.consume(&consumer, &topic, plan)),
            Err(error) => done = done.and(Err(error)),
        }
        for partition in 0..2 {
            let len = if step(2) & 1 == 1 { 40_000 } else { 50 };
            done = done.and(self.send(&topic, partition, len));
        }
        if step(0) & 4 == 4 {
            done = done.and(in_time("sync", || topic.sync()));
        }
        done = done.and(in_time("look", || topic.stats()).map(drop));
        done = done.and(self.read_topic(&topic, &mut |_| {}));
        let letters = in_time("open a group", || topic.group(GROUP))
            .and_then(|group| in_time("dead letters", || group.dead_letters(50)));
        done.and(letters.map(drop))
    }

    fn consume(&mut self, consumer: &Consumer, topic: &Topic, plan: &[u8]) -> Result<()> {
        let mut done = Ok(());
        for round in 0..ROUNDS {
            let found = match in_time("receive", || consumer.receive(5, NOW)) {
                Ok(found) if found.is_empty() => break,
                Ok(found) => found,
                Err(error) => {
                    done = done.and(Err(error));
                    continue;
                }
            };
            for (at, delivery) in found.iter().enumerate() {
                self.judge(delivery);
                let receipt = [delivery.receipt()];
                let how = plan.get((round + at) % 8).map_or(0, |byte| byte >> 3);
                let settled = in_time("settle", || match how % 8 {
                    0 => consumer.nack(&receipt, NOW, Some("no")),
                    1 => consumer.release(&receipt),
                    2 => consumer.dead_letter(&receipt, "dead"),
                    3 => consumer.extend(&receipt, Duration::from_secs(9)),
                    4 => {
                        delivery.start();
                        Ok(())
                    }
                    _ => consumer.ack(&receipt),
                });
                done = done.and(settled);
            }
            if round == 3 {
                done = done.and(self.send(topic, 0, 20));
            }
        }
        done.and(in_time("close a consumer", || consumer.close()))
    }
}
