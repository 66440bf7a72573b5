//! What a seek does with messages that died, and with their letters (P12, P16).

use super::seek::{Scene, offsets};
use super::*;
use std::sync::atomic::Ordering as Memory;

use crate::clock::Clock;
use crate::format::control::group_partition;
use crate::options::{GroupOptions, OnDeadLetter, Ordering as Order, Start};
use crate::storage::Fault;
use crate::store::in_force::InForce;
use crate::store::{Delivery, RedriveOptions};

#[test]
fn p12_p16_dead_letters_stay_and_a_message_that_dies_again_is_one_of_its_own() {
    let scene = Scene::new(1, GroupOptions::default());
    scene.send(0, 3);
    let die = |count| {
        let got = scene.take(count);
        let receipts: Vec<_> = got.iter().map(Delivery::receipt).collect();
        scene.worker.dead_letter(&receipts, "no").expect("bury");
    };
    die(2);
    scene.seek(Start::Earliest);
    let group = scene.group();
    assert_eq!(group.dead_letters(9).expect("letters").len(), 2);
    // A mover died since: the next one looks for what is there already.
    let words = &group.inner.block.partitions[0];
    words.store(group_partition::MOVED, 0, Memory::Release);
    die(1);
    let letters = scene.group().dead_letters(9).expect("letters");
    let dead: Vec<_> = letters
        .iter()
        .map(|one| (one.source_offset, one.attempts))
        .collect();
    assert_eq!(
        dead,
        [(0, 1), (1, 1), (0, 1)],
        "an old letter settles nothing new"
    );
    // What was redriven keeps its lease through a seek.
    assert_eq!(
        scene
            .group()
            .redrive(RedriveOptions::default())
            .expect("redrive"),
        3
    );
    let redriven = scene.take(3);
    scene.seek(Start::Latest);
    scene
        .ack(&redriven)
        .expect("its lease is as good as before");
    assert!(scene.take(9).is_empty());
}

#[test]
fn p12_p16_what_is_dying_becomes_a_dead_letter_before_it_is_passed_over() {
    let scene = Scene::new(1, GroupOptions::default());
    scene.send(0, 2);
    scene.take(2);
    let group = scene.group();
    // Another process had it fail for the last time, and went away.
    let now = scene.clock.boot_ms();
    let give_up = |offset| {
        group
            .inner
            .with_window(0, |window| window.give_up(offset, 1, now, 1))
    };
    give_up(0).expect("window");
    scene.seek(Start::Latest);
    assert_eq!(group.dead_letters(9).expect("letters").len(), 1);
    // One that comes again need not wait for that.
    scene.seek(Start::Offset(1));
    assert_eq!(scene.take(9).len(), 1);
    give_up(1).expect("window");
    scene.seek(Start::Offset(1));
    assert_eq!(group.dead_letters(9).expect("letters").len(), 2);
    assert_eq!(offsets(&scene.manage(9)), [1]);
}

/// Where the dead-letter topic ended at a seek says nothing of another one.
#[test]
fn p11_p12_p16_after_a_seek_a_letter_in_another_topic_holds_its_key_and_is_listed() {
    let options = GroupOptions {
        on_dead_letter: Some(OnDeadLetter::HoldKey),
        ordering: Some(Order::Partition),
        ..GroupOptions::default()
    };
    let scene = Scene::new(1, options);
    scene.send(0, 3);
    let group = scene.group();
    let die = || {
        let receipt = scene.take(1)[0].receipt();
        scene.worker.dead_letter(&[receipt], "no").expect("bury");
    };
    die();
    assert_eq!(group.purge_dead_letters(None).expect("purge"), 1);
    scene.seek(Start::Earliest);
    let elsewhere = crate::options::DeadLetter::Topic("elsewhere".into());
    let other = GroupOptions {
        dead_letter_topic: Some(elsewhere),
        ..GroupOptions::default()
    };
    group.configure(&other).expect("nothing holds");
    die();
    assert_eq!(group.stats().expect("stats").holding, 1);
    assert_eq!(group.dead_letters(9).expect("letters").len(), 1);
    let redriven = group.redrive(RedriveOptions::default());
    assert_eq!(redriven.expect("redrive"), 1);
    assert_eq!(group.stats().expect("stats").holding, 0);
}

#[test]
fn p12_p16_what_cannot_become_a_dead_letter_is_not_passed_over() {
    let twin = Twin::new();
    let scene = Scene::on(&twin, 1, GroupOptions::default());
    scene.send(0, 2);
    scene.take(2);
    let group = scene.group();
    let now = scene.clock.boot_ms();
    let died = group
        .inner
        .with_window(0, |window| window.give_up(0, 1, now, 1));
    died.expect("window");
    twin.fail(Fault::Name, 1);
    let error = group
        .seek(Start::Latest, None)
        .expect_err("nowhere to put it");
    twin.heal();
    assert!(error.message().contains("passed over"), "{error}");
    assert_eq!(
        group.inner.read_meta().expect("meta").sought,
        [],
        "nothing was done"
    );
    group
        .seek(Start::Latest, None)
        .expect("there is room again");
    assert_eq!(group.dead_letters(9).expect("letters").len(), 1);
}

#[test]
fn p11_p16_a_dead_letter_that_holds_its_key_comes_again_or_is_passed_over() {
    let holding = GroupOptions {
        ordering: Some(Order::Partition),
        on_dead_letter: Some(OnDeadLetter::HoldKey),
        ..GroupOptions::default()
    };
    let scene = Scene::new(1, holding);
    scene.send(0, 3);
    let die = || {
        let got = scene.take(1);
        scene
            .worker
            .dead_letter(&[got[0].receipt()], "no")
            .expect("bury");
    };
    die();
    assert_eq!(
        (
            scene.take(1).len(),
            scene.group().stats().expect("stats").holding
        ),
        (0, 1)
    );
    scene.group().snapshot("held").expect("snapshot");
    assert_eq!(scene.seek(Start::Earliest), (0, 0, 0, 0));
    assert!(
        scene.group().dead_letters(9).expect("letters").is_empty(),
        "it is a message again"
    );
    // With as many attempts as the letter before has.
    die();
    assert_eq!(
        scene.group().dead_letters(9).expect("letters").len(),
        1,
        "the new one alone"
    );
    assert_eq!(scene.seek(Start::Offset(1)), (0, 1, 0, 0));
    assert!(
        scene.group().dead_letters(9).expect("letters").is_empty(),
        "as if purged"
    );
    assert_eq!(offsets(&scene.manage(1)), [1]);
    // A snapshot has it come back as if it were redriven.
    assert_eq!(scene.seek("held"), (2, 0, 0, 0));
    assert_eq!(scene.manage(1), [(0, 0, 2)]);
    assert_eq!(scene.manage(1), [(0, 1, 1)]);
}
