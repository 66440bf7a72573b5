//! Calls that are under way while their group is sought (P16).

use super::seek::Scene;
use super::*;
use crate::options::{GroupOptions, Start};
use crate::store::ReceiveOptions;

/// What a call had before the seek is stale, and is not what it returns.
#[test]
fn p9_p16_a_call_that_waits_through_a_seek_returns_what_it_was_handed_after_it() {
    let scene = Scene::new(1, GroupOptions::default());
    scene.send(0, 1);
    let leased = || scene.group().stats().expect("stats").leased == 1;
    let waits = ReceiveOptions {
        max_messages: 2,
        min_messages: 2,
        timeout: Some(BOUND),
        ..ReceiveOptions::default()
    };
    let found = std::thread::scope(|scope| {
        let call = scope.spawn(|| scene.worker.receive_with(&waits).expect("receive"));
        until("it has the message", leased);
        scene.seek(Start::Earliest);
        call.join().expect("no panic")
    });
    assert_eq!(found.len(), 1);
    scene.ack(&found).expect("a good receipt");
}
