//! Random operations of one process against the plain model in `model_check`.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::input::Input;
use super::model_check::{Log, Memory, Model, Place, Sent, Settle, Takes, judge};
use super::scratch::Scratch;
use super::steps::in_time;
use super::tree::TOPIC;
use crate::error::ErrorKind;
use crate::inspect;
use crate::options::{
    Backoff, DeadLetter, DeliveryMode, Durability, Filter, GroupOptions, OnDeadLetter, Ordering,
    ReaderOptions, StoreOptions, TopicOptions,
};
use crate::store::{Consumer, ConsumerOptions, Delivery, Message, MessageId, Store, Topic};

const NOW: Option<Duration> = Some(Duration::ZERO);
/// Fewer than the smallest window holds, which would make a group wait for room.
pub(super) const MESSAGES: usize = 200;
const CONSUMERS: usize = 3;

/// A consumer and what it was handed, settled or not.
struct Worker {
    consumer: Consumer,
    group: usize,
    held: Vec<Delivery>,
}

pub(super) struct World {
    scratch: Scratch,
    store: Store,
    pub(super) topic: Topic,
    topic_options: TopicOptions,
    pub(super) groups: Vec<(GroupOptions, Model)>,
    workers: Vec<Worker>,
    pub(super) log: Log,
    /// What each group's snapshot knows.
    pub(super) snapshots: HashMap<usize, Memory>,
}

pub(super) fn name(group: usize) -> String {
    format!("g{group}")
}

/// Configuration, then operations.
pub(super) fn model(data: &[u8]) {
    let mut input = Input(data);
    let mut world = World::new(&mut input);
    for _ in 0..96 {
        if input.is_empty() {
            break;
        }
        world.step(&mut input);
    }
    world.end();
}

impl World {
    fn new(input: &mut Input<'_>) -> Self {
        let scratch = Scratch::new();
        let flags = input.byte();
        let durability = (flags & 4 == 4).then_some(Durability::Sync);
        let topic_options = TopicOptions {
            partitions: Some(1 + u32::from(flags & 3)),
            durability,
            ..TopicOptions::default()
        };
        let groups = (0..1 + usize::from(flags >> 3 & 1))
            .map(|_| {
                let flags = input.byte();
                let max_attempts = 1 + u32::from(flags & 3);
                let keyed = flags & 4 == 0;
                let ordering = if keyed { Ordering::Key } else { Ordering::None };
                let drop = flags & 24 == 24;
                let takes = [
                    Takes::All,
                    Takes::WithHeader,
                    Takes::LongKeys,
                    Takes::NeitherKeyNorHeader,
                ][usize::from(flags >> 5 & 3)];
                let filter = Some(Filter::parse(takes.text()).expect("a filter"));
                let holds = keyed && flags & 24 == 8;
                let model = Model::new(keyed, max_attempts, takes);
                // Settled before it is handed out (P7): then there are no leases and no failures.
                if flags & 128 == 128 {
                    let options = GroupOptions {
                        ordering: Some(ordering),
                        delivery: Some(DeliveryMode::AtMostOnce),
                        filter,
                        ..GroupOptions::default()
                    };
                    return (options, model.at_most_once());
                }
                let options = GroupOptions {
                    ordering: Some(ordering),
                    lease: Some(Duration::from_secs(3600)),
                    max_attempts: Some(max_attempts),
                    backoff: Some(Backoff {
                        first: Duration::ZERO,
                        longest: Duration::ZERO,
                        factor: 1.0,
                    }),
                    dead_letter_topic: drop.then_some(DeadLetter::Drop),
                    on_dead_letter: holds.then_some(OnDeadLetter::HoldKey),
                    filter,
                    ..GroupOptions::default()
                };
                (options, model.holding(holds))
            })
            .collect();
        let store = open(&scratch);
        let topic = store.topic(TOPIC, &topic_options).expect("topic");
        Self {
            scratch,
            store,
            topic,
            topic_options,
            groups,
            workers: Vec::new(),
            log: Log::new(),
            snapshots: HashMap::new(),
        }
    }

    fn step(&mut self, input: &mut Input<'_>) {
        match input.byte() % 16 {
            0..=3 => self.send(input),
            4 => self.send_many(input),
            5..=7 => self.receive(input),
            8..=12 => self.settle(input),
            13 if self.workers.len() < CONSUMERS => self.open_worker(input),
            13 => {
                let worker = self.workers.remove(input.pick(CONSUMERS));
                self.close_worker(worker);
            }
            14 => {
                if let Some(delivery) = self.workers.first().and_then(|w| w.held.last()) {
                    // Charges a death, and nothing else.
                    delivery.start();
                }
            }
            _ => match input.byte() % 12 {
                0 => self.reopen(),
                1 => self.read(),
                2 => in_time("sync", || self.topic.sync()).expect("sync"),
                3 => drop(in_time("look", || self.topic.stats()).expect("stats")),
                4..=6 => self.redrive(input),
                7 => self.purge(input),
                8 | 9 => self.seek(input),
                _ => self.snapshot(input),
            },
        }
    }

    fn draft(&self, input: &mut Input<'_>) -> (u32, Sent) {
        let flags = input.byte();
        let len = match flags >> 5 {
            0 => 0,
            7 => 33_000 + self.log.len(),
            n => usize::from(n) * 9,
        };
        let payload = vec![self.log.len() as u8; len];
        // Few keys, so that they meet; one is empty, which is not the same as none.
        let key = match flags & 3 {
            3 => None,
            n => Some(vec![b'k'; usize::from(n)]),
        };
        let header = (flags & 4 == 4).then(|| payload.iter().copied().take(4).collect());
        let partitions = self.topic_options.partitions.unwrap_or(1);
        let partition = u32::from(flags >> 3 & 3) % partitions;
        let sent = Sent {
            key,
            payload,
            header,
        };
        (partition, sent)
    }

    fn send(&mut self, input: &mut Input<'_>) {
        let (partition, sent) = self.draft(input);
        self.send_all(vec![(partition, sent)], input.byte() & 1 == 1);
    }

    fn send_many(&mut self, input: &mut Input<'_>) {
        let count = 1 + usize::from(input.byte() % 8);
        let drafts = (0..count).map(|_| self.draft(input)).collect();
        self.send_all(drafts, true);
    }

    fn send_all(&mut self, drafts: Vec<(u32, Sent)>, many: bool) {
        if self.log.len() + drafts.len() > MESSAGES {
            return;
        }
        let ids = offer(&self.topic, &drafts, many);
        assert_eq!(ids.len(), drafts.len());
        for (id, (partition, sent)) in ids.iter().zip(drafts) {
            let place = (id.partition, id.offset);
            assert_eq!(id.partition, partition);
            let after = self.log.range((partition, 0)..=(partition, u64::MAX));
            assert!(after.last().is_none_or(|(last, _)| *last < place), "P4");
            self.log.insert(place, sent);
        }
    }

    fn open_worker(&mut self, input: &mut Input<'_>) {
        let group = input.pick(self.groups.len());
        let options = ConsumerOptions {
            group: self.groups[group].0.clone(),
            ..ConsumerOptions::default()
        };
        let consumer = in_time("open", || self.topic.consumer(&name(group), &options));
        self.workers.push(Worker {
            consumer: consumer.expect("consumer"),
            group,
            held: Vec::new(),
        });
    }

    /// Only the last receipt of a message is in its holder's hands; earlier ones are others'.
    fn close_worker(&mut self, worker: Worker) {
        in_time("close", || worker.consumer.close()).expect("close");
        let model = &mut self.groups[worker.group].1;
        let mine = worker.held.iter().filter(|d| model.is_last(d));
        let places: Vec<Place> = mine.map(|d| (d.partition(), d.offset())).collect();
        model.give_back(places.into_iter());
    }

    fn receive(&mut self, input: &mut Input<'_>) {
        let most = 1 + input.pick(20);
        let which = input.pick(self.workers.len());
        let Some(worker) = self.workers.get_mut(which) else {
            return;
        };
        let found = in_time("receive", || worker.consumer.receive(most, NOW)).expect("receive");
        assert!(found.len() <= most);
        let model = &mut self.groups[worker.group].1;
        if found.is_empty() {
            let missed = model.must_find(&self.log);
            assert_eq!(missed, None, "waits, and is not handed out");
        }
        for delivery in found {
            model.hand_out(&self.log, &delivery);
            worker.held.push(delivery);
        }
    }

    /// Any worker of the group may use a receipt, also one that was used before.
    fn settle(&mut self, input: &mut Input<'_>) {
        let how = [
            Settle::Ack,
            Settle::NackNow,
            Settle::Nack,
            Settle::Release,
            Settle::Extend,
            Settle::Give,
        ][input.pick(6)];
        let count = 1 + usize::from(input.byte() % 4);
        let which = input.pick(self.workers.len());
        let Some(worker) = self.workers.get(which) else {
            return;
        };
        let deliveries: Vec<_> = (0..count.min(worker.held.len()))
            .map(|_| &worker.held[input.pick(worker.held.len())])
            .collect();
        let receipts: Vec<_> = deliveries.iter().map(|one| one.receipt()).collect();
        let consumer = &worker.consumer;
        let done = in_time("settle", || match how {
            Settle::Ack => consumer.ack(&receipts),
            Settle::NackNow => consumer.nack(&receipts, NOW, Some("now")),
            Settle::Nack => consumer.nack(&receipts, None, None),
            Settle::Release => consumer.release(&receipts),
            Settle::Extend => consumer.extend(&receipts, Duration::from_secs(3600)),
            Settle::Give => consumer.dead_letter(&receipts, "given up"),
        });
        let model = &mut self.groups[worker.group].1;
        if model.refuses(how) {
            let error = done.expect_err("nothing is leased");
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{how:?}: {error}");
            return;
        }
        // A call's receipts are settled partition by partition, each in the call's order; for one
        // message that is the call's order.
        let places = deliveries.iter().map(|one| (one.partition(), one.offset()));
        let used = places.zip(&receipts).enumerate();
        let stale: Vec<usize> = used
            .filter(|(_, (place, receipt))| !model.settle(*place, receipt, how))
            .map(|(at, _)| at)
            .collect();
        match done {
            Ok(()) => assert_eq!(stale, [0; 0], "{how:?}: stale receipts were taken"),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::StaleReceipt, "{how:?}: {error}");
                assert_eq!(error.stale_places(), stale, "{how:?}");
            }
        }
    }

    /// Reads the topic as nobody's consumer.
    fn read(&self) {
        let mut reader = self
            .topic
            .reader(&ReaderOptions::default())
            .expect("reader");
        let mut read = 0;
        loop {
            let found = in_time("read", || reader.receive(50, NOW)).expect("read");
            if found.is_empty() {
                break;
            }
            found
                .iter()
                .for_each(|message| judge(&self.log, message, None));
            read += found.len();
        }
        assert_eq!(read, self.log.len(), "P1");
    }

    fn reopen(&mut self) {
        while let Some(worker) = self.workers.pop() {
            self.close_worker(worker);
        }
        let away = Scratch::new();
        let parked = open(&away);
        self.topic = parked.topic(TOPIC, &self.topic_options).expect("topic");
        in_time("close", || self.store.close()).expect("close");
        let report = inspect::verify(self.scratch.path(), &mut |_, _| Ok(())).expect("verify");
        assert!(report.is_intact(), "{report:?}");
        self.store = open(&self.scratch);
        self.topic = self.store.topic(TOPIC, &self.topic_options).expect("topic");
        parked.close().expect("close");
    }

    /// All that is not settled is handed out once more, and settled; the rest is in the dead
    /// letters, each once (P12).
    fn end(&mut self) {
        while let Some(worker) = self.workers.pop() {
            self.close_worker(worker);
        }
        for number in 0..self.groups.len() {
            let options = ConsumerOptions {
                group: self.groups[number].0.clone(),
                ..ConsumerOptions::default()
            };
            let consumer = self
                .topic
                .consumer(&name(number), &options)
                .expect("consumer");
            self.drain(number, &consumer);
            let group = self.topic.group(&name(number)).expect("group");
            let filtered = group.stats().expect("stats").filtered;
            let model = &self.groups[number].1;
            assert_eq!(filtered, model.filtered(&self.log) as u64, "filtered");
            self.check_letters(number, &group);
            self.redrive_all(number, &group);
            self.drain(number, &consumer);
            let stats = group.stats().expect("stats");
            assert_eq!((stats.lag_messages, stats.holding), (0, 0), "P6");
        }
        self.read();
        self.reopen();
        self.read();
    }
}

impl World {
    /// All that waits is handed out, and acknowledged.
    fn drain(&mut self, number: usize, consumer: &Consumer) {
        let model = &mut self.groups[number].1;
        let began = Instant::now();
        while let Some(open) = model.open(&self.log) {
            assert!(began.elapsed() < Duration::from_secs(10), "lost: {open:?}");
            let wait = Some(Duration::from_millis(50));
            for one in consumer.receive(100, wait).expect("receive") {
                model.hand_out(&self.log, &one);
                consumer.ack(&[one.receipt()]).expect("ack");
                let place = (one.partition(), one.offset());
                model.settle(place, &one.receipt(), Settle::Ack);
            }
        }
        assert!(consumer.receive(9, NOW).expect("receive").is_empty());
    }
}

fn open(scratch: &Scratch) -> Store {
    let options = StoreOptions::default();
    in_time("open", || Store::open(scratch.path(), options)).expect("open")
}

fn offer(topic: &Topic, drafts: &[(u32, Sent)], many: bool) -> Vec<MessageId> {
    let headers: Vec<Vec<(&str, &[u8])>> = drafts
        .iter()
        .map(|(_, sent)| sent.header.iter().map(|value| ("h", &**value)).collect())
        .collect();
    let messages: Vec<Message<'_>> = drafts
        .iter()
        .zip(&headers)
        .map(|((partition, sent), headers)| Message {
            key: sent.key.as_deref(),
            headers,
            ..Message::new(&sent.payload).partition(*partition)
        })
        .collect();
    if many {
        return in_time("send", || topic.send_many(&messages)).expect("send many");
    }
    vec![in_time("send", || topic.send(&messages[0])).expect("send")]
}
