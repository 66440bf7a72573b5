//! Transactions beside seeks, retention and deletions: what a record of the journal speaks of may
//! have been sought over, or be gone (P8, P15, P16).

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::retention::{LARGE, NOW, Scene as Kept};
use super::retention_crashes::images;
use super::transaction_crashes::*;
use super::transactions::contents;
use super::*;
use crate::format::names;
use crate::group::{Now, Settled};
use crate::log::Transactions;
use crate::options::{Retention, Start, TopicOptions};
use crate::storage::Event;
use crate::{Consumer, ConsumerOptions, Delivery, Durability, Message};

fn worker(topic: &Topic) -> Consumer {
    topic
        .consumer("g", &ConsumerOptions::default())
        .expect("consumer")
}

/// All that the group hands out, settled: partitions and offsets in order.
fn drain(topic: &Topic) -> Vec<(u32, u64)> {
    let worker = worker(topic);
    let mut all = Vec::new();
    loop {
        let got = worker.receive(100, NOW).expect("receive");
        if got.is_empty() {
            break;
        }
        let receipts: Vec<_> = got.iter().map(Delivery::receipt).collect();
        worker.ack(&receipts).expect("ack");
        all.extend(got.iter().map(|one| (one.partition(), one.offset())));
    }
    worker.close().expect("close");
    all
}

#[test]
fn p8_p16_a_group_is_sought_at_any_step_of_a_commit_and_all_comes_again() {
    for durability in [Durability::Process, Durability::Sync] {
        let seen = Arc::new(Mutex::new((0, 0)));
        let events = at_every_event(durability, |scene, event| {
            let (store, other) = (scene.open(), scene.open_hasty());
            let (topics, _worker, got) = begin(&store);
            let (theirs, sought) = (other.open_topic("from").expect("topic"), Arc::default());
            let told: Arc<Mutex<Option<Result<crate::SeekPlan>>>> = Arc::clone(&sought);
            let group = theirs.group("g").expect("group");
            let mut done = None;
            let count = events_of(
                scene,
                event,
                || done = Some(commit(&store, &topics, &got)),
                move |_| *told.lock().expect("lock") = Some(group.seek(Start::Earliest, None)),
            );
            let what = format!("{durability:?}, event {event}");
            let happened = match done.expect("it returned") {
                Ok(_) => true,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::StaleReceipt, "{what}: {error}");
                    false
                }
            };
            let to = contents(&topics[1]);
            assert_eq!(to == done_to(), happened, "{what}: {to:?}");
            let sought = sought.lock().expect("lock").take();
            if matches!(sought, Some(Ok(_))) {
                let mut seen = seen.lock().expect("lock");
                match happened {
                    true => seen.0 += 1,
                    false => seen.1 += 1,
                }
                // What had been settled by then was settled in an earlier epoch.
                let mut all = drain(&theirs);
                for number in 0..2 {
                    let mine = all.iter().filter(|one| one.0 == number);
                    assert!(mine.is_sorted(), "{what}: {all:?}");
                }
                all.sort_unstable();
                assert_eq!(all, [(0, 0), (0, 1), (1, 0), (1, 1)], "{what}");
            }
            let stats = theirs.group("g").expect("g").stats().expect("stats");
            assert!(
                stats.lag_messages == 0 || !happened || sought.is_some(),
                "{what}"
            );
            count
        });
        let seen = seen.lock().expect("lock");
        assert!(events > 20 && seen.0 > 5, "{events}, {seen:?}");
    }
}

#[test]
fn p8_p16_what_a_dead_one_left_of_an_earlier_epoch_settles_nothing_of_a_later_one() {
    let left = Arc::new(AtomicUsize::new(0));
    at_every_event(Durability::Process, |scene, event| {
        let (inner, other, left) = (scene.clone(), scene.open(), left.clone());
        at_event(scene, event, move |dying, kind| {
            dying.die();
            if sought_and_marked(&other, &inner, &format!("event {event}, {kind:?}")) {
                left.fetch_add(1, Ordering::Relaxed);
            }
        })
    });
    let left = left.load(Ordering::Relaxed);
    assert!(
        left > 0,
        "none died between having happened and having settled"
    );
}

/// After a seek all is handed out again, and marked, as one leaves it that dies before his own
/// transaction has happened. Whether there was anything left to settle of the one before.
fn sought_and_marked(store: &Store, scene: &Scene, what: &str) -> bool {
    let inner = store.inner().expect("open");
    let from = store.open_topic("from").expect("topic");
    let group = from.group("g").expect("group");
    group.seek(Start::Earliest, None).expect("seek");
    let worker = worker(&from);
    let got = worker.receive(9, NOW).expect("receive");
    assert_eq!(got.len(), 4, "{what}");
    let opened = from.inner.group_inner("g").expect("group");
    let now = Now::by(&*scene.clock);
    for one in &got {
        let marked = opened.with_window(one.partition(), |window| {
            window.mark(one.offset(), one.attempt(), now)
        });
        assert_eq!(marked.expect("window"), Settled::Done, "{what}");
    }
    let journal = inner.journal.as_ref().expect("journal");
    let left = journal.open_in_test() > 0;
    inner.finish_transactions(BOUND).expect("finish");
    for number in 0..2 {
        inner.tidy_marks(&opened, number, BOUND).expect("tidy");
    }
    let receipts: Vec<_> = got.iter().map(Delivery::receipt).collect();
    worker
        .ack(&receipts)
        .unwrap_or_else(|error| panic!("{what}: {error}"));
    left
}

#[test]
fn p8_p2_p16_a_power_loss_after_a_seek_takes_back_no_transaction_of_before() {
    for seed in 0..12 {
        let scene = Scene::new(Durability::Sync);
        let store = scene.open();
        let (topics, worker, got) = begin(&store);
        commit(&store, &topics, &got).expect("commit");
        let group = topics[0].group("g").expect("group");
        group.seek(Start::Earliest, None).expect("seek");
        let image = match seed {
            0 => scene.twin.all_die().expect("image"),
            _ => scene.twin.power_loss(seed).expect("image"),
        };
        std::mem::forget(worker);
        let again = scene.open_on(&image);
        assert_eq!(
            contents(&again.open_topic("to").expect("to")),
            done_to(),
            "{seed}"
        );
        let mut all = drain(&again.open_topic("from").expect("from"));
        all.sort_unstable();
        assert_eq!(all, [(0, 0), (0, 1), (1, 0), (1, 1)], "{seed}");
        goes_on(&again, "after it");
    }
}

#[test]
fn p8_p17_a_topic_or_group_that_a_record_names_is_deleted_after_a_death_anywhere() {
    for group in [false, true] {
        for durability in [Durability::Process, Durability::Sync] {
            at_every_event(durability, |scene, event| {
                let (inner, other) = (scene.clone(), scene.open());
                at_event(scene, event, move |dying, kind| {
                    dying.die();
                    let what = format!("{durability:?}, event {event}, {kind:?}, group: {group}");
                    if group {
                        let from = other.open_topic("from").expect("topic");
                        from.group("g").expect("group").delete().expect("delete");
                    } else {
                        other.delete_topic("to").expect("delete");
                    }
                    let mut images = vec![inner.twin.all_die()];
                    if durability == Durability::Sync {
                        images.push(inner.twin.power_loss(event));
                    }
                    for image in images {
                        let store = inner.open_on(&image.expect("image"));
                        still_whole(&store, &inner, group, &what);
                    }
                    let living = other.inner().expect("open");
                    until("the dead one is cleaned up after", || {
                        living.find_dead(0).is_ok_and(|dead| dead == 0)
                    });
                    still_whole(&other, &inner, group, &what);
                })
            });
        }
    }
}

/// What is left of a transaction is all of it or nothing, and others go on.
fn still_whole(store: &Store, scene: &Scene, group: bool, what: &str) {
    let [from, to, far] = topics(store);
    let sent = contents(&far).iter().any(|one| one.2 == b"f0");
    if group {
        assert_eq!(contents(&to) == done_to(), sent, "{what}");
    } else {
        assert!(
            contents(&to).is_empty(),
            "{what}: another topic of the name"
        );
        scene.clock.advance_ms(2_000);
        let worker = worker(&from);
        let mut got = worker.receive(9, NOW).expect("receive").len();
        scene.clock.advance_ms(2_000);
        got += worker.receive(9, NOW).expect("receive").len();
        assert_eq!(got, if sent { 0 } else { 3 }, "{what}");
        worker.close().expect("close");
    }
    let mut tx = store.transaction().expect("begin");
    tx.send(&to, &Message::new(b"next")).expect("send");
    tx.send(&far, &Message::new(b"next")).expect("send");
    tx.commit()
        .unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(contents(&to).iter().any(|one| one.2 == b"next"), "{what}");
}

/// Twelve messages that transactions sent, ten of which transactions settled.
fn kept(durability: Durability) -> Kept {
    let scene = Kept::with(TopicOptions {
        durability: Some(durability),
        ..TopicOptions::default()
    });
    scene.group("g");
    for number in 0..12_u8 {
        let payload = vec![number; LARGE];
        let mut tx = scene.store.transaction().expect("begin");
        tx.send(&scene.topic, &Message::new(&payload))
            .expect("send");
        tx.commit().expect("commit");
    }
    let worker = worker(&scene.topic);
    for one in worker.receive(10, NOW).expect("receive") {
        let mut tx = scene.store.transaction().expect("begin");
        tx.ack(&one).expect("ack");
        tx.commit().expect("commit");
    }
    worker.close().expect("close");
    scene
}

#[test]
fn p8_p15_before_segments_go_the_journal_lets_go_of_what_it_says_of_them() {
    for durability in [Durability::Process, Durability::Sync] {
        let scene = kept(durability);
        let inner = scene.store.inner().expect("open");
        let journal = inner.journal.clone().expect("journal");
        assert_eq!(journal.happened().expect("read").len(), 22);
        let found = images(&scene.twin, || scene.retain());
        assert_eq!(scene.earliest(), 9);
        assert!(journal.happened().expect("read").is_empty());
        for (place, (event, power, image)) in found.iter().enumerate() {
            if *event == Event::Stored && place % 5 > 0 {
                continue;
            }
            let what = format!("{durability:?}, {place}: {event:?}, power lost: {power}");
            let (_store, topic) = open_by(image, &scene.clock);
            let earliest = topic.stats().expect("stats").partitions[0].earliest_offset;
            let sent = contents(&topic).len() as u64;
            let left = drain(&topic);
            if durability == Durability::Sync || !power {
                assert!([0, 3, 9].contains(&earliest), "{what}: {earliest}");
                assert_eq!(sent, 12 - earliest, "{what}");
                assert_eq!(left, [(0, 10), (0, 11)], "{what}");
            }
        }
    }
}

#[test]
fn p8_p15_what_a_transaction_has_marked_pins_its_segment_until_it_is_settled() {
    let scene = Kept::with(TopicOptions {
        retention: Some(Retention::Time(Duration::from_secs(60))),
        ..TopicOptions::default()
    });
    scene.group("g");
    scene.send(0..9);
    let group = scene.topic.inner.group_inner("g").expect("group");
    let worker = worker(&scene.topic);
    let got = worker.receive(2, NOW).expect("receive");
    let hand_out = (got[1].offset(), got[1].attempt());
    let now = Now::by(&*scene.clock);
    let marked = group.with_window(0, |window| window.mark(hand_out.0, hand_out.1, now));
    assert_eq!(marked.expect("window"), Settled::Done);
    scene.clock.advance_ms(120_000);
    scene.retain();
    let stats = || scene.topic.group("g").expect("g").stats().expect("stats");
    assert_eq!(
        (scene.earliest(), stats().lost_messages),
        (0, 8),
        "but for the one"
    );
    assert_eq!((stats().leased, stats().lag_messages), (1, 1));
    let info = scene.topic.group("g").expect("g").snapshot("then");
    info.expect("snapshot");
    let settled = group.with_window(0, |window| {
        let epoch = window.epoch();
        window.settle_marked(hand_out.0, (hand_out.1, epoch))
    });
    assert!(settled.expect("window"), "it was there to be settled");
    scene.clock.advance_ms(120_000);
    scene.retain();
    assert!(scene.earliest() > 0);
    assert_eq!(stats().lost_messages, 8);
    assert!(!scene.store.path().join(names::TRANSACTIONS).exists());
}
