//! What a power loss leaves of groups that went back, or began, and were done again with a segment
//! before it was compacted (P6, P16).

use super::compaction::{group, put, reader, table};
use super::retention::{Scene, settle, take};
use super::*;
use crate::log::{Next, Pass};
use crate::{Durability, GroupOptions, Ordering, Start, TopicOptions};

/// A pass up to where its first segment is put in its place.
fn steps(pass: &mut Pass) -> u64 {
    loop {
        match pass.next() {
            Next::Put(end) => return end,
            Next::Make => pass.make().expect("make"),
            _ => pass.work().expect("work"),
        }
    }
}

/// All that a group still hands out are messages that are there: of the segment that was compacted
/// nothing comes again, since not all of it could.
fn check(scene: &Scene, name: &str, kept: usize) {
    for seed in 0..8 {
        let image = scene.twin.power_loss(seed).expect("image");
        let (_store, topic) = open_by(&image, &scene.clock);
        let mut all = reader(&topic);
        let left = super::compaction::read(&mut all).len();
        let got = take(&topic, name, 99).len();
        assert!(
            left > kept || got == 0,
            "seed {seed}: of {left} that are left the group is given {got} again"
        );
    }
}

#[test]
fn p6_p16_a_group_that_went_back_and_forth_again_stands_there_behind_a_power_loss() {
    for late in [false, true] {
        let scene = table();
        let durable = TopicOptions {
            durability: Some(Durability::Process),
            ..TopicOptions::default()
        };
        scene.topic.configure(&durable).expect("configure");
        let first = group(&scene, "g");
        put(&scene, "aaabbbccca");
        settle(&scene.topic, "g", 10);
        let inner = &scene.topic.inner;
        let begun = inner.begin_pass(0, &scene.topic.config()).expect("begin");
        let (mut pass, mut on_disk) = begun.expect("there is something to do");
        let end = steps(&mut pass);
        let name = match late {
            true => {
                let options = GroupOptions {
                    start: Some(Start::Earliest),
                    ordering: Some(Ordering::None),
                    ..GroupOptions::default()
                };
                scene.topic.create_group("late", &options).expect("group");
                "late"
            }
            false => {
                first.seek(Start::Earliest, None).expect("seek");
                "g"
            }
        };
        settle(&scene.topic, name, 10);
        let put = inner.put((0, end), &mut pass, &mut on_disk);
        assert!(put.expect("all are done with it"), "late: {late}");
        let left = super::compaction::read(&mut reader(&scene.topic)).len();
        assert!(left < 10, "it is compacted");
        check(&scene, name, left);
    }
}
