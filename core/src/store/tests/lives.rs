//! What a group that is made again under a name finds of the one before it.

use super::redrives::{Scene, payloads, receipts};
use super::*;
use crate::options::{Brake, GroupOptions};
use crate::storage::Twin;
use crate::store::{ConsumerOptions, PausedBy, RedriveOptions};

/// Deletes the group, and makes another one of the name.
fn made_again(scene: &mut Scene, group: GroupOptions) {
    scene.group().delete().expect("delete");
    let options = ConsumerOptions {
        group,
        ..ConsumerOptions::default()
    };
    scene.worker = scene.topic.consumer("g", &options).expect("consumer");
}

#[test]
fn p12_p13_letters_of_a_group_that_was_deleted_are_none_of_the_next_one_of_the_name() {
    let mut scene = Scene::new();
    scene.bury(&[b"0", b"1", b"2"]);
    let ids = scene.letter_ids();
    let group = scene.group();
    let redriven = group.redrive(RedriveOptions {
        ids: Some(&ids[..1]),
        ..RedriveOptions::default()
    });
    assert_eq!(redriven.expect("redrive"), 1);
    made_again(&mut scene, GroupOptions::default());
    assert!(scene.letters().is_empty(), "another group's");
    assert_eq!(scene.redrive(), 0);
    let group = scene.group();
    assert_eq!(group.purge_dead_letters(None).expect("purge"), 0);
    let named = group.purge_dead_letters(Some(&ids[1..2]));
    assert_eq!(named.expect_err("another's").refused_places(), [0]);
    // All of it anew, once, and letters of its own beside the others.
    let got = scene.take();
    assert_eq!(payloads(&got), [b"0", b"1", b"2"]);
    scene
        .worker
        .dead_letter(&receipts(&got[1..]), "no use")
        .expect("bury");
    assert_eq!(scene.offsets(), [1, 2]);
    assert_eq!(scene.redrive(), 2);
    let again = scene.take();
    assert_eq!(payloads(&again), [b"1", b"2"]);
    scene
        .worker
        .dead_letter(&receipts(&again), "no use")
        .expect("bury");
    let cycles: Vec<_> = scene.letters().iter().map(|one| one.cycles).collect();
    assert_eq!((scene.offsets(), cycles), (vec![1, 2], vec![1, 1]));
    assert_eq!(group.purge_dead_letters(None).expect("purge"), 2);
    assert_eq!(scene.dlq().stats().expect("stats").messages, 7);
}

#[test]
fn p12_a_message_that_dies_in_a_group_made_again_is_not_settled_by_the_letter_of_before() {
    let twin = Twin::new();
    let mut scene = Scene::on(&twin);
    scene.bury(&[b"0"]);
    let brake = Brake {
        messages: 1,
        within: Duration::from_secs(60),
    };
    made_again(
        &mut scene,
        GroupOptions {
            brake: Some(brake),
            ..GroupOptions::default()
        },
    );
    // As where nobody knew any more where the letters of the new group begin.
    let inner = scene.group().inner;
    inner
        .with_window(0, |window| window.set_dead_from(0))
        .expect("window");
    let word = crate::format::control::group_partition::MOVED;
    inner.block.partitions[0].set(word, 0);
    let got = scene.take();
    scene
        .worker
        .dead_letter(&receipts(&got), "no use")
        .expect("bury");
    let letters: Vec<u64> = scene.letter_ids().iter().map(|one| one.offset).collect();
    assert_eq!(letters, [1], "lost");
    let paused = scene.group().stats().expect("stats").paused_by;
    assert_eq!(paused, PausedBy::Nobody, "one death counted twice");
}
