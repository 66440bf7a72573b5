//! Letters that nobody's group wrote: whoever may send to a dead-letter topic may send messages
//! that look like letters, with any numbers in them (P18).

use super::redrives::Scene;
use super::*;
use crate::options::{Brake, DeadLetter, GroupOptions, OnDeadLetter};
use crate::storage::Twin;
use crate::store::{ConsumerOptions, Message, PausedBy, RedriveOptions, Topic};

const NOW: Option<Duration> = Some(Duration::ZERO);

/// Sends a message that says that it is the letter of one of `t/g`, with these numbers.
fn forge(letters: &Topic, partition: &str, offset: &str, more: &[(&str, &[u8])]) {
    let mut headers: Vec<(&str, &[u8])> = vec![
        ("lq-source-topic", b"t"),
        ("lq-group", b"g"),
        ("lq-source-partition", partition.as_bytes()),
        ("lq-source-offset", offset.as_bytes()),
        ("lq-failures", b"5"),
    ];
    headers.extend(more);
    let message = Message::new(b"forged").headers(&headers);
    letters.send(&message).expect("send");
}

#[test]
fn p12_p18_a_message_that_dies_is_not_taken_for_moved_by_a_letter_that_somebody_sent() {
    let twin = Twin::new();
    let scene = Scene::on(&twin);
    scene.bury(&[b"0"]);
    forge(&scene.dlq(), "0", "1", &[]);
    let Scene {
        store,
        topic,
        worker,
        ..
    } = scene;
    drop((topic, worker));
    store.close().expect("close");
    // Who moves first in a new life looks which of the dying are in the topic already.
    let scene = Scene::on(&twin);
    scene.bury(&[b"1"]);
    let letters = scene.letters();
    let payloads: Vec<_> = letters.iter().map(|one| one.message.payload()).collect();
    assert_eq!(payloads, [b"0", b"1"], "lost, or somebody's own");
}

#[test]
fn p13_p18_nothing_that_was_sent_to_the_dead_letters_is_listed_redriven_or_purged() {
    let scene = Scene::new();
    scene.bury(&[b"0"]);
    let huge = "18446744073709551615";
    for (partition, offset) in [("0", "0"), ("4294967295", huge), ("0", huge)] {
        forge(&scene.dlq(), partition, offset, &[]);
        let held: &[(&str, &[u8])] = &[("lq-held", b"1"), ("lq-attempts", b"1")];
        forge(&scene.dlq(), partition, offset, held);
        let again: &[(&str, &[u8])] = &[("lq-redriven-from", b"0"), ("lq-cycles", b"4294967295")];
        forge(&scene.dlq(), partition, offset, again);
    }
    for _ in 0..1_500 {
        forge(&scene.dlq(), "0", "0", &[]);
    }
    assert_eq!(scene.offsets(), [0]);
    assert_eq!(scene.redrive(), 1);
    assert_eq!(scene.take().len(), 1);
    let purged = scene.group().purge_dead_letters(None).expect("purge");
    assert_eq!(purged, 0);
    let stats = scene.group().stats().expect("stats");
    assert_eq!((stats.redriven, stats.purged), (1, 0));
}

#[test]
fn p13_p18_letters_that_somebody_sent_release_no_key_and_pause_no_group() {
    let scene = Scene::new();
    let options = ConsumerOptions {
        group: GroupOptions {
            dead_letter_topic: Some(DeadLetter::Topic("t.g.dlq".into())),
            on_dead_letter: Some(OnDeadLetter::HoldKey),
            brake: Some(Brake {
                messages: 2,
                within: Duration::from_secs(60),
            }),
            ..GroupOptions::default()
        },
        ..ConsumerOptions::default()
    };
    drop(scene.worker);
    scene
        .topic
        .group("g")
        .and_then(|group| group.delete())
        .expect("delete");
    let worker = scene.topic.consumer("g", &options).expect("consumer");
    let keyed = |payload| Message::new(payload).key(b"k");
    for payload in [&b"0"[..], b"1"] {
        scene.topic.send(&keyed(payload)).expect("send");
    }
    let die = |worker: &crate::store::Consumer| {
        let got = worker.receive(1, NOW).expect("receive");
        worker.dead_letter(&[got[0].receipt()], "no").expect("dies");
    };
    die(&worker);
    let letters = scene.store.open_topic("t.g.dlq").expect("letters");
    for _ in 0..9 {
        forge(
            &letters,
            "0",
            "0",
            &[("lq-held", b"1"), ("lq-attempts", b"1")],
        );
    }
    let group = scene.topic.group("g").expect("group");
    let listed = group.dead_letters(99).expect("list");
    assert_eq!(listed.len(), 1);
    let forged = crate::store::MessageId {
        offset: 5,
        ..listed[0].message.id()
    };
    let ids = [forged];
    let options = RedriveOptions {
        ids: Some(&ids),
        ..RedriveOptions::default()
    };
    assert_eq!(
        group
            .redrive(options)
            .expect_err("no letter")
            .refused_places(),
        [0]
    );
    assert_eq!(
        group
            .purge_dead_letters(Some(&ids))
            .expect_err("no letter")
            .refused_places(),
        [0]
    );
    assert!(
        worker.receive(9, NOW).expect("receive").is_empty(),
        "its key is held"
    );
    scene
        .topic
        .send(&Message::new(b"2").key(b"other"))
        .expect("send");
    die(&worker);
    assert_eq!(group.stats().expect("stats").paused_by, PausedBy::Nobody);
}
