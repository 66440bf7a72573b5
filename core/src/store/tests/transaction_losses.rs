//! Power losses and syncs that fail, at every step of a transaction's commit and of making room in
//! the journal: what is left is all of it or nothing, and stays so (P2, P5, P8).

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::transaction_crashes::{
    KEPT, Scene, at_event, at_every_event, begin, commit, done_to, goes_on, look, topics,
};
use super::transactions::contents;
use super::*;
use crate::format::names;
use crate::storage::{Event, Fault};
use crate::{Durability, Message};

#[test]
fn p8_p2_a_power_loss_at_any_step_of_a_sync_commit_leaves_all_or_nothing_and_so_does_the_next() {
    let seen = Arc::new(Mutex::new((0, 0)));
    let events = at_every_event(Durability::Sync, |scene, event| {
        let (inner, seen) = (scene.clone(), seen.clone());
        at_event(scene, event, move |_, kind| {
            for seed in 0..3 {
                let what = format!("event {event}, {kind:?}, seed {seed}");
                let image = inner.twin.power_loss(seed * 7919 + event).expect("image");
                let again = inner.open_on(&image);
                let happened = look(&again, &inner.clock, &what);
                let mut seen = seen.lock().expect("lock");
                if happened {
                    seen.0 += 1
                } else {
                    seen.1 += 1
                }
                drop(seen);
                // What was seen after it stays so after another one.
                again.die();
                let second = image.power_loss(seed).expect("image");
                let store = inner.open_on(&second);
                let later = look(&store, &inner.clock, &format!("{what}, again"));
                assert_eq!(later, happened, "{what}: twice");
                goes_on(&store, &what);
            }
        })
    });
    let seen = seen.lock().expect("lock");
    assert!(
        events > 40 && seen.0 > 20 && seen.1 > 20,
        "{events}, {seen:?}"
    );
}

#[test]
fn p8_p2_a_power_loss_in_the_life_after_a_commit_that_nobody_ended_leaves_all_or_nothing() {
    at_every_event(Durability::Sync, |scene, event| {
        let inner = scene.clone();
        at_event(scene, event, move |_, kind| {
            for seed in 0..3 {
                let what = format!("event {event}, {kind:?}, seed {seed}");
                let image = inner.twin.all_die().expect("image");
                let next = inner.open_on(&image);
                // The first use of the group, and of nothing else.
                let from = next.open_topic("from").expect("topic");
                from.group("g").expect("group").stats().expect("stats");
                let lost = image.power_loss(seed * 7919 + event).expect("image");
                next.die();
                let again = inner.open_on(&lost);
                look(&again, &inner.clock, &what);
                goes_on(&again, &what);
            }
        })
    });
}

#[test]
fn p8_p2_once_a_sync_commit_has_returned_every_power_loss_keeps_it() {
    for seed in 0..40 {
        let scene = Scene::new(Durability::Sync);
        let store = scene.open();
        let (topics, worker, got) = begin(&store);
        commit(&store, &topics, &got).expect("commit");
        store.die();
        std::mem::forget(worker);
        let image = scene.twin.power_loss(seed).expect("image");
        let again = scene.open_on(&image);
        assert!(
            look(&again, &scene.clock, &format!("seed {seed}")),
            "seed {seed}"
        );
        goes_on(&again, "after it");
    }
}

#[test]
fn p8_p2_a_power_loss_at_any_step_of_making_room_in_the_journal_keeps_what_was_committed() {
    let mut events = u64::MAX;
    for event in 1..200 {
        let scene = Arc::new(Scene::new(Durability::Sync));
        let store = scene.open();
        let (topics, worker, got) = begin(&store);
        commit(&store, &topics, &got).expect("commit");
        let (seen, inner) = (Arc::new(AtomicU64::new(0)), scene.clone());
        let counted = seen.clone();
        let check = move |twin: &Twin, what: &str| {
            for seed in 0..3 {
                let image = twin.power_loss(seed * 104_729 + event).expect("image");
                let again = inner.open_on(&image);
                let what = format!("event {event}, {what}, seed {seed}");
                assert!(look(&again, &inner.clock, &what), "{what}");
                goes_on(&again, &what);
            }
        };
        let checks = check.clone();
        scene.twin.watch(Some(Arc::new(move |twin, kind| {
            if counted.fetch_add(1, Ordering::SeqCst) + 1 == event {
                twin.watch(None);
                checks(twin, &format!("{kind:?}"));
            }
        })));
        let room = store
            .inner()
            .expect("open")
            .make_room_for_transactions(BOUND);
        scene.twin.watch(None);
        room.expect("room");
        std::mem::forget(worker);
        if seen.load(Ordering::SeqCst) < event {
            // All of it was done.
            check(&scene.twin, "after it");
            events = event - 1;
            break;
        }
    }
    assert!((5..200).contains(&events), "{events}");
}

#[test]
fn p8_p5_a_sync_that_fails_leaves_the_transaction_done_and_the_next_one_puts_it_on_disk() {
    // Of reserves, logs, windows, and the journal itself.
    let mut half_way = 0;
    for nth in 1..20 {
        let scene = Scene::new(Durability::Sync);
        let store = scene.open();
        let (topics, worker, got) = begin(&store);
        scene.twin.fail(Fault::Sync, nth);
        let done = commit(&store, &topics, &got);
        scene.twin.heal();
        let Err(error) = done else {
            break;
        };
        if !error.message().starts_with("the transaction is done") {
            assert_eq!(contents(&topics[1]), [(0, 0, KEPT.to_vec())], "{nth}");
            commit(&store, &topics, &got).expect("again");
            std::mem::forget(worker);
            continue;
        }
        half_way += 1;
        // For all that is alive it has happened, and nothing of it is taken back.
        assert_eq!(contents(&topics[1]), done_to(), "{nth}");
        assert!(
            worker
                .receive(9, Some(Duration::ZERO))
                .expect("receive")
                .is_empty()
        );
        // A power loss now takes all of it or nothing.
        for seed in 0..4 {
            let image = scene.twin.power_loss(seed).expect("image");
            look(
                &scene.open_on(&image),
                &scene.clock,
                &format!("sync {nth}, seed {seed}"),
            );
        }
        store.sync().expect("sync");
        let inner = store.inner().expect("open");
        inner.look_around();
        inner.look_around();
        let stats = topics[0].group("g").expect("group").stats().expect("stats");
        assert_eq!((stats.lag_messages, stats.leased), (0, 0), "{nth}");
        store.die();
        std::mem::forget(worker);
        for seed in 0..4 {
            let image = scene.twin.power_loss(seed).expect("image");
            let what = format!("sync {nth}, seed {seed}, after one that succeeded");
            assert!(look(&scene.open_on(&image), &scene.clock, &what), "{what}");
        }
    }
    assert!(half_way > 3, "{half_way}");
}

#[test]
fn p8_p2_no_recovery_takes_a_mark_for_the_end_that_moved_over_what_is_not_on_disk_yet() {
    for nth in 1..20 {
        let scene = Scene::new(Durability::Sync);
        let store = scene.open();
        let (topics, worker, got) = begin(&store);
        scene.twin.fail(Fault::Sync, nth);
        let done = commit(&store, &topics, &got);
        scene.twin.heal();
        std::mem::forget(worker);
        let error = done.expect_err("one of them is the journal's");
        if !error.message().contains(names::TRANSACTIONS) {
            continue;
        }
        // What it sent is on disk, and its record is not. The next one raises the reserve of a log,
        // so that its mark is written.
        let many = vec![Message::new(b"x").partition(1); 5_000];
        topics[1].send_many(&many).expect("send");
        for seed in 0..20 {
            let again = scene.open_on(&scene.twin.power_loss(seed).expect("image"));
            let [_, to, far] = super::transaction_crashes::topics(&again);
            let sent =
                |topic: &Topic, payload: &[u8]| contents(topic).iter().any(|one| one.2 == payload);
            let all = [
                sent(&to, b"t0"),
                sent(&to, b"t1"),
                sent(&to, b"t2"),
                sent(&far, b"f0"),
            ];
            assert!(
                all == [true; 4] || all == [false; 4],
                "seed {seed}: {all:?}"
            );
        }
        return;
    }
    panic!("the journal was never synced");
}

#[test]
fn p8_p2_a_record_that_the_kernel_wrote_before_what_it_speaks_of_counts_for_nothing() {
    let seen = Arc::new(Mutex::new((0, 0)));
    let scene = Arc::new(Scene::new(Durability::Sync));
    let store = scene.open();
    let ([_, to, far], worker, _got) = begin(&store);
    // Segments and reserves are there.
    to.send(&Message::new(b"x").partition(1)).expect("send");
    let (inner, counts) = (scene.clone(), seen.clone());
    scene.twin.watch(Some(Arc::new(move |twin, kind| {
        if kind != Event::Syncing {
            return;
        }
        // Its record is written, and nothing of it is on disk but by chance.
        twin.watch(None);
        for seed in 0..150 {
            let again = inner.open_on(&twin.power_loss(seed).expect("image"));
            let [_, to, far] = topics(&again);
            let sent =
                |topic: &Topic, payload: &[u8]| contents(topic).iter().any(|one| one.2 == payload);
            let all = [sent(&to, b"t0"), sent(&to, b"t1"), sent(&far, b"f0")];
            assert!(
                all == [true; 3] || all == [false; 3],
                "seed {seed}: {all:?}"
            );
            let mut seen = counts.lock().expect("lock");
            if all[0] { seen.0 += 1 } else { seen.1 += 1 }
        }
    })));
    let mut tx = store.transaction().expect("begin");
    tx.send(&to, &Message::new(b"t0").partition(0))
        .expect("send");
    tx.send(&to, &Message::new(b"t1").partition(1))
        .expect("send");
    tx.send(&far, &Message::new(b"f0")).expect("send");
    tx.commit().expect("commit");
    scene.twin.watch(None);
    std::mem::forget(worker);
    let seen = seen.lock().expect("lock");
    assert!(seen.0 > 0 && seen.1 > 0, "{seen:?}");
}
