//! What retention leaves of topics that dead letters are in (P12, P13, P15).

use super::retention::{NOW, Scene, settle};
use crate::{ConsumerOptions, Delivery, GroupOptions, PinnedBy, TopicOptions};

#[test]
fn p13_p15_dead_letters_stay_until_they_are_redriven_and_settled_or_purged() {
    let scene = Scene::with(TopicOptions::default());
    let group = scene.group("g");
    scene.send(0..12);
    let worker = scene
        .topic
        .consumer("g", &ConsumerOptions::default())
        .expect("consumer");
    let got = worker.receive(12, NOW).expect("receive");
    let receipts: Vec<_> = got.iter().map(Delivery::receipt).collect();
    worker.dead_letter(&receipts, "no use").expect("dead");
    let letters = scene.store.open_topic("t.g.dlq").expect("letters");
    // Somebody looks at them as well, and is done with it.
    letters
        .create_group("audit", &GroupOptions::default())
        .expect("group");
    settle(&letters, "audit", 12);
    let earliest = || letters.stats().expect("stats").partitions[0].earliest_offset;
    scene.retain();
    assert_eq!(
        earliest(),
        0,
        "the group has no lane, and all its letters are dead"
    );
    let stats = letters.stats().expect("stats");
    assert!(
        matches!(stats.pinned_by, PinnedBy::DeadLetters(_)),
        "{stats:?}"
    );
    let ids: Vec<_> = group
        .dead_letters(99)
        .expect("letters")
        .iter()
        .map(|l| l.message.id())
        .collect();
    assert_eq!(
        group.purge_dead_letters(Some(&ids[1..8])).expect("purge"),
        7
    );
    scene.retain();
    assert_eq!(earliest(), 0, "the first one is dead");
    let stats = letters.stats().expect("stats");
    assert_eq!(stats.pinned_by, PinnedBy::DeadLetters("t/g".into()));
    let redriven = crate::RedriveOptions {
        ids: Some(&ids[..1]),
        ..Default::default()
    };
    assert_eq!(group.redrive(redriven).expect("redrive"), 1);
    scene.retain();
    assert_eq!(earliest(), 0, "it is not settled");
    settle(&scene.topic, "g", 1);
    scene.retain();
    assert_eq!(earliest(), 3);
    assert_eq!(group.dead_letters(99).expect("letters").len(), 4);
    assert_eq!(scene.earliest(), 9, "the messages themselves are settled");
}

#[test]
fn p15_what_was_sent_to_a_topic_of_dead_letters_waits_for_its_first_group() {
    let scene = Scene::with(TopicOptions::default());
    let options = GroupOptions {
        dead_letter_topic: Some(crate::DeadLetter::Topic("dead".into())),
        ..GroupOptions::default()
    };
    let group = scene.topic.create_group("g", &options).expect("group");
    scene.send(0..1);
    let worker = scene
        .topic
        .consumer("g", &ConsumerOptions::default())
        .expect("consumer");
    let got = worker.receive(1, NOW).expect("receive");
    let dead = worker.dead_letter(&[got[0].receipt()], "no use");
    dead.expect("dead");
    let letters = scene.store.open_topic("dead").expect("letters");
    for number in 1..12 {
        let payload = vec![number; 300_000];
        letters.send(&crate::Message::new(&payload)).expect("send");
    }
    // A lane is made, in which nothing is left to settle; and it is no group.
    assert_eq!(group.purge_dead_letters(None).expect("purge"), 1);
    let earliest = || letters.stats().expect("stats").partitions[0].earliest_offset;
    scene.retain();
    assert!(earliest() <= 1, "{}", earliest());
    let stats = letters.stats().expect("stats");
    assert_eq!(stats.pinned_by, PinnedBy::Retention);
    let first = letters.create_group("audit", &GroupOptions::default());
    first.expect("group");
    scene.retain();
    assert!(earliest() <= 1, "{}", earliest());
    settle(&letters, "audit", 12 - usize::from(earliest() > 0));
    scene.retain();
    assert!(earliest() > 1);
}

#[test]
fn p13_p15_letters_of_a_group_without_a_lane_stay_beside_those_of_one_that_has_one() {
    let scene = Scene::with(TopicOptions::default());
    let options = GroupOptions {
        dead_letter_topic: Some(crate::DeadLetter::Topic("dead".into())),
        ..GroupOptions::default()
    };
    let mut groups = Vec::new();
    for name in ["a", "b"] {
        groups.push(scene.topic.create_group(name, &options).expect("group"));
    }
    scene.send(0..12);
    for (name, count) in [("a", 6), ("b", 12), ("a", 6)] {
        let worker = scene
            .topic
            .consumer(name, &ConsumerOptions::default())
            .expect("consumer");
        let got = worker.receive(count, NOW).expect("receive");
        let receipts: Vec<_> = got.iter().map(Delivery::receipt).collect();
        worker.dead_letter(&receipts, "no use").expect("dead");
        worker.close().expect("close");
    }
    let letters = scene.store.open_topic("dead").expect("letters");
    let earliest = || letters.stats().expect("stats").partitions[0].earliest_offset;
    assert_eq!(groups[0].purge_dead_letters(None).expect("purge"), 12);
    scene.retain();
    let first_of_b = 6;
    let kept = earliest();
    assert!(kept > 0 && kept <= first_of_b, "{kept}");
    assert_eq!(groups[1].dead_letters(99).expect("letters").len(), 12);
    assert_eq!(groups[1].purge_dead_letters(None).expect("purge"), 12);
    scene.retain();
    assert!(earliest() > kept);
}
