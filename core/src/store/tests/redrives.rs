//! What a redrive hands out, to whom, and what becomes of it; and what a purge leaves.

use super::*;
use crate::clock::ManualClock;
use crate::options::{Backoff, GroupOptions, ReaderOptions};
use crate::storage::Twin;
use crate::store::{
    Consumer, DeadLetterEntry, Delivery, Group, Message, MessageId, Receipt, RedriveOptions, Topic,
};

const NOW: Option<Duration> = Some(Duration::ZERO);

/// A group's consumer in a store that nobody tends.
pub(super) struct Scene {
    pub(super) clock: Arc<ManualClock>,
    pub(super) store: Store,
    pub(super) topic: Topic,
    pub(super) worker: Consumer,
}

impl Scene {
    pub(super) fn new() -> Self {
        Self::on(&Twin::new())
    }

    pub(super) fn on(twin: &Twin) -> Self {
        let clock = Arc::new(ManualClock::new(1_700_000_000_000_000_000, 1_000_000));
        let (store, topic) = open_by(twin, &clock);
        let worker = topic.consumer("g", &Default::default()).expect("consumer");
        Self {
            clock,
            store,
            topic,
            worker,
        }
    }

    pub(super) fn group(&self) -> Group {
        self.topic.group("g").expect("group")
    }

    pub(super) fn send(&self, payloads: &[&[u8]]) -> Vec<MessageId> {
        let send = |payload: &&[u8]| self.topic.send(&Message::new(payload)).expect("send");
        payloads.iter().map(send).collect()
    }

    pub(super) fn take(&self) -> Vec<Delivery> {
        self.worker.receive(99, NOW).expect("receive")
    }

    /// Sends, and gives up on all of it.
    pub(super) fn bury(&self, payloads: &[&[u8]]) -> Vec<MessageId> {
        let ids = self.send(payloads);
        let receipts = receipts(&self.take());
        assert_eq!(receipts.len(), payloads.len());
        self.worker.dead_letter(&receipts, "no use").expect("bury");
        ids
    }

    pub(super) fn letters(&self) -> Vec<DeadLetterEntry> {
        self.group().dead_letters(99).expect("letters")
    }

    pub(super) fn letter_ids(&self) -> Vec<MessageId> {
        self.letters().iter().map(|one| one.message.id()).collect()
    }

    /// Source offsets of the letters.
    pub(super) fn offsets(&self) -> Vec<u64> {
        self.letters().iter().map(|one| one.source_offset).collect()
    }

    pub(super) fn redrive(&self) -> u64 {
        self.group()
            .redrive(RedriveOptions::default())
            .expect("redrive")
    }

    pub(super) fn dlq(&self) -> Topic {
        self.store.open_topic("t.g.dlq").expect("letters")
    }
}

pub(super) fn receipts(batch: &[Delivery]) -> Vec<Receipt> {
    batch.iter().map(Delivery::receipt).collect()
}

pub(super) fn payloads(batch: &[Delivery]) -> Vec<&[u8]> {
    batch.iter().map(|one| one.payload()).collect()
}

fn header<'a>(delivery: &'a Delivery, name: &str) -> Option<&'a [u8]> {
    let mut headers = delivery.headers().filter(|(known, _)| *known == name);
    headers.next().map(|(_, value)| value)
}

#[test]
fn p12_p13_a_redriven_message_is_the_one_that_it_was_and_only_its_group_gets_it() {
    let scene = Scene::new();
    let other = scene.topic.consumer("h", &Default::default()).expect("h");
    let headers: [(&str, &[u8]); 2] = [("trace", b"42"), ("lq-mine", b"kept")];
    let message = Message::new(b"0")
        .key(b"k")
        .headers(&headers)
        .timestamp_ns(77);
    let sent = scene.topic.send(&message).expect("send");
    let first = scene.take();
    scene
        .worker
        .nack(&receipts(&first), NOW, None)
        .expect("nack");
    let second = scene.take();
    assert_eq!(second[0].attempt(), 2);
    scene
        .worker
        .dead_letter(&receipts(&second), "no use")
        .expect("bury");
    scene.send(&[b"fresh"]);
    let ordinary = scene.dlq().consumer("o", &Default::default()).expect("o");
    assert_eq!(scene.redrive(), 1);
    assert!(scene.letters().is_empty(), "in both places");
    let got = scene.take();
    assert_eq!(payloads(&got), [&b"0"[..], b"fresh"], "before fresh ones");
    let one = &got[0];
    assert_eq!((one.id(), one.partition(), one.offset()), (sent, 0, 0));
    assert_eq!((one.key(), one.timestamp_ns()), (Some(&b"k"[..]), 77));
    let expected: Vec<(&str, &[u8])> =
        vec![("trace", b"42"), ("lq-mine", b"kept"), ("lq-cycles", b"0")];
    assert_eq!(one.headers().collect::<Vec<_>>(), expected);
    assert_eq!(one.attempt(), 3, "attempts go on");
    let stats = scene.group().stats().expect("stats");
    assert_eq!(
        (stats.redriven, stats.leased, stats.lag_messages),
        (1, 2, 2)
    );
    scene.worker.ack(&receipts(&got)).expect("ack");
    assert!(scene.take().is_empty() && scene.letters().is_empty());
    assert_eq!(scene.redrive(), 0, "done once");
    let stats = scene.group().stats().expect("stats");
    assert_eq!(
        (stats.lag_messages, stats.acked, stats.dead_lettered),
        (0, 2, 1)
    );
    // Everybody else goes on as if nothing had been.
    assert_eq!(
        payloads(&other.receive(9, NOW).expect("h")),
        [&b"0"[..], b"fresh"]
    );
    let letters = ordinary.receive(9, NOW).expect("o");
    assert_eq!(payloads(&letters), [b"0"]);
    assert_eq!(header(&letters[0], "lq-cycles"), Some(&b"0"[..]));
    let mut reader = scene
        .dlq()
        .reader(&ReaderOptions::default())
        .expect("reader");
    assert_eq!(reader.receive(9, NOW).expect("read").len(), 1);
}

#[test]
fn p12_a_redriven_message_that_dies_again_has_one_letter_with_one_cycle_more() {
    let scene = Scene::new();
    let sent = scene.bury(&[b"0"]);
    for cycles in 0..3_u32 {
        let letters = scene.letters();
        assert_eq!(letters.len(), 1, "lost, or there twice");
        let letter = &letters[0];
        assert_eq!((letter.cycles, letter.source_id), (cycles, sent[0]));
        assert_eq!((letter.failures, letter.attempts), (1, cycles + 1));
        assert_eq!(
            (letter.source_topic.as_str(), letter.error.as_str()),
            ("t", "no use")
        );
        assert!(letter.first_failed_ns > 0 && letter.last_failed_ns >= letter.first_failed_ns);
        assert_eq!(scene.redrive(), 1);
        let got = scene.take();
        assert_eq!((payloads(&got), got[0].id()), (vec![&b"0"[..]], sent[0]));
        let told = cycles.to_string();
        assert_eq!(header(&got[0], "lq-cycles"), Some(told.as_bytes()));
        scene
            .worker
            .dead_letter(&receipts(&got), "no use")
            .expect("bury");
    }
    let stats = scene.group().stats().expect("stats");
    assert_eq!(
        (stats.redriven, stats.dead_lettered, stats.lag_messages),
        (3, 4, 0)
    );
}

#[test]
fn p12_redriven_messages_fail_as_others_do_from_the_first_failure_on() {
    let scene = Scene::new();
    let changes = GroupOptions {
        max_attempts: Some(2),
        lease: Some(Duration::from_secs(1)),
        backoff: Some(Backoff {
            first: Duration::from_secs(1),
            longest: Duration::from_secs(1),
            factor: 1.0,
        }),
        ..GroupOptions::default()
    };
    scene.group().configure(&changes).expect("configure");
    scene.bury(&[b"0"]);
    assert_eq!(scene.redrive(), 1);
    let got = scene.take();
    scene
        .worker
        .nack(&receipts(&got), None, None)
        .expect("nack");
    assert!(scene.take().is_empty(), "it waits");
    assert_eq!(scene.group().stats().expect("stats").delayed, 1);
    scene.clock.advance_ms(1_001);
    let got = scene.take();
    assert_eq!((got.len(), got[0].attempt()), (1, 3));
    scene.clock.advance_ms(1_001);
    assert!(
        scene.take().is_empty(),
        "the lease ran out for the last time"
    );
    let letters = scene.letters();
    assert_eq!(
        (letters.len(), letters[0].failures, letters[0].cycles),
        (1, 2, 1)
    );
    assert!(letters[0].error.contains("ran out"), "{}", letters[0].error);
}

#[test]
fn p11_redriven_messages_of_a_key_wait_for_each_other() {
    let scene = Scene::new();
    for payload in [&b"0"[..], b"1"] {
        scene
            .topic
            .send(&Message::new(payload).key(b"k"))
            .expect("send");
        let got = scene.take();
        scene
            .worker
            .dead_letter(&receipts(&got), "no use")
            .expect("bury");
    }
    assert_eq!(scene.redrive(), 2);
    let first = scene.take();
    assert_eq!(payloads(&first), [b"0"]);
    scene.worker.ack(&receipts(&first)).expect("ack");
    assert_eq!(payloads(&scene.take()), [b"1"]);
}

#[test]
fn ids_limits_and_filters_choose_and_the_ids_of_no_letter_are_told_of_beside_the_others() {
    let scene = Scene::new();
    scene.bury(&[b"0", b"1", b"2", b"3"]);
    let ids = scene.letter_ids();
    let group = scene.group();
    let of = |ids: &[MessageId]| {
        group.redrive(RedriveOptions {
            ids: Some(ids),
            ..RedriveOptions::default()
        })
    };
    let unknown = MessageId {
        offset: 99,
        ..ids[0]
    };
    let error = of(&[unknown, ids[2], scene.send(&[b"x"])[0]]).expect_err("two are none");
    assert_eq!(
        (error.kind(), error.refused_places()),
        (ErrorKind::NotFound, &[0, 2][..])
    );
    assert!(
        error.message().contains("1 others were redriven"),
        "{error}"
    );
    assert_eq!(scene.offsets(), [0, 1, 3]);
    assert_eq!(of(&[ids[2]]).expect_err("already").refused_places(), [0]);
    let limit = RedriveOptions {
        limit: Some(1),
        filter: Some(&|letter| letter.message.payload() != b"0"),
        ..RedriveOptions::default()
    };
    assert_eq!(group.redrive(limit).expect("redrive"), 1);
    assert_eq!(scene.offsets(), [0, 3]);
    let got = scene.take();
    assert_eq!(payloads(&got), [&b"1"[..], b"2", b"x"]);
    assert_eq!(of(&[]).expect("nothing"), 0);
    assert_eq!(of(&[ids[3], ids[3]]).expect("named twice"), 1);
}

#[test]
fn a_rate_is_waited_for_and_progress_ends_the_call() {
    let scene = Scene::new();
    scene.bury(&[b"0", b"1", b"2", b"3"]);
    let mut told = Vec::new();
    let began = Instant::now();
    let done = scene.group().redrive(RedriveOptions {
        rate: Some(50.0),
        progress: Some(&mut |done, of| {
            told.push((done, of));
            done < 3
        }),
        ..RedriveOptions::default()
    });
    assert_eq!(done.expect("redrive"), 4.min(told.last().expect("told").0));
    assert!(told.iter().all(|(_, of)| *of == 4) && told[0].0 > 0);
    assert!(told.len() > 1 && began.elapsed() >= Duration::from_millis(40));
    assert_eq!(
        scene.offsets().len() as u64,
        4 - told.last().expect("told").0
    );
    let bad = RedriveOptions {
        rate: Some(0.0),
        ..RedriveOptions::default()
    };
    let error = scene.group().redrive(bad).expect_err("no rate");
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
}

#[test]
fn a_purge_ends_what_is_dead_up_to_where_the_letters_ended_and_nothing_that_was_redriven() {
    let scene = Scene::new();
    scene.bury(&[b"0", b"1", b"2"]);
    let ids = scene.letter_ids();
    let group = scene.group();
    let named = group.redrive(RedriveOptions {
        ids: Some(&ids[1..2]),
        ..RedriveOptions::default()
    });
    assert_eq!(named.expect("redrive"), 1);
    assert_eq!(group.purge_dead_letters(Some(&ids[..1])).expect("purge"), 1);
    let error = group
        .purge_dead_letters(Some(&ids[..2]))
        .expect_err("neither");
    assert_eq!(error.refused_places(), [0, 1]);
    assert_eq!(group.purge_dead_letters(None).expect("purge"), 1);
    scene.send(&[b"3"]);
    let got = scene.take();
    assert_eq!(payloads(&got), [b"1", b"3"]);
    scene
        .worker
        .dead_letter(&receipts(&got), "no use")
        .expect("bury");
    assert_eq!(scene.offsets(), [1, 3], "what came later stays");
    assert_eq!(
        group.redrive(RedriveOptions::default()).expect("redrive"),
        2
    );
    let stats = group.stats().expect("stats");
    assert_eq!((stats.purged, stats.redriven), (2, 3));
}
